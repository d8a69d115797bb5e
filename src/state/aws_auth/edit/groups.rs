//! Another list of groups for an entry: names go and come in the list that stands there, in its own
//! style; what is no list gives way to one.

use std::collections::BTreeMap;

use crate::yaml::{Node, Pair, Resolved, ScalarStyle, Sense, Sequence, Value, double_quoted, is_plain_safe, quoted};

use super::super::go_json::text_of;
use super::change::Place;
use super::flow::{self, Part};
use super::splice::{Splice, blanks};
use super::style::gap_behind_dash;
use super::{EditError, whole_lines};

/// Above so many comparisons the changed middle of a list is replaced instead of compared.
const MOST_COMPARISONS: usize = 250_000;

/// What the list holds. An element that is no text reads as empty, but where the key is written in
/// other cases, too, it lets through what stands there (`alone` is false): it cannot be relied on.
pub(super) fn names(value: &Resolved<'_>, alone: bool) -> Vec<Option<String>> {
    let Sense::List(items) = &value.sense else {
        return Vec::new();
    };
    let name = |item| match text_of(item) {
        Some(text) => Some(text.to_owned()),
        None => alone.then(String::new),
    };
    items.iter().map(name).collect()
}

pub(super) fn set(
    place: &Place<'_>,
    pair: &Pair,
    old: &[Option<String>],
    to: &[String],
) -> Result<Vec<Splice>, EditError> {
    if let Value::Sequence(list) = &pair.value.value
        && !list.items.is_empty()
    {
        place.uses.allow_change(&pair.value)?;
        let difference = Difference::of(old, to);
        for (item, keep) in list.items.iter().zip(&difference.keep) {
            if !keep {
                place.uses.allow_removal(&item.node)?;
            }
        }
        if list.flow {
            return Ok(in_flow(place, list, &difference));
        }
        return in_block(place, pair, list, &difference);
    }
    place.uses.allow_removal(&pair.value)?;
    instead(place, pair, to)
}

fn in_flow(place: &Place<'_>, list: &Sequence, difference: &Difference) -> Vec<Splice> {
    let json = list.items.iter().any(|item| is_double_quoted(&item.node));
    let write = |group: &String| {
        if !json && is_plain_safe(group) { group.clone() } else { double_quoted(group) }
    };
    let parts: Vec<Part> = list
        .items
        .iter()
        .zip(&difference.keep)
        .map(|(item, keep)| Part { span: item.node.span.clone(), comma: item.comma, keep: *keep })
        .collect();
    let new = difference.new.iter();
    let new = new.map(|(at, groups)| (*at, groups.iter().map(write).collect()));
    flow::rearrange(place.lines, &parts, &new.collect(), place.flow.gap())
}

fn in_block(
    place: &Place<'_>,
    pair: &Pair,
    list: &Sequence,
    difference: &Difference,
) -> Result<Vec<Splice>, EditError> {
    let lines = place.lines;
    let emptied = difference.new.is_empty() && !difference.keep.contains(&true);
    let dashes = list.items.iter().map(|item| item.dash.and_then(|dash| lines.indent_of(dash)));
    let Some(columns) = dashes.collect::<Option<Vec<usize>>>() else {
        return instead(place, pair, &difference.whole);
    };
    let bare = pair.value.tag.is_none() && pair.value.anchor.is_none();
    if emptied && !bare {
        return instead(place, pair, &[]);
    }
    let quotes = list.items.iter().all(|item| is_double_quoted(&item.node));
    let indent = blanks(columns.first().copied().unwrap_or(0));
    let gap = list.items.first().and_then(|item| gap_behind_dash(lines, item)).unwrap_or(1);
    let write = |group: &String| {
        let text = if quotes { double_quoted(group) } else { quoted(group) };
        format!("{indent}-{}{text}", blanks(gap))
    };
    let mut splices = Vec::new();
    for (item, keep) in list.items.iter().zip(&difference.keep) {
        if !keep {
            splices.push(Splice::delete(whole_lines(lines, item.dash, &item.node)?));
        }
    }
    for (at, groups) in &difference.new {
        let new: Vec<String> = groups.iter().map(write).collect();
        let mut before = list.items.iter().zip(&difference.keep).take(*at);
        splices.push(match before.rfind(|(_, keep)| **keep) {
            Some((item, _)) => {
                let end = item.node.span.end.max(item.dash.map_or(0, |dash| dash + 1));
                lines.insert_after(end, &new)
            }
            None => {
                let first = list.items.first().and_then(|item| item.dash).unwrap_or(0);
                Splice::insert(lines.visible_start_of(first), lines.trailing(&new))
            }
        });
    }
    if emptied {
        let colon = pair.colon.ok_or_else(|| place.odd("the groups have no colon"))?;
        splices.push(Splice::insert(colon + 1, " []"));
    }
    Ok(splices)
}

/// A list in the place of what is none, or of an alias.
fn instead(place: &Place<'_>, pair: &Pair, to: &[String]) -> Result<Vec<Splice>, EditError> {
    let lines = place.lines;
    let span = pair.value.span.clone();
    let one_line = lines.end_of(span.start) >= span.end;
    if place.mapping.flow || to.is_empty() || !one_line || pair.question.is_some() {
        if place.may_hold_comments(&pair.value) {
            return Err(place.odd("the comments within the groups would be lost"));
        }
        let list = if place.mapping.flow {
            place.flow.list(to, lines)
        } else {
            let groups: Vec<String> = to.iter().map(|group| double_quoted(group)).collect();
            format!("[{}]", groups.join(", "))
        };
        return place.set_value(pair, &list);
    }
    let Some(colon) = pair.colon else {
        return Err(place.odd("the groups have no colon"));
    };
    let new = to.iter().map(|group| place.style.group_line(pair.key.column, group));
    let mut splices = Vec::new();
    if !pair.value.is_empty() {
        splices.push(Splice::delete(colon + 1..span.end));
    }
    let end = pair.span().end;
    splices.push(lines.insert_after(end, &new.collect::<Vec<_>>()));
    Ok(splices)
}

fn is_double_quoted(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted)
}

/// Which old names stay, and which new ones stand before each, or at the end.
struct Difference {
    keep: Vec<bool>,
    new: BTreeMap<usize, Vec<String>>,
    /// The new list.
    whole: Vec<String>,
}

impl Difference {
    fn of(old: &[Option<String>], new: &[String]) -> Self {
        let same = |(one, other): &(&Option<String>, &String)| one.as_ref() == Some(other);
        let head = old.iter().zip(new).take_while(same).count();
        let tails = old.iter().skip(head).rev().zip(new.iter().skip(head).rev());
        let tail = tails.take_while(same).count();
        let old_middle = old.get(head..old.len() - tail).unwrap_or_default();
        let new_middle = new.get(head..new.len() - tail).unwrap_or_default();
        let mut difference = Self { keep: vec![true; old.len()], new: BTreeMap::new(), whole: new.to_vec() };
        let pairs = common(old_middle, new_middle);
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
            difference.new.entry(head + before).or_default().push(name.clone());
        }
        difference
    }
}

/// A longest common subsequence, as pairs of places.
fn common(old: &[Option<String>], new: &[String]) -> Vec<(usize, usize)> {
    if old.is_empty() || new.is_empty() || old.len() * new.len() > MOST_COMPARISONS {
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
