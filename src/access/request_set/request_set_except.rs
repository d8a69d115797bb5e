//! The result of subtracting sets of requests: split into parts while there are few, otherwise one set with exceptions.

use super::product::RequestSet;
use crate::access::request::Request;

/// The number of parts up to which a difference is split. Beyond it, subtracted sets become exceptions.
const MAX_PARTS: usize = 6;

/// A set of requests with exceptions, each of which is a subset of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestSetExcept<'s> {
    pub(crate) set: RequestSet<'s>,
    pub(crate) except: Vec<RequestSet<'s>>,
}

impl<'s> RequestSetExcept<'s> {
    pub(crate) fn contains(&self, request: &Request) -> bool {
        self.set.contains(request) && !self.except.iter().any(|except| except.contains(request))
    }

    /// Returns the intersection, unless it is empty.
    pub(crate) fn intersect(&self, other: &RequestSet<'s>) -> Option<Self> {
        let set = self.set.intersect(other)?;
        let intersection = Self { except: clip_exceptions(&self.except, &set), set };
        (!intersection.is_empty()).then_some(intersection)
    }

    fn is_empty(&self) -> bool {
        is_covered(&self.set, &self.except)
    }

    /// Subtracts one set. The difference is computed if at most one dimension is uncovered, so that at most one part
    /// remains, or if `may_split` allows more parts and all uncovered dimensions are finite. Otherwise the subtracted
    /// requests become an exception.
    fn subtract_one(self, removed: &RequestSet<'s>, may_split: bool) -> Vec<Self> {
        let Some(uncovered) = self.set.uncovered_dimensions(removed) else {
            return vec![self];
        };
        if uncovered.count <= 1 || uncovered.are_finite && may_split {
            let parts = self.set.difference(removed).into_iter();
            return parts.map(|set| Self { except: clip_exceptions(&self.except, &set), set }).collect();
        }
        let Self { set, mut except } = self;
        let exception = set.intersect(removed);
        if let Some(exception) = exception.filter(|exception| !except.iter().any(|other| other.covers(exception))) {
            except.retain(|other| !exception.covers(other));
            except.push(exception);
        }
        vec![Self { set, except }]
    }

    /// Subtracts every exception that leaves at most one part. Returns nothing if the set is empty.
    fn simplify(mut self) -> Vec<Self> {
        let keeps_one_part = |except: &RequestSet<'s>| {
            self.set.uncovered_dimensions(except).is_some_and(|uncovered| uncovered.count <= 1)
        };
        match self.except.iter().position(keeps_one_part) {
            Some(position) => {
                let removed = self.except.remove(position);
                self.subtract_one(&removed, false).into_iter().flat_map(Self::simplify).collect()
            }
            None if self.is_empty() => Vec::new(),
            None => vec![self],
        }
    }
}

/// Returns the parts of exceptions that are in `set`.
fn clip_exceptions<'s>(except: &[RequestSet<'s>], set: &RequestSet<'s>) -> Vec<RequestSet<'s>> {
    except.iter().filter_map(|except| except.intersect(set)).collect()
}

/// Returns whether the union of `others` covers `set`: the parts of `set` outside one of them must be covered by the
/// rest.
pub(super) fn is_covered(set: &RequestSet<'_>, others: &[RequestSet<'_>]) -> bool {
    coverage(set, &others.iter().collect::<Vec<_>>(), &mut { usize::MAX }) == Coverage::Complete
}

/// Whether sets together contain all requests of another set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    Complete,
    Incomplete,
    /// The sets have too many parts.
    Undecided,
}

/// Returns whether the union of `others` covers `set`. Each step subtracts one set from a part, and the number of parts
/// can grow with the fifth power of the number of sets, so at most `budget` steps are made.
pub(super) fn coverage(set: &RequestSet<'_>, others: &[&RequestSet<'_>], budget: &mut usize) -> Coverage {
    let mut rest = others.iter();
    let Some(first) = rest.find(|other| other.overlaps(set)) else {
        return Coverage::Incomplete;
    };
    let Some(left) = budget.checked_sub(1) else {
        return Coverage::Undecided;
    };
    *budget = left;
    for part in set.difference(first) {
        match coverage(&part, rest.as_slice(), budget) {
            Coverage::Complete => {}
            other => return other,
        }
    }
    Coverage::Complete
}

/// Returns the requests of `set` that are in none of the `removed` sets.
pub(crate) fn subtract<'s>(set: &RequestSet<'s>, removed: &[RequestSet<'s>]) -> Vec<RequestSetExcept<'s>> {
    let removed: Vec<&RequestSet<'s>> = removed.iter().filter(|removed| removed.overlaps(set)).collect();
    if removed.iter().any(|removed| removed.covers(set)) {
        return Vec::new();
    }
    let mut parts = vec![RequestSetExcept { set: set.clone(), except: Vec::new() }];
    for removed in removed {
        let may_split = parts.len() < MAX_PARTS;
        parts = parts.into_iter().flat_map(|part| part.subtract_one(removed, may_split)).collect();
    }
    parts.into_iter().flat_map(RequestSetExcept::simplify).collect()
}

/// Merges sets into fewer sets with the same union. `merge_tags` combines the data attached to two merged sets.
pub(crate) fn merge<'s, T>(
    sets: Vec<(RequestSetExcept<'s>, T)>,
    merge_tags: impl Fn(&mut T, T),
) -> Vec<(RequestSetExcept<'s>, T)> {
    let mut without_exceptions = Vec::new();
    let mut with_exceptions: Vec<(RequestSetExcept<'s>, T)> = Vec::new();
    for (requests, tag) in sets {
        if requests.except.is_empty() {
            without_exceptions.push((requests.set, tag));
        } else if let Some((_, merged_tag)) = with_exceptions.iter_mut().find(|(other, _)| *other == requests) {
            merge_tags(merged_tag, tag);
        } else {
            with_exceptions.push((requests, tag));
        }
    }
    loop {
        let count = without_exceptions.len();
        without_exceptions = RequestSet::merge_by_dimension(without_exceptions, &merge_tags);
        if without_exceptions.len() == count {
            break;
        }
    }
    let without_exceptions =
        without_exceptions.into_iter().map(|(set, tag)| (RequestSetExcept { set, except: Vec::new() }, tag));
    let merged: Vec<(RequestSetExcept<'s>, T)> = without_exceptions.chain(with_exceptions).collect();
    let is_redundant = |(position, requests): (usize, &RequestSetExcept<'s>)| {
        let others = merged.iter().enumerate().filter(|(at, (other, _))| *at != position && other.except.is_empty());
        // Of two equal sets, the first is kept.
        others.into_iter().any(|(at, (other, _))| {
            other.set.covers(&requests.set) && (at < position || !requests.set.covers(&other.set))
        })
    };
    let is_kept: Vec<bool> =
        merged.iter().enumerate().map(|(position, (requests, _))| !is_redundant((position, requests))).collect();
    merged.into_iter().zip(is_kept).filter(|(_, is_kept)| *is_kept).map(|(part, _)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::StringSet;
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule { verbs: list(verbs), api_groups: list(groups), resources: list(resources), ..Rule::default() }
    }

    fn request_sets(rules: &[Rule]) -> Vec<RequestSet<'_>> {
        rules.iter().filter_map(|rule| RequestSet::from_rule_objects(rule, StringSet::all())).collect()
    }

    #[test]
    fn exceptions_that_cover_the_set_only_together_leave_nothing() {
        let (v, g, r) = (["v0", "v1"], ["g0", "g1"], ["r0", "r1"]);
        // The set is a cube with 8 corners. Three exceptions are edges, two are the single corners that remain.
        let exceptions = [
            rule(&v[..1], &g[1..], &r),
            rule(&v, &g[..1], &r[1..]),
            rule(&v[1..], &g, &r[..1]),
            rule(&v[..1], &g[..1], &r[..1]),
            rule(&v[1..], &g[1..], &r[1..]),
        ];
        let (cube, exceptions) = (rule(&v, &g, &r), request_sets(&exceptions));
        let set = RequestSet::from_rule_objects(&cube, StringSet::all()).unwrap();
        assert!(exceptions.iter().all(|except| set.uncovered_dimensions(except).is_some_and(|open| open.count > 1)));
        let simplified =
            |count: usize| RequestSetExcept { set: set.clone(), except: exceptions[..count].to_vec() }.simplify();
        assert_eq!((simplified(5), simplified(4).len()), (Vec::new(), 1));
    }

    #[test]
    fn subtracting_every_request_one_by_one_leaves_nothing() {
        let (verbs, resources) = (["v0", "v1", "v2", "v3", "v4", "v5"], ["r0", "r1", "r2", "r3", "r4", "r5"]);
        let whole = rule(&verbs, &[""], &resources);
        // In diagonal order, so that each cell leaves both dimensions uncovered.
        let cells = (0..36).map(|cell| (cell % 6, (cell + cell / 6) % 6));
        let cells: Vec<Rule> = cells.map(|(v, r)| rule(&verbs[v..=v], &[""], &resources[r..=r])).collect();
        let removed = request_sets(&cells);
        let whole = RequestSet::from_rule_objects(&whole, StringSet::all()).unwrap();
        assert_eq!(subtract(&whole, &removed), []);
        let rest = subtract(&whole, &removed[1..]);
        assert!(rest.iter().any(|part| part.contains(&Request::object("v0", "", "r0"))));
        assert!(!rest.iter().any(|part| part.contains(&Request::object("v1", "", "r1"))));
    }
}

#[cfg(test)]
mod coverage_tests {
    use super::*;
    use crate::access::request_set::StringSet;
    use crate::state::rbac::Rule;

    /// Returns a rule for each cell of a grid of verbs, resources and names.
    fn grid(size: usize) -> Vec<Rule> {
        let cell = |number: usize| {
            let list = |prefix: &str, number: usize| vec![format!("{prefix}{}", number % size)];
            Rule {
                verbs: list("v", number),
                api_groups: vec![String::new()],
                resources: list("r", number / size),
                resource_names: list("n", number / size / size),
                ..Rule::default()
            }
        };
        (0..size.pow(3)).map(cell).collect()
    }

    #[test]
    fn coverage_with_too_many_parts_is_undecided() {
        let rules = grid(4);
        let all = |prefix: &str| (0..4).map(|number| format!("{prefix}{number}")).collect::<Vec<String>>();
        let whole = Rule {
            verbs: all("v"),
            api_groups: vec![String::new()],
            resources: all("r"),
            resource_names: all("n"),
            ..Rule::default()
        };
        let to_set = |rule| RequestSet::from_rule_objects(rule, StringSet::all()).unwrap();
        let (whole, cells): (_, Vec<RequestSet<'_>>) = (to_set(&whole), rules.iter().map(to_set).collect());
        let cells: Vec<&RequestSet<'_>> = cells.iter().collect();
        assert_eq!(coverage(&whole, &cells, &mut { 100_000 }), Coverage::Complete);
        assert_eq!(coverage(&whole, &cells[1..], &mut { 100_000 }), Coverage::Incomplete);
        assert_eq!(coverage(&whole, &cells, &mut { 50 }), Coverage::Undecided);
    }
}
