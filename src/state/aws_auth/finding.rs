//! Places where the authenticator reads a section differently than a person would. A finding is a fact with a line; this
//! module does not depend on the messages that are shown for it.

/// One difference between the text and what the authenticator reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// 1-based line number in the text of the section (`mapRoles`, `mapUsers` or `mapAccounts`).
    pub(crate) line: usize,
    /// Index into [`super::ParsedSection::entries`], if the finding is about an entry that takes effect.
    pub(crate) entry_index: Option<usize>,
    pub(crate) kind: FindingKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// The entry has no effect.
    EntryIgnored(IgnoredReason),
    /// The username is empty. `found` is the value that is not a string, if the key is present.
    UsernameEmpty { found: Option<String> },
    /// The entry has no groups because the value is not a list.
    GroupsNotAList { found: String },
    /// The group at this index, counted from 0, is the empty string.
    GroupEmpty { index: usize, found: String },
    /// The value is not a string, so the authenticator treats the field as absent.
    FieldIgnored { key: String, found: String },
    /// The authenticator does not read this key. An edit keeps it.
    UnknownKey { key: String },
    /// The authenticator accepts the key although its case differs from the canonical one.
    NonCanonicalKey { key: String, canonical: String },
    /// Another key overrides this one: the same key again, or a spelling of it that sorts later.
    KeyOverridden { key: String, by: String },
    /// The authenticator reads the first document only.
    ExtraDocuments,
    /// A null under mapAccounts is the account with the empty name, which never matches.
    AccountEmpty,
}

/// Why an entry has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IgnoredReason {
    /// Not a mapping, or under mapAccounts not a scalar.
    WrongType {
        found: String,
    },
    /// Neither an ARN nor, under mapRoles, an `sso` pattern.
    MissingPrincipal,
    /// Both `rolearn` and `sso`.
    AmbiguousPrincipal,
    InvalidAccountId {
        found: String,
    },
    InvalidPermissionSetName {
        found: String,
    },
    UnknownPartition {
        found: String,
    },
}
