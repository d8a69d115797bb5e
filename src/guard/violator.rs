//! The subjects that violate an invariant, and the grants through which they do, as text.

use std::fmt;

use super::invariant_checker::InvariantChecker;
use crate::access::{
    CanResult, EffectiveRule, EscalationPath, GrantPath, GrantSource, Identity, MASTERS, NearMiss, Request,
    RuleMismatch, SubjectQuery, UnknownPart, Verdict, describe_variants, escalation_paths, rule_allows,
};
use crate::api_resources::KnownResources;
use crate::names::ObjectKey;
use crate::plan::InvariantSubject;
use crate::policy::{ManagedBy, RequestSpec};
use crate::state::rbac::{Rule, Subject};

/// A verb whose requests never name an object.
const VERB_WITHOUT_NAME: &str = "deletecollection";

/// A subject that violates an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violator {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy.
    pub(crate) principal_name: Option<String>,
    /// What it can do and must not, or must be able to do and cannot.
    pub(crate) finding: String,
    /// From the aws-auth entry to the rule.
    pub(crate) path: Vec<String>,
    pub(crate) path_kind: PathKind,
}

/// What the path of a [`Violator`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// The rule that allows the request.
    Grant,
    /// The rule that comes closest to allowing the request.
    NearMiss,
}

impl fmt::Display for Violator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(name) = &self.principal_name {
            write!(f, " ({name})")?;
        }
        write!(f, " {}", self.finding)?;
        if self.path.is_empty() {
            return Ok(());
        }
        let separator = match self.path_kind {
            PathKind::Grant => ", via ",
            PathKind::NearMiss => "; closest match: ",
        };
        write!(f, "{separator}{}", self.path.join(" → "))
    }
}

impl InvariantChecker<'_, '_> {
    /// Returns how the subject can make a request that it must not be able to make.
    pub(super) fn violation_of_cannot(&self, subject: &SubjectQuery, spec: &RequestSpec) -> Option<Violator> {
        let authentication = self.access.authenticate(subject);
        if authentication.identities().any(Identity::is_in_system_masters) {
            let request = to_request(spec, None, None, self.known());
            return Some(self.new_violator(
                subject,
                format!("can {}", describe_request(&request, spec, self.known())),
                self.describe_grant_source(subject, &GrantSource::SystemMasters),
            ));
        }
        let effective_rules = self.access.effective_rules(subject);
        // A grant in all namespaces tells more than one in a single namespace, so report that first.
        let (cluster_wide, namespaced): (Vec<&EffectiveRule<'_>>, Vec<&EffectiveRule<'_>>) =
            effective_rules.iter().partition(|rule| rule.namespace.is_none());
        let found = cluster_wide
            .into_iter()
            .chain(namespaced)
            .find_map(|rule| Some((rule, find_allowed_request(rule, spec, &effective_rules, self.known())?)));
        let Some((rule, request)) = found else {
            let request = to_request(spec, None, spec.namespace.as_deref(), self.known());
            let what = format!("may be able to {}", describe_request(&request, spec, self.known()));
            return self.undecided(subject, Some(&request), &what);
        };
        let path = self.describe_grant_source(subject, &GrantSource::Path(rule.path));
        let by_apply = if is_create_by_apply(rule, &request) { " by server-side apply" } else { "" };
        let what = format!("can {}{by_apply}", describe_request(&request, spec, self.known()));
        Some(self.new_violator(subject, what, path))
    }

    /// Returns why the subject cannot make a request that it must be able to make.
    pub(super) fn violation_of_can(&self, subject: &SubjectQuery, spec: &RequestSpec) -> Option<Violator> {
        let request = to_request(spec, None, spec.namespace.as_deref(), self.known());
        let answer = self.access.answer(subject, &request, &[]);
        let what = match answer.verdict {
            Verdict::Yes => return None,
            Verdict::No => format!("cannot {request}"),
            Verdict::NoWithoutPatch => {
                format!("cannot {request}: a POST has no name, and server-side apply also needs `patch`")
            }
            Verdict::YesByApply => format!("can {request} by server-side apply only: a POST has no name"),
            Verdict::Ambiguous => {
                format!("can {request} only at some logins (non-deterministic: several aws-auth entries match)")
            }
            Verdict::YesForSome => format!(
                "can {request} only as {}",
                describe_variants(answer.result.allowed_variants.iter().map(|variant| &variant.principal))
            ),
            Verdict::NotAnswered(UnknownPart::Access) => {
                let what = format!("may be unable to {request}");
                return self.undecided(subject, Some(&request), &what);
            }
            Verdict::NotAnswered(UnknownPart::Subject | UnknownPart::Namespace | UnknownPart::Scope) => {
                format!("may be unable to {request}: it is not known whether the resource is in namespaces")
            }
        };
        let path = self.describe_near_miss(&answer.result);
        Some(Violator { path_kind: PathKind::NearMiss, ..self.new_violator(subject, what, path) })
    }

    /// Returns the first privilege escalation path of the subject, and the names of the others.
    pub(super) fn violation_of_cannot_escalate(&self, subject: &SubjectQuery) -> Option<Violator> {
        let escalations = escalation_paths(self.access, subject);
        let Some(first) = escalations.first() else {
            return self.undecided(subject, None, "may have a privilege escalation path");
        };
        let path = match first {
            EscalationPath::Rules { granted_by, .. } => {
                granted_by.first().map(|source| self.describe_grant_source(subject, source)).unwrap_or_default()
            }
            EscalationPath::Identity(_) => self.describe_entries(subject, None),
        };
        let others: Vec<String> = escalations.iter().skip(1).map(|path| format!("`{}`", path.name())).collect();
        let others = if others.is_empty() { String::new() } else { format!(" (and {})", others.join(", ")) };
        let what = format!("has the privilege escalation path `{}`{others}: {first}", first.name());
        Some(self.new_violator(subject, what, path))
    }

    /// Returns the violator for an invariant that cannot be decided, because something is not known of the access of the
    /// subject. `None` if all is known.
    fn undecided(&self, subject: &SubjectQuery, request: Option<&Request>, what: &str) -> Option<Violator> {
        let unknown = self.access.unknown_access(subject, request);
        let reasons: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        let finding = format!("{what}, which cannot be decided: {}", reasons.join("; "));
        (!reasons.is_empty()).then(|| self.new_violator(subject, finding, Vec::new()))
    }

    /// Returns the violator for an invariant about subjects that an access entry can give more access, if the access entries
    /// are not known.
    pub(super) fn unknown_access_entries(&self, invariant_subject: &InvariantSubject) -> Option<Violator> {
        let reason = self.access.mapping.unknown_access_entries.as_ref()?;
        let subject = match invariant_subject {
            InvariantSubject::ServiceAccount { .. } => return None,
            InvariantSubject::Principal { subject: Some(subject), .. } => subject.to_string(),
            InvariantSubject::Principal { name, subject: None } => name.clone(),
            InvariantSubject::Group(name) => format!("group:{name}"),
            InvariantSubject::User(name) => format!("user:{name}"),
            InvariantSubject::EveryoneBut(_) => "a principal with an access entry".to_owned(),
        };
        Some(Violator {
            subject,
            principal_name: None,
            finding: format!(
                "has access that cannot be decided: the access entries of the cluster are not known: {reason}"
            ),
            path: Vec::new(),
            path_kind: PathKind::Grant,
        })
    }

    fn known(&self) -> &KnownResources {
        &self.access.state().resources
    }

    fn new_violator(&self, subject: &SubjectQuery, finding: String, path: Vec<String>) -> Violator {
        let principal_name = self.policy_index.principal_name(subject).map(str::to_owned);
        Violator { subject: subject.to_string(), principal_name, finding, path, path_kind: PathKind::Grant }
    }

    fn describe_grant_source(&self, subject: &SubjectQuery, source: &GrantSource<'_>) -> Vec<String> {
        match source {
            GrantSource::SystemMasters => {
                let mut path = self.describe_entries(subject, Some(&Subject::Group(MASTERS.to_owned())));
                path.push(format!("group {MASTERS} (bypasses RBAC)"));
                path
            }
            GrantSource::Path(grant) => {
                let mut path = self.describe_entries(subject, Some(grant.subject));
                path.extend(self.describe_grant_path(grant));
                path
            }
        }
    }

    /// Describes the aws-auth entry through which the query matches the subject of a binding. If the query is a group,
    /// describes the first entry that gives the group.
    fn describe_entries(&self, query: &SubjectQuery, subject: Option<&Subject>) -> Vec<String> {
        let authentication = self.access.authenticate(query);
        let matches = |identity: &&Identity| subject.is_none_or(|subject| identity.matches_subject(subject));
        let state = self.access.state();
        let describe_entry = |identity: &Identity| {
            let entry = identity.entry()?;
            let managed_by = self.policy_index.entry_managed_by(state, &state.entry_marks(), entry);
            Some(format!("{} ({})", entry.with_store(), format_managed_by(&managed_by)))
        };
        if let Some(entry) = authentication.identities().filter(matches).find_map(describe_entry) {
            return vec![entry];
        }
        let describe_entries_of_group = |group: &str| {
            let mut entries = self
                .access
                .principals()
                .iter()
                .flat_map(|principal| principal.authentication.identities())
                .filter(|identity| identity.is_in_group(group))
                .filter_map(describe_entry);
            let first = entries.next()?;
            Some(match entries.count() {
                0 => first,
                more => format!("{first} and {more} more"),
            })
        };
        match (query, subject) {
            // If a member of the group matches through another group, such as system:authenticated, no entry explains
            // it.
            (SubjectQuery::Group(group), Some(Subject::Group(name))) if group == name => {
                describe_entries_of_group(group).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn describe_grant_path(&self, grant: &GrantPath<'_>) -> Vec<String> {
        let GrantPath { subject, binding, role, source, rule, scope: _ } = grant;
        let mut path = vec![subject.to_string(), self.describe_object(binding), self.describe_object(role)];
        if source != role {
            path.push(format!("aggregated from {}", self.describe_object(source)));
        }
        path.push(format!("rule {rule}"));
        path
    }

    fn describe_object(&self, key: &ObjectKey) -> String {
        format!("{key} ({})", format_managed_by(&self.policy_index.managed_by(self.access.state(), key)))
    }

    /// Describes the grant that comes closest to allowing the request.
    fn describe_near_miss(&self, result: &CanResult<'_>) -> Vec<String> {
        match result.near_misses.first() {
            Some(NearMiss::Rule { path: grant, mismatch }) => {
                let mut path = self.describe_grant_path(grant);
                path.push(format!("not applicable: {}", describe_mismatch(*mismatch)));
                path
            }
            Some(NearMiss::MissingRole { subject, binding, role }) => {
                vec![subject.to_string(), self.describe_object(binding), format!("{role}, which does not exist")]
            }
            None => Vec::new(),
        }
    }
}

fn describe_mismatch(mismatch: RuleMismatch) -> &'static str {
    match mismatch {
        RuleMismatch::Namespace => "only grants access in another namespace",
        RuleMismatch::Verb => "does not have the verb",
        RuleMismatch::Name => "only allows other names",
        RuleMismatch::Resource => "does not have the resource",
        RuleMismatch::Group => "only allows another API group",
        RuleMismatch::Url => "does not have the URL",
    }
}

fn format_managed_by(managed_by: &ManagedBy) -> String {
    match managed_by {
        ManagedBy::Location(location) => location.to_string(),
        ManagedBy::Policy(name) => format!("policy {name}"),
        ManagedBy::Unmanaged => "unmanaged".to_owned(),
    }
}

/// Returns the request of an invariant. `name` and `namespace` are used if the invariant does not have its own.
pub(super) fn to_request(
    spec: &RequestSpec,
    name: Option<&str>,
    namespace: Option<&str>,
    known: &KnownResources,
) -> Request {
    if spec.resource.starts_with('/') {
        return Request::url(&spec.verb, &spec.resource);
    }
    let (resource, subresource) = spec.resource.split_once('/').unwrap_or((&spec.resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let path = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    let name = spec.name.as_deref().or(name).unwrap_or_default();
    let namespace = spec.namespace.as_deref().or(namespace).unwrap_or_default();
    Request::object(&spec.verb, group, &path).with_name(name).in_namespace(namespace).into_client_request(known)
}

/// Returns a request that the invariant covers and that the rule allows in the namespace of its grant.
fn find_allowed_request(
    effective_rule: &EffectiveRule<'_>,
    spec: &RequestSpec,
    all_rules: &[EffectiveRule<'_>],
    known: &KnownResources,
) -> Option<Request> {
    let rule = effective_rule.path.rule;
    expand_wildcards(spec, rule).into_iter().find_map(|spec| {
        let mut names: Vec<Option<&str>> = vec![None];
        let has_name = spec.verb != VERB_WITHOUT_NAME || spec.resource.contains('/');
        if has_name {
            names.extend(rule.resource_names.iter().map(|name| Some(name.as_str())));
        }
        // A request for a Namespace object is a request in the namespace of that name.
        if spec.resource == "namespaces" {
            names.extend(effective_rule.namespace.map(Some));
        }
        let requests = names.into_iter().map(|name| to_request(&spec, name, effective_rule.namespace, known));
        let is_allowed_by = |effective_rule: &EffectiveRule<'_>, request: &Request| {
            effective_rule.namespace.is_none_or(|namespace| request.namespace() == Some(namespace))
                && rule_allows(effective_rule.path.rule, request)
        };
        let is_possible = |request: &Request| {
            let patch = request.clone().with_verb("patch");
            !is_create_by_apply(effective_rule, request) || all_rules.iter().any(|rule| is_allowed_by(rule, &patch))
        };
        requests.into_iter().find(|request| is_allowed_by(effective_rule, request) && is_possible(request))
    })
}

/// Returns whether the rule allows the creation of an object by server-side apply only: a POST has no name, and the rule is
/// limited to names. Server-side apply also needs `patch`.
fn is_create_by_apply(effective_rule: &EffectiveRule<'_>, request: &Request) -> bool {
    let is_named_create = matches!(request, Request::Object(object) if object.is_named_create());
    is_named_create && !rule_allows(effective_rule.path.rule, &request.clone().with_name(""))
}

/// Replaces `*` in the verb and resource of an invariant by the verbs and resources of the rule.
fn expand_wildcards(spec: &RequestSpec, rule: &Rule) -> Vec<RequestSpec> {
    let verbs = if spec.verb == "*" { rule.verbs.clone() } else { vec![spec.verb.clone()] };
    let resources = if spec.resource == "*" {
        let groups = rule.api_groups.iter();
        groups
            .flat_map(|group| {
                rule.resources.iter().map(move |resource| match (group.as_str(), resource.split_once('/')) {
                    ("", _) => resource.clone(),
                    (group, Some((resource, subresource))) => format!("{resource}.{group}/{subresource}"),
                    (group, None) => format!("{resource}.{group}"),
                })
            })
            .collect()
    } else {
        vec![spec.resource.clone()]
    };
    let pairs = verbs.iter().flat_map(|verb| resources.iter().map(move |resource| (verb, resource)));
    pairs
        .map(|(verb, resource)| RequestSpec { verb: verb.clone(), resource: resource.clone(), ..spec.clone() })
        .collect()
}

fn describe_request(request: &Request, spec: &RequestSpec, known: &KnownResources) -> String {
    // A cluster-scoped request does not keep a namespace.
    let is_namespaced = request.clone().in_namespace("any").into_client_request(known).namespace().is_some();
    let in_all_namespaces = is_namespaced && request.namespace().is_none() && spec.namespace.is_none();
    format!("{request}{}", if in_all_namespaces { " in all namespaces" } else { "" })
}
