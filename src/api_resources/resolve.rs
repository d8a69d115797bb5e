//! Finds the resource that a typed name means, as kubectl does.
//!
//! Source: k8s.io/cli-runtime v0.36.3 `pkg/resource/builder.go` (`mappingFor`) and k8s.io/client-go v0.36.3
//! `restmapper/shortcut.go`: a name is a plural, a singular, a kind or a short name in any case, optionally with
//! `.GROUP` or `.VERSION.GROUP`.

use super::{ApiResource, ApiResources};
use crate::diagnostic::closest_match;

/// The resource that a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolution<'a> {
    Resource(&'a ApiResource),
    /// Resources of several API groups have the name, and none of them is in the core group.
    Ambiguous(Vec<&'a ApiResource>),
    Unknown {
        /// The most similar name that is known, with its group where it needs one.
        nearest: Option<String>,
    },
}

impl ApiResources {
    /// Finds the resource that `name` means. The name contains no subresource.
    ///
    /// The core group has precedence over other groups, as in kubectl, and a group that the API server serves over the
    /// group `extensions`, which Kubernetes has removed.
    pub(crate) fn resolve(&self, name: &str) -> Resolution<'_> {
        let name = name.to_ascii_lowercase();
        let mut matches = self.matching(&name, None);
        let mut rest = name.as_str();
        // Every dot can separate the name from the group, or from the version in front of the group.
        while let Some((_, group)) = rest.split_once('.').filter(|_| matches.is_empty()) {
            let bare = name.split('.').next().unwrap_or(&name);
            matches = self.matching(bare, Some(group));
            rest = group;
        }
        if let Some(core) = matches.iter().find(|resource| resource.group.is_empty()) {
            return Resolution::Resource(core);
        }
        if matches.len() > 1 {
            matches.retain(|resource| resource.group != "extensions");
        }
        match matches.as_slice() {
            [] => Resolution::Unknown { nearest: self.nearest(&name) },
            [resource] => Resolution::Resource(resource),
            _ => Resolution::Ambiguous(matches),
        }
    }

    /// Returns the resources with a name, in one group or in all. A plural is preferred to a singular or kind, and these
    /// to a short name.
    fn matching(&self, name: &str, group: Option<&str>) -> Vec<&ApiResource> {
        let in_group = || self.iter().filter(|resource| group.is_none_or(|group| resource.group == group));
        let by_plural: Vec<&ApiResource> = in_group().filter(|resource| resource.plural == name).collect();
        if !by_plural.is_empty() {
            return by_plural;
        }
        let is_named = |resource: &&ApiResource| resource.singular == name || resource.kind.eq_ignore_ascii_case(name);
        let by_kind: Vec<&ApiResource> = in_group().filter(is_named).collect();
        if !by_kind.is_empty() {
            return by_kind;
        }
        in_group().filter(|resource| resource.short_names.iter().any(|short| short == name)).collect()
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let qualified: Vec<String> = self.iter().map(ApiResource::qualified_name).collect();
        if let Some(nearest) = closest_match(name, qualified.iter().map(String::as_str)) {
            return Some(nearest.to_owned());
        }
        let bare = name.split('.').next().unwrap_or(name);
        let names = self.iter().flat_map(|resource| [&resource.plural, &resource.singular]);
        let nearest = closest_match(bare, names.map(String::as_str))?;
        self.iter()
            .find(|resource| resource.plural == nearest || resource.singular == nearest)
            .map(ApiResource::qualified_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str) -> String {
        match ApiResources::builtin().resolve(name) {
            Resolution::Resource(resource) => resource.qualified_name(),
            Resolution::Ambiguous(all) => {
                format!("ambiguous: {}", all.iter().map(|one| one.qualified_name()).collect::<Vec<_>>().join(", "))
            }
            Resolution::Unknown { nearest } => format!("unknown, near {}", nearest.unwrap_or_default()),
        }
    }

    #[test]
    fn names_resolve_as_in_kubectl() {
        for (name, expected) in [
            ("pods", "pods"),
            ("pod", "pods"),
            ("po", "pods"),
            ("Pod", "pods"),
            ("deployments", "deployments.apps"),
            ("deployment", "deployments.apps"),
            ("deploy", "deployments.apps"),
            ("deployments.apps", "deployments.apps"),
            ("deployments.v1.apps", "deployments.apps"),
            ("deployment.extensions", "deployments.extensions"),
            ("ing", "ingresses.networking.k8s.io"),
            ("events", "events"),
            ("events.events.k8s.io", "events.events.k8s.io"),
            ("clusterroles", "clusterroles.rbac.authorization.k8s.io"),
            ("ClusterRole.v1.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io"),
            ("no", "nodes"),
            ("nodes.metrics.k8s.io", "nodes.metrics.k8s.io"),
            ("secret", "secrets"),
            ("users", "users"),
        ] {
            assert_eq!(resolved(name), expected, "{name}");
        }
    }

    #[test]
    fn unknown_names_have_the_nearest_known_name() {
        assert_eq!(resolved("secrits"), "unknown, near secrets");
        assert_eq!(resolved("deploymets"), "unknown, near deployments.apps");
        assert_eq!(resolved("deployments.app"), "unknown, near deployments.apps");
        assert_eq!(resolved("pods.apps"), "unknown, near pods");
        assert_eq!(resolved("widgets.example.com"), "unknown, near ");
    }
}
