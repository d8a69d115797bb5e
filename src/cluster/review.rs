//! SelfSubjectReview, SelfSubjectAccessReview and SubjectAccessReview: the identity of the caller, what the caller is
//! allowed to do, and what other subjects are allowed to do.
//!
//! A snapshot has no API server. For a snapshot, the access engine answers from the stored objects.

use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiRequest, ApiResponse};
use super::live::response_error;
use super::safe_errors::describe_json_error;
use super::{ClusterError, UserInfo};
use crate::access::{AccessView, Aggregation, AllowReason, Request};
use crate::plan::{AccessProbe, ProbeRequest};
use crate::state::State;

const AUTHORIZATION_API: &str = "/apis/authorization.k8s.io/v1";
/// The maximum number of concurrent reviews. API priority and fairness allows a client more than this without queueing.
const MAX_CONCURRENT_REVIEWS: usize = 16;
const SELF_SUBJECT_REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// The credentials that a review is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialFreshness {
    /// Those of the connection. The API server may have their identity in its token cache.
    Current,
    /// New credentials: rolecall makes a token, or the credential plugin runs again, and the API server has not cached it.
    New,
}

/// The identity of the caller and what it is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallerCheck {
    pub(crate) user: UserInfo,
    /// For each request, in the order of the requests, whether it is allowed.
    pub(crate) allowed: Vec<bool>,
    /// Whether the caller may be authenticated through aws-auth: its tokens are made by rolecall or by a credential plugin, or
    /// its user info has an ARN.
    pub(crate) may_use_aws_auth: bool,
    /// Whether a check with new credentials proves that aws-auth lets the caller in. A token or certificate that is in
    /// the kubeconfig is never new, and the API server may have cached its identity.
    pub(crate) has_new_credentials: bool,
}

/// The answer to an access review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessReviewStatus {
    pub(crate) allowed: bool,
    /// Missing if the answer has no reason, or one that is not from the RBAC authorizer.
    pub(crate) allowed_by: Option<AllowReason>,
}

pub(super) async fn self_subject_review(client: &ApiClient) -> Result<UserInfo, ClusterError> {
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let operation = "create selfsubjectreviews".to_owned();
    let request = ApiRequest { method: "POST", path: SELF_SUBJECT_REVIEWS, body: Some(&body), operation };
    let response = client.send(&request).await?;
    if !response.is_success() {
        return Err(response_error("create", "selfsubjectreviews", &response));
    }
    let review = response.parse_object("SelfSubjectReview", &request.operation)?;
    let invalid = |why: String| ClusterError::InvalidResponse { what: request.operation.clone(), why };
    let user_info = review.pointer("/status/userInfo").cloned();
    let user_info = user_info.ok_or_else(|| invalid("it has no `status.userInfo`".to_owned()))?;
    serde_json::from_value(user_info).map_err(|error| invalid(describe_json_error(&error)))
}

/// Returns the identity of the caller, and which of these requests it is allowed to make.
pub(super) async fn check_caller(
    client: &ApiClient,
    freshness: CredentialFreshness,
    requests: &[Request],
) -> Result<CallerCheck, ClusterError> {
    let new_client = match freshness {
        CredentialFreshness::Current => None,
        CredentialFreshness::New => Some(client.reconnect().await?),
    };
    let client = new_client.as_ref().unwrap_or(client);
    let user = self_subject_review(client).await?;
    let allowed = self_subject_access_reviews(client, requests).await?;
    let is_iam_key = |key: &String| key.to_lowercase().contains("arn") || key.contains("aws-iam-authenticator");
    let has_new_credentials = client.can_renew_token();
    let may_use_aws_auth = has_new_credentials || user.extra.keys().any(is_iam_key);
    Ok(CallerCheck { user, allowed, may_use_aws_auth, has_new_credentials })
}

/// For each request, whether the caller is allowed to make it.
pub(super) async fn self_subject_access_reviews(
    client: &ApiClient,
    requests: &[Request],
) -> Result<Vec<bool>, ClusterError> {
    let reviews = stream::iter(requests).map(|request| {
        let spec = request_attributes(&ProbeRequest::from(request.clone()));
        let review = create_access_review(client, "selfsubjectaccessreviews", "SelfSubjectAccessReview", spec);
        review.map_ok(|status| status.allowed)
    });
    reviews.buffered(MAX_CONCURRENT_REVIEWS).try_collect().await
}

/// Returns whether the API server allows a request of another subject.
pub(super) async fn subject_access_review(
    client: &ApiClient,
    probe: &AccessProbe,
) -> Result<AccessReviewStatus, ClusterError> {
    let mut spec = request_attributes(&probe.request);
    crate::state::write::apply_merge_patch(&mut spec, &json!({ "user": probe.username, "groups": probe.groups }));
    create_access_review(client, "subjectaccessreviews", "SubjectAccessReview", spec).await
}

fn request_attributes(request: &ProbeRequest) -> Value {
    match request {
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
    client: &ApiClient,
    resource: &str,
    kind: &str,
    spec: Value,
) -> Result<AccessReviewStatus, ClusterError> {
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
    let path = format!("{AUTHORIZATION_API}/{resource}");
    let request =
        ApiRequest { method: "POST", path: &path, body: Some(&body), operation: format!("create {resource}") };
    let response: ApiResponse = client.send(&request).await?;
    if !response.is_success() {
        return Err(response_error("create", resource, &response));
    }
    let review = response.parse_object(kind, &request.operation)?;
    let allowed = review.pointer("/status/allowed").and_then(Value::as_bool);
    let Some(allowed) = allowed else {
        let why = "it has no `status.allowed`".to_owned();
        return Err(ClusterError::InvalidResponse { what: request.operation, why });
    };
    let reason = review.pointer("/status/reason").and_then(Value::as_str).filter(|_| allowed);
    Ok(AccessReviewStatus { allowed, allowed_by: reason.and_then(AllowReason::parse) })
}

/// Answers an access review from the objects of a state.
pub(super) fn is_allowed_by_rules(state: &State, probe: &AccessProbe) -> bool {
    probe.is_allowed(&AccessView::new(state, Aggregation::AsStored))
}
