//! Questions that lie near what a state says: about those whom its bindings name, and beside the words of its rules. Made at
//! random alone they would mostly miss both.

use serde_json::Value;

use super::case::{NAMESPACES, RandomCase};
use super::question::{RandomQuestion, TestCredential};
use crate::access::Request;
use crate::state::aws_auth::tests::corpus::TestRng;

/// Some questions about a state, fewer where it binds little that is there.
pub(super) fn near_questions(case: &RandomCase, dice: &mut TestRng, count: usize) -> Vec<RandomQuestion> {
    (0..count).filter_map(|_| near_question(case, dice)).collect()
}

fn near_question(case: &RandomCase, dice: &mut TestRng) -> Option<RandomQuestion> {
    let bindings: Vec<&Value> = case.objects().iter().filter(|object| object["roleRef"].is_object()).collect();
    let binding = any(dice, &bindings)?;
    let is_bound = |role: &&&Value| {
        let [kind, name] = ["kind", "name"].map(|field| &binding["roleRef"][field]);
        let namespace = (*kind == "Role").then(|| &binding["metadata"]["namespace"]);
        role["kind"] == *kind
            && role["metadata"]["name"] == *name
            && namespace.is_none_or(|namespace| role["metadata"]["namespace"] == *namespace)
    };
    let roles: Vec<&Value> = case.objects().iter().filter(|object| object["rules"].is_array()).collect();
    // What an aggregated role gathers stands in others.
    let role = roles.iter().find(is_bound).copied().or_else(|| any(dice, &roles))?;
    let rule = any(dice, &role["rules"].as_array()?.iter().collect::<Vec<_>>())?;
    let (who, door) = bound_subject(dice, binding)?;
    let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
    let request = if rule["nonResourceURLs"].is_array() { url(dice, rule) } else { object(dice, rule, namespace) };
    Some(RandomQuestion { subject: who, credential: door, request, http_request: None })
}

fn any<'v>(dice: &mut TestRng, from: &[&'v Value]) -> Option<&'v Value> {
    from.get(dice.next_below(from.len())).copied()
}

/// One of those whom a binding names.
fn bound_subject(dice: &mut TestRng, binding: &Value) -> Option<(String, TestCredential)> {
    let subject = any(dice, &binding["subjects"].as_array()?.iter().collect::<Vec<_>>())?;
    let name = subject["name"].as_str()?;
    let is = |user: &str, groups: &[&str]| TestCredential::Impersonated {
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
            let door = match account {
                Some((namespace, _)) => TestCredential::ServiceAccount(namespace.to_owned()),
                None if name == "system:anonymous" => TestCredential::Anonymous,
                None => is(name, &[]),
            };
            Some((format!("user:{name}"), door))
        }
        _ if name.starts_with("system:serviceaccounts:") => {
            Some((format!("group:{name}"), is("somebody", &[name, "system:serviceaccounts"])))
        }
        _ => Some((format!("group:{name}"), is("somebody", &[name]))),
    }
}

/// A word of a rule, now and then another.
fn word(dice: &mut TestRng, words: &Value, others: &[&str]) -> String {
    let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match words.get(dice.next_below(words.len())) {
        Some(word) if !dice.one_in(6) && (*word != "*" || dice.one_in(4)) => (*word).to_owned(),
        _ => dice.pick(others).to_owned(),
    }
}

fn object(dice: &mut TestRng, rule: &Value, namespace: &str) -> Request {
    let verb = word(dice, &rule["verbs"], &["get", "list", "create", "bind", "*"]);
    let group = word(dice, &rule["apiGroups"], &["", "apps", "*"]);
    let resource = word(dice, &rule["resources"], &["pods", "nodes", "deployments/scale", "pods/exec", "*"]);
    let (base, rest) = resource.split_once('/').unwrap_or((&resource, ""));
    let resource = match dice.next_below(6) {
        0 => base.to_owned(),
        1 => format!("{base}/{}", dice.pick(&["exec", "log", "scale"])),
        2 => format!("{}/{rest}", dice.pick(&["pods", "deployments"])),
        3 => dice.pick(&["pods", "deployments"]).to_owned(),
        _ => resource,
    };
    let name = if rule["resourceNames"].is_array() {
        word(dice, &rule["resourceNames"], &["", "a", "c"])
    } else {
        dice.pick(&["", "a"]).to_owned()
    };
    let namespace = match dice.next_below(4) {
        0 => "",
        1 => dice.pick(&NAMESPACES),
        _ => namespace,
    };
    Request::object(&verb, &group, &resource).with_name(&name).in_namespace(namespace)
}

fn url(dice: &mut TestRng, rule: &Value) -> Request {
    let verb = word(dice, &rule["verbs"], &["get", "post"]);
    let url = word(dice, &rule["nonResourceURLs"], &["/metrics", "/a", "/"]);
    let path = match dice.next_below(4) {
        0 => url,
        1 => format!("{url}x"),
        2 => format!("{}/x", url.trim_end_matches('*')),
        _ => url.replace('*', ""),
    };
    Request::url(&verb, &path)
}
