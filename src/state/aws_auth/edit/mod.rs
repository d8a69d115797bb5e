//! Entries in, out and changed by splices into the text. Nothing is ever written anew from a tree,
//! so every byte that an edit does not concern stays. The result is read back by the same reader
//! that tells what the authenticator has; a text that reads otherwise than asked is not returned.

mod add;
mod anchor_uses;
mod change;
mod flow;
mod groups;
mod splice;
mod style;
mod verify;

use std::collections::BTreeMap;

use crate::yaml::{YamlDocument, YamlNode, YamlSequence, YamlValue};

use super::entry::{EntryPrincipal, NewEntry, Section};
use super::parse::{ParsedList, SectionError, parse_list};
use anchor_uses::AnchorUses;
use flow::FlowElement;
use splice::{Splice, TextLines, apply_splices};

/// One wish. Indices are those of the reading of the text that is edited, whatever else is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryEdit {
    /// Behind all others.
    Add(NewEntry),
    /// The principal stays but for the case of its letters.
    Change {
        index: usize,
        entry: NewEntry,
    },
    Remove {
        index: usize,
    },
}

/// Why a text is not edited. Nothing is returned then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error("the section cannot be read")]
    UnreadableSection(#[from] SectionError),
    #[error("there is no entry {index} among {count}")]
    NoSuchEntry { index: usize, count: usize },
    #[error("entry {index} is edited twice")]
    EditedTwice { index: usize },
    #[error("{section} cannot hold this kind of entry")]
    WrongSection { section: Section },
    #[error("entry {index} on line {line} is of another principal")]
    PrincipalMismatch { index: usize, line: usize },
    #[error("the anchor `{anchor}` on line {line} is used on line {used_on}")]
    AnchorInUse { anchor: String, line: usize, used_on: usize },
    #[error("the entry on line {line} is an alias of another")]
    EntryIsAlias { line: usize },
    #[error("line {line}: {what}")]
    UnsupportedLayout { line: usize, what: &'static str },
    #[error("the edited text would not read as asked: {what}")]
    VerificationFailed { what: String },
}

/// What becomes of an element of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementEdit<'e> {
    Keep,
    Change(&'e NewEntry),
    Remove,
}

/// The wishes, sorted by what they concern.
struct EditPlan<'e> {
    /// One for each element of the list, those that do not count included.
    element_edits: Vec<ElementEdit<'e>>,
    additions: Vec<&'e NewEntry>,
}

/// Answers the text with the edits made. `None` stands for an absent key.
pub(crate) fn edit_section(section: Section, text: Option<&str>, edits: &[EntryEdit]) -> Result<String, EditError> {
    let text = text.unwrap_or_default();
    let before = parse_list(section, text)?;
    let wishes = plan_edits(section, &before, edits)?;
    let splices = plan_splices(section, text, &before, &wishes)?;
    let overlap = || EditError::VerificationFailed { what: "two edits meet in one place".to_owned() };
    let edited = apply_splices(text, splices).ok_or_else(overlap)?;
    verify::verify_edit(section, &before, &wishes, &edited)?;
    Ok(edited)
}

fn plan_edits<'e>(section: Section, before: &ParsedList, edits: &'e [EntryEdit]) -> Result<EditPlan<'e>, EditError> {
    let counting = before.elements.iter().enumerate().filter(|(_, element)| element.entry.is_ok());
    let places: Vec<usize> = counting.map(|(place, _)| place).collect();
    let mut wishes = EditPlan { element_edits: vec![ElementEdit::Keep; before.elements.len()], additions: Vec::new() };
    for edit in edits {
        let (index, fate) = match edit {
            EntryEdit::Add(new) => {
                check_section(section, new)?;
                if matches!(new.principal, EntryPrincipal::Sso(_)) {
                    return Err(EditError::WrongSection { section });
                }
                wishes.additions.push(new);
                continue;
            }
            EntryEdit::Change { index, entry: to } => {
                check_section(section, to)?;
                (*index, ElementEdit::Change(to))
            }
            EntryEdit::Remove { index } => (*index, ElementEdit::Remove),
        };
        let place = places.get(index);
        let count = places.len();
        let slot = place.and_then(|place| wishes.element_edits.get_mut(*place));
        let slot = slot.ok_or(EditError::NoSuchEntry { index, count })?;
        if *slot != ElementEdit::Keep {
            return Err(EditError::EditedTwice { index });
        }
        *slot = fate;
        let element = place.and_then(|place| before.elements.get(*place));
        if let (ElementEdit::Change(to), Some(element)) = (fate, element)
            && let Ok(entry) = &element.entry
            && !is_same_principal(&entry.principal, &to.principal)
        {
            let line = element.line;
            return Err(EditError::PrincipalMismatch { index, line });
        }
    }
    Ok(wishes)
}

fn check_section(section: Section, new: &NewEntry) -> Result<(), EditError> {
    let fits = match (&new.principal, section) {
        (EntryPrincipal::Role(_) | EntryPrincipal::Sso(_), Section::Roles)
        | (EntryPrincipal::User(_), Section::Users) => true,
        (EntryPrincipal::Account(_), Section::Accounts) => new.username.is_empty() && new.groups.is_empty(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(EditError::WrongSection { section }) }
}

fn is_same_principal(one: &EntryPrincipal, other: &EntryPrincipal) -> bool {
    match (one, other) {
        (EntryPrincipal::Role(one), EntryPrincipal::Role(other))
        | (EntryPrincipal::User(one), EntryPrincipal::User(other)) => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}

/// The list at the root, if there is one that holds something.
fn root_list(document: &YamlDocument) -> Option<&YamlSequence> {
    match &document.root.value {
        YamlValue::Sequence(sequence) if !sequence.items.is_empty() => Some(sequence),
        _ => None,
    }
}

fn plan_splices(
    section: Section,
    text: &str,
    before: &ParsedList,
    wishes: &EditPlan<'_>,
) -> Result<Vec<Splice>, EditError> {
    let lines = TextLines::new(text);
    let Some((document, list)) = before.document.as_ref().and_then(|document| Some((document, root_list(document)?)))
    else {
        if wishes.additions.is_empty() {
            return Ok(Vec::new());
        }
        let document = before.document.as_ref();
        return Ok(add::add_to_empty_section(section, lines, document, &wishes.additions));
    };
    let nodes = list.items.iter().map(|item| &item.node);
    let staying = nodes.clone().zip(&wishes.element_edits).filter(|(_, fate)| **fate != ElementEdit::Remove);
    let uses = AnchorUses::from_nodes(staying.map(|(node, _)| node));
    for (node, fate) in nodes.zip(&wishes.element_edits) {
        if *fate == ElementEdit::Remove {
            uses.check_removal(node)?;
        }
    }
    let changed = wishes.element_edits.iter().any(|fate| *fate != ElementEdit::Keep);
    if (changed || !wishes.additions.is_empty()) && document.root.anchor.is_some() {
        uses.check_change(&document.root)?;
    }
    let mut splices = change::change_entries(section, lines, document, list, before, wishes, &uses)?;
    if list.flow {
        splices.extend(edit_flow_list(section, lines, list, wishes));
    } else {
        splices.extend(remove_block_elements(lines, list, wishes)?);
        splices.extend(add::add_to_block_list(section, lines, list, wishes));
    }
    Ok(splices)
}

fn edit_flow_list(section: Section, lines: TextLines<'_>, list: &YamlSequence, wishes: &EditPlan<'_>) -> Vec<Splice> {
    let parts: Vec<FlowElement> = list
        .items
        .iter()
        .zip(&wishes.element_edits)
        .map(|(item, fate)| FlowElement {
            span: item.node.span.clone(),
            comma: item.comma,
            keep: *fate != ElementEdit::Remove,
        })
        .collect();
    let like = list.items.last().map(|item| style::FlowStyle::from_node(&item.node, lines));
    let like = like.unwrap_or_default();
    let new: Vec<String> = wishes.additions.iter().map(|new| like.format_entry(section, new, lines)).collect();
    let mut places = BTreeMap::new();
    if !new.is_empty() {
        places.insert(parts.len(), new);
    }
    flow::edit_flow_collection(lines, &parts, &places, like.separator_gap())
}

/// The lines of each element that goes; an emptied list is written as one.
fn remove_block_elements(
    lines: TextLines<'_>,
    list: &YamlSequence,
    wishes: &EditPlan<'_>,
) -> Result<Vec<Splice>, EditError> {
    let mut emptied =
        wishes.additions.is_empty() && wishes.element_edits.iter().all(|fate| *fate == ElementEdit::Remove);
    let mut splices = Vec::new();
    for (item, fate) in list.items.iter().zip(&wishes.element_edits) {
        if *fate != ElementEdit::Remove {
            continue;
        }
        let range = element_lines(lines, item.dash, &item.node)?;
        let text = if emptied {
            let indent = " ".repeat(item.dash.and_then(|dash| lines.indent_at(dash)).unwrap_or(0));
            let ends = lines.line_end(item.node.span.end) < range.end;
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
fn element_lines(
    lines: TextLines<'_>,
    dash: Option<usize>,
    node: &YamlNode,
) -> Result<std::ops::Range<usize>, EditError> {
    let odd = EditError::UnsupportedLayout { line: node.line, what: "the dash does not stand first on its line" };
    let dash = dash.filter(|dash| lines.indent_at(*dash).is_some()).ok_or(odd)?;
    // A lone dash has its nothing behind it.
    let end = node.span.end.max(dash + 1);
    Ok(lines.line_start_after_bom(dash)..lines.next_line_start(end))
}
