//! What is left of a set when others are taken from it: in parts where that reads well, otherwise as "this, but not that".

use super::product::RequestSet;
use crate::access::request::Request;

/// How many parts a set may fall into before the rest is said as exceptions.
const MAX_PARTS: usize = 6;

/// A set with exceptions, which lie in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestSetExcept<'s> {
    pub(crate) set: RequestSet<'s>,
    pub(crate) except: Vec<RequestSet<'s>>,
}

impl<'s> RequestSetExcept<'s> {
    pub(crate) fn contains(&self, request: &Request) -> bool {
        self.set.contains(request) && !self.except.iter().any(|except| except.contains(request))
    }

    /// What is in both, if anything is.
    pub(crate) fn intersect(&self, extent: &RequestSet<'s>) -> Option<Self> {
        let extent = self.set.intersect(extent)?;
        let region = Self { except: clip_exceptions(&self.except, &extent), set: extent };
        (!region.is_empty()).then_some(region)
    }

    fn is_empty(&self) -> bool {
        is_covered(&self.set, &self.except)
    }

    fn subtract_one(self, taken: &RequestSet<'s>, room: bool) -> Vec<Self> {
        let Some(open) = self.set.uncovered_sides(taken) else {
            return vec![self];
        };
        if open.count <= 1 || open.finite && room {
            let parts = self.set.minus(taken).into_iter();
            return parts.map(|extent| Self { except: clip_exceptions(&self.except, &extent), set: extent }).collect();
        }
        let Self { set, mut except } = self;
        if let Some(out) = set.intersect(taken).filter(|out| !except.iter().any(|other| other.covers(out))) {
            except.retain(|other| !out.covers(other));
            except.push(out);
        }
        vec![Self { set, except }]
    }

    /// Exceptions that by now cut clean through are cut, and what they leave out is taken out of the rest.
    fn simplify(mut self) -> Vec<Self> {
        let clean = |except: &RequestSet<'s>| self.set.uncovered_sides(except).is_some_and(|open| open.count <= 1);
        match self.except.iter().position(clean) {
            Some(place) => {
                let taken = self.except.remove(place);
                self.subtract_one(&taken, false).into_iter().flat_map(Self::simplify).collect()
            }
            None if self.is_empty() => Vec::new(),
            None => vec![self],
        }
    }
}

/// The parts of exceptions that lie in a set.
fn clip_exceptions<'s>(except: &[RequestSet<'s>], extent: &RequestSet<'s>) -> Vec<RequestSet<'s>> {
    except.iter().filter_map(|except| except.intersect(extent)).collect()
}

/// Whether nothing is left: part for part, until one escapes all.
pub(super) fn is_covered(extent: &RequestSet<'_>, by: &[RequestSet<'_>]) -> bool {
    let mut rest = by.iter();
    let Some(first) = rest.find(|other| other.overlaps(extent)) else {
        return false;
    };
    extent.minus(first).iter().all(|part| is_covered(part, rest.as_slice()))
}

/// What is left of a set without all that others have.
pub(crate) fn subtract<'s>(extent: &RequestSet<'s>, taken: &[RequestSet<'s>]) -> Vec<RequestSetExcept<'s>> {
    let taken: Vec<&RequestSet<'s>> = taken.iter().filter(|taken| taken.overlaps(extent)).collect();
    if taken.iter().any(|taken| taken.covers(extent)) {
        return Vec::new();
    }
    let mut left = vec![RequestSetExcept { set: extent.clone(), except: Vec::new() }];
    for taken in taken {
        let room = left.len() < MAX_PARTS;
        left = left.into_iter().flat_map(|region| region.subtract_one(taken, room)).collect();
    }
    left.into_iter().flat_map(RequestSetExcept::simplify).collect()
}

/// As few regions as say the same; `merge` joins what is known of each.
pub(crate) fn merge<'s, T>(
    regions: Vec<(RequestSetExcept<'s>, T)>,
    merge: impl Fn(&mut T, T),
) -> Vec<(RequestSetExcept<'s>, T)> {
    let mut plain = Vec::new();
    let mut other: Vec<(RequestSetExcept<'s>, T)> = Vec::new();
    for (region, tag) in regions {
        if region.except.is_empty() {
            plain.push((region.set, tag));
        } else if let Some((_, tags)) = other.iter_mut().find(|(known, _)| *known == region) {
            merge(tags, tag);
        } else {
            other.push((region, tag));
        }
    }
    loop {
        let before = plain.len();
        plain = RequestSet::join(plain, &merge);
        if plain.len() == before {
            break;
        }
    }
    let plain = plain.into_iter().map(|(extent, tag)| (RequestSetExcept { set: extent, except: Vec::new() }, tag));
    let all: Vec<(RequestSetExcept<'s>, T)> = plain.chain(other).collect();
    let is_within = |(place, region): (usize, &RequestSetExcept<'s>)| {
        let wholes = all.iter().enumerate().filter(|(other, (whole, _))| *other != place && whole.except.is_empty());
        // Of two that are equal the first stays.
        wholes.into_iter().any(|(other, (whole, _))| {
            whole.set.covers(&region.set) && (other < place || !region.set.covers(&whole.set))
        })
    };
    let kept: Vec<bool> = all.iter().enumerate().map(|(place, (region, _))| !is_within((place, region))).collect();
    all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(part, _)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::StringSet;
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule { verbs: list(verbs), api_groups: list(groups), resources: list(resources), ..Rule::default() }
    }

    fn extents(rules: &[Rule]) -> Vec<RequestSet<'_>> {
        rules.iter().filter_map(|rule| RequestSet::from_rule_objects(rule, StringSet::all())).collect()
    }

    #[test]
    fn exceptions_may_leave_nothing_though_none_of_them_cuts_through() {
        let (v, g, r) = (["v0", "v1"], ["g0", "g1"], ["r0", "r1"]);
        // The edges of a cube, each two of its corners, that go around it, and the two corners they leave.
        let around = [
            rule(&v[..1], &g[1..], &r),
            rule(&v, &g[..1], &r[1..]),
            rule(&v[1..], &g, &r[..1]),
            rule(&v[..1], &g[..1], &r[..1]),
            rule(&v[1..], &g[1..], &r[1..]),
        ];
        let (whole, around) = (rule(&v, &g, &r), extents(&around));
        let extent = RequestSet::from_rule_objects(&whole, StringSet::all()).unwrap();
        assert!(around.iter().all(|edge| extent.uncovered_sides(edge).is_some_and(|open| open.count > 1)));
        let left = |edges: usize| RequestSetExcept { set: extent.clone(), except: around[..edges].to_vec() }.simplify();
        assert_eq!((left(5), left(4).len()), (Vec::new(), 1));
    }

    #[test]
    fn many_small_exceptions_that_leave_nothing_leave_nothing() {
        let (verbs, resources) = (["v0", "v1", "v2", "v3", "v4", "v5"], ["r0", "r1", "r2", "r3", "r4", "r5"]);
        let whole = rule(&verbs, &[""], &resources);
        // Along the diagonals, so that each cuts through both sides.
        let cells = (0..36).map(|cell| (cell % 6, (cell + cell / 6) % 6));
        let cells: Vec<Rule> = cells.map(|(v, r)| rule(&verbs[v..=v], &[""], &resources[r..=r])).collect();
        let taken = extents(&cells);
        let whole = RequestSet::from_rule_objects(&whole, StringSet::all()).unwrap();
        assert_eq!(subtract(&whole, &taken), []);
        let left = subtract(&whole, &taken[1..]);
        assert!(left.iter().any(|region| region.contains(&Request::object("v0", "", "r0"))));
        assert!(!left.iter().any(|region| region.contains(&Request::object("v1", "", "r1"))));
    }
}
