//! What a reader of the text would not expect: places where the authenticator has something else
//! than stands there. Findings are facts with a line; their words for people are made elsewhere.

/// One surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// In the section's text, counted from 1.
    pub(crate) line: usize,
    /// The index into the reading's entries, if it is about one that counts.
    pub(crate) entry: Option<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The entry does not count.
    Dropped(Drop),
    /// The username is empty. `stands`: what is written instead of a text, if anything is.
    UsernameBlank { stands: Option<String> },
    /// There are no groups, because no list stands there.
    GroupsBlank { stands: String },
    /// One group is the empty text; it counts from 0.
    GroupBlank { place: usize, stands: String },
    /// A field of another type than a text is as if it were not there.
    FieldIgnored { key: String, stands: String },
    /// Nobody reads this key; it stays.
    UnknownKey { key: String },
    /// The key counts in spite of its case.
    KeyCase { key: String, meant: String },
    /// The key is overruled: by the same key again, or by a spelling that sorts behind it.
    KeyShadowed { key: String, by: String },
    /// Only the first document counts.
    MoreDocuments,
    /// `~` under mapAccounts admits the account with the empty name, which nobody has.
    AccountBlank,
}

/// Why an entry does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Not a mapping, or under mapAccounts not a scalar.
    NotAnEntry {
        stands: String,
    },
    /// Neither an ARN nor, for roles, an `sso` pattern.
    NoPrincipal,
    /// Both `rolearn` and `sso`.
    TwoPrincipals,
    AccountId {
        stands: String,
    },
    PermissionSetName {
        stands: String,
    },
    Partition {
        stands: String,
    },
}
