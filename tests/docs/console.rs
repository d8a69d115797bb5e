//! Console blocks: the commands after `$ ` are run in a copy of `examples/`, and their output is compared.
//!
//! The blocks of one file are run in order and share one directory, so that an `apply` shows in the next `plan`. The comment
//! `<!-- reset -->` on the line before a block gives it a new directory. A command that fails must be followed by
//! `$ echo $?`, so that readers see the exit code.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use tempfile::TempDir;

use super::markdown::{Piece, join, pieces, with_quoted_files};
use super::{compare_or_bless, copy_folder, documents, read, root};

/// What the documents show as the directory of the reader.
const HOME: &str = "/home/you";
/// What the documents show as the time of a run.
const NOW: &str = "2026-01-01T09:00:00Z";
const NOW_COMPACT: &str = "20260101T090000Z";

/// A directory with the examples in it, and a `PATH` that has the program and the stubs of a test.
pub(crate) struct Scratch {
    folder: TempDir,
    started: Timestamp,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        copy_folder(&root().join("examples"), &folder.path().join("work/examples"));
        std::fs::create_dir_all(folder.path().join("bin")).unwrap();
        let program = folder.path().join("bin/rolecall");
        #[cfg(unix)]
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rolecall"), program).unwrap();
        #[cfg(not(unix))]
        std::fs::copy(env!("CARGO_BIN_EXE_rolecall"), program).unwrap();
        Self { folder, started: Timestamp::now() }
    }

    /// Where commands run.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn stub(&self, name: &str, script: &str) {
        let path = self.folder.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\n{script}")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// bash in this directory, without the environment of the machine.
    pub(crate) fn bash(&self) -> Command {
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", self.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// The output without what differs from run to run: the directory, and the time of the run.
    fn stable(&self, output: &str) -> String {
        let canonical = self.path().canonicalize().unwrap();
        let text =
            output.replace(&canonical.display().to_string(), HOME).replace(&self.path().display().to_string(), HOME);
        without_times(&text, self.started)
    }
}

/// Replaces the times from `since` on, in both forms that the program prints.
fn without_times(text: &str, since: Timestamp) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_ascii_digit() || "-:.TZ".contains(c))).unwrap_or(rest.len());
        let word = rest[..end].trim_end_matches(['.', ':', '-']);
        let is_now = |time: Timestamp| time.as_second() >= since.as_second();
        if compact(word).is_some_and(is_now) {
            out.push_str(NOW_COMPACT);
        } else if word.parse().is_ok_and(is_now) {
            out.push_str(NOW);
        } else {
            out.push_str(word);
        }
        rest = &rest[word.len()..];
    }
    out + rest
}

/// `20260101T090000Z`.
fn compact(word: &str) -> Option<Timestamp> {
    let (date, time) = word.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(date, 0, 4)?,
        part(date, 4, 6)?,
        part(date, 6, 8)?,
        part(time, 0, 2)?,
        part(time, 2, 4)?,
        part(time, 4, 6)?
    )
    .parse()
    .ok()
}

/// The commands of a console block; a line that ends with `\` goes on in the next one.
pub(crate) fn commands(block: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else { continue };
        let mut command = first.to_owned();
        while command.ends_with('\\') {
            command.push('\n');
            command.push_str(lines.next().unwrap_or_default());
        }
        found.push(command);
    }
    found
}

/// Runs the commands of a block in one shell and returns the block with their outputs.
fn run_block(block: &str, scratch: &Scratch, place: &str) -> String {
    let commands = commands(block);
    assert!(!commands.is_empty(), "{place}: a console block needs a command after `$ `");
    assert!(block.starts_with("$ "), "{place}: a console block begins with `$ `");
    // After each command a line with a mark and the exit code. `$?` is restored for the next command.
    const MARK: &str = "@@end-of-command@@";
    let mut script = String::new();
    for command in &commands {
        write!(script, "{command}\n__code=$?; printf '\\n{MARK}%s\\n' \"$__code\"; (exit \"$__code\")\n").unwrap();
    }
    let done = scratch.bash().args(["-c", &format!("exec 2>&1\n{script}")]).output().unwrap();
    let output = String::from_utf8(done.stdout).unwrap();
    let mut rest = output.as_str();
    let mut out = String::new();
    for (at, command) in commands.iter().enumerate() {
        let (text, after) =
            rest.split_once(&format!("\n{MARK}")).unwrap_or_else(|| panic!("{place}: {command}: {rest}"));
        let (code, after) = after.split_once('\n').unwrap();
        rest = after;
        let next = commands.get(at + 1).map(String::as_str);
        assert!(
            code == "0" || next == Some("echo $?"),
            "{place}: `{command}` exits with {code}; show it by `$ echo $?`\n{text}"
        );
        let text = scratch.stable(text);
        writeln!(out, "$ {command}").unwrap();
        out.push_str(&text);
        if !text.is_empty() && !text.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// A document with the outputs of today's program.
fn refreshed(path: &Path) -> String {
    let mut all = pieces(&read(path));
    with_quoted_files(&mut all);
    let mut scratch = Scratch::new();
    for piece in &mut all {
        let Piece::Code(code) = piece else { continue };
        if code.language != "console" {
            continue;
        }
        if code.directive.as_deref() == Some("reset") {
            scratch = Scratch::new();
        }
        let place = format!("{}:{}", path.display(), code.line);
        code.content = run_block(&code.content, &scratch, &place);
    }
    join(&all)
}

#[test]
fn console_blocks_and_quoted_files_are_up_to_date() {
    for path in documents() {
        compare_or_bless(&path, &refreshed(&path));
    }
}

#[test]
fn blocks_have_a_known_language() {
    // `console` is run, `toml` validated, `yaml` parsed, `sh` parsed by the program's own arguments; `text` is none of these.
    const LANGUAGES: [&str; 6] = ["console", "toml", "yaml", "sh", "text", "json"];
    for path in documents() {
        for piece in pieces(&read(&path)) {
            let Piece::Code(code) = piece else { continue };
            let known = LANGUAGES.contains(&code.language.as_str());
            assert!(known, "{}:{}: {:?} is not one of {LANGUAGES:?}", path.display(), code.line, code.language);
        }
    }
}

#[test]
fn times_of_the_run_are_replaced_and_others_kept() {
    let since: Timestamp = "2026-11-26T14:00:00Z".parse().unwrap();
    let text = "at 2026-11-26T14:27:21.479026594Z: a-20261126T142721Z.yaml, since 2025-01-01T00:00:00Z. 3 of 4";
    let wanted = format!("at {NOW}: a-{NOW_COMPACT}.yaml, since 2025-01-01T00:00:00Z. 3 of 4");
    assert_eq!(without_times(text, since), wanted);
}
