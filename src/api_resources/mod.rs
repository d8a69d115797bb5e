//! The resources that rules and questions can name: those of Kubernetes itself, and those of a cluster's discovery.
//!
//! Whether a resource is in namespaces decides which bindings apply to it, and its other names are what people type.
//! Source of the built-in ones: the discovery of kube-apiserver v1.36.3.

mod builtin;
mod discovery;
mod known;
mod resolve;
mod unserved;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

pub(crate) use discovery::DISCOVERY_KIND;
pub(crate) use known::KnownResources;
pub(crate) use resolve::Resolution;

/// Whether the objects of a resource are in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceScope {
    Namespaced,
    Cluster,
}

/// A resource of the API, with the names by which kubectl knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiResource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) scope: ResourceScope,
    pub(crate) verbs: BTreeSet<String>,
    /// The verbs of each subresource.
    pub(crate) subresources: BTreeMap<String, BTreeSet<String>>,
}

/// Resources by API group and plural.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ApiResources {
    by_name: BTreeMap<(String, String), ApiResource>,
}

static BUILTIN: LazyLock<ApiResources> = LazyLock::new(|| {
    let mut all = ApiResources::parse_table(builtin::TABLE);
    for (group, plural, verb) in unserved::EXTRA_VERBS {
        if let Some(resource) = all.by_name.get_mut(&(group.to_owned(), plural.to_owned())) {
            resource.verbs.insert(verb.to_owned());
        }
    }
    for table in [unserved::VIRTUAL, unserved::OPTIONAL] {
        all.by_name.extend(ApiResources::parse_table(table).by_name);
    }
    for (group, plural, subresource) in unserved::EXTRA_SUBRESOURCES {
        if let Some(resource) = all.by_name.get_mut(&(group.to_owned(), plural.to_owned())) {
            let verbs = ["create", "get", "patch", "update"].map(str::to_owned);
            resource.subresources.entry(subresource.to_owned()).or_insert_with(|| BTreeSet::from(verbs));
        }
    }
    all
});

impl ApiResources {
    /// Returns the resources of Kubernetes itself.
    pub(crate) fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// Returns these resources, and those of `other` where this set has none of the same group and plural.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        for (name, resource) in &other.by_name {
            self.by_name.entry(name.clone()).or_insert_with(|| resource.clone());
        }
        self
    }

    pub(crate) fn insert(&mut self, resource: ApiResource) {
        self.by_name.insert((resource.group.clone(), resource.plural.clone()), resource);
    }

    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<&ApiResource> {
        self.by_name.get(&(group.to_owned(), plural.to_owned()))
    }

    /// Returns all resources, by API group and plural.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ApiResource> {
        self.by_name.values()
    }

    /// Returns whether some resource is in the API group.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.by_name.range((group.to_owned(), String::new())..).next().is_some_and(|((known, _), _)| known == group)
    }

    /// Returns the API groups that have a resource with this plural.
    pub(crate) fn groups_of(&self, plural: &str) -> Vec<&str> {
        self.iter().filter(|resource| resource.plural == plural).map(|resource| resource.group.as_str()).collect()
    }

    /// Reads lines in the form of [`builtin::TABLE`].
    fn parse_table(table: &str) -> Self {
        let mut all = Self::default();
        table.lines().filter_map(ApiResource::parse_line).for_each(|resource| all.insert(resource));
        all
    }
}

impl ApiResource {
    fn parse_line(line: &str) -> Option<Self> {
        let text_or_empty = |text: &str| if text == "-" { String::new() } else { text.to_owned() };
        let list = |text: &str| -> Vec<String> {
            if text == "-" { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
        };
        let mut columns = line.split(' ');
        let mut next = || columns.next();
        let (group, plural, singular, kind) = (next()?, next()?, next()?, next()?);
        let (short_names, scope, verbs) = (next()?, next()?, next()?);
        let scope = match scope {
            "n" => ResourceScope::Namespaced,
            "c" => ResourceScope::Cluster,
            _ => return None,
        };
        let subresource = |text: &str| {
            let (name, verbs) = text.split_once(':')?;
            Some((name.to_owned(), list(verbs).into_iter().collect()))
        };
        Some(Self {
            group: text_or_empty(group),
            plural: plural.to_owned(),
            singular: singular.to_owned(),
            kind: kind.to_owned(),
            short_names: list(short_names),
            scope,
            verbs: list(verbs).into_iter().collect(),
            subresources: columns.map(subresource).collect::<Option<_>>()?,
        })
    }

    /// Returns whether rules can name the subresource. An admission plugin asks for `finalizers` of every resource, and
    /// each key of `userextras` is a subresource.
    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.subresources.contains_key(name) || name == unserved::FINALIZERS || self.plural == "userextras"
    }

    /// Returns the name that kubectl accepts: `pods`, `deployments.apps`.
    pub(crate) fn qualified_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_a_resource() {
        for table in [builtin::TABLE, unserved::VIRTUAL, unserved::OPTIONAL] {
            for line in table.lines() {
                assert!(ApiResource::parse_line(line).is_some(), "{line}");
            }
        }
        for (group, plural, _) in unserved::EXTRA_VERBS.iter().chain(&unserved::EXTRA_SUBRESOURCES) {
            assert!(ApiResources::builtin().get(group, plural).is_some(), "{plural}.{group}");
        }
    }

    #[test]
    fn scope_verbs_and_subresources_are_known() {
        let all = ApiResources::builtin();
        let scope = |group, plural| all.get(group, plural).unwrap().scope;
        assert_eq!(scope("", "pods"), ResourceScope::Namespaced);
        assert_eq!(scope("networking.k8s.io", "servicecidrs"), ResourceScope::Cluster);
        assert_eq!(scope("networking.k8s.io", "ipaddresses"), ResourceScope::Cluster);
        assert_eq!(scope("", "users"), ResourceScope::Cluster);
        assert_eq!(scope("certificates.k8s.io", "signers"), ResourceScope::Cluster);
        let pods = all.get("", "pods").unwrap();
        assert!(pods.has_subresource("exec") && pods.has_subresource("finalizers") && !pods.has_subresource("logs"));
        assert!(all.get("", "nodes").unwrap().has_subresource("metrics"));
        assert!(all.get("rbac.authorization.k8s.io", "roles").unwrap().verbs.contains("escalate"));
        assert!(all.has_group("apps") && all.has_group("") && !all.has_group("app") && !all.has_group("zzz"));
        assert_eq!(all.groups_of("events"), ["", "events.k8s.io"]);
    }
}
