//! What is outside of the process, as a handful of values: the core never asks for it, and tests can put another.

#![expect(clippy::disallowed_methods, reason = "here the real environment, clock and folder are taken, once")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::render::style::TextStyle;

/// Which ends of the process are a person's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Questions can be asked.
    pub stdin: bool,
    /// The result is read by a person.
    pub stdout: bool,
    /// Progress and faults are.
    pub stderr: bool,
}

/// The world of one run.
pub struct Env {
    /// The moment that counts as now.
    pub now: Timestamp,
    /// Variables that are not Unicode are left out.
    pub vars: BTreeMap<String, String>,
    /// Where relative paths begin.
    pub cwd: PathBuf,
    /// Where answers come from.
    pub stdin: Box<dyn BufRead>,
    /// The result.
    pub stdout: Box<dyn Write>,
    /// Progress, warnings, faults.
    pub stderr: Box<dyn Write>,
    /// Which of the three is a terminal.
    pub terminals: Terminals,
    stdout_error: Option<io::Error>,
}

impl Env {
    /// A world of given parts.
    pub fn new(now: Timestamp, env: BTreeMap<String, String>, cwd: PathBuf, ends: Stdio, terminals: Terminals) -> Self {
        let Stdio { stdin: input, stdout: out, stderr: err } = ends;
        Self { now, vars: env, cwd, stdin: input, stdout: out, stderr: err, terminals, stdout_error: None }
    }

    /// The real one.
    pub fn from_process() -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        let ends = Stdio {
            stdin: Box::new(io::BufReader::new(io::stdin())),
            stdout: Box::new(io::BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
        };
        Self::new(Timestamp::now(), env, std::env::current_dir().unwrap_or_default(), ends, terminals)
    }

    /// Writes to the result. A reader that has gone is no fault: `rolecall plan | head` ends well.
    pub(crate) fn print(&mut self, text: &str) {
        if let Err(error) = self.stdout.write_all(text.as_bytes()) {
            self.stdout_error.get_or_insert(error);
        }
    }

    /// Says something beside the result.
    pub(crate) fn eprint(&mut self, text: &str) {
        let flushed = self.stdout.flush();
        // Nobody is left to be told that stderr is gone.
        let _ = self.stderr.write_all(text.as_bytes());
        if let Err(error) = flushed {
            self.stdout_error.get_or_insert(error);
        }
    }

    /// Says what is still unsaid, and why the result could not be written, if it could not.
    pub(crate) fn flush(&mut self) -> Option<io::Error> {
        if let Err(error) = self.stdout.flush() {
            self.stdout_error.get_or_insert(error);
        }
        self.stdout_error.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Asks a person; the answer without its line end.
    pub(crate) fn prompt(&mut self, question: &str) -> String {
        self.eprint(question);
        let mut line = String::new();
        match self.stdin.read_line(&mut line) {
            Ok(_) => line.trim().to_owned(),
            Err(_) => String::new(),
        }
    }

    fn style_for(&self, terminal: bool) -> TextStyle {
        let is_set = |name: &str| self.vars.get(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = self.vars.get("TERM").is_some_and(|term| term == "dumb");
        if self.vars.get("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return TextStyle::Plain;
        }
        if is_set("CLICOLOR_FORCE") || (terminal && !dumb) { TextStyle::Color } else { TextStyle::Plain }
    }

    pub(crate) fn stdout_style(&self) -> TextStyle {
        self.style_for(self.terminals.stdout)
    }

    pub(crate) fn stderr_style(&self) -> TextStyle {
        self.style_for(self.terminals.stderr)
    }
}

/// The three ends of a process.
pub struct Stdio {
    /// Where answers come from.
    pub stdin: Box<dyn BufRead>,
    /// The result.
    pub stdout: Box<dyn Write>,
    /// Progress, warnings, faults.
    pub stderr: Box<dyn Write>,
}
