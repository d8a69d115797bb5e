//! Other values for an entry that stays: the scalar or the list that decides is replaced where it
//! stands, and a key is written only where none decides.

use crate::yaml::{
    Document, Field, Mapping, Node, Pair, Scalar, ScalarStyle, Sense, Sequence, Value, double_quoted, is_plain_safe,
    quoted,
};

use super::super::entry::{Entry, New, Section};
use super::super::go_json::fold;
use super::super::read::Elements;
use super::flow::{self, Part};
use super::guard::Uses;
use super::splice::{Lines, Splice, blanks};
use super::style::{FlowStyle, Style, has_quotes, mapping_of, principal_text};
use super::{EditError, Fate, Wishes, groups};

/// An entry in the text, for those who change it.
pub(super) struct Place<'p> {
    pub(super) lines: Lines<'p>,
    pub(super) node: &'p Node,
    pub(super) mapping: &'p Mapping,
    pub(super) uses: &'p Uses,
    pub(super) style: Style,
    pub(super) flow: FlowStyle,
}

/// Which pair decides about a field.
enum Decider<'p, 'f> {
    Own(&'p Pair, &'f Field<'f>),
    /// None, or one that comes through `<<`: a pair of one's own behind it decides then.
    None,
}

pub(super) fn entries(
    section: Section,
    lines: Lines<'_>,
    document: &Document,
    list: &Sequence,
    before: &Elements,
    wishes: &Wishes<'_>,
    uses: &Uses,
) -> Result<Vec<Splice>, EditError> {
    let mut splices = Vec::new();
    if section == Section::Accounts || !wishes.fates.iter().any(|f| matches!(f, Fate::Changes(_))) {
        return Ok(splices);
    }
    let unreadable = |error: crate::yaml::YamlError| EditError::ReadBack { what: error.to_string() };
    let root = document.resolve().map_err(unreadable)?;
    let Sense::List(resolved) = &root.sense else {
        return Ok(splices);
    };
    let style = Style::of(list, lines);
    let all = list.items.iter().zip(resolved).zip(&before.list).zip(&wishes.fates);
    for (((item, resolved), element), fate) in all {
        let (Fate::Changes(to), Ok(from)) = (fate, &element.outcome) else {
            continue;
        };
        if *to == from {
            continue;
        }
        let line = item.node.line;
        let Some(mapping) = mapping_of(&item.node) else {
            return Err(EditError::EntryIsAlias { line });
        };
        let Sense::Fields(fields) = &resolved.sense else {
            continue;
        };
        uses.allow_change(&item.node)?;
        let place = Place { lines, node: &item.node, mapping, uses, style, flow: FlowStyle::of(&item.node, lines) };
        splices.extend(place.change(section, fields, from, to)?);
    }
    Ok(splices)
}

impl<'p> Place<'p> {
    fn change(&self, section: Section, fields: &[Field<'p>], from: &Entry, to: &New) -> Result<Vec<Splice>, EditError> {
        let mut splices = Vec::new();
        let mut new_pairs: Vec<(&str, Vec<String>, Option<String>)> = Vec::new();
        if from.principal != to.principal {
            match self.decider(fields, section.principal_key()) {
                Decider::Own(pair, _) => {
                    splices.extend(self.set_scalar(pair, principal_text(&to.principal))?);
                }
                Decider::None => return Err(self.odd("the principal comes through `<<`")),
            }
        }
        if from.groups != to.groups {
            match self.decider(fields, "groups") {
                Decider::Own(pair, field) => {
                    let alone = fields.iter().filter(|f| fold(&f.name) == "groups").count() == 1;
                    let old = groups::names(&field.value, alone);
                    splices.extend(groups::set(self, pair, &old, &to.groups)?);
                }
                Decider::None => new_pairs.push(("groups", to.groups.clone(), None)),
            }
        }
        if from.username != to.username {
            match self.decider(fields, "username") {
                Decider::Own(pair, _) => splices.extend(self.set_scalar(pair, &to.username)?),
                Decider::None => {
                    new_pairs.insert(0, ("username", Vec::new(), Some(to.username.clone())));
                }
            }
        }
        splices.extend(self.new_pairs(&new_pairs));
        Ok(splices)
    }

    /// The pair whose value the authenticator takes: among spellings the last in byte order.
    fn decider<'f>(&self, fields: &'f [Field<'f>], name: &str) -> Decider<'p, 'f> {
        let winner = fields.iter().rfind(|field| fold(&field.name) == name);
        let own = winner.filter(|field| !field.merged).and_then(|field| {
            let mut pairs = self.mapping.pairs.iter();
            let pair = pairs.find(|pair| std::ptr::eq(&raw const pair.key, field.key))?;
            Some((pair, field))
        });
        own.map_or(Decider::None, |(pair, field)| Decider::Own(pair, field))
    }

    pub(super) fn odd(&self, what: &'static str) -> EditError {
        let line = self.node.line;
        EditError::Layout { line, what }
    }

    fn set_scalar(&self, pair: &Pair, text: &str) -> Result<Vec<Splice>, EditError> {
        self.uses.allow_removal(&pair.value)?;
        if self.may_hold_comments(&pair.value) {
            return Err(self.odd("the comments within the old value would be lost"));
        }
        let mut written = self.scalar(pair, text);
        if let Some(comment) = self.header_comment(&pair.value) {
            written = format!("{written} {comment}");
        }
        self.set_value(pair, &written)
    }

    /// A list or mapping over several lines.
    pub(super) fn may_hold_comments(&self, value: &Node) -> bool {
        let written = self.lines.get(value.span.clone());
        let collection = matches!(value.value, Value::Sequence(_) | Value::Mapping(_));
        collection && written.contains('#') && self.lines.end_of(value.span.start) < value.span.end
    }

    /// Puts a value that needs no line of its own where the old one stands.
    pub(super) fn set_value(&self, pair: &Pair, written: &str) -> Result<Vec<Splice>, EditError> {
        let span = pair.value.span.clone();
        let Some(colon) = pair.colon else {
            if self.mapping.flow && pair.question.is_none() {
                let value = format!(": {written}");
                return Ok(vec![Splice::insert(pair.key.span.end, value)]);
            }
            return Err(self.odd("a key without a colon cannot be given a value"));
        };
        let behind_colon = format!(" {written}");
        if pair.value.is_empty() {
            return Ok(vec![Splice::insert(colon + 1, behind_colon)]);
        }
        if !is_block(&pair.value) || self.lines.end_of(colon) > span.start {
            return Ok(vec![Splice::replace(span, written)]);
        }
        // A block below its key may stand where a scalar may not.
        if self.lines.is_white(colon + 1..span.start) {
            return Ok(vec![Splice::replace(colon + 1..span.end, behind_colon)]);
        }
        let block = self.lines.start_of(span.start)..self.lines.next_of(span.end);
        Ok(vec![Splice::insert(colon + 1, behind_colon), Splice::delete(block)])
    }

    /// In the quotes of the old value, where the new one bears them.
    fn scalar(&self, pair: &Pair, text: &str) -> String {
        let old = match &pair.value.value {
            Value::Scalar(Scalar { style, .. }) if !pair.value.is_empty() => *style,
            _ => ScalarStyle::Plain,
        };
        let in_single = |c: char| c == ' ' || c.is_ascii_graphic();
        match old {
            ScalarStyle::SingleQuoted if text.chars().all(in_single) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => double_quoted(text),
            _ if !self.mapping.flow => quoted(text),
            _ if is_plain_safe(text) && !has_quotes(&pair.key) => text.to_owned(),
            _ => double_quoted(text),
        }
    }

    /// `username: | # why` has its comment within the value.
    fn header_comment(&self, value: &Node) -> Option<String> {
        let Value::Scalar(Scalar { style, .. }) = &value.value else {
            return None;
        };
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return None;
        }
        let header = self.lines.get(value.span.start..self.lines.end_of(value.span.start));
        // Where the text is empty the comment stands behind the value and stays anyway.
        if self.lines.end_of(value.span.start) >= value.span.end {
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
                    Some(text) => self.flow.text(text),
                    None => self.flow.list(groups, self.lines),
                };
                self.flow.pair(key, &value)
            });
            let parts: Vec<Part> = self
                .mapping
                .pairs
                .iter()
                .map(|pair| Part { span: pair.span(), comma: pair.comma, keep: true })
                .collect();
            let new = [(parts.len(), texts.collect())].into();
            return flow::rearrange(self.lines, &parts, &new, self.flow.gap());
        }
        let column = self.node.column;
        let indent = blanks(column);
        let mut new = Vec::new();
        for (key, groups, scalar) in pairs {
            match scalar {
                Some(text) => new.push(format!("{indent}{key}: {}", quoted(text))),
                None if groups.is_empty() => new.push(format!("{indent}{key}: []")),
                None => {
                    new.push(format!("{indent}{key}:"));
                    let groups = groups.iter();
                    new.extend(groups.map(|group| self.style.group_line(column, group)));
                }
            }
        }
        vec![self.lines.insert_after(self.node.span.end, &new)]
    }
}

fn is_block(node: &Node) -> bool {
    match &node.value {
        Value::Sequence(sequence) => !sequence.flow,
        Value::Mapping(mapping) => !mapping.flow,
        Value::Scalar(_) | Value::Alias(_) => false,
    }
}
