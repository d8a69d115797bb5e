//! Colours by label. Every line reads as well without them.

/// Whether and how text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Colour,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Added,
    Changed,
    Removed,
    Place,
    Heading,
}

impl Style {
    pub(crate) fn paint(self, label: Label, text: &str) -> String {
        let code = match (self, label) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Colour, Label::Added) => "32",
            (Self::Colour, Label::Changed) => "33",
            (Self::Colour, Label::Removed) => "31",
            (Self::Colour, Label::Place) => "2",
            (Self::Colour, Label::Heading) => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
