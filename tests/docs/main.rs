//! The documents say what the program does: every console block is run, every policy is validated, every workflow is
//! executed, and the references are generated from the schemas.
//!
//! `BLESS=1 cargo test --test docs` rewrites the outputs and the generated files in place. Review the difference.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests panic on failure and use files, processes and the clock"
)]

#[path = "../common/mod.rs"]
mod common;
mod console;
mod examples;
mod links;
mod markdown;
mod schema_reference;
mod security;
mod supply_chain;
mod workflow;
mod workflow_runs;

use std::path::{Path, PathBuf};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the documents are to be rewritten.
fn bless() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Compares a document with what it should be, or rewrites it.
#[track_caller]
fn compare_or_bless(path: &Path, wanted: &str) {
    let found = if path.exists() { read(path) } else { String::new() };
    if found == wanted {
        return;
    }
    if bless() {
        std::fs::write(path, wanted).unwrap();
        return;
    }
    let first = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or_else(|| found.lines().count().min(wanted.lines().count()));
    let excerpt = |text: &str| text.lines().skip(line).take(12).collect::<Vec<_>>().join("\n");
    panic!(
        "{} is out of date from line {}.\n--- in the file\n{}\n--- expected\n{}\n\
         `BLESS=1 cargo test --test docs` rewrites it",
        path.display(),
        line + 1,
        excerpt(&found),
        excerpt(wanted)
    );
}

/// README.md and every Markdown file under docs/, in a stable order.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    collect(&root().join("docs"), "md", &mut found);
    found
}

/// The files under a directory whose names end with an extension.
fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
}

/// Copies a directory with all that is in it.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
