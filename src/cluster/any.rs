//! Either cluster behind the port, chosen while the program runs.

use serde_json::Value;

use super::live::LiveCluster;
use super::snapshot::SnapshotCluster;
use super::{Caller, ClusterError, Credentials, Leases, ReadCluster, Ruling, Standing, WriteCluster, Written};
use crate::access::Request;
use crate::guard::Nodes;
use crate::names::ObjectKey;
use crate::plan::Await;
use crate::state::State;
use crate::state::write::{Expected, Write};

/// A live cluster or a snapshot.
pub(crate) enum AnyCluster {
    Live(LiveCluster),
    Snapshot(SnapshotCluster),
}

impl AnyCluster {
    /// Where applies to this cluster keep out of each other's way; a snapshot has its file's content for that.
    pub(crate) fn leases(&self, namespace: &str) -> Option<Leases> {
        match self {
            Self::Live(cluster) => Some(cluster.leases(namespace)),
            Self::Snapshot(_) => None,
        }
    }
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

    async fn rehearse(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.rehearse(key, write, expected).await,
            Self::Snapshot(cluster) => cluster.rehearse(key, write, expected).await,
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.read(key).await,
            Self::Snapshot(cluster) => cluster.read(key).await,
        }
    }

    async fn review(&self, asked: &Await) -> Result<Ruling, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.review(asked).await,
            Self::Snapshot(cluster) => cluster.review(asked).await,
        }
    }

    async fn standing(&self, with: Credentials, needs: &[Request]) -> Result<Option<Standing>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.standing(with, needs).await,
            Self::Snapshot(cluster) => cluster.standing(with, needs).await,
        }
    }

    async fn finish(&self) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.finish().await,
            Self::Snapshot(cluster) => cluster.finish().await,
        }
    }
}
