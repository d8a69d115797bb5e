//! Selects the cluster: by a context of the kubeconfig, by the name of an EKS cluster, or the cluster that this process
//! runs in as a pod. The result is the configuration of a connection for those that are in the kubeconfig.
//!
//! This module only reads files. It sends no request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};

use super::ClusterError;
use super::files::{read_kubeconfig, with_file_timeout};
use super::kubeconfig_fields::check_fields;
use super::settings::ConnectionSettings;
use crate::aws::AwsSettings;
use crate::diagnostic::closest_match;
use crate::transport::bypasses_proxy;

/// How the cluster is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSelector {
    /// The current context of the kubeconfig. Without a kubeconfig, the service account of the pod.
    Current,
    /// A context of the kubeconfig.
    Named(String),
    /// An EKS cluster, which needs no kubeconfig.
    Eks(EksTarget),
}

/// An EKS cluster and the AWS credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EksTarget {
    pub(crate) name: String,
    /// The account that the cluster must be in.
    pub(crate) account: Option<String>,
    /// The region is that of the AWS configuration, if it has none.
    pub(crate) aws: AwsSettings,
    /// Another region, in which the policy has a cluster of this name.
    pub(crate) known_region: Option<String>,
}

impl EksTarget {
    /// `eks eu-west-1/prod`.
    pub(crate) fn describe(&self) -> String {
        match &self.aws.region {
            Some(region) => format!("eks {region}/{}", self.name),
            None => format!("eks {}", self.name),
        }
    }
}

/// Where the kubeconfig is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubeconfigSource {
    /// The value of `--kubeconfig`, which takes precedence over the environment.
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    /// Whether the credential plugin of a user runs although rolecall could make the token.
    pub(crate) use_exec_plugin: bool,
}

/// Returns the configuration of a connection, and the name of the context that it is made from: the given one, or the
/// current one.
pub(crate) async fn load_context(
    name: Option<&str>,
    source: &KubeconfigSource,
    settings: &ConnectionSettings,
) -> Result<(Config, String), ClusterError> {
    let (name, source) = (name.map(str::to_owned), source.clone());
    let runtime = tokio::runtime::Handle::current();
    let load = move || runtime.block_on(load_context_blocking(name.as_deref(), &source));
    with_file_timeout("the kubeconfig and the files that it names", settings, load).await
}

/// Reads the files in the current thread.
async fn load_context_blocking(
    name: Option<&str>,
    source: &KubeconfigSource,
) -> Result<(Config, String), ClusterError> {
    let Some(kubeconfig) = read_merged(source)? else {
        return load_in_cluster_config(name, source);
    };
    context_config(kubeconfig, name, &source.env).await
}

/// Returns the configuration of a connection, and the name of the context that it is made from.
pub(super) async fn context_config(
    kubeconfig: Kubeconfig,
    name: Option<&str>,
    vars: &BTreeMap<String, String>,
) -> Result<(Config, String), ClusterError> {
    let context = match name {
        Some(name) => name.to_owned(),
        None => kubeconfig.current_context.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
            let why = "it has no `current-context`, and no context was selected".to_owned();
            ClusterError::InvalidKubeconfig { why }
        })?,
    };
    let Some(named_context) = kubeconfig.contexts.iter().find(|named| named.name == context) else {
        let names = kubeconfig.contexts.iter().map(|named| named.name.as_str());
        let nearest = closest_match(&context, names).map(str::to_owned);
        return Err(ClusterError::ContextNotFound { name: context, nearest });
    };
    let user = named_context.context.as_ref().and_then(|inner| inner.user.as_deref()).filter(|user| !user.is_empty());
    // Without this check the client would connect as an anonymous user.
    if let Some(user) = user.filter(|user| !kubeconfig.auth_infos.iter().any(|auth| auth.name == **user)) {
        let why = format!("the context `{context}` refers to the user `{user}`, which is not defined");
        return Err(ClusterError::InvalidKubeconfig { why });
    }
    check_fields(&kubeconfig, named_context)?;
    let cluster = named_context.context.as_ref().map(|inner| inner.cluster.as_str());
    let cluster = kubeconfig.clusters.iter().find(|named| Some(named.name.as_str()) == cluster);
    let proxy_url = cluster.and_then(|named| named.cluster.as_ref()?.proxy_url.as_deref());
    let has_own_proxy = proxy_url.is_some_and(|url| !url.is_empty());
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| kubeconfig_error(&error))?;
    // kube 5.0 compares NO_PROXY with the proxy and not with the cluster (`config/file_loader.rs`, `proxy_url`).
    if !has_own_proxy && bypasses_proxy(&config.cluster_url, vars) {
        config.proxy_url = None;
    }
    Ok((config, context))
}

/// Returns the configuration for the service account of the pod, if there is no kubeconfig.
fn load_in_cluster_config(name: Option<&str>, source: &KubeconfigSource) -> Result<(Config, String), ClusterError> {
    if name.is_some() || !source.env.contains_key("KUBERNETES_SERVICE_HOST") {
        let paths: Vec<String> = source.paths().iter().map(|path| path.display().to_string()).collect();
        let why = format!("the file {} does not exist", paths.join(", "));
        return Err(ClusterError::InvalidKubeconfig { why });
    }
    let config = Config::incluster_env().map_err(|_| {
        let why = "there is none, and the service account of the pod is not complete".to_owned();
        ClusterError::InvalidKubeconfig { why }
    })?;
    Ok((config, "in-cluster".to_owned()))
}

impl KubeconfigSource {
    /// Returns the files in the order of their precedence. They need not exist.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        if let Some(file) = &self.file {
            return vec![file.clone()];
        }
        if let Some(list) = self.env.get("KUBECONFIG").filter(|list| !list.is_empty()) {
            return std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect();
        }
        let home = self.env.get("HOME").or_else(|| self.env.get("USERPROFILE"));
        home.map(|home| Path::new(home).join(".kube").join("config")).into_iter().collect()
    }
}

/// Reads and merges the files as kubectl does: if several files define the same name, the first one wins. The file of
/// `--kubeconfig` must exist; files of the environment may be missing.
fn read_merged(source: &KubeconfigSource) -> Result<Option<Kubeconfig>, ClusterError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in source.paths() {
        if source.file.is_none() && !path.exists() {
            continue;
        }
        let next = read_kubeconfig(&path).map_err(|error| parse_error(&error, &path))?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|error| kubeconfig_error(&error))?,
        });
    }
    Ok(merged)
}

/// Returns the error for a file that cannot be parsed: only its line, because the message of the parser may quote a
/// credential.
pub(super) fn parse_error(error: &KubeconfigError, path: &Path) -> ClusterError {
    let KubeconfigError::Parse(error) = error else {
        return kubeconfig_error(error);
    };
    let line = error.location().map(|location| format!("line {} of ", location.line())).unwrap_or_default();
    ClusterError::InvalidKubeconfig { why: format!("{line}{} is not valid", path.display()) }
}

/// Converts an error without quoting the content of the file, which may contain credentials.
pub(super) fn kubeconfig_error(error: &KubeconfigError) -> ClusterError {
    let why = match error {
        KubeconfigError::ReadConfig(error, path) => describe_io_error(error, path),
        KubeconfigError::Parse(_) => "it is not valid".to_owned(),
        KubeconfigError::LoadContext(name) => format!("the context `{name}` is empty"),
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("the context refers to the cluster `{name}`, which is not defined")
        }
        KubeconfigError::MissingClusterUrl => "the cluster of the context has no `server`".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "the `server` of the cluster is not a URL".to_owned(),
        KubeconfigError::ParseProxyUrl(_) => {
            "the URL of the proxy, in HTTPS_PROXY or `proxy-url`, is not a URL".to_owned()
        }
        KubeconfigError::ParseNoProxy(_) => "the variable NO_PROXY is not valid".to_owned(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "its files have different kinds or versions".to_owned()
        }
        KubeconfigError::LoadCertificateAuthority(error) => {
            format!("the certificate authority of the cluster cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::LoadClientCertificate(error) => {
            format!("the client certificate of the user cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::LoadClientKey(error) => {
            format!("the client key of the user cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::ParseCertificates(_) => {
            "the certificate authority of the cluster is not in PEM format".to_owned()
        }
        KubeconfigError::CurrentContextNotSet => "it has no `current-context`".to_owned(),
        KubeconfigError::FindPath => "its path is unknown".to_owned(),
    };
    ClusterError::InvalidKubeconfig { why }
}

/// Returns why the kubeconfig, or a file that it refers to, cannot be read.
pub(super) fn describe_io_error(error: &std::io::Error, path: &Path) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("the file {} does not exist", path.display()),
        std::io::ErrorKind::PermissionDenied => format!("permission to read {} is denied", path.display()),
        std::io::ErrorKind::IsADirectory => format!("{} is a directory", path.display()),
        std::io::ErrorKind::FileTooLarge => format!("{}: {error}", path.display()),
        std::io::ErrorKind::InvalidData => format!("{} is not text", path.display()),
        _ => format!("{} cannot be read", path.display()),
    }
}

fn describe_load_error(error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(_) => "it is not valid base64".to_owned(),
        LoadDataError::ReadFile(error, path) => describe_io_error(error, path),
        LoadDataError::NoBase64DataOrFile => "the kubeconfig has neither its data nor its file name".to_owned(),
    }
}
