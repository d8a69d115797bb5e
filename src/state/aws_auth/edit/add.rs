//! The position of new entries: after the last entry that is kept, or in place of an empty list.

use std::ops::Range;

use crate::yaml::{ScalarStyle, YamlDocument, YamlSequence, YamlValue};

use super::super::entry::{NewEntry, Section};
use super::splice::{Splice, TextLines};
use super::style::{BlockStyle, FlowStyle, as_mapping};
use super::{EditPlan, ElementEdit};

/// Adds entries after the last kept entry of a block list.
pub(super) fn add_to_block_list(
    section: Section,
    lines: TextLines<'_>,
    list: &YamlSequence,
    plan: &EditPlan<'_>,
) -> Vec<Splice> {
    if plan.additions.is_empty() {
        return Vec::new();
    }
    let style = BlockStyle::from_sequence(list, lines);
    let uses_flow_entries = list.items.last().and_then(|item| as_mapping(&item.node)).is_some_and(|m| m.flow);
    let mut new_lines = Vec::new();
    for addition in &plan.additions {
        if uses_flow_entries {
            let flow_style = list.items.last().map(|item| FlowStyle::from_node(&item.node, lines));
            let flow_style = FlowStyle { multiline_indent: None, ..flow_style.unwrap_or_default() };
            let dash = format!("{}-{}", " ".repeat(style.dash_column), " ".repeat(style.dash_gap));
            new_lines.push(format!("{dash}{}", flow_style.format_entry(section, addition, lines)));
        } else {
            new_lines.extend(style.format_entry(section, addition));
        }
    }
    let last_kept = list.items.iter().zip(&plan.element_edits).rfind(|(_, edit)| **edit != ElementEdit::Remove);
    let splice = match last_kept {
        Some((item, _)) => {
            let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
            lines.insert_lines_after(skip_comments_of_entry(lines, end, style.dash_column), &new_lines)
        }
        None => {
            let first_dash = list.items.first().and_then(|item| item.dash).unwrap_or(0);
            Splice::insert(lines.line_start_after_bom(first_dash), lines.with_trailing_breaks(&new_lines))
        }
    };
    vec![splice]
}

/// Returns the start of the last comment line that belongs to an entry, or `end` if there is none. Comments directly
/// below an entry belong to it if they are indented more than its dash.
fn skip_comments_of_entry(lines: TextLines<'_>, end: usize, dash_column: usize) -> usize {
    let mut line_start = end;
    loop {
        let next = lines.next_line_start(line_start);
        if next == lines.line_end(line_start) {
            return line_start;
        }
        let line = lines.slice(next..lines.line_end(next));
        let content = line.trim_start_matches(' ');
        if !content.starts_with('#') || line.len() - content.len() <= dash_column {
            return line_start;
        }
        line_start = next;
    }
}

/// Adds entries to a section without entries: an empty text, whitespace, comments, null or an empty list.
pub(super) fn add_to_empty_section(
    section: Section,
    lines: TextLines<'_>,
    document: Option<&YamlDocument>,
    additions: &[&NewEntry],
) -> Vec<Splice> {
    let style = BlockStyle::default();
    let new_lines: Vec<String> = additions.iter().flat_map(|new| style.format_entry(section, new)).collect();
    let text = lines.text;
    if super::super::parse::is_treated_as_absent(text) {
        return vec![replace_absent_text(lines, &new_lines)];
    }
    let Some(document) = document else {
        return vec![insert_lines_at(lines, text.len(), &new_lines)];
    };
    let root = &document.root;
    if root.is_empty() {
        return vec![insert_lines_at(lines, document.body.end, &new_lines)];
    }
    let span = root.span.clone();
    let is_quoted = matches!(&root.value, YamlValue::Scalar(scalar) if scalar.style != ScalarStyle::Plain);
    if lines.slice(span.clone()).contains('#') && !is_quoted {
        return replace_brackets(lines, span, &new_lines);
    }
    let line_start = lines.line_start_after_bom(span.start);
    let line_end = lines.line_end(span.end);
    if lines.is_whitespace(line_start..span.start) && lines.is_whitespace(span.end..line_end) {
        let next_line = lines.next_line_start(span.end);
        let mut block = lines.with_trailing_breaks(&new_lines);
        if next_line == line_end {
            block.truncate(block.len() - lines.line_break.len());
        }
        return vec![Splice::replace(line_start..next_line, block)];
    }
    // Something else is on the line, such as the marker and the comment of `--- [] # comment`. Both are kept.
    let before = lines.slice(line_start..span.start).trim_end_matches([' ', '\t']);
    let mut removed = line_start + before.len()..span.end;
    if before.is_empty() {
        removed.end = skip_spaces(lines, span.end);
    }
    vec![Splice::delete(removed), lines.insert_lines_after(span.end, &new_lines)]
}

/// Replaces a text that the authenticator treats like an absent key. Blank lines around it are kept.
fn replace_absent_text(lines: TextLines<'_>, new_lines: &[String]) -> Splice {
    let text = lines.text;
    let leading = text.len() - text.trim_start().len();
    // YAML does not accept other whitespace before a block list, so that is not kept.
    let can_keep_leading = lines.slice(0..leading).chars().all(|c| matches!(c, ' ' | '\n' | '\r'));
    let start = if can_keep_leading { lines.line_start(leading) } else { 0 };
    let end = text.trim_end().len().max(start);
    let mut block = lines.with_trailing_breaks(new_lines);
    let has_break_after = text.get(end..).is_some_and(|rest| rest.contains('\n'));
    if has_break_after {
        block.truncate(block.len() - lines.line_break.len());
        return Splice::replace(start..end, block);
    }
    Splice::replace(start..text.len(), block)
}

fn skip_spaces(lines: TextLines<'_>, offset: usize) -> usize {
    let rest = lines.slice(offset..lines.text.len());
    lines.text.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// Replaces the brackets of an empty flow list that contains comments. The comments are kept. A line that contains only a
/// bracket is removed with it.
fn replace_brackets(lines: TextLines<'_>, list: Range<usize>, new_lines: &[String]) -> Vec<Splice> {
    let own_line = |bracket: &Range<usize>| {
        let line = lines.line_start_after_bom(bracket.start)..lines.line_end(bracket.end);
        let is_alone = lines.is_whitespace(line.start..bracket.start) && lines.is_whitespace(bracket.end..line.end);
        is_alone.then_some(line)
    };
    let list_text = lines.slice(list.clone());
    let open = list.start..list.start + list_text.find('[').unwrap_or(0) + 1;
    let close = list.end.saturating_sub(1)..list.end;
    let removed = match own_line(&open) {
        Some(line) => line.start..lines.next_line_start(line.end),
        None if lines.line_start_after_bom(open.start) == open.start => open.start..skip_spaces(lines, open.end),
        None => open,
    };
    let mut splices = vec![Splice::delete(removed)];
    match own_line(&close) {
        Some(line) => splices.push(Splice::replace(line, new_lines.join(lines.line_break))),
        None => splices.extend([Splice::delete(close), lines.insert_lines_after(list.end, new_lines)]),
    }
    splices
}

/// Inserts whole lines at an offset. If the offset is inside a line, a line break is inserted first.
fn insert_lines_at(lines: TextLines<'_>, offset: usize, new_lines: &[String]) -> Splice {
    if lines.line_start_after_bom(offset) == offset {
        Splice::insert(offset, lines.with_trailing_breaks(new_lines))
    } else {
        Splice::insert(offset, lines.with_leading_breaks(new_lines))
    }
}
