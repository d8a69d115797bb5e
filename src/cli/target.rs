//! Which clusters a command is for, and the way to each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::Place;
use super::failure::Failure;
use super::world::World;
use crate::cluster::ClusterError;
use crate::cluster::any::AnyCluster;
use crate::cluster::connection::Connection;
use crate::cluster::kubeconfig::{Lookup, Wanted, resolve};
use crate::cluster::live::LiveCluster;
use crate::cluster::snapshot::SnapshotCluster;
use crate::diagnostic::{Diagnostic, nearest};
use crate::policy::{self, ClusterTarget};

/// The clusters of a policy by name.
type Clusters = BTreeMap<String, ClusterTarget>;

/// The way to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Live(Wanted),
    Snapshot { files: Vec<PathBuf>, shown: String },
}

/// One cluster of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the policy calls it; a policy without `[clusters]` is for one without a name.
    pub(crate) name: Option<String>,
    pub(crate) way: Way,
    lookup: Lookup,
}

/// A cluster that answers, and what people call it.
pub(crate) struct Opened {
    pub(crate) cluster: AnyCluster,
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) label: String,
}

impl Target {
    pub(crate) fn new(name: Option<String>, way: Way, place: &Place, world: &World) -> Self {
        let file = place.kubeconfig.as_ref().map(|path| world.cwd.join(path));
        Self { name, way, lookup: Lookup { file, env: world.env.clone() } }
    }

    /// Connects; a snapshot is read.
    pub(crate) async fn open(&self) -> Result<Opened, ClusterError> {
        let (cluster, what) = match &self.way {
            Way::Snapshot { files, shown } => {
                (AnyCluster::Snapshot(SnapshotCluster::open(files)?), format!("snapshot {shown}"))
            }
            Way::Live(wanted) => {
                let (config, context) = resolve(wanted, &self.lookup).await?;
                let live = LiveCluster::new(Connection::new(config).await?);
                let what = match wanted {
                    Wanted::Eks { name, region, .. } => format!("eks {region}/{name}"),
                    Wanted::Current | Wanted::Context(_) => format!("context {context}"),
                };
                (AnyCluster::Live(live), what)
            }
        };
        let label = match &self.name {
            Some(name) => format!("{name} ({what})"),
            None => what,
        };
        Ok(Opened { cluster, label })
    }
}

/// The clusters that were asked for, or all of the policy.
pub(crate) fn targets(
    clusters: Option<(&Clusters, &Path)>,
    place: &Place,
    world: &World,
) -> Result<Vec<Target>, Failure> {
    let named = clusters.filter(|(clusters, _)| !clusters.is_empty());
    let Some((clusters, folder)) = named else {
        return nameless(place, world).map(|target| vec![target]);
    };
    let names = chosen(clusters, &place.clusters)?;
    let snapshots = snapshots(clusters, &names, place)?;
    if place.context.is_some() && names.len() > 1 {
        let error = Diagnostic::error(format!("--context is for one cluster, and this is for {}", names.join(", ")));
        return Err(Failure::of(error.hint("add --cluster NAME")));
    }
    let one = |name: &String| {
        let files: Vec<&String> = snapshots.iter().filter(|(of, _)| of == name).map(|(_, file)| file).collect();
        let way = if !files.is_empty() {
            snapshot(files.iter().map(|file| (world.cwd.join(file), file.as_str())))
        } else if let Some(context) = &place.context {
            Way::Live(Wanted::Context(context.clone()))
        } else {
            written(clusters, name, folder)?
        };
        Some(Target::new(Some(name.clone()), way, place, world))
    };
    Ok(names.iter().filter_map(one).collect())
}

/// The way that the policy gives.
fn written(clusters: &Clusters, name: &str, folder: &Path) -> Option<Way> {
    let cluster = clusters.get(name)?;
    Some(match &cluster.connection {
        policy::Connection::Eks { name, region } => Way::Live(Wanted::Eks {
            name: name.clone(),
            region: region.clone(),
            account: cluster.account.as_ref().map(ToString::to_string),
        }),
        policy::Connection::Context(context) => Way::Live(Wanted::Context(context.clone())),
        policy::Connection::Snapshot(files) => snapshot(files.iter().map(|file| (folder.join(file), file.as_str()))),
    })
}

fn snapshot<'a>(files: impl Iterator<Item = (PathBuf, &'a str)>) -> Way {
    let (files, shown): (Vec<PathBuf>, Vec<&str>) = files.unzip();
    Way::Snapshot { files, shown: shown.join(", ") }
}

/// The one cluster of a policy that names none.
fn nameless(place: &Place, world: &World) -> Result<Target, Failure> {
    if let Some(name) = place.clusters.first() {
        let error = Diagnostic::error(format!("there is no cluster `{name}`: the policy has no `[clusters]`"));
        return Err(Failure::of(error.hint("choose by --context NAME or --snapshot FILE, or declare `[clusters]`")));
    }
    let way = if !place.snapshots.is_empty() {
        snapshot(place.snapshots.iter().map(|file| (world.cwd.join(file), file.as_str())))
    } else if let Some(context) = &place.context {
        Way::Live(Wanted::Context(context.clone()))
    } else {
        Way::Live(Wanted::Current)
    };
    Ok(Target::new(None, way, place, world))
}

fn chosen(clusters: &Clusters, asked: &[String]) -> Result<Vec<String>, Failure> {
    if asked.is_empty() {
        return Ok(clusters.keys().cloned().collect());
    }
    let unknown: Vec<Diagnostic> =
        asked.iter().filter(|name| !clusters.contains_key(*name)).map(|name| unknown(clusters, name)).collect();
    if unknown.is_empty() {
        return Ok(clusters.keys().filter(|name| asked.contains(name)).cloned().collect());
    }
    Err(unknown.into())
}

fn unknown(clusters: &Clusters, name: &str) -> Diagnostic {
    let names = || clusters.keys().map(String::as_str);
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its clusters are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Diagnostic::error(format!("`{name}` is not a cluster of this policy")).hint(hint)
}

/// `NAME=FILE`, or a file alone where one cluster is meant.
fn snapshots(clusters: &Clusters, names: &[String], place: &Place) -> Result<Vec<(String, String)>, Failure> {
    let mut out = Vec::new();
    for text in &place.snapshots {
        let pair = text.split_once('=').filter(|(name, _)| clusters.contains_key(*name));
        match (pair, names) {
            (Some((name, file)), _) if names.iter().any(|known| known == name) => {
                out.push((name.to_owned(), file.to_owned()));
            }
            (Some((name, _)), _) => {
                let error = Diagnostic::error(format!("--snapshot {text} is for a cluster that was not asked for"));
                return Err(Failure::of(error.hint(format!("add --cluster {name}"))));
            }
            (None, [only]) => out.push((only.clone(), text.clone())),
            (None, several) => {
                let error = Diagnostic::error(format!("--snapshot {text} does not say for which cluster"));
                let hint = format!("write --snapshot NAME={text}; the clusters are {}", several.join(", "));
                return Err(Failure::of(error.hint(hint)));
            }
        }
    }
    Ok(out)
}
