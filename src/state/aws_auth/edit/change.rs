//! Changes of existing entries. The value that takes effect is replaced in place. A key is added only if the entry itself
//! has no key that takes effect.

use crate::yaml::{
    Decoded, DecodedField, MappingPair, ScalarStyle, YamlDocument, YamlMapping, YamlNode, YamlScalar, YamlSequence,
    YamlValue, double_quoted, is_plain_safe, quoted,
};

use super::super::entry::{Entry, NewEntry, Section};
use super::super::go_json::fold_key;
use super::super::parse::ParsedList;
use super::anchor_uses::AnchorUses;
use super::flow::{self, FlowElement};
use super::splice::{Splice, TextLines, indentation};
use super::style::{BlockStyle, FlowStyle, as_mapping, is_double_quoted, principal_text};
use super::{EditError, EditPlan, ElementEdit, groups};

/// An entry of the text with everything that is needed to change it.
pub(super) struct EntryEditor<'p> {
    pub(super) lines: TextLines<'p>,
    pub(super) node: &'p YamlNode,
    pub(super) mapping: &'p YamlMapping,
    pub(super) anchor_uses: &'p AnchorUses,
    pub(super) style: BlockStyle,
    pub(super) flow_style: FlowStyle,
}

/// The pair that sets the value of a field.
enum EffectivePair<'p, 'f> {
    Own(&'p MappingPair, &'f DecodedField<'f>),
    /// The field is absent or comes from a merge key (`<<`). A pair that is added to the entry takes effect in both cases.
    Absent,
}

/// The value of a pair that is added to an entry.
enum NewValue {
    Text(String),
    Groups(Vec<String>),
}

pub(super) fn change_entries(
    section: Section,
    lines: TextLines<'_>,
    document: &YamlDocument,
    list: &YamlSequence,
    before: &ParsedList,
    plan: &EditPlan<'_>,
    anchor_uses: &AnchorUses,
) -> Result<Vec<Splice>, EditError> {
    let mut splices = Vec::new();
    let has_changes = plan.element_edits.iter().any(|edit| matches!(edit, ElementEdit::Change(_)));
    if section == Section::Accounts || !has_changes {
        return Ok(splices);
    }
    let to_edit_error = |error: crate::yaml::YamlError| EditError::VerificationFailed { reason: error.to_string() };
    let root = document.decode().map_err(to_edit_error)?;
    let Decoded::Sequence(decoded_items) = &root.content else {
        return Ok(splices);
    };
    let style = BlockStyle::from_sequence(list, lines);
    let elements = list.items.iter().zip(decoded_items).zip(&before.elements).zip(&plan.element_edits);
    for (((item, decoded), element), edit) in elements {
        let (ElementEdit::Change(new), Ok(old)) = (edit, &element.entry) else {
            continue;
        };
        if *new == old {
            continue;
        }
        let line = item.node.line;
        let Some(mapping) = as_mapping(&item.node) else {
            return Err(EditError::EntryIsAlias { line });
        };
        let Decoded::Mapping(fields) = &decoded.content else {
            continue;
        };
        anchor_uses.check_change(&item.node)?;
        let flow_style = FlowStyle::from_node(&item.node, lines);
        let editor = EntryEditor { lines, node: &item.node, mapping, anchor_uses, style, flow_style };
        splices.extend(editor.change_entry(section, fields, old, new)?);
    }
    Ok(splices)
}

impl<'p> EntryEditor<'p> {
    fn change_entry(
        &self,
        section: Section,
        fields: &[DecodedField<'p>],
        old: &Entry,
        new: &NewEntry,
    ) -> Result<Vec<Splice>, EditError> {
        let mut splices = Vec::new();
        let mut new_pairs: Vec<(&str, NewValue)> = Vec::new();
        if old.principal != new.principal {
            match self.effective_pair(fields, section.principal_key()) {
                EffectivePair::Own(pair, _) => {
                    splices.extend(self.set_scalar(pair, principal_text(&new.principal))?);
                }
                EffectivePair::Absent => {
                    return Err(self.layout_error("the principal comes from a merge key (`<<`)"));
                }
            }
        }
        if old.groups != new.groups {
            match self.effective_pair(fields, "groups") {
                EffectivePair::Own(pair, field) => {
                    let is_only_key = fields.iter().filter(|field| fold_key(&field.name) == "groups").count() == 1;
                    let old_groups = groups::group_names(&field.value, is_only_key);
                    splices.extend(groups::set_groups(self, pair, &old_groups, &new.groups)?);
                }
                EffectivePair::Absent => new_pairs.push(("groups", NewValue::Groups(new.groups.clone()))),
            }
        }
        if old.username != new.username {
            match self.effective_pair(fields, "username") {
                EffectivePair::Own(pair, _) => splices.extend(self.set_scalar(pair, &new.username)?),
                EffectivePair::Absent => new_pairs.insert(0, ("username", NewValue::Text(new.username.clone()))),
            }
        }
        splices.extend(self.add_pairs(&new_pairs));
        Ok(splices)
    }

    /// Returns the pair whose value the authenticator uses. If the key occurs in several spellings, the last one in
    /// byte order takes effect.
    fn effective_pair<'f>(&self, fields: &'f [DecodedField<'f>], name: &str) -> EffectivePair<'p, 'f> {
        let winner = fields.iter().rfind(|field| fold_key(&field.name) == name);
        let own = winner.filter(|field| !field.merged).and_then(|field| {
            let mut pairs = self.mapping.pairs.iter();
            let pair = pairs.find(|pair| std::ptr::eq(&raw const pair.key, field.key))?;
            Some((pair, field))
        });
        own.map_or(EffectivePair::Absent, |(pair, field)| EffectivePair::Own(pair, field))
    }

    pub(super) fn layout_error(&self, reason: &'static str) -> EditError {
        let line = self.node.line;
        EditError::UnsupportedLayout { line, reason }
    }

    fn set_scalar(&self, pair: &MappingPair, text: &str) -> Result<Vec<Splice>, EditError> {
        self.anchor_uses.check_removal(&pair.value)?;
        if self.can_contain_comments(&pair.value) {
            return Err(self.layout_error("comments inside the old value would be lost"));
        }
        let mut value_text = self.format_scalar(pair, text);
        if let Some(comment) = self.header_comment(&pair.value) {
            value_text = format!("{value_text} {comment}");
        }
        self.set_value(pair, &value_text)
    }

    /// Returns whether the value is a list or a mapping over several lines that can contain comments.
    pub(super) fn can_contain_comments(&self, value: &YamlNode) -> bool {
        let value_text = self.lines.slice(value.span.clone());
        let is_collection = matches!(value.value, YamlValue::Sequence(_) | YamlValue::Mapping(_));
        is_collection && value_text.contains('#') && self.lines.line_end(value.span.start) < value.span.end
    }

    /// Replaces the value of a pair by a value that can follow the colon on the same line.
    pub(super) fn set_value(&self, pair: &MappingPair, value_text: &str) -> Result<Vec<Splice>, EditError> {
        let span = pair.value.span.clone();
        let Some(colon) = pair.colon else {
            if self.mapping.flow && pair.question_mark.is_none() {
                return Ok(vec![Splice::insert(pair.key.span.end, format!(": {value_text}"))]);
            }
            return Err(self.layout_error("a key without a colon cannot be given a value"));
        };
        let after_colon = format!(" {value_text}");
        if pair.value.is_empty() {
            return Ok(vec![Splice::insert(colon + 1, after_colon)]);
        }
        if !is_block(&pair.value) || self.lines.line_end(colon) > span.start {
            return Ok(vec![Splice::replace(span, value_text)]);
        }
        // A block on the lines below its key can have an indentation that is not valid for a scalar, so the new value
        // moves to the line of the key.
        if self.lines.is_whitespace(colon + 1..span.start) {
            return Ok(vec![Splice::replace(colon + 1..span.end, after_colon)]);
        }
        let block = self.lines.line_start(span.start)..self.lines.next_line_start(span.end);
        Ok(vec![Splice::insert(colon + 1, after_colon), Splice::delete(block)])
    }

    /// Formats a scalar with the quotes of the old value, if they are suitable for the new one.
    fn format_scalar(&self, pair: &MappingPair, text: &str) -> String {
        let old_style = match &pair.value.value {
            YamlValue::Scalar(YamlScalar { style, .. }) if !pair.value.is_empty() => *style,
            _ => ScalarStyle::Plain,
        };
        let is_safe_in_single_quotes = |c: char| c == ' ' || c.is_ascii_graphic();
        match old_style {
            ScalarStyle::SingleQuoted if text.chars().all(is_safe_in_single_quotes) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => double_quoted(text),
            _ if !self.mapping.flow => quoted(text),
            _ if is_plain_safe(text) && !is_double_quoted(&pair.key) => text.to_owned(),
            _ => double_quoted(text),
        }
    }

    /// Returns the comment in the header of a block scalar, such as `username: | # comment`. It is part of the value's
    /// span.
    fn header_comment(&self, value: &YamlNode) -> Option<String> {
        let YamlValue::Scalar(YamlScalar { style, .. }) = &value.value else {
            return None;
        };
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return None;
        }
        let header = self.lines.slice(value.span.start..self.lines.line_end(value.span.start));
        // The span of an empty block scalar ends before the comment, which is then not replaced.
        if self.lines.line_end(value.span.start) >= value.span.end {
            return None;
        }
        let comment = header.split_once(" #")?.1;
        Some(format!("#{comment}"))
    }

    /// Adds pairs after the last pair. There they override the keys of a merge key (`<<`).
    fn add_pairs(&self, pairs: &[(&str, NewValue)]) -> Vec<Splice> {
        if pairs.is_empty() {
            return Vec::new();
        }
        if self.mapping.flow {
            let texts = pairs.iter().map(|(key, value)| {
                let value_text = match value {
                    NewValue::Text(text) => self.flow_style.format_text(text),
                    NewValue::Groups(groups) => self.flow_style.format_list(groups, self.lines),
                };
                self.flow_style.format_pair(key, &value_text)
            });
            let elements: Vec<FlowElement> = self
                .mapping
                .pairs
                .iter()
                .map(|pair| FlowElement { span: pair.span(), comma: pair.comma, keep: true })
                .collect();
            let insertions = [(elements.len(), texts.collect())].into();
            return flow::edit_flow_collection(self.lines, &elements, &insertions, self.flow_style.separator_gap());
        }
        let column = self.node.column;
        let indent = indentation(column);
        let mut new_lines = Vec::new();
        for (key, value) in pairs {
            match value {
                NewValue::Text(text) => new_lines.push(format!("{indent}{key}: {}", quoted(text))),
                NewValue::Groups(groups) if groups.is_empty() => new_lines.push(format!("{indent}{key}: []")),
                NewValue::Groups(groups) => {
                    new_lines.push(format!("{indent}{key}:"));
                    new_lines.extend(groups.iter().map(|group| self.style.format_group_line(column, group)));
                }
            }
        }
        vec![self.lines.insert_lines_after(self.node.span.end, &new_lines)]
    }
}

fn is_block(node: &YamlNode) -> bool {
    match &node.value {
        YamlValue::Sequence(sequence) => !sequence.flow,
        YamlValue::Mapping(mapping) => !mapping.flow,
        YamlValue::Scalar(_) | YamlValue::Alias(_) => false,
    }
}
