//! Who breaks an invariant, and the way from his entry to the rule, in words.

use serde::Serialize;

use super::subjects::People;
use crate::access::{
    Answer, By, Chain, Held, Identity, Lack, MASTERS, Miss, Request, Verdict, WayUp, Who, allows, ways_up,
};
use crate::names::ObjectKey;
use crate::policy::{Action, Origin};
use crate::state::rbac::{Rule, Subject};

/// Verbs whose requests name no object.
const NAMELESS: [&str; 2] = ["create", "deletecollection"];

/// Somebody for whom an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Breach {
    /// An ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) who: String,
    /// The policy's name for him.
    pub(crate) name: Option<String>,
    /// What he may do and must not, or must and may not.
    pub(crate) what: String,
    /// From the entry of aws-auth to the rule.
    pub(crate) path: Vec<String>,
}

impl People<'_, '_> {
    /// How somebody can do what he must not.
    pub(super) fn can(&self, who: &Who, action: &Action) -> Option<Breach> {
        let admission = self.access.admit(who);
        if admission.identities().any(Identity::is_master) {
            let asked = request(action, None, None);
            return Some(self.breach(who, format!("can {}", words(&asked, action)), self.by(who, &By::Masters)));
        }
        let held = self.access.held(who);
        // A way everywhere says more than one in a namespace.
        let (everywhere, somewhere): (Vec<&Held<'_>>, Vec<&Held<'_>>) =
            held.iter().partition(|one| one.namespace.is_none());
        let (held, asked) =
            everywhere.into_iter().chain(somewhere).find_map(|held| Some((held, allowed(held, action)?)))?;
        let by = self.by(who, &By::Chain(held.chain));
        Some(self.breach(who, format!("can {}", words(&asked, action)), by))
    }

    /// Why somebody cannot do what he must be able to do.
    pub(super) fn cannot(&self, who: &Who, action: &Action) -> Option<Breach> {
        let request = request(action, None, action.namespace.as_deref());
        let answer = self.access.can(who, &request);
        let so = match answer.verdict {
            Verdict::Yes => return None,
            Verdict::No => format!("cannot {request}"),
            Verdict::ByChance => {
                format!("can {request} by chance alone: several entries answer, another at each login")
            }
        };
        Some(self.breach(who, so, self.misses(&answer)))
    }

    /// The first way up that is open to somebody.
    pub(super) fn way_up(&self, who: &Who) -> Option<Breach> {
        let ways = ways_up(self.access, who);
        let first = ways.first()?;
        let path = match first {
            WayUp::Rules { by, .. } => by.first().map(|by| self.by(who, by)).unwrap_or_default(),
            WayUp::Assumed(_) => self.entries(who, None),
        };
        let others: Vec<&str> = ways.iter().skip(1).map(WayUp::name).collect();
        let others = if others.is_empty() { String::new() } else { format!("; other ways: {}", others.join(", ")) };
        Some(self.breach(who, format!("has the way `{}`: {first}{others}", first.name()), path))
    }

    fn breach(&self, who: &Who, what: String, path: Vec<String>) -> Breach {
        Breach { who: who.to_string(), name: self.known.name_of(who).map(str::to_owned), what, path }
    }

    fn by(&self, who: &Who, by: &By<'_>) -> Vec<String> {
        match by {
            By::Masters => {
                let mut path = self.entries(who, Some(&Subject::Group(MASTERS.to_owned())));
                path.push(format!("group {MASTERS}, of whom RBAC is not asked"));
                path
            }
            By::Chain(chain) => {
                let mut path = self.entries(who, Some(chain.subject));
                path.extend(self.chain(chain));
                path
            }
        }
    }

    /// The entry by which somebody is the subject; of a group, the first of those who are in it.
    fn entries(&self, who: &Who, subject: Option<&Subject>) -> Vec<String> {
        let admission = self.access.admit(who);
        let own = |identity: &&Identity| subject.is_none_or(|subject| identity.is_meant_by(subject));
        let state = self.access.state();
        let said = |identity: &Identity| {
            let entry = identity.entry()?;
            Some(format!("entry {entry} ({})", origin(&self.known.entry_origin(state, entry))))
        };
        if let Some(entry) = admission.identities().filter(own).find_map(said) {
            return vec![entry];
        }
        // Of everybody who logs in, no entry is worth naming.
        let behind = |group: &str| {
            let in_it = |one: &&Identity| one.is_in(group);
            let mut all = self
                .access
                .principals()
                .iter()
                .flat_map(|one| one.admission.identities())
                .filter(in_it)
                .filter_map(said);
            let first = all.next()?;
            Some(match all.count() {
                0 => first,
                more => format!("{first} and {more} more"),
            })
        };
        match (who, subject) {
            (Who::Group(group), Some(Subject::Group(name))) if group == name => behind(group).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn chain(&self, chain: &Chain<'_>) -> Vec<String> {
        let Chain { subject, binding, role, source, rule } = chain;
        let mut path = vec![subject.to_string(), self.object(binding), self.object(role)];
        if source != role {
            path.push(format!("from {}", self.object(source)));
        }
        path.push(format!("rule {rule}"));
        path
    }

    fn object(&self, key: &ObjectKey) -> String {
        format!("{key} ({})", origin(&self.known.origin(self.access.state(), key)))
    }

    /// The nearest miss.
    fn misses(&self, answer: &Answer<'_>) -> Vec<String> {
        match answer.misses.first() {
            Some(Miss::Rule { chain, lack }) => {
                let mut path = self.chain(chain);
                path.push(lacks(*lack).to_owned());
                path
            }
            Some(Miss::Pending { subject, binding, role }) => {
                vec![subject.to_string(), self.object(binding), format!("{role}, which does not exist")]
            }
            None => Vec::new(),
        }
    }
}

fn lacks(lack: Lack) -> &'static str {
    match lack {
        Lack::Namespace => "which counts in another namespace",
        Lack::Verb => "which has not the verb",
        Lack::Name => "which is for other names",
        Lack::Resource => "which has not the resource",
        Lack::Group => "which is for another API group",
        Lack::Url => "which has not the URL",
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Here(place) => place.to_string(),
        Origin::Policy(name) => format!("policy {name}"),
        Origin::Unmanaged => "unmanaged".to_owned(),
    }
}

/// The request of an action, with another name or namespace where the action has none.
pub(super) fn request(action: &Action, name: Option<&str>, namespace: Option<&str>) -> Request {
    if action.resource.starts_with('/') {
        return Request::url(&action.verb, &action.resource);
    }
    let (resource, subresource) = action.resource.split_once('/').unwrap_or((&action.resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let whole = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    let name = action.name.as_deref().or(name).unwrap_or_default();
    let namespace = action.namespace.as_deref().or(namespace).unwrap_or_default();
    Request::object(&action.verb, group, &whole).named(name).within(namespace).into_sent()
}

/// A request that the action means and that a rule allows where it is held.
fn allowed(held: &Held<'_>, action: &Action) -> Option<Request> {
    let rule = held.chain.rule;
    spelled(action, rule).into_iter().find_map(|action| {
        let mut names: Vec<Option<&str>> = vec![None];
        let is_named = !NAMELESS.contains(&action.verb.as_str()) || action.resource.contains('/');
        if is_named {
            names.extend(rule.resource_names.iter().map(|name| Some(name.as_str())));
        }
        // A Namespace is in the namespace of its own name.
        if action.resource == "namespaces" {
            names.extend(held.namespace.map(Some));
        }
        let requests = names.into_iter().map(|name| request(&action, name, held.namespace));
        let here = |request: &Request| held.namespace.is_none_or(|namespace| request.namespace() == Some(namespace));
        requests.into_iter().find(|request| here(request) && allows(rule, request))
    })
}

/// What an action with `*` in it means, in the words of a rule.
fn spelled(action: &Action, rule: &Rule) -> Vec<Action> {
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
    all.map(|(verb, resource)| Action { verb: verb.clone(), resource: resource.clone(), ..action.clone() }).collect()
}

fn words(request: &Request, action: &Action) -> String {
    let everywhere = request.namespace().is_none() && action.namespace.is_none() && !action.resource.starts_with('/');
    format!("{request}{}", if everywhere { " everywhere" } else { "" })
}
