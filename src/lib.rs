//! Declarative access to Amazon EKS: aws-auth and RBAC from one reviewed policy.
//!
//! The rooms stand in their order: each uses only those before it. Up to `render` everything is pure; from `cluster`
//! on there are files, sockets, the clock and the terminal.
//!
//! 1. `names`, `diagnostic`, `yaml`: words, faults, texts
//! 2. `state`: what a cluster's access is made of, and what a write does to it
//! 3. `policy`: what people want
//! 4. `access`: who can do what in a state, and what lies between two states
//! 5. `plan`: the way from one to the other
//! 6. `guard`: what a plan must not lead to
//! 7. `rights`: what whoever runs a plan must be allowed to do
//! 8. `report`: the JSON documents, whose format no other type determines
//! 9. `render`: a plan and faults as text
//! 10. `cluster`, `apply`, `cli`: the shell

#[expect(dead_code, reason = "its tests ask more of the engine than the commands do")]
mod access;
mod apply;
mod cli;
mod cluster;
mod diagnostic;
mod guard;
mod names;
mod permissions;
mod plan;
mod policy;
mod render;
mod report;
mod state;
#[cfg(test)]
mod test_cluster;
mod yaml;

#[cfg(feature = "measure")]
pub use cli::bench;
pub use cli::{Env, Exit, Stdio, Terminals, run};
