//! Two clusters of a command that are the same cluster. Each would be planned on the state without the changes of the
//! other, and the second apply would fail half-way.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::command_error::CommandError;
use super::target::ClusterConnection;
use crate::diagnostic::Diagnostic;
use crate::state::State;

/// What identifies a cluster.
pub(crate) struct ClusterIdentity {
    /// The name in the policy, or the label.
    name: String,
    /// The uid of the namespace kube-system of a live cluster. Several snapshots of one cluster can be planned together.
    uid: Option<String>,
    /// The files of a snapshot, without links.
    files: BTreeSet<PathBuf>,
}

impl ClusterIdentity {
    pub(crate) fn new(name: &str, connection: &ClusterConnection, state: &State) -> Self {
        let (uid, files) = match connection {
            ClusterConnection::Live(_) => (state.cluster_uid.clone(), BTreeSet::new()),
            ClusterConnection::Snapshot { files, .. } => {
                (None, files.iter().map(|file| file.canonicalize().unwrap_or_else(|_| file.clone())).collect())
            }
        };
        Self { name: name.to_owned(), uid, files }
    }

    fn shared_with(&self, other: &Self) -> Option<String> {
        if let Some(file) = self.files.intersection(&other.files).next() {
            return Some(format!("both read the snapshot {}", file.display()));
        }
        let uid = self.uid.as_ref().filter(|uid| other.uid.as_ref() == Some(uid))?;
        Some(format!("the namespace kube-system has the uid {uid} in both"))
    }
}

/// # Errors
/// If two of the clusters are the same one.
pub(crate) fn ensure_different_clusters(clusters: &[ClusterIdentity]) -> Result<(), CommandError> {
    let mut errors = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let others = clusters.iter().take(index);
        let first = others.into_iter().find_map(|other| Some((other, other.shared_with(cluster)?)));
        if let Some((other, reason)) = first {
            let message = format!("`{}` and `{}` are the same cluster", other.name, cluster.name);
            let help = "keep one of them in `[clusters]`, or select one with --cluster NAME";
            errors.push(Diagnostic::error(message).with_because(reason).with_help(help));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
}
