//! Random policies one after the other, with the changes of another client before each.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::state::access_policies::access_policy_name;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const POLICIES: [&str; 3] = ["AmazonEKSViewPolicy", "AmazonEKSEditPolicy", "AmazonEKSAdminPolicy"];

/// The `access-policies` and `eks-tags` of a principal, or the access policies and tags of a live entry.
#[derive(Debug, Clone)]
struct Content {
    groups: Vec<&'static str>,
    policies: Vec<(&'static str, Vec<&'static str>)>,
    tags: Vec<&'static str>,
    username: bool,
}

fn content() -> impl Strategy<Value = Content> {
    let policies = vec((select(&POLICIES[..]), subsequence(vec!["x", "y-*"], 0..=2)), 0..=2);
    (subsequence(vec!["g", "h"], 0..=2), policies, subsequence(vec!["t", "cost center", "u"], 0..=2), any::<bool>())
        .prop_map(|(groups, policies, tags, username)| {
            let unique: BTreeMap<_, _> = policies.into_iter().collect();
            Content { groups, policies: unique.into_iter().collect(), tags, username }
        })
}

fn policy_text(principals: &[Option<Content>], exclusive: bool) -> String {
    let mut text = "[groups.g]\n[groups.h]\n".to_owned();
    if exclusive {
        text.push_str(EXCLUSIVE);
    }
    for (name, content) in NAMES.iter().zip(principals) {
        let Some(content) = content else { continue };
        let policies: Vec<String> = content
            .policies
            .iter()
            .map(|(policy, namespaces)| match namespaces.as_slice() {
                [] => format!("{{ policy = \"{policy}\" }}"),
                names => format!("{{ policy = \"{policy}\", namespaces = {names:?} }}"),
            })
            .collect();
        let tags: Vec<String> = content.tags.iter().map(|tag| format!("\"{tag}\" = \"{name}\"")).collect();
        text.push_str(&format!(
            "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\ngroups = {:?}\naccess-policies = [{}]\neks-tags = {{ {} }}\n",
            content.groups,
            policies.join(", "),
            tags.join(", ")
        ));
        if content.username {
            text.push_str(&format!("username = \"user-{name}\"\n"));
        }
    }
    text
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// Adds to the entries of the cluster what another client writes: whole entries, access policies and tags.
fn add_foreign(live: &mut State, foreign: &[Option<Content>]) {
    for (name, content) in NAMES.iter().zip(foreign) {
        let Some(content) = content else { continue };
        let arn = role_arn(name);
        let key = access_entry_key(&arn);
        let mut value = live.access_entries.get(&key).map_or_else(
            || entry(&arn, &json!({ "username": format!("foreign-{name}"), "kubernetesGroups": content.groups })),
            AccessEntry::to_json,
        );
        for (policy, namespaces) in &content.policies {
            value["accessPolicies"][policy_arn(policy)] = scope(namespaces);
        }
        for tag in &content.tags {
            value["tags"][*tag] = json!("foreign");
        }
        live.insert_object(&key, &value).unwrap();
    }
}

/// What the policy neither lists for the entry nor has recorded in it.
fn foreign_content(live: &AccessEntry, listed: Option<&Content>) -> (Vec<String>, Vec<(String, String)>) {
    let recorded = OwnedContent::recorded(live);
    let lists_policy = |arn: &str| {
        listed.is_some_and(|content| content.policies.iter().any(|(name, _)| *name == access_policy_name(arn)))
    };
    let lists_tag = |key: &str| listed.is_some_and(|content| content.tags.contains(&key));
    let policies = live.policies().filter(|(arn, _)| !recorded.policies.contains_key(*arn) && !lists_policy(arn));
    let tags = live
        .tags()
        .iter()
        .filter(|(key, _)| !recorded.tags.contains_key(*key) && !lists_tag(key) && !key.starts_with("rolecall/"));
    (
        policies.map(|(arn, scope)| format!("{arn} {scope}")).collect(),
        tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Two policies one after the other, with changes of another client before each: a second plan is empty, and what the
    /// other client wrote stays.
    #[test]
    fn second_plan_is_empty_and_foreign_content_stays(
        rounds in vec((vec(proptest::option::of(content()), 4), vec(proptest::option::weighted(0.4, content()), 4)), 1..=3),
        exclusive in any::<bool>(),
    ) {
        let mut live = state("API", &[], "");
        for (principals, foreign) in rounds {
            add_foreign(&mut live, &foreign);
            let text = policy_text(&principals, exclusive);
            let planned = plan_of(&text, &live);
            prop_assert!(!planned.diagnostics.iter().any(Diagnostic::is_error), "{}", prose(&planned.diagnostics));
            let after = applied(&planned, &live);
            let again = plan_of(&text, &after);
            prop_assert_eq!((again.changes(), again.writes.len()), (String::new(), 0));
            for (key, entry) in live.access_entries.iter() {
                let name = key.name().rsplit('/').next().unwrap_or_default();
                let listed = NAMES.iter().position(|other| *other == name).and_then(|index| principals[index].as_ref());
                let is_written = planned.writes.iter().any(|write| write.object == *key);
                match after.access_entries.get(key) {
                    Some(after) => {
                        prop_assert!(is_written || after == entry);
                        prop_assert_eq!(foreign_content(after, listed), foreign_content(entry, listed));
                    }
                    None => {
                        let is_owned = owner::object_owner(key, &entry.meta, "prod") == Owner::ThisPolicy;
                        prop_assert!(listed.is_none() && (is_owned || exclusive));
                        prop_assert!(exclusive || foreign_content(entry, None).0.is_empty());
                    }
                }
            }
            live = after;
        }
    }
}
