//! `rolecall completions`, made from the same list of arguments as the help.

use clap::CommandFactory as _;

use super::args::{CommandLine, Completions};
use super::exit::Exit;
use super::world::World;

pub(crate) fn run(args: &Completions, world: &mut World) -> Exit {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "rolecall", &mut out);
    world.print(&String::from_utf8_lossy(&out));
    Exit::Done
}
