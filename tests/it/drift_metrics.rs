//! `drift --metrics FILE`: the values, what a failed run keeps, and the check of `promtool check metrics`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use crate::common::go_tools;
use crate::common::sandbox::{RunOutput, Sandbox};

const SNAPSHOT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: UID }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, uid: 6e2d, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: installer, resourceVersion: "8" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: ServiceAccount, namespace: ci, name: installer }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: cluster-admin, resourceVersion: "9" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:masters" }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: cluster-admin, resourceVersion: "10" }
rules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }]
"#;
const POLICY: &str = r#"
[policy]
name = "platform"
[clusters.prod]
snapshot = "prod.yaml"
[clusters.staging]
snapshot = "staging.yaml"
[groups.viewers]
[cluster-roles.viewer]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.viewers]
cluster-role = "viewer"
groups = ["viewers"]
[[invariants]]
group = "viewers"
can = { verb = "get", resource = "pods" }
"#;
const LAST_SUCCESS: &str = "rolecall_drift_last_success_timestamp_seconds";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox
        .write("prod.yaml", &SNAPSHOT.replace("UID", "u1"))
        .write("staging.yaml", &SNAPSHOT.replace("UID", "u2"))
        .write("access.toml", POLICY);
    sandbox
}

fn drift(sandbox: &Sandbox) -> RunOutput {
    sandbox.run(&["drift", "access.toml", "--metrics", "rolecall.prom"])
}

/// Runs the parser and the lints of `promtool check metrics`.
#[track_caller]
fn assert_accepted_by_prometheus(text: &str) {
    let mut check = Command::new(go_tools::path("promlint"));
    let mut check = check.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}

/// The values by the text before them.
#[track_caller]
fn samples(sandbox: &Sandbox) -> BTreeMap<String, f64> {
    let text = sandbox.read("rolecall.prom");
    assert_accepted_by_prometheus(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn of_cluster(samples: &BTreeMap<String, f64>, cluster: &str) -> BTreeMap<String, f64> {
    let label = format!("cluster=\"{cluster}\"");
    samples.iter().filter(|(name, _)| name.contains(&label)).map(|(name, value)| (name.clone(), *value)).collect()
}

#[test]
fn metrics_say_what_drift_found() {
    let sandbox = sandbox();
    let before = jiff::Timestamp::now().as_second();
    assert_eq!(drift(&sandbox).exit_code, 3);
    let all = samples(&sandbox);
    let value = |name: &str| all[name];
    for cluster in ["prod", "staging"] {
        let objects = |kind: &str, origin: &str| {
            value(&format!("rolecall_drift_objects{{cluster=\"{cluster}\",kind=\"{kind}\",origin=\"{origin}\"}}"))
        };
        assert_eq!(objects("ClusterRole", "not-applied"), 1.0);
        assert_eq!(objects("ClusterRoleBinding", "not-applied"), 1.0);
        assert_eq!(objects("ClusterRole", "changed-in-cluster"), 0.0);
        assert_eq!(objects("aws-auth", "deleted-in-cluster"), 0.0);
        // The principal of aws-auth and the service account. The default binding of Kubernetes does not count.
        assert_eq!(value(&format!("rolecall_unmanaged_admins{{cluster=\"{cluster}\"}}")), 2.0);
        assert_eq!(value(&format!("rolecall_invariants_violated{{cluster=\"{cluster}\"}}")), 1.0);
        assert!(value(&format!("{LAST_SUCCESS}{{cluster=\"{cluster}\"}}")) >= before as f64);
    }
    assert_eq!(value("rolecall_drift_last_run_success"), 1.0);
    assert!((0.0..600.0).contains(&value("rolecall_drift_duration_seconds")));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(sandbox.path("rolecall.prom")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o644, "the collector can read it");
    // After an apply, and a change by another tool.
    for cluster in ["prod", "staging"] {
        sandbox.ok(&["apply", "access.toml", "--cluster", cluster, "--auto-approve"]);
    }
    assert_eq!(drift(&sandbox).exit_code, 0);
    assert!(samples(&sandbox).iter().all(|(name, value)| !name.contains("objects") || *value == 0.0));
    sandbox.write("prod.yaml", &sandbox.read("prod.yaml").replace("- pods", "- pods\n  - secrets"));
    assert_eq!(drift(&sandbox).exit_code, 2);
    let changed = "rolecall_drift_objects{cluster=\"prod\",kind=\"ClusterRole\",origin=\"changed-in-cluster\"}";
    assert_eq!(samples(&sandbox)[changed], 1.0, "{}", sandbox.read("rolecall.prom"));
}

#[test]
fn failed_run_keeps_the_last_success_and_the_values_of_what_it_could_not_compare() {
    let sandbox = sandbox();
    assert_eq!(drift(&sandbox).exit_code, 3);
    // The last success is long ago.
    let text = sandbox.read("rolecall.prom");
    let old = text.lines().map(|line| match line.starts_with(LAST_SUCCESS) {
        true => format!("{} 1000.0\n", line.rsplit_once(' ').unwrap().0),
        false => format!("{line}\n"),
    });
    let old: String = old.collect();
    sandbox.write("rolecall.prom", &old);
    let before = samples(&sandbox);
    // One cluster cannot be read.
    std::fs::remove_file(sandbox.path("staging.yaml")).unwrap();
    assert_eq!(drift(&sandbox).exit_code, 1);
    let after = samples(&sandbox);
    assert_eq!(of_cluster(&after, "staging"), of_cluster(&before, "staging"));
    assert!(after[&format!("{LAST_SUCCESS}{{cluster=\"prod\"}}")] > 1000.0);
    assert_eq!(after["rolecall_drift_last_run_success"], 0.0);
    // The policy is not valid.
    sandbox.write("access.toml", "[policy]\nx = 1\n");
    assert_eq!(drift(&sandbox).exit_code, 1);
    let invalid = samples(&sandbox);
    for cluster in ["prod", "staging"] {
        assert_eq!(of_cluster(&invalid, cluster), of_cluster(&after, cluster));
    }
    assert_eq!(invalid["rolecall_drift_last_run_success"], 0.0);
    // A cluster that the policy no longer has is left out after a run that knows it.
    sandbox.write("access.toml", &POLICY.replace("[clusters.staging]\nsnapshot = \"staging.yaml\"\n", ""));
    assert_eq!(drift(&sandbox).exit_code, 3);
    assert!(of_cluster(&samples(&sandbox), "staging").is_empty());
}

#[test]
fn a_file_that_has_no_metrics_is_not_written_to() {
    let sandbox = sandbox();
    sandbox.write("other.txt", "mine\n");
    for (file, reason) in [
        ("other.txt", "other.txt has no metrics in line 1"),
        ("access.toml", "access.toml has no metrics in line 2"),
        ("-", "cannot be written to stdout"),
        ("missing/x.prom", "the directory does not exist"),
    ] {
        let output = sandbox.run(&["drift", "access.toml", "--metrics", file]);
        assert!(output.exit_code == 1 && output.stderr.contains(reason), "{file}: {}", output.stderr);
    }
    assert_eq!(sandbox.read("other.txt"), "mine\n");
    // A file with metrics of another program.
    sandbox.write("node.prom", "# HELP node_load1 x.\nnode_load1 1\n");
    let output = sandbox.run(&["drift", "access.toml", "--metrics", "node.prom"]);
    assert!(output.exit_code == 1 && output.stderr.contains("not a file of rolecall's metrics"), "{}", output.stderr);
    // The result is printed also if the metrics cannot be written.
    assert!(output.stdout.contains("viewer"), "{}", output.stdout);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The label is the name of a cluster, also one with quotes, backslashes and line breaks.
    #[test]
    fn labels_of_any_name_are_accepted_and_read_back(parts in proptest::collection::vec(prop_oneof![
        Just("\""), Just("\\"), Just("\n"), Just("}"), Just(","), Just("=\""), Just(" 1.0"), Just("#"), Just("\u{202e}"), Just("a"), Just("é"),
    ], 1..6)) {
        let sandbox = sandbox();
        let name = serde_json::to_string(&parts.concat()).unwrap();
        sandbox.write("access.toml", &POLICY.replace("clusters.staging", &format!("clusters.{name}")));
        let first = drift(&sandbox);
        // The policy allows only some of the names.
        prop_assume!(first.exit_code == 3);
        let before = samples(&sandbox);
        std::fs::remove_file(sandbox.path("staging.yaml")).unwrap();
        prop_assert_eq!(drift(&sandbox).exit_code, 1);
        let after = samples(&sandbox);
        prop_assert_eq!(before.len(), after.len());
    }
}
