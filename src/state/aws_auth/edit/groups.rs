//! Changes of the groups of an entry. Groups are added to and removed from the existing list in its own style. A value
//! that is not a list is replaced by one.

use std::collections::BTreeMap;

use crate::yaml::{Decoded, DecodedNode, MappingPair, YamlSequence, YamlValue, double_quoted, is_plain_safe, quoted};

use super::super::go_json::as_text;
use super::change::EntryEditor;
use super::flow::{self, FlowElement};
use super::splice::{Splice, indentation};
use super::style::{gap_after_dash, is_double_quoted};
use super::{EditError, element_lines};

/// If the changed middle of a list needs more comparisons, it is replaced as a whole.
const MAX_COMPARISONS: usize = 250_000;

/// Returns the groups of the existing list. `None` is an element that never equals a requested group, so it is
/// replaced.
///
/// The authenticator reads an element that is not a string as the empty string. But if the key occurs in several
/// spellings, the element keeps the text from the list of another spelling, so its value is not known here.
pub(super) fn group_names(value: &DecodedNode<'_>, is_only_key: bool) -> Vec<Option<String>> {
    let Decoded::Sequence(items) = &value.content else {
        return Vec::new();
    };
    let name = |item| match as_text(item) {
        Some(text) => Some(text.to_owned()),
        None => is_only_key.then(String::new),
    };
    items.iter().map(name).collect()
}

pub(super) fn set_groups(
    editor: &EntryEditor<'_>,
    pair: &MappingPair,
    old: &[Option<String>],
    new: &[String],
) -> Result<Vec<Splice>, EditError> {
    if let YamlValue::Sequence(list) = &pair.value.value
        && !list.items.is_empty()
    {
        editor.anchor_uses.check_change(&pair.value)?;
        let diff = GroupsDiff::new(old, new);
        for (item, keep) in list.items.iter().zip(&diff.keep) {
            if !keep {
                editor.anchor_uses.check_removal(&item.node)?;
            }
        }
        if list.flow {
            return Ok(edit_flow_groups(editor, list, &diff));
        }
        return edit_block_groups(editor, pair, list, &diff);
    }
    editor.anchor_uses.check_removal(&pair.value)?;
    replace_groups(editor, pair, new)
}

fn edit_flow_groups(editor: &EntryEditor<'_>, list: &YamlSequence, diff: &GroupsDiff) -> Vec<Splice> {
    let uses_quotes = list.items.iter().any(|item| is_double_quoted(&item.node));
    let format_group = |group: &String| {
        if !uses_quotes && is_plain_safe(group) { group.clone() } else { double_quoted(group) }
    };
    let elements: Vec<FlowElement> = list
        .items
        .iter()
        .zip(&diff.keep)
        .map(|(item, keep)| FlowElement { span: item.node.span.clone(), comma: item.comma, keep: *keep })
        .collect();
    let insertions = diff.insertions.iter();
    let insertions = insertions.map(|(index, groups)| (*index, groups.iter().map(format_group).collect()));
    flow::edit_flow_collection(editor.lines, &elements, &insertions.collect(), editor.flow_style.separator_gap())
}

fn edit_block_groups(
    editor: &EntryEditor<'_>,
    pair: &MappingPair,
    list: &YamlSequence,
    diff: &GroupsDiff,
) -> Result<Vec<Splice>, EditError> {
    let lines = editor.lines;
    let is_emptied = diff.insertions.is_empty() && !diff.keep.contains(&true);
    let dash_columns = list.items.iter().map(|item| item.dash.and_then(|dash| lines.indent_at(dash)));
    let Some(dash_columns) = dash_columns.collect::<Option<Vec<usize>>>() else {
        return replace_groups(editor, pair, &diff.target);
    };
    let has_tag_or_anchor = pair.value.tag.is_some() || pair.value.anchor.is_some();
    if is_emptied && has_tag_or_anchor {
        return replace_groups(editor, pair, &[]);
    }
    let uses_quotes = list.items.iter().all(|item| is_double_quoted(&item.node));
    let indent = indentation(dash_columns.first().copied().unwrap_or(0));
    let gap = list.items.first().and_then(|item| gap_after_dash(lines, item)).unwrap_or(1);
    let format_line = |group: &String| {
        let text = if uses_quotes { double_quoted(group) } else { quoted(group) };
        format!("{indent}-{}{text}", indentation(gap))
    };
    let mut splices = Vec::new();
    for (item, keep) in list.items.iter().zip(&diff.keep) {
        if !keep {
            splices.push(Splice::delete(element_lines(lines, item.dash, &item.node)?));
        }
    }
    for (index, groups) in &diff.insertions {
        let new_lines: Vec<String> = groups.iter().map(format_line).collect();
        let mut before = list.items.iter().zip(&diff.keep).take(*index);
        splices.push(match before.rfind(|(_, keep)| **keep) {
            Some((item, _)) => {
                let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
                lines.insert_lines_after(end, &new_lines)
            }
            None => {
                let first_dash = list.items.first().and_then(|item| item.dash).unwrap_or(0);
                Splice::insert(lines.line_start_after_bom(first_dash), lines.with_trailing_breaks(&new_lines))
            }
        });
    }
    if is_emptied {
        let colon = pair.colon.ok_or_else(|| editor.layout_error("the key `groups` has no colon"))?;
        splices.push(Splice::insert(colon + 1, " []"));
    }
    Ok(splices)
}

/// Replaces the `groups` value with a list if the value is an alias or is not a list.
fn replace_groups(editor: &EntryEditor<'_>, pair: &MappingPair, new: &[String]) -> Result<Vec<Splice>, EditError> {
    let lines = editor.lines;
    let span = pair.value.span.clone();
    let is_on_one_line = lines.line_end(span.start) >= span.end;
    if editor.mapping.flow || new.is_empty() || !is_on_one_line || pair.question_mark.is_some() {
        if editor.can_contain_comments(&pair.value) {
            return Err(editor.layout_error("comments inside `groups` would be lost"));
        }
        let list = if editor.mapping.flow {
            editor.flow_style.format_list(new, lines)
        } else {
            let groups: Vec<String> = new.iter().map(|group| double_quoted(group)).collect();
            format!("[{}]", groups.join(", "))
        };
        return editor.set_value(pair, &list);
    }
    let Some(colon) = pair.colon else {
        return Err(editor.layout_error("the key `groups` has no colon"));
    };
    let new_lines = new.iter().map(|group| editor.style.format_group_line(pair.key.column, group));
    let mut splices = Vec::new();
    if !pair.value.is_empty() {
        splices.push(Splice::delete(colon + 1..span.end));
    }
    let end = pair.span().end;
    splices.push(lines.insert_lines_after(end, &new_lines.collect::<Vec<_>>()));
    Ok(splices)
}

/// The difference between the old and the new list of groups.
struct GroupsDiff {
    /// Whether each old group is kept.
    keep: Vec<bool>,
    /// New groups by the index of the old group before which they are inserted. The index after the last one appends.
    insertions: BTreeMap<usize, Vec<String>>,
    /// The new list.
    target: Vec<String>,
}

impl GroupsDiff {
    fn new(old: &[Option<String>], new: &[String]) -> Self {
        let is_same = |(old, new): &(&Option<String>, &String)| old.as_ref() == Some(new);
        let prefix = old.iter().zip(new).take_while(is_same).count();
        let suffixes = old.iter().skip(prefix).rev().zip(new.iter().skip(prefix).rev());
        let suffix = suffixes.take_while(is_same).count();
        let old_middle = old.get(prefix..old.len() - suffix).unwrap_or_default();
        let new_middle = new.get(prefix..new.len() - suffix).unwrap_or_default();
        let mut diff = Self { keep: vec![true; old.len()], insertions: BTreeMap::new(), target: new.to_vec() };
        let common = longest_common_subsequence(old_middle, new_middle);
        for (index, keep) in diff.keep.iter_mut().enumerate() {
            let in_middle = index.checked_sub(prefix).filter(|index| *index < old_middle.len());
            *keep = in_middle.is_none_or(|index| common.iter().any(|(old_index, _)| *old_index == index));
        }
        for (index, name) in new_middle.iter().enumerate() {
            if common.iter().any(|(_, new_index)| *new_index == index) {
                continue;
            }
            let next_common = common.iter().find(|(_, new_index)| *new_index > index);
            let insert_before = next_common.map_or(old_middle.len(), |(old_index, _)| *old_index);
            diff.insertions.entry(prefix + insert_before).or_default().push(name.clone());
        }
        diff
    }
}

/// Returns a longest common subsequence as pairs of an old index and a new index.
fn longest_common_subsequence(old: &[Option<String>], new: &[String]) -> Vec<(usize, usize)> {
    if old.is_empty() || new.is_empty() || old.len() * new.len() > MAX_COMPARISONS {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_usize; (old.len() + 1) * width];
    let at = |lengths: &[usize], row: usize, column: usize| lengths.get(row * width + column).copied().unwrap_or(0);
    for (row, old_group) in old.iter().enumerate().rev() {
        for (column, new_group) in new.iter().enumerate().rev() {
            let length = if old_group.as_ref() == Some(new_group) {
                at(&lengths, row + 1, column + 1) + 1
            } else {
                at(&lengths, row + 1, column).max(at(&lengths, row, column + 1))
            };
            if let Some(cell) = lengths.get_mut(row * width + column) {
                *cell = length;
            }
        }
    }
    let mut pairs = Vec::new();
    let (mut row, mut column) = (0, 0);
    while row < old.len() && column < new.len() {
        if old.get(row).and_then(Option::as_ref) == new.get(column) {
            pairs.push((row, column));
            row += 1;
            column += 1;
        } else if at(&lengths, row + 1, column) >= at(&lengths, row, column + 1) {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs
}
