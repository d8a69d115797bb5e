//! `[principals]` and `[groups]`: who is let in, and under which names.

use super::clusters::{
    parse_account_id, parse_cluster_filter, parse_partition, require_exactly_one, require_string, wrong_value,
};
use super::error::{Diagnostics, PolicyError};
use super::model::{EntryType, GroupSpec, IdentitySpec, Located, PrincipalSpec};
use super::table::PolicyTable;
use super::usernames::{check_group_name, check_username};
use crate::names::{AccountId, Arn, ArnError, PrincipalKind, iam_name_error};

const KEYS: [&str; 10] =
    ["role", "user", "sso", "account", "kind", "username", "shared-username", "groups", "expires", "clusters"];

pub(crate) fn parse_principal(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    faults: &mut Diagnostics,
) -> Option<PrincipalSpec> {
    table.report_unknown_keys(&KEYS, faults);
    if name.value.is_empty() {
        faults.push(PolicyError::EmptyName { what: "the name of a principal" }, name.span);
    }
    let identity = parse_identity(table, faults);
    let kind = parse_entry_type(table, faults);
    let expires = table.expiry("expires", faults);
    let shared_username = table.boolean("shared-username", faults).unwrap_or_default();
    let clusters = parse_cluster_filter(table, faults);
    let groups = table.strings("groups", faults).unwrap_or_default();
    let given = table.string("username", faults);
    let identity = identity?;
    if let Some(given) = &given {
        let is_user = matches!(&identity.value, IdentitySpec::User(_))
            || matches!(&identity.value, IdentitySpec::Arn(arn) if arn.kind() == PrincipalKind::User);
        check_username(given, is_user, kind, faults);
    }
    if let IdentitySpec::Account(_) = identity.value {
        for key in ["username", "shared-username", "groups", "kind"] {
            if table.has(key) {
                faults.push(PolicyError::KeyNotForAccount { key }, table.key_span(key));
            }
        }
    }
    Some(PrincipalSpec { span: name.span, identity, kind, username: given, shared_username, groups, expires, clusters })
}

fn parse_identity(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Located<IdentitySpec>> {
    let which = require_exactly_one(table, &["role", "user", "sso", "account"], faults)?;
    let span = table.key_span(which);
    match which {
        "role" => parse_iam_identity(table, PrincipalKind::Role, faults),
        "user" => parse_iam_identity(table, PrincipalKind::User, faults),
        "sso" => parse_sso_identity(&table.table("sso", faults)?, faults).map(|identity| Located::new(identity, span)),
        _ => parse_account_id(table, "account", faults).map(|id| Located::new(IdentitySpec::Account(id), span)),
    }
}

fn parse_iam_identity(
    table: &PolicyTable<'_>,
    kind: PrincipalKind,
    faults: &mut Diagnostics,
) -> Option<Located<IdentitySpec>> {
    let text = table.string(kind.as_str(), faults)?;
    let looks_like_arn = text.value.trim().starts_with("arn:");
    let identity = if looks_like_arn {
        match Arn::parse(&text.value) {
            Ok(arn) if arn.kind() == kind => IdentitySpec::Arn(arn),
            Ok(arn) => {
                let why = ArnError::WrongKind { found: arn.kind().as_str(), expected: kind.as_str() };
                faults.push(PolicyError::Arn { text: text.value, why }, text.span);
                return None;
            }
            Err(why) => {
                faults.push(PolicyError::Arn { text: text.value, why }, text.span);
                return None;
            }
        }
    } else if let Some(why) = iam_name_error(&text.value) {
        faults.push(PolicyError::InvalidIamName { name: text.value, kind: kind.as_noun_phrase(), why }, text.span);
        return None;
    } else {
        match kind {
            PrincipalKind::Role => IdentitySpec::Role(text.value),
            PrincipalKind::User => IdentitySpec::User(text.value),
        }
    };
    Some(Located::new(identity, text.span))
}

fn parse_sso_identity(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<IdentitySpec> {
    table.report_unknown_keys(&["permission-set", "account", "id", "partition"], faults);
    let set = require_string(table, "permission-set", faults);
    require_string(table, "account", faults);
    let account = parse_account_id(table, "account", faults);
    let partition = parse_partition(table, faults).map(|found| found.value);
    let set = set?;
    // IAM Identity Center API, PermissionSetName: `[\w+=,.@-]+`, at most 32.
    if let Some(why) =
        iam_name_error(&set.value).or_else(|| (set.value.len() > 32).then(|| "at most 32 characters fit".to_owned()))
    {
        faults.push(PolicyError::InvalidIamName { name: set.value.clone(), kind: "a permission set", why }, set.span);
    }
    let account: AccountId = account?;
    let Some(id) = table.string("id", faults) else {
        if !table.has("id") {
            let fault = PolicyError::MissingSsoSuffix { set: set.value, account: account.to_string() };
            faults.push(fault, table.span);
        }
        return None;
    };
    let hex = id.value.len() == 16 && id.value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        faults.push(PolicyError::InvalidSsoSuffix { id: id.value }, id.span);
        return None;
    }
    Some(IdentitySpec::Sso { permission_set: set.value, account, partition, id: id.value })
}

fn parse_entry_type(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> EntryType {
    let Some(text) = table.string("kind", faults) else {
        return EntryType::Standard;
    };
    let kind = match text.value.as_str() {
        "node" => EntryType::Node,
        "windows-node" => EntryType::WindowsNode,
        "fargate" => EntryType::Fargate,
        other => {
            faults.push(wrong_value(table, "kind", "`node`, `windows-node` or `fargate`", other), text.span);
            return EntryType::Standard;
        }
    };
    if table.has("user") || table.has("sso") {
        faults.push(PolicyError::KindNotForUser { kind: text.value.clone() }, table.key_span("kind"));
    }
    if table.has("username") && !table.has("account") {
        faults.push(PolicyError::KindWithUsername { kind: text.value }, table.key_span("username"));
    }
    kind
}

pub(crate) fn parse_group(name: &Located<String>, table: &PolicyTable<'_>, faults: &mut Diagnostics) -> GroupSpec {
    table.report_unknown_keys(&["description", "members", "clusters"], faults);
    check_group_name(name, faults);
    table.string("description", faults);
    GroupSpec {
        span: name.span,
        members: table.strings("members", faults).unwrap_or_default(),
        clusters: parse_cluster_filter(table, faults),
    }
}
