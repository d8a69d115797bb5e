//! `rolecall can`: whether a subject is allowed to do something.

use super::args::{CanArgs, OutputFormat};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings, query_renderer, retain_clusters_with_subject};
use crate::access::Verdict;
use crate::diagnostic::SourceMap;
use crate::ops::CommandError;
use crate::ops::answers::{CanAnswers, CanQuestion, answer_can};
use crate::ops::question::{QuestionTarget, QuestionTargets};
use crate::render::query_answers;
use crate::report::{AnswerJson, AnswersDocument, CanAnswerJson, DiagnosticJson};

pub(crate) fn run(args: &CanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let QuestionTargets { mut targets, error } = observe_clusters(&args.question, env)?;
    retain_clusters_with_subject(&mut targets, &args.subject, env)?;
    let question = CanQuestion {
        subject: &args.subject,
        verb: &args.verb,
        resource: &args.resource,
        subresource: args.subresource.as_deref(),
        namespace: args.namespace.as_deref(),
        all_namespaces: args.all_namespaces,
    };
    let (mut documents, mut verdicts) = (Vec::new(), Vec::new());
    for target in &targets {
        let answered = answer_can(target, &question)?;
        print_warnings(&answered.warnings, env);
        verdicts.extend(answered.answers.iter().map(|answer| answer.verdict));
        match args.question.format {
            OutputFormat::Json => documents.extend(to_json(&answered, target, env)),
            OutputFormat::Text => {
                let label = if targets.len() > 1 { format!("{}: ", target.label) } else { String::new() };
                print_answers(&answered, target, args.explain, &label, env);
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(documents), env)?;
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

fn to_json(answered: &CanAnswers<'_>, target: &QuestionTarget, env: &Env) -> Vec<AnswerJson> {
    let renderer = query_renderer(target, env);
    let warnings = DiagnosticJson::all(&answered.warnings, &SourceMap::default());
    let answers = answered.answers.iter().map(|answer| {
        let text = query_answers::describe_request(&answer.request, &target.state.resources);
        let reason = query_answers::not_authenticated(&answer.result);
        let json = CanAnswerJson::new(&answered.subject, text, answer, reason, renderer.cluster(), warnings.clone());
        AnswerJson::Can(Box::new(json))
    });
    answers.collect()
}

fn print_answers(answered: &CanAnswers<'_>, target: &QuestionTarget, explain: bool, label: &str, env: &mut Env) {
    for (number, answer) in answered.answers.iter().enumerate() {
        if number > 0 && explain {
            env.print("");
        }
        let text = query_answers::render_can(&answered.subject, answer, explain, &query_renderer(target, env));
        env.print_text(&text.prefixed(label));
    }
}
