//! Parses `[clusters]`, `[ownership]` and `[guard]`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::error::{Diagnostics, PolicyError};
use super::model::{
    AssumedRoleSpec, ClusterSpec, ConnectionSpec, DEFAULT_TOKEN_CACHE, EksClusterSpec, GuardSpec, IgnorePattern,
    Located, MaxRemovals, OwnershipMode, OwnershipSpec,
};
use super::principal_spec::StoreChoice;
use super::table::PolicyTable;
use crate::names::{
    AccountId, Arn, ArnError, ObjectKind, PARTITIONS, PrincipalKind, WildcardPattern, is_eks_cluster_name, is_region,
    partition_for_region,
};

/// The longest `token-cache`. A longer wait would outlive most credentials.
const MAX_TOKEN_CACHE: Duration = Duration::from_hours(1);

pub(crate) fn parse_cluster(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterSpec> {
    const KEYS: [&str; 7] = ["eks", "context", "snapshot", "account", "partition", "authentication", "token-cache"];
    table.report_unknown_keys(&KEYS, diagnostics);
    if name.value.is_empty() {
        diagnostics.push(PolicyError::EmptyName { what: "the name of a cluster" }, name.span);
    }
    let account = parse_account_id(table, "account", diagnostics);
    let partition = parse_partition(table, diagnostics);
    let token_cache = parse_token_cache(table, diagnostics).unwrap_or(DEFAULT_TOKEN_CACHE);
    let authentication = parse_stores(table, diagnostics);
    let kind = require_exactly_one(table, &["eks", "context", "snapshot"], diagnostics)?;
    let connection = match kind {
        "eks" => parse_eks_connection(&table.table("eks", diagnostics)?, diagnostics)?,
        "context" => ConnectionSpec::Context(table.string("context", diagnostics)?.value),
        _ => ConnectionSpec::Snapshot(parse_snapshot_paths(table, diagnostics)?),
    };
    let inferred = infer_partition(&connection);
    if let (Some(partition), Some(inferred)) = (&partition, inferred)
        && partition.value != inferred
    {
        let expected = format!("`{inferred}`, the partition of the region");
        diagnostics.push(wrong_value(table, "partition", &expected, partition.value), partition.span);
    }
    let partition = partition.map(|partition| partition.value).or(inferred);
    Some(ClusterSpec { connection, account, partition, token_cache, authentication })
}

/// Parses the `authentication` of a cluster.
fn parse_stores(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Located<StoreChoice>> {
    let text = table.string("authentication", diagnostics)?;
    let stores = StoreChoice::ALL.into_iter().find(|stores| stores.as_str() == text.value);
    if stores.is_none() {
        let expected = "`aws-auth`, `access-entries` or `both`";
        diagnostics.push(wrong_value(table, "authentication", expected, &text.value), text.span);
    }
    stores.map(|stores| Located::new(stores, text.span))
}

/// Parses how long the API servers of a cluster cache a token, such as `2m10s`.
fn parse_token_cache(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let text = table.string("token-cache", diagnostics)?;
    let parsed = text.value.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let duration = parsed.filter(|duration| *duration <= MAX_TOKEN_CACHE && duration.subsec_nanos() == 0);
    if duration.is_none() {
        let expected = "a duration in minutes and seconds of at most 1h, such as `2m10s`";
        diagnostics.push(wrong_value(table, "token-cache", expected, &text.value), text.span);
    }
    duration
}

/// Infers the partition from the region of the cluster. `aws eks update-kubeconfig` names a context after the ARN of
/// the cluster, which contains the region.
fn infer_partition(connection: &ConnectionSpec) -> Option<&'static str> {
    match connection {
        ConnectionSpec::Eks(cluster) => Some(partition_for_region(&cluster.region)),
        ConnectionSpec::Context(name) => match name.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "eks", region, ..] => Some(partition_for_region(region)),
            _ => None,
        },
        ConnectionSpec::Snapshot(_) => None,
    }
}

/// Parses an AWS partition.
pub(crate) fn parse_partition(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Located<&'static str>> {
    let text = table.string("partition", diagnostics)?;
    let partition = PARTITIONS.into_iter().find(|partition| *partition == text.value);
    if partition.is_none() {
        let expected = format!("one of {}", PARTITIONS.map(|name| format!("`{name}`")).join(", "));
        diagnostics.push(wrong_value(table, "partition", &expected, &text.value), text.span);
    }
    partition.map(|partition| Located::new(partition, text.span))
}

/// Parses the path of a snapshot file, or a list of paths that form one snapshot.
fn parse_snapshot_paths(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    if table.is_list("snapshot") {
        let files = table.strings("snapshot", diagnostics)?;
        if table.is_empty_list("snapshot") {
            let reason = "a snapshot has at least one file";
            diagnostics.push(
                PolicyError::EmptyList { path: table.child_path("snapshot"), key: "snapshot", reason },
                table.key_span("snapshot"),
            );
        }
        return Some(files.into_iter().map(|file| file.value).collect());
    }
    Some(vec![table.string("snapshot", diagnostics)?.value])
}

fn parse_eks_connection(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<ConnectionSpec> {
    table.report_unknown_keys(&["name", "region", "profile", "role-arn", "external-id"], diagnostics);
    let name = require_string(table, "name", diagnostics);
    let region = require_string(table, "region", diagnostics);
    let profile = parse_profile(table, diagnostics);
    let role = parse_assumed_role(table, region.as_ref().map(|region| region.value.as_str()), diagnostics);
    let (name, region) = (name?, region?);
    if !is_eks_cluster_name(&name.value) {
        diagnostics.push(
            wrong_value(
                table,
                "name",
                "the name of an EKS cluster: at most 100 letters, digits, `-` and `_`",
                &name.value,
            ),
            name.span,
        );
    }
    if !is_region(&region.value) {
        diagnostics.push(wrong_value(table, "region", "an AWS region such as `eu-west-1`", &region.value), region.span);
    }
    Some(ConnectionSpec::Eks(EksClusterSpec { name: name.value, region: region.value, profile, role }))
}

/// Parses the name of a profile. It is the name of a section in a file, so it is on one line.
fn parse_profile(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = table.string("profile", diagnostics)?;
    let is_valid = !text.value.trim().is_empty() && !text.value.chars().any(|c| c.is_control() || c == ']');
    if !is_valid {
        let expected = "the name of a profile in the AWS configuration files";
        diagnostics.push(wrong_value(table, "profile", expected, &text.value), text.span);
    }
    Some(text.value)
}

fn parse_assumed_role(
    table: &PolicyTable<'_>,
    region: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<AssumedRoleSpec> {
    let role = table.string("role-arn", diagnostics);
    let external_id = table.string("external-id", diagnostics);
    if let Some(external_id) = &external_id {
        // STS API, AssumeRole, ExternalId.
        let is_valid = (2..=1224).contains(&external_id.value.len())
            && external_id.value.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c));
        if !is_valid {
            let expected = "an external ID: 2 to 1224 letters, digits and `_+=,.@:/-`";
            diagnostics.push(wrong_value(table, "external-id", expected, &external_id.value), external_id.span);
        }
        if !table.has("role-arn") {
            let error = PolicyError::MissingKey { table: table.path.clone(), keys: "`role-arn`".to_owned() };
            diagnostics.push(error, table.key_span("external-id"));
        }
    }
    let role = role?;
    match Arn::parse(&role.value) {
        Err(reason) => diagnostics.push(PolicyError::Arn { text: role.value.clone(), reason }, role.span),
        Ok(arn) if arn.kind() != PrincipalKind::Role => {
            diagnostics.push(wrong_value(table, "role-arn", "the ARN of an IAM role", &role.value), role.span);
        }
        Ok(arn) => {
            let partition = region.map(partition_for_region);
            if let Some(partition) = partition.filter(|partition| *partition != arn.partition()) {
                let expected = format!("a role in the partition `{partition}` of the region");
                diagnostics.push(wrong_value(table, "role-arn", &expected, &role.value), role.span);
            }
        }
    }
    Some(AssumedRoleSpec { arn: role.value, external_id: external_id.map(|id| id.value) })
}

pub(crate) fn wrong_value(table: &PolicyTable<'_>, key: &str, expected: &str, found: &str) -> PolicyError {
    PolicyError::WrongValue { key: table.child_path(key), expected: expected.to_owned(), found: found.to_owned() }
}

/// Returns the string of a required key.
pub(crate) fn require_string(
    table: &PolicyTable<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Located<String>> {
    if !table.has(key) {
        let error = PolicyError::MissingKey { table: table.path.clone(), keys: format!("`{key}`") };
        diagnostics.push(error, table.span);
    }
    table.string(key, diagnostics)
}

/// Returns the key of `keys` that is present. None or several are an error.
pub(crate) fn require_exactly_one<'k>(
    table: &PolicyTable<'_>,
    keys: &[&'k str],
    diagnostics: &mut Diagnostics,
) -> Option<&'k str> {
    let found: Vec<&'k str> = keys.iter().copied().filter(|key| table.has(key)).collect();
    let list = |keys: &[&str], conjunction: &str| match keys
        .iter()
        .map(|key| format!("`{key}`"))
        .collect::<Vec<_>>()
        .as_slice()
    {
        [others @ .., last] if !others.is_empty() => format!("{} {conjunction} {last}", others.join(", ")),
        names => names.join(", "),
    };
    match found.as_slice() {
        [key] => Some(key),
        [] => {
            let error = PolicyError::MissingKey { table: table.path.clone(), keys: list(keys, "or") };
            diagnostics.push(error, table.span);
            None
        }
        [_, second, ..] => {
            let error = PolicyError::MutuallyExclusiveKeys {
                table: table.path.clone(),
                found: list(&found, "and"),
                allowed: list(keys, "and"),
            };
            diagnostics.push(error, table.key_span(second));
            None
        }
    }
}

pub(crate) fn parse_account_id(table: &PolicyTable<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<AccountId> {
    let text = table.string(key, diagnostics)?;
    let id = AccountId::parse(&text.value);
    if id.is_none() {
        diagnostics.push(wrong_value(table, key, "an AWS account ID: twelve digits in quotes", &text.value), text.span);
    }
    id
}

pub(crate) fn parse_ownership(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> OwnershipSpec {
    table.report_unknown_keys(&["aws-auth", "access-entries", "rbac", "ignore"], diagnostics);
    let mut parse_mode = |key: &str| {
        let text = table.string(key, diagnostics)?;
        match text.value.as_str() {
            "shared" => Some(OwnershipMode::Shared),
            "exclusive" => Some(OwnershipMode::Exclusive),
            other => {
                diagnostics.push(wrong_value(table, key, "`shared` or `exclusive`", other), text.span);
                None
            }
        }
    };
    let aws_auth = parse_mode("aws-auth").unwrap_or_default();
    let access_entries = parse_mode("access-entries").unwrap_or_default();
    let rbac = parse_mode("rbac").unwrap_or_default();
    let patterns = table.strings("ignore", diagnostics).unwrap_or_default();
    let ignore = patterns
        .into_iter()
        .filter_map(|text| {
            let pattern = WildcardPattern::new(&text.value);
            if text.value.starts_with("arn:") || AccountId::parse(&text.value).is_some() {
                return Some(Located::new(IgnorePattern::Arn(pattern), text.span));
            }
            let kind = text.value.split_once('/').and_then(|(kind, _)| ObjectKind::parse(kind));
            if !kind.is_some_and(ObjectKind::is_rbac) {
                diagnostics.push(PolicyError::InvalidIgnorePattern { pattern: text.value }, text.span);
                return None;
            }
            Some(Located::new(IgnorePattern::Object(pattern), text.span))
        })
        .collect();
    OwnershipSpec { aws_auth, access_entries, rbac, ignore }
}

pub(crate) fn parse_guard(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> GuardSpec {
    table.report_unknown_keys(&["protected", "max-removals"], diagnostics);
    let protected = table
        .strings("protected", diagnostics)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|text| {
            let parsed = parse_protected_pattern(&text.value);
            match parsed {
                Ok(pattern) => Some(Located::new(pattern, text.span)),
                Err(reason) => {
                    diagnostics.push(PolicyError::Arn { text: text.value, reason }, text.span);
                    None
                }
            }
        })
        .collect();
    let max_removals =
        table.string_or_integer("max-removals", "an integer or a percentage", diagnostics).and_then(|text| {
            let parsed = MaxRemovals::parse(&text.value);
            if parsed.is_none() {
                diagnostics.push(
                    wrong_value(
                        table,
                        "max-removals",
                        "a number such as 10, or a percentage such as \"20%\"",
                        &text.value,
                    ),
                    text.span,
                );
            }
            parsed.map(|parsed| Located::new(parsed, text.span))
        });
    GuardSpec { protected, max_removals }
}

/// Parses an ARN, or a pattern of ARNs as in `ignore`.
fn parse_protected_pattern(text: &str) -> Result<WildcardPattern, ArnError> {
    let pattern = WildcardPattern::new(text);
    if text.starts_with("arn:") && !pattern.is_literal() {
        return Ok(pattern);
    }
    Arn::parse(text).map(|arn| WildcardPattern::new(&arn.to_aws_auth()))
}

/// Parses the `clusters` of an item.
pub(crate) fn parse_cluster_filter(
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Located<String>>> {
    let clusters = table.strings("clusters", diagnostics)?;
    if table.is_empty_list("clusters") {
        let reason = "it would apply to no cluster";
        diagnostics.push(
            PolicyError::EmptyList { path: table.child_path("clusters"), key: "clusters", reason },
            table.key_span("clusters"),
        );
    }
    Some(clusters)
}

/// Returns whether an item with this filter applies to the cluster.
pub(crate) fn applies_to_cluster(filter: Option<&[Located<String>]>, cluster: Option<&str>) -> bool {
    match (filter, cluster) {
        (Some(names), Some(cluster)) => names.iter().any(|name| name.value == cluster),
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// Returns the names of the clusters that an item with this filter applies to. `None` is the single cluster of a policy
/// without `[clusters]`.
pub(crate) fn selected_clusters<'a>(
    filter: Option<&'a [Located<String>]>,
    clusters: &'a BTreeMap<String, ClusterSpec>,
) -> Vec<Option<&'a str>> {
    if clusters.is_empty() {
        return vec![None];
    }
    clusters.keys().map(String::as_str).filter(|name| applies_to_cluster(filter, Some(name))).map(Some).collect()
}
