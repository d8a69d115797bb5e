//! Policy to the state that it wants of one cluster: bare names, groups and namespace selectors spelled out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use thiserror::Error;

use super::check::{arn_defaults, username_of};
use super::clusters::applies_to_cluster;
use super::expiry::{Expiration, find_expiration, warn_if_expiring_soon};
use super::model::{
    BindingSpec, ClusterRoleContent, IdentitySpec, Located, NamespaceSelector, Policy, PrincipalSpec, RoleRefSpec,
};
use crate::diagnostic::{Diagnostic, Span, closest_match};
use crate::names::{Arn, ObjectKey, PrincipalKind};
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::object;
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, AGGREGATE_LABEL_PREFIX};
use crate::state::rbac::{LabelSelector, RoleRef, Subject};

/// An object or entry that the policy wants, and where it says so.
#[derive(Debug, Clone)]
pub(crate) struct DesiredItem<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A role with the labels that the policy asks for; the marks are not in it yet.
#[derive(Debug, Clone)]
pub(crate) struct DesiredRole {
    pub(crate) role: object::Role,
    pub(crate) labels: Labels,
}

/// An entry of aws-auth that the policy wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredEntry {
    pub(crate) section: Section,
    /// ARN as aws-auth needs it, or the account.
    pub(crate) principal: String,
    pub(crate) username: String,
    /// In the order of the policy, each once.
    pub(crate) groups: Vec<String>,
    /// The real ARN where aws-auth has another spelling.
    pub(crate) original_arn: Option<String>,
}

impl DesiredEntry {
    /// What the authenticator compares: see [`crate::state::config_map::entry_key`].
    pub(crate) fn key(&self) -> String {
        match self.section {
            Section::Accounts => self.principal.clone(),
            Section::Roles | Section::Users => self.principal.to_lowercase(),
        }
    }
}

/// Everything that the policy wants of one cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    pub(crate) entries: Vec<DesiredItem<DesiredEntry>>,
    pub(crate) roles: BTreeMap<ObjectKey, DesiredItem<DesiredRole>>,
    pub(crate) bindings: BTreeMap<ObjectKey, DesiredItem<object::Binding>>,
    /// What the policy lists and no longer wants: why, for the change that takes it away.
    pub(crate) expired: Expirations,
}

/// What has expired.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expirations {
    /// By [`WantedEntry::key`].
    pub(crate) entries: BTreeMap<String, Expiration>,
    pub(crate) bindings: BTreeMap<ObjectKey, Expiration>,
    /// By username, as bindings have named them.
    pub(crate) users: BTreeMap<String, Expiration>,
}

/// What the policy names and the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum MissingReference {
    #[error("the namespace `{name}` does not exist in the cluster")]
    Namespace { name: String, nearest: Option<String> },
    #[error("no namespace of the cluster is meant by `{selector}`")]
    NoNamespaceSelected { selector: String },
    #[error("the ClusterRole `{name}` is neither in the policy nor in the cluster")]
    ClusterRole { name: String, nearest: Option<String> },
    #[error("the Role `{name}` is in the namespace `{namespace}` neither by the policy nor in the cluster")]
    Role { name: String, namespace: String },
    #[error("the {kind} `{name}` leaves with this plan: this policy owns it and does not define it any more")]
    RoleBeingRemoved { kind: &'static str, name: String },
}

impl MissingReference {
    fn to_diagnostic(&self, span: Span) -> Diagnostic {
        let base = match self {
            Self::NoNamespaceSelected { .. } => Diagnostic::warning(self.to_string()),
            _ => Diagnostic::error(self.to_string()),
        };
        let hint = match self {
            Self::Namespace { nearest: Some(near), .. } | Self::ClusterRole { nearest: Some(near), .. } => {
                format!("did you mean `{near}`?")
            }
            Self::Namespace { .. } => "create it first, or take it out of the policy".to_owned(),
            Self::NoNamespaceSelected { .. } => {
                "nothing is made until such a namespace exists; then plan shows it".to_owned()
            }
            Self::ClusterRole { .. } => "define it under `[cluster-roles]`, or create it first".to_owned(),
            Self::Role { .. } => "define it under `[roles]` for this namespace, or create it first".to_owned(),
            Self::RoleBeingRemoved { .. } => "define it again, or bind another role".to_owned(),
        };
        base.primary_label(span, "").with_help(hint)
    }
}

/// The state that the policy wants of `cluster` at the moment `now`; its namespaces and roles are in `live`.
///
/// # Errors
/// All that the policy names and the cluster lacks. With a state come warnings.
pub(crate) fn expand(
    policy: &Policy,
    cluster: Option<&str>,
    live: &State,
    now: Timestamp,
) -> Result<(Desired, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut work = Expander { policy, cluster, live, now, diagnostics: Vec::new() };
    let mut desired = Desired::default();
    work.expand_entries(&mut desired);
    work.expand_cluster_roles(&mut desired);
    work.expand_roles(&mut desired);
    work.expand_bindings(&mut desired);
    let mut found = work.diagnostics;
    found.dedup();
    if found.iter().any(Diagnostic::is_error) { Err(found) } else { Ok((desired, found)) }
}

struct Expander<'a> {
    policy: &'a Policy,
    cluster: Option<&'a str>,
    live: &'a State,
    now: Timestamp,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Expander<'a> {
    fn report_missing(&mut self, missing: &MissingReference, span: Span) {
        self.diagnostics.push(missing.to_diagnostic(span));
    }

    fn applies_here(&self, filter: Option<&[Located<String>]>) -> bool {
        applies_to_cluster(filter, self.cluster)
    }

    fn expand_entries(&mut self, desired: &mut Desired) {
        let home = arn_defaults(self.policy, self.cluster);
        let members = self.groups_by_principal();
        for (name, principal) in &self.policy.principals {
            if !self.applies_here(principal.clusters.as_deref()) {
                continue;
            }
            let groups = members.get(name.as_str()).cloned().unwrap_or_default();
            let value = match (&principal.identity.value, principal.identity.value.resolve_arn(home)) {
                (IdentitySpec::Account(id), _) => DesiredEntry {
                    section: Section::Accounts,
                    principal: id.to_string(),
                    username: String::new(),
                    groups: Vec::new(),
                    original_arn: None,
                },
                (_, Some(arn)) => desired_entry(principal, &arn, groups, username_of(principal, home)),
                (_, None) => continue,
            };
            if let Some(end) = find_expiration(principal.expires.as_ref(), self.now) {
                let who = Expiration { reason: format!("{name} {}", end.reason), ..end.clone() };
                desired.expired.users.insert(value.username.clone(), who);
                desired.expired.entries.insert(value.key(), end);
                continue;
            }
            self.diagnostics.extend(warn_if_expiring_soon("principals", name, principal.expires.as_ref(), self.now));
            desired.entries.push(DesiredItem { value, span: principal.span });
        }
    }

    /// The groups of each principal: by its own list first, then by the groups' members, each once.
    fn groups_by_principal(&self) -> BTreeMap<&'a str, Vec<String>> {
        let mut out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let here = |group: &str| {
            self.policy.groups.get(group).is_some_and(|group| self.applies_here(group.clusters.as_deref()))
        };
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

    fn expand_cluster_roles(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.cluster_roles {
            if !self.applies_here(item.clusters.as_deref()) {
                continue;
            }
            let mut labels = item.labels.clone();
            for role in &item.aggregate_to {
                labels.insert(format!("{AGGREGATE_LABEL_PREFIX}{}", role.value), "true".to_owned());
            }
            let (rules, aggregation) = match &item.content {
                ClusterRoleContent::Rules(rules) => (rules.clone(), None),
                ClusterRoleContent::Aggregation(selectors) => {
                    let selector =
                        |labels: &Labels| LabelSelector { match_labels: labels.clone(), match_expressions: Vec::new() };
                    (Vec::new(), Some(selectors.iter().map(selector).collect()))
                }
            };
            let role = object::Role { meta: ObjectMeta::default(), rules, aggregation };
            let value = DesiredRole { role, labels };
            desired.roles.insert(ObjectKey::cluster_role(name), DesiredItem { value, span: item.span });
        }
    }

    fn expand_roles(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.roles {
            if !self.applies_here(item.clusters.as_deref()) {
                continue;
            }
            for namespace in self.resolve_namespaces(&item.namespaces) {
                let role = object::Role { meta: ObjectMeta::default(), rules: item.rules.clone(), aggregation: None };
                let value = DesiredRole { role, labels: item.labels.clone() };
                desired.roles.insert(ObjectKey::role(namespace, name), DesiredItem { value, span: item.span });
            }
        }
    }

    /// The namespaces meant, each once; a name that does not exist is an error.
    fn resolve_namespaces(&mut self, selectors: &'a [Located<NamespaceSelector>]) -> BTreeSet<&'a str> {
        let mut out = BTreeSet::new();
        for selector in selectors {
            let meant = selector.value.select(&self.live.namespaces);
            if meant.is_empty() {
                let missing = match &selector.value {
                    NamespaceSelector::Name(name) => MissingReference::Namespace {
                        name: name.clone(),
                        nearest: closest_match(name, self.live.namespaces.keys().map(String::as_str))
                            .map(str::to_owned),
                    },
                    NamespaceSelector::Glob(glob) => {
                        MissingReference::NoNamespaceSelected { selector: glob.as_str().to_owned() }
                    }
                    NamespaceSelector::Labels(labels) => MissingReference::NoNamespaceSelected {
                        selector: LabelSelector { match_labels: labels.clone(), match_expressions: Vec::new() }
                            .to_string(),
                    },
                };
                self.report_missing(&missing, selector.span);
            }
            out.extend(meant);
        }
        out
    }

    fn expand_bindings(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.bindings {
            if !self.applies_here(item.clusters.as_deref()) {
                continue;
            }
            let role_ref = match &item.role.value {
                RoleRefSpec::ClusterRole(role) => RoleRef::ClusterRole(role.clone()),
                RoleRefSpec::Role(role) => RoleRef::Role(role.clone()),
            };
            if let Some(end) = find_expiration(item.expires.as_ref(), self.now) {
                let known = |selectors: &'a [Located<NamespaceSelector>]| {
                    selectors
                        .iter()
                        .flat_map(|selector| selector.value.select(&self.live.namespaces))
                        .map(Some)
                        .collect()
                };
                let places: BTreeSet<Option<&str>> = item.namespaces.as_deref().map_or([None].into(), known);
                let keys = places.into_iter().map(|namespace| ObjectKey::binding(namespace, name));
                desired.expired.bindings.extend(keys.map(|key| (key, end.clone())));
                continue;
            }
            self.diagnostics.extend(warn_if_expiring_soon("bindings", name, item.expires.as_ref(), self.now));
            let places: Vec<Option<&str>> = match &item.namespaces {
                None => vec![None],
                Some(selectors) => self.resolve_namespaces(selectors).into_iter().map(Some).collect(),
            };
            for namespace in places {
                let key = ObjectKey::binding(namespace, name);
                let subjects = self.resolve_subjects(item, namespace);
                // Its principals are all of other clusters, or have expired: a binding of nobody would wait for somebody.
                if subjects.is_empty() {
                    desired.expired.bindings.extend(self.expiration_of_all_subjects(item).map(|end| (key, end)));
                    continue;
                }
                match (&role_ref, namespace) {
                    (RoleRef::ClusterRole(role), _) => {
                        self.check_role_exists(&ObjectKey::cluster_role(role), desired, item.role.span);
                    }
                    (RoleRef::Role(role), Some(namespace)) => {
                        self.check_role_exists(&ObjectKey::role(namespace, role), desired, item.role.span);
                    }
                    (RoleRef::Role(_), None) => {}
                }
                let value = object::Binding { meta: ObjectMeta::default(), role_ref: role_ref.clone(), subjects };
                desired.bindings.insert(key, DesiredItem { value, span: item.span });
            }
        }
    }

    /// Who has expired of those that a binding names, where it thereby names nobody.
    fn expiration_of_all_subjects(&self, item: &BindingSpec) -> Option<Expiration> {
        let ends: Vec<(&str, Expiration)> = item
            .principals
            .iter()
            .filter_map(|name| Some((name.value.as_str(), self.policy.principals.get(&name.value)?)))
            .filter(|(_, principal)| self.applies_here(principal.clusters.as_deref()))
            .filter_map(|(name, principal)| Some((name, find_expiration(principal.expires.as_ref(), self.now)?)))
            .collect();
        let (_, first) = ends.first()?;
        let who: Vec<String> = ends.iter().map(|(name, end)| format!("{name} {}", end.reason)).collect();
        Some(Expiration { reason: format!("binds nobody any more: {}", who.join(", ")), span: first.span })
    }

    fn check_role_exists(&mut self, key: &ObjectKey, desired: &Desired, span: Span) {
        if desired.roles.contains_key(key) {
            return;
        }
        let name = key.name().to_owned();
        let missing = match self.live.roles.get(key) {
            Some(role) if owner::object_owner(&role.meta, &self.policy.name.value) == owner::Owner::ThisPolicy => {
                MissingReference::RoleBeingRemoved { kind: key.kind().as_str(), name: key.path() }
            }
            Some(_) => return,
            None => match key.namespace() {
                Some(namespace) => MissingReference::Role { name, namespace: namespace.to_owned() },
                None => {
                    let known = desired.roles.keys().chain(self.live.roles.keys());
                    let names = known.filter(|other| other.kind() == key.kind()).map(ObjectKey::name);
                    MissingReference::ClusterRole { nearest: closest_match(&name, names).map(str::to_owned), name }
                }
            },
        };
        self.report_missing(&missing, span);
    }

    fn resolve_subjects(&self, item: &BindingSpec, namespace: Option<&str>) -> Vec<Subject> {
        let home = arn_defaults(self.policy, self.cluster);
        let groups = item
            .groups
            .iter()
            .filter(|group| {
                self.policy.groups.get(&group.value).is_none_or(|group| self.applies_here(group.clusters.as_deref()))
            })
            .map(|group| Subject::Group(group.value.clone()));
        let principals = item
            .principals
            .iter()
            .filter_map(|name| self.policy.principals.get(&name.value))
            .filter(|principal| self.applies_here(principal.clusters.as_deref()))
            .filter(|principal| find_expiration(principal.expires.as_ref(), self.now).is_none())
            .filter_map(|principal| username_of(principal, home))
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

fn desired_entry(principal: &PrincipalSpec, arn: &Arn, groups: Vec<String>, username: Option<String>) -> DesiredEntry {
    let needed = principal.kind.required_mapping().map(|(_, groups)| groups).unwrap_or_default();
    let mut all: Vec<String> = needed.iter().map(|group| (*group).to_owned()).collect();
    for group in groups {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    DesiredEntry {
        section: match arn.kind() {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        },
        principal: arn.to_aws_auth(),
        username: username.unwrap_or_default(),
        groups: all,
        original_arn: arn.has_role_path().then(|| arn.to_string()),
    }
}
