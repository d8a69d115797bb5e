//! The reviews: who the caller is, what he may, and what others may, in the API server's own words.
//!
//! A snapshot has no API server; what its objects allow is the access engine's answer.

use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiRequest, ApiResponse};
use super::live::response_error;
use super::{ClusterError, UserInfo};
use crate::access::{AccessDecision, AccessView, Aggregation, AllowReason, Request, SubjectQuery};
use crate::plan::{AccessProbe, ProbeRequest};
use crate::state::State;

const AUTHORIZATION_API: &str = "/apis/authorization.k8s.io/v1";
/// Questions in flight. API priority and fairness gives a client more than this without waiting.
const MAX_CONCURRENT_REVIEWS: usize = 16;
const SELF_SUBJECT_REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Which credentials a question is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialFreshness {
    /// Those of the connection, which the API server may remember.
    Current,
    /// New ones: a plugin runs again, and nobody has seen its token.
    New,
}

/// What the caller is and may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallerCheck {
    pub(crate) user: UserInfo,
    /// Of what was asked, in its order.
    pub(crate) allowed: Vec<bool>,
    /// A plugin makes the credentials, or the authenticator of EKS has let him in: aws-auth may decide about him.
    pub(crate) may_use_aws_auth: bool,
}

/// What a cluster says to a question about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessReviewStatus {
    pub(crate) allowed: bool,
    /// None where it does not say, or not in the words of RBAC.
    pub(crate) allowed_by: Option<AllowReason>,
}

pub(super) async fn self_subject_review(connection: &ApiClient) -> Result<UserInfo, ClusterError> {
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let what = "ask who the caller is";
    let ask = ApiRequest { method: "POST", path: SELF_SUBJECT_REVIEWS, body: Some(&body), operation: what.to_owned() };
    let answer = connection.send(&ask).await?;
    if !answer.is_success() {
        return Err(response_error("create", "selfsubjectreviews", &answer));
    }
    let review: Value = answer.parse_json(what)?;
    let info = review.pointer("/status/userInfo").cloned().unwrap_or_default();
    serde_json::from_value(info)
        .map_err(|error| ClusterError::InvalidResponse { what: what.to_owned(), why: error.to_string() })
}

/// Whom the API server takes the caller for, and which of these requests he may make.
pub(super) async fn check_caller(
    connection: &ApiClient,
    with: CredentialFreshness,
    needs: &[Request],
) -> Result<CallerCheck, ClusterError> {
    let new = match with {
        CredentialFreshness::Current => None,
        CredentialFreshness::New => Some(connection.reconnect().await?),
    };
    let connection = new.as_ref().unwrap_or(connection);
    let caller = self_subject_review(connection).await?;
    let may = self_subject_access_reviews(connection, needs).await?;
    let named = |name: &String| name.to_lowercase().contains("arn") || name.contains("aws-iam-authenticator");
    let by_aws_auth = connection.has_exec_plugin() || caller.extra.keys().any(named);
    Ok(CallerCheck { user: caller, allowed: may, may_use_aws_auth: by_aws_auth })
}

/// Which of these requests the caller may make.
pub(super) async fn self_subject_access_reviews(
    connection: &ApiClient,
    requests: &[Request],
) -> Result<Vec<bool>, ClusterError> {
    let asked = stream::iter(requests).map(|request| {
        let spec = request_attributes(&ProbeRequest::from(request.clone()));
        let ruling = create_access_review(connection, "selfsubjectaccessreviews", "SelfSubjectAccessReview", spec);
        ruling.map_ok(|ruling| ruling.allowed)
    });
    asked.buffered(MAX_CONCURRENT_REVIEWS).try_collect().await
}

/// What the API server answers to one question about somebody.
pub(super) async fn subject_access_review(
    connection: &ApiClient,
    asked: &AccessProbe,
) -> Result<AccessReviewStatus, ClusterError> {
    let mut spec = request_attributes(&asked.request);
    crate::state::write::apply_merge_patch(&mut spec, &json!({ "user": asked.username, "groups": asked.groups }));
    create_access_review(connection, "subjectaccessreviews", "SubjectAccessReview", spec).await
}

fn request_attributes(question: &ProbeRequest) -> Value {
    match question {
        ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
            json!({ "resourceAttributes": {
            "verb": verb, "group": api_group, "resource": resource,
            "subresource": subresource, "name": name, "namespace": namespace,
        } })
        }
        ProbeRequest::NonResource { verb, path } => json!({ "nonResourceAttributes": { "verb": verb, "path": path } }),
    }
}

async fn create_access_review(
    connection: &ApiClient,
    resource: &str,
    kind: &str,
    spec: Value,
) -> Result<AccessReviewStatus, ClusterError> {
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
    let path = format!("{AUTHORIZATION_API}/{resource}");
    let ask = ApiRequest { method: "POST", path: &path, body: Some(&body), operation: format!("create {resource}") };
    let answer: ApiResponse = connection.send(&ask).await?;
    if !answer.is_success() {
        return Err(response_error("create", resource, &answer));
    }
    let review: Value = answer.parse_json(&ask.operation)?;
    let allowed = review.pointer("/status/allowed").and_then(Value::as_bool);
    let Some(allowed) = allowed else {
        return Err(ClusterError::InvalidResponse { what: ask.operation, why: "it has no verdict".to_owned() });
    };
    let reason = review.pointer("/status/reason").and_then(Value::as_str).filter(|_| allowed);
    Ok(AccessReviewStatus { allowed, allowed_by: reason.and_then(AllowReason::parse) })
}

/// The same by the rules of a state. Bindings only add: what one of the subjects may, whoever is all of them may.
pub(super) fn is_allowed_by_rules(state: &State, asked: &AccessProbe) -> bool {
    let access = AccessView::new(state, Aggregation::AsStored);
    let request = Request::from(&asked.request);
    let user = asked.username.as_deref().map(SubjectQuery::from_username);
    let groups = asked.groups.iter().map(|group| SubjectQuery::Group(group.clone()));
    user.into_iter().chain(groups).any(|who| access.can(&who, &request).decision == AccessDecision::Allowed)
}
