//! The calls of EKS about access entries, their associations and their tags.
//!
//! Sources: EKS API 2017-11-01; the limits and refusals of the API that it does not document are in `entry_errors.rs` and
//! `state/access_entry_rules.rs`. A list has only ARNs, so each entry needs two more calls. EKS throttles them, which the
//! model of the API does not say.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::time::{Duration, Instant};

use aws_sdk_eks::Client;
use aws_sdk_eks::operation::untag_resource::builders::UntagResourceFluentBuilder;
use aws_sdk_eks::types::{AccessScope as SdkScope, AccessScopeType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures::stream::{self, StreamExt as _};
use serde_json::{Map, Value, json};

use super::entry_errors::{CallSubject, EntryError, classify_entry_refusal, is_unknown_principal};
use super::errors::{AwsError, classify_call_error};
use super::pause::Pause;
use super::session::AwsSession;
use crate::state::access_entry::{AccessEntry, AccessScope};
use crate::state::access_entry_rules::MAX_ENTRIES;
use crate::state::access_entry_write::EntryCall;

/// How many entries are read at the same time, each with two calls. EKS allows few requests a second.
const CONCURRENT: usize = 5;
/// The entries, or the policies, on one page.
const PAGE: i32 = 100;
/// The most entries that are read: far more than EKS allows, against lists without an end.
const MAX_LISTED: usize = 10 * MAX_ENTRIES;
/// How long a principal can be unknown to EKS after IAM has created it. Reports have 10 to 15 seconds.
const NEW_PRINCIPAL_LIMIT: Duration = Duration::from_secs(20);

const CREATE: &str = "eks:CreateAccessEntry";
const LIST: &str = "eks:ListAccessEntries";
const DESCRIBE: &str = "eks:DescribeAccessEntry";
const LIST_POLICIES: &str = "eks:ListAssociatedAccessPolicies";

/// The access entries of one cluster.
pub(crate) struct AccessEntryApi<'s> {
    pub(super) session: &'s AwsSession,
    pub(super) client: Client,
    pub(super) cluster: String,
    /// `the cluster prod in eu-west-1`.
    resource: String,
    /// How long a call is repeated while EKS throttles it or changes the cluster.
    pub(super) patience: Duration,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct CallFailure {
    code: String,
    /// Never printed.
    message: String,
    pub(super) error: AwsError,
}

impl CallFailure {
    fn is_not_found(&self) -> bool {
        ["ResourceNotFoundException", "NotFoundException"].contains(&self.code.as_str())
    }

    fn is_in_use(&self) -> bool {
        self.code == "ResourceInUseException"
    }
}

/// Why the entries of a cluster could not be read: one error, or two of the same entry.
#[derive(Debug)]
pub(crate) struct EntryReadError(Vec<AwsError>);

impl EntryReadError {
    /// Returns the reason why the entries are unknown, if only permissions are missing.
    pub(crate) fn denied_reason(&self) -> Option<String> {
        let denied = self.0.iter().map(|error| match error {
            AwsError::AccessDenied { action, resource, .. } => Some((*action, resource.as_str())),
            _ => None,
        });
        let denied: Vec<(&str, &str)> = denied.collect::<Option<_>>()?;
        let (_, resource) = denied.first()?;
        let actions: Vec<&str> = denied.iter().map(|(action, _)| *action).collect();
        Some(format!("you are not allowed to call {} for {resource}", actions.join(" and ")))
    }

    /// Returns the error that is not about a permission, if there is one.
    pub(crate) fn into_error(self) -> AwsError {
        let is_denied = |error: &AwsError| matches!(error, AwsError::AccessDenied { .. });
        let mut errors = self.0;
        errors.sort_by_key(is_denied);
        errors.into_iter().next().unwrap_or(AwsError::InvalidResponse { action: DESCRIBE })
    }
}

impl From<AwsError> for EntryReadError {
    fn from(error: AwsError) -> Self {
        Self(vec![error])
    }
}

/// Why a write of an entry was not made.
#[derive(Debug)]
pub(crate) enum EntryWriteError {
    AlreadyExists,
    NotFound,
    Aws(AwsError),
}

impl From<AwsError> for EntryWriteError {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

impl<'s> AccessEntryApi<'s> {
    /// `cluster` is its name.
    pub(crate) async fn new(session: &'s AwsSession, cluster: &str, patience: Duration) -> Result<Self, AwsError> {
        Ok(Self {
            session,
            client: session.eks_client_with_backoff(Pause::FIRST).await?,
            cluster: cluster.to_owned(),
            resource: format!("the cluster {cluster} in {}", session.region()),
            patience,
        })
    }

    /// Makes a call, and repeats it while EKS throttles it, or while EKS makes another change to the cluster.
    pub(super) async fn call<O, E, F>(
        &self,
        action: &'static str,
        subject: &CallSubject<'_>,
        send: impl Fn() -> F,
    ) -> Result<O, CallFailure>
    where
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mut pause = Pause::new();
        let started = Instant::now();
        loop {
            let error = match send().await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let service = error.as_service_error();
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let code = text(service.and_then(ProvideErrorMetadata::code));
            let message = text(service.and_then(ProvideErrorMetadata::message));
            let known = classify_entry_refusal(&code, &message, subject);
            let error =
                known.unwrap_or_else(|| classify_call_error(&error, &self.session.call(action, &self.resource)));
            let mut failure = CallFailure { code, message, error };
            let is_create = action == CREATE;
            let limit = if matches!(failure.error, AwsError::Throttled { .. }) {
                self.patience
            } else if failure.is_in_use() && !is_create {
                let (cluster, after) = (self.cluster.clone(), self.patience);
                failure.error = EntryError::Busy { cluster, after }.into();
                self.patience
            } else if is_create && is_unknown_principal(&failure.code, &failure.message) {
                self.patience.min(NEW_PRINCIPAL_LIMIT)
            } else {
                return Err(failure);
            };
            let delay = pause.next_delay();
            if started.elapsed() + delay > limit {
                return Err(failure);
            }
            tokio::time::sleep(delay).await;
        }
    }

    pub(super) fn subject(&self) -> CallSubject<'_> {
        CallSubject { cluster: &self.cluster, principal: None, policy_arn: None }
    }

    /// Reads all entries. `progress` receives how many are read, and how many there are.
    ///
    /// # Errors
    /// If one of the calls fails. An entry that is deleted meanwhile is no error.
    pub(crate) async fn read_all(&self, progress: impl Fn(usize, usize)) -> Result<Vec<AccessEntry>, EntryReadError> {
        let principals = self.list().await?;
        let total = principals.len();
        let mut entries = Vec::with_capacity(total);
        let read = |principal: String| async move { self.read_entry(&principal).await };
        let mut reading = stream::iter(principals).map(read).buffer_unordered(CONCURRENT);
        let mut done = 0;
        while let Some(entry) = reading.next().await {
            entries.extend(entry?);
            done += 1;
            progress(done, total);
        }
        Ok(entries)
    }

    /// Returns the ARNs of the principals.
    async fn list(&self) -> Result<BTreeSet<String>, AwsError> {
        let (mut principals, mut next) = (BTreeSet::new(), None::<String>);
        loop {
            let page = || {
                let request = self.client.list_access_entries().cluster_name(&self.cluster);
                request.max_results(PAGE).set_next_token(next.clone()).send()
            };
            let answer = self.call(LIST, &self.subject(), page).await.map_err(|failure| failure.error)?;
            principals.extend(answer.access_entries().iter().cloned());
            next = next_page(LIST, answer.next_token(), next.as_deref(), principals.len())?;
            if next.is_none() {
                return Ok(principals);
            }
        }
    }

    /// Reads one entry with its associations. `None` if it does not exist.
    pub(crate) async fn read_entry(&self, principal: &str) -> Result<Option<AccessEntry>, EntryReadError> {
        let both = futures::future::join(self.describe(principal), self.list_policies(principal)).await;
        let (entry, policies) = match both {
            (Ok(entry), Ok(policies)) => (entry, policies),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error.into()),
            (Err(first), Err(second)) => return Err(EntryReadError(vec![first, second])),
        };
        // An entry that is deleted between the calls does not exist.
        let (Some(mut entry), Some(policies)) = (entry, policies) else {
            return Ok(None);
        };
        entry.insert("accessPolicies".to_owned(), Value::Object(policies));
        let entry = AccessEntry::from_json(&Value::Object(entry));
        let is_asked = |entry: &AccessEntry| entry.principal() == principal;
        match entry.ok().filter(is_asked) {
            Some(entry) => Ok(Some(entry)),
            None => Err(AwsError::InvalidResponse { action: DESCRIBE }.into()),
        }
    }

    /// Returns the fields of an entry without its associations.
    async fn describe(&self, principal: &str) -> Result<Option<Map<String, Value>>, AwsError> {
        let send = || self.client.describe_access_entry().cluster_name(&self.cluster).principal_arn(principal).send();
        let answer = match self.call(DESCRIBE, &self.subject(), send).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_not_found() => return Ok(None),
            Err(failure) => return Err(failure.error),
        };
        let invalid = || AwsError::InvalidResponse { action: DESCRIBE };
        let entry = answer.access_entry().ok_or_else(invalid)?;
        let (name, uid) = (entry.principal_arn().ok_or_else(invalid)?, entry.access_entry_arn().ok_or_else(invalid)?);
        let tags: Map<String, Value> =
            entry.tags().into_iter().flatten().map(|(key, value)| (key.clone(), json!(value))).collect();
        let mut fields = Map::from_iter([
            ("metadata".to_owned(), json!({ "name": name, "uid": uid })),
            ("username".to_owned(), json!(entry.username())),
            ("kubernetesGroups".to_owned(), json!(entry.kubernetes_groups())),
            ("tags".to_owned(), Value::Object(tags)),
        ]);
        fields.extend(entry.r#type().map(|entry_type| ("type".to_owned(), json!(entry_type))));
        let created_at = entry.created_at().and_then(|time| time.fmt(Format::DateTime).ok());
        fields.extend(created_at.map(|time| ("createdAt".to_owned(), json!(time))));
        Ok(Some(fields))
    }

    /// Returns the scopes of the associated policies, by their ARN.
    async fn list_policies(&self, principal: &str) -> Result<Option<Map<String, Value>>, AwsError> {
        let (mut policies, mut next) = (Map::new(), None::<String>);
        let invalid = || AwsError::InvalidResponse { action: LIST_POLICIES };
        loop {
            let page = || {
                let request = self.client.list_associated_access_policies().cluster_name(&self.cluster);
                request.principal_arn(principal).max_results(PAGE).set_next_token(next.clone()).send()
            };
            let answer = match self.call(LIST_POLICIES, &self.subject(), page).await {
                Ok(answer) => answer,
                Err(failure) if failure.is_not_found() => return Ok(None),
                Err(failure) => return Err(failure.error),
            };
            for policy in answer.associated_access_policies() {
                let scope = policy.access_scope().ok_or_else(invalid)?;
                let kind = scope.r#type().ok_or_else(invalid)?.as_str();
                let arn = policy.policy_arn().ok_or_else(invalid)?;
                policies.insert(arn.to_owned(), json!({ "type": kind, "namespaces": scope.namespaces() }));
            }
            next = next_page(LIST_POLICIES, answer.next_token(), next.as_deref(), policies.len())?;
            if next.is_none() {
                return Ok(Some(policies));
            }
        }
    }

    /// Makes a write. `entry_arn` is the ARN of the entry itself, which the calls about tags need; a create returns it.
    ///
    /// The SDK repeats a call after a fault of the connection, which is safe: a create has a token by which EKS recognizes
    /// it, and every other call has the same effect when it is made again.
    pub(crate) async fn write(
        &self,
        principal: &str,
        entry_arn: Option<&str>,
        call: &EntryCall,
    ) -> Result<Option<String>, EntryWriteError> {
        let mut subject = CallSubject { principal: Some(principal), ..self.subject() };
        let cluster = &self.cluster;
        let entry_arn = || entry_arn.ok_or(AwsError::InvalidResponse { action: DESCRIBE });
        let failure = match call {
            EntryCall::Create { .. } => return self.create(principal, call).await,
            EntryCall::Update { username, groups } => {
                let request = self.client.update_access_entry().cluster_name(cluster).principal_arn(principal);
                let request = request.username(username).set_kubernetes_groups(Some(groups.clone()));
                self.call("eks:UpdateAccessEntry", &subject, || request.clone().send()).await.err()
            }
            EntryCall::Associate { policy_arn, scope } => {
                subject.policy_arn = Some(policy_arn);
                let request = self.client.associate_access_policy().cluster_name(cluster).principal_arn(principal);
                let request = request.policy_arn(policy_arn).access_scope(to_sdk_scope(scope));
                self.call("eks:AssociateAccessPolicy", &subject, || request.clone().send()).await.err()
            }
            EntryCall::Disassociate { policy_arn } => {
                let request = self.client.disassociate_access_policy().cluster_name(cluster).principal_arn(principal);
                let request = request.policy_arn(policy_arn);
                let result = self.call("eks:DisassociateAccessPolicy", &subject, || request.clone().send()).await;
                result.err().filter(|failure| !failure.is_not_found())
            }
            EntryCall::Tag(tags) => {
                let request = self.client.tag_resource().resource_arn(entry_arn()?);
                let request = tags.iter().fold(request, |request, (key, value)| request.tags(key, value));
                self.call("eks:TagResource", &subject, || request.clone().send()).await.err()
            }
            EntryCall::Untag(keys) => {
                let request = self.client.untag_resource().resource_arn(entry_arn()?);
                let request = keys.iter().cloned().fold(request, UntagResourceFluentBuilder::tag_keys);
                self.call("eks:UntagResource", &subject, || request.clone().send()).await.err()
            }
            EntryCall::Delete => {
                let request = self.client.delete_access_entry().cluster_name(cluster).principal_arn(principal);
                let result = self.call("eks:DeleteAccessEntry", &subject, || request.clone().send()).await;
                result.err().filter(|failure| !failure.is_not_found())
            }
        };
        match failure {
            None => Ok(None),
            Some(failure) if matches!(failure.error, AwsError::Entry(_)) => Err(failure.error.into()),
            Some(failure) if failure.is_not_found() => Err(EntryWriteError::NotFound),
            Some(failure) => Err(failure.error.into()),
        }
    }

    /// Creates an entry. EKS answers alike if the entry exists and if it makes another change to the cluster.
    async fn create(&self, principal: &str, call: &EntryCall) -> Result<Option<String>, EntryWriteError> {
        let EntryCall::Create { entry_type, username, groups, tags } = call else {
            return Err(AwsError::InvalidResponse { action: CREATE }.into());
        };
        let subject = CallSubject { principal: Some(principal), ..self.subject() };
        let request = self.client.create_access_entry().cluster_name(&self.cluster).principal_arn(principal);
        let request = request.r#type(entry_type.as_str()).set_username(username.clone());
        let request = request.set_kubernetes_groups(Some(groups.clone()).filter(|groups| !groups.is_empty()));
        let request = tags.iter().fold(request, |request, (key, value)| request.tags(key, value));
        let mut pause = Pause::new();
        let started = Instant::now();
        loop {
            let failure = match self.call(CREATE, &subject, || request.clone().send()).await {
                Ok(answer) => {
                    let arn = answer.access_entry().and_then(|entry| entry.access_entry_arn());
                    return Ok(Some(arn.ok_or(AwsError::InvalidResponse { action: CREATE })?.to_owned()));
                }
                Err(failure) => failure,
            };
            if !failure.is_in_use() {
                return Err(failure.error.into());
            }
            if self.read_entry(principal).await.map_err(EntryReadError::into_error)?.is_some() {
                return Err(EntryWriteError::AlreadyExists);
            }
            let delay = pause.next_delay();
            if started.elapsed() + delay > self.patience {
                let (cluster, after) = (self.cluster.clone(), self.patience);
                return Err(AwsError::from(EntryError::Busy { cluster, after }).into());
            }
            tokio::time::sleep(delay).await;
        }
    }
}

/// Returns the token of the page after the one that `asked` was for. `None` after the last page.
///
/// # Errors
/// If the list has no end: the token is the same again, or too much is `listed` already.
fn next_page(
    action: &'static str,
    answered: Option<&str>,
    asked: Option<&str>,
    listed: usize,
) -> Result<Option<String>, AwsError> {
    match answered.filter(|token| !token.is_empty()) {
        Some(token) if Some(token) == asked || listed > MAX_LISTED => Err(AwsError::InvalidResponse { action }),
        token => Ok(token.map(str::to_owned)),
    }
}

fn to_sdk_scope(scope: &AccessScope) -> SdkScope {
    match scope {
        AccessScope::Cluster => SdkScope::builder().r#type(AccessScopeType::Cluster).build(),
        AccessScope::Namespaces(names) => SdkScope::builder()
            .r#type(AccessScopeType::Namespace)
            .set_namespaces(Some(names.iter().cloned().collect()))
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_permissions_are_named_together() {
        let denied = |action| AwsError::AccessDenied {
            action,
            resource: "the cluster prod in eu-west-1".to_owned(),
            caller: None,
            denied_by: None,
        };
        let both = EntryReadError(vec![denied(DESCRIBE), denied(LIST_POLICIES)]);
        assert_eq!(
            both.denied_reason().unwrap(),
            "you are not allowed to call eks:DescribeAccessEntry and eks:ListAssociatedAccessPolicies for the cluster \
             prod in eu-west-1"
        );
        let mixed = EntryReadError(vec![denied(DESCRIBE), AwsError::Throttled { action: LIST_POLICIES }]);
        assert_eq!(mixed.denied_reason(), None);
        assert_eq!(mixed.into_error(), AwsError::Throttled { action: LIST_POLICIES });
    }
}
