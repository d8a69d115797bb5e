//! What the user chose about AWS: the profile, the region and the role for one cluster.
//!
//! No key chooses an endpoint. Endpoints come from AWS's own configuration alone: the variables `AWS_ENDPOINT_URL` and
//! `AWS_ENDPOINT_URL_<SERVICE>`, and the profile. A policy that others wrote must not choose which server receives a
//! request that is signed with the credentials of its reader.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call_log::AwsCallLog;
use super::credentials::CredentialPool;

/// The credentials for a cluster, and the region of the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AwsSettings {
    pub(crate) profile: Option<ProfileSelection>,
    /// `None` for the region of the AWS configuration.
    pub(crate) region: Option<String>,
    /// The role that is assumed with the credentials.
    pub(crate) role: Option<AssumedRole>,
}

/// A profile of the AWS configuration files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProfileSelection {
    /// Named by a policy or a flag. Its credentials are used although the environment has others, as with `--profile` of
    /// the AWS CLI (botocore, `create_credential_resolver`).
    Explicit(String),
    /// Named as by the variable `AWS_PROFILE`: credentials in the environment take precedence.
    LikeVariable(String),
}

impl ProfileSelection {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Explicit(name) | Self::LikeVariable(name) => name,
        }
    }
}

/// An IAM role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssumedRole {
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
    /// `None` for the name that the variable `AWS_ROLE_SESSION_NAME` has, or `rolecall`.
    pub(crate) session_name: Option<String>,
}

/// How calls are made: their limits, their log, and the variables of the process.
#[derive(Clone)]
pub(crate) struct AwsCallContext {
    /// Opening a connection.
    pub(crate) connect: Duration,
    /// One attempt of a call.
    pub(crate) attempt: Duration,
    /// A call with its repetitions, or finding credentials.
    pub(crate) total: Duration,
    pub(crate) log: AwsCallLog,
    /// The credentials of other clusters of the command.
    pub(crate) pool: CredentialPool,
    pub(crate) vars: BTreeMap<String, String>,
}

impl AwsCallContext {
    /// Returns the value of a variable that is set and not empty.
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
