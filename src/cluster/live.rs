//! The live cluster: lists in parallel, one write at a time, and no question but the ones of the port.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiRequest, ApiResponse};
use super::list::{list_all, to_snapshot_object};
use super::review::CredentialFreshness;
use super::{
    AccessReviewStatus, CallerCheck, ClusterError, LeaseClient, ReadCluster, UserInfo, WriteCluster, WriteOutcome,
    review, terminating_outcome,
};
use crate::access::Request;
use crate::guard::NodeSample;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::object::{Binding, ObjectError, RawBinding, RawNamespace, RawRole, Role};
use crate::state::object_meta::{FIELD_MANAGER, ObjectMeta};
use crate::state::write::{
    ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, apply_merge_patch, prune_empty,
};

/// Names of RBAC objects may hold blanks, colons and more.
pub(super) const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A right that this run has just granted itself is not seen by the authorizer's informers at once.
const MAX_FORBIDDEN_TRIES: u32 = 3;
const INFORMER_LAG: std::time::Duration = std::time::Duration::from_millis(400);

/// What the admission plugin NamespaceLifecycle says of a namespace that ends.
const NAMESPACE_TERMINATING: &str = "because it is being terminated";

/// A cluster behind an API server.
pub(crate) struct LiveCluster {
    pub(super) client: Arc<ApiClient>,
}

/// The path of all objects of a kind, or of those of a namespace.
pub(super) fn collection_path(kind: ObjectKind, namespace: Option<&str>) -> String {
    let root = match kind {
        ObjectKind::Namespace | ObjectKind::ConfigMap => "/api/v1",
        ObjectKind::ClusterRole | ObjectKind::Role | ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            "/apis/rbac.authorization.k8s.io/v1"
        }
    };
    match namespace {
        Some(namespace) => {
            format!("{root}/namespaces/{}/{}", utf8_percent_encode(namespace, PATH_SEGMENT), kind.resource())
        }
        None => format!("{root}/{}", kind.resource()),
    }
}

pub(super) fn object_path(key: &ObjectKey) -> String {
    format!("{}/{}", collection_path(key.kind(), key.namespace()), utf8_percent_encode(key.name(), PATH_SEGMENT))
}

impl LiveCluster {
    pub(crate) fn new(connection: ApiClient) -> Self {
        Self { client: Arc::new(connection) }
    }

    pub(crate) fn lease_client(&self, namespace: &str) -> LeaseClient {
        LeaseClient::new(self.client.clone(), namespace)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Self::get_object(&self.client, key).await
    }

    async fn read_aws_auth(connection: Arc<ApiClient>) -> Result<Option<AwsAuth>, ClusterError> {
        let key = ObjectKey::aws_auth();
        let object = Self::get_object(&connection, &key).await?;
        let read = object.map(|object| AwsAuth::from_json(&object)).transpose();
        read.map_err(|fault| ClusterError::InvalidResponse { what: key.to_string(), why: fault.to_string() })
    }

    async fn get_object(connection: &ApiClient, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        let what = format!("get {key}");
        let ask = ApiRequest { method: "GET", path: &object_path(key), body: None, operation: what.clone() };
        let answer = connection.send(&ask).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => answer.parse_json(&what).map(Some),
            _ => Err(response_error("get", &key.to_string(), &answer)),
        }
    }

    async fn list_roles(connection: Arc<ApiClient>, kind: ObjectKind) -> Result<Vec<(ObjectKey, Role)>, ClusterError> {
        list_all(&connection, kind, |raw: RawRole| {
            let key = ObjectKey::new(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name);
            Ok(key.map(|key| (key, Role::from(raw))))
        })
        .await
    }

    async fn list_bindings(
        connection: Arc<ApiClient>,
        kind: ObjectKind,
    ) -> Result<Vec<(ObjectKey, Binding)>, ClusterError> {
        list_all(&connection, kind, |raw: RawBinding| {
            let Some(key) = ObjectKey::new(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name) else {
                return Ok(None);
            };
            let unreadable =
                |fault: ObjectError| ClusterError::InvalidResponse { what: key.to_string(), why: fault.to_string() };
            let binding = raw.into_binding().map_err(unreadable)?;
            Ok(Some((key, binding)))
        })
        .await
    }

    /// Whether the object is now as this write would have left it, in which case an earlier try made it so.
    async fn find_earlier_outcome(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<Option<WriteOutcome>, ClusterError> {
        let now = self.get(key).await?;
        let same_object = |object: &Value| match expected {
            ResolvedPrecondition::Version(ObjectVersion { uid: Some(uid), .. }) => {
                object.pointer("/metadata/uid") == Some(&json!(uid))
            }
            ResolvedPrecondition::Version(_) | ResolvedPrecondition::Absent => true,
        };
        Ok(match (write, now) {
            (WriteRequest::Create(body) | WriteRequest::Patch(body), Some(object)) if same_object(&object) => {
                let mut with = object.clone();
                apply_merge_patch(&mut with, body);
                (prune_empty(&with) == prune_empty(&object))
                    .then(|| WriteOutcome::Stored(ObjectVersion::from_object(&object)))
            }
            (WriteRequest::Delete, None) => Some(WriteOutcome::Deleted),
            (WriteRequest::Delete, Some(object)) if same_object(&object) => terminating_outcome(&object),
            (WriteRequest::Create(_) | WriteRequest::Patch(_) | WriteRequest::Delete, _) => None,
        })
    }
}

/// Method, verb and path of a write.
fn method_and_path(key: &ObjectKey, write: &WriteRequest) -> (&'static str, String) {
    let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
    match write {
        WriteRequest::Create(_) => ("POST", format!("{}?{query}", collection_path(key.kind(), key.namespace()))),
        WriteRequest::Patch(_) => ("PATCH", format!("{}?{query}", object_path(key))),
        WriteRequest::Delete => ("DELETE", object_path(key)),
    }
}

/// From `… create new content in namespace x because …`.
fn parse_namespace(message: &str) -> String {
    message.split(" in namespace ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

/// What went wrong with a request, by its status and the server's words.
pub(super) fn response_error(verb: &str, what: &str, answer: &ApiResponse) -> ClusterError {
    let said = answer.parse_status();
    let refused = |refusal: WriteError| ClusterError::Rejected { object: what.to_owned(), refusal };
    match answer.status {
        403 if said.message.contains(NAMESPACE_TERMINATING) => {
            refused(WriteError::NamespaceTerminating(parse_namespace(&said.message)))
        }
        403 => ClusterError::Forbidden { verb: verb.to_owned(), resource: what.to_owned(), why: said.message },
        404 if said.message.starts_with("namespaces ") => {
            refused(WriteError::NamespaceNotFound(said.message.split('"').nth(1).unwrap_or_default().to_owned()))
        }
        404 => refused(WriteError::NotFound),
        409 if said.message.contains("object is being deleted") => refused(WriteError::BeingDeleted),
        409 if said.reason == "AlreadyExists" => refused(WriteError::AlreadyExists),
        409 => refused(WriteError::Conflict),
        400 | 413 | 422 => refused(WriteError::Invalid(said.message)),
        status => ClusterError::UnexpectedStatus { status, what: format!("{verb} {what}"), why: said.message },
    }
}

impl ReadCluster for LiveCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        let spawned = |kind| tokio::spawn(Self::list_roles(self.client.clone(), kind));
        let (cluster_roles, roles) = (spawned(ObjectKind::ClusterRole), spawned(ObjectKind::Role));
        let spawned = |kind| tokio::spawn(Self::list_bindings(self.client.clone(), kind));
        let (cluster_bindings, bindings) = (spawned(ObjectKind::ClusterRoleBinding), spawned(ObjectKind::RoleBinding));
        let connection = self.client.clone();
        let namespaces = tokio::spawn(async move {
            list_all(&connection, ObjectKind::Namespace, |raw: RawNamespace| {
                Ok(Some((raw.metadata.name.clone(), ObjectMeta::from(raw.metadata))))
            })
            .await
        });
        // A large one takes as long to read as a list, and the policy is read meanwhile.
        let aws_auth = tokio::spawn(Self::read_aws_auth(self.client.clone()));
        let mut state = State { aws_auth: flatten_join(aws_auth.await)?, ..State::default() };
        for (name, meta) in flatten_join(namespaces.await)? {
            if name == "kube-system" {
                state.cluster_uid = meta.uid;
            }
            state.namespaces.insert(name, meta.labels);
        }
        // Collected at once, maps are built without gaps.
        state.roles = flatten_join(cluster_roles.await)?.into_iter().chain(flatten_join(roles.await)?).collect();
        state.bindings =
            flatten_join(cluster_bindings.await)?.into_iter().chain(flatten_join(bindings.await)?).collect();
        Ok(state)
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        let mut out: BTreeMap<ObjectKey, Value> = BTreeMap::new();
        for kind in ObjectKind::ALL {
            if kind == ObjectKind::ConfigMap {
                let key = ObjectKey::aws_auth();
                out.extend(self.get(&key).await?.map(|object| (key, to_snapshot_object(kind, object))));
                continue;
            }
            for item in list_all(&self.client, kind, |item: Value| Ok(Some(item))).await? {
                let text = |field: &str| item.pointer(field).and_then(Value::as_str).map(str::to_owned);
                let key = text("/metadata/name")
                    .and_then(|name| ObjectKey::new(kind, text("/metadata/namespace").as_deref(), &name));
                out.extend(key.map(|key| (key, to_snapshot_object(kind, item))));
            }
        }
        Ok(out.into_values().collect())
    }

    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError> {
        review::self_subject_review(&self.client).await.map(Some)
    }

    async fn sample_nodes(&self) -> Result<Option<NodeSample>, ClusterError> {
        let both = (sample_node_names(&self.client, false), sample_node_names(&self.client, true));
        let (ec2, fargate) = futures::future::try_join(both.0, both.1).await?;
        Ok(Some(NodeSample { ec2, fargate }))
    }

    async fn check_own_access(&self, requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        review::self_subject_access_reviews(&self.client, requests).await.map(Some)
    }
}

/// Some node names of those with or without the label that Fargate gives its own (EKS User Guide, "Fargate").
async fn sample_node_names(connection: &ApiClient, fargate: bool) -> Result<Vec<String>, ClusterError> {
    let (not, what) = (if fargate { "" } else { "!" }, "list nodes".to_owned());
    let path = format!("/api/v1/nodes?limit=3&labelSelector=eks.amazonaws.com%2Fcompute-type{not}%3Dfargate");
    let answer =
        connection.send(&ApiRequest { method: "GET", path: &path, body: None, operation: what.clone() }).await?;
    if !answer.is_success() {
        return Err(response_error("list", "nodes", &answer));
    }
    let list: Value = answer.parse_json(&what)?;
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(items.filter_map(|node| node.pointer("/metadata/name").and_then(Value::as_str)).map(str::to_owned).collect())
}

fn flatten_join<T>(end: Result<Result<T, ClusterError>, tokio::task::JoinError>) -> Result<T, ClusterError> {
    end.map_err(|error| ClusterError::InvalidResponse { what: "a list".to_owned(), why: error.to_string() })?
}

impl WriteCluster for LiveCluster {
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        let ((method, path), verb) = (method_and_path(key, write), write.verb());
        let body = write.body(expected);
        let ask = ApiRequest { method, path: &path, body: Some(&body), operation: format!("{verb} {key}") };
        let mut forbidden = 0;
        let answer = loop {
            let answer = self.client.send(&ask).await?;
            forbidden += 1;
            let lags = answer.status == 403 && !answer.parse_status().message.contains(NAMESPACE_TERMINATING);
            if !lags || forbidden >= MAX_FORBIDDEN_TRIES {
                break answer;
            }
            tokio::time::sleep(INFORMER_LAG).await;
        };
        if answer.is_success() {
            let object: Value = answer.parse_json(&ask.operation)?;
            return Ok(match write {
                WriteRequest::Delete => terminating_outcome(&object).unwrap_or(WriteOutcome::Deleted),
                // A patch that takes the last finalizer off.
                WriteRequest::Patch(_)
                    if terminating_outcome(&object) == Some(WriteOutcome::Terminating(Vec::new())) =>
                {
                    WriteOutcome::Deleted
                }
                WriteRequest::Create(_) | WriteRequest::Patch(_) => {
                    let version = ObjectVersion::from_object(&object);
                    let unchanged = matches!((expected, &version), (ResolvedPrecondition::Version(old), Some(new))
                        if old.resource_version == new.resource_version);
                    if unchanged { WriteOutcome::Unchanged(version) } else { WriteOutcome::Stored(version) }
                }
            });
        }
        if answer.may_have_been_applied
            && let Some(made) = self.find_earlier_outcome(key, write, expected).await?
        {
            return Ok(made);
        }
        Err(response_error(verb, &key.to_string(), &answer))
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        let ((method, path), verb) = (method_and_path(key, write), write.verb());
        let path = format!("{path}{}dryRun=All", if path.contains('?') { '&' } else { '?' });
        let mut body = write.body(expected);
        if *write == WriteRequest::Delete {
            // With options in its body a DELETE does not look at its query: it would delete.
            apply_merge_patch(&mut body, &json!({ "dryRun": ["All"] }));
        }
        let ask = ApiRequest { method, path: &path, body: Some(&body), operation: format!("{verb} {key}") };
        let answer = self.client.send(&ask).await?;
        if answer.is_success() { Ok(()) } else { Err(response_error(verb, &key.to_string(), &answer)) }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Ok(self.get(key).await?.map(|object| to_snapshot_object(key.kind(), object)))
    }

    async fn review_access(&self, asked: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        review::subject_access_review(&self.client, asked).await
    }

    async fn check_caller(
        &self,
        with: CredentialFreshness,
        needs: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        review::check_caller(&self.client, with, needs).await.map(Some)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        Ok(())
    }
}
