//! Where a grant applies: in the whole cluster, in one namespace, or in the namespaces of an association with an access policy,
//! which can be patterns.

use std::collections::BTreeSet;

use crate::names::{ObjectKey, WildcardPattern};
use crate::state::State;
use crate::state::object::Binding;

/// Where a grant applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantScope<'s> {
    /// In all namespaces, and to requests without one.
    Cluster,
    Namespace(&'s str),
    /// In the namespaces that match one of these names or patterns.
    Matching(&'s BTreeSet<String>),
}

impl<'s> GrantScope<'s> {
    pub(crate) fn new(key: &'s ObjectKey, binding: &'s Binding) -> Self {
        match (key.namespace(), &binding.namespaces) {
            (Some(namespace), _) => Self::Namespace(namespace),
            (None, Some(patterns)) => Self::Matching(patterns),
            (None, None) => Self::Cluster,
        }
    }

    /// Returns whether the scope contains requests in a namespace, or requests without one.
    pub(crate) fn contains(self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::Cluster, _) => true,
            (Self::Namespace(own), namespace) => namespace == Some(own),
            (Self::Matching(patterns), Some(namespace)) => {
                patterns.iter().any(|pattern| WildcardPattern::new(pattern).matches(namespace))
            }
            (Self::Matching(_), None) => false,
        }
    }

    /// Returns the namespaces as text. `None` for the whole cluster.
    pub(crate) fn namespaces(self) -> Option<String> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) => Some(namespace.to_owned()),
            Self::Matching(patterns) => Some(patterns.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// The namespaces of one state or several: those that exist, those that bindings name, and the patterns of associations with
/// access policies. A pattern stands for the other namespaces that match it.
///
/// States are compared with the namespaces of both. Otherwise a pattern of one state would seem to grant nothing in a namespace
/// that only the other state names.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownNamespaces<'s>(BTreeSet<&'s str>);

impl<'s> KnownNamespaces<'s> {
    pub(crate) fn new(states: impl IntoIterator<Item = &'s State>) -> Self {
        let mut known = BTreeSet::new();
        for state in states {
            known.extend(state.namespaces.keys().map(String::as_str));
            known.extend(state.bindings.keys().filter_map(ObjectKey::namespace));
            for (_, association) in state.access_entries.association_bindings() {
                known.extend(association.namespaces.iter().flatten().map(String::as_str));
            }
        }
        Self(known)
    }

    /// Adds namespaces and patterns.
    pub(crate) fn extend(&mut self, namespaces: impl IntoIterator<Item = &'s str>) {
        self.0.extend(namespaces);
    }

    /// Returns the single scopes of which a scope consists: the whole cluster, or each namespace and each pattern that it
    /// contains. Sorted.
    pub(crate) fn single_scopes(&self, scope: GrantScope<'s>) -> Vec<Option<&'s str>> {
        match scope {
            GrantScope::Cluster => vec![None],
            GrantScope::Namespace(namespace) => vec![Some(namespace)],
            GrantScope::Matching(patterns) => {
                // A pattern matches the text of each pattern that it contains.
                let known = self.0.iter().copied().filter(|namespace| scope.contains(Some(namespace)));
                let all: BTreeSet<&'s str> = patterns.iter().map(String::as_str).chain(known).collect();
                all.into_iter().map(Some).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_contain_known_and_other_namespaces() {
        let mut state = State::default();
        for name in ["dev-a", "dev-b", "prod"] {
            state.namespaces.insert(name.to_owned(), std::collections::BTreeMap::new());
        }
        let patterns = BTreeSet::from(["dev-*".to_owned(), "web".to_owned()]);
        let scope = GrantScope::Matching(&patterns);
        let single = KnownNamespaces::new([&state]).single_scopes(scope);
        assert_eq!(single, [Some("dev-*"), Some("dev-a"), Some("dev-b"), Some("web")]);
        assert!(scope.contains(Some("dev-new")) && scope.contains(Some("web")));
        assert!(!scope.contains(Some("prod")) && !scope.contains(None));
        assert!(scope.contains(Some("dev-a*")) && !scope.contains(Some("d*")));
    }
}
