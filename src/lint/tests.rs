//! Tests of the lints that depend on a cluster, and of `[lint]`. The messages of the others are in `tests/policies/warned`.

use serde_json::json;

use super::{LintContext, Vocabulary, lint_policy};
use crate::api_resources::{DISCOVERY_KIND, KnownResources};
use crate::policy::{Policy, load_policy};
use crate::state::State;
use crate::state::validate::parse_object_key;

fn policy(text: &str) -> Policy {
    let text = format!("[policy]\nname = \"prod\"\n{text}");
    load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, errors)| panic!("{errors:#?}")).0
}

/// Returns the names of the warnings, each with the text at its place.
fn lint(policy: &Policy, state: Option<&State>) -> Vec<String> {
    let vocabulary = state.map_or_else(|| Vocabulary::builtin(policy), |state| Vocabulary::for_cluster(policy, state));
    let cluster = state.map(|state| (None, state));
    let lints = lint_policy(LintContext { policy, vocabulary: &vocabulary, cluster });
    let format = |lint: crate::diagnostic::Diagnostic| {
        let span = lint.primary.as_ref().unwrap().0;
        let severity = if lint.is_error() { "error " } else { "" };
        format!("{severity}{} {}", lint.lint.unwrap(), &policy.sources.text(span.file())[span.range()])
    };
    lints.into_iter().map(format).collect()
}

fn cluster(documents: &str) -> State {
    let mut state = State::default();
    for document in crate::yaml::parse_documents(documents).unwrap() {
        let value = document.to_json().unwrap();
        let key = parse_object_key(&value).unwrap().unwrap();
        state.insert_object(&key, &value).unwrap();
    }
    state
}

#[test]
fn rule_words_are_those_of_kubernetes_and_of_the_policy() {
    let rules = |groups: &str, resources: &str, rest: &str| {
        policy(&format!(
            "[cluster-roles.r]\nrules = [{{ verbs = [\"get\"], api-groups = [{groups}], resources = [{resources}] }}]\n\
             [bindings.r]\ncluster-role = \"r\"\nusers = [\"a\"]\n{rest}"
        ))
    };
    for (groups, resources, expected) in [
        ("\"\"", "\"secrets\"", vec![]),
        ("\"\"", "\"secret\"", vec!["unknown-resource \"secret\""]),
        ("\"\", \"apps\"", "\"pods\", \"deployments\"", vec![]),
        ("\"\"", "\"deployments\"", vec!["resource-in-wrong-group \"deployments\""]),
        ("\"*\"", "\"deployments\", \"widgets\"", vec!["unknown-resource \"widgets\""]),
        ("\"app\"", "\"deployments\"", vec!["unknown-api-group \"app\""]),
        ("\"app\"", "\"deployment\"", vec!["unknown-api-group \"app\"", "unknown-resource \"deployment\""]),
        ("\"example.com\"", "\"widgets\"", vec!["unknown-api-group \"example.com\""]),
        ("\"*\"", "\"*/scale\", \"*/scal\"", vec!["unknown-subresource \"*/scal\""]),
        ("\"\"", "\"pods/logs\"", vec!["unknown-subresource \"pods/logs\""]),
        ("\"\"", "\"*\"", vec![]),
    ] {
        assert_eq!(lint(&rules(groups, resources, ""), None), expected, "{groups} {resources}");
    }
    let declared = "[lint]\nresources = [\"widgets.example.com\"]\n";
    for groups in ["\"example.com\"", "\"*\""] {
        assert_eq!(lint(&rules(groups, "\"widgets\", \"widgets/status\"", declared), None), [""; 0], "{groups}");
    }
    let other = lint(&rules("\"example.com\"", "\"gadgets\"", declared), None);
    assert_eq!(other, ["unknown-resource \"gadgets\""]);
    let other = lint(&rules("\"apps\"", "\"widgets\"", declared), None);
    assert_eq!(other, ["resource-in-wrong-group \"widgets\""]);
}

#[test]
fn words_of_one_rule_complete_each_other() {
    let verbs = |verbs: &str, resources: &str| {
        let text = format!(
            "[cluster-roles.r]\nrules = [{{ verbs = [{verbs}], resources = [{resources}] }}]\n\
             [bindings.r]\ncluster-role = \"r\"\nusers = [\"a\"]\n"
        );
        lint(&policy(&text), None)
    };
    assert_eq!(verbs("\"get\", \"list\"", "\"pods\", \"pods/log\""), [""; 0]);
    assert_eq!(verbs("\"list\"", "\"pods\", \"pods/log\""), ["dead-rule \"pods/log\""]);
    assert_eq!(verbs("\"list\"", "\"pods/log\""), ["unsupported-verb \"list\""]);
    assert_eq!(verbs("\"get\", \"impersonate\"", "\"pods\""), ["unsupported-verb \"impersonate\""]);
    assert_eq!(verbs("\"get\", \"impersonate\"", "\"pods\", \"users\""), [""; 0]);
    assert_eq!(verbs("\"read\"", "\"pods\""), ["unknown-verb \"read\""]);
    assert_eq!(verbs("\"frobnicate\"", "\"pods\""), ["unknown-verb \"frobnicate\""]);
    assert_eq!(verbs("\"*\"", "\"pods/log\""), [""; 0]);
}

const RBAC: &str = "rbac.authorization.k8s.io";

const STATE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: operator, labels: { area: "operators" } }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: collector }
aggregationRule: { clusterRoleSelectors: [{ matchLabels: { team: "a" } }] }
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: others }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bound }
subjects:
- { kind: Group, apiGroup: rbac.authorization.k8s.io, name: developers }
"#;

#[test]
fn references_of_the_cluster_count() {
    let text = "[groups.developers]\n[groups.viewers]\n\
                [cluster-roles.all]\naggregation = [{ match-labels = { area = \"operators\" } }, { match-labels = { x = \"y\" } }]\n\
                [cluster-roles.bound]\nrules = [{ verbs = [\"get\"], resources = [\"nodes\"] }]\n\
                [cluster-roles.collected]\nrules = []\nlabels = { team = \"a\" }\n\
                [bindings.all]\ncluster-role = \"all\"\nusers = [\"a\"]\n";
    let policy = policy(text);
    assert_eq!(
        lint(&policy, Some(&cluster(STATE))),
        ["unbound-group viewers", "aggregation-selects-nothing { match-labels = { x = \"y\" } }"]
    );
    assert_eq!(
        lint(&policy, None),
        [
            "unbound-group developers",
            "unbound-group viewers",
            "aggregation-selects-nothing { match-labels = { area = \"operators\" } }",
            "aggregation-selects-nothing { match-labels = { x = \"y\" } }",
            "unused-role bound",
            "unused-role collected",
        ]
    );
}

#[test]
fn groups_of_a_policy_without_bindings_are_bound_elsewhere() {
    assert_eq!(lint(&policy("[groups.developers]\n"), None), [""; 0]);
    assert_eq!(lint(&policy("[groups.developers]\n"), Some(&State::default())), ["unbound-group developers"]);
}

#[test]
fn cluster_scoped_resources_have_no_effect_in_namespaces() {
    let role = |verbs: &str, group: &str, resource: &str| {
        let text = format!(
            "[roles.r]\nnamespaces = [\"a\"]\n\
             rules = [{{ verbs = [{verbs}], api-groups = [\"{group}\"], resources = [\"{resource}\"] }}]\n\
             [bindings.r]\nrole = \"r\"\nnamespaces = [\"a\"]\nusers = [\"a\"]\n"
        );
        lint(&policy(&text), None).is_empty()
    };
    assert!(!role("\"get\"", "", "nodes") && !role("\"get\"", "", "nodes/proxy") && !role("\"*\"", "", "nodes"));
    assert!(role("\"get\"", "", "namespaces") && !role("\"list\"", "", "namespaces"));
    assert!(role("\"bind\"", RBAC, "clusterroles") && !role("\"escalate\"", RBAC, "clusterroles"));
    assert!(role("\"escalate\"", RBAC, "roles") && role("\"impersonate\"", "", "serviceaccounts"));
    assert!(!role("\"impersonate\"", "", "users") && !role("\"delete\"", "networking.k8s.io", "servicecidrs"));
    assert!(role("\"get\"", "*", "*"));
    let bound = |namespaces: &str| {
        let text = format!(
            "[cluster-roles.r]\nrules = [{{ verbs = [\"get\"], resources = [\"nodes\"] }}]\n\
             [bindings.a]\ncluster-role = \"r\"\nnamespaces = [\"a\"]\nusers = [\"a\"]\n\
             [bindings.b]\ncluster-role = \"r\"\n{namespaces}users = [\"b\"]\n"
        );
        lint(&policy(&text), None)
    };
    assert_eq!(bound("namespaces = [\"b\"]\n"), ["cluster-scoped-in-role \"nodes\""]);
    assert_eq!(bound(""), [""; 0]);
}

#[test]
fn allowed_lints_are_silent_and_denied_ones_are_errors() {
    let text =
        |lint: &str| format!("[groups.a]\n[groups.b]\n[bindings.a]\ncluster-role = \"view\"\ngroups = [\"a\"]\n{lint}");
    assert_eq!(lint(&policy(&text("")), None), ["unbound-group b"]);
    assert_eq!(lint(&policy(&text("[lint]\nallow = [\"unbound-group\"]\n")), None), [""; 0]);
    assert_eq!(lint(&policy(&text("[lint]\ndeny = [\"unbound-group\"]\n")), None), ["error unbound-group b"]);
}

#[test]
fn group_that_an_entry_gives_is_known() {
    let text = "[bindings.a]\ncluster-role = \"view\"\ngroups = [\"system:readonly\", \"system:master\"]\n";
    let state = cluster(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: aws-auth, namespace: kube-system, resourceVersion: \"1\" }\n\
         data:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a\n      username: a\n      groups: [\"system:readonly\"]\n",
    );
    assert_eq!(lint(&policy(text), Some(&state)), ["unknown-built-in-group \"system:master\""]);
    assert_eq!(lint(&policy(text), None).len(), 2);
}

#[test]
fn custom_resources_of_the_cluster_are_known() {
    let resource = |name: &str, scope: &str| {
        json!({ "resource": name, "scope": scope, "singularResource": "", "verbs": ["get", "list"],
                "subresources": [{ "subresource": "status", "verbs": ["get"] }] })
    };
    let discovery = json!({ "apiVersion": "apidiscovery.k8s.io/v2", "kind": DISCOVERY_KIND, "items": [{
        "metadata": { "name": "example.com" },
        "versions": [{ "version": "v1", "resources": [resource("widgets", "Namespaced"), resource("regions", "Cluster")] }],
    }] });
    let resources = KnownResources::from_discovery_json(&discovery).unwrap();
    let state = State { resources, ..State::default() };
    let text = "[roles.r]\nnamespaces = [\"a\"]\nrules = [\n\
                { verbs = [\"get\"], api-groups = [\"example.com\"], resources = [\"widgets\", \"widgets/status\", \"gadgets\"] },\n\
                { verbs = [\"get\"], api-groups = [\"example.com\"], resources = [\"regions\"] },\n\
                { verbs = [\"patch\"], api-groups = [\"example.com\"], resources = [\"widgets/status\"] }]\n\
                [bindings.r]\nrole = \"r\"\nnamespaces = [\"a\"]\nusers = [\"a\"]\n";
    assert_eq!(
        lint(&policy(text), Some(&state)),
        ["unknown-resource \"gadgets\"", "cluster-scoped-in-role \"regions\"", "unsupported-verb \"patch\"",]
    );
}
