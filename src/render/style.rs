//! Colours by label. Every line reads as well without them.

use anstyle::{AnsiColor, Effects};

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
        let style = match (self, label) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Color, StyleClass::Added) => AnsiColor::Green.on_default(),
            (Self::Color, StyleClass::Changed) => AnsiColor::Yellow.on_default(),
            (Self::Color, StyleClass::Removed) => AnsiColor::Red.on_default(),
            (Self::Color, StyleClass::Location) => Effects::DIMMED.into(),
            (Self::Color, StyleClass::Heading) => Effects::BOLD.into(),
        };
        format!("{style}{text}{style:#}")
    }
}
