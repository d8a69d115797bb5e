//! aws-auth: which entries come, change, are adopted and go, and the one write that does it.
//!
//! A listed principal has exactly one entry afterwards: of those in its section the one that the authenticator obeyed
//! before. Its doubles go. Every other entry stays byte for byte.

pub(super) mod aws_auth_edit;
mod entry_diagnostics;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::order::{Needs, PendingWrite, Turn};
use super::{Action, Change, ChangeOrigin, ChangeTarget, PlanBuilder, field_diff};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::expand::{Desired, DesiredEntry, DesiredItem};
use crate::policy::expiry::Expiration;
use crate::policy::{IgnorePattern, OwnershipMode, OwnershipSpec};
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

/// The edits of each section, as they gather.
pub(super) type SectionEdits = BTreeMap<Section, Vec<EntryEdit>>;

pub(super) fn plan_entries(
    draft: &mut PlanBuilder<'_>,
    desired: &Desired,
    live: Option<&AwsAuth>,
    ownership: &OwnershipSpec,
) {
    let empty = AwsAuth::default();
    let auth = live.unwrap_or(&empty);
    let read = EntryMarks::from_annotations(&auth.meta.annotations);
    let marks = read.clone().unwrap_or_default();
    let exclusive = ownership.aws_auth == OwnershipMode::Exclusive;
    let lists = !desired.entries.is_empty() || !desired.expired.entries.is_empty();
    let concerned = exclusive || lists || !marks.owned_by(draft.policy).is_empty();
    let readings = entry_diagnostics::read_sections(draft, auth, concerned);
    if let (Err(error), true) = (read, concerned) {
        draft.diagnostics.push(Diagnostic::error(error.to_string()).with_help(
            "it says which policy owns which entry: restore it, or delete it, and each policy adopts what it lists anew",
        ));
        return;
    }
    let Some(readings) = readings else {
        return;
    };
    let mut work = EntryPlanner {
        desired: desired.entries.iter().map(|entry| (entry.value.key(), entry)).collect(),
        expired: &desired.expired.entries,
        owned_before: marks.owned_by(draft.policy),
        marks,
        live: live_entries_by_key(&readings),
        edits: SectionEdits::new(),
        owned_after: BTreeMap::new(),
    };
    draft.diagnostics.extend(entry_diagnostics::duplicate_warnings(&work.live, |key| work.desired.contains_key(key)));
    for wanted in &desired.entries {
        work.plan_entry(draft, wanted, auth);
    }
    work.plan_removals(draft, ownership, auth);
    work.plan_write(draft, auth, live.is_some(), &readings);
    if concerned {
        let writes = draft.writes.iter().any(|planned| planned.object == ObjectKey::aws_auth());
        draft
            .diagnostics
            .extend(entry_diagnostics::check_writable(auth, writes, |section| work.edits.contains_key(&section)));
    }
}

/// A live entry, with its number in its section.
#[derive(Debug, Clone, Copy)]
struct LiveEntry<'a> {
    section: Section,
    index: usize,
    located: &'a LocatedEntry,
}

/// By principal, in the order in which the authenticator looks: mapRoles first.
fn live_entries_by_key(readings: &BTreeMap<Section, ParsedSection>) -> BTreeMap<String, Vec<LiveEntry<'_>>> {
    let mut out: BTreeMap<String, Vec<LiveEntry<'_>>> = BTreeMap::new();
    for (section, reading) in readings {
        for (index, found) in reading.entries.iter().enumerate() {
            let live = LiveEntry { section: *section, index, located: found };
            out.entry(entry_key(&found.entry)).or_default().push(live);
        }
    }
    out
}

struct EntryPlanner<'a> {
    desired: BTreeMap<String, &'a DesiredItem<DesiredEntry>>,
    /// Listed, and not wanted any more.
    expired: &'a BTreeMap<String, Expiration>,
    /// What this policy owned before.
    owned_before: BTreeMap<[u8; 8], [u8; 4]>,
    marks: EntryMarks,
    live: BTreeMap<String, Vec<LiveEntry<'a>>>,
    edits: SectionEdits,
    /// What this policy owns after.
    owned_after: BTreeMap<[u8; 8], [u8; 4]>,
}

impl EntryPlanner<'_> {
    /// Another policy that owns an entry of the principal, in whichever section.
    fn other_owner(&self, key: &str, policy: &str) -> Option<&str> {
        let owners = Section::ALL.into_iter().filter_map(|section| self.marks.owner(entry_id(section, key)));
        owners.into_iter().find(|owner| *owner != policy)
    }

    fn plan_entry(&mut self, draft: &mut PlanBuilder<'_>, wanted: &DesiredItem<DesiredEntry>, auth: &AwsAuth) {
        let entry = &wanted.value;
        let key = entry.key();
        let mark = entry_id(entry.section, &key);
        if let Some(other) = self.other_owner(&key, draft.policy) {
            let error = Diagnostic::error(format!(
                "the aws-auth entry of {} is owned by the policy `{other}`",
                entry.principal
            ));
            draft.diagnostics.push(
                error
                    .primary_label(wanted.span, "")
                    .with_help(format!("take it out of `{}` or of `{other}`", draft.policy)),
            );
            return;
        }
        self.owned_after.insert(mark, content_hash(&entry.username, &entry.groups));
        let mut doubles = self.live.get(&key).cloned().unwrap_or_default();
        let place = doubles.iter().rposition(|live| live.section == entry.section);
        let in_force = place.map(|place| doubles.remove(place));
        for double in doubles {
            self.edits.entry(double.section).or_default().push(EntryEdit::Remove { index: double.index });
            let mut change = entry_removal(double.section, &double.located.entry, &auth.meta);
            change.note = Some(duplicate_note(entry.section, double, in_force));
            draft.changes.push(change);
        }
        let written = self.owned_before.get(&mark);
        let mut change = Change {
            action: Action::Create,
            target: ChangeTarget::Entry { section: entry.section, principal: entry.principal.clone() },
            fields: Vec::new(),
            location: Some(draft.location(wanted.span)),
            note: entry.original_arn.as_ref().map(|arn| format!("path taken off: {arn}")),
            origin: if written.is_some() { ChangeOrigin::RemovedFromCluster } else { ChangeOrigin::NotApplied },
            last_writer: auth.meta.last_writer.clone(),
            access_impact: None,
        };
        let Some(LiveEntry { section, index, located: found }) = in_force else {
            let shown = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            change.fields.extend(field_diff::diff_scalar(&["username"], None, shown(&entry.username).as_deref()));
            change.fields.extend(field_diff::diff_set(&["groups"], &[], &entry.groups));
            draft.changes.push(change);
            self.edits.entry(entry.section).or_default().push(EntryEdit::Add(new_entry(entry, None)));
            return;
        };
        let live = &found.entry;
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (from, to) = (text(&live.username), text(&entry.username));
        change.fields.extend(field_diff::diff_scalar(&["username"], from.as_deref(), to.as_deref()));
        change.fields.extend(field_diff::diff_set(&["groups"], &live.groups, &entry.groups));
        if !change.fields.is_empty() {
            let to = new_entry(entry, Some(&live.principal));
            self.edits.entry(section).or_default().push(EntryEdit::Change { index, entry: to });
        }
        change.action = match written {
            Some(_) if change.fields.is_empty() => return,
            Some(written) => {
                let now = content_hash(&live.username, &live.groups);
                change.origin = if now == *written { ChangeOrigin::NotApplied } else { ChangeOrigin::ChangedInCluster };
                Action::Update
            }
            None => Action::Adopt,
        };
        draft.changes.push(change);
    }

    fn plan_removals(&mut self, draft: &mut PlanBuilder<'_>, ownership: &OwnershipSpec, auth: &AwsAuth) {
        let exclusive = ownership.aws_auth == OwnershipMode::Exclusive;
        for (key, same) in self.live.iter().filter(|(key, _)| !self.desired.contains_key(*key)) {
            let is_ours = |live: &LiveEntry<'_>| self.owned_before.contains_key(&entry_id(live.section, key));
            let end = self.expired.get(key);
            let goes = |live: &LiveEntry<'_>| {
                let nobodys = self.marks.owner(entry_id(live.section, key)).is_none();
                let unlisted = exclusive && !is_ignored(&live.located.entry, ownership);
                is_ours(live) || (nobodys && (unlisted || end.is_some()))
            };
            let stays = same.iter().rfind(|live| !goes(live));
            for (place, live) in same.iter().enumerate().filter(|(_, live)| goes(live)) {
                let mut change = entry_removal(live.section, &live.located.entry, &auth.meta);
                let last = !same.iter().skip(place + 1).any(|later| later.section == live.section);
                change.note = match stays {
                    Some(other) => {
                        Some(format!("line {} of {} still maps this principal", other.located.line, other.section))
                    }
                    None if end.is_some() => end.map(|end| end.removal_reason(is_ours(live))),
                    None if !is_ours(live) => Some("not in the policy, which is exclusive".to_owned()),
                    None if !last => Some(format!(
                        "line {}: another entry of this principal, which would come into force",
                        live.located.line
                    )),
                    None => None,
                };
                change.location = end.map(|end| draft.location(end.span));
                draft.changes.push(change);
                self.edits.entry(live.section).or_default().push(EntryEdit::Remove { index: live.index });
            }
        }
    }

    fn plan_write(
        &self,
        draft: &mut PlanBuilder<'_>,
        auth: &AwsAuth,
        exists: bool,
        readings: &BTreeMap<Section, ParsedSection>,
    ) {
        let mut data = BTreeMap::new();
        for (section, edits) in &self.edits {
            let old = auth.data.get(section.key());
            match edit_section(*section, old.map(String::as_str), edits) {
                Ok(text) => {
                    data.insert(section.key().to_owned(), text);
                }
                Err(error) => draft.diagnostics.push(edit_diagnostic(*section, &error)),
            }
        }
        let size: usize =
            auth.data.iter().filter(|(key, _)| !data.contains_key(*key)).map(|(_, text)| text.len()).sum();
        let size = size + data.values().map(String::len).sum::<usize>();
        if size > MAX_CONFIG_MAP_BYTES && !data.is_empty() {
            let error = format!("aws-auth would have {size} bytes, and a ConfigMap has at most {MAX_CONFIG_MAP_BYTES}");
            draft
                .diagnostics
                .push(Diagnostic::error(error).with_help("map fewer principals, such as one role that a team assumes"));
        }
        let mut marks = self.marks.clone();
        marks.set_owned(draft.policy, self.owned_after.clone());
        let annotation = marks.to_annotation();
        if data.is_empty() && annotation.as_ref() == auth.meta.annotations.get(ENTRIES_ANNOTATION) {
            return;
        }
        let (write, needs) = if exists {
            let mut patch = Map::new();
            patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES_ANNOTATION: annotation } }));
            if !data.is_empty() {
                patch.insert("data".to_owned(), json!(data));
            }
            let needs = Needs::AsRead {
                uid: auth.meta.uid.clone(),
                resource_version: auth.meta.resource_version.clone().unwrap_or_default(),
            };
            (WriteRequest::Patch(Value::Object(patch)), needs)
        } else {
            let annotations: Labels =
                annotation.map(|text| (ENTRIES_ANNOTATION.to_owned(), text)).into_iter().collect();
            (WriteRequest::Create(config_map_to_json(&data, &annotations)), Needs::Absent)
        };
        let policy = draft.policy;
        let splits = AwsAuthEdit::new(auth, exists, policy, &self.marks, &self.owned_after, &self.edits, readings);
        draft.writes.push(PendingWrite {
            object: ObjectKey::aws_auth(),
            turn: Turn::Map { write, splits: Box::new(splits) },
            needs,
            why: match (exists, data.is_empty()) {
                (false, _) => "create aws-auth with its entries".to_owned(),
                (true, false) => "change the entries of aws-auth".to_owned(),
                (true, true) => "mark the entries of aws-auth that the policy owns".to_owned(),
            },
        });
        self.drop_marks_only_write(draft);
    }

    /// A write that only brings the marks up to date must not be a write without a change.
    fn drop_marks_only_write(&self, draft: &mut PlanBuilder<'_>) {
        let shown = draft.changes.iter().any(|change| matches!(change.target, ChangeTarget::Entry { .. }));
        if !shown && self.edits.is_empty() {
            draft.writes.retain(|planned| planned.object != ObjectKey::aws_auth());
        }
    }
}

/// Why an entry goes beside the one that is kept of its principal.
fn duplicate_note(belongs: Section, double: LiveEntry<'_>, kept: Option<LiveEntry<'_>>) -> String {
    let line = double.located.line;
    match kept {
        None => format!("line {line}: this principal belongs under {belongs}"),
        Some(_) if double.section == Section::Roles && belongs == Section::Users => {
            format!("line {line}: it was in force, and this principal belongs under {belongs}")
        }
        Some(kept) if double.section != belongs => {
            format!("line {line}: this principal belongs under {belongs}, beside line {}", kept.located.line)
        }
        Some(kept) if belongs == Section::Users && double.located.entry.principal != kept.located.entry.principal => {
            format!("line {line}: differs in case from line {}, and which one counts is random", kept.located.line)
        }
        Some(kept) => format!("line {line}: another entry of this principal, beside line {}", kept.located.line),
    }
}

fn is_ignored(entry: &Entry, ownership: &OwnershipSpec) -> bool {
    let text = principal_text(entry);
    ownership.ignore.iter().any(|pattern| match pattern {
        IgnorePattern::Arn(pattern) => pattern.matches(&text),
        IgnorePattern::Object(_) => false,
    })
}

fn new_entry(entry: &DesiredEntry, live: Option<&EntryPrincipal>) -> Entry {
    let principal = live.cloned().unwrap_or_else(|| match entry.section {
        Section::Roles => EntryPrincipal::Role(entry.principal.clone()),
        Section::Users => EntryPrincipal::User(entry.principal.clone()),
        Section::Accounts => EntryPrincipal::Account(entry.principal.clone()),
    });
    Entry { principal, username: entry.username.clone(), groups: entry.groups.clone() }
}

fn entry_removal(section: Section, entry: &Entry, meta: &crate::state::object_meta::ObjectMeta) -> Change {
    let username = Some(entry.username.as_str()).filter(|name| !name.is_empty());
    let shown = field_diff::diff_scalar(&["username"], username, None);
    Change {
        action: Action::Delete,
        target: ChangeTarget::Entry { section, principal: principal_text(entry) },
        fields: shown.into_iter().chain(field_diff::diff_set(&["groups"], &entry.groups, &[])).collect(),
        location: None,
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: meta.last_writer.clone(),
        access_impact: None,
    }
}

fn edit_diagnostic(section: Section, error: &EditError) -> Diagnostic {
    Diagnostic::error(format!(
        "`{section}` of aws-auth cannot be edited without touching what is not the policy's: {error}"
    ))
    .with_help("write that entry out in full by hand, then plan again")
}

#[cfg(test)]
mod tests;
