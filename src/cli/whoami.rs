//! `rolecall whoami`: whom the cluster takes the caller for.

use serde_json::json;

use super::args::{Format, Whoami};
use super::exit::Exit;
use super::failure::Failure;
use super::policy_files::{find, load};
use super::print_json;
use super::target::targets;
use super::world::World;
use crate::cluster::{Caller, ReadCluster as _};
use crate::render::json::FORMAT_VERSION;
use crate::render::words::visible;

pub(crate) async fn run(args: &Whoami, world: &mut World) -> Result<Exit, Failure> {
    let named = args.scope.policy.clone().or_else(|| find(world));
    let loaded = named.map(|path| load(Some(&path), world)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.folder.as_path()));
    let mut answers = Vec::new();
    for target in targets(clusters, &args.scope.place, world)? {
        let end = async {
            let opened = target.open().await?;
            let caller = opened.cluster.whoami().await?;
            Ok::<_, Failure>((opened.label, caller))
        };
        answers.push(end.await.map_err(|failure| failure.in_cluster(target.name.as_deref()))?);
    }
    match args.format {
        Format::Json => {
            let clusters: Vec<_> =
                answers.iter().map(|(label, caller)| json!({ "cluster": label, "caller": caller })).collect();
            print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": clusters }), world);
        }
        Format::Text => {
            for (label, caller) in &answers {
                world.print(&shown(label, caller.as_ref()));
            }
        }
    }
    Ok(Exit::Done)
}

fn shown(label: &str, caller: Option<&Caller>) -> String {
    let label = visible(label);
    let Some(Caller { username, groups, uid: _, extra }) = caller else {
        return format!("{label}\n  nobody: a snapshot has no caller\n");
    };
    let mut out = format!("{label}\n  username  {}\n", visible(username));
    out.push_str(&format!("  groups    {}\n", visible(&groups.join(", "))));
    for name in ["canonicalArn", "arn"] {
        if let Some(values) = extra.get(name) {
            out.push_str(&format!("  {name:<8}  {}\n", visible(&values.join(", "))));
        }
    }
    out
}
