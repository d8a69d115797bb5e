//! Colours by label. Every line reads as well without them.

/// Whether and how text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    Plain,
    Color,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StyleClass {
    Added,
    Changed,
    Removed,
    Location,
    Heading,
}

impl TextStyle {
    pub(crate) fn paint(self, label: StyleClass, text: &str) -> String {
        let code = match (self, label) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Color, StyleClass::Added) => "32",
            (Self::Color, StyleClass::Changed) => "33",
            (Self::Color, StyleClass::Removed) => "31",
            (Self::Color, StyleClass::Location) => "2",
            (Self::Color, StyleClass::Heading) => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
