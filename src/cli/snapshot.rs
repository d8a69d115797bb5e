//! `rolecall snapshot`: a cluster's access as one file that can stand in its place.

use super::args::{OutputFormat, SnapshotArgs};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::target::resolve_targets;
use super::write_file_atomically;
use crate::cluster::ReadCluster as _;
use crate::cluster::snapshot::snapshot_header;
use crate::diagnostic::Diagnostic;
use crate::report::{ObjectListDocument, to_text};
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &SnapshotArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let named = args.target.policy.clone().or_else(|| find_policy(world));
    let loaded = named.map(|path| load_policy(Some(&path), world)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let found = resolve_targets(clusters, &args.target.connection, world)?;
    let [target] = found.as_slice() else {
        let names: Vec<&str> = found.iter().filter_map(|target| target.name.as_deref()).collect();
        let error = Diagnostic::error(format!("a snapshot is of one cluster, and the policy has {}", names.join(", ")));
        return Err(CommandError::from_diagnostic(error.with_help("add --cluster NAME")));
    };
    let opened = target.connect().await?;
    let objects = opened.cluster.export().await?;
    let count = objects.len();
    let text = match args.format {
        OutputFormat::Json => to_text(&ObjectListDocument::new(&objects))?,
        OutputFormat::Text => {
            let documents: Vec<String> = objects.iter().map(to_yaml).collect();
            format!("{}{}", snapshot_header(&opened.label, &world.now.to_string()), documents.join("---\n"))
        }
    };
    match &args.out {
        Some(path) => {
            write_file_atomically(path, &text, world)?;
            world.note(&format!("{count} objects of {} are in {}\n", opened.label, path.display()));
        }
        None => world.print(&text),
    }
    Ok(Exit::Success)
}
