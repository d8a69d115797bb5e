//! The credentials of a connection: tokens for EKS, or those of a kubeconfig user, which are fixed, in a file with a token,
//! or printed by a plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kube::Config;
use kube::config::AuthInfo;
use serde_json::json;

use super::ClusterError;
use super::eks::{EksTokenSource, to_auth_info};
use super::exec_plugin::run_exec_plugin;
use super::files::{read_text, with_file_timeout};
use super::kubeconfig::describe_io_error;
use super::kubeconfig_fields::is_header_value;
use super::settings::ConnectionSettings;
use crate::aws::TOKEN_LIFETIME;

/// Where the credentials of a connection come from.
#[derive(Clone)]
pub(super) enum CredentialSource {
    /// The user of the kubeconfig.
    Kubeconfig,
    /// rolecall makes the tokens.
    Eks(Arc<EksTokenSource>),
}

impl CredentialSource {
    /// Makes the next credentials independent of those before.
    pub(super) async fn prepare_renewal(&self) {
        if let Self::Eks(source) = self {
            source.forget_credentials().await;
        }
    }
}

/// Returns the configuration with fixed credentials: those that the plugin prints, or the token of the file. The kube
/// client would read the file again during a request, without a limit, and would run a plugin three times. The second value
/// is when they have to be renewed, if that is known.
///
/// # Errors
/// If the credentials cannot be obtained, or the user has an `auth-provider`, which kubectl no longer supports either
/// (Kubernetes 1.26 changelog) and which the kube client would run without a limit.
pub(super) async fn resolve_credentials(
    mut config: Config,
    source: &CredentialSource,
    settings: &ConnectionSettings,
) -> Result<(Config, Option<Instant>), ClusterError> {
    match source {
        CredentialSource::Kubeconfig => Ok((resolve_user(config, settings).await?, None)),
        CredentialSource::Eks(source) => {
            let renew_at = Instant::now() + TOKEN_LIFETIME;
            let limit = settings.timeouts.request_with_retries();
            let token = settings.log.watch("AWS credentials", limit, source.new_token()).await?;
            // The user can also have a user to impersonate.
            config.auth_info.token = to_auth_info(&token)?.token;
            Ok((config, Some(renew_at)))
        }
    }
}

async fn resolve_user(mut config: Config, settings: &ConnectionSettings) -> Result<Config, ClusterError> {
    if config.auth_info.auth_provider.is_some() {
        let why = "the user has an `auth-provider`, which is not supported; use `exec`".to_owned();
        return Err(ClusterError::InvalidKubeconfig { why });
    }
    let token_file = config.auth_info.token_file.take().filter(|_| config.auth_info.token.is_none());
    if let Some(exec) = config.auth_info.exec.take() {
        let credentials = run_exec_plugin(exec, settings).await?;
        config.auth_info = AuthInfo {
            token: credentials.token,
            client_certificate_data: credentials.client_certificate_data,
            client_key_data: credentials.client_key_data,
            ..config.auth_info
        };
    } else if let Some(file) = token_file.map(PathBuf::from) {
        let read = move || {
            read_text(&file).map_err(|error| ClusterError::InvalidKubeconfig { why: describe_io_error(&error, &file) })
        };
        let token = with_file_timeout("the token file of the user", settings, read).await?;
        if !is_header_value(token.trim()) {
            let why = "the token file of the user has characters that a header cannot have".to_owned();
            return Err(ClusterError::InvalidKubeconfig { why });
        }
        // Deserialized from JSON, because kube does not export the type of its secrets.
        let with_token: Result<AuthInfo, _> = serde_json::from_value(json!({ "token": token.trim() }));
        let with_token = with_token.map_err(|_| ClusterError::InvalidKubeconfig {
            why: "the token file of the user is not valid".to_owned(),
        })?;
        config.auth_info.token = with_token.token;
    }
    Ok(config)
}
