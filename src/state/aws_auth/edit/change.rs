//! Other values for an entry that stays: the scalar or the list that decides is replaced where it
//! stands, and a key is written only where none decides.

use crate::yaml::{
    Decoded, DecodedField, MappingPair, ScalarStyle, YamlDocument, YamlMapping, YamlNode, YamlScalar, YamlSequence,
    YamlValue, double_quoted, is_plain_safe, quoted,
};

use super::super::entry::{Entry, NewEntry, Section};
use super::super::go_json::fold_key;
use super::super::parse::ParsedList;
use super::anchor_uses::AnchorUses;
use super::flow::{self, FlowElement};
use super::splice::{Splice, TextLines, spaces};
use super::style::{BlockStyle, FlowStyle, as_mapping, is_double_quoted, principal_text};
use super::{EditError, EditPlan, ElementEdit, groups};

/// An entry in the text, for those who change it.
pub(super) struct EntryEditor<'p> {
    pub(super) lines: TextLines<'p>,
    pub(super) node: &'p YamlNode,
    pub(super) mapping: &'p YamlMapping,
    pub(super) anchor_uses: &'p AnchorUses,
    pub(super) style: BlockStyle,
    pub(super) flow_style: FlowStyle,
}

/// Which pair decides about a field.
enum EffectivePair<'p, 'f> {
    Own(&'p MappingPair, &'f DecodedField<'f>),
    /// None, or one that comes through `<<`: a pair of one's own behind it decides then.
    Absent,
}

pub(super) fn change_entries(
    section: Section,
    lines: TextLines<'_>,
    document: &YamlDocument,
    list: &YamlSequence,
    before: &ParsedList,
    wishes: &EditPlan<'_>,
    uses: &AnchorUses,
) -> Result<Vec<Splice>, EditError> {
    let mut splices = Vec::new();
    if section == Section::Accounts || !wishes.element_edits.iter().any(|f| matches!(f, ElementEdit::Change(_))) {
        return Ok(splices);
    }
    let unreadable = |error: crate::yaml::YamlError| EditError::VerificationFailed { what: error.to_string() };
    let root = document.decode().map_err(unreadable)?;
    let Decoded::Sequence(resolved) = &root.content else {
        return Ok(splices);
    };
    let style = BlockStyle::from_sequence(list, lines);
    let all = list.items.iter().zip(resolved).zip(&before.elements).zip(&wishes.element_edits);
    for (((item, resolved), element), fate) in all {
        let (ElementEdit::Change(to), Ok(from)) = (fate, &element.entry) else {
            continue;
        };
        if *to == from {
            continue;
        }
        let line = item.node.line;
        let Some(mapping) = as_mapping(&item.node) else {
            return Err(EditError::EntryIsAlias { line });
        };
        let Decoded::Mapping(fields) = &resolved.content else {
            continue;
        };
        uses.check_change(&item.node)?;
        let place = EntryEditor {
            lines,
            node: &item.node,
            mapping,
            anchor_uses: uses,
            style,
            flow_style: FlowStyle::from_node(&item.node, lines),
        };
        splices.extend(place.change_entry(section, fields, from, to)?);
    }
    Ok(splices)
}

impl<'p> EntryEditor<'p> {
    fn change_entry(
        &self,
        section: Section,
        fields: &[DecodedField<'p>],
        from: &Entry,
        to: &NewEntry,
    ) -> Result<Vec<Splice>, EditError> {
        let mut splices = Vec::new();
        let mut new_pairs: Vec<(&str, Vec<String>, Option<String>)> = Vec::new();
        if from.principal != to.principal {
            match self.effective_pair(fields, section.principal_key()) {
                EffectivePair::Own(pair, _) => {
                    splices.extend(self.set_scalar(pair, principal_text(&to.principal))?);
                }
                EffectivePair::Absent => return Err(self.layout_error("the principal comes through `<<`")),
            }
        }
        if from.groups != to.groups {
            match self.effective_pair(fields, "groups") {
                EffectivePair::Own(pair, field) => {
                    let alone = fields.iter().filter(|f| fold_key(&f.name) == "groups").count() == 1;
                    let old = groups::group_names(&field.value, alone);
                    splices.extend(groups::set_groups(self, pair, &old, &to.groups)?);
                }
                EffectivePair::Absent => new_pairs.push(("groups", to.groups.clone(), None)),
            }
        }
        if from.username != to.username {
            match self.effective_pair(fields, "username") {
                EffectivePair::Own(pair, _) => splices.extend(self.set_scalar(pair, &to.username)?),
                EffectivePair::Absent => {
                    new_pairs.insert(0, ("username", Vec::new(), Some(to.username.clone())));
                }
            }
        }
        splices.extend(self.new_pairs(&new_pairs));
        Ok(splices)
    }

    /// The pair whose value the authenticator takes: among spellings the last in byte order.
    fn effective_pair<'f>(&self, fields: &'f [DecodedField<'f>], name: &str) -> EffectivePair<'p, 'f> {
        let winner = fields.iter().rfind(|field| fold_key(&field.name) == name);
        let own = winner.filter(|field| !field.merged).and_then(|field| {
            let mut pairs = self.mapping.pairs.iter();
            let pair = pairs.find(|pair| std::ptr::eq(&raw const pair.key, field.key))?;
            Some((pair, field))
        });
        own.map_or(EffectivePair::Absent, |(pair, field)| EffectivePair::Own(pair, field))
    }

    pub(super) fn layout_error(&self, what: &'static str) -> EditError {
        let line = self.node.line;
        EditError::UnsupportedLayout { line, what }
    }

    fn set_scalar(&self, pair: &MappingPair, text: &str) -> Result<Vec<Splice>, EditError> {
        self.anchor_uses.check_removal(&pair.value)?;
        if self.can_contain_comments(&pair.value) {
            return Err(self.layout_error("the comments within the old value would be lost"));
        }
        let mut written = self.format_scalar(pair, text);
        if let Some(comment) = self.header_comment(&pair.value) {
            written = format!("{written} {comment}");
        }
        self.set_value(pair, &written)
    }

    /// A list or mapping over several lines.
    pub(super) fn can_contain_comments(&self, value: &YamlNode) -> bool {
        let written = self.lines.slice(value.span.clone());
        let collection = matches!(value.value, YamlValue::Sequence(_) | YamlValue::Mapping(_));
        collection && written.contains('#') && self.lines.line_end(value.span.start) < value.span.end
    }

    /// Puts a value that needs no line of its own where the old one stands.
    pub(super) fn set_value(&self, pair: &MappingPair, written: &str) -> Result<Vec<Splice>, EditError> {
        let span = pair.value.span.clone();
        let Some(colon) = pair.colon else {
            if self.mapping.flow && pair.question_mark.is_none() {
                let value = format!(": {written}");
                return Ok(vec![Splice::insert(pair.key.span.end, value)]);
            }
            return Err(self.layout_error("a key without a colon cannot be given a value"));
        };
        let behind_colon = format!(" {written}");
        if pair.value.is_empty() {
            return Ok(vec![Splice::insert(colon + 1, behind_colon)]);
        }
        if !is_block(&pair.value) || self.lines.line_end(colon) > span.start {
            return Ok(vec![Splice::replace(span, written)]);
        }
        // A block below its key may stand where a scalar may not.
        if self.lines.is_whitespace(colon + 1..span.start) {
            return Ok(vec![Splice::replace(colon + 1..span.end, behind_colon)]);
        }
        let block = self.lines.line_start(span.start)..self.lines.next_line_start(span.end);
        Ok(vec![Splice::insert(colon + 1, behind_colon), Splice::delete(block)])
    }

    /// In the quotes of the old value, where the new one bears them.
    fn format_scalar(&self, pair: &MappingPair, text: &str) -> String {
        let old = match &pair.value.value {
            YamlValue::Scalar(YamlScalar { style, .. }) if !pair.value.is_empty() => *style,
            _ => ScalarStyle::Plain,
        };
        let in_single = |c: char| c == ' ' || c.is_ascii_graphic();
        match old {
            ScalarStyle::SingleQuoted if text.chars().all(in_single) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => double_quoted(text),
            _ if !self.mapping.flow => quoted(text),
            _ if is_plain_safe(text) && !is_double_quoted(&pair.key) => text.to_owned(),
            _ => double_quoted(text),
        }
    }

    /// `username: | # why` has its comment within the value.
    fn header_comment(&self, value: &YamlNode) -> Option<String> {
        let YamlValue::Scalar(YamlScalar { style, .. }) = &value.value else {
            return None;
        };
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return None;
        }
        let header = self.lines.slice(value.span.start..self.lines.line_end(value.span.start));
        // Where the text is empty the comment stands behind the value and stays anyway.
        if self.lines.line_end(value.span.start) >= value.span.end {
            return None;
        }
        let comment = header.split_once(" #")?.1;
        Some(format!("#{comment}"))
    }

    /// Behind the last pair, where they beat what `<<` brings.
    fn new_pairs(&self, pairs: &[(&str, Vec<String>, Option<String>)]) -> Vec<Splice> {
        if pairs.is_empty() {
            return Vec::new();
        }
        if self.mapping.flow {
            let texts = pairs.iter().map(|(key, groups, scalar)| {
                let value = match scalar {
                    Some(text) => self.flow_style.format_text(text),
                    None => self.flow_style.format_list(groups, self.lines),
                };
                self.flow_style.format_pair(key, &value)
            });
            let parts: Vec<FlowElement> = self
                .mapping
                .pairs
                .iter()
                .map(|pair| FlowElement { span: pair.span(), comma: pair.comma, keep: true })
                .collect();
            let new = [(parts.len(), texts.collect())].into();
            return flow::edit_flow_collection(self.lines, &parts, &new, self.flow_style.separator_gap());
        }
        let column = self.node.column;
        let indent = spaces(column);
        let mut new = Vec::new();
        for (key, groups, scalar) in pairs {
            match scalar {
                Some(text) => new.push(format!("{indent}{key}: {}", quoted(text))),
                None if groups.is_empty() => new.push(format!("{indent}{key}: []")),
                None => {
                    new.push(format!("{indent}{key}:"));
                    let groups = groups.iter();
                    new.extend(groups.map(|group| self.style.format_group_line(column, group)));
                }
            }
        }
        vec![self.lines.insert_lines_after(self.node.span.end, &new)]
    }
}

fn is_block(node: &YamlNode) -> bool {
    match &node.value {
        YamlValue::Sequence(sequence) => !sequence.flow,
        YamlValue::Mapping(mapping) => !mapping.flow,
        YamlValue::Scalar(_) | YamlValue::Alias(_) => false,
    }
}
