//! After every single write of an apply the real API server is asked: nobody has what neither side gives, and nobody
//! lacks what both give.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

#[cfg(test)]
mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::TestCluster;
use common::proxy::{Proxy, ProxyAction};
use common::sandbox::Sandbox;
use common::shared_cluster::SharedCluster;
use serde_json::{Value, json};

static CLUSTER: SharedCluster = SharedCluster::new(TestCluster::start);

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ROLES: [&str; 3] = ["viewer", "deploy", "admin"];
const GROUPS: [&str; 4] = ["g0", "g1", "g2", "system:authenticated"];
const USERS: [&str; 4] = ["u0", "u1", "u2", "system:serviceaccount:default:robot"];
const QUESTIONS: [(&str, &str); 6] = [
    ("get", "pods"),
    ("list", "pods"),
    ("get", "secrets"),
    ("list", "secrets"),
    ("get", "services"),
    ("delete", "pods"),
];

fn may(user: &str, groups: &[String], verb: &str, resource: &str) -> bool {
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

/// Username and groups of all who are asked about; principals as the authenticator has them now.
fn everybody() -> BTreeMap<String, Option<(String, Vec<String>)>> {
    let authenticated = || "system:authenticated".to_owned();
    let mut all = BTreeMap::new();
    for role in ROLES {
        let login = CLUSTER.map(&format!("arn:aws:sts::111122223333:assumed-role/{role}/x")).ok().map(|mapped| {
            let named = mapped["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let groups = named.map(str::to_owned).chain([authenticated()]).collect();
            (mapped["username"].as_str().unwrap_or_default().to_owned(), groups)
        });
        all.insert(format!("role {role}"), login);
    }
    for group in GROUPS {
        all.insert(format!("group {group}"), Some(("somebody".to_owned(), vec![group.to_owned(), authenticated()])));
    }
    for user in USERS {
        all.insert(format!("user {user}"), Some((user.to_owned(), vec![authenticated()])));
    }
    all
}

/// Who may do what at a moment.
type Picture = BTreeMap<String, bool>;

fn look() -> Picture {
    let mut all = Picture::new();
    for (who, login) in everybody() {
        for (verb, resource) in QUESTIONS {
            let allowed = login.as_ref().is_some_and(|(user, groups)| may(user, groups, verb, resource));
            all.insert(format!("{who}: {verb} {resource}"), allowed);
        }
    }
    all
}

/// Waits until the API server acts on all that was written: what is written later, of the same kinds, is seen to work.
fn settle(number: usize) {
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
    while !may("canary", &[], &verb, "canaries") {
        assert!(Instant::now() < deadline, "the API server does not see {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
    CLUSTER.wait_until_synced();
}

/// Lets one write through at a time.
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
    format!("[policy]\nname = \"order\"\n[groups.g0]\n[groups.g1]\n[groups.g2]\n{text}")
}

/// Applies one policy after the other and looks after every write of the second: method and name of each.
#[track_caller]
fn writes_between(before: &str, after: &str) -> Vec<String> {
    let start = Sandbox::with_kubeconfig(CLUSTER.kubeconfig());
    start.write("rolecall.toml", &policy(before)).ok(&["apply", "--auto-approve"]);
    settle(0);
    let first = look();
    let seen: Arc<Mutex<Vec<(String, Picture)>>> = Arc::default();
    let gate = Arc::new(Gate::default());
    let (entered, left, pictures) = (Arc::clone(&gate), gate, Arc::clone(&seen));
    let proxy = Proxy::start_with_observer(
        &CLUSTER,
        move |request| {
            if request.is_write() {
                entered.enter();
            }
            ProxyAction::Forward
        },
        move |request, status| {
            if request.is_write() {
                assert!(status < 300, "{} {}: {status}", request.method, request.path);
                let mut pictures = pictures.lock().unwrap();
                settle(pictures.len() + 1);
                pictures.push((write_of(&request.method, &request.path, &request.body), look()));
                drop(pictures);
                left.leave();
            }
        },
    );
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", &policy(after)).ok(&["apply", "--auto-approve"]);
    let plan = sandbox.ok(&["plan"]);
    assert!(plan.contains("no changes"), "{plan}");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let (_, last) = seen.last().expect("something is written");
    for (number, (write, now)) in seen.iter().enumerate() {
        for (question, allowed) in now {
            let (was, will) = (first[question], last[question]);
            assert!(
                if *allowed { was || will } else { !(was && will) },
                "after write {number}, {write}: {question}: {was}, {allowed}, {will}; all writes: {:#?}",
                seen.iter().map(|(write, _)| write).collect::<Vec<_>>(),
            );
        }
    }
    assert_ne!(first, *last, "nobody can do anything else than before");
    seen.into_iter().map(|(write, _)| write).collect()
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

fn principals(all: &[(&str, &str, &str)]) -> String {
    let one = |(name, username, groups): &(&str, &str, &str)| {
        format!(
            "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nusername = \"{username}\"\n\
             groups = [{groups}]\n"
        )
    };
    all.iter().map(one).collect()
}

fn bindings(all: &[(&str, &str, &str)]) -> String {
    let one = |(name, role, subjects): &(&str, &str, &str)| {
        format!("[bindings.{name}]\ncluster-role = \"{role}\"\n{subjects}\n")
    };
    all.iter().map(one).collect()
}

#[test]
fn a_group_is_renamed() {
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
fn two_groups_swap_their_roles() {
    let (_guard, _) = CLUSTER.lock();
    let people =
        principals(&[("viewer", "u0", "\"g0\""), ("deploy", "u1", "\"g1\""), ("admin", "u2", "\"g0\", \"g1\"")]);
    let side = |one: &str, other: &str| {
        let bound = bindings(&[("one", one, "groups = [\"g0\"]"), ("other", other, "groups = [\"g1\"]")]);
        [TWO_ROLES, &people, &bound].concat()
    };
    let writes = writes_between(&side("pods", "secrets"), &side("secrets", "pods"));
    assert!(writes.contains(&"POST one-rolecall-bridge".to_owned()), "{writes:#?}");
}

#[test]
fn two_groups_swap_what_their_roles_say() {
    let (_guard, _) = CLUSTER.lock();
    let people =
        principals(&[("viewer", "u0", "\"g0\""), ("deploy", "u1", "\"g1\""), ("admin", "u2", "\"g0\", \"g1\"")]);
    let side = |one: &str, other: &str| {
        let roles = format!(
            "[cluster-roles.one]\nrules = [{{ verbs = [\"get\"], resources = [\"{one}\"] }}]\n\
             [cluster-roles.other]\nrules = [{{ verbs = [\"get\"], resources = [\"{other}\"] }}]\n"
        );
        let bound = bindings(&[("one", "one", "groups = [\"g0\"]"), ("other", "other", "groups = [\"g1\"]")]);
        [&*roles, &people, &bound].concat()
    };
    let writes = writes_between(&side("pods", "secrets"), &side("secrets", "pods"));
    assert!(writes.len() > 2, "who is in both groups would lack one for a moment: {writes:#?}");
}

#[test]
fn a_role_ref_is_replaced() {
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
fn a_principal_moves_to_a_group_that_is_left_by_a_binding() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.kubectl(&["create", "clusterrolebinding", "foreign", "--clusterrole=shared", "--group=g1"]);
    cluster.kubectl(&["create", "clusterrole", "shared", "--verb=get", "--resource=services"]);
    let side = |group: &str, secret: &str| {
        let secret = format!("groups = [\"{secret}\"]");
        let people = principals(&[("viewer", "u0", &format!("\"{group}\""))]);
        let bound = bindings(&[("pods", "pods", "groups = [\"g0\", \"g1\"]"), ("secrets", "secrets", &secret)]);
        [TWO_ROLES, &people, &bound].concat()
    };
    let writes = writes_between(&side("g0", "g1"), &side("g1", "g2"));
    assert_eq!(writes, ["PATCH secrets", "PATCH aws-auth"]);
}

#[test]
fn who_leaves_a_group_goes_before_it_is_bound_for_who_enters_it() {
    let (_guard, _) = CLUSTER.lock();
    let side = |groups: [&str; 2]| {
        let people = groups.map(|group| format!("\"{group}\""));
        let people = principals(&[("viewer", "u0", &people[0]), ("deploy", "u1", &people[1])]);
        let bound = bindings(&[
            ("pods", "pods", &format!("groups = [\"{}\"]", groups[0])),
            ("secrets", "secrets", "groups = [\"g2\"]"),
        ]);
        [TWO_ROLES, &people, &bound].concat()
    };
    let writes = writes_between(&side(["g0", "g1"]), &side(["g1", "g2"]));
    assert_eq!(writes, ["PATCH aws-auth", "PATCH pods", "PATCH aws-auth"], "he is in both groups meanwhile");
}

#[test]
fn a_binding_is_renamed() {
    let (_guard, _) = CLUSTER.lock();
    let subjects = "groups = [\"g0\"]\nusers = [\"u1\"]\nservice-accounts = [\"default/robot\"]";
    let people = principals(&[("viewer", "u0", "\"g0\"")]);
    let more = "groups = [\"g0\", \"g1\"]\nusers = [\"u1\"]\nservice-accounts = [\"default/robot\"]";
    let before = [TWO_ROLES, &people, &bindings(&[("old", "pods", subjects)])].concat();
    let after = [TWO_ROLES, &people, &bindings(&[("new", "pods", more)])].concat();
    assert_eq!(writes_between(&before, &after), ["POST new", "DELETE old"]);
}

#[test]
fn two_principals_swap_their_groups() {
    let (_guard, _) = CLUSTER.lock();
    let bound = bindings(&[("pods", "pods", "groups = [\"g0\"]"), ("secrets", "secrets", "groups = [\"g1\"]")]);
    let side = |one: &str, other: &str| {
        [TWO_ROLES, &principals(&[("viewer", "u0", one), ("deploy", "u1", other)]), &bound].concat()
    };
    let writes = writes_between(&side("\"g0\"", "\"g1\""), &side("\"g1\"", "\"g0\""));
    assert_eq!(writes, ["PATCH aws-auth"]);
}

#[test]
fn two_principals_swap_their_groups_and_the_groups_swap_what_their_roles_say() {
    let (_guard, _) = CLUSTER.lock();
    let bound = bindings(&[("one", "one", "groups = [\"g0\"]"), ("other", "other", "groups = [\"g1\"]")]);
    let side = |roles: [&str; 2], groups: [&str; 2]| {
        let roles: String = ["one", "other"]
            .iter()
            .zip(roles)
            .map(|(name, verb)| {
                format!("[cluster-roles.{name}]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n")
            })
            .collect();
        let people = principals(&[("viewer", "u0", groups[0]), ("deploy", "u1", groups[1]), ("admin", "u2", "\"g2\"")]);
        [roles, people, bound.clone()].concat()
    };
    let writes =
        writes_between(&side(["get", "list"], ["\"g0\"", "\"g1\""]), &side(["list", "get"], ["\"g1\"", "\"g0\""]));
    assert!(writes.contains(&"POST one-rolecall-temporary".to_owned()), "{writes:#?}");
    let (_, roles) = CLUSTER.admin("GET", &format!("{RBAC}/clusterroles"), None);
    assert!(!roles.to_string().contains("rolecall-temporary"), "what was for a while is gone");
}

#[test]
fn two_principals_swap_their_usernames_and_what_is_bound_to_them() {
    let (_guard, _) = CLUSTER.lock();
    let side = |users: [&str; 2], bound: [&str; 2]| {
        let people = principals(&[("viewer", users[0], "\"g0\""), ("deploy", users[1], "")]);
        let bound = bindings(&[
            ("pods", "pods", &format!("users = [\"{}\"]", bound[0])),
            ("secrets", "secrets", &format!("users = [\"{}\"]", bound[1])),
            ("all", "pods", "groups = [\"g2\"]"),
        ]);
        [TWO_ROLES, &people, &bound].concat()
    };
    let writes = writes_between(&side(["u0", "u1"], ["u0", "u1"]), &side(["u1", "u0"], ["u1", "u0"]));
    assert!(writes.len() > 2, "{writes:#?}");
}
