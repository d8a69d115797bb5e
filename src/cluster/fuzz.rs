//! What is true of every kubeconfig, snapshot and protobuf frame. [`crate::fuzz`] calls this with arbitrary input.

use std::collections::BTreeMap;

use kube::config::Kubeconfig;
use prost::Message;
use prost::bytes::Bytes;
use serde_json::Value;

use super::kubeconfig::{context_config, parse_error};
use super::protobuf::{ProtobufObject, decode_envelope, decode_list};
use super::snapshot::{STDIN, SnapshotCluster, SnapshotNamedBy};
use super::token_command::parse_token_command;
use super::{ClusterError, ReadCluster as _, WriteCluster as _, WriteOutcome};
use crate::diagnostic::SourceMap;
use crate::names::ObjectKey;
use crate::render::fuzz::check_diagnostics;
use crate::state::State;
use crate::state::object::{RawBinding, RawNamespace, RawRole};
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteRequest};
use crate::yaml;

/// The fields of a kubeconfig that no error may quote.
const SECRET_FIELDS: [&str; 6] =
    ["token", "password", "client-key-data", "client-certificate-data", "certificate-authority-data", "value"];
/// A shorter value can be part of any message.
const MIN_SECRET: usize = 8;
/// The number of items of a list, which a server is asked for.
const MAX_ITEMS: usize = 50;

fn check_error(error: &ClusterError) -> Result<(), String> {
    check_diagnostics(&[error.to_diagnostic()], &SourceMap::default())
}

/// Loads the current context, and another one.
///
/// # Errors
/// The property that does not hold: an error does not quote a credential.
pub(crate) async fn check_kubeconfig(text: &str) -> Result<(), String> {
    let kubeconfig = match Kubeconfig::from_yaml(text) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return check_error(&parse_error(&error, "config".as_ref())),
    };
    let content = serde_json::to_value(&kubeconfig).map_err(|error| error.to_string())?;
    let (mut secrets, mut names) = (Vec::new(), Vec::new());
    collect_strings(&content, false, &mut secrets, &mut names);
    // A device can block, or never end.
    if names.iter().any(|name| name.starts_with("/dev") || name.starts_with("/proc")) {
        return Ok(());
    }
    for name in [None, Some("prod")] {
        let (config, _) = match context_config(kubeconfig.clone(), name, &BTreeMap::new()).await {
            Ok(config) => config,
            Err(error) => {
                check_quotes(&error, &secrets, &names)?;
                continue;
            }
        };
        // Whatever the arguments of the plugin are, there is no panic.
        drop(config.auth_info.exec.as_ref().and_then(|exec| parse_token_command(exec, &config.cluster_url)));
    }
    Ok(())
}

/// # Errors
/// If the error quotes a credential.
fn check_quotes(error: &ClusterError, secrets: &[String], names: &[String]) -> Result<(), String> {
    check_error(error)?;
    let message = format!("{error} {:?}", error.help());
    let is_quoted = |secret: &&String| message.contains(secret.as_str());
    let is_secret = |secret: &&String| !names.iter().any(|name| name.contains(secret.as_str()));
    match secrets.iter().filter(is_secret).find(is_quoted) {
        Some(secret) => Err(format!("an error quotes the credential {secret:?}: {message}")),
        None => Ok(()),
    }
}

fn collect_strings(value: &Value, is_secret: bool, secrets: &mut Vec<String>, names: &mut Vec<String>) {
    match value {
        Value::String(text) if is_secret && text.len() >= MIN_SECRET => secrets.push(text.clone()),
        Value::String(text) if !is_secret => names.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_strings(item, is_secret, secrets, names)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| collect_strings(field, SECRET_FIELDS.contains(&name.as_str()), secrets, names)),
        _ => {}
    }
}

fn open(text: &str) -> Result<SnapshotCluster, ClusterError> {
    SnapshotCluster::open(&[STDIN.into()], Some(text), &SnapshotNamedBy::CommandLine)
}

/// Reads the text as a snapshot, writes it again, and deletes its first object.
///
/// # Errors
/// The property that does not hold.
pub(crate) async fn check_snapshot(text: &str) -> Result<(), String> {
    let cluster = match open(text) {
        Ok(cluster) => cluster,
        Err(error) => return check_error(&error),
    };
    if cluster.rendered() != [text] {
        return Err("a snapshot without a write has another text".to_owned());
    }
    let state = cluster.read_state().await.map_err(|error| format!("it was opened, but: {error}"))?;
    let objects = cluster.export_objects().await.map_err(|error| error.to_string())?;
    let exported: String = objects.iter().map(|object| format!("---\n{}", yaml::to_yaml(object))).collect();
    let again = open(&exported).map_err(|error| format!("its export is not a snapshot: {error}\n{exported}"))?;
    let again = again.export_objects().await.map_err(|error| error.to_string())?;
    if again != objects {
        return Err(format!("its export has other objects: {objects:?}\n{again:?}"));
    }
    let first = state.rbac_objects().map(|(key, meta)| (key.clone(), meta.resource_version.clone())).next();
    match first {
        Some((key, Some(version))) => check_deletion(&cluster, &state, &key, version).await,
        Some((key, None)) => Err(format!("{key} has no version")),
        None => Ok(()),
    }
}

async fn check_deletion(
    cluster: &SnapshotCluster,
    before: &State,
    key: &ObjectKey,
    resource_version: String,
) -> Result<(), String> {
    let uid = before.meta(key).and_then(|meta| meta.uid.clone());
    let expected = ResolvedPrecondition::Version(ObjectVersion { uid, resource_version });
    match cluster.write(key, &WriteRequest::Delete, &expected).await {
        Ok(WriteOutcome::Deleted) => {}
        Ok(_) => return Ok(()),
        Err(error) => return Err(format!("{key} cannot be deleted: {error}")),
    }
    let rendered = cluster.rendered().concat();
    let after = open(&rendered).map_err(|error| format!("{error}, without {key}:\n{rendered}"))?;
    let after = after.read_state().await.map_err(|error| error.to_string())?;
    let is_deleted = after.meta(key).is_none();
    let others = |state: &State| {
        let others = state.rbac_objects().filter(|(other, _)| *other != key);
        others.map(|(other, _)| other.clone()).collect::<Vec<_>>()
    };
    if is_deleted && others(before) == others(&after) {
        Ok(())
    } else {
        Err(format!("the text without {key} has other objects:\n{rendered}"))
    }
}

/// A list as the protobuf library decodes it.
#[derive(Message)]
struct ProtoWholeList {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ProtoContinueToken>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    items: Vec<Bytes>,
}

#[derive(Message)]
struct ProtoContinueToken {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    r#continue: String,
}

/// Decodes the bytes as a response, and as lists of all kinds.
///
/// # Errors
/// The property that does not hold: the own decoder of lists agrees with the library.
pub(crate) fn check_protobuf(bytes: &[u8]) -> Result<(), String> {
    let bytes = Bytes::copy_from_slice(bytes);
    let raw = match decode_envelope(&bytes) {
        Some(Ok(envelope)) => envelope.raw,
        Some(Err(_)) => return Ok(()),
        // Without the prefix, the bytes are the list itself, which is found faster.
        None => bytes,
    };
    check_list::<RawRole>(&raw)?;
    check_list::<RawBinding>(&raw)?;
    check_list::<RawNamespace>(&raw)
}

fn check_list<T: ProtobufObject + std::fmt::Debug + 'static>(raw: &Bytes) -> Result<(), String> {
    let Ok(page) = decode_list::<T>(raw.clone(), MAX_ITEMS) else {
        return Ok(());
    };
    let whole =
        ProtoWholeList::decode(raw.clone()).map_err(|error| format!("the library refuses the list: {error}"))?;
    let metadata = whole.metadata.unwrap_or_default();
    if (&page.resource_version, &page.continue_token) != (&metadata.resource_version, &metadata.r#continue) {
        return Err(format!("other metadata than {metadata:?}"));
    }
    let mut count = 0;
    for (item, bytes) in page.items.zip(&whole.items) {
        count += 1;
        let Ok((item, length)) = item else {
            continue;
        };
        let message = T::Message::decode(bytes.clone()).map_err(|error| error.to_string())?;
        let encoded = message.encode_to_vec();
        let again: T = T::Message::decode(encoded.as_slice()).map_err(|error| error.to_string())?.into();
        if length != bytes.len() || format!("{item:?}") != format!("{again:?}") {
            return Err(format!("an encoded object differs: {item:?}\n{again:?}"));
        }
    }
    if count == whole.items.len() { Ok(()) } else { Err(format!("{count} of {} items", whole.items.len())) }
}
