//! `rolecall snapshot`: writes the access configuration of a cluster to a file, which other commands read instead of the
//! cluster.

use std::collections::BTreeMap;

use serde_json::Value;

use super::args::{OutputFormat, SnapshotArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::target::resolve_targets;
use super::write_output;
use crate::api_resources::DISCOVERY_KIND;
use crate::cluster::ReadCluster as _;
use crate::cluster::eks_facts::is_own_document;
use crate::cluster::snapshot::snapshot_header;
use crate::diagnostic::Diagnostic;
use crate::files::OutputKind;
use crate::ops::{CommandError, read_eks_facts};
use crate::render::text_util::pluralize;
use crate::report::{ObjectListDocument, to_text};
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &SnapshotArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let path = args.target.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let targets = resolve_targets(clusters, &args.target.connection, &env.ops_context())?;
    let [target] = targets.as_slice() else {
        let names: Vec<&str> = targets.iter().filter_map(|target| target.name.as_deref()).collect();
        let error = Diagnostic::error("snapshot needs one cluster, but the policy has several")
            .with_because(format!("the clusters of the policy are {}", names.join(", ")))
            .with_help("pass --cluster NAME");
        return Err(CommandError::from_diagnostic(error));
    };
    let reading = async {
        let connected = target.connect().await?;
        let (objects, facts, entries) = futures::future::join3(
            connected.cluster.export_objects(),
            read_eks_facts(&connected),
            connected.cluster.export_access_entries(),
        )
        .await;
        Ok((connected, objects?, facts, entries?))
    };
    let (connected, mut objects, facts, entries) = target.within_timeout(reading).await?;
    objects.extend(entries.documents);
    let is_discovery = |object: &Value| object.get("kind").is_some_and(|kind| *kind == DISCOVERY_KIND);
    let count = objects.iter().filter(|object| !is_discovery(object) && !is_own_document(object)).count();
    if let Some(mut facts) = facts {
        facts.unknown_access_entries = entries.unknown;
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (field, reason) in facts.unknown() {
            reasons.entry(reason).or_default().push(field);
        }
        for (reason, fields) in reasons {
            connected.observer.note(&format!("the snapshot does not have the {} of EKS: {reason}", fields.join(", ")));
        }
        objects.push(facts.to_document());
    }
    let text = match args.format {
        OutputFormat::Json => to_text(&ObjectListDocument::new(&objects))?,
        OutputFormat::Text => {
            let documents: Vec<String> = objects.iter().map(to_yaml).collect();
            format!("{}{}", snapshot_header(&connected.label, &env.now.to_string()), documents.join("---\n"))
        }
    };
    match &args.out {
        Some(path) => {
            write_output(path, &text, OutputKind::Snapshot, env)?;
            env.note(&format!("Wrote {} from {} to {}\n", pluralize(count, "object"), connected.label, path.display()));
        }
        None => env.print_data(&text),
    }
    Ok(Exit::Success)
}
