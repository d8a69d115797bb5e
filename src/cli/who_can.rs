//! `rolecall who-can`: who may do something, and who has a way to more power.

use serde_json::json;

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
use crate::render::json::{self, FORMAT_VERSION};
use crate::render::query_answers::{self, QueryRenderer};

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
        print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": answers }), world);
    }
    Ok(Exit::Success)
}

fn answer_one(args: &WhoCanArgs, asked: &QuestionTarget, several: bool, world: &mut Env) -> Option<serde_json::Value> {
    let access = asked.access_view();
    let view = QueryRenderer {
        cluster: &asked.label,
        state: &asked.state,
        policy_index: &asked.policy_index,
        style: world.stdout_style(),
    };
    let (mut found, text, mut value) = match &args.resource {
        None => {
            let found = state_warnings(&access);
            let ways = all_escalation_paths(&access);
            (found, query_answers::render_escalations(&ways, &view), query_answers::escalations_json(&ways, &view))
        }
        Some(resource) => {
            let (request, doubt) = parse_request(&args.verb, resource, &args.request_scope);
            let mut found = request_warnings(&access, None, &request);
            found.extend(doubt);
            let answer = access.who_can(&request);
            let text = query_answers::render_who_can(&request, &answer, args.explain, &view);
            (found, text, query_answers::who_can_json(&request, &answer, &view))
        }
    };
    found.extend(access.dangling_warnings(None));
    print_warnings(&found, world);
    match args.question.format {
        OutputFormat::Json => {
            json::insert_key(&mut value, "warnings", json::diagnostics_json(&found, &SourceMap::default()));
            Some(value)
        }
        OutputFormat::Text => {
            let label = if several { format!("{}\n", asked.label) } else { String::new() };
            world.print(&format!("{label}{text}"));
            None
        }
    }
}
