//! `rolecall can`: may somebody do something.

use super::args::{CanArgs, OutputFormat};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{answer_warnings, observe_clusters, parse_request, print_warnings, request_warnings};
use crate::access::{AccessDecision, Authentication};
use crate::diagnostic::SourceMap;
use crate::render::query_answers::{self, QueryRenderer};
use crate::report::{AnswerJson, AnswersDocument, CanAnswerJson, DiagnosticJson};

pub(crate) async fn run(args: &CanArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let all = observe_clusters(&args.question, world).await?;
    let (request, doubt) = parse_request(&args.verb, &args.resource, &args.request_scope);
    let mut answers = Vec::new();
    let mut yes = true;
    for asked in &all {
        let who = asked.parse_subject(&args.subject)?;
        let access = asked.access_view();
        let answer = access.can(&who, &request);
        let mut found = request_warnings(&access, Some(&who), &request);
        found.extend(doubt.clone());
        found.extend(answer_warnings(asked, &args.subject, &who, &answer.authentication, answer.decision));
        print_warnings(&found, world);
        yes &= answer.decision == AccessDecision::Allowed;
        let view = QueryRenderer {
            cluster: &asked.label,
            state: &asked.state,
            policy_index: &asked.policy_index,
            style: world.stdout_style(),
            width: world.out_width(),
        };
        match args.question.format {
            OutputFormat::Json => {
                let warnings = DiagnosticJson::all(&found, &SourceMap::default());
                let denied = match &answer.authentication {
                    Authentication::Denied(denial) => Some(query_answers::describe_denial(denial)),
                    Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
                };
                let answer = CanAnswerJson::new(&who, &request, &answer, denied, view.cluster(), warnings);
                answers.push(AnswerJson::Can(answer));
            }
            OutputFormat::Text => {
                let label = if all.len() > 1 { format!("{}: ", asked.label) } else { String::new() };
                world.print_wrapped(&format!(
                    "{label}{}",
                    query_answers::render_can(&who, &answer, args.explain, &view)
                ));
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), world)?;
    }
    Ok(if yes { Exit::Success } else { Exit::Failed })
}
