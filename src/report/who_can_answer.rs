//! The answer of `who-can VERB RESOURCE`.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;

use super::answers::{AnswerContext, IdentityJson, RuleGrantJson};
use super::diagnostic::DiagnosticJson;
use super::managed_by::EntryJson;
use crate::access::{
    GrantLimit, GrantPath, MappedPrincipal, NamespaceFilter, Request, SubjectGrants, SubjectQuery, WhoCanResult,
};

/// The answer of `rolecall who-can VERB RESOURCE`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WhoCanAnswerJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    cluster: String,
    /// The request, such as `get secrets in any namespace`.
    request: String,
    /// The IAM principals in aws-auth that are in system:masters.
    masters: Vec<PrincipalJson>,
    /// The other IAM principals in aws-auth that are allowed to make the request for some object.
    principals: Vec<LimitedPrincipalJson>,
    /// The subjects to which RBAC bindings grant the request, each once.
    subjects: Vec<GrantedSubjectJson>,
    /// The warnings about the answer, such as unknown words in the question.
    warnings: Vec<DiagnosticJson>,
}

impl WhoCanAnswerJson {
    pub(crate) fn new(
        question: &WhoCanQuestion<'_>,
        result: &WhoCanResult<'_>,
        cluster: AnswerContext<'_>,
        warnings: Vec<DiagnosticJson>,
    ) -> Self {
        let WhoCanResult { system_masters, principals, subjects } = result;
        let principal_json = |principal: &Rc<MappedPrincipal>| LimitedPrincipalJson {
            principal: cluster.principal(principal),
            limits: question.limits_json(result.paths_of_principal(principal)),
        };
        let subject_json = |SubjectGrants { subject, paths, members }: &SubjectGrants<'_>| GrantedSubjectJson {
            subject: SubjectQuery::from_subject(subject).to_string(),
            limits: question.limits_json(paths),
            granted_by: paths.iter().map(|path| cluster.rule_grant(path)).collect(),
            members: members.iter().map(|(member, _)| member.to_string()).collect(),
            entries: members.iter().map(|(_, entry)| cluster.entry(entry)).collect(),
        };
        Self {
            cluster: cluster.label.to_owned(),
            request: question.text.clone(),
            masters: system_masters.iter().map(|principal| cluster.principal(principal)).collect(),
            principals: principals.iter().map(principal_json).collect(),
            subjects: subjects.iter().map(subject_json).collect(),
            warnings,
        }
    }
}

/// A question of `who-can`.
pub(crate) struct WhoCanQuestion<'a> {
    /// The request as text, with its namespaces.
    pub(crate) text: String,
    pub(crate) request: &'a Request,
    pub(crate) filter: &'a NamespaceFilter,
}

impl WhoCanQuestion<'_> {
    pub(super) fn limits_json<'a, 's: 'a>(
        &self,
        paths: impl IntoIterator<Item = &'a GrantPath<'s>>,
    ) -> Vec<GrantLimitJson> {
        let limits = GrantLimit::of_paths(paths, self.request, self.filter).into_iter();
        limits
            .map(|GrantLimit { names, namespace, by_apply }| GrantLimitJson {
                resource_names: names,
                namespace,
                by_server_side_apply_only: by_apply,
            })
            .collect()
    }
}

/// A part of the request to which a grant is limited.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GrantLimitJson {
    /// The names of the objects. Empty if the grant is not limited to names.
    pub(crate) resource_names: Vec<String>,
    /// The namespace, or null if the grant is not limited to one, or the question was about one.
    pub(crate) namespace: Option<String>,
    /// Whether an object can be created by server-side apply only, because a POST has no name.
    pub(crate) by_server_side_apply_only: bool,
}

/// An IAM principal in aws-auth, and what its grants are limited to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct LimitedPrincipalJson {
    #[serde(flatten)]
    principal: PrincipalJson,
    /// The limits of the grants, of which each alone allows the request. Empty if the request is allowed without a limit.
    limits: Vec<GrantLimitJson>,
}

/// An IAM principal in aws-auth.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PrincipalJson {
    /// The ARN, or `account:ID`.
    pub(super) subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    pub(super) principal_name: Option<String>,
    /// The identities that the API server can see for it.
    pub(super) identities: Vec<IdentityJson>,
}

/// A subject that bindings name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct GrantedSubjectJson {
    /// The subject: `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    subject: String,
    /// The limits of the grants, of which each alone allows the request. Empty if the request is allowed without a limit.
    limits: Vec<GrantLimitJson>,
    /// The rules that allow it, with their bindings.
    granted_by: Vec<RuleGrantJson>,
    /// The principals that have this user name or group through the entry of aws-auth with the same position in
    /// `entries`. For a role with only some of its sessions, the text says which.
    members: Vec<String>,
    /// The entries of aws-auth that give this user name or group.
    entries: Vec<EntryJson>,
}
