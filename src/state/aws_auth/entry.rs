//! The sections of aws-auth, and an entry as the authenticator has it in memory.

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

    /// Returns the key in the ConfigMap's data.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Roles => "mapRoles",
            Self::Users => "mapUsers",
            Self::Accounts => "mapAccounts",
        }
    }

    /// Returns the key of an entry's principal. Entries of mapAccounts are scalars without keys.
    pub(crate) fn principal_key(self) -> &'static str {
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

/// The principal that an entry maps, spelled as in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryPrincipal {
    /// The value of `rolearn`. The authenticator also accepts the ARN of a user there.
    Role(String),
    User(String),
    Sso(SsoArnMatcher),
    Account(String),
}

/// The `sso` key: a pattern for the roles of one permission set. On EKS it never matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SsoArnMatcher {
    pub(crate) permission_set_name: String,
    pub(crate) account_id: String,
    /// Empty if the entry has none.
    pub(crate) partition: String,
}

/// An entry as the authenticator has it. The entry of an account has no username and no groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) principal: EntryPrincipal,
    /// If it is empty, the identity has an empty username and still has the groups.
    pub(crate) username: String,
    /// Can contain empty and repeated names.
    pub(crate) groups: Vec<String>,
}

/// An entry to write. For an account, username and groups are empty.
pub(crate) type NewEntry = Entry;
