//! How a run ends, as its caller sees it.

use std::process::ExitCode;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Success,
    /// It failed, or the command line was wrong.
    Failed,
    /// `drift` or `plan --detailed-exitcode` found changes.
    ChangesFound,
    /// A guard or an invariant refused.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::ChangesFound => 2,
            Exit::Refused => 3,
        })
    }
}
