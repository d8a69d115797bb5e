//! `rolecall explain`: how one subject logs in, what it has, and the policy lines to change.

use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters_and_policy, print_warnings, retain_clusters_with_subject};
use super::question_args::{ExplainArgs, ExplainFormat};
use crate::access::{AccessDecision, Authentication};
use crate::diagnostic::SourceMap;
use crate::ops::CommandError;
use crate::ops::question::{QuestionTargets, answer_warnings, lint_warning, state_warnings};
use crate::render::explanation::{render_explanation, render_explanation_markdown};
use crate::render::query_answers::describe_denial;
use crate::report::{AnswerContext, DiagnosticJson, ExplanationDocument, ExplanationJson};

pub(crate) fn run(args: &ExplainArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let is_json = args.format == ExplainFormat::Json;
    let (QuestionTargets { mut targets, error }, loaded) = observe_clusters_and_policy(&args.source, is_json, env)?;
    retain_clusters_with_subject(&mut targets, &args.subject, env)?;
    let mut explanations = Vec::new();
    for target in &targets {
        let access = target.access_view();
        let subject = target.parse_subject(&args.subject)?;
        let authentication = access.authenticate(&subject);
        let mut warnings = state_warnings(&access);
        warnings.extend(access.lint_subject(&subject).map(|lint| lint_warning(&lint)));
        warnings.extend(answer_warnings(target, &args.subject, &subject, &authentication, AccessDecision::Allowed));
        print_warnings(&warnings, env);
        let not_authenticated = match &authentication {
            Authentication::Denied(denial) => Some(describe_denial(denial)),
            Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
        };
        let context = AnswerContext {
            label: &target.label,
            name: target.name.as_deref(),
            state: &target.state,
            policy_index: &target.policy_index,
        };
        explanations.push(ExplanationJson::new(
            &subject,
            &access,
            context,
            loaded.as_ref().map(|loaded| &loaded.policy),
            not_authenticated,
            DiagnosticJson::all(&warnings, &SourceMap::default()),
        ));
    }
    match args.format {
        ExplainFormat::Json => print_json(&ExplanationDocument::new(explanations), env)?,
        ExplainFormat::Markdown => {
            for explanation in &explanations {
                env.print_data(render_explanation_markdown(explanation).as_str());
            }
        }
        ExplainFormat::Text => {
            for (number, explanation) in explanations.iter().enumerate() {
                if number > 0 {
                    env.print("");
                }
                env.print_text(&render_explanation(explanation, env.stdout_style()));
            }
        }
    }
    Ok(finish(Exit::Success, Exit::Failed, error, env))
}
