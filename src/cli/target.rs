//! The clusters that the command line selects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::ConnectionArgs;
use super::eks_args::EksArgs;
use super::env::Env;
use crate::aws::{AssumedRole, AwsSettings, ProfileSelection};
use crate::cluster::kubeconfig::{ContextSelector, EksTarget};
use crate::cluster::snapshot::{STDIN, STDIN_NAME, SnapshotNamedBy};
use crate::diagnostic::{Diagnostic, closest_match};
use crate::ops::{ClusterConnection, CommandError, KubeconfigFlags, OpsContext, TargetCluster};
use crate::policy::{self, ClusterSpec, EksClusterSpec};

/// The clusters of a policy by name.
type ClustersByName = BTreeMap<String, ClusterSpec>;

/// Returns the clusters that `--cluster` selects, or all clusters of the policy.
pub(crate) fn resolve_targets(
    clusters: Option<(&ClustersByName, &Path)>,
    args: &ConnectionArgs,
    context: &OpsContext,
) -> Result<Vec<TargetCluster>, CommandError> {
    let named = clusters.filter(|(clusters, _)| !clusters.is_empty());
    let Some((clusters, folder)) = named else {
        return unnamed_target(args, context).map(|target| vec![target]);
    };
    let names = select_clusters(clusters, &args.clusters)?;
    let snapshots = parse_snapshot_flags(clusters, &names, args, context)?;
    let chosen = chosen_connection(args)?.map(|chosen| with_known_region(chosen, clusters));
    if chosen.is_some() && names.len() > 1 {
        let flag = if args.eks.eks.is_some() { "--eks" } else { "--context" };
        let error = Diagnostic::error(format!("{flag} selects one cluster, but the command is for several"))
            .with_because(format!("the clusters of the policy are {}", names.join(", ")))
            .with_help("pass --cluster NAME");
        return Err(CommandError::from_diagnostic(error));
    }
    let to_target = |(position, name): (usize, &String)| {
        let files: Vec<&String> =
            snapshots.iter().filter(|(cluster, _)| cluster == name).map(|(_, file)| file).collect();
        let connection = if !files.is_empty() {
            snapshot_connection(files.iter().map(|file| snapshot_file(file, context)), SnapshotNamedBy::CommandLine)
        } else if let Some(chosen) = &chosen {
            chosen.clone()
        } else {
            connection_from_policy(clusters, name, folder)?
        };
        Some(TargetCluster::new(position, Some(name.clone()), connection, kubeconfig_flags(args), context))
    };
    Ok(names.iter().enumerate().filter_map(to_target).collect())
}

/// Returns the live cluster that `--eks` or `--context` selects. The context can come from the environment, so `--eks` takes
/// precedence.
pub(crate) fn chosen_connection(args: &ConnectionArgs) -> Result<Option<ClusterConnection>, CommandError> {
    live_connection(&args.eks, args.context.as_deref())
}

/// As [`chosen_connection`].
pub(crate) fn live_connection(eks: &EksArgs, context: Option<&str>) -> Result<Option<ClusterConnection>, CommandError> {
    let selector = match eks.target()? {
        Some(target) => Some(ContextSelector::Eks(target)),
        None => context.map(|name| ContextSelector::Named(name.to_owned())),
    };
    Ok(selector.map(ClusterConnection::Live))
}

/// Adds the region in which the policy has a cluster of the same name, for the error if there is none in that of the flags.
fn with_known_region(connection: ClusterConnection, clusters: &ClustersByName) -> ClusterConnection {
    let ClusterConnection::Live(ContextSelector::Eks(target)) = connection else {
        return connection;
    };
    let known_region = clusters.values().find_map(|cluster| match &cluster.connection {
        policy::ConnectionSpec::Eks(spec) if spec.name == target.name => Some(spec.region.clone()),
        _ => None,
    });
    let known_region = known_region.filter(|region| Some(region) != target.aws.region.as_ref());
    ClusterConnection::Live(ContextSelector::Eks(EksTarget { known_region, ..target }))
}

/// Returns the flags about the kubeconfig.
pub(crate) fn kubeconfig_flags(args: &ConnectionArgs) -> KubeconfigFlags<'_> {
    KubeconfigFlags { file: args.kubeconfig.as_deref(), use_exec_plugin: args.eks.use_exec_plugin }
}

/// Returns what selects the clusters of a policy.
pub(crate) fn target_resolver<'a>(
    args: &'a ConnectionArgs,
    context: &'a OpsContext,
) -> impl Fn(&ClustersByName, &Path) -> Result<Vec<TargetCluster>, CommandError> + 'a {
    |clusters, folder| resolve_targets(Some((clusters, folder)), args, context)
}

/// Returns the connection that the policy declares.
fn connection_from_policy(clusters: &ClustersByName, name: &str, folder: &Path) -> Option<ClusterConnection> {
    let cluster = clusters.get(name)?;
    Some(match &cluster.connection {
        policy::ConnectionSpec::Eks(spec) => ClusterConnection::Live(ContextSelector::Eks(eks_target(spec, cluster))),
        policy::ConnectionSpec::Context(context) => ClusterConnection::Live(ContextSelector::Named(context.clone())),
        policy::ConnectionSpec::Snapshot(files) => {
            let files = files.iter().map(|file| (folder.join(file), file.as_str()));
            snapshot_connection(files, SnapshotNamedBy::Policy(folder.to_owned()))
        }
    })
}

/// Returns the EKS cluster that a policy declares.
pub(crate) fn eks_target(spec: &EksClusterSpec, cluster: &ClusterSpec) -> EksTarget {
    let EksClusterSpec { name, region, profile, role } = spec;
    let role = role.as_ref().map(|role| AssumedRole {
        arn: role.arn.clone(),
        external_id: role.external_id.clone(),
        session_name: None,
    });
    let profile = profile.clone().map(ProfileSelection::Explicit);
    EksTarget {
        name: name.clone(),
        account: cluster.account.as_ref().map(ToString::to_string),
        aws: AwsSettings { profile, region: Some(region.clone()), role },
        known_region: None,
    }
}

/// Returns the path of a snapshot file of the command line, and its name for messages.
fn snapshot_file<'a>(file: &'a str, context: &OpsContext) -> (PathBuf, &'a str) {
    if file == STDIN { (PathBuf::from(STDIN), STDIN_NAME) } else { (context.cwd.join(file), file) }
}

/// Returns the connection for the values of `--snapshot`.
pub(crate) fn connection_from_flags(files: &[String], context: &OpsContext) -> ClusterConnection {
    snapshot_connection(files.iter().map(|file| snapshot_file(file, context)), SnapshotNamedBy::CommandLine)
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

fn snapshot_connection<'a>(
    files: impl Iterator<Item = (PathBuf, &'a str)>,
    named_by: SnapshotNamedBy,
) -> ClusterConnection {
    let (files, names): (Vec<PathBuf>, Vec<&str>) = files.unzip();
    ClusterConnection::Snapshot { files, display_name: names.join(", "), named_by }
}

/// Returns the cluster of a policy without `[clusters]`.
fn unnamed_target(args: &ConnectionArgs, context: &OpsContext) -> Result<TargetCluster, CommandError> {
    if let Some(name) = args.clusters.first() {
        let error = Diagnostic::error(format!("unknown cluster `{name}`: no policy with `[clusters]` was found"));
        return Err(CommandError::from_diagnostic(
            error.with_help("pass --context NAME or --snapshot FILE, or declare the cluster in `[clusters]`"),
        ));
    }
    let connection = if args.snapshots.is_empty() {
        chosen_connection(args)?.unwrap_or(ClusterConnection::Live(ContextSelector::Current))
    } else {
        for text in &args.snapshots {
            if let Some((name, file)) = named_snapshot(text, context) {
                let error =
                    Diagnostic::error(format!("unknown cluster `{name}`: no policy with `[clusters]` was found"));
                return Err(CommandError::from_diagnostic(error.with_help(format!("pass --snapshot {file}"))));
            }
        }
        snapshot_connection(
            args.snapshots.iter().map(|file| snapshot_file(file, context)),
            SnapshotNamedBy::CommandLine,
        )
    };
    Ok(TargetCluster::new(0, None, connection, kubeconfig_flags(args), context))
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
fn named_snapshot<'a>(text: &'a str, context: &OpsContext) -> Option<(&'a str, &'a str)> {
    let is_file = || context.cwd.join(text).exists();
    text.split_once('=').filter(|(name, _)| !name.contains(['/', '\\']) && !is_file())
}

/// Parses `NAME=FILE`, or `FILE` if the command is for one cluster.
fn parse_snapshot_flags(
    clusters: &ClustersByName,
    names: &[String],
    args: &ConnectionArgs,
    context: &OpsContext,
) -> Result<Vec<(String, String)>, CommandError> {
    let mut snapshots = Vec::new();
    for text in &args.snapshots {
        if let Some((name, _)) = named_snapshot(text, context).filter(|(name, _)| !clusters.contains_key(*name)) {
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
