//! Tests of the access engine as a whole: against an oracle on random states, against a real API server, and for the
//! known pitfalls of aws-auth and RBAC.

mod access_entries;
mod aggregated;
mod can_answer;
mod data;
mod diff;
mod engine;
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
mod variants;
mod who_can;
