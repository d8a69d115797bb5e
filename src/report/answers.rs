//! The answers of `can`, `who-can` and `access`.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::access::{EscalationJson, PermissionJson};
use super::common::{ObjectJson, RuleJson, SubjectJson};
use super::diagnostic::DiagnosticJson;
use super::managed_by::{EntryJson, ManagedByJson, ManagedObjectJson};
use super::who_can_answer::{PrincipalJson, WhoCanAnswerJson};
use crate::access::{
    AllowedVariant, Authentication, CanAnswer, CanResult, EntryPlace, EntryRef, EscalationPath, GrantPath, GrantSource,
    Identity, MASTERS, MappedPrincipal, NearMiss, RuleMismatch, SubjectQuery, Verdict,
};
use crate::names::ObjectKey;
use crate::plan::EscalationSummary;
use crate::policy::PolicyIndex;
use crate::state::State;
use crate::state::entry_marks::EntryMarks;

/// The output of `rolecall can`, `rolecall who-can` and `rolecall access` with `-o json`: the answer for each cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AnswersDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One answer for each cluster that was asked.
    clusters: Vec<AnswerJson>,
}

impl AnswersDocument {
    pub(crate) fn new(clusters: Vec<AnswerJson>) -> Self {
        Self { format_version: FormatVersion, clusters }
    }
}

/// The answer for one cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum AnswerJson {
    Can(Box<CanAnswerJson>),
    WhoCan(WhoCanAnswerJson),
    Escalations(EscalationsAnswerJson),
    Access(AccessAnswerJson),
}

/// The cluster that an answer is about.
#[derive(Clone, Copy)]
pub(crate) struct AnswerContext<'a> {
    pub(crate) label: &'a str,
    /// The name of the cluster in the policy.
    pub(crate) name: Option<&'a str>,
    pub(crate) state: &'a State,
    pub(crate) policy_index: &'a PolicyIndex,
}

/// The answer of `rolecall can`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CanAnswerJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    cluster: String,
    /// The subject: an IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    principal_name: Option<String>,
    /// The request, such as `get secrets in team-a`.
    request: String,
    /// Whether the request is allowed. `ambiguous`: several entries of aws-auth match the subject, the authenticator
    /// picks one of them at each login, and only some of them allow the request. `for-some`: only those of
    /// `allowed-for` are allowed to make it. `not-answered`: the subject, the namespace or the scope of the resource is not
    /// known.
    verdict: VerdictJson,
    /// If the verdict is `for-some`: the sessions of the role, the principals of the account, or the principals of
    /// aws-auth with the username, that are allowed to make the request.
    allowed_for: Vec<AllowedForJson>,
    /// Whether an object can be created by server-side apply only. A POST is refused then, because it has no name and the
    /// rules are limited to names.
    by_server_side_apply_only: bool,
    /// If the request is not allowed: the names of objects for which it is.
    allowed_names: Vec<String>,
    /// The identities that the API server can see for this subject. There are several if several entries match.
    identities: Vec<IdentityJson>,
    /// Why the authenticator does not authenticate the subject, or null if it does.
    not_authenticated: Option<String>,
    /// The grants that allow the request.
    granted_by: Vec<GrantPathJson>,
    /// If the request is not allowed: the grants that are closest to allowing it, the closest first.
    near_misses: Vec<NearMissJson>,
    /// If the verdict is `not-answered`: why the access of the subject is not known, such as an access policy whose rules AWS does
    /// not publish.
    unknown: Vec<String>,
    /// The warnings about the answer, such as unknown words in the question.
    warnings: Vec<DiagnosticJson>,
}

impl CanAnswerJson {
    pub(crate) fn new(
        query: &SubjectQuery,
        request: String,
        answer: &CanAnswer<'_>,
        not_authenticated: Option<String>,
        cluster: AnswerContext<'_>,
        warnings: Vec<DiagnosticJson>,
    ) -> Self {
        let CanAnswer { request: _, verdict, result, allowed_names, unknown } = answer;
        let CanResult { authentication, decision: _, granted_by, allowed_variants, near_misses } = result;
        let SubjectJson { subject, principal_name } = cluster.subject(query);
        Self {
            cluster: cluster.label.to_owned(),
            subject,
            principal_name,
            request,
            verdict: (*verdict).into(),
            allowed_for: allowed_variants.iter().map(|variant| cluster.allowed_variant(variant)).collect(),
            by_server_side_apply_only: *verdict == Verdict::YesByApply,
            allowed_names: allowed_names.iter().map(|name| (*name).to_owned()).collect(),
            identities: cluster.identities(authentication),
            not_authenticated,
            granted_by: granted_by.iter().map(|source| cluster.grant_source(source)).collect(),
            near_misses: near_misses.iter().map(|miss| cluster.near_miss(miss)).collect(),
            unknown: unknown.iter().map(ToString::to_string).collect(),
            warnings,
        }
    }
}

/// Whether a request is allowed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum VerdictJson {
    Yes,
    No,
    Ambiguous,
    NotAnswered,
    ForSome,
}

impl From<Verdict> for VerdictJson {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Yes | Verdict::YesByApply => Self::Yes,
            Verdict::YesForSome => Self::ForSome,
            Verdict::No | Verdict::NoWithoutPatch => Self::No,
            Verdict::Ambiguous => Self::Ambiguous,
            Verdict::NotAnswered(_) => Self::NotAnswered,
        }
    }
}

/// The sessions of a role, or the principal, that are allowed to make a request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AllowedForJson {
    /// The ARN, and which sessions, such as ``arn:…:role/ci for sessions named `alice` ``.
    subject: String,
    /// The identities that the API server can see for them.
    identities: Vec<IdentityJson>,
    /// The grants that allow the request.
    granted_by: Vec<GrantPathJson>,
}

/// An identity as the API server sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IdentityJson {
    /// The user name, with `{{…}}` where it is different in each session. Null if the subject is a group.
    pub(crate) username: Option<String>,
    /// The groups, with those that the API server adds, such as system:authenticated.
    pub(crate) groups: Vec<String>,
    /// The entry of aws-auth that gives the identity, or null if there is none.
    pub(crate) entry: Option<EntryJson>,
}

/// A grant that allows a request: a group that RBAC does not restrict, or a binding.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum GrantPathJson {
    Group {
        /// `system:masters`: the API server allows everything without asking RBAC.
        group: &'static str,
    },
    Rule(Box<RuleGrantJson>),
}

/// A rule, and the binding and role through which a subject has it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RuleGrantJson {
    /// The subject that the binding names: `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    subject: String,
    /// The RoleBinding or ClusterRoleBinding.
    binding: ManagedObjectJson,
    /// The Role or ClusterRole that it binds.
    role: ManagedObjectJson,
    /// The role that has the rule. It differs from `role` if that is an aggregated ClusterRole.
    source_role: ManagedObjectJson,
    /// The rule.
    rule: RuleJson,
}

/// A grant that is close to allowing a request: a rule that differs in one part, or a binding to a role that does not
/// exist.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum NearMissJson {
    Rule {
        /// The part of the request that the rule does not cover.
        missing: MissingPartJson,
        /// The rule.
        grant: Box<RuleGrantJson>,
    },
    Role {
        /// The role does not exist.
        missing: MissingRoleJson,
        /// The subject that the binding names: `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
        subject: String,
        /// The RoleBinding or ClusterRoleBinding.
        binding: ObjectJson,
        /// The kind and the name of the role.
        role: String,
    },
}

/// The part of a request that a rule does not cover.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum MissingPartJson {
    Namespace,
    Verb,
    ResourceName,
    Resource,
    ApiGroup,
    Url,
}

impl From<RuleMismatch> for MissingPartJson {
    fn from(mismatch: RuleMismatch) -> Self {
        match mismatch {
            RuleMismatch::Namespace => Self::Namespace,
            RuleMismatch::Verb => Self::Verb,
            RuleMismatch::Name => Self::ResourceName,
            RuleMismatch::Resource => Self::Resource,
            RuleMismatch::Group => Self::ApiGroup,
            RuleMismatch::Url => Self::Url,
        }
    }
}

/// The only value for a role that does not exist.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum MissingRoleJson {
    Role,
}

/// The answer of `rolecall who-can escalate`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EscalationsAnswerJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    cluster: String,
    /// The subjects that have a privilege escalation path.
    escalations: Vec<SubjectEscalationsJson>,
    /// The warnings about the answer.
    warnings: Vec<DiagnosticJson>,
}

impl EscalationsAnswerJson {
    pub(crate) fn new(
        escalations: &[(SubjectQuery, Vec<EscalationPath<'_>>)],
        cluster: AnswerContext<'_>,
        warnings: Vec<DiagnosticJson>,
    ) -> Self {
        let subject_json = |(query, paths): &(SubjectQuery, Vec<EscalationPath<'_>>)| {
            let SubjectJson { subject, principal_name } = cluster.subject(query);
            let to_json = |path| {
                EscalationJson::new(cluster.id_scope(), &[subject.as_str()], &EscalationSummary::from_path(path))
            };
            let paths = paths.iter().map(to_json).collect();
            SubjectEscalationsJson { subject, principal_name, paths }
        };
        let escalations = escalations.iter().map(subject_json).collect();
        Self { cluster: cluster.label.to_owned(), escalations, warnings }
    }
}

/// The privilege escalation paths of a subject.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct SubjectEscalationsJson {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    principal_name: Option<String>,
    /// The privilege escalation paths of the subject.
    paths: Vec<EscalationJson>,
}

/// The answer of `rolecall access`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AccessAnswerJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    cluster: String,
    /// The permissions of the subjects. Subjects with the same access are listed together.
    access: Vec<AccessRowJson>,
    /// The number of system subjects that are left out, whose names begin with `system:` or `eks:`. `--full` lists them.
    hidden_subjects: usize,
    /// The warnings about the answer.
    warnings: Vec<DiagnosticJson>,
}

impl AccessAnswerJson {
    pub(crate) fn new(
        label: &str,
        access: Vec<AccessRowJson>,
        hidden_subjects: usize,
        warnings: Vec<DiagnosticJson>,
    ) -> Self {
        Self { cluster: label.to_owned(), access, hidden_subjects, warnings }
    }
}

/// The permissions of some subjects.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AccessRowJson {
    /// The subjects.
    #[schemars(length(min = 1))]
    pub(crate) subjects: Vec<SubjectJson>,
    /// Everything that they are allowed to do.
    pub(crate) permissions: Vec<PermissionJson>,
    /// Their privilege escalation paths.
    pub(crate) escalations: Vec<EscalationJson>,
}

impl AnswerContext<'_> {
    /// The name of the cluster in identifiers of findings.
    pub(super) fn id_scope(&self) -> &str {
        self.name.unwrap_or(self.label)
    }

    pub(super) fn subject(&self, query: &SubjectQuery) -> SubjectJson {
        let principal_name = self.policy_index.principal_name(query).map(str::to_owned);
        SubjectJson { subject: query.to_string(), principal_name }
    }

    pub(super) fn principal(&self, principal: &MappedPrincipal) -> PrincipalJson {
        let SubjectJson { subject, principal_name } = self.subject(&principal.subject);
        PrincipalJson { subject, principal_name, identities: self.identities(&principal.authentication) }
    }

    fn allowed_variant(&self, variant: &AllowedVariant<'_>) -> AllowedForJson {
        let AllowedVariant { principal, granted_by } = variant;
        AllowedForJson {
            subject: principal.subject.to_string(),
            identities: self.identities(&principal.authentication),
            granted_by: granted_by.iter().map(|source| self.grant_source(source)).collect(),
        }
    }

    pub(super) fn identities(&self, authentication: &Authentication) -> Vec<IdentityJson> {
        authentication.identities().map(|identity| self.identity(identity)).collect()
    }

    fn identity(&self, identity: &Identity) -> IdentityJson {
        self.identity_with_marks(identity, &self.state.entry_marks())
    }

    /// Returns the identity. Reading the marks of thousands of entries takes long, so a caller with many reads them once.
    pub(super) fn identity_with_marks(&self, identity: &Identity, marks: &EntryMarks) -> IdentityJson {
        IdentityJson {
            username: identity.username.as_ref().map(ToString::to_string),
            groups: identity.groups.iter().map(ToString::to_string).collect(),
            entry: identity.entry().map(|entry| self.entry_with_marks(entry, marks)),
        }
    }

    pub(super) fn entry(&self, entry: &EntryRef) -> EntryJson {
        self.entry_with_marks(entry, &self.state.entry_marks())
    }

    fn entry_with_marks(&self, entry: &EntryRef, marks: &EntryMarks) -> EntryJson {
        let EntryRef { place, principal } = entry;
        let (section, line) = match *place {
            EntryPlace::AccessEntry => (None, None),
            EntryPlace::AwsAuth { section, index: _, line } => (Some(section.into()), line),
        };
        EntryJson {
            section,
            line,
            principal: principal.clone(),
            managed_by: ManagedByJson::new(&self.policy_index.entry_managed_by(self.state, marks, entry)),
        }
    }

    /// Returns the policy that manages an object. `None` if no policy does.
    pub(super) fn managed_by(&self, key: &ObjectKey) -> Option<ManagedByJson> {
        ManagedByJson::new(&self.policy_index.managed_by(self.state, key))
    }

    pub(super) fn object(&self, key: &ObjectKey) -> ManagedObjectJson {
        ManagedObjectJson { object: key.into(), managed_by: self.managed_by(key) }
    }

    fn grant_source(&self, source: &GrantSource<'_>) -> GrantPathJson {
        match source {
            GrantSource::SystemMasters => GrantPathJson::Group { group: MASTERS },
            GrantSource::Path(path) => GrantPathJson::Rule(Box::new(self.rule_grant(path))),
        }
    }

    pub(super) fn rule_grant(&self, path: &GrantPath<'_>) -> RuleGrantJson {
        let GrantPath { subject, binding, role, source, rule, scope: _ } = path;
        RuleGrantJson {
            subject: SubjectQuery::from_subject(subject).to_string(),
            binding: self.object(binding),
            role: self.object(role),
            source_role: self.object(source),
            rule: (*rule).into(),
        }
    }

    fn near_miss(&self, miss: &NearMiss<'_>) -> NearMissJson {
        match miss {
            NearMiss::Rule { path, mismatch } => {
                NearMissJson::Rule { missing: (*mismatch).into(), grant: Box::new(self.rule_grant(path)) }
            }
            NearMiss::MissingRole { subject, binding, role } => NearMissJson::Role {
                missing: MissingRoleJson::Role,
                subject: SubjectQuery::from_subject(subject).to_string(),
                binding: (*binding).into(),
                role: role.to_string(),
            },
        }
    }
}
