//! The Lease that prevents two concurrent applies: reading it, creating it and patching it, each patch with the version
//! that was read.
//!
//! Only rolecall respects this Lease. The preconditions of the writes protect against all other writers.

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::ClusterError;
use super::api_client::{ApiClient, ApiRequest, ApiResponse};
use super::live::response_error;
use super::object_path::PATH_SEGMENT;
use crate::state::object_meta::FIELD_MANAGER;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteRequest};

const LEASE_NAME: &str = "rolecall";

/// Reads and writes the Lease of one cluster.
#[derive(Clone)]
pub(crate) struct LeaseClient {
    client: Arc<ApiClient>,
    namespace: String,
}

/// The Lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) version: ObjectVersion,
    /// Empty if the Lease is free.
    pub(crate) holder: String,
    /// When the holder acquired it, by the clock of the holder.
    pub(crate) acquire_time: Option<String>,
    /// When the holder renewed it, by the clock of the holder. It changes as long as the holder is alive.
    pub(crate) renew_time: Option<String>,
    pub(crate) duration_seconds: u64,
    transitions: u64,
}

/// Formats a MicroTime, which the API server only parses with exactly six decimal places
/// (apimachinery, pkg/apis/meta/v1/micro_time.go, `RFC3339Micro`).
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
    pub(super) fn new(client: Arc<ApiClient>, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// Namespace and name, such as `kube-system/rolecall`.
    pub(crate) fn qualified_name(&self) -> String {
        format!("{}/{LEASE_NAME}", self.namespace)
    }

    fn collection_path(&self) -> String {
        let namespace = utf8_percent_encode(&self.namespace, PATH_SEGMENT);
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    }

    pub(crate) async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        let path = format!("{}/{LEASE_NAME}", self.collection_path());
        let response = self.send("GET", "get", &path, None).await?;
        if response.is_object_not_found() {
            return Ok(None);
        }
        self.parse_response("get", &response).map(Some)
    }

    /// Creates the Lease for this holder.
    pub(crate) async fn create(&self, holder: &str, seconds: u64, now: Timestamp) -> Result<Lease, ClusterError> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": LEASE_NAME, "namespace": self.namespace },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": seconds,
                "acquireTime": format_micro_time(now), "renewTime": format_micro_time(now), "leaseTransitions": 0,
            },
        });
        let response = self.send("POST", "create", &self.collection_path(), Some(&body)).await?;
        self.parse_response("create", &response)
    }

    /// Makes this holder the holder of a Lease that is free or expired.
    pub(crate) async fn take_over(
        &self,
        current: &Lease,
        holder: &str,
        seconds: u64,
        now: Timestamp,
    ) -> Result<Lease, ClusterError> {
        let spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "acquireTime": format_micro_time(now), "renewTime": format_micro_time(now), "leaseTransitions": current.transitions + 1,
        });
        self.patch(current, spec).await
    }

    pub(crate) async fn renew(&self, current: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(current, json!({ "renewTime": format_micro_time(now) })).await
    }

    pub(crate) async fn release(&self, current: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(current, json!({ "holderIdentity": "", "renewTime": format_micro_time(now) })).await
    }

    async fn patch(&self, current: &Lease, spec: Value) -> Result<Lease, ClusterError> {
        let body = WriteRequest::Patch(json!({ "spec": spec }))
            .body(&ResolvedPrecondition::Version(current.version.clone()))?;
        let path = format!("{}/{LEASE_NAME}", self.collection_path());
        let response = self.send("PATCH", "patch", &path, Some(&body)).await?;
        self.parse_response("patch", &response)
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
        let operation = format!("{verb} the Lease {}", self.qualified_name());
        self.client.send(&ApiRequest { method, path: &path, body, operation }).await
    }

    fn parse_response(&self, verb: &str, response: &ApiResponse) -> Result<Lease, ClusterError> {
        let name = format!("Lease {}", self.qualified_name());
        if !response.is_success() {
            return Err(response_error(verb, &name, response));
        }
        let object = response.parse_object("Lease", &name)?;
        Lease::from_json(&object).ok_or_else(|| ClusterError::InvalidResponse {
            what: name,
            why: "it has no `metadata.resourceVersion`".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap 57.
    #[test]
    fn micro_time_has_exactly_six_decimal_places() {
        for (time, expected) in [
            ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.000000Z"),
            ("2026-11-24T03:00:00.123Z", "2026-11-24T03:00:00.123000Z"),
            ("2026-11-24T03:00:00.123456789Z", "2026-11-24T03:00:00.123456Z"),
        ] {
            assert_eq!(format_micro_time(time.parse().unwrap()), expected);
        }
    }
}
