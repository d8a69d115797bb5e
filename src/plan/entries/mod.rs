//! Plans the changes of aws-auth entries: create, adopt, update and remove, and the write of the ConfigMap.
//!
//! After the plan a principal of the policy has exactly one entry. If it had several in its section, the one that the
//! authenticator used is kept and the duplicates are removed. All other entries stay the same byte for byte.

pub(super) mod aws_auth_edit;
mod entry_diagnostics;
mod inactive_entries;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schedule::{ChangeKind, FirstPrecondition, PendingWrite};
use super::{Action, Change, ChangeOrigin, ChangeTarget, PlanBuilder, field_diff};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::expand::{Desired, DesiredEntry, DesiredItem};
use crate::policy::expiry::Expiration;
use crate::policy::{OwnershipMode, OwnershipSpec};
use crate::state::aws_auth::{
    EditError, Entry, EntryEdit, EntryPrincipal, LocatedEntry, ParsedSection, Section, edit_section,
};
use crate::state::config_map::{AwsAuth, config_map_to_json, entry_key, principal_text};
use crate::state::entry_marks::{EntryMarks, content_hash, entry_id};
use crate::state::object_meta::Labels;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::validate::MAX_CONFIG_MAP_BYTES;
use crate::state::write::WriteRequest;
use aws_auth_edit::AwsAuthEdit;
pub(super) use entry_diagnostics::{check_writable, unreadable_section};

/// The edits of each section.
pub(super) type SectionEdits = BTreeMap<Section, Vec<EntryEdit>>;

pub(super) fn plan_entries(
    builder: &mut PlanBuilder<'_>,
    desired: &Desired,
    live: Option<&AwsAuth>,
    ownership: &OwnershipSpec,
) {
    let empty = AwsAuth::default();
    let auth = live.unwrap_or(&empty);
    let read = EntryMarks::from_annotations(&auth.meta.annotations);
    let marks = read.clone().unwrap_or_default();
    let exclusive = ownership.aws_auth == OwnershipMode::Exclusive;
    let lists_entries = !desired.entries.is_empty() || !desired.expired.entries.is_empty();
    let uses_aws_auth = exclusive || lists_entries || !marks.owned_by(builder.policy).is_empty();
    let sections = entry_diagnostics::read_sections(builder, auth, uses_aws_auth);
    if let (Err(error), true) = (read, uses_aws_auth) {
        builder.diagnostics.push(Diagnostic::error(error.to_string()).with_note("it records which policy owns which aws-auth entry")
                .with_help(
            format!(
                    "restore it, or run `kubectl -n kube-system annotate configmap aws-auth {ENTRIES_ANNOTATION}-`: each \
                     policy then adopts its entries again"
                )),
        );
        return;
    }
    let Some(sections) = sections else {
        return;
    };
    let mut planner = EntryPlanner {
        desired: desired.entries.iter().map(|item| (item.value.key(), item)).collect(),
        expired: &desired.expired.entries,
        owned_before: marks.owned_by(builder.policy),
        marks,
        live: live_entries_by_key(&sections),
        edits: SectionEdits::new(),
        owned_after: BTreeMap::new(),
    };
    let duplicates = entry_diagnostics::duplicate_warnings(&planner.live, |key| planner.desired.contains_key(key));
    builder.diagnostics.extend(duplicates);
    for item in &desired.entries {
        planner.plan_entry(builder, item, auth);
    }
    planner.plan_removals(builder, ownership, auth);
    planner.plan_write(builder, auth, live.is_some(), &sections);
    if uses_aws_auth {
        let is_written = builder.writes.iter().any(|write| write.object == ObjectKey::aws_auth());
        let is_edited = |section| planner.edits.contains_key(&section);
        builder.diagnostics.extend(entry_diagnostics::check_writable(auth, is_written, is_edited));
    }
    let is_removed = |section: Section, index: usize| {
        let edits = planner.edits.get(&section).into_iter().flatten();
        edits.into_iter().any(|edit| matches!(edit, EntryEdit::Remove { index: removed } if *removed == index))
    };
    builder
        .diagnostics
        .extend(inactive_entries::unmatchable_warnings(auth, is_removed, |key| planner.desired.contains_key(key)));
}

/// A live entry and its index in its section.
#[derive(Debug, Clone, Copy)]
struct LiveEntry<'a> {
    section: Section,
    index: usize,
    located: &'a LocatedEntry,
}

/// Returns the entries of each principal, in the order in which the authenticator searches: mapRoles first.
fn live_entries_by_key(sections: &BTreeMap<Section, ParsedSection>) -> BTreeMap<String, Vec<LiveEntry<'_>>> {
    let mut entries: BTreeMap<String, Vec<LiveEntry<'_>>> = BTreeMap::new();
    for (section, parsed) in sections {
        for (index, located) in parsed.entries.iter().enumerate() {
            let live = LiveEntry { section: *section, index, located };
            entries.entry(entry_key(&located.entry)).or_default().push(live);
        }
    }
    entries
}

struct EntryPlanner<'a> {
    desired: BTreeMap<String, &'a DesiredItem<DesiredEntry>>,
    /// Principals that the policy lists and that have expired.
    expired: &'a BTreeMap<String, Expiration>,
    /// The entries that this policy owned before the plan: their ids, and hashes of the content that was written.
    owned_before: BTreeMap<[u8; 8], [u8; 4]>,
    marks: EntryMarks,
    live: BTreeMap<String, Vec<LiveEntry<'a>>>,
    edits: SectionEdits,
    /// The entries that this policy owns after the plan.
    owned_after: BTreeMap<[u8; 8], [u8; 4]>,
}

impl EntryPlanner<'_> {
    /// Returns another policy that owns an entry of the principal in any section.
    fn other_owner(&self, key: &str, policy: &str) -> Option<&str> {
        let owners = Section::ALL.into_iter().filter_map(|section| self.marks.owner(entry_id(section, key)));
        owners.into_iter().find(|owner| *owner != policy)
    }

    fn plan_entry(&mut self, builder: &mut PlanBuilder<'_>, desired: &DesiredItem<DesiredEntry>, auth: &AwsAuth) {
        let entry = &desired.value;
        let key = entry.key();
        let mark = entry_id(entry.section, &key);
        if let Some(other) = self.other_owner(&key, builder.policy) {
            let message = format!("the aws-auth entry of {} is owned by policy `{other}`", entry.principal);
            let help =
                format!("remove {} from one of the two policies, `{}` or `{other}`", entry.principal, builder.policy);
            builder.diagnostics.push(Diagnostic::error(message).primary_label(desired.span, "").with_help(help));
            return;
        }
        self.owned_after.insert(mark, content_hash(&entry.username, &entry.groups));
        // The authenticator uses the last of several entries in a section.
        let mut duplicates = self.live.get(&key).cloned().unwrap_or_default();
        let position = duplicates.iter().rposition(|live| live.section == entry.section);
        let kept = position.map(|position| duplicates.remove(position));
        for duplicate in duplicates {
            self.edits.entry(duplicate.section).or_default().push(EntryEdit::Remove { index: duplicate.index });
            let mut change = entry_removal(duplicate.section, &duplicate.located.entry, &auth.meta);
            change.note = Some(duplicate_note(entry.section, duplicate, kept));
            builder.changes.push(change);
        }
        let written = self.owned_before.get(&mark);
        let mut change = Change {
            action: Action::Create,
            target: ChangeTarget::Entry { section: entry.section, principal: entry.principal.clone() },
            fields: Vec::new(),
            location: Some(builder.location(desired.span)),
            note: entry
                .original_arn
                .as_ref()
                .map(|arn| format!("IAM path removed (aws-auth does not support paths): {arn}")),
            origin: if written.is_some() { ChangeOrigin::RemovedFromCluster } else { ChangeOrigin::NotApplied },
            last_writer: auth.meta.last_writer.clone(),
            access_impact: None,
        };
        let Some(LiveEntry { section, index, located }) = kept else {
            change.fields.extend(field_diff::diff_scalar(&["username"], None, non_empty(&entry.username)));
            change.fields.extend(field_diff::diff_set(&["groups"], &[], &entry.groups));
            builder.changes.push(change);
            self.edits.entry(entry.section).or_default().push(EntryEdit::Add(new_entry(entry, None)));
            return;
        };
        let live = &located.entry;
        let (from, to) = (non_empty(&live.username), non_empty(&entry.username));
        change.fields.extend(field_diff::diff_scalar(&["username"], from, to));
        change.fields.extend(field_diff::diff_set(&["groups"], &live.groups, &entry.groups));
        if !change.fields.is_empty() {
            let to = new_entry(entry, Some(&live.principal));
            self.edits.entry(section).or_default().push(EntryEdit::Change { index, entry: to });
        }
        change.action = match written {
            Some(_) if change.fields.is_empty() => return,
            Some(written) => {
                let live_hash = content_hash(&live.username, &live.groups);
                change.origin =
                    if live_hash == *written { ChangeOrigin::NotApplied } else { ChangeOrigin::ChangedInCluster };
                Action::Update
            }
            None => Action::Adopt,
        };
        builder.changes.push(change);
    }

    fn plan_removals(&mut self, builder: &mut PlanBuilder<'_>, ownership: &OwnershipSpec, auth: &AwsAuth) {
        let exclusive = ownership.aws_auth == OwnershipMode::Exclusive;
        for (key, entries) in self.live.iter().filter(|(key, _)| !self.desired.contains_key(*key)) {
            let is_owned = |live: &LiveEntry<'_>| self.owned_before.contains_key(&entry_id(live.section, key));
            let end = self.expired.get(key);
            let is_removed = |live: &LiveEntry<'_>| {
                let is_unowned = self.marks.owner(entry_id(live.section, key)).is_none();
                let is_unlisted = exclusive && !is_ignored(&live.located.entry, ownership);
                is_owned(live) || (is_unowned && is_unlisted)
            };
            let is_kept_unowned =
                |live: &LiveEntry<'_>| !is_removed(live) && self.marks.owner(entry_id(live.section, key)).is_none();
            if let (Some(end), Some(live)) = (end, entries.iter().find(|live| is_kept_unowned(live))) {
                let name = principal_text(&live.located.entry);
                builder.diagnostics.push(end.kept_warning(&format!("the aws-auth entry of {name}")));
            }
            let kept = entries.iter().rfind(|live| !is_removed(live));
            for (position, live) in entries.iter().enumerate().filter(|(_, live)| is_removed(live)) {
                let mut change = entry_removal(live.section, &live.located.entry, &auth.meta);
                let is_last = !entries.iter().skip(position + 1).any(|later| later.section == live.section);
                change.note = match kept {
                    Some(kept) => {
                        Some(format!("line {} of {} still maps this principal", kept.located.line, kept.section))
                    }
                    None if end.is_some() => end.map(|end| end.removal_reason(is_owned(live))),
                    None if !is_owned(live) => {
                        Some("not in the policy, and ownership.aws-auth = \"exclusive\"".to_owned())
                    }
                    None if !is_last => Some(format!(
                        "line {}: duplicate of a removed entry, would take effect if kept",
                        live.located.line
                    )),
                    None => None,
                };
                change.location = end.map(|end| builder.location(end.span));
                builder.changes.push(change);
                self.edits.entry(live.section).or_default().push(EntryEdit::Remove { index: live.index });
            }
        }
    }

    fn plan_write(
        &self,
        builder: &mut PlanBuilder<'_>,
        auth: &AwsAuth,
        exists: bool,
        sections: &BTreeMap<Section, ParsedSection>,
    ) {
        let mut data = BTreeMap::new();
        for (section, edits) in &self.edits {
            let old = auth.data.get(section.key());
            match edit_section(*section, old.map(String::as_str), edits) {
                Ok(text) => {
                    data.insert(section.key().to_owned(), text);
                }
                Err(error) => builder.diagnostics.push(edit_diagnostic(*section, &error)),
            }
        }
        let unchanged_size: usize =
            auth.data.iter().filter(|(key, _)| !data.contains_key(*key)).map(|(_, text)| text.len()).sum();
        let size = unchanged_size + data.values().map(String::len).sum::<usize>();
        if size > MAX_CONFIG_MAP_BYTES && !data.is_empty() {
            let message = format!("aws-auth would be {size} bytes, but a ConfigMap has at most {MAX_CONFIG_MAP_BYTES}");
            let help = "map fewer principals, for example one IAM role that the whole team assumes";
            builder.diagnostics.push(Diagnostic::error(message).with_help(help));
        }
        let mut marks = self.marks.clone();
        marks.set_owned_entries(builder.policy, self.owned_after.clone());
        let annotation = marks.to_annotation();
        if data.is_empty() && annotation.as_ref() == auth.meta.annotations.get(ENTRIES_ANNOTATION) {
            return;
        }
        let (write, precondition) = if exists {
            let mut patch = Map::new();
            patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES_ANNOTATION: annotation } }));
            if !data.is_empty() {
                patch.insert("data".to_owned(), json!(data));
            }
            let precondition = FirstPrecondition::AsRead {
                uid: auth.meta.uid.clone(),
                resource_version: auth.meta.resource_version.clone().unwrap_or_default(),
            };
            (WriteRequest::Patch(Value::Object(patch)), precondition)
        } else {
            let annotations: Labels =
                annotation.map(|text| (ENTRIES_ANNOTATION.to_owned(), text)).into_iter().collect();
            (WriteRequest::Create(config_map_to_json(&data, &annotations)), FirstPrecondition::Absent)
        };
        let policy = builder.policy;
        let edit = AwsAuthEdit::new(auth, exists, policy, &self.marks, &self.owned_after, &self.edits, sections);
        let edit = match edit {
            Ok(edit) => edit,
            Err(error) => return builder.diagnostics.push(error.into()),
        };
        builder.writes.push(PendingWrite {
            object: ObjectKey::aws_auth(),
            kind: ChangeKind::Map { write, edit: Box::new(edit) },
            precondition,
            description: match (exists, data.is_empty()) {
                (false, _) => "create aws-auth with its entries".to_owned(),
                (true, false) => "change the aws-auth entries".to_owned(),
                (true, true) => "mark the aws-auth entries that the policy owns".to_owned(),
            },
        });
        self.drop_marks_only_write(builder);
    }

    /// Drops a write that only updates the ownership marks if the plan shows no change of an entry.
    fn drop_marks_only_write(&self, builder: &mut PlanBuilder<'_>) {
        let has_changes = builder.changes.iter().any(|change| matches!(change.target, ChangeTarget::Entry { .. }));
        if !has_changes && self.edits.is_empty() {
            builder.writes.retain(|write| write.object != ObjectKey::aws_auth());
        }
    }
}

/// Returns why a duplicate entry of a principal is removed. `section` is where the entry of the principal belongs.
fn duplicate_note(section: Section, duplicate: LiveEntry<'_>, kept: Option<LiveEntry<'_>>) -> String {
    let line = duplicate.located.line;
    let Some(kept) = kept else {
        return format!("line {line}: {section} is the correct section for this principal");
    };
    let kept_line = kept.located.line;
    if duplicate.section == Section::Roles && section == Section::Users {
        // The authenticator searches mapRoles first.
        format!("line {line}: overrides line {kept_line} of {section}, the correct section for this principal")
    } else if duplicate.section != section {
        format!("line {line}: duplicates line {kept_line} of {section}, the correct section for this principal")
    } else if section == Section::Users && duplicate.located.entry.principal != kept.located.entry.principal {
        format!(
            "line {line}: the ARN differs from line {kept_line} only in letter case; which entry the authenticator uses is not defined"
        )
    } else if section == Section::Accounts {
        format!("line {line}: duplicates line {kept_line}")
    } else {
        format!("line {line}: duplicates line {kept_line} (the last entry wins)")
    }
}

pub(super) fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn is_ignored(entry: &Entry, ownership: &OwnershipSpec) -> bool {
    let text = principal_text(entry);
    ownership.ignore.iter().any(|pattern| pattern.value.matches_entry(&text))
}

fn new_entry(entry: &DesiredEntry, live: Option<&EntryPrincipal>) -> Entry {
    let principal = live.cloned().unwrap_or_else(|| match entry.section {
        Section::Roles => EntryPrincipal::Role(entry.principal.clone()),
        Section::Users => EntryPrincipal::User(entry.principal.clone()),
        Section::Accounts => EntryPrincipal::Account(entry.principal.clone()),
    });
    Entry { principal, username: entry.username.clone(), groups: entry.groups.clone() }
}

pub(super) fn entry_removal(section: Section, entry: &Entry, meta: &crate::state::object_meta::ObjectMeta) -> Change {
    let username = field_diff::diff_scalar(&["username"], non_empty(&entry.username), None);
    Change {
        action: Action::Delete,
        target: ChangeTarget::Entry { section, principal: principal_text(entry) },
        fields: username.into_iter().chain(field_diff::diff_set(&["groups"], &entry.groups, &[])).collect(),
        location: None,
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: meta.last_writer.clone(),
        access_impact: None,
    }
}

pub(super) fn edit_diagnostic(section: Section, error: &EditError) -> Diagnostic {
    let help = match error {
        EditError::AnchorInUse { .. } | EditError::EntryIsAlias { .. } => {
            "replace the YAML alias or merge key in the entry with the values it refers to, then run `rolecall plan` again"
        }
        _ => "rewrite the entry with one key on each line, then run `rolecall plan` again",
    };
    Diagnostic::error(format!("aws-auth `{section}` cannot be edited: {error}"))
        .with_note("rolecall only changes text that belongs to the edited entry")
        .with_help(help)
}

#[cfg(test)]
mod tests;
