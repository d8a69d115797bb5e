//! The only type of text that becomes a part of a short message for a chat, in the syntax of Slack.
//!
//! As in [`super::markdown_text`], foreign text can only be added as code, in which Slack looks for no mention, link or format.

use super::markdown_text::{MarkdownText, fill_template, shorten};

/// A text in which foreign text is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlackText(String);

impl SlackText {
    /// Returns what the renderer itself writes.
    pub(crate) fn markup(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the template with each `{}` replaced by the next part.
    pub(crate) fn template<const N: usize>(template: &'static str, parts: [Self; N]) -> Self {
        Self(fill_template(template, parts.into_iter().map(|part| part.0)))
    }

    /// Returns a foreign text as code, with at most `max` characters and an ellipsis.
    pub(crate) fn code(text: &str, max: usize) -> Self {
        let text = shorten(text, max).replace('`', "\\u{60}");
        // Slack reads these three as its own syntax, also in code.
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Self(format!("`{text}`"))
    }

    pub(crate) fn number(number: usize) -> Self {
        Self(MarkdownText::number(number).as_str().to_owned())
    }

    /// `1 change`, `2 changes`.
    pub(crate) fn count(number: usize, noun: &'static str) -> Self {
        Self(MarkdownText::count(number, noun).as_str().to_owned())
    }

    pub(crate) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_code() {
        let text = SlackText::template("a {} b", [SlackText::code("<!channel> `x` & @here\n*b*", 100)]);
        assert_eq!(text.as_str(), "a `&lt;!channel&gt; \\u{60}x\\u{60} &amp; @here\\n*b*` b");
        assert_eq!(SlackText::code("abcdef", 3).as_str(), "`abc…`");
    }
}
