//! What must hold of the access itself: the invariants of a policy, put to the state that a plan leads to.
//!
//! Pure: this room judges states and writes nothing. Whoever asks decides what a refusal stops.

mod alone;
mod breach;
mod invariants;
mod subjects;

pub(crate) use alone::of_policy_alone;
pub(crate) use invariants::{Refusal, after_plan, of_state};
