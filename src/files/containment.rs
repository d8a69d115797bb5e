//! Paths that a policy names. A policy can come from a pull request, so it must not select a file outside its own
//! directory: error messages could show lines of that file.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why a path that a policy names is refused. No variant has content of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ContainmentError {
    #[error("the path is absolute")]
    Absolute,
    #[error("the path contains `..`")]
    ParentDirectory,
    #[error("the name does not end in {0}")]
    Extension(&'static str),
    #[error("it is a link to a file outside the directory of the policy")]
    LeavesFolder,
    #[error("it is neither a file nor a directory")]
    Special,
}

/// Returns the path of a file in `folder`, whose links do not lead out of the folder. `extensions` are those that the
/// file and the target of its links may have; `expected` names them. A path that does not exist is returned as it is:
/// reading it gives the error.
///
/// # Errors
/// If the path could select another file.
pub(crate) fn contained_file(
    folder: &Path,
    path: &Path,
    extensions: &[&str],
    expected: &'static str,
) -> Result<PathBuf, ContainmentError> {
    for component in path.components() {
        match component {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return Err(ContainmentError::ParentDirectory),
            Component::RootDir | Component::Prefix(_) => return Err(ContainmentError::Absolute),
        }
    }
    let joined = folder.join(path);
    let (Ok(root), Ok(target)) = (folder.canonicalize(), joined.canonicalize()) else {
        return Ok(joined);
    };
    if !target.starts_with(&root) {
        return Err(ContainmentError::LeavesFolder);
    }
    let has_extension = |path: &Path| {
        path.extension().is_some_and(|extension| extensions.iter().any(|expected| extension == *expected))
    };
    if target.is_dir() {
        return Ok(joined);
    }
    if !target.is_file() {
        return Err(ContainmentError::Special);
    }
    // A link of an innocent name can lead to a file of another kind, such as `.git/config`.
    if has_extension(&target) && has_extension(&joined) {
        Ok(joined)
    } else {
        Err(ContainmentError::Extension(expected))
    }
}
