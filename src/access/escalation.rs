//! Whether what somebody may do is a way to more, with the path spelled out.
//!
//! The ways stand in a table beside this file. Here they are held against sets of requests, so that a rule is found by
//! what it allows and not by how it is written.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use super::extent::{Extent, Objects, Region, Resources, Words};
use super::identity::{Admission, Identity, Who};
use super::query::{Access, By};
use super::reach::{Part, Reach};
use super::ways::{AWS_AUTH, EVERYTHING, Need, Place, WAYS, Way};
use crate::names::reserved_prefix;

/// Why somebody is more than he seems by who he is alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assumed {
    Masters,
    /// The username is one that Kubernetes or EKS gives to its own.
    Reserved(String),
    /// Whoever names the session chooses this name.
    Free(String),
}

/// An open way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WayUp<'s> {
    Rules {
        way: &'static Way,
        /// What of it somebody may do.
        through: Vec<Region<'s>>,
        by: BTreeSet<By<'s>>,
    },
    Assumed(Assumed),
}

impl WayUp<'_> {
    /// A short name, the same in every version.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rules { way, .. } => way.name,
            Self::Assumed(Assumed::Masters) => "masters",
            Self::Assumed(Assumed::Reserved(_)) => "reserved-username",
            Self::Assumed(Assumed::Free(_)) => "free-name",
        }
    }
}

impl fmt::Display for WayUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules { way, through, by: _ } => {
                let through: Vec<String> = through.iter().map(ToString::to_string).collect();
                write!(f, "{}: {}", way.path, through.join("; "))
            }
            Self::Assumed(Assumed::Masters) => {
                f.write_str("is system:masters: may do everything, and no change of RBAC takes it away")
            }
            Self::Assumed(Assumed::Reserved(name)) => {
                write!(f, "logs in as `{name}`, which belongs to the cluster itself, and has its access")
            }
            Self::Assumed(Assumed::Free(name)) => {
                write!(f, "logs in under `{name}`: whoever names the session chooses who he is")
            }
        }
    }
}

/// The ways that are open to somebody.
pub(crate) fn ways_up<'s>(access: &Access<'s>, who: &Who) -> Vec<WayUp<'s>> {
    let admission = access.admit(who);
    let mut ways = assumed(&admission);
    if !admission.identities().any(Identity::is_master) {
        let parts = Reach::new(false, access.held(who)).parts();
        ways.extend(found(&parts, || parts.clone()));
    }
    ways
}

/// Everybody who has a way up, with his ways.
pub(crate) fn all_ways_up<'s>(access: &Access<'s>) -> Vec<(Who, Vec<WayUp<'s>>)> {
    access.grants.index();
    let all = access.everybody().into_iter().map(|who| (ways_up(access, &who), who));
    all.filter(|(ways, _)| !ways.is_empty()).map(|(ways, who)| (who, ways)).collect()
}

/// The ways that a gain opens for somebody who may then do all of `reach`.
pub(super) fn opened<'s>(gained: &[Part<'s>], reach: &Reach<'s>) -> Vec<WayUp<'s>> {
    if reach.is_master() { Vec::new() } else { found(gained, || reach.parts()) }
}

/// What lies in who somebody is.
pub(super) fn assumed<'s>(admission: &Admission) -> Vec<WayUp<'s>> {
    let mut ways = BTreeSet::new();
    for identity in admission.identities().filter(|identity| identity.entry().is_some()) {
        if identity.is_master() {
            ways.insert(Assumed::Masters);
        }
        let names = identity.username.iter().chain(&identity.groups);
        ways.extend(names.filter(|name| name.is_free()).map(|name| Assumed::Free(name.to_string())));
        let username = identity.username.iter().filter(|name| reserved_prefix(name.as_str()).is_some());
        // A machine whose name EC2 or the session says is what it seems; the name of one written down is taken.
        let taken = username.filter(|name| !identity.is_node() || name.literal().is_some());
        ways.extend(taken.map(|name| Assumed::Reserved(name.to_string())));
    }
    ways.into_iter().map(WayUp::Assumed).collect()
}

/// The ways for which one of the `new` parts counts, where the other needs may be met by `all`.
fn found<'s>(new: &[Part<'s>], all: impl FnOnce() -> Vec<Part<'s>>) -> Vec<WayUp<'s>> {
    let (whole, parts): (Vec<&Part<'s>>, Vec<&Part<'s>>) = new.iter().partition(|part| is_everything(&part.region));
    let mut ways = Vec::new();
    if !whole.is_empty() {
        let through = whole.iter().map(|part| part.region.clone()).collect();
        let by = whole.iter().flat_map(|part| part.by.iter().copied()).collect();
        ways.push(WayUp::Rules { way: &EVERYTHING, through, by });
    }
    let all = LazyCell::new(all);
    for (way, needs) in WAYS.iter().zip(NEEDS.iter()) {
        // What is everything in one namespace is the whole cluster in this one.
        let whole = if way.name == AWS_AUTH { whole.as_slice() } else { &[] };
        let counting = || whole.iter().chain(&parts).copied();
        let needs = || way.needs.iter().zip(needs);
        let mut hits: Vec<Vec<Hit<'_, 's>>> = needs().map(|need| hits(counting(), need)).collect();
        if hits.iter().all(Vec::is_empty) {
            continue;
        }
        if hits.len() > 1 {
            hits = needs().map(|need| self::hits(all.iter(), need)).collect();
        }
        ways.extend(together(way, hits));
    }
    ways
}

/// What the ways need, as sets of requests.
static NEEDS: LazyLock<Vec<Vec<Extent<'static>>>> =
    LazyLock::new(|| WAYS.iter().map(|way| way.needs.iter().map(Need::extent).collect()).collect());

/// Part of what somebody may do that a need asks for.
struct Hit<'a, 's> {
    region: Region<'s>,
    by: &'a [By<'s>],
}

fn hits<'a, 's>(
    parts: impl Iterator<Item = &'a Part<'s>>,
    (need, asked): (&Need, &Extent<'static>),
) -> Vec<Hit<'a, 's>> {
    let met = parts.filter_map(|part| Some(Hit { region: part.region.intersect(asked)?, by: &part.by }));
    met.filter(|hit| need.place != Place::Itself || names_its_namespace(&hit.region)).collect()
}

fn names_its_namespace(region: &Region<'_>) -> bool {
    match &region.extent {
        Extent::Objects(objects) => {
            let named = objects.namespaces.minus(&Words::only([""]));
            objects.names.meets(&named)
        }
        Extent::Paths(_) => false,
    }
}

/// The way, where all needs are met in one place.
fn together<'s>(way: &'static Way, hits: Vec<Vec<Hit<'_, 's>>>) -> Option<WayUp<'s>> {
    let mut place = Words::all();
    for hits in &hits {
        let met = hits.iter().map(|hit| namespaces(&hit.region));
        place = place.intersect(&met.fold(Words::none(), |all, one| all.union(&one)));
    }
    if place.is_empty() {
        return None;
    }
    let (mut through, mut by) = (Vec::new(), BTreeSet::new());
    for hit in hits.into_iter().flatten().filter(|hit| namespaces(&hit.region).meets(&place)) {
        through.push(hit.region);
        by.extend(hit.by.iter().copied());
    }
    Some(WayUp::Rules { way, through, by })
}

fn namespaces<'s>(region: &Region<'s>) -> Words<'s> {
    match &region.extent {
        Extent::Objects(objects) => objects.namespaces.clone(),
        Extent::Paths(_) => Words::none(),
    }
}

fn is_everything(region: &Region<'_>) -> bool {
    match &region.extent {
        Extent::Objects(Objects { namespaces: _, resources, groups, names, verbs }) => {
            resources.is_all() && groups.is_all() && names.is_all() && verbs.is_all()
        }
        Extent::Paths(_) => false,
    }
}

impl Need {
    pub(super) fn extent(&self) -> Extent<'static> {
        let words = |list: &'static [&'static str]| Words::only(list.iter().copied());
        Extent::Objects(Objects {
            namespaces: match self.place {
                Place::Namespace => Words::all_but([""]),
                Place::Cluster => Words::only([""]),
                Place::In(namespace) => Words::only([namespace]),
                Place::Any | Place::Itself => Words::all(),
            },
            resources: Resources::of_rule(self.resources.iter().copied()),
            groups: Words::only([self.group]),
            names: if self.names.is_empty() { Words::all() } else { words(self.names) },
            verbs: words(self.verbs),
        })
    }
}
