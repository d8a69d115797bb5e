//! `rolecall restore FILE`: back to what an apply found, as planned and as carefully as an apply.

#![expect(clippy::disallowed_methods, reason = "the backup is read here")]

use std::collections::BTreeMap;

use serde_json::Value;

use super::apply::{ApplyOptions as Manner, Approval, approve_and_apply};
use super::args::{ConnectionArgs, RestoreArgs};
use super::backup::{is_backed_up, read_objects};
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::guards::{observe_facts, parse_allow_flags};
use super::target::{ClusterConnection, TargetCluster, can_be_written, snapshot_way};
use crate::cluster::any::AnyCluster;
use crate::cluster::kubeconfig::ContextSelector;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, ObjectVersions, plan_restore};
use crate::policy::PolicyIndex;
use crate::report::{BACKUP_VERSION, BackupDocument};
use crate::state::validate::parse_object_key;
use crate::yaml;

pub(crate) async fn run(args: &RestoreArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let consent =
        Approval { is_given: args.auto_approve || args.flags.dry_run, digests: &args.approved, saved_plan: None };
    // What is wrong with the file is worth more than that nobody can be asked.
    let (note, objects) = read_backup(args, world)?;
    consent.ensure_obtainable(world)?;
    if !args.flags.dry_run {
        can_be_written(&args.snapshot.as_deref().into_iter().collect::<Vec<_>>())?;
    }
    let allow = parse_allow_flags(&args.flags.allow)?;
    let place = ConnectionArgs {
        clusters: Vec::new(),
        snapshots: args.snapshot.iter().cloned().collect(),
        context: args.context.clone(),
        kubeconfig: args.kubeconfig.clone(),
    };
    let way = match (&args.snapshot, &args.context) {
        (Some(file), _) => snapshot_way(std::slice::from_ref(file), world),
        (None, Some(context)) => ClusterConnection::Live(ContextSelector::Named(context.clone())),
        (None, None) => note.connection.clone().into(),
    };
    let opened = TargetCluster::new(note.name.clone(), way.clone(), &place, world).connect().await?;
    let (state, seen) = futures::future::join(opened.cluster.observe(), observe_facts(&opened.cluster)).await;
    let state = state?;
    if let (Some(then), Some(now)) = (&note.cluster_uid, &state.cluster_uid)
        && then != now
    {
        let error = Diagnostic::error(format!(
            "{} is another cluster than {}, of which the backup is",
            opened.label, note.cluster
        ));
        return Err(CommandError::from_diagnostic(error.with_help("name the right one by --context")));
    }
    let mut images: ObjectVersions = objects.into_iter().map(|(key, object)| (key, (Some(object), None))).collect();
    let absent = note.absent().map_err(|error| invalid_backup(args, &error.to_string()))?;
    images.extend(absent.into_iter().map(|key| (key, (None, None))));
    read_current(&opened.cluster, &mut images).await?;
    let mut plan = plan_restore(&note.policy, &state, &images).map_err(|fault| after_state_error(&fault))?;
    let known = PolicyIndex::default();
    let after = plan.state_after(&state).map_err(|fault| after_state_error(&fault))?;
    let sides = AccessComparison::new(&state, &after);
    plan.record_access_changes(&sides, &known);
    let planned = ClusterPlan::evaluate(opened, plan, (way, note.name), known, &sides, seen, &allow).await?;
    let manner = Manner { approval: consent, allow_flags: &allow, flags: &args.flags };
    approve_and_apply(&[planned], &SourceMap::default(), &manner, world).await
}

/// Reads each object as it is now.
async fn read_current(cluster: &AnyCluster, images: &mut ObjectVersions) -> Result<(), ClusterError> {
    let keys: Vec<ObjectKey> = images.keys().cloned().collect();
    let found = read_objects(cluster, &keys).await?;
    for (image, object) in images.values_mut().zip(found) {
        image.1 = object;
    }
    Ok(())
}

fn invalid_backup(args: &RestoreArgs, why: &str) -> CommandError {
    let error = Diagnostic::error(format!("{} is no backup of rolecall: {why}", args.file.display()));
    CommandError::from_diagnostic(
        error.with_help("`rolecall apply --backup DIR` writes one; a snapshot does not say what did not exist"),
    )
}

fn read_backup(args: &RestoreArgs, world: &Env) -> Result<(BackupDocument, BTreeMap<ObjectKey, Value>), CommandError> {
    let text = std::fs::read_to_string(world.cwd.join(&args.file)).map_err(|error| {
        CommandError::from_diagnostic(Diagnostic::error(format!("{} cannot be read: {error}", args.file.display())))
    })?;
    let fault = |why: &str| invalid_backup(args, why);
    let documents =
        yaml::parse_documents(&text).map_err(|error| fault(&format!("line {}: {}", error.line, error.message)))?;
    let mut note: Option<BackupDocument> = None;
    let mut objects = BTreeMap::new();
    for document in documents {
        let value = document.to_json().map_err(|error| fault(&format!("line {}: {}", error.line, error.message)))?;
        if value.is_null() {
            continue;
        }
        if value.get("kind").and_then(Value::as_str) == Some(BackupDocument::KIND) {
            let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            if version != BACKUP_VERSION {
                return Err(fault(&format!("it has the version `{version}`, this rolecall reads {BACKUP_VERSION}")));
            }
            note = Some(serde_json::from_value(value).map_err(|error| fault(&error.to_string()))?);
            continue;
        }
        match parse_object_key(&value).map_err(|why| fault(&why))? {
            Some(key) if is_backed_up(key.kind()) => drop(objects.insert(key, value)),
            Some(_) | None => {}
        }
    }
    Ok((note.ok_or_else(|| fault("it does not say what did not exist"))?, objects))
}
