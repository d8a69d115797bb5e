//! `[principals]` and `[groups]`: who is let in, and under which names.

use super::fault::{Fault, Faults};
use super::model::{At, Group, Identity, NodeKind, Principal};
use super::scope::{account, exactly_one, filter, partition, required, wrong_value};
use super::table::Table;
use super::usernames::{group_name, username};
use crate::names::{AccountId, Arn, ArnFault, PrincipalKind, iam_name_fault};

const KEYS: [&str; 10] =
    ["role", "user", "sso", "account", "kind", "username", "shared-username", "groups", "expires", "clusters"];

pub(crate) fn principal(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> Option<Principal> {
    table.only(&KEYS, faults);
    if name.value.is_empty() {
        faults.push(Fault::EmptyName { what: "the name of a principal" }, name.span);
    }
    let identity = identity(table, faults);
    let kind = kind(table, faults);
    let expires = table.expiry("expires", faults);
    let shared_username = table.boolean("shared-username", faults).unwrap_or_default();
    let clusters = filter(table, faults);
    let groups = table.strings("groups", faults).unwrap_or_default();
    let given = table.string("username", faults);
    let identity = identity?;
    if let Some(given) = &given {
        let is_user = matches!(&identity.value, Identity::User(_))
            || matches!(&identity.value, Identity::Arn(arn) if arn.kind() == PrincipalKind::User);
        username(given, is_user, kind, faults);
    }
    if let Identity::Account(_) = identity.value {
        for key in ["username", "shared-username", "groups", "kind"] {
            if table.has(key) {
                faults.push(Fault::AccountWith { key }, table.key_span(key));
            }
        }
    }
    Some(Principal { span: name.span, identity, kind, username: given, shared_username, groups, expires, clusters })
}

fn identity(table: &Table<'_>, faults: &mut Faults) -> Option<At<Identity>> {
    let which = exactly_one(table, &["role", "user", "sso", "account"], faults)?;
    let span = table.key_span(which);
    match which {
        "role" => iam(table, PrincipalKind::Role, faults),
        "user" => iam(table, PrincipalKind::User, faults),
        "sso" => sso(&table.table("sso", faults)?, faults).map(|identity| At::new(identity, span)),
        _ => account(table, "account", faults).map(|id| At::new(Identity::Account(id), span)),
    }
}

fn iam(table: &Table<'_>, kind: PrincipalKind, faults: &mut Faults) -> Option<At<Identity>> {
    let text = table.string(kind.word(), faults)?;
    let looks_like_arn = text.value.trim().starts_with("arn:");
    let identity = if looks_like_arn {
        match Arn::parse(&text.value) {
            Ok(arn) if arn.kind() == kind => Identity::Arn(arn),
            Ok(arn) => {
                let why = ArnFault::Kind { found: arn.kind().word(), wanted: kind.word() };
                faults.push(Fault::Arn { text: text.value, why }, text.span);
                return None;
            }
            Err(why) => {
                faults.push(Fault::Arn { text: text.value, why }, text.span);
                return None;
            }
        }
    } else if let Some(why) = iam_name_fault(&text.value) {
        faults.push(Fault::IamName { name: text.value, kind: kind.iam_word(), why }, text.span);
        return None;
    } else {
        match kind {
            PrincipalKind::Role => Identity::Role(text.value),
            PrincipalKind::User => Identity::User(text.value),
        }
    };
    Some(At::new(identity, text.span))
}

fn sso(table: &Table<'_>, faults: &mut Faults) -> Option<Identity> {
    table.only(&["permission-set", "account", "id", "partition"], faults);
    let set = required(table, "permission-set", faults);
    required(table, "account", faults);
    let account = account(table, "account", faults);
    let partition = partition(table, faults).map(|found| found.value);
    let set = set?;
    // IAM Identity Center API, PermissionSetName: `[\w+=,.@-]+`, at most 32.
    if let Some(why) =
        iam_name_fault(&set.value).or_else(|| (set.value.len() > 32).then(|| "at most 32 characters fit".to_owned()))
    {
        faults.push(Fault::IamName { name: set.value.clone(), kind: "a permission set", why }, set.span);
    }
    let account: AccountId = account?;
    let Some(id) = table.string("id", faults) else {
        if !table.has("id") {
            let fault = Fault::SsoWithoutId { set: set.value, account: account.to_string() };
            faults.push(fault, table.span);
        }
        return None;
    };
    let hex = id.value.len() == 16 && id.value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        faults.push(Fault::SsoSuffix { id: id.value }, id.span);
        return None;
    }
    Some(Identity::Sso { permission_set: set.value, account, partition, id: id.value })
}

fn kind(table: &Table<'_>, faults: &mut Faults) -> NodeKind {
    let Some(text) = table.string("kind", faults) else {
        return NodeKind::Person;
    };
    let kind = match text.value.as_str() {
        "node" => NodeKind::Node,
        "windows-node" => NodeKind::WindowsNode,
        "fargate" => NodeKind::Fargate,
        other => {
            faults.push(wrong_value(table, "kind", "`node`, `windows-node` or `fargate`", other), text.span);
            return NodeKind::Person;
        }
    };
    if table.has("user") || table.has("sso") {
        faults.push(Fault::KindOfUser { kind: text.value.clone() }, table.key_span("kind"));
    }
    if table.has("username") && !table.has("account") {
        faults.push(Fault::KindWithUsername { kind: text.value }, table.key_span("username"));
    }
    kind
}

pub(crate) fn group(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> Group {
    table.only(&["description", "members", "clusters"], faults);
    group_name(name, faults);
    table.string("description", faults);
    Group {
        span: name.span,
        members: table.strings("members", faults).unwrap_or_default(),
        clusters: filter(table, faults),
    }
}
