//! The errors and warnings of policies, with their full messages, and unusual policies that are valid.
//!
//! `refused/` and `warned/` contain policies, each with the expected stderr of `rolecall validate` in a `.txt` file. A
//! folder is a policy of several files. `BLESS=1 cargo test --test it policies::` rewrites the `.txt` files: review each
//! change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::OutputAssertExt as _;
use tempfile::TempDir;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(name)
}

/// Returns the names of the policies in a folder: files, and folders of files.
fn policies(name: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir() || entry.path().extension().is_some_and(|end| end == "toml"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{name} contains no policy");
    names
}

/// Runs `rolecall validate` in a folder. Returns the exit code, stdout and stderr.
fn validate(folder: &Path, policy: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
    let output = command.env_clear().current_dir(folder).arg("validate").args(policy).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Compares the messages of the policies in a folder with their `.txt` files.
fn assert_messages(name: &str, expected_code: i32) {
    let bless = std::env::var_os("BLESS").is_some();
    let mut differences = Vec::new();
    let mut expected_files = BTreeSet::new();
    for policy in policies(name) {
        let (code, _, stderr) = validate(&folder(name), &[&policy]);
        assert_eq!(code, expected_code, "{name}/{policy}\n{stderr}");
        let file = folder(name).join(&policy).with_extension("txt");
        expected_files.insert(file.clone());
        if bless {
            fs::write(&file, &stderr).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != stderr {
            differences.push(format!("{}: the message is now\n{stderr}", file.display()));
        }
    }
    assert!(differences.is_empty(), "review the messages, then run with BLESS=1:\n{}", differences.join("\n"));
    let files = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let unexpected: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "txt") && !expected_files.contains(path))
        .collect();
    assert!(unexpected.is_empty(), "messages without a policy: {unexpected:?}");
}

#[test]
fn refused_policies_have_the_expected_errors() {
    assert_messages("refused", 1);
}

#[test]
fn warned_policies_have_the_expected_warnings() {
    assert_messages("warned", 0);
}

#[test]
fn accepted_policies_have_no_warnings() {
    for policy in policies("accepted") {
        let (code, stdout, stderr) = validate(&folder("accepted"), &[&policy]);
        assert_eq!((code, stderr.as_str()), (0, ""), "accepted/{policy}");
        assert!(stdout.contains(" is valid: "), "{stdout}");
    }
}

/// Returns the variants of an enum from its source, where each starts a line that is indented by four spaces.
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

fn first_file(folder: &Path) -> String {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.min().unwrap()
}

/// Returns the variants in the first lines of the policies, such as `# fault: UnknownKey`. For a folder, the first line
/// of its first file.
fn variants_with_a_policy() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for name in ["refused", "warned"] {
        for policy in policies(name) {
            let path = folder(name).join(&policy);
            let file = if path.is_dir() { path.join(first_file(&path)) } else { path };
            let text = fs::read_to_string(file).unwrap();
            let first = text.lines().next().unwrap_or_default();
            if first.starts_with("# lint: ") {
                continue;
            }
            let variants =
                first.strip_prefix("# fault: ").unwrap_or_else(|| panic!("{name}/{policy} has no `# fault:`"));
            out.extend(variants.split(", ").map(str::to_owned));
        }
    }
    out
}

#[test]
fn every_error_has_a_policy() {
    let arn_errors = variants("names/arn.rs", "ArnError").into_iter().map(|name| format!("Arn::{name}"));
    let all: BTreeSet<String> = variants("policy/error.rs", "PolicyError").into_iter().chain(arn_errors).collect();
    assert!(all.len() > 60, "the sources were not read: {all:?}");
    let mut with_policy = variants_with_a_policy();
    if with_policy.iter().any(|name| name.starts_with("Arn::")) {
        with_policy.insert("Arn".to_owned());
    }
    let missing: Vec<&String> = all.difference(&with_policy).collect();
    let unknown: Vec<&String> = with_policy.difference(&all).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a policy: {missing:?}; unknown variants: {unknown:?}");
}

/// Warnings that need a cluster. The tests of `lints` have them.
const LINTS_OF_CLUSTERS: [&str; 2] = ["unmatched-ignore", "vacuous-invariant"];

#[test]
fn every_lint_has_a_policy() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostic/lint_id.rs")).unwrap();
    let names = source.lines().filter_map(|line| line.split_once(" = \"")?.1.strip_suffix("\","));
    let mut all: BTreeSet<&str> = names.collect();
    assert!(all.len() > 20 && LINTS_OF_CLUSTERS.iter().all(|name| all.remove(name)), "{all:?}");
    let texts: String = policies("warned")
        .iter()
        .map(|policy| fs::read_to_string(folder("warned").join(policy).with_extension("txt")).unwrap())
        .collect();
    let missing: Vec<&&str> = all.iter().filter(|name| !texts.contains(&format!("warning[{name}]"))).collect();
    assert!(missing.is_empty(), "no policy in tests/policies/warned shows {missing:?}");
}

#[test]
fn missing_and_unreadable_policies_are_errors() {
    let temp = TempDir::new().unwrap();
    fs::create_dir_all(temp.path().join("empty/below")).unwrap();
    fs::write(temp.path().join("empty/below/a.toml"), "").unwrap();
    fs::write(temp.path().join("empty/.hidden.toml"), "").unwrap();
    fs::write(temp.path().join("latin.toml"), b"[policy]\nname = \"caf\xe9\"\n").unwrap();
    let error = |policy: &[&str]| {
        let (code, stdout, stderr) = validate(temp.path(), policy);
        assert_eq!((code, stdout.as_str()), (1, ""), "{policy:?}: {stderr}");
        stderr
    };
    insta::assert_snapshot!(error(&[]), @r"
    error: no policy found: there is no rolecall.toml and no rolecall/ in the current directory
     |
     = help: name the policy: a TOML file, or a directory with TOML files
     = help: for a policy to start from, run `rolecall schema --example > rolecall.toml`
    ");
    insta::assert_snapshot!(error(&["gone.toml"]), @r"
    error: the policy gone.toml does not exist
     |
     = help: name a TOML file, or a directory with TOML files
    ");
    insta::assert_snapshot!(error(&["empty"]), @r"
    error: the directory empty has no .toml file
     |
     = help: name a TOML file, or a directory with TOML files; subdirectories are not read
    ");
    insta::assert_snapshot!(error(&["latin.toml"]), @r"
    error: latin.toml is not a text file: line 2 is not UTF-8
     |
     = help: save the file as UTF-8
    ");
}

#[test]
fn policy_in_the_working_directory_is_a_file_or_a_folder() {
    for file in ["rolecall.toml", "rolecall/access.toml"] {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A byte order mark at the start is skipped.
        fs::write(path, "\u{feff}[policy]\nname = \"prod\"\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
        command.env_clear().current_dir(temp.path()).arg("validate").assert().success();
    }
}
