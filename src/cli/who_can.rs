//! `rolecall who-can`: who is allowed to do something, and who has a privilege escalation path.

use super::args::{OutputFormat, WhoCanArgs};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings};
use crate::access::{AccessView, NamespaceFilter, all_escalation_paths};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::ops::CommandError;
use crate::ops::question::{
    QuestionTarget, QuestionTargets, lint_warning, name_warning, parse_questions, state_warnings,
};
use crate::render::query_answers::{self, QueryRenderer};
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
    let mut answers = Vec::new();
    let mut is_answered = true;
    for target in &targets {
        let access = target.access_view();
        if let Some(lint) = args.namespace.as_ref().and_then(|namespace| access.lint_namespace(namespace)) {
            is_answered = false;
            print_warnings(&[lint_warning(&lint)], env);
        }
        answers.extend(answer_for_cluster(args, target, &access, targets.len() > 1, env)?);
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    let exit = if is_answered { Exit::Success } else { Exit::NotAnswered };
    Ok(finish(exit, Exit::NotAnswered, error, env))
}

/// Prints the answers for one cluster, or returns them if the output is JSON.
fn answer_for_cluster(
    args: &WhoCanArgs,
    target: &QuestionTarget,
    access: &AccessView<'_>,
    has_several_clusters: bool,
    env: &mut Env,
) -> Result<Vec<AnswerJson>, CommandError> {
    let renderer = QueryRenderer {
        cluster: &target.label,
        cluster_name: target.name.as_deref(),
        state: &target.state,
        policy_index: &target.policy_index,
        style: env.stdout_style(),
        width: env.out_width(),
    };
    let mut warnings = state_warnings(access);
    warnings.extend(access.dangling_warnings(None));
    let to_json = |warnings: &[Diagnostic]| DiagnosticJson::all(warnings, &SourceMap::default());
    let is_json = args.question.format == OutputFormat::Json;
    let mut answers = Vec::new();
    let mut texts = Vec::new();
    match &args.resource {
        None => {
            let paths = all_escalation_paths(access);
            if is_json {
                let answer = EscalationsAnswerJson::new(&paths, renderer.cluster(), to_json(&warnings));
                answers.push(AnswerJson::Escalations(answer));
            } else {
                texts.push(query_answers::render_escalations(&paths, &renderer));
            }
        }
        Some(resource) => {
            let requests = parse_questions(target, &args.verb, resource, args.subresource.as_deref())?;
            let filter = match &args.namespace {
                Some(namespace) => NamespaceFilter::Only(namespace.clone()),
                None if args.cluster_wide => NamespaceFilter::ClusterWide,
                None => NamespaceFilter::Any,
            };
            warnings.extend(requests.iter().filter_map(|request| name_warning(target, request)));
            for request in &requests {
                let result = access.who_can_somewhere(request, &filter);
                let question = WhoCanQuestion {
                    text: query_answers::describe_question(request, &filter, &target.state.resources),
                    request,
                    filter: &filter,
                };
                if is_json {
                    let warnings = to_json(&warnings);
                    let answer = WhoCanAnswerJson::new(&question, &result, renderer.cluster(), warnings);
                    answers.push(AnswerJson::WhoCan(answer));
                } else {
                    texts.push(query_answers::render_who_can(&question, &result, args.explain, &renderer));
                }
            }
        }
    }
    print_warnings(&warnings, env);
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            env.print("");
        }
        if has_several_clusters {
            env.print(&target.label);
        }
        env.print_text(text);
    }
    Ok(answers)
}
