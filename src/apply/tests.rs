//! The state that a plan predicts is the state of the cluster after the apply.

#![expect(clippy::disallowed_methods, reason = "the test writes to a temporary directory")]

use std::time::Duration;

use serde_json::json;

use super::polling::PROBE_SCHEDULE;
use super::{ApplyEvent, ApplyHooks, StepError, TokenWaits, apply};
use crate::cluster::snapshot::{SnapshotCluster, SnapshotNamedBy};
use crate::cluster::{ClusterError, ReadCluster as _, WriteCluster as _};
use crate::names::ObjectKey;
use crate::plan::{Action, Plan, Step, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::object_meta::RulesManager;
use crate::state::write::{Precondition, WriteRequest};

const NO_HOOKS: ApplyHooks<'static> = ApplyHooks {
    schedule: PROBE_SCHEDULE,
    aws_auth_baseline: None,
    probe_delays: &[],
    lock: None,
    aggregated_roles: None,
    controller_lag: Duration::ZERO,
    connection: None,
    token_waits: TokenWaits::Wait,
};

const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: team-a, labels: { team: a } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, resourceVersion: "7", annotations: { kept: "yes" } }
data:
  other: kept
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/removed
      username: removed
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader, resourceVersion: "8", labels: { kept: "yes" } }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: formerly-aggregated, resourceVersion: "8" }
aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: all } }] }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: newly-aggregated, resourceVersion: "8" }
rules: [{ verbs: [list], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: removed
  resourceVersion: "8"
  annotations: { rolecall/policy: prod, rolecall/object: "6a11bc6a213f4792" }
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: with-finalizer
  namespace: team-a
  resourceVersion: "8"
  finalizers: [example.com/cleanup]
  annotations: { rolecall/policy: prod, rolecall/object: "578681d2979d5288" }
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: readers, resourceVersion: "9", annotations: { rolecall/policy: prod, rolecall/object: "9f22e8bf035a24e5", rolecall/digest: "0" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: readers }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: local, namespace: team-a, resourceVersion: "9" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ kind: ServiceAccount, name: old }]
"#;

const POLICY: &str = r#"
[policy]
name = "prod"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/viewer"
groups = ["readers"]
[groups.readers]
[cluster-roles.reader]
rules = [{ verbs = ["get", "list"], resources = ["pods"] }]
labels = { to = "all" }
[cluster-roles.formerly-aggregated]
rules = [{ verbs = ["watch"], resources = ["pods"] }]
[cluster-roles.newly-aggregated]
aggregation = [{ match-labels = { to = "all" } }]
[roles.created]
namespaces = ["team-*"]
rules = [{ verbs = ["get"], resources = ["secrets"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["readers"]
service-accounts = ["ci/deployer"]
[bindings.local]
cluster-role = "reader"
namespaces = ["team-a"]
principals = ["viewer"]
[ownership]
aws-auth = "exclusive"
"#;

/// Returns the state without resource versions, which a plan cannot predict.
fn content_without_versions(state: &State) -> String {
    let mut state = state.clone();
    let keys: Vec<_> = state.roles.keys().chain(state.bindings.keys()).cloned().collect();
    for key in keys.into_iter().chain([crate::names::ObjectKey::aws_auth()]) {
        if let Some(meta) = state.meta_mut(&key) {
            meta.resource_version = None;
            // A snapshot has no `managedFields` of its own writes.
            meta.rules_manager = RulesManager::default();
        }
    }
    format!("{state:#?}")
}

fn make_plan(policy: &str, live: &State) -> Plan {
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
    plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
}

#[test]
fn predicted_state_equals_cluster_state_after_apply() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(&[file], None, &SnapshotNamedBy::CommandLine).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let second =
        POLICY.replace("labels = { to = \"all\" }\n", "").replace("groups = [\"readers\"]\nservice", "service");
    let mut actions = Vec::new();
    for policy in [POLICY, &second, "[policy]\nname = \"prod\"\n"] {
        let live = runtime.block_on(cluster.read_state()).unwrap();
        let plan = make_plan(policy, &live);
        actions.extend(plan.changes.iter().map(|change| change.action));
        let outcome = runtime.block_on(apply(&plan, &cluster, &NO_HOOKS, |_| {}));
        assert!(outcome.failed.is_empty() && !outcome.completed.is_empty(), "{outcome:#?}");
        let applied = runtime.block_on(cluster.read_state()).unwrap();
        assert_same_text(
            &content_without_versions(&plan.state_after(&live).unwrap()),
            &content_without_versions(&applied),
        );
    }
    for action in [Action::Create, Action::Adopt, Action::Update, Action::Replace, Action::Delete] {
        assert!(actions.contains(&action), "no plan has the action {action:?}");
    }
}

/// Returns a policy in which a principal is in a group that is bound.
fn policy_with_group(group: &str) -> String {
    format!(
        "[policy]\nname = \"prod\"\n[principals.viewer]\nrole = \"arn:aws:iam::111122223333:role/viewer\"\n\
         groups = [\"{group}\"]\n[groups.{group}]\n[cluster-roles.pods]\n\
         rules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n[bindings.all]\ncluster-role = \"pods\"\n\
         groups = [\"{group}\"]\n"
    )
}

#[test]
fn apply_waits_for_cached_tokens_before_their_group_loses_its_binding() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(&[file], None, &SnapshotNamedBy::CommandLine).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut live = runtime.block_on(cluster.read_state()).unwrap();
    let plan = make_plan(&policy_with_group("old"), &live);
    assert_eq!(plan.waits, [], "the principal is new");
    runtime.block_on(apply(&plan, &cluster, &NO_HOOKS, |_| {}));
    for (group, token_waits) in [("new", TokenWaits::Wait), ("last", TokenWaits::Skip)] {
        live = runtime.block_on(cluster.read_state()).unwrap();
        let mut plan = make_plan(&policy_with_group(group), &live);
        let [wait] = plan.waits.as_mut_slice() else { panic!("{:#?}", plan.waits) };
        assert_eq!(wait.to_string(), "wait 2m10s for cached tokens");
        wait.duration = Duration::from_millis(300);
        let started = std::time::Instant::now();
        let events = std::cell::RefCell::new(Vec::new());
        let hooks = ApplyHooks { token_waits, ..NO_HOOKS };
        let outcome = runtime.block_on(apply(&plan, &cluster, &hooks, |event| {
            events.borrow_mut().push(match event {
                ApplyEvent::Written(step, ..) => step.object.name().to_owned(),
                ApplyEvent::Waiting(..) => "wait".to_owned(),
                ApplyEvent::WaitSkipped(_) => "skipped".to_owned(),
                other => panic!("{other:?}"),
            });
        }));
        assert!(outcome.failed.is_empty(), "{outcome:#?}");
        let is_waiting = token_waits == TokenWaits::Wait;
        assert!(!is_waiting || started.elapsed() >= Duration::from_millis(300));
        let expected = ["all", "aws-auth", if is_waiting { "wait" } else { "skipped" }, "all"];
        assert_eq!(events.into_inner(), expected);
    }
}

#[test]
fn step_that_relies_on_a_step_without_an_object_is_an_internal_error() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(std::slice::from_ref(&file), None, &SnapshotNamedBy::CommandLine).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let step = |write, precondition| Step {
        object: ObjectKey::cluster_role("reader"),
        write,
        precondition,
        stage: 0,
        wait_for: Vec::new(),
        description: "change ClusterRole reader".to_owned(),
    };
    for (write, precondition, message) in [
        (
            WriteRequest::Patch(json!({ "rules": [] })),
            Precondition::AsWrittenByStep { step: 7 },
            "internal error: `change ClusterRole reader` relies on step 7, which has left no object",
        ),
        (WriteRequest::Delete, Precondition::AsWrittenByStep { step: 0 }, "relies on step 0, which has left no object"),
    ] {
        let plan = Plan::for_steps(vec![step(write, precondition)]);
        let outcome = runtime.block_on(apply(&plan, &cluster, &NO_HOOKS, |_| {}));
        let [(0, StepError::Write(error @ ClusterError::Internal(_)))] = outcome.failed.as_slice() else {
            panic!("{outcome:#?}");
        };
        assert!(error.to_string().contains(message), "{error}");
        assert!(outcome.completed.is_empty());
    }
    runtime.block_on(cluster.flush()).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CLUSTER);
}

/// Trap 56: the API server keeps the resource version if a write changes nothing. The differential tests compare this
/// with the real one.
#[test]
fn write_without_effect_is_counted_apart() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(std::slice::from_ref(&file), None, &SnapshotNamedBy::CommandLine).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let state = runtime.block_on(cluster.read_state()).unwrap();
    let key = ObjectKey::cluster_role("reader");
    let meta = &state.roles[&key].meta;
    let (uid, resource_version) = (meta.uid.clone(), meta.resource_version.clone().unwrap());
    let step = Step {
        object: key,
        write: WriteRequest::Patch(
            json!({ "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }] }),
        ),
        precondition: Precondition::Unchanged { uid, resource_version },
        stage: 0,
        wait_for: Vec::new(),
        description: "change ClusterRole reader".to_owned(),
    };
    let outcome = runtime.block_on(apply(&Plan::for_steps(vec![step]), &cluster, &NO_HOOKS, |_| {}));
    assert_eq!((outcome.completed.len(), outcome.unchanged), (1, 1), "{outcome:#?}");
    runtime.block_on(cluster.flush()).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CLUSTER);
}

/// Compares two long texts, and shows only the lines around the first difference.
#[track_caller]
fn assert_same_text(predicted: &str, applied: &str) {
    let different = predicted.lines().zip(applied.lines()).position(|(predicted, applied)| predicted != applied);
    if let Some(line) = different {
        let around = |text: &str| text.lines().skip(line.saturating_sub(20)).take(30).collect::<Vec<_>>().join("\n");
        assert_eq!(around(predicted), around(applied));
    }
    assert_eq!(predicted.len(), applied.len());
}
