//! `rolecall snapshot`: a cluster's access as one file that can stand in its place.

use serde_json::json;

use super::args::{Format, Snapshot};
use super::exit::Exit;
use super::failure::Failure;
use super::policy_files::{find, load};
use super::target::targets;
use super::world::World;
use super::write_file;
use crate::cluster::ReadCluster as _;
use crate::cluster::snapshot::header;
use crate::diagnostic::Diagnostic;
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &Snapshot, world: &mut World) -> Result<Exit, Failure> {
    let named = args.scope.policy.clone().or_else(|| find(world));
    let loaded = named.map(|path| load(Some(&path), world)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.folder.as_path()));
    let found = targets(clusters, &args.scope.place, world)?;
    let [target] = found.as_slice() else {
        let names: Vec<&str> = found.iter().filter_map(|target| target.name.as_deref()).collect();
        let error = Diagnostic::error(format!("a snapshot is of one cluster, and the policy has {}", names.join(", ")));
        return Err(Failure::of(error.hint("add --cluster NAME")));
    };
    let opened = target.open().await?;
    let objects = opened.cluster.export().await?;
    let count = objects.len();
    let text = match args.format {
        Format::Json => format!("{:#}\n", json!({ "apiVersion": "v1", "kind": "List", "items": objects })),
        Format::Text => {
            let documents: Vec<String> = objects.iter().map(to_yaml).collect();
            format!("{}{}", header(&opened.label, &world.now.to_string()), documents.join("---\n"))
        }
    };
    match &args.out {
        Some(path) => {
            write_file(path, &text, world)?;
            world.say(&format!("{count} objects of {} are in {}\n", opened.label, path.display()));
        }
        None => world.print(&text),
    }
    Ok(Exit::Done)
}
