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

fn rbac_rule(verbs: &str, resources: &str, names: &str) -> String {
    format!(
        "{{verbs: [{verbs}], apiGroups: [rbac.authorization.k8s.io], resources: [{resources}], resourceNames: [{names}]}}"
    )
}

fn core_rule(verbs: &str, resources: &str, names: &str) -> String {
    format!("{{verbs: [{verbs}], apiGroups: [''], resources: [{resources}], resourceNames: [{names}]}}")
}

#[test]
fn groups_are_impersonated_only_together_with_a_user_or_service_account() {
    let groups = core_rule("impersonate", "groups", "");
    assert_eq!(path_names(&format!("[{groups}]"), None), [""; 0]);
    assert_eq!(path_names(&format!("[{}]", core_rule("impersonate", "users", "")), None), ["impersonate"]);
    let with_accounts = format!("[{groups}, {}]", core_rule("impersonate", "serviceaccounts", ""));
    assert_eq!(path_names(&with_accounts, None), ["impersonate-groups", "impersonate-service-accounts"]);
    // Users and groups are checked without a namespace.
    assert_eq!(path_names(&with_accounts, Some("team")), ["impersonate-service-accounts"]);
    assert_eq!(path_names(&format!("[{}]", core_rule("impersonate", "'users', groups", "")), Some("team")), [""; 0]);
}

#[test]
fn constrained_impersonation_needs_both_checks() {
    let user = "{verbs: ['impersonate:user-info'], apiGroups: [authentication.k8s.io], resources: [users]}";
    let on = "{verbs: ['impersonate-on:user-info:list'], apiGroups: [''], resources: [pods]}";
    assert_eq!(path_names(&format!("[{user}]"), None), [""; 0]);
    assert_eq!(path_names(&format!("[{on}]"), None), [""; 0]);
    assert_eq!(path_names(&format!("[{user}, {on}]"), None), ["impersonate-constrained"]);
}

#[test]
fn request_without_a_name_is_not_a_write_of_an_object() {
    let patch = |names: &str| path_names(&format!("[{}]", core_rule("patch, update", "configmaps", names)), None);
    assert_eq!(patch("''"), [""; 0]);
    assert_eq!(patch("aws-auth"), ["aws-auth"]);
    let create = |names: &str| path_names(&format!("[{}]", core_rule("create", "configmaps", names)), None);
    assert_eq!(create("''"), ["aws-auth"]);
    // A POST has no name, and server-side apply needs `patch` too.
    assert_eq!(create("aws-auth"), [""; 0]);
    assert_eq!(path_names(&format!("[{}]", core_rule("get", "secrets", "''")), None), [""; 0]);
    assert_eq!(path_names(&format!("[{}]", core_rule("list", "secrets", "''")), None), ["secrets"]);
    assert_eq!(path_names(&format!("[{}]", core_rule("create", "pods/exec", "''")), None), [""; 0]);
}

#[test]
fn escalate_counts_for_the_object_that_is_written() {
    let rules = |escalate: &str, verbs: &str, names: &str| {
        let (escalate, write) =
            (rbac_rule("escalate", "clusterroles", escalate), rbac_rule(verbs, "clusterroles", names));
        path_names(&format!("[{escalate}, {write}]"), None)
    };
    assert_eq!(rules("a", "patch", "a"), ["escalate-cluster-roles"]);
    assert_eq!(rules("a", "patch", "b"), [""; 0]);
    assert_eq!(rules("a", "create", ""), [""; 0], "a POST has no name");
    assert_eq!(rules("", "create", ""), ["escalate-cluster-roles"]);
}

#[test]
fn bind_is_checked_in_the_namespace_of_the_role_binding() {
    let rules = format!("[{}, {}]", rbac_rule("bind", "clusterroles", ""), rbac_rule("create", "rolebindings", ""));
    assert_eq!(path_names(&rules, Some("team")), ["bind"]);
    let rules = format!("[{}, {}]", rbac_rule("escalate", "clusterroles", ""), rbac_rule("patch", "clusterroles", ""));
    assert_eq!(path_names(&rules, Some("team")), [""; 0], "ClusterRoles are cluster-scoped");
    let rules = format!("[{}, {}]", rbac_rule("escalate", "roles", ""), rbac_rule("patch", "roles", ""));
    assert_eq!(path_names(&rules, Some("team")), ["escalate-roles"]);
}

#[test]
fn immutable_fields_open_no_path() {
    let rule = |group: &str, verbs: &str, resource: &str| {
        path_names(&format!("[{{verbs: [{verbs}], apiGroups: ['{group}'], resources: [{resource}]}}]"), None)
    };
    assert_eq!(rule("batch", "patch", "jobs"), [""; 0]);
    assert_eq!(rule("batch", "create", "jobs"), ["jobs"]);
    assert_eq!(rule("batch", "patch", "cronjobs"), ["cron-jobs"]);
    assert_eq!(rule("", "patch", "persistentvolumes"), [""; 0]);
    assert_eq!(rule("", "create", "persistentvolumes"), ["volumes"]);
    assert_eq!(rule("apiextensions.k8s.io", "create", "customresourcedefinitions"), [""; 0]);
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
                format!("{{verbs: ['{verb}'], apiGroups: ['{}'], resources: ['{resource}']}}", required.group)
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
