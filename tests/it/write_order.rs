//! Tests the order of writes with the real API server. After each write no identity has access that neither the old nor
//! the new policy grants, and none lacks access that both grant.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::common::proxy::{Proxy, ProxyAction};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::CLUSTER;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ROLES: [&str; 3] = ["viewer", "deploy", "admin"];
const GROUPS: [&str; 4] = ["g0", "g1", "g2", "system:authenticated"];
const USERS: [&str; 4] = ["u0", "u1", "u2", "system:serviceaccount:default:robot"];
const REQUESTS: [(&str, &str); 6] = [
    ("get", "pods"),
    ("list", "pods"),
    ("get", "secrets"),
    ("list", "secrets"),
    ("get", "services"),
    ("delete", "pods"),
];

/// Whether the API server allows this request in the namespace `default`.
fn is_allowed(user: &str, groups: &[String], verb: &str, resource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": user, "groups": groups,
            "resourceAttributes": { "verb": verb, "resource": resource, "namespace": "default" },
        },
    });
    let (_, answer) = CLUSTER.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
    answer["status"]["allowed"].as_bool().unwrap_or_else(|| panic!("{answer}"))
}

/// The username and groups of each identity that is asked about. A principal that the authenticator does not map now has
/// none.
fn identities() -> BTreeMap<String, Option<(String, Vec<String>)>> {
    let authenticated = || "system:authenticated".to_owned();
    let mut identities_by_label = BTreeMap::new();
    for role in ROLES {
        let identity = CLUSTER.map(&format!("arn:aws:sts::111122223333:assumed-role/{role}/x")).ok().map(|mapped| {
            let group_names = mapped["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let groups = group_names.map(str::to_owned).chain([authenticated()]).collect();
            (mapped["username"].as_str().unwrap_or_default().to_owned(), groups)
        });
        identities_by_label.insert(format!("role {role}"), identity);
    }
    for group in GROUPS {
        identities_by_label
            .insert(format!("group {group}"), Some(("member".to_owned(), vec![group.to_owned(), authenticated()])));
    }
    for user in USERS {
        identities_by_label.insert(format!("user {user}"), Some((user.to_owned(), vec![authenticated()])));
    }
    identities_by_label
}

/// Whether each identity is allowed each request at one moment.
type AccessTable = BTreeMap<String, bool>;

fn read_access() -> AccessTable {
    let mut access = AccessTable::new();
    for (label, identity) in identities() {
        for (verb, resource) in REQUESTS {
            let allowed = identity.as_ref().is_some_and(|(user, groups)| is_allowed(user, groups, verb, resource));
            access.insert(format!("{label}: {verb} {resource}"), allowed);
        }
    }
    access
}

/// Waits until the API server uses everything that was written: a role and a binding that were written later work.
fn wait_until_effective(number: usize) {
    let name = format!("canary-{number}");
    let verb = format!("watch{number}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
        "rules": [{ "verbs": [verb], "apiGroups": [""], "resources": ["canaries"] }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "canary" }],
    });
    for (kind, body) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let (status, answer) = CLUSTER.admin("POST", &format!("{RBAC}/{kind}"), Some(&body));
        assert_eq!(status, 201, "{answer}");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_allowed("canary", &[], &verb, "canaries") {
        assert!(Instant::now() < deadline, "the API server does not use {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
    CLUSTER.wait_until_synced();
}

/// Lets one write pass at a time.
#[derive(Default)]
struct Gate {
    busy: Mutex<bool>,
    free: Condvar,
}

impl Gate {
    fn enter(&self) {
        let busy = self.busy.lock().unwrap();
        *self.free.wait_while(busy, |busy| *busy).unwrap() = true;
    }

    fn leave(&self) {
        *self.busy.lock().unwrap() = false;
        self.free.notify_one();
    }
}

fn policy(text: &str) -> String {
    // The identities are asked about by their names, so no token is cached.
    let cluster = "[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n";
    format!("[policy]\nname = \"order\"\n{cluster}[groups.g0]\n[groups.g1]\n[groups.g2]\n{text}")
}

/// Applies two policies, and checks the access after each write of the second. Returns the method and name of each write.
#[track_caller]
fn writes_between(before: &str, after: &str) -> Vec<String> {
    let setup = Sandbox::with_kubeconfig(CLUSTER.kubeconfig());
    setup.write("rolecall.toml", &policy(before)).ok(&["apply", "--auto-approve"]);
    wait_until_effective(0);
    let first = read_access();
    let observed: Arc<Mutex<Vec<(String, AccessTable)>>> = Arc::default();
    let gate = Arc::new(Gate::default());
    let (gate_before, gate_after, recorded) = (Arc::clone(&gate), gate, Arc::clone(&observed));
    let proxy = Proxy::start_with_observer(
        &CLUSTER,
        move |asked| {
            if asked.is_write() {
                gate_before.enter();
            }
            ProxyAction::Forward
        },
        move |asked, status| {
            if asked.is_write() {
                assert!(status < 300, "{} {}: {status}", asked.method, asked.path);
                let mut recorded = recorded.lock().unwrap();
                wait_until_effective(recorded.len() + 1);
                recorded.push((write_of(&asked.method, &asked.path, &asked.body), read_access()));
                drop(recorded);
                gate_after.leave();
            }
        },
    );
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", &policy(after)).ok(&["apply", "--auto-approve"]);
    let plan = sandbox.ok(&["plan"]);
    assert!(plan.contains("No changes. The cluster matches the policy."), "{plan}");
    let observed = std::mem::take(&mut *observed.lock().unwrap());
    let (_, last) = observed.last().expect("the second policy has writes");
    for (number, (write, access)) in observed.iter().enumerate() {
        for (request, allowed) in access {
            let (before_apply, after_apply) = (first[request], last[request]);
            assert!(
                if *allowed { before_apply || after_apply } else { !(before_apply && after_apply) },
                "after write {number}, {write}: {request}: {before_apply}, {allowed}, {after_apply}; all writes: {:#?}",
                observed.iter().map(|(write, _)| write).collect::<Vec<_>>(),
            );
        }
    }
    assert_ne!(first, *last, "the second policy changes no access");
    observed.into_iter().map(|(write, _)| write).collect()
}

fn write_of(method: &str, path: &str, body: &Value) -> String {
    let name = match method {
        "POST" => body["metadata"]["name"].as_str(),
        _ => path.rsplit('/').next(),
    };
    format!("{method} {}", name.unwrap_or_default())
}

const TWO_ROLES: &str = r#"
[cluster-roles.pods]
rules = [{ verbs = ["get", "list"], resources = ["pods"] }]
[cluster-roles.secrets]
rules = [{ verbs = ["get", "list"], resources = ["secrets"] }]
"#;

fn principals(list: &[(&str, &str, &str)]) -> String {
    let table = |(name, username, groups): &(&str, &str, &str)| {
        format!(
            "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nusername = \"{username}\"\n\
             groups = [{groups}]\n"
        )
    };
    list.iter().map(table).collect()
}

fn bindings(list: &[(&str, &str, &str)]) -> String {
    let table = |(name, role, subjects): &(&str, &str, &str)| {
        format!("[bindings.{name}]\ncluster-role = \"{role}\"\n{subjects}\n")
    };
    list.iter().map(table).collect()
}

#[test]
fn group_is_renamed_without_gap() {
    let (_guard, _) = CLUSTER.lock();
    let side = |group: &str| {
        let groups = format!("groups = [\"{group}\"]");
        [
            TWO_ROLES,
            &principals(&[("viewer", "u0", &format!("\"{group}\""))]),
            &bindings(&[("wide", "pods", &groups), ("more", "secrets", &groups)]),
        ]
        .concat()
    };
    let writes = writes_between(&side("g0"), &side("g1"));
    assert_eq!(writes.iter().filter(|write| *write == "PATCH aws-auth").count(), 1, "{writes:#?}");
}

#[test]
fn two_groups_swap_roles_without_gap() {
    let (_guard, _) = CLUSTER.lock();
    let members =
        principals(&[("viewer", "u0", "\"g0\""), ("deploy", "u1", "\"g1\""), ("admin", "u2", "\"g0\", \"g1\"")]);
    let side = |one: &str, other: &str| {
        let role_bindings = bindings(&[("one", one, "groups = [\"g0\"]"), ("other", other, "groups = [\"g1\"]")]);
        [TWO_ROLES, &members, &role_bindings].concat()
    };
    let writes = writes_between(&side("pods", "secrets"), &side("secrets", "pods"));
    assert!(writes.contains(&"POST one-rolecall-bridge".to_owned()), "{writes:#?}");
}

#[test]
fn two_groups_swap_the_rules_of_their_roles_without_gap() {
    let (_guard, _) = CLUSTER.lock();
    let members =
        principals(&[("viewer", "u0", "\"g0\""), ("deploy", "u1", "\"g1\""), ("admin", "u2", "\"g0\", \"g1\"")]);
    let side = |one: &str, other: &str| {
        let roles = format!(
            "[cluster-roles.one]\nrules = [{{ verbs = [\"get\"], resources = [\"{one}\"] }}]\n\
             [cluster-roles.other]\nrules = [{{ verbs = [\"get\"], resources = [\"{other}\"] }}]\n"
        );
        let role_bindings = bindings(&[("one", "one", "groups = [\"g0\"]"), ("other", "other", "groups = [\"g1\"]")]);
        [&*roles, &members, &role_bindings].concat()
    };
    let writes = writes_between(&side("pods", "secrets"), &side("secrets", "pods"));
    assert!(writes.len() > 2, "a member of both groups would lose access for a moment: {writes:#?}");
}

#[test]
fn role_ref_is_replaced_without_gap() {
    let (_guard, _) = CLUSTER.lock();
    let roles = r#"
[cluster-roles.old]
rules = [{ verbs = ["get"], resources = ["pods", "services"] }]
[cluster-roles.new]
rules = [{ verbs = ["get"], resources = ["pods", "secrets"] }]
"#;
    let side = |role: &str| {
        [roles, &principals(&[("viewer", "u0", "\"g0\"")]), &bindings(&[("wide", role, "groups = [\"g0\"]")])].concat()
    };
    let writes = writes_between(&side("old"), &side("new"));
    assert_eq!(writes, ["POST wide-rolecall-bridge", "DELETE wide", "POST wide", "DELETE wide-rolecall-bridge"]);
}

#[test]
fn principal_joins_a_group_after_a_binding_drops_that_group() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.kubectl(&["create", "clusterrolebinding", "foreign", "--clusterrole=shared", "--group=g1"]);
    cluster.kubectl(&["create", "clusterrole", "shared", "--verb=get", "--resource=services"]);
    let side = |group: &str, secrets_group: &str| {
        let secrets_group = format!("groups = [\"{secrets_group}\"]");
        let members = principals(&[("viewer", "u0", &format!("\"{group}\""))]);
        let role_bindings =
            bindings(&[("pods", "pods", "groups = [\"g0\", \"g1\"]"), ("secrets", "secrets", &secrets_group)]);
        [TWO_ROLES, &members, &role_bindings].concat()
    };
    let writes = writes_between(&side("g0", "g1"), &side("g1", "g2"));
    assert_eq!(writes, ["PATCH secrets", "PATCH aws-auth"]);
}

#[test]
fn principal_leaves_a_group_before_that_group_is_bound() {
    let (_guard, _) = CLUSTER.lock();
    let side = |groups: [&str; 2]| {
        let members = groups.map(|group| format!("\"{group}\""));
        let members = principals(&[("viewer", "u0", &members[0]), ("deploy", "u1", &members[1])]);
        let role_bindings = bindings(&[
            ("pods", "pods", &format!("groups = [\"{}\"]", groups[0])),
            ("secrets", "secrets", "groups = [\"g2\"]"),
        ]);
        [TWO_ROLES, &members, &role_bindings].concat()
    };
    let writes = writes_between(&side(["g0", "g1"]), &side(["g1", "g2"]));
    assert_eq!(
        writes,
        ["PATCH aws-auth", "PATCH pods", "PATCH aws-auth"],
        "the principal is in both groups between the two writes"
    );
}

#[test]
fn binding_is_renamed_without_gap() {
    let (_guard, _) = CLUSTER.lock();
    let subjects = "groups = [\"g0\"]\nusers = [\"u1\"]\nservice-accounts = [\"default/robot\"]";
    let members = principals(&[("viewer", "u0", "\"g0\"")]);
    let more_subjects = "groups = [\"g0\", \"g1\"]\nusers = [\"u1\"]\nservice-accounts = [\"default/robot\"]";
    let before = [TWO_ROLES, &members, &bindings(&[("old", "pods", subjects)])].concat();
    let after = [TWO_ROLES, &members, &bindings(&[("new", "pods", more_subjects)])].concat();
    assert_eq!(writes_between(&before, &after), ["POST new", "DELETE old"]);
}

#[test]
fn two_principals_swap_groups_in_one_write() {
    let (_guard, _) = CLUSTER.lock();
    let role_bindings = bindings(&[("pods", "pods", "groups = [\"g0\"]"), ("secrets", "secrets", "groups = [\"g1\"]")]);
    let side = |one: &str, other: &str| {
        [TWO_ROLES, &principals(&[("viewer", "u0", one), ("deploy", "u1", other)]), &role_bindings].concat()
    };
    let writes = writes_between(&side("\"g0\"", "\"g1\""), &side("\"g1\"", "\"g0\""));
    assert_eq!(writes, ["PATCH aws-auth"]);
}

#[test]
fn two_principals_swap_groups_while_the_groups_swap_rules() {
    let (_guard, _) = CLUSTER.lock();
    let role_bindings = bindings(&[("one", "one", "groups = [\"g0\"]"), ("other", "other", "groups = [\"g1\"]")]);
    let side = |roles: [&str; 2], groups: [&str; 2]| {
        let roles: String = ["one", "other"]
            .iter()
            .zip(roles)
            .map(|(name, verb)| {
                format!("[cluster-roles.{name}]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n")
            })
            .collect();
        let members =
            principals(&[("viewer", "u0", groups[0]), ("deploy", "u1", groups[1]), ("admin", "u2", "\"g2\"")]);
        [roles, members, role_bindings.clone()].concat()
    };
    let writes =
        writes_between(&side(["get", "list"], ["\"g0\"", "\"g1\""]), &side(["list", "get"], ["\"g1\"", "\"g0\""]));
    assert!(writes.contains(&"POST one-rolecall-temporary".to_owned()), "{writes:#?}");
    let (_, roles) = CLUSTER.admin("GET", &format!("{RBAC}/clusterroles"), None);
    assert!(!roles.to_string().contains("rolecall-temporary"), "the temporary objects are deleted");
}

#[test]
fn two_principals_swap_usernames_and_their_bindings() {
    let (_guard, _) = CLUSTER.lock();
    let side = |users: [&str; 2], bound_users: [&str; 2]| {
        let members = principals(&[("viewer", users[0], "\"g0\""), ("deploy", users[1], "")]);
        let bound_users = bindings(&[
            ("pods", "pods", &format!("users = [\"{}\"]", bound_users[0])),
            ("secrets", "secrets", &format!("users = [\"{}\"]", bound_users[1])),
            ("all", "pods", "groups = [\"g2\"]"),
        ]);
        [TWO_ROLES, &members, &bound_users].concat()
    };
    let writes = writes_between(&side(["u0", "u1"], ["u0", "u1"]), &side(["u1", "u0"], ["u1", "u0"]));
    assert!(writes.len() > 2, "{writes:#?}");
}
