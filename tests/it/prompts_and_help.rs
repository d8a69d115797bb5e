//! Tests the approval of `apply` at a terminal and without one, exit codes, colors and help. The program runs in process
//! with an [`Env`] that the test builds.

use std::collections::BTreeMap;
use std::io;

use crate::common::captured_output::CapturedOutput;
use crate::common::sandbox::{Sandbox, example_path};
use rolecall::{Env, Exit, Stdio, Terminals};

/// A folder with the `cluster-viewer` example.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    for name in ["access.toml", "cluster.yaml"] {
        sandbox.write(name, &std::fs::read_to_string(example_path("cluster-viewer").join(name)).unwrap());
    }
    sandbox
}

fn run_at_terminal(sandbox: &Sandbox, args: &[&str], answer: &str, color: bool) -> (Exit, String, String) {
    let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
    let stdio = Stdio {
        stdin: Box::new(io::Cursor::new(answer.to_owned())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
    };
    let terminals = Terminals { stdin: true, stdout: color, stderr: color };
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut env = Env::new(now, BTreeMap::new(), sandbox.path(""), stdio, terminals);
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut env);
    (exit, out.text(), err.text())
}

#[test]
fn apply_prompt_accepts_only_yes() {
    for answer in ["no\n", "y\n", "", "YES\n", "yes please\n"] {
        let sandbox = sandbox();
        let before = sandbox.read("cluster.yaml");
        let (exit, _, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], answer, false);
        assert_eq!(exit, Exit::Failed, "{answer:?}");
        assert!(err.contains("Apply cancelled. No changes were made."), "{err}");
        assert_eq!(sandbox.read("cluster.yaml"), before, "{answer:?}");
    }
    let sandbox = sandbox();
    let (exit, out, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], "yes\n", false);
    assert_eq!(exit, Exit::Success, "{err}");
    assert!(out.ends_with("Applied to example (snapshot cluster.yaml): 3 writes made.\n"), "{out}");
    insta::assert_snapshot!(err, @r"

    Do you want to apply these 4 changes to example (snapshot cluster.yaml)? Only 'yes' will be accepted: 
    Applying to example (snapshot cluster.yaml)
      [1/3] created ClusterRole cluster-viewer
      [2/3] created ClusterRoleBinding cluster-viewers
      [3/3] changed ConfigMap kube-system/aws-auth
    ");
}

#[test]
fn apply_without_changes_does_not_prompt() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "access.toml", "--auto-approve"]);
    let (exit, out, err) = run_at_terminal(&sandbox, &["apply", "access.toml"], "", false);
    assert_eq!((exit, err.as_str()), (Exit::Success, ""));
    assert_eq!(
        out,
        "example (snapshot cluster.yaml), policy cluster-viewer: No changes. The cluster matches the policy.\n"
    );
}

#[test]
fn apply_without_a_terminal_needs_auto_approve() {
    let sandbox = sandbox();
    let before = sandbox.read("cluster.yaml");
    let output = sandbox.run(&["apply", "access.toml"]);
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stderr.contains("apply needs confirmation, but stdin is not a terminal")
            && output.stderr.contains("--auto-approve"),
        "{}",
        output.stderr
    );
    assert_eq!(sandbox.read("cluster.yaml"), before);
}

#[test]
fn approved_digest_applies_only_the_plan_with_that_digest() {
    let sandbox = sandbox();
    let digest = sandbox.plan(&["access.toml"])["digest"].as_str().unwrap().to_owned();
    let before = sandbox.read("cluster.yaml");
    let another = format!("sha256:{}", "0".repeat(64));
    let output = sandbox.run(&["apply", "access.toml", "--approved", &another]);
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stderr.contains("the plan does not match the approved digest") && output.stderr.contains(&digest),
        "{}",
        output.stderr
    );
    assert_eq!(sandbox.read("cluster.yaml"), before);
    sandbox.ok(&["apply", "access.toml", "--approved", &digest]);
    assert!(sandbox.ok(&["plan", "access.toml"]).contains("No changes."));
}

#[test]
fn exit_code_is_2_for_changes_found_and_1_for_a_wrong_command_line() {
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
fn color_is_only_for_terminals_and_changes_no_text() {
    let sandbox = sandbox();
    let (_, plain, _) = run_at_terminal(&sandbox, &["plan", "access.toml"], "", false);
    let (_, colored, _) = run_at_terminal(&sandbox, &["plan", "access.toml"], "", true);
    assert!(!plain.contains('\u{1b}') && colored.contains("\u{1b}[32m"));
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    // The signs are explained on a terminal only.
    let (before, after) = stripped.split_once("Signs: ").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    assert_eq!(format!("{before}{after}"), plain);
}

#[test]
fn help_of_every_command_matches_its_snapshot() {
    let sandbox = Sandbox::offline();
    let mut help = sandbox.ok(&["--help"]);
    for command in [
        "plan",
        "apply",
        "drift",
        "validate",
        "snapshot",
        "whoami",
        "clusters",
        "permissions",
        "can",
        "who-can",
        "access",
        "explain",
        "report",
        "graph",
        "test",
        "comment",
        "show",
        "restore",
        "schema",
        "completions",
        "man",
        "version",
    ] {
        help.push_str(&format!("──── {command}\n{}", sandbox.ok(&[command, "--help"])));
    }
    insta::assert_snapshot!(help);
}
