//! Guards and invariants. Guards compare the states before and after a plan, and report risks that a plan must not have
//! unless `--allow` accepts them. Invariants are tests of effective access in one state.
//!
//! This module evaluates states and has no side effects. The commands decide what a refusal stops.

mod allow_flag;
mod aws_auth;
mod built_in_identities;
mod caller;
mod context;
mod everyone;
mod invariant_checker;
mod invariant_names;
mod invariants;
mod migration;
mod node_roles;
mod nodes;
mod pattern_matches;
mod removals;
mod risk;
mod static_check;
mod static_escalations;
#[cfg(test)]
mod tests;
mod violator;

pub(crate) use allow_flag::AllowFlag;
pub(crate) use caller::CallerIdentity;
pub(crate) use context::{ClusterFacts, GuardReport, Observed, evaluate_guards};
pub(crate) use invariant_names::check_invariant_names;
pub(crate) use invariants::{InvariantViolation, check_invariants};
pub(crate) use migration::{auth_mode_risk, equal_access_risks};
pub(crate) use node_roles::{NodeRoleUse, NodeRoles};
pub(crate) use nodes::NodeSample;
pub(crate) use pattern_matches::PatternMatches;
pub(crate) use risk::{GuardKind, Risk, UnevaluatedGuard};
pub(crate) use static_check::{check_invariants_statically, roles_not_checked_statically};
pub(crate) use static_escalations::{PolicyEscalation, find_escalations_statically};
pub(crate) use violator::Violator;
