//! The order of the rooms, held: each file uses only rooms before its own, and above the bar nothing touches the world.

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

use std::path::{Path, PathBuf};

/// The rooms in their order. From `cluster` on there are files, sockets, clocks and terminals.
const ROOMS: [&str; 14] = [
    "names",
    "diagnostic",
    "yaml",
    "state",
    "access",
    "policy",
    "plan",
    "guard",
    "rights",
    "report",
    "render",
    "cluster",
    "apply",
    "cli",
];
const BAR: &str = "cluster";
/// What a pure room must not name.
const WORLDLY: [&str; 9] =
    ["async fn", ".await", "std::env", "std::fs", "std::net", "SystemTime", "kube::", "tokio::", "println!"];
/// A file that wants to be longer hides a second noun.
const LONGEST: usize = 500;

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") {
            out.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string().replace('\\', "/");
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn room_of(name: &str) -> Option<usize> {
    let room = name.split('/').next()?;
    ROOMS.iter().position(|known| *known == room)
}

/// The code without its tests, which may look further.
fn product(name: &str, text: &str) -> String {
    if name.contains("/tests/") || name.ends_with("/tests.rs") {
        return String::new();
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

#[test]
fn every_file_uses_only_rooms_before_its_own() {
    let mut wrong = Vec::new();
    for (name, text) in all() {
        let Some(own) = room_of(&name) else {
            assert!(["lib.rs", "main.rs", "test_cluster.rs"].contains(&name.as_str()), "{name} is in no room");
            continue;
        };
        for later in ROOMS.iter().skip(own + 1) {
            for (number, line) in product(&name, &text).lines().enumerate() {
                if line.contains(&format!("crate::{later}::")) || line.contains(&format!("crate::{later};")) {
                    wrong.push(format!("{name}:{} uses {later}, a later room", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn above_the_bar_nothing_touches_the_world() {
    let bar = ROOMS.iter().position(|room| *room == BAR).unwrap();
    let mut wrong = Vec::new();
    for (name, text) in all().into_iter().filter(|(name, _)| room_of(name).is_some_and(|room| room < bar)) {
        for (number, line) in product(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in WORLDLY.into_iter().filter(|word| code.contains(word)) {
                wrong.push(format!("{name}:{} has `{word}`", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_first_why_it_exists_and_stays_short() {
    for (name, text) in all() {
        assert!(text.starts_with("//! "), "{name} does not begin by saying why it exists");
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{name} has {lines} lines: look for the noun hiding in it");
    }
}
