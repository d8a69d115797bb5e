//! Whether what somebody may do is a way to more, with the path spelled out.
//!
//! The ways stand in a table beside this file. Here they are held against sets of requests, so that a rule is found by
//! what it allows and not by how it is written.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use super::access_view::{AccessView, GrantSource};
use super::effective_permissions::{EffectivePermissions, GrantedRequests};
use super::escalation_rules::{AWS_AUTH, ESCALATION_RULES, EVERYTHING, EscalationRule, RequiredAccess, RequiredScope};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::request_set::{ObjectRequestSet, RequestSet, RequestSetExcept, ResourceSet, StringSet};
use crate::names::reserved_prefix;

/// Why somebody is more than he seems by who he is alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityRisk {
    SystemMasters,
    /// The username is one that Kubernetes or EKS gives to its own.
    ReservedUsername(String),
    /// Whoever names the session chooses this name.
    SessionChosenName(String),
}

/// An open way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EscalationPath<'s> {
    Rules {
        rule: &'static EscalationRule,
        /// What of it somebody may do.
        requests: Vec<RequestSetExcept<'s>>,
        granted_by: BTreeSet<GrantSource<'s>>,
    },
    Identity(IdentityRisk),
}

impl EscalationPath<'_> {
    /// A short name, the same in every version.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rules { rule: way, .. } => way.name,
            Self::Identity(IdentityRisk::SystemMasters) => "masters",
            Self::Identity(IdentityRisk::ReservedUsername(_)) => "reserved-username",
            Self::Identity(IdentityRisk::SessionChosenName(_)) => "free-name",
        }
    }
}

impl fmt::Display for EscalationPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules { rule: way, requests: through, granted_by: _ } => {
                let through: Vec<String> = through.iter().map(ToString::to_string).collect();
                write!(f, "{}: {}", way.consequence, through.join("; "))
            }
            Self::Identity(IdentityRisk::SystemMasters) => {
                f.write_str("is system:masters: may do everything, and no change of RBAC takes it away")
            }
            Self::Identity(IdentityRisk::ReservedUsername(name)) => {
                write!(f, "logs in as `{name}`, which belongs to the cluster itself, and has its access")
            }
            Self::Identity(IdentityRisk::SessionChosenName(name)) => {
                write!(f, "logs in under `{name}`: whoever names the session chooses who he is")
            }
        }
    }
}

/// The ways that are open to somebody.
pub(crate) fn escalation_paths<'s>(access: &AccessView<'s>, who: &SubjectQuery) -> Vec<EscalationPath<'s>> {
    let admission = access.authenticate(who);
    let mut ways = identity_escalation_paths(&admission);
    if !admission.identities().any(Identity::is_in_system_masters) {
        let parts = EffectivePermissions::new(false, access.effective_rules(who)).granted_requests();
        ways.extend(rule_escalation_paths(&parts, || parts.clone()));
    }
    ways
}

/// Everybody who has a way up, with his ways.
pub(crate) fn all_escalation_paths<'s>(access: &AccessView<'s>) -> Vec<(SubjectQuery, Vec<EscalationPath<'s>>)> {
    access.grants.build_index();
    let all = access.all_subjects().into_iter().map(|who| (escalation_paths(access, &who), who));
    all.filter(|(ways, _)| !ways.is_empty()).map(|(ways, who)| (who, ways)).collect()
}

/// The ways that a gain opens for somebody who may then do all of `reach`.
pub(super) fn newly_opened_paths<'s>(
    gained: &[GrantedRequests<'s>],
    reach: &EffectivePermissions<'s>,
) -> Vec<EscalationPath<'s>> {
    if reach.is_in_system_masters() { Vec::new() } else { rule_escalation_paths(gained, || reach.granted_requests()) }
}

/// What lies in who somebody is.
pub(super) fn identity_escalation_paths<'s>(admission: &Authentication) -> Vec<EscalationPath<'s>> {
    let mut ways = BTreeSet::new();
    for identity in admission.identities().filter(|identity| identity.entry().is_some()) {
        if identity.is_in_system_masters() {
            ways.insert(IdentityRisk::SystemMasters);
        }
        let names = identity.username.iter().chain(&identity.groups);
        ways.extend(
            names.filter(|name| name.is_session_chosen()).map(|name| IdentityRisk::SessionChosenName(name.to_string())),
        );
        let username = identity.username.iter().filter(|name| reserved_prefix(name.as_str()).is_some());
        // A machine whose name EC2 or the session says is what it seems; the name of one written down is taken.
        let taken = username.filter(|name| !identity.is_node() || name.as_literal().is_some());
        ways.extend(taken.map(|name| IdentityRisk::ReservedUsername(name.to_string())));
    }
    ways.into_iter().map(EscalationPath::Identity).collect()
}

/// The ways for which one of the `new` parts counts, where the other needs may be met by `all`.
fn rule_escalation_paths<'s>(
    new: &[GrantedRequests<'s>],
    all: impl FnOnce() -> Vec<GrantedRequests<'s>>,
) -> Vec<EscalationPath<'s>> {
    let (whole, parts): (Vec<&GrantedRequests<'s>>, Vec<&GrantedRequests<'s>>) =
        new.iter().partition(|part| is_everything(&part.requests));
    let mut ways = Vec::new();
    if !whole.is_empty() {
        let through = whole.iter().map(|part| part.requests.clone()).collect();
        let by = whole.iter().flat_map(|part| part.granted_by.iter().copied()).collect();
        ways.push(EscalationPath::Rules { rule: &EVERYTHING, requests: through, granted_by: by });
    }
    let all = LazyCell::new(all);
    for (way, needs) in ESCALATION_RULES.iter().zip(REQUIRED_SETS.iter()) {
        // What is everything in one namespace is the whole cluster in this one.
        let whole = if way.name == AWS_AUTH { whole.as_slice() } else { &[] };
        let counting = || whole.iter().chain(&parts).copied();
        let needs = || way.requires.iter().zip(needs);
        let mut hits: Vec<Vec<RequirementMatch<'_, 's>>> =
            needs().map(|need| matches_of_requirement(counting(), need)).collect();
        if hits.iter().all(Vec::is_empty) {
            continue;
        }
        if hits.len() > 1 {
            hits = needs().map(|need| self::matches_of_requirement(all.iter(), need)).collect();
        }
        ways.extend(combine_matches(way, hits));
    }
    ways
}

/// What the ways need, as sets of requests.
static REQUIRED_SETS: LazyLock<Vec<Vec<RequestSet<'static>>>> = LazyLock::new(|| {
    ESCALATION_RULES.iter().map(|way| way.requires.iter().map(RequiredAccess::request_set).collect()).collect()
});

/// Part of what somebody may do that a need asks for.
struct RequirementMatch<'a, 's> {
    requests: RequestSetExcept<'s>,
    granted_by: &'a [GrantSource<'s>],
}

fn matches_of_requirement<'a, 's>(
    parts: impl Iterator<Item = &'a GrantedRequests<'s>>,
    (need, asked): (&RequiredAccess, &RequestSet<'static>),
) -> Vec<RequirementMatch<'a, 's>> {
    let met = parts.filter_map(|part| {
        Some(RequirementMatch { requests: part.requests.intersect(asked)?, granted_by: &part.granted_by })
    });
    met.filter(|hit| need.scope != RequiredScope::NamedNamespace || names_own_namespace(&hit.requests)).collect()
}

fn names_own_namespace(region: &RequestSetExcept<'_>) -> bool {
    match &region.set {
        RequestSet::Objects(objects) => {
            let named = objects.namespaces.minus(&StringSet::only([""]));
            objects.names.overlaps(&named)
        }
        RequestSet::Urls(_) => false,
    }
}

/// The way, where all needs are met in one place.
fn combine_matches<'s>(
    way: &'static EscalationRule,
    hits: Vec<Vec<RequirementMatch<'_, 's>>>,
) -> Option<EscalationPath<'s>> {
    let mut place = StringSet::all();
    for hits in &hits {
        let met = hits.iter().map(|hit| namespaces(&hit.requests));
        place = place.intersect(&met.fold(StringSet::none(), |all, one| all.union(&one)));
    }
    if place.is_empty() {
        return None;
    }
    let (mut through, mut by) = (Vec::new(), BTreeSet::new());
    for hit in hits.into_iter().flatten().filter(|hit| namespaces(&hit.requests).overlaps(&place)) {
        through.push(hit.requests);
        by.extend(hit.granted_by.iter().copied());
    }
    Some(EscalationPath::Rules { rule: way, requests: through, granted_by: by })
}

fn namespaces<'s>(region: &RequestSetExcept<'s>) -> StringSet<'s> {
    match &region.set {
        RequestSet::Objects(objects) => objects.namespaces.clone(),
        RequestSet::Urls(_) => StringSet::none(),
    }
}

fn is_everything(region: &RequestSetExcept<'_>) -> bool {
    match &region.set {
        RequestSet::Objects(ObjectRequestSet { namespaces: _, resources, groups, names, verbs }) => {
            resources.is_all() && groups.is_all() && names.is_all() && verbs.is_all()
        }
        RequestSet::Urls(_) => false,
    }
}

impl RequiredAccess {
    pub(super) fn request_set(&self) -> RequestSet<'static> {
        let words = |list: &'static [&'static str]| StringSet::only(list.iter().copied());
        RequestSet::Objects(ObjectRequestSet {
            namespaces: match self.scope {
                RequiredScope::AnyNamespace => StringSet::all_but([""]),
                RequiredScope::Cluster => StringSet::only([""]),
                RequiredScope::InNamespace(namespace) => StringSet::only([namespace]),
                RequiredScope::Any | RequiredScope::NamedNamespace => StringSet::all(),
            },
            resources: ResourceSet::from_rule(self.resources.iter().copied()),
            groups: StringSet::only([self.group]),
            names: if self.names.is_empty() { StringSet::all() } else { words(self.names) },
            verbs: words(self.verbs),
        })
    }
}
