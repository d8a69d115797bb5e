//! A pull request from its first push to the apply, with the steps of the GitHub Action, on the test cluster and with a double
//! of GitHub: what was commented is applied, and nothing else.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::forge_double::{ForgeDouble, ForgeState, TOKEN};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;

/// The commit that the pull request is merged as.
const MERGE: &str = "3f2c1d9";
const READER: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader";

fn policy(verbs: &str) -> String {
    format!(
        "[policy]\nname = \"pull-request\"\n[clusters.prod]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n\
         [principals.viewer]\nrole = \"arn:aws:iam::111122223333:role/viewer\"\ngroups = [\"viewers\"]\n[groups.viewers]\n\
         [cluster-roles.reader]\nrules = [{{ verbs = [{verbs}], resources = [\"pods\"] }}]\n\
         [bindings.readers]\ncluster-role = \"reader\"\ngroups = [\"viewers\"]\n"
    )
}

/// A repository with a policy in `access/`, its cluster and its forge.
struct Repository<'a> {
    cluster: &'a TestCluster,
    sandbox: Sandbox,
    forge: ForgeDouble,
    kubeconfig: std::path::PathBuf,
    script: String,
}

impl<'a> Repository<'a> {
    fn new(cluster: &'a TestCluster) -> Self {
        let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
        let action: Value = serde_saphyr::from_str(&std::fs::read_to_string(action).unwrap()).unwrap();
        let steps = action["runs"]["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["id"] == "rolecall").unwrap();
        assert_eq!(step["shell"], "bash");
        let script = step["run"].as_str().unwrap().to_owned();
        let kubeconfig = cluster.kubeconfig();
        let forge = ForgeDouble::new(ForgeState { has_app_token: true, ..ForgeState::default() });
        Self { cluster, sandbox: Sandbox::with_kubeconfig(kubeconfig.clone()), forge, kubeconfig, script }
    }

    /// bash as GitHub starts it for `shell: bash`, with the variables of a workflow.
    fn bash(&self, script: &str, git_ref: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_rolecall")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.env_clear().current_dir(self.sandbox.path("")).env("PATH", path).env("HOME", self.sandbox.path(""));
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]);
        command.env("KUBECONFIG", &self.kubeconfig).env("GITHUB_ACTIONS", "true").env("GITHUB_TOKEN", TOKEN);
        command.env("GITHUB_API_URL", format!("{}/api/v3", self.forge.server.url()));
        command.env("GITHUB_REPOSITORY", "org/access").env("GITHUB_REF", git_ref).env("GITHUB_SHA", MERGE);
        command
            .env("GITHUB_OUTPUT", self.sandbox.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.sandbox.path("summary"));
        command
    }

    /// Runs the action for an event. Returns its exit code and its log.
    fn action(&self, event: &str) -> (i32, String) {
        let git_ref = if event == "pull_request" { "refs/pull/12/merge" } else { "refs/heads/main" };
        self.sandbox.write("output", "");
        let mut command = self.bash(&self.script, git_ref);
        command.env("COMMAND", "auto").env("EVENT", event).env("POLICY", "access").env("ARGUMENTS", "");
        command.env("BACKUP", "backup").env("REPORT", self.sandbox.path("report.md"));
        let output = command.output().unwrap();
        let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!log.contains("SECRET") && !log.contains("panicked"), "{log}");
        let code = output.status.code().unwrap();
        assert!(self.sandbox.read("output").contains(&format!("exit-code={code}\n")), "{log}");
        (code, log)
    }

    #[track_caller]
    fn succeeds(&self, event: &str) -> String {
        let (code, log) = self.action(event);
        assert_eq!(code, 0, "{log}");
        log
    }

    /// The only comment, and its ID.
    #[track_caller]
    fn comment(&self) -> (u64, String) {
        let comments = self.forge.comments();
        assert_eq!(comments.len(), 1);
        (comments[0].id, comments[0].body.clone())
    }

    fn reader_verbs(&self) -> Value {
        let (status, role) = self.cluster.admin("GET", READER, None);
        if status == 404 { Value::Null } else { role["rules"][0]["verbs"].clone() }
    }
}

#[test]
fn reviewed_plan_is_applied_and_no_other() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": "" }));
    let repository = Repository::new(&cluster);
    let sandbox = &repository.sandbox;
    // Opened, and pushed to again: the same comment is updated.
    sandbox.write("access/prod.toml", &policy("\"get\", \"delete\""));
    repository.succeeds("pull_request");
    let (first, opened) = repository.comment();
    assert!(opened.contains("### 📝 rolecall plan: 3 changes") && opened.contains("delete"), "{opened}");
    sandbox.write("access/prod.toml", &policy("\"get\""));
    repository.succeeds("pull_request");
    let (second, pushed) = repository.comment();
    assert_eq!(first, second);
    assert!(pushed.contains("--approved sha256:") && !pushed.contains("delete"), "{pushed}");
    assert_ne!(opened, pushed);
    // Approved and merged, but the cluster has changed since.
    repository.forge.merge(MERGE);
    cluster
        .set_aws_auth(&json!({ "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/other\n  username: other\n" }));
    let (code, log) = repository.action("push");
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("the plan does not match the approved digest"), "{log}");
    assert_eq!(repository.reader_verbs(), Value::Null, "nothing was written");
    // The pull request is planned again, and what its comment shows is applied.
    repository.succeeds("pull_request");
    let log = repository.succeeds("push");
    assert!(log.contains("created ClusterRole reader"), "{log}");
    assert_eq!(repository.reader_verbs(), json!(["get"]));
    assert_eq!(std::fs::read_dir(sandbox.path("backup")).unwrap().count(), 1);
    // Nothing is left to do, and drift finds nothing until the cluster changes.
    repository.succeeds("pull_request");
    repository.succeeds("push");
    repository.succeeds("schedule");
    let patch = json!({ "rules": [{ "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"] }] });
    let role =
        cluster.request(cluster.admin_token(), "PATCH", READER, Some("application/merge-patch+json"), Some(&patch));
    assert_eq!(role.0, 200, "{:#}", role.1);
    let (code, log) = repository.action("schedule");
    assert_eq!(code, 2, "{log}");
    assert!(sandbox.read("report.md").contains("reader") && sandbox.read("summary").contains("rolecall drift"));
    // A push without a reviewed change does not revert it.
    let (code, log) = repository.action("push");
    assert_eq!(code, 2, "{log}");
    assert_eq!(repository.reader_verbs(), json!(["get", "list"]));
}

#[test]
fn refusal_survives_pipes() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": "" }));
    let repository = Repository::new(&cluster);
    let invariant = "[[invariants]]\ngroup = \"viewers\"\ncannot = { verb = \"get\", resource = \"pods\" }\n";
    repository.sandbox.write("access/prod.toml", &(policy("\"get\"") + invariant));
    for format in ["text", "json", "markdown", "summary", "sarif", "junit"] {
        let script = format!("rolecall plan access -o {format} | tee report | cat > copy");
        let output = repository.bash(&script, "refs/pull/12/merge").output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!repository.sandbox.read("copy").is_empty(), "{format}");
    }
    let (code, log) = repository.action("pull_request");
    assert_eq!(code, 3, "{log}");
    assert!(repository.comment().1.contains("### ⛔ rolecall plan: refused"));
}
