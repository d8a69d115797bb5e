//! The command line: arguments in, an exit code out. The only room that knows people, files and the terminal at once.

mod access;
mod apply;
mod args;
mod asked;
mod backup;
mod can;
mod carrying;
mod completions;
mod drift;
mod exit;
mod failure;
mod guarded;
mod lacking;
#[cfg(feature = "measure")]
pub mod measured;
mod permissions;
mod plan;
mod planned;
mod policy_files;
mod refused;
mod restore;
mod saved;
mod schema;
mod snapshot;
mod stopped;
mod target;
mod validate;
mod who_can;
mod whoami;
mod world;

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind;

pub use exit::Exit;
pub use world::{Ends, Terminals, World};

use crate::diagnostic::Diagnostic;
use crate::render::{faults, json};
use args::{Command, CommandLine, Format};
use failure::Failure;

/// Runs one command in the world that is given.
pub fn run(args: impl IntoIterator<Item = OsString>, world: &mut World) -> Exit {
    let typed = match CommandLine::try_parse_from(args) {
        Ok(typed) => typed,
        Err(error) => return usage(&error, world),
    };
    let format = typed.command.format();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            world.say(&format!("error: no thread can be started: {error}\n"));
            return Exit::Failed;
        }
    };
    let end = runtime.block_on(dispatch(typed.command, world));
    // A credentials plugin that hangs must not hold up the end.
    runtime.shutdown_background();
    let exit = end.unwrap_or_else(|failure| {
        report(&failure, format, world);
        if failure.refused { Exit::Refused } else { Exit::Failed }
    });
    match world.finish() {
        Some(error) => {
            world.say(&format!("error: the result cannot be written: {error}\n"));
            Exit::Failed
        }
        None => exit,
    }
}

async fn dispatch(command: Command, world: &mut World) -> Result<Exit, Failure> {
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
    }
}

/// Help and version are a result; wrong usage is an error, and 2 would mean changes.
fn usage(error: &clap::Error, world: &mut World) -> Exit {
    let styled = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            world.print(&styled.to_string());
            match world.finish() {
                Some(_) => Exit::Failed,
                None => Exit::Done,
            }
        }
        _ => {
            world.say(&styled.to_string());
            Exit::Failed
        }
    }
}

/// Faults on stderr; as JSON also on stdout, where a program waits for a document.
fn report(failure: &Failure, format: Format, world: &mut World) {
    let text = faults::render(&failure.found, &failure.sources, world.err_style());
    let errors = failure.found.iter().filter(|one| one.is_error()).count();
    world.say(&text);
    if errors > 1 {
        world.say(&format!("{errors} errors\n"));
    }
    if format == Format::Json {
        print_json(&json::faults(&failure.found, &failure.sources), world);
    }
}

fn print_json(value: &serde_json::Value, world: &mut World) {
    world.print(&format!("{value:#}\n"));
}

/// Writes a file whole or not at all.
#[expect(clippy::disallowed_methods, reason = "results go to files here")]
fn write_file(path: &std::path::Path, text: &str, world: &World) -> Result<(), Failure> {
    let at = world.cwd.join(path);
    let mut beside = at.clone().into_os_string();
    beside.push(".new");
    std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &at)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        let error = Diagnostic::error(format!("{} cannot be written: {error}", path.display()));
        Failure::of(error.hint("see that the folder exists and may be written"))
    })
}

/// Writes a new file that its owner alone may read.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
