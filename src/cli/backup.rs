//! `apply --backup DIR`: what is about to change, in a file from which `restore` leads back to it.
//!
//! The file is a snapshot of these objects, and beside them a document that says what did not exist.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::cluster_plan::ClusterPlan;
use super::command_error::CommandError;
use super::create_private_file;
use super::env::Env;
use super::saved_plan;
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, WriteCluster as _};
use crate::diagnostic::Diagnostic;
use crate::names::{ObjectKey, ObjectKind};
use crate::report::{BackupDocument, to_value};
use crate::state::write::{ObjectVersion, Precondition};
use crate::yaml::to_yaml;

/// Objects read at a time.
const MAX_CONCURRENT_READS: usize = 16;

/// Writes the before-images of a plan's objects.
pub(super) async fn write_backup(one: &ClusterPlan, folder: &Path, world: &mut Env) -> Result<(), CommandError> {
    let mut touched: std::collections::BTreeMap<&ObjectKey, &Precondition> = std::collections::BTreeMap::new();
    for step in &one.plan.steps {
        touched.entry(&step.object).or_insert(&step.precondition);
    }
    let (there, absent): (Vec<_>, Vec<_>) =
        touched.into_iter().partition(|(_, needs)| matches!(needs, Precondition::Unchanged { .. }));
    let keys: Vec<ObjectKey> = there.iter().map(|(key, _)| (*key).clone()).collect();
    let objects = read_objects(&one.cluster, &keys).await?;
    let mut documents = Vec::new();
    for ((key, needs), object) in there.into_iter().zip(objects) {
        let version = object.as_ref().and_then(ObjectVersion::from_object);
        // A snapshot by hand has no versions; its file has its own precondition.
        let same = match (needs, &version) {
            (Precondition::Unchanged { resource_version, .. }, Some(version)) => {
                version.resource_version == *resource_version
            }
            _ => object.is_some(),
        };
        let Some(object) = object.filter(|_| same) else {
            return Err(saved_plan::stale_plan_error(&one.label, &[format!("{key} was changed")]));
        };
        documents.push(to_yaml(&object));
    }
    let absent: Vec<&ObjectKey> = absent.into_iter().map(|(key, _)| key).collect();
    let plan = &one.plan;
    let document = BackupDocument::new(
        &plan.policy,
        (&one.label, one.cluster_name.as_deref()),
        (&one.connection).into(),
        plan.cluster_uid.as_deref(),
        &absent,
    );
    documents.insert(0, to_yaml(&to_value(&document)?));
    let text = format!(
        "# rolecall backup, taken {} of {}\n{}",
        world.now,
        replace_control_chars(&one.label),
        documents.join("---\n")
    );
    let folder = world.cwd.join(folder);
    let written = create_private_folder(&folder).and_then(|()| create_backup_file(&folder, one, world, &text));
    let path = written.map_err(|error| {
        let error = Diagnostic::error(format!("the backup in {} cannot be written: {error}", folder.display()));
        CommandError::from_diagnostic(error.with_help("see that the folder may be written, or leave --backup out"))
    })?;
    world.note(&format!("Backup: {}; `rolecall restore` leads back to it\n", path.display()));
    Ok(())
}

/// The objects as they are stored, each in the place of its key.
pub(super) async fn read_objects(cluster: &AnyCluster, keys: &[ObjectKey]) -> Result<Vec<Option<Value>>, ClusterError> {
    stream::iter(keys).map(|key| cluster.read(key)).buffered(MAX_CONCURRENT_READS).try_collect().await
}

fn replace_control_chars(label: &str) -> String {
    label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A name that no other file has.
fn create_backup_file(
    folder: &Path,
    one: &ClusterPlan,
    world: &Env,
    text: &str,
) -> std::io::Result<std::path::PathBuf> {
    let name = one.cluster_name.as_deref().unwrap_or(&one.plan.policy);
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    let time = world.now.strftime("%Y%m%dT%H%M%SZ");
    let mut number = 1;
    loop {
        let end = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}-{time}{end}.yaml"));
        match create_private_file(&path, text) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The kinds that a backup holds.
pub(super) fn is_backed_up(kind: ObjectKind) -> bool {
    kind != ObjectKind::Namespace
}
