//! What is outside of the process, as a handful of values: the core never asks for it, and tests can put another.

#![expect(clippy::disallowed_methods, reason = "here the real environment, clock and folder are taken, once")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::render::style::Style;

/// Which ends of the process are a person's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Questions can be asked.
    pub input: bool,
    /// The result is read by a person.
    pub out: bool,
    /// Progress and faults are.
    pub err: bool,
}

/// The world of one run.
pub struct World {
    /// The moment that counts as now.
    pub now: Timestamp,
    /// Variables that are not Unicode are left out.
    pub env: BTreeMap<String, String>,
    /// Where relative paths begin.
    pub cwd: PathBuf,
    /// Where answers come from.
    pub input: Box<dyn BufRead>,
    /// The result.
    pub out: Box<dyn Write>,
    /// Progress, warnings, faults.
    pub err: Box<dyn Write>,
    /// Which of the three is a terminal.
    pub terminals: Terminals,
    broken: Option<io::Error>,
}

impl World {
    /// A world of given parts.
    pub fn new(now: Timestamp, env: BTreeMap<String, String>, cwd: PathBuf, ends: Ends, terminals: Terminals) -> Self {
        let Ends { input, out, err } = ends;
        Self { now, env, cwd, input, out, err, terminals, broken: None }
    }

    /// The real one.
    pub fn real() -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let terminals = Terminals {
            input: io::stdin().is_terminal(),
            out: io::stdout().is_terminal(),
            err: io::stderr().is_terminal(),
        };
        let ends = Ends {
            input: Box::new(io::BufReader::new(io::stdin())),
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
        };
        Self::new(Timestamp::now(), env, std::env::current_dir().unwrap_or_default(), ends, terminals)
    }

    /// Writes to the result. A reader that has gone is no fault: `rolecall plan | head` ends well.
    pub(crate) fn print(&mut self, text: &str) {
        if let Err(error) = self.out.write_all(text.as_bytes()) {
            self.broken.get_or_insert(error);
        }
    }

    /// Says something beside the result.
    pub(crate) fn say(&mut self, text: &str) {
        let flushed = self.out.flush();
        // Nobody is left to be told that stderr is gone.
        let _ = self.err.write_all(text.as_bytes());
        if let Err(error) = flushed {
            self.broken.get_or_insert(error);
        }
    }

    /// Says what is still unsaid, and why the result could not be written, if it could not.
    pub(crate) fn finish(&mut self) -> Option<io::Error> {
        if let Err(error) = self.out.flush() {
            self.broken.get_or_insert(error);
        }
        self.broken.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Asks a person; the answer without its line end.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.say(question);
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(_) => line.trim().to_owned(),
            Err(_) => String::new(),
        }
    }

    fn style(&self, terminal: bool) -> Style {
        let is_set = |name: &str| self.env.get(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = self.env.get("TERM").is_some_and(|term| term == "dumb");
        if self.env.get("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Style::Plain;
        }
        if is_set("CLICOLOR_FORCE") || (terminal && !dumb) { Style::Colour } else { Style::Plain }
    }

    pub(crate) fn out_style(&self) -> Style {
        self.style(self.terminals.out)
    }

    pub(crate) fn err_style(&self) -> Style {
        self.style(self.terminals.err)
    }
}

/// The three ends of a process.
pub struct Ends {
    /// Where answers come from.
    pub input: Box<dyn BufRead>,
    /// The result.
    pub out: Box<dyn Write>,
    /// Progress, warnings, faults.
    pub err: Box<dyn Write>,
}
