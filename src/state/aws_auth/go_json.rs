//! One entry of mapRoles or mapUsers as Go's encoding/json fills its struct: keys in sorted order and
//! whatever their case, a wrong type leaving the field as it was, a list being written over the one
//! before it element by element. The last sounds odd and shows when a key stands twice.

use crate::yaml::{Field, Meaning, Resolved, Sense};

use super::entry::Sso;
use super::finding::Kind;

/// The struct before validation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) arn: String,
    pub(super) sso: Option<Sso>,
    pub(super) username: String,
    pub(super) groups: Groups,
}

/// A Go slice: what lies behind its end is still there when it grows again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups {
    memory: Vec<String>,
    length: usize,
}

impl Groups {
    pub(super) fn names(&self) -> Vec<String> {
        self.memory.iter().take(self.length).cloned().collect()
    }
}

/// Go compares keys by a folding of its own: `ſ` is an `s`, and the Kelvin sign a `k`.
pub(super) fn fold(key: &str) -> String {
    let one = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    key.chars().map(one).collect()
}

/// The text of a scalar that JSON would carry as a string.
pub(super) fn text_of<'v>(value: &'v Resolved<'_>) -> Option<&'v str> {
    match &value.sense {
        Sense::One(Meaning::Text(text)) => Some(text),
        _ => None,
    }
}

pub(super) fn is_null(value: &Resolved<'_>) -> bool {
    matches!(value.sense, Sense::One(Meaning::Null))
}

/// What stands in the text, for a message: a scalar as written, else its kind.
pub(super) fn stands(value: &Resolved<'_>) -> String {
    match (&value.node.value, &value.sense) {
        (crate::yaml::Value::Scalar(scalar), _) => scalar.text.clone(),
        (_, Sense::List(_)) => "a list".to_owned(),
        _ => "a mapping".to_owned(),
    }
}

impl Raw {
    /// `arn_key`: `rolearn` or `userarn`. Findings carry the line they are on.
    pub(super) fn of(fields: &[Field<'_>], arn_key: &str, found: &mut Vec<(usize, Kind)>) -> Self {
        let mut raw = Self::default();
        for field in fields {
            let key = fold(&field.name);
            let known = match key.as_str() {
                "username" => {
                    set_text(&mut raw.username, field);
                    true
                }
                "groups" => {
                    raw.set_groups(field, found);
                    true
                }
                "userid" => {
                    set_text_or_report(&mut String::new(), field, "userid", found);
                    true
                }
                "sso" if arn_key == "rolearn" => {
                    raw.set_sso(field, found);
                    true
                }
                key if key == arn_key => {
                    set_text_or_report(&mut raw.arn, field, arn_key, found);
                    true
                }
                _ => false,
            };
            let line = field.key.line;
            let name = field.name.clone();
            if !known {
                found.push((line, Kind::UnknownKey { key: name }));
            } else if name != key {
                found.push((line, Kind::KeyCase { key: name, meant: key }));
            }
        }
        report_shadowed(fields, found);
        raw.report_username(fields, found);
        raw
    }

    fn set_groups(&mut self, field: &Field<'_>, found: &mut Vec<(usize, Kind)>) {
        let groups = &mut self.groups;
        let line = field.written.line;
        let items = match &field.value.sense {
            Sense::List(items) => items,
            Sense::One(Meaning::Null) => {
                *groups = Groups::default();
                return;
            }
            _ => {
                let stands = stands(&field.value);
                found.push((line, Kind::GroupsBlank { stands }));
                return;
            }
        };
        if items.is_empty() {
            *groups = Groups::default();
        }
        for (place, item) in items.iter().enumerate() {
            if groups.memory.len() <= place {
                groups.memory.push(String::new());
            }
            let Some(slot) = groups.memory.get_mut(place) else {
                continue;
            };
            if let Some(text) = text_of(item) {
                text.clone_into(slot);
            } else {
                let stands = stands(item);
                found.push((item.node.line, Kind::GroupBlank { place, stands }));
            }
        }
        groups.length = items.len();
    }

    /// Anything but null makes the pattern exist, and with it a second principal.
    fn set_sso(&mut self, field: &Field<'_>, found: &mut Vec<(usize, Kind)>) {
        if is_null(&field.value) {
            self.sso = None;
            return;
        }
        let sso = self.sso.get_or_insert_default();
        let Sense::Fields(inner) = &field.value.sense else {
            let stands = stands(&field.value);
            let key = "sso".to_owned();
            found.push((field.written.line, Kind::FieldIgnored { key, stands }));
            return;
        };
        for field in inner {
            let slot = match fold(&field.name).as_str() {
                "permissionsetname" => &mut sso.permission_set_name,
                "accountid" => &mut sso.account_id,
                "partition" => &mut sso.partition,
                _ => continue,
            };
            let key = format!("sso.{}", field.name);
            set_text_or_report(slot, field, &key, found);
        }
    }

    fn report_username(&self, fields: &[Field<'_>], found: &mut Vec<(usize, Kind)>) {
        if !self.username.is_empty() {
            return;
        }
        let last = fields.iter().rfind(|field| fold(&field.name) == "username");
        let line = last.map_or(0, |field| field.written.line);
        let stands = last.map(|field| stands(&field.value));
        found.push((line, Kind::UsernameBlank { stands }));
    }
}

/// Null and wrong types leave what is there.
fn set_text(slot: &mut String, field: &Field<'_>) -> bool {
    match text_of(&field.value) {
        Some(text) => {
            text.clone_into(slot);
            true
        }
        None => is_null(&field.value),
    }
}

fn set_text_or_report(slot: &mut String, field: &Field<'_>, key: &str, found: &mut Vec<(usize, Kind)>) {
    if !set_text(slot, field) {
        let (key, stands) = (key.to_owned(), stands(&field.value));
        found.push((field.written.line, Kind::FieldIgnored { key, stands }));
    }
}

/// Of several spellings of one key the last in byte order decides.
fn report_shadowed(fields: &[Field<'_>], found: &mut Vec<(usize, Kind)>) {
    for (place, field) in fields.iter().enumerate() {
        let mut later = fields.iter().skip(place + 1);
        let same = |other: &&Field<'_>| fold(&other.name) == fold(&field.name);
        if let Some(winner) = later.rfind(same) {
            let (key, by) = (field.name.clone(), winner.name.clone());
            found.push((field.key.line, Kind::KeyShadowed { key, by }));
        }
    }
}
