//! Elements in and out of a flow collection, with their commas. It keeps comments and line breaks
//! between the elements that stay.

use std::collections::BTreeMap;
use std::ops::Range;

use super::splice::{Lines, Splice};

/// An element of the collection and the comma behind it.
pub(super) struct Part {
    pub(super) span: Range<usize>,
    pub(super) comma: Option<usize>,
    pub(super) keep: bool,
}

impl Part {
    fn end(&self) -> usize {
        self.comma.map_or(self.span.end, |comma| comma + 1)
    }
}

/// `new`: texts to stand before the part of that number, or at the end.
pub(super) fn rearrange(lines: Lines<'_>, parts: &[Part], new: &BTreeMap<usize, Vec<String>>) -> Vec<Splice> {
    let mut splices = Vec::new();
    let lead = separator(lines, parts);
    let last_kept = parts.iter().rposition(|part| part.keep);
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
            Some(anchor) => insert_behind(lines, anchor, last_kept > before, texts, &lead, &mut splices),
        }
    }
    let mut leading = true;
    for (place, part) in parts.iter().enumerate() {
        if part.keep {
            leading = false;
            continue;
        }
        let before = place.checked_sub(1).and_then(|before| parts.get(before)).map(Part::end);
        let after = parts.get(place + 1).map(|next| next.span.start);
        let mut range = part.span.start..part.end();
        if leading {
            if let Some(after) = after.filter(|after| lines.is_white(part.end()..*after)) {
                range.end = after;
            }
        } else if let Some(before) = before.filter(|before| lines.is_white(*before..range.start)) {
            range.start = before;
        }
        // The comma may stand behind a comment, which stays.
        match part.comma {
            Some(comma) if !lines.is_white(part.span.end..comma) => {
                splices.push(Splice::delete(range.start..part.span.end));
                splices.push(Splice::delete(comma..range.end));
            }
            _ => splices.push(Splice::delete(range)),
        }
    }
    // JSON bears no comma behind the last element.
    let had_trailing = parts.last().is_some_and(|part| part.comma.is_some());
    let comma = last_kept.and_then(|last| parts.get(last)).and_then(|part| part.comma);
    let adds_at_end = new.keys().any(|place| last_kept.is_some_and(|last| *place > last));
    if let (Some(comma), false, false) = (comma, had_trailing, adds_at_end) {
        splices.push(Splice::delete(comma..comma + 1));
    }
    splices
}

fn insert_behind(
    lines: Lines<'_>,
    anchor: &Part,
    more_follow: bool,
    texts: &[String],
    lead: &str,
    splices: &mut Vec<Splice>,
) {
    let joined = texts.join(&format!(",{lead}"));
    if let Some(comma) = anchor.comma {
        let comma_behind = if more_follow { "," } else { "" };
        splices.push(Splice::insert(comma + 1, format!("{lead}{joined}{comma_behind}")));
        return;
    }
    let rest = lines.get(anchor.span.end..lines.end_of(anchor.span.end));
    if rest.trim_start().starts_with('#') {
        // What follows on this line is the comment's.
        let indent = lead.trim_start_matches(['\r', '\n']);
        splices.push(Splice::insert(anchor.span.end, ","));
        let end = lines.end_of(anchor.span.end);
        splices.push(Splice::insert(end, format!("{}{indent}{joined}", lines.line_break)));
    } else {
        splices.push(Splice::insert(anchor.span.end, format!(",{lead}{joined}")));
    }
}

/// A blank, or the break and indentation where each element has its own line.
fn separator(lines: Lines<'_>, parts: &[Part]) -> String {
    let last = parts.last().map(|part| part.span.start);
    match last.and_then(|start| Some((start, lines.indent_of(start)?))) {
        Some((start, indent)) if lines.start_of(start) > 0 => {
            format!("{}{}", lines.line_break, " ".repeat(indent))
        }
        _ => " ".to_owned(),
    }
}
