//! `rolecall restore FILE`: plans and applies the changes back to a backup, with the same checks as `apply`.

#![expect(clippy::disallowed_methods, reason = "reads the backup")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

use super::apply::{ApplyAttempt, ApplyOptions, Approval, ApprovedCommand, approve_and_apply, print_report};
use super::args::{OutputFormat, RestoreArgs};
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::plan_output::print_plans;
use super::print_json;
use super::refusals::print_diagnostics;
use super::target::{connection_from_flags, ensure_snapshots_writable, live_connection};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::names::ObjectKey;
use crate::ops::{CommandError, KubeconfigFlags, RestoreSettings, is_backed_up, plan_cluster_restore, plan_document};
use crate::plan::AppliedWrites;
use crate::render::plan_text;
use crate::report::{BACKUP_VERSION, BackupContent, BackupDocument};
use crate::state::validate::parse_object_key;
use crate::yaml;

pub(crate) async fn run(args: &RestoreArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let approval = Approval {
        command: ApprovedCommand::Restore,
        is_given: args.auto_approve || args.flags.dry_run,
        digests: &args.approved,
        saved_plan: None,
    };
    // A file that is not a backup is reported first: it has to be replaced in any case.
    let (backup, objects) = read_backup(&args.file, env)?;
    approval.ensure_obtainable(env)?;
    if !args.flags.dry_run {
        ensure_snapshots_writable(&args.snapshot.as_deref().into_iter().collect::<Vec<_>>())?;
    }
    let allow = parse_allow_flags(&args.flags.allow)?;
    let connection = match &args.snapshot {
        Some(file) => Some(connection_from_flags(std::slice::from_ref(file), &env.ops_context())),
        None => live_connection(&args.eks, args.context.as_deref())?,
    };
    let applied = backup_writes(args, &backup, objects)?;
    let kubeconfig = KubeconfigFlags { file: args.kubeconfig.as_deref(), use_exec_plugin: args.eks.use_exec_plugin };
    let settings = RestoreSettings { connection, kubeconfig, allow: &allow };
    let context = env.ops_context();
    let cluster_plan = plan_cluster_restore(&backup, &applied, settings, &context).await?;
    print_diagnostics(&cluster_plan.plan.warnings, &SourceMap::default(), env);
    let cluster_plans = [cluster_plan];
    let options = ApplyOptions {
        approval,
        allow_flags: &allow,
        flags: &args.flags,
        format: args.format,
        plans_again: false,
        parallel: 1,
        policy_folder: None,
        earlier_writes: Cell::new(0),
    };
    let sources = SourceMap::default();
    match args.format {
        OutputFormat::Text => print_plans(&cluster_plans, args.flags.full, plan_text::render_restore, env),
        OutputFormat::Json => print_json(&plan_document(&cluster_plans, &sources)?, env)?,
    }
    match approve_and_apply(&cluster_plans, &sources, &options, env).await? {
        ApplyAttempt::Finished(exit) => Ok(exit),
        ApplyAttempt::LostRace(report) => Ok(print_report(report, &sources, &options, env)),
    }
}

fn backup_writes(
    args: &RestoreArgs,
    backup: &BackupDocument,
    before: BTreeMap<ObjectKey, Value>,
) -> Result<AppliedWrites, CommandError> {
    let BackupContent { limits, invariants, steps, token_cache } =
        backup.content().map_err(|error| invalid_backup(&args.file, &error.to_string()))?;
    Ok(AppliedWrites { policy: backup.policy.clone(), limits, invariants, before, steps, token_cache })
}

fn invalid_backup(file: &Path, reason: &str) -> CommandError {
    let error = Diagnostic::error(format!("{} is not a backup of rolecall: {reason}", file.display()))
        .with_note("a snapshot cannot be restored: it does not have the writes of an apply")
        .with_help("use a file that `rolecall apply --backup DIR` wrote");
    CommandError::from_diagnostic(error)
}

fn other_version(file: &Path, version: &str) -> CommandError {
    let file = file.display();
    let message = format!("{file} has the backup version `{version}`, but this rolecall reads only `{BACKUP_VERSION}`");
    CommandError::from_diagnostic(
        Diagnostic::error(message)
            .with_note("backups of earlier versions do not have the writes of the apply, so it cannot be taken back")
            .with_help("restore it with the version of rolecall that wrote it"),
    )
}

pub(crate) fn read_backup(
    file: &Path,
    env: &Env,
) -> Result<(BackupDocument, BTreeMap<ObjectKey, Value>), CommandError> {
    let text = std::fs::read_to_string(env.cwd.join(file)).map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot read the backup {}: {error}", file.display()));
        CommandError::from_diagnostic(diagnostic.with_help("name a file that `rolecall apply --backup DIR` wrote"))
    })?;
    let invalid = |reason: &str| invalid_backup(file, reason);
    let documents =
        yaml::parse_documents(&text).map_err(|error| invalid(&format!("line {}: {}", error.line, error.message)))?;
    let mut backup: Option<(BackupDocument, Value)> = None;
    let (mut objects, mut following) = (BTreeMap::new(), Vec::new());
    for document in documents {
        let value = document.to_json().map_err(|error| invalid(&format!("line {}: {}", error.line, error.message)))?;
        if value.is_null() {
            continue;
        }
        if value.get("kind").and_then(Value::as_str) == Some(BackupDocument::KIND) {
            let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            if version != BACKUP_VERSION {
                return Err(other_version(file, version));
            }
            let document = BackupDocument::deserialize(&value).map_err(|error| invalid(&error.to_string()))?;
            if backup.replace((document, value)).is_some() {
                return Err(invalid("it has two documents of the kind `Backup`"));
            }
            continue;
        }
        following.push(value.clone());
        match parse_object_key(&value).map_err(|reason| invalid(&reason))? {
            Some(key) if is_backed_up(key.kind()) => drop(objects.insert(key, value)),
            Some(_) | None => {}
        }
    }
    let (backup, value) = backup.ok_or_else(|| invalid("it has no document of the kind `Backup`"))?;
    if !backup.is_unchanged(&value, &following)? {
        let message = format!("{} was changed after it was written: its digest does not match", file.display());
        let error = Diagnostic::error(message).with_note("no changes were made");
        return Err(CommandError::from_diagnostic(error.with_help("use the file as `apply --backup` wrote it")));
    }
    Ok((backup, objects))
}
