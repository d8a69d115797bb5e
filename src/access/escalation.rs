//! The privilege escalation paths of a subject: which escalation rules its permissions satisfy, and through which
//! requests and bindings.
//!
//! The rules are compared with sets of requests, so a path is found by what the permissions allow and not by how the
//! roles are written.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use super::access_view::{AccessView, GrantPath, GrantSource};
use super::bound_grants::BoundGrants;
use super::effective_permissions::{EffectivePermissions, GrantedRequests};
use super::escalation_rules::{
    AWS_AUTH, CommonTarget, ESCALATION_RULES, EscalationRule, FULL_ADMIN, RequiredAccess, RequiredScope,
};
use super::identity::{Authentication, Identity, MASTERS, SubjectQuery};
use super::request_set::{ObjectRequestSet, RequestSet, RequestSetExcept, ResourceSet, StringSet, format_namespaces};
use crate::names::{ObjectKey, reserved_prefix};
use crate::state::rbac::Subject;

const RESERVED_USERNAME: &str = "reserved-username";
const SESSION_CHOSEN_NAME: &str = "session-chosen-name";

/// Why the username or a group of an identity alone gives it more access than its bindings show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityRisk {
    SystemMasters,
    /// The username is reserved for Kubernetes or EKS.
    ReservedUsername(String),
    /// The session name, which the caller chooses, is the whole username or group.
    SessionChosenName(String),
}

/// A privilege escalation path of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EscalationPath<'s> {
    Rules {
        rule: &'static EscalationRule,
        /// The allowed requests that satisfy the rule.
        requests: Vec<RequestSetExcept<'s>>,
        granted_by: BTreeSet<GrantSource<'s>>,
    },
    Identity(IdentityRisk),
}

impl<'s> EscalationPath<'s> {
    /// Returns the path of another subject of the same bindings.
    fn with_subjects(&self, subjects: &BTreeMap<&ObjectKey, &'s Subject>) -> Self {
        match self {
            Self::Rules { rule, requests, granted_by } => {
                let with_subject = |source: &GrantSource<'s>| match source {
                    GrantSource::Path(path) => {
                        let subject = subjects.get(path.binding).copied().unwrap_or(path.subject);
                        GrantSource::Path(GrantPath { subject, ..*path })
                    }
                    GrantSource::SystemMasters => GrantSource::SystemMasters,
                };
                let granted_by = granted_by.iter().map(with_subject).collect();
                Self::Rules { rule, requests: requests.clone(), granted_by }
            }
            Self::Identity(risk) => Self::Identity(risk.clone()),
        }
    }
}

impl EscalationPath<'_> {
    /// Returns a short name. It is the same in every version.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rules { rule, .. } => rule.name,
            Self::Identity(IdentityRisk::SystemMasters) => MASTERS,
            Self::Identity(IdentityRisk::ReservedUsername(_)) => RESERVED_USERNAME,
            Self::Identity(IdentityRisk::SessionChosenName(_)) => SESSION_CHOSEN_NAME,
        }
    }
}

impl fmt::Display for EscalationPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules { rule, requests, granted_by: _ } if rule.name == FULL_ADMIN.name => {
                write!(f, "{}{}", rule.consequence, format_namespaces(&namespaces_of_all(requests)))
            }
            Self::Rules { rule, requests, granted_by: _ } => {
                let requests: Vec<String> = requests.iter().map(ToString::to_string).collect();
                write!(f, "{}: {}", rule.consequence, requests.join("; "))
            }
            Self::Identity(IdentityRisk::SystemMasters) => {
                f.write_str("full cluster access that RBAC cannot restrict or revoke")
            }
            Self::Identity(IdentityRisk::ReservedUsername(name)) => {
                write!(f, "authenticates as `{name}`, a username that is reserved for the cluster, and has its access")
            }
            Self::Identity(IdentityRisk::SessionChosenName(name)) => {
                write!(f, "authenticates as `{name}`, which the caller chooses freely by naming the session")
            }
        }
    }
}

/// Returns what a path with this name leads to. The subject of the sentence is left out. `None` for a name that no path has.
pub(crate) fn escalation_consequence(name: &str) -> Option<&'static str> {
    let of_identity = match name {
        MASTERS => Some("has full cluster access that RBAC cannot restrict or revoke"),
        RESERVED_USERNAME => Some("authenticates with a username that is reserved for the cluster, and has its access"),
        SESSION_CHOSEN_NAME => Some("authenticates with a name that the caller chooses freely by naming the session"),
        _ => None,
    };
    let rules = || std::iter::once(&FULL_ADMIN).chain(&ESCALATION_RULES);
    of_identity.or_else(|| rules().find(|rule| rule.name == name).map(|rule| rule.consequence))
}

/// Returns the privilege escalation paths of a subject.
pub(crate) fn escalation_paths<'s>(access: &AccessView<'s>, query: &SubjectQuery) -> Vec<EscalationPath<'s>> {
    let authentication = access.authenticate(query);
    let mut paths = identity_escalation_paths(&authentication);
    if !authentication.identities().any(Identity::is_in_system_masters) {
        let permissions =
            EffectivePermissions::new(&access.grants.state.resources, false, access.effective_rules(query));
        paths.extend(paths_of_permissions(&permissions));
    }
    paths
}

/// Returns the paths that permissions open. Membership in `system:masters` is a path of the identity.
pub(crate) fn paths_of_permissions<'s>(permissions: &EffectivePermissions<'s>) -> Vec<EscalationPath<'s>> {
    if permissions.is_in_system_masters() {
        return Vec::new();
    }
    let granted = permissions.granted_requests();
    rule_escalation_paths(&granted, || granted.clone())
}

/// Returns every subject that has a privilege escalation path, with its paths.
pub(crate) fn all_escalation_paths<'s>(access: &AccessView<'s>) -> Vec<(SubjectQuery, Vec<EscalationPath<'s>>)> {
    access.grants.build_index();
    // The subjects of one binding have the same paths, but for the subject that each path names.
    let mut shared: BTreeMap<BoundGrants, Vec<EscalationPath<'s>>> = BTreeMap::new();
    let mut all = Vec::new();
    for query in access.all_subjects() {
        let authentication = access.authenticate(&query);
        let bound = BoundGrants::for_authentication(access, &authentication);
        let shared_paths =
            shared.entry(bound).or_insert_with_key(|bound| paths_of_permissions(&bound.effective_permissions(access)));
        let mut paths = identity_escalation_paths(&authentication);
        if !shared_paths.is_empty() {
            let grants = authentication.identities().flat_map(|identity| access.grants.grants_for_identity(identity));
            let subjects: BTreeMap<&ObjectKey, &'s Subject> =
                grants.map(|grant| (grant.binding_key, grant.subject)).collect();
            paths.extend(shared_paths.iter().map(|path| path.with_subjects(&subjects)));
        }
        if !paths.is_empty() {
            all.push((query, paths));
        }
    }
    all
}

/// Returns the paths that gained permissions open, given all permissions after the gain.
pub(super) fn newly_opened_paths<'s>(
    gained: &[GrantedRequests<'s>],
    after: &EffectivePermissions<'s>,
) -> Vec<EscalationPath<'s>> {
    if after.is_in_system_masters() { Vec::new() } else { rule_escalation_paths(gained, || after.granted_requests()) }
}

/// Returns the paths that follow from the username and groups alone.
///
/// Only the identities of aws-auth entries are checked, because an entry assigns the username and groups. A query for a
/// username or a group assigns nothing.
pub(crate) fn identity_escalation_paths<'s>(authentication: &Authentication) -> Vec<EscalationPath<'s>> {
    let mut risks = BTreeSet::new();
    for identity in authentication.identities().filter(|identity| identity.entry().is_some()) {
        if identity.is_in_system_masters() {
            risks.insert(IdentityRisk::SystemMasters);
        }
        let names = identity.username.iter().chain(&identity.groups);
        risks.extend(
            names.filter(|name| name.is_session_chosen()).map(|name| IdentityRisk::SessionChosenName(name.to_string())),
        );
        let reserved = identity.username.iter().filter(|name| reserved_prefix(name.as_str()).is_some());
        // A node username from EC2 or the session name is the node's own. A literal node username impersonates a node.
        let impersonated = reserved.filter(|name| !identity.is_node() || name.as_literal().is_some());
        risks.extend(impersonated.map(|name| IdentityRisk::ReservedUsername(name.to_string())));
    }
    risks.into_iter().map(EscalationPath::Identity).collect()
}

/// Returns the paths that the `new` permissions satisfy. A rule with several required permissions needs only one of
/// them to be new: the others may be any of `all` permissions, which are computed only if such a rule needs them.
fn rule_escalation_paths<'s>(
    new: &[GrantedRequests<'s>],
    all: impl FnOnce() -> Vec<GrantedRequests<'s>>,
) -> Vec<EscalationPath<'s>> {
    let (full_admin, limited): (Vec<&GrantedRequests<'s>>, Vec<&GrantedRequests<'s>>) =
        new.iter().partition(|granted| is_full_admin(&granted.requests));
    let mut paths = Vec::new();
    if !full_admin.is_empty() {
        let requests = full_admin.iter().map(|granted| granted.requests.clone()).collect();
        let granted_by = full_admin.iter().flat_map(|granted| granted.granted_by.iter().copied()).collect();
        paths.push(EscalationPath::Rules { rule: &FULL_ADMIN, requests, granted_by });
    }
    let all = LazyCell::new(all);
    for (rule, required_sets) in ESCALATION_RULES.iter().zip(REQUIRED_SETS.iter()) {
        // `full-admin` implies every other rule, with one exception: in kube-system alone it is limited to that
        // namespace, but through aws-auth it leads to the whole cluster.
        let full_admin = if rule.name == AWS_AUTH { full_admin.as_slice() } else { &[] };
        let candidates = || full_admin.iter().chain(&limited).copied();
        let requirements = || rule.requires.iter().zip(required_sets);
        let mut matches: Vec<Vec<RequirementMatch<'_, 's>>> =
            requirements().map(|requirement| matches_of_requirement(rule, candidates(), requirement)).collect();
        if matches.iter().all(Vec::is_empty) {
            continue;
        }
        if matches.len() > 1 {
            matches = requirements().map(|requirement| matches_of_requirement(rule, all.iter(), requirement)).collect();
        }
        paths.extend(combine_matches(rule, matches));
    }
    paths
}

/// The required permissions of each escalation rule, as sets of requests.
static REQUIRED_SETS: LazyLock<Vec<Vec<Vec<RequestSet<'static>>>>> = LazyLock::new(|| {
    ESCALATION_RULES.iter().map(|rule| rule.requires.iter().map(RequiredAccess::request_sets).collect()).collect()
});

/// The part of granted requests that satisfies one required permission.
struct RequirementMatch<'a, 's> {
    requests: RequestSetExcept<'s>,
    granted_by: &'a [GrantSource<'s>],
}

fn matches_of_requirement<'a, 's>(
    rule: &EscalationRule,
    granted: impl Iterator<Item = &'a GrantedRequests<'s>>,
    (requirement, required_sets): (&RequiredAccess, &Vec<RequestSet<'static>>),
) -> Vec<RequirementMatch<'a, 's>> {
    let matches = granted.flat_map(|granted| {
        let is_relevant = |requests: &&RequestSet<'static>| granted.requests.set.overlaps(requests);
        let relevant: Vec<&RequestSet<'static>> = required_sets.iter().filter(is_relevant).collect();
        // Without a limit to names, one set is enough, and easier to read, unless the names are compared.
        let is_one_set = names(&granted.requests).is_all() && rule.common != CommonTarget::Object;
        let requests: Vec<RequestSetExcept<'s>> = if is_one_set && !relevant.is_empty() {
            granted.requests.intersect(&requirement.request_set()).into_iter().collect()
        } else {
            relevant.into_iter().filter_map(|required_set| granted.requests.intersect(required_set)).collect()
        };
        requests.into_iter().map(|requests| RequirementMatch { requests, granted_by: &granted.granted_by })
    });
    matches
        .filter(|found| requirement.scope != RequiredScope::NamedNamespace || can_name_own_namespace(&found.requests))
        .collect()
}

/// Returns whether the set has a request whose object name equals its namespace, as a request for a Namespace object
/// does.
fn can_name_own_namespace(requests: &RequestSetExcept<'_>) -> bool {
    match &requests.set {
        RequestSet::Objects(objects) => {
            let namespaces = objects.namespaces.difference(&StringSet::only([""]));
            objects.names.overlaps(&namespaces)
        }
        RequestSet::Urls(_) => false,
    }
}

/// Returns the path, if all required permissions are granted on a common target.
fn combine_matches<'s>(
    rule: &'static EscalationRule,
    matches: Vec<Vec<RequirementMatch<'_, 's>>>,
) -> Option<EscalationPath<'s>> {
    if matches.iter().any(Vec::is_empty) {
        return None;
    }
    let (mut common_namespaces, mut common_names) = (StringSet::all(), StringSet::all());
    for matches in &matches {
        if rule.common != CommonTarget::Nothing {
            common_namespaces =
                common_namespaces.intersect(&namespaces_of_all(matches.iter().map(|found| &found.requests)));
        }
        if rule.common == CommonTarget::Object {
            let union = |union: StringSet<'s>, found: &RequirementMatch<'_, 's>| union.union(&names(&found.requests));
            common_names = common_names.intersect(&matches.iter().fold(StringSet::none(), union));
        }
    }
    if common_namespaces.is_empty() || common_names.is_empty() {
        return None;
    }
    let is_common = |requests: &RequestSetExcept<'s>| {
        (rule.common == CommonTarget::Nothing || namespaces(requests).overlaps(&common_namespaces))
            && names(requests).overlaps(&common_names)
    };
    let (mut requests, mut granted_by) = (Vec::new(), BTreeSet::new());
    for found in matches.into_iter().flatten().filter(|found| is_common(&found.requests)) {
        requests.push(found.requests);
        granted_by.extend(found.granted_by.iter().copied());
    }
    Some(EscalationPath::Rules { rule, requests, granted_by })
}

fn names<'s>(requests: &RequestSetExcept<'s>) -> StringSet<'s> {
    match &requests.set {
        RequestSet::Objects(objects) => objects.names.clone(),
        RequestSet::Urls(_) => StringSet::none(),
    }
}

/// Returns the union of the namespaces of several sets.
fn namespaces_of_all<'a, 's: 'a>(sets: impl IntoIterator<Item = &'a RequestSetExcept<'s>>) -> StringSet<'s> {
    sets.into_iter().fold(StringSet::none(), |union, requests| union.union(&namespaces(requests)))
}

fn namespaces<'s>(requests: &RequestSetExcept<'s>) -> StringSet<'s> {
    match &requests.set {
        RequestSet::Objects(objects) => objects.namespaces.clone(),
        RequestSet::Urls(_) => StringSet::none(),
    }
}

/// Returns whether the set has every verb on every resource, in whichever namespaces.
fn is_full_admin(requests: &RequestSetExcept<'_>) -> bool {
    match &requests.set {
        RequestSet::Objects(ObjectRequestSet { namespaces: _, resources, groups, names, verbs }) => {
            resources.is_all() && groups.is_all() && names.is_all() && verbs.is_all()
        }
        RequestSet::Urls(_) => false,
    }
}

impl RequiredAccess {
    /// Returns the required requests, as far as a client can send them: the requests of some verbs always have a name, and a
    /// POST of an object has none.
    pub(super) fn request_sets(&self) -> Vec<RequestSet<'static>> {
        let named =
            if self.names.is_empty() { StringSet::all_but([""]) } else { StringSet::only(self.names.iter().copied()) };
        let has_subresource = self.resources.iter().any(|resource| resource.contains('/'));
        let names_of_verb = |verb: &str| match verb {
            // Server-side apply creates an object by a request with a name, which also needs `patch`.
            "create" if !has_subresource && self.verbs.contains(&"patch") => StringSet::only([""]),
            "list" | "watch" | "deletecollection" | "escalate" => StringSet::all(),
            "create" if !has_subresource => StringSet::all(),
            _ if verb.starts_with("impersonate-on:") => StringSet::all(),
            _ => named.clone(),
        };
        let mut verbs_by_names: BTreeMap<StringSet<'static>, Vec<&'static str>> = BTreeMap::new();
        for verb in self.verbs {
            verbs_by_names.entry(names_of_verb(verb)).or_default().push(verb);
        }
        verbs_by_names.into_iter().map(|(names, verbs)| self.product(names, verbs)).collect()
    }

    /// Returns the required requests as one set, including those that no client can send.
    fn request_set(&self) -> RequestSet<'static> {
        let names = if self.names.is_empty() {
            StringSet::all()
        } else {
            StringSet::only(self.names.iter().copied().chain([""]))
        };
        self.product(names, self.verbs.to_vec())
    }

    fn product(&self, names: StringSet<'static>, verbs: Vec<&'static str>) -> RequestSet<'static> {
        RequestSet::Objects(ObjectRequestSet {
            namespaces: match self.scope {
                RequiredScope::AnyNamespace => StringSet::all_but([""]),
                RequiredScope::Cluster => StringSet::only([""]),
                RequiredScope::InNamespace(namespace) => StringSet::only([namespace]),
                RequiredScope::Any | RequiredScope::NamedNamespace => StringSet::all(),
            },
            resources: ResourceSet::from_rule(self.resources.iter().copied()),
            groups: if self.group == "*" { StringSet::all() } else { StringSet::only([self.group]) },
            names,
            verbs: StringSet::only(verbs),
        })
    }
}
