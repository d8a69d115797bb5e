//! What the README shows is what the program prints, and the policy that it explains is one.

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

#[cfg(test)]
mod common;

use std::path::Path;

use common::sandbox::Sandbox;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The code blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    text.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let mut text = readme();
    for block in blocks(&text, "console") {
        let Some(command) = block.lines().next().and_then(|line| line.strip_prefix("$ rolecall ")) else {
            continue;
        };
        let args: Vec<&str> = command.split(' ').collect();
        let mut run = Sandbox::offline().command(&args);
        let done = run.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let wanted = format!("$ rolecall {command}\n{}", String::from_utf8_lossy(&done.stdout));
        text = text.replace(&block, &wanted);
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &text).unwrap();
    }
    assert_eq!(readme(), text, "BLESS=1 cargo test --test readme writes what is printed now");
}

#[test]
fn the_policy_of_the_readme_is_valid() {
    let policies = blocks(&readme(), "toml");
    assert_eq!(policies.len(), 1);
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &policies[0]);
    assert_eq!(sandbox.ok(&["validate"]), "policy prod is valid: 5 principals, 2 groups, 4 roles, 2 bindings\n");
}

#[test]
fn the_readme_names_every_command() {
    let help = Sandbox::offline().ok(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(readme().contains(&format!("`{command}")), "the README does not name {command}");
    }
}
