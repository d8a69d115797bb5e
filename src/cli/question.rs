//! What the questions have in common: the state they are put to, whom they are about, and what is odd about them.

use super::args::{QuestionArgs, RequestScopeArgs};
use super::cluster_plan::after_state_error;
use super::command_error::CommandError;
use super::env::Env;
use super::policy_files::{LoadedPolicy, find_policy, load_policy};
use super::target::{TargetCluster, resolve_targets};
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, DenialReason, Identity, QueryLint, Request, SubjectQuery,
    SubjectQueryError, aggregation_cycles, lint_query, lint_spelling,
};
use crate::cluster::ReadCluster as _;
use crate::diagnostic::{Diagnostic, SourceMap, closest_match};
use crate::plan;
use crate::policy::PolicyIndex;
use crate::render::diagnostics;
use crate::state::State;

/// A cluster in the state that is asked about.
pub(crate) struct QuestionTarget {
    pub(crate) label: String,
    pub(crate) state: State,
    pub(crate) policy_index: PolicyIndex,
    pub(crate) aggregation: Aggregation,
}

/// Subresources that stand where `can` takes the name of an object.
const SUBRESOURCES: [&str; 12] = [
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "scale",
    "status",
    "token",
];

/// Observes the clusters that are asked about.
pub(crate) async fn observe_clusters(
    question: &QuestionArgs,
    world: &mut Env,
) -> Result<Vec<QuestionTarget>, CommandError> {
    let named = question.policy.clone().or_else(|| find_policy(world));
    if question.after && named.is_none() {
        let error = Diagnostic::error("--after is the state that a policy leads to, and there is no policy here");
        return Err(CommandError::from_diagnostic(error.with_help("name it: --policy FILE")));
    }
    let loaded = named.map(|path| load_policy(Some(&path), world)).transpose()?;
    let policy = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let mut all = Vec::new();
    for target in resolve_targets(policy, &question.connection, world)? {
        let one = observe_cluster(&target, loaded.as_ref(), question.after, world).await;
        all.push(one.map_err(|failure| failure.with_cluster_name(target.name.as_deref()))?);
    }
    Ok(all)
}

async fn observe_cluster(
    target: &TargetCluster,
    loaded: Option<&LoadedPolicy>,
    after: bool,
    world: &mut Env,
) -> Result<QuestionTarget, CommandError> {
    let opened = target.connect().await?;
    let mut state = opened.cluster.observe().await?;
    let name = target.name.as_deref();
    let mut known = PolicyIndex::default();
    let mut moment = Aggregation::AsStored;
    if let Some(LoadedPolicy { policy, .. }) = loaded {
        known = PolicyIndex::from_policy(policy, name, &state, world.now);
        if after {
            let plan = plan::plan(policy, name, &state, world.now)
                .map_err(|found| CommandError::new(policy.sources.clone(), found))?;
            state = plan.state_after(&state).map_err(|fault| after_state_error(&fault))?;
            moment = Aggregation::Reconciled;
        }
    }
    Ok(QuestionTarget { label: opened.label, state, policy_index: known, aggregation: moment })
}

impl QuestionTarget {
    pub(crate) fn access_view(&self) -> AccessView<'_> {
        AccessView::new(&self.state, self.aggregation)
    }

    /// Whom a SUBJECT of the command line means.
    pub(crate) fn parse_subject(&self, text: &str) -> Result<SubjectQuery, CommandError> {
        if let Some(who) = self.policy_index.principal(text) {
            return Ok(who.clone());
        }
        SubjectQuery::parse(text).map_err(|fault| {
            let error = Diagnostic::error(match &fault {
                SubjectQueryError::Unknown(_) => fault.to_string(),
                SubjectQueryError::Arn(_) | SubjectQueryError::ServiceAccount => format!("`{text}` is nobody: {fault}"),
            });
            CommandError::from_diagnostic(match (&fault, closest_match(text, self.policy_index.principal_names())) {
                (SubjectQueryError::Unknown(_), Some(near)) => {
                    error.with_help(format!("did you mean the principal `{near}`?"))
                }
                (SubjectQueryError::Arn(fault), _) => error.with_help(fault.help()),
                (SubjectQueryError::Unknown(_), None) => {
                    error.with_help("a principal is known by its name where a policy has it")
                }
                (SubjectQueryError::ServiceAccount, _) => error,
            })
        })
    }
}

/// The request that the words of the command line mean, and a warning where they may mean another.
pub(crate) fn parse_request(verb: &str, resource: &str, on: &RequestScopeArgs) -> (Request, Option<Diagnostic>) {
    if resource.starts_with('/') {
        return (Request::url(verb, resource), None);
    }
    let (resource, name) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let whole = match &on.subresource {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    };
    let namespace = if on.all_namespaces { "" } else { on.namespace.as_str() };
    let request = Request::object(verb, group, &whole).with_name(name).in_namespace(namespace).into_client_request();
    let doubted = on.subresource.is_none() && SUBRESOURCES.contains(&name);
    let doubt = doubted.then(|| {
        Diagnostic::warning(format!("this asks about the object named `{name}`"))
            .with_help(format!("ask about the subresource by --subresource {name}"))
    });
    (request, doubt)
}

/// Says what may make the answer another one than was meant.
pub(crate) fn request_warnings(
    access: &AccessView<'_>,
    who: Option<&SubjectQuery>,
    request: &Request,
) -> Vec<Diagnostic> {
    lint_query(access, who, request).iter().map(lint_warning).chain(state_warnings(access)).collect()
}

pub(crate) fn lint_warning(doubt: &QueryLint) -> Diagnostic {
    doubt.help().into_iter().fold(Diagnostic::warning(doubt.to_string()), Diagnostic::with_help)
}

/// What is odd about the state itself: sections of aws-auth that map nobody, roles that gather from each other.
pub(crate) fn state_warnings(access: &AccessView<'_>) -> Vec<Diagnostic> {
    let unreadable = access.mapping.unreadable.iter().map(|error| {
        let section = error.section.key();
        Diagnostic::warning(format!("`{section}` of aws-auth cannot be read, line {}: {}", error.line, error.message))
            .with_help("the authenticator takes nothing of it that is not before the fault")
    });
    unreadable.chain(aggregation_cycles(access.state())).collect()
}

/// What the answer about somebody leaves open, who was asked about in these words.
pub(crate) fn answer_warnings(
    asked: &QuestionTarget,
    typed: &str,
    who: &SubjectQuery,
    admission: &Authentication,
    verdict: AccessDecision,
) -> Vec<Diagnostic> {
    let identities: Vec<&Identity> = admission.identities().collect();
    let mut found = asked.access_view().dangling_warnings(Some(&identities));
    found.extend(lint_spelling(typed, admission).map(|doubt| lint_warning(&doubt)));
    if let Authentication::Denied(denial) = admission {
        let warning = Diagnostic::warning(format!(
            "{who} is not let in: {}",
            crate::render::query_answers::describe_denial(denial)
        ));
        let access = asked.access_view();
        let all: Vec<String> = access.principals().iter().map(|principal| principal.subject.to_string()).collect();
        let near = match denial {
            DenialReason::NotMapped { .. }
                if asked.policy_index.principal_name(who).is_some() && asked.aggregation == Aggregation::AsStored =>
            {
                Some("the policy has it: ask of the state that its plan leads to by --after".to_owned())
            }
            DenialReason::NotMapped { near_misses: meant } if meant.is_empty() => {
                // ARNs are long, so the names alone are compared.
                let last = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = all.iter().map(|arn| last(arn)).collect();
                let (whole, wanted) = (who.to_string(), last(&who.to_string()));
                let same = || all.iter().zip(&names).filter(|(_, name)| **name == wanted).map(|(arn, _)| arn.as_str());
                let near = closest_match(&whole, same()).or_else(|| same().next()).or_else(|| {
                    let near = closest_match(&wanted, names.iter().map(String::as_str))?;
                    all.iter().zip(&names).find(|(_, name)| *name == near).map(|(arn, _)| arn.as_str())
                });
                near.map(|arn| format!("did you mean `{arn}`?"))
            }
            DenialReason::NotMapped { .. } | DenialReason::NotAnInstance { .. } => None,
        };
        found.push(match near {
            Some(near) => warning.with_help(near),
            None => warning,
        });
    }
    if verdict != AccessDecision::Allowed && admission.identities().any(Identity::is_node) {
        let warning = Diagnostic::warning(format!("{who} is a node: beside RBAC the Node authorizer answers for it"));
        found.push(warning.with_help("it may read what the pods on the node need; that is not asked here"));
    }
    found
}

/// Says warnings beside the result.
pub(crate) fn print_warnings(found: &[Diagnostic], world: &mut Env) {
    if !found.is_empty() {
        let text = diagnostics::render_diagnostics(found, &SourceMap::default(), world.stderr_style());
        world.eprint(&text);
    }
}
