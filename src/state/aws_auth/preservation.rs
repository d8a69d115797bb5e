//! Checks which text an edit preserves, independently of how edits are implemented. Outside of the edited entries an edit
//! must preserve everything. Inside a changed entry it must preserve every comment, and every line or pair of a field that
//! does not change.

use std::ops::Range;

use crate::state::aws_auth::{Entry, EntryEdit, ParsedSection};
use crate::yaml::{
    MappingPair, ScalarStyle, SequenceItem, YamlDocument, YamlMapping, YamlNode, YamlSequence, YamlValue,
    parse_first_document,
};

/// What the edits do to a list item of the old text.
enum ItemChange {
    Removed,
    /// The keys whose values change.
    Changed(Vec<&'static str>),
}

/// Returns the first part of the old text that must be preserved and is missing in the new text, or is there in another
/// order. `None` if everything is preserved.
pub(crate) fn lost_text(old: &str, new: &str, parsed: &ParsedSection, edits: &[EntryEdit]) -> Option<String> {
    if old.starts_with('\u{feff}') != new.starts_with('\u{feff}') {
        return Some("the byte order mark".to_owned());
    }
    let document = parse_first_document(old).ok().flatten();
    let list = document.as_ref().and_then(|document| Some((document, root_list(document)?)));
    let Some((document, list)) = list else {
        return first_missing(&texts(old, &comment_ranges(old, document.as_ref())), &comment_texts(new));
    };
    if !new.starts_with(old[..document.body.start].trim_end_matches(' ')) {
        return Some("the text before the document".to_owned());
    }
    if !new.ends_with(&old[document.span.end..]) {
        return Some("the text after the document".to_owned());
    }
    let changes: Vec<Option<ItemChange>> = list.items.iter().map(|item| item_change(item, parsed, edits)).collect();
    let kept = kept_comments(old, document, list, &changes);
    let comment = first_missing(&texts(old, &kept), &comment_texts(new));
    if comment.is_some() {
        return comment;
    }
    if list.flow {
        return first_missing(&kept_bytes(old, list, &changes), &[new.to_owned()]);
    }
    // Lines are compared only in texts without the line breaks that only YAML 1.1 knows.
    if old.replace("\r\n", "\n").contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return None;
    }
    let bytes = kept_bytes(old, list, &changes);
    first_missing(&kept_lines(old, list, &changes), &to_lines(new)).or_else(|| first_missing(&bytes, &[new.to_owned()]))
}

fn root_list(document: &YamlDocument) -> Option<&YamlSequence> {
    match &document.root.value {
        YamlValue::Sequence(list) if !list.items.is_empty() => Some(list),
        _ => None,
    }
}

fn item_change(item: &SequenceItem, parsed: &ParsedSection, edits: &[EntryEdit]) -> Option<ItemChange> {
    let (index, located) = parsed.entries.iter().enumerate().find(|(_, located)| located.span == item.node.span)?;
    edits.iter().find_map(|edit| match edit {
        EntryEdit::Remove { index: removed } if *removed == index => Some(ItemChange::Removed),
        EntryEdit::Change { index: changed, entry } if *changed == index => {
            let fields = changed_fields(&located.entry, entry);
            (!fields.is_empty()).then_some(ItemChange::Changed(fields))
        }
        _ => None,
    })
}

fn changed_fields(old: &Entry, new: &Entry) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if old.username != new.username {
        fields.push("username");
    }
    if old.groups != new.groups {
        fields.push("groups");
    }
    if old.principal != new.principal {
        fields.extend(["rolearn", "userarn"]);
    }
    fields
}

/// Returns the first expected text that is missing or is not in order. A single actual text must contain all expected
/// texts; several actual texts must include all expected texts as whole texts.
fn first_missing(expected: &[String], actual: &[String]) -> Option<String> {
    if let [whole] = actual {
        let mut offset = 0;
        for text in expected {
            match whole[offset..].find(text.as_str()) {
                Some(start) => offset += start + text.len(),
                None => return Some(format!("{text:?}")),
            }
        }
        return None;
    }
    let mut rest = actual.iter();
    expected.iter().find(|text| !rest.any(|other| other == *text)).map(|text| format!("{text:?}"))
}

fn texts(text: &str, ranges: &[Range<usize>]) -> Vec<String> {
    ranges.iter().map(|range| text[range.clone()].trim_end().to_owned()).collect()
}

fn to_lines(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

/// Returns the lines that no edit changes.
fn kept_lines(old: &str, list: &YamlSequence, changes: &[Option<ItemChange>]) -> Vec<String> {
    let mut edited: Vec<Range<usize>> = Vec::new();
    for (item, change) in list.items.iter().zip(changes) {
        let start = item.dash.unwrap_or(item.node.span.start);
        let whole_item = start..item.node.span.end.max(start + 1);
        match change {
            None => {}
            Some(ItemChange::Removed) => edited.push(whole_item),
            Some(ItemChange::Changed(_)) if is_flow(&item.node) => edited.push(whole_item),
            Some(ItemChange::Changed(fields)) => edited.extend(changed_pairs(item, fields).map(MappingPair::span)),
        }
    }
    let mut offset = 0;
    let mut kept = Vec::new();
    for line in old.split_inclusive('\n') {
        let range = offset..offset + line.len();
        offset = range.end;
        let is_edited = edited.iter().any(|edited| {
            let overlaps = range.start < edited.end && edited.start < range.end;
            // A blank line directly after a block scalar with `|+` is part of its value.
            overlaps || (range.start == edited.end && line.trim().is_empty())
        });
        if !is_edited {
            kept.push(line.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned());
        }
    }
    kept
}

/// Returns whether the entry is in braces. An edit then inserts new pairs into the lines of the old ones.
fn is_flow(node: &YamlNode) -> bool {
    matches!(&node.value, YamlValue::Mapping(mapping) if mapping.flow)
}

/// Returns the text of all unedited entries, and of the unchanged pairs of changed entries.
fn kept_bytes(old: &str, list: &YamlSequence, changes: &[Option<ItemChange>]) -> Vec<String> {
    let mut kept = Vec::new();
    for (item, change) in list.items.iter().zip(changes) {
        match (change, &item.node.value) {
            (Some(ItemChange::Removed), _) => {}
            (Some(ItemChange::Changed(fields)), YamlValue::Mapping(mapping)) => {
                let unchanged = mapping.pairs.iter().filter(|pair| !is_one_of_fields(&pair.key, fields));
                kept.extend(unchanged.map(|pair| old[pair.span()].to_owned()));
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

/// Returns all comments except those of removed entries, and those on the lines of the groups of a changed list: such a
/// group and its comment can be removed together.
fn kept_comments(
    old: &str,
    document: &YamlDocument,
    list: &YamlSequence,
    changes: &[Option<ItemChange>],
) -> Vec<Range<usize>> {
    let mut removable: Vec<Range<usize>> = Vec::new();
    for (item, change) in list.items.iter().zip(changes) {
        let start = item.dash.unwrap_or(item.node.span.start);
        let end_of_line = |offset: usize| old[offset..].find('\n').map_or(old.len(), |length| offset + length);
        match change {
            None => {}
            Some(ItemChange::Removed) => removable.push(start..end_of_line(item.node.span.end)),
            Some(ItemChange::Changed(fields)) => {
                for pair in changed_pairs(item, fields) {
                    if let YamlValue::Sequence(YamlSequence { items, .. }) = &pair.value.value {
                        let start = |group: &SequenceItem| group.dash.unwrap_or(group.node.span.start);
                        let groups = items.iter().map(|group| (start(group), &group.node));
                        removable.extend(groups.map(|(start, node)| start..end_of_line(node.span.end.max(start))));
                    }
                }
            }
        }
    }
    let comments = comment_ranges(old, Some(document)).into_iter();
    comments.filter(|comment| !removable.iter().any(|range| range.contains(&comment.start))).collect()
}

fn comment_texts(text: &str) -> Vec<String> {
    let document = parse_first_document(text).ok().flatten();
    texts(text, &comment_ranges(text, document.as_ref()))
}

/// Returns the comments of a text: from every `#` after whitespace or at the start of a line to the end of the line,
/// except inside scalars.
fn comment_ranges(text: &str, document: Option<&YamlDocument>) -> Vec<Range<usize>> {
    let mut scalars: Vec<Range<usize>> = Vec::new();
    if let Some(document) = document {
        document.root.walk(&mut |node| {
            if let YamlValue::Scalar(scalar) = &node.value {
                let block = matches!(scalar.style, ScalarStyle::Literal | ScalarStyle::Folded);
                // The header of a block scalar can have a comment.
                let header = if block { text[node.span.clone()].find('\n').unwrap_or(0) } else { 0 };
                scalars.push(node.span.start + header..node.span.end);
            }
        });
    }
    let end = document.map_or(text.len(), |document| document.span.end);
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut comments: Vec<Range<usize>> = Vec::new();
    let mut previous = '\n';
    for (offset, c) in text[..end].char_indices() {
        let begins_comment = c == '#' && (is_break(previous) || matches!(previous, ' ' | '\t' | '\u{feff}'));
        let is_in_comment = comments.last().is_some_and(|last| last.contains(&offset));
        if begins_comment && !is_in_comment && !scalars.iter().any(|scalar| scalar.contains(&offset)) {
            let length = text[offset..end].find(is_break).unwrap_or(end - offset);
            comments.push(offset..offset + length);
        }
        previous = c;
    }
    comments
}
