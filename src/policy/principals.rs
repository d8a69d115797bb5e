//! Parses `[principals]` and `[groups]`.

use super::access_policies::{parse_access_policies, parse_tags};
use super::clusters::{
    parse_account_id, parse_cluster_filter, parse_partition, require_exactly_one, require_string, wrong_value,
};
use super::error::{Diagnostics, PERMISSION_SET, PolicyError};
use super::model::Located;
use super::principal_spec::{EntryType, GroupSpec, IdentitySpec, PrincipalSpec};
use super::table::PolicyTable;
use super::usernames::{check_group_name, check_username};
use crate::names::{AccountId, Arn, ArnError, PrincipalKind, iam_name_error, is_region};

const KEYS: [&str; 12] = [
    "role",
    "user",
    "sso",
    "account",
    "kind",
    "username",
    "shared-username",
    "groups",
    "access-policies",
    "eks-tags",
    "expires",
    "clusters",
];

pub(crate) fn parse_principal(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<PrincipalSpec> {
    table.report_unknown_keys(&KEYS, diagnostics);
    if name.value.is_empty() {
        diagnostics.push(PolicyError::EmptyName { what: "the name of a principal" }, name.span);
    }
    let identity = parse_identity(table, diagnostics);
    let kind = parse_entry_type(table, diagnostics);
    let expires = table.expiry("expires", diagnostics);
    let shared_username = table.boolean("shared-username", diagnostics).unwrap_or_default();
    let clusters = parse_cluster_filter(table, diagnostics);
    let groups = table.strings("groups", diagnostics).unwrap_or_default();
    let access_policies = parse_access_policies(table, diagnostics);
    let tags = parse_tags(table, diagnostics);
    let username = table.string("username", diagnostics);
    let identity = identity?;
    if let Some(username) = &username {
        let is_user = matches!(&identity.value, IdentitySpec::User(_))
            || matches!(&identity.value, IdentitySpec::Arn(arn) if arn.kind() == PrincipalKind::User);
        check_username(username, is_user, kind, diagnostics);
    }
    if let IdentitySpec::Account(_) = identity.value {
        for key in ["username", "shared-username", "groups", "kind", "access-policies", "eks-tags"] {
            if table.has(key) {
                diagnostics.push(PolicyError::KeyNotForAccount { key }, table.key_span(key));
            }
        }
    }
    Some(PrincipalSpec {
        span: name.span,
        identity,
        kind,
        username,
        shared_username,
        groups,
        access_policies,
        tags,
        expires,
        clusters,
    })
}

fn parse_identity(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Located<IdentitySpec>> {
    let key = require_exactly_one(table, &["role", "user", "sso", "account"], diagnostics)?;
    let span = table.key_span(key);
    match key {
        "role" => parse_iam_identity(table, PrincipalKind::Role, diagnostics),
        "user" => parse_iam_identity(table, PrincipalKind::User, diagnostics),
        "sso" => parse_sso_identity(&table.table("sso", diagnostics)?, diagnostics)
            .map(|identity| Located::new(identity, span)),
        _ => parse_account_id(table, "account", diagnostics).map(|id| Located::new(IdentitySpec::Account(id), span)),
    }
}

fn parse_iam_identity(
    table: &PolicyTable<'_>,
    kind: PrincipalKind,
    diagnostics: &mut Diagnostics,
) -> Option<Located<IdentitySpec>> {
    let text = table.string(kind.as_str(), diagnostics)?;
    let looks_like_arn = text.value.trim().starts_with("arn:");
    let identity = if looks_like_arn {
        match Arn::parse(&text.value) {
            Ok(arn) if arn.kind() == kind => IdentitySpec::Arn(arn),
            Ok(arn) => {
                let reason = ArnError::WrongKind { found: arn.kind().as_str(), expected: kind.as_str() };
                diagnostics.push(PolicyError::Arn { text: text.value, reason }, text.span);
                return None;
            }
            Err(reason) => {
                diagnostics.push(PolicyError::Arn { text: text.value, reason }, text.span);
                return None;
            }
        }
    } else if let Some(reason) = iam_name_error(&text.value) {
        diagnostics
            .push(PolicyError::InvalidIamName { name: text.value, kind: kind.as_noun_phrase(), reason }, text.span);
        return None;
    } else {
        match kind {
            PrincipalKind::Role => IdentitySpec::Role(text.value),
            PrincipalKind::User => IdentitySpec::User(text.value),
        }
    };
    Some(Located::new(identity, text.span))
}

fn parse_sso_identity(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<IdentitySpec> {
    table.report_unknown_keys(&["permission-set", "account", "id", "partition", "region"], diagnostics);
    let set = require_string(table, "permission-set", diagnostics);
    require_string(table, "account", diagnostics);
    let account = parse_account_id(table, "account", diagnostics);
    let partition = parse_partition(table, diagnostics).map(|partition| partition.value);
    let region = table.string("region", diagnostics);
    if let Some(region) = region.as_ref().filter(|region| !is_region(&region.value)) {
        let expected = "an AWS region such as `eu-west-1`";
        diagnostics.push(wrong_value(table, "region", expected, &region.value), region.span);
    }
    let set = set?;
    // IAM Identity Center API, PermissionSetName: `[\w+=,.@-]+`, at most 32.
    let length = set.value.len();
    let too_long = || format!("permission set names have at most 32 characters, this one has {length}");
    if let Some(reason) = iam_name_error(&set.value).or_else(|| (length > 32).then(too_long)) {
        let error = PolicyError::InvalidIamName { name: set.value.clone(), kind: PERMISSION_SET, reason };
        diagnostics.push(error, set.span);
    }
    let account: AccountId = account?;
    let Some(id) = table.string("id", diagnostics) else {
        if !table.has("id") {
            let error = PolicyError::MissingSsoSuffix { set: set.value, account: account.to_string() };
            diagnostics.push(error, table.span);
        }
        return None;
    };
    let is_valid_suffix =
        id.value.len() == 16 && id.value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_valid_suffix {
        diagnostics.push(PolicyError::InvalidSsoSuffix { id: id.value }, id.span);
        return None;
    }
    let region = region.map(|region| region.value);
    Some(IdentitySpec::Sso { permission_set: set.value, account, partition, id: id.value, region })
}

fn parse_entry_type(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> EntryType {
    let Some(text) = table.string("kind", diagnostics) else {
        return EntryType::Standard;
    };
    let Some(kind) = EntryType::NODES.into_iter().find(|kind| kind.as_str() == text.value) else {
        let names = EntryType::NODES.map(|kind| format!("`{}`", kind.as_str()));
        let expected = format!("one of {}", names.join(", "));
        diagnostics.push(wrong_value(table, "kind", &expected, &text.value), text.span);
        return EntryType::Standard;
    };
    if table.has("user") || table.has("sso") {
        diagnostics.push(PolicyError::KindNotForUser { kind: text.value.clone() }, table.key_span("kind"));
    }
    if table.has("username") && !table.has("account") {
        diagnostics.push(PolicyError::KindWithUsername { kind: text.value }, table.key_span("username"));
    }
    kind
}

pub(crate) fn parse_group(name: &Located<String>, table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> GroupSpec {
    table.report_unknown_keys(&["description", "members", "access-policies", "clusters"], diagnostics);
    check_group_name(name, diagnostics);
    table.string("description", diagnostics);
    GroupSpec {
        span: name.span,
        members: table.strings("members", diagnostics).unwrap_or_default(),
        access_policies: parse_access_policies(table, diagnostics),
        clusters: parse_cluster_filter(table, diagnostics),
    }
}
