//! How the entries of a text are laid out, and new ones written to look like them.

use crate::yaml::{Item, Mapping, Node, ScalarStyle, Sequence, Value, double_quoted, is_plain_safe, quoted};

use super::super::entry::{New, Principal, Section};
use super::super::go_json::fold;
use super::splice::{Lines, blanks};

/// Layout of the block entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Column of the dashes.
    pub(super) dash: usize,
    /// Blanks between dash and key.
    pub(super) gap: usize,
    /// Columns from a key to the dashes of the groups below it.
    pub(super) groups: usize,
    /// Blanks between those dashes and the groups.
    pub(super) groups_gap: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { dash: 0, gap: 1, groups: 2, groups_gap: 1 }
    }
}

impl Style {
    /// Follows the last entries that show each trait.
    pub(super) fn of(sequence: &Sequence, lines: Lines<'_>) -> Self {
        let mut style = Self::default();
        let last = sequence.items.last().and_then(|item| item.dash);
        if let Some(dash) = last {
            style.dash = lines.indent_of(dash).unwrap_or(0);
        }
        let gap_of = |item: &Item| gap_behind_dash(lines, item);
        if let Some(gap) = sequence.items.iter().rev().find_map(gap_of) {
            style.gap = gap;
        }
        let block_groups = |item: &Item| {
            let mapping = mapping_of(&item.node).filter(|mapping| !mapping.flow)?;
            mapping.pairs.iter().find_map(|pair| match &pair.value.value {
                Value::Sequence(groups) if !groups.flow && is_key(&pair.key, "groups") => {
                    let first = groups.items.first()?;
                    let column = lines.indent_of(first.dash?)?;
                    Some((column.checked_sub(pair.key.column)?, gap_of(first)))
                }
                _ => None,
            })
        };
        if let Some((indent, gap)) = sequence.items.iter().rev().find_map(block_groups) {
            style.groups = indent;
            style.groups_gap = gap.unwrap_or(1);
        }
        style
    }

    pub(super) fn group_line(&self, key_column: usize, group: &str) -> String {
        let indent = blanks(key_column + self.groups);
        format!("{indent}-{}{}", blanks(self.groups_gap), quoted(group))
    }

    /// The lines of a new entry in block style.
    pub(super) fn block_entry(&self, section: Section, new: &New) -> Vec<String> {
        let lead = format!("{}-{}", blanks(self.dash), blanks(self.gap));
        let indent = blanks(lead.len());
        let principal = principal_text(&new.principal);
        if section == Section::Accounts {
            return vec![format!("{lead}{}", double_quoted(principal))];
        }
        let key = section.principal_key();
        let mut lines =
            vec![format!("{lead}{key}: {}", quoted(principal)), format!("{indent}username: {}", quoted(&new.username))];
        if !new.groups.is_empty() {
            lines.push(format!("{indent}groups:"));
            let groups = new.groups.iter();
            lines.extend(groups.map(|group| self.group_line(lead.len(), group)));
        }
        lines
    }
}

/// Layout of entries in flow style or JSON.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowStyle {
    /// Keys stand in quotes.
    pub(super) json: bool,
    /// Values stand in quotes, whether they need them or not.
    pub(super) quotes: bool,
    /// No blanks behind colons and commas.
    pub(super) compact: bool,
    /// Columns of one level where an entry takes several lines, and the column of its bracket.
    pub(super) levels: Option<(usize, usize)>,
}

impl FlowStyle {
    /// Follows the entry that stands before.
    pub(super) fn of(node: &Node, lines: Lines<'_>) -> Self {
        let Some(mapping) = mapping_of(node) else {
            return Self::default();
        };
        let first = mapping.pairs.first();
        let json = first.is_some_and(|pair| has_quotes(&pair.key));
        let levels = first.and_then(|pair| {
            let key = lines.indent_of(pair.key.span.start)?;
            let start = lines.start_of(node.span.start);
            let line = lines.get(start..lines.text.len());
            let bracket = line.len() - line.trim_start_matches(' ').len();
            Some((key.checked_sub(bracket)?, bracket)).filter(|(unit, _)| *unit > 0)
        });
        let quotes = json || first.is_some_and(|pair| has_quotes(&pair.value));
        let compact = first.is_some_and(|pair| pair.colon.is_some_and(|colon| colon + 1 == pair.value.span.start));
        Self { json, quotes, compact, levels }
    }

    pub(super) fn pair(&self, key: &str, value: &str) -> String {
        let key = if self.json { double_quoted(key) } else { key.to_owned() };
        format!("{key}:{}{value}", self.gap())
    }

    /// What stands behind a colon or a comma.
    pub(super) fn gap(&self) -> &'static str {
        if self.compact { "" } else { " " }
    }

    fn joined(&self, parts: &[String]) -> String {
        parts.join(&format!(",{}", self.gap()))
    }

    pub(super) fn text(&self, text: &str) -> String {
        if !self.quotes && is_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
    }

    /// A new entry in braces; its first line has no indentation.
    pub(super) fn entry(&self, section: Section, new: &New, lines: Lines<'_>) -> String {
        let principal = principal_text(&new.principal);
        if section == Section::Accounts {
            return double_quoted(principal);
        }
        let principal = self.text(principal);
        let mut pairs =
            vec![self.pair(section.principal_key(), &principal), self.pair("username", &self.text(&new.username))];
        if !new.groups.is_empty() {
            pairs.push(self.pair("groups", &self.list(&new.groups, lines)));
        }
        match self.levels {
            None => format!("{{{}}}", self.joined(&pairs)),
            Some((unit, column)) => wrapped("{", &pairs, "}", column, column + unit, lines.line_break),
        }
    }

    /// A list of groups below a key of the entry.
    pub(super) fn list(&self, groups: &[String], lines: Lines<'_>) -> String {
        let groups: Vec<String> = groups.iter().map(|group| self.text(group)).collect();
        match self.levels {
            Some((unit, column)) if !groups.is_empty() => {
                let outer = column + unit;
                wrapped("[", &groups, "]", outer, outer + unit, lines.line_break)
            }
            _ => format!("[{}]", self.joined(&groups)),
        }
    }
}

fn wrapped(open: &str, parts: &[String], close: &str, outer: usize, inner: usize, line_break: &str) -> String {
    let inner = blanks(inner);
    let parts: Vec<String> = parts.iter().map(|part| format!("{line_break}{inner}{part}")).collect();
    format!("{open}{}{line_break}{}{close}", parts.join(","), blanks(outer))
}

pub(super) fn principal_text(principal: &Principal) -> &str {
    match principal {
        Principal::Role(text) | Principal::User(text) | Principal::Account(text) => text,
        Principal::Sso(sso) => &sso.permission_set_name,
    }
}

/// The blanks between a dash and what stands behind it on its line.
pub(super) fn gap_behind_dash(lines: Lines<'_>, item: &Item) -> Option<usize> {
    let gap = lines.get(item.dash? + 1..item.node.span.start);
    let fits = !gap.is_empty() && gap.bytes().all(|byte| byte == b' ');
    fits.then_some(gap.len())
}

pub(super) fn mapping_of(node: &Node) -> Option<&Mapping> {
    match &node.value {
        Value::Mapping(mapping) => Some(mapping),
        Value::Scalar(_) | Value::Sequence(_) | Value::Alias(_) => None,
    }
}

fn is_key(node: &Node, key: &str) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if fold(&scalar.text) == key)
}

pub(super) fn has_quotes(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted)
}
