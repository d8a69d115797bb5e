//! A request to the API server, with the attributes that its authorizers receive.
//!
//! Source: k8s.io/apiserver v0.36.3 `endpoints/request/requestinfo.go`. As there, an empty name or namespace means that
//! the request has none.

use std::fmt;

use super::request_scope::{RequestScope, request_scope};
use crate::api_resources::KnownResources;

/// A request, with the attributes of a SubjectAccessReview.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Object(ObjectRequest),
    Url { verb: String, path: String },
}

/// A request for objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectRequest {
    pub(crate) verb: String,
    pub(crate) group: String,
    /// Without the subresource, so it never contains a `/`.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// From the URL, or for a list from `metadata.name=` in its field selector. A POST of an object has no name.
    pub(crate) name: String,
    /// Empty for cluster-scoped objects, and for a list across all namespaces.
    pub(crate) namespace: String,
}

/// Verbs whose URL contains no object name.
const COLLECTION_VERBS: [&str; 3] = ["list", "watch", "deletecollection"];

impl Request {
    /// Returns a request for a resource or, as in `pods/exec`, for a subresource, without a name or namespace.
    pub(crate) fn object(verb: &str, group: &str, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Self::Object(ObjectRequest {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            ..ObjectRequest::default()
        })
    }

    pub(crate) fn url(verb: &str, path: &str) -> Self {
        Self::Url { verb: verb.to_owned(), path: path.to_owned() }
    }

    pub(crate) fn with_name(self, name: &str) -> Self {
        match self {
            Self::Object(request) => Self::Object(ObjectRequest { name: name.to_owned(), ..request }),
            Self::Url { .. } => self,
        }
    }

    pub(crate) fn with_verb(self, verb: &str) -> Self {
        match self {
            Self::Object(request) => Self::Object(ObjectRequest { verb: verb.to_owned(), ..request }),
            Self::Url { path, .. } => Self::Url { verb: verb.to_owned(), path },
        }
    }

    pub(crate) fn in_namespace(self, namespace: &str) -> Self {
        match self {
            Self::Object(request) => Self::Object(ObjectRequest { namespace: namespace.to_owned(), ..request }),
            Self::Url { .. } => self,
        }
    }

    /// Returns the request that the API server makes of it. The namespace of a request for a Namespace object is that
    /// object's name, because its URL has the same form. A request for a cluster-scoped object has no namespace.
    pub(crate) fn into_client_request(self, known: &KnownResources) -> Self {
        let Self::Object(mut request) = self else {
            return self;
        };
        match request_scope(known, &request.group, &request.resource, &request.verb) {
            RequestScope::NamespaceObject => {
                let is_collection = COLLECTION_VERBS.contains(&request.verb.as_str());
                request.namespace = if is_collection { String::new() } else { request.name.clone() };
            }
            RequestScope::Cluster => request.namespace.clear(),
            RequestScope::Namespaced | RequestScope::Unknown => {}
        }
        Self::Object(request)
    }

    pub(crate) fn verb(&self) -> &str {
        match self {
            Self::Object(request) => &request.verb,
            Self::Url { verb, .. } => verb,
        }
    }

    /// Returns the namespace whose RoleBindings apply to the request.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Object(request) => Some(request.namespace.as_str()).filter(|namespace| !namespace.is_empty()),
            Self::Url { .. } => None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectRequest { verb, group, resource, subresource, name, namespace } = match self {
            Self::Url { verb, path } => return write!(f, "{verb} {path}"),
            Self::Object(request) => request,
        };
        write!(f, "{verb} {resource}")?;
        for (prefix, value) in [(".", group), ("/", subresource), (" named ", name), (" in ", namespace)] {
            if !value.is_empty() {
                write!(f, "{prefix}{value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_request_for_a_namespace_has_its_own_name_as_namespace() {
        let known = KnownResources::default();
        let delete = Request::object("delete", "", "namespaces").with_name("team").into_client_request(&known);
        assert_eq!(delete.namespace(), Some("team"));
        let list = Request::object("list", "", "namespaces")
            .with_name("team")
            .in_namespace("team")
            .into_client_request(&known);
        assert_eq!(list.namespace(), None);
        let node = Request::object("get", "", "nodes/proxy").in_namespace("team").into_client_request(&known);
        assert_eq!(node.namespace(), None);
        let pod = Request::object("get", "", "pods").in_namespace("team");
        assert_eq!(pod.clone().into_client_request(&known), pod);
    }

    #[test]
    fn requests_are_formatted_as_text() {
        let scale = Request::object("update", "apps", "deployments/scale").with_name("web").in_namespace("team");
        assert_eq!(scale.to_string(), "update deployments.apps/scale named web in team");
        assert_eq!(Request::url("get", "/metrics").to_string(), "get /metrics");
    }
}
