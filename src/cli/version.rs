//! `rolecall version`: prints the same as `rolecall --version`.

use super::env::Env;
use super::exit::Exit;

pub(crate) fn run(env: &mut Env) -> Exit {
    env.print(concat!("rolecall ", env!("CARGO_PKG_VERSION"), "\n"));
    Exit::Success
}
