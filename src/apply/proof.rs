//! After the last step: asks the cluster whether what the plan promised holds.

use super::awaiting::{Patience, unmet};
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::{Await, Promise};

/// Questions after an apply: enough for every subject of most plans, few enough for a second.
pub(crate) const ASKED: usize = 200;

/// What the cluster says of the promises.
#[derive(Debug)]
pub(crate) enum Proof {
    Holds(usize),
    /// These do not.
    Broken(Vec<Promise>),
    /// It could not be asked.
    Unasked(ClusterError),
}

pub(crate) async fn prove<C: WriteCluster>(promises: &[Promise], cluster: &C, patience: Patience) -> Proof {
    let wanted: Vec<(&Await, bool)> = promises.iter().map(|promise| (&promise.asked, promise.allowed)).collect();
    match unmet(cluster, &wanted, patience).await {
        Ok(open) if open.is_empty() => Proof::Holds(promises.len()),
        Ok(open) => Proof::Broken(open.into_iter().filter_map(|place| promises.get(place).cloned()).collect()),
        Err(error) => Proof::Unasked(error),
    }
}
