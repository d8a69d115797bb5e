//! The bounds of a subject's access during an apply. The upper bound is what the live or the planned state grants, and
//! the lower bound is what both grant.
//!
//! Bounds are stored as rules, not as lists of requests. Identities that match the same RBAC subjects in both states
//! share their bounds. The upper bound contains the rules of an aggregated role both as its controller will fill them
//! in and as they are stored until then.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::identity_classes::Login;
use crate::access::{
    AccessEffect, AccessEngine, AggregatedRules, Coverage, EVERYTHING, RelatedScopes, RequestSet, ScopeId, ScopedRule,
    SubjectSet,
};
use crate::plan::probes::TransientAccess;

#[derive(Debug)]
pub(super) struct AccessBounds<'s> {
    /// The upper bound, sorted.
    upper: Vec<ScopedRule>,
    /// The lower bound.
    lower: LowerBound<'s>,
    /// Cache: for each rule, the requests outside the upper bound.
    outside: RefCell<BTreeMap<ScopedRule, Rc<[NotCovered<'s>]>>>,
    /// Cache: for each rule, the parts of the lower bound that it overlaps.
    required: RefCell<BTreeMap<ScopedRule, Rc<[RequiredSet<'s>]>>>,
}

/// Requests with which a subject is outside its bounds.
#[derive(Debug, Clone)]
pub(super) struct Violation<'s> {
    pub(super) access: TransientAccess,
    pub(super) requests: RequestSet<'s>,
    /// `false` if it was too much work to decide, so that the subject may be within its bounds.
    pub(super) is_proven: bool,
}

/// A set of requests that is not proven to be allowed, and whether it is proven not to be.
type NotCovered<'s> = (RequestSet<'s>, bool);

/// A set of requests in the lower bound.
#[derive(Debug, Clone)]
struct RequiredSet<'s> {
    /// The rule that allows the requests, and maybe others.
    scoped_rule: ScopedRule,
    /// Whether the requests are all that the rule allows.
    is_whole_rule: bool,
    requests: RequestSet<'s>,
}

impl RequiredSet<'_> {
    /// Returns whether the set comes from one of the sorted rules.
    fn is_granted_by(&self, scoped_rules: &[ScopedRule]) -> bool {
        self.is_whole_rule && scoped_rules.binary_search(&self.scoped_rule).is_ok()
    }
}

/// Bounds of which only the live state is known.
#[derive(Debug)]
pub(super) struct InitialBounds {
    sides: Vec<Vec<ScopedRule>>,
    upper: Vec<ScopedRule>,
}

impl InitialBounds {
    /// Takes the access of the live state. Call it before the engine changes.
    pub(super) fn new(live: &[SubjectSet], engine: &AccessEngine<'_>) -> Self {
        Self {
            sides: live.iter().map(|login| engine.scoped_rules(login, AggregatedRules::Reconciled)).collect(),
            upper: live.iter().flat_map(|login| engine.scoped_rules(login, AggregatedRules::WithStale)).collect(),
        }
    }

    /// Adds the access of the planned state. Call it when all planned changes are made in the engine.
    pub(super) fn with_planned<'s>(&self, planned: &[SubjectSet], engine: &AccessEngine<'s>) -> AccessBounds<'s> {
        let mut sides = self.sides.clone();
        sides.extend(planned.iter().map(|login| engine.scoped_rules(login, AggregatedRules::Reconciled)));
        let mut upper = self.upper.clone();
        upper.extend(sides.iter().flatten().copied());
        upper.sort_unstable();
        upper.dedup();
        let lower = LowerBound::new(&sides, engine);
        AccessBounds { upper, lower, outside: RefCell::default(), required: RefCell::default() }
    }
}

/// The requests that several logins all allow.
#[derive(Debug, Default)]
struct LowerBound<'s> {
    /// Sorted.
    scoped_rules: Vec<ScopedRule>,
    /// The common requests of different rules, by one of the rules. The scope is that of the common requests.
    shared: SharedSets<'s>,
    /// The keys of `shared`.
    shared_rules: Vec<ScopedRule>,
}

type SharedSets<'s> = BTreeMap<ScopedRule, BTreeSet<RequestSet<'s>>>;

impl<'s> LowerBound<'s> {
    fn new(sides: &[Vec<ScopedRule>], engine: &AccessEngine<'s>) -> Self {
        let mut sides = sides.iter();
        let Some(first) = sides.next() else {
            return Self::default();
        };
        let mut bound = Self { scoped_rules: first.clone(), ..Self::default() };
        for side in sides {
            let (kept, lost): (Vec<ScopedRule>, Vec<ScopedRule>) =
                bound.scoped_rules.iter().partition(|scoped_rule| side.binary_search(scoped_rule).is_ok());
            let other: Vec<ScopedRule> =
                side.iter().filter(|scoped_rule| kept.binary_search(scoped_rule).is_err()).copied().collect();
            let lost = lost.into_iter().map(|scoped_rule| (scoped_rule, engine.request_sets(scoped_rule).to_vec()));
            let mut shared = intersections(lost, &other, &kept, engine);
            let earlier = bound.shared.into_iter().map(|(rule, sets)| (rule, sets.into_iter().collect()));
            for (scoped_rule, sets) in intersections(earlier, side, &kept, engine) {
                shared.entry(scoped_rule).or_default().extend(sets);
            }
            bound = Self { scoped_rules: kept, shared, shared_rules: Vec::new() };
        }
        bound.shared_rules = bound.shared.keys().copied().collect();
        bound
    }

    fn is_empty(&self) -> bool {
        self.scoped_rules.is_empty() && self.shared.is_empty()
    }

    fn all(&self, engine: &AccessEngine<'s>) -> Vec<RequiredSet<'s>> {
        let mut all = Vec::new();
        for scoped_rule in &self.scoped_rules {
            push_whole_rule(*scoped_rule, |_| true, engine, &mut all);
        }
        for (scoped_rule, sets) in &self.shared {
            push_shared(*scoped_rule, sets, |_| true, &mut all);
        }
        all
    }

    /// Returns the parts that overlap with a rule.
    fn overlapping(&self, scoped_rule: ScopedRule, engine: &AccessEngine<'s>) -> Vec<RequiredSet<'s>> {
        let request_sets = engine.request_sets(scoped_rule);
        let overlaps = |set: &RequestSet<'s>| request_sets.iter().any(|requests| requests.overlaps(set));
        let mut all = Vec::new();
        for other in engine.related_rules(&self.scoped_rules, scoped_rule) {
            push_whole_rule(*other, overlaps, engine, &mut all);
        }
        for other in engine.related_rules(&self.shared_rules, scoped_rule) {
            if let Some(sets) = self.shared.get(other) {
                push_shared(*other, sets, overlaps, &mut all);
            }
        }
        all
    }
}

fn push_whole_rule<'s>(
    scoped_rule: ScopedRule,
    is_wanted: impl Fn(&RequestSet<'s>) -> bool,
    engine: &AccessEngine<'s>,
    into: &mut Vec<RequiredSet<'s>>,
) {
    let sets = engine.request_sets(scoped_rule);
    let wanted = sets.iter().filter(|requests| is_wanted(requests));
    into.extend(wanted.map(|requests| RequiredSet { scoped_rule, is_whole_rule: true, requests: requests.clone() }));
}

fn push_shared<'s>(
    scoped_rule: ScopedRule,
    sets: &BTreeSet<RequestSet<'s>>,
    is_wanted: impl Fn(&RequestSet<'s>) -> bool,
    into: &mut Vec<RequiredSet<'s>>,
) {
    let wanted = sets.iter().filter(|requests| is_wanted(requests));
    into.extend(wanted.map(|requests| RequiredSet { scoped_rule, is_whole_rule: false, requests: requests.clone() }));
}

/// Returns the requests of each set that some other rules allow too, without those that the `kept` rules allow anyway. A
/// cluster-wide rule and a rule of a namespace intersect in the namespace. The rules are sorted.
fn intersections<'s>(
    sets: impl Iterator<Item = (ScopedRule, Vec<RequestSet<'s>>)>,
    others: &[ScopedRule],
    kept: &[ScopedRule],
    engine: &AccessEngine<'s>,
) -> SharedSets<'s> {
    let mut shared: SharedSets<'s> = SharedSets::new();
    // The same requests are often common to many pairs of rules.
    let mut known: BTreeSet<(ScopeId, RequestSet<'s>)> = BTreeSet::new();
    for (scoped_rule, sets) in sets {
        let mut of_rule: BTreeMap<ScopeId, BTreeSet<RequestSet<'s>>> = BTreeMap::new();
        let (cluster_wide, in_namespaces): (Vec<&ScopedRule>, Vec<&ScopedRule>) =
            engine.related_rules(others, scoped_rule).partition(|other| other.scope == ScopeId::CLUSTER);
        // What is common in all namespaces does not have to be listed for each.
        for other in cluster_wide.into_iter().chain(in_namespaces) {
            let scope = if scoped_rule.scope == ScopeId::CLUSTER { other.scope } else { scoped_rule.scope };
            let other_sets = engine.request_sets(*other);
            for common in sets.iter().flat_map(|set| other_sets.iter().filter_map(|other| set.intersect(other))) {
                let same_or_wider = [ScopeId::CLUSTER, scope].into_iter().filter_map(|scope| of_rule.get(&scope));
                if same_or_wider.flatten().any(|known| known.covers(&common))
                    || known.contains(&(scope, common.clone()))
                    || engine.contain(kept, ScopedRule { scope, ..scoped_rule }, &common)
                {
                    continue;
                }
                known.insert((scope, common.clone()));
                of_rule.entry(scope).or_default().insert(common);
            }
        }
        for (scope, sets) in of_rule {
            shared.entry(ScopedRule { scope, ..scoped_rule }).or_default().extend(sets);
        }
    }
    shared
}

impl<'s> AccessBounds<'s> {
    /// Returns the requests that logins allow outside the bounds, or do not allow although the lower bound requires
    /// them; at most `max` of each. `allowed` decides which rules of aggregated roles count as allowed.
    pub(super) fn violations<'l>(
        &self,
        logins: impl Iterator<Item = &'l Login>,
        engine: &AccessEngine<'s>,
        allowed: AggregatedRules,
        max: usize,
    ) -> Vec<Violation<'s>> {
        let violation = |access| move |(requests, is_proven)| Violation { access, requests, is_proven };
        let mut violations = Vec::new();
        for login in logins {
            let reconciled = engine.scoped_rules(&login.subjects, AggregatedRules::Reconciled);
            let missing = missing_requests(&self.lower.all(engine), &reconciled, engine, max);
            violations.extend(missing.into_iter().map(violation(TransientAccess::Lost)));
            let allowed = match allowed {
                AggregatedRules::Reconciled => reconciled,
                AggregatedRules::WithStale => engine.scoped_rules(&login.subjects, allowed),
            };
            let excess = allowed.into_iter().flat_map(|scoped_rule| self.outside(scoped_rule, engine).to_vec());
            violations.extend(excess.take(max).map(violation(TransientAccess::Gained)));
        }
        violations
    }

    pub(super) fn contains_all<'l>(&self, logins: impl Iterator<Item = &'l Login>, engine: &AccessEngine<'s>) -> bool {
        let allowed =
            if engine.has_aggregated_roles() { AggregatedRules::WithStale } else { AggregatedRules::Reconciled };
        self.violations(logins, engine, allowed, 1).is_empty()
    }

    /// Returns whether the logins are within the bounds after a change, if they were before it.
    pub(super) fn contains_after<'l>(
        &self,
        mut logins: impl Iterator<Item = &'l Login>,
        effect: &AccessEffect,
        engine: &AccessEngine<'s>,
    ) -> bool {
        logins.all(|login| {
            let subjects = &login.subjects.subjects;
            effect.gained(subjects).into_iter().all(|scoped_rule| self.outside(scoped_rule, engine).is_empty()) && {
                let lost = effect.lost(subjects);
                let required = self.required_by(&lost, engine);
                required.is_empty() || {
                    // A rule of another namespace cannot make up for a lost one.
                    let scopes = RelatedScopes::of_rules(&lost);
                    let reconciled = engine.scoped_rules_in(&scopes, &login.subjects, AggregatedRules::Reconciled);
                    missing_requests(&required, &reconciled, engine, 1).is_empty()
                }
            }
        })
    }

    fn required_by(&self, scoped_rules: &[ScopedRule], engine: &AccessEngine<'s>) -> Vec<RequiredSet<'s>> {
        scoped_rules.iter().flat_map(|scoped_rule| self.required(*scoped_rule, engine).to_vec()).collect()
    }

    fn required(&self, scoped_rule: ScopedRule, engine: &AccessEngine<'s>) -> Rc<[RequiredSet<'s>]> {
        if self.lower.is_empty() {
            return Rc::from([]);
        }
        let known = self.required.borrow().get(&scoped_rule).cloned();
        known.unwrap_or_else(|| {
            let all: Rc<[RequiredSet<'s>]> = self.lower.overlapping(scoped_rule, engine).into();
            self.required.borrow_mut().insert(scoped_rule, Rc::clone(&all));
            all
        })
    }

    fn outside(&self, scoped_rule: ScopedRule, engine: &AccessEngine<'s>) -> Rc<[NotCovered<'s>]> {
        if self.upper.binary_search(&scoped_rule).is_ok() || self.upper.last() == Some(&EVERYTHING) {
            return Rc::from([]);
        }
        let known = self.outside.borrow().get(&scoped_rule).cloned();
        known.unwrap_or_else(|| {
            let all = engine.request_sets(scoped_rule);
            let outside: Rc<[NotCovered<'s>]> =
                all.iter().filter_map(|requests| not_covered(&self.upper, scoped_rule, requests, engine)).collect();
            self.outside.borrow_mut().insert(scoped_rule, Rc::clone(&outside));
            outside
        })
    }

    /// Returns the requests of the lower bound that only earlier writes of the plan allow now, and the scopes of the rules
    /// that can allow them. With `effect`, only those that the change revokes in another way.
    pub(super) fn granted_by_plan(
        &self,
        login: &Login,
        effect: Option<&AccessEffect>,
        engine: &AccessEngine<'s>,
        max: usize,
    ) -> (RelatedScopes, Vec<RequestSet<'s>>) {
        let (scopes, required) = match effect {
            Some(effect) => {
                let lost = effect.lost(&login.subjects.subjects);
                (RelatedScopes::of_rules(&lost), self.required_by(&lost, engine))
            }
            None => (RelatedScopes::All, self.lower.all(engine)),
        };
        let mut granted = Vec::new();
        if !required.is_empty() {
            let original = engine.original_rules(&scopes, &login.subjects);
            let missing = missing_requests(&required, &original, engine, max);
            granted = missing.into_iter().map(|(requests, _)| requests).collect();
        }
        (scopes, granted)
    }
}

/// At most `max` of the required sets that the sorted rules do not cover.
fn missing_requests<'s>(
    required: &[RequiredSet<'s>],
    scoped_rules: &[ScopedRule],
    engine: &AccessEngine<'s>,
    max: usize,
) -> Vec<NotCovered<'s>> {
    if scoped_rules.last() == Some(&EVERYTHING) {
        return Vec::new();
    }
    let required = required.iter().filter(|set| !set.is_granted_by(scoped_rules));
    required.filter_map(|set| not_covered(scoped_rules, set.scoped_rule, &set.requests, engine)).take(max).collect()
}

/// Returns the requests, unless the rules are proven to allow all of them.
fn not_covered<'s>(
    scoped_rules: &[ScopedRule],
    scoped_rule: ScopedRule,
    requests: &RequestSet<'s>,
    engine: &AccessEngine<'s>,
) -> Option<NotCovered<'s>> {
    match engine.coverage(scoped_rules, scoped_rule, requests) {
        Coverage::Complete => None,
        Coverage::Incomplete => Some((requests.clone(), true)),
        Coverage::Undecided => Some((requests.clone(), false)),
    }
}
