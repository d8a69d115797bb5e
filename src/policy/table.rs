//! A TOML table as it is read: each getter takes one key, says its type, and reports what does not fit.
//!
//! The table is walked by hand and not through serde, because serde stops at the first fault and a policy shows all
//! of its faults at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::Offset;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset as TomlOffset};

use super::error::{Diagnostics, PolicyError};
use super::model::{Expiry, Located};
use crate::diagnostic::Span;
use crate::state::object_meta::Labels;

/// One table, with the path by which people know it.
#[derive(Clone)]
pub(crate) struct PolicyTable<'a> {
    /// `principals.viewer`, or `roles.deployer.rules[0]`.
    pub(crate) path: String,
    pub(crate) span: Span,
    file: usize,
    base_offset: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> PolicyTable<'a> {
    /// `base`: where in the file the text of this table begins.
    pub(crate) fn root(file: usize, base: usize, entries: &'a Spanned<DeTable<'a>>) -> Self {
        let span = Span::new(file, &(base..base));
        Self { path: String::new(), span, file, base_offset: base, entries: entries.get_ref() }
    }

    fn span_of<T>(&self, spanned: &Spanned<T>) -> Span {
        let range = spanned.span();
        Span::new(self.file, &(self.base_offset + range.start..self.base_offset + range.end))
    }

    /// `principals.viewer.role`, for messages.
    pub(crate) fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<(&'a Spanned<DeValue<'a>>, Span)> {
        let value = self.entries.get(key)?;
        Some((value, self.span_of(value)))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.entries.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    pub(crate) fn is_string(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// The place of a key, for faults about the key itself.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.entries.get_key_value(key).map_or(self.span, |(k, _)| self.span_of(k))
    }

    /// Reports every key that is none of these.
    pub(crate) fn report_unknown_keys(&self, known: &[&'static str], faults: &mut Diagnostics) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let fault =
                    PolicyError::UnknownKey { table: self.path.clone(), key: name.to_owned(), known: known.to_vec() };
                faults.push(fault, self.span_of(key));
            }
        }
    }

    fn report_wrong_type(
        &self,
        key: &str,
        wanted: &'static str,
        value: &DeValue<'_>,
        span: Span,
        faults: &mut Diagnostics,
    ) {
        let fault =
            PolicyError::WrongType { key: self.child_path(key), expected: wanted, found: toml_type_name(value) };
        faults.push(fault, span);
    }

    pub(crate) fn string(&self, key: &str, faults: &mut Diagnostics) -> Option<Located<String>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located::new(text.to_string(), span)),
            other => {
                self.report_wrong_type(key, "a string", other, span, faults);
                None
            }
        }
    }

    pub(crate) fn boolean(&self, key: &str, faults: &mut Diagnostics) -> Option<bool> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(yes) => Some(*yes),
            other => {
                self.report_wrong_type(key, "true or false", other, span, faults);
                None
            }
        }
    }

    /// The strings of an array; nothing where the key is absent.
    pub(crate) fn strings(&self, key: &str, faults: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.report_wrong_type(key, "a list of strings", value.get_ref(), span, faults);
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => out.push(Located::new(text.to_string(), self.span_of(item))),
                other => self.report_wrong_type(key, "a list of strings", other, self.span_of(item), faults),
            }
        }
        self.report_duplicates(key, &out, faults);
        Some(out)
    }

    /// Says which words of a list stand there twice: nothing comes of it, and another was meant.
    pub(crate) fn report_duplicates(&self, key: &str, words: &[Located<String>], faults: &mut Diagnostics) {
        // Most lists are short, and a policy has tens of thousands of them: no map is made for those.
        let is_repeated =
            |(at, word): (usize, &Located<String>)| words.iter().take(at).any(|other| other.value == word.value);
        if words.len() <= 16 && !words.iter().enumerate().any(is_repeated) {
            return;
        }
        let mut seen = BTreeMap::new();
        for word in words {
            if let Some(first) = seen.get(word.value.as_str()) {
                let fault = PolicyError::DuplicateItem { word: word.value.clone(), list: self.child_path(key) };
                faults.push_labeled(fault, word.span, "again here", &[(*first, "first here")]);
                continue;
            }
            seen.insert(word.value.as_str(), word.span);
        }
    }

    /// A string, or a number that stands for itself.
    pub(crate) fn string_or_integer(
        &self,
        key: &str,
        wanted: &'static str,
        faults: &mut Diagnostics,
    ) -> Option<Located<String>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located::new(text.to_string(), span)),
            DeValue::Integer(number) if number.radix() == 10 => Some(Located::new(number.as_str().to_owned(), span)),
            other => {
                self.report_wrong_type(key, wanted, other, span, faults);
                None
            }
        }
    }

    /// An array whose items are strings or tables, each given to `each`.
    pub(crate) fn strings_or_tables<T>(
        &self,
        key: &str,
        wanted: &'static str,
        faults: &mut Diagnostics,
        mut each: impl FnMut(StringOrTable<'a>, &mut Diagnostics) -> Option<T>,
    ) -> Option<Vec<Located<T>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.report_wrong_type(key, wanted, value.get_ref(), span, faults);
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let span = self.span_of(item);
            let found = match item.get_ref() {
                DeValue::String(text) => each(StringOrTable::String(Located::new(text.to_string(), span)), faults),
                DeValue::Table(entries) => {
                    let path = self.child_path(&format!("{key}[{at}]"));
                    each(
                        StringOrTable::Table(PolicyTable {
                            path,
                            span,
                            file: self.file,
                            base_offset: self.base_offset,
                            entries,
                        }),
                        faults,
                    )
                }
                other => {
                    self.report_wrong_type(key, wanted, other, span, faults);
                    None
                }
            };
            out.extend(found.map(|value| Located::new(value, span)));
        }
        Some(out)
    }

    /// The tables of an array, as `rules` has them.
    pub(crate) fn tables(&self, key: &str, faults: &mut Diagnostics) -> Option<Vec<PolicyTable<'a>>> {
        let wanted = "a list of tables";
        let items = self.strings_or_tables(key, wanted, faults, |item, faults| match item {
            StringOrTable::Table(table) => Some(table),
            StringOrTable::String(text) => {
                let fault = PolicyError::WrongType { key: key.to_owned(), expected: wanted, found: "a string" };
                faults.push(fault, text.span);
                None
            }
        })?;
        Some(items.into_iter().map(|item| item.value).collect())
    }

    pub(crate) fn table(&self, key: &str, faults: &mut Diagnostics) -> Option<PolicyTable<'a>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(PolicyTable {
                path: self.child_path(key),
                span: self.key_span(key),
                file: self.file,
                base_offset: self.base_offset,
                entries,
            }),
            other => {
                self.report_wrong_type(key, "a table", other, span, faults);
                None
            }
        }
    }

    /// The named tables below a key, as `[principals.NAME]` has them.
    pub(crate) fn named_tables(&self, key: &str, faults: &mut Diagnostics) -> Vec<(Located<String>, PolicyTable<'a>)> {
        let Some(table) = self.table(key, faults) else {
            return Vec::new();
        };
        let mut out = Vec::with_capacity(table.entries.len());
        for (name, value) in table.entries {
            let span = self.span_of(name);
            match value.get_ref() {
                DeValue::Table(entries) => {
                    let name = name.get_ref().to_string();
                    let path = format!("{key}.{}", quote_key(&name));
                    out.push((
                        Located::new(name, span),
                        PolicyTable { path, span, file: self.file, base_offset: self.base_offset, entries },
                    ));
                }
                other => table.report_wrong_type(name.get_ref(), "a table", other, self.span_of(value), faults),
            }
        }
        out
    }

    /// A table of strings, as labels are.
    pub(crate) fn labels(
        &self,
        key: &str,
        faults: &mut Diagnostics,
    ) -> Option<Vec<(Located<String>, Located<String>)>> {
        let table = self.table(key, faults)?;
        let mut out = Vec::with_capacity(table.entries.len());
        for (name, value) in table.entries {
            match value.get_ref() {
                DeValue::String(text) => out.push((
                    Located::new(name.get_ref().to_string(), self.span_of(name)),
                    Located::new(text.to_string(), self.span_of(value)),
                )),
                other => table.report_wrong_type(name.get_ref(), "a string", other, self.span_of(value), faults),
            }
        }
        Some(out)
    }

    /// A date, or a date and time; a local one is UTC.
    pub(crate) fn expiry(&self, key: &str, faults: &mut Diagnostics) -> Option<Located<Expiry>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::Datetime(written) if written.date.is_some() => {
                let text = written.to_string();
                let Some(at) = to_timestamp(written) else {
                    faults.push(PolicyError::InvalidTimestamp { text }, span);
                    return None;
                };
                Some(Located::new(Expiry { text, at }, span))
            }
            other => {
                self.report_wrong_type(key, "a date without quotes, such as 2026-12-31", other, span, faults);
                None
            }
        }
    }
}

/// The moment that is meant: a date begins at 00:00, and what has no offset is UTC. A leap second is none.
fn to_timestamp(written: &Datetime) -> Option<Timestamp> {
    let date = written.date?;
    let small = |number: u8| i8::try_from(number).ok();
    let date = civil::Date::new(i16::try_from(date.year).ok()?, small(date.month)?, small(date.day)?).ok()?;
    let time = match written.time {
        Some(time) => {
            let nanosecond = i32::try_from(time.nanosecond.unwrap_or_default()).ok()?;
            let second = small(time.second.unwrap_or_default())?;
            civil::Time::new(small(time.hour)?, small(time.minute)?, second, nanosecond).ok()?
        }
        None => civil::Time::midnight(),
    };
    let offset = match written.offset {
        Some(TomlOffset::Custom { minutes }) => Offset::from_seconds(i32::from(minutes) * 60).ok()?,
        Some(TomlOffset::Z) | None => Offset::UTC,
    };
    offset.to_timestamp(date.to_datetime(time)).ok()
}

/// An item of an array that may hold strings and tables.
pub(crate) enum StringOrTable<'a> {
    String(Located<String>),
    Table(PolicyTable<'a>),
}

/// A key as it stands in a TOML header.
pub(crate) fn quote_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn toml_type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(at) if at.date.is_none() => "a time of day",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Labels without their places.
pub(crate) fn without_spans(labels: &[(Located<String>, Located<String>)]) -> Labels {
    labels.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect()
}
