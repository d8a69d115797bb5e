//! What somebody asks of the API server, in the words that its authorizers get.
//!
//! Source: k8s.io/apiserver v0.36.3 `endpoints/request/requestinfo.go`. An empty name or namespace is none, as there.

use std::fmt;

/// A request, as a SubjectAccessReview puts it.
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
    /// Without its subresource: never with a `/`.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// From the URL, or of a list from `metadata.name=` in its field selector. A POST of an object has none.
    pub(crate) name: String,
    /// Empty for what is in no namespace, and for a list over all of them.
    pub(crate) namespace: String,
}

/// Verbs whose URL has no name of an object in it.
const COLLECTION_VERBS: [&str; 3] = ["list", "watch", "deletecollection"];

/// Kinds of Kubernetes itself that are in no namespace, by group and resource.
const CLUSTER_SCOPED: [(&str, &str); 29] = [
    ("", "componentstatuses"),
    ("", "nodes"),
    ("", "persistentvolumes"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("networking.k8s.io", "ingressclasses"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
];

impl Request {
    /// A request for a resource, or for a subresource as in `pods/exec`, over the whole cluster.
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

    pub(crate) fn in_namespace(self, namespace: &str) -> Self {
        match self {
            Self::Object(request) => Self::Object(ObjectRequest { namespace: namespace.to_owned(), ..request }),
            Self::Url { .. } => self,
        }
    }

    /// The request as a client can really send it: a Namespace is in the namespace of its own name, since its URL says
    /// so, and what is in no namespace is asked for without one.
    pub(crate) fn into_client_request(self) -> Self {
        let Self::Object(mut request) = self else {
            return self;
        };
        let collective = COLLECTION_VERBS.contains(&request.verb.as_str());
        if request.resource == "namespaces" {
            request.namespace = if collective { String::new() } else { request.name.clone() };
        } else if CLUSTER_SCOPED.contains(&(request.group.as_str(), request.resource.as_str())) {
            request.namespace.clear();
        }
        Self::Object(request)
    }

    pub(crate) fn verb(&self) -> &str {
        match self {
            Self::Object(request) => &request.verb,
            Self::Url { verb, .. } => verb,
        }
    }

    /// The namespace whose RoleBindings count.
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
        for (mark, word) in [(".", group), ("/", subresource), (" named ", name), (" in ", namespace)] {
            if !word.is_empty() {
                write!(f, "{mark}{word}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_in_the_namespace_of_its_own_name() {
        let delete = Request::object("delete", "", "namespaces").with_name("team").into_client_request();
        assert_eq!(delete.namespace(), Some("team"));
        let list =
            Request::object("list", "", "namespaces").with_name("team").in_namespace("team").into_client_request();
        assert_eq!(list.namespace(), None);
        let node = Request::object("get", "", "nodes/proxy").in_namespace("team").into_client_request();
        assert_eq!(node.namespace(), None);
        let pod = Request::object("get", "", "pods").in_namespace("team");
        assert_eq!(pod.clone().into_client_request(), pod);
    }

    #[test]
    fn a_request_reads_like_a_question() {
        let scale = Request::object("update", "apps", "deployments/scale").with_name("web").in_namespace("team");
        assert_eq!(scale.to_string(), "update deployments.apps/scale named web in team");
        assert_eq!(Request::url("get", "/metrics").to_string(), "get /metrics");
    }
}
