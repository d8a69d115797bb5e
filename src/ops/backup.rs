//! `apply --backup DIR`: writes the objects that are about to change to a file, for `restore`.
//!
//! The file has the objects as a snapshot has them, and before them a document with the writes of the apply.

use std::collections::BTreeMap;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::cluster_plan::ClusterPlan;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::observer::EventKind;
use super::saved_plan;
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, WriteCluster as _};
use crate::diagnostic::{Diagnostic, escape_text};
use crate::files::create_numbered_file;
use crate::names::{ObjectKey, ObjectKind};
use crate::report::{BackupDocument, to_value};
use crate::state::access_entry::AccessEntry;
use crate::state::write::{ObjectVersion, Precondition};
use crate::yaml::to_yaml;

/// The maximum number of concurrent reads.
const MAX_CONCURRENT_READS: usize = 16;

/// Backs up the objects that a plan writes, as they are before the writes.
pub(super) async fn write_backup(
    cluster_plan: &ClusterPlan,
    folder: &Path,
    context: &OpsContext,
) -> Result<(), CommandError> {
    let mut written: BTreeMap<&ObjectKey, &Precondition> = BTreeMap::new();
    for step in &cluster_plan.plan.steps {
        written.entry(&step.object).or_insert(&step.precondition);
    }
    let is_existing = |precondition: &Precondition| matches!(precondition, Precondition::Unchanged { .. });
    let existing: Vec<_> = written.into_iter().filter(|(_, precondition)| is_existing(precondition)).collect();
    let keys: Vec<ObjectKey> = existing.iter().map(|(key, _)| (*key).clone()).collect();
    let objects = read_objects(&cluster_plan.cluster, &keys).await?;
    let mut documents = Vec::new();
    for ((key, precondition), object) in existing.into_iter().zip(objects) {
        let version = object.as_ref().and_then(|object| match key.kind() {
            ObjectKind::AccessEntry => AccessEntry::version(object).ok(),
            _ => ObjectVersion::from_object(object),
        });
        // Objects in a handwritten snapshot have no resourceVersion. Writes to a snapshot check that the file is unchanged.
        let is_unchanged = match (precondition, &version) {
            (Precondition::Unchanged { resource_version, .. }, Some(version)) => {
                version.resource_version == *resource_version
            }
            _ => object.is_some(),
        };
        let Some(object) = object.filter(|_| is_unchanged) else {
            return Err(saved_plan::stale_plan_error(&cluster_plan.label, &[format!("{key} was changed")]));
        };
        documents.push(object);
    }
    let header = BackupDocument::new(
        &cluster_plan.plan,
        (&cluster_plan.label, cluster_plan.cluster_name.as_deref()),
        (&cluster_plan.connection).into(),
        &documents,
    )?;
    documents.insert(0, to_value(&header)?);
    let documents: Vec<String> = documents.iter().map(to_yaml).collect();
    let text = format!(
        "# rolecall backup, taken {} of {}\n{}",
        context.now,
        escape_text(&cluster_plan.label),
        documents.join("---\n")
    );
    let folder = context.cwd.join(folder);
    let name = cluster_plan.cluster_name.as_deref().unwrap_or(&cluster_plan.plan.policy);
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    let stem = format!("{name}-{}", context.now.strftime("%Y%m%dT%H%M%SZ"));
    let path = create_numbered_file(&folder, &stem, &text).map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot write the backup to {}: {error}", folder.display()));
        CommandError::from_diagnostic(diagnostic.with_help(error.help()).with_note("no changes were made"))
    })?;
    cluster_plan.observer.send(EventKind::BackupWritten(&path));
    Ok(())
}

/// Returns the stored objects, in the order of the keys. An object that does not exist is `None`.
pub(super) async fn read_objects(cluster: &AnyCluster, keys: &[ObjectKey]) -> Result<Vec<Option<Value>>, ClusterError> {
    stream::iter(keys).map(|key| cluster.read(key)).buffered(MAX_CONCURRENT_READS).try_collect().await
}

/// Returns whether `restore` reads objects of this kind from a backup.
pub(crate) fn is_backed_up(kind: ObjectKind) -> bool {
    kind != ObjectKind::Namespace
}
