//! Takes back the writes of access entries: username, groups, tags and associations, each by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::access_entries::{access_entry_diff, removed_access_entry_diff};
use super::super::schedule::ChangeKind;
use super::super::{Action, ChangeTarget};
use super::undo_value::{Undo, Versions, undo_list, undo_map, undo_value};
use super::{RestorePlanner, left_alone, restore_change};
use crate::names::ObjectKey;
use crate::state::access_entry::{AccessEntry, AccessScope};
use crate::state::object::ObjectError;
use crate::state::owner::{self, Owner};
use crate::state::write::apply_merge_patch;

/// Returns whether two entries have the same type, username, groups, associations and tags. The order of groups has no
/// meaning. An entry that was written without a username has the one that EKS gives.
fn is_same_entry(written: &AccessEntry, live: &AccessEntry) -> bool {
    let groups = |entry: &AccessEntry| entry.groups.iter().cloned().collect::<BTreeSet<String>>();
    written.entry_type == live.entry_type
        && (written.username == live.username || written.username.is_empty())
        && groups(written) == groups(live)
        && written.policies().eq(live.policies())
        && written.tags() == live.tags()
}

impl RestorePlanner<'_> {
    /// # Errors
    /// If the restored entry is not valid, which only a bug can cause.
    pub(super) fn undo_access_entry(
        &mut self,
        key: &ObjectKey,
        versions: &Versions<AccessEntry>,
    ) -> Result<(), ObjectError> {
        let name = format!("access entry {}", key.name());
        let live = self.live.access_entries.get(key);
        let (before, live) = match (&versions.before, live) {
            (None, None) => return Ok(()),
            (Some(before), None) if versions.after.is_none() => {
                let mut after = before.to_json();
                // The new entry has another ARN.
                apply_merge_patch(&mut after, &json!({ "metadata": { "uid": null }, "createdAt": null }));
                self.push_entry(key, "create", Action::Create, (None, Some(after)))?;
                return Ok(());
            }
            (Some(_), None) => {
                self.warnings.push(left_alone(&name, "created again", "it was deleted since the apply"));
                return Ok(());
            }
            (before, Some(live)) => (before, live),
        };
        let is_as_written = versions.written().flatten().any(|written| is_same_entry(written, live));
        if before.as_ref().is_some_and(|before| is_same_entry(before, live)) {
            return Ok(());
        }
        let owner_before = before.as_ref().map(|before| owner::object_owner(key, &before.meta, self.policy));
        let action = if before.is_none() { "deleted" } else { "restored" };
        if let Owner::OtherPolicy(other) = owner::object_owner(key, &live.meta, self.policy)
            && owner_before != Some(Owner::OtherPolicy(other.clone()))
        {
            self.warnings.push(left_alone(&name, action, format!("policy `{other}` owns it since the apply")));
            return Ok(());
        }
        let Some(before) = before else {
            if is_as_written {
                self.push_entry(key, "delete", Action::Delete, (Some(live), None))?;
            } else {
                self.warnings.push(left_alone(&name, action, "it was changed since the apply"));
            }
            return Ok(());
        };
        if versions.after.is_none() && !is_as_written {
            let reason = "it was created again since the apply, with other content";
            self.warnings.push(left_alone(&name, action, reason));
            return Ok(());
        }
        if before.entry_type != live.entry_type {
            let reason = "its type was changed since the apply";
            if is_as_written {
                let mut after = before.to_json();
                apply_merge_patch(&mut after, &json!({ "metadata": { "uid": null }, "createdAt": null }));
                self.push_entry(key, "replace", Action::Replace, (Some(live), Some(after)))?;
            } else {
                self.warnings.push(left_alone(&name, action, reason));
            }
            return Ok(());
        }
        let (patch, conflicts) = undo_fields(versions, live);
        for field in conflicts {
            let field = format!("`{field}` of {name}");
            self.warnings.push(left_alone(&field, "restored", "it was changed since the apply"));
        }
        if patch.as_object().is_some_and(|fields| !fields.is_empty()) {
            let mut after = live.to_json();
            apply_merge_patch(&mut after, &patch);
            self.push_entry(key, "change", Action::Update, (Some(live), Some(after)))?;
        }
        Ok(())
    }

    fn push_entry(
        &mut self,
        key: &ObjectKey,
        verb: &str,
        action: Action,
        (from, after): (Option<&AccessEntry>, Option<Value>),
    ) -> Result<(), ObjectError> {
        let to = after.as_ref().map(AccessEntry::from_json).transpose()?;
        let fields = match (&to, from) {
            (Some(to), from) => access_entry_diff(from, to),
            (None, Some(from)) => removed_access_entry_diff(from),
            (None, None) => Vec::new(),
        };
        self.push_write(key, verb, ChangeKind::AccessEntry { after });
        self.changes.push(restore_change(action, ChangeTarget::Object(key.clone()), fields));
        Ok(())
    }
}

/// Returns the patch that takes back the changes of an entry, and the fields that were changed since.
fn undo_fields(versions: &Versions<AccessEntry>, live: &AccessEntry) -> (Value, Vec<String>) {
    let (mut patch, mut conflicts) = (json!({}), Vec::new());
    match undo_value(&versions.map(|entry| entry.username.clone()), Some(&live.username), String::eq) {
        Undo::Set(Some(username)) => apply_merge_patch(&mut patch, &json!({ "username": username })),
        Undo::Nothing | Undo::Set(None) => {}
        Undo::Conflict => conflicts.push("username".to_owned()),
    }
    if let Some(groups) = undo_list(&versions.map(|entry| entry.groups.clone()), &live.groups) {
        apply_merge_patch(&mut patch, &json!({ "kubernetesGroups": groups }));
    }
    let tags = undo_map(&versions.map(|entry| entry.tags().clone()), live.tags());
    if !tags.changes.is_empty() {
        apply_merge_patch(&mut patch, &json!({ "tags": tags.changes }));
        // A merge patch of an empty patch drops nulls, which here remove tags.
        if let Some(own) = patch.get_mut("tags") {
            *own = json!(tags.changes);
        }
    }
    conflicts.extend(tags.conflicts.into_iter().map(|tag| format!("tags.{tag}")));
    let policies_of = |entry: &AccessEntry| -> BTreeMap<String, AccessScope> {
        entry.policies().map(|(arn, scope)| (arn.to_owned(), scope.clone())).collect()
    };
    let all = versions.map(policies_of);
    let known = all.before.iter().chain(all.written().flatten());
    let arns: BTreeSet<String> = known.flat_map(BTreeMap::keys).cloned().collect();
    let mut policies = serde_json::Map::new();
    for arn in arns {
        let of_policy = |policies: &Option<BTreeMap<String, AccessScope>>| {
            policies.as_ref().and_then(|policies| policies.get(&arn)).cloned()
        };
        let scopes = Versions {
            before: of_policy(&all.before),
            intermediate: all.intermediate.iter().map(of_policy).collect(),
            after: of_policy(&all.after),
        };
        match undo_value(&scopes, live.policy_scope(&arn), PartialEq::eq) {
            Undo::Nothing => {}
            Undo::Set(scope) => {
                policies.insert(arn, scope.map_or(Value::Null, |scope| scope.to_json()));
            }
            Undo::Conflict => conflicts.push(format!("access-policies.{arn}")),
        }
    }
    if let (false, Some(fields)) = (policies.is_empty(), patch.as_object_mut()) {
        fields.insert("accessPolicies".to_owned(), Value::Object(policies));
    }
    (patch, conflicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    const EDIT: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";

    fn entry(username: &str, groups: &[&str], policies: &Value, tags: &Value) -> AccessEntry {
        let value = json!({
            "metadata": { "name": "arn:aws:iam::111122223333:role/x" },
            "username": username, "kubernetesGroups": groups, "accessPolicies": policies, "tags": tags,
        });
        AccessEntry::from_json(&value).unwrap()
    }

    #[test]
    fn what_others_wrote_since_stays() {
        let cluster = json!({ "type": "cluster" });
        let before = entry("u", &["a"], &json!({ VIEW: cluster }), &json!({ "t": "1" }));
        let after = entry("v", &["b"], &json!({ EDIT: cluster }), &json!({ "t": "1", "rolecall/policy": "p" }));
        let versions = Versions { before: Some(before), intermediate: Vec::new(), after: Some(after.clone()) };
        let (patch, conflicts) = undo_fields(&versions, &after);
        assert_eq!(
            patch,
            json!({ "username": "u", "kubernetesGroups": ["a"], "tags": { "rolecall/policy": null },
                "accessPolicies": { EDIT: null, VIEW: { "type": "cluster" } } })
        );
        assert!(conflicts.is_empty());
        // Another client has added a group, a tag and a policy, and has changed the username and a scope.
        let namespaces = json!({ "type": "namespace", "namespaces": ["x"] });
        let live = entry(
            "w",
            &["b", "c"],
            &json!({ EDIT: namespaces, "other": cluster }),
            &json!({ "t": "1", "rolecall/policy": "p", "n": "2" }),
        );
        let (patch, conflicts) = undo_fields(&versions, &live);
        assert_eq!(
            patch,
            json!({ "kubernetesGroups": ["c", "a"], "tags": { "rolecall/policy": null },
                "accessPolicies": { VIEW: { "type": "cluster" } } })
        );
        assert_eq!(conflicts, ["username".to_owned(), format!("access-policies.{EDIT}")]);
    }
}
