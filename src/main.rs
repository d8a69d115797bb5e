//! The binary: the real world in, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut world = rolecall::World::real();
    rolecall::run(std::env::args_os(), &mut world).into()
}
