//! Words that plain language does not use, looked for in everything that people read.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A principal, an entry and a role are "it"; a person is "you" or "they".
const BANNED_WORDS: [&str; 12] =
    ["he", "him", "his", "himself", "whoever", "whom", "somebody", "someone", "nobody", "anybody", "everybody", "anew"];

fn readable_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // The packages of npm are not ours.
            if !path.ends_with("node_modules") {
                readable_files(&path, out);
            }
        } else if path.extension().is_some_and(|end| {
            ["rs", "md", "json", "toml", "snap", "txt", "go", "js", "mjs", "css"].iter().any(|known| end == *known)
        }) {
            out.push(path);
        }
    }
}

fn banned_words_in(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.into_iter().find(|word| BANNED_WORDS.contains(&word.to_lowercase().as_str())) {
            found.push((number + 1, format!("{word}: {}", line.trim())));
        }
    }
    found
}

#[test]
fn sources_schemas_and_documents_have_no_banned_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Cargo.toml", "clippy.toml"]
            .map(|name| root.join(name))
            .into();
    for folder in ["src", "schema", "docs", "examples", "benches", "tests"] {
        readable_files(&root.join(folder), &mut files);
    }
    files.retain(|path| !path.ends_with("tests/it/language.rs"));
    assert!(files.len() > 200, "the folders are read");
    let mut violations = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        violations.extend(banned_words_in(&text).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    assert!(violations.is_empty(), "{} lines:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn help_has_no_banned_words() {
    let binary = env!("CARGO_BIN_EXE_rolecall");
    let help = |arguments: &[&str]| {
        let output = Command::new(binary).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&["--help"]);
    let commands: Vec<&str> = overview
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"plan"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let text = help(&[command, "--help"]);
        assert_eq!(banned_words_in(&text), [], "rolecall {command} --help");
    }
    assert_eq!(banned_words_in(&overview), []);
}
