//! Random access entries with their access policies, in the form in which the double of AWS takes them.

use serde_json::{Value, json};

use super::case::{EMPTY_NAMESPACE, NAMESPACES, pick_usually};
use crate::access::{Authentication, Identity, Request};
use crate::state::State;
use crate::state::access_entry::{AccessEntry, AccessScope, access_entry_key};
use crate::state::access_policies::{AccessPolicy, access_policy_arn, access_policy_name};
use crate::state::aws_auth::tests::corpus::TestRng;

/// Of each principal, the ARNs that it can have. IAM does not distinguish the case of names, and a role or a user with the
/// same name and another path is the same principal, created again.
const PRINCIPALS: [&[&str]; 8] = [
    &["arn:aws:iam::111122223333:role/viewer", "arn:aws:iam::111122223333:role/team/viewer"],
    &["arn:aws:iam::111122223333:role/deploy", "arn:aws:iam::111122223333:role/team/a/Deploy"],
    &["arn:aws:iam::111122223333:user/bob", "arn:aws:iam::111122223333:user/Bob"],
    &["arn:aws:iam::111122223333:user/team/eve", "arn:aws:iam::111122223333:user/eve"],
    &["arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef"],
    &["arn:aws:iam::111122223333:root"],
    &["arn:aws:iam::444455556666:user/mallory"],
    &["arn:aws:iam::012345678901:role/Other"],
];
/// The first of [`PRINCIPALS`] have an entry in most states.
const COMMON_PRINCIPALS: usize = 4;
const NODE: &str = "arn:aws:iam::111122223333:role/nodes";
const USERNAMES: [&[&str]; 2] = [
    &["u1", "u2", "of:{{SessionName}}"],
    &[
        "raw:{{SessionNameRaw}}",
        "of-{{AccountID}}",
        "at:{{SessionName}}:{{SessionNameRaw}}",
        "key:{{AccessKeyID}}",
        "arn:aws:sts::111122223333:assumed-role/viewer/{{SessionName}}",
        "host:{{EC2PrivateDNSName}}",
        "{{sessionname}}",
        "real:user",
    ],
];
const GROUPS: [&[&str]; 2] = [
    &["g1", "g2"],
    &[
        "team-{{SessionName}}",
        "team-{{SessionNameRaw}}",
        "111122223333",
        "{{AccountID}}",
        "G1",
        "host-{{EC2PrivateDNSName}}",
    ],
];
const UNPUBLISHED: &str = "AmazonEKSComputePolicy";
const POLICIES: [&[&str]; 2] = [
    &["AmazonEKSViewPolicy", "AmazonEKSEditPolicy", "AmazonEKSSecretReaderPolicy"],
    &[
        "AmazonEKSAdminPolicy",
        "AmazonEKSAdminViewPolicy",
        "AmazonEKSClusterAdminPolicy",
        "AmazonEKSSecretAdminPolicy",
        // What this one allows is not published. The double lets it allow nothing.
        UNPUBLISHED,
    ],
];
/// Of these, `other-*` and `real` match no namespace.
const SCOPES: [&[&str]; 2] =
    [&["real-a", "real-b", "real-*"], &["*", "*-b", "r*l-a", "real-a*", "*real-a", "other-*", "real", "re*-*", "**"]];

/// Usually both stores, as during a migration.
pub(super) fn random_mode(rng: &mut TestRng) -> &'static str {
    match rng.next_below(6) {
        0 => "CONFIG_MAP",
        1 => "API",
        _ => "API_AND_CONFIG_MAP",
    }
}

pub(super) fn random_entries(rng: &mut TestRng) -> Vec<Value> {
    let mut entries = Vec::new();
    for (number, arns) in PRINCIPALS.iter().enumerate() {
        if rng.one_in(if number < COMMON_PRINCIPALS { 2 } else { 6 }) {
            let (first, others) = (arns[0], &arns[1..]);
            let arn = if others.is_empty() { first } else { pick_usually(rng, &[first], others) };
            // STS shows the path of a user, so an entry of a user with another path is not taken for one of this user.
            if arns.len() > 1 && !first.contains(":user/team/") && rng.one_in(12) {
                entries.push(dead_entry(rng, if arn == first { others[0] } else { first }));
            }
            entries.push(standard_entry(rng, arn));
        }
    }
    if rng.one_in(3) {
        entries.push(node_entry(rng));
    }
    entries
}

fn standard_entry(rng: &mut TestRng, arn: &str) -> Value {
    let groups: Vec<&str> = (0..rng.next_below(3)).map(|_| pick_usually(rng, GROUPS[0], GROUPS[1])).collect();
    let mut policies: Vec<Value> = Vec::new();
    for _ in 0..[0, 1, 1, 2][rng.next_below(4)] {
        let policy = pick_usually(rng, POLICIES[0], POLICIES[1]);
        if policies.iter().all(|associated| associated["policy"] != policy) {
            policies.push(association(rng, policy));
        }
    }
    json!({
        "principal_arn": arn, "username": pick_usually(rng, USERNAMES[0], USERNAMES[1]), "groups": groups,
        "policies": policies,
    })
}

fn association(rng: &mut TestRng, policy: &str) -> Value {
    if rng.one_in(3) {
        return json!({ "policy": policy });
    }
    let [common, unusual] = SCOPES;
    let names: Vec<&str> = (0..=rng.next_below(2)).map(|_| pick_usually(rng, common, unusual)).collect();
    json!({ "policy": policy, "namespaces": names })
}

/// Returns the entry of a principal that was created again with another path. It has another unique ID, so the entry
/// matches nothing.
fn dead_entry(rng: &mut TestRng, arn: &str) -> Value {
    let mut entry = standard_entry(rng, arn);
    entry["principal_id"] = json!("AROAPRINCIPALTHATWAS");
    entry
}

/// Returns the entry of a role of nodes, whose username and groups EKS chooses.
fn node_entry(rng: &mut TestRng) -> Value {
    let (kind, username) = match rng.next_below(3) {
        0 => ("EC2_LINUX", "system:node:{{EC2PrivateDNSName}}"),
        1 => ("EC2", "system:node:{{EC2PrivateDNSName}}"),
        _ => ("HYBRID_LINUX", "system:node:{{SessionName}}"),
    };
    let policies = if kind == "EC2" { json!([{ "policy": "AmazonEKSAutoNodePolicy" }]) } else { json!([]) };
    json!({ "principal_arn": NODE, "type": kind, "username": username, "groups": ["system:nodes"], "policies": policies })
}

/// Returns the entries without those of principals that were created again and have no other entry: the program cannot know
/// that these match nothing.
pub(super) fn known_to_match(entries: &[Value]) -> Vec<Value> {
    let is_dead = |entry: &Value| !entry["principal_id"].is_null();
    let live: Vec<String> = entries.iter().filter(|entry| !is_dead(entry)).map(principal_name).collect();
    entries.iter().filter(|entry| !is_dead(entry) || live.contains(&principal_name(entry))).cloned().collect()
}

/// Returns what IAM compares of the principal: its kind, its account and its name, without its path.
pub(super) fn principal_name(entry: &Value) -> String {
    let arn = entry["principal_arn"].as_str().unwrap_or_default();
    let (head, path) = arn.split_once('/').unwrap_or((arn, ""));
    format!("{head}/{}", path.rsplit('/').next().unwrap_or_default()).to_lowercase()
}

/// Returns the entry as the program reads it.
///
/// # Errors
/// If EKS cannot have such an entry.
pub(super) fn parse_entry(entry: &Value) -> Result<AccessEntry, String> {
    let mut policies = json!({});
    for association in entry["policies"].as_array().into_iter().flatten() {
        let policy = association["policy"].as_str().ok_or("an association without a policy")?;
        let scope = match &association["namespaces"] {
            Value::Null => json!({ "type": "cluster" }),
            Value::Array(names) if !names.is_empty() => json!({ "type": "namespace", "namespaces": names }),
            _ => return Err("a scope without namespaces".to_owned()),
        };
        policies[access_policy_arn("aws", policy)] = scope;
    }
    let [arn, username, groups] = ["principal_arn", "username", "groups"].map(|field| &entry[field]);
    if !arn.is_string() || !username.is_string() || !groups.is_array() {
        return Err("an incomplete entry".to_owned());
    }
    let document = json!({
        "metadata": { "name": arn }, "type": entry["type"], "username": username, "kubernetesGroups": groups,
        "accessPolicies": policies,
    });
    AccessEntry::from_json(&document).map_err(|error| error.to_string())
}

/// Returns whether one of the possible access entries of a principal has an access policy with unpublished rules that applies to a
/// request.
pub(super) fn has_unpublished_rules(state: &State, authentication: &Authentication, request: &Request) -> bool {
    let principals = authentication.identities().filter_map(Identity::access_entry);
    let entries = principals.filter_map(|arn| state.access_entries.get(&access_entry_key(arn)));
    let mut policies = entries.flat_map(AccessEntry::policies);
    policies.any(|(arn, scope)| {
        let applies = match (scope, request.namespace()) {
            (AccessScope::Cluster, _) => true,
            (AccessScope::Namespaces(names), Some(namespace)) => names.contains(namespace),
            (AccessScope::Namespaces(_), None) => false,
        };
        applies && AccessPolicy::named(access_policy_name(arn)).source.is_none()
    })
}

/// Returns a rule of an access policy of an entry, and a namespace in which it can apply.
pub(super) fn random_policy_rule(rng: &mut TestRng, entry: &Value) -> Option<(Value, &'static str)> {
    let policies = entry["policies"].as_array()?;
    let policy = policies.get(rng.next_below(policies.len()))?["policy"].as_str()?;
    // The rule that stands for unpublished ones is about requests that do not exist.
    let published = if AccessPolicy::named(policy).source.is_some() { policy } else { POLICIES[0][0] };
    let rules = AccessPolicy::named(published).role.rules;
    let rule = rules.get(rng.next_below(rules.len()))?;
    Some((json!(rule), rng.pick(&[NAMESPACES[0], NAMESPACES[1], EMPTY_NAMESPACE])))
}

/// Returns the ARN of a caller that the entry can match, as STS reports it.
pub(super) fn random_caller(rng: &mut TestRng, entry: &Value) -> Option<String> {
    let arn = entry["principal_arn"].as_str()?;
    let Some((account, path)) = arn.split_once(":role/") else {
        return Some(arn.to_owned());
    };
    let name = path.rsplit('/').next()?;
    let session = rng.pick(&["u1", "me@example.com", "i-0123456789abcdef0"]);
    Some(format!("{}:assumed-role/{name}/{session}", account.replace(":iam:", ":sts:")))
}
