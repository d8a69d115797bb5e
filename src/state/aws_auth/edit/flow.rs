//! Elements in and out of a flow collection, with their commas. It keeps comments and line breaks
//! between the elements that stay.

use std::collections::BTreeMap;
use std::ops::Range;

use super::splice::{Splice, TextLines};

/// An element of the collection and the comma behind it.
pub(super) struct FlowElement {
    pub(super) span: Range<usize>,
    pub(super) comma: Option<usize>,
    pub(super) keep: bool,
}

impl FlowElement {
    fn end_with_comma(&self) -> usize {
        self.comma.map_or(self.span.end, |comma| comma + 1)
    }
}

/// `new`: texts to stand before the part of that number, or at the end. `gap`: what stands behind a comma where the
/// parts do not show it.
pub(super) fn edit_flow_collection(
    lines: TextLines<'_>,
    parts: &[FlowElement],
    new: &BTreeMap<usize, Vec<String>>,
    gap: &str,
) -> Vec<Splice> {
    let mut splices = Vec::new();
    let lead = separator(lines, parts, gap);
    let last_kept = parts.iter().rposition(|part| part.keep);
    let had_trailing = parts.last().is_some_and(|part| part.comma.is_some());
    for (place, texts) in new {
        let before = parts.iter().take(*place).rposition(|part| part.keep);
        match before.and_then(|before| parts.get(before)) {
            None => {
                let first = parts.first().map_or(0, |part| part.span.start);
                let mut text = texts.join(&format!(",{lead}"));
                if last_kept.is_some() {
                    text = format!("{text},{lead}");
                }
                splices.push(Splice::insert(first, text));
            }
            Some(anchor) => {
                let comma_behind = last_kept > before || had_trailing;
                insert_after_element(lines, anchor, comma_behind, texts, &lead, &mut splices);
            }
        }
    }
    if let (Some(emptied), true) = (emptied_range(lines, parts), new.is_empty()) {
        return vec![Splice::delete(emptied)];
    }
    let inserts_before_all =
        splices.iter().any(|splice| parts.first().is_some_and(|p| p.span.start == splice.range.start));
    let mut leading = true;
    for (place, part) in parts.iter().enumerate() {
        if part.keep {
            leading = false;
            continue;
        }
        if let Some(range) = own_lines(lines, part).filter(|_| !inserts_before_all) {
            splices.push(Splice::delete(range));
            continue;
        }
        let before = place.checked_sub(1).and_then(|before| parts.get(before)).map(FlowElement::end_with_comma);
        let after = parts.get(place + 1).map(|next| next.span.start);
        let mut range = part.span.start..part.end_with_comma();
        if leading {
            if let Some(after) = after.filter(|after| lines.is_whitespace(part.end_with_comma()..*after)) {
                range.end = after;
            }
        } else if let Some(before) = before.filter(|before| lines.is_whitespace(*before..range.start)) {
            range.start = before;
        }
        // The comma may stand behind a comment, which stays.
        match part.comma {
            Some(comma) if !lines.is_whitespace(part.span.end..comma) => {
                splices.push(Splice::delete(range.start..part.span.end));
                splices.push(Splice::delete(comma..range.end));
            }
            _ => splices.push(Splice::delete(range)),
        }
    }
    // JSON bears no comma behind the last element.
    let comma = last_kept.and_then(|last| parts.get(last)).and_then(|part| part.comma);
    let adds_at_end = new.keys().any(|place| last_kept.is_some_and(|last| *place > last));
    if let (Some(comma), false, false) = (comma, had_trailing, adds_at_end) {
        splices.push(Splice::delete(comma..comma + 1));
    }
    splices
}

/// All between the brackets where nothing stays, not even a comment.
fn emptied_range(lines: TextLines<'_>, parts: &[FlowElement]) -> Option<Range<usize>> {
    let (first, last) = (parts.first()?, parts.last()?);
    let before = lines.slice(0..first.span.start).trim_end();
    let behind = lines.slice(last.end_with_comma()..lines.text.len());
    let end = last.end_with_comma() + (behind.len() - behind.trim_start().len());
    let within_brackets = before.ends_with(['[', '{']) && behind.trim_start().starts_with([']', '}']);
    let white = |(one, next): (&FlowElement, &FlowElement)| {
        let comma = one.comma.unwrap_or(one.span.end);
        lines.is_whitespace(one.span.end..comma) && lines.is_whitespace(one.end_with_comma()..next.span.start)
    };
    let nothing_between = parts.iter().zip(parts.iter().skip(1)).all(white);
    let comma = last.comma.unwrap_or(last.span.end);
    let nothing_stays = parts.iter().all(|part| !part.keep) && lines.is_whitespace(last.span.end..comma);
    (within_brackets && nothing_between && nothing_stays).then_some(before.len()..end)
}

/// The lines of a part that shares them with nothing but the comment on it.
fn own_lines(lines: TextLines<'_>, part: &FlowElement) -> Option<Range<usize>> {
    lines.indent_at(part.span.start)?;
    let end = lines.line_end(part.end_with_comma());
    let rest = lines.slice(part.end_with_comma()..end).trim_start();
    let alone = rest.is_empty() || rest.starts_with('#');
    let comma = part.comma.unwrap_or(part.span.end);
    (alone && lines.is_whitespace(part.span.end..comma))
        .then(|| lines.line_start(part.span.start)..lines.next_line_start(end))
}

fn insert_after_element(
    lines: TextLines<'_>,
    anchor: &FlowElement,
    comma_behind: bool,
    texts: &[String],
    lead: &str,
    splices: &mut Vec<Splice>,
) {
    let mut joined = texts.join(&format!(",{lead}"));
    if anchor.comma.is_some() && comma_behind {
        joined.push(',');
    }
    let end = lines.line_end(anchor.end_with_comma());
    if anchor.comma.is_none() {
        splices.push(Splice::insert(anchor.span.end, ","));
    }
    if lines.slice(anchor.end_with_comma()..end).trim_start().starts_with('#') {
        // What follows on this line is the comment's.
        let indent = lead.trim_start_matches(['\r', '\n']);
        splices.push(Splice::insert(end, format!("{}{indent}{joined}", lines.line_break)));
    } else {
        splices.push(Splice::insert(anchor.end_with_comma(), format!("{lead}{joined}")));
    }
}

/// What stands between a comma and the next element on its line.
fn gap_after_comma<'t>(lines: TextLines<'t>, parts: &[FlowElement]) -> Option<&'t str> {
    let (before, last) = (parts.iter().rev().nth(1)?, parts.last()?);
    let gap = lines.slice(before.comma? + 1..last.span.start);
    gap.bytes().all(|byte| byte == b' ').then_some(gap)
}

/// What stands between two elements: the break and indentation where each has its own line, else blanks.
fn separator(lines: TextLines<'_>, parts: &[FlowElement], gap: &str) -> String {
    let last = parts.last().map(|part| part.span.start);
    match last.and_then(|start| Some((start, lines.indent_at(start)?))) {
        Some((start, indent)) if lines.line_start(start) > 0 => {
            format!("{}{}", lines.line_break, " ".repeat(indent))
        }
        _ => gap_after_comma(lines, parts).unwrap_or(gap).to_owned(),
    }
}
