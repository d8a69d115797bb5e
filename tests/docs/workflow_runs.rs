//! The workflows of the documents, run against a snapshot: what passes, and what must not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::console::Scratch;
use super::markdown::blocks;
use super::workflow::{Action, JobRun, Workflow};
use super::{documents, read, root};
use crate::common::forge_double::{ForgeDouble, ForgeState, TOKEN};
use crate::common::go_tools;

/// `gh`, which opens an issue. Any other call fails.
const GH: &str = r#"
set -euo pipefail
[ "$1 $2 $3 $5" = "issue create --title --body-file" ] || { echo "unexpected: gh $*" >&2; exit 64; }
cat "$6" > "$HOME/issue"
"#;
/// The commit on the main branch that the pull request is merged as.
const MERGE: &str = "3f2c1d9";
const STALE: &str = "the plan does not match the approved digest";
/// An invariant that the recipes violate: team A can patch deployments in its namespace.
const VIOLATED: &str = r#"
[[invariants]]
description = "team A changes nothing in team-a"
group = "team-a"
cannot = { verb = "patch", resource = "deployments.apps", namespace = "team-a" }
"#;

/// A repository with a policy in `access/`, whose cluster is a snapshot, and its forge.
struct Repository {
    scratch: Scratch,
    forge: ForgeDouble,
}

impl Repository {
    fn new() -> Self {
        let scratch = Scratch::new();
        super::copy_folder(&root().join("examples/recipes"), &scratch.path().join("access"));
        scratch.stub("gh", GH);
        scratch.stub("cargo", "[ \"$1\" = install ]");
        // The token of a workflow is that of an app.
        Self { scratch, forge: ForgeDouble::new(ForgeState { has_app_token: true, ..ForgeState::default() }) }
    }

    fn run(&self, workflow: &str, git_ref: &str) -> BTreeMap<String, JobRun> {
        let context = BTreeMap::from([("github.token", TOKEN)]);
        let env = [
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_API_URL", format!("{}/api/v3", self.forge.server.url())),
            ("GITHUB_REPOSITORY", "org/access".to_owned()),
            ("GITHUB_REF", git_ref.to_owned()),
            ("GITHUB_SHA", MERGE.to_owned()),
        ];
        Workflow::read(&root().join("examples/ci").join(workflow)).run(&self.scratch, &context, &env)
    }

    /// Runs the workflow of pull requests.
    fn plan(&self) -> BTreeMap<String, JobRun> {
        self.run("plan.yml", "refs/pull/12/merge")
    }

    /// Merges the pull request and runs the workflow of the main branch.
    fn merge_and_apply(&self) -> BTreeMap<String, JobRun> {
        self.forge.merge(MERGE);
        self.run("apply.yml", "refs/heads/main")
    }

    /// The only comment.
    #[track_caller]
    fn comment(&self) -> String {
        let comments = self.forge.comments();
        assert_eq!(comments.len(), 1);
        comments[0].body.clone()
    }
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
            let is_github = block.content.starts_with("# .github/workflows/");
            if let (true, Err(error)) = (is_github, Workflow::parse(&block.content)) {
                panic!("{place}: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3);
}

#[test]
fn reviewed_plan_is_applied() {
    let repository = Repository::new();
    let scratch = &repository.scratch;
    passes(&repository.plan());
    let comment = repository.comment();
    assert!(comment.contains("### 📝 rolecall plan: "), "{comment}");
    passes(&repository.merge_and_apply());
    assert_eq!(plan_code(scratch), Some(0));
    let backups = std::fs::read_dir(scratch.path().join("backup")).unwrap().count();
    assert_eq!(backups, 1);
}

#[test]
fn refused_plan_fails_the_job_and_is_commented() {
    let repository = Repository::new();
    passes(&repository.plan());
    add_to_policy(&repository.scratch, VIOLATED);
    fails(&repository.plan(), "plan", "team A changes nothing in team-a");
    let comment = repository.comment();
    assert!(comment.contains("### ⛔ rolecall plan: refused"), "{comment}");
    // The plan that was commented before is not applied either.
    let before = cluster(&repository.scratch);
    fails(&repository.merge_and_apply(), "apply", "team A changes nothing in team-a");
    assert_eq!(cluster(&repository.scratch), before);
}

#[test]
fn invalid_policy_fails_the_job_and_is_commented() {
    let repository = Repository::new();
    add_to_policy(&repository.scratch, "[groups.x]\nmember = []\n");
    fails(&repository.plan(), "plan", "member");
    let comment = repository.comment();
    assert!(comment.contains("### ❌ rolecall plan: failed"), "{comment}");
}

#[test]
fn cluster_that_changed_since_the_review_is_not_written() {
    let repository = Repository::new();
    passes(&repository.plan());
    // Another tool has written aws-auth.
    let changed = cluster(&repository.scratch).replace("\"1204\"", "\"1205\"");
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), &changed).unwrap();
    fails(&repository.merge_and_apply(), "apply", STALE);
    assert_eq!(cluster(&repository.scratch), changed);
}

#[test]
fn only_the_last_commented_plan_counts() {
    let repository = Repository::new();
    let scratch = &repository.scratch;
    passes(&repository.plan());
    add_to_policy(scratch, "[groups.new]\n[bindings.new]\ncluster-role = \"view\"\ngroups = [\"new\"]\n");
    let before = cluster(scratch);
    fails(&repository.merge_and_apply(), "apply", STALE);
    assert_eq!(cluster(scratch), before);
    passes(&repository.plan());
    repository.comment();
    passes(&repository.merge_and_apply());
    assert_eq!(plan_code(scratch), Some(0));
}

#[test]
fn merge_without_changes_passes_only_while_nothing_is_to_be_changed() {
    let repository = Repository::new();
    for _ in 0..2 {
        passes(&repository.plan());
        passes(&repository.merge_and_apply());
    }
    let reverted = read(&root().join("examples/recipes/cluster.yaml"));
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), reverted).unwrap();
    fails(&repository.merge_and_apply(), "apply", "to add");
}

#[test]
fn saved_plan_is_applied_by_the_second_job() {
    let repository = Repository::new();
    let run = || repository.run("plan-and-apply.yml", "refs/heads/main");
    passes(&run());
    let summary = read(&repository.scratch.path().join(".github-summary"));
    assert!(summary.contains("### 📝 rolecall plan: "), "{summary}");
    assert_eq!(plan_code(&repository.scratch), Some(0));
    // A plan without changes is applied too.
    passes(&run());
}

#[test]
fn refused_plan_is_not_passed_on_to_the_second_job() {
    let repository = Repository::new();
    add_to_policy(&repository.scratch, VIOLATED);
    let before = cluster(&repository.scratch);
    let runs = repository.run("plan-and-apply.yml", "refs/heads/main");
    fails(&runs, "plan", "team A changes nothing in team-a");
    fails(&runs, "apply", "skipped");
    assert_eq!(cluster(&repository.scratch), before);
}

#[test]
fn drift_opens_an_issue_and_fails_the_job() {
    let repository = Repository::new();
    let scratch = &repository.scratch;
    let done = scratch.bash().args(["-c", "rolecall apply access/ --auto-approve"]).output().unwrap();
    assert!(done.status.success());
    let drift = || repository.run("drift.yml", "refs/heads/main");
    passes(&drift());
    assert!(!scratch.path().join("issue").exists());
    let changed = cluster(scratch).replace("  - deployments\n", "  - deployments\n  - statefulsets\n");
    std::fs::write(scratch.path().join("access/cluster.yaml"), changed).unwrap();
    assert!(!drift()["drift"].succeeded);
    assert!(read(&scratch.path().join("issue")).contains("statefulsets"));
}

impl Repository {
    /// Runs a job of the GitLab pipeline as a runner does: `script` in one shell that stops at the first error, and then
    /// `after_script`, which does not change the result.
    fn run_gitlab(&self, pipeline: &Value, job: &str, variables: &[(&str, &str)]) -> JobRun {
        let run = |key: &str| {
            let lines = pipeline[job][key].as_array().cloned().unwrap_or_default();
            let script: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
            let mut command = self.scratch.bash();
            command.args(["--noprofile", "--norc", "-c", &format!("set -eo pipefail\n{}", script.join("\n"))]);
            command.env("GITLAB_CI", "true").env("CI_PROJECT_ID", "org/access").env("GITLAB_TOKEN", TOKEN);
            command.env("CI_API_V4_URL", format!("{}/api/v4", self.forge.server.url()));
            command.envs(variables.iter().copied());
            command.output().unwrap()
        };
        let done = run("script");
        let after = run("after_script");
        let text = |output: &[u8]| String::from_utf8_lossy(output).into_owned();
        let log = [&done.stdout, &done.stderr, &after.stdout, &after.stderr].map(|output| text(output)).concat();
        JobRun { succeeded: done.status.success(), log }
    }
}

#[test]
fn gitlab_pipeline_comments_and_applies_what_was_reviewed() {
    let pipeline: Value = serde_saphyr::from_str(&read(&root().join("examples/ci/gitlab-ci.yml"))).unwrap();
    check_gitlab(&pipeline, "access-plan", "access-apply");
}

/// The component with its inputs filled in, as GitLab does before it reads the jobs.
fn gitlab_component(inputs: &[(&str, &str)]) -> Value {
    let text = read(&root().join("templates/rolecall.yml"));
    let (header, jobs) = text.split_once("\n---\n").unwrap();
    let spec: Value = serde_saphyr::from_str(header).unwrap();
    let mut jobs = jobs.to_owned();
    for (name, input) in spec["spec"]["inputs"].as_object().unwrap() {
        let given = inputs.iter().find(|(given, _)| given == name).map(|(_, value)| *value);
        let value = given.or(input["default"].as_str()).unwrap_or_else(|| panic!("the input {name} has no value"));
        jobs = jobs.replace(&format!("$[[ inputs.{name} ]]"), value);
    }
    assert!(!jobs.contains("$[["), "{jobs}");
    serde_saphyr::from_str(&jobs).unwrap()
}

#[test]
fn gitlab_component_comments_applies_what_was_reviewed_and_finds_drift() {
    let inputs = [("image", "registry.example/rolecall:0.1.0"), ("connect", "export KUBECONFIG=made")];
    let pipeline = gitlab_component(&inputs);
    let repository = check_gitlab(&pipeline, "rolecall-plan", "rolecall-apply");
    let drift = || repository.run_gitlab(&pipeline, "rolecall-drift", &[]);
    assert!(drift().succeeded);
    let changed = cluster(&repository.scratch).replace("  - deployments\n", "  - deployments\n  - statefulsets\n");
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), changed).unwrap();
    assert!(!drift().succeeded);
}

fn check_gitlab(pipeline: &Value, plan: &str, apply: &str) -> Repository {
    let repository = Repository::new();
    repository.forge.let_user_be_read();
    let request = [("CI_MERGE_REQUEST_IID", "12")];
    let merge = [("CI_COMMIT_SHA", MERGE)];
    add_to_policy(&repository.scratch, VIOLATED);
    let refused = repository.run_gitlab(pipeline, plan, &request);
    assert!(!refused.succeeded && refused.log.contains("team A changes nothing in team-a"), "{}", refused.log);
    assert!(repository.comment().contains("### ⛔ rolecall plan: refused"));
    add_to_policy(&repository.scratch, "");
    let planned = repository.run_gitlab(pipeline, plan, &request);
    assert!(planned.succeeded, "{}", planned.log);
    repository.forge.merge(MERGE);
    let reviewed = cluster(&repository.scratch);
    let changed = reviewed.replace("\"1204\"", "\"1205\"");
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), &changed).unwrap();
    let stale = repository.run_gitlab(pipeline, apply, &merge);
    assert!(!stale.succeeded && stale.log.contains(STALE), "{}", stale.log);
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), &reviewed).unwrap();
    let applied = repository.run_gitlab(pipeline, apply, &merge);
    assert!(applied.succeeded, "{}", applied.log);
    assert_eq!(plan_code(&repository.scratch), Some(0));
    repository
}

/// Atlantis runs each step with `sh -c` in the folder of the project, with the path of the plan in `PLANFILE`.
#[test]
fn atlantis_applies_the_saved_plan_and_no_refused_one() {
    let config: Value = serde_saphyr::from_str(&read(&root().join("examples/ci/atlantis.yaml"))).unwrap();
    let repository = Repository::new();
    let scratch = &repository.scratch;
    let run = |stage: &str| {
        let steps = config["workflows"]["rolecall"][stage]["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 1);
        let mut command = scratch.bash();
        command.args(["-c", "cd \"$DIR\" && exec sh -c \"$STEP\""]);
        command.env("DIR", config["projects"][0]["dir"].as_str().unwrap());
        command.env("STEP", steps[0]["run"].as_str().unwrap());
        command.env("PLANFILE", scratch.path().join("access.tfplan"));
        command.output().unwrap().status.success()
    };
    add_to_policy(scratch, VIOLATED);
    let before = cluster(scratch);
    assert!(!run("plan") && !run("apply"));
    assert_eq!(cluster(scratch), before);
    add_to_policy(scratch, "");
    assert!(run("plan") && run("apply"));
    assert_eq!(plan_code(scratch), Some(0));
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

impl Repository {
    /// Runs the action for an event. Returns its outputs, too.
    fn run_action(&self, event: &str, inputs: &[(&str, &str)]) -> (JobRun, BTreeMap<String, String>) {
        let path = root().join("action.yml");
        let temp = self.scratch.path().display().to_string();
        let context = BTreeMap::from([
            ("github.token", TOKEN),
            ("github.action_path", "/action"),
            ("github.event_name", event),
            ("runner.temp", temp.as_str()),
        ]);
        let git_ref = if event == "pull_request" { "refs/pull/12/merge" } else { "refs/heads/main" };
        let env = [
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_API_URL", format!("{}/api/v3", self.forge.server.url())),
            ("GITHUB_REPOSITORY", "org/access".to_owned()),
            ("GITHUB_REF", git_ref.to_owned()),
            ("GITHUB_SHA", MERGE.to_owned()),
        ];
        Action::read(&path).run(&self.scratch, &inputs.iter().copied().collect(), &context, &env)
    }

    #[track_caller]
    fn action(&self, event: &str, code: &str) -> (JobRun, BTreeMap<String, String>) {
        let (run, outputs) = self.run_action(event, &[]);
        assert_eq!(outputs["exit-code"], code, "{}", run.log);
        assert_eq!(run.succeeded, code == "0", "no step hides an exit code: {}", run.log);
        (run, outputs)
    }
}

#[test]
fn action_comments_updates_and_applies_what_was_reviewed() {
    let repository = Repository::new();
    let (_, outputs) = repository.action("pull_request", "0");
    assert_eq!(outputs["command"], "plan");
    assert!(repository.comment().contains("### 📝 rolecall plan: "));
    // Another push updates the comment, and a refused plan fails.
    add_to_policy(&repository.scratch, VIOLATED);
    let (run, _) = repository.action("pull_request", "3");
    assert!(run.log.contains("team A changes nothing in team-a"), "{}", run.log);
    assert!(repository.comment().contains("### ⛔ rolecall plan: refused"));
    add_to_policy(&repository.scratch, "");
    repository.action("pull_request", "0");
    repository.comment();
    // Without a merged pull request nothing was reviewed, and nothing is applied.
    let before = cluster(&repository.scratch);
    repository.action("push", "2");
    assert_eq!(cluster(&repository.scratch), before);
    // The cluster changes between the approval and the merge.
    repository.forge.merge(MERGE);
    let reviewed = cluster(&repository.scratch);
    let changed = reviewed.replace("\"1204\"", "\"1205\"");
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), &changed).unwrap();
    let (stale, _) = repository.action("push", "1");
    assert!(stale.log.contains(STALE), "{}", stale.log);
    assert_eq!(cluster(&repository.scratch), changed);
    std::fs::write(repository.scratch.path().join("access/cluster.yaml"), &reviewed).unwrap();
    let (_, outputs) = repository.action("push", "0");
    assert_eq!(outputs["command"], "apply");
    assert_eq!(plan_code(&repository.scratch), Some(0));
    assert!(repository.scratch.path().join("rolecall-backup").is_dir());
}

#[test]
fn action_finds_drift_and_knows_no_other_event() {
    let repository = Repository::new();
    let scratch = &repository.scratch;
    let done = scratch.bash().args(["-c", "rolecall apply access/ --auto-approve"]).output().unwrap();
    assert!(done.status.success());
    repository.action("schedule", "0");
    let changed = cluster(scratch).replace("  - deployments\n", "  - deployments\n  - statefulsets\n");
    std::fs::write(scratch.path().join("access/cluster.yaml"), changed).unwrap();
    let (_, outputs) = repository.action("schedule", "2");
    assert!(read(std::path::Path::new(&outputs["report"])).contains("statefulsets"));
    let (run, _) = repository.run_action("issues", &[]);
    assert!(!run.succeeded && run.log.contains("no command for the event issues"), "{}", run.log);
    let (run, _) = repository.run_action("issues", &[("command", "drift"), ("arguments", "--cluster=nowhere\n\n-q")]);
    assert!(!run.succeeded && run.log.contains("nowhere"), "{}", run.log);
    let (run, _) = repository.run_action("push", &[("command", "destroy")]);
    assert!(!run.succeeded && run.log.contains("must be plan, apply, drift or auto"), "{}", run.log);
}

/// actionlint checks the workflows against the syntax of GitHub Actions, and the action where a workflow uses it.
#[test]
fn workflows_and_the_action_pass_actionlint() {
    let folder = tempfile::TempDir::new().unwrap();
    let workflows = folder.path().join(".github/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    std::fs::copy(root().join("action.yml"), folder.path().join("action.yml")).unwrap();
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("examples/ci")).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        if text.starts_with("# .github/workflows/") {
            // The action of this repository, so that its inputs are compared.
            let text = text.replace("YOUR-ORG/rolecall@v0.1.0", "./");
            std::fs::write(workflows.join(path.file_name().unwrap()), text).unwrap();
            checked += 1;
        }
    }
    assert!(checked >= 5);
    let mut command = std::process::Command::new(go_tools::path("actionlint"));
    let output = command.args(["-no-color", "-shellcheck=", "-pyflakes="]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // It does find what is wrong.
    let action = read(&root().join("action.yml")).replace("  using: composite\n", "  using: nothing\n");
    std::fs::write(folder.path().join("action.yml"), action).unwrap();
    let mut command = std::process::Command::new(go_tools::path("actionlint"));
    let output = command.args(["-no-color", "-shellcheck=", "-pyflakes="]).current_dir(folder.path()).output().unwrap();
    assert!(!output.status.success());
}
