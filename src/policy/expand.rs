//! Expands a policy to the desired state of one cluster: resolves bare names, groups and namespace selectors.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use thiserror::Error;

use super::access_entries::{DesiredAccessEntry, EntryContents, entry_username, report_account, report_aws_auth_only};
use super::access_entry_error::AccessEntryError;
use super::check::{arn_defaults, username_of};
use super::clusters::applies_to_cluster;
use super::error::Diagnostics;
use super::expiry::{Expiration, find_expiration, warn_if_expiring_soon};
use super::model::{BindingSpec, ClusterRoleContent, Located, NamespaceSelector, Policy, RoleRefSpec, RuleSpec};
use super::principal_spec::{IdentitySpec, PrincipalSpec};
use super::principal_stores::{AmbiguousPath, LivePrincipals};
use crate::diagnostic::{Diagnostic, Span, closest_match};
use crate::names::{AccountId, Arn, ObjectKey, PrincipalKind};
use crate::state::State;
use crate::state::access_entry::access_entry_key;
use crate::state::aws_auth::Section;
use crate::state::object;
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, AGGREGATE_LABEL_PREFIX};
use crate::state::rbac::{LabelSelector, RoleRef, Subject};

/// An object or aws-auth entry of the desired state, and where the policy defines it.
#[derive(Debug, Clone)]
pub(crate) struct DesiredItem<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A desired role with the labels of the policy, without owner marks.
#[derive(Debug, Clone)]
pub(crate) struct DesiredRole {
    pub(crate) role: object::Role,
    pub(crate) labels: Labels,
}

/// A desired aws-auth entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredEntry {
    pub(crate) section: Section,
    /// The ARN in the form that aws-auth needs, or the account ID.
    pub(crate) principal: String,
    pub(crate) username: String,
    /// In the order of the policy, without duplicates.
    pub(crate) groups: Vec<String>,
    /// The ARN of the policy, if aws-auth needs another form.
    pub(crate) original_arn: Option<String>,
}

impl DesiredEntry {
    fn for_account(id: &AccountId) -> Self {
        Self {
            section: Section::Accounts,
            principal: id.to_string(),
            username: String::new(),
            groups: Vec::new(),
            original_arn: None,
        }
    }

    /// What the authenticator compares: see [`crate::state::config_map::entry_key`].
    pub(crate) fn key(&self) -> String {
        match self.section {
            Section::Accounts => self.principal.clone(),
            Section::Roles | Section::Users => self.principal.to_lowercase(),
        }
    }
}

/// The desired state of one cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    pub(crate) entries: Vec<DesiredItem<DesiredEntry>>,
    pub(crate) access_entries: BTreeMap<ObjectKey, DesiredItem<DesiredAccessEntry>>,
    pub(crate) roles: BTreeMap<ObjectKey, DesiredItem<DesiredRole>>,
    pub(crate) bindings: BTreeMap<ObjectKey, DesiredItem<object::Binding>>,
    /// What the policy lists and no longer wants, with the reasons for the removals.
    pub(crate) expired: Expirations,
}

/// Items of the policy that have expired.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expirations {
    /// By [`DesiredEntry::key`].
    pub(crate) entries: BTreeMap<String, Expiration>,
    pub(crate) access_entries: BTreeMap<ObjectKey, Expiration>,
    pub(crate) bindings: BTreeMap<ObjectKey, Expiration>,
    /// By username, as in the subjects of bindings.
    pub(crate) users: BTreeMap<String, Expiration>,
}

/// A reference of the policy to something that does not exist in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum MissingReference {
    #[error("namespace `{name}` does not exist in the cluster")]
    Namespace { name: String, nearest: Option<String> },
    #[error("no namespace in the cluster matches `{selector}`")]
    NoNamespaceSelected { selector: String },
    #[error("ClusterRole `{name}` exists neither in the policy nor in the cluster")]
    ClusterRole { name: String, nearest: Option<String> },
    #[error("Role `{name}` in namespace `{namespace}` exists neither in the policy nor in the cluster")]
    Role { name: String, namespace: String },
    #[error("cannot bind {kind} `{name}`: this plan removes it")]
    RoleBeingRemoved { kind: &'static str, name: String },
}

impl MissingReference {
    fn to_diagnostic(&self, span: Span) -> Diagnostic {
        let diagnostic = match self {
            Self::NoNamespaceSelected { .. } => Diagnostic::warning(self.to_string()),
            _ => Diagnostic::error(self.to_string()),
        };
        let diagnostic = diagnostic.primary_label(span, "");
        match self {
            Self::Namespace { nearest: Some(near), .. } | Self::ClusterRole { nearest: Some(near), .. } => {
                diagnostic.with_help(format!("did you mean `{near}`?"))
            }
            Self::Namespace { .. } => diagnostic.with_help("create it first, or remove it from the policy"),
            Self::NoNamespaceSelected { .. } => {
                diagnostic.with_note("nothing is created until a namespace matches; plan shows it then")
            }
            Self::ClusterRole { .. } => diagnostic.with_help("define it under `[cluster-roles]`, or create it first"),
            Self::Role { .. } => {
                diagnostic.with_help("define it under `[roles]` for this namespace, or create it first")
            }
            Self::RoleBeingRemoved { .. } => diagnostic
                .with_because("this policy owns the role, and no longer defines it")
                .with_help("define it again, or bind another role"),
        }
    }
}

/// Returns the desired state of `cluster` at the time `now`, with warnings. `live` provides the namespaces of the
/// cluster, and the roles that bindings can refer to.
///
/// # Errors
/// All references to something that does not exist in the cluster.
pub(crate) fn expand(
    policy: &Policy,
    cluster: Option<&str>,
    live: &State,
    now: Timestamp,
) -> Result<(Desired, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut expander = Expander { policy, cluster, live, now, diagnostics: Vec::new() };
    let mut desired = Desired::default();
    expander.expand_entries(&mut desired);
    expander.expand_cluster_roles(&mut desired);
    expander.expand_roles(&mut desired);
    expander.expand_bindings(&mut desired);
    let mut diagnostics = expander.diagnostics;
    diagnostics.dedup();
    if diagnostics.iter().any(Diagnostic::is_error) { Err(diagnostics) } else { Ok((desired, diagnostics)) }
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

    fn applies_to_current_cluster(&self, filter: Option<&[Located<String>]>) -> bool {
        applies_to_cluster(filter, self.cluster)
    }

    fn expand_entries(&mut self, desired: &mut Desired) {
        let defaults = arn_defaults(self.policy, self.cluster);
        let contents = EntryContents::new(self.policy, self.cluster);
        let spec = self.cluster.and_then(|cluster| self.policy.clusters.get(cluster));
        let given = spec.and_then(|spec| spec.authentication.as_ref());
        let account = spec.and_then(|spec| spec.account.as_ref());
        let principals = LivePrincipals::new(self.live);
        if self.policy.principals.values().any(|item| self.applies_to_current_cluster(item.clusters.as_deref()))
            && let Some(problem) = principals.problem(given)
        {
            self.diagnostics.push(problem);
            return;
        }
        let mut errors = Diagnostics::default();
        for (name, principal) in &self.policy.principals {
            if !self.applies_to_current_cluster(principal.clusters.as_deref()) {
                continue;
            }
            let (value, arn) = match (&principal.identity.value, principal.identity.value.resolve_arn(defaults)) {
                (IdentitySpec::Account(id), _) => (DesiredEntry::for_account(id), None),
                (_, Some(arn)) => {
                    let groups = contents.groups(name).map(str::to_owned).collect();
                    (desired_entry(principal, &arn, groups, username_of(principal, defaults)), Some(arn))
                }
                (_, None) => continue,
            };
            let live = arn.as_ref().map_or(Ok(None), |arn| principals.access_entry(arn));
            let live = match live {
                Ok(live) => live,
                Err(AmbiguousPath { principals: arns }) => {
                    let error = AccessEntryError::AmbiguousPath { principal: name.clone(), arns };
                    errors.push(error, principal.identity.span);
                    continue;
                }
            };
            let arn = arn.map(|arn| live.and_then(|live| Arn::parse(live.principal()).ok()).unwrap_or(arn));
            if let Some(expiration) = find_expiration(principal.expires.as_ref(), self.now) {
                let of_user = Expiration { reason: format!("{name} {}", expiration.reason), ..expiration.clone() };
                let key = arn.map(|arn| access_entry_key(&arn.to_string()));
                desired.expired.access_entries.extend(key.map(|key| (key, expiration.clone())));
                desired.expired.users.insert(value.username.clone(), of_user);
                if principals.reads_aws_auth() {
                    desired.expired.entries.insert(value.key(), expiration);
                }
                continue;
            }
            self.diagnostics.extend(warn_if_expiring_soon("principals", name, principal.expires.as_ref(), self.now));
            let Some(arn) = arn else {
                // `both` and a mode with two stores keep an account where it can be.
                if principals.stores(given, true, false).uses_aws_auth() {
                    desired.entries.push(DesiredItem { value, span: principal.span });
                } else {
                    report_account(name, principal, given, &mut errors);
                }
                continue;
            };
            let is_in_aws_auth = principals.is_in_aws_auth(&arn);
            let stores = principals.stores(given, is_in_aws_auth, live.is_some());
            if stores.uses_access_entries() {
                contents.check_entry((name, principal), &arn, account, &mut errors);
                let username = entry_username(
                    &contents,
                    (name, principal),
                    (self.policy, self.cluster),
                    &arn,
                    is_in_aws_auth || stores.uses_aws_auth(),
                    live.map(|live| live.username.as_str()),
                );
                let value = contents.desired_entry((name, principal), &arn, username);
                let key = access_entry_key(&value.principal);
                desired.access_entries.insert(key, DesiredItem { value, span: principal.span });
            } else {
                let reason = principals.aws_auth_reason(given);
                report_aws_auth_only(&contents, (name, principal), reason, None, &mut errors);
            }
            if stores.uses_aws_auth() && principal.kind.aws_auth_groups().is_some() {
                desired.entries.push(DesiredItem { value, span: principal.span });
            }
        }
        self.diagnostics.extend(errors.into_sorted());
    }

    fn expand_cluster_roles(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.cluster_roles {
            if !self.applies_to_current_cluster(item.clusters.as_deref()) {
                continue;
            }
            let mut labels = item.labels.clone();
            for role in &item.aggregate_to {
                labels.insert(format!("{AGGREGATE_LABEL_PREFIX}{}", role.value), "true".to_owned());
            }
            let (rules, aggregation) = match &item.content {
                ClusterRoleContent::Rules(rules) => (rules.iter().map(RuleSpec::to_rule).collect(), None),
                ClusterRoleContent::Aggregation(selectors) => {
                    let selector = |labels: &Located<Labels>| LabelSelector {
                        match_labels: labels.value.clone(),
                        match_expressions: Vec::new(),
                    };
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
            if !self.applies_to_current_cluster(item.clusters.as_deref()) {
                continue;
            }
            for namespace in self.resolve_namespaces(&item.namespaces) {
                let rules = item.rules.iter().map(RuleSpec::to_rule).collect();
                let role = object::Role { meta: ObjectMeta::default(), rules, aggregation: None };
                let value = DesiredRole { role, labels: item.labels.clone() };
                desired.roles.insert(ObjectKey::role(namespace, name), DesiredItem { value, span: item.span });
            }
        }
    }

    /// Returns the namespaces that the selectors select. A name that does not exist is an error.
    fn resolve_namespaces(&mut self, selectors: &'a [Located<NamespaceSelector>]) -> BTreeSet<&'a str> {
        let mut out = BTreeSet::new();
        for selector in selectors {
            let selected = selector.value.select(&self.live.namespaces);
            if selected.is_empty() {
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
            out.extend(selected);
        }
        out
    }

    fn expand_bindings(&mut self, desired: &mut Desired) {
        for (name, item) in &self.policy.bindings {
            if !self.applies_to_current_cluster(item.clusters.as_deref()) {
                continue;
            }
            let role_ref = match &item.role.value {
                RoleRefSpec::ClusterRole(role) => RoleRef::ClusterRole(role.clone()),
                RoleRefSpec::Role(role) => RoleRef::Role(role.clone()),
            };
            if let Some(expiration) = find_expiration(item.expires.as_ref(), self.now) {
                let existing = |selectors: &'a [Located<NamespaceSelector>]| {
                    selectors
                        .iter()
                        .flat_map(|selector| selector.value.select(&self.live.namespaces))
                        .map(Some)
                        .collect()
                };
                let namespaces: BTreeSet<Option<&str>> = item.namespaces.as_deref().map_or([None].into(), existing);
                let keys = namespaces.into_iter().map(|namespace| ObjectKey::binding(namespace, name));
                desired.expired.bindings.extend(keys.map(|key| (key, expiration.clone())));
                continue;
            }
            self.diagnostics.extend(warn_if_expiring_soon("bindings", name, item.expires.as_ref(), self.now));
            let namespaces: Vec<Option<&str>> = match &item.namespaces {
                None => vec![None],
                Some(selectors) => self.resolve_namespaces(selectors).into_iter().map(Some).collect(),
            };
            for namespace in namespaces {
                let key = ObjectKey::binding(namespace, name);
                let subjects = self.resolve_subjects(item, namespace);
                // All its principals have expired or belong to other clusters. A binding without subjects grants
                // nothing.
                if subjects.is_empty() {
                    let expiration = self.expiration_of_all_subjects(item);
                    desired.expired.bindings.extend(expiration.map(|expiration| (key, expiration)));
                    continue;
                }
                match (&role_ref, namespace) {
                    (RoleRef::ClusterRole(role), _) => {
                        self.check_role_exists(&ObjectKey::cluster_role(role), desired, item.role.span);
                    }
                    (RoleRef::Role(role), Some(namespace)) => {
                        self.check_role_exists(&ObjectKey::role(namespace, role), desired, item.role.span);
                    }
                    (RoleRef::Role(_), None) | (RoleRef::AccessPolicy(_), _) => {}
                }
                let value = object::Binding {
                    meta: ObjectMeta::default(),
                    role_ref: role_ref.clone(),
                    subjects,
                    namespaces: None,
                };
                desired.bindings.insert(key, DesiredItem { value, span: item.span });
            }
        }
    }

    /// Returns which principals of a binding without subjects have expired; `None` if none has.
    fn expiration_of_all_subjects(&self, item: &BindingSpec) -> Option<Expiration> {
        let expired: Vec<(&str, Expiration)> = item
            .principals
            .iter()
            .filter_map(|name| Some((name.value.as_str(), self.policy.principals.get(&name.value)?)))
            .filter(|(_, principal)| self.applies_to_current_cluster(principal.clusters.as_deref()))
            .filter_map(|(name, principal)| Some((name, find_expiration(principal.expires.as_ref(), self.now)?)))
            .collect();
        let (_, first) = expired.first()?;
        let reasons: Vec<String> =
            expired.iter().map(|(name, expiration)| format!("{name} {}", expiration.reason)).collect();
        Some(Expiration { reason: format!("all subjects have expired: {}", reasons.join(", ")), span: first.span })
    }

    fn check_role_exists(&mut self, key: &ObjectKey, desired: &Desired, span: Span) {
        if desired.roles.contains_key(key) {
            return;
        }
        let name = key.name().to_owned();
        let missing = match self.live.roles.get(key) {
            Some(role) if owner::object_owner(key, &role.meta, &self.policy.name.value) == owner::Owner::ThisPolicy => {
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
        let defaults = arn_defaults(self.policy, self.cluster);
        let groups = item
            .groups
            .iter()
            .filter(|group| {
                self.policy
                    .groups
                    .get(&group.value)
                    .is_none_or(|group| self.applies_to_current_cluster(group.clusters.as_deref()))
            })
            .map(|group| Subject::Group(group.value.clone()));
        let principals = item
            .principals
            .iter()
            .filter_map(|name| self.policy.principals.get(&name.value))
            .filter(|principal| self.applies_to_current_cluster(principal.clusters.as_deref()))
            .filter(|principal| find_expiration(principal.expires.as_ref(), self.now).is_none())
            .filter_map(|principal| username_of(principal, defaults))
            .map(Subject::User);
        let users = item.users.iter().map(|user| Subject::User(user.value.clone()));
        let accounts = item.service_accounts.iter().filter_map(|account| {
            let namespace = account.value.namespace.as_deref().or(namespace)?;
            Some(Subject::ServiceAccount { namespace: namespace.to_owned(), name: account.value.name.clone() })
        });
        let mut seen = BTreeSet::new();
        let subjects = groups.chain(principals).chain(users).chain(accounts);
        subjects.filter(|subject| seen.insert(subject.clone())).collect()
    }
}

fn desired_entry(principal: &PrincipalSpec, arn: &Arn, groups: Vec<String>, username: Option<String>) -> DesiredEntry {
    let required_groups = principal.kind.aws_auth_groups().unwrap_or_default();
    let mut all_groups: Vec<String> = required_groups.iter().map(|group| (*group).to_owned()).collect();
    for group in groups {
        if !all_groups.contains(&group) {
            all_groups.push(group);
        }
    }
    DesiredEntry {
        section: match arn.kind() {
            PrincipalKind::Role => Section::Roles,
            PrincipalKind::User => Section::Users,
        },
        principal: arn.to_aws_auth(),
        username: username.unwrap_or_default(),
        groups: all_groups,
        original_arn: arn.has_role_path().then(|| arn.to_string()),
    }
}
