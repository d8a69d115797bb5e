//! The exit codes.

use std::process::ExitCode;

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded. `can`: the request is allowed.
    Success,
    /// The command failed, or the command line is wrong. `can`: the request is denied.
    Failed,
    /// `drift` or `plan --detailed-exitcode` found changes.
    ChangesFound,
    /// `can` or `who-can` could not answer: the subject, a word of the question or the cluster is not known.
    NotAnswered,
    /// A guard refused the plan, or an invariant is violated.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::ChangesFound | Exit::NotAnswered => 2,
            Exit::Refused => 3,
        })
    }
}
