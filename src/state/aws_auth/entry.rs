//! The nouns of aws-auth: its sections, and an entry as the authenticator has it in memory.

use std::fmt;

/// One of the three data keys that the authenticator reads; it ignores `maproles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Roles,
    Users,
    Accounts,
}

impl Section {
    pub(crate) const ALL: [Self; 3] = [Self::Roles, Self::Users, Self::Accounts];

    /// The key in the ConfigMap's data.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Roles => "mapRoles",
            Self::Users => "mapUsers",
            Self::Accounts => "mapAccounts",
        }
    }

    /// The key of an entry's principal, where entries have keys.
    pub(super) fn principal_key(self) -> &'static str {
        match self {
            Self::Roles | Self::Accounts => "rolearn",
            Self::Users => "userarn",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// Whom an entry admits, spelled as in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryPrincipal {
    /// What stands as `rolearn`; a user's ARN works there, too.
    Role(String),
    User(String),
    Sso(SsoArnMatcher),
    Account(String),
}

/// A pattern for the roles of one permission set. EKS never matches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SsoArnMatcher {
    pub(crate) permission_set_name: String,
    pub(crate) account_id: String,
    /// Empty where none is written.
    pub(crate) partition: String,
}

/// What the authenticator has. An account has neither username nor groups of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) principal: EntryPrincipal,
    /// May be empty: the caller then has no name, but the groups.
    pub(crate) username: String,
    /// May hold empty names and repeat.
    pub(crate) groups: Vec<String>,
}

/// An entry to be written; an account leaves the other two empty.
pub(crate) type NewEntry = Entry;
