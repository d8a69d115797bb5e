//! What several test binaries share. Each of them uses a part only, hence the
//! allowance.
#![allow(dead_code)]

pub mod bed;
pub mod cluster;
pub mod go;
pub mod kubeconfig;
pub mod process;
pub mod reset;
pub mod web;

#[allow(unused_imports)]
pub use cluster::{Options, TestCluster};
