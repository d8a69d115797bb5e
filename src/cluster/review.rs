//! The reviews: who the caller is, what he may, and what others may, in the API server's own words.
//!
//! A snapshot has no API server; what its objects allow is the access engine's answer.

use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::connection::{Answer, Ask, Connection};
use super::live::failed;
use super::{Caller, ClusterError};
use crate::access::{Access, AllowedBy, Moment, Request, Verdict, Who};
use crate::plan::{Await, Question};
use crate::state::State;

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
/// Questions in flight. API priority and fairness gives a client more than this without waiting.
const AT_ONCE: usize = 16;
const CALLER: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Which credentials a question is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Those of the connection, which the API server may remember.
    Current,
    /// New ones: a plugin runs again, and nobody has seen its token.
    New,
}

/// What the caller is and may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) caller: Caller,
    /// Of what was asked, in its order.
    pub(crate) may: Vec<bool>,
    /// A plugin makes the credentials, or the authenticator of EKS has let him in: aws-auth may decide about him.
    pub(crate) by_aws_auth: bool,
}

/// What a cluster says to a question about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) allowed: bool,
    /// None where it does not say, or not in the words of RBAC.
    pub(crate) by: Option<AllowedBy>,
}

pub(super) async fn caller(connection: &Connection) -> Result<Caller, ClusterError> {
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let what = "ask who the caller is";
    let ask = Ask { method: "POST", path: CALLER, body: Some(&body), what: what.to_owned() };
    let answer = connection.send(&ask).await?;
    if !answer.is_success() {
        return Err(failed("create", "selfsubjectreviews", &answer));
    }
    let review: Value = answer.read(what)?;
    let info = review.pointer("/status/userInfo").cloned().unwrap_or_default();
    serde_json::from_value(info)
        .map_err(|error| ClusterError::Unreadable { what: what.to_owned(), why: error.to_string() })
}

/// Whom the API server takes the caller for, and which of these requests he may make.
pub(super) async fn standing(
    connection: &Connection,
    with: Credentials,
    needs: &[Request],
) -> Result<Standing, ClusterError> {
    let new = match with {
        Credentials::Current => None,
        Credentials::New => Some(connection.anew().await?),
    };
    let connection = new.as_ref().unwrap_or(connection);
    let caller = caller(connection).await?;
    let may = own(connection, needs).await?;
    let named = |name: &String| name.to_lowercase().contains("arn") || name.contains("aws-iam-authenticator");
    let by_aws_auth = connection.has_plugin() || caller.extra.keys().any(named);
    Ok(Standing { caller, may, by_aws_auth })
}

/// Which of these requests the caller may make.
pub(super) async fn own(connection: &Connection, requests: &[Request]) -> Result<Vec<bool>, ClusterError> {
    let asked = stream::iter(requests).map(|request| {
        let spec = attributes(&Question::from(request.clone()));
        let ruling = ask(connection, "selfsubjectaccessreviews", "SelfSubjectAccessReview", spec);
        ruling.map_ok(|ruling| ruling.allowed)
    });
    asked.buffered(AT_ONCE).try_collect().await
}

/// What the API server answers to one question about somebody.
pub(super) async fn of(connection: &Connection, asked: &Await) -> Result<Ruling, ClusterError> {
    let mut spec = attributes(&asked.question);
    crate::state::write::merge(&mut spec, &json!({ "user": asked.username, "groups": asked.groups }));
    ask(connection, "subjectaccessreviews", "SubjectAccessReview", spec).await
}

fn attributes(question: &Question) -> Value {
    match question {
        Question::Object { verb, api_group, resource, subresource, name, namespace } => json!({ "resourceAttributes": {
            "verb": verb, "group": api_group, "resource": resource,
            "subresource": subresource, "name": name, "namespace": namespace,
        } }),
        Question::Url { verb, path } => json!({ "nonResourceAttributes": { "verb": verb, "path": path } }),
    }
}

async fn ask(connection: &Connection, resource: &str, kind: &str, spec: Value) -> Result<Ruling, ClusterError> {
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
    let path = format!("{AUTHORIZATION}/{resource}");
    let ask = Ask { method: "POST", path: &path, body: Some(&body), what: format!("create {resource}") };
    let answer: Answer = connection.send(&ask).await?;
    if !answer.is_success() {
        return Err(failed("create", resource, &answer));
    }
    let review: Value = answer.read(&ask.what)?;
    let allowed = review.pointer("/status/allowed").and_then(Value::as_bool);
    let Some(allowed) = allowed else {
        return Err(ClusterError::Unreadable { what: ask.what, why: "it has no verdict".to_owned() });
    };
    let reason = review.pointer("/status/reason").and_then(Value::as_str).filter(|_| allowed);
    Ok(Ruling { allowed, by: reason.and_then(AllowedBy::parse) })
}

/// The same by the rules of a state. Bindings only add: what one of the subjects may, whoever is all of them may.
pub(super) fn by_rules(state: &State, asked: &Await) -> bool {
    let access = Access::of(state, Moment::Stored);
    let request = Request::from(&asked.question);
    let user = asked.username.as_deref().map(Who::of_username);
    let groups = asked.groups.iter().map(|group| Who::Group(group.clone()));
    user.into_iter().chain(groups).any(|who| access.can(&who, &request).verdict == Verdict::Yes)
}
