//! AWS: credentials, the tokens of EKS, and what EKS and STS say about a cluster and about the caller.
//!
//! The variables of the process and the AWS configuration files are read by the SDK, in `session.rs`, and nowhere else.
//! No text of an error of the SDK is printed: `errors.rs` has words for the known codes and kinds.

mod access_entries;
mod auth_mode_change;
mod call_log;
mod credentials;
mod eks_cluster;
mod entry_errors;
mod errors;
mod http_client;
mod identity;
mod node_roles;
mod pause;
mod session;
mod settings;
mod token;

pub(crate) use access_entries::{AccessEntryApi, EntryReadError, EntryWriteError};
pub(crate) use call_log::AwsCallLog;
pub(crate) use credentials::CredentialPool;
pub(crate) use eks_cluster::{EksCluster, is_version};
pub(crate) use entry_errors::EntryError;
pub(crate) use errors::AwsError;
pub(crate) use identity::StsIdentity;
pub(crate) use node_roles::read_node_roles;
pub(crate) use session::AwsSession;
pub(crate) use settings::{AssumedRole, AwsCallContext, AwsSettings, ProfileSelection};
pub(crate) use token::TOKEN_LIFETIME;
#[cfg(test)]
pub(crate) use token::presigned_token;
