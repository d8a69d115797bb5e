//! What `can`, `who-can` and `access` have in common: the clusters, the subject, the request and the warnings.

use tokio::runtime::Handle;

use super::cluster_plan::after_state_error;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::loaded_policy::LoadedPolicy;
use super::observer::WorkPhase;
use super::parallel::run_clusters;
use super::target::TargetCluster;
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, DenialReason, Identity, ObjectRequest, QueryLint,
    QuestionError, Request, SubjectQuery, SubjectQueryError, aggregation_cycles, auth_mode_warning, lint_spelling,
    parse_requests,
};
use crate::cluster::ReadCluster as _;
use crate::diagnostic::{Diagnostic, closest_match};
use crate::plan;
use crate::policy::PolicyIndex;
use crate::render::query_answers::describe_denial;
use crate::state::State;

/// A cluster, and its state that a question is about.
pub(crate) struct QuestionTarget {
    pub(crate) label: String,
    /// The name of the cluster in the policy. `None` if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    /// The namespace of a question without one.
    pub(crate) namespace: String,
    pub(crate) state: State,
    pub(crate) policy_index: PolicyIndex,
    pub(crate) aggregation: Aggregation,
}

/// The clusters that could be read, in the order of the policy, and the errors of the others.
pub(crate) struct QuestionTargets {
    pub(crate) targets: Vec<QuestionTarget>,
    pub(crate) error: Option<CommandError>,
}

/// Connects to the clusters and reads their state, or with `after` the state after the plan.
pub(crate) fn observe_clusters(
    targets: &[TargetCluster],
    loaded: Option<&LoadedPolicy>,
    after: bool,
    context: &OpsContext,
) -> QuestionTargets {
    let runtime = Handle::current();
    let job = |target| runtime.block_on(Box::pin(observe_cluster(target, loaded, after, context)));
    let (results, ()) = run_clusters(WorkPhase::Observe, targets.iter().collect(), context, job, || ());
    let (mut observed, mut error) = (Vec::with_capacity(targets.len()), CommandError::default());
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(target) => observed.push(target),
            Err(other) => {
                let CommandError { sources, diagnostics, .. } = other.with_cluster_name(target.name.as_deref());
                error.sources = sources;
                error.diagnostics.extend(diagnostics);
            }
        }
    }
    QuestionTargets { targets: observed, error: (!error.diagnostics.is_empty()).then_some(error) }
}

async fn observe_cluster(
    target: &TargetCluster,
    loaded: Option<&LoadedPolicy>,
    after: bool,
    context: &OpsContext,
) -> Result<QuestionTarget, CommandError> {
    let reading = async {
        let connected = target.connect().await?;
        let state = connected.cluster.read_state().await?;
        Ok((connected, state))
    };
    let (connected, mut state) = target.within_timeout(reading).await?;
    let name = target.name.as_deref();
    let mut policy_index = PolicyIndex::default();
    let mut aggregation = Aggregation::AsStored;
    if let Some(LoadedPolicy { policy, .. }) = loaded {
        policy_index = PolicyIndex::from_policy(policy, name, &state, context.now);
        if after {
            let plan = plan::plan(policy, name, &state, context.now)
                .map_err(|diagnostics| CommandError::new(policy.sources.clone(), diagnostics))?;
            state = plan.state_after(&state).map_err(|error| after_state_error(&error))?;
            aggregation = Aggregation::Reconciled;
        }
        let declared = policy.lint.resources.iter().map(|resource| resource.value.clone());
        state.resources = state.resources.with_declared(declared);
    }
    let (label, namespace) = (connected.label, connected.namespace);
    Ok(QuestionTarget { label, name: target.name.clone(), namespace, state, policy_index, aggregation })
}

impl QuestionTarget {
    pub(crate) fn access_view(&self) -> AccessView<'_> {
        AccessView::new(&self.state, self.aggregation)
    }

    /// Parses the SUBJECT of the command line: the name of a principal in the policy, or the form that
    /// [`SubjectQuery::parse`] reads.
    pub(crate) fn parse_subject(&self, text: &str) -> Result<SubjectQuery, CommandError> {
        if let Some(subject) = self.policy_index.principal(text) {
            return Ok(subject.clone());
        }
        SubjectQuery::parse(text).map_err(|error| {
            CommandError::from_diagnostic(match error {
                SubjectQueryError::Unknown(_) => self.unknown_subject(text),
                SubjectQueryError::Arn(arn_error) => {
                    Diagnostic::error(format!("invalid subject `{text}`: {arn_error}")).with_help(arn_error.help())
                }
                SubjectQueryError::ServiceAccount => Diagnostic::error(format!("invalid subject `{text}`: {error}")),
            })
        })
    }

    fn unknown_subject(&self, text: &str) -> Diagnostic {
        let error = Diagnostic::error(format!("unknown subject \"{text}\""));
        if let Some(nearest) = closest_match(text, self.policy_index.principal_names()) {
            return error.with_help(format!("did you mean the principal `{nearest}`?"));
        }
        let forms =
            format!("use a principal name from the policy, an ARN, user:{text}, group:{text} or sa:NAMESPACE/{text}");
        match self.entry_with_name(text) {
            Some(entry) => error.with_help(forms).with_note(format!("aws-auth has {entry}")),
            None => error.with_help(forms),
        }
    }

    /// Returns the aws-auth principal with this name or username, such as `arn:aws:iam::111122223333:user/bob (username
    /// bob)`.
    fn entry_with_name(&self, text: &str) -> Option<String> {
        let access = self.access_view();
        access.principals().iter().find_map(|principal| {
            let arn = principal.subject.to_string();
            let username = |identity: &Identity| identity.username.as_ref()?.as_literal().map(str::to_owned);
            let usernames: Vec<String> = principal.authentication.identities().filter_map(username).collect();
            let is_match = arn.rsplit('/').next() == Some(text) || usernames.iter().any(|name| name == text);
            is_match.then(|| match usernames.as_slice() {
                [username, ..] => format!("{arn} (username {username})"),
                [] => arn,
            })
        })
    }
}

/// Parses the verbs and resources of the command line into one request for each, without a namespace.
pub(crate) fn parse_questions(
    target: &QuestionTarget,
    verbs: &str,
    resources: &str,
    subresource: Option<&str>,
) -> Result<Vec<Request>, CommandError> {
    let requests = parse_requests(&target.state.resources, verbs, resources, subresource);
    requests.map_err(|errors| {
        let diagnostic = |error: QuestionError| {
            error.help().into_iter().fold(Diagnostic::error(error.to_string()), Diagnostic::with_help)
        };
        errors.into_iter().map(diagnostic).collect::<Vec<_>>().into()
    })
}

/// Returns a warning if the name of the object is probably a misspelled subresource.
pub(crate) fn name_warning(target: &QuestionTarget, request: &Request) -> Option<Diagnostic> {
    let Request::Object(ObjectRequest { group, resource, subresource, name, .. }) = request else {
        return None;
    };
    let known = target.state.resources.all().get(group, resource).filter(|_| subresource.is_empty())?;
    let subresources: Vec<&str> = known.subresources.keys().map(String::as_str).collect();
    let nearest = closest_match(name, subresources.iter().copied()).filter(|nearest| nearest != name)?;
    let warning = Diagnostic::warning(format!("the question is about an object with the name `{name}`"));
    Some(warning.with_help(format!("for the subresource, write `{resource}/{nearest}`")))
}

pub(crate) fn lint_warning(lint: &QueryLint) -> Diagnostic {
    lint.help().into_iter().fold(Diagnostic::warning(lint.to_string()), Diagnostic::with_help)
}

/// Returns warnings about the state itself: access entries that are not evaluated, sections of aws-auth with syntax errors,
/// and aggregation cycles.
pub(crate) fn state_warnings(access: &AccessView<'_>) -> Vec<Diagnostic> {
    let unreadable = access.mapping.unreadable.iter().map(|error| {
        let section = error.section.key();
        Diagnostic::warning(format!("syntax error in `{section}` of aws-auth, line {}: {}", error.line, error.message))
            .with_note(if error.partial_entries.is_empty() {
                format!("the authenticator cannot parse `{section}` either, so none of its entries is in effect")
            } else {
                "the authenticator cannot parse `mapAccounts` either and uses only the accounts before this line"
                    .to_owned()
            })
    });
    auth_mode_warning(access.state()).into_iter().chain(unreadable).chain(aggregation_cycles(access.state())).collect()
}

/// Returns warnings about the answer for one subject, which was typed as `typed`.
pub(crate) fn answer_warnings(
    target: &QuestionTarget,
    typed: &str,
    subject: &SubjectQuery,
    authentication: &Authentication,
    decision: AccessDecision,
) -> Vec<Diagnostic> {
    let identities: Vec<&Identity> = authentication.identities().collect();
    let mut warnings = target.access_view().dangling_warnings(Some(&identities));
    warnings.extend(lint_spelling(typed, authentication).map(|lint| lint_warning(&lint)));
    if let Authentication::Denied(denial) = authentication {
        warnings.push(denial_warning(target, subject, denial));
    }
    if decision != AccessDecision::Allowed && authentication.identities().any(Identity::is_node) {
        let warning = Diagnostic::warning(format!("{subject} is a node, which the Node authorizer can allow more"))
            .with_note("the Node authorizer allows reading what the pods on the node need; it is not evaluated here");
        warnings.push(warning);
    }
    warnings
}

fn denial_warning(target: &QuestionTarget, subject: &SubjectQuery, denial: &DenialReason) -> Diagnostic {
    let warning = Diagnostic::warning(format!("{subject} cannot authenticate: {}", describe_denial(denial)));
    match denial {
        DenialReason::NotMapped { .. } | DenialReason::NoAwsAuth | DenialReason::NoAccessEntry
            if target.policy_index.principal_name(subject).is_some() && target.aggregation == Aggregation::AsStored =>
        {
            warning.with_help("the policy adds this principal: use --after to query the planned state")
        }
        DenialReason::NotMapped { near_misses } if near_misses.is_empty() => match similar_principal(target, subject) {
            Some(arn) => warning.with_help(format!("did you mean `{arn}`?")),
            None => warning,
        },
        DenialReason::NoAwsAuth
        | DenialReason::NoAccessEntry
        | DenialReason::NotMapped { .. }
        | DenialReason::NotAnInstance { .. } => warning,
    }
}

/// Returns the ARN of an aws-auth entry that is similar to the subject: it has the same name, or a similar one. Whole
/// ARNs are long and therefore always similar, so only their names are compared.
fn similar_principal(target: &QuestionTarget, subject: &SubjectQuery) -> Option<String> {
    fn name_of(arn: &str) -> &str {
        arn.rsplit('/').next().unwrap_or_default()
    }
    let access = target.access_view();
    let arns: Vec<String> = access.principals().iter().map(|principal| principal.subject.to_string()).collect();
    let subject = subject.to_string();
    let with_name =
        |name: &str| -> Vec<&str> { arns.iter().map(String::as_str).filter(|arn| name_of(arn) == name).collect() };
    let same_name = with_name(name_of(&subject));
    if let Some(first) = same_name.first() {
        return Some(closest_match(&subject, same_name.iter().copied()).unwrap_or(first).to_owned());
    }
    let nearest_name = closest_match(name_of(&subject), arns.iter().map(|arn| name_of(arn)))?;
    with_name(nearest_name).first().map(|arn| (*arn).to_owned())
}
