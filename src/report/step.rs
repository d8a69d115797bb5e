//! The writes of a plan, the access that each waits for, and access that exists only between two writes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::common::ObjectJson;
use crate::plan::{AccessProbe, AccessWindow, ProbeRequest, Step, TokenWait, TransientAccess, UnprovenAccess};
use crate::state::write::{Precondition, WriteRequest};

/// One write.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StepJson {
    /// The object that is written.
    pub(crate) object: ObjectJson,
    /// The request.
    pub(crate) write: WriteJson,
    /// The condition that the object must meet. Otherwise the write is not made.
    pub(crate) precondition: PreconditionJson,
    /// The stage of the step, counted from 0. Steps of one stage do not depend on each other. A stage begins when the
    /// stage before it has ended.
    pub(crate) stage: usize,
    /// Requests that the API server must allow before the step is written, because the step revokes access that an
    /// earlier step replaces. Empty: the step relies on no earlier step.
    pub(crate) wait_for: Vec<AccessProbeJson>,
    /// The step as text, such as `create ClusterRole viewer`.
    pub(crate) reason: String,
}

impl From<&Step> for StepJson {
    fn from(step: &Step) -> Self {
        let Step { object, write, precondition, stage, wait_for, description } = step;
        Self {
            object: object.into(),
            write: write.into(),
            precondition: precondition.into(),
            stage: *stage,
            wait_for: wait_for.iter().map(AccessProbeJson::from).collect(),
            reason: description.clone(),
        }
    }
}

/// A write as it is sent to the API server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(crate) enum WriteJson {
    /// A POST request.
    Create {
        /// The whole Kubernetes object.
        #[schemars(with = "serde_json::Map<String, Value>")]
        body: Value,
    },
    /// A PATCH request.
    Patch {
        /// A JSON merge patch of the Kubernetes object. The precondition is added to it when it is sent.
        #[schemars(with = "serde_json::Map<String, Value>")]
        body: Value,
    },
    /// A DELETE request.
    Delete,
}

impl From<&WriteRequest> for WriteJson {
    fn from(write: &WriteRequest) -> Self {
        match write {
            WriteRequest::Create(body) => Self::Create { body: body.clone() },
            WriteRequest::Patch(body) => Self::Patch { body: body.clone() },
            WriteRequest::Delete => Self::Delete,
        }
    }
}

impl From<WriteJson> for WriteRequest {
    fn from(write: WriteJson) -> Self {
        match write {
            WriteJson::Create { body } => Self::Create(body),
            WriteJson::Patch { body } => Self::Patch(body),
            WriteJson::Delete => Self::Delete,
        }
    }
}

/// The condition that the object must meet before a write.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum PreconditionJson {
    /// The object does not exist.
    Absent,
    /// The object is the one that was read, unchanged.
    Unchanged {
        /// The uid of the object, or null if a snapshot lacks it.
        uid: Option<String>,
        /// The resourceVersion of the object.
        resource_version: String,
    },
    /// The object is as an earlier step of this plan wrote it.
    AsWrittenByStep {
        /// The index of that step in `steps`, counted from 0.
        step: usize,
    },
}

impl From<&Precondition> for PreconditionJson {
    fn from(precondition: &Precondition) -> Self {
        match precondition {
            Precondition::Absent => Self::Absent,
            Precondition::Unchanged { uid, resource_version } => {
                Self::Unchanged { uid: uid.clone(), resource_version: resource_version.clone() }
            }
            Precondition::AsWrittenByStep { step } => Self::AsWrittenByStep { step: *step },
        }
    }
}

impl From<PreconditionJson> for Precondition {
    fn from(precondition: PreconditionJson) -> Self {
        match precondition {
            PreconditionJson::Absent => Self::Absent,
            PreconditionJson::Unchanged { uid, resource_version } => Self::Unchanged { uid, resource_version },
            PreconditionJson::AsWrittenByStep { step } => Self::AsWrittenByStep { step },
        }
    }
}

/// A request that the API server must allow, asked by a SubjectAccessReview.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AccessProbeJson {
    /// The user, or null if only a group is asked about.
    pub(super) username: Option<String>,
    /// The groups of the user.
    pub(super) groups: Vec<String>,
    /// The request.
    pub(super) request: RequestJson,
}

impl From<&AccessProbe> for AccessProbeJson {
    fn from(probe: &AccessProbe) -> Self {
        let AccessProbe { username, groups, request } = probe;
        Self { username: username.clone(), groups: groups.clone(), request: request.into() }
    }
}

/// A request for a resource, or for a URL that is not a resource.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "kebab-case")]
pub(crate) enum RequestJson {
    Resource {
        /// The verb, such as `get`.
        verb: String,
        /// The API group. The core group is the empty string.
        api_group: String,
        /// The resource, such as `pods`.
        resource: String,
        /// The subresource, or the empty string.
        subresource: String,
        /// The name of the object. The empty string asks about all names.
        name: String,
        /// The namespace. The empty string asks about all namespaces, or about a cluster-scoped object.
        namespace: String,
    },
    NonResource {
        /// The verb, such as `get`.
        verb: String,
        /// The path of the URL.
        path: String,
    },
}

impl From<&ProbeRequest> for RequestJson {
    fn from(request: &ProbeRequest) -> Self {
        match request.clone() {
            ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
                Self::Resource { verb, api_group, resource, subresource, name, namespace }
            }
            ProbeRequest::NonResource { verb, path } => Self::NonResource { verb, path },
        }
    }
}

impl From<RequestJson> for ProbeRequest {
    fn from(request: RequestJson) -> Self {
        match request {
            RequestJson::Resource { verb, api_group, resource, subresource, name, namespace } => {
                Self::Resource { verb, api_group, resource, subresource, name, namespace }
            }
            RequestJson::NonResource { verb, path } => Self::NonResource { verb, path },
        }
    }
}

/// A wait between two steps, for tokens that an API server has cached, or for access entries to take effect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TokenWaitJson {
    /// The stage of the wait, in which there are no steps. It begins when the stage before it has ended.
    pub(crate) stage: usize,
    /// The index of the first step after the wait in `steps`, counted from 0.
    pub(crate) before_step: usize,
    /// The length of the wait in seconds.
    pub(crate) seconds: u64,
    /// The principals whose cached tokens have their former username and groups, with which they would have too much or
    /// too little access after that step.
    pub(crate) subjects: Vec<String>,
    /// Whether the wait is for access entries to take effect and not for cached tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) for_access_entries: bool,
}

impl From<&TokenWait> for TokenWaitJson {
    fn from(wait: &TokenWait) -> Self {
        let TokenWait { stage, before_step, duration, subjects, is_for_access_entries } = wait;
        Self {
            stage: *stage,
            before_step: *before_step,
            seconds: duration.as_secs(),
            subjects: subjects.clone(),
            for_access_entries: *is_for_access_entries,
        }
    }
}

impl From<TokenWaitJson> for TokenWait {
    fn from(wait: TokenWaitJson) -> Self {
        let TokenWaitJson { stage, before_step, seconds, subjects, for_access_entries } = wait;
        Self {
            stage,
            before_step,
            duration: Duration::from_secs(seconds),
            subjects,
            is_for_access_entries: for_access_entries,
        }
    }
}

/// Access that a subject gains or loses only until a later step.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TransientAccessJson {
    /// The index of the step in `steps` after which it begins, counted from 0.
    pub(crate) step: usize,
    /// The subject that it concerns.
    pub(crate) subject: String,
    /// `gained`: the subject has access that neither the old nor the new state grants. `lost`: it lacks access that
    /// both grant.
    pub(crate) effect: TransientEffectJson,
    /// The requests as text, such as `get secrets in team-a`.
    pub(crate) permission: String,
    /// Why the plan does not avoid it, as text.
    pub(crate) reason: String,
}

impl From<&AccessWindow> for TransientAccessJson {
    fn from(window: &AccessWindow) -> Self {
        let AccessWindow { step, subject, access, request, reason } = window;
        Self {
            step: *step,
            subject: subject.clone(),
            effect: (*access).into(),
            permission: request.clone(),
            reason: reason.clone(),
        }
    }
}

/// Access that a subject may gain or lose until a later step: rolecall could not prove that it does not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct UnprovenAccessJson {
    /// The index of the step in `steps` after which it is possible, counted from 0.
    pub(crate) step: usize,
    /// The subject that it concerns.
    pub(crate) subject: String,
    /// `gained`: the subject may have access that neither the old nor the new state grants. `lost`: it may lack access
    /// that both grant.
    pub(crate) effect: TransientEffectJson,
    /// The requests as text, such as `get secrets in team-a`.
    pub(crate) permission: String,
    /// Why it could not be proven, as text.
    pub(crate) reason: String,
}

impl From<&UnprovenAccess> for UnprovenAccessJson {
    fn from(unproven: &UnprovenAccess) -> Self {
        let UnprovenAccess { step, subject, access, request, reason } = unproven;
        Self {
            step: *step,
            subject: subject.clone(),
            effect: (*access).into(),
            permission: request.clone(),
            reason: reason.clone(),
        }
    }
}

/// Whether access is gained or lost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum TransientEffectJson {
    Gained,
    Lost,
}

impl TransientEffectJson {
    pub(crate) fn is_gain(self) -> bool {
        matches!(self, Self::Gained)
    }
}

impl From<TransientEffectJson> for TransientAccess {
    fn from(effect: TransientEffectJson) -> Self {
        match effect {
            TransientEffectJson::Gained => Self::Gained,
            TransientEffectJson::Lost => Self::Lost,
        }
    }
}

impl From<TransientAccess> for TransientEffectJson {
    fn from(access: TransientAccess) -> Self {
        match access {
            TransientAccess::Gained => Self::Gained,
            TransientAccess::Lost => Self::Lost,
        }
    }
}
