//! The command line: arguments in, an exit code out. The only room that knows people, files and the terminal at once.

mod access;
mod apply;
mod apply_report;
mod apply_run;
mod args;
mod backup;
#[cfg(feature = "measure")]
pub mod bench;
mod can;
mod cluster_plan;
mod command_error;
mod command_line;
mod completions;
mod drift;
mod env;
mod exit;
mod global;
mod guards;
mod missing_permissions;
mod permissions;
mod plan;
mod policy_files;
mod question;
#[cfg(test)]
mod reference;
mod refusals;
mod restore;
mod saved_plan;
mod schema;
mod snapshot;
mod target;
mod validate;
mod version;
mod who_can;
mod whoami;

use clap::error::ErrorKind;
use std::ffi::OsString;

pub use env::{Env, Stdio, Terminals};
pub use exit::Exit;

use crate::diagnostic::Diagnostic;
use crate::render::diagnostics;
use crate::render::style::TextStyle;
use crate::report::{DiagnosticsDocument, to_text};
use args::{Command, OutputFormat};
use command_error::CommandError;
use global::GlobalOptions;

/// Runs one command in the world that is given.
pub fn run(args: impl IntoIterator<Item = OsString>, world: &mut Env) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let color = command_line::color_in(&args).unwrap_or_default();
    world.set_options(GlobalOptions { color, ..GlobalOptions::default() });
    let typed = match command_line::parse(&args, world) {
        Ok(typed) => typed,
        Err(error) => return print_usage(&error, world),
    };
    world.set_options(typed.global);
    let format = typed.command.format();
    if let Err(failure) = target::read_stdin(&typed.command.snapshots(), world) {
        print_error(&failure, format, world);
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            world.eprint(&format!("error: no thread can be started: {error}\n"));
            return Exit::Failed;
        }
    };
    let end = runtime.block_on(dispatch(typed.command, world));
    // A credentials plugin that hangs must not hold up the end.
    runtime.shutdown_background();
    let exit = end.unwrap_or_else(|failure| {
        print_error(&failure, format, world);
        if failure.is_refusal { Exit::Refused } else { Exit::Failed }
    });
    match world.flush() {
        Some(error) => {
            world.eprint(&format!("error: the result cannot be written: {error}\n"));
            Exit::Failed
        }
        None => exit,
    }
}

async fn dispatch(command: Command, world: &mut Env) -> Result<Exit, CommandError> {
    match command {
        Command::Plan(args) => plan::run(&args, world).await,
        Command::Apply(args) => apply::run(&args, world).await,
        Command::Restore(args) => restore::run(&args, world).await,
        Command::Drift(args) => drift::run(&args, world).await,
        Command::Validate(args) => validate::run(&args, world),
        Command::Snapshot(args) => snapshot::run(&args, world).await,
        Command::Whoami(args) => whoami::run(&args, world).await,
        Command::Permissions(args) => permissions::run(&args, world).await,
        Command::Can(args) => can::run(&args, world).await,
        Command::WhoCan(args) => who_can::run(&args, world).await,
        Command::Access(args) => access::run(&args, world).await,
        Command::Schema(args) => Ok(schema::run(&args, world)),
        Command::Completions(args) => Ok(completions::run(&args, world)),
        Command::Version(_) => Ok(version::run(world)),
    }
}

/// Help and version are a result; wrong usage is an error, and 2 would mean changes.
fn print_usage(error: &clap::Error, world: &mut Env) -> Exit {
    let text = |style: TextStyle| match style {
        TextStyle::Plain => error.render().to_string(),
        TextStyle::Color => error.render().ansi().to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = text(world.stdout_style());
            world.print(text.trim_end());
            world.print("\n");
            match world.flush() {
                Some(_) => Exit::Failed,
                None => Exit::Success,
            }
        }
        _ => {
            world.eprint(&text(world.stderr_style()));
            Exit::Failed
        }
    }
}

/// Faults on stderr; as JSON also on stdout, where a program waits for a document.
fn print_error(failure: &CommandError, format: OutputFormat, world: &mut Env) {
    let text = diagnostics::render_diagnostics(&failure.diagnostics, &failure.sources, world.stderr_style());
    let errors = failure.diagnostics.iter().filter(|one| one.is_error()).count();
    world.eprint(&text);
    if errors > 1 {
        world.eprint(&format!("{errors} errors\n"));
    }
    if format == OutputFormat::Json {
        match to_text(&DiagnosticsDocument::new(&failure.diagnostics, &failure.sources)) {
            Ok(text) => world.print(&text),
            Err(error) => world.eprint(&format!("error: {error}\n")),
        }
    }
}

fn print_json(document: &impl serde::Serialize, world: &mut Env) -> Result<(), CommandError> {
    world.print(&to_text(document)?);
    Ok(())
}

/// Writes a file whole or not at all.
#[expect(clippy::disallowed_methods, reason = "results go to files here")]
fn write_file_atomically(path: &std::path::Path, text: &str, world: &Env) -> Result<(), CommandError> {
    let at = world.cwd.join(path);
    let mut beside = at.clone().into_os_string();
    beside.push(".new");
    std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &at)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        let error = Diagnostic::error(format!("{} cannot be written: {error}", path.display()));
        CommandError::from_diagnostic(error.with_help("see that the folder exists and may be written"))
    })
}

/// Writes a new file that its owner alone may read.
fn create_private_file(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
