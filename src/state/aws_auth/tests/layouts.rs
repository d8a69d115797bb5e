//! Property test of edits on lists of entries in every common layout. All texts are valid and no edit may be rejected,
//! unlike with the random texts of `corpus`. proptest shrinks a failure to a minimal text.

use proptest::prelude::*;

use super::edits::{NAMES, add_and_remove, edit_and_verify, expected_entries};
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, Section, parse_section};
use crate::yaml::{double_quoted, is_plain_safe, quoted};

/// One entry and its layout.
#[derive(Debug, Clone)]
struct LayoutEntry {
    username: Option<String>,
    groups: Vec<String>,
    quotes: bool,
    style: EntryStyle,
    groups_in_flow: bool,
    groups_indent: usize,
    /// Whether there are comments above the entry, on the line of its principal, and below it.
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

/// The layout that all entries of a text share.
#[derive(Debug, Clone)]
struct SectionLayout {
    indent: usize,
    gap: usize,
    line_end: &'static str,
    byte_order_mark: bool,
    head: &'static str,
    tail: &'static str,
    final_line_end: bool,
    /// The whole list is in brackets, and every entry begins a line.
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

    /// Returns the lines of the entry. The first one follows a dash or a bracket.
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
        let entry_lines = if layout.flow { entry.as_flow().lines(number) } else { entry.lines(number) };
        let last = entry_lines.len() - 1;
        let dash = if layout.flow { String::new() } else { format!("-{}", " ".repeat(layout.gap)) };
        for (index, line) in entry_lines.iter().enumerate() {
            let lead = if index == 0 { dash.clone() } else { " ".repeat(dash.len()) };
            let comma = if layout.flow && index == last && number + 1 < entries.len() { "," } else { "" };
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
        let style = if self.style == EntryStyle::Block { EntryStyle::Flow } else { self.style };
        Self { style, ..self.clone() }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("system:masters"), prop::sample::select(NAMES)].prop_map(str::to_owned)
}

fn layout_entry() -> impl Strategy<Value = LayoutEntry> {
    let groups = prop::collection::vec(name(), 0..4);
    let style = prop_oneof![3 => Just(EntryStyle::Block), 1 => Just(EntryStyle::Flow), 1 => Just(EntryStyle::FlowLines), 1 => Just(EntryStyle::Json)];
    let flags = (any::<bool>(), any::<bool>(), any::<[bool; 3]>(), any::<bool>());
    (prop::option::of(name()), groups, style, flags, 0..4_usize).prop_map(
        |(username, groups, style, (quotes, groups_in_flow, comments, note_first), groups_indent)| LayoutEntry {
            username,
            groups,
            quotes,
            style,
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
        |(indent, gap, line_end, (byte_order_mark, final_line_end, flow), (head, tail))| SectionLayout {
            indent,
            gap,
            line_end,
            byte_order_mark,
            head,
            tail,
            final_line_end,
            flow,
        },
    )
}

/// What the edits do to an entry.
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

fn to_entry_edits(entries: &[Entry], changes: &[RandomEdit], additions: Vec<(String, Vec<String>)>) -> Vec<EntryEdit> {
    let mut edits = Vec::new();
    for (index, (entry, change)) in entries.iter().zip(changes).enumerate() {
        match change.clone() {
            RandomEdit::Keep => {}
            RandomEdit::Remove => edits.push(EntryEdit::Remove { index }),
            RandomEdit::Change { username, groups } => {
                let username = username.unwrap_or_else(|| entry.username.clone());
                let groups = groups.unwrap_or_else(|| entry.groups.clone());
                edits.push(EntryEdit::Change { index, entry: Entry { username, groups, ..entry.clone() } });
            }
        }
    }
    edits.extend(additions.into_iter().enumerate().map(|(number, (username, groups))| {
        let principal = EntryPrincipal::Role(format!("arn:aws:iam::111122223333:role/new-{number}"));
        EntryEdit::Add(Entry { principal, username, groups })
    }));
    edits
}

proptest! {
    #[test]
    fn edits_succeed_in_every_layout_and_lose_no_text(
        layout in layout(),
        entries in prop::collection::vec((layout_entry(), random_edit()), 1..5),
        additions in prop::collection::vec((name(), prop::collection::vec(name(), 0..3)), 0..3),
    ) {
        let (layout_entries, changes): (Vec<LayoutEntry>, Vec<RandomEdit>) = entries.into_iter().unzip();
        let text = section_text(&layout, &layout_entries);
        let parsed = parse_section(Section::Roles, &text).unwrap();
        let old_entries: Vec<Entry> = parsed.entries.iter().map(|located| located.entry.clone()).collect();
        prop_assert_eq!(old_entries.len(), layout_entries.len(), "{:?}", text);
        let edits = to_entry_edits(&old_entries, &changes, additions);
        let edited = edit_and_verify(Section::Roles, &text, &edits);
        prop_assert!(edited.is_ok(), "{:?}\n{:?}\n{:#?}", edited, text, edits);
        // Requesting the same entries again changes nothing.
        let edited = edited.unwrap();
        let new_entries = expected_entries(&parsed, &edits).into_iter().enumerate();
        let same: Vec<EntryEdit> = new_entries.map(|(index, entry)| EntryEdit::Change { index, entry }).collect();
        prop_assert_eq!(edit_and_verify(Section::Roles, &edited, &same), Ok(edited));
    }

    #[test]
    fn entry_that_is_added_and_removed_leaves_no_trace_in_any_layout(
        layout in layout(),
        entries in prop::collection::vec(layout_entry(), 1..5),
        (username, groups) in (name(), prop::collection::vec(name(), 0..3)),
    ) {
        let text = section_text(&layout, &entries);
        let principal = EntryPrincipal::Role("arn:aws:iam::111122223333:role/new".to_owned());
        let (added, removed) = add_and_remove(Section::Roles, &text, &Entry { principal, username, groups }).unwrap();
        prop_assert_eq!(&removed, &text, "{}", added);
    }
}
