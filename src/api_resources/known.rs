//! What is known about the resources of one cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::{ApiResources, ResourceScope};

/// The resources of one cluster: those of its discovery, if it was read, and those of Kubernetes itself.
#[derive(Clone)]
pub(crate) struct KnownResources(Arc<Catalog>);

/// The list is too long for the debug output of a state.
impl fmt::Debug for KnownResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Catalog { declared, is_complete, .. } = self.0.as_ref();
        f.debug_struct("KnownResources")
            .field("declared", declared)
            .field("is_complete", is_complete)
            .finish_non_exhaustive()
    }
}

struct Catalog {
    all: ApiResources,
    /// The plurals that are cluster-scoped in some API group.
    cluster_scoped: BTreeSet<String>,
    /// The resources that only a policy declares. Their scope is not known.
    declared: BTreeSet<(String, String)>,
    is_complete: bool,
}

static BUILTIN: LazyLock<KnownResources> =
    LazyLock::new(|| KnownResources::new(ApiResources::builtin().clone(), BTreeSet::new(), false));

impl Default for KnownResources {
    fn default() -> Self {
        BUILTIN.clone()
    }
}

impl KnownResources {
    fn new(all: ApiResources, declared: BTreeSet<(String, String)>, is_complete: bool) -> Self {
        let is_cluster_scoped = |scope| scope == ResourceScope::Cluster;
        let cluster_scoped = all.iter().filter(|resource| is_cluster_scoped(resource.scope));
        let cluster_scoped = cluster_scoped.map(|resource| resource.plural.clone()).collect();
        Self(Arc::new(Catalog { all, cluster_scoped, declared, is_complete }))
    }

    /// Returns the resources of a discovery together with the built-in ones. `is_complete` is whether the discovery lists
    /// every resource of the cluster outside the core group.
    pub(crate) fn from_discovery(discovered: ApiResources, is_complete: bool) -> Self {
        Self::new(discovered.or(ApiResources::builtin()), BTreeSet::new(), is_complete)
    }

    /// Adds resources that a policy declares, each as its API group and plural.
    pub(crate) fn with_declared(&self, declared: impl IntoIterator<Item = (String, String)>) -> Self {
        let Catalog { all, declared: known, is_complete, .. } = self.0.as_ref();
        let declared = declared.into_iter().chain(known.iter().cloned()).collect();
        Self::new(all.clone(), declared, *is_complete)
    }

    pub(crate) fn all(&self) -> &ApiResources {
        &self.0.all
    }

    /// Returns whether the cluster has no other resources, because its discovery was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_complete
    }

    /// Returns whether only a policy declares the resource, so that its scope is not known.
    pub(crate) fn is_only_declared(&self, group: &str, plural: &str) -> bool {
        self.0.declared.contains(&(group.to_owned(), plural.to_owned())) && self.all().get(group, plural).is_none()
    }

    /// Returns the scope of a resource. `None` if it is not known.
    ///
    /// A rule for several API groups and several resources also has pairs that no API serves, such as `nodes` in the group
    /// `apps`. Such a pair has the scope of the resource in the other groups.
    pub(crate) fn scope_of(&self, group: &str, plural: &str) -> Option<ResourceScope> {
        if let Some(resource) = self.all().get(group, plural) {
            return Some(resource.scope);
        }
        let is_known_group = self.is_complete() || self.all().has_group(group);
        let is_cluster_scoped = |group: &&str| {
            self.all().get(group, plural).is_some_and(|resource| resource.scope == ResourceScope::Cluster)
        };
        let groups = self.all().groups_of(plural);
        let is_always_cluster_scoped = !groups.is_empty() && groups.iter().all(is_cluster_scoped);
        (is_known_group && is_always_cluster_scoped).then_some(ResourceScope::Cluster)
    }

    /// Returns whether the plural is cluster-scoped in some API group.
    pub(crate) fn can_be_cluster_scoped(&self, plural: &str) -> bool {
        self.0.cluster_scoped.contains(plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_of_a_pair_that_no_api_serves_is_that_of_the_other_groups() {
        let known = KnownResources::default();
        assert_eq!(known.scope_of("", "nodes"), Some(ResourceScope::Cluster));
        assert_eq!(known.scope_of("apps", "nodes"), Some(ResourceScope::Cluster));
        assert_eq!(known.scope_of("example.com", "nodes"), None);
        assert_eq!(known.scope_of("", "pods"), Some(ResourceScope::Namespaced));
        assert_eq!(known.scope_of("authentication.k8s.io", "serviceaccounts"), Some(ResourceScope::Namespaced));
    }
}
