//! Patterns with `*`, which policies use for namespaces and ignore lists.

/// A pattern in which `*` matches any number of characters, and every other character matches itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WildcardPattern(String);

impl WildcardPattern {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches exactly one string.
    pub(crate) fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let mut pieces: Vec<&str> = pieces.collect();
        let Some(last) = pieces.pop() else {
            return rest.is_empty();
        };
        for piece in pieces {
            match rest.find(piece) {
                Some(start) => rest = rest.get(start + piece.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_number_of_characters() {
        let matching =
            [("team-*", "team-a"), ("*", ""), ("a*b*c", "axxbyyc"), ("a*b", "ab"), ("x", "x"), ("*a*", "bab")];
        let other = [("team-*", "team"), ("a*b", "a"), ("a*a", "a"), ("x", "xy"), ("a*b*c", "acb")];
        assert!(matching.iter().all(|(p, t)| WildcardPattern::new(p).matches(t)));
        assert!(!other.iter().any(|(p, t)| WildcardPattern::new(p).matches(t)));
    }
}
