//! Receives SIGINT and SIGTERM in a thread of its own, so that a command that reads a file, waits for an answer or
//! computes ends too.

use std::io;

use super::env::one_line;
use super::progress::ProgressDisplay;
use crate::cluster::interrupt::{Interrupt, SignalResponse};

const STOP_NOTE: &str =
    "\nStopping after the current write. Press Ctrl-C or send the signal again to exit at once, without a report.\n";

/// Starts the thread.
///
/// # Errors
/// If the thread or the handlers cannot be set up.
#[cfg(unix)]
pub(super) fn listen(interrupt: Interrupt, stderr: ProgressDisplay) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let receive = async move {
        loop {
            let number = tokio::select! {
                Some(()) = interrupts.recv() => SignalKind::interrupt().as_raw_value(),
                Some(()) = terminations.recv() => SignalKind::terminate().as_raw_value(),
                else => return,
            };
            match interrupt.receive_signal() {
                SignalResponse::StopAfterWrite => stderr.write(&one_line(STOP_NOTE)),
                SignalResponse::ExitNow => {
                    interrupt.kill_children();
                    stderr.try_finish();
                    exit_now(number);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(receive))?;
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn listen(_interrupt: Interrupt, _stderr: ProgressDisplay) -> io::Result<()> {
    Ok(())
}

/// Exits with the code that a shell reports for a process that a signal has ended.
#[cfg(unix)]
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the main thread can be blocked, for example by a read of stdin, and cannot return an Exit"
)]
fn exit_now(signal: i32) -> ! {
    std::process::exit(128 + signal)
}
