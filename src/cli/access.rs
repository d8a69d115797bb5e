//! `rolecall access`: everything that one subject, or each subject, is allowed to do.

use super::args::{AccessArgs, OutputFormat};
use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_clusters, print_warnings, retain_clusters_with_subject};
use crate::access::{AccessDecision, SubjectQuery};
use crate::diagnostic::SourceMap;
use crate::ops::CommandError;
use crate::ops::question::{QuestionTargets, answer_warnings, lint_warning, state_warnings};
use crate::render::access_report;
use crate::render::query_answers::QueryRenderer;
use crate::report::{AccessAnswerJson, AnswerJson, AnswersDocument, DiagnosticJson, has_own_row, is_system_subject};

pub(crate) fn run(args: &AccessArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let QuestionTargets { mut targets, error } = observe_clusters(&args.question, env)?;
    if let Some(subject) = &args.subject {
        retain_clusters_with_subject(&mut targets, subject, env)?;
    }
    let mut answers = Vec::new();
    for target in &targets {
        let access = target.access_view();
        let mut warnings = state_warnings(&access);
        let subjects: Vec<SubjectQuery> = match &args.subject {
            Some(text) => {
                let subject = target.parse_subject(text)?;
                let authentication = access.authenticate(&subject);
                warnings.extend(access.lint_subject(&subject).map(|lint| lint_warning(&lint)));
                warnings.extend(answer_warnings(target, text, &subject, &authentication, AccessDecision::Allowed));
                // The sessions of a role that have more, or the principals with a username, have rows of their own.
                let variants = access.variants(&subject);
                std::iter::once(subject).chain(variants.into_iter().map(|variant| variant.subject)).collect()
            }
            None => {
                warnings.extend(access.dangling_warnings(None));
                let subjects = access.all_subjects().into_iter();
                subjects.filter(|subject| has_own_row(&access, subject)).collect()
            }
        };
        print_warnings(&warnings, env);
        let shows_all = args.full || args.subject.is_some();
        let (shown, hidden): (Vec<SubjectQuery>, Vec<SubjectQuery>) =
            subjects.into_iter().partition(|subject| shows_all || !is_system_subject(subject));
        let rows = access_report::build_rows(&access, shown, &target.policy_index);
        match args.question.format {
            OutputFormat::Json => {
                let warnings = DiagnosticJson::all(&warnings, &SourceMap::default());
                let answer = AccessAnswerJson::new(
                    &target.label,
                    access_report::access_report_json(target.name.as_deref().unwrap_or(&target.label), &rows),
                    hidden.len(),
                    warnings,
                );
                answers.push(AnswerJson::Access(answer));
            }
            OutputFormat::Text => {
                let renderer = QueryRenderer {
                    cluster: &target.label,
                    cluster_name: target.name.as_deref(),
                    state: &target.state,
                    policy_index: &target.policy_index,
                    style: env.stdout_style(),
                    width: env.out_width(),
                };
                if targets.len() > 1 {
                    env.print(&target.label);
                }
                let text = access_report::render_access_report(&rows, hidden.len(), args.explain, args.full, &renderer);
                env.print_text(&text);
            }
        }
    }
    if args.question.format == OutputFormat::Json {
        print_json(&AnswersDocument::new(answers), env)?;
    }
    Ok(finish(Exit::Success, Exit::Failed, error, env))
}
