//! Ways to more power that look harmless.

use std::collections::BTreeSet;

use super::fixture::{ALL_RULES, binding, cluster_role, state, subject_query};
use crate::access::escalation_rules::ESCALATION_RULES;
use crate::access::{AccessView, Aggregation, EscalationPath, all_escalation_paths, escalation_paths};

/// The ways of somebody who has these rules, in a namespace or everywhere.
fn ways(rules: &str, namespace: Option<&str>) -> Vec<&'static str> {
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", namespace, "r", ("Group", "g"))));
    let access = AccessView::new(&state, Aggregation::AsStored);
    escalation_paths(&access, &subject_query("group:g")).iter().map(EscalationPath::name).collect()
}

const EDIT: &str = "[
  {verbs: [get, list, watch], apiGroups: [''], resources: [pods/attach, pods/exec, pods/portforward, secrets]},
  {verbs: [impersonate], apiGroups: [''], resources: [serviceaccounts]},
  {verbs: [create, delete, deletecollection, patch, update], apiGroups: [''], resources: [pods, pods/attach, pods/exec, pods/portforward]},
  {verbs: [create, delete, deletecollection, patch, update], apiGroups: [''], resources: [configmaps, secrets, serviceaccounts]},
  {verbs: [create], apiGroups: [''], resources: [serviceaccounts/token]},
  {verbs: [create, delete, deletecollection, patch, update], apiGroups: [apps], resources: [deployments]}]";

#[test]
fn edit_in_kube_system_is_cluster_admin_by_way_of_aws_auth() {
    let elsewhere = ["impersonate-service-accounts", "tokens", "secrets", "pods", "workloads", "exec", "port-forward"];
    assert_eq!(ways(EDIT, Some("team")), elsewhere);
    let mut there = vec!["aws-auth"];
    there.extend(elsewhere);
    assert_eq!(ways(EDIT, Some("kube-system")), there);
}

#[test]
fn a_viewer_of_everything_has_ways_up() {
    let viewer = "[{verbs: [get, list], apiGroups: ['*'], resources: ['*']}]";
    assert_eq!(ways(viewer, None), ["nodes-proxy", "secrets", "exec", "port-forward"]);
    assert_eq!(ways(viewer, Some("team")), ["secrets", "exec", "port-forward"]);
}

#[test]
fn everything_is_one_way_and_in_kube_system_two() {
    assert_eq!(ways(ALL_RULES, None), ["full-admin", "aws-auth"]);
    assert_eq!(ways(ALL_RULES, Some("team")), ["full-admin"]);
    assert_eq!(ways(ALL_RULES, Some("kube-system")), ["full-admin", "aws-auth"]);
}

#[test]
fn a_way_needs_all_of_its_parts_in_one_place() {
    let rule = |verbs: &str, resources: &str| {
        format!("{{verbs: [{verbs}], apiGroups: [rbac.authorization.k8s.io], resources: [{resources}]}}")
    };
    let bind = rule("bind", "clusterroles");
    assert_eq!(ways(&format!("[{bind}]"), None), [""; 0]);
    assert_eq!(ways(&format!("[{bind}, {}]", rule("create", "rolebindings")), None), ["bind"]);
    assert_eq!(ways(&format!("[{bind}, {}]", rule("create", "clusterrolebindings")), None), ["bind-cluster-wide"]);
    assert_eq!(ways(&format!("[{bind}, {}]", rule("create", "clusterrolebindings")), Some("team")), [""; 0]);
    let both = [bind, rule("create", "rolebindings")];
    let state = state(
        &(cluster_role("one", "{}", &format!("[{}]", both[0]))
            + &cluster_role("other", "{}", &format!("[{}]", both[1]))
            + &binding("one", Some("a"), "one", ("Group", "g"))
            + &binding("other", Some("b"), "other", ("Group", "g"))),
    );
    assert_eq!(escalation_paths(&AccessView::new(&state, Aggregation::AsStored), &subject_query("group:g")), []);
}

#[test]
fn the_path_is_spelled_out() {
    let rules = "[{verbs: [get], apiGroups: [''], resources: [secrets], resourceNames: [db]}]";
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", Some("team"), "r", ("Group", "g"))));
    let access = AccessView::new(&state, Aggregation::AsStored);
    assert_eq!(
        escalation_paths(&access, &subject_query("group:g")).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["can read secrets, including service account tokens stored in them: get secrets named db in team"]
    );
}

#[test]
fn names_of_ways_are_unique() {
    let names: BTreeSet<&str> = ESCALATION_RULES.iter().map(|way| way.name).collect();
    assert_eq!(names.len(), ESCALATION_RULES.len());
}

#[test]
fn each_way_is_open_to_whoever_has_just_its_needs() {
    for way in &ESCALATION_RULES {
        let rules: Vec<String> = way
            .requires
            .iter()
            .map(|need| {
                let verb = need.verbs[0];
                let resource = need.resources[0];
                format!("{{verbs: ['{verb}'], apiGroups: ['{}'], resources: [{resource}]}}", need.group)
            })
            .collect();
        let found = ways(&format!("[{}]", rules.join(", ")), None);
        assert!(found.contains(&way.name), "{} is not among {found:?}", way.name);
        let without = ways(&format!("[{}]", rules[1..].join(", ")), None);
        assert!(!without.contains(&way.name), "{} needs less than it says", way.name);
    }
}

#[test]
fn everybody_with_a_way_up_is_found() {
    let secrets = "[{verbs: [get], apiGroups: [''], resources: [secrets]}]";
    let state = state(&(cluster_role("r", "{}", secrets) + &binding("b", Some("team"), "r", ("Group", "g"))));
    let all = all_escalation_paths(&AccessView::new(&state, Aggregation::AsStored));
    assert_eq!(all.iter().map(|(who, _)| who.to_string()).collect::<Vec<_>>(), ["group:g"]);
}
