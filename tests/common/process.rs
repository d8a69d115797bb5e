//! The child process of a test cluster. It is stopped by closing its stdin. If the test binary crashes, the operating
//! system closes the pipe, and the child process stops and removes its directory as well.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::binary;

/// The number of clusters that this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

pub struct Process {
    child: Child,
    pub program: PathBuf,
    pub dir: PathBuf,
    /// The addresses and credentials that the child process has printed when it was ready.
    pub announced: Value,
}

impl Process {
    /// Starts a test cluster and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start, with its error messages.
    pub fn start(arguments: &[String]) -> Self {
        let program = binary::path();
        // The cluster chooses free ports before its servers listen on them. If another process takes one, try again.
        let mut reasons = Vec::new();
        for _ in 0..3 {
            match Self::try_start(&program, arguments) {
                Ok(process) => return process,
                Err(reason) => reasons.push(reason),
            }
        }
        panic!("the test cluster did not start:\n{}", reasons.join("\n"));
    }

    fn try_start(program: &Path, arguments: &[String]) -> Result<Self, String> {
        let dir = new_dir();
        let mut child = Command::new(program)
            .args(["serve", "--dir"])
            .arg(&dir)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test cluster cannot be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        let _ = BufReader::new(stdout).read_line(&mut line);
        if let Ok(announced) = serde_json::from_str(&line) {
            return Ok(Self { child, program: program.to_path_buf(), dir, announced });
        }
        let mut reason = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut reason);
        }
        let log = last_lines(&dir.join("log"));
        stop(&mut child);
        let _ = fs::remove_dir_all(&dir);
        Err(format!("{}\n{log}", reason.trim()))
    }

    pub fn announced(&self, name: &str) -> &str {
        self.announced[name].as_str().expect("the test cluster announces this field")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        stop(&mut self.child);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn stop(child: &mut Child) {
    drop(child.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A new directory name, different from those of other test processes and earlier runs.
fn new_dir() -> PathBuf {
    let runs = binary::cache_dir().join("run");
    fs::create_dir_all(&runs).expect("the target directory is not writable");
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let count = STARTED.fetch_add(1, Ordering::Relaxed);
    runs.join(format!("{}-{count}-{nanos}", std::process::id()))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
