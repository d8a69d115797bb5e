//! The layout of the existing entries, and the formatting of new entries in the same layout.

use crate::yaml::{
    ScalarStyle, SequenceItem, YamlMapping, YamlNode, YamlSequence, YamlValue, double_quoted, is_plain_safe, quoted,
};

use super::super::entry::{EntryPrincipal, NewEntry, Section};
use super::super::go_json::fold_key;
use super::splice::{TextLines, indentation};

/// Layout of the block entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockStyle {
    /// Column of the dashes.
    pub(super) dash_column: usize,
    /// Spaces between the dash and the first key.
    pub(super) dash_gap: usize,
    /// Columns from the key `groups` to the dashes of the groups below it.
    pub(super) groups_indent: usize,
    /// Spaces between those dashes and the groups.
    pub(super) groups_gap: usize,
}

impl Default for BlockStyle {
    fn default() -> Self {
        Self { dash_column: 0, dash_gap: 1, groups_indent: 2, groups_gap: 1 }
    }
}

impl BlockStyle {
    /// Returns the layout of a list. Each property is taken from the last entry that has it.
    pub(super) fn from_sequence(sequence: &YamlSequence, lines: TextLines<'_>) -> Self {
        let mut style = Self::default();
        if let Some(last_dash) = sequence.items.last().and_then(|item| item.dash) {
            style.dash_column = lines.indent_at(last_dash).unwrap_or(0);
        }
        if let Some(gap) = sequence.items.iter().rev().find_map(|item| gap_after_dash(lines, item)) {
            style.dash_gap = gap;
        }
        let block_groups_layout = |item: &SequenceItem| {
            let mapping = as_mapping(&item.node).filter(|mapping| !mapping.flow)?;
            mapping.pairs.iter().find_map(|pair| match &pair.value.value {
                YamlValue::Sequence(groups) if !groups.flow && is_key(&pair.key, "groups") => {
                    let first = groups.items.first()?;
                    let column = lines.indent_at(first.dash?)?;
                    Some((column.checked_sub(pair.key.column)?, gap_after_dash(lines, first)))
                }
                _ => None,
            })
        };
        if let Some((indent, gap)) = sequence.items.iter().rev().find_map(block_groups_layout) {
            style.groups_indent = indent;
            style.groups_gap = gap.unwrap_or(1);
        }
        style
    }

    pub(super) fn format_group_line(&self, key_column: usize, group: &str) -> String {
        let indent = indentation(key_column + self.groups_indent);
        format!("{indent}-{}{}", indentation(self.groups_gap), quoted(group))
    }

    /// Returns the lines of a new entry in block style.
    pub(super) fn format_entry(&self, section: Section, new: &NewEntry) -> Vec<String> {
        let lead = format!("{}-{}", indentation(self.dash_column), indentation(self.dash_gap));
        let indent = indentation(lead.len());
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
    /// Keys are in double quotes.
    pub(super) quoted_keys: bool,
    /// Values are in double quotes even if they do not need them.
    pub(super) quoted_values: bool,
    /// No spaces after colons and commas.
    pub(super) compact: bool,
    /// For entries over several lines: the columns of one level, and the indentation of the line with the bracket.
    pub(super) multiline_indent: Option<(usize, usize)>,
}

impl FlowStyle {
    /// Returns the layout of an existing entry.
    pub(super) fn from_node(node: &YamlNode, lines: TextLines<'_>) -> Self {
        let Some(mapping) = as_mapping(node) else {
            return Self::default();
        };
        let first = mapping.pairs.first();
        let quoted_keys = first.is_some_and(|pair| is_double_quoted(&pair.key));
        let multiline_indent = first.and_then(|pair| {
            let key_column = lines.indent_at(pair.key.span.start)?;
            let start = lines.line_start(node.span.start);
            let line = lines.slice(start..lines.text.len());
            let bracket_indent = line.len() - line.trim_start_matches(' ').len();
            Some((key_column.checked_sub(bracket_indent)?, bracket_indent)).filter(|(unit, _)| *unit > 0)
        });
        let quoted_values = quoted_keys || first.is_some_and(|pair| is_double_quoted(&pair.value));
        let compact = first.is_some_and(|pair| pair.colon.is_some_and(|colon| colon + 1 == pair.value.span.start));
        Self { quoted_keys, quoted_values, compact, multiline_indent }
    }

    pub(super) fn format_pair(&self, key: &str, value: &str) -> String {
        let key = if self.quoted_keys { double_quoted(key) } else { key.to_owned() };
        format!("{key}:{}{value}", self.separator_gap())
    }

    /// Returns the space after a colon or a comma.
    pub(super) fn separator_gap(&self) -> &'static str {
        if self.compact { "" } else { " " }
    }

    fn join(&self, parts: &[String]) -> String {
        parts.join(&format!(",{}", self.separator_gap()))
    }

    pub(super) fn format_text(&self, text: &str) -> String {
        if !self.quoted_values && is_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
    }

    /// Returns a new entry in braces. Its first line is not indented.
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
            Some((unit, outer)) => format_flow_lines("{", &pairs, "}", outer, outer + unit, lines.line_break),
        }
    }

    /// Returns the list of groups of an entry.
    pub(super) fn format_list(&self, groups: &[String], lines: TextLines<'_>) -> String {
        let groups: Vec<String> = groups.iter().map(|group| self.format_text(group)).collect();
        match self.multiline_indent {
            Some((unit, entry_indent)) if !groups.is_empty() => {
                let outer = entry_indent + unit;
                format_flow_lines("[", &groups, "]", outer, outer + unit, lines.line_break)
            }
            _ => format!("[{}]", self.join(&groups)),
        }
    }
}

fn format_flow_lines(
    open: &str,
    parts: &[String],
    close: &str,
    outer: usize,
    inner: usize,
    line_break: &str,
) -> String {
    let inner = indentation(inner);
    let parts: Vec<String> = parts.iter().map(|part| format!("{line_break}{inner}{part}")).collect();
    format!("{open}{}{line_break}{}{close}", parts.join(","), indentation(outer))
}

pub(super) fn principal_text(principal: &EntryPrincipal) -> &str {
    match principal {
        EntryPrincipal::Role(text) | EntryPrincipal::User(text) | EntryPrincipal::Account(text) => text,
        EntryPrincipal::Sso(sso) => &sso.permission_set_name,
    }
}

/// Returns the number of spaces between a dash and its value. `None` if anything else is between them, such as a line
/// break.
pub(super) fn gap_after_dash(lines: TextLines<'_>, item: &SequenceItem) -> Option<usize> {
    let gap = lines.slice(item.dash? + 1..item.node.span.start);
    let only_spaces = !gap.is_empty() && gap.bytes().all(|byte| byte == b' ');
    only_spaces.then_some(gap.len())
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
