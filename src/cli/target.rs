//! Which clusters a command is for, and the way to each.

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

/// The way to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClusterConnection {
    Live(ContextSelector),
    Snapshot { files: Vec<PathBuf>, display_name: String },
}

impl From<&ClusterConnection> for ConnectionJson {
    fn from(way: &ClusterConnection) -> Self {
        match way {
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
                let shown = files.iter().map(|file| match file.to_str() {
                    Some(STDIN) => STDIN_NAME.to_owned(),
                    _ => file.display().to_string(),
                });
                let shown = shown.collect::<Vec<_>>().join(", ");
                Self::Snapshot { files, display_name: shown }
            }
        }
    }
}

/// One cluster of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetCluster {
    /// As the policy calls it; a policy without `[clusters]` is for one without a name.
    pub(crate) name: Option<String>,
    pub(crate) connection: ClusterConnection,
    kubeconfig: KubeconfigSource,
    settings: ConnectionSettings,
    /// What `--snapshot -` stands for.
    stdin: Option<Arc<str>>,
}

/// A cluster that answers, and what people call it.
pub(crate) struct ConnectedCluster {
    pub(crate) cluster: AnyCluster,
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) label: String,
}

impl TargetCluster {
    pub(crate) fn new(name: Option<String>, way: ClusterConnection, place: &ConnectionArgs, world: &Env) -> Self {
        let file = place.kubeconfig.as_ref().map(|path| world.cwd.join(path));
        let kubeconfig = KubeconfigSource { file, env: world.vars.clone() };
        Self { name, connection: way, kubeconfig, settings: world.connection_settings(), stdin: world.stdin_text() }
    }

    /// Connects; a snapshot is read.
    pub(crate) async fn connect(&self) -> Result<ConnectedCluster, ClusterError> {
        let (cluster, what) = match &self.connection {
            ClusterConnection::Snapshot { files, display_name: shown } => {
                let snapshot = SnapshotCluster::open(files, self.stdin.as_deref())?;
                (AnyCluster::Snapshot(snapshot), format!("snapshot {shown}"))
            }
            ClusterConnection::Live(wanted) => {
                let (config, context) = load_context(wanted, &self.kubeconfig).await?;
                let live = LiveCluster::new(ApiClient::new(config, self.settings.clone()).await?);
                let what = match wanted {
                    ContextSelector::Eks { name, region, .. } => format!("eks {region}/{name}"),
                    ContextSelector::Current | ContextSelector::Named(_) => format!("context {context}"),
                };
                (AnyCluster::Live(live), what)
            }
        };
        let label = match &self.name {
            Some(name) => format!("{name} ({what})"),
            None => what,
        };
        Ok(ConnectedCluster { cluster, label })
    }
}

/// The clusters that were asked for, or all of the policy.
pub(crate) fn resolve_targets(
    clusters: Option<(&ClustersByName, &Path)>,
    place: &ConnectionArgs,
    world: &Env,
) -> Result<Vec<TargetCluster>, CommandError> {
    let named = clusters.filter(|(clusters, _)| !clusters.is_empty());
    let Some((clusters, folder)) = named else {
        return unnamed_target(place, world).map(|target| vec![target]);
    };
    let names = select_clusters(clusters, &place.clusters)?;
    let snapshots = parse_snapshot_flags(clusters, &names, place, world)?;
    if place.context.is_some() && names.len() > 1 {
        let error = Diagnostic::error(format!("--context is for one cluster, and this is for {}", names.join(", ")));
        return Err(CommandError::from_diagnostic(error.with_help("add --cluster NAME")));
    }
    let one = |name: &String| {
        let files: Vec<&String> = snapshots.iter().filter(|(of, _)| of == name).map(|(_, file)| file).collect();
        let way = if !files.is_empty() {
            snapshot_connection(files.iter().map(|file| snapshot_file(file, world)))
        } else if let Some(context) = &place.context {
            ClusterConnection::Live(ContextSelector::Named(context.clone()))
        } else {
            connection_from_policy(clusters, name, folder)?
        };
        Some(TargetCluster::new(Some(name.clone()), way, place, world))
    };
    Ok(names.iter().filter_map(one).collect())
}

/// The way that the policy gives.
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

/// The path of a snapshot file of the command line, and how people know it.
fn snapshot_file<'a>(file: &'a str, world: &Env) -> (PathBuf, &'a str) {
    if file == STDIN { (PathBuf::from(STDIN), STDIN_NAME) } else { (world.cwd.join(file), file) }
}

/// The way to snapshot files of the command line.
pub(crate) fn snapshot_way(files: &[String], world: &Env) -> ClusterConnection {
    snapshot_connection(files.iter().map(|file| snapshot_file(file, world)))
}

/// Whether this value of `--snapshot` is read from stdin.
pub(crate) fn is_from_stdin(value: &str) -> bool {
    value == STDIN || value.rsplit_once('=').is_some_and(|(_, file)| file == STDIN)
}

/// Reads stdin if a value of `--snapshot` asks for it.
pub(crate) fn read_stdin(snapshots: &[&str], world: &mut Env) -> Result<(), CommandError> {
    let from_stdin = snapshots.iter().filter(|value| is_from_stdin(value)).count();
    if from_stdin > 1 {
        let error = Diagnostic::error("two --snapshot cannot both be read from stdin");
        return Err(CommandError::from_diagnostic(error.with_help("write one of them to a file")));
    }
    if from_stdin == 1 {
        world.read_stdin().map_err(|error| {
            CommandError::from_diagnostic(Diagnostic::error(format!("the snapshot on stdin cannot be read: {error}")))
        })?;
    }
    Ok(())
}

/// Writes have to go to a file.
///
/// # Errors
/// If a snapshot is read from stdin.
pub(crate) fn can_be_written(snapshots: &[&str]) -> Result<(), CommandError> {
    if !snapshots.iter().any(|value| is_from_stdin(value)) {
        return Ok(());
    }
    let error = Diagnostic::error("a snapshot that is read from stdin cannot be changed");
    Err(CommandError::from_diagnostic(error.with_help("write it to a file for --snapshot FILE, or add --dry-run")))
}

fn snapshot_connection<'a>(files: impl Iterator<Item = (PathBuf, &'a str)>) -> ClusterConnection {
    let (files, shown): (Vec<PathBuf>, Vec<&str>) = files.unzip();
    ClusterConnection::Snapshot { files, display_name: shown.join(", ") }
}

/// The one cluster of a policy that names none.
fn unnamed_target(place: &ConnectionArgs, world: &Env) -> Result<TargetCluster, CommandError> {
    if let Some(name) = place.clusters.first() {
        let error = Diagnostic::error(format!("there is no cluster `{name}`: the policy has no `[clusters]`"));
        return Err(CommandError::from_diagnostic(
            error.with_help("choose by --context NAME or --snapshot FILE, or declare `[clusters]`"),
        ));
    }
    let way = if !place.snapshots.is_empty() {
        for text in &place.snapshots {
            if let Some((name, file)) = named_snapshot(text, world) {
                let error = Diagnostic::error(format!("there is no cluster `{name}`: the policy has no `[clusters]`"));
                return Err(CommandError::from_diagnostic(error.with_help(format!("write --snapshot {file}"))));
            }
        }
        snapshot_connection(place.snapshots.iter().map(|file| snapshot_file(file, world)))
    } else if let Some(context) = &place.context {
        ClusterConnection::Live(ContextSelector::Named(context.clone()))
    } else {
        ClusterConnection::Live(ContextSelector::Current)
    };
    Ok(TargetCluster::new(None, way, place, world))
}

fn select_clusters(clusters: &ClustersByName, asked: &[String]) -> Result<Vec<String>, CommandError> {
    if asked.is_empty() {
        return Ok(clusters.keys().cloned().collect());
    }
    let unknown: Vec<Diagnostic> =
        asked.iter().filter(|name| !clusters.contains_key(*name)).map(|name| unknown_cluster(clusters, name)).collect();
    if unknown.is_empty() {
        return Ok(clusters.keys().filter(|name| asked.contains(name)).cloned().collect());
    }
    Err(unknown.into())
}

fn unknown_cluster(clusters: &ClustersByName, name: &str) -> Diagnostic {
    let names = || clusters.keys().map(String::as_str);
    let hint = match closest_match(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its clusters are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Diagnostic::error(format!("`{name}` is not a cluster of this policy")).with_help(hint)
}

/// The parts of `NAME=FILE`; nothing of a file whose own name has a `=`.
fn named_snapshot<'a>(text: &'a str, world: &Env) -> Option<(&'a str, &'a str)> {
    let is_file = || world.cwd.join(text).exists();
    text.split_once('=').filter(|(name, _)| !name.contains(['/', '\\']) && !is_file())
}

/// `NAME=FILE`, or a file alone where one cluster is meant.
fn parse_snapshot_flags(
    clusters: &ClustersByName,
    names: &[String],
    place: &ConnectionArgs,
    world: &Env,
) -> Result<Vec<(String, String)>, CommandError> {
    let mut out = Vec::new();
    for text in &place.snapshots {
        if let Some((name, _)) = named_snapshot(text, world).filter(|(name, _)| !clusters.contains_key(*name)) {
            let mut error = unknown_cluster(clusters, name);
            error.message = format!("--snapshot {text}: {}", error.message);
            return Err(CommandError::from_diagnostic(error));
        }
        let pair = text.split_once('=').filter(|(name, _)| clusters.contains_key(*name));
        match (pair, names) {
            (Some((name, file)), _) if names.iter().any(|known| known == name) => {
                out.push((name.to_owned(), file.to_owned()));
            }
            (Some((name, _)), _) => {
                let error = Diagnostic::error(format!("--snapshot {text} is for a cluster that was not asked for"));
                return Err(CommandError::from_diagnostic(error.with_help(format!("add --cluster {name}"))));
            }
            (None, [only]) => out.push((only.clone(), text.clone())),
            (None, several) => {
                let error = Diagnostic::error(format!("--snapshot {text} does not say for which cluster"));
                let hint = format!("write --snapshot NAME={text}; the clusters are {}", several.join(", "));
                return Err(CommandError::from_diagnostic(error.with_help(hint)));
            }
        }
    }
    Ok(out)
}
