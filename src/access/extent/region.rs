//! What is left of a set when others are taken from it: in parts where that reads well, otherwise as "this, but not that".

use super::product::Extent;
use crate::access::request::Request;

/// How many parts a set may fall into before the rest is said as exceptions.
const PARTS: usize = 6;

/// A set with exceptions, which lie in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Region<'s> {
    pub(crate) extent: Extent<'s>,
    pub(crate) except: Vec<Extent<'s>>,
}

impl<'s> Region<'s> {
    pub(crate) fn contains(&self, request: &Request) -> bool {
        self.extent.contains(request) && !self.except.iter().any(|except| except.contains(request))
    }

    /// What is in both, if anything is.
    pub(crate) fn intersect(&self, extent: &Extent<'s>) -> Option<Self> {
        let extent = self.extent.intersect(extent)?;
        let region = Self { except: within(&self.except, &extent), extent };
        (!region.is_empty()).then_some(region)
    }

    fn is_empty(&self) -> bool {
        is_covered(&self.extent, &self.except)
    }

    fn take(self, taken: &Extent<'s>, room: bool) -> Vec<Self> {
        let Some(open) = self.extent.open(taken) else {
            return vec![self];
        };
        if open.sides <= 1 || open.finite && room {
            let parts = self.extent.minus(taken).into_iter();
            return parts.map(|extent| Self { except: within(&self.except, &extent), extent }).collect();
        }
        let Self { extent, mut except } = self;
        if let Some(out) = extent.intersect(taken).filter(|out| !except.iter().any(|other| other.covers(out))) {
            except.retain(|other| !out.covers(other));
            except.push(out);
        }
        vec![Self { extent, except }]
    }

    /// Exceptions that by now cut clean through are cut, and what they leave out is taken out of the rest.
    fn settled(mut self) -> Vec<Self> {
        let clean = |except: &Extent<'s>| self.extent.open(except).is_some_and(|open| open.sides <= 1);
        match self.except.iter().position(clean) {
            Some(place) => {
                let taken = self.except.remove(place);
                self.take(&taken, false).into_iter().flat_map(Self::settled).collect()
            }
            None if self.is_empty() => Vec::new(),
            None => vec![self],
        }
    }
}

/// The parts of exceptions that lie in a set.
fn within<'s>(except: &[Extent<'s>], extent: &Extent<'s>) -> Vec<Extent<'s>> {
    except.iter().filter_map(|except| except.intersect(extent)).collect()
}

/// Whether nothing is left: part for part, until one escapes all.
pub(super) fn is_covered(extent: &Extent<'_>, by: &[Extent<'_>]) -> bool {
    let mut rest = by.iter();
    let Some(first) = rest.find(|other| other.meets(extent)) else {
        return false;
    };
    extent.minus(first).iter().all(|part| is_covered(part, rest.as_slice()))
}

/// What is left of a set without all that others have.
pub(crate) fn without<'s>(extent: &Extent<'s>, taken: &[Extent<'s>]) -> Vec<Region<'s>> {
    let taken: Vec<&Extent<'s>> = taken.iter().filter(|taken| taken.meets(extent)).collect();
    if taken.iter().any(|taken| taken.covers(extent)) {
        return Vec::new();
    }
    let mut left = vec![Region { extent: extent.clone(), except: Vec::new() }];
    for taken in taken {
        let room = left.len() < PARTS;
        left = left.into_iter().flat_map(|region| region.take(taken, room)).collect();
    }
    left.into_iter().flat_map(Region::settled).collect()
}

/// As few regions as say the same; `merge` joins what is known of each.
pub(crate) fn joined<'s, T>(regions: Vec<(Region<'s>, T)>, merge: impl Fn(&mut T, T)) -> Vec<(Region<'s>, T)> {
    let mut plain = Vec::new();
    let mut other: Vec<(Region<'s>, T)> = Vec::new();
    for (region, tag) in regions {
        if region.except.is_empty() {
            plain.push((region.extent, tag));
        } else if let Some((_, tags)) = other.iter_mut().find(|(known, _)| *known == region) {
            merge(tags, tag);
        } else {
            other.push((region, tag));
        }
    }
    loop {
        let before = plain.len();
        plain = Extent::join(plain, &merge);
        if plain.len() == before {
            break;
        }
    }
    let plain = plain.into_iter().map(|(extent, tag)| (Region { extent, except: Vec::new() }, tag));
    let all: Vec<(Region<'s>, T)> = plain.chain(other).collect();
    let is_within = |(place, region): (usize, &Region<'s>)| {
        let wholes = all.iter().enumerate().filter(|(other, (whole, _))| *other != place && whole.except.is_empty());
        // Of two that are equal the first stays.
        wholes.into_iter().any(|(other, (whole, _))| {
            whole.extent.covers(&region.extent) && (other < place || !region.extent.covers(&whole.extent))
        })
    };
    let kept: Vec<bool> = all.iter().enumerate().map(|(place, (region, _))| !is_within((place, region))).collect();
    all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(part, _)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Words;
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule { verbs: list(verbs), api_groups: list(groups), resources: list(resources), ..Rule::default() }
    }

    fn extents(rules: &[Rule]) -> Vec<Extent<'_>> {
        rules.iter().filter_map(|rule| Extent::objects(rule, Words::all())).collect()
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
        let extent = Extent::objects(&whole, Words::all()).unwrap();
        assert!(around.iter().all(|edge| extent.open(edge).is_some_and(|open| open.sides > 1)));
        let left = |edges: usize| Region { extent: extent.clone(), except: around[..edges].to_vec() }.settled();
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
        let whole = Extent::objects(&whole, Words::all()).unwrap();
        assert_eq!(without(&whole, &taken), []);
        let left = without(&whole, &taken[1..]);
        assert!(left.iter().any(|region| region.contains(&Request::object("v0", "", "r0"))));
        assert!(!left.iter().any(|region| region.contains(&Request::object("v1", "", "r1"))));
    }
}
