//! Plans the changes and writes of access entries with their access policies and tags: create, adopt, update, replace and
//! remove.
//!
//! The access policies and tags of other clients stay as they are, and so do the entries that EKS makes itself.

mod entry_diff;
mod planned_entry;
mod shadowed_entries;

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{object_change, require_as_read};
use super::schedule::{ChangeKind, FirstPrecondition, PendingWrite};
use super::{Action, ChangeOrigin, FieldDiff, PlanBuilder};
use crate::diagnostic::{Diagnostic, Span};
use crate::names::ObjectKey;
use crate::policy::DesiredAccessEntry;
use crate::policy::expand::{Desired, DesiredItem};
use crate::policy::{EntryType, OwnershipMode, OwnershipSpec};
use crate::state::State;
use crate::state::access_entry::{AccessEntry, AccessEntryType, access_entry_key};
use crate::state::access_entry_marks::{MAX_NAMES, OwnedContent, aws_tag, is_made_by_eks};
use crate::state::access_entry_rules::{MAX_ENTRIES, check_changed_entry, check_new_entry};
use crate::state::owner::{self, DIGEST_ANNOTATION, Owner};
pub(super) use entry_diff::{access_entry_diff, removed_access_entry_diff};
use planned_entry::PlannedEntry;
pub(super) use shadowed_entries::unread_aws_auth_warning;
use shadowed_entries::{AwsAuthOwners, shadowed_warning};

const DELETE_ENTRY: &str = "delete the entry with aws eks delete-access-entry";

pub(super) fn plan_access_entries(
    builder: &mut PlanBuilder<'_>,
    desired: &Desired,
    live: &State,
    ownership: &OwnershipSpec,
) {
    let owners = AwsAuthOwners::new(live);
    for (key, item) in &desired.access_entries {
        if item.value.policies.len() > MAX_NAMES {
            let number = item.value.policies.len();
            let message = format!("{} has {number} access policies, and at most {MAX_NAMES} are possible", key.name());
            builder.diagnostics.push(
                Diagnostic::error(message)
                    .primary_label(item.span, "")
                    .with_because("a tag of the access entry records them, and has a limited length"),
            );
            continue;
        }
        if !owners.check(builder, item) {
            continue;
        }
        match live.access_entries.get(key) {
            None => plan_creation(builder, key, item),
            Some(entry) => plan_update(builder, key, item, entry),
        }
    }
    for (key, entry) in live.access_entries.iter().filter(|(key, _)| !desired.access_entries.contains_key(key)) {
        plan_removal(builder, (key, entry), desired, ownership);
    }
    check_number(builder, live);
    builder.diagnostics.extend(shadowed_warning(builder, desired, live));
}

/// The entries of the cluster and the new ones together are at most those that EKS allows. Entries that the plan removes
/// count as well: they can be removed after the new ones are created.
pub(super) fn check_number(builder: &mut PlanBuilder<'_>, live: &State) {
    let is_new = |write: &&PendingWrite| {
        matches!(write.kind, ChangeKind::AccessEntry { .. }) && write.precondition == FirstPrecondition::Absent
    };
    let new = builder.writes.iter().filter(is_new).count();
    let existing = live.access_entries.iter().count();
    if new > 0 && existing + new > MAX_ENTRIES {
        let message =
            format!("the cluster would have {} access entries, and at most {MAX_ENTRIES} are possible", existing + new);
        builder.diagnostics.push(
            Diagnostic::error(message)
                .with_because(format!("it has {existing}, and the plan creates {new}"))
                .with_note("EKS does not raise this limit")
                .with_help("map fewer principals, for example one IAM role that the whole team assumes"),
        );
    }
}

/// Adds the write of an entry, unless EKS would refuse it.
fn push_write(
    builder: &mut PlanBuilder<'_>,
    (key, live): (&ObjectKey, Option<&AccessEntry>),
    after: Option<Value>,
    span: Option<Span>,
    verb: &str,
) {
    if let Some(after) = &after {
        let error = match AccessEntry::from_json(after) {
            Err(error) => Some(Diagnostic::from(super::invalid_object_error(error))),
            Ok(after) => {
                let checked = match live.filter(|live| live.entry_type == after.entry_type) {
                    Some(live) => check_changed_entry(live, &after),
                    None => check_new_entry(&after, None),
                };
                checked.err().map(|rule| {
                    let diagnostic = Diagnostic::error(format!("access entry of {}: {rule}", key.name()));
                    rule.help().into_iter().fold(diagnostic, Diagnostic::with_help)
                })
            }
        };
        if let Some(error) = error {
            let error = span.into_iter().fold(error, |error, span| error.primary_label(span, ""));
            builder.diagnostics.push(error);
            return;
        }
    }
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::AccessEntry { after },
        precondition: live.map_or(FirstPrecondition::Absent, |live| require_as_read(&live.meta)),
        description: format!("{verb} access entry {}", key.name()),
    });
}

fn plan_creation(builder: &mut PlanBuilder<'_>, key: &ObjectKey, item: &DesiredItem<DesiredAccessEntry>) {
    let planned = PlannedEntry::new(&item.value, None);
    builder.changes.push(object_change(builder, Action::Create, key, Some(item.span), planned.fields()));
    push_write(builder, (key, None), Some(planned.after(key, builder.policy)), Some(item.span), "create");
}

/// Plans an entry for a principal without one. It has the marks of the policy only if it `is_owned`.
pub(super) fn plan_new_entry(
    builder: &mut PlanBuilder<'_>,
    desired: &DesiredAccessEntry,
    is_owned: bool,
    note: Option<String>,
) {
    let key = access_entry_key(&desired.principal);
    let planned = PlannedEntry::new(desired, None);
    let mut change = object_change(builder, Action::Create, &key, None, planned.fields());
    change.note = note;
    builder.changes.push(change);
    let after = if is_owned { planned.after(&key, builder.policy) } else { planned.without_marks(&key) };
    push_write(builder, (&key, None), Some(after), None, "create");
}

/// Plans the rest of an entry that an interrupted plan has begun. The access policies and tags of other clients stay.
pub(super) fn plan_completed_entry(
    builder: &mut PlanBuilder<'_>,
    desired: &DesiredAccessEntry,
    live: &AccessEntry,
    is_owned: bool,
    note: &str,
) {
    let key = access_entry_key(&desired.principal);
    let planned = PlannedEntry::new(desired, Some(live));
    let mut change = object_change(builder, Action::Update, &key, None, planned.fields());
    change.note = Some(note.to_owned());
    builder.changes.push(change);
    let after = if is_owned { planned.after(&key, builder.policy) } else { planned.without_marks(&key) };
    push_write(builder, (&key, Some(live)), Some(after), None, "complete");
}

/// Returns whether the plan may change the entry. If not, adds an error.
fn check_manageable(builder: &mut PlanBuilder<'_>, key: &ObjectKey, entry: &AccessEntry, span: Span) -> bool {
    let name = key.name();
    let error = if is_made_by_eks(entry) {
        Diagnostic::error(format!("the access entry of {name} is managed by EKS"))
            .with_because("EKS has made it for an AWS service, and changes it back")
            .with_help("remove the principal from the policy")
    } else if let Owner::OtherPolicy(other) = owner::object_owner(key, &entry.meta, builder.policy) {
        Diagnostic::error(format!("the access entry of {name} is owned by policy `{other}`"))
            .with_help(format!("remove {name} from one of the two policies, `{}` or `{other}`", builder.policy))
    } else {
        return true;
    };
    builder.diagnostics.push(error.primary_label(span, ""));
    false
}

fn plan_update(
    builder: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    item: &DesiredItem<DesiredAccessEntry>,
    live: &AccessEntry,
) {
    if !check_manageable(builder, key, live, item.span) {
        return;
    }
    let is_owned = owner::object_owner(key, &live.meta, builder.policy) == Owner::ThisPolicy;
    let is_replaced = live.entry_type != item.value.entry_type;
    if is_replaced && !is_owned {
        let (from, to) = (live.entry_type.as_str(), item.value.entry_type.as_str());
        builder.diagnostics.push(
            Diagnostic::error(format!("the access entry of {} has the type {from}, not {to}", key.name()))
                .primary_label(item.span, "")
                .with_because("the type of an access entry cannot be changed, and this policy does not own the entry")
                .with_help(type_help(&live.entry_type)),
        );
        return;
    }
    let planned = PlannedEntry::new(&item.value, Some(live));
    let mut fields = planned.fields();
    if is_owned && fields.is_empty() {
        fields = planned.mark_fields();
        if fields.is_empty() {
            return;
        }
    }
    let action = match (is_owned, is_replaced) {
        (_, true) => Action::Replace,
        (true, false) => Action::Update,
        (false, false) => Action::Adopt,
    };
    let mut change = object_change(builder, action, key, Some(item.span), fields);
    if is_owned
        && live.meta.annotations.get(DIGEST_ANNOTATION) != Some(&OwnedContent::recorded(live).digest(&live.entry_type))
    {
        change.origin = ChangeOrigin::ChangedInCluster;
    }
    change.note = note(is_replaced, &planned, live);
    builder.changes.push(change);
    if !is_owned {
        warn_other_manager(builder, key, live, item.span);
    }
    let verb = match action {
        Action::Replace => "replace",
        Action::Adopt => "adopt",
        Action::Create | Action::Update | Action::Delete => "change",
    };
    push_write(builder, (key, Some(live)), Some(planned.after(key, builder.policy)), Some(item.span), verb);
}

/// Returns what to do about an entry that has another type than the policy gives it.
fn type_help(live: &AccessEntryType) -> String {
    if *live == AccessEntryType::Standard {
        return format!("remove `kind`, or {DELETE_ENTRY}");
    }
    match EntryType::NODES.into_iter().find(|kind| kind.access_entry_type() == *live) {
        Some(kind) => format!("write `kind = \"{}\"`, or {DELETE_ENTRY}", kind.as_str()),
        None => DELETE_ENTRY.to_owned(),
    }
}

/// What a reviewer has to know of a change to an existing entry.
fn note(is_replaced: bool, planned: &PlannedEntry<'_>, live: &AccessEntry) -> Option<String> {
    if is_replaced {
        let from = live.entry_type.as_str();
        return Some(format!("deleted and created again: the type {from} cannot be changed; no access in between"));
    }
    let foreign = planned.foreign_policies();
    (!foreign.is_empty())
        .then(|| format!("keeps access policies that this policy does not list: {}", foreign.join(", ")))
}

fn warn_other_manager(builder: &mut PlanBuilder<'_>, key: &ObjectKey, live: &AccessEntry, span: Span) {
    if let Some(tag) = aws_tag(live) {
        let message = format!("the access entry of {} is adopted, but has the tag `{tag}`", key.name());
        builder.diagnostics.push(
            Diagnostic::warning(message)
                .primary_label(span, "")
                .with_because("AWS writes it on what another tool manages, such as CloudFormation")
                .with_help("remove the entry from that tool; otherwise both overwrite each other's changes"),
        );
    }
}

fn plan_removal(
    builder: &mut PlanBuilder<'_>,
    (key, live): (&ObjectKey, &AccessEntry),
    desired: &Desired,
    ownership: &OwnershipSpec,
) {
    let end = desired.expired.access_entries.get(key);
    let owner = owner::object_owner(key, &live.meta, builder.policy);
    let exclusive = ownership.access_entries == OwnershipMode::Exclusive;
    let is_exempt = is_made_by_eks(live)
        || aws_tag(live).is_some()
        || live.entry_type.is_node()
        || ownership.ignore.iter().any(|pattern| pattern.value.matches_entry(key.name()));
    let note = match (&owner, end) {
        (Owner::OtherPolicy(_), _) => return,
        (Owner::ThisPolicy, _) if is_made_by_eks(live) => return,
        (Owner::ThisPolicy, end) => end.map(|end| end.removal_reason(true)),
        (Owner::Unowned, Some(end)) if exclusive && !is_exempt => Some(end.removal_reason(false)),
        (Owner::Unowned, None) if exclusive && !is_exempt => {
            Some("not in the policy, and ownership.access-entries = \"exclusive\"".to_owned())
        }
        (Owner::Unowned, end) => {
            let warning = end.map(|end| end.kept_warning(&format!("the access entry of {}", key.name())));
            builder.diagnostics.extend(warning);
            return;
        }
    };
    let released = PlannedEntry::released(live);
    let foreign = released.foreign_policies();
    // Deleting the entry would also delete the access policies that another client gave to the principal.
    if owner == Owner::ThisPolicy && !exclusive && !foreign.is_empty() {
        let mut change = object_change(builder, Action::Update, key, end.map(|end| end.span), released.fields());
        let reason = note.unwrap_or_else(|| "no longer in the policy".to_owned());
        change.note = Some(format!("{reason}; kept for access policies of other clients: {}", foreign.join(", ")));
        builder.changes.push(change);
        push_write(builder, (key, Some(live)), Some(released.without_marks(key)), end.map(|end| end.span), "release");
        return;
    }
    let fields: Vec<FieldDiff> = removed_access_entry_diff(live);
    let mut change = object_change(builder, Action::Delete, key, end.map(|end| end.span), fields);
    change.note = note;
    builder.changes.push(change);
    push_write(builder, (key, Some(live)), None, None, "delete");
}

/// Returns the principals that have an access entry after the plan, by the key that the authenticator compares.
fn entries_after(builder: &PlanBuilder<'_>, live: &State) -> BTreeSet<String> {
    let mut keys: BTreeSet<&ObjectKey> = live.access_entries.iter().map(|(key, _)| key).collect();
    for write in &builder.writes {
        match &write.kind {
            ChangeKind::AccessEntry { after: Some(_) } => drop(keys.insert(&write.object)),
            ChangeKind::AccessEntry { after: None } => drop(keys.remove(&write.object)),
            _ => {}
        }
    }
    keys.into_iter().map(|key| shadowed_entries::match_key(key.name())).collect()
}

#[cfg(test)]
mod tests;
