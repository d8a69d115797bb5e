//! A TOML table while it is parsed. Each getter takes a key, expects a type, and reports a value of another type.
//!
//! The tables are not deserialized with serde, because serde stops at the first error, and a policy reports all of its
//! errors at once.

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

const BOOLEAN: &str = "a boolean";
const DATE: &str = "a date";
const STRING: &str = "a string";
const STRING_LIST: &str = "a list of strings";
const TABLE: &str = "a table";
const TABLE_LIST: &str = "a list of tables";

/// A table with its path, for messages.
#[derive(Clone)]
pub(crate) struct PolicyTable<'a> {
    /// For example `principals.viewer`, or `roles.deployer.rules[0]`.
    pub(crate) path: String,
    pub(crate) span: Span,
    file: usize,
    base_offset: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> PolicyTable<'a> {
    /// Returns the root table of a text that starts at the offset `base_offset` of the file.
    pub(crate) fn root(file: usize, base_offset: usize, entries: &'a Spanned<DeTable<'a>>) -> Self {
        let span = Span::new(file, &(base_offset..base_offset));
        Self { path: String::new(), span, file, base_offset, entries: entries.get_ref() }
    }

    fn span_of<T>(&self, spanned: &Spanned<T>) -> Span {
        let range = spanned.span();
        Span::new(self.file, &(self.base_offset + range.start..self.base_offset + range.end))
    }

    /// Returns the path of a key for messages, such as `principals.viewer.role`.
    pub(crate) fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<(&'a Spanned<DeValue<'a>>, Span)> {
        let value = self.entries.get(key)?;
        Some((value, self.span_of(value)))
    }

    /// Calls `visit` with every key and string of the table and of the tables in it. Descriptions are prose and are left out.
    pub(crate) fn for_each_text(&self, visit: &mut dyn FnMut(&str, Span)) {
        for (key, value) in self.entries {
            visit(key.get_ref(), self.span_of(key));
            if key.get_ref() != "description" {
                self.visit_value(value, visit);
            }
        }
    }

    fn visit_value(&self, value: &'a Spanned<DeValue<'a>>, visit: &mut dyn FnMut(&str, Span)) {
        match value.get_ref() {
            DeValue::String(text) => visit(text, self.span_of(value)),
            DeValue::Array(items) => {
                for item in items {
                    self.visit_value(item, visit);
                }
            }
            DeValue::Table(entries) => Self { entries, ..self.clone() }.for_each_text(visit),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
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

    /// Returns the span of a key, for errors about the key itself.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.entries.get_key_value(key).map_or(self.span, |(k, _)| self.span_of(k))
    }

    /// Reports every key that is not in `known`.
    pub(crate) fn report_unknown_keys(&self, known: &[&'static str], diagnostics: &mut Diagnostics) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let error =
                    PolicyError::UnknownKey { table: self.path.clone(), key: name.to_owned(), known: known.to_vec() };
                diagnostics.push(error, self.span_of(key));
            }
        }
    }

    fn report_wrong_type(
        &self,
        key: &str,
        expected: &'static str,
        value: &DeValue<'_>,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let error = PolicyError::WrongType {
            key: self.child_path(key),
            expected,
            found: toml_type_name(value),
            help: suggest_value(key, expected, value),
        };
        diagnostics.push(error, span);
    }

    pub(crate) fn string(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Located<String>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located::new(text.to_string(), span)),
            other => {
                self.report_wrong_type(key, STRING, other, span, diagnostics);
                None
            }
        }
    }

    pub(crate) fn boolean(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => {
                self.report_wrong_type(key, BOOLEAN, other, span, diagnostics);
                None
            }
        }
    }

    /// Returns the strings of an array; `None` if the key is absent or not an array.
    pub(crate) fn strings(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.report_wrong_type(key, STRING_LIST, value.get_ref(), span, diagnostics);
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => out.push(Located::new(text.to_string(), self.span_of(item))),
                other => self.report_wrong_type(key, STRING_LIST, other, self.span_of(item), diagnostics),
            }
        }
        self.report_duplicates(key, &out, diagnostics);
        Some(out)
    }

    /// Warns of duplicate strings in a list. They have no effect, and often another string was intended.
    pub(crate) fn report_duplicates(&self, key: &str, strings: &[Located<String>], diagnostics: &mut Diagnostics) {
        // A large policy has tens of thousands of lists, most of them short. Those are compared without a map.
        let is_repeated = |(index, string): (usize, &Located<String>)| {
            strings.iter().take(index).any(|other| other.value == string.value)
        };
        if strings.len() <= 16 && !strings.iter().enumerate().any(is_repeated) {
            return;
        }
        let mut seen = BTreeMap::new();
        for string in strings {
            if let Some(first) = seen.get(string.value.as_str()) {
                let error = PolicyError::DuplicateItem { value: string.value.clone(), list: self.child_path(key) };
                diagnostics.push_labeled(error, string.span, "again here", &[(*first, "first here")]);
                continue;
            }
            seen.insert(string.value.as_str(), string.span);
        }
    }

    /// Returns a string, or a decimal integer as a string.
    pub(crate) fn string_or_integer(
        &self,
        key: &str,
        expected: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Located<String>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located::new(text.to_string(), span)),
            DeValue::Integer(number) if number.radix() == 10 => Some(Located::new(number.as_str().to_owned(), span)),
            other => {
                self.report_wrong_type(key, expected, other, span, diagnostics);
                None
            }
        }
    }

    /// Parses an array of strings and tables with `parse_item`.
    pub(crate) fn strings_or_tables<T>(
        &self,
        key: &str,
        expected: &'static str,
        diagnostics: &mut Diagnostics,
        mut parse_item: impl FnMut(StringOrTable<'a>, &mut Diagnostics) -> Option<T>,
    ) -> Option<Vec<Located<T>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.report_wrong_type(key, expected, value.get_ref(), span, diagnostics);
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let span = self.span_of(item);
            let parsed = match item.get_ref() {
                DeValue::String(text) => {
                    parse_item(StringOrTable::String(Located::new(text.to_string(), span)), diagnostics)
                }
                DeValue::Table(entries) => {
                    let path = self.child_path(&format!("{key}[{index}]"));
                    parse_item(
                        StringOrTable::Table(PolicyTable {
                            path,
                            span,
                            file: self.file,
                            base_offset: self.base_offset,
                            entries,
                        }),
                        diagnostics,
                    )
                }
                other => {
                    self.report_wrong_type(key, expected, other, span, diagnostics);
                    None
                }
            };
            out.extend(parsed.map(|value| Located::new(value, span)));
        }
        Some(out)
    }

    /// Returns the tables of an array, such as `rules`.
    pub(crate) fn tables(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<PolicyTable<'a>>> {
        let items = self.strings_or_tables(key, TABLE_LIST, diagnostics, |item, diagnostics| match item {
            StringOrTable::Table(table) => Some(table),
            StringOrTable::String(text) => {
                let key = self.child_path(key);
                let error = PolicyError::WrongType { key, expected: TABLE_LIST, found: STRING, help: None };
                diagnostics.push(error, text.span);
                None
            }
        })?;
        Some(items.into_iter().map(|item| item.value).collect())
    }

    pub(crate) fn table(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<PolicyTable<'a>> {
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
                self.report_wrong_type(key, TABLE, other, span, diagnostics);
                None
            }
        }
    }

    /// Returns the named tables of a section, such as `[principals.NAME]`.
    pub(crate) fn named_tables(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(Located<String>, PolicyTable<'a>)> {
        let Some(table) = self.table(key, diagnostics) else {
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
                other => table.report_wrong_type(name.get_ref(), TABLE, other, self.span_of(value), diagnostics),
            }
        }
        out
    }

    /// Returns the keys and values of a table of strings.
    pub(crate) fn labels(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<(Located<String>, Located<String>)>> {
        let table = self.table(key, diagnostics)?;
        let mut out = Vec::with_capacity(table.entries.len());
        for (name, value) in table.entries {
            match value.get_ref() {
                DeValue::String(text) => out.push((
                    Located::new(name.get_ref().to_string(), self.span_of(name)),
                    Located::new(text.to_string(), self.span_of(value)),
                )),
                other => table.report_wrong_type(name.get_ref(), STRING, other, self.span_of(value), diagnostics),
            }
        }
        Some(out)
    }

    /// Returns a date, or a date and time. A time without an offset is UTC.
    pub(crate) fn expiry(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Located<Expiry>> {
        let (value, span) = self.get(key)?;
        match value.get_ref() {
            DeValue::Datetime(datetime) if datetime.date.is_some() => {
                let text = datetime.to_string();
                let Some(at) = to_timestamp(datetime) else {
                    diagnostics.push(PolicyError::InvalidTimestamp { text }, span);
                    return None;
                };
                Some(Located::new(Expiry { text, at }, span))
            }
            other => {
                self.report_wrong_type(key, DATE, other, span, diagnostics);
                None
            }
        }
    }
}

/// Converts a date with or without a time to a timestamp. The default time is 00:00, the default offset is UTC. Returns
/// `None` for a leap second, which a timestamp cannot represent.
fn to_timestamp(datetime: &Datetime) -> Option<Timestamp> {
    let date = datetime.date?;
    let to_i8 = |number: u8| i8::try_from(number).ok();
    let date = civil::Date::new(i16::try_from(date.year).ok()?, to_i8(date.month)?, to_i8(date.day)?).ok()?;
    let time = match datetime.time {
        Some(time) => {
            let nanosecond = i32::try_from(time.nanosecond.unwrap_or_default()).ok()?;
            let second = to_i8(time.second.unwrap_or_default())?;
            civil::Time::new(to_i8(time.hour)?, to_i8(time.minute)?, second, nanosecond).ok()?
        }
        None => civil::Time::midnight(),
    };
    let offset = match datetime.offset {
        Some(TomlOffset::Custom { minutes }) => Offset::from_seconds(i32::from(minutes) * 60).ok()?,
        Some(TomlOffset::Z) | None => Offset::UTC,
    };
    offset.to_timestamp(date.to_datetime(time)).ok()
}

/// An item of an array of strings and tables.
pub(crate) enum StringOrTable<'a> {
    String(Located<String>),
    Table(PolicyTable<'a>),
}

/// Quotes a key for a TOML header if necessary.
pub(crate) fn quote_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn toml_type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => STRING,
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => BOOLEAN,
        DeValue::Datetime(datetime) if datetime.date.is_none() => "a time without a date",
        DeValue::Datetime(_) => DATE,
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => TABLE,
    }
}

/// Suggests what to write instead of a value of the wrong type, if the value shows what was intended.
fn suggest_value(key: &str, expected: &'static str, value: &DeValue<'_>) -> Option<String> {
    let key = quote_key(key);
    let suggestion = match (expected, value) {
        (STRING, DeValue::Integer(number)) => format!("write {key} = \"{}\"", number.as_str()),
        (STRING_LIST, DeValue::String(text)) => format!("write {key} = [{text:?}]"),
        (TABLE_LIST, DeValue::Table(_)) => format!("write {key} = [{{ … }}]"),
        (BOOLEAN, DeValue::String(_)) => format!("write {key} = true or {key} = false, without quotes"),
        (DATE, DeValue::String(text)) if text.parse::<Datetime>().is_ok() => format!("write {key} = {text}"),
        (DATE, _) => format!("write a date without quotes, such as {key} = 2026-12-31"),
        _ => return None,
    };
    Some(suggestion)
}

/// Returns the labels without their spans.
pub(crate) fn without_spans(labels: &[(Located<String>, Located<String>)]) -> Labels {
    labels.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect()
}
