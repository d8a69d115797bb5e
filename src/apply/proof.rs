//! After the last step: asks the cluster whether what the plan promised holds.

use std::time::Duration;

use super::awaiting::{Patience, Wanted, unmet};
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::Promise;

/// Questions after an apply: enough for every subject of most plans, few enough for a second.
pub(crate) const ASKED: usize = 200;

/// How long the controller of aggregated roles is waited for: it runs within a second, or not at all.
const CONTROLLER: Duration = Duration::from_secs(1);

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
    let mut broken = Vec::new();
    for (by_controller, patience) in [(false, patience), (true, patience.at_most(CONTROLLER))] {
        let asked: Vec<&Promise> = promises.iter().filter(|promise| promise.by_controller == by_controller).collect();
        let wanted: Vec<Wanted<'_>> = asked
            .iter()
            .map(|promise| Wanted { asked: &promise.asked, allowed: promise.allowed, before: &[] })
            .collect();
        match unmet(cluster, &wanted, patience).await {
            Ok(open) => broken.extend(open.into_iter().filter_map(|place| asked.get(place).copied().cloned())),
            Err(error) => return Proof::Unasked(error),
        }
    }
    if broken.is_empty() { Proof::Holds(promises.len()) } else { Proof::Broken(broken) }
}
