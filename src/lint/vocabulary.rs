//! The words that rules and invariants can name in one cluster: verbs, API groups, resources and subresources.

use std::collections::{BTreeMap, BTreeSet};

use crate::api_resources::{ApiResource, ApiResources};
use crate::diagnostic::closest_match;
use crate::policy::Policy;
use crate::state::State;

/// The verbs of requests for non-resource URLs: the HTTP methods (k8s.io/apiserver `endpoints/request/requestinfo.go`).
pub(super) const HTTP_VERBS: [&str; 7] = ["get", "head", "options", "patch", "post", "put", "delete"];
/// The verbs that every resource can have. A resource that a policy declares has them.
const STANDARD_VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The prefixes of verbs with a part that is chosen freely (k8s.io/apiserver v0.36.3 constrained impersonation).
const VERB_PREFIXES: [&str; 2] = ["impersonate:", "impersonate-on:"];
/// Words that are often written instead of verbs, and what to write.
const VERB_SYNONYMS: [(&str, &str); 17] = [
    ("read", "write `get`, `list` and `watch`"),
    ("view", "write `get`, `list` and `watch`"),
    ("readonly", "write `get`, `list` and `watch`"),
    ("write", "write `create`, `update`, `patch` and `delete`"),
    ("edit", "write `update` and `patch`"),
    ("modify", "write `update` and `patch`"),
    ("apply", "write `create` and `patch`"),
    ("put", "write `update`"),
    ("post", "write `create`"),
    ("add", "write `create`"),
    ("remove", "write `delete`"),
    ("all", "write `*` for all verbs"),
    ("any", "write `*` for all verbs"),
    ("exec", "write `create` on `pods/exec`"),
    ("attach", "write `create` on `pods/attach`"),
    ("portforward", "write `create` on `pods/portforward`"),
    ("scale", "write `update` and `patch` on a subresource such as `deployments/scale`"),
];

/// The words that are known in one cluster.
#[derive(Debug)]
pub(crate) struct Vocabulary<'a> {
    by_plural: BTreeMap<&'a str, Vec<&'a ApiResource>>,
    groups: BTreeSet<&'a str>,
    verbs: BTreeSet<&'a str>,
    declared: BTreeSet<(&'a str, &'a str)>,
    pub(super) api: &'a ApiResources,
    /// Whether the cluster has no other resources, because its discovery was read.
    pub(super) is_complete: bool,
}

impl<'a> Vocabulary<'a> {
    /// `declared` are the API groups and plurals of the custom resources that a policy declares.
    pub(crate) fn new(
        api: &'a ApiResources,
        is_complete: bool,
        declared: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let declared: BTreeSet<(&str, &str)> = declared.into_iter().collect();
        let mut by_plural: BTreeMap<&str, Vec<&ApiResource>> = BTreeMap::new();
        let mut groups: BTreeSet<&str> = declared.iter().map(|(group, _)| *group).collect();
        let mut verbs: BTreeSet<&str> = STANDARD_VERBS.into_iter().collect();
        for resource in api.iter() {
            by_plural.entry(&resource.plural).or_default().push(resource);
            groups.insert(&resource.group);
            verbs.extend(resource.verbs.iter().map(String::as_str));
        }
        Self { by_plural, groups, verbs, declared, api, is_complete }
    }

    /// Returns the built-in words and those that the policy declares, for use without a cluster.
    pub(crate) fn builtin(policy: &'a Policy) -> Self {
        Self::new(ApiResources::builtin(), false, declared_resources(policy))
    }

    /// Returns the words of a cluster and those that the policy declares.
    pub(crate) fn for_cluster(policy: &'a Policy, state: &'a State) -> Self {
        Self::new(state.resources.all(), state.resources.is_complete(), declared_resources(policy))
    }

    pub(super) fn has_group(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    pub(super) fn is_declared(&self, group: &str, plural: &str) -> bool {
        self.declared.contains(&(group, plural))
    }

    /// Returns the API groups in which the policy declares a resource with this plural.
    pub(super) fn declared_groups(&self, plural: &str) -> impl Iterator<Item = &'a str> {
        self.declared.iter().filter(move |(_, declared)| *declared == plural).map(|(group, _)| *group)
    }

    /// Returns the resources with this plural, in any API group.
    pub(super) fn with_plural(&self, plural: &str) -> &[&'a ApiResource] {
        self.by_plural.get(plural).map_or(&[], Vec::as_slice)
    }

    /// Returns the API group that was probably intended: a similar one, or the one of which only the first part was
    /// written, as in `rbac`.
    pub(super) fn nearest_group(&self, group: &str) -> Option<&'a str> {
        let named = self.groups.iter().copied().filter(|known| !known.is_empty());
        closest_match(group, named.clone())
            .or_else(|| named.clone().find(|known| known.split('.').next() == Some(group)))
    }

    /// Returns whether some request can have the verb.
    pub(super) fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(verb) || VERB_PREFIXES.iter().any(|prefix| verb.starts_with(prefix))
    }

    /// Returns what to write instead of a verb that no request has; `None` if no known verb is similar.
    pub(super) fn verb_help(&self, verb: &str) -> Option<String> {
        let synonym = VERB_SYNONYMS.iter().find(|(word, _)| word.eq_ignore_ascii_case(verb));
        match synonym {
            Some((_, help)) => Some((*help).to_owned()),
            None => closest_match(verb, self.verbs.iter().copied()).map(|near| format!("did you mean `{near}`?")),
        }
    }

    /// Returns the resource that a name other than the plural means: the singular, the kind or a short name. A resource
    /// in one of the groups is preferred, and then one in the core group.
    pub(super) fn by_other_name(&self, name: &str, groups: &[&str]) -> Option<&'a ApiResource> {
        let has_name = |resource: &&ApiResource| {
            resource.singular == name
                || resource.kind.eq_ignore_ascii_case(name)
                || resource.short_names.iter().any(|short| short == name)
        };
        let preference = |resource: &&ApiResource| {
            let is_in_groups = groups.contains(&resource.group.as_str());
            (!is_in_groups, resource.group == "extensions", resource.group.clone())
        };
        self.api.iter().filter(has_name).min_by_key(preference)
    }

    /// Returns the resource with the most similar plural, first in these API groups and then in all.
    pub(super) fn nearest_resource(&self, name: &str, groups: &[&str]) -> Option<&'a ApiResource> {
        let is_in_groups = |resource: &&ApiResource| groups.contains(&resource.group.as_str());
        let nearest = |resources: Vec<&'a ApiResource>| {
            let plural = closest_match(name, resources.iter().map(|resource| resource.plural.as_str()))?;
            resources.iter().copied().find(|resource| resource.plural == plural)
        };
        nearest(self.api.iter().filter(is_in_groups).collect()).or_else(|| nearest(self.api.iter().collect()))
    }
}

/// Returns the API groups and plurals of the custom resources that a policy declares.
fn declared_resources(policy: &Policy) -> impl Iterator<Item = (&str, &str)> {
    policy.lint.resources.iter().map(|resource| (resource.value.0.as_str(), resource.value.1.as_str()))
}

/// Returns the verbs that requests for a resource or one of its subresources can have; `None` if they are not known.
pub(super) fn verbs_of<'a>(resource: &'a ApiResource, subresource: Option<&str>) -> Option<BTreeSet<&'a str>> {
    let Some(subresource) = subresource else {
        return Some(resource.verbs.iter().map(String::as_str).collect());
    };
    match resource.subresources.get(subresource) {
        Some(verbs) => Some(verbs.iter().map(String::as_str).collect()),
        // Each key of `userextras` is a subresource, with the verbs of the resource.
        None if resource.plural == "userextras" => Some(resource.verbs.iter().map(String::as_str).collect()),
        None => None,
    }
}
