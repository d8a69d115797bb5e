//! `rolecall restore FILE`: back to what an apply found, as planned and as carefully as an apply.

#![expect(clippy::disallowed_methods, reason = "the backup is read here")]

use std::collections::BTreeMap;

use serde_json::Value;

use super::apply::{Consent, Way as Manner, finish};
use super::args::{Place, Restore};
use super::backup::{KIND, Note, VERSION, is_of_backup, read_each};
use super::exit::Exit;
use super::failure::Failure;
use super::guarded::{allowances, see};
use super::planned::{Planned, unreadable};
use super::saved::{Reached, way};
use super::target::{Target, Way};
use super::world::World;
use crate::cluster::any::AnyCluster;
use crate::cluster::kubeconfig::Wanted;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::{Diagnostic, Sources};
use crate::names::ObjectKey;
use crate::plan::{Images, Sides, restore};
use crate::policy::Known;
use crate::state::validate::key_of;
use crate::yaml;

pub(crate) async fn run(args: &Restore, world: &mut World) -> Result<Exit, Failure> {
    let consent = Consent { given: args.auto_approve || args.care.dry_run, approved: &args.approved, saved: None };
    consent.can_be_had(world)?;
    let allow = allowances(&args.care.allow)?;
    let (note, objects) = read(args, world)?;
    let place = Place {
        clusters: Vec::new(),
        snapshots: args.snapshot.iter().cloned().collect(),
        context: args.context.clone(),
        kubeconfig: args.kubeconfig.clone(),
    };
    let way = match (&args.context, &args.snapshot) {
        (Some(context), _) => Way::Live(Wanted::Context(context.clone())),
        (None, Some(file)) => Way::Snapshot { files: vec![world.cwd.join(file)], shown: file.clone() },
        (None, None) => way(serde_json::from_value::<Reached>(note.reached_by.clone())
            .map_err(|error| not_a_backup(args, &format!("reached-by: {error}")))?),
    };
    let opened = Target::new(note.name.clone(), way.clone(), &place, world).open().await?;
    let (state, seen) = futures::future::join(opened.cluster.observe(), see(&opened.cluster)).await;
    let state = state?;
    if let (Some(then), Some(now)) = (&note.cluster_uid, &state.cluster_uid)
        && then != now
    {
        let error = Diagnostic::error(format!(
            "{} is another cluster than {}, of which the backup is",
            opened.label, note.cluster
        ));
        return Err(Failure::of(error.hint("name the right one by --context")));
    }
    let mut images: Images = objects.into_iter().map(|(key, object)| (key, (Some(object), None))).collect();
    images.extend(note.absent.iter().map(|key| (key.clone(), (None, None))));
    now(&opened.cluster, &mut images).await?;
    let mut plan = restore(&note.policy, &state, &images).map_err(|fault| unreadable(&fault))?;
    let known = Known::default();
    let after = plan.after(&state).map_err(|fault| unreadable(&fault))?;
    let sides = Sides::of(&state, &after);
    plan.tell_access(&sides, &known);
    let planned = Planned::judged(opened, plan, (way, note.name), known, &sides, seen, &allow).await?;
    let manner = Manner { consent, allow: &allow, care: &args.care };
    finish(&[planned], &Sources::default(), &manner, world).await
}

/// Reads each object as it is now.
async fn now(cluster: &AnyCluster, images: &mut Images) -> Result<(), ClusterError> {
    let keys: Vec<ObjectKey> = images.keys().cloned().collect();
    let found = read_each(cluster, &keys).await?;
    for (image, object) in images.values_mut().zip(found) {
        image.1 = object;
    }
    Ok(())
}

fn not_a_backup(args: &Restore, why: &str) -> Failure {
    let error = Diagnostic::error(format!("{} is no backup of rolecall: {why}", args.file.display()));
    Failure::of(error.hint("`rolecall apply --backup DIR` writes one; a snapshot does not say what did not exist"))
}

fn read(args: &Restore, world: &World) -> Result<(Note, BTreeMap<ObjectKey, Value>), Failure> {
    let text = std::fs::read_to_string(world.cwd.join(&args.file))
        .map_err(|error| Failure::of(Diagnostic::error(format!("{} cannot be read: {error}", args.file.display()))))?;
    let fault = |why: &str| not_a_backup(args, why);
    let documents =
        yaml::documents(&text).map_err(|error| fault(&format!("line {}: {}", error.line, error.message)))?;
    let mut note: Option<Note> = None;
    let mut objects = BTreeMap::new();
    for document in documents {
        let value = document.to_json().map_err(|error| fault(&format!("line {}: {}", error.line, error.message)))?;
        if value.is_null() {
            continue;
        }
        if value.get("kind").and_then(Value::as_str) == Some(KIND) {
            let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            if version != VERSION {
                return Err(fault(&format!("it has the version `{version}`, this rolecall reads {VERSION}")));
            }
            note = Some(serde_json::from_value(value).map_err(|error| fault(&error.to_string()))?);
            continue;
        }
        match key_of(&value).map_err(|why| fault(&why))? {
            Some(key) if is_of_backup(key.kind()) => drop(objects.insert(key, value)),
            Some(_) | None => {}
        }
    }
    Ok((note.ok_or_else(|| fault("it does not say what did not exist"))?, objects))
}
