//! `[clusters]`, `[ownership]` and `[guard]`: what the policy is for and how far it reaches.

use std::collections::BTreeMap;

use super::fault::{Fault, Faults};
use super::model::{At, ClusterTarget, Connection, Exclusive, Guard, IgnorePattern, MaxRemovals, Ownership};
use super::table::Table;
use crate::names::{AccountId, Arn, ArnFault, ObjectKind, PARTITIONS, Pattern, partition_of};

pub(crate) fn cluster(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> Option<ClusterTarget> {
    table.only(&["eks", "context", "snapshot", "account", "partition"], faults);
    if name.value.is_empty() {
        faults.push(Fault::EmptyName { what: "the name of a cluster" }, name.span);
    }
    let account = account(table, "account", faults);
    let given = partition(table, faults);
    let kind = exactly_one(table, &["eks", "context", "snapshot"], faults)?;
    let connection = match kind {
        "eks" => eks(&table.table("eks", faults)?, faults)?,
        "context" => Connection::Context(table.string("context", faults)?.value),
        _ => Connection::Snapshot(snapshot_files(table, faults)?),
    };
    let known = known_partition(&connection);
    if let (Some(given), Some(known)) = (&given, known)
        && given.value != known
    {
        let wanted = format!("`{known}`, in which the region lies");
        faults.push(wrong_value(table, "partition", &wanted, given.value), given.span);
    }
    Some(ClusterTarget { connection, account, partition: given.map(|given| given.value).or(known) })
}

/// The partition that the way to a cluster tells: `aws eks update-kubeconfig` names contexts by the cluster's ARN.
fn known_partition(connection: &Connection) -> Option<&'static str> {
    match connection {
        Connection::Eks { region, .. } => Some(partition_of(region)),
        Connection::Context(name) => match name.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "eks", region, ..] => Some(partition_of(region)),
            _ => None,
        },
        Connection::Snapshot(_) => None,
    }
}

/// One of the partitions of AWS.
pub(crate) fn partition(table: &Table<'_>, faults: &mut Faults) -> Option<At<&'static str>> {
    let text = table.string("partition", faults)?;
    let known = PARTITIONS.into_iter().find(|known| *known == text.value);
    if known.is_none() {
        let wanted = format!("one of {}", PARTITIONS.map(|name| format!("`{name}`")).join(", "));
        faults.push(wrong_value(table, "partition", &wanted, &text.value), text.span);
    }
    known.map(|known| At::new(known, text.span))
}

/// One file, or several that make one snapshot.
fn snapshot_files(table: &Table<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    if table.is_list("snapshot") {
        let files = table.strings("snapshot", faults)?;
        if table.is_empty_list("snapshot") {
            let why = "a snapshot is one file or several";
            faults.push(
                Fault::EmptyList { path: table.child_path("snapshot"), key: "snapshot", why },
                table.key_span("snapshot"),
            );
        }
        return Some(files.into_iter().map(|file| file.value).collect());
    }
    Some(vec![table.string("snapshot", faults)?.value])
}

fn eks(table: &Table<'_>, faults: &mut Faults) -> Option<Connection> {
    table.only(&["name", "region"], faults);
    let name = required(table, "name", faults);
    let region = required(table, "region", faults);
    let (name, region) = (name?, region?);
    // EKS API model 2017-11-01, ClusterName.
    let fits = name.value.len() <= 100
        && name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !fits {
        faults.push(
            wrong_value(
                table,
                "name",
                "the name of an EKS cluster (letters, digits, `-`, `_`; at most 100)",
                &name.value,
            ),
            name.span,
        );
    }
    let parts: Vec<&str> = region.value.split('-').collect();
    let shape = parts.len() >= 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        && parts.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if !shape {
        faults.push(wrong_value(table, "region", "an AWS region such as `eu-west-1`", &region.value), region.span);
    }
    Some(Connection::Eks { name: name.value, region: region.value })
}

pub(crate) fn wrong_value(table: &Table<'_>, key: &str, wanted: &str, found: &str) -> Fault {
    Fault::WrongValue { key: table.child_path(key), wanted: wanted.to_owned(), found: found.to_owned() }
}

/// A string that must be there.
pub(crate) fn required(table: &Table<'_>, key: &str, faults: &mut Faults) -> Option<At<String>> {
    if !table.has(key) {
        let fault = Fault::Missing { table: table.path.clone(), what: format!("`{key}`") };
        faults.push(fault, table.span);
    }
    table.string(key, faults)
}

/// Which one of the keys is there; none or several are a fault.
pub(crate) fn exactly_one<'k>(table: &Table<'_>, keys: &[&'k str], faults: &mut Faults) -> Option<&'k str> {
    let found: Vec<&'k str> = keys.iter().copied().filter(|key| table.has(key)).collect();
    let list = |keys: &[&str], and: &str| match keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().as_slice()
    {
        [several @ .., last] if !several.is_empty() => format!("{} {and} {last}", several.join(", ")),
        all => all.join(", "),
    };
    match found.as_slice() {
        [one] => Some(one),
        [] => {
            let fault = Fault::Missing { table: table.path.clone(), what: list(keys, "or") };
            faults.push(fault, table.span);
            None
        }
        [_, second, ..] => {
            let fault =
                Fault::OneOf { table: table.path.clone(), found: list(&found, "and"), allowed: list(keys, "and") };
            faults.push(fault, table.key_span(second));
            None
        }
    }
}

pub(crate) fn account(table: &Table<'_>, key: &str, faults: &mut Faults) -> Option<AccountId> {
    let text = table.string(key, faults)?;
    let id = AccountId::parse(&text.value);
    if id.is_none() {
        faults.push(wrong_value(table, key, "an AWS account, twelve digits in quotes", &text.value), text.span);
    }
    id
}

pub(crate) fn ownership(table: &Table<'_>, faults: &mut Faults) -> Ownership {
    table.only(&["aws-auth", "rbac", "ignore"], faults);
    let mut reach = |key: &str| {
        let text = table.string(key, faults)?;
        match text.value.as_str() {
            "shared" => Some(Exclusive::Shared),
            "exclusive" => Some(Exclusive::Exclusive),
            other => {
                faults.push(wrong_value(table, key, "`shared` or `exclusive`", other), text.span);
                None
            }
        }
    };
    let aws_auth = reach("aws-auth").unwrap_or_default();
    let rbac = reach("rbac").unwrap_or_default();
    let patterns = table.strings("ignore", faults).unwrap_or_default();
    let ignore = patterns
        .into_iter()
        .filter_map(|text| {
            let pattern = Pattern::new(&text.value);
            if text.value.starts_with("arn:") || AccountId::parse(&text.value).is_some() {
                return Some(IgnorePattern::Arn(pattern));
            }
            let kind = text.value.split_once('/').and_then(|(kind, _)| ObjectKind::parse(kind));
            if !kind.is_some_and(ObjectKind::is_rbac) {
                faults.push(Fault::IgnorePattern { pattern: text.value }, text.span);
                return None;
            }
            Some(IgnorePattern::Object(pattern))
        })
        .collect();
    Ownership { aws_auth, rbac, ignore }
}

pub(crate) fn guard(table: &Table<'_>, faults: &mut Faults) -> Guard {
    table.only(&["protected", "max-removals"], faults);
    let protected = table
        .strings("protected", faults)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|text| {
            let parsed = protected(&text.value);
            match parsed {
                Ok(pattern) => Some(At::new(pattern, text.span)),
                Err(why) => {
                    faults.push(Fault::Arn { text: text.value, why }, text.span);
                    None
                }
            }
        })
        .collect();
    let max_removals = table
        .string_or_integer("max-removals", "a whole number, or a share such as \"20%\"", faults)
        .and_then(|text| {
            let parsed = MaxRemovals::parse(&text.value);
            if parsed.is_none() {
                faults.push(
                    wrong_value(table, "max-removals", "a number such as 10, or a share such as \"20%\"", &text.value),
                    text.span,
                );
            }
            parsed.map(|parsed| At::new(parsed, text.span))
        });
    Guard { protected, max_removals }
}

/// An ARN, or a pattern of ARNs as `ignore` has them.
fn protected(text: &str) -> Result<Pattern, ArnFault> {
    let pattern = Pattern::new(text);
    if text.starts_with("arn:") && !pattern.is_literal() {
        return Ok(pattern);
    }
    Arn::parse(text).map(|arn| Pattern::new(&arn.for_aws_auth()))
}

/// The clusters that an item is for.
pub(crate) fn filter(table: &Table<'_>, faults: &mut Faults) -> Option<Vec<At<String>>> {
    let clusters = table.strings("clusters", faults)?;
    if table.is_empty_list("clusters") {
        let why = "it would be for no cluster at all";
        faults.push(
            Fault::EmptyList { path: table.child_path("clusters"), key: "clusters", why },
            table.key_span("clusters"),
        );
    }
    Some(clusters)
}

/// Whether an item with this filter is for the cluster.
pub(crate) fn is_for(filter: Option<&[At<String>]>, cluster: Option<&str>) -> bool {
    match (filter, cluster) {
        (Some(names), Some(cluster)) => names.iter().any(|name| name.value == cluster),
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// The names of the clusters that an item is for; `None` stands for the one cluster of a policy without any.
pub(crate) fn reached<'a>(
    filter: Option<&'a [At<String>]>,
    clusters: &'a BTreeMap<String, ClusterTarget>,
) -> Vec<Option<&'a str>> {
    if clusters.is_empty() {
        return vec![None];
    }
    clusters.keys().map(String::as_str).filter(|name| is_for(filter, Some(name))).map(Some).collect()
}
