//! What `can`, `who-can` and `access` have in common: the clusters and the warnings.

use std::path::PathBuf;

use super::args::{ConnectionArgs, OutputFormat, ParallelArgs, QuestionArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::print_error;
use super::question_args::QuestionSource;
use super::target::resolve_targets;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::ops::question::{self, QuestionTarget, QuestionTargets};
use crate::ops::{CommandError, LoadedPolicy};
use crate::render::diagnostics;
use crate::render::query_answers::QueryRenderer;

/// Connects to the clusters and reads their state.
///
/// # Errors
/// If no cluster could be read. As a JSON document has the answers for all clusters, also if one could not.
pub(crate) fn observe_clusters(question: &QuestionArgs, env: &mut Env) -> Result<QuestionTargets, CommandError> {
    let is_json = question.format == OutputFormat::Json;
    observe_clusters_and_policy(&question.source, is_json, env).map(|(targets, _)| targets)
}

/// Like [`observe_clusters`], and also returns the policy, if there is one.
pub(crate) fn observe_clusters_and_policy(
    question: &QuestionSource,
    is_json: bool,
    env: &mut Env,
) -> Result<(QuestionTargets, Option<LoadedPolicy>), CommandError> {
    let QuestionSource { policy, connection, parallel, after } = question;
    match observe_targets(policy.as_ref(), connection, parallel, *after, env)? {
        (QuestionTargets { error: Some(error), .. }, _) if is_json => Err(error),
        observed => Ok(observed),
    }
}

/// Connects to the clusters and reads their state. Returns it with the policy, if there is one.
///
/// # Errors
/// If no cluster could be read.
pub(crate) fn observe_targets(
    policy: Option<&PathBuf>,
    connection: &ConnectionArgs,
    parallel: &ParallelArgs,
    after: bool,
    env: &mut Env,
) -> Result<(QuestionTargets, Option<LoadedPolicy>), CommandError> {
    let path = policy.cloned().or_else(|| find_policy(env));
    if after && path.is_none() {
        let error = Diagnostic::error("--after needs a policy, and none was found");
        return Err(CommandError::from_diagnostic(error.with_help("name it with --policy FILE")));
    }
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let context = env.parallel_context(parallel);
    let targets = resolve_targets(clusters, connection, &context)?;
    let QuestionTargets { targets, error } = question::observe_clusters(&targets, loaded.as_ref(), after, &context);
    match error {
        Some(error) if targets.is_empty() => Err(error),
        error => Ok((QuestionTargets { targets, error }, loaded)),
    }
}

/// Prints the errors of the clusters that could not be read, after the answers for the others.
pub(crate) fn finish(exit: Exit, failure: Exit, error: Option<CommandError>, env: &mut Env) -> Exit {
    match error {
        None => exit,
        Some(error) => {
            print_error(&error, OutputFormat::Text, env);
            failure
        }
    }
}

/// Removes the clusters that do not have the principal which `subject` names, and says so. The policy has it in others.
///
/// # Errors
/// If no cluster is left.
pub(crate) fn retain_clusters_with_subject(
    targets: &mut Vec<QuestionTarget>,
    subject: &str,
    env: &mut Env,
) -> Result<(), CommandError> {
    let is_in_cluster = |target: &QuestionTarget| !target.policy_index.is_in_other_clusters(subject);
    let missing: Vec<String> =
        targets.iter().filter(|target| !is_in_cluster(target)).map(|target| target.label.clone()).collect();
    targets.retain(is_in_cluster);
    if targets.is_empty() && !missing.is_empty() {
        let error = format!("principal `{subject}` is not in this cluster: {}", missing.join(", "));
        let help = "name a cluster of the principal with --cluster";
        return Err(CommandError::from_diagnostic(Diagnostic::error(error).with_help(help)));
    }
    for label in missing {
        env.note(&format!("{label}: principal `{subject}` is not in this cluster\n"));
    }
    Ok(())
}

/// Prints warnings on stderr.
pub(crate) fn print_warnings(warnings: &[Diagnostic], env: &mut Env) {
    if !warnings.is_empty() {
        let text = diagnostics::render_diagnostics(warnings, &SourceMap::default(), env.stderr_style());
        env.note_text(&text);
    }
}

/// Returns what renders the answers about a cluster.
pub(crate) fn query_renderer<'t>(target: &'t QuestionTarget, env: &Env) -> QueryRenderer<'t> {
    QueryRenderer {
        cluster: &target.label,
        cluster_name: target.name.as_deref(),
        state: &target.state,
        policy_index: &target.policy_index,
        style: env.stdout_style(),
        width: env.out_width(),
    }
}
