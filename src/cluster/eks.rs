//! Connects to an EKS cluster by its name: DescribeCluster says where it is, and each token is a presigned request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Kubeconfig};
use serde_json::json;
use tokio::sync::OnceCell;

use super::ClusterError;
use super::kubeconfig::{EksTarget, context_config};
use super::settings::ConnectionSettings;
use crate::aws::{
    AccessEntryApi, AwsCallContext, AwsCallLog, AwsError, AwsSession, AwsSettings, EksCluster, StsIdentity,
    read_node_roles,
};
use crate::diagnostic::InternalError;
use crate::guard::NodeRoleUse;
use crate::names::{is_eks_cluster_name, is_region};

/// Makes tokens for one cluster.
pub(crate) struct EksTokenSource {
    session: AwsSession,
    token_id: String,
    /// The address of the API server that receives the tokens.
    server: Uri,
    /// Asked of STS once.
    caller: OnceCell<StsIdentity>,
}

impl EksTokenSource {
    pub(super) fn new(session: AwsSession, token_id: String, server: Uri) -> Self {
        Self { session, token_id, server, caller: OnceCell::new() }
    }

    /// Returns a token that no API server has seen.
    pub(super) async fn new_token(&self) -> Result<String, ClusterError> {
        Ok(self.session.new_token(&self.token_id).await?)
    }

    /// Makes the next token with new credentials, because the last one was refused.
    pub(super) async fn forget_credentials(&self) {
        self.session.forget_credentials().await;
    }

    /// Describes the cluster, if it was not selected by its name in EKS. A kubeconfig does not say in which account the
    /// cluster is, so another one can have the same name.
    ///
    /// # Errors
    /// If AWS does not allow or answer the call, or describes another cluster.
    pub(crate) async fn describe_cluster(&self) -> Result<EksCluster, AwsError> {
        let described = self.session.describe_cluster(&self.token_id, None).await?;
        let address = |uri: &Uri| Some((uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(443)));
        let endpoint = described.endpoint.parse::<Uri>().ok();
        if endpoint.is_some_and(|endpoint| address(&endpoint) == address(&self.server)) {
            return Ok(described);
        }
        let problem = "its endpoint is not the server of the kubeconfig";
        Err(AwsError::InvalidCluster { name: self.token_id.clone(), problem })
    }

    /// Describes a cluster of this account by its name.
    pub(super) async fn describe_cluster_named(&self, name: &str) -> Result<EksCluster, AwsError> {
        self.session.describe_cluster(name, None).await
    }

    /// Returns the access entries of a cluster of this account. Calls are repeated for at most `patience`.
    pub(super) async fn access_entry_api(
        &self,
        cluster: &str,
        patience: Duration,
    ) -> Result<AccessEntryApi<'_>, AwsError> {
        AccessEntryApi::new(&self.session, cluster, patience).await
    }

    /// Returns the roles that EKS uses for the nodes of the cluster.
    ///
    /// # Errors
    /// If AWS does not allow or answer one of the calls.
    pub(crate) async fn node_roles(&self) -> Result<Vec<(String, NodeRoleUse)>, AwsError> {
        read_node_roles(&self.session, &self.token_id).await
    }

    /// Returns the identity of the credentials.
    pub(crate) async fn caller_identity(&self) -> Result<&StsIdentity, AwsError> {
        self.caller.get_or_try_init(|| self.session.caller_identity()).await
    }
}

/// Loads the AWS configuration for a cluster.
pub(super) async fn load_session(
    aws: AwsSettings,
    vars: &BTreeMap<String, String>,
    settings: &ConnectionSettings,
) -> Result<AwsSession, ClusterError> {
    let limit = settings.timeouts.request_with_retries();
    let log = settings.log.clone();
    let context = AwsCallContext {
        connect: settings.timeouts.connect,
        attempt: settings.timeouts.request,
        total: limit,
        log: AwsCallLog::new(move |description, result, elapsed| log.ended(description, result, elapsed)),
        pool: settings.credentials.clone(),
        vars: vars.clone(),
    };
    let loading = tokio::time::timeout(limit, AwsSession::load(aws, context));
    let loaded = settings.log.watch("the AWS configuration", limit, loading).await;
    let timed_out = |_| AwsError::TimedOut { action: "the region", after: limit };
    Ok(loaded.map_err(timed_out).and_then(|loaded| loaded)?)
}

/// Returns the configuration of the connection, its source of tokens, and the cluster with its region.
pub(super) async fn describe_and_configure(
    target: &EksTarget,
    vars: &BTreeMap<String, String>,
    settings: &ConnectionSettings,
) -> Result<(Config, EksTokenSource, EksCluster, EksTarget), ClusterError> {
    check_names(target)?;
    let session = load_session(target.aws.clone(), vars, settings).await?;
    let region = Some(session.region().to_owned());
    let resolved = EksTarget { aws: AwsSettings { region, ..target.aws.clone() }, ..target.clone() };
    let limit = settings.timeouts.request_with_retries();
    let describing = session.describe_cluster(&target.name, target.account.as_deref());
    let description = format!("AWS to describe the cluster {}", target.name);
    let cluster = settings.log.watch(&description, limit, describing).await.map_err(|error| match error {
        AwsError::ClusterNotFound { name, region, account, known_region: _ } => {
            AwsError::ClusterNotFound { name, region, account, known_region: target.known_region.clone() }
        }
        error => error,
    })?;
    let config = to_config(&target.name, &cluster, vars).await?;
    let tokens = EksTokenSource::new(session, cluster.token_id.clone(), config.cluster_url.clone());
    Ok((config, tokens, cluster, resolved))
}

/// The clusters of an account in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EksClusterList {
    pub(crate) region: String,
    pub(crate) account: String,
    /// Sorted.
    pub(crate) names: Vec<String>,
}

/// Lists the clusters that the credentials lead to.
pub(crate) async fn list_eks_clusters(
    aws: AwsSettings,
    vars: &BTreeMap<String, String>,
    settings: &ConnectionSettings,
) -> Result<EksClusterList, ClusterError> {
    let listing = async {
        let session = load_session(aws, vars, settings).await?;
        let (identity, names) = futures::future::try_join(session.caller_identity(), session.list_clusters()).await?;
        let (region, account) = (session.region().to_owned(), identity.account.to_string());
        Ok(EksClusterList { region, account, names })
    };
    settings.within_observation("the clusters of the account", listing).await
}

/// A saved plan or a backup can have any text.
fn check_names(target: &EksTarget) -> Result<(), AwsError> {
    let invalid = |text: &str, what| AwsError::InvalidName { text: text.to_owned(), what };
    if !is_eks_cluster_name(&target.name) {
        return Err(invalid(&target.name, "the name of an EKS cluster"));
    }
    match target.aws.region.as_deref().filter(|region| !is_region(region)) {
        Some(region) => Err(invalid(region, "an AWS region")),
        None => Ok(()),
    }
}

/// Returns the configuration as if a kubeconfig had the cluster, so that proxies and certificates are treated the same.
async fn to_config(name: &str, cluster: &EksCluster, vars: &BTreeMap<String, String>) -> Result<Config, ClusterError> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": {
            "server": cluster.endpoint,
            "certificate-authority-data": cluster.certificate_authority,
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": {} }],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig)
        .map_err(|_| InternalError::new("the description of an EKS cluster is not a kubeconfig"))?;
    let (config, _) = context_config(kubeconfig, None, vars).await?;
    Ok(config)
}

/// Returns the token as kube takes it.
pub(super) fn to_auth_info(token: &str) -> Result<AuthInfo, ClusterError> {
    // Deserialized from JSON, because kube does not export the type of its secrets.
    serde_json::from_value(json!({ "token": token }))
        .map_err(|_| InternalError::new("the token for EKS is not valid").into())
}

/// The identity of the caller, for a message about a token that was refused. `None` if STS cannot be asked.
///
/// # Errors
/// If AWS refuses the credentials: they are the cause.
pub(super) async fn caller_of_refused_token(source: &Arc<EksTokenSource>) -> Result<Option<String>, ClusterError> {
    match source.caller_identity().await {
        Ok(identity) => Ok(Some(identity.arn.clone())),
        Err(error) if error.is_about_credentials() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_saved_file_are_checked_before_they_are_sent() {
        let check = |name: &str, region: Option<&str>| {
            let aws = AwsSettings { region: region.map(str::to_owned), ..AwsSettings::default() };
            let target = EksTarget { name: name.to_owned(), account: None, aws, known_region: None };
            check_names(&target).map_err(|error| error.to_string())
        };
        assert_eq!(check("prod", Some("eu-west-1")), Ok(()));
        assert_eq!(check("prod", None), Ok(()));
        assert_eq!(check("a\nb", None), Err("`a\nb` is not the name of an EKS cluster".to_owned()));
        assert_eq!(check("prod", Some("evil.example/")), Err("`evil.example/` is not an AWS region".to_owned()));
    }
}
