//! A Markdown document that fits into the limit of a forge. Details are cut, and the document says what was cut; the verdict
//! is never cut.

use std::cmp::Reverse;

use super::markdown_text::MarkdownText;

/// Space for the note about what was cut.
const CUT_NOTE: usize = 1500;
/// Space for the line at the end of a part that was cut.
const MORE_NOTE: usize = 80;
/// The number of parts that the note names.
const MAX_NAMED: usize = 5;

/// A document: the verdict, and the parts after it.
#[derive(Debug, Default)]
pub(crate) struct MarkdownPage {
    pub(crate) verdict: MarkdownText,
    /// In the order of the page.
    pub(crate) sections: Vec<PageSection>,
    /// How the reader gets what was cut.
    pub(crate) cut_advice: MarkdownText,
}

/// A part that can be cut at its end or left out.
#[derive(Debug)]
pub(crate) struct PageSection {
    /// What the note about cuts calls the items, such as ``changes of `prod` ``.
    pub(crate) name: MarkdownText,
    /// Parts with a higher priority are cut last.
    pub(crate) priority: SectionPriority,
    pub(crate) start: MarkdownText,
    pub(crate) items: Vec<MarkdownText>,
    pub(crate) end: MarkdownText,
    /// Says in place how many items were cut.
    pub(crate) more: fn(usize) -> MarkdownText,
}

/// How important a part is to a reviewer, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SectionPriority {
    AwsAuth,
    Warnings,
    Changes,
    AllAccess,
    Checks,
    DuringApply,
    Access,
    Clusters,
    Approval,
}

impl PageSection {
    fn len(&self) -> usize {
        self.start.len() + self.items.iter().map(MarkdownText::len).sum::<usize>() + self.end.len()
    }

    /// Returns how many items fit into so many bytes with the note about the others; `None` if it is better to leave the
    /// whole part out.
    fn items_within(&self, bytes: usize) -> Option<usize> {
        let mut rest = bytes.checked_sub(self.start.len() + self.end.len() + MORE_NOTE)?;
        let mut count = 0;
        for item in &self.items {
            match rest.checked_sub(item.len()) {
                Some(left) => rest = left,
                None => break,
            }
            count += 1;
        }
        (count > 0).then_some(count)
    }
}

impl MarkdownPage {
    /// Returns the document with at most `max` bytes, so with at most `max` characters.
    pub(crate) fn render(&self, max: usize) -> MarkdownText {
        let length = self.verdict.len() + self.sections.iter().map(PageSection::len).sum::<usize>();
        if length <= max {
            let all: Vec<Option<usize>> = self.sections.iter().map(|section| Some(section.items.len())).collect();
            return self.assemble(&all, &MarkdownText::default());
        }
        let mut rest = max.saturating_sub(self.verdict.len() + CUT_NOTE);
        let mut shown: Vec<Option<usize>> = vec![None; self.sections.len()];
        let mut order: Vec<(&PageSection, &mut Option<usize>)> = self.sections.iter().zip(&mut shown).collect();
        order.sort_by_key(|(section, _)| Reverse(section.priority));
        for (section, shown) in order {
            let (count, used) = match section.items_within(rest) {
                _ if section.len() <= rest => (Some(section.items.len()), section.len()),
                Some(count) => {
                    let items: usize = section.items.iter().take(count).map(MarkdownText::len).sum();
                    (Some(count), section.start.len() + items + section.end.len() + MORE_NOTE)
                }
                None => (None, 0),
            };
            *shown = count;
            rest = rest.saturating_sub(used);
        }
        self.assemble(&shown, &self.cut_note(&shown, max))
    }

    fn assemble(&self, shown: &[Option<usize>], note: &MarkdownText) -> MarkdownText {
        let mut out = self.verdict.clone();
        for (section, shown) in self.sections.iter().zip(shown) {
            let Some(count) = shown else { continue };
            out.push(&section.start);
            for item in section.items.iter().take(*count) {
                out.push(item);
            }
            match section.items.len().saturating_sub(*count) {
                0 => {}
                more => out.push(&(section.more)(more)),
            }
            out.push(&section.end);
        }
        out.push(note);
        out
    }

    fn cut_note(&self, shown: &[Option<usize>], max: usize) -> MarkdownText {
        let cut = self.sections.iter().zip(shown).filter_map(|(section, shown)| {
            let left_out = section.items.len() - shown.unwrap_or_default();
            let is_cut = shown.is_none() || left_out > 0;
            is_cut.then(|| MarkdownText::template("{} {}", [MarkdownText::number(left_out), section.name.clone()]))
        });
        let mut cut: Vec<MarkdownText> = cut.collect();
        let others = cut.len().saturating_sub(MAX_NAMED);
        cut.truncate(MAX_NAMED);
        if others > 0 {
            cut.push(MarkdownText::template("{} of the details", [MarkdownText::count(others, "more part")]));
        }
        MarkdownText::template(
            "\n> **Left out**, because this text is limited to {} characters: {}. {}\n",
            [MarkdownText::number(max), MarkdownText::join(cut, "; "), self.cut_advice.clone()],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &'static str, priority: SectionPriority, items: usize) -> PageSection {
        PageSection {
            name: MarkdownText::markup(name),
            priority,
            start: MarkdownText::markup("start\n"),
            items: vec![MarkdownText::markup("0123456789012345678901234567890123456789012345678\n"); items],
            end: MarkdownText::markup("end\n"),
            more: |more| MarkdownText::template("and {} more\n", [MarkdownText::number(more)]),
        }
    }

    #[test]
    fn details_are_cut_and_counted_and_the_verdict_never_is() {
        let page = MarkdownPage {
            verdict: MarkdownText::markup("VERDICT\n"),
            sections: vec![
                section("rows", SectionPriority::Access, 100),
                section("warnings", SectionPriority::Warnings, 100),
                section("changes", SectionPriority::Changes, 1000),
            ],
            cut_advice: MarkdownText::markup("Run it again."),
        };
        for max in [2000, 5000, 8000, 12_000, 50_000, 100_000] {
            let text = page.render(max);
            assert!(text.len() <= max, "{} of {max}", text.len());
            assert!(text.as_str().starts_with("VERDICT\n"));
            assert_eq!(text.as_str().matches("start").count(), text.as_str().matches("end").count());
            assert_eq!(text.as_str().contains("Left out"), max < 100_000);
        }
        let text = page.render(12_000);
        let note = text.as_str().lines().last().unwrap();
        insta::assert_snapshot!(note, @"> **Left out**, because this text is limited to 12,000 characters: 100 warnings; 893 changes. Run it again.");
    }
}
