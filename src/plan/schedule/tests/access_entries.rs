//! Single cases with access entries.

use serde_json::{Value, json};

use super::model::{Cluster, apply_and_check, check_same_content, ordered};
use super::owned::{PlanScenario, ScenarioSide, TestOwner, scenario};
use super::random::{rule, universe};
use crate::names::ObjectKey;
use crate::plan::schedule::OrderedSteps;
use crate::state::access_entry::AccessEntry;
use crate::state::aws_auth::{Entry, EntryPrincipal};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::rbac::{RoleRef, Subject};

const VIEWER: &str = "arn:aws:iam::111122223333:role/viewer";

fn access_entry(username: &str, groups: &[&str], policies: &[(&str, &[&str])]) -> AccessEntry {
    let policies: serde_json::Map<String, Value> = policies
        .iter()
        .map(|(name, namespaces)| {
            let scope = match namespaces {
                [] => json!({ "type": "cluster" }),
                namespaces => json!({ "type": "namespace", "namespaces": namespaces }),
            };
            (format!("arn:aws:eks::aws:cluster-access-policy/{name}"), scope)
        })
        .collect();
    let value = json!({
        "metadata": { "name": VIEWER }, "username": username, "kubernetesGroups": groups, "accessPolicies": policies,
    });
    AccessEntry::from_json(&value).unwrap()
}

fn mapped(username: &str, groups: &[&str]) -> Entry {
    Entry {
        principal: EntryPrincipal::Role(VIEWER.to_owned()),
        username: username.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

/// Returns a side in which the group `g0` can get pods.
fn side(entries: Vec<Entry>, access_entries: Vec<AccessEntry>) -> ScenarioSide {
    let mut side = ScenarioSide { entries, access_entries, ..ScenarioSide::default() };
    side.roles.insert(ObjectKey::cluster_role("r0"), Role { rules: vec![rule("get", "pods")], ..Role::default() });
    let binding = Binding {
        meta: ObjectMeta::default(),
        role_ref: RoleRef::ClusterRole("r0".to_owned()),
        subjects: vec![Subject::Group("g0".to_owned())],
        namespaces: None,
    };
    side.bindings.insert(ObjectKey::binding(None, "b0"), binding);
    side
}

/// Returns the steps, the waits and the windows.
#[track_caller]
fn describe(before: ScenarioSide, after: ScenarioSide) -> String {
    let PlanScenario { live, desired, end } = scenario(before, after, || TestOwner::ThisPolicy);
    let start = Cluster::from_state(&live);
    let ordered = ordered(&start.state(), &desired, &end);
    let clusters = apply_and_check(&start, &ordered, &universe(), &end, &mut |_| 0).unwrap();
    check_same_content(&clusters.last().unwrap().state(), &end).unwrap();
    let OrderedSteps { steps, waits, windows, .. } = ordered;
    let mut lines = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        lines.extend(waits.iter().filter(|wait| wait.before_step == index).map(|wait| format!("-  {wait}")));
        lines.push(format!("{}  {}", step.stage, step.description));
    }
    lines.extend(windows.iter().map(|window| {
        format!("{} {:?} after step {}: {}", window.subject, window.access, window.step, window.request)
    }));
    lines.join("\n").replace(VIEWER, "viewer")
}

#[test]
fn entry_is_created_before_its_policies_and_deleted_with_them() {
    let full = || {
        side(
            vec![],
            vec![access_entry("viewer", &["g0"], &[("AmazonEKSViewPolicy", &["n*"]), ("AmazonEKSComputePolicy", &[])])],
        )
    };
    insta::assert_snapshot!(describe(side(vec![], vec![]), full()), @r"
    0  create access entry viewer
    1  associate AmazonEKSComputePolicy with access entry viewer
    2  associate AmazonEKSViewPolicy in n* with access entry viewer
    ");
    insta::assert_snapshot!(describe(full(), side(vec![], vec![])), @"0  delete access entry viewer");
}

#[test]
fn principal_moves_between_the_stores_without_a_gap() {
    let in_aws_auth = || side(vec![mapped("viewer", &["g0"])], vec![]);
    let in_both = || side(vec![mapped("viewer", &["g0"])], vec![access_entry("viewer", &["g0"], &[])]);
    let in_access_entry = || side(vec![], vec![access_entry("viewer", &["g0"], &[])]);
    insta::assert_snapshot!(describe(in_aws_auth(), in_access_entry()), @r"
    0  create access entry viewer
    -  wait 2m10s for access entries to take effect
    2  change the aws-auth entries
    ");
    insta::assert_snapshot!(describe(in_access_entry(), in_aws_auth()), @r"
    0  change the aws-auth entries
    1  delete access entry viewer
    ");
    insta::assert_snapshot!(describe(in_both(), in_access_entry()), @"0  change the aws-auth entries");
}

#[test]
fn system_masters_becomes_the_policy_for_cluster_administrators_without_a_gap() {
    let before = side(vec![mapped("admin", &["system:masters", "g0"])], vec![]);
    let after = side(vec![], vec![access_entry("admin", &["g0"], &[("AmazonEKSClusterAdminPolicy", &[])])]);
    insta::assert_snapshot!(describe(before, after), @r"
    0  create temporary ClusterRole AmazonEKSClusterAdminPolicy-rolecall-temporary
    1  create temporary ClusterRoleBinding AmazonEKSClusterAdminPolicy-rolecall-temporary
    2  create access entry viewer
    3  associate AmazonEKSClusterAdminPolicy with access entry viewer
    -  wait 2m10s for access entries to take effect
    5  change access entry viewer
    -  wait 2m10s for access entries to take effect
    7  delete temporary ClusterRoleBinding AmazonEKSClusterAdminPolicy-rolecall-temporary
    8  delete temporary ClusterRole AmazonEKSClusterAdminPolicy-rolecall-temporary
    9  change the aws-auth entries
    ");
}

#[test]
fn group_becomes_a_policy_in_some_namespaces() {
    let before = side(vec![], vec![access_entry("viewer", &["g0"], &[])]);
    let after = side(vec![], vec![access_entry("viewer", &[], &[("AmazonEKSViewPolicy", &["n1"])])]);
    insta::assert_snapshot!(describe(before, after), @r"
    0  associate AmazonEKSViewPolicy in n1 with access entry viewer
    -  wait 2m10s for access entries to take effect
    2  change access entry viewer
    ");
}
