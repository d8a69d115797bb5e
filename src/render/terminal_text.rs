//! The only type of text that is written to a terminal or a log.
//!
//! Names come from clusters, policies, kubeconfig files, file names and messages of servers, where an attacker may choose
//! them. A name must not clear the screen, forge a line, hide a part of itself or run a command of the CI system. So
//! everything that a [`TerminalText`] is made from is escaped, line by line: a line break exists only where a renderer
//! starts a line.

use super::style::TextStyle;
use super::wrap::wrap;
use crate::diagnostic::escape_text;

/// Lines whose characters are harmless. Every line ends with a newline, except the last line of a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TerminalText(String);

impl TerminalText {
    /// Returns one line.
    pub(crate) fn from_line(line: &str) -> Self {
        let mut out = Self::default();
        out.line(line);
        out
    }

    /// Returns a question, without a newline at its end.
    pub(crate) fn from_prompt(question: &str) -> Self {
        Self(escape_line(question, is_painted))
    }

    /// Returns the lines of a text whose line breaks and colors were made by a library from escaped parts.
    pub(crate) fn from_rendered_lines(text: &str) -> Self {
        let lines = text.lines().map(|line| escape_line(line, is_color) + "\n");
        Self(lines.collect())
    }

    /// Adds a line. Line breaks in it are escaped. Only the colors of [`TextStyle::paint`] are kept.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(&escape_line(line, is_painted));
        self.0.push('\n');
    }

    pub(crate) fn blank_line(&mut self) {
        self.0.push('\n');
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// Returns the text with a prefix in its first line.
    pub(crate) fn prefixed(&self, prefix: &str) -> Self {
        Self(escape_line(prefix, is_painted) + &self.0)
    }

    /// Returns the lines with two more spaces before each.
    pub(crate) fn indented(&self) -> Self {
        Self(self.0.lines().map(|line| format!("  {line}\n")).collect())
    }

    /// Returns the lines wrapped to a width.
    pub(crate) fn wrapped(&self, width: usize) -> Self {
        // A continued line could start with a word that is a command.
        let wrapped = wrap(&self.0, width);
        Self(wrapped.split_inclusive('\n').map(escape_commands).collect())
    }

    /// Returns the bytes to write. Without colors, no escape sequence is left.
    pub(crate) fn to_output(&self, style: TextStyle) -> std::borrow::Cow<'_, str> {
        match style {
            TextStyle::Plain if self.0.contains('\u{1b}') => self.0.replace('\u{1b}', "\\u{1b}").into(),
            TextStyle::Plain | TextStyle::Color => self.0.as_str().into(),
        }
    }
}

/// Escapes a line, but keeps the escape sequences that `keeps` accepts.
fn escape_line(line: &str, keeps: fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('\u{1b}') {
        let (before, sequence) = rest.split_at(start);
        out.push_str(&escape_text(before));
        let end = sequence.find('m').map_or(1, |end| end + 1);
        let (sequence, after) = match sequence.split_at_checked(end).filter(|(sequence, _)| keeps(sequence)) {
            Some(kept) => kept,
            None => sequence.split_at(1),
        };
        if keeps(sequence) {
            out.push_str(sequence);
        } else {
            out.push_str(&escape_text(sequence));
        }
        rest = after;
    }
    out.push_str(&escape_text(rest));
    escape_commands(&out)
}

/// Returns whether an escape sequence is one of [`TextStyle::paint`].
fn is_painted(sequence: &str) -> bool {
    ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"].contains(&sequence)
}

/// Returns whether an escape sequence only sets a color or a font.
fn is_color(sequence: &str) -> bool {
    let digits = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'))
}

/// Escapes the beginnings of commands that a CI system also finds within a line.
pub(super) fn escape_command_marks(text: &str) -> String {
    if !text.contains("##") {
        return text.to_owned();
    }
    let text = text.replace("##[", "\\u{23}#[").replace("##vso[", "\\u{23}#vso[");
    text.replace("##teamcity[", "\\u{23}#teamcity[")
}

/// Escapes what GitHub Actions takes for a workflow command: a line that starts with `::`, also after spaces, and `##[`
/// anywhere (actions/runner, `ActionCommand.cs`). Azure Pipelines and TeamCity read `##vso[` and `##teamcity[`.
pub(super) fn escape_commands(line: &str) -> String {
    let mut line = escape_command_marks(line);
    let start = line.len() - line.trim_start().len();
    // `:::` is in front of a file name in diagnostics. The runner does not read it as a command.
    if line.get(start..).is_some_and(|text| text.starts_with("::") && !text.starts_with(":::")) {
        line.replace_range(start..=start, "\\u{3a}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::style::StyleClass;
    use super::*;

    fn plain(text: &TerminalText) -> String {
        text.to_output(TextStyle::Plain).into_owned()
    }

    #[test]
    fn foreign_characters_are_escaped_by_every_constructor() {
        let hostile = "a\u{1b}[2J\nb\r\u{9b}1m\u{202e}\u{200b}\u{2028}\u{e0041}\u{61c}\u{feff}é日";
        let escaped = "a\\u{1b}[2J\\nb\\r\\u{9b}1m\\u{202e}\\u{200b}\\u{2028}\\u{e0041}\\u{61c}\\u{feff}é日";
        assert_eq!(plain(&TerminalText::from_line(hostile)), format!("{escaped}\n"));
        assert_eq!(plain(&TerminalText::from_prompt(hostile)), escaped);
        assert_eq!(escape_text(hostile), escaped);
        let rendered = plain(&TerminalText::from_rendered_lines(hostile));
        assert_eq!(rendered, format!("{}\n", escaped.replacen("\\n", "\n", 1)));
        assert_eq!(escape_text(&escape_text(hostile)), escaped, "escaping twice changes nothing");
    }

    #[test]
    fn only_colors_of_the_renderer_are_kept() {
        let painted = TextStyle::Color.paint(StyleClass::Added, "+ x");
        let text = TerminalText::from_line(&format!("{painted}\u{1b}[31;5mred\u{1b}]0;title\u{7}"));
        let output = text.to_output(TextStyle::Color).into_owned();
        assert!(output.contains(&painted), "{output:?}");
        assert_eq!(output.matches('\u{1b}').count(), 2, "{output:?}");
        assert!(!plain(&text).contains('\u{1b}'));
    }

    #[test]
    fn workflow_commands_are_escaped() {
        assert_eq!(plain(&TerminalText::from_line("  ::error::x")), "  \\u{3a}:error::x\n");
        assert_eq!(plain(&TerminalText::from_line("a ##[error]x ::b")), "a \\u{23}#[error]x ::b\n");
        let wrapped = TerminalText::from_line("aaaaaaaaaa ::set-output name=x::y").wrapped(12);
        assert!(plain(&wrapped).lines().all(|line| !line.trim_start().starts_with("::")), "{wrapped:?}");
    }
}
