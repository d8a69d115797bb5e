//! The files that a command has read. It must not overwrite them with its result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What makes two paths the same file: the device and the inode, so that links and spellings do not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileIdentity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    canonical_path: PathBuf,
}

impl FileIdentity {
    /// Returns the identity of an existing file. Links are followed.
    fn of_path(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = std::fs::metadata(path).ok()?;
            Some(Self { device_and_inode: (metadata.dev(), metadata.ino()) })
        }
        #[cfg(not(unix))]
        Some(Self { canonical_path: path.canonicalize().ok()? })
    }
}

/// The files that a command has read, and the directory of its policy. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct InputFiles(Arc<Mutex<Inputs>>);

#[derive(Debug, Default)]
struct Inputs {
    files: BTreeMap<FileIdentity, &'static str>,
    /// A directory whose .toml files are one policy.
    policy_folders: Vec<PathBuf>,
}

impl InputFiles {
    /// Records that a file was read. `role` is what the file is, such as `the policy`.
    pub(crate) fn record(&self, path: &Path, role: &'static str) {
        if let Some(identity) = FileIdentity::of_path(path) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).files.insert(identity, role);
        }
    }

    /// Records a directory whose .toml files are the policy: a new file there would become a part of it.
    pub(crate) fn record_policy_folder(&self, path: &Path) {
        if let Ok(path) = path.canonicalize() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).policy_folders.push(path);
        }
    }

    /// Returns what the file is to this command. `None` if the command has not read it and it cannot become an input.
    pub(super) fn role(&self, path: &Path) -> Option<&'static str> {
        let inputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(role) = FileIdentity::of_path(path).and_then(|identity| inputs.files.get(&identity).copied()) {
            return Some(role);
        }
        let folder = path.parent().and_then(|parent| parent.canonicalize().ok())?;
        let is_policy_file = path.extension().is_some_and(|extension| extension == "toml");
        (is_policy_file && inputs.policy_folders.contains(&folder)).then_some("a file of the policy")
    }
}
