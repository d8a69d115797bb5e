//! Questions derived from a state: about the subjects of its bindings, with values that match or nearly match its
//! rules. Completely random questions would rarely do either.

use serde_json::Value;

use super::case::{NAMESPACES, RandomCase};
use super::question::{RandomQuestion, TestCredential};
use super::random_entries::{random_caller, random_policy_rule};
use crate::access::Request;
use crate::state::aws_auth::tests::corpus::TestRng;

/// At most `count` questions about a state. Fewer if it has few bindings or rules.
pub(super) fn near_questions(case: &RandomCase, rng: &mut TestRng, count: usize) -> Vec<RandomQuestion> {
    (0..count).filter_map(|_| near_question(case, rng)).collect()
}

fn near_question(case: &RandomCase, rng: &mut TestRng) -> Option<RandomQuestion> {
    let bindings: Vec<&Value> = case.objects().iter().filter(|object| object["roleRef"].is_object()).collect();
    let binding = pick_value(rng, &bindings)?;
    let is_bound = |role: &&&Value| {
        let [kind, name] = ["kind", "name"].map(|field| &binding["roleRef"][field]);
        let namespace = (*kind == "Role").then(|| &binding["metadata"]["namespace"]);
        role["kind"] == *kind
            && role["metadata"]["name"] == *name
            && namespace.is_none_or(|namespace| role["metadata"]["namespace"] == *namespace)
    };
    let roles: Vec<&Value> = case.objects().iter().filter(|object| object["rules"].is_array()).collect();
    // An aggregated role has its rules in other roles.
    let role = roles.iter().find(is_bound).copied().or_else(|| pick_value(rng, &roles))?;
    let rule = pick_value(rng, &role["rules"].as_array()?.iter().collect::<Vec<_>>())?;
    let (subject, credential) = bound_subject(rng, binding)?;
    let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
    let request = if rule["nonResourceURLs"].is_array() { url(rng, rule) } else { object(rng, rule, namespace) };
    Some(RandomQuestion { subject, credential, request, http_request: None })
}

/// At most `count` questions about the access entries of a state, of which some can be sent as requests. Fewer if it has few
/// access policies.
pub(super) fn entry_questions(case: &RandomCase, rng: &mut TestRng, count: usize) -> Vec<RandomQuestion> {
    (0..count).filter_map(|_| entry_question(case, rng)).collect()
}

fn entry_question(case: &RandomCase, rng: &mut TestRng) -> Option<RandomQuestion> {
    let has_policies = |entry: &&Value| entry["policies"].as_array().is_some_and(|policies| !policies.is_empty());
    let entry = pick_value(rng, &case.access_entries().iter().filter(has_policies).collect::<Vec<_>>())?;
    let subject = random_caller(rng, entry)?;
    if rng.one_in(3) {
        let random = RandomQuestion::random(rng);
        return Some(RandomQuestion { credential: TestCredential::Arn(subject.clone()), subject, ..random });
    }
    let (rule, namespace) = random_policy_rule(rng, entry)?;
    let request = if rule["nonResourceURLs"].is_array() { url(rng, &rule) } else { object(rng, &rule, namespace) };
    Some(RandomQuestion { credential: TestCredential::Arn(subject.clone()), subject, request, http_request: None })
}

fn pick_value<'v>(rng: &mut TestRng, values: &[&'v Value]) -> Option<&'v Value> {
    values.get(rng.next_below(values.len())).copied()
}

/// Returns a subject of the binding, and a credential of it.
fn bound_subject(rng: &mut TestRng, binding: &Value) -> Option<(String, TestCredential)> {
    let subject = pick_value(rng, &binding["subjects"].as_array()?.iter().collect::<Vec<_>>())?;
    let name = subject["name"].as_str()?;
    let impersonate = |user: &str, groups: &[&str]| TestCredential::Impersonated {
        user: user.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    match subject["kind"].as_str()? {
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str().or_else(|| binding["metadata"]["namespace"].as_str())?;
            Some((format!("sa:{namespace}/{name}"), TestCredential::ServiceAccount(namespace.to_owned())))
        }
        "User" => {
            let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            let credential = match account {
                Some((namespace, _)) => TestCredential::ServiceAccount(namespace.to_owned()),
                None if name == "system:anonymous" => TestCredential::Anonymous,
                None => impersonate(name, &[]),
            };
            Some((format!("user:{name}"), credential))
        }
        _ if name.starts_with("system:serviceaccounts:") => {
            Some((format!("group:{name}"), impersonate("test-user", &[name, "system:serviceaccounts"])))
        }
        _ => Some((format!("group:{name}"), impersonate("test-user", &[name]))),
    }
}

/// Usually a value of the rule, sometimes another one.
fn pick_word(rng: &mut TestRng, words: &Value, others: &[&str]) -> String {
    let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match words.get(rng.next_below(words.len())) {
        Some(word) if !rng.one_in(6) && (*word != "*" || rng.one_in(4)) => (*word).to_owned(),
        _ => rng.pick(others).to_owned(),
    }
}

fn object(rng: &mut TestRng, rule: &Value, namespace: &str) -> Request {
    let verb = pick_word(rng, &rule["verbs"], &["get", "list", "create", "bind", "*"]);
    let group = pick_word(rng, &rule["apiGroups"], &["", "apps", "*"]);
    let resource = pick_word(rng, &rule["resources"], &["pods", "nodes", "deployments/scale", "pods/exec", "*"]);
    let (base, rest) = resource.split_once('/').unwrap_or((&resource, ""));
    let resource = match rng.next_below(6) {
        0 => base.to_owned(),
        1 => format!("{base}/{}", rng.pick(&["exec", "log", "scale"])),
        2 => format!("{}/{rest}", rng.pick(&["pods", "deployments"])),
        3 => rng.pick(&["pods", "deployments"]).to_owned(),
        _ => resource,
    };
    let name = if rule["resourceNames"].is_array() {
        pick_word(rng, &rule["resourceNames"], &["", "a", "c"])
    } else {
        rng.pick(&["", "a"]).to_owned()
    };
    let namespace = match rng.next_below(4) {
        0 => "",
        1 => rng.pick(&NAMESPACES),
        _ => namespace,
    };
    Request::object(&verb, &group, &resource).with_name(&name).in_namespace(namespace)
}

fn url(rng: &mut TestRng, rule: &Value) -> Request {
    let verb = pick_word(rng, &rule["verbs"], &["get", "post"]);
    let url = pick_word(rng, &rule["nonResourceURLs"], &["/metrics", "/a", "/"]);
    let path = match rng.next_below(4) {
        0 => url,
        1 => format!("{url}x"),
        2 => format!("{}/x", url.trim_end_matches('*')),
        _ => url.replace('*', ""),
    };
    Request::url(&verb, &path)
}
