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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the inputs are files, so that the fuzzer can read them")]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use super::*;

    /// The limit of a test build on a loaded machine. `fuzz/run` measures with 2 seconds.
    const MAX_TIME: Duration = Duration::from_secs(30);

    fn add_files(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { add_files(&path, out) } else { out.push(path) }
        }
    }

    /// Runs a target with the kept inputs and with the samples of other tests.
    fn check_kept_inputs(target: FuzzTarget, samples: &[&str]) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        add_files(&root.join("fuzz/corpus").join(target.name()), &mut paths);
        assert!(!paths.is_empty());
        for folder in samples {
            add_files(&root.join(folder), &mut paths);
        }
        let mut broken = Vec::new();
        for path in paths {
            let started = Instant::now();
            let result = target.check(&std::fs::read(&path).unwrap());
            if let Err(property) = result {
                broken.push(format!("{}: {property}", path.display()));
            }
            assert!(started.elapsed() < MAX_TIME, "{} took {:?}", path.display(), started.elapsed());
        }
        assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    }

    #[test]
    fn kept_aws_auth_texts_are_edited_without_other_changes() {
        check_kept_inputs(FuzzTarget::AwsAuth, &["tests/aws_auth/samples"]);
    }

    #[test]
    fn kept_snapshots_are_read_and_written_as_they_are() {
        check_kept_inputs(FuzzTarget::Snapshot, &["examples"]);
    }

    #[test]
    fn kept_kubeconfigs_have_errors_without_credentials() {
        check_kept_inputs(FuzzTarget::Kubeconfig, &[]);
    }

    #[test]
    fn kept_plan_files_are_read_as_they_were_written() {
        check_kept_inputs(FuzzTarget::PlanFile, &[]);
    }

    #[test]
    fn kept_protobuf_frames_are_decoded_as_by_the_library() {
        check_kept_inputs(FuzzTarget::Protobuf, &[]);
    }

    #[test]
    fn kept_policies_have_plans_that_end_in_the_desired_state() {
        check_kept_inputs(FuzzTarget::Policy, &["tests/policies", "examples"]);
    }
}
