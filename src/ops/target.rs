//! A cluster that a command is for, and how to connect to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::OpsContext;
use super::observer::{ClusterTag, EventKind, Observer};
use crate::cluster::ClusterError;
use crate::cluster::any::AnyCluster;
use crate::cluster::api_client::ApiClient;
use crate::cluster::kubeconfig::{ContextSelector, KubeconfigSource, load_context};
use crate::cluster::live::LiveCluster;
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
                Self::Snapshot { files, display_name, named_by: SnapshotNamedBy::SavedFile }
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
    /// Receives the events of this cluster.
    pub(crate) observer: Observer,
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
    /// Receives the events of this cluster.
    pub(crate) observer: Observer,
}

impl TargetCluster {
    /// `position` is the number of the cluster among those of the command, and `kubeconfig` the value of `--kubeconfig`.
    pub(crate) fn new(
        position: usize,
        name: Option<String>,
        connection: ClusterConnection,
        kubeconfig: Option<&Path>,
        context: &OpsContext,
    ) -> Self {
        let file = kubeconfig.map(|path| context.cwd.join(path));
        let kubeconfig = KubeconfigSource { file, env: context.vars.clone() };
        let description = match &connection {
            ClusterConnection::Snapshot { display_name, .. } => format!("snapshot {display_name}"),
            ClusterConnection::Live(ContextSelector::Eks { name, region, .. }) => format!("eks {region}/{name}"),
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
            | (None, ClusterConnection::Live(ContextSelector::Named(name) | ContextSelector::Eks { name, .. })) => {
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
        let (cluster, description, namespace) = match &self.connection {
            ClusterConnection::Snapshot { files, display_name, named_by } => {
                let snapshot = SnapshotCluster::open(files, self.stdin.as_deref(), named_by)?;
                for path in snapshot.paths() {
                    self.settings.inputs.record(&path, "the snapshot");
                }
                (AnyCluster::Snapshot(snapshot), format!("snapshot {display_name}"), "default".to_owned())
            }
            ClusterConnection::Live(selector) => {
                for path in self.kubeconfig.paths() {
                    self.settings.inputs.record(&path, "the kubeconfig");
                }
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
        let label = to_label(self.name.as_deref(), description);
        let observer = self.observer.with_label(&label);
        Ok(ConnectedCluster { cluster, label, namespace, observer })
    }
}

/// `prod (eks eu-west-1/prod)`.
fn to_label(name: Option<&str>, description: String) -> String {
    match name {
        Some(name) => format!("{name} ({description})"),
        None => description,
    }
}
