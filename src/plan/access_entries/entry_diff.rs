//! The differences of whole access entries, for review.

use std::collections::BTreeSet;

use super::super::FieldDiff;
use super::super::entries::non_empty;
use super::super::field_diff::{diff_scalar, diff_set};
use super::planned_entry::scope_diff;
use crate::state::access_entry::AccessEntry;
use crate::state::access_entry_marks::is_own_tag;

/// Returns what the deletion of an entry removes.
pub(in crate::plan) fn removed_access_entry_diff(live: &AccessEntry) -> Vec<FieldDiff> {
    let username = diff_scalar(&["username"], non_empty(&live.username), None);
    let groups = diff_set(&["groups"], &live.groups, &[]);
    let policies = live.policies().filter_map(|(arn, scope)| scope_diff(arn, Some(scope), None));
    username.into_iter().chain(groups).chain(policies).collect()
}

/// Returns the differences of two entries, without the tags that mark the owner.
pub(in crate::plan) fn access_entry_diff(from: Option<&AccessEntry>, to: &AccessEntry) -> Vec<FieldDiff> {
    let (username, groups) = from.map_or(("", &[][..]), |from| (from.username.as_str(), &from.groups));
    let mut fields: Vec<FieldDiff> = Vec::new();
    let from_type = from.map(|from| from.entry_type.as_str());
    if from_type.unwrap_or("STANDARD") != to.entry_type.as_str() {
        fields.extend(diff_scalar(&["type"], from_type, Some(to.entry_type.as_str())));
    }
    fields.extend(diff_scalar(&["username"], non_empty(username), non_empty(&to.username)));
    fields.extend(diff_set(&["groups"], groups, &to.groups));
    let both = || from.into_iter().chain([to]);
    let arns: BTreeSet<&str> = both().flat_map(AccessEntry::policies).map(|(arn, _)| arn).collect();
    for arn in arns {
        fields.extend(scope_diff(arn, from.and_then(|from| from.policy_scope(arn)), to.policy_scope(arn)));
    }
    let tags: BTreeSet<&String> = both().flat_map(|entry| entry.tags().keys()).collect();
    for key in tags.into_iter().filter(|key| !is_own_tag(key)) {
        let value = |entry: &AccessEntry| entry.tags().get(key).cloned();
        let (from, to) = (from.and_then(value), value(to));
        fields.extend(diff_scalar(&["tags", key], from.as_deref(), to.as_deref()));
    }
    fields
}
