//! Finds texts of a policy that are not what they seem to be: names with invisible characters, and names with letters
//! of another script that look the same. A reviewer cannot see them, and RBAC compares bytes.

use std::collections::BTreeSet;

use unicode_security::confusable_detection::skeleton;
use unicode_security::{RestrictionLevel, RestrictionLevelDetection as _};

use super::error::{Diagnostics, PolicyError};
use super::table::PolicyTable;
use crate::diagnostic::{escape_text, is_unsafe_char};

/// Warns about each such key or value once, at its first place. `seen` has those of the earlier tables.
pub(super) fn report_confusable_texts(
    root: &PolicyTable<'_>,
    seen: &mut BTreeSet<String>,
    diagnostics: &mut Diagnostics,
) {
    root.for_each_text(&mut |text, span| {
        if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control()) {
            return;
        }
        if let Some(error) = check_text(text)
            && seen.insert(text.to_owned())
        {
            diagnostics.push(error, span);
        }
    });
}

fn check_text(text: &str) -> Option<PolicyError> {
    let shown = escape_text(text);
    if let Some(character) = text.chars().find(|c| is_unsafe_char(*c)) {
        return Some(PolicyError::InvisibleCharacter {
            text: shown,
            character: format!("U+{:04X}", u32::from(character)),
        });
    }
    if text.is_ascii() {
        return None;
    }
    let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    // "Highly restrictive" of UTS 39 allows Latin together with Chinese, Japanese or Korean, but not with Cyrillic or Greek.
    let is_mixed = letters.detect_restriction_level() > RestrictionLevel::HighlyRestrictive;
    let looks_like: String = skeleton(text).collect();
    if !is_mixed && !looks_like.is_ascii() {
        return None;
    }
    let foreign = text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).collect::<BTreeSet<char>>();
    let characters = foreign.iter().map(|c| format!("{c} (U+{:04X})", u32::from(*c))).collect::<Vec<_>>().join(", ");
    // The skeleton of some ASCII letters is another letter, so it is shown only if it is another way to write the text.
    let looks_like = Some(looks_like).filter(|looks_like| looks_like.is_ascii());
    Some(PolicyError::ConfusableText { text: shown, characters, looks_like })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alike_and_invisible_texts_are_found() {
        let kind = |text: &str| match check_text(text) {
            Some(PolicyError::InvisibleCharacter { character, .. }) => character,
            Some(PolicyError::ConfusableText { characters, .. }) => characters,
            _ => String::new(),
        };
        assert_eq!(kind("dev\u{435}lopers"), "\u{435} (U+0435)");
        assert_eq!(kind("system:m\u{430}sters"), "\u{430} (U+0430)");
        // All letters are Cyrillic, and all look like Latin ones.
        assert_eq!(kind("\u{441}\u{43e}\u{440}"), "\u{43e} (U+043E), \u{440} (U+0440), \u{441} (U+0441)");
        assert_eq!(kind("dev\u{200b}s"), "U+200B");
        assert_eq!(kind("a\u{202e}b"), "U+202E");
        assert_eq!(kind("a\u{1b}[2Jb"), "U+001B");
        assert_eq!(kind("a\u{e0041}b"), "U+E0041");
        for text in [
            "developers",
            "m\u{fc}nchen",
            "\u{65e5}\u{672c}",
            "dev-\u{65e5}\u{672c}",
            "\u{43a}\u{43e}\u{43c}\u{430}\u{43d}\u{434}\u{430}",
        ] {
            assert_eq!(check_text(text), None, "{text}");
        }
    }
}
