//! The commands: from arguments to output and an exit code. Only this module and `cluster` may use files, the clock, the
//! terminal and the environment, which [`Env`] contains.

mod access;
mod apply;
mod apply_report;
mod args;
#[cfg(feature = "measure")]
pub mod bench;
mod can;
mod check_args;
mod clusters;
mod command_line;
mod comment;
mod completions;
mod document_args;
mod drift;
mod drift_metrics;
mod eks_args;
mod env;
mod event_record;
mod event_text;
mod events_file;
mod exit;
mod explain;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod global;
mod graph;
mod guards;
mod help;
#[cfg(test)]
mod internal_error_tests;
mod man;
mod migrate;
mod migrate_args;
mod panics;
mod permissions;
mod plan;
mod plan_output;
mod plan_signature;
mod policy_files;
mod progress;
mod progress_bars;
mod progress_state;
mod question;
mod question_args;
#[cfg(test)]
mod reference;
mod refusals;
mod report;
mod report_args;
mod restore;
mod saved_plan;
mod schema;
mod show;
mod signals;
mod snapshot;
mod target;
mod test_run;
mod validate;
mod version;
mod who_can;
mod whoami;

use clap::error::ErrorKind;
use std::ffi::OsString;

pub use env::{Env, Stdio, Terminals};
pub use exit::Exit;
#[cfg(test)]
pub(crate) use internal_error_tests::run_in;

use crate::diagnostic::{Diagnostic, InternalError, escape_text};
use crate::files::{self, OutputKind, is_stdout};
use crate::ops::CommandError;
use crate::render::diagnostics::render_diagnostics;
use crate::render::style::TextStyle;
use crate::render::terminal_text::TerminalText;
use crate::report::{DiagnosticsDocument, to_text};
use args::{Command, OutputFormat};
use global::GlobalOptions;
use panics::catch_panic;

/// Runs one command in the given environment.
pub fn run(args: impl IntoIterator<Item = OsString>, env: &mut Env) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let color = command_line::color_in(&args).unwrap_or_default();
    env.set_options(GlobalOptions { color, ..GlobalOptions::default() });
    let command_line = match command_line::parse(&args, env) {
        Ok(command_line) => command_line,
        Err(error) => {
            // A script can pass names of others as arguments, and clap prints arguments as they are.
            let escaped: Vec<OsString> = args.iter().map(|arg| escape_text(&arg.to_string_lossy()).into()).collect();
            let error = command_line::parse(&escaped, env).err().unwrap_or(error);
            return print_usage(&error, &args, env);
        }
    };
    env.set_options(command_line.global);
    let format = command_line.command.format();
    if let Err(error) = target::read_stdin(&command_line.command.snapshots(), env) {
        print_error(&error, format, env);
        return failure_exit(&args);
    }
    if let Err(error) = env.open_events(command_line.command.name()) {
        print_error(&error, format, env);
        return failure_exit(&args);
    }
    if env.receives_signals()
        && let Err(error) = signals::listen(env.interrupt().clone(), env.stderr())
    {
        env.eprint(&format!("error: cannot receive signals: {error}\n"));
        return failure_exit(&args);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            env.eprint(&format!("error: cannot start threads: {error}\n"));
            return failure_exit(&args);
        }
    };
    let result = catch_panic(|| runtime.block_on(dispatch(command_line.command, env)));
    // A credential plugin can still run, if the command did not wait for it.
    env.interrupt().kill_children();
    // Does not wait for a thread that reads a pipe.
    runtime.shutdown_background();
    let exit = result.unwrap_or_else(|error| {
        print_error(&error, format, env);
        if error.is_refusal { Exit::Refused } else { failure_exit(&args) }
    });
    if let Some(error) = env.finish_events(exit) {
        print_error(&error, format, env);
        return failure_exit(&args);
    }
    match env.flush() {
        Some(error) => {
            env.eprint(&format!("error: cannot write the output: {error}\n"));
            failure_exit(&args)
        }
        None => exit,
    }
}

/// Returns the exit code of an error. The exit code 1 of `can` is the answer no, so an error of a question has another.
fn failure_exit(args: &[OsString]) -> Exit {
    let is_flag = |word: &&OsString| word.to_str().is_some_and(|word| word.starts_with('-'));
    // The value of a global flag can be in front of the command.
    let mut first_words = args.iter().skip(1).filter(|word| !is_flag(word)).take(2);
    let is_question = first_words.any(|word| word == "can" || word == "who-can");
    if is_question { Exit::NotAnswered } else { Exit::Failed }
}

/// The futures are boxed: that of an apply would be on the stack of every command.
async fn dispatch(command: Command, env: &mut Env) -> Result<Exit, CommandError> {
    match command {
        Command::Plan(args) => plan::run(&args, env),
        Command::Apply(args) => Box::pin(apply::run(&args, env)).await,
        Command::Restore(args) => Box::pin(restore::run(&args, env)).await,
        Command::Migrate(args) => Box::pin(migrate::run(&args, env)).await,
        Command::Drift(args) => drift::run(&args, env),
        Command::Show(args) => show::run(&args, env),
        Command::Comment(args) => Box::pin(comment::run(&args, env)).await,
        Command::Validate(args) => validate::run(&args, env),
        Command::Test(args) => test_run::run(&args, env),
        Command::Snapshot(args) => Box::pin(snapshot::run(&args, env)).await,
        Command::Whoami(args) => whoami::run(&args, env),
        Command::Clusters(args) => clusters::run(&args, env),
        Command::Permissions(args) => Box::pin(permissions::run(&args, env)).await,
        Command::Can(args) => can::run(&args, env),
        Command::WhoCan(args) => who_can::run(&args, env),
        Command::Access(args) => access::run(&args, env),
        Command::Explain(args) => explain::run(&args, env),
        Command::Report(args) => report::run(&args, env),
        Command::Graph(args) => graph::run(&args, env),
        Command::Schema(args) => Ok(schema::run(&args, env)),
        Command::Completions(args) => Ok(completions::run(&args, env)),
        Command::Man(args) => man::run(&args, env),
        Command::Version(_) => Ok(version::run(env)),
    }
}

/// Prints the help or the version to stdout, and wrong usage to stderr. clap's exit code for wrong usage is 2, which means
/// changes here, so it is `failure`.
fn print_usage(error: &clap::Error, args: &[OsString], env: &mut Env) -> Exit {
    let text = |style: TextStyle| match style {
        TextStyle::Plain => error.render().to_string(),
        TextStyle::Color => error.render().ansi().to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = text(env.stdout_style());
            env.print_data(&(text.trim_end().to_owned() + "\n"));
            match env.flush() {
                Some(_) => Exit::Failed,
                None => Exit::Success,
            }
        }
        _ => {
            env.eprint_text(&TerminalText::from_rendered_lines(&text(env.stderr_style())));
            failure_exit(args)
        }
    }
}

/// Prints an error on stderr, and with `-o json` also as a document on stdout.
fn print_error(error: &CommandError, format: OutputFormat, env: &mut Env) {
    let CommandError { diagnostics, sources, is_refusal: _, is_lost_race: _ } = error;
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    env.eprint_text(&render_diagnostics(diagnostics, sources, env.stderr_style()));
    if errors > 1 {
        env.eprint(&format!("{errors} errors\n"));
    }
    if format == OutputFormat::Json {
        match to_text(&DiagnosticsDocument::new(diagnostics, sources)) {
            Ok(text) => env.print_data(&text),
            Err(error) => {
                let error = Diagnostic::from(InternalError::from(error));
                env.eprint_text(&render_diagnostics(&[error], sources, env.stderr_style()));
            }
        }
    }
}

fn print_json(document: &impl serde::Serialize, env: &mut Env) -> Result<(), CommandError> {
    env.print_data(&to_text(document)?);
    Ok(())
}

/// Writes the result of a command to a file, or to stdout for `-`.
fn write_output(path: &std::path::Path, text: &str, kind: OutputKind, env: &mut Env) -> Result<(), CommandError> {
    if is_stdout(path) {
        env.print_data(text);
        return Ok(());
    }
    files::write_output(&env.cwd.join(path), text, kind, &env.inputs).map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot write {}: {error}", path.display()));
        CommandError::from_diagnostic(diagnostic.with_help(error.help()))
    })
}
