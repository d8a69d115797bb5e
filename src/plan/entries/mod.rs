//! aws-auth: which entries come, change, are adopted and go, and the one write that does it.
//!
//! A listed principal has exactly one entry afterwards: of those in its section the one that the authenticator obeyed
//! before. Its doubles go. Every other entry stays byte for byte.

mod findings;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::steps::{Needs, Phase, Planned};
use super::{Action, Change, Draft, Origin, Target, fields};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::ending::Ended;
use crate::policy::expand::{Desired, Wanted, WantedEntry};
use crate::policy::{Exclusive, IgnorePattern, Ownership};
use crate::state::aws_auth::{Edit, EditError, Entry, Found, Principal, Reading, Section, edit};
use crate::state::entry_marks::{EntryMarks, content, id};
use crate::state::mapping::{AwsAuth, config_map_json, entry_key, principal_text};
use crate::state::meta::Labels;
use crate::state::owner::ENTRIES;
use crate::state::validate::CONFIG_MAP_LIMIT;
use crate::state::write::Write;

/// The edits of each section, as they gather.
type Edits = BTreeMap<Section, Vec<Edit>>;

pub(super) fn plan(draft: &mut Draft<'_>, desired: &Desired, live: Option<&AwsAuth>, ownership: &Ownership) {
    let empty = AwsAuth::default();
    let auth = live.unwrap_or(&empty);
    let read = EntryMarks::of(&auth.meta.annotations);
    let marks = read.clone().unwrap_or_default();
    let exclusive = ownership.aws_auth == Exclusive::Exclusive;
    let lists = !desired.entries.is_empty() || !desired.ended.entries.is_empty();
    let concerned = exclusive || lists || !marks.owned_by(draft.policy).is_empty();
    let readings = findings::readings(draft, auth, concerned);
    if let (Err(error), true) = (read, concerned) {
        draft.findings.push(Diagnostic::error(error.to_string()).hint(
            "it says which policy owns which entry: restore it, or delete it, and each policy adopts what it lists anew",
        ));
        return;
    }
    let Some(readings) = readings else {
        return;
    };
    let mut work = Work {
        wanted: desired.entries.iter().map(|entry| (entry.value.key(), entry)).collect(),
        ended: &desired.ended.entries,
        owned: marks.owned_by(draft.policy),
        marks,
        live: by_key(&readings),
        edits: Edits::new(),
        kept: BTreeMap::new(),
    };
    draft.findings.extend(findings::doubles(&work.live, |key| work.wanted.contains_key(key)));
    for wanted in &desired.entries {
        work.settle(draft, wanted, auth);
    }
    work.remove(draft, ownership, auth);
    work.write(draft, auth, live.is_some());
    if concerned {
        let writes = draft.writes.iter().any(|planned| planned.phase == Phase::Mapping);
        draft.findings.extend(findings::unchangeable(auth, writes, |section| work.edits.contains_key(&section)));
    }
}

/// A live entry, with its number in its section.
#[derive(Debug, Clone, Copy)]
struct Live<'a> {
    section: Section,
    index: usize,
    found: &'a Found,
}

/// By principal, in the order in which the authenticator looks: mapRoles first.
fn by_key(readings: &BTreeMap<Section, Reading>) -> BTreeMap<String, Vec<Live<'_>>> {
    let mut out: BTreeMap<String, Vec<Live<'_>>> = BTreeMap::new();
    for (section, reading) in readings {
        for (index, found) in reading.entries.iter().enumerate() {
            let live = Live { section: *section, index, found };
            out.entry(entry_key(&found.entry)).or_default().push(live);
        }
    }
    out
}

struct Work<'a> {
    wanted: BTreeMap<String, &'a Wanted<WantedEntry>>,
    /// Listed, and not wanted any more.
    ended: &'a BTreeMap<String, Ended>,
    /// What this policy owned before.
    owned: BTreeMap<[u8; 8], [u8; 4]>,
    marks: EntryMarks,
    live: BTreeMap<String, Vec<Live<'a>>>,
    edits: Edits,
    /// What this policy owns after.
    kept: BTreeMap<[u8; 8], [u8; 4]>,
}

impl Work<'_> {
    /// Another policy that owns an entry of the principal, in whichever section.
    fn other_owner(&self, key: &str, policy: &str) -> Option<&str> {
        let owners = Section::ALL.into_iter().filter_map(|section| self.marks.owner(id(section, key)));
        owners.into_iter().find(|owner| *owner != policy)
    }

    fn settle(&mut self, draft: &mut Draft<'_>, wanted: &Wanted<WantedEntry>, auth: &AwsAuth) {
        let entry = &wanted.value;
        let key = entry.key();
        let mark = id(entry.section, &key);
        if let Some(other) = self.other_owner(&key, draft.policy) {
            let error = Diagnostic::error(format!(
                "the aws-auth entry of {} is owned by the policy `{other}`",
                entry.principal
            ));
            draft
                .findings
                .push(error.at(wanted.span, "").hint(format!("take it out of `{}` or of `{other}`", draft.policy)));
            return;
        }
        self.kept.insert(mark, content(&entry.username, &entry.groups));
        let mut doubles = self.live.get(&key).cloned().unwrap_or_default();
        let place = doubles.iter().rposition(|live| live.section == entry.section);
        let in_force = place.map(|place| doubles.remove(place));
        for double in doubles {
            self.edits.entry(double.section).or_default().push(Edit::Remove { index: double.index });
            let mut change = removal(double.section, &double.found.entry, &auth.meta);
            change.note = Some(why_double(entry.section, double, in_force));
            draft.changes.push(change);
        }
        let written = self.owned.get(&mark);
        let mut change = Change {
            action: Action::Create,
            target: Target::Entry { section: entry.section, principal: entry.principal.clone() },
            fields: Vec::new(),
            place: Some(draft.place(wanted.span)),
            note: entry.written_as.as_ref().map(|arn| format!("path taken off: {arn}")),
            origin: if written.is_some() { Origin::RemovedLive } else { Origin::Pending },
            last_writer: auth.meta.last_writer.clone(),
            access: None,
        };
        let Some(Live { section, index, found }) = in_force else {
            let shown = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            change.fields.extend(fields::scalar(&["username"], None, shown(&entry.username).as_deref()));
            change.fields.extend(fields::list(&["groups"], &[], &entry.groups));
            draft.changes.push(change);
            self.edits.entry(entry.section).or_default().push(Edit::Add(new_entry(entry, None)));
            return;
        };
        let live = &found.entry;
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (from, to) = (text(&live.username), text(&entry.username));
        change.fields.extend(fields::scalar(&["username"], from.as_deref(), to.as_deref()));
        change.fields.extend(fields::list(&["groups"], &live.groups, &entry.groups));
        if !change.fields.is_empty() {
            let to = new_entry(entry, Some(&live.principal));
            self.edits.entry(section).or_default().push(Edit::Change { index, to });
        }
        change.action = match written {
            Some(_) if change.fields.is_empty() => return,
            Some(written) => {
                let now = content(&live.username, &live.groups);
                change.origin = if now == *written { Origin::Pending } else { Origin::ChangedLive };
                Action::Update
            }
            None => Action::Adopt,
        };
        draft.changes.push(change);
    }

    fn remove(&mut self, draft: &mut Draft<'_>, ownership: &Ownership, auth: &AwsAuth) {
        let exclusive = ownership.aws_auth == Exclusive::Exclusive;
        for (key, same) in self.live.iter().filter(|(key, _)| !self.wanted.contains_key(*key)) {
            let is_ours = |live: &Live<'_>| self.owned.contains_key(&id(live.section, key));
            let end = self.ended.get(key);
            let goes = |live: &Live<'_>| {
                let nobodys = self.marks.owner(id(live.section, key)).is_none();
                let unlisted = exclusive && !is_ignored(&live.found.entry, ownership);
                is_ours(live) || (nobodys && (unlisted || end.is_some()))
            };
            let stays = same.iter().rfind(|live| !goes(live));
            for (place, live) in same.iter().enumerate().filter(|(_, live)| goes(live)) {
                let mut change = removal(live.section, &live.found.entry, &auth.meta);
                let last = !same.iter().skip(place + 1).any(|later| later.section == live.section);
                change.note = match stays {
                    Some(other) => {
                        Some(format!("line {} of {} still maps this principal", other.found.line, other.section))
                    }
                    None if end.is_some() => end.map(|end| end.note_of(is_ours(live))),
                    None if !is_ours(live) => Some("not in the policy, which is exclusive".to_owned()),
                    None if !last => Some(format!(
                        "line {}: another entry of this principal, which would come into force",
                        live.found.line
                    )),
                    None => None,
                };
                change.place = end.map(|end| draft.place(end.span));
                draft.changes.push(change);
                self.edits.entry(live.section).or_default().push(Edit::Remove { index: live.index });
            }
        }
    }

    fn write(&self, draft: &mut Draft<'_>, auth: &AwsAuth, exists: bool) {
        let mut data = BTreeMap::new();
        for (section, edits) in &self.edits {
            let old = auth.data.get(section.key());
            match edit(*section, old.map(String::as_str), edits) {
                Ok(text) => {
                    data.insert(section.key().to_owned(), text);
                }
                Err(error) => draft.findings.push(cannot_edit(*section, &error)),
            }
        }
        let size: usize =
            auth.data.iter().filter(|(key, _)| !data.contains_key(*key)).map(|(_, text)| text.len()).sum();
        let size = size + data.values().map(String::len).sum::<usize>();
        if size > CONFIG_MAP_LIMIT && !data.is_empty() {
            let error = format!("aws-auth would have {size} bytes, and a ConfigMap has at most {CONFIG_MAP_LIMIT}");
            draft
                .findings
                .push(Diagnostic::error(error).hint("map fewer principals, such as one role that a team assumes"));
        }
        let mut marks = self.marks.clone();
        marks.set(draft.policy, self.kept.clone());
        let annotation = marks.to_annotation();
        if data.is_empty() && annotation.as_ref() == auth.meta.annotations.get(ENTRIES) {
            return;
        }
        let (write, needs) = if exists {
            let mut patch = Map::new();
            patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES: annotation } }));
            if !data.is_empty() {
                patch.insert("data".to_owned(), json!(data));
            }
            let needs = Needs::AsRead {
                uid: auth.meta.uid.clone(),
                resource_version: auth.meta.resource_version.clone().unwrap_or_default(),
            };
            (Write::Patch(Value::Object(patch)), needs)
        } else {
            let annotations: Labels = annotation.map(|text| (ENTRIES.to_owned(), text)).into_iter().collect();
            (Write::Create(config_map_json(&data, &annotations)), Needs::Absent)
        };
        draft.writes.push(Planned {
            object: ObjectKey::aws_auth(),
            write,
            needs,
            phase: Phase::Mapping,
            why: match (exists, data.is_empty()) {
                (false, _) => "create aws-auth with its entries".to_owned(),
                (true, false) => "change the entries of aws-auth".to_owned(),
                (true, true) => "mark the entries of aws-auth that the policy owns".to_owned(),
            },
        });
        self.silent_marks(draft);
    }

    /// A write that only brings the marks up to date must not be a write without a change.
    fn silent_marks(&self, draft: &mut Draft<'_>) {
        let shown = draft.changes.iter().any(|change| matches!(change.target, Target::Entry { .. }));
        if !shown && self.edits.is_empty() {
            draft.writes.retain(|planned| planned.phase != Phase::Mapping);
        }
    }
}

/// Why an entry goes beside the one that is kept of its principal.
fn why_double(belongs: Section, double: Live<'_>, kept: Option<Live<'_>>) -> String {
    let line = double.found.line;
    match kept {
        None => format!("line {line}: this principal belongs under {belongs}"),
        Some(_) if double.section == Section::Roles && belongs == Section::Users => {
            format!("line {line}: it was in force, and this principal belongs under {belongs}")
        }
        Some(kept) if double.section != belongs => {
            format!("line {line}: this principal belongs under {belongs}, beside line {}", kept.found.line)
        }
        Some(kept) if belongs == Section::Users && double.found.entry.principal != kept.found.entry.principal => {
            format!("line {line}: differs in case from line {}, and which one counts is random", kept.found.line)
        }
        Some(kept) => format!("line {line}: another entry of this principal, beside line {}", kept.found.line),
    }
}

fn is_ignored(entry: &Entry, ownership: &Ownership) -> bool {
    let text = principal_text(entry);
    ownership.ignore.iter().any(|pattern| match pattern {
        IgnorePattern::Arn(pattern) => pattern.matches(&text),
        IgnorePattern::Object(_) => false,
    })
}

fn new_entry(entry: &WantedEntry, live: Option<&Principal>) -> Entry {
    let principal = live.cloned().unwrap_or_else(|| match entry.section {
        Section::Roles => Principal::Role(entry.principal.clone()),
        Section::Users => Principal::User(entry.principal.clone()),
        Section::Accounts => Principal::Account(entry.principal.clone()),
    });
    Entry { principal, username: entry.username.clone(), groups: entry.groups.clone() }
}

fn removal(section: Section, entry: &Entry, meta: &crate::state::meta::Meta) -> Change {
    let username = Some(entry.username.as_str()).filter(|name| !name.is_empty());
    let shown = fields::scalar(&["username"], username, None);
    Change {
        action: Action::Delete,
        target: Target::Entry { section, principal: principal_text(entry) },
        fields: shown.into_iter().chain(fields::list(&["groups"], &entry.groups, &[])).collect(),
        place: None,
        note: None,
        origin: Origin::Pending,
        last_writer: meta.last_writer.clone(),
        access: None,
    }
}

fn cannot_edit(section: Section, error: &EditError) -> Diagnostic {
    Diagnostic::error(format!(
        "`{section}` of aws-auth cannot be edited without touching what is not the policy's: {error}"
    ))
    .hint("write that entry out in full by hand, then plan again")
}

#[cfg(test)]
mod tests;
