//! `rolecall version`: the same as `rolecall --version`.

use super::env::Env;
use super::exit::Exit;

pub(crate) fn run(world: &mut Env) -> Exit {
    world.print(concat!("rolecall ", env!("CARGO_PKG_VERSION"), "\n"));
    Exit::Success
}
