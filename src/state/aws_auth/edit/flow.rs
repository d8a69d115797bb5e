//! Inserts elements into a flow collection and removes elements from it, with their commas. Comments and line breaks
//! between the kept elements are preserved.

use std::collections::BTreeMap;
use std::ops::Range;

use super::splice::{Splice, TextLines};

/// An element of the collection and the comma after it.
pub(super) struct FlowElement {
    pub(super) span: Range<usize>,
    pub(super) comma: Option<usize>,
    pub(super) keep: bool,
}

impl FlowElement {
    fn end_with_comma(&self) -> usize {
        self.comma.map_or(self.span.end, |comma| comma + 1)
    }

    /// Returns whether only whitespace is between the element and its comma.
    fn is_next_to_comma(&self, lines: TextLines<'_>) -> bool {
        lines.is_whitespace(self.span.end..self.comma.unwrap_or(self.span.end))
    }
}

/// Edits a flow collection. `insertions` has new elements by the index of the old element before which they are inserted;
/// the index after the last one appends. `default_gap` is the space after a comma if the collection does not show one.
pub(super) fn edit_flow_collection(
    lines: TextLines<'_>,
    elements: &[FlowElement],
    insertions: &BTreeMap<usize, Vec<String>>,
    default_gap: &str,
) -> Vec<Splice> {
    if let (Some(emptied), true) = (emptied_range(lines, elements), insertions.is_empty()) {
        return vec![Splice::delete(emptied)];
    }
    let separator = separator(lines, elements, default_gap);
    let mut splices = insert_elements(lines, elements, insertions, &separator);
    let first_start = elements.first().map(|first| first.span.start);
    let inserts_before_all = splices.iter().any(|splice| Some(splice.range.start) == first_start);
    splices.extend(remove_elements(lines, elements, inserts_before_all));
    splices.extend(remove_last_comma(elements, insertions));
    splices
}

fn insert_elements(
    lines: TextLines<'_>,
    elements: &[FlowElement],
    insertions: &BTreeMap<usize, Vec<String>>,
    separator: &str,
) -> Vec<Splice> {
    let mut splices = Vec::new();
    let last_kept = elements.iter().rposition(|element| element.keep);
    let has_trailing_comma = elements.last().is_some_and(|element| element.comma.is_some());
    for (index, texts) in insertions {
        let kept_before = elements.iter().take(*index).rposition(|element| element.keep);
        match kept_before.and_then(|before| elements.get(before)) {
            None => {
                let first_start = elements.first().map_or(0, |element| element.span.start);
                let mut text = texts.join(&format!(",{separator}"));
                if last_kept.is_some() {
                    text = format!("{text},{separator}");
                }
                splices.push(Splice::insert(first_start, text));
            }
            Some(anchor) => {
                let needs_comma_after = last_kept > kept_before || has_trailing_comma;
                splices.extend(insert_after_element(lines, anchor, needs_comma_after, texts, separator));
            }
        }
    }
    splices
}

/// Removes the elements that are not kept. An element on its own lines is removed with these lines, but not if
/// `inserts_before_all`: the new elements are on the lines of the first old one.
fn remove_elements(lines: TextLines<'_>, elements: &[FlowElement], inserts_before_all: bool) -> Vec<Splice> {
    let mut splices = Vec::new();
    let mut kept_before = false;
    for (index, element) in elements.iter().enumerate() {
        if element.keep {
            kept_before = true;
            continue;
        }
        if let Some(range) = own_lines(lines, element).filter(|_| !inserts_before_all) {
            splices.push(Splice::delete(range));
            continue;
        }
        let previous_end = index.checked_sub(1).and_then(|previous| elements.get(previous));
        let previous_end = previous_end.map(FlowElement::end_with_comma);
        let next_start = elements.get(index + 1).map(|next| next.span.start);
        let mut range = element.span.start..element.end_with_comma();
        if kept_before {
            if let Some(previous_end) = previous_end.filter(|end| lines.is_whitespace(*end..range.start)) {
                range.start = previous_end;
            }
        } else if let Some(next_start) = next_start.filter(|start| lines.is_whitespace(range.end..*start)) {
            range.end = next_start;
        }
        match element.comma {
            // A comment between the element and its comma is kept.
            Some(comma) if !element.is_next_to_comma(lines) => {
                splices.push(Splice::delete(range.start..element.span.end));
                splices.push(Splice::delete(comma..range.end));
            }
            _ => splices.push(Splice::delete(range)),
        }
    }
    splices
}

/// Removes the comma after the last kept element, because JSON does not allow a trailing comma. It is kept if the
/// collection already has a trailing comma or if new elements follow.
fn remove_last_comma(elements: &[FlowElement], insertions: &BTreeMap<usize, Vec<String>>) -> Option<Splice> {
    let last_kept = elements.iter().rposition(|element| element.keep)?;
    let comma = elements.get(last_kept)?.comma?;
    let has_trailing_comma = elements.last().is_some_and(|element| element.comma.is_some());
    let appends = insertions.keys().any(|index| *index > last_kept);
    (!has_trailing_comma && !appends).then(|| Splice::delete(comma..comma + 1))
}

/// Returns everything between the brackets, if no element and no comment is kept.
fn emptied_range(lines: TextLines<'_>, elements: &[FlowElement]) -> Option<Range<usize>> {
    let (first, last) = (elements.first()?, elements.last()?);
    let before = lines.slice(0..first.span.start).trim_end();
    let after = lines.slice(last.end_with_comma()..lines.text.len());
    let end = last.end_with_comma() + (after.len() - after.trim_start().len());
    let is_within_brackets = before.ends_with(['[', '{']) && after.trim_start().starts_with([']', '}']);
    let mut neighbors = elements.iter().zip(elements.iter().skip(1));
    let has_comments = !neighbors.all(|(element, next)| {
        element.is_next_to_comma(lines) && lines.is_whitespace(element.end_with_comma()..next.span.start)
    });
    let has_comments = has_comments || !last.is_next_to_comma(lines);
    let keeps_elements = elements.iter().any(|element| element.keep);
    (is_within_brackets && !has_comments && !keeps_elements).then_some(before.len()..end)
}

/// Returns the lines of an element, if only its comma and a comment are on the same lines.
fn own_lines(lines: TextLines<'_>, element: &FlowElement) -> Option<Range<usize>> {
    lines.indent_at(element.span.start)?;
    let end = lines.line_end(element.end_with_comma());
    let rest_of_line = lines.slice(element.end_with_comma()..end).trim_start();
    let is_alone = rest_of_line.is_empty() || rest_of_line.starts_with('#');
    (is_alone && element.is_next_to_comma(lines))
        .then(|| lines.line_start(element.span.start)..lines.next_line_start(end))
}

fn insert_after_element(
    lines: TextLines<'_>,
    element: &FlowElement,
    needs_comma_after: bool,
    texts: &[String],
    separator: &str,
) -> Vec<Splice> {
    let mut splices = Vec::new();
    let mut joined = texts.join(&format!(",{separator}"));
    if element.comma.is_some() && needs_comma_after {
        joined.push(',');
    }
    let end = lines.line_end(element.end_with_comma());
    if element.comma.is_none() {
        splices.push(Splice::insert(element.span.end, ","));
    }
    if lines.slice(element.end_with_comma()..end).trim_start().starts_with('#') {
        // The rest of the line is a comment, so the new elements begin on the next line.
        let indent = separator.trim_start_matches(['\r', '\n']);
        splices.push(Splice::insert(end, format!("{}{indent}{joined}", lines.line_break)));
    } else {
        splices.push(Splice::insert(element.end_with_comma(), format!("{separator}{joined}")));
    }
    splices
}

/// Returns the spaces between the last comma and the last element. `None` if anything else is between them.
fn gap_after_comma<'t>(lines: TextLines<'t>, elements: &[FlowElement]) -> Option<&'t str> {
    let (second_last, last) = (elements.iter().rev().nth(1)?, elements.last()?);
    let gap = lines.slice(second_last.comma? + 1..last.span.start);
    gap.bytes().all(|byte| byte == b' ').then_some(gap)
}

/// Returns the text after a comma: a line break and an indentation if the last element begins its own line, otherwise
/// spaces.
fn separator(lines: TextLines<'_>, elements: &[FlowElement], default_gap: &str) -> String {
    let last_start = elements.last().map(|element| element.span.start);
    match last_start.and_then(|start| Some((start, lines.indent_at(start)?))) {
        Some((start, indent)) if lines.line_start(start) > 0 => {
            format!("{}{}", lines.line_break, " ".repeat(indent))
        }
        _ => gap_after_comma(lines, elements).unwrap_or(default_gap).to_owned(),
    }
}
