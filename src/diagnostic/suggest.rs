//! "did you mean": the nearest of the names that would have been right.

/// The most similar candidate, where one is similar enough that a typo is likely.
///
/// Damerau-Levenshtein distance of at most a third of the longer name, as rustc and cargo have it; names that differ
/// only in case are always near.
pub(crate) fn closest_match<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let other = candidate.chars().count();
            let longer = length.max(other);
            let limit = (longer / 3).max(1);
            // The distance is at least the difference of the lengths; most of thousands of names end here.
            if length.abs_diff(other) > limit {
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
    fn a_typo_finds_its_word_and_a_stranger_none() {
        assert_eq!(closest_match("memebrs", ["members", "description"]), Some("members"));
        assert_eq!(closest_match("Viewer", ["viewer", "views"]), Some("viewer"));
        assert_eq!(closest_match("zebra", ["members", "description"]), None);
        assert_eq!(closest_match("a", ["b"]), None);
    }
}
