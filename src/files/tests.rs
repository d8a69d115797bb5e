//! Tests of the files that are written: their mode, links, devices, inputs and kinds.

#![expect(clippy::disallowed_methods, reason = "the tests write to temporary directories")]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::containment::{ContainmentError, contained_file};
use super::output_file::OutputError;
use super::{InputFiles, OutputKind, create_numbered_file, replace_input, write_output};

const PLAN: &str = "{\n  \"format-version\": 7,\n  \"plans\": []\n}\n";

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn write(path: &Path) -> Result<(), OutputError> {
    write_output(path, PLAN, OutputKind::Plan, &InputFiles::default())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names in a directory, to find temporary files that were left.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn new_files_are_private_and_existing_files_keep_their_mode() {
    let folder = folder();
    let path = folder.path().join("plan.json");
    write(&path).unwrap();
    assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, PLAN));
    for kept in [0o644, 0o640, 0o600, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
        write(&path).unwrap();
        assert_eq!(mode(&path), kept);
    }
    let backup = create_numbered_file(&folder.path().join("a/b"), "prod", "x").unwrap();
    let second = create_numbered_file(&folder.path().join("a/b"), "prod", "y").unwrap();
    assert_eq!((mode(&backup), mode(&folder.path().join("a/b"))), (0o600, 0o700));
    assert_eq!((fs::read_to_string(backup).unwrap(), fs::read_to_string(second).unwrap()), ("x".into(), "y".into()));
    assert_eq!(names(&folder.path().join("a/b")), ["prod-2.yaml", "prod.yaml"]);
    assert_eq!(names(folder.path()), ["a", "plan.json"]);
}

#[test]
fn links_are_followed_to_their_target() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("below")).unwrap();
    symlink("below/link", path("link")).unwrap();
    symlink("plan.json", path("below/link")).unwrap();
    // The target does not exist at first.
    for _ in 0..2 {
        write(&path("link")).unwrap();
        assert_eq!(fs::read_to_string(path("below/plan.json")).unwrap(), PLAN);
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    }
    replace_input(&path("link"), "new").unwrap();
    assert_eq!(fs::read_to_string(path("below/plan.json")).unwrap(), "new");
    symlink("b", path("a")).unwrap();
    symlink("a", path("b")).unwrap();
    assert!(write(&path("a")).is_err() && write(&path("below")).is_err());
    // A file or link with a name that could be guessed is not touched.
    fs::write(path("victim"), "kept").unwrap();
    symlink("victim", path("plan.json.new")).unwrap();
    write(&path("plan.json")).unwrap();
    assert_eq!(fs::read_to_string(path("victim")).unwrap(), "kept");
    assert_eq!(names(folder.path()), ["a", "b", "below", "link", "plan.json", "plan.json.new", "victim"]);
}

#[test]
fn devices_and_pipes_are_written_directly_and_stay() {
    let folder = folder();
    write(Path::new("/dev/null")).unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(matches!(write(Path::new("/dev/full")), Err(OutputError::DiskFull)));
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = folder.path().join("link");
    symlink(&fifo, &link).unwrap();
    let reader = {
        let fifo = fifo.clone();
        std::thread::spawn(move || fs::read_to_string(fifo).unwrap())
    };
    write(&link).unwrap();
    assert_eq!(reader.join().unwrap(), PLAN);
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    // What was read is replaced only if it is a regular file.
    assert!(matches!(replace_input(Path::new("/dev/null"), "x"), Err(OutputError::NotRegular)));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn inputs_and_files_of_other_kinds_are_not_overwritten() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let inputs = InputFiles::default();
    for name in ["input", "notes.txt", "snapshot.yaml"] {
        fs::write(path(name), "# rolecall snapshot, taken 2026-01-01T00:00:00Z of x\n").unwrap();
    }
    inputs.record(&path("input"), "the snapshot");
    symlink("input", path("link")).unwrap();
    fs::hard_link(path("input"), path("hard")).unwrap();
    for name in ["input", "link", "hard", "./input"] {
        let result = write_output(&path(name), "new", OutputKind::Snapshot, &inputs);
        assert!(matches!(result, Err(OutputError::IsInput("the snapshot"))), "{name}");
    }
    assert!(matches!(write(&path("notes.txt")), Err(OutputError::OtherKind(OutputKind::Plan))));
    write_output(&path("snapshot.yaml"), "new", OutputKind::Snapshot, &inputs).unwrap();
    fs::write(path("empty"), "").unwrap();
    write(&path("empty")).unwrap();
    write(&path("empty")).unwrap();
    fs::create_dir(path("policy")).unwrap();
    inputs.record_policy_folder(&path("policy"));
    let result = write_output(&path("policy/new.toml"), PLAN, OutputKind::Plan, &inputs);
    assert!(matches!(result, Err(OutputError::IsInput(_))));
    write_output(&path("policy/plan.json"), PLAN, OutputKind::Plan, &inputs).unwrap();
    assert_eq!(names(&path("policy")), ["plan.json"]);
}

#[test]
fn contained_files_do_not_lead_out_of_the_folder() {
    let folder = folder();
    let root = folder.path().join("policy");
    fs::create_dir_all(root.join("below")).unwrap();
    fs::write(folder.path().join("secret.yaml"), "").unwrap();
    fs::write(root.join("below/real.yaml"), "").unwrap();
    fs::write(root.join("config"), "").unwrap();
    symlink("below/real.yaml", root.join("inside.yaml")).unwrap();
    symlink("../secret.yaml", root.join("outside.yaml")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("config", root.join("other.yaml")).unwrap();
    symlink("/dev/null", root.join("device.yaml")).unwrap();
    let check = |path: &str| contained_file(&root, Path::new(path), &["yaml"], ".yaml").map(drop);
    for path in ["below/real.yaml", "./below/real.yaml", "inside.yaml", "below", "missing.yaml"] {
        assert_eq!(check(path), Ok(()), "{path}");
    }
    assert_eq!(check("/proc/self/environ"), Err(ContainmentError::Absolute));
    assert_eq!(check("../secret.yaml"), Err(ContainmentError::ParentDirectory));
    assert_eq!(check("below/../../secret.yaml"), Err(ContainmentError::ParentDirectory));
    for path in ["outside.yaml", "parent/secret.yaml", "parent", "device.yaml"] {
        assert_eq!(check(path), Err(ContainmentError::LeavesFolder), "{path}");
    }
    for path in ["config", "other.yaml"] {
        assert_eq!(check(path), Err(ContainmentError::Extension(".yaml")), "{path}");
    }
}
