//! What a step waits for before it is written, and the moments that no order of the steps can avoid.
//!
//! An API server acts on a write once its informers have seen it. A step that takes away on the strength of an earlier
//! grant therefore says which questions must be answered with yes before it is made.

use std::fmt;

use crate::access::{ObjectRequest, Request};

/// A question that must be answered with yes before a step is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessProbe {
    /// None where the question is about a group alone.
    pub(crate) username: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) request: ProbeRequest,
}

/// What is asked, in the words of a SubjectAccessReview. An empty name or namespace is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeRequest {
    Resource { verb: String, api_group: String, resource: String, subresource: String, name: String, namespace: String },
    NonResource { verb: String, path: String },
}

/// A moment in which somebody has what neither side gives, or lacks what both give, whatever the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessWindow {
    /// The step after whose write it begins.
    pub(crate) step: usize,
    pub(crate) subject: String,
    pub(crate) access: TransientAccess,
    /// Such as `get secrets, in n1`.
    pub(crate) request: String,
    pub(crate) reason: String,
}

/// Which side of what is allowed a passing moment leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransientAccess {
    Gained,
    Lost,
}

impl From<Request> for ProbeRequest {
    fn from(request: Request) -> Self {
        match request {
            Request::Object(asked) => Self::Resource {
                verb: asked.verb,
                api_group: asked.group,
                resource: asked.resource,
                subresource: asked.subresource,
                name: asked.name,
                namespace: asked.namespace,
            },
            Request::Url { verb, path } => Self::NonResource { verb, path },
        }
    }
}

impl From<&ProbeRequest> for Request {
    fn from(question: &ProbeRequest) -> Self {
        match question {
            ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
                Self::Object(ObjectRequest {
                    verb: verb.clone(),
                    group: api_group.clone(),
                    resource: resource.clone(),
                    subresource: subresource.clone(),
                    name: name.clone(),
                    namespace: namespace.clone(),
                })
            }
            ProbeRequest::NonResource { verb, path } => Self::Url { verb: verb.clone(), path: path.clone() },
        }
    }
}

impl fmt::Display for AccessProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(username) => write!(f, "user:{username}")?,
            None => write!(f, "group:{}", self.groups.first().map_or("", String::as_str))?,
        }
        write!(f, " may {}", Request::from(&self.request))
    }
}
