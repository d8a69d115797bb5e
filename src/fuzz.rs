//! The targets of `fuzz/`: each one reads arbitrary bytes as one kind of input and checks what must be true of it.
//!
//! They are compiled only with the feature `fuzz` and for the tests, which run each target with the kept inputs of
//! `fuzz/corpus`.

use crate::cluster::ReadCluster as _;
use crate::cluster::fuzz::{check_kubeconfig, check_protobuf, check_snapshot};
use crate::cluster::snapshot::{STDIN, SnapshotCluster, SnapshotNamedBy};
use crate::state::State;
use crate::{cli, state};

/// The cluster that policies and saved plans are for.
const CLUSTER: &str = include_str!("../examples/cluster-viewer/cluster.yaml");

/// A kind of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuzzTarget {
    /// The text of mapRoles, mapUsers or mapAccounts.
    AwsAuth,
    /// The YAML documents of a snapshot.
    Snapshot,
    /// A kubeconfig.
    Kubeconfig,
    /// The file of `plan --out`.
    PlanFile,
    /// A response of the API server in protobuf encoding.
    Protobuf,
    /// A policy of one file.
    Policy,
}

impl FuzzTarget {
    /// All targets.
    pub const ALL: [Self; 6] =
        [Self::AwsAuth, Self::Snapshot, Self::Kubeconfig, Self::PlanFile, Self::Protobuf, Self::Policy];

    /// Returns the name of the target and of the directory of its inputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwsAuth => "aws_auth",
            Self::Snapshot => "snapshot",
            Self::Kubeconfig => "kubeconfig",
            Self::PlanFile => "plan_file",
            Self::Protobuf => "protobuf",
            Self::Policy => "policy",
        }
    }

    /// Reads an input. Bytes that are not UTF-8 are ignored, except by [`FuzzTarget::Protobuf`].
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn check(self, bytes: &[u8]) -> Result<(), String> {
        let text = match (self, std::str::from_utf8(bytes)) {
            (Self::Protobuf, _) => return check_protobuf(bytes),
            (_, Ok(text)) => text,
            (_, Err(_)) => return Ok(()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        match self {
            Self::AwsAuth => state::aws_auth::fuzz::check_section_text(text),
            Self::Snapshot => runtime.block_on(check_snapshot(text)),
            Self::Kubeconfig => runtime.block_on(check_kubeconfig(text)),
            Self::PlanFile => cli::fuzz::check_plan_file(text, &runtime.block_on(example_cluster())?),
            Self::Policy => cli::fuzz::check_policy(text, &runtime.block_on(example_cluster())?),
            Self::Protobuf => Ok(()),
        }
    }
}

async fn example_cluster() -> Result<State, String> {
    let cluster = SnapshotCluster::open(&[STDIN.into()], Some(CLUSTER), &SnapshotNamedBy::CommandLine);
    cluster.map_err(|error| error.to_string())?.read_state().await.map_err(|error| error.to_string())
}
