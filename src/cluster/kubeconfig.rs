//! Which cluster is meant: a context of the kubeconfig, the pod that this runs in, or an EKS cluster by its name.
//!
//! Nothing is sent here; what comes out is the configuration of a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError, NamedContext};

use super::ClusterError;
use crate::diagnostic::closest_match;

/// Which context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSelector {
    /// The kubeconfig's current one; without a kubeconfig that of the pod.
    Current,
    Named(String),
    Eks {
        name: String,
        region: String,
        account: Option<String>,
    },
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubeconfigSource {
    /// `--kubeconfig`, which stands before the environment.
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
}

/// The configuration of a connection, and the name of the context that it comes from.
pub(crate) async fn load_context(
    wanted: &ContextSelector,
    lookup: &KubeconfigSource,
) -> Result<(Config, String), ClusterError> {
    let Some(kubeconfig) = read_merged(lookup)? else {
        return load_in_cluster_config(wanted, lookup);
    };
    let context = match wanted {
        ContextSelector::Current => {
            kubeconfig.current_context.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
                ClusterError::InvalidKubeconfig { why: "it has no current context, and none was named".to_owned() }
            })?
        }
        ContextSelector::Named(name) => name.clone(),
        ContextSelector::Eks { name, region, account } => {
            find_eks_context(&kubeconfig, name, region, account.as_deref())?
        }
    };
    if !kubeconfig.contexts.iter().any(|known| known.name == context) {
        let names = kubeconfig.contexts.iter().map(|known| known.name.as_str());
        let nearest = closest_match(&context, names).map(str::to_owned);
        return Err(ClusterError::ContextNotFound { name: context, nearest });
    }
    let user = kubeconfig.contexts.iter().find(|known| known.name == context);
    let user = user.and_then(|known| known.context.as_ref()?.user.as_deref()).filter(|user| !user.is_empty());
    // The client would go on as nobody.
    if let Some(user) = user.filter(|user| !kubeconfig.auth_infos.iter().any(|known| known.name == **user)) {
        let why = format!("the context `{context}` names the user `{user}`, which it does not have");
        return Err(ClusterError::InvalidKubeconfig { why });
    }
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| kubeconfig_error(&error))?;
    Ok((config, context))
}

/// Without any kubeconfig a pod's own service account serves.
fn load_in_cluster_config(
    wanted: &ContextSelector,
    lookup: &KubeconfigSource,
) -> Result<(Config, String), ClusterError> {
    let paths = kubeconfig_paths(lookup).iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let missing = || ClusterError::InvalidKubeconfig { why: format!("there is no file {paths}") };
    if *wanted != ContextSelector::Current || !lookup.env.contains_key("KUBERNETES_SERVICE_HOST") {
        return Err(missing());
    }
    let config = Config::incluster_env().map_err(|error| ClusterError::InvalidKubeconfig { why: error.to_string() })?;
    Ok((config, "in-cluster".to_owned()))
}

fn kubeconfig_paths(lookup: &KubeconfigSource) -> Vec<PathBuf> {
    if let Some(file) = &lookup.file {
        return vec![file.clone()];
    }
    if let Some(list) = lookup.env.get("KUBECONFIG").filter(|list| !list.is_empty()) {
        return std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    let home = lookup.env.get("HOME").or_else(|| lookup.env.get("USERPROFILE"));
    home.map(|home| Path::new(home).join(".kube").join("config")).into_iter().collect()
}

/// The files merged, as kubectl merges them: of a name the first counts. A named file must be there.
fn read_merged(lookup: &KubeconfigSource) -> Result<Option<Kubeconfig>, ClusterError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in kubeconfig_paths(lookup) {
        if lookup.file.is_none() && !path.exists() {
            continue;
        }
        let next = Kubeconfig::read_from(&path).map_err(|error| parse_error(&error, &path))?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|error| kubeconfig_error(&error))?,
        });
    }
    Ok(merged)
}

/// A file that holds no kubeconfig, by its line alone.
fn parse_error(error: &KubeconfigError, path: &Path) -> ClusterError {
    let KubeconfigError::Parse(error) = error else {
        return kubeconfig_error(error);
    };
    let place = error.location().map(|at| format!("line {} of ", at.line())).unwrap_or_default();
    ClusterError::InvalidKubeconfig { why: format!("{place}{} is not as in a kubeconfig", path.display()) }
}

/// The words of an error without what a file holds: a kubeconfig has credentials.
pub(super) fn kubeconfig_error(error: &KubeconfigError) -> ClusterError {
    let why = match error {
        KubeconfigError::ReadConfig(error, path) => describe_io_error(error, path),
        KubeconfigError::Parse(_) => "it is not one".to_owned(),
        KubeconfigError::LoadContext(name) => format!("the context `{name}` is empty"),
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("the context names the cluster `{name}`, which it does not have")
        }
        KubeconfigError::MissingClusterUrl => "the cluster of the context has no `server`".to_owned(),
        KubeconfigError::ParseClusterUrl(error) => format!("the `server` of the cluster is not a URL: {error}"),
        KubeconfigError::ParseProxyUrl(error) => format!("the `proxy-url` of the cluster is not a URL: {error}"),
        KubeconfigError::LoadCertificateAuthority(error) => {
            format!("the certificate authority of the cluster cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::LoadClientCertificate(error) => {
            format!("the client certificate of the user cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::LoadClientKey(error) => {
            format!("the client key of the user cannot be read: {}", describe_load_error(error))
        }
        KubeconfigError::ParseCertificates(_) => "the certificate authority of the cluster is not PEM".to_owned(),
        other => other.to_string(),
    };
    ClusterError::InvalidKubeconfig { why }
}

/// Why a file that the kubeconfig names cannot be read, or the kubeconfig itself.
pub(super) fn describe_io_error(error: &std::io::Error, path: &Path) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        std::io::ErrorKind::PermissionDenied => format!("the permissions of {} forbid reading it", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

fn describe_load_error(error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(_) => "it is not base64".to_owned(),
        LoadDataError::ReadFile(error, path) => describe_io_error(error, path),
        LoadDataError::NoBase64DataOrFile => "there is neither data nor a file".to_owned(),
    }
}

/// The context for an EKS cluster, as `aws eks update-kubeconfig` and eksctl write them.
fn find_eks_context(
    kubeconfig: &Kubeconfig,
    name: &str,
    region: &str,
    account: Option<&str>,
) -> Result<String, ClusterError> {
    let fits = |context: &NamedContext| {
        let Some(inner) = &context.context else {
            return false;
        };
        is_eks_cluster_entry(&inner.cluster, name, region, account)
            || inner.user.as_deref().is_some_and(|user| is_eks_token_command(kubeconfig, user, name, region))
    };
    let found: Vec<&NamedContext> = kubeconfig.contexts.iter().filter(|context| fits(context)).collect();
    if let Some(current) = found.iter().find(|context| Some(&context.name) == kubeconfig.current_context.as_ref()) {
        return Ok(current.name.clone());
    }
    let clusters: BTreeSet<&str> =
        found.iter().filter_map(|context| context.context.as_ref()).map(|inner| inner.cluster.as_str()).collect();
    match found.as_slice() {
        [] => Err(ClusterError::EksContextNotFound { name: name.to_owned(), region: region.to_owned() }),
        [first, ..] if clusters.len() == 1 => Ok(first.name.clone()),
        several => Err(ClusterError::AmbiguousEksContext {
            name: name.to_owned(),
            region: region.to_owned(),
            contexts: several.iter().map(|context| context.name.clone()).collect(),
        }),
    }
}

/// `arn:aws:eks:eu-west-1:111122223333:cluster/prod`, or eksctl's `prod.eu-west-1.eksctl.io`.
fn is_eks_cluster_entry(cluster: &str, name: &str, region: &str, account: Option<&str>) -> bool {
    if cluster == format!("{name}.{region}.eksctl.io") {
        return true;
    }
    let parts: Vec<&str> = cluster.splitn(6, ':').collect();
    let &["arn", _, "eks", found, owner, resource] = parts.as_slice() else {
        return false;
    };
    found == region && resource == format!("cluster/{name}") && account.is_none_or(|account| account == owner)
}

/// `aws --region eu-west-1 eks get-token --cluster-name prod`, or `aws-iam-authenticator token -i prod`.
fn is_eks_token_command(kubeconfig: &Kubeconfig, user: &str, name: &str, region: &str) -> bool {
    let auth = kubeconfig.auth_infos.iter().find(|known| known.name == user).and_then(|known| known.auth_info.as_ref());
    let Some(exec) = auth.and_then(|auth| auth.exec.as_ref()) else {
        return false;
    };
    let args = exec.args.clone().unwrap_or_default();
    let after = |flags: &[&str]| {
        let at = args.iter().position(|arg| flags.contains(&arg.as_str()))?;
        args.get(at + 1).map(String::as_str)
    };
    after(&["--cluster-name", "--cluster-id", "-i"]) == Some(name) && after(&["--region"]) == Some(region)
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
    fn an_eks_cluster_is_found_by_arn_by_eksctl_name_or_by_the_command_for_its_token() {
        let kubeconfig = config(KUBECONFIG);
        let find = |name, region, account| find_eks_context(&kubeconfig, name, region, account);
        assert_eq!(find("prod", "eu-west-1", Some("444455556666")).unwrap(), "two");
        assert_eq!(find("stage", "eu-west-1", None).unwrap(), "three");
        assert_eq!(find("dev", "eu-north-1", None).unwrap(), "four");
        assert!(matches!(find("prod", "eu-west-1", None), Err(ClusterError::AmbiguousEksContext { .. })));
        assert!(matches!(find("prod", "us-east-1", None), Err(ClusterError::EksContextNotFound { .. })));
    }

    #[test]
    fn the_current_context_decides_between_several() {
        let kubeconfig = config(&format!("current-context: two\n{KUBECONFIG}"));
        assert_eq!(find_eks_context(&kubeconfig, "prod", "eu-west-1", None).unwrap(), "two");
    }
}
