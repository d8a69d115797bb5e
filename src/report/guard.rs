//! The results of guards and invariants for a plan, and the limits and invariants that a saved plan carries.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LocationJson, subject_text};
use super::diagnostic::NoteJson;
use super::finding_id::FindingId;
use crate::guard::{GuardKind, GuardReport, InvariantViolation, Risk, UnevaluatedGuard, Violator};
use crate::plan::{
    Exemption, GuardLimit, GuardLimits, InvariantSubject, NamespaceSelection, ResolvedInvariant, SavedNamespaceSelector,
};
use crate::policy::{Assertion, RequestSpec};

/// The results of the guards for the plan.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GuardsJson {
    /// The risks for which `apply` refuses the plan. Empty: no guard refuses it.
    pub(crate) refused: Vec<GuardFindingJson>,
    /// The risks that `--allow` accepts.
    pub(crate) allowed: Vec<GuardFindingJson>,
    /// The guards that could not check the plan, and why.
    pub(crate) not_evaluated: Vec<NotEvaluatedJson>,
    /// The guards that found no risk. Empty if the guards were not evaluated, as for a plan without changes.
    pub(crate) passed: Vec<GuardJson>,
}

impl GuardsJson {
    pub(super) fn new(cluster: &str, report: &GuardReport) -> Self {
        let GuardReport { refused, allowed, not_evaluated, passed } = report;
        let findings = |risks: &[Risk]| risks.iter().map(|risk| GuardFindingJson::new(cluster, risk)).collect();
        Self {
            refused: findings(refused),
            allowed: findings(allowed),
            not_evaluated: not_evaluated.iter().map(NotEvaluatedJson::from).collect(),
            passed: passed.iter().map(|guard| GuardJson::from(*guard)).collect(),
        }
    }
}

/// A guard. `caller`: you keep your own access. `node`: nodes and Fargate pods keep theirs. `protected`: the principals
/// that the policy protects keep theirs. `aws-auth`: aws-auth can be read and has entries. `last-admin`: some IAM
/// principal in aws-auth can still restore access. `masters`: no principal becomes a member of system:masters.
/// `everyone`: anonymous requests, all authenticated users and all service accounts gain nothing. `max-removals`: the plan
/// does not remove more than the policy allows, or than the default limit. Only for `migrate`: `auth-mode`: the
/// authentication mode stays. `equal-access`: the principals that move keep exactly their access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuardJson {
    Caller,
    Node,
    Protected,
    AwsAuth,
    LastAdmin,
    Masters,
    Everyone,
    MaxRemovals,
    AuthMode,
    EqualAccess,
}

impl GuardJson {
    /// The name as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Node => "node",
            Self::Protected => "protected",
            Self::AwsAuth => "aws-auth",
            Self::LastAdmin => "last-admin",
            Self::Masters => "masters",
            Self::Everyone => "everyone",
            Self::MaxRemovals => "max-removals",
            Self::AuthMode => "auth-mode",
            Self::EqualAccess => "equal-access",
        }
    }

    /// What is true if the guard finds no risk.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Caller => "you keep your own access",
            Self::Node => "nodes and Fargate pods keep their access",
            Self::Protected => "protected principals keep their access",
            Self::AwsAuth => "aws-auth is valid and has entries",
            Self::LastAdmin => "an IAM principal in aws-auth can still restore access",
            Self::Masters => "no principal becomes a member of system:masters",
            Self::Everyone => "anonymous requests and built-in groups of everyone gain nothing",
            Self::MaxRemovals => "the plan does not remove more than its limit",
            Self::AuthMode => "the authentication mode stays as it is",
            Self::EqualAccess => "the principals that move keep exactly their access",
        }
    }
}

impl From<GuardKind> for GuardJson {
    fn from(guard: GuardKind) -> Self {
        match guard {
            GuardKind::Caller => Self::Caller,
            GuardKind::Node => Self::Node,
            GuardKind::Protected => Self::Protected,
            GuardKind::AwsAuth => Self::AwsAuth,
            GuardKind::LastAdmin => Self::LastAdmin,
            GuardKind::Masters => Self::Masters,
            GuardKind::Everyone => Self::Everyone,
            GuardKind::MaxRemovals => Self::MaxRemovals,
            GuardKind::AuthMode => Self::AuthMode,
            GuardKind::EqualAccess => Self::EqualAccess,
        }
    }
}

/// A risk that a guard found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GuardFindingJson {
    /// Identifies the same risk in other outputs and in later runs.
    #[serde(default)]
    pub(crate) id: FindingId,
    /// The guard.
    pub(crate) guard: GuardJson,
    /// The subject that loses or gains access: an IAM ARN, `account:ID`, `user:NAME` or `sa:NAMESPACE/NAME`. Null if
    /// the risk is not about one subject.
    pub(crate) subject: Option<String>,
    /// The effect of the plan that is a risk, on one line.
    pub(crate) message: String,
    /// Evidence and advice.
    pub(crate) notes: Vec<NoteJson>,
    /// The value of `--allow` that accepts exactly this. Null if no value does.
    pub(crate) allow: Option<String>,
}

impl GuardFindingJson {
    fn new(cluster: &str, risk: &Risk) -> Self {
        let Risk { guard, subject, message, notes, allow } = risk;
        let guard = GuardJson::from(*guard);
        let about = subject.as_ref().unwrap_or(message);
        Self {
            id: FindingId::new("guard", &[cluster, guard.name(), about]),
            guard,
            subject: subject.clone(),
            message: message.clone(),
            notes: notes.iter().map(NoteJson::from).collect(),
            allow: allow.as_ref().map(ToString::to_string),
        }
    }
}

/// A guard that could not check the plan.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NotEvaluatedJson {
    /// The guard.
    pub(crate) guard: GuardJson,
    /// The reason why the guard could not check the plan.
    pub(crate) reason: String,
}

impl From<&UnevaluatedGuard> for NotEvaluatedJson {
    fn from(unevaluated: &UnevaluatedGuard) -> Self {
        let UnevaluatedGuard { guard, reason } = unevaluated;
        Self { guard: (*guard).into(), reason: reason.clone() }
    }
}

/// The limits in the `[guard]` table of the policy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LimitsJson {
    /// The principals that the policy protects: each value is an ARN or an ARN pattern.
    pub(super) protected: Vec<LimitJson>,
    /// The maximum number of removals in a plan: a number or a percentage such as `20%`. Null if the policy sets
    /// none. The limit is then half of what the policy owns, and at least 10.
    pub(super) max_removals: Option<LimitJson>,
}

/// A value of the `[guard]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LimitJson {
    /// The value as the policy has it.
    pub(super) value: String,
    /// The location of the value in the policy.
    pub(super) location: LocationJson,
}

impl From<&GuardLimits> for LimitsJson {
    fn from(limits: &GuardLimits) -> Self {
        let limit_json =
            |GuardLimit { value, location }: &GuardLimit| LimitJson { value: value.clone(), location: location.into() };
        let GuardLimits { protected, max_removals } = limits;
        Self {
            protected: protected.iter().map(limit_json).collect(),
            max_removals: max_removals.as_ref().map(limit_json),
        }
    }
}

/// An invariant of the policy in this cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InvariantJson {
    /// The location of the invariant in the policy.
    pub(crate) location: LocationJson,
    /// The description of the invariant in the policy, or null if it has none.
    pub(crate) description: Option<String>,
    /// The subjects that the invariant applies to.
    pub(crate) subject: InvariantSubjectJson,
    /// The requirement that the subjects must meet.
    pub(crate) requirement: RequirementJson,
}

impl From<&ResolvedInvariant> for InvariantJson {
    fn from(invariant: &ResolvedInvariant) -> Self {
        let ResolvedInvariant { location, span: _, description, subject, claim } = invariant;
        Self {
            location: location.into(),
            description: description.clone(),
            subject: subject.into(),
            requirement: claim.into(),
        }
    }
}

impl InvariantJson {
    /// The invariant as text, such as `group developers must not be able to get secrets`.
    pub(crate) fn sentence(&self) -> String {
        sentence(&self.subject, &self.requirement)
    }

    /// The identifier of a violation of the invariant in this cluster.
    pub(super) fn id(&self, cluster: &str) -> FindingId {
        invariant_id(cluster, self.description.as_deref(), &self.subject, &self.requirement)
    }
}

fn invariant_id(
    cluster: &str,
    description: Option<&str>,
    subject: &InvariantSubjectJson,
    requirement: &RequirementJson,
) -> FindingId {
    FindingId::new("invariant", &[cluster, description.unwrap_or_default(), &sentence(subject, requirement)])
}

fn sentence(subject: &InvariantSubjectJson, requirement: &RequirementJson) -> String {
    let subject = match subject {
        InvariantSubjectJson::Group(name) => format!("group {name}"),
        InvariantSubjectJson::Principal(principal) => format!("principal {}", principal.name),
        InvariantSubjectJson::User(name) => format!("user {name}"),
        InvariantSubjectJson::ServiceAccount(ServiceAccountJson { namespace, name }) => {
            format!("service account {namespace}/{name}")
        }
        InvariantSubjectJson::EveryoneBut(exemptions) if exemptions.is_empty() => "everyone".to_owned(),
        InvariantSubjectJson::EveryoneBut(exemptions) => {
            let names: Vec<&str> = exemptions.iter().map(|exemption| exemption.name.as_str()).collect();
            format!("everyone but {}", names.join(", "))
        }
    };
    let action_text = |RequiredActionJson { verb, resource, name, namespace }: &RequiredActionJson| {
        let name = name.as_ref().map(|name| format!(" named {name}")).unwrap_or_default();
        let namespace = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        format!("{verb} {resource}{name}{namespace}")
    };
    match requirement {
        RequirementJson::Can(action) => format!("{subject} must be able to {}", action_text(action)),
        RequirementJson::Cannot(action) => format!("{subject} must not be able to {}", action_text(action)),
        RequirementJson::CannotEscalate => format!("{subject} must not have a privilege escalation path"),
    }
}

/// The subjects that an invariant applies to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InvariantSubjectJson {
    /// A group and all its members.
    Group(String),
    /// A principal of the policy.
    Principal(InvariantPrincipalJson),
    /// A user name.
    User(String),
    /// A service account.
    ServiceAccount(ServiceAccountJson),
    /// Everyone except these.
    EveryoneBut(Vec<ExemptionJson>),
}

/// A principal of the policy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InvariantPrincipalJson {
    /// Its name in the policy.
    pub(super) name: String,
    /// Its ARN or `account:ID`. Null if the policy gives only a role or user name and the account is not known.
    pub(super) subject: Option<String>,
}

/// A service account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceAccountJson {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

/// A name to which an invariant does not apply.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExemptionJson {
    /// The name as the policy has it.
    pub(super) name: String,
    /// All subjects that have this name: an IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(super) subjects: BTreeSet<String>,
}

impl From<&InvariantSubject> for InvariantSubjectJson {
    fn from(subject: &InvariantSubject) -> Self {
        match subject {
            InvariantSubject::Group(name) => Self::Group(name.clone()),
            InvariantSubject::Principal { name, subject } => Self::Principal(InvariantPrincipalJson {
                name: name.clone(),
                subject: subject.as_ref().map(subject_text),
            }),
            InvariantSubject::User(name) => Self::User(name.clone()),
            InvariantSubject::ServiceAccount { namespace, name } => {
                Self::ServiceAccount(ServiceAccountJson { namespace: namespace.clone(), name: name.clone() })
            }
            InvariantSubject::EveryoneBut(exemptions) => {
                let exemption_json = |Exemption { name, subjects }: &Exemption| ExemptionJson {
                    name: name.clone(),
                    subjects: subjects.iter().map(subject_text).collect(),
                };
                Self::EveryoneBut(exemptions.iter().map(exemption_json).collect())
            }
        }
    }
}

/// The requirement of an invariant.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequirementJson {
    /// The subjects must be allowed to make this request.
    Can(RequiredActionJson),
    /// The subjects must not be allowed to make this request.
    Cannot(RequiredActionJson),
    /// The subjects must not have a privilege escalation path.
    CannotEscalate,
}

/// The request that an invariant applies to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RequiredActionJson {
    /// The verb, such as `get`.
    pub(super) verb: String,
    /// The resource, with `resource/subresource` for a subresource, or a URL that starts with `/`.
    pub(super) resource: String,
    /// The name of the object, or null for any.
    pub(super) name: Option<String>,
    /// The namespace, or null for any.
    pub(super) namespace: Option<String>,
}

impl From<&Assertion> for RequirementJson {
    fn from(assertion: &Assertion) -> Self {
        let action_json = |request: &RequestSpec| {
            let RequestSpec { verb, resource, name, namespace } = request.clone();
            RequiredActionJson { verb, resource, name, namespace }
        };
        match assertion {
            Assertion::Can(request) => Self::Can(action_json(request)),
            Assertion::Cannot(request) => Self::Cannot(action_json(request)),
            Assertion::CannotEscalate => Self::CannotEscalate,
        }
    }
}

/// An invariant that is violated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FailedInvariantJson {
    /// Identifies the violated invariant in other outputs and in later runs.
    #[serde(default)]
    pub(crate) id: FindingId,
    /// The location of the invariant in the policy.
    pub(crate) location: LocationJson,
    /// The description of the invariant in the policy, or null if it has none.
    pub(crate) description: Option<String>,
    /// The invariant as text, such as `group developers cannot get secrets`.
    pub(crate) invariant: String,
    /// The subjects that violate the invariant. If a whole group violates it, its members are not listed.
    #[schemars(length(min = 1))]
    pub(crate) violations: Vec<ViolationJson>,
}

impl FailedInvariantJson {
    pub(crate) fn new(cluster: &str, violation: &InvariantViolation) -> Self {
        let InvariantViolation { location, span: _, description, subject, claim, invariant, violators } = violation;
        Self {
            id: invariant_id(cluster, description.as_deref(), &subject.into(), &claim.into()),
            location: location.into(),
            description: description.clone(),
            invariant: invariant.clone(),
            violations: violators.iter().map(ViolationJson::from).collect(),
        }
    }
}

/// A subject that violates an invariant.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ViolationJson {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    pub(crate) principal_name: Option<String>,
    /// The violation: the access that the subject has and must not have, or must have and does not have.
    pub(crate) message: String,
    /// The grants, from the aws-auth entry through group, binding and role to the rule. If access is missing: the
    /// grants that are closest to allowing it.
    pub(crate) path: Vec<String>,
}

impl From<&Violator> for ViolationJson {
    fn from(violator: &Violator) -> Self {
        let Violator { subject, principal_name, finding, path, path_kind: _ } = violator;
        Self {
            subject: subject.clone(),
            principal_name: principal_name.clone(),
            message: finding.clone(),
            path: path.clone(),
        }
    }
}

/// Namespaces that the policy selects by a pattern or by labels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NamespaceSelectionJson {
    /// How the policy selects them.
    pub(super) selector: NamespaceSelectorJson,
    /// The namespaces that it selected when the plan was made.
    pub(super) namespaces: BTreeSet<String>,
}

/// A pattern of namespace names, or labels of namespaces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NamespaceSelectorJson {
    /// A pattern of names, such as `team-*`.
    Glob(String),
    /// Labels that a namespace must have.
    MatchLabels(std::collections::BTreeMap<String, String>),
}

impl From<&NamespaceSelection> for NamespaceSelectionJson {
    fn from(selection: &NamespaceSelection) -> Self {
        let NamespaceSelection { selector, namespaces } = selection;
        let selector = match selector {
            SavedNamespaceSelector::Glob(glob) => NamespaceSelectorJson::Glob(glob.clone()),
            SavedNamespaceSelector::MatchLabels(labels) => NamespaceSelectorJson::MatchLabels(
                labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            ),
        };
        Self { selector, namespaces: namespaces.clone() }
    }
}
