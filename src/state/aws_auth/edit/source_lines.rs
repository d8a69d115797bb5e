//! Gives an added entry the lines that it has in another text, with their comments.

use super::super::entry::Section;
use super::super::parse::{ParsedElement, parse_list};
use super::splice::TextLines;
use super::{element_lines, root_list};
use crate::yaml::YamlSequence;

/// Returns the text with the lines of an entry replaced by those of the same entry in `source`. The indices count the
/// entries that take effect.
///
/// Returns `None` if the lines do not fit: the layout is another one, or the text would be read in another way.
pub(crate) fn with_source_lines(
    section: Section,
    (text, index): (&str, usize),
    (source, source_index): (&str, usize),
) -> Option<String> {
    let parsed = parse_list(section, text).ok()?;
    let source_parsed = parse_list(section, source).ok()?;
    let list = root_list(parsed.document.as_ref()?)?;
    let source_list = root_list(source_parsed.document.as_ref()?)?;
    let element = element_of_entry(&parsed.elements, index)?;
    let source_element = element_of_entry(&source_parsed.elements, source_index)?;
    let (lines, source_lines) = (TextLines::new(text), TextLines::new(source));
    let (range, column) = lines_of(lines, list, element)?;
    let (source_range, source_column) = lines_of(source_lines, source_list, source_element)?;
    if column != source_column {
        return None;
    }
    let is_break = |c: char| matches!(c, '\r' | '\n');
    let content = source.get(source_range)?.trim_end_matches(is_break);
    let old = text.get(range.clone())?;
    let breaks = old.get(old.trim_end_matches(is_break).len()..)?;
    let replaced = format!("{}{content}{breaks}{}", text.get(..range.start)?, text.get(range.end..)?);
    let after = parse_list(section, &replaced).ok()?;
    let is_same = after.elements.len() == parsed.elements.len()
        && after.extra_document_line.is_some() == parsed.extra_document_line.is_some()
        && after.elements.iter().zip(&parsed.elements).enumerate().all(|(number, (new, old))| {
            // Keys that the authenticator does not read come back as well.
            new.entry == old.entry && (number == element || new.json == old.json)
        });
    is_same.then_some(replaced)
}

fn element_of_entry(elements: &[ParsedElement], index: usize) -> Option<usize> {
    elements.iter().enumerate().filter(|(_, element)| element.entry.is_ok()).nth(index).map(|(element, _)| element)
}

/// Returns the lines of an element of a block list, and the column of its dash.
fn lines_of(lines: TextLines<'_>, list: &YamlSequence, element: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let item = list.items.get(element).filter(|_| !list.flow)?;
    let column = lines.indent_at(item.dash?)?;
    Some((element_lines(lines, item.dash, &item.node).ok()?, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "- rolearn: a\n  groups:\n  - one # why one\n  # in between\n  userid: kept\n- rolearn: b # of b\n";

    fn replaced(text: &str, index: usize, source_index: usize) -> Option<String> {
        with_source_lines(Section::Roles, (text, index), (SOURCE, source_index))
    }

    #[test]
    fn added_entry_gets_its_comments_and_other_keys_back() {
        let text = "- rolearn: b\n- {rolearn: a, groups: [one]}\n# end\n";
        let expected =
            "- rolearn: b\n- rolearn: a\n  groups:\n  - one # why one\n  # in between\n  userid: kept\n# end\n";
        assert_eq!(replaced(text, 1, 0).as_deref(), Some(expected));
        assert_eq!(replaced("- rolearn: x\n- rolearn: b", 1, 1).as_deref(), Some("- rolearn: x\n- rolearn: b # of b"));
    }

    #[test]
    fn lines_that_do_not_fit_are_not_used() {
        // Another entry, another indentation, a flow list, and no such entry.
        assert_eq!(replaced("- rolearn: c\n", 0, 1), None);
        assert_eq!(replaced("  - rolearn: b\n", 0, 1), None);
        assert_eq!(replaced("[{rolearn: b}]\n", 0, 1), None);
        assert_eq!(replaced("- rolearn: b\n", 0, 2), None);
        // An alias needs its anchor.
        let source = "- rolearn: a\n  groups: &g [one]\n- rolearn: b\n  groups: *g\n";
        let text = "- rolearn: b\n  groups: [one]\n";
        assert_eq!(with_source_lines(Section::Roles, (text, 0), (source, 1)), None);
    }
}
