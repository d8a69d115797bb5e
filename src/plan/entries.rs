//! aws-auth: which entries come, change, are adopted and go, and the one write that does it.
//!
//! A listed principal has exactly one entry afterwards, the one that the authenticator obeyed before; its shadowed
//! doubles go. Every other entry stays byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::steps::{Needs, Phase, Planned};
use super::{Action, Change, Draft, Origin, Target, fields};
use crate::diagnostic::{Diagnostic, Excerpt};
use crate::names::ObjectKey;
use crate::policy::expand::{Desired, Wanted, WantedEntry};
use crate::policy::{Exclusive, IgnorePattern, Ownership};
use crate::state::aws_auth::{
    Edit, EditError, Entry, Finding, Found, Kind, Principal, Reading, Section, SectionError, edit,
};
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
    let marks = EntryMarks::of(&auth.meta.annotations);
    let exclusive = ownership.aws_auth == Exclusive::Exclusive;
    let concerned = exclusive || !desired.entries.is_empty() || !marks.owned_by(draft.policy).is_empty();
    let Some(readings) = readings(draft, auth, concerned) else {
        return;
    };
    let mut work = Work {
        wanted: desired.entries.iter().map(|entry| (entry_id(&entry.value), entry)).collect(),
        owned: marks.owned_by(draft.policy),
        marks,
        readings,
        edits: Edits::new(),
        kept: BTreeMap::new(),
    };
    for wanted in &desired.entries {
        work.settle(draft, wanted, auth);
    }
    work.remove(draft, ownership, auth);
    work.write(draft, auth, live.is_some());
}

fn entry_id(entry: &WantedEntry) -> String {
    match entry.section {
        Section::Accounts => entry.principal.clone(),
        Section::Roles | Section::Users => entry.principal.to_lowercase(),
    }
}

/// What the authenticator has of each section; what it cannot read is refused where it matters to this policy.
fn readings(draft: &mut Draft<'_>, auth: &AwsAuth, concerned: bool) -> Option<BTreeMap<Section, Reading>> {
    let mut out = BTreeMap::new();
    let mut refused = false;
    for section in Section::ALL {
        match auth.reading(section) {
            Ok(reading) => {
                for finding in &reading.findings {
                    draft.findings.extend(surprise(section, &reading, finding));
                }
                out.insert(section, reading);
            }
            Err(error) => {
                let mut found = unreadable(&error);
                if !concerned {
                    found.severity = crate::diagnostic::Severity::Warning;
                }
                refused = true;
                draft.findings.push(found);
            }
        }
    }
    if concerned && auth.immutable {
        refused = true;
        let why = "aws-auth is immutable: nothing can change its entries";
        draft.findings.push(Diagnostic::error(why).hint(
            "`immutable: true` cannot be taken back; deleting and creating aws-auth anew locks everybody out in between",
        ));
    }
    for section in Section::ALL {
        if concerned && auth.binary_keys.contains(section.key()) {
            refused = true;
            let why = format!("aws-auth has `{section}` under binaryData, which the authenticator never reads");
            draft.findings.push(Diagnostic::error(why).hint("move it to data by hand, or delete the key"));
        }
    }
    (!refused).then_some(out)
}

fn unreadable(error: &SectionError) -> Diagnostic {
    let section = error.section;
    Diagnostic::error(format!("`{section}` of aws-auth cannot be read: {}", error.message))
        .excerpt(Excerpt {
            name: format!("kube-system/aws-auth {section}"),
            line: error.line,
            column: error.column,
            text: error.source_line.clone(),
        })
        .hint(format!("the authenticator cannot read it either: no entry of {section} maps anybody now"))
        .hint("mend this line by hand; rolecall never rewrites what it cannot read")
}

/// A surprise that somebody should know of; unknown keys and further documents are nobody's concern.
fn surprise(section: Section, reading: &Reading, finding: &Finding) -> Option<Diagnostic> {
    let who = finding.entry.and_then(|at| reading.entries.get(at)).map(|found| principal_text(&found.entry));
    let who = who.unwrap_or_else(|| "the entry".to_owned());
    let said = match &finding.kind {
        Kind::Dropped(_) => "this entry does not count: the authenticator drops it".to_owned(),
        Kind::UsernameBlank { stands: Some(stands) } => {
            format!("{who} has no username: `{stands}` is no text to the authenticator")
        }
        Kind::UsernameBlank { stands: None } => return None,
        Kind::GroupsBlank { stands } => format!("{who} has no groups: `{stands}` is not a list"),
        Kind::GroupBlank { stands, .. } => {
            format!("{who} has an empty group: `{stands}` is no text to the authenticator")
        }
        Kind::KeyShadowed { key, by } => format!("{who}: `{key}` does not count beside `{by}`"),
        Kind::MoreDocuments => {
            "what follows `---` does not count: the authenticator reads the first document".to_owned()
        }
        Kind::FieldIgnored { .. } | Kind::UnknownKey { .. } | Kind::KeyCase { .. } | Kind::AccountBlank => return None,
    };
    Some(Diagnostic::warning(format!("aws-auth {section}, line {}: {said}", finding.line)))
}

struct Work<'a> {
    wanted: BTreeMap<String, &'a Wanted<WantedEntry>>,
    /// What this policy owned before.
    owned: BTreeMap<[u8; 8], [u8; 4]>,
    marks: EntryMarks,
    readings: BTreeMap<Section, Reading>,
    edits: Edits,
    /// What this policy owns after.
    kept: BTreeMap<[u8; 8], [u8; 4]>,
}

impl Work<'_> {
    /// The live entries of a principal, in the order of the text.
    fn live(&self, key: &str) -> Vec<(Section, usize, Found)> {
        let of = |(section, reading): (&Section, &Reading)| {
            let section = *section;
            let found = reading.entries.iter().enumerate().filter(|(_, found)| entry_key(&found.entry) == key);
            found.map(move |(index, found)| (section, index, found.clone())).collect::<Vec<_>>()
        };
        self.readings.iter().flat_map(of).collect()
    }

    fn settle(&mut self, draft: &mut Draft<'_>, wanted: &Wanted<WantedEntry>, auth: &AwsAuth) {
        let entry = &wanted.value;
        let key = entry_id(entry);
        let mark = id(entry.section, &key);
        if let Some(other) = self.marks.owner(&mark).filter(|owner| *owner != draft.policy) {
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
        let mut doubles = self.live(&key);
        let place = doubles.iter().rposition(|(section, ..)| *section == entry.section);
        let in_force = place.map(|place| doubles.remove(place));
        for (section, index, found) in doubles {
            self.edits.entry(section).or_default().push(Edit::Remove { index });
            let mut change = removal(section, &found.entry, &auth.meta);
            change.note = Some(match &in_force {
                Some((_, _, kept)) => {
                    format!("line {}: another entry of this principal, beside line {}", found.line, kept.line)
                }
                None => format!("line {}: this principal belongs under {}", found.line, entry.section),
            });
            draft.changes.push(change);
        }
        let written = self.owned.get(&mark);
        let mut change = Change {
            action: Action::Create,
            target: Target::Entry { section: entry.section, principal: entry.principal.clone() },
            fields: Vec::new(),
            place: draft.place(wanted.span),
            note: entry.written_as.as_ref().map(|arn| format!("path taken off: {arn}")),
            origin: if written.is_some() { Origin::RemovedLive } else { Origin::Pending },
            last_writer: auth.meta.last_writer.clone(),
        };
        let Some((section, index, found)) = in_force else {
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
        let mut seen = BTreeSet::new();
        let readings = self.readings.clone();
        for (section, reading) in &readings {
            for (index, found) in reading.entries.iter().enumerate() {
                let key = entry_key(&found.entry);
                if self.wanted.contains_key(&key) {
                    continue;
                }
                let mark = id(*section, &key);
                let ours = self.owned.contains_key(&mark);
                let unlisted = ownership.aws_auth == Exclusive::Exclusive
                    && self.marks.owner(&mark).is_none()
                    && !is_ignored(&found.entry, ownership);
                if !ours && !unlisted {
                    continue;
                }
                let mut change = removal(*section, &found.entry, &auth.meta);
                if !ours {
                    change.note = Some("not in the policy, which is exclusive".to_owned());
                } else if !seen.insert((*section, key)) {
                    change.note = Some(format!(
                        "line {}: another entry of this principal, which would come into force",
                        found.line
                    ));
                }
                draft.changes.push(change);
                self.edits.entry(*section).or_default().push(Edit::Remove { index });
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
    }
}

fn cannot_edit(section: Section, error: &EditError) -> Diagnostic {
    Diagnostic::error(format!(
        "`{section}` of aws-auth cannot be edited without touching what is not the policy's: {error}"
    ))
    .hint("write that entry out in full by hand, then plan again")
}
