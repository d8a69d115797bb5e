//! `rolecall access`: all that somebody may do, or everybody.

use super::args::{AccessArgs, OutputFormat};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{answer_warnings, lint_warning, observe_clusters, print_warnings, state_warnings};
use crate::access::{AccessDecision, SubjectQuery};
use crate::diagnostic::SourceMap;
use crate::render::access_report;
use crate::render::query_answers::QueryRenderer;
use crate::report::{AccessAnswerJson, AnswerJson, AnswersDocument, DiagnosticJson};

pub(crate) async fn run(args: &AccessArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let all = observe_clusters(&args.question, world).await?;
    let mut answers = Vec::new();
    for asked in &all {
        let access = asked.access_view();
        let mut found = state_warnings(&access);
        let everybody: Vec<SubjectQuery> = match &args.subject {
            Some(text) => {
                let who = asked.parse_subject(text)?;
                found.extend(access.lint_subject(&who).map(|doubt| lint_warning(&doubt)));
                found.extend(answer_warnings(asked, text, &who, &access.authenticate(&who), AccessDecision::Allowed));
                vec![who]
            }
            None => {
                found.extend(access.dangling_warnings(None));
                access.all_subjects().into_iter().filter(|who| access_report::has_own_row(&access, who)).collect()
            }
        };
        print_warnings(&found, world);
        let (shown, hidden): (Vec<SubjectQuery>, Vec<SubjectQuery>) = everybody
            .into_iter()
            .partition(|who| args.full || args.subject.is_some() || !access_report::is_system_subject(who));
        let rows = access_report::build_rows(&access, shown, &asked.policy_index);
        match args.question.format {
            OutputFormat::Json => {
                let warnings = DiagnosticJson::all(&found, &SourceMap::default());
                let answer = AccessAnswerJson::new(
                    &asked.label,
                    access_report::access_report_json(&rows),
                    hidden.len(),
                    warnings,
                );
                answers.push(AnswerJson::Access(answer));
            }
            OutputFormat::Text => {
                let view = QueryRenderer {
                    cluster: &asked.label,
                    state: &asked.state,
                    policy_index: &asked.policy_index,
                    style: world.stdout_style(),
                    width: world.out_width(),
                };
                let label = if all.len() > 1 { format!("{}\n", asked.label) } else { String::new() };
                let text = access_report::render_access_report(&rows, hidden.len(), args.explain, args.full, &view);
                world.print_wrapped(&format!("{label}{text}"));
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), world)?;
    }
    Ok(Exit::Success)
}
