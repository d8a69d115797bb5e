//! `rolecall can`: whether a subject is allowed to do something.

use super::args::{CanArgs, OutputFormat};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{
    answer_warnings, observe_clusters, parse_request, print_warnings, request_warnings, retain_clusters_with_subject,
};
use crate::access::{AccessDecision, Authentication};
use crate::diagnostic::SourceMap;
use crate::render::query_answers::{self, QueryRenderer};
use crate::report::{AnswerJson, AnswersDocument, CanAnswerJson, DiagnosticJson};

pub(crate) async fn run(args: &CanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let mut targets = observe_clusters(&args.question, env).await?;
    retain_clusters_with_subject(&mut targets, &args.subject, env)?;
    let (request, request_warning) = parse_request(&args.verb, &args.resource, &args.request_scope);
    let mut answers = Vec::new();
    let mut is_allowed = true;
    for target in &targets {
        let subject = target.parse_subject(&args.subject)?;
        let access = target.access_view();
        let result = access.can(&subject, &request);
        let mut warnings = request_warnings(&access, Some(&subject), &request);
        warnings.extend(request_warning.clone());
        warnings.extend(answer_warnings(target, &args.subject, &subject, &result.authentication, result.decision));
        print_warnings(&warnings, env);
        // A yes for some sessions is a yes: a script that asks whether a role has access must not take it for a no.
        is_allowed &= matches!(result.decision, AccessDecision::Allowed | AccessDecision::SomeVariants);
        let renderer = QueryRenderer {
            cluster: &target.label,
            state: &target.state,
            policy_index: &target.policy_index,
            style: env.stdout_style(),
            width: env.out_width(),
        };
        match args.question.format {
            OutputFormat::Json => {
                let warnings = DiagnosticJson::all(&warnings, &SourceMap::default());
                let denied = match &result.authentication {
                    Authentication::Denied(denial) => Some(query_answers::describe_denial(denial)),
                    Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
                };
                let answer = CanAnswerJson::new(&subject, &request, &result, denied, renderer.cluster(), warnings);
                answers.push(AnswerJson::Can(answer));
            }
            OutputFormat::Text => {
                let label = if targets.len() > 1 { format!("{}: ", target.label) } else { String::new() };
                env.print_wrapped(&format!(
                    "{label}{}",
                    query_answers::render_can(&subject, &result, args.explain, &renderer)
                ));
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    Ok(if is_allowed { Exit::Success } else { Exit::Failed })
}
