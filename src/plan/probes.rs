//! The requests that must be allowed before a step is written, and temporary access changes that no order avoids.
//!
//! An API server acts on a write once its informers have seen it. A step that revokes access which an earlier step
//! grants in another way must therefore wait until the API server allows the access in the new way.

use std::fmt;

use crate::access::{ObjectRequest, Request};

/// A request that the API server must allow before a step is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessProbe {
    /// `None` if the probe is for any member of the group.
    pub(crate) username: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) request: ProbeRequest,
}

/// The attributes of a SubjectAccessReview. An empty string means that the attribute is not set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeRequest {
    Resource { verb: String, api_group: String, resource: String, subresource: String, name: String, namespace: String },
    NonResource { verb: String, path: String },
}

/// A temporary access change that no order of the steps avoids: a subject has access that neither the live nor the
/// planned state grants, or lacks access that both grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessWindow {
    /// The index of the step that causes it.
    pub(crate) step: usize,
    pub(crate) subject: String,
    pub(crate) access: TransientAccess,
    /// The requests, for example `get secrets, in n1`.
    pub(crate) request: String,
    pub(crate) reason: String,
}

/// Whether a temporary change grants or revokes access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransientAccess {
    Gained,
    Lost,
}

impl From<Request> for ProbeRequest {
    fn from(request: Request) -> Self {
        match request {
            Request::Object(request) => Self::Resource {
                verb: request.verb,
                api_group: request.group,
                resource: request.resource,
                subresource: request.subresource,
                name: request.name,
                namespace: request.namespace,
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
        write!(f, " can {}", Request::from(&self.request))
    }
}
