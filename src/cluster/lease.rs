//! The Lease by which two applies keep out of each other's way: read, made, patched, each under its version.
//!
//! It keeps rolecall from rolecall alone; against everybody else stand the preconditions of the writes.

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::ClusterError;
use super::connection::{Answer, Ask, Connection};
use super::live::{SEGMENT, failed};
use crate::state::meta::FIELD_MANAGER;
use crate::state::write::{Expected, Version, Write};

const NAME: &str = "rolecall";

/// The Lease of one cluster.
#[derive(Clone)]
pub(crate) struct Leases {
    connection: Arc<Connection>,
    namespace: String,
}

/// The Lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) version: Version,
    /// Empty: nobody has it.
    pub(crate) holder: String,
    /// Since when, as its holder wrote it.
    pub(crate) acquired: Option<String>,
    /// What changes as long as its holder lives.
    pub(crate) renewed: Option<String>,
    pub(crate) seconds: u64,
    transitions: u64,
}

/// A MicroTime: exactly six digits, or the API server takes it for no time.
fn micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

impl Lease {
    fn of(object: &Value) -> Option<Self> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| object.pointer(field).and_then(Value::as_u64).unwrap_or_default();
        Some(Self {
            version: Version::of(object)?,
            holder: text("/spec/holderIdentity").unwrap_or_default(),
            acquired: text("/spec/acquireTime"),
            renewed: text("/spec/renewTime"),
            seconds: number("/spec/leaseDurationSeconds"),
            transitions: number("/spec/leaseTransitions"),
        })
    }
}

impl Leases {
    pub(super) fn new(connection: Arc<Connection>, namespace: &str) -> Self {
        Self { connection, namespace: namespace.to_owned() }
    }

    /// `kube-system/rolecall`.
    pub(crate) fn path(&self) -> String {
        format!("{}/{NAME}", self.namespace)
    }

    fn collection(&self) -> String {
        let namespace = utf8_percent_encode(&self.namespace, SEGMENT);
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    }

    pub(crate) async fn read(&self) -> Result<Option<Lease>, ClusterError> {
        let path = format!("{}/{NAME}", self.collection());
        let answer = self.send("GET", "get", &path, None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        self.lease("get", &answer).map(Some)
    }

    /// Makes it for a holder.
    pub(crate) async fn create(&self, holder: &str, seconds: u64, now: Timestamp) -> Result<Lease, ClusterError> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": NAME, "namespace": self.namespace },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": seconds,
                "acquireTime": micro(now), "renewTime": micro(now), "leaseTransitions": 0,
            },
        });
        let answer = self.send("POST", "create", &self.collection(), Some(&body)).await?;
        self.lease("create", &answer)
    }

    /// Takes over what nobody has any more.
    pub(crate) async fn take(
        &self,
        found: &Lease,
        holder: &str,
        seconds: u64,
        now: Timestamp,
    ) -> Result<Lease, ClusterError> {
        let spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "acquireTime": micro(now), "renewTime": micro(now), "leaseTransitions": found.transitions + 1,
        });
        self.patch(found, spec).await
    }

    pub(crate) async fn renew(&self, held: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(held, json!({ "renewTime": micro(now) })).await
    }

    pub(crate) async fn release(&self, held: &Lease, now: Timestamp) -> Result<Lease, ClusterError> {
        self.patch(held, json!({ "holderIdentity": "", "renewTime": micro(now) })).await
    }

    async fn patch(&self, found: &Lease, spec: Value) -> Result<Lease, ClusterError> {
        let body = Write::Patch(json!({ "spec": spec })).body(&Expected::Version(found.version.clone()));
        let path = format!("{}/{NAME}", self.collection());
        let answer = self.send("PATCH", "patch", &path, Some(&body)).await?;
        self.lease("patch", &answer)
    }

    async fn send(
        &self,
        method: &'static str,
        verb: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClusterError> {
        let query = if method == "GET" { String::new() } else { format!("?fieldManager={FIELD_MANAGER}") };
        let path = format!("{path}{query}");
        let ask = Ask { method, path: &path, body, what: format!("{verb} the Lease {}", self.path()) };
        self.connection.send(&ask).await
    }

    fn lease(&self, verb: &str, answer: &Answer) -> Result<Lease, ClusterError> {
        let what = format!("Lease {}", self.path());
        if !answer.is_success() {
            return Err(failed(verb, &what, answer));
        }
        let object: Value = answer.read(&what)?;
        Lease::of(&object).ok_or_else(|| ClusterError::Unreadable { what, why: "it has no version".to_owned() })
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
            assert_eq!(micro(at.parse().unwrap()), said);
        }
    }
}
