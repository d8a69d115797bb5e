//! Entries in, out and changed by splices into the text. Nothing is ever written anew from a tree,
//! so every byte that an edit does not concern stays. The result is read back by the same reader
//! that tells what the authenticator has; a text that reads otherwise than asked is not returned.

mod add;
mod change;
mod flow;
mod groups;
mod guard;
mod splice;
mod style;
mod verify;

use std::collections::BTreeMap;

use crate::yaml::{Document, Node, Sequence, Value};

use super::entry::{New, Principal, Section};
use super::read::{Elements, SectionError, elements};
use flow::Part;
use guard::Uses;
use splice::{Lines, Splice, apply};

/// One wish. Indices are those of the reading of the text that is edited, whatever else is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Behind all others.
    Add(New),
    /// The principal stays but for the case of its letters.
    Change {
        index: usize,
        to: New,
    },
    Remove {
        index: usize,
    },
}

/// Why a text is not edited. Nothing is returned then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error("the section cannot be read")]
    Unreadable(#[from] SectionError),
    #[error("there is no entry {index} among {count}")]
    NoSuchEntry { index: usize, count: usize },
    #[error("entry {index} is edited twice")]
    EditedTwice { index: usize },
    #[error("{section} cannot hold this kind of entry")]
    WrongKind { section: Section },
    #[error("entry {index} on line {line} is of another principal")]
    OtherPrincipal { index: usize, line: usize },
    #[error("the anchor `{anchor}` on line {line} is used on line {used_on}")]
    AnchorInUse { anchor: String, line: usize, used_on: usize },
    #[error("the entry on line {line} is an alias of another")]
    EntryIsAlias { line: usize },
    #[error("line {line}: {what}")]
    Layout { line: usize, what: &'static str },
    #[error("the edited text would not read as asked: {what}")]
    ReadBack { what: String },
}

/// What becomes of an element of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate<'e> {
    Stays,
    Changes(&'e New),
    Goes,
}

/// The wishes, sorted by what they concern.
struct Wishes<'e> {
    /// One for each element of the list, those that do not count included.
    fates: Vec<Fate<'e>>,
    adds: Vec<&'e New>,
}

/// Answers the text with the edits made. `None` stands for an absent key.
pub(crate) fn edit(section: Section, text: Option<&str>, edits: &[Edit]) -> Result<String, EditError> {
    let text = text.unwrap_or_default();
    let before = elements(section, text)?;
    let wishes = sort(section, &before, edits)?;
    let splices = splices(section, text, &before, &wishes)?;
    let overlap = || EditError::ReadBack { what: "two edits meet in one place".to_owned() };
    let edited = apply(text, splices).ok_or_else(overlap)?;
    verify::check(section, &before, &wishes, &edited)?;
    Ok(edited)
}

fn sort<'e>(section: Section, before: &Elements, edits: &'e [Edit]) -> Result<Wishes<'e>, EditError> {
    let counting = before.list.iter().enumerate().filter(|(_, element)| element.outcome.is_ok());
    let places: Vec<usize> = counting.map(|(place, _)| place).collect();
    let mut wishes = Wishes { fates: vec![Fate::Stays; before.list.len()], adds: Vec::new() };
    for edit in edits {
        let (index, fate) = match edit {
            Edit::Add(new) => {
                check_kind(section, new)?;
                if matches!(new.principal, Principal::Sso(_)) {
                    return Err(EditError::WrongKind { section });
                }
                wishes.adds.push(new);
                continue;
            }
            Edit::Change { index, to } => {
                check_kind(section, to)?;
                (*index, Fate::Changes(to))
            }
            Edit::Remove { index } => (*index, Fate::Goes),
        };
        let place = places.get(index);
        let count = places.len();
        let slot = place.and_then(|place| wishes.fates.get_mut(*place));
        let slot = slot.ok_or(EditError::NoSuchEntry { index, count })?;
        if *slot != Fate::Stays {
            return Err(EditError::EditedTwice { index });
        }
        *slot = fate;
        let element = place.and_then(|place| before.list.get(*place));
        if let (Fate::Changes(to), Some(element)) = (fate, element)
            && let Ok(entry) = &element.outcome
            && !same_but_case(&entry.principal, &to.principal)
        {
            let line = element.line;
            return Err(EditError::OtherPrincipal { index, line });
        }
    }
    Ok(wishes)
}

fn check_kind(section: Section, new: &New) -> Result<(), EditError> {
    let fits = match (&new.principal, section) {
        (Principal::Role(_) | Principal::Sso(_), Section::Roles) | (Principal::User(_), Section::Users) => true,
        (Principal::Account(_), Section::Accounts) => new.username.is_empty() && new.groups.is_empty(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(EditError::WrongKind { section }) }
}

fn same_but_case(one: &Principal, other: &Principal) -> bool {
    match (one, other) {
        (Principal::Role(one), Principal::Role(other)) | (Principal::User(one), Principal::User(other)) => {
            one.eq_ignore_ascii_case(other)
        }
        _ => one == other,
    }
}

/// The list at the root, if there is one that holds something.
fn list_of(document: &Document) -> Option<&Sequence> {
    match &document.root.value {
        Value::Sequence(sequence) if !sequence.items.is_empty() => Some(sequence),
        _ => None,
    }
}

fn splices(section: Section, text: &str, before: &Elements, wishes: &Wishes<'_>) -> Result<Vec<Splice>, EditError> {
    let lines = Lines::new(text);
    let Some((document, list)) = before.document.as_ref().and_then(|document| Some((document, list_of(document)?)))
    else {
        if wishes.adds.is_empty() {
            return Ok(Vec::new());
        }
        let document = before.document.as_ref();
        return Ok(add::to_nothing(section, lines, document, &wishes.adds));
    };
    let nodes = list.items.iter().map(|item| &item.node);
    let staying = nodes.clone().zip(&wishes.fates).filter(|(_, fate)| **fate != Fate::Goes);
    let uses = Uses::of(staying.map(|(node, _)| node));
    for (node, fate) in nodes.zip(&wishes.fates) {
        if *fate == Fate::Goes {
            uses.allow_removal(node)?;
        }
    }
    let changed = wishes.fates.iter().any(|fate| *fate != Fate::Stays);
    if (changed || !wishes.adds.is_empty()) && document.root.anchor.is_some() {
        uses.allow_change(&document.root)?;
    }
    let mut splices = change::entries(section, lines, document, list, before, wishes, &uses)?;
    if list.flow {
        splices.extend(flow_list(section, lines, list, wishes));
    } else {
        splices.extend(block_removals(lines, list, wishes)?);
        splices.extend(add::to_block(section, lines, list, wishes));
    }
    Ok(splices)
}

fn flow_list(section: Section, lines: Lines<'_>, list: &Sequence, wishes: &Wishes<'_>) -> Vec<Splice> {
    let parts: Vec<Part> = list
        .items
        .iter()
        .zip(&wishes.fates)
        .map(|(item, fate)| Part { span: item.node.span.clone(), comma: item.comma, keep: *fate != Fate::Goes })
        .collect();
    let like = list.items.last().map(|item| style::FlowStyle::of(&item.node, lines));
    let like = like.unwrap_or_default();
    let new: Vec<String> = wishes.adds.iter().map(|new| like.entry(section, new, lines)).collect();
    let mut places = BTreeMap::new();
    if !new.is_empty() {
        places.insert(parts.len(), new);
    }
    flow::rearrange(lines, &parts, &places, like.gap())
}

/// The lines of each element that goes; an emptied list is written as one.
fn block_removals(lines: Lines<'_>, list: &Sequence, wishes: &Wishes<'_>) -> Result<Vec<Splice>, EditError> {
    let mut emptied = wishes.adds.is_empty() && wishes.fates.iter().all(|fate| *fate == Fate::Goes);
    let mut splices = Vec::new();
    for (item, fate) in list.items.iter().zip(&wishes.fates) {
        if *fate != Fate::Goes {
            continue;
        }
        let range = whole_lines(lines, item.dash, &item.node)?;
        let text = if emptied {
            let indent = " ".repeat(item.dash.and_then(|dash| lines.indent_of(dash)).unwrap_or(0));
            let ends = lines.end_of(item.node.span.end) < range.end;
            let line_break = if ends { lines.line_break } else { "" };
            format!("{indent}[]{line_break}")
        } else {
            String::new()
        };
        emptied = false;
        splices.push(Splice::replace(range, text));
    }
    Ok(splices)
}

/// From the dash's line to the end of the last line of content.
fn whole_lines(lines: Lines<'_>, dash: Option<usize>, node: &Node) -> Result<std::ops::Range<usize>, EditError> {
    let odd = EditError::Layout { line: node.line, what: "the dash does not stand first on its line" };
    let dash = dash.filter(|dash| lines.indent_of(*dash).is_some()).ok_or(odd)?;
    // A lone dash has its nothing behind it.
    let end = node.span.end.max(dash + 1);
    Ok(lines.visible_start_of(dash)..lines.next_of(end))
}
