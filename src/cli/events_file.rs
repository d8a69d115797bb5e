//! `--events FILE`: appends each event as a line of JSON. A write has one record, which is written right after it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::env::Env;
use super::event_record::{ApplyRun, to_event_json};
use super::exit::Exit;
use crate::diagnostic::{Diagnostic, InternalError, is_unsafe_char};
use crate::files::open_for_append;
use crate::ops::{ClusterTag, CommandError, EventKind, OpsEvent, RunAuthor};
use crate::report::{EventJson, EventRecord, FormatVersion, SerializeError};

/// The file of `--events`. Clones append to the same file.
#[derive(Clone)]
pub(super) struct EventsFile(Arc<EventsFileInner>);

struct EventsFileInner {
    /// The path as it was given.
    path: PathBuf,
    run: String,
    command: &'static str,
    author: RunAuthor,
    state: Mutex<EventsFileState>,
}

struct EventsFileState {
    file: File,
    /// What the records of the writes to each cluster have in common.
    runs: BTreeMap<usize, ApplyRun>,
    /// Why a record could not be written. No further one is written then.
    failure: Option<AppendError>,
}

/// Why a record was not written.
enum AppendError {
    Io(io::Error),
    Serialize(SerializeError),
}

impl EventsFile {
    /// Opens the file, and records that the command starts.
    ///
    /// # Errors
    /// If it cannot be written, or is another file.
    pub(super) fn open(path: &Path, command: &'static str, env: &Env) -> Result<Self, CommandError> {
        let file = open_for_append(&env.cwd.join(path), &env.inputs).map_err(|error| {
            let diagnostic = Diagnostic::error(format!("cannot write the events to {}: {error}", path.display()));
            CommandError::from_diagnostic(diagnostic.with_help(error.help()))
        })?;
        let run = format!("{}-{}", env.now.as_nanosecond(), std::process::id());
        let state = EventsFileState { file, runs: BTreeMap::new(), failure: None };
        let events = Self(Arc::new(EventsFileInner {
            path: path.to_owned(),
            run,
            command,
            author: RunAuthor::from_variables(&env.vars),
            state: Mutex::new(state),
        }));
        events.append(None, EventJson::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
        match events.failure() {
            None => Ok(events),
            Some(error) => Err(error),
        }
    }

    /// Appends an event.
    pub(super) fn record(&self, event: &OpsEvent<'_>) {
        let position = event.cluster.map_or(0, |cluster| cluster.position);
        let json = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let EventKind::ApplyStarted { plan, digest, policy_commit, caller } = &event.kind {
                state.runs.insert(position, ApplyRun::new(plan, digest, *policy_commit, *caller, &self.0.author));
            }
            to_event_json(&event.kind, state.runs.get(&position))
        };
        if let Some(json) = json {
            self.append(event.cluster, json);
        }
    }

    /// Records the end of the command. Returns why not all events were recorded.
    pub(super) fn finish(self, exit: Exit) -> Option<CommandError> {
        self.append(None, EventJson::Finished { exit_code: exit.code() });
        self.failure()
    }

    fn append(&self, cluster: Option<&ClusterTag>, event: EventJson) {
        let record = EventRecord {
            format_version: FormatVersion,
            time: Timestamp::now().to_string(),
            run: self.0.run.clone(),
            command: self.0.command.to_owned(),
            cluster: cluster.map(|cluster| cluster.label.clone()),
            cluster_name: cluster.and_then(|cluster| cluster.name.clone()),
            event,
        };
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failure.is_some() {
            return;
        }
        let written = serde_json::to_string(&record)
            .map_err(|error| AppendError::Serialize(error.into()))
            // One call for the whole line, so that lines of several runs do not mix.
            .and_then(|line| state.file.write_all((escape_json(&line) + "\n").as_bytes()).map_err(AppendError::Io));
        state.failure = written.err();
    }

    /// Returns why a record could not be written.
    pub(super) fn failure(&self) -> Option<CommandError> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.0.path.display();
        Some(match state.failure.as_ref()? {
            AppendError::Io(error) => CommandError::from_diagnostic(
                Diagnostic::error(format!("cannot write the events to {path}: {error}"))
                    .with_note("the events after this error were not recorded"),
            ),
            AppendError::Serialize(error) => InternalError::new(error.to_string()).into(),
        })
    }
}

/// Escapes the characters of a JSON text that could do harm on a terminal, since people follow the file there. Such
/// characters are only in strings, where the escape means the same.
fn escape_json(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unsafe_char(c) {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}
