//! `rolecall who-can`: who is allowed to do something, and who has a privilege escalation path.

use super::args::{OutputFormat, WhoCanArgs};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{
    QuestionTarget, observe_clusters, parse_request, print_warnings, request_warnings, state_warnings,
};
use crate::access::all_escalation_paths;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::render::query_answers::{self, QueryRenderer};
use crate::report::{AnswerJson, AnswersDocument, DiagnosticJson, EscalationsAnswerJson, WhoCanAnswerJson};

pub(crate) async fn run(args: &WhoCanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    if args.resource.is_none() && args.verb != "escalate" {
        let error = Diagnostic::error(format!("`who-can {}` needs a resource", args.verb));
        return Err(CommandError::from_diagnostic(
            error.with_help(format!("name a resource, such as `rolecall who-can {} secrets`", args.verb)),
        ));
    }
    let targets = observe_clusters(&args.question, env).await?;
    let mut answers = Vec::new();
    for target in &targets {
        answers.extend(answer_for_cluster(args, target, targets.len() > 1, env));
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    Ok(Exit::Success)
}

/// Prints the answer for one cluster, or returns it if the output is JSON.
fn answer_for_cluster(
    args: &WhoCanArgs,
    target: &QuestionTarget,
    has_several_clusters: bool,
    env: &mut Env,
) -> Option<AnswerJson> {
    let access = target.access_view();
    let renderer = QueryRenderer {
        cluster: &target.label,
        state: &target.state,
        policy_index: &target.policy_index,
        style: env.stdout_style(),
        width: env.out_width(),
    };
    let is_json = args.question.format == OutputFormat::Json;
    let with_dangling = |warnings: &mut Vec<Diagnostic>| {
        warnings.extend(access.dangling_warnings(None));
        DiagnosticJson::all(warnings, &SourceMap::default())
    };
    let (warnings, text, answer) = match &args.resource {
        None => {
            let mut warnings = state_warnings(&access);
            let warnings_json = with_dangling(&mut warnings);
            let paths = all_escalation_paths(&access);
            let answer = is_json.then(|| EscalationsAnswerJson::new(&paths, renderer.cluster(), warnings_json));
            (warnings, query_answers::render_escalations(&paths, &renderer), answer.map(AnswerJson::Escalations))
        }
        Some(resource) => {
            let (request, request_warning) = parse_request(&args.verb, resource, &args.request_scope);
            let mut warnings = request_warnings(&access, None, &request);
            warnings.extend(request_warning);
            let warnings_json = with_dangling(&mut warnings);
            let result = access.who_can(&request);
            let text = query_answers::render_who_can(&request, &result, args.explain, &renderer);
            let answer = is_json.then(|| WhoCanAnswerJson::new(&request, &result, renderer.cluster(), warnings_json));
            (warnings, text, answer.map(AnswerJson::WhoCan))
        }
    };
    print_warnings(&warnings, env);
    if answer.is_none() {
        let label = if has_several_clusters { format!("{}\n", target.label) } else { String::new() };
        env.print_wrapped(&format!("{label}{text}"));
    }
    answer
}
