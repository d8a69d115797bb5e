//! Helpers for the integration tests. Each test binary compiles this module and uses only a part of it, so unused code
//! is allowed.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "each test binary uses only a part of this module"
)]

pub mod binary;
pub mod cluster;
pub mod go;
pub mod kubeconfig;
pub mod page;
pub mod process;
pub mod proxy;
pub mod reset;
pub mod rolecall;
pub mod schema;
pub mod web;

pub use cluster::{Options, TestCluster};
