//! `rolecall can`: whether a subject is allowed to do something.

use super::args::{CanArgs, OutputFormat};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings, retain_clusters_with_subject};
use crate::access::{AccessDecision, CanAnswer, QueryLint, Verdict};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::ops::CommandError;
use crate::ops::question::{
    QuestionTarget, QuestionTargets, answer_warnings, lint_warning, name_warning, parse_questions, state_warnings,
};
use crate::render::query_answers::{self, QueryRenderer};
use crate::report::{AnswerJson, AnswersDocument, CanAnswerJson, DiagnosticJson};

pub(crate) fn run(args: &CanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let QuestionTargets { mut targets, error } = observe_clusters(&args.question, env)?;
    retain_clusters_with_subject(&mut targets, &args.subject, env)?;
    let mut answers = Vec::new();
    let mut verdicts = Vec::new();
    for target in &targets {
        let label = if targets.len() > 1 { format!("{}: ", target.label) } else { String::new() };
        answers.extend(answer_for_cluster(args, target, &label, &mut verdicts, env)?);
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    let is_unanswered = |verdict: &Verdict| matches!(verdict, Verdict::NotAnswered(_));
    // A yes for some sessions is a yes: a script that asks whether a role has access must not take it for a no.
    let is_yes = |verdict: &Verdict| matches!(verdict, Verdict::Yes | Verdict::YesByApply | Verdict::YesForSome);
    let exit = if verdicts.iter().any(is_unanswered) {
        Exit::NotAnswered
    } else if verdicts.iter().all(is_yes) {
        Exit::Success
    } else {
        Exit::Failed
    };
    Ok(finish(exit, Exit::NotAnswered, error, env))
}

/// Prints the answers for one cluster, or returns them if the output is JSON.
fn answer_for_cluster(
    args: &CanArgs,
    target: &QuestionTarget,
    label: &str,
    verdicts: &mut Vec<Verdict>,
    env: &mut Env,
) -> Result<Vec<AnswerJson>, CommandError> {
    let subject = target.parse_subject(&args.subject)?;
    let access = target.access_view();
    let requests = parse_questions(target, &args.verb, &args.resource, args.subresource.as_deref())?;
    let mut lints: Vec<QueryLint> = access.lint_subject(&subject).into_iter().collect();
    lints.extend(args.namespace.as_ref().and_then(|namespace| access.lint_namespace(namespace)));
    let namespace = match &args.namespace {
        _ if args.all_namespaces => "",
        Some(namespace) => namespace,
        None => target.namespace.as_str(),
    };
    let in_namespace =
        |request: crate::access::Request| request.in_namespace(namespace).into_client_request(&target.state.resources);
    let mut warnings: Vec<Diagnostic> = lints.iter().map(lint_warning).collect();
    warnings.extend(requests.iter().filter_map(|request| name_warning(target, request)));
    warnings.extend(state_warnings(&access));
    let answered: Vec<CanAnswer<'_>> =
        requests.into_iter().map(|request| access.answer(&subject, &in_namespace(request), &lints)).collect();
    let authentication = access.authenticate(&subject);
    let is_allowed = answered.iter().all(|answer| answer.verdict == Verdict::Yes);
    let decision = if is_allowed { AccessDecision::Allowed } else { AccessDecision::Denied };
    warnings.extend(answer_warnings(target, &args.subject, &subject, &authentication, decision));
    print_warnings(&warnings, env);
    let renderer = QueryRenderer {
        cluster: &target.label,
        cluster_name: target.name.as_deref(),
        state: &target.state,
        policy_index: &target.policy_index,
        style: env.stdout_style(),
        width: env.out_width(),
    };
    verdicts.extend(answered.iter().map(|answer| answer.verdict));
    if args.question.format == OutputFormat::Json {
        let warnings = DiagnosticJson::all(&warnings, &SourceMap::default());
        let answers = answered.iter().map(|answer| {
            let text = query_answers::describe_request(&answer.request, &target.state.resources);
            let reason = query_answers::not_authenticated(&answer.result);
            let json = CanAnswerJson::new(&subject, text, answer, reason, renderer.cluster(), warnings.clone());
            AnswerJson::Can(Box::new(json))
        });
        return Ok(answers.collect());
    }
    for (number, answer) in answered.iter().enumerate() {
        if number > 0 && args.explain {
            env.print("");
        }
        let text = query_answers::render_can(&subject, answer, args.explain, &renderer);
        env.print_text(&text.prefixed(label));
    }
    Ok(Vec::new())
}
