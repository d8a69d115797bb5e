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

use common::captured_output::CapturedOutput;
use common::sandbox::{Sandbox, example_path};
use rolecall::{Env, Exit, Stdio, Terminals};

/// The example on a sandbox of its own.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    for name in ["access.toml", "cluster.yaml"] {
        sandbox.write(name, &std::fs::read_to_string(example_path("cluster-viewer").join(name)).unwrap());
    }
    sandbox
}

fn run_at_terminal(sandbox: &Sandbox, args: &[&str], answer: &str, colour: bool) -> (Exit, String, String) {
    let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
    let ends = Stdio {
        stdin: Box::new(io::Cursor::new(answer.to_owned())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
    };
    let terminals = Terminals { stdin: true, stdout: colour, stderr: colour };
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut world = Env::new(now, BTreeMap::new(), sandbox.path(""), ends, terminals);
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut world);
    (exit, out.text(), err.text())
}

#[test]
fn only_yes_is_taken_for_a_yes() {
    for answer in ["no\n", "y\n", "", "YES\n", "yes please\n"] {
        let sandbox = sandbox();
        let before = sandbox.read("cluster.yaml");
        let (exit, _, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], answer, false);
        assert_eq!(exit, Exit::Failed, "{answer:?}");
        assert!(err.contains("not approved: nothing was written"), "{err}");
        assert_eq!(sandbox.read("cluster.yaml"), before, "{answer:?}");
    }
    let sandbox = sandbox();
    let (exit, out, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], "yes\n", false);
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
    let sandbox = sandbox();
    sandbox.ok(&["apply", "access.toml", "--auto-approve"]);
    let (exit, out, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], "", false);
    assert_eq!((exit, err.as_str()), (Exit::Success, ""));
    assert_eq!(
        out,
        "example (snapshot cluster.yaml), policy cluster-viewer: no changes, the cluster is what the policy says.\n"
    );
}

#[test]
fn without_a_terminal_apply_wants_to_be_told_and_writes_nothing() {
    let sandbox = sandbox();
    let before = sandbox.read("cluster.yaml");
    let output = sandbox.run(&["apply", "access.toml"]);
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stderr.contains("there is no terminal to ask at") && output.stderr.contains("--auto-approve"),
        "{}",
        output.stderr
    );
    assert_eq!(sandbox.read("cluster.yaml"), before);
}

#[test]
fn an_approved_digest_applies_that_plan_and_no_other() {
    let sandbox = sandbox();
    let digest = sandbox.plan(&["access.toml"])["digest"].as_str().unwrap().to_owned();
    let before = sandbox.read("cluster.yaml");
    let output = sandbox.run(&["apply", "access.toml", "--approved", "sha256:0000"]);
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stderr.contains("another digest than the approved one") && output.stderr.contains(&digest),
        "{}",
        output.stderr
    );
    assert_eq!(sandbox.read("cluster.yaml"), before);
    sandbox.ok(&["apply", "access.toml", "--approved", &digest]);
    assert!(sandbox.ok(&["plan", "access.toml"]).contains("no changes"));
}

#[test]
fn the_exit_code_says_2_for_changes_alone_and_1_for_a_wrong_command_line() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["plan", "access.toml"]).exit_code, 0);
    assert_eq!(sandbox.run(&["plan", "access.toml", "--detailed-exitcode"]).exit_code, 2);
    assert_eq!(sandbox.run(&["drift", "access.toml"]).exit_code, 2);
    sandbox.ok(&["apply", "access.toml", "--auto-approve"]);
    assert_eq!(sandbox.run(&["plan", "access.toml", "--detailed-exitcode"]).exit_code, 0);
    assert_eq!(sandbox.run(&["drift", "access.toml"]).exit_code, 0);
    assert_eq!(sandbox.run(&["plan", "--no-such-flag"]).exit_code, 1);
    assert_eq!(sandbox.run(&[]).exit_code, 1);
    assert_eq!(sandbox.run(&["--help"]).exit_code, 0);
}

#[test]
fn colour_is_for_terminals_and_adds_nothing_but_itself() {
    let sandbox = sandbox();
    let (_, plain, _) = run_at_terminal(&sandbox, &["plan", "access.toml"], "", false);
    let (_, coloured, _) = run_at_terminal(&sandbox, &["plan", "access.toml"], "", true);
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
    let sandbox = Sandbox::offline();
    let mut all = sandbox.ok(&["--help"]);
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
    ] {
        all.push_str(&format!("──── {command}\n{}", sandbox.ok(&[command, "--help"])));
    }
    insta::assert_snapshot!(all);
}
