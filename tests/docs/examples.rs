//! The examples and the TOML blocks of the documents are valid policies.

use std::path::PathBuf;

use super::console::Scratch;
use super::markdown::blocks;
use super::{documents, root};

/// What a TOML block that is a part of a policy is put behind.
const REST: &str = "[policy]\nname = \"docs\"\n[clusters.prod]\ncontext = \"prod\"\naccount = \"111122223333\"\n";

/// Exit code and all output of a command line.
fn run(scratch: &Scratch, command: &str) -> (i32, String) {
    let done = scratch.bash().args(["-c", &format!("exec 2>&1\n{command}")]).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

fn examples() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let mut files = std::fs::read_dir(path).unwrap();
            files.any(|file| file.unwrap().path().extension().is_some_and(|end| end == "toml"))
        })
        .collect();
    found.sort();
    assert!(found.len() >= 7, "{found:?}");
    found
}

#[test]
fn examples_are_valid_planned_and_applied() {
    for path in examples() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let scratch = Scratch::new();
        let (code, text) = run(&scratch, &format!("rolecall validate examples/{name}"));
        assert!(code == 0 && text.contains("is valid"), "{name}: {text}");
        // The access of this example ends by itself.
        let (code, _) = run(&scratch, &format!("rolecall plan --detailed-exitcode examples/{name}"));
        let first = if name == "temporary" { code } else { 2 };
        for (command, wanted) in [
            ("plan --detailed-exitcode", first),
            ("apply --auto-approve", 0),
            ("plan --detailed-exitcode", 0),
            ("drift", 0),
        ] {
            let (code, text) = run(&scratch, &format!("rolecall {command} examples/{name}"));
            assert_eq!(code, wanted, "rolecall {command} examples/{name}\n{text}");
        }
    }
}

#[test]
fn toml_blocks_are_valid() {
    let mut seen = 0;
    for path in documents() {
        for block in blocks(&path, "toml") {
            let scratch = Scratch::new();
            let is_whole = block.content.contains("[policy]");
            let policy = if is_whole { block.content } else { format!("{REST}{}", block.content) };
            std::fs::write(scratch.path().join("rolecall.toml"), &policy).unwrap();
            let (code, text) = run(&scratch, "rolecall validate");
            let place = format!("{}:{}", path.display(), block.line);
            assert!(code == 0 && !text.contains("error") && !text.contains("warning"), "{place}: {text}");
            seen += 1;
        }
    }
    assert!(seen >= 5);
}
