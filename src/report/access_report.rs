//! The document of `report`: who has which roles in which namespaces of each cluster, which of this is dangerous, what
//! expires, and what differs from the policy.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::access::EscalationJson;
use super::answers::IdentityJson;
use super::change::ChangeJson;
use super::common::{LocationJson, ObjectJson, SubjectJson};
use super::diagnostic::DiagnosticJson;
use super::guard::FailedInvariantJson;
use super::managed_by::ManagedByJson;
use super::who_can_answer::GrantLimitJson;
use crate::access::SubjectQuery;
use crate::guard::InvariantViolation;
use crate::plan::Plan;
use crate::policy::PolicyExpiry;

/// The output of `rolecall report -o json`. The page and the CSV of `report`, and the graph of `graph`, are made from the
/// same document.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AccessReportDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// The time of the report (RFC 3339).
    pub(crate) created_at: String,
    /// The name of the policy, or null if the report was made without one.
    pub(crate) policy: Option<String>,
    /// Whether the report shows the planned state, after the policy is applied.
    pub(crate) is_planned: bool,
    /// One report for each cluster that could be read.
    pub(crate) clusters: Vec<ClusterReportJson>,
    /// The errors of the clusters that could not be read. Empty: the report has all clusters.
    pub(crate) errors: Vec<DiagnosticJson>,
}

impl AccessReportDocument {
    pub(crate) fn new(
        created_at: String,
        policy: Option<String>,
        is_planned: bool,
        clusters: Vec<ClusterReportJson>,
        errors: Vec<DiagnosticJson>,
    ) -> Self {
        Self { format_version: FormatVersion, created_at, policy, is_planned, clusters, errors }
    }
}

/// The access to one cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterReportJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The name of the cluster in the policy, or null if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    /// The namespaces of the cluster, and those of its RoleBindings.
    pub(crate) namespaces: Vec<String>,
    /// The bindings that grant something to the subjects of `access`.
    pub(crate) bindings: Vec<ReportBindingJson>,
    /// The access of the subjects, the most dangerous first. Subjects with the same grants are listed together.
    pub(crate) access: Vec<SubjectAccessJson>,
    /// The number of system subjects that are left out, whose names begin with `system:` or `eks:`. `--full` lists them.
    pub(crate) hidden_subjects: usize,
    /// Who can make the requests that lead to other access.
    pub(crate) sensitive: Vec<SensitiveAccessJson>,
    /// The principals and bindings of the policy that expire.
    pub(crate) expiries: Vec<ExpiryJson>,
    /// The differences between the cluster and the policy. Null without a policy, and for the planned state.
    pub(crate) drift: Option<DriftReportJson>,
    /// The warnings about the cluster.
    pub(crate) warnings: Vec<DiagnosticJson>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReportBindingJson {
    /// The binding. A RoleBinding grants its role in its own namespace, a ClusterRoleBinding in the whole cluster.
    pub(crate) binding: ObjectJson,
    /// The Role or ClusterRole that it binds.
    pub(crate) role: ObjectJson,
    /// Whether the role exists. A binding to a missing role grants nothing until the role is created.
    pub(crate) role_exists: bool,
    /// The policy that manages the binding, or null if no policy does.
    pub(crate) managed_by: Option<ManagedByJson>,
}

/// The access that some subjects have in common.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SubjectAccessJson {
    /// The subjects.
    #[schemars(length(min = 1))]
    pub(crate) subjects: Vec<ReportSubjectJson>,
    /// Whether they are in system:masters, whose requests are all allowed without asking RBAC.
    pub(crate) is_in_system_masters: bool,
    /// The bindings that grant them a role. The default bindings that give API discovery to everyone are listed only for
    /// the groups that they name, such as system:authenticated.
    pub(crate) grants: Vec<ReportGrantJson>,
    /// Their privilege escalation paths, the most severe first.
    pub(crate) escalations: Vec<EscalationJson>,
}

/// A binding that grants its role to some subjects.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReportGrantJson {
    /// The position of the binding in `bindings`, counted from 0.
    pub(crate) binding: usize,
    /// The subject that the binding names: `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) via: String,
}

/// A subject of the cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReportSubjectJson {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    pub(crate) principal_name: Option<String>,
    /// What the subject is.
    pub(crate) kind: SubjectKindJson,
    /// The identities that the API server can see for an IAM principal. Empty for a subject of Kubernetes, and for a
    /// principal that cannot authenticate.
    pub(crate) identities: Vec<IdentityJson>,
}

/// What a subject is. `principal`: an IAM role or user. `account`: all other principals of an AWS account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SubjectKindJson {
    Principal,
    Account,
    Group,
    User,
    ServiceAccount,
}

impl SubjectKindJson {
    /// The kind as people write it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Principal => "IAM principal",
            Self::Account => "AWS account",
            Self::Group => "group",
            Self::User => "user",
            Self::ServiceAccount => "service account",
        }
    }
}

impl From<&SubjectQuery> for SubjectKindJson {
    fn from(query: &SubjectQuery) -> Self {
        match query {
            SubjectQuery::Arn(_) => Self::Principal,
            SubjectQuery::Account(_) => Self::Account,
            SubjectQuery::Group(_) => Self::Group,
            SubjectQuery::User(_) => Self::User,
            SubjectQuery::ServiceAccount { .. } => Self::ServiceAccount,
        }
    }
}

/// Who can make a request that leads to other access.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SensitiveAccessJson {
    /// The request, such as `get secrets in any namespace`.
    pub(crate) request: String,
    /// The IAM principals in aws-auth that can make it, and the subjects to which bindings grant it. Those with the same
    /// limits are listed together.
    pub(crate) holders: Vec<SensitiveHoldersJson>,
}

/// Subjects that can make a request, and what they are limited to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SensitiveHoldersJson {
    /// The subjects.
    #[schemars(length(min = 1))]
    pub(crate) subjects: Vec<SubjectJson>,
    /// Whether they can make it because they are in system:masters.
    pub(crate) is_in_system_masters: bool,
    /// The limits of the grants, of which each alone allows the request. Empty if the request is allowed without a limit.
    pub(crate) limits: Vec<GrantLimitJson>,
}

/// A principal or binding of the policy that expires.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExpiryJson {
    /// The table of the policy: `principals` or `bindings`.
    pub(crate) section: String,
    /// The name in the policy.
    pub(crate) name: String,
    /// The date or time as the policy has it.
    pub(crate) expires: String,
    /// The time at which access ends (RFC 3339).
    pub(crate) at: String,
    /// Whether the time has passed. `plan` then removes the access if it is still there.
    pub(crate) has_expired: bool,
    /// The whole days that are left, or 0 if the time has passed.
    pub(crate) days_left: u64,
    /// The location of `expires` in the policy.
    pub(crate) location: LocationJson,
}

impl From<&PolicyExpiry> for ExpiryJson {
    fn from(expiry: &PolicyExpiry) -> Self {
        let PolicyExpiry { section, name, expires, at, left, location } = expiry;
        Self {
            section: (*section).to_owned(),
            name: name.clone(),
            expires: expires.clone(),
            at: at.to_string(),
            has_expired: left.is_zero(),
            days_left: left.as_secs() / (24 * 60 * 60),
            location: location.into(),
        }
    }
}

/// The differences between a cluster and the policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DriftReportJson {
    /// The changes that would make the cluster match the policy. Empty: it matches.
    pub(crate) changes: Vec<ChangeJson>,
    /// The invariants that the current state of the cluster violates. Empty: there are none.
    pub(crate) failed_invariants: Vec<FailedInvariantJson>,
}

impl DriftReportJson {
    /// `cluster` is its name in identifiers.
    pub(super) fn new(cluster: &str, plan: &Plan, violations: &[InvariantViolation]) -> Self {
        Self {
            changes: plan.changes.iter().map(ChangeJson::from).collect(),
            failed_invariants: violations
                .iter()
                .map(|violation| FailedInvariantJson::new(cluster, violation))
                .collect(),
        }
    }
}
