//! What a person at a terminal is asked, and what happens without one. In process, in a world of the test's making.

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

use std::collections::BTreeMap;
use std::io;

use common::page::Page;
use common::rolecall::{Desk, example};
use rolecall::{Env, Exit, Stdio, Terminals};

/// The example on a desk of its own.
fn desk() -> Desk {
    let desk = Desk::offline();
    for name in ["access.toml", "cluster.yaml"] {
        desk.write(name, &std::fs::read_to_string(example("cluster-viewer").join(name)).unwrap());
    }
    desk
}

fn run_at_terminal(desk: &Desk, args: &[&str], answer: &str, colour: bool) -> (Exit, String, String) {
    let (out, err) = (Page::default(), Page::default());
    let ends = Stdio {
        stdin: Box::new(io::Cursor::new(answer.to_owned())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
    };
    let terminals = Terminals { stdin: true, stdout: colour, stderr: colour };
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut world = Env::new(now, BTreeMap::new(), desk.path(""), ends, terminals);
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut world);
    (exit, out.text(), err.text())
}

#[test]
fn only_yes_is_taken_for_a_yes() {
    for answer in ["no\n", "y\n", "", "YES\n", "yes please\n"] {
        let desk = desk();
        let before = desk.read("cluster.yaml");
        let (exit, _, err) = run_at_terminal(&desk, &["apply", "access.toml"], answer, false);
        assert_eq!(exit, Exit::Failed, "{answer:?}");
        assert!(err.contains("not approved: nothing was written"), "{err}");
        assert_eq!(desk.read("cluster.yaml"), before, "{answer:?}");
    }
    let desk = desk();
    let (exit, out, err) = run_at_terminal(&desk, &["apply", "access.toml"], "yes\n", false);
    assert_eq!(exit, Exit::Success, "{err}");
    assert!(out.ends_with("Applied to example (snapshot cluster.yaml): 3 writes made.\n"), "{out}");
    insta::assert_snapshot!(err, @r"

    Apply 4 changes by 3 writes to example (snapshot cluster.yaml)? Only `yes` is taken for a yes: 
    Applying to example (snapshot cluster.yaml)
      [1/3] created ClusterRole cluster-viewer
      [2/3] created ClusterRoleBinding cluster-viewers
      [3/3] changed ConfigMap kube-system/aws-auth
    ");
}

#[test]
fn nothing_is_asked_where_nothing_is_to_be_done() {
    let desk = desk();
    desk.ok(&["apply", "access.toml", "--auto-approve"]);
    let (exit, out, err) = run_at_terminal(&desk, &["apply", "access.toml"], "", false);
    assert_eq!((exit, err.as_str()), (Exit::Success, ""));
    assert_eq!(
        out,
        "example (snapshot cluster.yaml), policy cluster-viewer: no changes, the cluster is what the policy says.\n"
    );
}

#[test]
fn without_a_terminal_apply_wants_to_be_told_and_writes_nothing() {
    let desk = desk();
    let before = desk.read("cluster.yaml");
    let ran = desk.run(&["apply", "access.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("there is no terminal to ask at") && ran.err.contains("--auto-approve"), "{}", ran.err);
    assert_eq!(desk.read("cluster.yaml"), before);
}

#[test]
fn an_approved_digest_applies_that_plan_and_no_other() {
    let desk = desk();
    let digest = desk.plan(&["access.toml"])["digest"].as_str().unwrap().to_owned();
    let before = desk.read("cluster.yaml");
    let another = format!("sha256:{}", "0".repeat(64));
    let ran = desk.run(&["apply", "access.toml", "--approved", &another]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("another digest than the approved one") && ran.err.contains(&digest), "{}", ran.err);
    assert_eq!(desk.read("cluster.yaml"), before);
    desk.ok(&["apply", "access.toml", "--approved", &digest]);
    assert!(desk.ok(&["plan", "access.toml"]).contains("no changes"));
}

#[test]
fn the_exit_code_says_2_for_changes_alone_and_1_for_a_wrong_command_line() {
    let desk = desk();
    assert_eq!(desk.run(&["plan", "access.toml"]).code, 0);
    assert_eq!(desk.run(&["plan", "access.toml", "--detailed-exitcode"]).code, 2);
    assert_eq!(desk.run(&["drift", "access.toml"]).code, 2);
    desk.ok(&["apply", "access.toml", "--auto-approve"]);
    assert_eq!(desk.run(&["plan", "access.toml", "--detailed-exitcode"]).code, 0);
    assert_eq!(desk.run(&["drift", "access.toml"]).code, 0);
    assert_eq!(desk.run(&["plan", "--no-such-flag"]).code, 1);
    assert_eq!(desk.run(&[]).code, 1);
    assert_eq!(desk.run(&["--help"]).code, 0);
}

#[test]
fn colour_is_for_terminals_and_adds_nothing_but_itself() {
    let desk = desk();
    let (_, plain, _) = run_at_terminal(&desk, &["plan", "access.toml"], "", false);
    let (_, coloured, _) = run_at_terminal(&desk, &["plan", "access.toml"], "", true);
    assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[32m"));
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        bare.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    bare.push_str(rest);
    assert_eq!(bare, plain);
}

#[test]
fn the_help_of_every_command_is_as_it_was_reviewed() {
    let desk = Desk::offline();
    let mut all = desk.ok(&["--help"]);
    for command in [
        "plan",
        "apply",
        "drift",
        "validate",
        "snapshot",
        "whoami",
        "permissions",
        "can",
        "who-can",
        "access",
        "schema",
        "completions",
        "version",
    ] {
        all.push_str(&format!("──── {command}\n{}", desk.ok(&[command, "--help"])));
    }
    insta::assert_snapshot!(all);
}
