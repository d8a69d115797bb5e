//! Builds the program of the test cluster from `tests/cluster` when it is first used, and again when its sources have
//! changed. All test binaries of a run share one build.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::go;

const FILE_PREFIX: &str = "test-cluster-";

/// The version of Kubernetes. The API server does not start without it.
const LINKER_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";

/// The directory for the files that the test cluster keeps between runs.
pub fn cache_dir() -> PathBuf {
    let target = option_env!("CARGO_TARGET_TMPDIR")
        .and_then(|tmp| Path::new(tmp).parent())
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Path::to_path_buf);
    target.join("test-cluster")
}

/// The path of the program. Builds it if it does not exist for the current sources.
///
/// # Panics
/// If the build fails, with the output of the compiler.
pub fn path() -> PathBuf {
    let cache_dir = cache_dir();
    fs::create_dir_all(&cache_dir).expect("the target directory is not writable");
    let lock = File::create(cache_dir.join("lock")).expect("the target directory is not writable");
    lock.lock().expect("the file system does not support locks");

    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    let fingerprint = fingerprint(&sources);
    // The name contains the fingerprint, so that a test that is still running, or another checkout with the same target
    // directory, is not affected by a build.
    let program = cache_dir.join(format!("{FILE_PREFIX}{}", &fingerprint[..16]));
    if !program.exists() {
        build(&cache_dir, &sources, &program);
    }
    program
}

fn fingerprint(sources: &Path) -> String {
    let mut files = source_files(sources);
    files.sort();
    let mut hash = Sha256::new();
    hash.update(LINKER_FLAGS);
    for path in files {
        let text = fs::read(&path).expect("a source file of the test cluster is not readable");
        let name = path.strip_prefix(sources).unwrap_or(&path).to_string_lossy();
        hash.update(format!("\n{name} {}\n", text.len()));
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file of the folder and its folders that is built: the sources, and what they embed.
fn source_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("tests/cluster is not readable");
    let paths = entries.map(|entry| entry.expect("tests/cluster is not readable").path());
    let files = paths.flat_map(|path| if path.is_dir() { source_files(&path) } else { vec![path] });
    files.filter(|path| !path.to_string_lossy().ends_with("_test.go")).collect()
}

fn build(cache_dir: &Path, sources: &Path, program: &Path) {
    let go = go::find(&cache_dir.join("go"));
    // Written to stderr directly, because the test harness captures the output of the macros.
    let _ = writeln!(
        std::io::stderr(),
        "test cluster: building it from {}; the first build takes some minutes",
        sources.display()
    );
    let unfinished = cache_dir.join("unfinished");
    let output = Command::new(go)
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
        .expect("Go cannot be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the test cluster does not build:\n{errors}");
    remove_old_builds(cache_dir);
    fs::rename(&unfinished, program).expect("the target directory is not writable");
}

/// A build has about 200 MB, so builds of earlier sources would fill the disk.
fn remove_old_builds(cache_dir: &Path) {
    for entry in fs::read_dir(cache_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(FILE_PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
