//! One running test cluster as a child process: started, told to end through
//! its stdin, waited for. If the test binary dies, its end of the pipe closes
//! and the child ends and cleans up by itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::bed;

static STARTED: AtomicU32 = AtomicU32::new(0);

pub struct Process {
    child: Child,
    pub program: PathBuf,
    pub dir: PathBuf,
    /// What the child said about itself when it was ready.
    pub announced: Value,
}

impl Process {
    /// # Panics
    /// When it does not come up, with its own reason.
    pub fn start(arguments: &[String]) -> Self {
        let program = bed::program();
        // Its ports are chosen before they are used; another may be faster.
        let mut reasons = Vec::new();
        for _ in 0..3 {
            match Self::try_start(&program, arguments) {
                Ok(process) => return process,
                Err(reason) => reasons.push(reason),
            }
        }
        panic!("the test cluster does not start:\n{}", reasons.join("\n"));
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
            .expect("the test cluster was built, so it must run");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout was asked for");
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
        self.announced[name].as_str().expect("the test cluster announces all its addresses")
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

/// A name that no other test process and no earlier run can have.
fn new_dir() -> PathBuf {
    let runs = bed::home().join("run");
    fs::create_dir_all(&runs).expect("the target folder must be writable");
    let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let count = STARTED.fetch_add(1, Ordering::Relaxed);
    runs.join(format!("{}-{count}-{moment}", std::process::id()))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
