//! Reads the files of a kubeconfig with a limit. Each of them can be a pipe, which blocks until its writer closes it.

use std::io::Read as _;
use std::path::Path;

use kube::config::{Kubeconfig, KubeconfigError};

use super::ClusterError;
use super::settings::{ConnectionSettings, TimeLimit};

/// The maximum size of a kubeconfig or a token. A kubeconfig with a thousand clusters has 5 MB.
const MAX_FILE: u64 = 32 << 20;

/// Runs blocking work that reads files, with the limit of a connection. `what` is what is read.
///
/// # Errors
/// If the work fails or takes longer. A thread that waits for a pipe is left behind.
pub(super) async fn with_file_timeout<T: Send + 'static>(
    what: &str,
    settings: &ConnectionSettings,
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    let limit = settings.timeouts.connect;
    let running = tokio::time::timeout(limit, tokio::task::spawn_blocking(work));
    match settings.log.watch(what, limit, running).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ClusterError::InvalidKubeconfig { why: "its files cannot be read".to_owned() }),
        },
        Err(_) => Err(ClusterError::TimedOut {
            what: format!("reading {what}"),
            after: limit,
            sent: false,
            limit: TimeLimit::Request,
        }),
    }
}

/// Reads a kubeconfig. Paths in it are relative to its directory, if it is a file.
///
/// # Errors
/// If it cannot be read, is longer than [`MAX_FILE`], or is not a kubeconfig.
pub(super) fn read_kubeconfig(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let metadata = std::fs::metadata(path).map_err(|error| KubeconfigError::ReadConfig(error, path.to_owned()))?;
    if metadata.is_file() && metadata.len() <= MAX_FILE {
        return Kubeconfig::read_from(path);
    }
    // A pipe or a device can have any length.
    let text = read_text(path).map_err(|error| KubeconfigError::ReadConfig(error, path.to_owned()))?;
    Kubeconfig::from_yaml(&text)
}

/// Reads a text file up to [`MAX_FILE`].
///
/// # Errors
/// If it cannot be read, is longer, or is not Unicode.
pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

/// Reads a file up to [`MAX_FILE`].
///
/// # Errors
/// If it cannot be read, or is longer.
pub(super) fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
        let why = format!("it is longer than {} MiB", MAX_FILE >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}
