//! Policy to the state that it wants of one cluster: bare names, groups and namespace selectors spelled out.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::check::{account_of, username_of};
use super::model::{At, Binding, BoundRole, ClusterRoleContent, Identity, NamespaceSelector, Policy, Principal};
use super::scope::is_for;
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::names::{Arn, ObjectKey, PrincipalKind};
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::meta::{Labels, Meta};
use crate::state::object;
use crate::state::owner::{self, AGGREGATE_PREFIX};
use crate::state::rbac::{RoleRef, Selector, Subject};

/// An object or entry that the policy wants, and where it says so.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A role with the labels that the policy asks for; the marks are not in it yet.
#[derive(Debug, Clone)]
pub(crate) struct WantedRole {
    pub(crate) role: object::Role,
    pub(crate) labels: Labels,
}

/// An entry of aws-auth that the policy wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedEntry {
    pub(crate) section: Section,
    /// ARN as aws-auth needs it, or the account.
    pub(crate) principal: String,
    pub(crate) username: String,
    /// In the order of the policy, each once.
    pub(crate) groups: Vec<String>,
    /// The real ARN where aws-auth has another spelling.
    pub(crate) written_as: Option<String>,
}

/// Everything that the policy wants of one cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    pub(crate) entries: Vec<Wanted<WantedEntry>>,
    pub(crate) roles: BTreeMap<ObjectKey, Wanted<WantedRole>>,
    pub(crate) bindings: BTreeMap<ObjectKey, Wanted<object::Binding>>,
}

/// What the policy names and the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Missing {
    #[error("the namespace `{name}` does not exist in the cluster")]
    Namespace { name: String, nearest: Option<String> },
    #[error("no namespace of the cluster is meant by `{selector}`")]
    NothingSelected { selector: String },
    #[error("the ClusterRole `{name}` is neither in the policy nor in the cluster")]
    ClusterRole { name: String, nearest: Option<String> },
    #[error("the Role `{name}` is in the namespace `{namespace}` neither by the policy nor in the cluster")]
    Role { name: String, namespace: String },
    #[error("the {kind} `{name}` leaves with this plan: this policy owns it and does not define it any more")]
    Leaving { kind: &'static str, name: String },
}

impl Missing {
    fn diagnostic(&self, span: Span) -> Diagnostic {
        let base = match self {
            Self::NothingSelected { .. } => Diagnostic::warning(self.to_string()),
            _ => Diagnostic::error(self.to_string()),
        };
        let hint = match self {
            Self::Namespace { nearest: Some(near), .. } | Self::ClusterRole { nearest: Some(near), .. } => {
                format!("did you mean `{near}`?")
            }
            Self::Namespace { .. } => "create it first, or take it out of the policy".to_owned(),
            Self::NothingSelected { .. } => {
                "nothing is made until such a namespace exists; then plan shows it".to_owned()
            }
            Self::ClusterRole { .. } => "define it under `[cluster-roles]`, or create it first".to_owned(),
            Self::Role { .. } => "define it under `[roles]` for this namespace, or create it first".to_owned(),
            Self::Leaving { .. } => "define it again, or bind another role".to_owned(),
        };
        base.at(span, "").hint(hint)
    }
}

/// The state that the policy wants of `cluster`, whose namespaces and roles are in `live`.
///
/// # Errors
/// All that the policy names and the cluster lacks. With a state come warnings.
pub(crate) fn expand(
    policy: &Policy,
    cluster: Option<&str>,
    live: &State,
) -> Result<(Desired, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut work = Expansion { policy, cluster, live, found: Vec::new() };
    let mut desired = Desired { entries: work.entries(), ..Desired::default() };
    work.cluster_roles(&mut desired);
    work.roles(&mut desired);
    work.bindings(&mut desired);
    let mut found = work.found;
    found.dedup();
    if found.iter().any(Diagnostic::is_error) { Err(found) } else { Ok((desired, found)) }
}

struct Expansion<'a> {
    policy: &'a Policy,
    cluster: Option<&'a str>,
    live: &'a State,
    found: Vec<Diagnostic>,
}

impl<'a> Expansion<'a> {
    fn miss(&mut self, missing: &Missing, span: Span) {
        self.found.push(missing.diagnostic(span));
    }

    fn is_here(&self, filter: &Option<Vec<At<String>>>) -> bool {
        is_for(filter.as_deref(), self.cluster)
    }

    fn entries(&self) -> Vec<Wanted<WantedEntry>> {
        let account = account_of(self.policy, self.cluster);
        let mut out = Vec::with_capacity(self.policy.principals.len());
        let members = self.members();
        for (name, principal) in &self.policy.principals {
            if !self.is_here(&principal.clusters) {
                continue;
            }
            let groups = members.get(name.as_str()).cloned().unwrap_or_default();
            let value = match (&principal.identity.value, principal.identity.value.arn(account)) {
                (Identity::Account(id), _) => WantedEntry {
                    section: Section::Accounts,
                    principal: id.to_string(),
                    username: String::new(),
                    groups: Vec::new(),
                    written_as: None,
                },
                (_, Some(arn)) => wanted_entry(principal, &arn, groups, username_of(principal, account)),
                (_, None) => continue,
            };
            out.push(Wanted { value, span: principal.span });
        }
        out
    }

    /// The groups of each principal: by its own list first, then by the groups' members, each once.
    fn members(&self) -> BTreeMap<&'a str, Vec<String>> {
        let mut out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let here = |group: &str| self.policy.groups.get(group).is_some_and(|group| self.is_here(&group.clusters));
        let own = self.policy.principals.iter().flat_map(|(name, principal)| {
            principal.groups.iter().map(move |group| (name.as_str(), group.value.as_str()))
        });
        let listed = self.policy.groups.iter().flat_map(|(group, content)| {
            content.members.iter().map(move |member| (member.value.as_str(), group.as_str()))
        });
        for (member, group) in own.chain(listed) {
            if here(group) && seen.insert((member, group)) {
                out.entry(member).or_default().push(group.to_owned());
            }
        }
        out
    }

    fn cluster_roles(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.cluster_roles {
            if !self.is_here(&item.clusters) {
                continue;
            }
            let mut labels = item.labels.clone();
            for role in &item.aggregate_to {
                labels.insert(format!("{AGGREGATE_PREFIX}{}", role.value), "true".to_owned());
            }
            let (rules, aggregation) = match &item.content {
                ClusterRoleContent::Rules(rules) => (rules.clone(), None),
                ClusterRoleContent::Aggregation(selectors) => {
                    let selector =
                        |labels: &Labels| Selector { match_labels: labels.clone(), match_expressions: Vec::new() };
                    (Vec::new(), Some(selectors.iter().map(selector).collect()))
                }
            };
            let role = object::Role { meta: Meta::default(), rules, aggregation };
            let value = WantedRole { role, labels };
            desired.roles.insert(ObjectKey::cluster_role(name), Wanted { value, span: item.span });
        }
    }

    fn roles(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.roles {
            if !self.is_here(&item.clusters) {
                continue;
            }
            for namespace in self.namespaces(&item.namespaces) {
                let role = object::Role { meta: Meta::default(), rules: item.rules.clone(), aggregation: None };
                let value = WantedRole { role, labels: item.labels.clone() };
                desired.roles.insert(ObjectKey::role(namespace, name), Wanted { value, span: item.span });
            }
        }
    }

    /// The namespaces meant, each once; a name that does not exist is an error.
    fn namespaces(&mut self, selectors: &'a [At<NamespaceSelector>]) -> BTreeSet<&'a str> {
        let mut out = BTreeSet::new();
        for selector in selectors {
            let meant = selector.value.select(&self.live.namespaces);
            if meant.is_empty() {
                let missing = match &selector.value {
                    NamespaceSelector::Name(name) => Missing::Namespace {
                        name: name.clone(),
                        nearest: nearest(name, self.live.namespaces.keys().map(String::as_str)).map(str::to_owned),
                    },
                    NamespaceSelector::Glob(glob) => Missing::NothingSelected { selector: glob.as_str().to_owned() },
                    NamespaceSelector::Labels(labels) => Missing::NothingSelected {
                        selector: Selector { match_labels: labels.clone(), match_expressions: Vec::new() }.to_string(),
                    },
                };
                self.miss(&missing, selector.span);
            }
            out.extend(meant);
        }
        out
    }

    fn bindings(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.bindings {
            if !self.is_here(&item.clusters) {
                continue;
            }
            let role_ref = match &item.role.value {
                BoundRole::ClusterRole(role) => RoleRef::ClusterRole(role.clone()),
                BoundRole::Role(role) => RoleRef::Role(role.clone()),
            };
            let places: Vec<Option<&str>> = match &item.namespaces {
                None => vec![None],
                Some(selectors) => self.namespaces(selectors).into_iter().map(Some).collect(),
            };
            if let RoleRef::ClusterRole(role) = &role_ref {
                self.role_exists(&ObjectKey::cluster_role(role), desired, item.role.span);
            }
            for namespace in places {
                if let (RoleRef::Role(role), Some(namespace)) = (&role_ref, namespace) {
                    self.role_exists(&ObjectKey::role(namespace, role), desired, item.role.span);
                }
                let value = object::Binding {
                    meta: Meta::default(),
                    role_ref: role_ref.clone(),
                    subjects: self.subjects(item, namespace),
                };
                desired.bindings.insert(ObjectKey::binding(namespace, name), Wanted { value, span: item.span });
            }
        }
    }

    fn role_exists(&mut self, key: &ObjectKey, desired: &Desired, span: Span) {
        if desired.roles.contains_key(key) {
            return;
        }
        let name = key.name().to_owned();
        let missing = match self.live.roles.get(key) {
            Some(role) if owner::owner(&role.meta, &self.policy.name.value) == owner::Owner::Ours => {
                Missing::Leaving { kind: key.kind().word(), name: key.path() }
            }
            Some(_) => return,
            None => match key.namespace() {
                Some(namespace) => Missing::Role { name, namespace: namespace.to_owned() },
                None => {
                    let known = desired.roles.keys().chain(self.live.roles.keys());
                    let names = known.filter(|other| other.kind() == key.kind()).map(ObjectKey::name);
                    Missing::ClusterRole { nearest: nearest(&name, names).map(str::to_owned), name }
                }
            },
        };
        self.miss(&missing, span);
    }

    fn subjects(&self, item: &Binding, namespace: Option<&str>) -> Vec<Subject> {
        let account = account_of(self.policy, self.cluster);
        let groups = item
            .groups
            .iter()
            .filter(|group| self.policy.groups.get(&group.value).is_none_or(|group| self.is_here(&group.clusters)))
            .map(|group| Subject::Group(group.value.clone()));
        let principals = item
            .principals
            .iter()
            .filter_map(|name| self.policy.principals.get(&name.value))
            .filter(|principal| self.is_here(&principal.clusters))
            .filter_map(|principal| username_of(principal, account))
            .map(Subject::User);
        let users = item.users.iter().map(|user| Subject::User(user.value.clone()));
        let accounts = item.service_accounts.iter().filter_map(|account| {
            let own = account.value.namespace.as_deref().or(namespace)?;
            Some(Subject::ServiceAccount { namespace: own.to_owned(), name: account.value.name.clone() })
        });
        let mut seen = BTreeSet::new();
        let all = groups.chain(principals).chain(users).chain(accounts);
        all.filter(|subject| seen.insert(subject.clone())).collect()
    }
}

fn wanted_entry(principal: &Principal, arn: &Arn, groups: Vec<String>, username: Option<String>) -> WantedEntry {
    let needed = principal.kind.needs().map(|(_, groups)| groups).unwrap_or_default();
    let mut all: Vec<String> = needed.iter().map(|group| (*group).to_owned()).collect();
    for group in groups {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    WantedEntry {
        section: match arn.kind() {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        },
        principal: arn.for_aws_auth(),
        username: username.unwrap_or_default(),
        groups: all,
        written_as: arn.has_role_path().then(|| arn.to_string()),
    }
}
