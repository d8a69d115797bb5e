//! Tests `restore`: it takes back what one apply wrote and nothing that others wrote since, under the guards and invariants
//! of the policy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::credential_plugin::CredentialPlugin;
use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::sandbox::Sandbox;
use crate::common::schema::assert_matches_plan_schema;
use crate::common::shared_cluster::CLUSTER;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const MERGE: Option<&str> = Some("application/merge-patch+json");
const FOREIGN: &str = "\
# not ours
- rolearn: arn:aws:iam::111122223333:role/foreign # why
  username: foreign
  groups: [\"system:masters\"]
";
const NEW_NODES: &str = "\
# added by eksctl
- groups: [system:bootstrappers, system:nodes]
  rolearn: arn:aws:iam::111122223333:role/newnodes
  username: system:node:{{EC2PrivateDNSName}}
";

fn policy(name: &str, principal: &str, rest: &str) -> String {
    format!(
        "[policy]\nname = \"{name}\"\n[principals.{principal}]\nrole = \"arn:aws:iam::111122223333:role/{principal}\"\n\
         groups = [\"{name}\"]\n[groups.{name}]\n[cluster-roles.{name}]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n\
         [bindings.{name}]\ncluster-role = \"{name}\"\ngroups = [\"{name}\"]\n{rest}"
    )
}

fn snapshot(map_roles: &str) -> String {
    let text: String = map_roles.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system }}\ndata:\n  mapRoles: |\n{text}"
    )
}

/// Applies a policy and returns the backup of this apply.
fn apply_with_backup(sandbox: &Sandbox, args: &[&str]) -> String {
    let args: Vec<&str> = ["apply", "--auto-approve", "--backup", "kept"].iter().chain(args).copied().collect();
    let output = sandbox.run(&args);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let path = output.stderr.split("rolecall restore ").nth(1).unwrap_or_else(|| panic!("{}", output.stderr));
    path.split(')').next().unwrap().to_owned()
}

#[test]
fn restore_keeps_entries_and_marks_that_others_wrote_since() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_aws_auth(&json!({ "mapRoles": FOREIGN, "other": "kept" }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("ta.toml", &policy("ta", "viewer", "")).write("tb.toml", &policy("tb", "dev", ""));
    let file = apply_with_backup(&sandbox, &["ta.toml"]);
    let text = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned() + NEW_NODES;
    let patch = json!({ "data": { "mapRoles": text } });
    assert_eq!(cluster.request(cluster.admin_token(), "PATCH", AWS_AUTH, MERGE, Some(&patch)).0, 200);
    sandbox.ok(&["apply", "tb.toml", "--auto-approve"]);
    let marks = |text: &Value| -> Value {
        serde_json::from_str(text["metadata"]["annotations"]["rolecall/entries"].as_str().unwrap()).unwrap()
    };
    let before = cluster.admin("GET", AWS_AUTH, None).1;

    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let after = cluster.admin("GET", AWS_AUTH, None).1;
    let text = after["data"]["mapRoles"].as_str().unwrap();
    assert!(text.starts_with(FOREIGN) && text.contains(NEW_NODES), "{text}");
    assert!(text.contains("role/dev") && !text.contains("role/viewer"), "{text}");
    assert_eq!(after["data"]["other"], "kept");
    assert_eq!(marks(&after), json!({ "tb": marks(&before)["tb"] }));
    for (name, status) in [("ta", 404), ("tb", 200)] {
        assert_eq!(cluster.admin("GET", &format!("{RBAC}/clusterroles/{name}"), None).0, status, "{name}");
    }
    // Nothing is left to take back, and the other policy sees no change.
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert!(output.stdout.contains("No changes. The cluster has nothing that can be taken back."), "{}", output.stdout);
    assert!(sandbox.ok(&["plan", "tb.toml"]).contains("No changes."));
}

#[test]
fn restore_shows_its_changes_and_what_is_left_alone() {
    let sandbox = Sandbox::offline();
    let more = "[principals.admin]\nrole = \"arn:aws:iam::111122223333:role/admin\"\nusername = \"admin\"\ngroups = [\"ta\"]\n\
                [cluster-roles.extra]\nrules = []\n";
    sandbox.write("cluster.yaml", &snapshot(FOREIGN)).write("ta.toml", &policy("ta", "viewer", more));
    let file = apply_with_backup(&sandbox, &["ta.toml", "--snapshot", "cluster.yaml"]);
    let text = sandbox.read("cluster.yaml");
    assert!(text.contains("username: admin\n"), "{text}");
    sandbox.write("cluster.yaml", &text.replace("username: admin\n", "username: boss\n"));
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let plan = output.stdout.split("Digest").next().unwrap().to_owned();
    let warnings: String = output.stderr.split("\n\n").filter(|part| part.contains("is not removed")).collect();
    let folder = sandbox.path("").display().to_string();
    insta::assert_snapshot!(format!("{warnings}\n\n{plan}").replace(&folder, ""));
    let text = sandbox.read("cluster.yaml");
    assert!(text.contains("username: boss") && !text.contains("role/viewer") && !text.contains("extra"), "{text}");
}

/// The backup carries `[guard]` and `[[invariants]]`, so that a restore cannot do what the policy forbids.
#[test]
fn restore_is_refused_by_the_guards_and_invariants_of_the_policy() {
    let sandbox = Sandbox::offline();
    let rest = "[guard]\nprotected = [\"arn:aws:iam::111122223333:role/viewer\"]\n";
    sandbox.write("cluster.yaml", &snapshot(FOREIGN)).write("ta.toml", &policy("ta", "viewer", rest));
    let file = apply_with_backup(&sandbox, &["ta.toml", "--snapshot", "cluster.yaml"]);
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("--allow remove:arn:aws:iam::111122223333:role/viewer"), "{}", output.stderr);

    // The apply takes access to secrets away, and an invariant requires that it stays so.
    let secrets = "[cluster-roles.more]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
                   [bindings.more]\ncluster-role = \"more\"\ngroups = [\"ta\"]\n";
    let invariant = "[[invariants]]\ngroup = \"ta\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    sandbox.write("cluster.yaml", &snapshot(FOREIGN)).write("ta.toml", &policy("ta", "viewer", secrets));
    sandbox.ok(&["apply", "ta.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    sandbox.write("ta.toml", &policy("ta", "viewer", invariant));
    let file = apply_with_backup(&sandbox, &["ta.toml", "--snapshot", "cluster.yaml"]);
    let before = sandbox.read("cluster.yaml");
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("invariant violated: \"group ta"), "{}", output.stderr);
    assert_eq!(sandbox.read("cluster.yaml"), before);
}

#[test]
fn backup_of_an_earlier_version_is_refused() {
    let sandbox = Sandbox::offline();
    sandbox.write("old.yaml", "apiVersion: rolecall/v2\nkind: Backup\npolicy: p\nabsent: []\n");
    let output = sandbox.run(&["restore", "old.yaml", "--auto-approve"]);
    assert_eq!(output.exit_code, 1);
    insta::assert_snapshot!(output.stderr, @r"
    error: old.yaml has the backup version `rolecall/v2`, but this rolecall reads only `rolecall/v4`
     |
     = note: backups of earlier versions do not have the writes of the apply, so it cannot be taken back
     = help: restore it with the version of rolecall that wrote it
    ");
}

#[test]
fn restore_prints_its_plan_as_json() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &snapshot(FOREIGN)).write("ta.toml", &policy("ta", "viewer", ""));
    let file = apply_with_backup(&sandbox, &["ta.toml", "--snapshot", "cluster.yaml"]);
    let output = sandbox.run(&["restore", &file, "--dry-run", "-o", "json"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_matches_plan_schema(&document);
    let plan = &document["plans"][0];
    assert_eq!((&plan["policy"], &plan["summary"]["delete"]), (&json!("ta"), &json!(3)), "{plan:#}");
    assert_eq!(plan["steps"].as_array().unwrap().len(), 3, "{plan:#}");
    // What the document says is what is approved.
    let output = sandbox.run(&["restore", &file, "--approved", plan["digest"].as_str().unwrap(), "-o", "json"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(!sandbox.read("cluster.yaml").contains("role/viewer"));
    let output = sandbox.run(&["restore", &file, "--dry-run", "-o", "json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["plans"][0]["steps"], json!([]), "{document:#}");
}

/// A backup has the digest of its writes and objects, so that a changed file writes nothing.
#[test]
fn backup_that_was_changed_is_refused() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &snapshot(FOREIGN)).write("ta.toml", &policy("ta", "viewer", ""));
    let file = apply_with_backup(&sandbox, &["ta.toml", "--snapshot", "cluster.yaml"]);
    let (backup, before) = (sandbox.read(&file), sandbox.read("cluster.yaml"));
    for (from, to) in [("role/foreign", "role/mine"), ("role/viewer", "role/admin"), ("policy: ta", "policy: tb")] {
        assert!(backup.contains(from), "{from}: {backup}");
        sandbox.write(&file, &backup.replacen(from, to, 1));
        let output = sandbox.run(&["restore", &file, "--auto-approve"]);
        assert_eq!(output.exit_code, 1, "{from}: {}{}", output.stdout, output.stderr);
        assert!(
            output.stderr.contains("was changed after it was written: its digest does not match"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("no changes were made"), "{}", output.stderr);
        assert_eq!(sandbox.read("cluster.yaml"), before, "{from}");
    }
    // A comment is not content.
    sandbox.write(&file, &format!("# copied\n{backup}"));
    assert_eq!(sandbox.run(&["restore", &file, "--auto-approve"]).exit_code, 0);
}

/// Two principals change groups, and the groups change roles, so that both keep their access. This takes several writes of
/// aws-auth, and the bindings change in between. After the last one the caller is locked out. With an older aws-auth the
/// principals would have each other's role, which neither side gives them.
#[test]
fn only_the_write_that_locks_the_caller_out_is_reverted() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_aws_auth(&json!({ "mapRoles": FOREIGN }));
    let rotation = |groups: [&str; 2]| {
        let mut text = "[policy]\nname = \"ta\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n\
                        [groups.g0]\n[groups.g1]\n"
            .to_owned();
        for (number, (group, resource)) in groups.into_iter().zip(["pods", "secrets"]).enumerate() {
            text.push_str(&format!(
                "[principals.p{number}]\nrole = \"arn:aws:iam::111122223333:role/p{number}\"\ngroups = [\"{group}\"]\n\
                 [cluster-roles.r{number}]\nrules = [{{ verbs = [\"get\"], resources = [\"{resource}\"] }}]\n\
                 [bindings.b{number}]\ncluster-role = \"r{number}\"\ngroups = [\"{group}\"]\n"
            ));
        }
        text
    };
    let end = rotation(["g1", "g0"]);
    let direct = Sandbox::with_kubeconfig(cluster.kubeconfig());
    direct.write("ta.toml", &rotation(["g0", "g1"])).ok(&["apply", "ta.toml", "--auto-approve"]);
    direct.write("ta.toml", &end);
    let steps = direct.plan(&["ta.toml"])["steps"].as_array().unwrap().clone();
    let is_aws_auth = |step: &&Value| step["object"]["name"] == "aws-auth";
    let writes = steps.iter().filter(is_aws_auth).count();
    assert!(writes > 1, "{steps:#?}");

    let is_refused = Arc::new(AtomicBool::new(false));
    let between = Arc::new(Mutex::new(Value::Null));
    let recorded = between.clone();
    let proxy = Proxy::start(cluster, move |asked| {
        if asked.matches("PATCH", "/aws-auth") && asked.nth == writes {
            *recorded.lock().unwrap() = CLUSTER.admin("GET", AWS_AUTH, None).1;
            is_refused.store(true, Ordering::SeqCst);
        }
        if is_refused.load(Ordering::SeqCst) && asked.authorization != "Bearer token-1" {
            return ProxyAction::Respond(ProxyResponse::failure(401, "Unauthorized", "Unauthorized"));
        }
        ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("ta.toml", &end.replace("\"admin\"", "\"eks\""));
    let output = sandbox.run(&["apply", "ta.toml", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("Done ("), "{}", output.stderr);
    assert!(output.stderr.contains("Done and reverted (1):\n"), "{}", output.stderr);
    let (after, between) = (cluster.admin("GET", AWS_AUTH, None).1, between.lock().unwrap().clone());
    assert_eq!(after["data"], between["data"]);
    assert_eq!(after["metadata"]["annotations"], between["metadata"]["annotations"]);
}

/// Another client adds an entry between the write and the check of the caller's access. The write is taken back and the entry
/// stays.
#[test]
fn entry_that_another_client_adds_meanwhile_survives_the_revert() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_aws_auth(&json!({ "mapRoles": FOREIGN }));
    let is_refused = Arc::new(AtomicBool::new(false));
    let has_added = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(cluster, move |asked| {
        let is_new_token = asked.authorization != "Bearer token-1";
        if asked.matches("PATCH", "/aws-auth") && asked.nth == 1 {
            is_refused.store(true, Ordering::SeqCst);
        } else if is_refused.load(Ordering::SeqCst) && is_new_token {
            if !has_added.swap(true, Ordering::SeqCst) {
                let text = CLUSTER.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
                let patch = json!({ "data": { "mapRoles": text + NEW_NODES } });
                CLUSTER.request(CLUSTER.admin_token(), "PATCH", AWS_AUTH, MERGE, Some(&patch));
            }
            return ProxyAction::Respond(ProxyResponse::failure(401, "Unauthorized", "Unauthorized"));
        }
        ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("ta.toml", &policy("ta", "viewer", ""));
    let output = sandbox.run(&["apply", "ta.toml", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("reverted the change of aws-auth"), "{}", output.stderr);
    assert!(!output.stderr.contains("No changes were made"), "{}", output.stderr);
    let after = cluster.admin("GET", AWS_AUTH, None).1;
    assert_eq!(after["data"]["mapRoles"], format!("{FOREIGN}{NEW_NODES}"));
    assert_eq!(after["metadata"]["annotations"]["rolecall/entries"], Value::Null);
}
