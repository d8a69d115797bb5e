//! Every way in which a policy can be wrong, by its whole message, and near misses that are fine.
//!
//! `refused/` and `warned/` hold a policy and, beside it, what `rolecall validate` says on stderr; a folder is a policy
//! of several files. `BLESS=1 cargo test --test policies` writes the messages anew: read each of them.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::OutputAssertExt as _;
use tempfile::TempDir;

/// Faults of which no policy alone can be made: none at present.
const WITHOUT_FIXTURE: [&str; 0] = [];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(name)
}

/// The policies of a folder by name: files, and folders of files.
fn policies(name: &str) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir() || entry.path().extension().is_some_and(|end| end == "toml"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{name} holds no policy");
    found
}

/// Exit code, stdout and stderr of `rolecall validate`, run where the policy lies.
fn validate(at: &Path, policy: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
    let done = command.env_clear().current_dir(at).arg("validate").args(policy).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

/// Holds the messages of a folder's policies against those that were reviewed.
fn messages_are_as_reviewed(name: &str, wanted: i32) {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    let mut told = BTreeSet::new();
    for policy in policies(name) {
        let (code, _, said) = validate(&folder(name), &[&policy]);
        assert_eq!(code, wanted, "{name}/{policy}\n{said}");
        let file = folder(name).join(&policy).with_extension("txt");
        told.insert(file.clone());
        if bless {
            fs::write(&file, &said).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != said {
            wrong.push(format!("{} says\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "read it, then BLESS=1 writes it:\n{}", wrong.join("\n"));
    let texts = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let alone: Vec<PathBuf> =
        texts.filter(|path| path.extension().is_some_and(|end| end == "txt") && !told.contains(path)).collect();
    assert!(alone.is_empty(), "messages without a policy: {alone:?}");
}

#[test]
fn what_is_wrong_with_a_policy_is_said_as_reviewed() {
    messages_are_as_reviewed("refused", 1);
}

#[test]
fn what_may_surprise_is_said_as_reviewed() {
    messages_are_as_reviewed("warned", 0);
}

#[test]
fn near_misses_are_fine_and_say_nothing() {
    for policy in policies("accepted") {
        let (code, out, said) = validate(&folder("accepted"), &[&policy]);
        assert_eq!((code, said.as_str()), (0, ""), "accepted/{policy}");
        assert!(out.contains(" is valid: "), "{out}");
    }
}

/// The variants of an enum as its source has them: they stand one step in, each at the start of a line.
fn variants(file: &str, name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let (_, after) = text.split_once(&format!("enum {name} {{\n")).unwrap();
    let (body, _) = after.split_once("\n}\n").unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect()
}

fn first_of(folder: &Path) -> String {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.min().unwrap()
}

/// What the first lines of the policies say they show: `# fault: UnknownKey`; of a folder the first file's.
fn shown() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for name in ["refused", "warned"] {
        for policy in policies(name) {
            let path = folder(name).join(&policy);
            let file = if path.is_dir() { path.join(first_of(&path)) } else { path };
            let text = fs::read_to_string(file).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let said = first.strip_prefix("# fault: ").unwrap_or_else(|| panic!("{name}/{policy} names no fault"));
            out.extend(said.split(", ").map(str::to_owned));
        }
    }
    out
}

#[test]
fn every_fault_has_a_policy_that_shows_it() {
    let arns = variants("names/arn.rs", "ArnFault").into_iter().map(|name| format!("Arn::{name}"));
    let all: BTreeSet<String> = variants("policy/fault.rs", "Fault").into_iter().chain(arns).collect();
    assert!(all.len() > 60, "the sources were not read: {all:?}");
    let mut shown = shown();
    if shown.iter().any(|name| name.starts_with("Arn::")) {
        shown.insert("Arn".to_owned());
    }
    let known = |name: &&String| !shown.contains(*name) && !WITHOUT_FIXTURE.contains(&name.as_str());
    let missing: Vec<&String> = all.iter().filter(known).collect();
    let strange: Vec<&String> = shown.iter().filter(|name| !all.contains(*name)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "without a policy: {missing:?}; no such fault: {strange:?}");
}

#[test]
fn what_is_no_policy_at_all_is_said() {
    let sandbox = TempDir::new().unwrap();
    fs::create_dir_all(sandbox.path().join("empty/below")).unwrap();
    fs::write(sandbox.path().join("empty/below/a.toml"), "").unwrap();
    fs::write(sandbox.path().join("empty/.hidden.toml"), "").unwrap();
    fs::write(sandbox.path().join("latin.toml"), b"[policy]\nname = \"caf\xe9\"\n").unwrap();
    let said = |policy: &[&str]| {
        let (code, out, said) = validate(sandbox.path(), policy);
        assert_eq!((code, out.as_str()), (1, ""), "{policy:?}: {said}");
        said
    };
    insta::assert_snapshot!(said(&[]), @r"
    error: there is neither rolecall.toml nor rolecall/ here
     |
     = hint: name the policy: a TOML file, or a folder of them
    ");
    insta::assert_snapshot!(said(&["gone.toml"]), @r"
    error: there is no policy gone.toml
     |
     = hint: name a TOML file, or a folder of them
    ");
    insta::assert_snapshot!(said(&["empty"]), @r"
    error: the folder empty has no .toml file
     |
     = hint: a policy is a TOML file, or a folder of them; folders within are not read
    ");
    insta::assert_snapshot!(said(&["latin.toml"]), @r"
    error: latin.toml is not text: line 2 is not UTF-8
     |
     = hint: save the file as UTF-8
    ");
}

#[test]
fn the_policy_here_is_found_as_a_file_and_as_a_folder() {
    for file in ["rolecall.toml", "rolecall/access.toml"] {
        let sandbox = TempDir::new().unwrap();
        let path = sandbox.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A byte order mark is no part of the text.
        fs::write(path, "\u{feff}[policy]\nname = \"prod\"\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
        command.env_clear().current_dir(sandbox.path()).arg("validate").assert().success();
    }
}
