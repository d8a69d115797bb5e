//! The environment of a command: clock, variables, working directory, standard streams and terminal. Nothing else in the
//! crate reads them from the process, so that tests can provide their own.

#![expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the environment, clock and working directory"
)]

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ColorChoice;
use jiff::Timestamp;

use super::args::ParallelArgs;
use super::events_file::EventsFile;
use super::exit::Exit;
use super::global::GlobalOptions;
use super::panics::install_hook;
use super::progress::{ProgressDisplay, ProgressMode, ProgressOptions};
use crate::cluster::interrupt::Interrupt;
use crate::cluster::settings::{ConnectionSettings, DEFAULT_MAX_RESPONSE, Timeouts};
use crate::files::InputFiles;
use crate::ops::{CommandError, DEFAULT_PARALLEL, Observer, OpsContext};
use crate::render::style::TextStyle;
use crate::render::terminal_text::TerminalText;

/// Which of the standard streams are a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminals {
    /// If true, commands can ask for confirmation.
    pub stdin: bool,
    /// If true, output can be wrapped and colored.
    pub stdout: bool,
    /// If true, progress and diagnostics can be colored.
    pub stderr: bool,
}

/// The environment of one command.
pub struct Env {
    /// The current time, fixed for the whole command.
    pub now: Timestamp,
    /// Returns the time at which a command ends.
    pub clock: fn() -> Timestamp,
    /// The environment variables, without those that are not Unicode.
    pub vars: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Standard input: answers to prompts, or a snapshot.
    pub stdin: Box<dyn BufRead>,
    /// Standard output: the result.
    pub stdout: Box<dyn Write>,
    /// Standard error: progress and diagnostics. Use cases report to it from other threads.
    stderr: ProgressDisplay,
    /// The file of `--events`.
    events: Option<EventsFile>,
    /// Which of the streams are a terminal.
    pub terminals: Terminals,
    /// The width of the terminal, if stdout is one.
    pub width: Option<usize>,
    options: GlobalOptions,
    connection: ConnectionSettings,
    interrupt: Interrupt,
    receives_signals: bool,
    /// The files that the command has read.
    pub(crate) inputs: InputFiles,
    /// The text that was read for `--snapshot -`.
    stdin_text: Option<Arc<str>>,
    stdout_error: Option<io::Error>,
}

impl Env {
    /// Returns an environment with the given parts.
    pub fn new(
        now: Timestamp,
        vars: BTreeMap<String, String>,
        cwd: PathBuf,
        stdio: Stdio,
        terminals: Terminals,
    ) -> Self {
        let Stdio { stdin, stdout, stderr } = stdio;
        Self {
            now,
            clock: Timestamp::now,
            vars,
            cwd,
            stdin,
            stdout,
            stderr: ProgressDisplay::new(stderr),
            events: None,
            terminals,
            width: None,
            options: GlobalOptions::default(),
            connection: ConnectionSettings::default(),
            interrupt: Interrupt::default(),
            receives_signals: false,
            inputs: InputFiles::default(),
            stdin_text: None,
            stdout_error: None,
        }
    }

    /// Returns the environment of the process.
    pub fn from_process() -> Self {
        install_hook();
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        let stdio = Stdio {
            stdin: Box::new(io::BufReader::new(io::stdin())),
            // The commands decide about colors. anstream only translates them on Windows.
            stdout: Box::new(io::BufWriter::new(anstream::AutoStream::always(io::stdout()))),
            stderr: Box::new(anstream::AutoStream::always(io::stderr())),
        };
        let cwd = std::env::current_dir().unwrap_or_default();
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self { width, receives_signals: true, ..Self::new(Timestamp::now(), vars, cwd, stdio, terminals) }
    }

    /// Sets the global options.
    pub(crate) fn set_options(&mut self, options: GlobalOptions) {
        let GlobalOptions { color: _, verbose, quiet, timeout, request_timeout, max_response, events: _ } = options;
        self.connection = ConnectionSettings::new(
            Timeouts::from_flags(request_timeout, timeout),
            max_response.unwrap_or(DEFAULT_MAX_RESPONSE),
            self.interrupt.clone(),
            self.inputs.clone(),
        );
        self.options = options;
        let is_terminal = self.terminals.stderr && self.vars.get("TERM").is_none_or(|term| term != "dumb");
        let mode = match (quiet, is_terminal) {
            (true, _) => ProgressMode::Off,
            (false, true) => ProgressMode::Bars,
            (false, false) => ProgressMode::Lines,
        };
        let style = self.stderr_style();
        self.stderr.set_options(ProgressOptions { mode, style, is_quiet: quiet, is_verbose: verbose });
    }

    /// Opens the file of `--events`.
    ///
    /// # Errors
    /// If it cannot be written, or is another file.
    pub(crate) fn open_events(&mut self, command: &'static str) -> Result<(), CommandError> {
        if let Some(path) = self.options.events.clone() {
            self.events = Some(EventsFile::open(&path, command, self)?);
        }
        Ok(())
    }

    /// Checks that the file of `--events` has all events so far.
    ///
    /// # Errors
    /// If it has not. Then no write is made, which the file would not have either.
    pub(crate) fn ensure_events_recorded(&mut self) -> Result<(), CommandError> {
        match self.events.as_ref().and_then(EventsFile::failure) {
            None => Ok(()),
            Some(error) => {
                // The error is reported once.
                self.events = None;
                Err(error)
            }
        }
    }

    /// Ends the progress and the file of `--events`. Returns why not all events were recorded.
    pub(crate) fn finish_events(&mut self, exit: Exit) -> Option<CommandError> {
        self.stderr.finish();
        self.events.take().and_then(|events| events.finish(exit))
    }

    /// Writes a document to stdout byte for byte: JSON, YAML or a schema, which have their own escapes.
    pub(crate) fn print_data(&mut self, text: &str) {
        if let Err(error) = self.stdout.write_all(text.as_bytes()) {
            self.stdout_error.get_or_insert(error);
        }
    }

    /// Writes one line to stdout. Line breaks in it are escaped, except one at its end. An error is kept for
    /// [`Self::flush`].
    pub(crate) fn print(&mut self, line: &str) {
        self.print_text(&one_line(line));
    }

    /// Writes text to stdout, wrapped to the width of the terminal.
    pub(crate) fn print_text(&mut self, text: &TerminalText) {
        let style = self.stdout_style();
        match self.out_width() {
            Some(width) => self.print_data(&text.wrapped(width).to_output(style)),
            None => self.print_data(&text.to_output(style)),
        }
    }

    /// Writes a line of progress, a note or a warning to stderr; nothing with `--quiet`.
    pub(crate) fn note(&mut self, line: &str) {
        self.note_text(&one_line(line));
    }

    /// Writes progress, notes or warnings to stderr; nothing with `--quiet`.
    pub(crate) fn note_text(&mut self, text: &TerminalText) {
        if !self.options.quiet {
            self.eprint_text(text);
        }
    }

    /// Returns whether `--quiet` was given.
    pub(crate) fn is_quiet(&self) -> bool {
        self.options.quiet
    }

    /// Writes one line to stderr, also with `--quiet`.
    pub(crate) fn eprint(&mut self, line: &str) {
        self.eprint_text(&one_line(line));
    }

    /// Writes to stderr, also with `--quiet`.
    pub(crate) fn eprint_text(&mut self, text: &TerminalText) {
        let flushed = self.stdout.flush();
        self.stderr.write(text);
        if let Err(error) = flushed {
            self.stdout_error.get_or_insert(error);
        }
    }

    /// Flushes stdout, and returns the first error of writing to it. A closed pipe is not an error, so that `rolecall plan |
    /// head` succeeds.
    pub(crate) fn flush(&mut self) -> Option<io::Error> {
        if let Err(error) = self.stdout.flush() {
            self.stdout_error.get_or_insert(error);
        }
        self.stdout_error.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Asks a question on stderr, and returns the trimmed answer. It is empty if stdin cannot be read.
    pub(crate) fn prompt(&mut self, question: &str) -> String {
        self.eprint_text(&TerminalText::from_prompt(question));
        let mut line = String::new();
        match self.stdin.read_line(&mut line) {
            Ok(_) => line.trim().to_owned(),
            Err(_) => String::new(),
        }
    }

    /// Asks for a secret at the terminal, which does not show what is typed.
    pub(crate) fn prompt_secret(&mut self, question: &str) -> String {
        let echo = HiddenInput::new();
        let secret = self.prompt(question);
        if echo.is_some() {
            self.eprint("\n");
        }
        secret
    }

    /// Reads stdin to its end, for `--snapshot -`.
    pub(crate) fn read_stdin(&mut self) -> io::Result<()> {
        let mut text = String::new();
        io::Read::read_to_string(&mut self.stdin, &mut text)?;
        self.stdin_text = Some(text.into());
        Ok(())
    }

    /// Like [`Self::ops_context`], with the value of `--parallel`.
    pub(crate) fn parallel_context(&mut self, args: &ParallelArgs) -> OpsContext {
        OpsContext { parallel: args.parallel, ..self.ops_context() }
    }

    /// Returns what a use case needs. Its events are printed on stderr.
    pub(crate) fn ops_context(&mut self) -> OpsContext {
        // What was printed before comes first.
        if let Err(error) = self.stdout.flush() {
            self.stdout_error.get_or_insert(error);
        }
        OpsContext {
            now: self.now,
            vars: self.vars.clone(),
            cwd: self.cwd.clone(),
            connection: self.connection.clone(),
            stdin_text: self.stdin_text.clone(),
            observer: self.observer(),
            parallel: DEFAULT_PARALLEL,
        }
    }

    fn observer(&self) -> Observer {
        let (stderr, events) = (self.stderr.clone(), self.events.clone());
        Observer::new(move |event| {
            if let Some(events) = &events {
                events.record(event);
            }
            stderr.receive(event);
        })
    }

    /// Returns whether the command handles the signals of the process. Tests run several commands in one process.
    pub(crate) fn receives_signals(&self) -> bool {
        self.receives_signals
    }

    /// Returns what stops the command after a signal.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Returns stderr, for the thread that receives signals.
    pub(super) fn stderr(&self) -> ProgressDisplay {
        self.stderr.clone()
    }

    /// Returns the width to which output is wrapped, or `None` if it is not wrapped. As in git and ls, the variable
    /// COLUMNS takes precedence over the width of the terminal.
    pub(crate) fn out_width(&self) -> Option<usize> {
        let columns = self.vars.get("COLUMNS").and_then(|text| text.trim().parse().ok()).filter(|columns| *columns > 0);
        columns.or(self.width.filter(|_| self.terminals.stdout))
    }

    /// Decides about colors: by `--color`, and for `auto` by the variables that anstream reads, in its order.
    fn style_for(&self, is_terminal: bool) -> TextStyle {
        match self.options.color {
            ColorChoice::Always => return TextStyle::Color,
            ColorChoice::Never => return TextStyle::Plain,
            ColorChoice::Auto => {}
        }
        let value = |name: &str| self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let is_forced_by = |name: &str| value(name).is_some_and(|value| value != "0" && value != "false");
        if value("NO_COLOR").is_some() {
            return TextStyle::Plain;
        }
        if is_forced_by("CLICOLOR_FORCE") || is_forced_by("FORCE_COLOR") {
            return TextStyle::Color;
        }
        let is_off = value("CLICOLOR") == Some("0") || value("FORCE_COLOR").is_some() || value("TERM") == Some("dumb");
        if is_terminal && !is_off { TextStyle::Color } else { TextStyle::Plain }
    }

    pub(crate) fn stdout_style(&self) -> TextStyle {
        self.style_for(self.terminals.stdout)
    }

    pub(crate) fn stderr_style(&self) -> TextStyle {
        self.style_for(self.terminals.stderr)
    }
}

/// Returns the text as one line. A newline at its end is the end of that line.
pub(super) fn one_line(line: &str) -> TerminalText {
    TerminalText::from_line(line.strip_suffix('\n').unwrap_or(line))
}

/// The standard streams.
pub struct Stdio {
    /// Standard input: answers to prompts, or a snapshot.
    pub stdin: Box<dyn BufRead>,
    /// Standard output: the result.
    pub stdout: Box<dyn Write>,
    /// Standard error: progress and diagnostics. Requests report to it from other threads.
    pub stderr: Box<dyn Write + Send>,
}

/// While it exists, the terminal does not show what is typed.
struct HiddenInput {
    #[cfg(unix)]
    saved: rustix::termios::Termios,
}

impl HiddenInput {
    /// Returns `None` if stdin is not a terminal.
    #[cfg(unix)]
    fn new() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let saved = rustix::termios::tcgetattr(stdin).ok()?;
        let mut hidden = saved.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(stdin, rustix::termios::OptionalActions::Flush, &hidden).ok()?;
        Some(Self { saved })
    }

    #[cfg(not(unix))]
    fn new() -> Option<Self> {
        None
    }
}

#[cfg(unix)]
impl Drop for HiddenInput {
    fn drop(&mut self) {
        // There is nothing to do if the terminal is gone.
        let _ =
            rustix::termios::tcsetattr(rustix::stdio::stdin(), rustix::termios::OptionalActions::Flush, &self.saved);
    }
}
