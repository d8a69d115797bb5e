//! Whether the API server asks its authorizers about a request with a namespace, which decides whether a RoleBinding can
//! allow it.
//!
//! Sources: k8s.io/apiserver v0.36.3 `endpoints/request/requestinfo.go` (requests for objects) and
//! `endpoints/filters/impersonation` (`impersonate`); kubernetes v1.36.3 `pkg/registry/rbac/escalation_check.go` (`bind`
//! has the namespace of the RoleBinding, `escalate` that of the role) and `pkg/certauthorization` (signers).

use crate::api_resources::{KnownResources, ResourceScope};
use crate::state::rbac::RBAC_GROUP;

/// The namespace with which a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestScope {
    /// The namespace of the object. A request for a list across all namespaces has none.
    Namespaced,
    /// No namespace, so only a ClusterRoleBinding can allow the request.
    Cluster,
    /// The name of the Namespace object, because its URL has the form of a request in that namespace.
    NamespaceObject,
    /// Not known, because no API that is known has the resource.
    Unknown,
}

/// The verbs of requests for objects.
pub(crate) const OBJECT_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The resource whose objects are namespaces, in every API group.
pub(super) const NAMESPACES: &str = "namespaces";
/// The verbs that no URL of a single Namespace object has. Server-side apply asks for `create` with a name, but only if
/// the namespace does not exist, and so contains no RoleBinding.
pub(super) const VERBS_WITHOUT_NAMESPACE_OBJECT: [&str; 3] = ["create", "deletecollection", "list"];

pub(crate) fn request_scope(known: &KnownResources, group: &str, resource: &str, verb: &str) -> RequestScope {
    if resource == NAMESPACES {
        return RequestScope::NamespaceObject;
    }
    match known.scope_of(group, resource) {
        None => RequestScope::Unknown,
        Some(ResourceScope::Namespaced) => RequestScope::Namespaced,
        Some(ResourceScope::Cluster) if is_asked_in_namespaces(known, group, resource, verb) => {
            RequestScope::Namespaced
        }
        Some(ResourceScope::Cluster) => RequestScope::Cluster,
    }
}

/// Returns whether a verb on a cluster-scoped resource can be asked with a namespace. Admission controllers can ask for
/// other verbs than those of requests in any namespace, as for `use` of a PodSecurityPolicy.
fn is_asked_in_namespaces(known: &KnownResources, group: &str, resource: &str, verb: &str) -> bool {
    match verb {
        "bind" => group == RBAC_GROUP && resource == "clusterroles",
        "use" => true,
        "*" => false,
        _ => {
            let is_known_verb =
                || known.all().get(group, resource).is_some_and(|resource| resource.verbs.contains(verb));
            !OBJECT_VERBS.contains(&verb) && !verb.starts_with("impersonate") && !is_known_verb()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_that_of_the_authorization_check() {
        let scope =
            |group: &str, resource: &str, verb: &str| request_scope(&KnownResources::default(), group, resource, verb);
        assert_eq!(scope("", "pods", "list"), RequestScope::Namespaced);
        assert_eq!(scope("", "nodes", "get"), RequestScope::Cluster);
        assert_eq!(scope("networking.k8s.io", "servicecidrs", "delete"), RequestScope::Cluster);
        assert_eq!(scope("storage.k8s.io", "volumeattributesclasses", "get"), RequestScope::Cluster);
        assert_eq!(scope("", "namespaces", "get"), RequestScope::NamespaceObject);
        assert_eq!(scope(RBAC_GROUP, "clusterroles", "bind"), RequestScope::Namespaced);
        assert_eq!(scope(RBAC_GROUP, "clusterroles", "escalate"), RequestScope::Cluster);
        assert_eq!(scope(RBAC_GROUP, "roles", "escalate"), RequestScope::Namespaced);
        for resource in ["users", "groups"] {
            assert_eq!(scope("", resource, "impersonate"), RequestScope::Cluster);
            assert_eq!(scope("authentication.k8s.io", resource, "impersonate:user-info"), RequestScope::Cluster);
        }
        assert_eq!(scope("authentication.k8s.io", "userextras", "impersonate"), RequestScope::Cluster);
        assert_eq!(scope("", "serviceaccounts", "impersonate"), RequestScope::Namespaced);
        assert_eq!(scope("certificates.k8s.io", "signers", "approve"), RequestScope::Cluster);
        assert_eq!(scope("policy", "podsecuritypolicies", "use"), RequestScope::Namespaced);
        assert_eq!(scope("example.com", "widgets", "get"), RequestScope::Unknown);
    }
}
