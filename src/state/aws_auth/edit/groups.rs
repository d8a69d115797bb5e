//! Another list of groups for an entry: names go and come in the list that stands there, in its own
//! style; what is no list gives way to one.

use std::collections::BTreeMap;

use crate::yaml::{
    Decoded, DecodedNode, MappingPair, ScalarStyle, YamlNode, YamlSequence, YamlValue, double_quoted, is_plain_safe,
    quoted,
};

use super::super::go_json::as_text;
use super::change::EntryEditor;
use super::flow::{self, FlowElement};
use super::splice::{Splice, spaces};
use super::style::gap_after_dash;
use super::{EditError, element_lines};

/// Above so many comparisons the changed middle of a list is replaced instead of compared.
const MAX_COMPARISONS: usize = 250_000;

/// What the list holds. An element that is no text reads as empty, but where the key is written in
/// other cases, too, it lets through what stands there (`alone` is false): it cannot be relied on.
pub(super) fn group_names(value: &DecodedNode<'_>, alone: bool) -> Vec<Option<String>> {
    let Decoded::Sequence(items) = &value.content else {
        return Vec::new();
    };
    let name = |item| match as_text(item) {
        Some(text) => Some(text.to_owned()),
        None => alone.then(String::new),
    };
    items.iter().map(name).collect()
}

pub(super) fn set_groups(
    place: &EntryEditor<'_>,
    pair: &MappingPair,
    old: &[Option<String>],
    to: &[String],
) -> Result<Vec<Splice>, EditError> {
    if let YamlValue::Sequence(list) = &pair.value.value
        && !list.items.is_empty()
    {
        place.anchor_uses.check_change(&pair.value)?;
        let difference = GroupsDiff::new(old, to);
        for (item, keep) in list.items.iter().zip(&difference.keep) {
            if !keep {
                place.anchor_uses.check_removal(&item.node)?;
            }
        }
        if list.flow {
            return Ok(edit_flow_groups(place, list, &difference));
        }
        return edit_block_groups(place, pair, list, &difference);
    }
    place.anchor_uses.check_removal(&pair.value)?;
    replace_groups(place, pair, to)
}

fn edit_flow_groups(place: &EntryEditor<'_>, list: &YamlSequence, difference: &GroupsDiff) -> Vec<Splice> {
    let json = list.items.iter().any(|item| is_double_quoted(&item.node));
    let write = |group: &String| {
        if !json && is_plain_safe(group) { group.clone() } else { double_quoted(group) }
    };
    let parts: Vec<FlowElement> = list
        .items
        .iter()
        .zip(&difference.keep)
        .map(|(item, keep)| FlowElement { span: item.node.span.clone(), comma: item.comma, keep: *keep })
        .collect();
    let new = difference.insertions.iter();
    let new = new.map(|(at, groups)| (*at, groups.iter().map(write).collect()));
    flow::edit_flow_collection(place.lines, &parts, &new.collect(), place.flow_style.separator_gap())
}

fn edit_block_groups(
    place: &EntryEditor<'_>,
    pair: &MappingPair,
    list: &YamlSequence,
    difference: &GroupsDiff,
) -> Result<Vec<Splice>, EditError> {
    let lines = place.lines;
    let emptied = difference.insertions.is_empty() && !difference.keep.contains(&true);
    let dashes = list.items.iter().map(|item| item.dash.and_then(|dash| lines.indent_at(dash)));
    let Some(columns) = dashes.collect::<Option<Vec<usize>>>() else {
        return replace_groups(place, pair, &difference.target);
    };
    let bare = pair.value.tag.is_none() && pair.value.anchor.is_none();
    if emptied && !bare {
        return replace_groups(place, pair, &[]);
    }
    let quotes = list.items.iter().all(|item| is_double_quoted(&item.node));
    let indent = spaces(columns.first().copied().unwrap_or(0));
    let gap = list.items.first().and_then(|item| gap_after_dash(lines, item)).unwrap_or(1);
    let write = |group: &String| {
        let text = if quotes { double_quoted(group) } else { quoted(group) };
        format!("{indent}-{}{text}", spaces(gap))
    };
    let mut splices = Vec::new();
    for (item, keep) in list.items.iter().zip(&difference.keep) {
        if !keep {
            splices.push(Splice::delete(element_lines(lines, item.dash, &item.node)?));
        }
    }
    for (at, groups) in &difference.insertions {
        let new: Vec<String> = groups.iter().map(write).collect();
        let mut before = list.items.iter().zip(&difference.keep).take(*at);
        splices.push(match before.rfind(|(_, keep)| **keep) {
            Some((item, _)) => {
                let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
                lines.insert_lines_after(end, &new)
            }
            None => {
                let first = list.items.first().and_then(|item| item.dash).unwrap_or(0);
                Splice::insert(lines.line_start_after_bom(first), lines.with_trailing_breaks(&new))
            }
        });
    }
    if emptied {
        let colon = pair.colon.ok_or_else(|| place.layout_error("the groups have no colon"))?;
        splices.push(Splice::insert(colon + 1, " []"));
    }
    Ok(splices)
}

/// A list in the place of what is none, or of an alias.
fn replace_groups(place: &EntryEditor<'_>, pair: &MappingPair, to: &[String]) -> Result<Vec<Splice>, EditError> {
    let lines = place.lines;
    let span = pair.value.span.clone();
    let one_line = lines.line_end(span.start) >= span.end;
    if place.mapping.flow || to.is_empty() || !one_line || pair.question_mark.is_some() {
        if place.can_contain_comments(&pair.value) {
            return Err(place.layout_error("the comments within the groups would be lost"));
        }
        let list = if place.mapping.flow {
            place.flow_style.format_list(to, lines)
        } else {
            let groups: Vec<String> = to.iter().map(|group| double_quoted(group)).collect();
            format!("[{}]", groups.join(", "))
        };
        return place.set_value(pair, &list);
    }
    let Some(colon) = pair.colon else {
        return Err(place.layout_error("the groups have no colon"));
    };
    let new = to.iter().map(|group| place.style.format_group_line(pair.key.column, group));
    let mut splices = Vec::new();
    if !pair.value.is_empty() {
        splices.push(Splice::delete(colon + 1..span.end));
    }
    let end = pair.span().end;
    splices.push(lines.insert_lines_after(end, &new.collect::<Vec<_>>()));
    Ok(splices)
}

fn is_double_quoted(node: &YamlNode) -> bool {
    matches!(&node.value, YamlValue::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted)
}

/// Which old names stay, and which new ones stand before each, or at the end.
struct GroupsDiff {
    keep: Vec<bool>,
    insertions: BTreeMap<usize, Vec<String>>,
    /// The new list.
    target: Vec<String>,
}

impl GroupsDiff {
    fn new(old: &[Option<String>], new: &[String]) -> Self {
        let same = |(one, other): &(&Option<String>, &String)| one.as_ref() == Some(other);
        let head = old.iter().zip(new).take_while(same).count();
        let tails = old.iter().skip(head).rev().zip(new.iter().skip(head).rev());
        let tail = tails.take_while(same).count();
        let old_middle = old.get(head..old.len() - tail).unwrap_or_default();
        let new_middle = new.get(head..new.len() - tail).unwrap_or_default();
        let mut difference = Self { keep: vec![true; old.len()], insertions: BTreeMap::new(), target: new.to_vec() };
        let pairs = longest_common_subsequence(old_middle, new_middle);
        for (place, keep) in difference.keep.iter_mut().enumerate() {
            let middle = place.checked_sub(head).filter(|place| *place < old_middle.len());
            *keep = middle.is_none_or(|middle| pairs.iter().any(|(old, _)| *old == middle));
        }
        for (place, name) in new_middle.iter().enumerate() {
            if pairs.iter().any(|(_, new)| *new == place) {
                continue;
            }
            let next = pairs.iter().find(|(_, new)| *new > place);
            let before = next.map_or(old_middle.len(), |(old, _)| *old);
            difference.insertions.entry(head + before).or_default().push(name.clone());
        }
        difference
    }
}

/// A longest common subsequence, as pairs of places.
fn longest_common_subsequence(old: &[Option<String>], new: &[String]) -> Vec<(usize, usize)> {
    if old.is_empty() || new.is_empty() || old.len() * new.len() > MAX_COMPARISONS {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_usize; (old.len() + 1) * width];
    let at = |lengths: &[usize], row: usize, column: usize| lengths.get(row * width + column).copied().unwrap_or(0);
    for (row, one) in old.iter().enumerate().rev() {
        for (column, other) in new.iter().enumerate().rev() {
            let length = if one.as_ref() == Some(other) {
                at(&lengths, row + 1, column + 1) + 1
            } else {
                at(&lengths, row + 1, column).max(at(&lengths, row, column + 1))
            };
            if let Some(slot) = lengths.get_mut(row * width + column) {
                *slot = length;
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
