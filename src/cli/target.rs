//! The clusters that a command is for, and how to connect to each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::ConnectionArgs;
use super::command_error::CommandError;
use super::env::Env;
use crate::cluster::ClusterError;
use crate::cluster::any::AnyCluster;
use crate::cluster::api_client::ApiClient;
use crate::cluster::kubeconfig::{ContextSelector, KubeconfigSource, load_context};
use crate::cluster::live::LiveCluster;
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::snapshot::{STDIN, STDIN_NAME, SnapshotCluster};
use crate::diagnostic::{Diagnostic, closest_match};
use crate::policy::{self, ClusterSpec};
use crate::report::{ConnectionJson, EksClusterJson};

/// The clusters of a policy by name.
type ClustersByName = BTreeMap<String, ClusterSpec>;

/// How to connect to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClusterConnection {
    Live(ContextSelector),
    Snapshot { files: Vec<PathBuf>, display_name: String },
}

impl From<&ClusterConnection> for ConnectionJson {
    fn from(connection: &ClusterConnection) -> Self {
        match connection {
            ClusterConnection::Live(ContextSelector::Current) => Self::CurrentContext(true),
            ClusterConnection::Live(ContextSelector::Named(name)) => Self::Context(name.clone()),
            ClusterConnection::Live(ContextSelector::Eks { name, region, account }) => {
                Self::Eks(EksClusterJson { name: name.clone(), region: region.clone(), account: account.clone() })
            }
            ClusterConnection::Snapshot { files, .. } => Self::Snapshot(files.clone()),
        }
    }
}

impl From<ConnectionJson> for ClusterConnection {
    fn from(connection: ConnectionJson) -> Self {
        match connection {
            ConnectionJson::CurrentContext(_) => Self::Live(ContextSelector::Current),
            ConnectionJson::Context(name) => Self::Live(ContextSelector::Named(name)),
            ConnectionJson::Eks(EksClusterJson { name, region, account }) => {
                Self::Live(ContextSelector::Eks { name, region, account })
            }
            ConnectionJson::Snapshot(files) => {
                let names = files.iter().map(|file| match file.to_str() {
                    Some(STDIN) => STDIN_NAME.to_owned(),
                    _ => file.display().to_string(),
                });
                let display_name = names.collect::<Vec<_>>().join(", ");
                Self::Snapshot { files, display_name }
            }
        }
    }
}

/// One cluster that a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetCluster {
    /// The name of the cluster in the policy. `None` if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    pub(crate) connection: ClusterConnection,
    kubeconfig: KubeconfigSource,
    settings: ConnectionSettings,
    /// The text of stdin, for `--snapshot -`.
    stdin: Option<Arc<str>>,
}

/// A connected cluster and its label.
pub(crate) struct ConnectedCluster {
    pub(crate) cluster: AnyCluster,
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) label: String,
    /// The default namespace: that of the context, or `default` for a snapshot.
    pub(crate) namespace: String,
}

impl TargetCluster {
    pub(crate) fn new(name: Option<String>, connection: ClusterConnection, args: &ConnectionArgs, env: &Env) -> Self {
        let file = args.kubeconfig.as_ref().map(|path| env.cwd.join(path));
        let kubeconfig = KubeconfigSource { file, env: env.vars.clone() };
        Self { name, connection, kubeconfig, settings: env.connection_settings(), stdin: env.stdin_text() }
    }

    /// Limits reading the cluster, with `--timeout`.
    pub(crate) async fn within_timeout<T>(
        &self,
        reading: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let name = match (&self.name, &self.connection) {
            (Some(name), _)
            | (None, ClusterConnection::Live(ContextSelector::Named(name) | ContextSelector::Eks { name, .. })) => {
                format!("the cluster {name}")
            }
            (None, _) => "the cluster".to_owned(),
        };
        self.settings.within_observation(&name, reading).await
    }

    /// Connects to the live cluster, or reads the snapshot.
    pub(crate) async fn connect(&self) -> Result<ConnectedCluster, ClusterError> {
        let (cluster, description, namespace) = match &self.connection {
            ClusterConnection::Snapshot { files, display_name } => {
                let snapshot = SnapshotCluster::open(files, self.stdin.as_deref())?;
                (AnyCluster::Snapshot(snapshot), format!("snapshot {display_name}"), "default".to_owned())
            }
            ClusterConnection::Live(selector) => {
                let (config, context) = load_context(selector, &self.kubeconfig, &self.settings).await?;
                let namespace = config.default_namespace.clone();
                let live = LiveCluster::new(ApiClient::new(config, self.settings.clone()).await?);
                let description = match selector {
                    ContextSelector::Eks { name, region, .. } => format!("eks {region}/{name}"),
                    ContextSelector::Current | ContextSelector::Named(_) => format!("context {context}"),
                };
                (AnyCluster::Live(live), description, namespace)
            }
        };
        let label = match &self.name {
            Some(name) => format!("{name} ({description})"),
            None => description,
        };
        Ok(ConnectedCluster { cluster, label, namespace })
    }
}

/// Returns the clusters that `--cluster` selects, or all clusters of the policy.
pub(crate) fn resolve_targets(
    clusters: Option<(&ClustersByName, &Path)>,
    args: &ConnectionArgs,
    env: &Env,
) -> Result<Vec<TargetCluster>, CommandError> {
    let named = clusters.filter(|(clusters, _)| !clusters.is_empty());
    let Some((clusters, folder)) = named else {
        return unnamed_target(args, env).map(|target| vec![target]);
    };
    let names = select_clusters(clusters, &args.clusters)?;
    let snapshots = parse_snapshot_flags(clusters, &names, args, env)?;
    if args.context.is_some() && names.len() > 1 {
        let error = Diagnostic::error("--context selects one cluster, but the command is for several")
            .with_because(format!("the clusters of the policy are {}", names.join(", ")))
            .with_help("pass --cluster NAME");
        return Err(CommandError::from_diagnostic(error));
    }
    let to_target = |name: &String| {
        let files: Vec<&String> =
            snapshots.iter().filter(|(cluster, _)| cluster == name).map(|(_, file)| file).collect();
        let connection = if !files.is_empty() {
            snapshot_connection(files.iter().map(|file| snapshot_file(file, env)))
        } else if let Some(context) = &args.context {
            ClusterConnection::Live(ContextSelector::Named(context.clone()))
        } else {
            connection_from_policy(clusters, name, folder)?
        };
        Some(TargetCluster::new(Some(name.clone()), connection, args, env))
    };
    Ok(names.iter().filter_map(to_target).collect())
}

/// Returns the connection that the policy declares.
fn connection_from_policy(clusters: &ClustersByName, name: &str, folder: &Path) -> Option<ClusterConnection> {
    let cluster = clusters.get(name)?;
    Some(match &cluster.connection {
        policy::ConnectionSpec::Eks { name, region } => ClusterConnection::Live(ContextSelector::Eks {
            name: name.clone(),
            region: region.clone(),
            account: cluster.account.as_ref().map(ToString::to_string),
        }),
        policy::ConnectionSpec::Context(context) => ClusterConnection::Live(ContextSelector::Named(context.clone())),
        policy::ConnectionSpec::Snapshot(files) => {
            snapshot_connection(files.iter().map(|file| (folder.join(file), file.as_str())))
        }
    })
}

/// Returns the path of a snapshot file of the command line, and its name for messages.
fn snapshot_file<'a>(file: &'a str, env: &Env) -> (PathBuf, &'a str) {
    if file == STDIN { (PathBuf::from(STDIN), STDIN_NAME) } else { (env.cwd.join(file), file) }
}

/// Returns the connection for the values of `--snapshot`.
pub(crate) fn connection_from_flags(files: &[String], env: &Env) -> ClusterConnection {
    snapshot_connection(files.iter().map(|file| snapshot_file(file, env)))
}

/// Returns whether a value of `--snapshot` is `-` or `NAME=-`.
pub(crate) fn is_from_stdin(value: &str) -> bool {
    value == STDIN || value.rsplit_once('=').is_some_and(|(_, file)| file == STDIN)
}

/// Reads stdin if a value of `--snapshot` is `-`.
pub(crate) fn read_stdin(snapshots: &[&str], env: &mut Env) -> Result<(), CommandError> {
    let from_stdin = snapshots.iter().filter(|value| is_from_stdin(value)).count();
    if from_stdin > 1 {
        let error = Diagnostic::error("only one --snapshot can be read from stdin");
        return Err(CommandError::from_diagnostic(error.with_help("save the others to files")));
    }
    if from_stdin == 1 {
        env.read_stdin().map_err(|error| {
            CommandError::from_diagnostic(Diagnostic::error(format!("cannot read the snapshot from stdin: {error}")))
        })?;
    }
    Ok(())
}

/// Checks that the snapshots can be written to.
///
/// # Errors
/// If a snapshot is read from stdin.
pub(crate) fn ensure_snapshots_writable(snapshots: &[&str]) -> Result<(), CommandError> {
    if !snapshots.iter().any(|value| is_from_stdin(value)) {
        return Ok(());
    }
    let error = Diagnostic::error("cannot apply to a snapshot that is read from stdin");
    Err(CommandError::from_diagnostic(error.with_help("save it to a file and pass --snapshot FILE, or pass --dry-run")))
}

fn snapshot_connection<'a>(files: impl Iterator<Item = (PathBuf, &'a str)>) -> ClusterConnection {
    let (files, names): (Vec<PathBuf>, Vec<&str>) = files.unzip();
    ClusterConnection::Snapshot { files, display_name: names.join(", ") }
}

/// Returns the cluster of a policy without `[clusters]`.
fn unnamed_target(args: &ConnectionArgs, env: &Env) -> Result<TargetCluster, CommandError> {
    if let Some(name) = args.clusters.first() {
        let error = Diagnostic::error(format!("unknown cluster `{name}`: no policy with `[clusters]` was found"));
        return Err(CommandError::from_diagnostic(
            error.with_help("pass --context NAME or --snapshot FILE, or declare the cluster in `[clusters]`"),
        ));
    }
    let connection = if !args.snapshots.is_empty() {
        for text in &args.snapshots {
            if let Some((name, file)) = named_snapshot(text, env) {
                let error =
                    Diagnostic::error(format!("unknown cluster `{name}`: no policy with `[clusters]` was found"));
                return Err(CommandError::from_diagnostic(error.with_help(format!("pass --snapshot {file}"))));
            }
        }
        snapshot_connection(args.snapshots.iter().map(|file| snapshot_file(file, env)))
    } else if let Some(context) = &args.context {
        ClusterConnection::Live(ContextSelector::Named(context.clone()))
    } else {
        ClusterConnection::Live(ContextSelector::Current)
    };
    Ok(TargetCluster::new(None, connection, args, env))
}

/// Returns the names that `--cluster` selects, or all names.
///
/// # Errors
/// All names that the policy does not have.
fn select_clusters(clusters: &ClustersByName, selected: &[String]) -> Result<Vec<String>, CommandError> {
    if selected.is_empty() {
        return Ok(clusters.keys().cloned().collect());
    }
    let unknown: Vec<Diagnostic> = selected
        .iter()
        .filter(|name| !clusters.contains_key(*name))
        .map(|name| unknown_cluster(clusters, name))
        .collect();
    if unknown.is_empty() {
        return Ok(clusters.keys().filter(|name| selected.contains(name)).cloned().collect());
    }
    Err(unknown.into())
}

fn unknown_cluster(clusters: &ClustersByName, name: &str) -> Diagnostic {
    let names = || clusters.keys().map(String::as_str);
    let help = match closest_match(name, names()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("the clusters of the policy are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Diagnostic::error(format!("unknown cluster `{name}`")).with_help(help)
}

/// Returns the parts of `NAME=FILE`. `None` if the text is the path of a file, whose name can have a `=`.
fn named_snapshot<'a>(text: &'a str, env: &Env) -> Option<(&'a str, &'a str)> {
    let is_file = || env.cwd.join(text).exists();
    text.split_once('=').filter(|(name, _)| !name.contains(['/', '\\']) && !is_file())
}

/// Parses `NAME=FILE`, or `FILE` if the command is for one cluster.
fn parse_snapshot_flags(
    clusters: &ClustersByName,
    names: &[String],
    args: &ConnectionArgs,
    env: &Env,
) -> Result<Vec<(String, String)>, CommandError> {
    let mut snapshots = Vec::new();
    for text in &args.snapshots {
        if let Some((name, _)) = named_snapshot(text, env).filter(|(name, _)| !clusters.contains_key(*name)) {
            let mut error = unknown_cluster(clusters, name);
            error.message = format!("--snapshot {text}: {}", error.message);
            return Err(CommandError::from_diagnostic(error));
        }
        let pair = text.split_once('=').filter(|(name, _)| clusters.contains_key(*name));
        match (pair, names) {
            (Some((name, file)), _) if names.iter().any(|known| known == name) => {
                snapshots.push((name.to_owned(), file.to_owned()));
            }
            (Some((name, _)), _) => {
                let error =
                    Diagnostic::error(format!("--snapshot {text} is for a cluster that --cluster does not select"));
                return Err(CommandError::from_diagnostic(error.with_help(format!("pass --cluster {name} too"))));
            }
            (None, [name]) => snapshots.push((name.clone(), text.clone())),
            (None, names) => {
                let error = Diagnostic::error(format!("--snapshot {text} does not name its cluster"));
                let help = format!("pass --snapshot NAME={text}, with one of the clusters {}", names.join(", "));
                return Err(CommandError::from_diagnostic(error.with_help(help)));
            }
        }
    }
    Ok(snapshots)
}
