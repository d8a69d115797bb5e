//! Either cluster behind the port, chosen while the program runs.

use serde_json::Value;

use super::live::LiveCluster;
use super::snapshot::SnapshotCluster;
use super::{Caller, ClusterError, ReadCluster, WriteCluster, Written};
use crate::access::Request;
use crate::guard::Nodes;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::write::{Expected, Write};

/// A live cluster or a snapshot.
pub(crate) enum AnyCluster {
    Live(LiveCluster),
    Snapshot(SnapshotCluster),
}

impl ReadCluster for AnyCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.observe().await,
            Self::Snapshot(cluster) => cluster.observe().await,
        }
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.export().await,
            Self::Snapshot(cluster) => cluster.export().await,
        }
    }

    async fn whoami(&self) -> Result<Option<Caller>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.whoami().await,
            Self::Snapshot(cluster) => cluster.whoami().await,
        }
    }

    async fn nodes(&self) -> Result<Option<Nodes>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.nodes().await,
            Self::Snapshot(cluster) => cluster.nodes().await,
        }
    }

    async fn allows(&self, requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.allows(requests).await,
            Self::Snapshot(cluster) => cluster.allows(requests).await,
        }
    }
}

impl WriteCluster for AnyCluster {
    async fn write(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<Written, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.write(key, write, expected).await,
            Self::Snapshot(cluster) => cluster.write(key, write, expected).await,
        }
    }

    async fn finish(&self) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.finish().await,
            Self::Snapshot(cluster) => cluster.finish().await,
        }
    }
}
