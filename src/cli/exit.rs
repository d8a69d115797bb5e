//! How a run ends, as its caller sees it.

use std::process::ExitCode;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done,
    /// It failed, or the command line was wrong.
    Failed,
    /// `drift` or `plan --detailed-exitcode` found changes.
    Changes,
    /// A guard or an invariant refused.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Changes => 2,
            Exit::Refused => 3,
        })
    }
}
