//! The requests that a rule allows in some namespaces, without those that the API server never makes there: requests for
//! cluster-scoped resources, whose namespace is empty whatever namespace a RoleBinding is in.
//!
//! Only resources that the rule lists are left out. `*` keeps its meaning, every resource in the namespaces, because the
//! list of all others would hide it.

use std::collections::BTreeMap;

use super::product::{ObjectRequestSet, RequestSet};
use super::resource_set::ResourceSet;
use super::string_set::StringSet;
use crate::access::request_scope::{NAMESPACES, RequestScope, VERBS_WITHOUT_NAMESPACE_OBJECT, request_scope};
use crate::access::rule_match::WILDCARD;
use crate::api_resources::{KnownResources, ResourceScope};
use crate::state::rbac::Rule;

impl<'s> RequestSet<'s> {
    /// Returns the requests that a rule allows in `scope`, which is `StringSet::all()` for a ClusterRoleBinding.
    pub(crate) fn from_rule(rule: &'s Rule, scope: StringSet<'s>, known: &'s KnownResources) -> Vec<Self> {
        // Only a ClusterRoleBinding has an infinite scope. It applies to all requests, and to URLs.
        let is_cluster_wide = scope.contains("");
        let is_split = !is_cluster_wide && has_cluster_scoped_resources(rule, known);
        let Some(Self::Objects(whole)) = Self::from_rule_objects(rule, scope) else {
            return if is_cluster_wide { Self::from_rule_urls(rule).into_iter().collect() } else { Vec::new() };
        };
        if is_split {
            return split_by_scope(rule, &whole, known).into_iter().map(Self::Objects).collect();
        }
        let urls = if is_cluster_wide { Self::from_rule_urls(rule) } else { None };
        std::iter::once(Self::Objects(whole)).chain(urls).collect()
    }
}

fn base_resource(word: &str) -> &str {
    word.split_once('/').map_or(word, |(resource, _)| resource)
}

/// Returns whether the rule lists a resource that is cluster-scoped in some API group, so that a RoleBinding does not grant
/// all of the rule.
pub(crate) fn has_cluster_scoped_resources(rule: &Rule, known: &KnownResources) -> bool {
    !rule.resources.iter().any(|word| word == WILDCARD)
        && rule.resources.iter().any(|word| known.can_be_cluster_scoped(base_resource(word)))
}

fn split_by_scope<'s>(
    rule: &'s Rule,
    whole: &ObjectRequestSet<'s>,
    known: &'s KnownResources,
) -> Vec<ObjectRequestSet<'s>> {
    let words: Vec<&str> = rule.resources.iter().map(String::as_str).collect();
    // The words that can be in namespaces, and the words for Namespace objects, with the API groups in which they are.
    let mut words_by_groups: BTreeMap<(StringSet<'s>, bool), Vec<&'s str>> = BTreeMap::new();
    let mut cluster_scoped: Vec<(&'s str, &'s str)> = Vec::new();
    if rule.api_groups.iter().any(|group| group == WILDCARD) {
        for word in words {
            let (groups, cluster_scoped_groups) = groups_in_namespaces(base_resource(word), known);
            cluster_scoped.extend(cluster_scoped_groups.into_iter().map(|group| (group, word)));
            words_by_groups.entry((groups, base_resource(word) == NAMESPACES)).or_default().push(word);
        }
    } else {
        for group in rule.api_groups.iter().map(String::as_str) {
            for word in words.iter().copied() {
                let is_namespace_object = base_resource(word) == NAMESPACES;
                if is_namespace_object || known.scope_of(group, base_resource(word)) != Some(ResourceScope::Cluster) {
                    let key = (StringSet::only([group]), is_namespace_object);
                    words_by_groups.entry(key).or_default().push(word);
                } else {
                    cluster_scoped.push((group, word));
                }
            }
        }
    }
    let mut groups_by_words: BTreeMap<(Vec<&'s str>, bool), StringSet<'s>> = BTreeMap::new();
    for ((groups, is_namespace_object), words) in words_by_groups {
        let known_groups = groups_by_words.entry((words, is_namespace_object)).or_insert_with(StringSet::none);
        *known_groups = known_groups.union(&groups);
    }
    let own_namespaces = namespace_object_set(rule, whole);
    let mut sets: Vec<ObjectRequestSet<'s>> = Vec::new();
    for ((words, is_namespace_object), groups) in groups_by_words {
        let set = if is_namespace_object { &own_namespaces } else { whole };
        sets.push(ObjectRequestSet { resources: ResourceSet::from_rule(words), groups, ..set.clone() });
    }
    for (group, word) in cluster_scoped {
        let verbs = verbs_in_namespaces(rule, group, base_resource(word), known);
        let (resources, groups) = (ResourceSet::from_rule([word]), StringSet::only([group]));
        sets.push(ObjectRequestSet { resources, groups, verbs, ..whole.clone() });
    }
    sets.retain(|set| !set.is_empty());
    sets
}

/// Returns the API groups in which a resource that a rule has in all groups can be in namespaces, and the groups in which it
/// is cluster-scoped. A resource that is cluster-scoped wherever it is known is in no others.
fn groups_in_namespaces<'s>(resource: &str, known: &'s KnownResources) -> (StringSet<'s>, Vec<&'s str>) {
    let groups = known.all().groups_of(resource);
    if resource == NAMESPACES {
        return (StringSet::all(), Vec::new());
    }
    let (cluster_scoped, others): (Vec<&str>, Vec<&str>) =
        groups.into_iter().partition(|group| known.scope_of(group, resource) == Some(ResourceScope::Cluster));
    let in_namespaces = match (cluster_scoped.is_empty(), others.is_empty()) {
        (true, _) => StringSet::all(),
        (false, true) => StringSet::none(),
        (false, false) => StringSet::all_but(cluster_scoped.iter().copied()),
    };
    (in_namespaces, cluster_scoped)
}

/// Returns the requests for the Namespace objects of the namespaces themselves.
fn namespace_object_set<'s>(rule: &Rule, whole: &ObjectRequestSet<'s>) -> ObjectRequestSet<'s> {
    let verbs = whole.verbs.difference(&StringSet::only(VERBS_WITHOUT_NAMESPACE_OBJECT));
    if rule.resource_names.is_empty() {
        return ObjectRequestSet { verbs, ..whole.clone() };
    }
    let own_names = whole.names.intersect(&whole.namespaces);
    ObjectRequestSet { verbs, names: own_names.clone(), namespaces: own_names, ..whole.clone() }
}

/// Returns the verbs of the rule that the API server asks on a cluster-scoped resource with a namespace.
fn verbs_in_namespaces<'s>(rule: &'s Rule, group: &str, resource: &str, known: &KnownResources) -> StringSet<'s> {
    let is_asked = |verb: &&str| request_scope(known, group, resource, verb) == RequestScope::Namespaced;
    let listed = rule.verbs.iter().map(String::as_str);
    let has_all = rule.verbs.iter().any(|verb| verb == WILDCARD);
    StringSet::only(listed.chain(has_all.then_some("bind")).filter(is_asked))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::json;

    use super::*;
    use crate::access::Request;

    static KNOWN: LazyLock<KnownResources> = LazyLock::new(KnownResources::default);

    /// Returns the requests that a rule allows through a RoleBinding in `team`, as text.
    fn in_team(rule: serde_json::Value) -> String {
        let rule: Rule = serde_json::from_value(rule).unwrap();
        let sets = RequestSet::from_rule(&rule, StringSet::only(["team"]), &KNOWN);
        sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    }

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> serde_json::Value {
        json!({ "verbs": verbs, "apiGroups": groups, "resources": resources })
    }

    #[test]
    fn cluster_scoped_resources_are_left_out() {
        assert_eq!(in_team(rule(&["get", "list"], &[""], &["nodes", "pods"])), "get, list pods in team");
        assert_eq!(in_team(rule(&["*"], &[""], &["nodes", "nodes/proxy", "persistentvolumes"])), "");
        assert_eq!(in_team(rule(&["delete"], &["networking.k8s.io"], &["servicecidrs"])), "");
        assert_eq!(in_team(rule(&["get"], &["*"], &["nodes", "servicecidrs"])), "");
        assert_eq!(
            in_team(rule(&["get"], &["", "apps"], &["nodes", "pods", "deployments"])),
            "get deployments, pods of API groups core, apps in team"
        );
        assert_eq!(in_team(rule(&["get"], &["example.com"], &["nodes"])), "get nodes.example.com in team");
    }

    #[test]
    fn own_namespace_object_is_kept() {
        assert_eq!(
            in_team(rule(&["get", "list", "delete"], &[""], &["namespaces", "pods"])),
            "delete, get namespaces in team | delete, get, list pods in team"
        );
        let mut named = rule(&["get"], &[""], &["namespaces"]);
        named["resourceNames"] = json!(["team", "other"]);
        assert_eq!(in_team(named.clone()), "get namespaces named team in team");
        named["resourceNames"] = json!(["other"]);
        assert_eq!(in_team(named), "");
    }

    #[test]
    fn checks_that_have_a_namespace_are_kept() {
        let rbac = ["rbac.authorization.k8s.io"];
        assert_eq!(
            in_team(rule(&["bind", "escalate", "get"], &rbac, &["clusterroles", "roles"])),
            "bind, escalate, get roles.rbac.authorization.k8s.io in team | \
             bind clusterroles.rbac.authorization.k8s.io in team"
        );
        assert_eq!(
            in_team(rule(&["*"], &["*"], &["clusterroles"])),
            "bind clusterroles.rbac.authorization.k8s.io in team"
        );
        assert_eq!(
            in_team(rule(&["impersonate"], &[""], &["users", "groups", "serviceaccounts"])),
            "impersonate serviceaccounts in team"
        );
        assert_eq!(in_team(rule(&["impersonate"], &["authentication.k8s.io"], &["uids", "userextras/scopes"])), "");
        assert_eq!(in_team(rule(&["approve", "sign"], &["certificates.k8s.io"], &["signers"])), "");
        assert_eq!(
            in_team(rule(&["use"], &["policy"], &["podsecuritypolicies"])),
            "use podsecuritypolicies.policy in team"
        );
    }

    #[test]
    fn cluster_role_binding_keeps_everything() {
        let rule: Rule = serde_json::from_value(rule(&["get"], &[""], &["nodes"])).unwrap();
        let sets = RequestSet::from_rule(&rule, StringSet::all(), &KNOWN);
        assert!(sets.iter().any(|set| set.contains(&Request::object("get", "", "nodes"))));
    }
}
