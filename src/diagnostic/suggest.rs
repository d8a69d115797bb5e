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

/// Returns the most similar candidate of a name that has a prefix in front of its last `:` or `/`, such as an ARN. Only the
/// last parts of names with the same prefix are compared, or the prefixes of names with the same last part: two ARNs are
/// always similar as a whole.
pub(crate) fn closest_qualified_match<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let candidates: Vec<(&str, &str, &str)> = candidates
        .into_iter()
        .map(|candidate| {
            let (prefix, last) = candidate.rsplit_once([':', '/']).unwrap_or(("", candidate));
            (candidate, prefix, last)
        })
        .collect();
    let (prefix, last) = name.rsplit_once([':', '/']).unwrap_or(("", name));
    let same_prefix = || candidates.iter().filter(|(_, other, _)| *other == prefix);
    if let Some(near) = closest_match(last, same_prefix().map(|(_, _, last)| *last)) {
        return same_prefix().find(|(_, _, last)| *last == near).map(|(candidate, _, _)| *candidate);
    }
    closest_match(name, candidates.iter().filter(|(_, _, other)| *other == last).map(|(candidate, _, _)| *candidate))
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

    #[test]
    fn last_parts_of_qualified_names_are_compared() {
        let known = ["arn:aws:iam::1:role/admin", "arn:aws:iam::1:role/eks-nodes", "sa:ci/deployer"];
        let closest = |name: &str| closest_qualified_match(name, known);
        assert_eq!(closest("arn:aws:iam::1:role/admn"), Some("arn:aws:iam::1:role/admin"));
        assert_eq!(closest("arn:aws:iam::1:role/elsewhere"), None);
        assert_eq!(closest("arn:aws:iam::2:role/admin"), Some("arn:aws:iam::1:role/admin"));
        assert_eq!(closest("sa:c/deployer"), Some("sa:ci/deployer"));
        assert_eq!(closest("sa:ci/deploy"), Some("sa:ci/deployer"));
    }
}
