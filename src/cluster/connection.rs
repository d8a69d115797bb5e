//! Connects to the selected live cluster.

use std::sync::Arc;

use super::api_client::ApiClient;
use super::credentials::CredentialSource;
use super::eks::{EksTokenSource, describe_and_configure, load_session};
use super::eks_entries::EksStore;
use super::kubeconfig::{ContextSelector, KubeconfigSource, load_context};
use super::live::LiveCluster;
use super::settings::ConnectionSettings;
use super::token_command::parse_token_command;
use super::{ClusterError, ServerOrigin};
use crate::aws::EksCluster;

/// A connection to a live cluster.
pub(crate) struct LiveConnection {
    pub(crate) cluster: LiveCluster,
    /// The selector that leads to the same cluster, also if the AWS configuration changes.
    pub(crate) selector: ContextSelector,
    /// `context prod`, or `eks eu-west-1/prod`.
    pub(crate) description: String,
    /// The default namespace of the context.
    pub(crate) namespace: String,
    /// What makes the tokens of an EKS cluster.
    pub(crate) tokens: Option<Arc<EksTokenSource>>,
    /// What DescribeCluster said, if the cluster was selected by its name in EKS.
    pub(crate) eks: Option<EksCluster>,
}

/// Connects to the cluster. Its API server is not asked yet.
///
/// # Errors
/// If the kubeconfig or the AWS configuration is not valid, or AWS refuses the credentials.
pub(crate) async fn connect(
    selector: &ContextSelector,
    source: &KubeconfigSource,
    settings: &ConnectionSettings,
) -> Result<LiveConnection, ClusterError> {
    let name = match selector {
        ContextSelector::Eks(target) => {
            let (config, tokens, eks, resolved) = describe_and_configure(target, &source.env, settings).await?;
            let tokens = Arc::new(tokens);
            let origin = ServerOrigin::Eks { is_private: eks.is_private };
            let namespace = config.default_namespace.clone();
            let credentials = CredentialSource::Eks(tokens.clone());
            let client = ApiClient::new(config, credentials, origin, settings.clone()).await?;
            return Ok(LiveConnection {
                cluster: LiveCluster::new(client, Some(EksStore::new(tokens.clone(), settings.clone(), Some(&eks))?)),
                description: resolved.describe(),
                selector: ContextSelector::Eks(resolved),
                namespace,
                tokens: Some(tokens),
                eks: Some(eks),
            });
        }
        ContextSelector::Named(name) => Some(name.as_str()),
        ContextSelector::Current => None,
    };
    let (mut config, context) = load_context(name, source, settings).await?;
    let command = config.auth_info.exec.as_ref().filter(|_| !source.use_exec_plugin);
    let command = command.and_then(|exec| parse_token_command(exec, &config.cluster_url));
    let tokens = match command {
        Some(command) => {
            config.auth_info.exec = None;
            let session = load_session(command.aws, &source.env, settings).await?;
            Some(Arc::new(EksTokenSource::new(session, command.token_id, config.cluster_url.clone())))
        }
        None => None,
    };
    let credentials = tokens.clone().map_or(CredentialSource::Kubeconfig, CredentialSource::Eks);
    let namespace = config.default_namespace.clone();
    let client = ApiClient::new(config, credentials, ServerOrigin::Kubeconfig, settings.clone()).await?;
    let store = tokens.clone().map(|tokens| EksStore::new(tokens, settings.clone(), None)).transpose()?;
    Ok(LiveConnection {
        cluster: LiveCluster::new(client, store),
        selector: selector.clone(),
        description: format!("context {context}"),
        namespace,
        tokens,
        eks: None,
    })
}
