//! Programs in Go that check the output of rolecall: actionlint, kustomize, and the checks of promtool. Their versions are
//! pinned in `tests/tools/go.mod`, and they are built when a test first needs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::binary::cache_dir;
use super::go;

/// The packages by the names of their programs.
const PACKAGES: [(&str, &str); 3] = [
    ("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
    ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5"),
    ("promlint", "./promlint"),
];

/// The path of a program. Builds it if it does not exist for the current versions.
///
/// # Panics
/// If the build fails, with the output of the compiler.
pub fn path(name: &str) -> PathBuf {
    let (_, package) = PACKAGES.iter().find(|(known, _)| *known == name).expect("one of PACKAGES");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "promlint/main.go"] {
        hash.update(fs::read(sources.join(file)).unwrap());
    }
    let fingerprint: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache_dir();
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let program = folder.join(format!("{name}-{fingerprint}"));
    if !program.exists() {
        let partial = folder.join(format!("{name}-{fingerprint}.partial"));
        let mut build = Command::new(go::find(&folder.join("go")));
        build.current_dir(&sources).args(["build", "-trimpath", "-o"]).arg(&partial).arg(package);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&partial, &program).unwrap();
    }
    program
}
