//! Runs a child process with a timeout. Neither the child nor processes that it leaves in the background can block the
//! command.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::settings::DELAY_NOTICE;

/// The interval at which the state of the child is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The maximum wait for the rest of the output after the child has exited. A background process that the child started,
/// such as an agent, can keep the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The exit status and the output of a child.
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a command and reads those of its stdout and stderr that are piped. On a timeout it is killed, with its process
/// group if `leads_group`, and the result is `None`.
///
/// `on_delay` is called once if the command takes longer than [`DELAY_NOTICE`].
///
/// # Errors
/// If the command cannot be started.
pub(super) fn run_with_timeout(
    command: &mut Command,
    timeout: Duration,
    leads_group: bool,
    on_delay: impl FnOnce(),
) -> io::Result<Option<Finished>> {
    #[cfg(unix)]
    if leads_group {
        std::os::unix::process::CommandExt::process_group(command, 0);
    }
    let started = Instant::now();
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(Output::collect);
    let stderr = child.stderr.take().map(Output::collect);
    let mut on_delay = Some(on_delay);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= timeout {
            kill(&mut child, leads_group);
            return Ok(None);
        }
        if started.elapsed() >= DELAY_NOTICE
            && let Some(on_delay) = on_delay.take()
        {
            on_delay();
        }
        thread::sleep(POLL_INTERVAL);
    };
    let deadline = Instant::now() + OUTPUT_GRACE;
    let read = |output: Option<Output>| output.map(|output| output.until(deadline)).unwrap_or_default();
    Ok(Some(Finished { status, stdout: read(stdout), stderr: read(stderr) }))
}

/// Kills the child. Errors are ignored, since the command fails with the timeout in any case.
fn kill(child: &mut Child, leads_group: bool) {
    #[cfg(unix)]
    if leads_group {
        let _ =
            rustix::process::kill_process_group(rustix::process::Pid::from_child(child), rustix::process::Signal::KILL);
    }
    #[cfg(not(unix))]
    let _ = leads_group;
    let _ = child.kill();
    let _ = child.wait();
}

/// The output of a pipe, as far as it has been read.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    /// Reads the pipe in a thread of its own. If the pipe stays open, the thread lives until the program exits.
    fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = sync_channel(1);
        let thread_bytes = bytes.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                let read = buffer.get(..length).unwrap_or_default();
                thread_bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
            }
            let _ = end.send(());
        });
        Self { bytes, ended }
    }

    /// Returns the bytes that were read until the pipe was closed, or until the deadline.
    fn until(self, deadline: Instant) -> Vec<u8> {
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "reads the state of a killed process from /proc")]
#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn run(script: &str, timeout: Duration) -> (Option<Finished>, bool, Duration) {
        let mut delayed = false;
        let started = Instant::now();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let finished = run_with_timeout(&mut command, timeout, true, || delayed = true).unwrap();
        (finished, delayed, started.elapsed())
    }

    #[test]
    fn output_and_status_of_the_child_are_returned() {
        let (finished, delayed, _) = run("echo out; echo err >&2; exit 3", Duration::from_mins(1));
        let finished = finished.unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_slice(), finished.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert!(!delayed);
    }

    #[test]
    fn child_is_killed_with_its_children_on_timeout() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", file.display());
        let (finished, delayed, took) = run(&script, Duration::from_millis(1500));
        assert!(finished.is_none() && delayed && took < Duration::from_mins(1));
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // A killed process is a zombie until its new parent waits for it.
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            state.is_ok_and(|state| state.contains(") Z ")) || rustix::process::test_kill_process(pid).is_err()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_gone() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        assert!(is_gone());
    }

    #[test]
    fn background_process_with_open_pipe_does_not_block() {
        let (finished, _, took) = run("sleep 20 & echo out", Duration::from_mins(1));
        assert_eq!(finished.unwrap().stdout, b"out\n");
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
