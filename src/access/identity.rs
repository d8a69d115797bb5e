//! The identity of a subject to the API server, which is a username and groups, and the subject that a query is about.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`doMapping`); k8s.io/apiserver v0.36.3
//! `authentication/group` (`AuthenticatedGroupAdder`), `authentication/serviceaccount`, `authentication/user`.

use std::fmt;

use thiserror::Error;

use super::iam_identity::IamIdentity;
use super::identity_mapping::{AwsAuthUse, EntryRef, IdentityMapping, MappedEntry, UnmatchableReason};
use super::template::{NotInstanceSession, RenderedName, render_template};
use crate::names::ArnError;
use crate::state::rbac::Subject;

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const ANONYMOUS: &str = "system:anonymous";
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
pub(super) const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The subject that a query is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubjectQuery {
    Arn(IamIdentity),
    /// Any principal of an account that has no entry of its own.
    Account(String),
    User(String),
    /// A member of the group whose username and other groups are unknown.
    Group(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
}

/// Why a text is not a subject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SubjectQueryError {
    #[error("{0}")]
    Arn(ArnError),
    #[error("expected `sa:NAMESPACE/NAME`")]
    ServiceAccount,
    #[error("unknown subject `{0}`")]
    Unknown(String),
}

impl SubjectQuery {
    /// Parses a SUBJECT of the command line. The caller looks up principal names of a policy first.
    ///
    /// # Errors
    /// If the text is not an ARN and has none of the known prefixes, or if the rest after the prefix is invalid.
    pub(crate) fn parse(text: &str) -> Result<Self, SubjectQueryError> {
        let non_empty = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let unknown = || SubjectQueryError::Unknown(text.to_owned());
        match text.split_once(':') {
            Some(("arn", _)) => IamIdentity::parse(text).map(Self::Arn).map_err(SubjectQueryError::Arn),
            Some(("user", name)) => non_empty(name).map(|name| Self::from_username(&name)).ok_or_else(unknown),
            Some(("group", name)) => non_empty(name).map(Self::Group).ok_or_else(unknown),
            Some(("account", id)) => non_empty(id).map(Self::Account).ok_or_else(unknown),
            Some(("sa", path)) => match path.split_once('/') {
                Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                    Ok(Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
                }
                _ => Err(SubjectQueryError::ServiceAccount),
            },
            _ => Err(unknown()),
        }
    }

    /// Returns the query about the subject of a binding.
    pub(crate) fn from_subject(subject: &Subject) -> Self {
        match subject {
            Subject::Group(name) => Self::Group(name.clone()),
            Subject::User(name) => Self::from_username(name),
            Subject::ServiceAccount { namespace, name } => {
                Self::ServiceAccount { namespace: namespace.clone(), name: name.clone() }
            }
            Subject::AccessEntry(principal) => Self::Arn(IamIdentity::from_access_entry(principal)),
        }
    }

    /// Returns the query about a username. The username of a service account becomes a query about that service
    /// account.
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
            Self::Arn(iam_identity) => iam_identity.fmt(f),
            Self::Account(id) => write!(f, "account:{id}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "sa:{namespace}/{name}"),
        }
    }
}

/// Returns the namespace and name in the username of a service account.
fn parse_service_account_username(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

pub(super) fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// What assigned the username and groups of an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentitySource {
    /// The query names them.
    Query,
    /// An access entry, or an entry of mapRoles or mapUsers.
    Entry(EntryRef),
    /// An entry of mapAccounts, which maps every principal of the account.
    Account(EntryRef),
}

/// A username and groups: what the API server knows about the sender of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// `None` if the query is about a group.
    pub(crate) username: Option<RenderedName>,
    pub(crate) groups: Vec<RenderedName>,
    pub(crate) source: IdentitySource,
}

/// Why an AWS principal cannot authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DenialReason {
    /// The cluster has no ConfigMap aws-auth, and no access entry names the principal.
    NoAwsAuth,
    /// No access entry names the principal, and the cluster does not read aws-auth.
    NoAccessEntry,
    NotMapped {
        /// Entries that seem to name the principal but never match it.
        near_misses: Vec<(EntryRef, UnmatchableReason)>,
    },
    /// The entry uses `{{EC2PrivateDNSName}}`, and the session is not one of an EC2 instance.
    NotAnInstance { entry: EntryRef, error: NotInstanceSession },
}

impl DenialReason {
    /// Returns why a principal that no entry matches cannot authenticate.
    fn for_unmapped(mapping: &IdentityMapping, near_misses: Vec<(EntryRef, UnmatchableReason)>) -> Self {
        match mapping.aws_auth {
            AwsAuthUse::Missing => Self::NoAwsAuth,
            AwsAuthUse::Read => Self::NotMapped { near_misses },
            AwsAuthUse::NotRead => Self::NoAccessEntry,
        }
    }
}

/// The stores of principals, each of which can be that of another state.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreMappings<'m> {
    pub(super) access_entries: &'m IdentityMapping,
    /// mapRoles and mapUsers.
    pub(super) aws_auth: &'m IdentityMapping,
    /// mapAccounts.
    pub(super) accounts: &'m IdentityMapping,
}

impl<'m> StoreMappings<'m> {
    pub(super) fn all_of(mapping: &'m IdentityMapping) -> Self {
        Self { access_entries: mapping, aws_auth: mapping, accounts: mapping }
    }
}

/// The result of authenticating a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authentication {
    Identity(Identity),
    Denied(DenialReason),
    /// Several entries match, and the authenticator chooses one of them at random for each token. Each entry has its own
    /// result.
    Ambiguous(Vec<Result<Identity, DenialReason>>),
}

impl Authentication {
    /// Returns every identity that the subject can have.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        let (identity, results): (Option<&Identity>, &[Result<Identity, DenialReason>]) = match self {
            Self::Identity(identity) => (Some(identity), &[]),
            Self::Denied(_) => (None, &[]),
            Self::Ambiguous(results) => (None, results),
        };
        identity.into_iter().chain(results.iter().filter_map(|result| result.as_ref().ok()))
    }

    /// Returns whether a username or a group depends on the session.
    pub(super) fn has_session_names(&self) -> bool {
        let mut names = self.identities().flat_map(|identity| identity.username.iter().chain(&identity.groups));
        names.any(|name| matches!(name, RenderedName::PerSession(_)))
    }

    pub(super) fn for_query(query: &SubjectQuery, mapping: &IdentityMapping) -> Self {
        let from_names = |username: Option<&str>, groups: &[&str]| {
            let literal = |text: &str| RenderedName::Literal(text.to_owned());
            let groups = groups.iter().map(|group| literal(group)).collect();
            Self::Identity(Identity::new_authenticated(username.map(literal), groups, IdentitySource::Query))
        };
        match query {
            SubjectQuery::Arn(iam_identity) => Self::for_iam_identity(iam_identity, &StoreMappings::all_of(mapping)),
            SubjectQuery::Account(id) => match mapping.account_entry(id) {
                Some(entry) => Self::Identity(Identity::new_authenticated(
                    Some(RenderedName::account_principal(id)),
                    Vec::new(),
                    IdentitySource::Account(entry.clone()),
                )),
                None => Self::Denied(DenialReason::for_unmapped(mapping, Vec::new())),
            },
            SubjectQuery::User(name) if name == ANONYMOUS => from_names(Some(name), &[UNAUTHENTICATED]),
            SubjectQuery::User(name) => match parse_service_account_username(name) {
                Some((namespace, _)) => from_names(Some(name), &[SERVICE_ACCOUNTS, &namespace_group(namespace)]),
                None => from_names(Some(name), &[]),
            },
            // A service account in the group of its namespace is also in the group of all service accounts.
            SubjectQuery::Group(name) if is_namespace_group(name) => from_names(None, &[name, SERVICE_ACCOUNTS]),
            SubjectQuery::Group(name) => from_names(None, &[name]),
            SubjectQuery::ServiceAccount { namespace, name } => {
                let username = service_account_username(namespace, name);
                from_names(Some(&username), &[SERVICE_ACCOUNTS, &namespace_group(namespace)])
            }
        }
    }

    /// Authenticates with the access entry of the identity, otherwise with its entries in mapRoles and mapUsers, otherwise
    /// with the entry of its account in mapAccounts.
    pub(super) fn for_iam_identity(iam_identity: &IamIdentity, stores: &StoreMappings<'_>) -> Self {
        let mapping = stores.aws_auth;
        let entries =
            Some(stores.access_entries.access_entries_for(iam_identity)).filter(|entries| !entries.is_empty());
        let entries = entries.unwrap_or_else(|| mapping.aws_auth_entries_for(iam_identity));
        let mut results: Vec<_> = entries.iter().map(|mapped| Identity::from_entry(iam_identity, mapped)).collect();
        if let Some(entry) = stores.accounts.account_entry(iam_identity.account()).filter(|_| results.is_empty()) {
            let username = RenderedName::Literal(iam_identity.canonical().to_owned());
            let source = IdentitySource::Account(entry.clone());
            results.push(Ok(Identity::new_authenticated(Some(username), Vec::new(), source)));
        }
        match (results.pop(), results.is_empty()) {
            (None, _) => Self::Denied(DenialReason::for_unmapped(mapping, mapping.near_misses(iam_identity))),
            (Some(Ok(identity)), true) => Self::Identity(identity),
            (Some(Err(denial)), true) => Self::Denied(denial),
            (Some(last), false) => {
                results.push(last);
                Self::Ambiguous(results)
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
    /// Returns the identity that an entry gives to an AWS principal.
    ///
    /// # Errors
    /// If the username or one of the groups cannot be rendered. The authenticator then rejects the token.
    fn from_entry(iam_identity: &IamIdentity, mapped: &MappedEntry) -> Result<Self, DenialReason> {
        let render = |template: &String| {
            render_template(template, iam_identity)
                .map_err(|error| DenialReason::NotAnInstance { entry: mapped.entry_ref.clone(), error })
        };
        let username = render(&mapped.entry.username)?;
        let groups = mapped.entry.groups.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new_authenticated(Some(username), groups, IdentitySource::Entry(mapped.entry_ref.clone())))
    }

    /// Adds the group `system:authenticated`, as the API server does (`AuthenticatedGroupAdder`).
    fn new_authenticated(
        username: Option<RenderedName>,
        mut groups: Vec<RenderedName>,
        source: IdentitySource,
    ) -> Self {
        let is_anonymous = username.as_ref().and_then(RenderedName::as_literal) == Some(ANONYMOUS);
        let is_authentication_group =
            |group: &RenderedName| matches!(group.as_literal(), Some(AUTHENTICATED | UNAUTHENTICATED));
        if !is_anonymous && !groups.iter().any(is_authentication_group) {
            groups.push(RenderedName::Literal(AUTHENTICATED.to_owned()));
        }
        Self { username, groups, source }
    }

    pub(crate) fn is_in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name.as_literal() == Some(group))
    }

    /// Whether the identity is in `system:masters`, whose requests are all allowed before RBAC is consulted (kubernetes
    /// `kubeapiserver/authorizer/reload.go`, the privileged group).
    pub(crate) fn is_in_system_masters(&self) -> bool {
        self.is_in_group(MASTERS)
    }

    /// Returns whether at least one session of this identity is in `system:masters`.
    pub(crate) fn may_be_in_system_masters(&self) -> bool {
        self.groups.iter().any(|group| group.can_equal(MASTERS))
    }

    /// Returns whether the Node authorizer allows requests of this identity in addition to RBAC
    /// (`nodeidentifier/default.go`).
    pub(crate) fn is_node(&self) -> bool {
        self.is_in_group(NODES) && self.username.as_ref().is_some_and(|name| name.as_str().starts_with(NODE_PREFIX))
    }

    /// Returns whether a binding's subject matches this identity (kubernetes `registry/rbac/validation/rule.go`,
    /// `appliesToUser`).
    pub(crate) fn matches_subject(&self, subject: &Subject) -> bool {
        let username = self.username.as_ref().and_then(RenderedName::as_literal);
        match subject {
            Subject::Group(name) => self.is_in_group(name),
            Subject::User(name) => username == Some(name),
            Subject::ServiceAccount { namespace, name } => username
                .and_then(|username| username.strip_prefix(SERVICE_ACCOUNT_PREFIX))
                .and_then(|rest| rest.strip_prefix(namespace.as_str())?.strip_prefix(':'))
                .is_some_and(|rest| rest == name),
            Subject::AccessEntry(principal) => self.access_entry() == Some(principal),
        }
    }

    /// Returns the principal of the access entry that assigned this identity, as in the entry. Access policies are associated
    /// with the entry and not with its username or groups, so impersonating these does not give their access (Amazon EKS
    /// User Guide, "Associate access policies with access entries").
    pub(crate) fn access_entry(&self) -> Option<&str> {
        self.entry().filter(|entry| !entry.is_in_aws_auth()).map(|entry| entry.principal.as_str())
    }

    /// Returns every subject that matches this identity.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let username = self.username.as_ref().and_then(RenderedName::as_literal);
        let groups =
            self.groups.iter().filter_map(RenderedName::as_literal).map(|name| Subject::Group(name.to_owned()));
        let user = username.map(|name| Subject::User(name.to_owned()));
        let accounts = Self::service_account_parts(username.unwrap_or_default()).map(|(namespace, name)| {
            Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
        });
        let access_entry = self.access_entry().map(|principal| Subject::AccessEntry(principal.to_owned()));
        groups.chain(user).chain(accounts).chain(access_entry)
    }

    /// Returns the access entry or aws-auth entry that assigned this identity.
    pub(crate) fn entry(&self) -> Option<&EntryRef> {
        match &self.source {
            IdentitySource::Query => None,
            IdentitySource::Entry(entry) | IdentitySource::Account(entry) => Some(entry),
        }
    }

    /// Returns every split of a service account's username into namespace and name. `matches_subject` compares
    /// prefixes, so each colon may separate the two.
    pub(super) fn service_account_parts(username: &str) -> impl Iterator<Item = (&str, &str)> {
        let rest = username.strip_prefix(SERVICE_ACCOUNT_PREFIX).unwrap_or_default();
        rest.match_indices(':').filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 1..)?)))
    }
}
