//! Checks the links between the documents, and that the README names every command.

use std::path::Path;

use super::console::Scratch;
use super::markdown::{Piece, pieces};
use super::{documents, read, root};

/// The targets of `](…)` outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let prose: String = pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Code(_) => None,
        })
        .collect();
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors that GitHub makes of the headings.
fn anchors(text: &str) -> Vec<String> {
    pieces(text)
        .iter()
        .filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Code(_) => None,
        })
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn links_have_existing_targets() {
    let others = ["CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    let mut broken = Vec::new();
    for path in documents().into_iter().chain(others) {
        for link in links(&read(&path)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap_or(Path::new("")).join(file) };
            let exists =
                target.exists() && (anchor.is_empty() || anchors(&read(&target)).iter().any(|one| one == anchor));
            if !exists {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_document_is_linked_from_another() {
    let all = documents();
    let linked: Vec<_> = all
        .iter()
        .flat_map(|path| {
            let folder = path.parent().unwrap().to_owned();
            links(&read(path))
                .into_iter()
                .filter_map(move |link| folder.join(link.split('#').next().unwrap_or_default()).canonicalize().ok())
        })
        .collect();
    for path in &all[1..] {
        assert!(linked.contains(&path.canonicalize().unwrap()), "no document links to {}", path.display());
    }
}

#[test]
fn readme_names_every_command() {
    let done = Scratch::new().bash().args(["-c", "rolecall --help"]).output().unwrap();
    let help = String::from_utf8(done.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let readme = read(&root().join("README.md"));
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let is_named = [format!("`{command}"), format!("rolecall {command}")].iter().any(|text| readme.contains(text));
        assert!(is_named, "README.md does not name {command}");
    }
}
