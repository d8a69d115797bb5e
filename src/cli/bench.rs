//! The public interface of the access engine for `benches/access.rs`.
//!
//! It is compiled only with the feature `measure`. Each method is one call of the engine.

use std::path::{Path, PathBuf};

use crate::access::{AccessView, Aggregation, Request, SubjectQuery, diff_access};
use crate::cluster::ReadCluster as _;
use crate::cluster::snapshot::{SnapshotCluster, SnapshotNamedBy};
use crate::state::State;

/// The state of a snapshot.
pub struct BenchState(State);

/// Reads the snapshot of a cluster.
///
/// # Errors
/// If the file is not a valid snapshot.
pub async fn load_snapshot(path: &Path) -> Result<BenchState, String> {
    let paths: [PathBuf; 1] = [path.to_owned()];
    let cluster =
        SnapshotCluster::open(&paths, None, &SnapshotNamedBy::CommandLine).map_err(|error| error.to_string())?;
    cluster.read_state().await.map(BenchState).map_err(|error| error.to_string())
}

/// The access in a state.
pub struct BenchQueries<'s>(AccessView<'s>);

impl BenchState {
    /// Prepares queries, with the index that `can` builds once.
    pub fn queries(&self) -> BenchQueries<'_> {
        let access = AccessView::new(&self.0, Aggregation::Reconciled);
        access.grants.build_index();
        BenchQueries(access)
    }

    /// Returns the number of steps of a plan from this state to another.
    ///
    /// # Errors
    /// If an object is not valid.
    pub fn count_ordered_steps(&self, planned: &Self) -> Result<usize, String> {
        crate::plan::count_ordered_steps(&self.0, &planned.0).map_err(|error| error.to_string())
    }
}

impl<'s> BenchQueries<'s> {
    /// Returns the number of grants that allow a subject to make a request.
    pub fn can(&self, subject: &str, verb: &str, group: &str, resource: &str, namespace: &str) -> usize {
        let request = Request::object(verb, group, resource).in_namespace(namespace);
        SubjectQuery::parse(subject).map_or(0, |subject| self.0.can(&subject, &request).granted_by.len())
    }

    /// Returns the number of subjects that can make a request.
    pub fn who_can(&self, verb: &str, group: &str, resource: &str, namespace: &str) -> usize {
        let answer = self.0.who_can(&Request::object(verb, group, resource).in_namespace(namespace));
        answer.system_masters.len() + answer.principals.len() + answer.subjects.len()
    }

    /// Returns the number of subjects whose access differs in another state.
    pub fn delta(&self, after: &BenchQueries<'s>) -> usize {
        diff_access(&self.0, &after.0).len()
    }
}
