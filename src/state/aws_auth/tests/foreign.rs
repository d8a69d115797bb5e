//! What an edit must leave alone, told without looking at how edits are made: the lines outside of
//! the edited entries, and in flow style the bytes of every other entry.

use std::ops::Range;

use crate::state::aws_auth::{Edit, Reading};
use crate::yaml::{Value, first_document};

fn line_ranges(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        let range = at..at + line.len();
        at = range.end;
        range
    });
    lines.collect()
}

/// The spans of the entries that the edits name.
pub(crate) fn touched(reading: &Reading, edits: &[Edit]) -> Vec<Range<usize>> {
    let spans = edits.iter().filter_map(|edit| match edit {
        Edit::Add(_) => None,
        Edit::Change { index, .. } | Edit::Remove { index } => Some(reading.entries[*index].span.clone()),
    });
    spans.collect()
}

/// Says what of the old text is missing, or stands in another order, in the new one.
pub(crate) fn lost(old: &str, new: &str, touched: &[Range<usize>]) -> Option<String> {
    if old.starts_with('\u{feff}') && !new.starts_with('\u{feff}') {
        return Some("the byte order mark".to_owned());
    }
    let new = new.trim_start_matches('\u{feff}');
    let document = first_document(old).ok().flatten();
    let root = document.as_ref().map(|document| &document.root);
    let list = root.and_then(|root| match &root.value {
        Value::Sequence(list) if !list.items.is_empty() => Some(list),
        _ => None,
    });
    let Some(list) = list else {
        // Nothing was there but comments.
        let kept = new_lines_hold(old, new, |line| line.trim_start().starts_with('#'));
        return (!kept).then(|| "a comment".to_owned());
    };
    if list.flow {
        let mut at = 0;
        for item in &list.items {
            let span = item.node.span.clone();
            if touched.contains(&span) || span.is_empty() {
                continue;
            }
            match new[at..].find(&old[span.clone()]) {
                Some(found) => at += found + span.len(),
                None => return Some(format!("{:?}", &old[span])),
            }
        }
        return None;
    }
    // Breaks that only YAML 1.1 counts are not this test's matter.
    if old.replace("\r\n", "\n").contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return None;
    }
    let owners: Vec<Range<usize>> = list
        .items
        .iter()
        .map(|item| item.dash.unwrap()..item.node.span.end.max(item.dash.unwrap() + 1))
        .filter(|range| touched.iter().any(|touched| touched.end == range.end && touched.start > range.start))
        .collect();
    let mut rest: Vec<&str> = new.split_inclusive('\n').collect();
    rest.reverse();
    for line in line_ranges(old) {
        // Behind `|+` a blank line is content, and the last one begins where the content ends.
        let ours = owners.iter().any(|owner| {
            let inside = line.start < owner.end && owner.start < line.end;
            inside || (line.start == owner.end && old[line.clone()].trim().is_empty())
        });
        if ours {
            continue;
        }
        // A last line without a break may get one, as something stands below it now.
        let wanted = old[line].trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
        loop {
            match rest.pop() {
                Some(found) if found.trim_end_matches(['\r', '\n']) == wanted => break,
                Some(_) => {}
                None => return Some(format!("{wanted:?}")),
            }
        }
    }
    None
}

fn new_lines_hold(old: &str, new: &str, counts: impl Fn(&str) -> bool) -> bool {
    let mut rest = new.lines();
    old.lines().filter(|line| counts(line)).all(|line| rest.any(|found| found == line))
}
