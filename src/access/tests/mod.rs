//! The room as a whole: against a plain evaluator on random states, and trap by trap.

mod aggregated;
mod data;
mod diff;
mod escalation_rules;
mod fixture;
mod identities;
mod marginal_impact;
pub(crate) mod oracle;
mod properties;
pub(crate) mod random;
mod real;
mod shrink;
mod traps;
