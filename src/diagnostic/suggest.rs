//! The suggestion of a "did you mean" line: the valid name that is closest to a misspelled one.

/// Returns the most similar candidate, if it is similar enough for a typo to be likely.
///
/// The Damerau-Levenshtein distance must be at most a third of the longer name, as in rustc and cargo. Names that
/// differ only in case always match.
pub(crate) fn closest_match<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let candidate_length = candidate.chars().count();
            let longer = length.max(candidate_length);
            let limit = (longer / 3).max(1);
            // The distance is at least the difference in length. This check is cheap and excludes most candidates.
            if length.abs_diff(candidate_length) > limit {
                return None;
            }
            let distance =
                if candidate.eq_ignore_ascii_case(name) { 0 } else { strsim::damerau_levenshtein(name, candidate) };
            (distance <= limit && distance < longer).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typo_matches_and_unrelated_name_does_not() {
        assert_eq!(closest_match("memebrs", ["members", "description"]), Some("members"));
        assert_eq!(closest_match("Viewer", ["viewer", "views"]), Some("viewer"));
        assert_eq!(closest_match("zebra", ["members", "description"]), None);
        assert_eq!(closest_match("a", ["b"]), None);
    }
}
