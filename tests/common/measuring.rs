//! Time and memory of whole processes, for the benchmarks.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::sandbox::Sandbox;

/// Runs the program and returns its time.
pub fn timed(sandbox: &Sandbox, args: &[&str]) -> Duration {
    let mut command: Command = sandbox.command(args);
    let start = Instant::now();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let time = start.elapsed();
    assert!(output.status.success(), "rolecall {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    time
}

/// Runs the program and returns its peak memory in MB, which is polled from the kernel. Polling uses a core, so such a
/// run is not timed.
pub fn peak_memory(sandbox: &Sandbox, args: &[&str]) -> u64 {
    let mut child = sandbox.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut max = 0;
    while child.try_wait().unwrap().is_none() {
        max = peak_so_far(&child).unwrap_or(max).max(max);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success(), "rolecall {args:?}");
    max / 1024
}

/// Returns the peak memory of a running process in kB.
pub fn peak_so_far(child: &Child) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
