//! What the use cases take from the environment of the command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::observer::Observer;
use crate::cluster::settings::ConnectionSettings;

/// The default of `--parallel`.
pub(crate) const DEFAULT_PARALLEL: usize = 8;

/// The time, the variables and the working directory of a command, and how its use case connects and reports.
#[derive(Clone)]
pub(crate) struct OpsContext {
    /// The current time, fixed for the whole command.
    pub(crate) now: Timestamp,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// The limits of the connections, and the signals that end them.
    pub(crate) connection: ConnectionSettings,
    /// The text of stdin, for `--snapshot -`.
    pub(crate) stdin_text: Option<Arc<str>>,
    pub(crate) observer: Observer,
    /// How many clusters are read, planned or written at the same time.
    pub(crate) parallel: usize,
}
