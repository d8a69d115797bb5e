//! The workflows of the documents, run against a snapshot: what passes, and what must not.

use std::collections::BTreeMap;

use super::console::Scratch;
use super::markdown::blocks;
use super::workflow::{JobRun, Workflow};
use super::{documents, read, root};

/// `gh`, with the comments of one pull request in a file. Any call that the workflows do not make fails.
const GH: &str = r#"
set -euo pipefail
case "$1 $2" in
    "pr comment") [ "$3 $4" = "7 --body-file" ]; cat "$5" >> "$HOME/comments" ;;
    "issue create") [ "$3 $5" = "--title --body-file" ]; cat "$6" > "$HOME/issue" ;;
    "api repos/example/access/commits/3f2c1d9/pulls") echo 7 ;;
    "api --paginate") [ "$3" = repos/example/access/issues/7/comments ]; cat "$HOME/comments" ;;
    *) echo "unexpected: gh $*" >&2; exit 64 ;;
esac
"#;
/// An invariant that the recipes violate: team A can patch deployments in its namespace.
const VIOLATED: &str = r#"
[[invariants]]
description = "team A changes nothing in team-a"
group = "team-a"
cannot = { verb = "patch", resource = "deployments.apps", namespace = "team-a" }
"#;

/// A repository with a policy in `access/`, whose cluster is a snapshot.
fn repository() -> Scratch {
    let scratch = Scratch::new();
    super::copy_folder(&root().join("examples/recipes"), &scratch.path().join("access"));
    scratch.stub("gh", GH);
    scratch.stub("aws", "[ \"$1 $2\" = 'eks update-kubeconfig' ]");
    scratch.stub("cargo", "[ \"$1\" = install ]");
    scratch
}

fn run(scratch: &Scratch, workflow: &str) -> BTreeMap<String, JobRun> {
    let context = BTreeMap::from([
        ("github.token", "token"),
        ("github.event.pull_request.number", "7"),
        ("github.event.pull_request.head.sha", "77aa01"),
    ]);
    Workflow::read(&root().join("examples/ci").join(workflow)).run(scratch, &context)
}

#[track_caller]
fn passes(runs: &BTreeMap<String, JobRun>) {
    for (name, run) in runs {
        assert!(run.succeeded, "{name}: {}", run.log);
    }
}

#[track_caller]
fn fails(runs: &BTreeMap<String, JobRun>, job: &str, because: &str) {
    assert!(!runs[job].succeeded, "{}", runs[job].log);
    assert!(runs[job].log.contains(because), "{}", runs[job].log);
}

fn add_to_policy(scratch: &Scratch, text: &str) {
    std::fs::write(scratch.path().join("access/added.toml"), text).unwrap();
}

/// The exit code of `rolecall plan --detailed-exitcode`: 0 when the cluster matches the policy.
fn plan_code(scratch: &Scratch) -> Option<i32> {
    let done = scratch.bash().args(["-c", "rolecall plan access/ --detailed-exitcode"]).output().unwrap();
    done.status.code()
}

fn cluster(scratch: &Scratch) -> String {
    read(&scratch.path().join("access/cluster.yaml"))
}

#[test]
fn yaml_blocks_are_workflows_of_examples() {
    let mut seen = 0;
    for path in documents() {
        for block in blocks(&path, "yaml") {
            let place = format!("{}:{}", path.display(), block.line);
            let quoted = block.directive.as_deref().and_then(|directive| directive.strip_prefix("file: examples/ci/"));
            assert!(quoted.is_some(), "{place}: quote a workflow of examples/ci, which tests run");
            if let Err(error) = Workflow::parse(&block.content) {
                panic!("{place}: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3);
}

#[test]
fn reviewed_plan_is_applied() {
    let scratch = repository();
    passes(&run(&scratch, "plan.yml"));
    let comment = read(&scratch.path().join("comments"));
    assert!(comment.starts_with("rolecall plan of 77aa01\n\n    prod "), "{comment}");
    passes(&run(&scratch, "apply.yml"));
    assert_eq!(plan_code(&scratch), Some(0));
    let backups = std::fs::read_dir(scratch.path().join("backup")).unwrap().count();
    assert_eq!(backups, 1);
}

#[test]
fn refused_plan_fails_the_job_and_is_commented() {
    let scratch = repository();
    add_to_policy(&scratch, VIOLATED);
    fails(&run(&scratch, "plan.yml"), "plan", "team A changes nothing in team-a");
    let comment = read(&scratch.path().join("comments"));
    assert!(comment.contains("    error: "), "{comment}");
}

#[test]
fn invalid_policy_fails_the_job_and_is_commented() {
    let scratch = repository();
    add_to_policy(&scratch, "[groups.x]\nmember = []\n");
    fails(&run(&scratch, "plan.yml"), "plan", "member");
    assert!(read(&scratch.path().join("comments")).contains("    error: "));
}

#[test]
fn cluster_that_changed_since_the_review_is_not_written() {
    let scratch = repository();
    passes(&run(&scratch, "plan.yml"));
    let changed = cluster(&scratch).replace("role/break-glass", "role/other");
    std::fs::write(scratch.path().join("access/cluster.yaml"), &changed).unwrap();
    fails(&run(&scratch, "apply.yml"), "apply", "digest");
    assert_eq!(cluster(&scratch), changed);
}

#[test]
fn only_the_last_commented_plan_counts() {
    let scratch = repository();
    passes(&run(&scratch, "plan.yml"));
    add_to_policy(&scratch, "[groups.new]\n[bindings.new]\ncluster-role = \"view\"\ngroups = [\"new\"]\n");
    let before = cluster(&scratch);
    fails(&run(&scratch, "apply.yml"), "apply", "digest");
    assert_eq!(cluster(&scratch), before);
    passes(&run(&scratch, "plan.yml"));
    passes(&run(&scratch, "apply.yml"));
    assert_eq!(plan_code(&scratch), Some(0));
}

#[test]
fn merge_without_changes_passes_only_while_nothing_is_to_be_changed() {
    let scratch = repository();
    passes(&run(&scratch, "plan.yml"));
    passes(&run(&scratch, "apply.yml"));
    passes(&run(&scratch, "plan.yml"));
    passes(&run(&scratch, "apply.yml"));
    let reverted = read(&root().join("examples/recipes/cluster.yaml"));
    std::fs::write(scratch.path().join("access/cluster.yaml"), reverted).unwrap();
    fails(&run(&scratch, "apply.yml"), "apply", "to add");
}

#[test]
fn saved_plan_is_applied_by_the_second_job() {
    let scratch = repository();
    passes(&run(&scratch, "plan-and-apply.yml"));
    assert_eq!(plan_code(&scratch), Some(0));
    // A plan without changes is applied too.
    passes(&run(&scratch, "plan-and-apply.yml"));
}

#[test]
fn refused_plan_is_not_passed_on_to_the_second_job() {
    let scratch = repository();
    add_to_policy(&scratch, VIOLATED);
    let before = cluster(&scratch);
    let runs = run(&scratch, "plan-and-apply.yml");
    fails(&runs, "plan", "team A changes nothing in team-a");
    fails(&runs, "apply", "skipped");
    assert_eq!(cluster(&scratch), before);
}

#[test]
fn drift_opens_an_issue_and_fails_the_job() {
    let scratch = repository();
    let done = scratch.bash().args(["-c", "rolecall apply access/ --auto-approve"]).output().unwrap();
    assert!(done.status.success());
    passes(&run(&scratch, "drift.yml"));
    assert!(!scratch.path().join("issue").exists());
    let changed = cluster(&scratch).replace("  - deployments\n", "  - deployments\n  - statefulsets\n");
    std::fs::write(scratch.path().join("access/cluster.yaml"), changed).unwrap();
    fails(&run(&scratch, "drift.yml"), "drift", "statefulsets");
    assert!(read(&scratch.path().join("issue")).contains("statefulsets"));
}

#[test]
fn cron_script_prints_nothing_without_drift() {
    let scratch = Scratch::new();
    let script = |policy: &str| {
        let done = scratch.bash().args(["examples/ci/drift.sh", policy]).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8_lossy(&done.stderr))
    };
    let (code, text) = script("examples/drift");
    assert_eq!(code, 2);
    assert!(text.starts_with("The access differs from the policy:\n") && text.contains("mallory"), "{text}");
    let (code, text) = script("examples/nowhere");
    assert_eq!(code, 1);
    assert!(text.starts_with("rolecall drift failed with exit code 1:\nerror: "), "{text}");
    let done = scratch.bash().args(["-c", "rolecall apply examples/drift --auto-approve"]).output().unwrap();
    assert!(done.status.success());
    assert_eq!(script("examples/drift"), (0, String::new()));
}
