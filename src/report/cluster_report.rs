//! Makes the report of one cluster from its access.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::access::EscalationJson;
use super::access_report::{
    ClusterReportJson, DriftReportJson, ExpiryJson, ReportBindingJson, ReportGrantJson, ReportSubjectJson,
    SensitiveAccessJson, SensitiveHoldersJson, SubjectAccessJson, SubjectKindJson,
};
use super::answers::AnswerContext;
use super::common::{ObjectJson, SubjectJson};
use super::diagnostic::DiagnosticJson;
use super::subject_filter::{has_own_row, is_system_subject};
use super::who_can_answer::{GrantLimitJson, WhoCanQuestion};
use crate::access::{
    AUTHENTICATED, AccessView, Authentication, BoundGrants, Identity, MappedPrincipal, NamespaceFilter, Request,
    SERVICE_ACCOUNTS, SubjectQuery, UNAUTHENTICATED, identity_escalation_paths, paths_of_permissions,
};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard::InvariantViolation;
use crate::names::ObjectKey;
use crate::plan::{EscalationSummary, Plan};
use crate::policy::PolicyExpiry;
use crate::state::object::Binding;
use crate::state::rbac::{RBAC_GROUP, Subject};

/// The ClusterRoleBindings with which Kubernetes gives API discovery to everyone (kubernetes `bootstrappolicy/policy.go`).
/// Each binds the ClusterRole of the same name.
const DISCOVERY_BINDINGS: [&str; 4] =
    ["system:basic-user", "system:discovery", "system:public-info-viewer", "system:service-account-issuer-discovery"];

/// The requests that lead to other access, or to the data that most clusters protect first: verb, API group, resource and
/// name.
const SENSITIVE_REQUESTS: [(&str, &str, &str, &str); 14] = [
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods/exec", ""),
    ("get", "", "nodes/proxy", ""),
    ("create", "", "serviceaccounts/token", ""),
    ("impersonate", "", "users", ""),
    ("impersonate", "", "groups", ""),
    ("escalate", RBAC_GROUP, "clusterroles", ""),
    ("bind", RBAC_GROUP, "clusterroles", ""),
    ("create", RBAC_GROUP, "clusterrolebindings", ""),
    ("create", RBAC_GROUP, "rolebindings", ""),
    ("update", "", "configmaps", "aws-auth"),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
];

/// What a report of a cluster is made from.
#[derive(Clone, Copy)]
pub(crate) struct ClusterReportInput<'a, 's> {
    pub(crate) cluster: AnswerContext<'a>,
    pub(crate) access: &'a AccessView<'s>,
    /// Whether system subjects are listed.
    pub(crate) full: bool,
    pub(crate) expiries: &'a [PolicyExpiry],
    /// The plan and the violated invariants, if there is a policy.
    pub(crate) drift: Option<(&'a Plan, &'a [InvariantViolation])>,
    pub(crate) warnings: &'a [Diagnostic],
}

/// The bindings of the report, each with its position.
#[derive(Default)]
struct BindingTable<'s> {
    positions: BTreeMap<&'s ObjectKey, usize>,
    bindings: Vec<ReportBindingJson>,
}

/// What the subjects of one row have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RowKey<'s> {
    is_in_system_masters: bool,
    grants: Vec<(usize, &'s Subject)>,
    escalations: Vec<EscalationSummary>,
}

impl ClusterReportJson {
    pub(crate) fn new(input: ClusterReportInput<'_, '_>) -> Self {
        let ClusterReportInput { cluster, access, full, expiries, drift, warnings } = input;
        access.grants.build_index();
        let mut table = BindingTable::default();
        let (access_rows, hidden_subjects) = subject_rows(cluster, access, full, &mut table);
        let mut namespaces: BTreeSet<&str> = cluster.state.namespaces.keys().map(String::as_str).collect();
        namespaces.extend(table.bindings.iter().filter_map(|binding| binding.binding.namespace.as_deref()));
        Self {
            cluster: cluster.label.to_owned(),
            name: cluster.name.map(str::to_owned),
            namespaces: namespaces.into_iter().map(str::to_owned).collect(),
            bindings: table.bindings,
            access: access_rows,
            hidden_subjects,
            sensitive: sensitive_access(cluster, access, full),
            expiries: expiries.iter().map(ExpiryJson::from).collect(),
            drift: drift.map(|(plan, violations)| DriftReportJson::new(cluster.id_scope(), plan, violations)),
            warnings: DiagnosticJson::all_of_cluster(cluster.id_scope(), warnings, &SourceMap::default()),
        }
    }
}

/// Returns the rows, the most dangerous first, and the number of subjects that are left out.
fn subject_rows<'s>(
    cluster: AnswerContext<'_>,
    access: &AccessView<'s>,
    full: bool,
    table: &mut BindingTable<'s>,
) -> (Vec<SubjectAccessJson>, usize) {
    let mut rows: Vec<(SubjectAccessJson, Vec<EscalationSummary>)> = Vec::new();
    let mut positions: BTreeMap<RowKey<'s>, usize> = BTreeMap::new();
    // The subjects of one binding have the same permissions, which are computed once.
    let mut paths: BTreeMap<BoundGrants, Vec<EscalationSummary>> = BTreeMap::new();
    let entry_marks = cluster.state.entry_marks();
    let mut hidden = 0;
    for query in access.all_subjects() {
        if !has_own_row(access, &query) {
            continue;
        }
        if !full && is_system_subject(&query) && !is_everyone(&query) {
            hidden += 1;
            continue;
        }
        let authentication = access.authenticate(&query);
        let bound = BoundGrants::for_authentication(access, &authentication);
        let is_in_system_masters = bound.is_in_system_masters;
        let of_permissions = paths.entry(bound).or_insert_with_key(|bound| {
            let paths = paths_of_permissions(&bound.effective_permissions(access));
            paths.iter().map(EscalationSummary::from_path).collect()
        });
        let of_identity = identity_escalation_paths(&authentication);
        let of_identity = of_identity.iter().map(EscalationSummary::from_path);
        let key = RowKey {
            is_in_system_masters,
            grants: grants_of(access, &query, &authentication, cluster, table),
            escalations: of_identity.chain(of_permissions.iter().cloned()).collect(),
        };
        let position = *positions.entry(key).or_insert_with_key(|key| {
            rows.push((SubjectAccessJson::new(key), key.escalations.clone()));
            rows.len() - 1
        });
        if let Some((row, _)) = rows.get_mut(position) {
            let SubjectJson { subject, principal_name } = cluster.subject(&query);
            let kind = SubjectKindJson::from(&query);
            let is_mapped = matches!(query, SubjectQuery::Arn(_) | SubjectQuery::Account(_));
            let identities = authentication.identities().filter(|_| is_mapped);
            let identities = identities.map(|identity| cluster.identity_with_marks(identity, &entry_marks)).collect();
            row.subjects.push(ReportSubjectJson { subject, principal_name, kind, identities });
        }
    }
    let mut rows: Vec<SubjectAccessJson> =
        rows.into_iter().map(|(row, paths)| row.with_escalations(cluster.id_scope(), &paths)).collect();
    rows.sort_by_key(|row| {
        let severity = row.escalations.first().map(|path| path.severity);
        (Reverse(row.is_in_system_masters), Reverse(severity), row.subjects.first().map(|first| first.kind))
    });
    (rows, hidden)
}

impl SubjectAccessJson {
    fn new(key: &RowKey<'_>) -> Self {
        let RowKey { is_in_system_masters, grants, escalations: _ } = key;
        let grant_json = |(binding, subject): &(usize, &Subject)| ReportGrantJson {
            binding: *binding,
            via: SubjectQuery::from_subject(subject).to_string(),
        };
        Self {
            subjects: Vec::new(),
            is_in_system_masters: *is_in_system_masters,
            grants: grants.iter().map(grant_json).collect(),
            escalations: Vec::new(),
        }
    }

    /// Adds the paths of the subjects, the most severe first. `cluster` is its name in identifiers.
    fn with_escalations(mut self, cluster: &str, paths: &[EscalationSummary]) -> Self {
        let subjects: Vec<&str> = self.subjects.iter().map(|subject| subject.subject.as_str()).collect();
        let paths = paths.iter().map(|path| EscalationJson::new(cluster, &subjects, path));
        let mut escalations: Vec<EscalationJson> = paths.collect();
        escalations.sort_by_key(|path| Reverse(path.severity));
        self.escalations = escalations;
        self
    }
}

/// Returns whether the subject is everyone, or everyone of a kind, so that it is shown although it is a system subject.
fn is_everyone(query: &SubjectQuery) -> bool {
    match query {
        SubjectQuery::Group(name) => [AUTHENTICATED, UNAUTHENTICATED, SERVICE_ACCOUNTS].contains(&name.as_str()),
        _ => false,
    }
}

/// Returns the positions of the bindings that grant something to a subject, each with the subject that the binding names.
fn grants_of<'s>(
    access: &AccessView<'s>,
    query: &SubjectQuery,
    authentication: &Authentication,
    cluster: AnswerContext<'_>,
    table: &mut BindingTable<'s>,
) -> Vec<(usize, &'s Subject)> {
    let mut grants = Vec::new();
    let identities: Vec<&Identity> = authentication.identities().collect();
    for grant in identities.into_iter().flat_map(|identity| access.grants.grants_for_identity(identity)) {
        let is_own = SubjectQuery::from_subject(grant.subject) == *query;
        if is_own || !is_discovery(grant.binding_key, grant.binding) {
            grants.push((table.position(access, cluster, grant.binding_key, grant.binding), grant.subject));
        }
    }
    grants.sort_unstable();
    grants.dedup();
    grants
}

fn is_discovery(key: &ObjectKey, binding: &Binding) -> bool {
    key.namespace().is_none() && DISCOVERY_BINDINGS.contains(&key.name()) && binding.role_ref.name() == key.name()
}

impl<'s> BindingTable<'s> {
    fn position(
        &mut self,
        access: &AccessView<'s>,
        cluster: AnswerContext<'_>,
        key: &'s ObjectKey,
        binding: &'s Binding,
    ) -> usize {
        let Self { positions, bindings } = self;
        *positions.entry(key).or_insert_with(|| {
            let (kind, namespace, name) = match binding.role_ref.role_key(key) {
                Some(role) => (role.kind(), role.namespace().map(str::to_owned), role.name().to_owned()),
                // The API server rejects a ClusterRoleBinding to a Role, and it would grant nothing.
                None => (crate::names::ObjectKind::Role, None, binding.role_ref.name().to_owned()),
            };
            let role_exists =
                binding.role_ref.role_key(key).is_some_and(|role| access.state().roles.contains_key(&role));
            bindings.push(ReportBindingJson {
                binding: key.into(),
                role: ObjectJson { kind: kind.into(), namespace, name },
                role_exists,
                managed_by: cluster.managed_by(key),
            });
            bindings.len() - 1
        })
    }
}

/// Returns who can make each of the sensitive requests.
fn sensitive_access(cluster: AnswerContext<'_>, access: &AccessView<'_>, full: bool) -> Vec<SensitiveAccessJson> {
    let answers = SENSITIVE_REQUESTS.map(|(verb, group, resource, name)| {
        let request = Request::object(verb, group, resource).with_name(name);
        let filter =
            if name.is_empty() { NamespaceFilter::Any } else { NamespaceFilter::Only("kube-system".to_owned()) };
        let text = request.clone();
        let text = if name.is_empty() { text.to_string() } else { text.in_namespace("kube-system").to_string() };
        let question = WhoCanQuestion { text, request: &request, filter: &filter };
        let result = access.who_can_somewhere(&request, &filter);
        let mut holders: BTreeMap<(Reverse<bool>, Vec<GrantLimitJson>), Vec<SubjectJson>> = BTreeMap::new();
        let masters = result.system_masters.iter().map(|principal| cluster.subject(&principal.subject));
        let masters: Vec<SubjectJson> = masters.collect();
        if !masters.is_empty() {
            holders.insert((Reverse(true), Vec::new()), masters);
        }
        for principal in &result.principals {
            let principal: &MappedPrincipal = principal;
            let limits = question.limits_json(result.paths_of_principal(principal));
            holders.entry((Reverse(false), limits)).or_default().push(cluster.subject(&principal.subject));
        }
        for grants in &result.subjects {
            let query = SubjectQuery::from_subject(grants.subject);
            if full || !is_system_subject(&query) || is_everyone(&query) {
                let limits = question.limits_json(&grants.paths);
                holders.entry((Reverse(false), limits)).or_default().push(cluster.subject(&query));
            }
        }
        let holders = holders.into_iter().map(|((Reverse(is_in_system_masters), limits), subjects)| {
            SensitiveHoldersJson { subjects, is_in_system_masters, limits }
        });
        SensitiveAccessJson { request: question.text.clone(), holders: holders.collect() }
    });
    answers.into()
}
