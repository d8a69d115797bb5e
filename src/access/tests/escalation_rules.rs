//! Privilege escalation paths.

use std::collections::BTreeSet;

use super::fixture::{ALL_RULES, READ_ALL, READ_SECRETS, binding, cluster_role, state, subject_query};
use crate::access::escalation_rules::ESCALATION_RULES;
use crate::access::{AccessView, Aggregation, EscalationPath, all_escalation_paths, escalation_paths};

/// Returns the names of the escalation paths of a group that is bound to `rules`, in `namespace` or cluster-wide.
fn path_names(rules: &str, namespace: Option<&str>) -> Vec<&'static str> {
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
fn edit_in_kube_system_can_change_aws_auth() {
    let in_team = ["impersonate-service-accounts", "tokens", "secrets", "pods", "workloads", "exec", "port-forward"];
    assert_eq!(path_names(EDIT, Some("team")), in_team);
    let mut in_kube_system = vec!["aws-auth"];
    in_kube_system.extend(in_team);
    assert_eq!(path_names(EDIT, Some("kube-system")), in_kube_system);
}

#[test]
fn wildcard_viewer_has_escalation_paths() {
    assert_eq!(path_names(READ_ALL, None), ["nodes-proxy", "secrets", "exec", "port-forward"]);
    assert_eq!(path_names(READ_ALL, Some("team")), ["secrets", "exec", "port-forward"]);
}

#[test]
fn full_access_subsumes_all_paths_except_aws_auth() {
    assert_eq!(path_names(ALL_RULES, None), ["full-admin", "aws-auth"]);
    assert_eq!(path_names(ALL_RULES, Some("team")), ["full-admin"]);
    assert_eq!(path_names(ALL_RULES, Some("kube-system")), ["full-admin", "aws-auth"]);
}

#[test]
fn rule_requires_all_permissions_in_the_same_scope() {
    let rule = |verbs: &str, resources: &str| {
        format!("{{verbs: [{verbs}], apiGroups: [rbac.authorization.k8s.io], resources: [{resources}]}}")
    };
    let bind = rule("bind", "clusterroles");
    assert_eq!(path_names(&format!("[{bind}]"), None), [""; 0]);
    assert_eq!(path_names(&format!("[{bind}, {}]", rule("create", "rolebindings")), None), ["bind"]);
    assert_eq!(
        path_names(&format!("[{bind}, {}]", rule("create", "clusterrolebindings")), None),
        ["bind-cluster-wide"]
    );
    assert_eq!(path_names(&format!("[{bind}, {}]", rule("create", "clusterrolebindings")), Some("team")), [""; 0]);
    let create = rule("create", "rolebindings");
    let state = state(
        &(cluster_role("bind", "{}", &format!("[{bind}]"))
            + &cluster_role("create", "{}", &format!("[{create}]"))
            + &binding("bind", Some("a"), "bind", ("Group", "g"))
            + &binding("create", Some("b"), "create", ("Group", "g"))),
    );
    assert_eq!(escalation_paths(&AccessView::new(&state, Aggregation::AsStored), &subject_query("group:g")), []);
}

#[test]
fn path_display_has_consequence_and_requests() {
    let rules = "[{verbs: [get], apiGroups: [''], resources: [secrets], resourceNames: [db]}]";
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", Some("team"), "r", ("Group", "g"))));
    let access = AccessView::new(&state, Aggregation::AsStored);
    assert_eq!(
        escalation_paths(&access, &subject_query("group:g")).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["can read secrets, including service account tokens stored in them: get secrets named db in team"]
    );
}

#[test]
fn rule_names_are_unique() {
    let names: BTreeSet<&str> = ESCALATION_RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), ESCALATION_RULES.len());
}

#[test]
fn required_permissions_of_each_rule_are_sufficient_and_necessary() {
    for rule in &ESCALATION_RULES {
        let rules: Vec<String> = rule
            .requires
            .iter()
            .map(|required| {
                let verb = required.verbs[0];
                let resource = required.resources[0];
                format!("{{verbs: ['{verb}'], apiGroups: ['{}'], resources: [{resource}]}}", required.group)
            })
            .collect();
        let all = path_names(&format!("[{}]", rules.join(", ")), None);
        assert!(all.contains(&rule.name), "{} is not among {all:?}", rule.name);
        let all_but_one = path_names(&format!("[{}]", rules[1..].join(", ")), None);
        assert!(!all_but_one.contains(&rule.name), "{} requires too much", rule.name);
    }
}

#[test]
fn all_escalation_paths_includes_bound_groups() {
    let state = state(&(cluster_role("r", "{}", READ_SECRETS) + &binding("b", Some("team"), "r", ("Group", "g"))));
    let paths = all_escalation_paths(&AccessView::new(&state, Aggregation::AsStored));
    assert_eq!(paths.iter().map(|(subject, _)| subject.to_string()).collect::<Vec<_>>(), ["group:g"]);
}
