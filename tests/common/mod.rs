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

pub mod aws_double;
pub mod binary;
pub mod browser;
pub mod captured_output;
pub mod cluster;
pub mod credential_plugin;
pub mod eks_document;
pub mod entry_writers;
pub mod forge_double;
pub mod go;
pub mod go_tools;
pub mod hostile_server;
pub mod http_client;
pub mod kubeconfig;
pub mod measuring;
pub mod process;
pub mod proxy;
pub mod running;
pub mod sandbox;
pub mod schema;
pub mod shared_cluster;
pub mod watch;

pub use cluster::{Options, TestCluster};
