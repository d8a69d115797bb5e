//! The files of a snapshot.

#![expect(clippy::disallowed_methods, reason = "lists the files of the snapshot")]

use std::path::{Path, PathBuf};

use super::ClusterError;

pub(super) fn read_error(path: &Path, error: &std::io::Error) -> ClusterError {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    ClusterError::SnapshotIo { file: path.display().to_string(), why }
}

/// Returns the path itself, or the snapshot files of a directory by name.
pub(super) fn list_files(path: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| read_error(path, &error))?;
    let is_snapshot = |path: &PathBuf| {
        path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
    };
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_snapshot).collect();
    files.sort();
    if files.is_empty() {
        let why = "the directory has no .yaml, .yml or .json file".to_owned();
        return Err(ClusterError::SnapshotIo { file: path.display().to_string(), why });
    }
    Ok(files)
}
