//! The integration tests, in one binary so that they share running test clusters.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers panic on failure and use files, processes and the network"
)]

mod access;
mod access_entries;
mod access_entry_applies;
mod access_entry_policies;
mod aggregation;
mod api_resources;
mod architecture;
mod aws_double;
mod bad_input;
mod command_line;
mod comments;
mod discovery;
mod drift_metrics;
mod eks_connection;
mod eks_facts;
mod end_to_end;
mod events;
mod example_policy;
mod expiry;
mod explain;
mod guards;
mod hostile_names;
mod hostile_servers;
mod interrupted_applies;
mod invalid_answers;
mod invariants;
mod kubernetes_job;
mod language;
mod limits;
mod lints;
mod man_pages;
mod markdown;
mod migrate;
mod output_files;
mod ownership;
mod pages;
mod permissions;
mod plan_files;
mod policies;
mod prompts_and_help;
mod pull_request;
mod reads_and_writes;
mod request_faults;
mod restore;
mod restore_sequences;
mod runner_permissions;
mod safe_apply;
mod sarif;
mod schema;
mod secrets;
mod several_clusters;
mod signals;
mod stale_plans;
mod subjects;
mod test_runs;
mod token_waits;
mod traps;
mod write_order;

#[path = "../common/mod.rs"]
mod common;
