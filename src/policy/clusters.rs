//! `[clusters]`, `[ownership]` and `[guard]`: what the policy is for and how far it reaches.

use std::collections::BTreeMap;

use super::error::{Diagnostics, PolicyError};
use super::model::{
    ClusterSpec, ConnectionSpec, GuardSpec, IgnorePattern, Located, MaxRemovals, OwnershipMode, OwnershipSpec,
};
use super::table::PolicyTable;
use crate::names::{AccountId, Arn, ArnError, ObjectKind, PARTITIONS, WildcardPattern, partition_for_region};

pub(crate) fn parse_cluster(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    faults: &mut Diagnostics,
) -> Option<ClusterSpec> {
    table.report_unknown_keys(&["eks", "context", "snapshot", "account", "partition"], faults);
    if name.value.is_empty() {
        faults.push(PolicyError::EmptyName { what: "the name of a cluster" }, name.span);
    }
    let account = parse_account_id(table, "account", faults);
    let given = parse_partition(table, faults);
    let kind = require_exactly_one(table, &["eks", "context", "snapshot"], faults)?;
    let connection = match kind {
        "eks" => parse_eks_connection(&table.table("eks", faults)?, faults)?,
        "context" => ConnectionSpec::Context(table.string("context", faults)?.value),
        _ => ConnectionSpec::Snapshot(parse_snapshot_files(table, faults)?),
    };
    let known = infer_partition(&connection);
    if let (Some(given), Some(known)) = (&given, known)
        && given.value != known
    {
        let wanted = format!("`{known}`, in which the region lies");
        faults.push(wrong_value(table, "partition", &wanted, given.value), given.span);
    }
    Some(ClusterSpec { connection, account, partition: given.map(|given| given.value).or(known) })
}

/// The partition that the way to a cluster tells: `aws eks update-kubeconfig` names contexts by the cluster's ARN.
fn infer_partition(connection: &ConnectionSpec) -> Option<&'static str> {
    match connection {
        ConnectionSpec::Eks { region, .. } => Some(partition_for_region(region)),
        ConnectionSpec::Context(name) => match name.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "eks", region, ..] => Some(partition_for_region(region)),
            _ => None,
        },
        ConnectionSpec::Snapshot(_) => None,
    }
}

/// One of the partitions of AWS.
pub(crate) fn parse_partition(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Located<&'static str>> {
    let text = table.string("partition", faults)?;
    let known = PARTITIONS.into_iter().find(|known| *known == text.value);
    if known.is_none() {
        let wanted = format!("one of {}", PARTITIONS.map(|name| format!("`{name}`")).join(", "));
        faults.push(wrong_value(table, "partition", &wanted, &text.value), text.span);
    }
    known.map(|known| Located::new(known, text.span))
}

/// One file, or several that make one snapshot.
fn parse_snapshot_files(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Vec<String>> {
    if table.is_list("snapshot") {
        let files = table.strings("snapshot", faults)?;
        if table.is_empty_list("snapshot") {
            let why = "a snapshot is one file or several";
            faults.push(
                PolicyError::EmptyList { path: table.child_path("snapshot"), key: "snapshot", why },
                table.key_span("snapshot"),
            );
        }
        return Some(files.into_iter().map(|file| file.value).collect());
    }
    Some(vec![table.string("snapshot", faults)?.value])
}

fn parse_eks_connection(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<ConnectionSpec> {
    table.report_unknown_keys(&["name", "region"], faults);
    let name = require_string(table, "name", faults);
    let region = require_string(table, "region", faults);
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
    Some(ConnectionSpec::Eks { name: name.value, region: region.value })
}

pub(crate) fn wrong_value(table: &PolicyTable<'_>, key: &str, wanted: &str, found: &str) -> PolicyError {
    PolicyError::WrongValue { key: table.child_path(key), expected: wanted.to_owned(), found: found.to_owned() }
}

/// A string that must be there.
pub(crate) fn require_string(table: &PolicyTable<'_>, key: &str, faults: &mut Diagnostics) -> Option<Located<String>> {
    if !table.has(key) {
        let fault = PolicyError::MissingKey { table: table.path.clone(), what: format!("`{key}`") };
        faults.push(fault, table.span);
    }
    table.string(key, faults)
}

/// Which one of the keys is there; none or several are a fault.
pub(crate) fn require_exactly_one<'k>(
    table: &PolicyTable<'_>,
    keys: &[&'k str],
    faults: &mut Diagnostics,
) -> Option<&'k str> {
    let found: Vec<&'k str> = keys.iter().copied().filter(|key| table.has(key)).collect();
    let list = |keys: &[&str], and: &str| match keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().as_slice()
    {
        [several @ .., last] if !several.is_empty() => format!("{} {and} {last}", several.join(", ")),
        all => all.join(", "),
    };
    match found.as_slice() {
        [one] => Some(one),
        [] => {
            let fault = PolicyError::MissingKey { table: table.path.clone(), what: list(keys, "or") };
            faults.push(fault, table.span);
            None
        }
        [_, second, ..] => {
            let fault = PolicyError::MutuallyExclusiveKeys {
                table: table.path.clone(),
                found: list(&found, "and"),
                allowed: list(keys, "and"),
            };
            faults.push(fault, table.key_span(second));
            None
        }
    }
}

pub(crate) fn parse_account_id(table: &PolicyTable<'_>, key: &str, faults: &mut Diagnostics) -> Option<AccountId> {
    let text = table.string(key, faults)?;
    let id = AccountId::parse(&text.value);
    if id.is_none() {
        faults.push(wrong_value(table, key, "an AWS account, twelve digits in quotes", &text.value), text.span);
    }
    id
}

pub(crate) fn parse_ownership(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> OwnershipSpec {
    table.report_unknown_keys(&["aws-auth", "rbac", "ignore"], faults);
    let mut reach = |key: &str| {
        let text = table.string(key, faults)?;
        match text.value.as_str() {
            "shared" => Some(OwnershipMode::Shared),
            "exclusive" => Some(OwnershipMode::Exclusive),
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
            let pattern = WildcardPattern::new(&text.value);
            if text.value.starts_with("arn:") || AccountId::parse(&text.value).is_some() {
                return Some(IgnorePattern::Arn(pattern));
            }
            let kind = text.value.split_once('/').and_then(|(kind, _)| ObjectKind::parse(kind));
            if !kind.is_some_and(ObjectKind::is_rbac) {
                faults.push(PolicyError::InvalidIgnorePattern { pattern: text.value }, text.span);
                return None;
            }
            Some(IgnorePattern::Object(pattern))
        })
        .collect();
    OwnershipSpec { aws_auth, rbac, ignore }
}

pub(crate) fn parse_guard(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> GuardSpec {
    table.report_unknown_keys(&["protected", "max-removals"], faults);
    let protected = table
        .strings("protected", faults)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|text| {
            let parsed = parse_protected_pattern(&text.value);
            match parsed {
                Ok(pattern) => Some(Located::new(pattern, text.span)),
                Err(why) => {
                    faults.push(PolicyError::Arn { text: text.value, why }, text.span);
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
            parsed.map(|parsed| Located::new(parsed, text.span))
        });
    GuardSpec { protected, max_removals }
}

/// An ARN, or a pattern of ARNs as `ignore` has them.
fn parse_protected_pattern(text: &str) -> Result<WildcardPattern, ArnError> {
    let pattern = WildcardPattern::new(text);
    if text.starts_with("arn:") && !pattern.is_literal() {
        return Ok(pattern);
    }
    Arn::parse(text).map(|arn| WildcardPattern::new(&arn.to_aws_auth()))
}

/// The clusters that an item is for.
pub(crate) fn parse_cluster_filter(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Vec<Located<String>>> {
    let clusters = table.strings("clusters", faults)?;
    if table.is_empty_list("clusters") {
        let why = "it would be for no cluster at all";
        faults.push(
            PolicyError::EmptyList { path: table.child_path("clusters"), key: "clusters", why },
            table.key_span("clusters"),
        );
    }
    Some(clusters)
}

/// Whether an item with this filter is for the cluster.
pub(crate) fn applies_to_cluster(filter: Option<&[Located<String>]>, cluster: Option<&str>) -> bool {
    match (filter, cluster) {
        (Some(names), Some(cluster)) => names.iter().any(|name| name.value == cluster),
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// The names of the clusters that an item is for; `None` stands for the one cluster of a policy without any.
pub(crate) fn selected_clusters<'a>(
    filter: Option<&'a [Located<String>]>,
    clusters: &'a BTreeMap<String, ClusterSpec>,
) -> Vec<Option<&'a str>> {
    if clusters.is_empty() {
        return vec![None];
    }
    clusters.keys().map(String::as_str).filter(|name| applies_to_cluster(filter, Some(name))).map(Some).collect()
}
