//! Selects the cluster: by a context of the kubeconfig, by the name of an EKS cluster, or the cluster that this process
//! runs in as a pod. The result is the configuration of a connection.
//!
//! This module only reads files. It sends no request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError, NamedContext};

use super::ClusterError;
use super::files::{read_kubeconfig, with_file_timeout};
use super::kubeconfig_fields::check_fields;
use super::settings::ConnectionSettings;
use crate::diagnostic::closest_match;

/// How the context is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSelector {
    /// The current context of the kubeconfig. Without a kubeconfig, the service account of the pod.
    Current,
    Named(String),
    Eks {
        name: String,
        region: String,
        account: Option<String>,
    },
}

/// Where the kubeconfig is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubeconfigSource {
    /// The value of `--kubeconfig`, which takes precedence over the environment.
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
}

/// Returns the configuration of a connection, and the name of the context that it is made from.
pub(crate) async fn load_context(
    selector: &ContextSelector,
    source: &KubeconfigSource,
    settings: &ConnectionSettings,
) -> Result<(Config, String), ClusterError> {
    let (selector, source) = (selector.clone(), source.clone());
    let runtime = tokio::runtime::Handle::current();
    let load = move || runtime.block_on(load_context_blocking(&selector, &source));
    with_file_timeout("the kubeconfig and the files that it names", settings, load).await
}

/// Reads the files in the current thread.
async fn load_context_blocking(
    selector: &ContextSelector,
    source: &KubeconfigSource,
) -> Result<(Config, String), ClusterError> {
    let Some(kubeconfig) = read_merged(source)? else {
        return load_in_cluster_config(selector, source);
    };
    context_config(kubeconfig, selector).await
}

/// Returns the configuration of a connection, and the name of the context that it is made from.
pub(super) async fn context_config(
    kubeconfig: Kubeconfig,
    selector: &ContextSelector,
) -> Result<(Config, String), ClusterError> {
    let context = match selector {
        ContextSelector::Current => {
            kubeconfig.current_context.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
                let why = "it has no `current-context`, and no context was selected".to_owned();
                ClusterError::InvalidKubeconfig { why }
            })?
        }
        ContextSelector::Named(name) => name.clone(),
        ContextSelector::Eks { name, region, account } => {
            find_eks_context(&kubeconfig, name, region, account.as_deref())?
        }
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
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| kubeconfig_error(&error))?;
    Ok((config, context))
}

/// Returns the configuration for the service account of the pod, if there is no kubeconfig.
fn load_in_cluster_config(
    selector: &ContextSelector,
    source: &KubeconfigSource,
) -> Result<(Config, String), ClusterError> {
    if *selector != ContextSelector::Current || !source.env.contains_key("KUBERNETES_SERVICE_HOST") {
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

/// Returns the context of an EKS cluster, as written by `aws eks update-kubeconfig` or eksctl.
fn find_eks_context(
    kubeconfig: &Kubeconfig,
    name: &str,
    region: &str,
    account: Option<&str>,
) -> Result<String, ClusterError> {
    let is_match = |context: &NamedContext| {
        let Some(inner) = &context.context else {
            return false;
        };
        is_eks_cluster_entry(&inner.cluster, name, region, account)
            || inner.user.as_deref().is_some_and(|user| is_eks_token_command(kubeconfig, user, name, region))
    };
    let matches: Vec<&NamedContext> = kubeconfig.contexts.iter().filter(|context| is_match(context)).collect();
    if let Some(current) = matches.iter().find(|context| Some(&context.name) == kubeconfig.current_context.as_ref()) {
        return Ok(current.name.clone());
    }
    let clusters: BTreeSet<&str> =
        matches.iter().filter_map(|context| context.context.as_ref()).map(|inner| inner.cluster.as_str()).collect();
    match matches.as_slice() {
        [] => Err(ClusterError::EksContextNotFound { name: name.to_owned(), region: region.to_owned() }),
        [first, ..] if clusters.len() == 1 => Ok(first.name.clone()),
        several => Err(ClusterError::AmbiguousEksContext {
            name: name.to_owned(),
            region: region.to_owned(),
            contexts: several.iter().map(|context| context.name.clone()).collect(),
        }),
    }
}

/// Returns whether the name of a cluster entry is `arn:aws:eks:eu-west-1:111122223333:cluster/prod`, as written by the
/// AWS CLI, or `prod.eu-west-1.eksctl.io`, as written by eksctl.
fn is_eks_cluster_entry(cluster: &str, name: &str, region: &str, account: Option<&str>) -> bool {
    if cluster == format!("{name}.{region}.eksctl.io") {
        return true;
    }
    let parts: Vec<&str> = cluster.splitn(6, ':').collect();
    let &["arn", _, "eks", arn_region, arn_account, resource] = parts.as_slice() else {
        return false;
    };
    arn_region == region
        && resource == format!("cluster/{name}")
        && account.is_none_or(|account| account == arn_account)
}

/// Returns whether the user has a credential plugin for this cluster: `aws --region eu-west-1 eks get-token
/// --cluster-name prod`, or `aws-iam-authenticator token -i prod`.
fn is_eks_token_command(kubeconfig: &Kubeconfig, user: &str, name: &str, region: &str) -> bool {
    let auth = kubeconfig.auth_infos.iter().find(|named| named.name == user).and_then(|named| named.auth_info.as_ref());
    let Some(exec) = auth.and_then(|auth| auth.exec.as_ref()) else {
        return false;
    };
    let args = exec.args.clone().unwrap_or_default();
    let value_of = |flags: &[&str]| {
        let position = args.iter().position(|arg| flags.contains(&arg.as_str()))?;
        args.get(position + 1).map(String::as_str)
    };
    value_of(&["--cluster-name", "--cluster-id", "-i"]) == Some(name) && value_of(&["--region"]) == Some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Kubeconfig {
        Kubeconfig::from_yaml(text).unwrap()
    }

    const KUBECONFIG: &str = "
contexts:
- { name: one, context: { cluster: 'arn:aws:eks:eu-west-1:111122223333:cluster/prod', user: a } }
- { name: two, context: { cluster: 'arn:aws:eks:eu-west-1:444455556666:cluster/prod', user: b } }
- { name: three, context: { cluster: 'stage.eu-west-1.eksctl.io', user: c } }
- { name: four, context: { cluster: other, user: d } }
users:
- name: d
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: aws
      args: [--region, eu-north-1, eks, get-token, --cluster-name, dev]
";

    #[test]
    fn eks_context_is_found_by_arn_eksctl_name_or_token_command() {
        let kubeconfig = config(KUBECONFIG);
        let find = |name, region, account| find_eks_context(&kubeconfig, name, region, account);
        assert_eq!(find("prod", "eu-west-1", Some("444455556666")).unwrap(), "two");
        assert_eq!(find("stage", "eu-west-1", None).unwrap(), "three");
        assert_eq!(find("dev", "eu-north-1", None).unwrap(), "four");
        assert!(matches!(find("prod", "eu-west-1", None), Err(ClusterError::AmbiguousEksContext { .. })));
        assert!(matches!(find("prod", "us-east-1", None), Err(ClusterError::EksContextNotFound { .. })));
    }

    #[test]
    fn current_context_is_preferred_among_several_matches() {
        let kubeconfig = config(&format!("current-context: two\n{KUBECONFIG}"));
        assert_eq!(find_eks_context(&kubeconfig, "prod", "eu-west-1", None).unwrap(), "two");
    }
}
