//! The answer of `rolecall explain`: how a subject logs in, what it has, and the policy lines to change.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::access::EscalationJson;
use super::answers::{AnswerContext, IdentityJson};
use super::common::{LocationJson, SubjectJson};
use super::diagnostic::DiagnosticJson;
use super::managed_by::{EntryJson, ManagedObjectJson};
use crate::access::{
    AccessView, Authentication, EntryRef, EntryStatus, Identity, MASTERS, SubjectQuery, UnmatchableReason,
    escalation_paths,
};
use crate::diagnostic::Span;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::EscalationSummary;
use crate::policy::{Expiry, Located, Policy};
use crate::state::rbac::RoleRef;

/// The output of `rolecall explain -o json`: the explanation for each cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExplanationDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One explanation for each cluster that was asked.
    pub(crate) clusters: Vec<ExplanationJson>,
}

impl ExplanationDocument {
    pub(crate) fn new(clusters: Vec<ExplanationJson>) -> Self {
        Self { format_version: FormatVersion, clusters }
    }
}

/// What a subject has in one cluster, and why.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExplanationJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The subject: an IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    pub(crate) principal_name: Option<String>,
    /// Why the authenticator does not authenticate the subject, or null if it does.
    pub(crate) not_authenticated: Option<String>,
    /// The identities that the API server sees, with the entries in force. Several: the authenticator chooses an entry at
    /// random at each login.
    pub(crate) logins: Vec<IdentityJson>,
    /// The entries for the subject that have no effect.
    pub(crate) inactive_entries: Vec<InactiveEntryJson>,
    /// The roles that the subject has, each with the namespaces in which one binding grants it.
    pub(crate) roles: Vec<HeldRoleJson>,
    /// The privilege escalation paths of the subject, the most severe first.
    pub(crate) escalations: Vec<EscalationJson>,
    /// When the policy ends access of the subject, the earliest first.
    pub(crate) expirations: Vec<ExpirationJson>,
    /// The places in the policy that decide about the access of the subject.
    pub(crate) policy_lines: Vec<PolicyLineJson>,
    /// The warnings about the answer.
    pub(crate) warnings: Vec<DiagnosticJson>,
}

/// An entry of aws-auth that has no effect for the subject.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InactiveEntryJson {
    /// The entry.
    pub(crate) entry: EntryJson,
    /// Why it has no effect.
    pub(crate) reason: String,
}

/// A role that a binding, or RoleBindings with the same name in several namespaces, grant to the subject.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HeldRoleJson {
    /// The kind of the role: `ClusterRole` or `Role`.
    pub(crate) kind: &'static str,
    /// The name of the role. `system:masters` has none: the group bypasses RBAC.
    pub(crate) name: String,
    /// Whether the role exists. A binding to a role that does not exist grants nothing until it does.
    pub(crate) exists: bool,
    /// The namespaces in which the subject has the role. Null: in the whole cluster.
    pub(crate) namespaces: Option<BTreeSet<String>>,
    /// The subject that the binding names, which matches this one: `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) through: String,
    /// The binding. Of the RoleBindings of several namespaces, the first.
    pub(crate) binding: ManagedObjectJson,
}

/// When the policy ends access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExpirationJson {
    /// The date or time, as the policy has it.
    pub(crate) expires: String,
    /// What ends, such as `principal alice` or `binding deployers`.
    pub(crate) what: String,
    /// The location of the date in the policy.
    pub(crate) location: LocationJson,
}

/// A place in the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PolicyLineJson {
    /// What is there, such as `principal alice`, `group developers`, `binding deployers` or `role deployer`.
    pub(crate) what: String,
    /// The place.
    pub(crate) location: LocationJson,
}

impl ExplanationJson {
    /// `policy` has the names and lines; `None` without a policy.
    pub(crate) fn new(
        query: &SubjectQuery,
        access: &AccessView<'_>,
        context: AnswerContext<'_>,
        policy: Option<&Policy>,
        not_authenticated: Option<String>,
        warnings: Vec<DiagnosticJson>,
    ) -> Self {
        let SubjectJson { subject, principal_name } = context.subject(query);
        let authentication = access.authenticate(query);
        let held = held_roles(access, &authentication, context);
        let mut escalations: Vec<EscalationJson> = escalation_paths(access, query)
            .iter()
            .map(|path| EscalationJson::new(context.id_scope(), &[&subject], &EscalationSummary::from_path(path)))
            .collect();
        escalations.sort_by_key(|escalation| std::cmp::Reverse(escalation.severity));
        let (mut policy_lines, mut expirations) = (Vec::new(), Vec::new());
        if let Some(policy) = policy {
            let mut lines = PolicyLines { policy, lines: &mut policy_lines, expirations: &mut expirations };
            lines.add_all(principal_name.as_deref(), &authentication, &held);
        }
        Self {
            cluster: context.label.to_owned(),
            subject,
            principal_name,
            not_authenticated,
            logins: context.identities(&authentication),
            inactive_entries: inactive_entries(access, query, &authentication, context),
            roles: held,
            escalations,
            expirations: expirations.into_iter().map(|(_, expiration)| expiration).collect(),
            policy_lines,
            warnings,
        }
    }
}

const CLUSTER_ROLE: &str = "ClusterRole";

/// What RoleBindings with the same content have in common.
type HeldRoleKey = (&'static str, String, ObjectKind, String, String, bool);

/// Returns the roles of the identities, those of the whole cluster first.
fn held_roles(
    access: &AccessView<'_>,
    authentication: &Authentication,
    context: AnswerContext<'_>,
) -> Vec<HeldRoleJson> {
    let mut held: BTreeMap<HeldRoleKey, (ObjectKey, BTreeSet<String>)> = BTreeMap::new();
    for identity in authentication.identities() {
        for grant in access.grants.grants_for_identity(identity) {
            let role = access.grants.role_for_grant(&grant);
            let (kind, name) = match &grant.binding.role_ref {
                RoleRef::ClusterRole(name) => (CLUSTER_ROLE, name.clone()),
                RoleRef::Role(name) => ("Role", name.clone()),
                RoleRef::AccessPolicy(name) => ("AccessPolicy", name.clone()),
            };
            let key = (
                kind,
                name,
                grant.binding_key.kind(),
                grant.binding_key.name().to_owned(),
                SubjectQuery::from_subject(grant.subject).to_string(),
                role.is_some(),
            );
            let (_, namespaces) = held.entry(key).or_insert_with(|| (grant.binding_key.clone(), BTreeSet::new()));
            namespaces.extend(grant.scope().namespaces());
        }
    }
    let mut roles: Vec<HeldRoleJson> = held
        .into_iter()
        .map(|((kind, name, binding_kind, _, through, exists), (binding, namespaces))| HeldRoleJson {
            kind,
            name,
            exists,
            namespaces: (binding_kind == ObjectKind::RoleBinding || !namespaces.is_empty()).then_some(namespaces),
            through,
            binding: context.object(&binding),
        })
        .collect();
    roles.sort_by_key(|role| role.namespaces.is_some());
    roles
}

/// Returns the entries that another one replaces, and those that spell the ARN in a way that never matches.
fn inactive_entries(
    access: &AccessView<'_>,
    query: &SubjectQuery,
    authentication: &Authentication,
    context: AnswerContext<'_>,
) -> Vec<InactiveEntryJson> {
    let mut in_force: BTreeSet<&EntryRef> = authentication.identities().filter_map(Identity::entry).collect();
    let mut found: Vec<(EntryRef, String)> = Vec::new();
    // An entry can be replaced by one that is itself replaced.
    loop {
        let before = in_force.len();
        for (entry, status) in access.mapping.statuses() {
            if let EntryStatus::Shadowed { by } = status
                && in_force.contains(by)
                && in_force.insert(entry)
            {
                found.push((entry.clone(), format!("another entry for the same principal replaces it, {}", by.place)));
            }
        }
        if in_force.len() == before {
            break;
        }
    }
    if let SubjectQuery::Arn(identity) = query {
        found.extend(access.mapping.near_misses(identity).into_iter().map(|(entry, reason)| {
            let reason = match reason {
                UnmatchableReason::Sso | UnmatchableReason::AwsAuthNotRead => reason.explain(),
                UnmatchableReason::NonCanonicalArn { .. } | UnmatchableReason::InvalidArn(_) => {
                    format!("it never matches: {}", reason.explain())
                }
            };
            (entry, reason)
        }));
    }
    found.sort();
    found.into_iter().map(|(entry, reason)| InactiveEntryJson { entry: context.entry(&entry), reason }).collect()
}

/// Collects the places in a policy.
struct PolicyLines<'a> {
    policy: &'a Policy,
    lines: &'a mut Vec<PolicyLineJson>,
    /// With the time, by which they are sorted.
    expirations: &'a mut Vec<(jiff::Timestamp, ExpirationJson)>,
}

impl PolicyLines<'_> {
    fn add_all(&mut self, principal: Option<&str>, authentication: &Authentication, held: &[HeldRoleJson]) {
        let policy = self.policy;
        if let Some((name, principal)) = principal.and_then(|name| policy.principals.get_key_value(name)) {
            self.add(format!("principal {name}"), principal.span, principal.expires.as_ref());
        }
        let names: BTreeSet<String> = authentication
            .identities()
            .flat_map(|identity| &identity.groups)
            .filter_map(|group| group.as_literal().map(str::to_owned))
            .collect();
        for (name, group) in names.iter().filter_map(|name| policy.groups.get_key_value(name)) {
            self.add(format!("group {name}"), group.span, None);
        }
        for role in held {
            let binding = role.binding.name();
            if let Some((name, binding)) = policy.bindings.get_key_value(binding).filter(|_| role.binding.is_defined())
            {
                self.add(format!("binding {name}"), binding.span, binding.expires.as_ref());
            }
            let spec = match role.kind {
                CLUSTER_ROLE => policy.cluster_roles.get_key_value(&role.name).map(|(name, role)| (name, role.span)),
                _ => policy.roles.get_key_value(&role.name).map(|(name, role)| (name, role.span)),
            };
            if let Some((name, span)) = spec {
                self.add(format!("role {name}"), span, None);
            }
        }
        self.expirations.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.what.cmp(&b.what)));
    }

    fn add(&mut self, what: String, span: Span, expires: Option<&Located<Expiry>>) {
        let location = |span| LocationJson::from(&self.policy.sources.location(span));
        let line = PolicyLineJson { what: what.clone(), location: location(span) };
        if self.lines.contains(&line) {
            return;
        }
        if let Some(expires) = expires {
            let location = location(expires.span);
            let expiration = ExpirationJson { expires: expires.value.text.clone(), what, location };
            self.expirations.push((expires.value.at, expiration));
        }
        self.lines.push(line);
    }
}

/// Returns whether one of the groups is `system:masters`, which bypasses RBAC.
pub(crate) fn is_master(explanation: &ExplanationJson) -> bool {
    explanation.logins.iter().any(|login| login.groups.iter().any(|group| group == MASTERS))
}
