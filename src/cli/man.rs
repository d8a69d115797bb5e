//! `rolecall man`: generated from the same arguments as the help.

use std::path::PathBuf;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::{CommandLine, ManArgs};
use super::env::Env;
use super::exit::Exit;
use super::write_output;
use crate::diagnostic::{Diagnostic, InternalError};
use crate::files::{OutputKind, is_stdout};
use crate::ops::CommandError;

pub(crate) fn run(args: &ManArgs, env: &mut Env) -> Result<Exit, CommandError> {
    if is_stdout(&args.directory) {
        let error = Diagnostic::error("man pages are several files, which cannot be written to stdout");
        return Err(CommandError::from_diagnostic(error.with_help("name a directory")));
    }
    let pages = man_pages()?;
    for (name, page) in &pages {
        write_output(&args.directory.join(name), page, OutputKind::ManPage, env)?;
    }
    env.note(&format!("{} man pages written to {}\n", pages.len(), args.directory.display()));
    Ok(Exit::Success)
}

/// Returns the name and the text of the page of the program and of each command.
pub(super) fn man_pages() -> Result<Vec<(PathBuf, String)>, InternalError> {
    let mut root = CommandLine::command().disable_help_subcommand(true);
    root.build();
    let commands: Vec<Command> = root.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    std::iter::once(root).chain(commands).map(man_page).collect()
}

fn man_page(command: Command) -> Result<(PathBuf, String), InternalError> {
    let man = Man::new(command);
    let name = PathBuf::from(man.get_filename());
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| InternalError::new(format!("cannot write a man page: {error}")))?;
    let page =
        String::from_utf8(page).map_err(|error| InternalError::new(format!("a man page is not UTF-8: {error}")))?;
    Ok((name, page))
}
