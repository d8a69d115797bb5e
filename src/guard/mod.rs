//! What must hold of the access itself, and what a plan must not do by mistake: the invariants of a policy, put to the
//! state that a plan leads to, and the guards, which look at the states on both sides of it.
//!
//! Pure: this room judges states and writes nothing. Whoever asks decides what a refusal stops.

mod allow_flag;
mod aws_auth;
mod caller;
mod context;
mod invariant_checker;
mod invariants;
mod nodes;
mod removals;
mod risk;
mod static_check;
#[cfg(test)]
mod tests;
mod violator;

pub(crate) use allow_flag::AllowFlag;
pub(crate) use caller::CallerIdentity;
pub(crate) use context::{ClusterFacts, GuardReport, Observed, evaluate_guards};
pub(crate) use invariants::{InvariantViolation, check_invariants};
pub(crate) use nodes::NodeSample;
pub(crate) use risk::{GuardKind, Risk, UnevaluatedGuard};
pub(crate) use static_check::{check_invariants_statically, roles_not_checked_statically};
pub(crate) use violator::Violator;
