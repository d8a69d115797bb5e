//! The signs of a plan in text form.

use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;

/// Explains the signs that the text uses.
pub(super) fn legend(text: &TerminalText, style: TextStyle) -> Option<String> {
    let signs = [
        ("+", StyleClass::Added, "add"),
        ("~", StyleClass::Changed, "change"),
        ("-", StyleClass::Removed, "remove"),
        ("-/+", StyleClass::Changed, "delete and create again"),
        ("!", StyleClass::Removed, "privilege escalation path or temporary access"),
        ("…", StyleClass::Location, "wait"),
    ];
    let plain = anstream::adapter::strip_str(&text.to_output(TextStyle::Color)).to_string();
    let is_used = |sign: &str| plain.lines().any(|line| line.split_whitespace().next() == Some(sign));
    let used: Vec<String> = signs
        .iter()
        .filter(|(sign, ..)| is_used(sign))
        .map(|(sign, class, meaning)| format!("{} {meaning}", style.paint(*class, sign)))
        .collect();
    (!used.is_empty()).then(|| format!("Signs: {}", used.join(", ")))
}
