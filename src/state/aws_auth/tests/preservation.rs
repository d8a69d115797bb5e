//! What an edit must leave alone, told without looking at how edits are made. Outside of the entries that are edited
//! that is everything; inside of a changed one it is every comment and every line or pair that the change is not about.

use std::ops::Range;

use crate::state::aws_auth::{Entry, EntryEdit, ParsedSection};
use crate::yaml::{
    MappingPair, ScalarStyle, SequenceItem, YamlDocument, YamlMapping, YamlNode, YamlSequence, YamlValue,
    parse_first_document,
};

/// What the edits want of an entry that is in the old text.
enum ItemChange {
    Removed,
    Changed(Vec<&'static str>),
}

/// Says what of the old text is missing, or stands in another order, in the new one.
pub(crate) fn lost_text(old: &str, new: &str, reading: &ParsedSection, edits: &[EntryEdit]) -> Option<String> {
    if old.starts_with('\u{feff}') != new.starts_with('\u{feff}') {
        return Some("the byte order mark".to_owned());
    }
    let document = parse_first_document(old).ok().flatten();
    let list = document.as_ref().and_then(|document| Some((document, root_list(document)?)));
    let Some((document, list)) = list else {
        return first_missing(&texts(old, &comment_ranges(old, document.as_ref())), &comment_texts(new));
    };
    if !new.starts_with(old[..document.body.start].trim_end_matches(' ')) {
        return Some("what stands before the document".to_owned());
    }
    if !new.ends_with(&old[document.span.end..]) {
        return Some("what stands behind the document".to_owned());
    }
    let wishes: Vec<Option<ItemChange>> = list.items.iter().map(|item| item_change(item, reading, edits)).collect();
    let kept = kept_comments(old, document, list, &wishes);
    let comment = first_missing(&texts(old, &kept), &comment_texts(new));
    if comment.is_some() {
        return comment;
    }
    if list.flow {
        return first_missing(&kept_bytes(old, list, &wishes), &[new.to_owned()]);
    }
    // Breaks that only YAML 1.1 counts are not this test's matter.
    if old.replace("\r\n", "\n").contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return None;
    }
    let bytes = kept_bytes(old, list, &wishes);
    first_missing(&kept_lines(old, list, &wishes), &to_lines(new)).or_else(|| first_missing(&bytes, &[new.to_owned()]))
}

fn root_list(document: &YamlDocument) -> Option<&YamlSequence> {
    match &document.root.value {
        YamlValue::Sequence(list) if !list.items.is_empty() => Some(list),
        _ => None,
    }
}

fn item_change(item: &SequenceItem, reading: &ParsedSection, edits: &[EntryEdit]) -> Option<ItemChange> {
    let index = reading.entries.iter().position(|found| found.span == item.node.span)?;
    edits.iter().find_map(|edit| match edit {
        EntryEdit::Remove { index: gone } if *gone == index => Some(ItemChange::Removed),
        EntryEdit::Change { index: changed, entry: to } if *changed == index => {
            let fields = changed_fields(&reading.entries[index].entry, to);
            (!fields.is_empty()).then_some(ItemChange::Changed(fields))
        }
        _ => None,
    })
}

fn changed_fields(from: &Entry, to: &Entry) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if from.username != to.username {
        fields.push("username");
    }
    if from.groups != to.groups {
        fields.push("groups");
    }
    if from.principal != to.principal {
        fields.extend(["rolearn", "userarn"]);
    }
    fields
}

/// Every text is found in one of the other texts, each behind the one before; else the first that is not.
fn first_missing(wanted: &[String], found: &[String]) -> Option<String> {
    let mut at = 0;
    let mut from = 0;
    for text in wanted {
        loop {
            let Some(place) = found.get(at) else {
                return Some(format!("{text:?}"));
            };
            match place[from..].find(text.as_str()) {
                Some(start) if found.len() == 1 => {
                    from += start + text.len();
                    break;
                }
                Some(_) if place == text => {
                    at += 1;
                    break;
                }
                _ if found.len() == 1 => return Some(format!("{text:?}")),
                _ => at += 1,
            }
        }
    }
    None
}

fn texts(text: &str, ranges: &[Range<usize>]) -> Vec<String> {
    ranges.iter().map(|range| text[range.clone()].trim_end().to_owned()).collect()
}

fn to_lines(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

/// Lines that no edit is about. A blank line at the end of a block text with `|+` is content of that text.
fn kept_lines(old: &str, list: &YamlSequence, wishes: &[Option<ItemChange>]) -> Vec<String> {
    let mut touched: Vec<Range<usize>> = Vec::new();
    for (item, wish) in list.items.iter().zip(wishes) {
        let whole = item.dash.unwrap()..item.node.span.end.max(item.dash.unwrap() + 1);
        match wish {
            None => {}
            Some(ItemChange::Removed) => touched.push(whole),
            Some(ItemChange::Changed(_)) if is_flow(&item.node) => touched.push(whole),
            Some(ItemChange::Changed(fields)) => touched.extend(changed_pairs(item, fields).map(MappingPair::span)),
        }
    }
    let mut at = 0;
    let mut kept = Vec::new();
    for line in old.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let ours = touched.iter().any(|touched| {
            let inside = range.start < touched.end && touched.start < range.end;
            inside || (range.start == touched.end && line.trim().is_empty())
        });
        if !ours {
            kept.push(line.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned());
        }
    }
    kept
}

/// New pairs stand on the lines of the old ones here.
fn is_flow(node: &YamlNode) -> bool {
    matches!(&node.value, YamlValue::Mapping(mapping) if mapping.flow)
}

/// The bytes of all entries that stay, and of the pairs of changed ones that the change is not about.
fn kept_bytes(old: &str, list: &YamlSequence, wishes: &[Option<ItemChange>]) -> Vec<String> {
    let mut kept = Vec::new();
    for (item, wish) in list.items.iter().zip(wishes) {
        match (wish, &item.node.value) {
            (Some(ItemChange::Removed), _) => {}
            (Some(ItemChange::Changed(fields)), YamlValue::Mapping(mapping)) => {
                let others = mapping.pairs.iter().filter(|pair| !is_one_of_fields(&pair.key, fields));
                kept.extend(others.map(|pair| old[pair.span()].to_owned()));
            }
            _ => kept.push(old[item.node.span.clone()].to_owned()),
        }
    }
    kept
}

fn changed_pairs<'n>(item: &'n SequenceItem, fields: &'n [&str]) -> impl Iterator<Item = &'n MappingPair> {
    let pairs = match &item.node.value {
        YamlValue::Mapping(YamlMapping { pairs, .. }) => pairs.as_slice(),
        _ => &[],
    };
    pairs.iter().filter(|pair| is_one_of_fields(&pair.key, fields))
}

fn is_one_of_fields(key: &YamlNode, fields: &[&str]) -> bool {
    let fold = |text: &str| text.to_lowercase().replace('ſ', "s");
    matches!(&key.value, YamlValue::Scalar(scalar) if fields.contains(&fold(&scalar.text).as_str()))
}

/// All comments but those of an entry that goes, and those beside a group of a changed list, which may go with it.
fn kept_comments(
    old: &str,
    document: &YamlDocument,
    list: &YamlSequence,
    wishes: &[Option<ItemChange>],
) -> Vec<Range<usize>> {
    let mut gone: Vec<Range<usize>> = Vec::new();
    for (item, wish) in list.items.iter().zip(wishes) {
        let start = item.dash.unwrap_or(item.node.span.start);
        let end_of_line = |at: usize| old[at..].find('\n').map_or(old.len(), |found| at + found);
        match wish {
            None => {}
            Some(ItemChange::Removed) => gone.push(start..end_of_line(item.node.span.end)),
            Some(ItemChange::Changed(fields)) => {
                for pair in changed_pairs(item, fields) {
                    if let YamlValue::Sequence(YamlSequence { items, .. }) = &pair.value.value {
                        let start = |group: &SequenceItem| group.dash.unwrap_or(group.node.span.start);
                        let groups = items.iter().map(|group| (start(group), &group.node));
                        gone.extend(groups.map(|(start, node)| start..end_of_line(node.span.end.max(start))));
                    }
                }
            }
        }
    }
    let all = comment_ranges(old, Some(document)).into_iter();
    all.filter(|comment| !gone.iter().any(|gone| gone.contains(&comment.start))).collect()
}

fn comment_texts(text: &str) -> Vec<String> {
    let document = parse_first_document(text).ok().flatten();
    texts(text, &comment_ranges(text, document.as_ref()))
}

/// Every `#` behind a blank or at the start of a line, but those within scalars, to the end of its line.
fn comment_ranges(text: &str, document: Option<&YamlDocument>) -> Vec<Range<usize>> {
    let mut scalars: Vec<Range<usize>> = Vec::new();
    if let Some(document) = document {
        document.root.walk(&mut |node| {
            if let YamlValue::Scalar(scalar) = &node.value {
                let block = matches!(scalar.style, ScalarStyle::Literal | ScalarStyle::Folded);
                // The header of a block text may have a comment.
                let header = if block { text[node.span.clone()].find('\n').unwrap_or(0) } else { 0 };
                scalars.push(node.span.start + header..node.span.end);
            }
        });
    }
    let end = document.map_or(text.len(), |document| document.span.end);
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut before = '\n';
    for (at, c) in text[..end].char_indices() {
        let begins = c == '#' && (is_break(before) || matches!(before, ' ' | '\t' | '\u{feff}'));
        let inside = found.last().is_some_and(|last| last.contains(&at)) || scalars.iter().any(|s| s.contains(&at));
        if begins && !inside {
            let length = text[at..end].find(is_break).unwrap_or(end - at);
            found.push(at..at + length);
        }
        before = c;
    }
    found
}
