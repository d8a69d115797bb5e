//! The effect of a write on an access entry, and the calls of EKS that make it.
//!
//! One call changes the username and the groups, another one a single association, and others the tags. They are made in
//! an order in which the owner marks, which are tags, come last: a write that stopped halfway leaves an entry that the next
//! plan changes again.

use std::collections::BTreeSet;

use serde_json::Value;

use super::access_entry::{AccessEntry, AccessEntryType, AccessScope};
use super::access_entry_rules::{
    EntryRuleError, check_changed_entry, check_new_entry, default_groups, default_username,
};
use super::object::ObjectError;
use super::object_meta::Labels;
use crate::names::AccountId;

/// A call of the API of EKS that changes an access entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryCall {
    /// Creates the entry without associations.
    Create {
        entry_type: AccessEntryType,
        /// `None` for the username that EKS gives.
        username: Option<String>,
        groups: Vec<String>,
        tags: Labels,
    },
    /// Always has both: EKS gives its defaults to what is left out.
    Update {
        username: String,
        groups: Vec<String>,
    },
    /// Also replaces the scope of a policy that is associated already.
    Associate {
        policy_arn: String,
        scope: AccessScope,
    },
    Disassociate {
        policy_arn: String,
    },
    Tag(Labels),
    Untag(BTreeSet<String>),
    /// Deletes the entry with its associations.
    Delete,
}

/// Returns the calls that lead from one content of an entry to another one. `None` for no entry.
pub(crate) fn calls_between(old: Option<&AccessEntry>, new: Option<&AccessEntry>) -> Vec<EntryCall> {
    let Some(new) = new else {
        return old.map(|_| EntryCall::Delete).into_iter().collect();
    };
    let mut calls = Vec::new();
    match old {
        None => {
            let is_default = new.username == default_username(new.principal(), &new.entry_type);
            calls.push(EntryCall::Create {
                entry_type: new.entry_type.clone(),
                username: Some(new.username.clone()).filter(|username| !username.is_empty() && !is_default),
                groups: if new.entry_type.is_node() { Vec::new() } else { new.groups.clone() },
                tags: new.tags().clone(),
            });
        }
        Some(old) if old.username != new.username || group_set(old) != group_set(new) => {
            calls.push(EntryCall::Update { username: new.username.clone(), groups: new.groups.clone() });
        }
        Some(_) => {}
    }
    let old_scope = |arn: &str| old.and_then(|old| old.policy_scope(arn));
    for (arn, scope) in new.policies().filter(|(arn, scope)| old_scope(arn) != Some(*scope)) {
        calls.push(EntryCall::Associate { policy_arn: arn.to_owned(), scope: scope.clone() });
    }
    let Some(old) = old else {
        return calls;
    };
    for (arn, _) in old.policies().filter(|(arn, _)| new.policy_scope(arn).is_none()) {
        calls.push(EntryCall::Disassociate { policy_arn: arn.to_owned() });
    }
    let set = new.tags().iter().filter(|(key, value)| old.tags().get(*key) != Some(*value));
    let set: Labels = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    let removed: BTreeSet<String> = old.tags().keys().filter(|key| !new.tags().contains_key(*key)).cloned().collect();
    calls.extend(Some(set).filter(|tags| !tags.is_empty()).map(EntryCall::Tag));
    calls.extend(Some(removed).filter(|keys| !keys.is_empty()).map(EntryCall::Untag));
    calls
}

fn group_set(entry: &AccessEntry) -> BTreeSet<&String> {
    entry.groups.iter().collect()
}

/// Returns a new entry as EKS stores it: with the username and the groups that EKS gives if the request has none.
///
/// # Errors
/// EKS refuses the entry.
pub(crate) fn created_entry(body: &Value, cluster_account: Option<&AccountId>) -> Result<AccessEntry, String> {
    let mut entry = AccessEntry::from_json(body).map_err(|error| error.to_string())?;
    check_new_entry(&entry, cluster_account).map_err(|error| error.to_string())?;
    if entry.username.is_empty() {
        entry.username = default_username(entry.principal(), &entry.entry_type);
    }
    if entry.entry_type.is_node() {
        entry.groups = default_groups(&entry.entry_type).iter().map(|group| (*group).to_owned()).collect();
    }
    with_version(&entry).map_err(|error| error.to_string())
}

/// Returns an entry after a change, as EKS stores it.
///
/// # Errors
/// EKS refuses the change.
pub(super) fn changed_entry(old: &Value, new: &Value) -> Result<AccessEntry, String> {
    let old = AccessEntry::from_json(old).map_err(|error| error.to_string())?;
    let mut entry = AccessEntry::from_json(new).map_err(|error| error.to_string())?;
    if entry.principal() != old.principal() || entry.meta.uid != old.meta.uid {
        return Err("metadata: the principal of an access entry cannot be changed".to_owned());
    }
    if entry.username.is_empty() {
        entry.username = default_username(entry.principal(), &entry.entry_type);
    }
    check_changed_entry(&old, &entry).map_err(|error| error.to_string())?;
    with_version(&entry).map_err(|error| error.to_string())
}

/// Returns the entry with the version of its content.
fn with_version(entry: &AccessEntry) -> Result<AccessEntry, ObjectError> {
    AccessEntry::from_json(&entry.to_json())
}

/// Returns why a document cannot be an access entry that EKS has stored. `None` if it can be one. EKS itself writes entries
/// that it refuses from its clients, so their names and tags are not checked.
pub(super) fn stored_entry_error(key_name: &str, value: &Value) -> Option<String> {
    let entry = match AccessEntry::from_json(value) {
        Ok(entry) => entry,
        Err(error) => return Some(error.to_string()),
    };
    let principal = entry.principal();
    let is_arn = principal == key_name
        && principal.starts_with("arn:")
        && principal.split(':').count() >= 6
        && !principal.chars().any(|c| c.is_control() || c.is_whitespace());
    if !is_arn {
        return Some("metadata.name: must be the ARN of a principal".to_owned());
    }
    let scopes = value.get("accessPolicies").and_then(Value::as_object).into_iter().flatten();
    for (arn, scope) in scopes {
        let has_namespaces =
            scope.get("namespaces").and_then(Value::as_array).is_some_and(|namespaces| !namespaces.is_empty());
        let error = match (entry.policy_scope(arn), has_namespaces) {
            (Some(AccessScope::Cluster), true) => EntryRuleError::NamespacesOfClusterScope,
            (Some(AccessScope::Namespaces(_)), false) => EntryRuleError::NoNamespaces,
            _ => continue,
        };
        return Some(format!("accessPolicies.{arn}: {error}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/team/viewer";
    const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    const EDIT: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";

    fn entry(fields: &Value) -> AccessEntry {
        let mut value = json!({ "metadata": { "name": ROLE, "uid": "u" }, "username": "viewer" });
        crate::state::write::apply_merge_patch(&mut value, fields);
        AccessEntry::from_json(&value).unwrap()
    }

    fn labels(tags: &[(&str, &str)]) -> Labels {
        tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn calls_are_made_in_the_order_of_fields_policies_and_tags() {
        let old = entry(&json!({
            "kubernetesGroups": ["a", "b"], "accessPolicies": { VIEW: { "type": "cluster" } },
            "tags": { "team": "x", "old": "y" },
        }));
        let new = entry(&json!({
            "kubernetesGroups": ["a"], "tags": { "team": "x", "rolecall/policy": "p" },
            "accessPolicies": { EDIT: { "type": "namespace", "namespaces": ["web"] } },
        }));
        let scope = AccessScope::Namespaces(BTreeSet::from(["web".to_owned()]));
        assert_eq!(
            calls_between(Some(&old), Some(&new)),
            [
                EntryCall::Update { username: "viewer".into(), groups: vec!["a".into()] },
                EntryCall::Associate { policy_arn: EDIT.into(), scope },
                EntryCall::Disassociate { policy_arn: VIEW.into() },
                EntryCall::Tag(labels(&[("rolecall/policy", "p")])),
                EntryCall::Untag(BTreeSet::from(["old".to_owned()])),
            ]
        );
        let reordered = entry(&json!({
            "kubernetesGroups": ["b", "a"], "accessPolicies": { VIEW: { "type": "cluster", "namespaces": [] } },
            "tags": { "team": "x", "old": "y" },
        }));
        assert_eq!(calls_between(Some(&old), Some(&reordered)), []);
        assert_eq!(calls_between(Some(&old), None), [EntryCall::Delete]);
        assert_eq!(calls_between(None, None), []);
    }

    #[test]
    fn names_that_eks_gives_are_not_sent() {
        for (entry_type, username) in [("STANDARD", ""), ("EC2_LINUX", "system:node:{{EC2PrivateDNSName}}")] {
            let body = json!({ "metadata": { "name": ROLE }, "type": entry_type, "username": username });
            let created = created_entry(&body, None).unwrap();
            assert_eq!(created.username, default_username(ROLE, &created.entry_type));
            let calls = calls_between(None, Some(&created));
            let [EntryCall::Create { username, groups, .. }] = calls.as_slice() else { panic!("{calls:?}") };
            assert_eq!((username, groups), (&None, &vec![]));
        }
        let named = created_entry(&json!({ "metadata": { "name": ROLE }, "username": "viewer" }), None).unwrap();
        assert!(matches!(&calls_between(None, Some(&named))[0],
            EntryCall::Create { username: Some(username), .. } if username == "viewer"));
    }

    #[test]
    fn document_of_an_impossible_entry_is_an_error() {
        let error = |value: &Value| stored_entry_error(value["metadata"]["name"].as_str().unwrap(), value);
        let document = |fields: &Value| {
            let mut value = json!({ "metadata": { "name": ROLE } });
            crate::state::write::apply_merge_patch(&mut value, fields);
            value
        };
        assert_eq!(error(&document(&json!({}))), None);
        // EKS has written this one.
        assert_eq!(
            error(&document(&json!({ "kubernetesGroups": ["eks:x"], "tags": { "aws:eks:managed": "x" } }))),
            None
        );
        assert_eq!(
            error(&json!({ "metadata": { "name": "viewer" } })).as_deref(),
            Some("metadata.name: must be the ARN of a principal")
        );
        for scope in [json!({ "type": "cluster", "namespaces": ["a"] }), json!({ "type": "namespace" })] {
            let error = error(&document(&json!({ "accessPolicies": { VIEW: scope } }))).unwrap();
            assert!(error.starts_with("accessPolicies.arn:aws:eks"), "{error}");
        }
    }
}
