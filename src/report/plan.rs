//! Plans: `plan` and `drift` print them, `plan --out` saves them, and `apply --plan` reads them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::AccessChangeJson;
use super::change::ChangeJson;
use super::diagnostic::DiagnosticJson;
use super::digest::content_digest;
use super::guard::{FailedInvariantJson, GuardsJson, InvariantJson, LimitsJson, NamespaceSelectionJson};
use super::step::{StepJson, TokenWaitJson, TransientAccessJson, UnprovenAccessJson};
use super::{FormatVersion, SerializeError, to_value};
use crate::diagnostic::SourceMap;
use crate::guard::{GuardReport, InvariantViolation};
use crate::plan::{Action, Plan};

/// The output of `rolecall plan -o json` and `rolecall drift -o json`, and the content of a file that `rolecall plan
/// --out FILE` saves: one plan for each cluster.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlanDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One plan for each cluster.
    pub(crate) plans: Vec<PlanJson>,
    /// When a saved plan was applied (RFC 3339). A saved plan can be applied once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) applied_at: Option<String>,
    /// SHA-256 of this document without this key, as JSON without whitespace. `apply --plan` refuses a file that was
    /// changed. It does not replace a signature: a program that changes the file can also compute the digest.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    content_digest: String,
}

impl PlanDocument {
    /// # Errors
    /// If serde cannot serialize the plans.
    pub(crate) fn new(plans: Vec<PlanJson>) -> Result<Self, SerializeError> {
        Self { format_version: FormatVersion, plans, applied_at: None, content_digest: String::new() }.with_digest()
    }

    /// Records when the plan was applied.
    ///
    /// # Errors
    /// If serde cannot serialize the plans.
    pub(crate) fn with_applied_at(mut self, applied_at: String) -> Result<Self, SerializeError> {
        self.applied_at = Some(applied_at);
        self.with_digest()
    }

    fn with_digest(mut self) -> Result<Self, SerializeError> {
        self.content_digest = content_digest(&to_value(&self)?, &[])?;
        Ok(self)
    }

    /// Returns whether `value`, from which this document was read, is as it was written.
    ///
    /// # Errors
    /// If serde cannot serialize the document.
    pub(crate) fn is_unchanged(&self, value: &Value) -> Result<bool, SerializeError> {
        Ok(self.content_digest == content_digest(value, &[])?)
    }
}

/// The changes that make one cluster match the policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlanJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The name of the cluster in the policy, or null if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    /// How rolecall connects to the cluster.
    pub(crate) connection: ConnectionJson,
    /// The uid of the namespace kube-system, which identifies the cluster: `apply` refuses the plan for any other
    /// cluster. Null if a snapshot lacks it.
    pub(crate) cluster_uid: Option<String>,
    /// The name of the policy.
    pub(crate) policy: String,
    /// The digest of the changes, of the writes, and of what they rely on: `apply --approved DIGEST` makes exactly these writes or none.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub(crate) digest: String,
    /// The number of changes for each action.
    pub(crate) summary: SummaryJson,
    /// The changes. Empty: the cluster matches the policy.
    pub(crate) changes: Vec<ChangeJson>,
    /// The change to the text of aws-auth as the lines of a unified diff, one after the other for each key. Empty: the text
    /// stays as it is. Null if the command was run without `--aws-auth-diff` or `--full`.
    #[serde(default)]
    pub(crate) aws_auth_diff: Option<Vec<String>>,
    /// How the plan changes what subjects are allowed to do. Empty: it does not. Null if this was not computed, as
    /// by `drift`.
    pub(crate) access: Option<Vec<AccessChangeJson>>,
    /// The writes in their order, as they are sent.
    pub(crate) steps: Vec<StepJson>,
    /// Waits between the steps, for tokens that an API server has cached. Empty: there are none.
    pub(crate) waits: Vec<TokenWaitJson>,
    /// How long an API server keeps the username and the groups of a token, in seconds.
    pub(crate) token_cache: u64,
    /// Access that a subject gains or loses only while the plan is applied, because rolecall found no order of the steps
    /// without it. `apply` refuses such a plan without `--allow-window`. Empty: there is none.
    pub(crate) transient_access: Vec<TransientAccessJson>,
    /// Access that a subject may gain or lose while the plan is applied: rolecall could not prove that it does not.
    /// `apply` refuses such a plan without `--allow-window`. Empty: everything is proven.
    pub(crate) not_proven: Vec<UnprovenAccessJson>,
    /// The warnings about the plan.
    pub(crate) warnings: Vec<DiagnosticJson>,
    /// The invariants that the plan violates. `drift`: the invariants that the current state of the cluster violates.
    /// Empty: there are none.
    pub(crate) failed_invariants: Vec<FailedInvariantJson>,
    /// `drift`: the subjects with full access to the cluster that no policy manages: principals that an aws-auth entry puts
    /// into system:masters, and subjects of ClusterRoleBindings that grant everything. Null if they were not looked for,
    /// as by `plan`.
    #[serde(default)]
    pub(crate) unmanaged_admins: Option<BTreeSet<String>>,
    /// The limits in the `[guard]` table of the policy. `apply --plan` enforces them without the policy.
    pub(crate) limits: LimitsJson,
    /// The invariants of the policy for this cluster. `apply --plan` enforces them without the policy.
    pub(crate) invariants: Vec<InvariantJson>,
    /// The namespaces that patterns and labels in the policy select. `apply` refuses the plan if they select other
    /// namespaces by then.
    pub(crate) namespace_selections: Vec<NamespaceSelectionJson>,
    /// The results of the guards. `apply --plan` evaluates the guards again with its own `--allow` flags. `drift` does not
    /// evaluate them.
    pub(crate) guards: GuardsJson,
}

impl PlanJson {
    /// Returns whether the effect on access was computed, as `plan` does and `drift` does not.
    pub(crate) fn has_access_changes(&self) -> bool {
        self.access.is_some()
    }

    /// The name of the cluster in identifiers of findings.
    pub(crate) fn id_scope(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.cluster)
    }

    /// Returns whether a guard or an invariant refuses the plan.
    pub(crate) fn is_refused(&self) -> bool {
        !self.guards.refused.is_empty() || !self.failed_invariants.is_empty()
    }

    /// Returns whether `apply` needs `--allow-window`.
    pub(crate) fn needs_allow_window(&self) -> bool {
        !self.transient_access.is_empty() || !self.not_proven.is_empty()
    }

    /// `digest` is the result of [`super::digest()`] for this plan.
    pub(crate) fn new(
        plan: &Plan,
        digest: &str,
        (cluster, name): (&str, Option<&str>),
        connection: ConnectionJson,
        sources: &SourceMap,
        violations: &[InvariantViolation],
        guard_report: &GuardReport,
    ) -> Self {
        let id_scope = name.unwrap_or(cluster);
        Self {
            cluster: cluster.to_owned(),
            name: name.map(str::to_owned),
            connection,
            cluster_uid: plan.cluster_uid.clone(),
            policy: plan.policy.clone(),
            digest: digest.to_owned(),
            summary: SummaryJson::from(plan),
            changes: plan.changes.iter().map(ChangeJson::from).collect(),
            aws_auth_diff: plan.aws_auth_diff.clone(),
            access: plan
                .access_changes
                .as_ref()
                .map(|changes| changes.iter().map(|change| AccessChangeJson::new(id_scope, change)).collect()),
            steps: plan.steps.iter().map(StepJson::from).collect(),
            waits: plan.waits.iter().map(TokenWaitJson::from).collect(),
            token_cache: plan.token_cache.as_secs(),
            transient_access: plan.windows.iter().map(TransientAccessJson::from).collect(),
            not_proven: plan.unproven.iter().map(UnprovenAccessJson::from).collect(),
            warnings: DiagnosticJson::all_of_cluster(id_scope, &plan.warnings, sources),
            failed_invariants: violations
                .iter()
                .map(|violation| FailedInvariantJson::new(id_scope, violation))
                .collect(),
            unmanaged_admins: None,
            limits: (&plan.limits).into(),
            invariants: plan.invariants.iter().map(InvariantJson::from).collect(),
            namespace_selections: plan.namespace_selections.iter().map(NamespaceSelectionJson::from).collect(),
            guards: GuardsJson::new(id_scope, guard_report),
        }
    }
}

/// The number of changes for each action.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SummaryJson {
    /// Objects and entries that are created.
    pub(crate) create: usize,
    /// Objects and entries that exist and that the policy adopts without changing them.
    pub(crate) adopt: usize,
    /// Objects and entries that are changed, including those that the policy adopts and changes.
    pub(crate) update: usize,
    /// Bindings that are deleted and created again.
    pub(crate) replace: usize,
    /// Objects and entries that are deleted.
    pub(crate) delete: usize,
}

impl From<&Plan> for SummaryJson {
    fn from(plan: &Plan) -> Self {
        Self {
            create: plan.count_changes(Action::Create),
            adopt: plan.count_changes(Action::Adopt),
            update: plan.count_changes(Action::Update),
            replace: plan.count_changes(Action::Replace),
            delete: plan.count_changes(Action::Delete),
        }
    }
}

/// How rolecall connects to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConnectionJson {
    /// The current context of the kubeconfig. The value is always true.
    CurrentContext(bool),
    /// A context of the kubeconfig.
    Context(String),
    /// An EKS cluster.
    Eks(EksClusterJson),
    /// Snapshot files instead of a live cluster.
    Snapshot(Vec<PathBuf>),
}

/// An EKS cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EksClusterJson {
    /// The name of the cluster.
    pub(crate) name: String,
    /// The AWS region.
    pub(crate) region: Option<String>,
    /// The AWS account, or null if the policy does not name it.
    pub(crate) account: Option<String>,
    /// The profile of the AWS configuration files that has the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The role that is assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role_arn: Option<String>,
    /// The external ID for the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
}
