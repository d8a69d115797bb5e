//! `rolecall completions`: generated from the same arguments as the help.

use clap::CommandFactory as _;

use super::args::{CommandLine, CompletionsArgs};
use super::env::Env;
use super::exit::Exit;

pub(crate) fn run(args: &CompletionsArgs, env: &mut Env) -> Exit {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "rolecall", &mut out);
    env.print_data(&String::from_utf8_lossy(&out));
    Exit::Success
}
