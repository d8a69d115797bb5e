//! The room as a whole: against a plain evaluator on random states, and trap by trap.

mod aggregated;
mod alone;
mod data;
mod delta;
mod fixture;
mod identities;
pub(crate) mod oracle;
mod properties;
pub(crate) mod random;
mod real;
mod shrink;
mod traps;
mod ways;
