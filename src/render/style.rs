//! Colors. Every line must be readable without them.

use anstyle::{AnsiColor, Effects};

/// Whether text is colored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TextStyle {
    #[default]
    Plain,
    Color,
}

/// The role of a piece of text, which decides its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StyleClass {
    Added,
    Changed,
    Removed,
    Location,
    Heading,
}

impl TextStyle {
    pub(crate) fn paint(self, class: StyleClass, text: &str) -> String {
        let style = match (self, class) {
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
