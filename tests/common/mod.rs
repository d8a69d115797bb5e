//! What several test binaries share. Each of them uses a part only, hence the
//! allowance.
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
    reason = "each test binary uses a part of what is here"
)]

pub mod bed;
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
