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

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::ChangesFound | Self::NotAnswered => 2,
            Self::Refused => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
