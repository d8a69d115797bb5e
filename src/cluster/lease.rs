//! The Lease by which two applies keep out of each other's way: read, made, patched, each under its version.
//!
//! It keeps rolecall from rolecall alone; against everybody else stand the preconditions of the writes.

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::ClusterError;
use super::api_client::{ApiClient, ApiRequest, ApiResponse};
use super::live::{PATH_SEGMENT, response_error};
use crate::state::object_meta::FIELD_MANAGER;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteRequest};

const LEASE_NAME: &str = "rolecall";

/// The Lease of one cluster.
#[derive(Clone)]
pub(crate) struct LeaseClient {
    client: Arc<ApiClient>,
    namespace: String,
}

/// The Lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) version: ObjectVersion,
    /// Empty: nobody has it.
    pub(crate) holder: String,
    /// Since when, as its holder wrote it.
    pub(crate) acquire_time: Option<String>,
    /// What changes as long as its holder lives.
    pub(crate) renew_time: Option<String>,
    pub(crate) duration_seconds: u64,
    transitions: u64,
}

/// A MicroTime: exactly six digits, or the API server takes it for no time.
fn format_micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

impl Lease {
    fn from_json(object: &Value) -> Option<Self> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| object.pointer(field).and_then(Value::as_u64).unwrap_or_default();
        Some(Self {
            version: ObjectVersion::from_object(object)?,
            holder: text("/spec/holderIdentity").unwrap_or_default(),
            acquire_time: text("/spec/acquireTime"),
            renew_time: text("/spec/renewTime"),
            duration_seconds: number("/spec/leaseDurationSeconds"),
            transitions: number("/spec/leaseTransitions"),
        })
    }
}

impl LeaseClient {
    pub(super) fn new(connection: Arc<ApiClient>, namespace: &str) -> Self {
        Self { client: connection, namespace: namespace.to_owned() }
    }

    /// `kube-system/rolecall`.
    pub(crate) fn qualified_name(&self) -> String {
        format!("{}/{LEASE_NAME}", self.namespace)
    }

    fn collection_path(&self) -> String {
        let namespace = utf8_percent_encode(&self.namespace, PATH_SEGMENT);
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    }

    pub(crate) async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        let path = format!("{}/{LEASE_NAME}", self.collection_path());
        let answer = self.send("GET", "get", &path, None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        self.parse_response("get", &answer).map(Some)
    }

    /// Makes it for a holder.
    pub(crate) async fn create(&self, holder: &str, seconds: u64, now: Timestamp) -> Result<Lease, ClusterError> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": LEASE_NAME, "namespace": self.namespace },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": seconds,
                "acquireTime": format_micro_time(now), "renewTime": format_micro_time(now), "leaseTransitions": 0,
            },
        });
        let answer = self.send("POST", "create", &self.collection_path(), Some(&body)).await?;
        self.parse_response("create", &answer)
    }

    /// Takes over what nobody has any more.
    pub(crate) async fn take_over(
        &self,
        found: &Lease,
        holder: &str,
        seconds: u64,
        now: Timestamp,
    ) -> Result<Lease, ClusterError> {
        let spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "acquireTime": format_micro_time(now), "renewTime": format_micro_time(now), "leaseTransitions": found.transitions + 1,
        });
        self.patch(found, spec).await
    }

    pub(crate) async fn renew(&self, held: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(held, json!({ "renewTime": format_micro_time(now) })).await
    }

    pub(crate) async fn release(&self, held: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(held, json!({ "holderIdentity": "", "renewTime": format_micro_time(now) })).await
    }

    async fn patch(&self, found: &Lease, spec: Value) -> Result<Lease, ClusterError> {
        let body =
            WriteRequest::Patch(json!({ "spec": spec })).body(&ResolvedPrecondition::Version(found.version.clone()));
        let path = format!("{}/{LEASE_NAME}", self.collection_path());
        let answer = self.send("PATCH", "patch", &path, Some(&body)).await?;
        self.parse_response("patch", &answer)
    }

    async fn send(
        &self,
        method: &'static str,
        verb: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ApiResponse, ClusterError> {
        let query = if method == "GET" { String::new() } else { format!("?fieldManager={FIELD_MANAGER}") };
        let path = format!("{path}{query}");
        let ask =
            ApiRequest { method, path: &path, body, operation: format!("{verb} the Lease {}", self.qualified_name()) };
        self.client.send(&ask).await
    }

    fn parse_response(&self, verb: &str, answer: &ApiResponse) -> Result<Lease, ClusterError> {
        let what = format!("Lease {}", self.qualified_name());
        if !answer.is_success() {
            return Err(response_error(verb, &what, answer));
        }
        let object: Value = answer.parse_json(&what)?;
        Lease::from_json(&object)
            .ok_or_else(|| ClusterError::InvalidResponse { what, why: "it has no version".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap 57.
    #[test]
    fn a_micro_time_has_exactly_six_digits() {
        for (at, said) in [
            ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.000000Z"),
            ("2026-11-24T03:00:00.123Z", "2026-11-24T03:00:00.123000Z"),
            ("2026-11-24T03:00:00.123456789Z", "2026-11-24T03:00:00.123456Z"),
        ] {
            assert_eq!(format_micro_time(at.parse().unwrap()), said);
        }
    }
}
