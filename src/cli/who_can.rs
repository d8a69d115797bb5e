//! `rolecall who-can`: who may do something, and who has a way to more power.

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

pub(crate) async fn run(args: &WhoCanArgs, world: &mut Env) -> Result<Exit, CommandError> {
    if args.resource.is_none() && args.verb != "escalate" {
        let error = Diagnostic::error(format!("`who-can {}` needs a resource", args.verb));
        return Err(CommandError::from_diagnostic(
            error.with_help(format!("such as `rolecall who-can {} secrets`", args.verb)),
        ));
    }
    let all = observe_clusters(&args.question, world).await?;
    let mut answers = Vec::new();
    for asked in &all {
        let value = answer_one(args, asked, all.len() > 1, world);
        answers.extend(value);
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), world)?;
    }
    Ok(Exit::Success)
}

fn answer_one(args: &WhoCanArgs, asked: &QuestionTarget, several: bool, world: &mut Env) -> Option<AnswerJson> {
    let access = asked.access_view();
    let view = QueryRenderer {
        cluster: &asked.label,
        state: &asked.state,
        policy_index: &asked.policy_index,
        style: world.stdout_style(),
        width: world.out_width(),
    };
    let json = args.question.format == OutputFormat::Json;
    let with_dangling = |found: &mut Vec<Diagnostic>| {
        found.extend(access.dangling_warnings(None));
        DiagnosticJson::all(found, &SourceMap::default())
    };
    let (found, text, answer) = match &args.resource {
        None => {
            let mut found = state_warnings(&access);
            let warnings = with_dangling(&mut found);
            let ways = all_escalation_paths(&access);
            let answer = json.then(|| EscalationsAnswerJson::new(&ways, view.cluster(), warnings));
            (found, query_answers::render_escalations(&ways, &view), answer.map(AnswerJson::Escalations))
        }
        Some(resource) => {
            let (request, doubt) = parse_request(&args.verb, resource, &args.request_scope);
            let mut found = request_warnings(&access, None, &request);
            found.extend(doubt);
            let warnings = with_dangling(&mut found);
            let answer = access.who_can(&request);
            let text = query_answers::render_who_can(&request, &answer, args.explain, &view);
            let answer = json.then(|| WhoCanAnswerJson::new(&request, &answer, view.cluster(), warnings));
            (found, text, answer.map(AnswerJson::WhoCan))
        }
    };
    print_warnings(&found, world);
    if answer.is_none() {
        let label = if several { format!("{}\n", asked.label) } else { String::new() };
        world.print_wrapped(&format!("{label}{text}"));
    }
    answer
}
