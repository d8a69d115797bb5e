//! Prints plans in the format of the command line, and adds them to the summary of a job in GitHub Actions.

use super::args::{ConnectionArgs, TargetArgs};
use super::document_args::{PlanFormat, PlanOutputArgs};
use super::eks_args::EksArgs;
use super::env::Env;
use super::print_json;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::guard::GuardReport;
use crate::ops::{ClusterConnection, ClusterPlan, CommandError, PlanSet};
use crate::plan::Plan;
use crate::render::junit::{render_failure_junit, render_plan_junit};
use crate::render::markdown_text::MarkdownText;
use crate::render::plan_facts::{ApprovalFlags, shell_word};
use crate::render::plan_html::{render_failure_html, render_plan_html};
use crate::render::plan_markdown::{MIN_MAX_CHARS, render_failure_markdown, render_plan_markdown};
use crate::render::plan_summary::{render_failure_summary, render_plan_summary};
use crate::render::plan_text::{CheckCounts, PlanTextOptions};
use crate::render::sarif::{SarifContext, render_plan_sarif, render_policy_sarif};
use crate::render::terminal_text::TerminalText;
use crate::report::{DiagnosticJson, LocationJson, PlanDocument};

/// The variable with the path of the file that GitHub Actions shows as the summary of a job.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";
/// The maximum size of that file. GitHub shows nothing of a larger one.
const MAX_STEP_SUMMARY: usize = 1 << 20;

/// Prints the plans. A JSON document is printed only if all clusters could be planned.
pub(crate) fn print_plan_set(
    (command, plans): (&'static str, &PlanSet),
    output: &PlanOutputArgs,
    full: bool,
    render: fn(&Plan, &PlanTextOptions<'_>) -> TerminalText,
    env: &mut Env,
) -> Result<(), CommandError> {
    if let Some(error) = plans.error.as_ref().filter(|_| plans.cluster_plans.is_empty()) {
        report_failure(command, error, output, env)?;
        if output.format != PlanFormat::Text {
            return Ok(());
        }
    }
    match output.format {
        PlanFormat::Text => {
            print_plans(&plans.cluster_plans, full, render, env);
            if let Some(summary) = summarize(plans) {
                env.print("");
                env.print(&summary);
            }
        }
        PlanFormat::Json if plans.error.is_none() => print_json(&plans.document()?, env)?,
        PlanFormat::Json => {}
        PlanFormat::Markdown | PlanFormat::Html | PlanFormat::Summary => {
            print_document(&plans.document()?, &errors_of(plans), output.format, output.max_chars, env);
        }
        PlanFormat::Sarif => {
            let policy = &plans.loaded.policy;
            let location = LocationJson::from(&policy.sources.location(policy.name.span));
            let context = SarifContext { command, policy: Some(&policy.name.value), policy_location: Some(&location) };
            print_json(&render_plan_sarif(&plans.document()?, &errors_of(plans), &context), env)?;
        }
        PlanFormat::Junit => {
            env.print_data(&render_plan_junit(command, &plans.document()?, &errors_of(plans))?);
        }
    }
    if output.step_summary && !plans.cluster_plans.is_empty() {
        let (document, errors) = (plans.document()?, errors_of(plans));
        add_to_step_summary(|max| render_plan_markdown(&document, &errors, max), env)?;
    }
    Ok(())
}

/// Returns the errors of the clusters that could not be planned.
fn errors_of(plans: &PlanSet) -> Vec<DiagnosticJson> {
    let error = plans.error.as_ref();
    error.map(|error| DiagnosticJson::all(&error.diagnostics, &error.sources)).unwrap_or_default()
}

/// `5 clusters: 3 with changes, 1 without changes, 1 failed`. `None` for one cluster, whose plan says it.
fn summarize(plans: &PlanSet) -> Option<String> {
    let total = plans.cluster_plans.len() + plans.failed;
    let unchanged = plans.cluster_plans.iter().filter(|cluster_plan| cluster_plan.plan.is_empty()).count();
    let changed = plans.cluster_plans.len() - unchanged;
    let counts = [(changed, "with changes"), (unchanged, "without changes"), (plans.failed, "failed")];
    let counts: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, text)| format!("{number} {text}")).collect();
    (total > 1).then(|| format!("{total} clusters: {}", counts.join(", ")))
}

/// Prints the plans as text, with an empty line between them.
pub(crate) fn print_plans(
    cluster_plans: &[ClusterPlan],
    full: bool,
    render: fn(&Plan, &PlanTextOptions<'_>) -> TerminalText,
    env: &mut Env,
) {
    for (number, cluster_plan) in cluster_plans.iter().enumerate() {
        let options = plan_text_options(cluster_plan, full, env);
        if number > 0 {
            env.print("");
        }
        env.print_text(&render(&cluster_plan.plan, &options));
    }
}

/// Returns the options for the text of a plan.
pub(crate) fn plan_text_options<'a>(cluster_plan: &'a ClusterPlan, full: bool, env: &Env) -> PlanTextOptions<'a> {
    PlanTextOptions {
        cluster: &cluster_plan.label,
        digest: &cluster_plan.digest,
        full,
        style: env.stdout_style(),
        width: env.out_width(),
        legend: env.terminals.stdout,
        checks: check_counts(cluster_plan),
    }
}

/// Returns the results of the guards and invariants, if they were evaluated, as `plan` does.
fn check_counts(cluster_plan: &ClusterPlan) -> Option<CheckCounts> {
    let ClusterPlan { plan, violations, guard_report, .. } = cluster_plan;
    let GuardReport { refused, allowed, not_evaluated, passed } = guard_report;
    plan.access_changes.is_some().then_some(CheckCounts {
        invariants: plan.invariants.len(),
        violated: violations.len(),
        passed: passed.len(),
        refused: refused.len(),
        allowed: allowed.len(),
        not_evaluated: not_evaluated.len(),
    })
}

/// Returns the command that makes exactly these plans. `None` if there is nothing to make, or if a plan is of a snapshot.
pub(crate) fn apply_command(cluster_plans: &[ClusterPlan], target: &TargetArgs) -> Option<String> {
    let mut flags = ApprovalFlags::default();
    for ClusterPlan { plan, digest, connection, guard_report, .. } in cluster_plans {
        if matches!(connection, ClusterConnection::Snapshot { .. }) {
            return None;
        }
        if !plan.is_empty() {
            flags.digests.push(digest.clone());
            flags.allowed.extend(guard_report.allowed.iter().filter_map(|risk| Some(risk.allow.as_ref()?.to_string())));
            flags.allow_window |= !plan.windows.is_empty() || !plan.unproven.is_empty();
        }
    }
    if flags.digests.is_empty() {
        return None;
    }
    let mut words = vec!["rolecall apply".to_owned()];
    words.extend(target_words(target));
    words.extend(flags.to_words());
    Some(words.join(" "))
}

/// Returns the words of a command that select the policy and its clusters, except snapshots.
pub(crate) fn target_words(target: &TargetArgs) -> Vec<String> {
    let ConnectionArgs { clusters, snapshots: _, context, eks, kubeconfig } = &target.connection;
    let EksArgs { eks, region, profile, use_exec_plugin } = eks;
    let mut words = Vec::new();
    words.extend(target.policy.as_ref().map(|policy| shell_word(&policy.to_string_lossy())));
    words.extend(clusters.iter().map(|name| format!("--cluster {}", shell_word(name))));
    match eks {
        Some(eks) => {
            let region = region.as_ref().map(|region| ("--region", region));
            let profile = profile.as_ref().map(|profile| ("--profile", profile));
            let flags = [("--eks", eks)].into_iter().chain(region).chain(profile);
            words.extend(flags.map(|(flag, value)| format!("{flag} {}", shell_word(value))));
        }
        None => words.extend(context.as_ref().map(|name| format!("--context {}", shell_word(name)))),
    }
    words.extend(use_exec_plugin.then(|| "--use-exec-plugin".to_owned()));
    words.extend(kubeconfig.as_ref().map(|path| format!("--kubeconfig {}", shell_word(&path.to_string_lossy()))));
    words
}

/// Prints a document as Markdown, as HTML or as a summary.
pub(crate) fn print_document(
    document: &PlanDocument,
    errors: &[DiagnosticJson],
    format: PlanFormat,
    max_chars: usize,
    env: &mut Env,
) {
    match format {
        PlanFormat::Summary => env.print_data(render_plan_summary(document, errors).as_str()),
        PlanFormat::Html => env.print_data(render_plan_html(document, errors).as_str()),
        PlanFormat::Text | PlanFormat::Json | PlanFormat::Markdown | PlanFormat::Sarif | PlanFormat::Junit => {
            env.print_data(render_plan_markdown(document, errors, max_chars).as_str());
        }
    }
}

/// Reports a failure before there was a plan in the formats that are for other readers than the terminal.
pub(crate) fn report_failure(
    command: &'static str,
    error: &CommandError,
    output: &PlanOutputArgs,
    env: &mut Env,
) -> Result<(), CommandError> {
    if matches!(output.format, PlanFormat::Text | PlanFormat::Json) && !output.step_summary {
        return Ok(());
    }
    let errors = DiagnosticJson::all(&error.diagnostics, &error.sources);
    match output.format {
        PlanFormat::Text | PlanFormat::Json => {}
        PlanFormat::Markdown => env.print_data(render_failure_markdown(command, &errors).as_str()),
        PlanFormat::Html => env.print_data(render_failure_html(command, &errors).as_str()),
        PlanFormat::Summary => env.print_data(render_failure_summary(command, &errors).as_str()),
        PlanFormat::Sarif => {
            let context = SarifContext { command, policy: None, policy_location: None };
            print_json(&render_policy_sarif(&errors, &[], &[], &context), env)?;
        }
        PlanFormat::Junit => env.print_data(&render_failure_junit(command, &errors)?),
    }
    if output.step_summary {
        add_to_step_summary(|_| render_failure_markdown(command, &errors), env)?;
    }
    Ok(())
}

/// Adds Markdown to the summary of the job. Other steps may have written to it before.
fn add_to_step_summary(render: impl Fn(usize) -> MarkdownText, env: &mut Env) -> Result<(), CommandError> {
    let Some(path) = env.vars.get(STEP_SUMMARY).filter(|path| !path.is_empty()) else {
        let error = Diagnostic::error(format!("--step-summary needs the variable {STEP_SUMMARY}, which is not set"));
        return Err(CommandError::from_diagnostic(
            error.with_because("GitHub Actions sets it for each step").with_help("leave out --step-summary elsewhere"),
        ));
    };
    let path = env.cwd.join(path);
    let written = files::append_within(&path, MAX_STEP_SUMMARY, |free| {
        (free >= MIN_MAX_CHARS).then(|| render(free.saturating_sub(1)).as_str().to_owned() + "\n")
    });
    match written {
        Ok(true) => Ok(()),
        Ok(false) => {
            env.note("warning: the plan is not in the summary of the job, because the summary is full\n");
            Ok(())
        }
        Err(error) => {
            let message = format!("cannot write the summary of the job to {}: {error}", path.display());
            Err(CommandError::from_diagnostic(Diagnostic::error(message).with_help(error.help())))
        }
    }
}
