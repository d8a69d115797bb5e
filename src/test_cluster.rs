//! The test cluster, from the sources that the integration tests use.

#![expect(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::pedantic,
    reason = "shared with the integration tests"
)]

#[path = "../tests/common/aws_double.rs"]
pub mod aws_double;
#[path = "../tests/common/binary.rs"]
pub mod binary;
#[path = "../tests/common/cluster.rs"]
pub mod cluster;
#[path = "../tests/common/go.rs"]
pub mod go;
#[path = "../tests/common/http_client.rs"]
pub mod http_client;
#[path = "../tests/common/kubeconfig.rs"]
pub mod kubeconfig;
#[path = "../tests/common/process.rs"]
pub mod process;
#[path = "../tests/common/watch.rs"]
pub mod watch;

pub(crate) use cluster::TestCluster;
