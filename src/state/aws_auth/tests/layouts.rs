//! Lists of entries in every layout that people and tools write, and every edit of them, shrunk to the least that
//! fails. The seeded texts of `corpus` are wilder; these are all sound, so that none may be refused.

use proptest::prelude::*;

use super::edits::{NAMES, edit_and_verify, expected_entries};
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, Section, parse_section};
use crate::yaml::{double_quoted, is_plain_safe, quoted};

/// One entry and how it is written.
#[derive(Debug, Clone)]
struct LayoutEntry {
    username: Option<String>,
    groups: Vec<String>,
    quotes: bool,
    style: EntryStyle,
    groups_in_flow: bool,
    groups_indent: usize,
    /// Above it, beside its principal, below it.
    comments: [bool; 3],
    note_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum EntryStyle {
    Block,
    Flow,
    FlowLines,
    Json,
}

/// What all entries of a text share.
#[derive(Debug, Clone)]
struct SectionLayout {
    indent: usize,
    gap: usize,
    line_end: &'static str,
    byte_order_mark: bool,
    head: &'static str,
    tail: &'static str,
    final_line_end: bool,
    /// The whole list in brackets, one entry on a line.
    flow: bool,
}

impl LayoutEntry {
    fn scalar(&self, text: &str) -> String {
        if self.style == EntryStyle::Block && !self.quotes { quoted(text) } else { self.flow_scalar(text) }
    }

    fn flow_scalar(&self, text: &str) -> String {
        let plain = self.style != EntryStyle::Json && !self.quotes && is_plain_safe(text);
        if plain { text.to_owned() } else { double_quoted(text) }
    }

    fn flow_groups(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(|group| self.flow_scalar(group)).collect();
        format!("[{}]", groups.join(", "))
    }

    /// Its lines, the first to stand behind a dash or a bracket.
    fn lines(&self, number: usize) -> Vec<String> {
        let key = |key: &str| if self.style == EntryStyle::Json { double_quoted(key) } else { key.to_owned() };
        let arn = format!("{}: {}", key("rolearn"), self.scalar(&format!("arn:aws:iam::111122223333:role/{number}")));
        let username = self.username.as_ref().map(|name| format!("{}: {}", key("username"), self.scalar(name)));
        let note = format!("{}: {}", key("note"), self.scalar("# no: comment"));
        let mut pairs = if self.note_first { vec![note, arn] } else { vec![arn, note] };
        pairs.extend(username);
        if self.style == EntryStyle::Block {
            if self.comments[1] {
                pairs[0].push_str(" # beside");
            }
            if self.groups_in_flow || self.groups.is_empty() {
                pairs.push(format!("groups: {} # groups", self.flow_groups()));
            } else {
                pairs.push("groups: # groups".to_owned());
                let indent = " ".repeat(self.groups_indent);
                pairs.extend(self.groups.iter().map(|group| format!("{indent}- {}", self.scalar(group))));
            }
            return pairs;
        }
        pairs.push(format!("{}: {}", key("groups"), self.flow_groups()));
        if self.style == EntryStyle::FlowLines {
            let joined = pairs.join(",\n  ");
            return format!("{{\n  {joined}\n}}").lines().map(str::to_owned).collect();
        }
        vec![format!("{{{}}}", pairs.join(", "))]
    }
}

fn section_text(layout: &SectionLayout, entries: &[LayoutEntry]) -> String {
    let mut lines: Vec<String> = layout.head.lines().map(str::to_owned).collect();
    let indent = " ".repeat(layout.indent);
    if layout.flow {
        lines.push("[".to_owned());
    }
    for (number, entry) in entries.iter().enumerate() {
        if entry.comments[0] {
            lines.push(format!("{indent}# above {number}"));
        }
        let own = if layout.flow { entry.as_flow().lines(number) } else { entry.lines(number) };
        let last = own.len() - 1;
        let lead = if layout.flow { String::new() } else { format!("-{}", " ".repeat(layout.gap)) };
        for (place, line) in own.iter().enumerate() {
            let lead = if place == 0 { lead.clone() } else { " ".repeat(lead.len()) };
            let comma = if layout.flow && place == last && number + 1 < entries.len() { "," } else { "" };
            lines.push(format!("{indent}{lead}{line}{comma}"));
        }
        if entry.comments[2] {
            lines.push(format!("{indent}  # below {number}"));
        }
    }
    if layout.flow {
        lines.push("]".to_owned());
    }
    lines.extend(layout.tail.lines().map(str::to_owned));
    let mut text = lines.join(layout.line_end);
    if layout.final_line_end {
        text.push_str(layout.line_end);
    }
    if layout.byte_order_mark { format!("\u{feff}{text}") } else { text }
}

impl LayoutEntry {
    fn as_flow(&self) -> Self {
        let form = if self.style == EntryStyle::Block { EntryStyle::Flow } else { self.style };
        Self { style: form, ..self.clone() }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("system:masters"), prop::sample::select(NAMES)].prop_map(str::to_owned)
}

fn layout_entry() -> impl Strategy<Value = LayoutEntry> {
    let groups = prop::collection::vec(name(), 0..4);
    let form = prop_oneof![3 => Just(EntryStyle::Block), 1 => Just(EntryStyle::Flow), 1 => Just(EntryStyle::FlowLines), 1 => Just(EntryStyle::Json)];
    let flags = (any::<bool>(), any::<bool>(), any::<[bool; 3]>(), any::<bool>());
    (prop::option::of(name()), groups, form, flags, 0..4_usize).prop_map(
        |(username, groups, form, (quotes, groups_in_flow, comments, note_first), groups_indent)| LayoutEntry {
            username,
            groups,
            quotes,
            style: form,
            groups_in_flow,
            groups_indent,
            comments,
            note_first,
        },
    )
}

const HEADS: &[&str] = &["", "# head\n\n", "---\n", "%YAML 1.1\n# head\n--- # here\n", "\n"];
const TAILS: &[&str] = &["", "# tail\n", "\n\n", "...\n# tail\n", "---\n- {{ not read\n"];

fn layout() -> impl Strategy<Value = SectionLayout> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let strings = (prop::sample::select(HEADS), prop::sample::select(TAILS));
    let line_end = prop::sample::select(&["\n", "\r\n"][..]);
    (0..4_usize, 1..4_usize, line_end, flags, strings).prop_map(
        |(indent, gap, line_end, (mark, final_line_end, flow), (head, tail))| SectionLayout {
            indent,
            gap,
            line_end,
            byte_order_mark: mark,
            head,
            tail,
            final_line_end,
            flow,
        },
    )
}

/// What becomes of an entry.
#[derive(Debug, Clone)]
enum RandomEdit {
    Keep,
    Remove,
    Change { username: Option<String>, groups: Option<Vec<String>> },
}

fn random_edit() -> impl Strategy<Value = RandomEdit> {
    let groups = prop::option::of(prop::collection::vec(name(), 0..4));
    let changes =
        (prop::option::of(name()), groups).prop_map(|(username, groups)| RandomEdit::Change { username, groups });
    prop_oneof![Just(RandomEdit::Keep), Just(RandomEdit::Remove), changes]
}

fn to_entry_edits(entries: &[Entry], fates: &[RandomEdit], adds: Vec<(String, Vec<String>)>) -> Vec<EntryEdit> {
    let mut edits = Vec::new();
    for (index, (entry, fate)) in entries.iter().zip(fates).enumerate() {
        match fate.clone() {
            RandomEdit::Keep => {}
            RandomEdit::Remove => edits.push(EntryEdit::Remove { index }),
            RandomEdit::Change { username, groups } => {
                let username = username.unwrap_or_else(|| entry.username.clone());
                let groups = groups.unwrap_or_else(|| entry.groups.clone());
                edits.push(EntryEdit::Change { index, entry: Entry { username, groups, ..entry.clone() } });
            }
        }
    }
    edits.extend(adds.into_iter().enumerate().map(|(number, (username, groups))| {
        let principal = EntryPrincipal::Role(format!("arn:aws:iam::111122223333:role/new-{number}"));
        EntryEdit::Add(Entry { principal, username, groups })
    }));
    edits
}

proptest! {
    #[test]
    fn any_edits_of_any_layout_are_made_and_lose_nothing(
        layout in layout(),
        entries in prop::collection::vec((layout_entry(), random_edit()), 1..5),
        adds in prop::collection::vec((name(), prop::collection::vec(name(), 0..3)), 0..3),
    ) {
        let (written, fates): (Vec<LayoutEntry>, Vec<RandomEdit>) = entries.into_iter().unzip();
        let text = section_text(&layout, &written);
        let reading = parse_section(Section::Roles, &text).unwrap();
        let found: Vec<Entry> = reading.entries.iter().map(|found| found.entry.clone()).collect();
        prop_assert_eq!(found.len(), written.len(), "{:?}", text);
        let edits = to_entry_edits(&found, &fates, adds);
        let edited = edit_and_verify(Section::Roles, &text, &edits);
        prop_assert!(edited.is_ok(), "{:?}\n{:?}\n{:#?}", edited, text, edits);
        // Made a second time there is nothing left to do.
        let edited = edited.unwrap();
        let again: Vec<EntryEdit> = expected_entries(&reading, &edits).into_iter().enumerate().map(|(index, entry)| EntryEdit::Change { index, entry }).collect();
        prop_assert_eq!(edit_and_verify(Section::Roles, &edited, &again), Ok(edited));
    }
}
