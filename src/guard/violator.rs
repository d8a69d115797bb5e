//! Who breaks an invariant, and the way from his entry to the rule, in words.

use super::invariant_checker::InvariantChecker;
use crate::access::{
    AccessDecision, CanResult, EffectiveRule, EscalationPath, GrantPath, GrantSource, Identity, MASTERS, NearMiss,
    Request, RuleMismatch, SubjectQuery, escalation_paths, rule_allows,
};
use crate::names::ObjectKey;
use crate::policy::{ManagedBy, RequestSpec};
use crate::state::rbac::{Rule, Subject};

/// Verbs whose requests name no object.
const VERBS_WITHOUT_NAME: [&str; 2] = ["create", "deletecollection"];

/// Somebody for whom an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violator {
    /// An ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The policy's name for him.
    pub(crate) principal_name: Option<String>,
    /// What he may do and must not, or must and may not.
    pub(crate) finding: String,
    /// From the entry of aws-auth to the rule.
    pub(crate) path: Vec<String>,
}

impl InvariantChecker<'_, '_> {
    /// How somebody can do what he must not.
    pub(super) fn violation_of_cannot(&self, who: &SubjectQuery, action: &RequestSpec) -> Option<Violator> {
        let admission = self.access.authenticate(who);
        if admission.identities().any(Identity::is_in_system_masters) {
            let asked = to_request(action, None, None);
            return Some(self.new_violator(
                who,
                format!("can {}", describe_request(&asked, action)),
                self.describe_grant_source(who, &GrantSource::SystemMasters),
            ));
        }
        let held = self.access.effective_rules(who);
        // A way everywhere says more than one in a namespace.
        let (everywhere, somewhere): (Vec<&EffectiveRule<'_>>, Vec<&EffectiveRule<'_>>) =
            held.iter().partition(|one| one.namespace.is_none());
        let (held, asked) = everywhere
            .into_iter()
            .chain(somewhere)
            .find_map(|held| Some((held, find_allowed_request(held, action)?)))?;
        let by = self.describe_grant_source(who, &GrantSource::Path(held.path));
        Some(self.new_violator(who, format!("can {}", describe_request(&asked, action)), by))
    }

    /// Why somebody cannot do what he must be able to do.
    pub(super) fn violation_of_can(&self, who: &SubjectQuery, action: &RequestSpec) -> Option<Violator> {
        let request = to_request(action, None, action.namespace.as_deref());
        let answer = self.access.can(who, &request);
        let so = match answer.decision {
            AccessDecision::Allowed => return None,
            AccessDecision::Denied => format!("cannot {request}"),
            AccessDecision::Ambiguous => {
                format!("can {request} by chance alone: several entries answer, another at each login")
            }
        };
        Some(self.new_violator(who, so, self.describe_nearest_miss(&answer)))
    }

    /// The first way up that is open to somebody.
    pub(super) fn violation_of_cannot_escalate(&self, who: &SubjectQuery) -> Option<Violator> {
        let ways = escalation_paths(self.access, who);
        let first = ways.first()?;
        let path = match first {
            EscalationPath::Rules { granted_by: by, .. } => {
                by.first().map(|by| self.describe_grant_source(who, by)).unwrap_or_default()
            }
            EscalationPath::Identity(_) => self.describe_entries(who, None),
        };
        let others: Vec<&str> = ways.iter().skip(1).map(EscalationPath::name).collect();
        let others = if others.is_empty() { String::new() } else { format!("; other ways: {}", others.join(", ")) };
        Some(self.new_violator(who, format!("has the way `{}`: {first}{others}", first.name()), path))
    }

    fn new_violator(&self, who: &SubjectQuery, what: String, path: Vec<String>) -> Violator {
        Violator {
            subject: who.to_string(),
            principal_name: self.policy_index.principal_name(who).map(str::to_owned),
            finding: what,
            path,
        }
    }

    fn describe_grant_source(&self, who: &SubjectQuery, by: &GrantSource<'_>) -> Vec<String> {
        match by {
            GrantSource::SystemMasters => {
                let mut path = self.describe_entries(who, Some(&Subject::Group(MASTERS.to_owned())));
                path.push(format!("group {MASTERS}, of whom RBAC is not asked"));
                path
            }
            GrantSource::Path(chain) => {
                let mut path = self.describe_entries(who, Some(chain.subject));
                path.extend(self.describe_grant_path(chain));
                path
            }
        }
    }

    /// The entry by which somebody is the subject; of a group, the first of those who are in it.
    fn describe_entries(&self, who: &SubjectQuery, subject: Option<&Subject>) -> Vec<String> {
        let admission = self.access.authenticate(who);
        let own = |identity: &&Identity| subject.is_none_or(|subject| identity.matches_subject(subject));
        let state = self.access.state();
        let said = |identity: &Identity| {
            let entry = identity.entry()?;
            Some(format!("entry {entry} ({})", format_managed_by(&self.policy_index.entry_managed_by(state, entry))))
        };
        if let Some(entry) = admission.identities().filter(own).find_map(said) {
            return vec![entry];
        }
        // Of everybody who logs in, no entry is worth naming.
        let behind = |group: &str| {
            let in_it = |one: &&Identity| one.is_in_group(group);
            let mut all = self
                .access
                .principals()
                .iter()
                .flat_map(|one| one.authentication.identities())
                .filter(in_it)
                .filter_map(said);
            let first = all.next()?;
            Some(match all.count() {
                0 => first,
                more => format!("{first} and {more} more"),
            })
        };
        match (who, subject) {
            (SubjectQuery::Group(group), Some(Subject::Group(name))) if group == name => {
                behind(group).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn describe_grant_path(&self, chain: &GrantPath<'_>) -> Vec<String> {
        let GrantPath { subject, binding, role, source, rule } = chain;
        let mut path = vec![subject.to_string(), self.describe_object(binding), self.describe_object(role)];
        if source != role {
            path.push(format!("from {}", self.describe_object(source)));
        }
        path.push(format!("rule {rule}"));
        path
    }

    fn describe_object(&self, key: &ObjectKey) -> String {
        format!("{key} ({})", format_managed_by(&self.policy_index.managed_by(self.access.state(), key)))
    }

    /// The nearest miss.
    fn describe_nearest_miss(&self, answer: &CanResult<'_>) -> Vec<String> {
        match answer.near_misses.first() {
            Some(NearMiss::Rule { path: chain, mismatch: lack }) => {
                let mut path = self.describe_grant_path(chain);
                path.push(describe_mismatch(*lack).to_owned());
                path
            }
            Some(NearMiss::MissingRole { subject, binding, role }) => {
                vec![subject.to_string(), self.describe_object(binding), format!("{role}, which does not exist")]
            }
            None => Vec::new(),
        }
    }
}

fn describe_mismatch(lack: RuleMismatch) -> &'static str {
    match lack {
        RuleMismatch::Namespace => "which counts in another namespace",
        RuleMismatch::Verb => "which has not the verb",
        RuleMismatch::Name => "which is for other names",
        RuleMismatch::Resource => "which has not the resource",
        RuleMismatch::Group => "which is for another API group",
        RuleMismatch::Url => "which has not the URL",
    }
}

fn format_managed_by(origin: &ManagedBy) -> String {
    match origin {
        ManagedBy::Location(place) => place.to_string(),
        ManagedBy::Policy(name) => format!("policy {name}"),
        ManagedBy::Unmanaged => "unmanaged".to_owned(),
    }
}

/// The request of an action, with another name or namespace where the action has none.
pub(super) fn to_request(action: &RequestSpec, name: Option<&str>, namespace: Option<&str>) -> Request {
    if action.resource.starts_with('/') {
        return Request::url(&action.verb, &action.resource);
    }
    let (resource, subresource) = action.resource.split_once('/').unwrap_or((&action.resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let whole = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    let name = action.name.as_deref().or(name).unwrap_or_default();
    let namespace = action.namespace.as_deref().or(namespace).unwrap_or_default();
    Request::object(&action.verb, group, &whole).with_name(name).in_namespace(namespace).into_client_request()
}

/// A request that the action means and that a rule allows where it is held.
fn find_allowed_request(held: &EffectiveRule<'_>, action: &RequestSpec) -> Option<Request> {
    let rule = held.path.rule;
    expand_wildcards(action, rule).into_iter().find_map(|action| {
        let mut names: Vec<Option<&str>> = vec![None];
        let is_named = !VERBS_WITHOUT_NAME.contains(&action.verb.as_str()) || action.resource.contains('/');
        if is_named {
            names.extend(rule.resource_names.iter().map(|name| Some(name.as_str())));
        }
        // A Namespace is in the namespace of its own name.
        if action.resource == "namespaces" {
            names.extend(held.namespace.map(Some));
        }
        let requests = names.into_iter().map(|name| to_request(&action, name, held.namespace));
        let here = |request: &Request| held.namespace.is_none_or(|namespace| request.namespace() == Some(namespace));
        requests.into_iter().find(|request| here(request) && rule_allows(rule, request))
    })
}

/// What an action with `*` in it means, in the words of a rule.
fn expand_wildcards(action: &RequestSpec, rule: &Rule) -> Vec<RequestSpec> {
    let verbs = if action.verb == "*" { rule.verbs.clone() } else { vec![action.verb.clone()] };
    let resources = if action.resource == "*" {
        let groups = rule.api_groups.iter();
        groups
            .flat_map(|group| {
                rule.resources.iter().map(move |resource| match (group.as_str(), resource.split_once('/')) {
                    ("", _) => resource.clone(),
                    (group, Some((resource, sub))) => format!("{resource}.{group}/{sub}"),
                    (group, None) => format!("{resource}.{group}"),
                })
            })
            .collect()
    } else {
        vec![action.resource.clone()]
    };
    let all = verbs.iter().flat_map(|verb| resources.iter().map(move |resource| (verb, resource)));
    all.map(|(verb, resource)| RequestSpec { verb: verb.clone(), resource: resource.clone(), ..action.clone() })
        .collect()
}

fn describe_request(request: &Request, action: &RequestSpec) -> String {
    let everywhere = request.namespace().is_none() && action.namespace.is_none() && !action.resource.starts_with('/');
    format!("{request}{}", if everywhere { " everywhere" } else { "" })
}
