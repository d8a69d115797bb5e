//! A cluster of either kind, for callers that choose the kind at run time.

use serde_json::Value;

use super::eks_entries::ExportedEntries;
use super::eks_facts::EksFacts;
use super::live::LiveCluster;
use super::snapshot::SnapshotCluster;
use super::{
    AccessReviewStatus, CallerCheck, ClusterError, CredentialFreshness, LeaseClient, ReadCluster, UserInfo,
    WriteCluster, WriteOutcome,
};
use crate::access::{Request, check_nested_aggregation};
use crate::guard::NodeSample;
use crate::names::ObjectKey;
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::auth_mode::ClusterAuthMode;
use crate::state::write::{ResolvedPrecondition, WriteRequest};

/// A live cluster or a snapshot.
pub(crate) enum AnyCluster {
    Live(LiveCluster),
    Snapshot(SnapshotCluster),
}

impl AnyCluster {
    /// Returns whether it is a live cluster. A snapshot has no caller, no controllers and no tokens.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Returns what EKS said about the cluster of a snapshot. `None` for a live cluster, or if the snapshot has nothing
    /// of EKS.
    pub(crate) fn snapshot_eks_facts(&self) -> Option<EksFacts> {
        match self {
            Self::Live(_) => None,
            Self::Snapshot(cluster) => cluster.eks_facts(),
        }
    }

    /// Returns the access entries as documents of a snapshot. Those of a snapshot are among its objects.
    pub(crate) async fn export_access_entries(&self) -> Result<ExportedEntries, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.export_access_entries().await,
            Self::Snapshot(_) => Ok(ExportedEntries::default()),
        }
    }

    /// Returns a state with only the authentication mode and the access entries. A snapshot has these in its state.
    pub(crate) async fn read_access_entries(&self) -> Result<State, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.read_access_entries().await,
            Self::Snapshot(cluster) => cluster.read_state().await,
        }
    }

    /// Changes the authentication mode, and waits until EKS has made the change. It cannot be changed back.
    ///
    /// # Errors
    /// If EKS does not allow the change, or the change fails.
    pub(crate) async fn change_auth_mode(&self, mode: &ClusterAuthMode) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.change_auth_mode(mode).await,
            Self::Snapshot(cluster) => cluster.change_auth_mode(mode),
        }
    }

    /// Returns the client for the Lease that prevents concurrent applies. A snapshot has none: before it is written,
    /// its files are compared with the content that was read.
    pub(crate) fn lease_client(&self, namespace: &str) -> Option<LeaseClient> {
        match self {
            Self::Live(cluster) => Some(cluster.lease_client(namespace)),
            Self::Snapshot(_) => None,
        }
    }
}

impl ReadCluster for AnyCluster {
    async fn read_state(&self) -> Result<State, ClusterError> {
        let state = match self {
            Self::Live(cluster) => cluster.read_state().await?,
            Self::Snapshot(cluster) => cluster.read_state().await?,
        };
        check_nested_aggregation(&state)?;
        Ok(state)
    }

    async fn export_objects(&self) -> Result<Vec<Value>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.export_objects().await,
            Self::Snapshot(cluster) => cluster.export_objects().await,
        }
    }

    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.whoami().await,
            Self::Snapshot(cluster) => cluster.whoami().await,
        }
    }

    async fn sample_nodes(&self) -> Result<Option<NodeSample>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.sample_nodes().await,
            Self::Snapshot(cluster) => cluster.sample_nodes().await,
        }
    }

    async fn check_own_access(&self, requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.check_own_access(requests).await,
            Self::Snapshot(cluster) => cluster.check_own_access(requests).await,
        }
    }
}

impl WriteCluster for AnyCluster {
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.write(key, write, expected).await,
            Self::Snapshot(cluster) => cluster.write(key, write, expected).await,
        }
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.dry_run(key, write, expected).await,
            Self::Snapshot(cluster) => cluster.dry_run(key, write, expected).await,
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.read(key).await,
            Self::Snapshot(cluster) => cluster.read(key).await,
        }
    }

    async fn read_with_managers(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.read_with_managers(key).await,
            Self::Snapshot(cluster) => cluster.read_with_managers(key).await,
        }
    }

    async fn review_access(&self, probe: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.review_access(probe).await,
            Self::Snapshot(cluster) => cluster.review_access(probe).await,
        }
    }

    async fn check_caller(
        &self,
        freshness: CredentialFreshness,
        requests: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        match self {
            Self::Live(cluster) => cluster.check_caller(freshness, requests).await,
            Self::Snapshot(cluster) => cluster.check_caller(freshness, requests).await,
        }
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        match self {
            Self::Live(cluster) => cluster.flush().await,
            Self::Snapshot(cluster) => cluster.flush().await,
        }
    }
}
