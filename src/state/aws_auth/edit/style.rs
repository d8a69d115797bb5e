//! How the entries of a text are laid out, and new ones written to look like them.

use crate::yaml::{
    ScalarStyle, SequenceItem, YamlMapping, YamlNode, YamlSequence, YamlValue, double_quoted, is_plain_safe, quoted,
};

use super::super::entry::{EntryPrincipal, NewEntry, Section};
use super::super::go_json::fold_key;
use super::splice::{TextLines, spaces};

/// Layout of the block entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockStyle {
    /// Column of the dashes.
    pub(super) dash_column: usize,
    /// Blanks between dash and key.
    pub(super) dash_gap: usize,
    /// Columns from a key to the dashes of the groups below it.
    pub(super) groups_indent: usize,
    /// Blanks between those dashes and the groups.
    pub(super) groups_gap: usize,
}

impl Default for BlockStyle {
    fn default() -> Self {
        Self { dash_column: 0, dash_gap: 1, groups_indent: 2, groups_gap: 1 }
    }
}

impl BlockStyle {
    /// Follows the last entries that show each trait.
    pub(super) fn from_sequence(sequence: &YamlSequence, lines: TextLines<'_>) -> Self {
        let mut style = Self::default();
        let last = sequence.items.last().and_then(|item| item.dash);
        if let Some(dash) = last {
            style.dash_column = lines.indent_at(dash).unwrap_or(0);
        }
        let gap_of = |item: &SequenceItem| gap_after_dash(lines, item);
        if let Some(gap) = sequence.items.iter().rev().find_map(gap_of) {
            style.dash_gap = gap;
        }
        let block_groups = |item: &SequenceItem| {
            let mapping = as_mapping(&item.node).filter(|mapping| !mapping.flow)?;
            mapping.pairs.iter().find_map(|pair| match &pair.value.value {
                YamlValue::Sequence(groups) if !groups.flow && is_key(&pair.key, "groups") => {
                    let first = groups.items.first()?;
                    let column = lines.indent_at(first.dash?)?;
                    Some((column.checked_sub(pair.key.column)?, gap_of(first)))
                }
                _ => None,
            })
        };
        if let Some((indent, gap)) = sequence.items.iter().rev().find_map(block_groups) {
            style.groups_indent = indent;
            style.groups_gap = gap.unwrap_or(1);
        }
        style
    }

    pub(super) fn format_group_line(&self, key_column: usize, group: &str) -> String {
        let indent = spaces(key_column + self.groups_indent);
        format!("{indent}-{}{}", spaces(self.groups_gap), quoted(group))
    }

    /// The lines of a new entry in block style.
    pub(super) fn format_entry(&self, section: Section, new: &NewEntry) -> Vec<String> {
        let lead = format!("{}-{}", spaces(self.dash_column), spaces(self.dash_gap));
        let indent = spaces(lead.len());
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
            lines.extend(groups.map(|group| self.format_group_line(lead.len(), group)));
        }
        lines
    }
}

/// Layout of entries in flow style or JSON.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowStyle {
    /// Keys stand in quotes.
    pub(super) quoted_keys: bool,
    /// Values stand in quotes, whether they need them or not.
    pub(super) quoted_values: bool,
    /// No blanks behind colons and commas.
    pub(super) compact: bool,
    /// Columns of one level where an entry takes several lines, and the column of its bracket.
    pub(super) multiline_indent: Option<(usize, usize)>,
}

impl FlowStyle {
    /// Follows the entry that stands before.
    pub(super) fn from_node(node: &YamlNode, lines: TextLines<'_>) -> Self {
        let Some(mapping) = as_mapping(node) else {
            return Self::default();
        };
        let first = mapping.pairs.first();
        let json = first.is_some_and(|pair| is_double_quoted(&pair.key));
        let levels = first.and_then(|pair| {
            let key = lines.indent_at(pair.key.span.start)?;
            let start = lines.line_start(node.span.start);
            let line = lines.slice(start..lines.text.len());
            let bracket = line.len() - line.trim_start_matches(' ').len();
            Some((key.checked_sub(bracket)?, bracket)).filter(|(unit, _)| *unit > 0)
        });
        let quotes = json || first.is_some_and(|pair| is_double_quoted(&pair.value));
        let compact = first.is_some_and(|pair| pair.colon.is_some_and(|colon| colon + 1 == pair.value.span.start));
        Self { quoted_keys: json, quoted_values: quotes, compact, multiline_indent: levels }
    }

    pub(super) fn format_pair(&self, key: &str, value: &str) -> String {
        let key = if self.quoted_keys { double_quoted(key) } else { key.to_owned() };
        format!("{key}:{}{value}", self.separator_gap())
    }

    /// What stands behind a colon or a comma.
    pub(super) fn separator_gap(&self) -> &'static str {
        if self.compact { "" } else { " " }
    }

    fn join(&self, parts: &[String]) -> String {
        parts.join(&format!(",{}", self.separator_gap()))
    }

    pub(super) fn format_text(&self, text: &str) -> String {
        if !self.quoted_values && is_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
    }

    /// A new entry in braces; its first line has no indentation.
    pub(super) fn format_entry(&self, section: Section, new: &NewEntry, lines: TextLines<'_>) -> String {
        let principal = principal_text(&new.principal);
        if section == Section::Accounts {
            return double_quoted(principal);
        }
        let principal = self.format_text(principal);
        let mut pairs = vec![
            self.format_pair(section.principal_key(), &principal),
            self.format_pair("username", &self.format_text(&new.username)),
        ];
        if !new.groups.is_empty() {
            pairs.push(self.format_pair("groups", &self.format_list(&new.groups, lines)));
        }
        match self.multiline_indent {
            None => format!("{{{}}}", self.join(&pairs)),
            Some((unit, column)) => format_multiline("{", &pairs, "}", column, column + unit, lines.line_break),
        }
    }

    /// A list of groups below a key of the entry.
    pub(super) fn format_list(&self, groups: &[String], lines: TextLines<'_>) -> String {
        let groups: Vec<String> = groups.iter().map(|group| self.format_text(group)).collect();
        match self.multiline_indent {
            Some((unit, column)) if !groups.is_empty() => {
                let outer = column + unit;
                format_multiline("[", &groups, "]", outer, outer + unit, lines.line_break)
            }
            _ => format!("[{}]", self.join(&groups)),
        }
    }
}

fn format_multiline(open: &str, parts: &[String], close: &str, outer: usize, inner: usize, line_break: &str) -> String {
    let inner = spaces(inner);
    let parts: Vec<String> = parts.iter().map(|part| format!("{line_break}{inner}{part}")).collect();
    format!("{open}{}{line_break}{}{close}", parts.join(","), spaces(outer))
}

pub(super) fn principal_text(principal: &EntryPrincipal) -> &str {
    match principal {
        EntryPrincipal::Role(text) | EntryPrincipal::User(text) | EntryPrincipal::Account(text) => text,
        EntryPrincipal::Sso(sso) => &sso.permission_set_name,
    }
}

/// The blanks between a dash and what stands behind it on its line.
pub(super) fn gap_after_dash(lines: TextLines<'_>, item: &SequenceItem) -> Option<usize> {
    let gap = lines.slice(item.dash? + 1..item.node.span.start);
    let fits = !gap.is_empty() && gap.bytes().all(|byte| byte == b' ');
    fits.then_some(gap.len())
}

pub(super) fn as_mapping(node: &YamlNode) -> Option<&YamlMapping> {
    match &node.value {
        YamlValue::Mapping(mapping) => Some(mapping),
        YamlValue::Scalar(_) | YamlValue::Sequence(_) | YamlValue::Alias(_) => None,
    }
}

fn is_key(node: &YamlNode, key: &str) -> bool {
    matches!(&node.value, YamlValue::Scalar(scalar) if fold_key(&scalar.text) == key)
}

pub(super) fn is_double_quoted(node: &YamlNode) -> bool {
    matches!(&node.value, YamlValue::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted)
}
