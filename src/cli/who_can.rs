//! `rolecall who-can`: who is allowed to do something, and who has a privilege escalation path.

use super::args::{OutputFormat, WhoCanArgs};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings, query_renderer};
use crate::access::{NamespaceFilter, Request};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::ops::CommandError;
use crate::ops::answers::{WhoCanAnswers, WhoCanFound, WhoCanRequest, answer_who_can};
use crate::ops::question::{QuestionTarget, QuestionTargets};
use crate::render::query_answers;
use crate::report::{
    AnswerJson, AnswersDocument, DiagnosticJson, EscalationsAnswerJson, WhoCanAnswerJson, WhoCanQuestion,
};

pub(crate) fn run(args: &WhoCanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    if args.resource.is_none() && args.verb != "escalate" {
        let error = Diagnostic::error(format!("`who-can {}` needs a resource", args.verb));
        return Err(CommandError::from_diagnostic(
            error.with_help(format!("name a resource, such as `rolecall who-can {} secrets`", args.verb)),
        ));
    }
    let QuestionTargets { targets, error } = observe_clusters(&args.question, env)?;
    let question = WhoCanRequest {
        verb: &args.verb,
        resource: args.resource.as_deref(),
        subresource: args.subresource.as_deref(),
        filter: match &args.namespace {
            Some(namespace) => NamespaceFilter::Only(namespace.clone()),
            None if args.cluster_wide => NamespaceFilter::ClusterWide,
            None => NamespaceFilter::Any,
        },
    };
    let mut documents = Vec::new();
    let mut is_answered = true;
    for target in &targets {
        let answered = answer_who_can(target, &question)?;
        if let Some(lint) = &answered.lint {
            is_answered = false;
            print_warnings(std::slice::from_ref(lint), env);
        }
        print_warnings(&answered.warnings, env);
        match args.question.format {
            OutputFormat::Json => documents.extend(to_json(&answered, &question, target, env)),
            OutputFormat::Text => {
                let label = (targets.len() > 1).then_some(target.label.as_str());
                print_answers(&answered, &question, target, (args.explain, label), env);
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(documents), env)?;
    }
    let exit = if is_answered { Exit::Success } else { Exit::NotAnswered };
    Ok(finish(exit, Exit::NotAnswered, error, env))
}

/// Returns one of the questions: `typed` can be about several verbs and resources.
fn to_question<'a>(request: &'a Request, typed: &'a WhoCanRequest<'_>, target: &QuestionTarget) -> WhoCanQuestion<'a> {
    let filter = &typed.filter;
    WhoCanQuestion { text: query_answers::describe_question(request, filter, &target.state.resources), request, filter }
}

fn to_json(
    answered: &WhoCanAnswers<'_>,
    question: &WhoCanRequest<'_>,
    target: &QuestionTarget,
    env: &Env,
) -> Vec<AnswerJson> {
    let renderer = query_renderer(target, env);
    let warnings = || DiagnosticJson::all(&answered.warnings, &SourceMap::default());
    match &answered.found {
        WhoCanFound::Escalations(paths) => {
            vec![AnswerJson::Escalations(EscalationsAnswerJson::new(paths, renderer.cluster(), warnings()))]
        }
        WhoCanFound::Requests(results) => results
            .iter()
            .map(|(request, result)| {
                let question = to_question(request, question, target);
                AnswerJson::WhoCan(WhoCanAnswerJson::new(&question, result, renderer.cluster(), warnings()))
            })
            .collect(),
    }
}

fn print_answers(
    answered: &WhoCanAnswers<'_>,
    question: &WhoCanRequest<'_>,
    target: &QuestionTarget,
    (explain, label): (bool, Option<&str>),
    env: &mut Env,
) {
    let renderer = query_renderer(target, env);
    let texts: Vec<_> = match &answered.found {
        WhoCanFound::Escalations(paths) => vec![query_answers::render_escalations(paths, &renderer)],
        WhoCanFound::Requests(results) => results
            .iter()
            .map(|(request, result)| {
                let question = to_question(request, question, target);
                query_answers::render_who_can(&question, result, explain, &renderer)
            })
            .collect(),
    };
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            env.print("");
        }
        if let Some(label) = label {
            env.print(label);
        }
        env.print_text(text);
    }
}
