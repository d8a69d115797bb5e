//! Where new entries go: behind the last one that stays, or where a text says that there is none.

use std::ops::Range;

use crate::yaml::{ScalarStyle, YamlDocument, YamlSequence, YamlValue};

use super::super::entry::{NewEntry, Section};
use super::splice::{Splice, TextLines};
use super::style::{BlockStyle, FlowStyle, as_mapping};
use super::{EditPlan, ElementEdit};

/// Behind the last entry of a block list.
pub(super) fn add_to_block_list(
    section: Section,
    lines: TextLines<'_>,
    list: &YamlSequence,
    wishes: &EditPlan<'_>,
) -> Vec<Splice> {
    if wishes.additions.is_empty() {
        return Vec::new();
    }
    let style = BlockStyle::from_sequence(list, lines);
    let in_braces = list.items.last().and_then(|item| as_mapping(&item.node)).is_some_and(|m| m.flow);
    let mut new = Vec::new();
    for add in &wishes.additions {
        if in_braces {
            let like = list.items.last().map(|item| FlowStyle::from_node(&item.node, lines));
            let like = FlowStyle { multiline_indent: None, ..like.unwrap_or_default() };
            let lead = format!("{}-{}", " ".repeat(style.dash_column), " ".repeat(style.dash_gap));
            new.push(format!("{lead}{}", like.format_entry(section, add, lines)));
        } else {
            new.extend(style.format_entry(section, add));
        }
    }
    let kept = list.items.iter().zip(&wishes.element_edits).rfind(|(_, fate)| **fate != ElementEdit::Remove);
    let splice = match kept {
        Some((item, _)) => {
            let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
            lines.insert_lines_after(end_of_own_comments(lines, end, style.dash_column), &new)
        }
        None => {
            let first = list.items.first().and_then(|item| item.dash).unwrap_or(0);
            Splice::insert(lines.line_start_after_bom(first), lines.with_trailing_breaks(&new))
        }
    };
    vec![splice]
}

/// Comments right below an entry and indented more than its dash are about the entry.
fn end_of_own_comments(lines: TextLines<'_>, end: usize, dash: usize) -> usize {
    let mut at = end;
    loop {
        let next = lines.next_line_start(at);
        if next == lines.line_end(at) {
            return at;
        }
        let line = lines.slice(next..lines.line_end(next));
        let content = line.trim_start_matches(' ');
        if !content.starts_with('#') || line.len() - content.len() <= dash {
            return at;
        }
        at = next;
    }
}

/// Into a text without entries: no text, a blank, a comment, null or an empty list.
pub(super) fn add_to_empty_section(
    section: Section,
    lines: TextLines<'_>,
    document: Option<&YamlDocument>,
    adds: &[&NewEntry],
) -> Vec<Splice> {
    let style = BlockStyle::default();
    let new: Vec<String> = adds.iter().flat_map(|new| style.format_entry(section, new)).collect();
    let text = lines.text;
    if super::super::parse::is_treated_as_absent(text) {
        let kept = text.len() - text.trim_start().len();
        // Other white space would not be white to YAML.
        let harmless = lines.slice(0..kept).chars().all(|c| matches!(c, ' ' | '\n' | '\r'));
        let start = if harmless { lines.line_start(kept) } else { 0 };
        let end = text.trim_end().len().max(start);
        let rest_breaks = text.get(end..).is_some_and(|rest| rest.contains('\n'));
        let mut block = lines.with_trailing_breaks(&new);
        if rest_breaks {
            block.truncate(block.len() - lines.line_break.len());
        }
        let end = if rest_breaks { end } else { text.len() };
        return vec![Splice::replace(start..end, block)];
    }
    let Some(document) = document else {
        return vec![insert_lines_at(lines, text.len(), &new)];
    };
    let root = &document.root;
    if root.is_empty() {
        return vec![insert_lines_at(lines, document.body.end, &new)];
    }
    let span = root.span.clone();
    let inner = lines.slice(span.clone());
    let quoted = matches!(&root.value, YamlValue::Scalar(s) if s.style != ScalarStyle::Plain);
    if inner.contains('#') && !quoted {
        return replace_brackets(lines, span, &new);
    }
    let line = lines.line_start_after_bom(span.start);
    let end = lines.line_end(span.end);
    if lines.is_whitespace(line..span.start) && lines.is_whitespace(span.end..end) {
        let next = lines.next_line_start(span.end);
        let mut block = lines.with_trailing_breaks(&new);
        if next == end {
            block.truncate(block.len() - lines.line_break.len());
        }
        return vec![Splice::replace(line..next, block)];
    }
    // `--- [] # why`: the comment stays where it is.
    let before = lines.slice(line..span.start).trim_end_matches([' ', '\t']);
    let mut gone = line + before.len()..span.end;
    if before.is_empty() {
        gone.end = skip_blanks(lines, span.end);
    }
    vec![Splice::delete(gone), lines.insert_lines_after(span.end, &new)]
}

fn skip_blanks(lines: TextLines<'_>, at: usize) -> usize {
    let rest = lines.slice(at..lines.text.len());
    lines.text.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// Of brackets around nothing but comments only the brackets go, and their lines where these hold nothing else.
fn replace_brackets(lines: TextLines<'_>, list: Range<usize>, new: &[String]) -> Vec<Splice> {
    let alone = |bracket: &Range<usize>| {
        let line = lines.line_start_after_bom(bracket.start)..lines.line_end(bracket.end);
        let white = lines.is_whitespace(line.start..bracket.start) && lines.is_whitespace(bracket.end..line.end);
        white.then_some(line)
    };
    let inner = lines.slice(list.clone());
    let open = list.start..list.start + inner.find('[').unwrap_or(0) + 1;
    let close = list.end.saturating_sub(1)..list.end;
    let opening = match alone(&open) {
        Some(line) => line.start..lines.next_line_start(line.end),
        None if lines.line_start_after_bom(open.start) == open.start => open.start..skip_blanks(lines, open.end),
        None => open,
    };
    let mut splices = vec![Splice::delete(opening)];
    match alone(&close) {
        Some(line) => splices.push(Splice::replace(line, new.join(lines.line_break))),
        None => splices.extend([Splice::delete(close), lines.insert_lines_after(list.end, new)]),
    }
    splices
}

/// As lines of their own at a place that may be within a line.
fn insert_lines_at(lines: TextLines<'_>, at: usize, new: &[String]) -> Splice {
    if lines.line_start_after_bom(at) == at {
        Splice::insert(at, lines.with_trailing_breaks(new))
    } else {
        Splice::insert(at, lines.with_leading_breaks(new))
    }
}
