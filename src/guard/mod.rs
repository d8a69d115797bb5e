//! What must hold of the access itself, and what a plan must not do by mistake: the invariants of a policy, put to the
//! state that a plan leads to, and the guards, which look at the states on both sides of it.
//!
//! Pure: this room judges states and writes nothing. Whoever asks decides what a refusal stops.

mod allowance;
mod alone;
mod breach;
mod caller;
mod danger;
mod entries;
mod invariants;
mod nodes;
mod removals;
mod scene;
mod subjects;
#[cfg(test)]
mod tests;

pub(crate) use allowance::Allowance;
pub(crate) use alone::{not_judged_alone, of_policy_alone};
pub(crate) use caller::Caller;
pub(crate) use danger::Danger;
pub(crate) use invariants::{Refusal, of_state};
pub(crate) use nodes::Nodes;
pub(crate) use scene::{Known, Seen, Verdict, judge};
