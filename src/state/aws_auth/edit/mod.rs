//! Adds, changes and removes entries by splices into the section's text. The text is never generated from a parsed tree,
//! so every byte that is not edited stays as it is. The result is parsed again as the authenticator parses it, and is
//! returned only if it contains exactly the requested entries.

mod add;
mod anchor_uses;
mod change;
mod flow;
mod groups;
mod source_lines;
mod splice;
mod style;
mod verify;

use std::collections::BTreeMap;

use crate::yaml::{YamlDocument, YamlNode, YamlSequence, YamlValue};

use super::entry::{EntryPrincipal, NewEntry, Section};
use super::parse::{ParsedList, SectionError, parse_list};
pub(crate) use source_lines::with_source_lines;

use anchor_uses::AnchorUses;
use flow::FlowElement;
use splice::{Splice, TextLines, apply_splices};

/// One edit of a section. An index refers to the entries of the text before all edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryEdit {
    /// Adds an entry after all others.
    Add(NewEntry),
    /// Replaces an entry. The new principal must equal the old one, ignoring case.
    Change {
        index: usize,
        entry: NewEntry,
    },
    Remove {
        index: usize,
    },
}

/// Why a section cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error("the section cannot be parsed")]
    UnreadableSection(#[from] SectionError),
    #[error("there is no entry {index}: the section has {count} entries")]
    NoSuchEntry { index: usize, count: usize },
    #[error("entry {index} has two edits")]
    EditedTwice { index: usize },
    #[error("`{section}` cannot contain this kind of entry")]
    WrongSection { section: Section },
    #[error("entry {index} on line {line} has another principal")]
    PrincipalMismatch { index: usize, line: usize },
    #[error("the anchor `{anchor}` on line {line} is used on line {used_on}")]
    AnchorInUse { anchor: String, line: usize, used_on: usize },
    #[error("the entry on line {line} is an alias of another entry")]
    EntryIsAlias { line: usize },
    #[error("line {line}: {reason}")]
    UnsupportedLayout { line: usize, reason: &'static str },
    #[error("the edited text would not be parsed as requested: {reason}")]
    VerificationFailed { reason: String },
}

/// What an edit does to an element of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementEdit<'e> {
    Keep,
    Change(&'e NewEntry),
    Remove,
}

/// The edits of a section, sorted by the element that they edit.
struct EditPlan<'e> {
    /// One for each element of the list, including elements that have no effect.
    element_edits: Vec<ElementEdit<'e>>,
    additions: Vec<&'e NewEntry>,
}

/// Returns the text with the edits applied. `text` is `None` if the ConfigMap does not have the key.
///
/// # Errors
/// The text cannot be edited without changing other entries. See [`EditError`].
pub(crate) fn edit_section(section: Section, text: Option<&str>, edits: &[EntryEdit]) -> Result<String, EditError> {
    let text = text.unwrap_or_default();
    let before = parse_list(section, text)?;
    let plan = plan_edits(section, &before, edits)?;
    let splices = plan_splices(section, text, &before, &plan)?;
    let overlap = || EditError::VerificationFailed { reason: "two edits overlap".to_owned() };
    let edited = apply_splices(text, splices).ok_or_else(overlap)?;
    verify::verify_edit(section, &before, &plan, &edited)?;
    Ok(edited)
}

fn plan_edits<'e>(section: Section, before: &ParsedList, edits: &'e [EntryEdit]) -> Result<EditPlan<'e>, EditError> {
    // An entry index counts only the elements that take effect.
    let effective = before.elements.iter().enumerate().filter(|(_, element)| element.entry.is_ok());
    let element_indices: Vec<usize> = effective.map(|(index, _)| index).collect();
    let mut plan = EditPlan { element_edits: vec![ElementEdit::Keep; before.elements.len()], additions: Vec::new() };
    for edit in edits {
        let (index, element_edit) = match edit {
            EntryEdit::Add(entry) => {
                check_section(section, entry)?;
                if matches!(entry.principal, EntryPrincipal::Sso(_)) {
                    return Err(EditError::WrongSection { section });
                }
                plan.additions.push(entry);
                continue;
            }
            EntryEdit::Change { index, entry } => {
                check_section(section, entry)?;
                (*index, ElementEdit::Change(entry))
            }
            EntryEdit::Remove { index } => (*index, ElementEdit::Remove),
        };
        let element_index = element_indices.get(index);
        let count = element_indices.len();
        let planned = element_index.and_then(|element| plan.element_edits.get_mut(*element));
        let planned = planned.ok_or(EditError::NoSuchEntry { index, count })?;
        if *planned != ElementEdit::Keep {
            return Err(EditError::EditedTwice { index });
        }
        *planned = element_edit;
        let element = element_index.and_then(|element| before.elements.get(*element));
        if let (ElementEdit::Change(new), Some(element)) = (element_edit, element)
            && let Ok(old) = &element.entry
            && !is_same_principal(&old.principal, &new.principal)
        {
            let line = element.line;
            return Err(EditError::PrincipalMismatch { index, line });
        }
    }
    Ok(plan)
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

fn is_same_principal(old: &EntryPrincipal, new: &EntryPrincipal) -> bool {
    match (old, new) {
        (EntryPrincipal::Role(old), EntryPrincipal::Role(new))
        | (EntryPrincipal::User(old), EntryPrincipal::User(new)) => old.eq_ignore_ascii_case(new),
        _ => old == new,
    }
}

/// Returns the list at the root of the document. `None` if there is no list or if it is empty.
fn root_list(document: &YamlDocument) -> Option<&YamlSequence> {
    match &document.root.value {
        YamlValue::Sequence(sequence) if !sequence.items.is_empty() => Some(sequence),
        _ => None,
    }
}

/// Returns whether a marker ends the document before the content that follows it. The authenticator reads only the first
/// document, and accepts `[]` with any text after it. A block list in place of the brackets would continue in that text.
fn is_document_ended(text: &str, document: &YamlDocument) -> bool {
    let rest = text.get(document.span.end..).unwrap_or_default();
    let content = rest.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    content.is_none_or(|line| line.starts_with("---") || line.starts_with("..."))
}

fn plan_splices(
    section: Section,
    text: &str,
    before: &ParsedList,
    plan: &EditPlan<'_>,
) -> Result<Vec<Splice>, EditError> {
    let lines = TextLines::new(text);
    let Some((document, list)) = before.document.as_ref().and_then(|document| Some((document, root_list(document)?)))
    else {
        if plan.additions.is_empty() {
            return Ok(Vec::new());
        }
        let document = before.document.as_ref();
        if let Some(line) = before.extra_document_line
            && document.is_some_and(|document| !is_document_ended(text, document))
        {
            return Err(EditError::UnsupportedLayout { line, reason: "the text follows the end of the list" });
        }
        return Ok(add::add_to_empty_section(section, lines, document, &plan.additions));
    };
    let nodes = list.items.iter().map(|item| &item.node);
    let kept = nodes.clone().zip(&plan.element_edits).filter(|(_, edit)| **edit != ElementEdit::Remove);
    let anchor_uses = AnchorUses::from_nodes(kept.map(|(node, _)| node));
    for (node, edit) in nodes.zip(&plan.element_edits) {
        if *edit == ElementEdit::Remove {
            anchor_uses.check_removal(node)?;
        }
    }
    let edits_elements = plan.element_edits.iter().any(|edit| *edit != ElementEdit::Keep);
    if (edits_elements || !plan.additions.is_empty()) && document.root.anchor.is_some() {
        anchor_uses.check_change(&document.root)?;
    }
    let mut splices = change::change_entries(section, lines, document, list, before, plan, &anchor_uses)?;
    if list.flow {
        splices.extend(edit_flow_list(section, lines, list, plan));
    } else {
        splices.extend(remove_block_elements(lines, list, plan)?);
        splices.extend(add::add_to_block_list(section, lines, list, plan));
    }
    Ok(splices)
}

fn edit_flow_list(section: Section, lines: TextLines<'_>, list: &YamlSequence, plan: &EditPlan<'_>) -> Vec<Splice> {
    let elements: Vec<FlowElement> = list
        .items
        .iter()
        .zip(&plan.element_edits)
        .map(|(item, edit)| FlowElement {
            span: item.node.span.clone(),
            comma: item.comma,
            keep: *edit != ElementEdit::Remove,
        })
        .collect();
    let style = list.items.last().map(|item| style::FlowStyle::from_node(&item.node, lines)).unwrap_or_default();
    let additions: Vec<String> = plan.additions.iter().map(|new| style.format_entry(section, new, lines)).collect();
    let mut insertions = BTreeMap::new();
    if !additions.is_empty() {
        insertions.insert(elements.len(), additions);
    }
    flow::edit_flow_collection(lines, &elements, &insertions, style.separator_gap())
}

/// Removes the lines of each removed element. If no element is left, `[]` replaces the first one.
fn remove_block_elements(
    lines: TextLines<'_>,
    list: &YamlSequence,
    plan: &EditPlan<'_>,
) -> Result<Vec<Splice>, EditError> {
    let mut needs_empty_list =
        plan.additions.is_empty() && plan.element_edits.iter().all(|edit| *edit == ElementEdit::Remove);
    let mut splices = Vec::new();
    for (item, edit) in list.items.iter().zip(&plan.element_edits) {
        if *edit != ElementEdit::Remove {
            continue;
        }
        let range = element_lines(lines, item.dash, &item.node)?;
        let replacement = if needs_empty_list {
            let indent = " ".repeat(item.dash.and_then(|dash| lines.indent_at(dash)).unwrap_or(0));
            let has_break = lines.line_end(item.node.span.end) < range.end;
            let line_break = if has_break { lines.line_break } else { "" };
            format!("{indent}[]{line_break}")
        } else {
            String::new()
        };
        needs_empty_list = false;
        splices.push(Splice::replace(range, replacement));
    }
    remove_break_before_end(lines, list, plan, &mut splices);
    Ok(splices)
}

/// A text without a final line break stays one when its last elements are removed: the first of them is removed together
/// with the line break before it.
fn remove_break_before_end(
    lines: TextLines<'_>,
    list: &YamlSequence,
    plan: &EditPlan<'_>,
    splices: &mut [Splice],
) -> Option<()> {
    let last_kept = plan.element_edits.iter().rposition(|edit| *edit != ElementEdit::Remove)?;
    let removed_at_end = plan.element_edits.len() - 1 - last_kept;
    let start = splices.len().checked_sub(removed_at_end)?;
    let end_of_text = splices.last()?.range.end;
    let ends_with_break = lines.text.ends_with(splice::is_break);
    if removed_at_end == 0 || !plan.additions.is_empty() || end_of_text != lines.text.len() || ends_with_break {
        return None;
    }
    // Comments between the removed elements stay, and with them the line break before the first one.
    let is_contiguous = splices.get(start..)?.windows(2).all(|pair| match pair {
        [first, second] => first.range.end == second.range.start,
        _ => true,
    });
    let first = splices.get_mut(start)?;
    let line_end = lines.line_end_before(first.range.start)?;
    // The line break can be part of a kept block scalar.
    let is_free = list.items.get(last_kept)?.node.span.end <= line_end;
    if is_contiguous && is_free {
        first.range.start = line_end;
    }
    Some(())
}

/// Returns the lines of an element: from the line of its dash to the end of its last line of content.
///
/// # Errors
/// Something precedes the dash on its line.
fn element_lines(
    lines: TextLines<'_>,
    dash: Option<usize>,
    node: &YamlNode,
) -> Result<std::ops::Range<usize>, EditError> {
    let error = EditError::UnsupportedLayout { line: node.line, reason: "the dash is not the first text on its line" };
    let dash = dash.filter(|dash| lines.indent_at(*dash).is_some()).ok_or(error)?;
    // An element without a value ends directly after its dash.
    let end = node.span.end.max(dash + 1);
    Ok(lines.line_start_after_bom(dash)..lines.next_line_start(end))
}
