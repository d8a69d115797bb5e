//! A step is judged by the roles and by the permissions of the user at that step.

use serde_json::{Value, json};

use super::{ApplyUser, check_plan_permissions};
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, Plan, Step};
use crate::state::State;
use crate::state::rbac::RBAC_GROUP;
use crate::state::write::{Precondition, WriteRequest};

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({ "verbs": verbs, "apiGroups": [group], "resources": resources })
}

fn role(name: &str, rules: &[Value]) -> (ObjectKey, Value) {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name, "resourceVersion": "1" }, "rules": rules,
    });
    (ObjectKey::cluster_role(name), body)
}

fn binding(name: &str, role: &str, user: &str) -> (ObjectKey, Value) {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name, "resourceVersion": "1" },
        "roleRef": { "apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": RBAC_GROUP, "kind": "User", "name": user }],
    });
    (ObjectKey::binding(None, name), body)
}

fn state(objects: &[(ObjectKey, Value)]) -> State {
    let mut state = State::default();
    for (key, body) in objects {
        state.insert_object(key, body).unwrap();
    }
    state
}

fn step(key: ObjectKey, write: WriteRequest, stage: usize) -> Step {
    let precondition = match write {
        WriteRequest::Create(_) => Precondition::Absent,
        WriteRequest::Patch(_) | WriteRequest::Delete => {
            Precondition::Unchanged { uid: None, resource_version: "1".to_owned() }
        }
    };
    Step { description: format!("write {key}"), object: key, write, precondition, stage, wait_for: Vec::new() }
}

/// Returns the steps for which the runner lacks a permission, and the rules.
fn missing(live: &State, steps: Vec<Step>) -> Vec<(usize, String)> {
    let plan = Plan::for_steps(steps);
    let after = plan.state_after(live).unwrap();
    let comparison = AccessComparison::new(live, &after);
    let user = ApplyUser { username: "runner".to_owned(), groups: Vec::new() };
    let missing = check_plan_permissions(&plan, &comparison, &user).unwrap();
    // Without other rules that the user lacks, the user has the permission now.
    assert!(missing.iter().all(|missing| missing.is_revoked_by_plan == missing.missing_rules.is_empty()));
    let text =
        |rules: &[crate::state::rbac::Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    missing.iter().map(|missing| (missing.step, text(&missing.missing_rules))).collect()
}

fn rbac_writer() -> Value {
    rule(&["create", "patch", "delete"], RBAC_GROUP, &["clusterroles", "clusterrolebindings"])
}

fn create((key, body): (ObjectKey, Value), stage: usize) -> Step {
    step(key, WriteRequest::Create(body), stage)
}

fn patch(key: &ObjectKey, body: Value, stage: usize) -> Step {
    step(key.clone(), WriteRequest::Patch(body), stage)
}

#[test]
fn binding_needs_the_rules_that_its_role_has_at_that_step() {
    let pods = rule(&["get"], "", &["pods"]);
    let secrets = rule(&["get"], "", &["secrets"]);
    let live = state(&[
        role("runs", &[rbac_writer(), pods.clone()]),
        binding("runs", "runs", "runner"),
        role("big", &[pods.clone(), secrets.clone()]),
    ]);
    let big = ObjectKey::cluster_role("big");
    let narrow = |stage| patch(&big, json!({ "rules": [pods] }), stage);
    let bind = |stage| create(binding("new", "big", "u"), stage);
    assert_eq!(missing(&live, vec![narrow(0), bind(1)]), []);
    let [(step, rules)] = missing(&live, vec![bind(0), narrow(1)]).try_into().unwrap();
    assert!(step == 0 && rules.contains("secrets") && !rules.contains("pods"), "{rules}");
    // Both writes are made in any order.
    assert_eq!(missing(&live, vec![narrow(0), bind(0)]).len(), 1);
    // The role grows in between and shrinks again.
    let grow = patch(&ObjectKey::cluster_role("runs"), json!({ "metadata": { "labels": { "a": "b" } } }), 0);
    assert_eq!(missing(&live, vec![grow]), []);
}

#[test]
fn permission_that_an_earlier_step_takes_away_is_missing() {
    let live = state(&[role("runs", &[rbac_writer()]), binding("runs", "runs", "runner"), role("other", &[])]);
    let delete_own = |stage| step(ObjectKey::binding(None, "runs"), WriteRequest::Delete, stage);
    let write = |stage| create(role("new", &[]), stage);
    assert_eq!(missing(&live, vec![write(0), delete_own(1)]), [], "the last step takes its own permission away");
    assert_eq!(missing(&live, vec![delete_own(0), write(1)]), [(1, String::new())]);
    assert_eq!(missing(&live, vec![delete_own(0), write(0)]), [(1, String::new())]);
    let own = ObjectKey::cluster_role("runs");
    let narrow = patch(&own, json!({ "rules": [rule(&["patch", "delete"], RBAC_GROUP, &["clusterroles"])] }), 0);
    assert_eq!(missing(&live, vec![narrow.clone(), write(1)]), [(1, String::new())]);
    let delete_other = step(ObjectKey::cluster_role("other"), WriteRequest::Delete, 1);
    assert_eq!(missing(&live, vec![narrow, delete_other]), []);
}

#[test]
fn bound_aggregated_role_counts_with_all_rules_that_its_controller_can_write() {
    let labelled = |rules: &[Value]| {
        let (key, mut body) = role("part", rules);
        body["metadata"]["labels"] = json!({ "l": "yes" });
        (key, body)
    };
    let (all, mut body) = role("all", &[]);
    body["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "l": "yes" } }] });
    let live = state(&[
        role("runs", &[rbac_writer()]),
        binding("runs", "runs", "runner"),
        labelled(&[rule(&["get"], "", &["secrets"])]),
        (all, body),
    ]);
    let empty = patch(&ObjectKey::cluster_role("part"), json!({ "rules": [] }), 0);
    let bind = create(binding("new", "all", "u"), 1);
    let [(step, rules)] = missing(&live, vec![empty, bind]).try_into().unwrap();
    assert!(step == 1 && rules.contains("secrets"), "{rules}");
}
