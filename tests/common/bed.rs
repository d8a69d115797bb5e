//! Builds the test cluster's program from `tests/cluster` on first use and
//! again whenever its sources change, once for all test binaries of a run.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::go;

/// Without these the API server refuses its own version.
const LINKER_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";

/// Returns the folder for all that the test cluster keeps between runs.
pub fn home() -> PathBuf {
    let target = option_env!("CARGO_TARGET_TMPDIR")
        .and_then(|tmp| Path::new(tmp).parent())
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Path::to_path_buf);
    target.join("test-cluster")
}

/// Returns the path of the program, built from the sources as they are now.
///
/// # Panics
/// When it cannot be built, with the compiler's words.
pub fn program() -> PathBuf {
    let home = home();
    fs::create_dir_all(&home).expect("the target folder must be writable");
    let lock = File::create(home.join("lock")).expect("the target folder must be writable");
    lock.lock().expect("the file system must support locks");

    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    let wanted = fingerprint(&sources);
    // The fingerprint in the name: another checkout with the same target
    // folder, or a test still running, keeps its own program.
    let program = home.join(format!("bed-{}", &wanted[..16]));
    if !program.exists() {
        build(&home, &sources, &program);
    }
    program
}

fn fingerprint(sources: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .expect("tests/cluster must be readable")
        .map(|entry| entry.expect("tests/cluster must be readable").path())
        .filter(|path| is_source(path))
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    hash.update(LINKER_FLAGS);
    for path in files {
        let text = fs::read(&path).expect("a source of the test cluster must be readable");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        hash.update(format!("\n{name} {}\n", text.len()));
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".go") || name == "go.mod" || name == "go.sum"
}

fn build(home: &Path, sources: &Path, program: &Path) {
    let go = go::find(&home.join("go"));
    // Straight to stderr: the macros are captured by the test harness.
    let _ = writeln!(
        std::io::stderr(),
        "test cluster: building it from {}; the first time takes some minutes",
        sources.display()
    );
    let unfinished = home.join("bed.unfinished");
    let built = Command::new(go)
        .current_dir(sources)
        .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly"])
        .args(["-ldflags", LINKER_FLAGS, "-o"])
        .arg(&unfinished)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local")
        .output()
        .expect("Go was found, so it must start");
    assert!(built.status.success(), "the test cluster does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    remove_older(home);
    fs::rename(&unfinished, program).expect("the target folder must be writable");
}

/// A program is some 200 MB; those of earlier sources would fill the disk.
fn remove_older(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("bed-") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
