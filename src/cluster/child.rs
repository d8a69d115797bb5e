//! Runs a child process with a timeout. Neither the child nor processes that it leaves in the background can block the
//! command.

use std::io::{self, Read};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;

/// The interval at which the state of the child is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The maximum wait for the rest of the output after the child has exited. A background process that the child started,
/// such as an agent, can keep the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// The maximum number of bytes that are kept of each output. Credentials have a few kilobytes.
const MAX_OUTPUT: usize = 1 << 20;

/// The depth to which the children of a plugin are looked for.
const MAX_GENERATIONS: usize = 64;

/// The exit status and the output of a child.
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a command and reads those of its stdout and stderr that are piped. On a timeout it is killed with all processes
/// that it has started, and the result is `None`. If this process ends before, `interrupt` kills them.
///
/// # Errors
/// If the command cannot be started.
pub(super) fn run_with_timeout(
    command: &mut Command,
    timeout: Duration,
    leads_group: bool,
    interrupt: &Interrupt,
) -> io::Result<Option<Finished>> {
    #[cfg(unix)]
    if leads_group {
        std::os::unix::process::CommandExt::process_group(command, 0);
    }
    let started = Instant::now();
    let mut child = command.spawn()?;
    let running = interrupt.add_child(child.id(), leads_group);
    let stdout = child.stdout.take().map(Output::collect);
    let stderr = child.stderr.take().map(Output::collect);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= timeout {
            kill_process_tree(child.id(), leads_group);
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    };
    drop(running);
    let deadline = Instant::now() + OUTPUT_GRACE;
    let read = |output: Option<Output>| output.map(|output| output.until(deadline)).unwrap_or_default();
    Ok(Some(Finished { status, stdout: read(stdout), stderr: read(stderr) }))
}

/// Kills a process with its descendants, and its process group if it leads one. Errors are ignored, since the command
/// ends in any case.
///
/// A plugin that can use the terminal has to be in the process group of this process, which must not be killed, and the
/// children of any plugin can have a group of their own. Their parents therefore show which processes they are. A child
/// whose parent has ended, such as an agent, is not found.
#[cfg(unix)]
pub(super) fn kill_process_tree(pid: u32, leads_group: bool) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let send = |pid: u32, signal: Signal| {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    };
    // A stopped process starts no other ones, and stays the parent of those that it has started.
    let mut tree = vec![pid];
    send(pid, Signal::STOP);
    for _ in 0..MAX_GENERATIONS {
        let found: Vec<u32> = process_tree::children_of(&tree).into_iter().filter(|pid| !tree.contains(pid)).collect();
        if found.is_empty() {
            break;
        }
        for pid in &found {
            send(*pid, Signal::STOP);
        }
        tree.extend(found);
    }
    if leads_group && let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    for pid in tree {
        send(pid, Signal::KILL);
    }
}

#[cfg(not(unix))]
pub(super) fn kill_process_tree(_pid: u32, _leads_group: bool) {}

/// Which process has started which.
#[cfg(target_os = "linux")]
mod process_tree {
    #![expect(clippy::disallowed_methods, reason = "reads /proc")]

    /// Returns the children of these processes. Without `/proc` there are none.
    pub(super) fn children_of(parents: &[u32]) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| parent_of(*pid).is_some_and(|parent| parents.contains(&parent))).collect()
    }

    fn parent_of(pid: u32) -> Option<u32> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in parentheses, and can contain any byte.
        let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
        fields.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Which process has started which.
#[cfg(all(unix, not(target_os = "linux")))]
mod process_tree {
    use std::process::Command;

    /// Returns the children of these processes. Without `ps` there are none.
    pub(super) fn children_of(parents: &[u32]) -> Vec<u32> {
        let output = Command::new("/bin/ps").args(["-A", "-o", "pid=,ppid="]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let pair = |line: &str| {
            let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
            Some((numbers.next()?, numbers.next()?))
        };
        let pairs = text.lines().filter_map(pair);
        pairs.filter(|(_, parent)| parents.contains(parent)).map(|(pid, _)| pid).collect()
    }
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
                let mut kept = thread_bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let length = length.min(MAX_OUTPUT.saturating_sub(kept.len()));
                kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
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

    fn run_until(script: &str, timeout: Duration, interrupt: &Interrupt) -> (Option<Finished>, Duration) {
        run_in(true, script, timeout, interrupt)
    }

    fn run_in(
        leads_group: bool,
        script: &str,
        timeout: Duration,
        interrupt: &Interrupt,
    ) -> (Option<Finished>, Duration) {
        let started = Instant::now();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let finished = run_with_timeout(&mut command, timeout, leads_group, interrupt).unwrap();
        (finished, started.elapsed())
    }

    fn run(script: &str, timeout: Duration) -> (Option<Finished>, Duration) {
        run_until(script, timeout, &Interrupt::default())
    }

    /// A killed process is a zombie until its new parent waits for it.
    fn assert_is_gone(pid_file: &std::path::Path) {
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
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
    fn output_and_status_of_the_child_are_returned() {
        let (finished, _) = run("echo out; echo err >&2; exit 3", Duration::from_mins(1));
        let finished = finished.unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_slice(), finished.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn child_is_killed_with_its_children_on_timeout() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", file.display());
        let (finished, took) = run(&script, Duration::from_millis(1500));
        assert!(finished.is_none() && took < Duration::from_mins(1));
        assert_is_gone(&file);
    }

    #[test]
    fn running_child_is_killed_with_its_children_when_the_command_ends() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}.new; mv {0}.new {0}; wait", file.display());
        let interrupt = Interrupt::default();
        let in_thread = interrupt.clone();
        let thread = thread::spawn(move || run_until(&script, Duration::from_mins(2), &in_thread));
        let deadline = Instant::now() + Duration::from_mins(1);
        while !file.exists() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        interrupt.kill_children();
        let (finished, took) = thread.join().unwrap();
        assert!(!finished.unwrap().status.success() && took < Duration::from_mins(2));
        assert_is_gone(&file);
    }

    /// A plugin that can use the terminal leads no group, and a child of any plugin can have a group of its own.
    #[test]
    #[cfg(target_os = "linux")]
    fn children_are_killed_without_and_outside_of_the_process_group_of_the_child() {
        for leads_group in [false, true] {
            let folder = tempfile::TempDir::new().unwrap();
            let (first, second) = (folder.path().join("first"), folder.path().join("second"));
            let script = format!(
                "sleep 300 & echo $! > {}; setsid --fork --wait sh -c 'sleep 300 & echo $! > {}; wait' & wait",
                first.display(),
                second.display()
            );
            let (finished, took) = run_in(leads_group, &script, Duration::from_secs(3), &Interrupt::default());
            assert!(finished.is_none() && took < Duration::from_mins(1));
            assert_is_gone(&first);
            assert_is_gone(&second);
        }
    }

    #[test]
    fn output_without_end_is_kept_up_to_a_limit() {
        let (finished, _) = run("yes & sleep 2; kill $!", Duration::from_mins(1));
        assert_eq!(finished.unwrap().stdout.len(), MAX_OUTPUT);
    }

    #[test]
    fn background_process_with_open_pipe_does_not_block() {
        let (finished, took) = run("sleep 20 & echo out", Duration::from_mins(1));
        assert_eq!(finished.unwrap().stdout, b"out\n");
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
