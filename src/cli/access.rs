//! `rolecall access`: everything that one subject, or each subject, is allowed to do.

use super::args::{AccessArgs, OutputFormat};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings, query_renderer, retain_clusters_with_subject};
use crate::diagnostic::SourceMap;
use crate::ops::CommandError;
use crate::ops::answers::{AccessSubjects, access_subjects};
use crate::ops::question::QuestionTargets;
use crate::render::access_report;
use crate::report::{AccessAnswerJson, AnswerJson, AnswersDocument, DiagnosticJson};

pub(crate) fn run(args: &AccessArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let QuestionTargets { mut targets, error } = observe_clusters(&args.question, env)?;
    if let Some(subject) = &args.subject {
        retain_clusters_with_subject(&mut targets, subject, env)?;
    }
    let mut answers = Vec::new();
    for target in &targets {
        let access = target.access_view();
        let AccessSubjects { shown, hidden, warnings } =
            access_subjects(target, &access, args.subject.as_deref(), args.full)?;
        print_warnings(&warnings, env);
        let rows = access_report::build_rows(&access, shown, &target.policy_index);
        match args.question.format {
            OutputFormat::Json => {
                let warnings = DiagnosticJson::all(&warnings, &SourceMap::default());
                let answer = AccessAnswerJson::new(
                    &target.label,
                    access_report::access_report_json(target.name.as_deref().unwrap_or(&target.label), &rows),
                    hidden,
                    warnings,
                );
                answers.push(AnswerJson::Access(answer));
            }
            OutputFormat::Text => {
                if targets.len() > 1 {
                    env.print(&target.label);
                }
                let renderer = query_renderer(target, env);
                let text = access_report::render_access_report(&rows, hidden, args.explain, args.full, &renderer);
                env.print_text(&text);
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    Ok(finish(Exit::Success, Exit::Failed, error, env))
}
