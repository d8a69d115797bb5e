//! Declarative access to Amazon EKS: aws-auth and RBAC from one reviewed policy.
//!
//! The modules are layers: each one depends only on those before it (`tests/it/architecture.rs`). The modules up to
//! `render` are pure. Only `files`, `aws`, `cluster`, `apply`, `ops` and `cli` use files, the network, the clock and the terminal.
//!
//! 1. `names`, `diagnostic`, `yaml`: names, errors and YAML
//! 2. `api_resources`: the resources of the Kubernetes API, and the names by which people know them
//! 3. `state`: the objects of a cluster that decide about access, and the effect of a write on them
//! 4. `access`: who can do what in a state, and the difference between two states
//! 5. `policy`: the desired access
//! 6. `lint`: warnings about what a policy grants
//! 7. `plan`: the ordered writes from the current state to the desired one
//! 8. `guard`: the checks that refuse a dangerous plan
//! 9. `permissions`: the permissions that are required to run a plan
//! 10. `report`: the JSON documents, a versioned format apart from the internal types
//! 11. `render`: plans, answers and diagnostics as text
//! 12. `files`: which files a command has read, and how it writes its results
//! 13. `transport`, `aws`: the words for connection errors; AWS credentials, tokens, and what EKS and STS say
//! 14. `cluster`, `forge`, `apply`: the connections to clusters and forges, and the writes
//! 15. `ops`: the use cases
//! 16. `cli`: the commands: from arguments to output
//! 17. `fuzz`: what must be true of every input, for `fuzz/` and the tests

#[expect(dead_code, reason = "some functions are used only by the tests")]
mod access;
mod api_resources;
mod apply;
mod aws;
mod cli;
mod cluster;
mod diagnostic;
mod files;
mod forge;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod guard;
mod lint;
mod names;
mod ops;
mod permissions;
mod plan;
mod policy;
mod render;
mod report;
mod state;
#[cfg(test)]
mod test_cluster;
mod transport;
mod yaml;

#[cfg(feature = "measure")]
pub use cli::bench;
pub use cli::{Env, Exit, Stdio, Terminals, run};
