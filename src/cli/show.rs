//! `rolecall show`: a saved plan, a backup or a snapshot from its file alone.

#![expect(clippy::disallowed_methods, reason = "reads the file that is shown")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::document_args::{PlanFormat, ShowArgs};
use super::env::Env;
use super::exit::Exit;
use super::plan_output::print_document;
use super::print_json;
use super::restore::read_backup;
use crate::api_resources::DISCOVERY_KIND;
use crate::cluster::eks_facts::EksFacts;
use crate::diagnostic::Diagnostic;
use crate::files::is_stdout;
use crate::ops::{CommandError, parse_plan_document};
use crate::plan::Plan;
use crate::render::file_outline::FileOutline;
use crate::render::junit::render_plan_junit;
use crate::render::plan_text::{CheckCounts, PlanTextOptions, render_drift, render_plan};
use crate::render::sarif::{SarifContext, render_plan_sarif};
use crate::render::text_util::pluralize;
use crate::report::{BackupDocument, ObjectListDocument, PlanDocument, PlanJson};
use crate::yaml;

pub(crate) fn run(args: &ShowArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let text = read_document(&args.file, env)?;
    if text.trim_start().starts_with('{') && text.contains("\"format-version\"") {
        return show_plan(args, &text, env);
    }
    let name = args.file.display().to_string();
    if matches!(args.format, PlanFormat::Sarif | PlanFormat::Junit) {
        let error = Diagnostic::error(format!("{name} is not a saved plan, and has no invariants or findings to show"));
        return Err(CommandError::from_diagnostic(error.with_help("name a file that `plan --out` wrote")));
    }
    let invalid = |reason: String| {
        let error = Diagnostic::error(format!("{name} is not a file of rolecall: {reason}"));
        CommandError::from_diagnostic(
            error.with_help("name a file that `plan --out`, `apply --backup` or `snapshot --out` wrote"),
        )
    };
    let documents =
        yaml::parse_documents(&text).map_err(|error| invalid(format!("line {}: {}", error.line, error.message)))?;
    let mut objects = Vec::new();
    for document in documents {
        let value = document.to_json().map_err(|error| invalid(format!("line {}: {}", error.line, error.message)))?;
        match value.get("items").and_then(Value::as_array) {
            Some(items) if value.get("kind").is_some_and(|kind| kind == "List") => {
                objects.extend(items.iter().cloned());
            }
            _ if value.is_null() => {}
            _ => objects.push(value),
        }
    }
    let is_backup = |value: &Value| value.get("kind").and_then(Value::as_str) == Some(BackupDocument::KIND);
    if objects.iter().any(is_backup) {
        return show_backup(args, env);
    }
    if objects.is_empty() || objects.iter().any(|object| object.get("kind").and_then(Value::as_str).is_none()) {
        return Err(invalid("it has no Kubernetes objects".to_owned()));
    }
    let taken_at = text.lines().next().and_then(|line| line.strip_prefix("# rolecall snapshot, taken "));
    let mut outline = FileOutline::new("Snapshot", &name);
    outline.extend(taken_at.map(|taken_at| format!("taken {taken_at}")));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &objects {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if let Some(facts) = EksFacts::from_document(object).map_err(&invalid)? {
            outline.extend(eks_lines(&facts));
        } else if kind != DISCOVERY_KIND {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    outline.extend(kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")));
    if args.format == PlanFormat::Json {
        print_json(&ObjectListDocument::new(&objects), env)?;
    } else {
        print_outline(&outline, args, env);
    }
    Ok(Exit::Success)
}

/// Reads the file, or stdin for `-`.
pub(crate) fn read_document(path: &Path, env: &mut Env) -> Result<String, CommandError> {
    let text = if is_stdout(path) {
        env.read_stdin().map(|()| env.ops_context().stdin_text.map(|text| text.to_string()).unwrap_or_default())
    } else {
        std::fs::read_to_string(env.cwd.join(path))
    };
    text.map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        CommandError::from_diagnostic(Diagnostic::error(message).with_help("name a file that rolecall wrote"))
    })
}

/// Reads a plan document. One that was changed since is shown with a warning, since nothing is written.
pub(crate) fn read_plan(path: &Path, text: &str, env: &mut Env) -> Result<PlanDocument, CommandError> {
    let name = path.display();
    let (document, is_unchanged) = parse_plan_document(text).map_err(|reason| {
        let error = Diagnostic::error(format!("{name} {reason}"));
        CommandError::from_diagnostic(error.with_help("make a plan with `rolecall plan POLICY --out plan.json`"))
    })?;
    if !is_unchanged {
        env.note(&format!("warning: {name} was changed after it was saved: its content digest does not match\n"));
    }
    if let Some(applied_at) = &document.applied_at {
        env.note(&format!("note: this plan was applied at {applied_at}\n"));
    }
    Ok(document)
}

fn show_plan(args: &ShowArgs, text: &str, env: &mut Env) -> Result<Exit, CommandError> {
    let document = read_plan(&args.file, text, env)?;
    match args.format {
        PlanFormat::Markdown | PlanFormat::Html | PlanFormat::Summary => {
            print_document(&document, &[], args.format, args.max_chars, env);
            return Ok(Exit::Success);
        }
        PlanFormat::Json => {
            print_json(&document, env)?;
            return Ok(Exit::Success);
        }
        PlanFormat::Sarif => {
            let policy = document.plans.first().map(|plan| plan.policy.as_str());
            let is_plan = document.plans.iter().any(PlanJson::has_access_changes);
            let command = if is_plan { "plan" } else { "drift" };
            let context = SarifContext { command, policy, policy_location: None };
            print_json(&render_plan_sarif(&document, &[], &context), env)?;
            return Ok(Exit::Success);
        }
        PlanFormat::Junit => {
            let is_plan = document.plans.iter().any(PlanJson::has_access_changes);
            env.print_data(&render_plan_junit(if is_plan { "plan" } else { "drift" }, &document, &[])?);
            return Ok(Exit::Success);
        }
        PlanFormat::Text => {}
    }
    for (number, saved) in document.plans.into_iter().enumerate() {
        let (cluster, digest, is_plan) = (saved.cluster.clone(), saved.digest.clone(), saved.has_access_changes());
        let checks = is_plan.then(|| CheckCounts::from(&saved));
        let plan = Plan::try_from(saved).map_err(|error| {
            CommandError::from_diagnostic(Diagnostic::error(format!("{}: {error}", args.file.display())))
        })?;
        let options = PlanTextOptions {
            cluster: &cluster,
            digest: &digest,
            full: args.full,
            style: env.stdout_style(),
            width: env.out_width(),
            legend: env.terminals.stdout,
            checks,
        };
        if number > 0 {
            env.print("");
        }
        let text = if is_plan { render_plan(&plan, &options) } else { render_drift(&plan, &options) };
        env.print_text(&text);
    }
    Ok(Exit::Success)
}

/// Returns what EKS said about the cluster of a snapshot.
fn eks_lines(facts: &EksFacts) -> Vec<String> {
    let EksFacts { arn, version, auth_mode, node_roles, unknown_access_entries: _ } = facts;
    let known = [
        arn.known().map(|arn| format!("EKS cluster {arn}")),
        version.known().map(|version| format!("Kubernetes {version}")),
        auth_mode.known().map(|mode| format!("authentication mode {}", mode.as_str())),
        node_roles.known().map(|roles| {
            let roles: BTreeSet<&str> = roles.iter().map(|(role, _)| role.as_str()).collect();
            format!("{} that EKS uses for nodes", pluralize(roles.len(), "role"))
        }),
    ];
    let unknown = facts.unknown().into_iter().map(|(field, reason)| format!("unknown {field}: {reason}"));
    known.into_iter().flatten().chain(unknown).collect()
}

fn show_backup(args: &ShowArgs, env: &mut Env) -> Result<Exit, CommandError> {
    if is_stdout(&args.file) {
        let error = Diagnostic::error("a backup cannot be read from stdin");
        return Err(CommandError::from_diagnostic(error.with_help("name the file")));
    }
    let (backup, objects) = read_backup(&args.file, env)?;
    if args.format == PlanFormat::Json {
        print_json(&backup, env)?;
        return Ok(Exit::Success);
    }
    let mut outline = FileOutline::new("Backup", &args.file.display().to_string());
    outline.extend([
        format!("policy {}, cluster {}", backup.policy, backup.cluster),
        format!("{} objects before the apply", objects.len()),
    ]);
    outline.extend(backup.step_reasons().map(|reason| format!("restore takes back: {reason}")));
    print_outline(&outline, args, env);
    Ok(Exit::Success)
}

fn print_outline(outline: &FileOutline, args: &ShowArgs, env: &mut Env) {
    match args.format {
        PlanFormat::Text | PlanFormat::Json => env.print_text(&outline.to_text()),
        PlanFormat::Markdown => env.print_data(outline.to_markdown(args.max_chars).as_str()),
        PlanFormat::Html => env.print_data(outline.to_html().as_str()),
        PlanFormat::Summary => env.print_data(outline.to_summary().as_str()),
        PlanFormat::Sarif | PlanFormat::Junit => {}
    }
}
