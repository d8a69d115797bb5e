//! The only type of text that becomes a part of an HTML page or of an SVG image.
//!
//! As in [`super::markdown_text`], foreign text can only be added escaped, and what the renderer writes itself is
//! `&'static str`. Characters that cannot be seen are shown by their codes, so that a name does not look like another one.
//! Templates write foreign text only between tags and in quoted attributes.

use serde_json::Value;

use super::markdown_text::{MarkdownText, escape_foreign, fill_template, shorten};

/// HTML in which foreign text is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageHtml(String);

impl PageHtml {
    /// Returns what the renderer itself writes.
    pub(crate) fn markup(html: &'static str) -> Self {
        Self(html.to_owned())
    }

    /// Returns the template with each `{}` replaced by the next part.
    pub(crate) fn template<const N: usize>(template: &'static str, parts: [Self; N]) -> Self {
        Self(fill_template(template, parts.into_iter().map(|part| part.0)))
    }

    /// Returns a foreign text, for a place between tags or in a quoted attribute.
    pub(crate) fn text(text: &str) -> Self {
        let mut out = String::with_capacity(text.len() + 8);
        push_escaped(&escape_foreign(text), &mut out);
        Self(out)
    }

    /// Like [`Self::text`], with at most `max` characters and an ellipsis.
    pub(crate) fn short_text(text: &str, max: usize) -> Self {
        let mut out = String::new();
        push_escaped(&shorten(text, max), &mut out);
        Self(out)
    }

    /// Returns a foreign text as code.
    pub(crate) fn code(text: &str) -> Self {
        Self::template("<code>{}</code>", [Self::text(text)])
    }

    /// Returns a message of rolecall, in which names are between backticks.
    pub(crate) fn message(text: &str) -> Self {
        let pieces: Vec<&str> = text.split('`').collect();
        if pieces.len().is_multiple_of(2) {
            return Self::text(text);
        }
        let mut out = Self::default();
        for (number, piece) in pieces.into_iter().enumerate() {
            out.push(&if number.is_multiple_of(2) { Self::text(piece) } else { Self::code(piece) });
        }
        out
    }

    /// Returns a number with separators.
    pub(crate) fn number(number: usize) -> Self {
        Self(MarkdownText::number(number).as_str().to_owned())
    }

    /// Returns a number without separators, for an attribute.
    pub(crate) fn digits(number: usize) -> Self {
        Self(number.to_string())
    }

    /// Returns a length or a position in an image.
    pub(crate) fn length(length: f64) -> Self {
        // One decimal place is enough for pixels.
        Self(format!("{length:.1}").trim_end_matches('0').trim_end_matches('.').to_owned())
    }

    /// `1 change`, `2 changes`.
    pub(crate) fn count(number: usize, noun: &'static str) -> Self {
        Self(MarkdownText::count(number, noun).as_str().to_owned())
    }

    pub(crate) fn join(parts: impl IntoIterator<Item = Self>, separator: &'static str) -> Self {
        let parts: Vec<String> = parts.into_iter().map(|part| part.0).collect();
        Self(parts.join(separator))
    }

    /// Returns the parts one after the other.
    pub(crate) fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }

    /// Returns data for the script of the page. Every string in it can be shown as it is, and no text in it ends the
    /// element or begins a comment.
    pub(crate) fn json(mut data: Value) -> Self {
        escape_strings(&mut data);
        let mut out = String::new();
        for c in data.to_string().chars() {
            match c {
                '<' => out.push_str("\\u003c"),
                '>' => out.push_str("\\u003e"),
                '&' => out.push_str("\\u0026"),
                _ => out.push(c),
            }
        }
        Self(out)
    }

    pub(crate) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
}

/// Escapes the characters that cannot be seen. The keys are those of the documents.
fn escape_strings(value: &mut Value) {
    match value {
        Value::String(text) => {
            let escaped = escape_foreign(text);
            if escaped != *text {
                *text = escaped;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(escape_strings),
        Value::Object(map) => map.values_mut().for_each(escape_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::diagnostic::is_unsafe_char;

    fn hostile() -> impl Strategy<Value = String> {
        let fragments = [
            "<script>alert(1)</script>",
            "</script>",
            "<!--",
            "-->",
            "<",
            ">",
            "&",
            "&lt;",
            "&#60;",
            "\"",
            "'",
            "`",
            "\" onload=\"x",
            "' x='",
            "]]>",
            "{}",
            "javascript:",
            "##[error]x",
            "\n",
            "\r",
            "\t",
            "\0",
            "\u{202e}",
            "\u{200b}",
            "\u{2028}",
            "\u{feff}",
            "\u{fffe}",
            "é",
            "日本",
            "a",
            " ",
            "\\",
            "\\u003c",
            "%3c",
        ];
        proptest::collection::vec(proptest::sample::select(fragments.to_vec()), 0..8).prop_map(|parts| parts.concat())
    }

    /// Returns what a reader of HTML makes of an escaped text.
    fn unescaped(html: &str) -> String {
        let text = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        text.replace("&amp;", "&")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Foreign text has no character with a meaning in HTML, and is read as the escaped text.
        #[test]
        fn hostile_text_is_shown_and_has_no_meaning(name in hostile()) {
            let escaped = escape_foreign(&name);
            for html in [PageHtml::text(&name), PageHtml::short_text(&name, 10_000)] {
                prop_assert!(!html.as_str().contains(['<', '>', '"', '\'']), "{}", html.as_str());
                prop_assert!(!html.as_str().chars().any(is_unsafe_char), "{}", html.as_str());
            }
            let html = PageHtml::text(&name);
            prop_assert_eq!(unescaped(html.as_str()), escaped);
            let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
            let without = entities.iter().fold(html.as_str().to_owned(), |text, entity| text.replace(entity, ""));
            prop_assert!(!without.contains('&'), "{}", html.as_str());
            let message = PageHtml::message(&format!("the name `{name}` of {name}"));
            let tags = message.as_str().replace("<code>", "").replace("</code>", "");
            prop_assert!(!tags.contains(['<', '>']), "{}", message.as_str());
        }

        /// Data is read as it was, but for the characters that cannot be seen, and cannot end its element.
        #[test]
        fn hostile_text_stays_in_the_data(name in hostile()) {
            let html = PageHtml::json(json!({ "a": [name.as_str()], "b": { "c": name.as_str() } }));
            prop_assert!(!html.as_str().contains(['<', '>', '&']), "{}", html.as_str());
            let read: Value = serde_json::from_str(html.as_str()).unwrap();
            let escaped = escape_foreign(&name);
            prop_assert_eq!(read, json!({ "a": [escaped.as_str()], "b": { "c": escaped.as_str() } }));
        }
    }

    #[test]
    fn lengths_are_short() {
        let lengths = [0.0, 1.0, 1.25, -3.04, 100.0].map(|length| PageHtml::length(length).0);
        assert_eq!(lengths, ["0", "1", "1.2", "-3", "100"]);
    }
}
