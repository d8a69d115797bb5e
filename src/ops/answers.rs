//! The answers to `can`, `who-can` and `access` about one cluster.

use super::command_error::CommandError;
use super::question::{QuestionTarget, answer_warnings, lint_warning, name_warning, parse_questions, state_warnings};
use crate::access::{
    AccessDecision, AccessView, CanAnswer, EscalationPath, NamespaceFilter, QueryLint, Request, SubjectQuery, Verdict,
    WhoCanResult, all_escalation_paths,
};
use crate::diagnostic::Diagnostic;
use crate::report::{has_own_row, is_system_subject};

/// The question of `can`, as it is typed.
pub(crate) struct CanQuestion<'a> {
    pub(crate) subject: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: Option<&'a str>,
    /// `None` for that of the target.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) all_namespaces: bool,
}

/// The answers to a question of `can`, one for each verb and resource.
pub(crate) struct CanAnswers<'t> {
    pub(crate) subject: SubjectQuery,
    pub(crate) answers: Vec<CanAnswer<'t>>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The question of `who-can`, as it is typed.
pub(crate) struct WhoCanRequest<'a> {
    pub(crate) verb: &'a str,
    /// `None` asks who has a privilege escalation path.
    pub(crate) resource: Option<&'a str>,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) filter: NamespaceFilter,
}

/// The answers to a question of `who-can`.
pub(crate) struct WhoCanAnswers<'t> {
    pub(crate) found: WhoCanFound<'t>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// What is wrong with the namespace of the question. The question then has no answer.
    pub(crate) lint: Option<Diagnostic>,
}

pub(crate) enum WhoCanFound<'t> {
    Escalations(Vec<(SubjectQuery, Vec<EscalationPath<'t>>)>),
    /// For each verb and resource.
    Requests(Vec<(Request, WhoCanResult<'t>)>),
}

/// The subjects that `access` is about.
pub(crate) struct AccessSubjects {
    pub(crate) shown: Vec<SubjectQuery>,
    /// How many system subjects are left out.
    pub(crate) hidden: usize,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Answers whether a subject is allowed to make requests.
///
/// # Errors
/// If the subject or the requests cannot be parsed.
pub(crate) fn answer_can<'t>(
    target: &'t QuestionTarget,
    question: &CanQuestion<'_>,
) -> Result<CanAnswers<'t>, CommandError> {
    let subject = target.parse_subject(question.subject)?;
    let access = target.access_view();
    let requests = parse_questions(target, question.verb, question.resource, question.subresource)?;
    let mut lints: Vec<QueryLint> = access.lint_subject(&subject).into_iter().collect();
    lints.extend(question.namespace.and_then(|namespace| access.lint_namespace(namespace)));
    let namespace = if question.all_namespaces { "" } else { question.namespace.unwrap_or(target.namespace.as_str()) };
    let mut warnings: Vec<Diagnostic> = lints.iter().map(lint_warning).collect();
    warnings.extend(requests.iter().filter_map(|request| name_warning(target, request)));
    warnings.extend(state_warnings(&access));
    let in_namespace = |request: Request| request.in_namespace(namespace).into_client_request(&target.state.resources);
    let answers: Vec<CanAnswer<'_>> =
        requests.into_iter().map(|request| access.answer(&subject, &in_namespace(request), &lints)).collect();
    let is_allowed = answers.iter().all(|answer| answer.verdict == Verdict::Yes);
    let decision = if is_allowed { AccessDecision::Allowed } else { AccessDecision::Denied };
    let authentication = access.authenticate(&subject);
    warnings.extend(answer_warnings(target, question.subject, &subject, &authentication, decision));
    Ok(CanAnswers { subject, answers, warnings })
}

/// Answers who is allowed to make requests, or who has a privilege escalation path.
///
/// # Errors
/// If the requests cannot be parsed.
pub(crate) fn answer_who_can<'t>(
    target: &'t QuestionTarget,
    question: &WhoCanRequest<'_>,
) -> Result<WhoCanAnswers<'t>, CommandError> {
    let access = target.access_view();
    let lint = match &question.filter {
        NamespaceFilter::Only(namespace) => access.lint_namespace(namespace).map(|lint| lint_warning(&lint)),
        NamespaceFilter::Any | NamespaceFilter::ClusterWide => None,
    };
    let mut warnings = state_warnings(&access);
    warnings.extend(access.dangling_warnings(None));
    let found = match question.resource {
        None => WhoCanFound::Escalations(all_escalation_paths(&access)),
        Some(resource) => {
            let requests = parse_questions(target, question.verb, resource, question.subresource)?;
            warnings.extend(requests.iter().filter_map(|request| name_warning(target, request)));
            let answer = |request: Request| {
                let result = access.who_can_somewhere(&request, &question.filter);
                (request, result)
            };
            WhoCanFound::Requests(requests.into_iter().map(answer).collect())
        }
    };
    Ok(WhoCanAnswers { found, warnings, lint })
}

/// Returns the subjects whose access is listed: the one that is typed with its variants, or all. With `full`, these include
/// system subjects.
///
/// # Errors
/// If the subject cannot be parsed.
pub(crate) fn access_subjects(
    target: &QuestionTarget,
    access: &AccessView<'_>,
    typed: Option<&str>,
    full: bool,
) -> Result<AccessSubjects, CommandError> {
    let mut warnings = state_warnings(access);
    let subjects: Vec<SubjectQuery> = match typed {
        Some(text) => {
            let subject = target.parse_subject(text)?;
            let authentication = access.authenticate(&subject);
            warnings.extend(access.lint_subject(&subject).map(|lint| lint_warning(&lint)));
            warnings.extend(answer_warnings(target, text, &subject, &authentication, AccessDecision::Allowed));
            // The sessions of a role that have more, or the principals with a username, have rows of their own.
            let variants = access.variants(&subject);
            std::iter::once(subject).chain(variants.into_iter().map(|variant| variant.subject)).collect()
        }
        None => {
            warnings.extend(access.dangling_warnings(None));
            access.all_subjects().into_iter().filter(|subject| has_own_row(access, subject)).collect()
        }
    };
    let shows_all = full || typed.is_some();
    let (shown, hidden): (Vec<SubjectQuery>, Vec<SubjectQuery>) =
        subjects.into_iter().partition(|subject| shows_all || !is_system_subject(subject));
    Ok(AccessSubjects { shown, hidden: hidden.len(), warnings })
}
