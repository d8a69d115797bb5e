//! The interface to a cluster: read its whole access configuration, and make one write.
//!
//! The live cluster and the snapshot implement it. Only `apply` and `restore` use [`WriteCluster`].

pub(crate) mod any;
pub(crate) mod api_client;
mod child;
pub(crate) mod connection;
pub(crate) mod connection_log;
mod credentials;
mod discovery;
pub(crate) mod eks;
mod eks_entries;
pub(crate) mod eks_facts;
mod exec_plugin;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub(crate) mod interrupt;
pub(crate) mod kubeconfig;
mod kubeconfig_fields;
mod lease;
mod list;
pub(crate) mod live;
mod object_path;
mod prompt_turn;
mod protobuf;
mod response_body;
mod retry;
mod review;
mod safe_errors;
pub(crate) mod settings;
pub(crate) mod snapshot;
mod snapshot_facts;
mod snapshot_file;
mod snapshot_write;
#[cfg(test)]
mod tests;
mod token_command;

use std::time::Duration;

pub(crate) use lease::{Lease, LeaseClient};
pub(crate) use retry::{is_retryable, retry_delay};
pub(crate) use review::{AccessReviewStatus, CallerCheck, CredentialFreshness};
use serde_json::Value;
use settings::{TimeLimit, duration_text};
use thiserror::Error;

use crate::access::{Request, TooManyNestedRoles};
use crate::aws::AwsError;
use crate::diagnostic::{Diagnostic, Excerpt, InternalError};
use crate::files::ContainmentError;
use crate::guard::NodeSample;
use crate::names::ObjectKey;
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest};

/// Read access to a cluster: what `plan`, `drift` and all questions need. The permissions are get and list.
pub(crate) trait ReadCluster {
    /// Returns the complete access configuration.
    ///
    /// # Errors
    /// If a part of it cannot be read. The result is never partial.
    async fn read_state(&self) -> Result<State, ClusterError>;

    /// Returns the objects that `rolecall snapshot` writes, without `managedFields`, sorted by kind and name.
    async fn export_objects(&self) -> Result<Vec<Value>, ClusterError>;

    /// Returns the user that the cluster authenticates the caller as. `None` for a snapshot.
    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError>;

    /// Returns the names of some nodes. `None` for a snapshot.
    async fn sample_nodes(&self) -> Result<Option<NodeSample>, ClusterError> {
        Ok(None)
    }

    /// For each request, whether the authorizers of the cluster allow it to the caller. `None` for a snapshot.
    async fn check_own_access(&self, _requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        Ok(None)
    }
}

/// Write access to a cluster: what `apply` needs in addition.
pub(crate) trait WriteCluster: ReadCluster {
    /// Makes one write if its precondition is met. Transient failures are retried.
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError>;

    /// Lets the cluster check a write without making it.
    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError>;

    /// Returns the stored object, complete. `None` if it does not exist.
    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError>;

    /// Returns the stored ClusterRole with its `managedFields`. A snapshot has these only for aggregated roles.
    async fn read_with_managers(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        self.read(key).await
    }

    /// Asks the authorizers of the cluster whether they allow the request.
    async fn review_access(&self, probe: &AccessProbe) -> Result<AccessReviewStatus, ClusterError>;

    /// Returns the user that the cluster authenticates the caller as, and which of the requests it is allowed. `None`
    /// for a snapshot.
    async fn check_caller(
        &self,
        freshness: CredentialFreshness,
        requests: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError>;

    /// Writes a changed snapshot to its files. Does nothing for a live cluster.
    async fn flush(&self) -> Result<(), ClusterError>;
}

/// The result of a successful write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The object was created or changed. Holds its new version.
    Stored(ObjectVersion),
    /// The object already had the content. Holds its version.
    Unchanged(ObjectVersion),
    Deleted,
    /// The object is being deleted. It grants access until these finalizers are removed.
    Terminating(Vec<String>),
}

/// Returns the outcome of deleting an object that has finalizers. `None` if the object is not being deleted.
fn terminating_outcome(object: &Value) -> Option<WriteOutcome> {
    object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)?;
    let names = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    Some(WriteOutcome::Terminating(names.filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// The caller as a SelfSubjectReview reports it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct UserInfo {
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// Its prefix shows which authenticator was used.
    #[serde(default)]
    pub(crate) uid: String,
    /// The authenticator of EKS adds `arn` and `canonicalArn`.
    #[serde(default)]
    pub(crate) extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// Returns the ARN of the caller, if the authenticator of EKS reports it.
    pub(crate) fn arn(&self) -> Option<&str> {
        ["arn", "canonicalArn"].iter().find_map(|name| self.extra.get(*name)?.first()).map(String::as_str)
    }
}

/// Where the address of an API server comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerOrigin {
    /// The kubeconfig, or the service account of the pod.
    Kubeconfig,
    /// DescribeCluster of EKS.
    Eks {
        /// Whether the address can be reached only from the VPC of the cluster.
        is_private: bool,
    },
}

impl ServerOrigin {
    /// The limit of a request to the server.
    fn request_limit(self) -> TimeLimit {
        match self {
            Self::Kubeconfig => TimeLimit::Request,
            Self::Eks { is_private } => TimeLimit::EksRequest { is_private },
        }
    }

    /// What the user can do if there is no connection.
    fn help(self, why: &str) -> &'static str {
        let is_certificate = why.contains("certificate of the server");
        match self {
            Self::Kubeconfig if is_certificate => {
                "the kubeconfig has the certificate authority of another cluster: regenerate it (aws eks update-kubeconfig)"
            }
            Self::Kubeconfig => "check the network, the VPN and the server address in the kubeconfig",
            Self::Eks { .. } if is_certificate => {
                "something between here and EKS answers in place of the cluster: check HTTPS_PROXY, NO_PROXY and the DNS"
            }
            Self::Eks { is_private: true } => {
                "connect from the VPC of the cluster, such as through a VPN, or enable its public endpoint"
            }
            Self::Eks { is_private: false } => {
                "check the network, HTTPS_PROXY and NO_PROXY, and the public access CIDRs of the cluster"
            }
        }
    }
}

/// Why a cluster could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ClusterError {
    #[error("cannot use the kubeconfig: {why}")]
    InvalidKubeconfig { why: String },
    #[error("the kubeconfig has no context `{name}`")]
    ContextNotFound { name: String, nearest: Option<String> },
    #[error("cannot connect to the cluster at {server}: {why}")]
    Unreachable { server: String, why: String, origin: ServerOrigin },
    #[error("{what} timed out after {}", duration_text(*after))]
    TimedOut {
        /// Such as `the request to list roles at https://…`.
        what: String,
        after: Duration,
        /// Whether the request was sent. If it was a write, its outcome is unknown.
        sent: bool,
        limit: TimeLimit,
    },
    #[error("the cluster at {server} rejected the credentials")]
    Unauthorized {
        server: String,
        why: String,
        /// The ARN that STS reports for the credentials, if it was asked.
        caller: Option<String>,
    },
    #[error(transparent)]
    Aws(Box<AwsError>),
    #[error("the credential plugin failed: {why}")]
    CredentialPlugin { why: String },
    #[error("you are not allowed to {verb} {resource}: {why}")]
    Forbidden { verb: String, resource: String, why: String },
    #[error("{object}: {refusal}")]
    Rejected { object: String, refusal: WriteError },
    /// A write of an access entry is several calls, and another client can change the entry between them.
    #[error("{object} may be changed only in part: {}", why.cause())]
    PartlyWritten { object: String, why: Box<Self> },
    #[error("the API server answered {status} to {what}: {why}")]
    UnexpectedStatus { status: u16, what: String, why: String },
    #[error("the response to {what} is longer than {} MiB", limit >> 20)]
    ResponseTooLong {
        what: String,
        limit: usize,
        /// Whether the response is a list, whose size has a flag.
        is_list: bool,
    },
    #[error("cannot {what}: the lists of the cluster have more than {} MiB together", limit >> 20)]
    ObservationTooLarge { what: String, limit: usize },
    #[error("invalid response to {what}: {why}")]
    InvalidResponse { what: String, why: String },
    #[error("cannot read the snapshot {file}: {why}")]
    SnapshotIo { file: String, why: String },
    #[error("the snapshot {file} is longer than {max_mib} MiB")]
    SnapshotTooLong { file: String, max_mib: u64, is_named_by_user: bool },
    #[error("the policy names the snapshot `{file}`, which is not a file in its own directory")]
    SnapshotOfPolicy { file: String, why: ContainmentError },
    #[error("cannot write the snapshot {file}: {why}")]
    SnapshotNotWritten { file: String, why: String, help: &'static str },
    #[error("invalid snapshot: {why}")]
    InvalidSnapshot {
        file: String,
        line: usize,
        /// The line. `None` if the user has not named the file on the command line: a policy or a plan file could name
        /// a file with secrets.
        text: Option<String>,
        why: String,
    },
    #[error("the snapshot {file} was changed after it was read")]
    SnapshotChanged { file: String },
    #[error(transparent)]
    NestedAggregation(#[from] TooManyNestedRoles),
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl From<AwsError> for ClusterError {
    fn from(error: AwsError) -> Self {
        match error {
            AwsError::TimedOut { action, after } => {
                let what = format!("asking AWS for {action}");
                Self::TimedOut { what, after, sent: false, limit: TimeLimit::AwsCall }
            }
            AwsError::Internal(error) => Self::Internal(error),
            error => Self::Aws(Box::new(error)),
        }
    }
}

impl ClusterError {
    /// Returns the error with its help, and with the line of a snapshot if it is about one.
    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        if let Self::Internal(error) = self {
            return error.into();
        }
        if let Self::Aws(error) = self {
            return error.to_diagnostic();
        }
        let mut diagnostic = Diagnostic::error(self.to_string());
        if let Self::InvalidSnapshot { file, line, text, .. } = self {
            let (name, text) = (file.clone(), text.clone());
            diagnostic = match text {
                Some(text) => diagnostic.with_excerpt(Excerpt { name, line: *line, column: 1, text }),
                None => diagnostic
                    .with_note(format!("at {name}:{line}; the line is shown if the file is named on the command line")),
            };
        }
        if let Self::SnapshotOfPolicy { why, .. } = self {
            diagnostic = diagnostic.with_because(why.to_string());
        }
        if let Self::Unauthorized { caller: Some(caller), .. } = self {
            diagnostic = diagnostic.with_because(format!("your credentials are valid: you are {caller}"));
        }
        if let Self::Unreachable { origin: ServerOrigin::Eks { is_private: true }, .. }
        | Self::TimedOut { limit: TimeLimit::EksRequest { is_private: true }, .. } = self
        {
            diagnostic = diagnostic.with_because("the endpoint of the cluster is private");
        }
        match self.help() {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }

    /// Returns the cause without the operation and the object, for messages that name them already.
    pub(crate) fn cause(&self) -> String {
        match self {
            // The API server answers `configmaps "aws-auth" is forbidden: User "u" cannot patch …`.
            Self::Forbidden { why, .. } => why.clone(),
            Self::Rejected { refusal, .. } => refusal.to_string(),
            Self::UnexpectedStatus { status, why, .. } => format!("the API server answered {status}: {why}"),
            Self::PartlyWritten { why, .. } => format!("it may be changed only in part: {}", why.cause()),
            other => other.to_string(),
        }
    }

    /// Returns whether a write that failed with this error may have been made.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::InvalidResponse { .. }
            | Self::ResponseTooLong { .. }
            | Self::UnexpectedStatus { status: 500..=599, .. } => true,
            Self::TimedOut { sent, .. } => *sent,
            Self::Aws(error) => error.is_outcome_unknown(),
            Self::PartlyWritten { .. } => true,
            _ => false,
        }
    }

    /// Returns whether a write failed because another client had changed the object.
    pub(crate) fn is_conflict(&self) -> bool {
        let is_conflict = |refusal: &WriteError| {
            matches!(refusal, WriteError::Conflict | WriteError::NotFound | WriteError::AlreadyExists)
        };
        match self {
            Self::Rejected { refusal, .. } => is_conflict(refusal),
            Self::PartlyWritten { why, .. } => why.is_conflict(),
            _ => false,
        }
    }

    /// What the user can do about it.
    pub(crate) fn help(&self) -> Option<String> {
        Some(match self {
            Self::InvalidKubeconfig { .. } => {
                "fix it, select another one with KUBECONFIG or --kubeconfig, or use a snapshot with --snapshot FILE"
                    .to_owned()
            }
            Self::ContextNotFound { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::ContextNotFound { nearest: None, .. } => {
                "run `kubectl config get-contexts` to list the contexts".to_owned()
            }
            Self::Unreachable { why, origin, .. } => origin.help(why).to_owned(),
            Self::TimedOut { after, limit, .. } => {
                let check = match limit {
                    TimeLimit::Plugin => "run the plugin manually (the `exec` entry of the kubeconfig user)",
                    TimeLimit::Request | TimeLimit::Observation => {
                        "check the network, the VPN and the server address in the kubeconfig"
                    }
                    TimeLimit::EksRequest { is_private } => ServerOrigin::Eks { is_private: *is_private }.help(""),
                    TimeLimit::AwsCall => "check the network, HTTPS_PROXY and NO_PROXY",
                };
                let flag = match limit {
                    TimeLimit::Request | TimeLimit::EksRequest { .. } | TimeLimit::Plugin | TimeLimit::AwsCall => {
                        "--request-timeout"
                    }
                    TimeLimit::Observation => "--timeout",
                };
                format!("{check}; to wait longer, pass {flag} {}", duration_text(after.saturating_mul(2)))
            }
            Self::ResponseTooLong { is_list: false, .. } => {
                "check that the server address in the kubeconfig is that of the cluster".to_owned()
            }
            Self::ResponseTooLong { limit, .. } | Self::ObservationTooLarge { limit, .. } => format!(
                "check that the server address in the kubeconfig is that of the cluster; if it is, pass --max-response {}",
                (limit >> 20).saturating_mul(2).max(1)
            ),
            Self::Unauthorized { caller: Some(_), .. } => {
                "ask for an entry in aws-auth or an access entry for this identity, or use another one".to_owned()
            }
            Self::Unauthorized { .. } => {
                "renew your credentials (aws sso login); if they are valid, aws-auth has no entry for your identity"
                    .to_owned()
            }
            Self::CredentialPlugin { .. } => {
                "run the command manually: it is the `exec` entry of the kubeconfig user".to_owned()
            }
            Self::Forbidden { verb, .. } if ["create", "patch", "delete"].contains(&verb.as_str()) => {
                "run `rolecall permissions` to print the roles that apply needs".to_owned()
            }
            Self::Forbidden { .. } => {
                "run `rolecall permissions --for plan` to print the role that reading needs".to_owned()
            }
            Self::Rejected {
                refusal: WriteError::Conflict | WriteError::NotFound | WriteError::AlreadyExists, ..
            } => "plan again: the object has changed since the plan was made".to_owned(),
            Self::Rejected { refusal: WriteError::NamespaceTerminating(_), .. } => {
                "remove the namespace from the policy, or wait until it is deleted and create it again".to_owned()
            }
            Self::SnapshotIo { file, .. } if file == snapshot::STDIN_NAME => {
                "pass the snapshot again with --snapshot".to_owned()
            }
            Self::SnapshotTooLong { is_named_by_user: true, .. } => {
                "keep only the roles, the bindings, the namespaces and aws-auth, as `rolecall snapshot` does".to_owned()
            }
            Self::SnapshotTooLong { .. } => "make it shorter, or name it yourself with --snapshot FILE".to_owned(),
            Self::SnapshotIo { .. } => {
                "run `rolecall snapshot --out FILE` to create a snapshot of a live cluster".to_owned()
            }
            Self::SnapshotOfPolicy { .. } => {
                "name a .yaml, .yml or .json file in the directory of the policy, or pass --snapshot FILE".to_owned()
            }
            Self::SnapshotNotWritten { help, .. } => (*help).to_owned(),
            Self::SnapshotChanged { .. } => "plan again".to_owned(),
            Self::NestedAggregation(_) => {
                "list their rules instead, or select ClusterRoles that are not aggregated".to_owned()
            }
            Self::UnexpectedStatus { status: 429 | 500..=599, .. } => {
                "the API server, or a proxy in front of it, is overloaded or failing: try again later".to_owned()
            }
            Self::InvalidSnapshot { .. } => {
                "fix the file, or regenerate it with `rolecall snapshot --out FILE`".to_owned()
            }
            Self::Aws(error) => return error.help(),
            Self::PartlyWritten { why, .. } => return why.help(),
            Self::Rejected { .. }
            | Self::UnexpectedStatus { .. }
            | Self::InvalidResponse { .. }
            | Self::Internal(_) => return None,
        })
    }
}
