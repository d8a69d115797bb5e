//! The live cluster: lists in parallel, one write at a time, and no question but the ones of the port.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::connection::{Answer, Ask, Connection};
use super::list::{exported, list};
use super::review::Credentials;
use super::{Caller, ClusterError, Leases, ReadCluster, Ruling, Standing, WriteCluster, Written, review, waiting};
use crate::access::Request;
use crate::guard::Nodes;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::Await;
use crate::state::State;
use crate::state::mapping::AwsAuth;
use crate::state::meta::{FIELD_MANAGER, Meta};
use crate::state::object::{Binding, ObjectFault, RawBinding, RawNamespace, RawRole, Role};
use crate::state::write::{Expected, Refusal, Version, Write, merge, without_empty};

/// Names of RBAC objects may hold blanks, colons and more.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A right that this run has just granted itself is not seen by the authorizer's informers at once.
const FORBIDDEN_TRIES: u32 = 3;
const INFORMER_LAG: std::time::Duration = std::time::Duration::from_millis(400);

/// What the admission plugin NamespaceLifecycle says of a namespace that ends.
const ENDING: &str = "because it is being terminated";

/// A cluster behind an API server.
pub(crate) struct LiveCluster {
    pub(super) connection: Arc<Connection>,
}

/// The path of all objects of a kind, or of those of a namespace.
pub(super) fn collection(kind: ObjectKind, namespace: Option<&str>) -> String {
    let root = match kind {
        ObjectKind::Namespace | ObjectKind::ConfigMap => "/api/v1",
        ObjectKind::ClusterRole | ObjectKind::Role | ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            "/apis/rbac.authorization.k8s.io/v1"
        }
    };
    match namespace {
        Some(namespace) => {
            format!("{root}/namespaces/{}/{}", utf8_percent_encode(namespace, SEGMENT), kind.resource())
        }
        None => format!("{root}/{}", kind.resource()),
    }
}

pub(super) fn path(key: &ObjectKey) -> String {
    format!("{}/{}", collection(key.kind(), key.namespace()), utf8_percent_encode(key.name(), SEGMENT))
}

impl LiveCluster {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection: Arc::new(connection) }
    }

    pub(crate) fn leases(&self, namespace: &str) -> Leases {
        Leases::new(self.connection.clone(), namespace)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Self::got(&self.connection, key).await
    }

    async fn aws_auth(connection: Arc<Connection>) -> Result<Option<AwsAuth>, ClusterError> {
        let key = ObjectKey::aws_auth();
        let object = Self::got(&connection, &key).await?;
        let read = object.map(|object| AwsAuth::from_json(&object)).transpose();
        read.map_err(|fault| ClusterError::Unreadable { what: key.to_string(), why: fault.to_string() })
    }

    async fn got(connection: &Connection, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        let what = format!("get {key}");
        let ask = Ask { method: "GET", path: &path(key), body: None, what: what.clone() };
        let answer = connection.send(&ask).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => answer.read(&what).map(Some),
            _ => Err(failed("get", &key.to_string(), &answer)),
        }
    }

    async fn roles(connection: Arc<Connection>, kind: ObjectKind) -> Result<Vec<(ObjectKey, Role)>, ClusterError> {
        list(&connection, kind, |raw: RawRole| {
            let key = ObjectKey::new(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name);
            Ok(key.map(|key| (key, Role::from(raw))))
        })
        .await
    }

    async fn bindings(
        connection: Arc<Connection>,
        kind: ObjectKind,
    ) -> Result<Vec<(ObjectKey, Binding)>, ClusterError> {
        list(&connection, kind, |raw: RawBinding| {
            let Some(key) = ObjectKey::new(kind, raw.metadata.namespace.as_deref(), &raw.metadata.name) else {
                return Ok(None);
            };
            let unreadable =
                |fault: ObjectFault| ClusterError::Unreadable { what: key.to_string(), why: fault.to_string() };
            let binding = raw.into_binding().map_err(unreadable)?;
            Ok(Some((key, binding)))
        })
        .await
    }

    /// Whether the object is now as this write would have left it, in which case an earlier try made it so.
    async fn was_made(
        &self,
        key: &ObjectKey,
        write: &Write,
        expected: &Expected,
    ) -> Result<Option<Written>, ClusterError> {
        let now = self.get(key).await?;
        let same_object = |object: &Value| match expected {
            Expected::Version(Version { uid: Some(uid), .. }) => object.pointer("/metadata/uid") == Some(&json!(uid)),
            Expected::Version(_) | Expected::Absent => true,
        };
        Ok(match (write, now) {
            (Write::Create(body) | Write::Patch(body), Some(object)) if same_object(&object) => {
                let mut with = object.clone();
                merge(&mut with, body);
                (without_empty(&with) == without_empty(&object)).then(|| Written::Stored(Version::of(&object)))
            }
            (Write::Delete, None) => Some(Written::Deleted),
            (Write::Delete, Some(object)) if same_object(&object) => waiting(&object),
            (Write::Create(_) | Write::Patch(_) | Write::Delete, _) => None,
        })
    }
}

/// Method, verb and path of a write.
fn request(key: &ObjectKey, write: &Write) -> (&'static str, String) {
    let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
    match write {
        Write::Create(_) => ("POST", format!("{}?{query}", collection(key.kind(), key.namespace()))),
        Write::Patch(_) => ("PATCH", format!("{}?{query}", path(key))),
        Write::Delete => ("DELETE", path(key)),
    }
}

/// From `… create new content in namespace x because …`.
fn namespace_of(message: &str) -> String {
    message.split(" in namespace ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

/// What went wrong with a request, by its status and the server's words.
pub(super) fn failed(verb: &str, what: &str, answer: &Answer) -> ClusterError {
    let said = answer.failure();
    let refused = |refusal: Refusal| ClusterError::Refused { object: what.to_owned(), refusal };
    match answer.status {
        403 if said.message.contains(ENDING) => refused(Refusal::NamespaceEnding(namespace_of(&said.message))),
        403 => ClusterError::Forbidden { verb: verb.to_owned(), resource: what.to_owned(), why: said.message },
        404 if said.message.starts_with("namespaces ") => {
            refused(Refusal::NamespaceNotFound(said.message.split('"').nth(1).unwrap_or_default().to_owned()))
        }
        404 => refused(Refusal::NotFound),
        409 if said.message.contains("object is being deleted") => refused(Refusal::BeingDeleted),
        409 if said.reason == "AlreadyExists" => refused(Refusal::AlreadyExists),
        409 => refused(Refusal::Conflict),
        400 | 413 | 422 => refused(Refusal::Invalid(said.message)),
        status => ClusterError::Answer { status, what: format!("{verb} {what}"), why: said.message },
    }
}

impl ReadCluster for LiveCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        let spawned = |kind| tokio::spawn(Self::roles(self.connection.clone(), kind));
        let (cluster_roles, roles) = (spawned(ObjectKind::ClusterRole), spawned(ObjectKind::Role));
        let spawned = |kind| tokio::spawn(Self::bindings(self.connection.clone(), kind));
        let (cluster_bindings, bindings) = (spawned(ObjectKind::ClusterRoleBinding), spawned(ObjectKind::RoleBinding));
        let connection = self.connection.clone();
        let namespaces = tokio::spawn(async move {
            list(&connection, ObjectKind::Namespace, |raw: RawNamespace| {
                Ok(Some((raw.metadata.name.clone(), Meta::from(raw.metadata))))
            })
            .await
        });
        // A large one takes as long to read as a list, and the policy is read meanwhile.
        let aws_auth = tokio::spawn(Self::aws_auth(self.connection.clone()));
        let mut state = State { aws_auth: joined(aws_auth.await)?, ..State::default() };
        for (name, meta) in joined(namespaces.await)? {
            if name == "kube-system" {
                state.cluster_uid = meta.uid;
            }
            state.namespaces.insert(name, meta.labels);
        }
        // Collected at once, maps are built without gaps.
        state.roles = joined(cluster_roles.await)?.into_iter().chain(joined(roles.await)?).collect();
        state.bindings = joined(cluster_bindings.await)?.into_iter().chain(joined(bindings.await)?).collect();
        Ok(state)
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        let mut out: BTreeMap<ObjectKey, Value> = BTreeMap::new();
        for kind in ObjectKind::ALL {
            if kind == ObjectKind::ConfigMap {
                let key = ObjectKey::aws_auth();
                out.extend(self.get(&key).await?.map(|object| (key, exported(kind, object))));
                continue;
            }
            for item in list(&self.connection, kind, |item: Value| Ok(Some(item))).await? {
                let text = |field: &str| item.pointer(field).and_then(Value::as_str).map(str::to_owned);
                let key = text("/metadata/name")
                    .and_then(|name| ObjectKey::new(kind, text("/metadata/namespace").as_deref(), &name));
                out.extend(key.map(|key| (key, exported(kind, item))));
            }
        }
        Ok(out.into_values().collect())
    }

    async fn whoami(&self) -> Result<Option<Caller>, ClusterError> {
        review::caller(&self.connection).await.map(Some)
    }

    async fn nodes(&self) -> Result<Option<Nodes>, ClusterError> {
        let both = (some_nodes(&self.connection, false), some_nodes(&self.connection, true));
        let (ec2, fargate) = futures::future::try_join(both.0, both.1).await?;
        Ok(Some(Nodes { ec2, fargate }))
    }

    async fn allows(&self, requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        review::own(&self.connection, requests).await.map(Some)
    }
}

/// Some node names of those with or without the label that Fargate gives its own (EKS User Guide, "Fargate").
async fn some_nodes(connection: &Connection, fargate: bool) -> Result<Vec<String>, ClusterError> {
    let (not, what) = (if fargate { "" } else { "!" }, "list nodes".to_owned());
    let path = format!("/api/v1/nodes?limit=3&labelSelector=eks.amazonaws.com%2Fcompute-type{not}%3Dfargate");
    let answer = connection.send(&Ask { method: "GET", path: &path, body: None, what: what.clone() }).await?;
    if !answer.is_success() {
        return Err(failed("list", "nodes", &answer));
    }
    let list: Value = answer.read(&what)?;
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(items.filter_map(|node| node.pointer("/metadata/name").and_then(Value::as_str)).map(str::to_owned).collect())
}

fn joined<T>(end: Result<Result<T, ClusterError>, tokio::task::JoinError>) -> Result<T, ClusterError> {
    end.map_err(|error| ClusterError::Unreadable { what: "a list".to_owned(), why: error.to_string() })?
}

impl WriteCluster for LiveCluster {
    async fn write(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<Written, ClusterError> {
        let ((method, path), verb) = (request(key, write), write.verb());
        let body = write.body(expected);
        let ask = Ask { method, path: &path, body: Some(&body), what: format!("{verb} {key}") };
        let mut forbidden = 0;
        let answer = loop {
            let answer = self.connection.send(&ask).await?;
            forbidden += 1;
            let lags = answer.status == 403 && !answer.failure().message.contains(ENDING);
            if !lags || forbidden >= FORBIDDEN_TRIES {
                break answer;
            }
            tokio::time::sleep(INFORMER_LAG).await;
        };
        if answer.is_success() {
            let object: Value = answer.read(&ask.what)?;
            return Ok(match write {
                Write::Delete => waiting(&object).unwrap_or(Written::Deleted),
                // A patch that takes the last finalizer off.
                Write::Patch(_) if waiting(&object) == Some(Written::Waiting(Vec::new())) => Written::Deleted,
                Write::Create(_) | Write::Patch(_) => {
                    let version = Version::of(&object);
                    let unchanged = matches!((expected, &version), (Expected::Version(old), Some(new))
                        if old.resource_version == new.resource_version);
                    if unchanged { Written::Unchanged(version) } else { Written::Stored(version) }
                }
            });
        }
        if answer.after_uncertainty
            && let Some(made) = self.was_made(key, write, expected).await?
        {
            return Ok(made);
        }
        Err(failed(verb, &key.to_string(), &answer))
    }

    async fn rehearse(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<(), ClusterError> {
        let ((method, path), verb) = (request(key, write), write.verb());
        let path = format!("{path}{}dryRun=All", if path.contains('?') { '&' } else { '?' });
        let mut body = write.body(expected);
        if *write == Write::Delete {
            // With options in its body a DELETE does not look at its query: it would delete.
            merge(&mut body, &json!({ "dryRun": ["All"] }));
        }
        let ask = Ask { method, path: &path, body: Some(&body), what: format!("{verb} {key}") };
        let answer = self.connection.send(&ask).await?;
        if answer.is_success() { Ok(()) } else { Err(failed(verb, &key.to_string(), &answer)) }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Ok(self.get(key).await?.map(|object| exported(key.kind(), object)))
    }

    async fn review(&self, asked: &Await) -> Result<Ruling, ClusterError> {
        review::of(&self.connection, asked).await
    }

    async fn standing(&self, with: Credentials, needs: &[Request]) -> Result<Option<Standing>, ClusterError> {
        review::standing(&self.connection, with, needs).await.map(Some)
    }

    async fn finish(&self) -> Result<(), ClusterError> {
        Ok(())
    }
}
