//! Where new entries go: behind the last one that stays, or where a text says that there is none.

use std::ops::Range;

use crate::yaml::{Document, ScalarStyle, Sequence, Value};

use super::super::entry::{New, Section};
use super::splice::{Lines, Splice};
use super::style::{FlowStyle, Style, mapping_of};
use super::{Fate, Wishes};

/// Behind the last entry of a block list.
pub(super) fn to_block(section: Section, lines: Lines<'_>, list: &Sequence, wishes: &Wishes<'_>) -> Vec<Splice> {
    if wishes.adds.is_empty() {
        return Vec::new();
    }
    let style = Style::of(list, lines);
    let in_braces = list.items.last().and_then(|item| mapping_of(&item.node)).is_some_and(|m| m.flow);
    let mut new = Vec::new();
    for add in &wishes.adds {
        if in_braces {
            let like = list.items.last().map(|item| FlowStyle::of(&item.node, lines));
            let like = FlowStyle { levels: None, ..like.unwrap_or_default() };
            let lead = format!("{}-{}", " ".repeat(style.dash), " ".repeat(style.gap));
            new.push(format!("{lead}{}", like.entry(section, add, lines)));
        } else {
            new.extend(style.block_entry(section, add));
        }
    }
    let kept = list.items.iter().zip(&wishes.fates).rfind(|(_, fate)| **fate != Fate::Goes);
    let splice = match kept {
        Some((item, _)) => {
            let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
            lines.insert_after(behind_own_comments(lines, end, style.dash), &new)
        }
        None => {
            let first = list.items.first().and_then(|item| item.dash).unwrap_or(0);
            Splice::insert(lines.visible_start_of(first), lines.trailing(&new))
        }
    };
    vec![splice]
}

/// Comments right below an entry and indented more than its dash are about the entry.
fn behind_own_comments(lines: Lines<'_>, end: usize, dash: usize) -> usize {
    let mut at = end;
    loop {
        let next = lines.next_of(at);
        if next == lines.end_of(at) {
            return at;
        }
        let line = lines.get(next..lines.end_of(next));
        let content = line.trim_start_matches(' ');
        if !content.starts_with('#') || line.len() - content.len() <= dash {
            return at;
        }
        at = next;
    }
}

/// Into a text without entries: no text, a blank, a comment, null or an empty list.
pub(super) fn to_nothing(
    section: Section,
    lines: Lines<'_>,
    document: Option<&Document>,
    adds: &[&New],
) -> Vec<Splice> {
    let style = Style::default();
    let new: Vec<String> = adds.iter().flat_map(|new| style.block_entry(section, new)).collect();
    let text = lines.text;
    if super::super::read::is_skippable(text) {
        let kept = text.len() - text.trim_start().len();
        // Other white space would not be white to YAML.
        let harmless = lines.get(0..kept).chars().all(|c| matches!(c, ' ' | '\n' | '\r'));
        let start = if harmless { lines.start_of(kept) } else { 0 };
        let end = text.trim_end().len().max(start);
        let rest_breaks = text.get(end..).is_some_and(|rest| rest.contains('\n'));
        let mut block = lines.trailing(&new);
        if rest_breaks {
            block.truncate(block.len() - lines.line_break.len());
        }
        let end = if rest_breaks { end } else { text.len() };
        return vec![Splice::replace(start..end, block)];
    }
    let Some(document) = document else {
        return vec![at_line(lines, text.len(), &new)];
    };
    let root = &document.root;
    if root.is_empty() {
        return vec![at_line(lines, document.body.end, &new)];
    }
    let span = root.span.clone();
    let inner = lines.get(span.clone());
    let quoted = matches!(&root.value, Value::Scalar(s) if s.style != ScalarStyle::Plain);
    if inner.contains('#') && !quoted {
        return around_comments(lines, span, &new);
    }
    let line = lines.visible_start_of(span.start);
    let end = lines.end_of(span.end);
    if lines.is_white(line..span.start) && lines.is_white(span.end..end) {
        let next = lines.next_of(span.end);
        let mut block = lines.trailing(&new);
        if next == end {
            block.truncate(block.len() - lines.line_break.len());
        }
        return vec![Splice::replace(line..next, block)];
    }
    // `--- [] # why`: the comment stays where it is.
    let before = lines.get(line..span.start).trim_end_matches([' ', '\t']);
    let mut gone = line + before.len()..span.end;
    if before.is_empty() {
        gone.end = behind_blanks(lines, span.end);
    }
    vec![Splice::delete(gone), lines.insert_after(span.end, &new)]
}

fn behind_blanks(lines: Lines<'_>, at: usize) -> usize {
    let rest = lines.get(at..lines.text.len());
    lines.text.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// Of brackets around nothing but comments only the brackets go, and their lines where these hold nothing else.
fn around_comments(lines: Lines<'_>, list: Range<usize>, new: &[String]) -> Vec<Splice> {
    let alone = |bracket: &Range<usize>| {
        let line = lines.visible_start_of(bracket.start)..lines.end_of(bracket.end);
        let white = lines.is_white(line.start..bracket.start) && lines.is_white(bracket.end..line.end);
        white.then_some(line)
    };
    let inner = lines.get(list.clone());
    let open = list.start..list.start + inner.find('[').unwrap_or(0) + 1;
    let close = list.end.saturating_sub(1)..list.end;
    let opening = match alone(&open) {
        Some(line) => line.start..lines.next_of(line.end),
        None if lines.visible_start_of(open.start) == open.start => open.start..behind_blanks(lines, open.end),
        None => open,
    };
    let mut splices = vec![Splice::delete(opening)];
    match alone(&close) {
        Some(line) => splices.push(Splice::replace(line, new.join(lines.line_break))),
        None => splices.extend([Splice::delete(close), lines.insert_after(list.end, new)]),
    }
    splices
}

/// As lines of their own at a place that may be within a line.
fn at_line(lines: Lines<'_>, at: usize, new: &[String]) -> Splice {
    if lines.visible_start_of(at) == at {
        Splice::insert(at, lines.trailing(new))
    } else {
        Splice::insert(at, lines.leading(new))
    }
}
