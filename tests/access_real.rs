//! The evaluator against the real thing: random states written to a real cluster, random questions put to its
//! SubjectAccessReview and to `can`. `ROLECALL_QUESTIONS=5000` asks more of them, `ROLECALL_SEED=7` others.

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

use std::time::{Duration, Instant};

use common::TestCluster;
use common::cluster::Options;
use common::rolecall::Desk;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const NAMESPACES: [&str; 2] = ["real-a", "real-b"];
const PER_STATE: usize = 25;

const ARNS: [&str; 5] = [
    "arn:aws:sts::111122223333:assumed-role/viewer/me@example.com",
    "arn:aws:sts::111122223333:assumed-role/deploy/session",
    "arn:aws:iam::111122223333:user/bob",
    "arn:aws:iam::111122223333:user/team/eve",
    "arn:aws:iam::444455556666:user/mallory",
];
const ENTRIES: [(&str, &str); 6] = [
    ("rolearn", "arn:aws:iam::111122223333:role/viewer"),
    ("rolearn", "arn:aws:iam::111122223333:role/VIEWER"),
    ("rolearn", "arn:aws:iam::111122223333:role/deploy"),
    ("rolearn", "arn:aws:iam::111122223333:role/team/deploy"),
    ("userarn", "arn:aws:iam::111122223333:user/bob"),
    ("userarn", "arn:aws:iam::111122223333:user/team/eve"),
];
const USERS: [&str; 6] =
    ["u1", "u2", "at-{{SessionName}}", "of-{{AccountID}}", "system:serviceaccount:real-a:s", "real:user"];
const GROUPS: [&str; 5] = ["g1", "g2", "team-{{SessionName}}", "system:masters", "g3"];

/// Numbers from a seed, always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.roll(words.len())]
    }

    fn some<'a>(&mut self, words: &[&'a str], most: usize) -> Vec<&'a str> {
        (0..=self.roll(most)).map(|_| self.one(words)).collect()
    }
}

fn rule(dice: &mut Dice, urls: bool) -> Value {
    if urls && dice.roll(5) == 0 {
        return json!({
            "verbs": dice.some(&["get", "post", "*"], 1),
            "nonResourceURLs": dice.some(&["/metrics", "/metrics/*", "/a*", "*"], 2),
        });
    }
    let mut rule = json!({
        "verbs": dice.some(&["get", "list", "create", "delete", "*"], 3),
        "apiGroups": dice.some(&["", "apps", "*"], 2),
        "resources": dice.some(&["pods", "secrets", "pods/exec", "*/exec", "deployments", "nodes", "*", "pods/*"], 3),
    });
    if dice.roll(6) == 0 {
        rule["resourceNames"] = json!(dice.some(&["a", "b", "*"], 1));
    }
    rule
}

fn rules(dice: &mut Dice, urls: bool) -> Vec<Value> {
    (0..=dice.roll(4)).map(|_| rule(dice, urls)).collect()
}

fn subject(dice: &mut Dice) -> Value {
    let api = "rbac.authorization.k8s.io";
    match dice.roll(5) {
        0 => json!({ "kind": "ServiceAccount", "namespace": dice.one(&NAMESPACES), "name": "s" }),
        1 | 2 => {
            let users = ["u1", "u2", "at-me-example.com", "of-111122223333", "system:serviceaccount:real-b:s"];
            json!({ "kind": "User", "apiGroup": api, "name": dice.one(&users) })
        }
        _ => {
            let groups = ["g1", "g2", "team-me-example.com", "system:authenticated", "system:serviceaccounts:real-a"];
            json!({ "kind": "Group", "apiGroup": api, "name": dice.one(&groups) })
        }
    }
}

fn write(cluster: &TestCluster, path: &str, object: &Value) {
    let (status, answer) = cluster.admin("POST", path, Some(object));
    assert_eq!(status, 201, "{path}: {answer}");
}

/// Writes a state, and waits until the API server and the authenticator go by it.
fn arrange(cluster: &TestCluster, dice: &mut Dice, round: usize) {
    cluster.reset();
    for name in ["c0", "c1", "c2"] {
        let role = json!({ "metadata": { "name": name }, "rules": rules(dice, true) });
        write(cluster, &format!("{RBAC}/clusterroles"), &role);
    }
    for namespace in NAMESPACES {
        let role = json!({ "metadata": { "name": "r0" }, "rules": rules(dice, false) });
        write(cluster, &format!("{RBAC}/namespaces/{namespace}/roles"), &role);
    }
    for number in 0..10 {
        let subjects: Vec<Value> = (0..=dice.roll(2)).map(|_| subject(dice)).collect();
        let name = dice.one(&["c0", "c1", "c2", "view", "ghost"]);
        let mut binding = json!({
            "metadata": { "name": format!("b{number}") },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": subjects,
        });
        if dice.roll(2) == 0 {
            write(cluster, &format!("{RBAC}/clusterrolebindings"), &binding);
            continue;
        }
        if dice.roll(2) == 0 {
            binding["roleRef"]["kind"] = json!("Role");
            binding["roleRef"]["name"] = json!("r0");
        }
        write(cluster, &format!("{RBAC}/namespaces/{}/rolebindings", dice.one(&NAMESPACES)), &binding);
    }
    let entries: Vec<(&str, Value)> = (0..4)
        .map(|_| {
            let (key, arn) = ENTRIES[dice.roll(ENTRIES.len())];
            (key, json!({ key: arn, "username": dice.one(&USERS), "groups": dice.some(&GROUPS, 1) }))
        })
        .collect();
    let section = |wanted: &str| -> String {
        let list: Vec<&Value> = entries.iter().filter(|(key, _)| *key == wanted).map(|(_, entry)| entry).collect();
        serde_json::to_string(&list).unwrap()
    };
    let accounts = if dice.roll(3) == 0 { "[\"444455556666\"]" } else { "[]" };
    cluster.set_aws_auth(&json!({
        "mapRoles": section("rolearn"), "mapUsers": section("userarn"), "mapAccounts": accounts,
    }));
    settle(cluster, round);
}

/// What is written last of each kind is seen last: once it counts, all does.
fn settle(cluster: &TestCluster, round: usize) {
    let name = format!("marker-{round}");
    let rule = json!([{ "verbs": [name], "apiGroups": [""], "resources": ["pods"] }]);
    let role = json!({ "metadata": { "name": name }, "rules": rule });
    let binding = |kind: &str| {
        json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
            "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": format!("{name}-{kind}") }],
        })
    };
    let local = format!("{RBAC}/namespaces/{}", NAMESPACES[0]);
    write(cluster, &format!("{RBAC}/clusterroles"), &role);
    write(cluster, &format!("{RBAC}/clusterrolebindings"), &binding("ClusterRole"));
    write(cluster, &format!("{local}/roles"), &role);
    write(cluster, &format!("{local}/rolebindings"), &binding("Role"));
    let deadline = Instant::now() + Duration::from_secs(10);
    for kind in ["ClusterRole", "Role"] {
        let asked = json!({ "verb": name, "resource": "pods", "namespace": NAMESPACES[0] });
        let spec = json!({ "user": format!("{name}-{kind}"), "resourceAttributes": asked });
        while !allowed(cluster, &spec) {
            assert!(Instant::now() < deadline, "the API server does not see {name}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn allowed(cluster: &TestCluster, spec: &Value) -> bool {
    let (status, answer) = cluster.admin("POST", REVIEWS, Some(&json!({ "spec": spec })));
    assert_eq!(status, 201, "{answer}");
    answer["status"]["allowed"] == true
}

/// A SUBJECT, and what the cluster makes of him: user and groups, or nothing where he is not let in.
fn somebody(cluster: &TestCluster, dice: &mut Dice) -> (String, Option<(String, Vec<String>)>) {
    let everybody = |mut groups: Vec<String>| {
        groups.push("system:authenticated".to_owned());
        groups
    };
    match dice.roll(6) {
        0 => {
            let user = dice.one(&["u1", "u2", "of-111122223333", "real:user"]);
            (format!("user:{user}"), Some((user.to_owned(), everybody(Vec::new()))))
        }
        1 => {
            let group = dice.one(&["g1", "g2", "g3", "system:masters", "system:authenticated"]);
            (format!("group:{group}"), Some((String::new(), everybody(vec![group.to_owned()]))))
        }
        2 => {
            let namespace = dice.one(&NAMESPACES);
            let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
            let user = format!("system:serviceaccount:{namespace}:s");
            (format!("sa:{namespace}/s"), Some((user, everybody(groups))))
        }
        _ => {
            let arn = dice.one(&ARNS);
            let mapped = cluster.map(arn).ok().map(|answer| {
                let groups = answer["groups"].as_array().unwrap().iter();
                let groups = groups.map(|group| group.as_str().unwrap().to_owned()).collect();
                (answer["username"].as_str().unwrap().to_owned(), everybody(groups))
            });
            (arn.to_owned(), mapped)
        }
    }
}

/// The words of `can` behind the subject, and the attributes of the review.
fn question(dice: &mut Dice) -> (Vec<String>, Value) {
    if dice.roll(6) == 0 {
        let (verb, path) = (dice.one(&["get", "post"]), dice.one(&["/metrics", "/metrics/x", "/a", "/version", "/z"]));
        let attributes = json!({ "nonResourceAttributes": { "verb": verb, "path": path } });
        return (vec![verb.to_owned(), path.to_owned()], attributes);
    }
    let verb = dice.one(&["get", "list", "create", "delete", "watch"]);
    let (resource, group) =
        [("pods", ""), ("secrets", ""), ("deployments", "apps"), ("pods", "apps"), ("nodes", "")][dice.roll(5)];
    let subresource = dice.one(&["", "", "", "", "", "exec", "log"]);
    let name = dice.one(&["", "", "a", "b"]);
    let namespace = if resource == "nodes" { "" } else { dice.one(&["", "real-a", "real-a", "real-b", "real-b"]) };
    let mut word = resource.to_owned();
    for (mark, part) in [(".", group), ("/", name)] {
        if !part.is_empty() {
            word.push_str(&format!("{mark}{part}"));
        }
    }
    let mut words = vec![verb.to_owned(), word];
    if !subresource.is_empty() {
        words.extend(["--subresource".to_owned(), subresource.to_owned()]);
    }
    if namespace.is_empty() {
        words.push("-A".to_owned());
    } else {
        words.extend(["-n".to_owned(), namespace.to_owned()]);
    }
    let attributes = json!({
        "verb": verb, "group": group, "resource": resource,
        "subresource": subresource, "name": name, "namespace": namespace,
    });
    (words, json!({ "resourceAttributes": attributes }))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn can_answers_what_the_cluster_answers() {
    let questions = usize::try_from(number("ROLECALL_QUESTIONS").unwrap_or(150)).unwrap();
    let seed = number("ROLECALL_SEED").unwrap_or(1);
    let cluster = TestCluster::start_with(Options { aggregation: true, ..Options::default() });
    for name in NAMESPACES {
        cluster.create_namespace(name, &[]);
    }
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    let deadline = Instant::now() + Duration::from_secs(20);
    while cluster.admin("GET", &format!("{RBAC}/clusterroles/view"), None).1["rules"].is_null() {
        assert!(Instant::now() < deadline, "the role `view` stays empty");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut dice = Dice(seed);
    let (mut yes, mut denied, mut asked) = (0, 0, 0);
    while asked < questions {
        arrange(&cluster, &mut dice, asked);
        desk.ok(&["snapshot", "--out", "state.yaml"]);
        for turn in 0..PER_STATE.min(questions - asked) {
            let (who, identity) = somebody(&cluster, &mut dice);
            let (words, mut spec) = question(&mut dice);
            let truth = identity.as_ref().is_some_and(|(user, groups)| {
                spec["user"] = json!(user);
                spec["groups"] = json!(groups);
                allowed(&cluster, &spec)
            });
            let mut args = vec!["can", who.as_str()];
            args.extend(words.iter().map(String::as_str));
            args.extend(["--format", "json"]);
            // Live at times, and otherwise on the snapshot, which must not make a difference.
            if turn % 5 != 0 {
                args.extend(["--snapshot", "state.yaml"]);
            }
            let ran = desk.run(&args);
            let context = || {
                let state = desk.read("state.yaml");
                let own = state.split("---\n").filter(|one| !one.contains("rbac-defaults")).collect::<Vec<_>>();
                format!(
                    "seed {seed}, question {asked}: {args:?}\nthe cluster: {spec}\n{}{}\n{}",
                    ran.out,
                    ran.err,
                    own.join("---\n")
                )
            };
            let answer: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}\n{}", context()));
            let answer = &answer["clusters"][0];
            let expected = if truth { "yes" } else { "no" };
            assert_eq!(answer["verdict"], expected, "{}", context());
            assert_eq!(ran.code, i32::from(!truth), "{}", context());
            assert_eq!(answer["denied"].is_string(), identity.is_none(), "{}", context());
            if let Some((user, groups)) = &identity
                && who.starts_with("arn:")
            {
                assert_eq!(answer["identities"][0]["username"], json!(user), "{}", context());
                let mut found: Vec<&str> =
                    answer["identities"][0]["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let mut groups: Vec<&str> = groups.iter().map(String::as_str).collect();
                for list in [&mut found, &mut groups] {
                    list.sort_unstable();
                    list.dedup();
                }
                assert_eq!(found, groups, "{}", context());
            }
            yes += usize::from(truth);
            denied += usize::from(identity.is_none());
            asked += 1;
        }
    }
    // Answers of every sort, or it would prove little.
    assert!(yes * 10 > asked && yes * 10 < asked * 9 && denied > 0, "{yes} of {asked} were yes, {denied} not let in");
    println!("{asked} questions, {yes} yes, {denied} not let in: no difference");
}
