//! A run of rolecall that a test observes and sends signals to.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::sandbox::{RunOutput, Sandbox};

/// The longest that a test waits for a run. A loaded machine needs much longer than the limits of the run itself.
const MAX_WAIT: Duration = Duration::from_mins(3);

pub struct Running {
    child: Child,
    /// The maximum resident memory in bytes, as far as it was seen.
    pub peak_memory: u64,
}

impl Running {
    pub fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        Self::start_with(sandbox, args, &[])
    }

    /// Starts rolecall with these environment variables. The output goes to files, so that it never blocks.
    pub fn start_with(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Self {
        let file = |name: &str| std::fs::File::create(sandbox.path(name)).expect("the directory is writable");
        let mut command = sandbox.command(args);
        command.envs(env.iter().copied()).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Self { child: command.spawn().expect("rolecall cannot be started"), peak_memory: 0 }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub fn is_running(&mut self) -> bool {
        self.record_memory();
        matches!(self.child.try_wait(), Ok(None))
    }

    fn record_memory(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        self.peak_memory = self.peak_memory.max(kilobytes.unwrap_or_default() * 1024);
    }

    /// Waits until the condition holds, or the run has ended. Returns whether the condition holds.
    pub fn wait_until(&mut self, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + MAX_WAIT;
        while Instant::now() < deadline {
            if condition() {
                return true;
            }
            if !self.is_running() {
                return condition();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Waits for the end of the run. The exit code of a run that a signal has ended is -1.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn finish(&mut self, sandbox: &Sandbox) -> RunOutput {
        let deadline = Instant::now() + MAX_WAIT;
        while self.is_running() {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                panic!("rolecall does not end:\n{}", sandbox.read("stderr"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.child.wait().expect("the run is a child");
        let text =
            |name: &str| String::from_utf8_lossy(&std::fs::read(sandbox.path(name)).unwrap_or_default()).into_owned();
        RunOutput { exit_code: status.code().unwrap_or(-1), stdout: text("stdout"), stderr: text("stderr") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
