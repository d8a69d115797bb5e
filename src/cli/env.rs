//! What is outside of the process, as a handful of values: the core never asks for it, and tests can put another.

#![expect(clippy::disallowed_methods, reason = "here the real environment, clock and folder are taken, once")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;

use std::sync::{Arc, Mutex, PoisonError};

use clap::ColorChoice;
use jiff::Timestamp;

use super::global::GlobalOptions;
use crate::cluster::settings::{ConnectionSettings, RequestLog, Timeouts};

use crate::render::style::TextStyle;
use crate::render::wrap::wrap;

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
    /// Progress, warnings, faults. Requests report to it from other threads.
    stderr: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Which of the three is a terminal.
    pub terminals: Terminals,
    /// Columns of the terminal, where stdout is one.
    pub width: Option<usize>,
    options: GlobalOptions,
    /// What `--snapshot -` has read.
    stdin_text: Option<Arc<str>>,
    stdout_error: Option<io::Error>,
}

impl Env {
    /// A world of given parts.
    pub fn new(now: Timestamp, env: BTreeMap<String, String>, cwd: PathBuf, ends: Stdio, terminals: Terminals) -> Self {
        let Stdio { stdin: input, stdout: out, stderr: err } = ends;
        let err = Arc::new(Mutex::new(err));
        let options = GlobalOptions::default();
        Self {
            now,
            vars: env,
            cwd,
            stdin: input,
            stdout: out,
            stderr: err,
            terminals,
            width: None,
            options,
            stdin_text: None,
            stdout_error: None,
        }
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
            // Colors are added only where they are wanted; what anstream does here is to show them on every Windows.
            stdout: Box::new(io::BufWriter::new(anstream::AutoStream::always(io::stdout()))),
            stderr: Box::new(anstream::AutoStream::always(io::stderr())),
        };
        let world = Self::new(Timestamp::now(), env, std::env::current_dir().unwrap_or_default(), ends, terminals);
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self { width, ..world }
    }

    /// Takes over the options that every command has.
    pub(crate) fn set_options(&mut self, options: GlobalOptions) {
        self.options = options;
    }

    /// Writes to the result. A reader that has gone is no fault: `rolecall plan | head` ends well.
    pub(crate) fn print(&mut self, text: &str) {
        if let Err(error) = self.stdout.write_all(text.as_bytes()) {
            self.stdout_error.get_or_insert(error);
        }
    }

    /// Writes text for people to the result, wrapped to the width of the terminal.
    pub(crate) fn print_wrapped(&mut self, text: &str) {
        match self.out_width() {
            Some(width) => self.print(&wrap(text, width)),
            None => self.print(text),
        }
    }

    /// Writes progress, a note or a warning to stderr; nothing with `--quiet`.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.options.quiet {
            self.eprint(text);
        }
    }

    /// Whether only errors are wanted on stderr.
    pub(crate) fn is_quiet(&self) -> bool {
        self.options.quiet
    }

    /// Says something beside the result.
    pub(crate) fn eprint(&mut self, text: &str) {
        let flushed = self.stdout.flush();
        write_to(&self.stderr, text);
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

    /// Reads stdin to its end, for `--snapshot -`.
    pub(crate) fn read_stdin(&mut self) -> io::Result<()> {
        let mut text = String::new();
        io::Read::read_to_string(&mut self.stdin, &mut text)?;
        self.stdin_text = Some(text.into());
        Ok(())
    }

    /// What [`Self::read_stdin`] has read.
    pub(crate) fn stdin_text(&self) -> Option<Arc<str>> {
        self.stdin_text.clone()
    }

    /// How clusters are connected to, and what is said about it meanwhile.
    pub(crate) fn connection_settings(&self) -> ConnectionSettings {
        let GlobalOptions { color: _, verbose, quiet, timeout } = self.options;
        let err = self.stderr.clone();
        let log = RequestLog::new(move |line| write_to(&err, &format!("{line}\n")))
            .with_requests(verbose)
            .with_delays(self.terminals.stderr && !quiet);
        ConnectionSettings { timeouts: timeout.map(Timeouts::uniform).unwrap_or_default(), log }
    }

    /// Columns of the result's lines; nothing where lines are as long as they are.
    ///
    /// COLUMNS counts before the terminal's own width, as it does for git and ls.
    pub(crate) fn out_width(&self) -> Option<usize> {
        let columns = self.vars.get("COLUMNS").and_then(|text| text.trim().parse().ok()).filter(|columns| *columns > 0);
        columns.or(self.width.filter(|_| self.terminals.stdout))
    }

    /// `--color`, and for `auto` the variables in the order in which anstream reads them.
    fn style_for(&self, terminal: bool) -> TextStyle {
        match self.options.color {
            ColorChoice::Always => return TextStyle::Color,
            ColorChoice::Never => return TextStyle::Plain,
            ColorChoice::Auto => {}
        }
        let value = |name: &str| self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let forces = |name: &str| value(name).is_some_and(|value| value != "0" && value != "false");
        if value("NO_COLOR").is_some() {
            return TextStyle::Plain;
        }
        if forces("CLICOLOR_FORCE") || forces("FORCE_COLOR") {
            return TextStyle::Color;
        }
        let is_off = value("CLICOLOR") == Some("0") || value("FORCE_COLOR").is_some() || value("TERM") == Some("dumb");
        if terminal && !is_off { TextStyle::Color } else { TextStyle::Plain }
    }

    pub(crate) fn stdout_style(&self) -> TextStyle {
        self.style_for(self.terminals.stdout)
    }

    pub(crate) fn stderr_style(&self) -> TextStyle {
        self.style_for(self.terminals.stderr)
    }
}

fn write_to(err: &Mutex<Box<dyn Write + Send>>, text: &str) {
    // If stderr is gone, there is no other place to report that.
    let _ = err.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
}

/// The three ends of a process.
pub struct Stdio {
    /// Where answers come from.
    pub stdin: Box<dyn BufRead>,
    /// The result.
    pub stdout: Box<dyn Write>,
    /// Progress, warnings, faults. Requests report to it from other threads.
    pub stderr: Box<dyn Write + Send>,
}
