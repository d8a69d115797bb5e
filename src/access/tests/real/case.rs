//! A random state to write to an API server: RBAC objects, the texts of aws-auth and access entries, in one JSON value that
//! can shrink.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::random_entries::{known_to_match, parse_entry, random_entries, random_mode};
use crate::state::State;
use crate::state::access_entry::AccessEntriesStatus;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::tests::corpus::{SCALARS, TestRng, mutate, random_section};
use crate::state::config_map::AwsAuth;
use crate::state::validate::parse_object_key;

pub(crate) const NAMESPACES: [&str; 2] = ["real-a", "real-b"];
/// A namespace without objects of RBAC. Access policies can apply in it.
pub(crate) const EMPTY_NAMESPACE: &str = "real-c";
pub(crate) const AWS_AUTH: &str = "awsAuth";
/// In the form in which the double of AWS takes them.
pub(crate) const ACCESS_ENTRIES: &str = "accessEntries";
pub(crate) const AUTH_MODE: &str = "authenticationMode";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Each list has two parts: common values, here the ARNs that have a caller, and unusual ones.
const ARNS: [&[&str]; 2] = [
    &[
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/deploy",
        "arn:aws:iam::111122223333:user/bob",
        "arn:aws:iam::111122223333:user/team/eve",
    ],
    &[
        "arn:aws:iam::111122223333:role/VIEWER",
        "arn:aws:iam::111122223333:user/Bob",
        "arn:aws:iam::111122223333:role/team/deploy",
        "arn:aws:iam::111122223333:role/nodes",
        "arn:aws:sts::111122223333:assumed-role/deploy/session",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:instance-profile/nodes",
        "arn:aws:iam::111122223333:user/eve",
        "arn:aws:sts::111122223333:federated-user/fed",
        "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef",
        " arn:aws:iam::111122223333:role/viewer",
        "ARN:aws:iam::111122223333:user/team/EVE",
    ],
];
const USERNAMES: [&[&str]; 2] = [
    &["u1", "u2", "at-{{SessionName}}"],
    &[
        "",
        "real:user",
        "raw-{{SessionNameRaw}}",
        "of-{{AccountID}}",
        "{{SessionName}}",
        "two-{{SessionName}}-{{SessionNameRaw}}",
        "{{AccountID}}:{{SessionName}}{{SessionName}}",
        "system:node:{{SessionName}}",
        "key-{{AccessKeyID}}",
        "{{sessionname}}",
        "{{ SessionName }}",
        "system:node:{{EC2PrivateDNSName}}",
        "system:serviceaccount:real-a:s",
        "system:anonymous",
    ],
];
const GROUPS: [&[&str]; 2] = [
    &["g1", "g2"],
    &[
        "",
        "g1",
        "team-{{SessionName}}",
        "team-{{SessionNameRaw}}",
        "team-{{SessionNameRaw}}-{{SessionName}}",
        "system:{{SessionName}}",
        "system:nodes",
        "{{AccountID}}",
        "host-{{EC2PrivateDNSName}}",
        "system:masters",
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ],
];
const VERBS: [&[&str]; 2] = [
    &["get", "list", "create", "update", "*"],
    &["watch", "patch", "delete", "deletecollection", "GET", "escalate", "bind", "impersonate", "impersonate", ""],
];
const API_GROUPS: [&[&str]; 2] =
    [&["", "", "apps", "*"], &["rbac.authorization.k8s.io", "networking.k8s.io", "APPS", "none.example"]];
const RESOURCES: [&[&str]; 2] = [
    &["pods", "pods", "secrets", "deployments", "*", "pods/exec"],
    &[
        "pods/log",
        "pods/*",
        "*/exec",
        "*/scale",
        "*/*",
        "deployments/scale",
        "configmaps",
        "namespaces",
        "nodes",
        "nodes/proxy",
        "persistentvolumes",
        "servicecidrs",
        "users",
        "groups",
        "serviceaccounts",
        "rolebindings",
        "serviceaccounts/token",
        "PODS",
        "clusterroles",
        "roles",
        "",
        "pods/",
        "/exec",
        "*/",
    ],
];
const NAMES: &[&str] = &["a", "b", "", "*", "real-a", "real-b", "A", "s", "u1"];
const URLS: &[&str] = &[
    "/metrics",
    "/metrics/*",
    "/a*",
    "/a**",
    "/a*b",
    "*",
    "**",
    "/",
    "/*",
    "/healthz",
    "healthz",
    "/version*",
    "/api",
    "/apis/x",
    "",
];
const LABELS: &[(&str, &str)] = &[
    ("rbac.authorization.k8s.io/aggregate-to-view", "true"),
    ("rbac.authorization.k8s.io/aggregate-to-edit", "true"),
    ("rbac.authorization.k8s.io/aggregate-to-admin", "false"),
    ("to-a0", "true"),
    ("to-a1", "true"),
    ("tier", "x"),
];

/// A random state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RandomCase(Value);

impl RandomCase {
    /// Returns a random state. The same seed always gives the same state.
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let mut objects = Vec::new();
        for name in ["c0", "c1", "c2"] {
            objects.push(role(&mut rng, "ClusterRole", name, None));
        }
        for name in ["a0", "a1"] {
            if rng.one_in(2) {
                objects.push(aggregated(&mut rng, name));
            }
        }
        for namespace in NAMESPACES {
            objects.push(role(&mut rng, "Role", "r0", Some(namespace)));
        }
        for number in 0..8 + rng.next_below(6) {
            objects.push(binding(&mut rng, &format!("b{number}")));
        }
        let auth = aws_auth(&mut rng);
        let (mode, entries) = (random_mode(&mut rng), random_entries(&mut rng));
        Self(json!({ "objects": objects, (AWS_AUTH): auth, (AUTH_MODE): mode, (ACCESS_ENTRIES): entries }))
    }

    pub(crate) fn from_value(value: Value) -> Self {
        Self(value)
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    pub(crate) fn objects(&self) -> &[Value] {
        self.0["objects"].as_array().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn auth_mode(&self) -> ClusterAuthMode {
        self.0[AUTH_MODE].as_str().and_then(ClusterAuthMode::parse).unwrap_or(ClusterAuthMode::ConfigMap)
    }

    pub(crate) fn access_entries(&self) -> &[Value] {
        self.0[ACCESS_ENTRIES].as_array().map_or(&[], Vec::as_slice)
    }

    /// Returns the data of the ConfigMap. The case stores the texts as lists of lines, so that single lines can be
    /// removed.
    pub(crate) fn data(&self) -> Value {
        let texts = self.0[AWS_AUTH].as_object().into_iter().flatten();
        let text = |lines: &Value| lines.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<String>();
        Value::Object(texts.map(|(key, lines)| (key.clone(), json!(text(lines)))).collect::<Map<_, _>>())
    }

    /// Returns whether the API server accepts the objects: no required field is missing.
    pub(crate) fn is_valid(&self) -> bool {
        let is_filled = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
        let is_valid_rule = |rule: &Value| {
            let has_resources = is_filled(&rule["apiGroups"]) && is_filled(&rule["resources"]);
            let has_urls = is_filled(&rule["nonResourceURLs"]);
            is_filled(&rule["verbs"]) && (has_resources && rule["nonResourceURLs"].is_null() || has_urls)
        };
        let has_valid_rules = |object: &Value| object["rules"].as_array().into_iter().flatten().all(is_valid_rule);
        let is_valid_object = |object: &Value| {
            matches!(parse_object_key(object), Ok(Some(_)))
                && (!object["kind"].as_str().is_some_and(is_role) || has_valid_rules(object))
        };
        let are_valid_entries = known_to_match(self.access_entries()).len() == self.access_entries().len();
        are_valid_entries
            && self.0["objects"].is_array()
            && self.objects().iter().all(is_valid_object)
            && self.to_state().is_ok()
    }

    /// Returns the state as written, before a controller changes it.
    ///
    /// # Errors
    /// If an object is not valid.
    pub(crate) fn to_state(&self) -> Result<State, String> {
        let mut state = State::default();
        for object in self.objects() {
            let key = parse_object_key(object)?.ok_or("unknown kind")?;
            state.insert_object(&key, object).map_err(|error| error.to_string())?;
        }
        let map = json!({ "metadata": {}, "data": self.data() });
        state.aws_auth = Some(AwsAuth::from_json(&map).map_err(|error| error.to_string())?);
        self.add_eks_state(&mut state)?;
        Ok(state)
    }

    /// Adds what the API server does not know: the authentication mode and the access entries, as the program reads them
    /// from EKS, and the namespaces.
    ///
    /// # Errors
    /// If an entry is not valid.
    pub(crate) fn add_eks_state(&self, state: &mut State) -> Result<(), String> {
        let mode = self.auth_mode();
        let entries = self.access_entries().iter().map(parse_entry).collect::<Result<Vec<_>, _>>()?;
        if mode.has_access_entries() {
            state.access_entries.status = AccessEntriesStatus::Known;
            entries.into_iter().for_each(|entry| state.insert_access_entry(entry));
        }
        state.auth_mode = ObservedAuthMode::Known(mode);
        let namespaces = NAMESPACES.into_iter().chain([EMPTY_NAMESPACE]);
        state.namespaces.extend(namespaces.map(|name| (name.to_owned(), BTreeMap::new())));
        Ok(())
    }
}

fn is_role(kind: &str) -> bool {
    matches!(kind, "Role" | "ClusterRole")
}

/// Returns an unusual value in one of four cases, otherwise a common one.
pub(super) fn pick_usually<'p>(rng: &mut TestRng, common: &[&'p str], unusual: &[&'p str]) -> &'p str {
    let values = if rng.one_in(4) { unusual } else { common };
    rng.pick(values)
}

fn pick_some_usually<'p>(rng: &mut TestRng, [common, unusual]: [&[&'p str]; 2], max: usize) -> Vec<&'p str> {
    (0..=rng.next_below(max)).map(|_| pick_usually(rng, common, unusual)).collect()
}

pub(super) fn pick_some<'p>(rng: &mut TestRng, words: &[&'p str], max: usize) -> Vec<&'p str> {
    (0..=rng.next_below(max)).map(|_| rng.pick(words)).collect()
}

fn rule(rng: &mut TestRng, allow_urls: bool) -> Value {
    if allow_urls && rng.one_in(5) {
        return json!({
            "verbs": pick_some(rng, &["get", "post", "put", "delete", "*", "GET"], 2), "nonResourceURLs": pick_some(rng, URLS, 2),
        });
    }
    let mut rule = json!({
        "verbs": pick_some_usually(rng, VERBS, 4),
        "apiGroups": pick_some_usually(rng, API_GROUPS, 2),
        "resources": pick_some_usually(rng, RESOURCES, 4),
    });
    if rng.one_in(4) {
        rule["resourceNames"] = json!(pick_some(rng, NAMES, 2));
    }
    rule
}

fn object(kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut object = json!({ "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": { "name": name } });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn labels(rng: &mut TestRng, object: &mut Value) {
    for (key, value) in LABELS {
        if rng.one_in(6) {
            object["metadata"]["labels"][*key] = json!(value);
        }
    }
}

fn role(rng: &mut TestRng, kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut object = object(kind, name, namespace);
    let rules: Vec<Value> = (0..=rng.next_below(3)).map(|_| rule(rng, namespace.is_none())).collect();
    object["rules"] = json!(rules);
    labels(rng, &mut object);
    object
}

fn aggregated(rng: &mut TestRng, name: &str) -> Value {
    let mut object = object("ClusterRole", name, None);
    let selector = |rng: &mut TestRng| match rng.next_below(8) {
        0 => json!({}),
        1 => json!({ "matchExpressions": [{ "key": "tier", "operator": "Exists" }] }),
        2 => json!({ "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["x", "y"] }] }),
        3 => json!({
            "matchLabels": { "to-a0": "true" },
            "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["x"] }],
        }),
        4 => json!({
            "matchLabels": { "to-a1": "true" },
            "matchExpressions": [{ "key": "tier", "operator": "DoesNotExist" }],
        }),
        _ => json!({ "matchLabels": { (rng.pick(&["to-a0", "to-a1"])): "true" } }),
    };
    let selectors: Vec<Value> = (0..=rng.next_below(2)).map(|_| selector(rng)).collect();
    object["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
    if rng.one_in(5) {
        object["rules"] = json!([rule(rng, true)]);
    }
    labels(rng, &mut object);
    object
}

fn subject(rng: &mut TestRng, namespace: Option<&str>) -> Value {
    let users: [&[&str]; 2] = [
        &["u1", "u2", "at-me-example.com"],
        &[
            "raw-me@example.com",
            "of-111122223333",
            "me-example.com",
            "session",
            "two-me-example.com-me@example.com",
            "111122223333:u1u1",
            "system:node:session",
            "system:node:i-0123456789abcdef0",
            "{{sessionname}}",
            "system:anonymous",
            "system:serviceaccount:real-b:s",
            "arn:aws:iam::444455556666:user/mallory",
            "arn:aws:iam::012345678901:role/Other",
            "U1",
        ],
    ];
    let groups: [&[&str]; 2] = [
        &["g1", "g2", "system:authenticated"],
        &[
            "team-me-example.com",
            "team-me@example.com",
            "team-me@example.com-me-example.com",
            "team-session",
            "system:nodes",
            "111122223333",
            "system:unauthenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:real-a",
            "system:masters",
            "G1",
        ],
    ];
    match rng.next_below(6) {
        0 => {
            let mut account = json!({ "kind": "ServiceAccount", "name": "s" });
            if namespace.is_none() || !rng.one_in(3) {
                account["namespace"] = json!(rng.pick(&NAMESPACES));
            }
            account
        }
        1 | 2 => json!({ "kind": "User", "apiGroup": RBAC, "name": pick_usually(rng, users[0], users[1]) }),
        _ => json!({ "kind": "Group", "apiGroup": RBAC, "name": pick_usually(rng, groups[0], groups[1]) }),
    }
}

fn binding(rng: &mut TestRng, name: &str) -> Value {
    let namespace = rng.one_in(2).then(|| rng.pick(&NAMESPACES));
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let mut object = object(kind, name, namespace);
    let to_role = namespace.is_some() && rng.one_in(2);
    let (role_kind, role) = if to_role {
        ("Role", pick_usually(rng, &["r0"], &["ghost"]))
    } else {
        ("ClusterRole", pick_usually(rng, &["c0", "c1", "c2", "a0", "a1"], &["view", "admin", "ghost"]))
    };
    object["roleRef"] = json!({ "apiGroup": RBAC, "kind": role_kind, "name": role });
    let subjects: Vec<Value> = (0..=rng.next_below(2)).map(|_| subject(rng, namespace)).collect();
    object["subjects"] = json!(subjects);
    object
}

/// Returns a section of aws-auth: mostly valid entries in the layouts of people and tools, sometimes arbitrary text.
fn section(rng: &mut TestRng, key: &str) -> String {
    loop {
        let text = any_section(rng, key);
        // The parser deliberately refuses these two, which the authenticator accepts: see `IntendedRefusal` in the
        // differential tests of aws-auth.
        if !text.contains("!!timestamp") && !text.get(1..).unwrap_or_default().contains('\u{feff}') {
            return text;
        }
    }
}

fn any_section(rng: &mut TestRng, key: &str) -> String {
    if rng.one_in(12) {
        let mut text = random_section(rng, key);
        for (generated, arn) in [("arn: a\n", ARNS[0][0]), ("arn: b\n", ARNS[0][2])] {
            text = text.replace(generated, &format!("arn: {arn}\n"));
        }
        return text;
    }
    let mut text = String::new();
    for _ in 0..2 + rng.next_below(4) {
        if key == "mapAccounts" {
            text.push_str(&format!("- {}\n", rng.pick(&["444455556666", "'444455556666'", "012345678901", "~"])));
            continue;
        }
        let principal = if key == "mapRoles" { "rolearn" } else { "userarn" };
        let principal = match rng.next_below(12) {
            0 => principal.replace("arn", "ARN"),
            1 => "rolearn".to_owned(),
            _ => principal.to_owned(),
        };
        if rng.one_in(20) {
            text.push_str("- sso: {permissionSetName: Admin, accountID: '111122223333'}\n");
        } else {
            text.push_str(&format!("- {principal}: \"{}\"\n", pick_usually(rng, ARNS[0], ARNS[1])));
        }
        let username = if rng.one_in(25) {
            rng.pick(SCALARS).to_owned()
        } else {
            format!("'{}'", pick_usually(rng, USERNAMES[0], USERNAMES[1]))
        };
        text.push_str(&format!("  {}: {username}\n", rng.pick(&["username", "username", "username", "userName"])));
        match rng.next_below(24) {
            0 | 1 => {}
            2 => text.push_str(&format!("  groups: {}\n", rng.pick(SCALARS))),
            3 | 4 => text.push_str(&format!("  Groups: ['{}']\n", pick_usually(rng, GROUPS[0], GROUPS[1]))),
            _ => {
                text.push_str("  groups:\n");
                for group in pick_some_usually(rng, GROUPS, 3) {
                    text.push_str(&format!("    - \"{group}\"\n"));
                }
            }
        }
    }
    // Users whose ARNs differ in case: the authenticator chooses one of the entries at random.
    if key == "mapUsers" && text.contains("user/bob\"") && rng.one_in(3) {
        text.push_str("- userarn: arn:aws:iam::111122223333:user/BOB\n  username: u2\n  groups: [g2]\n");
    }
    if rng.one_in(16) {
        mutate(rng, &mut text, &["- rolearn: a\n  groups: [x]\n"]);
    }
    text
}

fn aws_auth(rng: &mut TestRng) -> Value {
    let mut data = Map::new();
    for key in ["mapRoles", "mapUsers", "mapAccounts"] {
        let text = section(rng, key);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        data.insert(if rng.one_in(40) { key.to_lowercase() } else { key.to_owned() }, json!(lines));
    }
    Value::Object(data)
}
