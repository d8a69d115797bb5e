//! The small port behind which a cluster stands: observe it whole, make one write.
//!
//! Two clusters implement it, the live one and the snapshot. Only `apply` ever holds something that can write.

pub(crate) mod any;
pub(crate) mod api_client;
mod child;
mod exec_plugin;
pub(crate) mod kubeconfig;
mod lease;
mod list;
pub(crate) mod live;
mod protobuf;
mod retry;
mod review;
pub(crate) mod settings;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use lease::{Lease, LeaseClient};
pub(crate) use review::{AccessReviewStatus, CallerCheck, CredentialFreshness};
use serde_json::Value;
use settings::duration_text;
use thiserror::Error;

use crate::access::Request;
use crate::diagnostic::{Diagnostic, Excerpt};
use crate::guard::NodeSample;
use crate::names::ObjectKey;
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest};

/// What plan, drift and all questions need: get and list.
pub(crate) trait ReadCluster {
    /// The access to the cluster, complete, or an error: a partial read is never an answer.
    async fn observe(&self) -> Result<State, ClusterError>;

    /// Every object of the access, as `rolecall snapshot` writes it: without who wrote it, sorted by kind and name.
    async fn export(&self) -> Result<Vec<Value>, ClusterError>;

    /// Who the cluster takes the caller for; a snapshot has no caller.
    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError>;

    /// Some of the nodes; a snapshot does not have them.
    async fn sample_nodes(&self) -> Result<Option<NodeSample>, ClusterError> {
        Ok(None)
    }

    /// Of each request whether the cluster's authorizers let the caller make it; a snapshot has no caller.
    async fn check_own_access(&self, _requests: &[Request]) -> Result<Option<Vec<bool>>, ClusterError> {
        Ok(None)
    }
}

/// What `apply` needs besides.
pub(crate) trait WriteCluster: ReadCluster {
    /// Makes one write under its precondition, retrying what may be retried.
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError>;

    /// Has the cluster judge a write, and makes it not.
    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError>;

    /// The object as it is stored, whole.
    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError>;

    /// Whether somebody may do something, as the cluster itself decides it.
    async fn review_access(&self, asked: &AccessProbe) -> Result<AccessReviewStatus, ClusterError>;

    /// Whom the cluster takes the caller for, and which of these he may; a snapshot has no caller.
    async fn check_caller(
        &self,
        with: CredentialFreshness,
        needs: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError>;

    /// Makes lasting what was written; a live cluster has done so already.
    async fn flush(&self) -> Result<(), ClusterError>;
}

/// How a write ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The object is now in this state.
    Stored(Option<ObjectVersion>),
    /// It was so already: nothing was changed.
    Unchanged(Option<ObjectVersion>),
    Deleted,
    /// It is being deleted and still grants, until these finalizers end.
    Terminating(Vec<String>),
}

/// An object that is being deleted and held up.
fn terminating_outcome(object: &Value) -> Option<WriteOutcome> {
    object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)?;
    let names = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    Some(WriteOutcome::Terminating(names.filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// The caller by SelfSubjectReview.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct UserInfo {
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// Says which authenticator let him in.
    #[serde(default)]
    pub(crate) uid: String,
    /// Among them `arn` and `canonicalArn` where the authenticator is EKS's.
    #[serde(default)]
    pub(crate) extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// His ARN, where the authenticator of EKS says it.
    pub(crate) fn arn(&self) -> Option<&str> {
        ["arn", "canonicalArn"].iter().find_map(|name| self.extra.get(*name)?.first()).map(String::as_str)
    }
}

/// Why a cluster did not answer, or said no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ClusterError {
    #[error("the kubeconfig cannot be used: {why}")]
    InvalidKubeconfig { why: String },
    #[error("the kubeconfig has no context `{name}`")]
    ContextNotFound { name: String, nearest: Option<String> },
    #[error("no context of the kubeconfig is for the EKS cluster `{name}` in {region}")]
    EksContextNotFound { name: String, region: String },
    #[error("several contexts of the kubeconfig are for an EKS cluster `{name}` in {region}: {}", contexts.join(", "))]
    AmbiguousEksContext { name: String, region: String, contexts: Vec<String> },
    #[error("the cluster at {server} cannot be reached: {why}")]
    Unreachable { server: String, why: String },
    #[error("{what} timed out after {}", duration_text(*after))]
    TimedOut {
        /// `the request to list roles to https://…`.
        what: String,
        after: Duration,
        /// What a write of this request could have done is not known.
        sent: bool,
        /// The credential plugin did, and not the API server.
        by_plugin: bool,
    },
    #[error("the cluster at {server} does not accept the credentials")]
    Unauthorized { server: String, why: String },
    #[error("the credentials plugin failed: {why}")]
    CredentialPlugin { why: String },
    #[error("the caller may not {verb} {resource}: {why}")]
    Forbidden { verb: String, resource: String, why: String },
    #[error("{object}: {refusal}")]
    Rejected { object: String, refusal: WriteError },
    #[error("the API server answered {status} to {what}: {why}")]
    UnexpectedStatus { status: u16, what: String, why: String },
    #[error("the answer to {what} cannot be read: {why}")]
    InvalidResponse { what: String, why: String },
    #[error("the snapshot {file} cannot be read: {why}")]
    SnapshotIo { file: String, why: String },
    #[error("the snapshot cannot be used: {why}")]
    InvalidSnapshot { file: String, line: usize, text: String, why: String },
    #[error("the snapshot {file} was changed by somebody else since it was read")]
    SnapshotChanged { file: String },
}

impl ClusterError {
    /// For people: with the line of a snapshot where it is about one, and what to do.
    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        let mut found = Diagnostic::error(self.to_string());
        if let Self::InvalidSnapshot { file, line, text, .. } = self {
            let (name, text) = (file.clone(), text.clone());
            found = found.with_excerpt(Excerpt { name, line: *line, column: 1, text });
        }
        match self.hint() {
            Some(hint) => found.with_help(hint),
            None => found,
        }
    }

    /// The cause alone, for where the write and its object have been named.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Forbidden { why, .. } => format!("the caller may not: {why}"),
            Self::Rejected { refusal, .. } => refusal.to_string(),
            Self::UnexpectedStatus { status, why, .. } => format!("the API server answered {status}: {why}"),
            other => other.to_string(),
        }
    }

    /// Whether a write that ended so may have been made all the same.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::InvalidResponse { .. }
            | Self::UnexpectedStatus { status: 500..=599, .. } => true,
            Self::TimedOut { sent, .. } => *sent,
            _ => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InvalidKubeconfig { .. } => "mend it, point KUBECONFIG or --kubeconfig at another, or plan on a file with --snapshot FILE".to_owned(),
            Self::ContextNotFound { nearest: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::ContextNotFound { nearest: None, .. } => "kubectl config get-contexts lists them".to_owned(),
            Self::EksContextNotFound { name, region } => {
                format!("make one by: aws eks update-kubeconfig --name {name} --region {region}")
            }
            Self::AmbiguousEksContext { .. } => {
                "give the cluster its `account`, or write `context = \"…\"` in place of `eks`".to_owned()
            }
            Self::Unreachable { why, .. } if why.contains("certificate") => {
                "the kubeconfig trusts another cluster's authority than this one's: write it anew (aws eks update-kubeconfig)".to_owned()
            }
            Self::Unreachable { .. } => "check the network, the VPN and the server address in the kubeconfig".to_owned(),
            Self::TimedOut { after, by_plugin, .. } => {
                let longer = duration_text(after.saturating_mul(2));
                let check = if *by_plugin {
                    "run the plugin by hand: it is the `exec` entry of the kubeconfig's user"
                } else {
                    "check the network, the VPN and the server address in the kubeconfig"
                };
                format!("{check}; to wait longer, add --timeout {longer}")
            }
            Self::Unauthorized { .. } => {
                "the token has expired, or aws-auth does not map your identity: renew the credentials (aws sso login) and try `rolecall whoami`".to_owned()
            }
            Self::CredentialPlugin { .. } => "run the command by hand: it is the `exec` entry of the kubeconfig's user".to_owned(),
            Self::Forbidden { verb, .. } if ["create", "patch", "delete"].contains(&verb.as_str()) => {
                "apply needs create, patch and delete on roles, clusterroles and their bindings, escalate on roles and clusterroles, bind on both, and create and patch on configmaps in kube-system".to_owned()
            }
            Self::Forbidden { .. } => {
                "plan needs get and list on namespaces, roles, clusterroles and their bindings, and get on the ConfigMap kube-system/aws-auth".to_owned()
            }
            Self::Rejected { refusal: WriteError::Conflict | WriteError::NotFound | WriteError::AlreadyExists, .. } => {
                "plan again: what was planned does not fit any more".to_owned()
            }
            Self::Rejected { refusal: WriteError::NamespaceTerminating(_), .. } => {
                "take the namespace out of the policy, or wait until it is gone and create it anew".to_owned()
            }
            Self::SnapshotIo { .. } => "rolecall snapshot writes one from a live cluster".to_owned(),
            Self::SnapshotChanged { .. } => "plan again".to_owned(),
            Self::UnexpectedStatus { status: 429 | 500..=599, .. } => {
                "the API server, or what stands before it, is overloaded or out of order: try again in a while".to_owned()
            }
            Self::InvalidSnapshot { .. } => "mend the file, or take it anew from the cluster by rolecall snapshot".to_owned(),
            Self::Rejected { .. } | Self::UnexpectedStatus { .. } | Self::InvalidResponse { .. } => return None,
        })
    }
}
