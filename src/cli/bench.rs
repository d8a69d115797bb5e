//! The questions put to states in memory, for `benches/access.rs`: the one way in that is not a command.
//!
//! It is compiled with the feature `measure` alone, and decides nothing: each method is one call of the engine.

use std::path::{Path, PathBuf};

use crate::access::{AccessView, Aggregation, Request, SubjectQuery, diff_access};
use crate::cluster::ReadCluster as _;
use crate::cluster::snapshot::SnapshotCluster;
use crate::state::State;

/// Snapshots that were read.
pub struct BenchState(State);

/// Reads the snapshot of a cluster.
///
/// # Errors
/// What the file is not.
pub async fn load_snapshot(path: &Path) -> Result<BenchState, String> {
    let paths: [PathBuf; 1] = [path.to_owned()];
    let cluster = SnapshotCluster::open(&paths, None).map_err(|error| error.to_string())?;
    cluster.observe().await.map(BenchState).map_err(|error| error.to_string())
}

/// A cluster of which questions are asked.
pub struct BenchQueries<'s>(AccessView<'s>);

impl BenchState {
    /// What is made once, before the first question.
    pub fn queries(&self) -> BenchQueries<'_> {
        let access = AccessView::new(&self.0, Aggregation::Reconciled);
        access.grants.build_index();
        BenchQueries(access)
    }
}

impl<'s> BenchQueries<'s> {
    /// By how many ways somebody may do something.
    pub fn can(&self, who: &str, verb: &str, group: &str, resource: &str, namespace: &str) -> usize {
        let request = Request::object(verb, group, resource).in_namespace(namespace);
        SubjectQuery::parse(who).map_or(0, |who| self.0.can(&who, &request).granted_by.len())
    }

    /// How many may do something.
    pub fn who_can(&self, verb: &str, group: &str, resource: &str, namespace: &str) -> usize {
        let answer = self.0.who_can(&Request::object(verb, group, resource).in_namespace(namespace));
        answer.system_masters.len() + answer.principals.len() + answer.subjects.len()
    }

    /// For how many something changes on the way to another state.
    pub fn delta(&self, after: &BenchQueries<'s>) -> usize {
        diff_access(&self.0, &after.0).len()
    }
}
