//! [`ReadCluster`] and [`WriteCluster`] for a running cluster, through its API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api_client::{ApiClient, ApiRequest, ApiResponse, invalid};
use super::discovery::read_resources;
use super::eks_entries::{EksObservation, EksStore, ExportedEntries};
use super::list::{ListBudget, list_all, to_snapshot_object};
use super::object_path::{PATH_SEGMENT, collection_path, escape_field_value, method_and_path, object_path};
use super::review::CredentialFreshness;
use super::safe_errors::describe_object_error;
use super::{
    AccessReviewStatus, CallerCheck, ClusterError, LeaseClient, ReadCluster, UserInfo, WriteCluster, WriteOutcome,
    review, terminating_outcome,
};
use crate::access::Request;
use crate::diagnostic::InternalError;
use crate::guard::NodeSample;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::auth_mode::ClusterAuthMode;
use crate::state::config_map::AwsAuth;
use crate::state::object::{Binding, RawBinding, RawNamespace, RawRole, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::write::{
    ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, apply_merge_patch, prune_empty,
};

/// How many times a write is tried if it is forbidden. The informers of the RBAC authorizer see a permission that this
/// apply has just granted to the caller only after a delay.
const MAX_FORBIDDEN_TRIES: u32 = 3;
const INFORMER_LAG: std::time::Duration = std::time::Duration::from_millis(400);

/// Part of the message of the admission plugin NamespaceLifecycle
/// (apiserver, pkg/admission/plugin/namespace/lifecycle/admission.go).
const NAMESPACE_TERMINATING: &str = "because it is being terminated";

/// A running cluster.
pub(crate) struct LiveCluster {
    pub(super) client: Arc<ApiClient>,
    /// What EKS keeps. `None` for a cluster that is not known to be one of EKS.
    eks: Option<Arc<EksStore>>,
}

impl LiveCluster {
    pub(super) fn new(client: ApiClient, eks: Option<EksStore>) -> Self {
        Self { client: Arc::new(client), eks: eks.map(Arc::new) }
    }

    /// # Errors
    /// If the cluster is not known to be one of EKS: only such a cluster has access entries.
    fn eks(&self) -> Result<&EksStore, ClusterError> {
        let eks = self.eks.as_deref();
        eks.ok_or_else(|| InternalError::new("an access entry of a cluster that is not of EKS").into())
    }

    /// Returns the access entries as documents of a snapshot.
    pub(super) async fn export_access_entries(&self) -> Result<ExportedEntries, ClusterError> {
        match &self.eks {
            Some(eks) => eks.export().await,
            None => Ok(ExportedEntries::default()),
        }
    }

    /// Reads the access entries and the mode alone.
    pub(super) async fn read_access_entries(&self) -> Result<State, ClusterError> {
        let mut state = State::default();
        if let Some(eks) = &self.eks {
            eks.observe().await?.into_state(&mut state);
        }
        Ok(state)
    }

    /// Changes the authentication mode of the cluster.
    pub(super) async fn change_auth_mode(&self, mode: &ClusterAuthMode) -> Result<(), ClusterError> {
        self.eks()?.change_auth_mode(mode).await
    }

    pub(crate) fn lease_client(&self, namespace: &str) -> LeaseClient {
        LeaseClient::new(self.client.clone(), namespace)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Self::get_object(&self.client, key).await
    }

    async fn read_aws_auth(client: Arc<ApiClient>) -> Result<Option<AwsAuth>, ClusterError> {
        let key = ObjectKey::aws_auth();
        let object = Self::get_object(&client, &key).await?;
        let aws_auth = object.map(|object| AwsAuth::from_json(&object)).transpose();
        let aws_auth = aws_auth.map_err(|error| invalid(&key.to_string(), &describe_object_error(&error)))?;
        aws_auth.iter().try_for_each(|aws_auth| require_version(&key, &aws_auth.meta))?;
        Ok(aws_auth)
    }

    async fn get_object(client: &ApiClient, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        let path = object_path(key);
        let request = ApiRequest { method: "GET", path: &path, body: None, operation: format!("get {key}") };
        let response = client.send(&request).await?;
        if response.is_object_not_found() {
            Ok(None)
        } else if response.is_success() {
            parse_written_object(key, &response, &request.operation).map(Some)
        } else {
            Err(response_error("get", &key.to_string(), &response))
        }
    }

    async fn list_roles(
        (client, budget): (Arc<ApiClient>, Arc<ListBudget>),
        kind: ObjectKind,
    ) -> Result<Vec<(ObjectKey, Role)>, ClusterError> {
        list_all(&client, kind, &budget, |raw: RawRole| {
            let key = item_key(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name)?;
            let role = Role::from(raw);
            require_version(&key, &role.meta)?;
            Ok((key, role))
        })
        .await
    }

    async fn list_bindings(
        (client, budget): (Arc<ApiClient>, Arc<ListBudget>),
        kind: ObjectKind,
    ) -> Result<Vec<(ObjectKey, Binding)>, ClusterError> {
        list_all(&client, kind, &budget, |raw: RawBinding| {
            let key = item_key(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name)?;
            let binding = raw.into_binding();
            let binding = binding.map_err(|error| invalid(&key.to_string(), &describe_object_error(&error)))?;
            require_version(&key, &binding.meta)?;
            Ok((key, binding))
        })
        .await
    }

    /// Returns the outcome of an earlier try of this write: set if the object now has the content that the write leads
    /// to.
    async fn find_earlier_outcome(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<Option<WriteOutcome>, ClusterError> {
        let current = self.get(key).await?;
        let same_object = |object: &Value| match expected {
            ResolvedPrecondition::Version(ObjectVersion { uid: Some(uid), .. }) => {
                object.pointer("/metadata/uid") == Some(&json!(uid))
            }
            ResolvedPrecondition::Version(_) | ResolvedPrecondition::Absent => true,
        };
        Ok(match (write, current) {
            (WriteRequest::Create(body) | WriteRequest::Patch(body), Some(object)) if same_object(&object) => {
                let mut patched = object.clone();
                apply_merge_patch(&mut patched, body);
                let is_written = prune_empty(&patched) == prune_empty(&object);
                let version = is_written.then(|| stored_version(&object, &format!("get {key}"))).transpose()?;
                version.map(WriteOutcome::Stored)
            }
            (WriteRequest::Delete, None) => Some(WriteOutcome::Deleted),
            (WriteRequest::Delete, Some(object)) if same_object(&object) => terminating_outcome(&object),
            (WriteRequest::Create(_) | WriteRequest::Patch(_) | WriteRequest::Delete, _) => None,
        })
    }
}

/// Returns the version of an object in a response. A later write to the object relies on it.
fn stored_version(object: &Value, operation: &str) -> Result<ObjectVersion, ClusterError> {
    ObjectVersion::from_object(object).ok_or_else(|| ClusterError::InvalidResponse {
        what: operation.to_owned(),
        why: "the object has no `metadata.resourceVersion`".to_owned(),
    })
}

/// Returns the key of an item of a list. An item without one is an error, because an object that is left out would
/// count as not existing.
fn item_key(kind: ObjectKind, namespace: Option<&str>, name: &str) -> Result<ObjectKey, ClusterError> {
    ObjectKey::new(kind, namespace, name).filter(|key| !key.name().is_empty()).ok_or_else(|| {
        let namespace = namespace.map(|namespace| format!(" in namespace `{namespace}`")).unwrap_or_default();
        let why = format!("an item has the name `{name}`{namespace}, which no {} can have", kind.as_str());
        ClusterError::InvalidResponse { what: format!("list {}", kind.resource()), why }
    })
}

/// A write without a version would be made whatever the object is by then.
fn require_version(key: &ObjectKey, meta: &ObjectMeta) -> Result<(), ClusterError> {
    if meta.resource_version.is_some() {
        return Ok(());
    }
    let why = format!("{key} has no `metadata.resourceVersion`");
    Err(ClusterError::InvalidResponse { what: format!("list {}", key.kind().resource()), why })
}

/// Returns the name of the namespace in `unable to create new content in namespace NAME because it is being
/// terminated`.
fn parse_namespace(message: &str) -> String {
    message.split(" in namespace ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

/// Converts an error response to a request on `object` by its status code and its Status message.
pub(super) fn response_error(verb: &str, object: &str, response: &ApiResponse) -> ClusterError {
    let status = response.parse_status();
    let rejected = |refusal: WriteError| ClusterError::Rejected { object: object.to_owned(), refusal };
    let unexpected =
        |why| ClusterError::UnexpectedStatus { status: response.status, what: format!("{verb} {object}"), why };
    match response.status {
        403 if status.message.contains(NAMESPACE_TERMINATING) => {
            rejected(WriteError::NamespaceTerminating(parse_namespace(&status.message)))
        }
        403 => ClusterError::Forbidden { verb: verb.to_owned(), resource: object.to_owned(), why: status.message },
        // A proxy, or a wrong address.
        404 | 409 if !status.is_status() => unexpected(status.message),
        404 if status.message.starts_with("namespaces ") => {
            rejected(WriteError::NamespaceNotFound(status.message.split('"').nth(1).unwrap_or_default().to_owned()))
        }
        404 => rejected(WriteError::NotFound),
        409 if status.message.contains("object is being deleted") => rejected(WriteError::BeingDeleted),
        409 if status.reason == "AlreadyExists" => rejected(WriteError::AlreadyExists),
        409 => rejected(WriteError::Conflict),
        400 | 413 | 422 => rejected(WriteError::Invalid(status.message)),
        _ => unexpected(status.message),
    }
}

impl ReadCluster for LiveCluster {
    async fn read_state(&self) -> Result<State, ClusterError> {
        let budget = Arc::new(ListBudget::new(self.client.settings().max_observation_bytes()));
        let source = || (self.client.clone(), budget.clone());
        let spawn_list = |kind| spawn_reader(Self::list_roles(source(), kind));
        let (cluster_roles, roles) = (spawn_list(ObjectKind::ClusterRole), spawn_list(ObjectKind::Role));
        let spawn_list = |kind| spawn_reader(Self::list_bindings(source(), kind));
        let (cluster_bindings, bindings) =
            (spawn_list(ObjectKind::ClusterRoleBinding), spawn_list(ObjectKind::RoleBinding));
        let (client, namespace_budget) = source();
        let namespaces = spawn_reader(async move {
            list_all(&client, ObjectKind::Namespace, &namespace_budget, |raw: RawNamespace| {
                Ok((raw.metadata.name.clone(), ObjectMeta::from(raw.metadata)))
            })
            .await
        });
        // A large aws-auth takes as long to read as a list, so it is read at the same time.
        let aws_auth = spawn_reader(Self::read_aws_auth(self.client.clone()));
        let client = self.client.clone();
        let resources = spawn_reader(async move { read_resources(&client).await });
        let eks = self.eks.clone();
        let eks = spawn_reader(async move {
            match eks {
                Some(eks) => eks.observe().await,
                None => Ok(EksObservation::default()),
            }
        });
        let mut state = State { aws_auth: aws_auth.await?, ..State::default() };
        state.resources = resources.await?;
        for (name, meta) in namespaces.await? {
            if name == "kube-system" {
                state.cluster_uid = meta.uid;
            }
            state.namespaces.insert(name, meta.labels);
        }
        // `BTreeMap` builds a compact tree from one `collect`, which repeated inserts do not.
        let (cluster_roles, roles) = (cluster_roles.await?, roles.await?);
        let (role_count, binding_lists) =
            (cluster_roles.len() + roles.len(), (cluster_bindings.await?, bindings.await?));
        state.roles = cluster_roles.into_iter().chain(roles).collect();
        let binding_count = binding_lists.0.len() + binding_lists.1.len();
        state.bindings = binding_lists.0.into_iter().chain(binding_lists.1).collect();
        if state.roles.len() + state.bindings.len() != role_count + binding_count {
            return Err(invalid("list roles and bindings", &"an object is listed twice"));
        }
        eks.await?.into_state(&mut state);
        Ok(state)
    }

    async fn export_objects(&self) -> Result<Vec<Value>, ClusterError> {
        let mut objects: BTreeMap<ObjectKey, Value> = BTreeMap::new();
        let budget = ListBudget::new(self.client.settings().max_observation_bytes());
        for kind in ObjectKind::KUBERNETES {
            if kind == ObjectKind::ConfigMap {
                let key = ObjectKey::aws_auth();
                objects.extend(self.get(&key).await?.map(|object| (key, to_snapshot_object(kind, object))));
                continue;
            }
            for item in list_all(&self.client, kind, &budget, |item: Value| Ok(to_snapshot_object(kind, item))).await? {
                let text = |field: &str| item.pointer(field).and_then(Value::as_str);
                let name = text("/metadata/name").unwrap_or_default();
                let key = item_key(kind, text("/metadata/namespace"), name)?;
                objects.insert(key, item);
            }
        }
        let discovery = read_resources(&self.client).await?.to_discovery_json();
        Ok(objects.into_values().chain(discovery).collect())
    }

    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError> {
        review::self_subject_review(&self.client).await.map(Some)
    }

    async fn sample_nodes(&self) -> Result<Option<NodeSample>, ClusterError> {
        let ec2 = sample_node_names(&self.client, false);
        let fargate = sample_node_names(&self.client, true);
        let (ec2, fargate) = futures::future::try_join(ec2, fargate).await?;
        Ok(Some(NodeSample { ec2, fargate }))
    }

    async fn check_own_access(&self, requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        let reviews = review::self_subject_access_reviews(&self.client, requests);
        self.client.settings().within_observation("your permissions", reviews).await.map(Some)
    }
}

/// Returns the names of a few nodes with or without the label that Fargate gives to its nodes (EKS User Guide,
/// "Fargate").
async fn sample_node_names(client: &ApiClient, fargate: bool) -> Result<Vec<String>, ClusterError> {
    let operator = if fargate { "%3D" } else { "!%3D" };
    let path = format!("/api/v1/nodes?limit=3&labelSelector=eks.amazonaws.com%2Fcompute-type{operator}fargate");
    let request = ApiRequest { method: "GET", path: &path, body: None, operation: "list nodes".to_owned() };
    let response = client.send(&request).await?;
    if !response.is_success() {
        return Err(response_error("list", "nodes", &response));
    }
    let list = response.parse_object("NodeList", &request.operation)?;
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(items.filter_map(|node| node.pointer("/metadata/name").and_then(Value::as_str)).map(str::to_owned).collect())
}

/// Runs a read in another thread. It ends when the result is dropped, so that a read that has failed or timed out leaves
/// no other one behind.
fn spawn_reader<T: Send + 'static>(
    reading: impl Future<Output = Result<T, ClusterError>> + Send + 'static,
) -> impl Future<Output = Result<T, ClusterError>> {
    let mut task = JoinSet::new();
    task.spawn(reading);
    async move {
        let joined = task.join_next().await.ok_or_else(|| InternalError::new("a list was not started"))?;
        joined.map_err(|error| InternalError::new(format!("a list was not completed: {error}")))?
    }
}

/// Returns the object in the response to a request for it, or to a write of it.
///
/// # Errors
/// If the response has another object.
fn parse_written_object(key: &ObjectKey, response: &ApiResponse, operation: &str) -> Result<Value, ClusterError> {
    let object = response.parse_object(key.kind().as_str(), operation)?;
    let text = |field: &str| object.pointer(field).and_then(Value::as_str);
    if text("/metadata/name") != Some(key.name()) || text("/metadata/namespace") != key.namespace() {
        return Err(invalid(operation, &"it is another object"));
    }
    Ok(object)
}

/// Returns the object in the response to a deletion, which is the deleted object or a Status.
fn parse_deleted_object(key: &ObjectKey, response: &ApiResponse, operation: &str) -> Result<Value, ClusterError> {
    let status = response.parse_object("Status", operation);
    let is_success = |status: &Value| status.get("status").and_then(Value::as_str) == Some("Success");
    match status {
        Ok(status) if is_success(&status) => Ok(status),
        Ok(_) | Err(_) => parse_written_object(key, response, operation),
    }
}

impl WriteCluster for LiveCluster {
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        if key.kind() == ObjectKind::AccessEntry {
            return self.eks()?.write(key, write, expected).await;
        }
        let ((method, path), verb) = (method_and_path(key, write), write.verb());
        let body = write.body(expected)?;
        let request = ApiRequest { method, path: &path, body: Some(&body), operation: format!("{verb} {key}") };
        let mut tries = 0;
        let response = loop {
            let response = self.client.send(&request).await?;
            tries += 1;
            let is_forbidden =
                response.status == 403 && !response.parse_status().message.contains(NAMESPACE_TERMINATING);
            if !is_forbidden || tries >= MAX_FORBIDDEN_TRIES {
                break response;
            }
            tokio::time::sleep(INFORMER_LAG).await;
        };
        if response.is_success() {
            let object = match write {
                WriteRequest::Delete => parse_deleted_object(key, &response, &request.operation)?,
                WriteRequest::Create(_) | WriteRequest::Patch(_) => {
                    parse_written_object(key, &response, &request.operation)?
                }
            };
            return Ok(match write {
                WriteRequest::Delete => terminating_outcome(&object).unwrap_or(WriteOutcome::Deleted),
                // A patch that removes the last finalizer of an object being deleted.
                WriteRequest::Patch(_)
                    if terminating_outcome(&object) == Some(WriteOutcome::Terminating(Vec::new())) =>
                {
                    WriteOutcome::Deleted
                }
                WriteRequest::Create(_) | WriteRequest::Patch(_) => {
                    let version = stored_version(&object, &request.operation)?;
                    let unchanged = matches!(expected, ResolvedPrecondition::Version(old)
                        if old.resource_version == version.resource_version);
                    if unchanged { WriteOutcome::Unchanged(version) } else { WriteOutcome::Stored(version) }
                }
            });
        }
        if response.may_have_been_applied
            && let Some(outcome) = self.find_earlier_outcome(key, write, expected).await?
        {
            return Ok(outcome);
        }
        Err(response_error(verb, &key.to_string(), &response))
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        if key.kind() == ObjectKind::AccessEntry {
            return self.eks()?.dry_run(key, write, expected).await;
        }
        let ((method, path), verb) = (method_and_path(key, write), write.verb());
        let path = format!("{path}{}dryRun=All", if path.contains('?') { '&' } else { '?' });
        let mut body = write.body(expected)?;
        if *write == WriteRequest::Delete {
            // If a DELETE has options in its body, the API server ignores the query and would delete the object
            // (apiserver, pkg/endpoints/handlers/delete.go, `DeleteResource`).
            apply_merge_patch(&mut body, &json!({ "dryRun": ["All"] }));
        }
        let request = ApiRequest { method, path: &path, body: Some(&body), operation: format!("{verb} {key}") };
        let response = self.client.send(&request).await?;
        if !response.is_success() {
            return Err(response_error(verb, &key.to_string(), &response));
        }
        match write {
            WriteRequest::Delete => parse_deleted_object(key, &response, &request.operation).map(drop),
            WriteRequest::Create(_) | WriteRequest::Patch(_) => {
                parse_written_object(key, &response, &request.operation).map(drop)
            }
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        if key.kind() == ObjectKind::AccessEntry {
            return Ok(self.eks()?.read(key.name()).await?.map(|entry| entry.to_json()));
        }
        Ok(self.get(key).await?.map(|object| to_snapshot_object(key.kind(), object)))
    }

    /// Uses a list of one object, because every runner has the permission to list and may lack the one to get.
    async fn read_with_managers(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        let name = escape_field_value(key.name());
        let selector = format!("metadata.name={name}");
        let selector = utf8_percent_encode(&selector, PATH_SEGMENT);
        let path = format!("{}?fieldSelector={selector}", collection_path(key.kind(), key.namespace()));
        let operation = format!("list {} named `{}`", key.kind().resource(), key.name());
        let request = ApiRequest { method: "GET", path: &path, body: None, operation };
        let response = self.client.send(&request).await?;
        if !response.is_success() {
            return Err(response_error("list", &key.to_string(), &response));
        }
        let mut list = response.parse_object(&format!("{}List", key.kind().as_str()), &request.operation)?;
        let Some(items) = list.get_mut("items").filter(|items| items.is_array() || items.is_null()) else {
            let why = "it has no `items`".to_owned();
            return Err(ClusterError::InvalidResponse { what: request.operation, why });
        };
        let mut found = items.as_array_mut().map(std::mem::take).unwrap_or_default().into_iter();
        let is_key = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str) == Some(key.name());
        Ok(found.find(is_key))
    }

    async fn review_access(&self, probe: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        review::subject_access_review(&self.client, probe).await
    }

    async fn check_caller(
        &self,
        freshness: CredentialFreshness,
        requests: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        review::check_caller(&self.client, freshness, requests).await.map(Some)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        Ok(())
    }
}
