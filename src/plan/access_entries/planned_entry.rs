//! One access entry before and after the plan: its fields, and its JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::FieldDiff;
use super::super::entries::non_empty;
use super::super::field_diff::{diff_scalar, diff_set};
use crate::names::{ObjectKey, ObjectKind};
use crate::policy::DesiredAccessEntry;
use crate::state::access_entry::{AccessEntry, AccessEntryType, AccessScope};
use crate::state::access_entry_marks::{ACCESS_POLICIES_TAG, OwnedContent, TAGS_TAG, is_own_tag};
use crate::state::access_policies::access_policy_name;
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner;

pub(super) struct PlannedEntry<'a> {
    live: Option<&'a AccessEntry>,
    entry_type: AccessEntryType,
    /// What the marks of the live entry record as written. Empty for a new entry.
    recorded: OwnedContent,
    /// What the policy writes.
    content: OwnedContent,
}

impl<'a> PlannedEntry<'a> {
    pub(super) fn new(desired: &DesiredAccessEntry, live: Option<&'a AccessEntry>) -> Self {
        let DesiredAccessEntry { principal: _, entry_type, username, groups, policies, tags } = desired;
        let mut content = OwnedContent {
            username: username.clone(),
            groups: groups.clone(),
            policies: policies.clone(),
            tags: tags.clone(),
        };
        // EKS sets the names of nodes, and refuses them from others.
        if let Some(live) = live.filter(|live| entry_type.is_node() && live.entry_type == *entry_type) {
            content.username.clone_from(&live.username);
            content.groups.clone_from(&live.groups);
        }
        let recorded = live.map(OwnedContent::recorded).unwrap_or_default();
        Self { live, entry_type: entry_type.clone(), recorded, content }
    }

    /// Returns the entry without everything that the policy has written.
    pub(super) fn released(live: &'a AccessEntry) -> Self {
        let is_node = live.entry_type.is_node();
        let content = OwnedContent {
            username: live.username.clone(),
            groups: if is_node { live.groups.clone() } else { Vec::new() },
            ..OwnedContent::default()
        };
        Self { live: Some(live), entry_type: live.entry_type.clone(), recorded: OwnedContent::recorded(live), content }
    }

    /// Returns the differences of the part of the entry that the policy writes now or has written.
    pub(super) fn fields(&self) -> Vec<FieldDiff> {
        let live = self.live;
        let from_type = live.map(|live| live.entry_type.as_str());
        let mut fields: Vec<FieldDiff> = Vec::new();
        if from_type.unwrap_or("STANDARD") != self.entry_type.as_str() {
            fields.extend(diff_scalar(&["type"], from_type, Some(self.entry_type.as_str())));
        }
        let (username, groups) = live.map_or(("", &[][..]), |live| (live.username.as_str(), &live.groups));
        fields.extend(diff_scalar(&["username"], non_empty(username), non_empty(&self.content.username)));
        fields.extend(diff_set(&["groups"], groups, &self.content.groups));
        let policies: BTreeSet<&String> = self.recorded.policies.keys().chain(self.content.policies.keys()).collect();
        for arn in policies {
            let from = live.and_then(|live| live.policy_scope(arn));
            fields.extend(scope_diff(arn, from, self.content.policies.get(arn)));
        }
        let tags: BTreeSet<&String> = self.recorded.tags.keys().chain(self.content.tags.keys()).collect();
        for key in tags {
            let from = live.and_then(|live| live.tags().get(key)).map(String::as_str);
            fields.extend(diff_scalar(&["tags", key], from, self.content.tags.get(key).map(String::as_str)));
        }
        fields
    }

    /// Returns the differences of the tags that record what the policy has written.
    pub(super) fn mark_fields(&self) -> Vec<FieldDiff> {
        let planned = self.content.record_tags();
        let live = |key: &str| self.live.and_then(|live| live.tags().get(key)).map(String::as_str);
        let diff = |key| diff_scalar(&["tags", key], live(key), planned.get(key).map(String::as_str));
        [ACCESS_POLICIES_TAG, TAGS_TAG].into_iter().filter_map(diff).collect()
    }

    /// Returns the names of the access policies of other clients, which the plan keeps.
    pub(super) fn foreign_policies(&self) -> Vec<&'a str> {
        let is_foreign =
            |arn: &str| !self.content.policies.contains_key(arn) && !self.recorded.policies.contains_key(arn);
        let policies = self.live.into_iter().flat_map(AccessEntry::policies);
        policies.filter(|(arn, _)| is_foreign(arn)).map(|(arn, _)| access_policy_name(arn)).collect()
    }

    /// Returns the entry after the plan, with the marks of the policy.
    pub(super) fn after(&self, key: &ObjectKey, policy: &str) -> Value {
        let mut marked = ObjectMeta::default();
        owner::mark_owned(key, &mut marked, policy, &Labels::new(), self.content.digest(&self.entry_type));
        let marks = marked.annotations.into_iter().chain(self.content.record_tags()).collect();
        self.json(key, marks)
    }

    /// Returns the entry after the plan, without marks.
    pub(super) fn without_marks(&self, key: &ObjectKey) -> Value {
        self.json(key, Labels::new())
    }

    fn json(&self, key: &ObjectKey, marks: Labels) -> Value {
        let mut tags: Labels = self.live.map(|live| live.tags().clone()).unwrap_or_default();
        tags.retain(|tag, _| !is_own_tag(tag) && !self.recorded.tags.contains_key(tag));
        tags.extend(self.content.tags.clone());
        tags.extend(marks);
        let mut policies: Map<String, Value> = self
            .live
            .into_iter()
            .flat_map(AccessEntry::policies)
            .filter(|(arn, _)| !self.recorded.policies.contains_key(*arn))
            .map(|(arn, scope)| (arn.to_owned(), scope.to_json()))
            .collect();
        policies.extend(self.content.policies.iter().map(|(arn, scope)| (arn.clone(), scope.to_json())));
        let mut entry = self.live.map_or_else(
            || {
                json!({
                    "apiVersion": ObjectKind::AccessEntry.api_version(),
                    "kind": ObjectKind::AccessEntry.as_str(),
                    "metadata": { "name": key.name() },
                })
            },
            AccessEntry::to_json,
        );
        // EKS compares groups as a set, so the order that the entry has stays.
        let groups = self.live.map(|live| &live.groups).filter(|groups| is_same_set(groups, &self.content.groups));
        if let Value::Object(fields) = &mut entry {
            fields.insert("type".to_owned(), json!(self.entry_type.as_str()));
            fields.insert("username".to_owned(), json!(self.content.username));
            fields.insert("kubernetesGroups".to_owned(), json!(groups.unwrap_or(&self.content.groups)));
            fields.insert("accessPolicies".to_owned(), Value::Object(policies));
            fields.insert("tags".to_owned(), json!(tags));
        }
        entry
    }
}

fn is_same_set(left: &[String], right: &[String]) -> bool {
    left.iter().collect::<BTreeSet<_>>() == right.iter().collect()
}

/// Returns the difference of the namespaces of an access policy.
pub(super) fn scope_diff(arn: &str, from: Option<&AccessScope>, to: Option<&AccessScope>) -> Option<FieldDiff> {
    let names = |scope: Option<&AccessScope>| match scope {
        None => Vec::new(),
        Some(scope @ AccessScope::Cluster) => vec![scope.to_string()],
        Some(AccessScope::Namespaces(names)) => names.iter().cloned().collect(),
    };
    diff_set(&["access-policies", access_policy_name(arn)], &names(from), &names(to))
}
