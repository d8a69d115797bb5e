//! What a reader of the text would not expect: places where the authenticator has something else
//! than stands there. Findings are facts with a line; their words for people are made elsewhere.

/// One surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// In the section's text, counted from 1.
    pub(crate) line: usize,
    /// The index into the reading's entries, if it is about one that counts.
    pub(crate) entry_index: Option<usize>,
    pub(crate) kind: FindingKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// The entry does not count.
    EntryIgnored(IgnoredReason),
    /// The username is empty. `stands`: what is written instead of a text, if anything is.
    UsernameEmpty { found: Option<String> },
    /// There are no groups, because no list stands there.
    GroupsNotAList { found: String },
    /// One group is the empty text; it counts from 0.
    GroupEmpty { index: usize, found: String },
    /// A field of another type than a text is as if it were not there.
    FieldIgnored { key: String, found: String },
    /// Nobody reads this key; it stays.
    UnknownKey { key: String },
    /// The key counts in spite of its case.
    NonCanonicalKey { key: String, canonical: String },
    /// The key is overruled: by the same key again, or by a spelling that sorts behind it.
    KeyOverridden { key: String, by: String },
    /// Only the first document counts.
    ExtraDocuments,
    /// `~` under mapAccounts admits the account with the empty name, which nobody has.
    AccountEmpty,
}

/// Why an entry does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IgnoredReason {
    /// Not a mapping, or under mapAccounts not a scalar.
    WrongType {
        found: String,
    },
    /// Neither an ARN nor, for roles, an `sso` pattern.
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
