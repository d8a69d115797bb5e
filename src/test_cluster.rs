//! The test cluster of `tests/common`, for unit tests.

#![expect(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::pedantic,
    reason = "these files are shared with the integration tests"
)]

#[path = "../tests/common/bed.rs"]
pub mod bed;
#[path = "../tests/common/cluster.rs"]
pub mod cluster;
#[path = "../tests/common/go.rs"]
pub mod go;
#[path = "../tests/common/kubeconfig.rs"]
pub mod kubeconfig;
#[path = "../tests/common/process.rs"]
pub mod process;
#[path = "../tests/common/web.rs"]
pub mod web;

pub(crate) use cluster::TestCluster;
