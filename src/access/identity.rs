//! Who somebody is to the API server: a username and groups, whether asked about an ARN or about a bare name.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`doMapping`); k8s.io/apiserver v0.36.3
//! `authentication/group` (`AuthenticatedGroupAdder`), `authentication/serviceaccount`, `authentication/user`.

use std::fmt;

use thiserror::Error;

use super::iam_identity::IamIdentity;
use super::identity_mapping::{EntryRef, IdentityMapping, MappedEntry, UnmatchableReason};
use super::template::{NotInstanceSession, RenderedName, render_template};
use crate::names::ArnError;
use crate::state::rbac::Subject;

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const ANONYMOUS: &str = "system:anonymous";
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubjectQuery {
    Arn(IamIdentity),
    /// Any principal of an account that has no entry of its own.
    Account(String),
    User(String),
    /// Somebody of whom the group alone is known.
    Group(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
}

/// Why a text says of nobody who he is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SubjectQueryError {
    #[error("{0}")]
    Arn(ArnError),
    #[error("a service account is written `sa:NAMESPACE/NAME`")]
    ServiceAccount,
    #[error("`{0}` is neither an ARN nor `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`")]
    Unknown(String),
}

impl SubjectQuery {
    /// Parses a SUBJECT of the command line; principals of a policy by name are known elsewhere.
    ///
    /// # Errors
    /// A text that names nobody.
    pub(crate) fn parse(text: &str) -> Result<Self, SubjectQueryError> {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let unknown = || SubjectQueryError::Unknown(text.to_owned());
        match text.split_once(':') {
            Some(("arn", _)) => IamIdentity::parse(text).map(Self::Arn).map_err(SubjectQueryError::Arn),
            Some(("user", name)) => some(name).map(Self::User).ok_or_else(unknown),
            Some(("group", name)) => some(name).map(Self::Group).ok_or_else(unknown),
            Some(("account", id)) => some(id).map(Self::Account).ok_or_else(unknown),
            Some(("sa", path)) => match path.split_once('/') {
                Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                    Ok(Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
                }
                _ => Err(SubjectQueryError::ServiceAccount),
            },
            _ => Err(unknown()),
        }
    }

    /// The subject of a binding, asked about by itself.
    pub(crate) fn from_subject(subject: &Subject) -> Self {
        match subject {
            Subject::Group(name) => Self::Group(name.clone()),
            Subject::User(name) => Self::from_username(name),
            Subject::ServiceAccount { namespace, name } => {
                Self::ServiceAccount { namespace: namespace.clone(), name: name.clone() }
            }
        }
    }

    /// A user by that name; a service account where the name is one of its names.
    pub(crate) fn from_username(name: &str) -> Self {
        match parse_service_account_username(name) {
            Some((namespace, account)) => {
                Self::ServiceAccount { namespace: namespace.to_owned(), name: account.to_owned() }
            }
            None => Self::User(name.to_owned()),
        }
    }
}

impl fmt::Display for SubjectQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(caller) => caller.fmt(f),
            Self::Account(id) => write!(f, "account:{id}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "sa:{namespace}/{name}"),
        }
    }
}

/// The namespace and name in the username of a service account.
fn parse_service_account_username(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

pub(super) fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// How somebody came to be who he is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentitySource {
    /// The question said so.
    Query,
    Entry(EntryRef),
    /// mapAccounts admits the whole account.
    Account(EntryRef),
}

/// What the API server knows of a caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Nobody in particular, where the question is about a group.
    pub(crate) username: Option<RenderedName>,
    pub(crate) groups: Vec<RenderedName>,
    pub(crate) source: IdentitySource,
}

/// Why the authenticator lets somebody not in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DenialReason {
    NotMapped {
        /// Entries that look meant for him and never answer.
        near_misses: Vec<(EntryRef, UnmatchableReason)>,
    },
    /// The entry is for machines.
    NotAnInstance { entry: EntryRef, fault: NotInstanceSession },
}

/// What becomes of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authentication {
    Identity(Identity),
    Denied(DenialReason),
    /// Several entries answer, another at each login.
    Ambiguous(Vec<Result<Identity, DenialReason>>),
}

impl Authentication {
    /// Everyone whom the caller may be.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        let (one, many): (Option<&Identity>, &[Result<Identity, DenialReason>]) = match self {
            Self::Identity(identity) => (Some(identity), &[]),
            Self::Denied(_) => (None, &[]),
            Self::Ambiguous(logins) => (None, logins),
        };
        one.into_iter().chain(many.iter().filter_map(|login| login.as_ref().ok()))
    }

    pub(super) fn for_query(who: &SubjectQuery, mapping: &IdentityMapping) -> Self {
        let asked = |username: Option<&str>, groups: &[&str]| {
            let literal = |text: &str| RenderedName::Literal(text.to_owned());
            let groups = groups.iter().map(|group| literal(group)).collect();
            Self::Identity(Identity::new_authenticated(username.map(literal), groups, IdentitySource::Query))
        };
        match who {
            SubjectQuery::Arn(caller) => Self::for_iam_identity(caller, mapping, mapping),
            SubjectQuery::Account(id) => match mapping.account_entry(id) {
                Some(place) => Self::Identity(Identity::new_authenticated(
                    Some(RenderedName::PerSession(format!("the ARN of a principal of {id}"))),
                    Vec::new(),
                    IdentitySource::Account(place.clone()),
                )),
                None => Self::Denied(DenialReason::NotMapped { near_misses: Vec::new() }),
            },
            SubjectQuery::User(name) if name == ANONYMOUS => asked(Some(name), &[UNAUTHENTICATED]),
            SubjectQuery::User(name) => match parse_service_account_username(name) {
                Some((namespace, _)) => asked(Some(name), &[SERVICE_ACCOUNTS, &namespace_group(namespace)]),
                None => asked(Some(name), &[]),
            },
            // Whoever is in the group of a namespace is in that of all service accounts.
            SubjectQuery::Group(name) if is_namespace_group(name) => asked(None, &[name, SERVICE_ACCOUNTS]),
            SubjectQuery::Group(name) => asked(None, &[name]),
            SubjectQuery::ServiceAccount { namespace, name } => {
                let username = service_account_username(namespace, name);
                asked(Some(&username), &[SERVICE_ACCOUNTS, &namespace_group(namespace)])
            }
        }
    }

    /// The entries of the one mapping answer, and the accounts of the other.
    pub(super) fn for_iam_identity(
        caller: &IamIdentity,
        mapping: &IdentityMapping,
        accounts: &IdentityMapping,
    ) -> Self {
        let mut logins: Vec<_> =
            mapping.entries_for(caller).iter().map(|mapped| Identity::from_entry(caller, mapped)).collect();
        if let Some(place) = accounts.account_entry(caller.account()).filter(|_| logins.is_empty()) {
            let name = RenderedName::Literal(caller.canonical().to_owned());
            logins.push(Ok(Identity::new_authenticated(
                Some(name),
                Vec::new(),
                IdentitySource::Account(place.clone()),
            )));
        }
        match (logins.pop(), logins.is_empty()) {
            (None, _) => Self::Denied(DenialReason::NotMapped { near_misses: mapping.near_misses(caller) }),
            (Some(Ok(identity)), true) => Self::Identity(identity),
            (Some(Err(denial)), true) => Self::Denied(denial),
            (Some(last), false) => {
                logins.push(last);
                Self::Ambiguous(logins)
            }
        }
    }
}

fn namespace_group(namespace: &str) -> String {
    format!("{SERVICE_ACCOUNTS}:{namespace}")
}

fn is_namespace_group(group: &str) -> bool {
    group.strip_prefix(SERVICE_ACCOUNTS).is_some_and(|rest| rest.len() > 1 && rest.starts_with(':'))
}

impl Identity {
    /// Whom an entry makes of a caller; the login fails where one template fails.
    fn from_entry(caller: &IamIdentity, mapped: &MappedEntry) -> Result<Self, DenialReason> {
        let name = |template: &String| {
            render_template(template, caller)
                .map_err(|fault| DenialReason::NotAnInstance { entry: mapped.entry_ref.clone(), fault })
        };
        let username = name(&mapped.entry.username)?;
        let groups = mapped.entry.groups.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new_authenticated(Some(username), groups, IdentitySource::Entry(mapped.entry_ref.clone())))
    }

    /// Adds the group of everybody who logged in, as the API server does.
    fn new_authenticated(
        username: Option<RenderedName>,
        mut groups: Vec<RenderedName>,
        source: IdentitySource,
    ) -> Self {
        let anonymous = username.as_ref().and_then(RenderedName::as_literal) == Some(ANONYMOUS);
        let known = |group: &RenderedName| matches!(group.as_literal(), Some(AUTHENTICATED | UNAUTHENTICATED));
        if !anonymous && !groups.iter().any(known) {
            groups.push(RenderedName::Literal(AUTHENTICATED.to_owned()));
        }
        Self { username, groups, source }
    }

    pub(crate) fn is_in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name.as_literal() == Some(group))
    }

    /// Allowed before RBAC is asked (kubernetes `kubeapiserver/authorizer/reload.go`, the privileged group).
    pub(crate) fn is_in_system_masters(&self) -> bool {
        self.is_in_group(MASTERS)
    }

    /// Whether some session of his is one of them.
    pub(crate) fn may_be_in_system_masters(&self) -> bool {
        self.groups.iter().any(|group| group.can_equal(MASTERS))
    }

    /// The Node authorizer answers for these beside RBAC (`nodeidentifier/default.go`).
    pub(crate) fn is_node(&self) -> bool {
        self.is_in_group(NODES) && self.username.as_ref().is_some_and(|name| name.as_str().starts_with(NODE_PREFIX))
    }

    /// Whether a binding's subject means this one (kubernetes `registry/rbac/validation/rule.go`, `appliesToUser`).
    pub(crate) fn matches_subject(&self, subject: &Subject) -> bool {
        let username = self.username.as_ref().and_then(RenderedName::as_literal);
        match subject {
            Subject::Group(name) => self.is_in_group(name),
            Subject::User(name) => username == Some(name),
            Subject::ServiceAccount { namespace, name } => username
                .and_then(|username| username.strip_prefix(SERVICE_ACCOUNT_PREFIX))
                .and_then(|rest| rest.strip_prefix(namespace.as_str())?.strip_prefix(':'))
                .is_some_and(|rest| rest == name),
        }
    }

    /// Every subject that means this identity.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let username = self.username.as_ref().and_then(RenderedName::as_literal);
        let groups =
            self.groups.iter().filter_map(RenderedName::as_literal).map(|name| Subject::Group(name.to_owned()));
        let user = username.map(|name| Subject::User(name.to_owned()));
        let accounts = Self::service_account_parts(username.unwrap_or_default()).map(|(namespace, name)| {
            Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
        });
        groups.chain(user).chain(accounts)
    }

    /// The entry of aws-auth that made this identity.
    pub(crate) fn entry(&self) -> Option<&EntryRef> {
        match &self.source {
            IdentitySource::Query => None,
            IdentitySource::Entry(place) | IdentitySource::Account(place) => Some(place),
        }
    }

    /// Every namespace and name that `is_meant_by` would take for this username.
    pub(super) fn service_account_parts(username: &str) -> impl Iterator<Item = (&str, &str)> {
        let rest = username.strip_prefix(SERVICE_ACCOUNT_PREFIX).unwrap_or_default();
        rest.match_indices(':').filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 1..)?)))
    }
}
