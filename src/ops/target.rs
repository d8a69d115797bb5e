//! A cluster that a command is for, and how to connect to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::OpsContext;
use super::observer::{ClusterTag, EventKind, Observer};
use crate::aws::{AssumedRole, AwsSettings, EksCluster, ProfileSelection};
use crate::cluster::ClusterError;
use crate::cluster::any::AnyCluster;
use crate::cluster::connection::{LiveConnection, connect};
use crate::cluster::eks::EksTokenSource;
use crate::cluster::kubeconfig::{ContextSelector, EksTarget, KubeconfigSource};
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::snapshot::{STDIN, STDIN_NAME, SnapshotCluster, SnapshotNamedBy};
use crate::report::{ConnectionJson, EksClusterJson};

/// How to connect to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClusterConnection {
    Live(ContextSelector),
    Snapshot { files: Vec<PathBuf>, display_name: String, named_by: SnapshotNamedBy },
}

impl From<&ClusterConnection> for ConnectionJson {
    fn from(connection: &ClusterConnection) -> Self {
        match connection {
            ClusterConnection::Live(ContextSelector::Current) => Self::CurrentContext(true),
            ClusterConnection::Live(ContextSelector::Named(name)) => Self::Context(name.clone()),
            ClusterConnection::Live(ContextSelector::Eks(target)) => Self::Eks(EksClusterJson::from(target)),
            ClusterConnection::Snapshot { files, .. } => Self::Snapshot(files.clone()),
        }
    }
}

impl From<ConnectionJson> for ClusterConnection {
    fn from(connection: ConnectionJson) -> Self {
        match connection {
            ConnectionJson::CurrentContext(_) => Self::Live(ContextSelector::Current),
            ConnectionJson::Context(name) => Self::Live(ContextSelector::Named(name)),
            ConnectionJson::Eks(cluster) => Self::Live(ContextSelector::Eks(cluster.into())),
            ConnectionJson::Snapshot(files) => {
                let names = files.iter().map(|file| match file.to_str() {
                    Some(STDIN) => STDIN_NAME.to_owned(),
                    _ => file.display().to_string(),
                });
                let display_name = names.collect::<Vec<_>>().join(", ");
                Self::Snapshot { files, display_name, named_by: SnapshotNamedBy::SavedFile }
            }
        }
    }
}

impl From<&EksTarget> for EksClusterJson {
    fn from(target: &EksTarget) -> Self {
        let EksTarget { name, account, aws: AwsSettings { profile, region, role }, known_region: _ } = target;
        Self {
            name: name.clone(),
            region: region.clone(),
            account: account.clone(),
            profile: profile.as_ref().map(|profile| profile.name().to_owned()),
            role_arn: role.as_ref().map(|role| role.arn.clone()),
            external_id: role.as_ref().and_then(|role| role.external_id.clone()),
        }
    }
}

impl From<EksClusterJson> for EksTarget {
    fn from(cluster: EksClusterJson) -> Self {
        let EksClusterJson { name, region, account, profile, role_arn, external_id } = cluster;
        let role = role_arn.map(|arn| AssumedRole { arn, external_id, session_name: None });
        let aws = AwsSettings { profile: profile.map(ProfileSelection::Explicit), region, role };
        Self { name, account, aws, known_region: None }
    }
}

/// One cluster that a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetCluster {
    /// The name of the cluster in the policy. `None` if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    pub(crate) connection: ClusterConnection,
    /// Receives the events of this cluster.
    pub(crate) observer: Observer,
    kubeconfig: KubeconfigSource,
    settings: ConnectionSettings,
    /// The text of stdin, for `--snapshot -`.
    stdin: Option<Arc<str>>,
}

/// The flags about the kubeconfig.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KubeconfigFlags<'a> {
    /// `--kubeconfig`
    pub(crate) file: Option<&'a Path>,
    /// `--use-exec-plugin`
    pub(crate) use_exec_plugin: bool,
}

/// A connected cluster and its label.
pub(crate) struct ConnectedCluster {
    pub(crate) cluster: AnyCluster,
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) label: String,
    /// The default namespace: that of the context, or `default` for a snapshot.
    pub(crate) namespace: String,
    /// How to connect to this cluster again.
    pub(crate) connection: ClusterConnection,
    /// What makes the tokens for an EKS cluster.
    pub(crate) tokens: Option<Arc<EksTokenSource>>,
    /// What EKS says about the cluster, if it was selected by its name.
    pub(crate) eks: Option<EksCluster>,
    /// Receives the events of this cluster.
    pub(crate) observer: Observer,
}

impl TargetCluster {
    /// `position` is the number of the cluster among those of the command.
    pub(crate) fn new(
        position: usize,
        name: Option<String>,
        connection: ClusterConnection,
        kubeconfig: KubeconfigFlags<'_>,
        context: &OpsContext,
    ) -> Self {
        let KubeconfigFlags { file, use_exec_plugin } = kubeconfig;
        let file = file.map(|path| context.cwd.join(path));
        let kubeconfig = KubeconfigSource { file, env: context.vars.clone(), use_exec_plugin };
        let description = match &connection {
            ClusterConnection::Snapshot { display_name, .. } => format!("snapshot {display_name}"),
            ClusterConnection::Live(ContextSelector::Eks(target)) => target.describe(),
            ClusterConnection::Live(ContextSelector::Named(context)) => format!("context {context}"),
            ClusterConnection::Live(ContextSelector::Current) => "current context".to_owned(),
        };
        let label = to_label(name.as_deref(), description);
        let observer = context.observer.for_cluster(ClusterTag { position, name: name.clone(), label });
        let settings = context.connection.for_cluster(observer.connection_log());
        Self { name, connection, observer, kubeconfig, settings, stdin: context.stdin_text.clone() }
    }

    /// Reads the cluster, limited by `--timeout`.
    pub(crate) async fn within_timeout<T>(
        &self,
        reading: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let name = match (&self.name, &self.connection) {
            (Some(name), _)
            | (
                None,
                ClusterConnection::Live(ContextSelector::Named(name) | ContextSelector::Eks(EksTarget { name, .. })),
            ) => {
                format!("the cluster {name}")
            }
            (None, _) => "the cluster".to_owned(),
        };
        self.observer.send(EventKind::ObservationStarted);
        let result = self.settings.within_observation(&name, reading).await;
        self.observer.send(match &result {
            Ok(_) => EventKind::ObservationFinished,
            Err(error) => EventKind::ObservationFailed(error),
        });
        result
    }

    /// Connects to the live cluster, or reads the snapshot.
    pub(crate) async fn connect(&self) -> Result<ConnectedCluster, ClusterError> {
        let (cluster, description, namespace, connection, (tokens, eks)) = match &self.connection {
            ClusterConnection::Snapshot { files, display_name, named_by } => {
                let snapshot = SnapshotCluster::open(files, self.stdin.as_deref(), named_by)?;
                for path in snapshot.paths() {
                    self.settings.inputs.record(&path, "the snapshot");
                }
                let description = format!("snapshot {display_name}");
                (
                    AnyCluster::Snapshot(snapshot),
                    description,
                    "default".to_owned(),
                    self.connection.clone(),
                    (None, None),
                )
            }
            ClusterConnection::Live(selector) => {
                if !matches!(selector, ContextSelector::Eks(_)) {
                    for path in self.kubeconfig.paths() {
                        self.settings.inputs.record(&path, "the kubeconfig");
                    }
                }
                let live = connect(selector, &self.kubeconfig, &self.settings).await?;
                let LiveConnection { cluster, selector, description, namespace, tokens, eks } = live;
                (AnyCluster::Live(cluster), description, namespace, ClusterConnection::Live(selector), (tokens, eks))
            }
        };
        let label = to_label(self.name.as_deref(), description);
        let observer = self.observer.with_label(&label);
        Ok(ConnectedCluster { cluster, label, namespace, connection, tokens, eks, observer })
    }
}

/// `prod (eks eu-west-1/prod)`.
fn to_label(name: Option<&str>, description: String) -> String {
    match name {
        Some(name) => format!("{name} ({description})"),
        None => description,
    }
}
