//! What may be a username or a group: reserved names, templates, and what the authenticator makes of them.
//!
//! Templates: aws-iam-authenticator v0.7.8 `pkg/server/server.go`, `renderTemplate`. Their spelling is exact; an
//! unknown one stays in the name as it is.

use super::error::{Diagnostics, PolicyError};
use super::model::{EntryType, Located};
use crate::names::reserved_prefix;

const USERNAME_TEMPLATES: [&str; 5] =
    ["{{EC2PrivateDNSName}}", "{{AccountID}}", "{{SessionName}}", "{{SessionNameRaw}}", "{{AccessKeyID}}"];

/// The one group of Kubernetes' own that a policy may fill. A guard watches over it.
pub(crate) const MASTERS: &str = "system:masters";

/// The `{{…}}` parts of a name.
pub(crate) fn find_templates(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices("{{").map(|(at, _)| {
        let rest = name.get(at..).unwrap_or_default();
        rest.find("}}").and_then(|end| rest.get(..end + 2)).unwrap_or(rest)
    })
}

pub(crate) fn check_username(name: &Located<String>, is_user: bool, kind: EntryType, faults: &mut Diagnostics) {
    if name.value.is_empty() {
        faults.push(PolicyError::EmptyUsername, name.span);
        return;
    }
    if kind != EntryType::Standard {
        return;
    }
    if let Some(prefix) = reserved_prefix(&name.value) {
        let owner = if prefix == "eks:" { "EKS" } else { "Kubernetes" };
        let fault = PolicyError::ReservedUsername { name: name.value.clone(), prefix, owner };
        faults.push(fault, name.span);
    }
    check_templates(name, is_user, faults);
    check_for_risky_name(name, faults);
}

/// Names that others choose, and blanks that nobody sees.
fn check_for_risky_name(name: &Located<String>, faults: &mut Diagnostics) {
    if name.value.starts_with("{{SessionName") {
        faults.push(PolicyError::CallerControlledName, name.span);
    }
    if name.value.trim() != name.value {
        let why = "has blanks at its ends, which are a part of the name";
        faults.push(PolicyError::MisleadingValue { word: name.value.clone(), why }, name.span);
    }
}

/// Whether the name differs from session to session.
pub(crate) fn has_session_template(name: &str) -> bool {
    find_templates(name).any(|template| template.starts_with("{{SessionName"))
}

fn check_templates(name: &Located<String>, is_user: bool, faults: &mut Diagnostics) {
    for template in find_templates(&name.value) {
        let fault = match template {
            "{{EC2PrivateDNSName}}" => PolicyError::NodeTemplateForNonNode,
            "{{SessionName}}" | "{{SessionNameRaw}}" if is_user => PolicyError::SessionTemplateForUser,
            known if USERNAME_TEMPLATES.contains(&known) => continue,
            other => PolicyError::UnknownTemplate { template: other.to_owned() },
        };
        faults.push(fault, name.span);
    }
}

/// A group that the policy declares, and may fill.
pub(crate) fn check_group_name(name: &Located<String>, faults: &mut Diagnostics) {
    if name.value.is_empty() {
        faults.push(PolicyError::EmptyName { what: "the name of a group" }, name.span);
        return;
    }
    check_templates(name, false, faults);
    check_for_risky_name(name, faults);
    if let Some(why) = reserved_group_reason(&name.value) {
        faults.push(PolicyError::ReservedGroup { name: name.value.clone(), why }, name.span);
    }
}

/// Why a policy may not fill a group.
pub(crate) fn reserved_group_reason(name: &str) -> Option<&'static str> {
    Some(match reserved_prefix(name)? {
        "eks:" if name == "eks:kube-proxy-windows" => "machines get it by `kind = \"windows-node\"` of their principal",
        "eks:" => "EKS gives it to what it runs itself",
        _ if name == MASTERS => return None,
        _ if matches!(name, "system:nodes" | "system:bootstrappers" | "system:node-proxier") => {
            "machines get it by `kind = \"node\"` or `kind = \"fargate\"` of their principal"
        }
        _ => "the API server itself says who is in it; a binding may name it without declaring it",
    })
}

/// Groups that a binding may name though no policy declares them: whoever is in them, the cluster says.
pub(crate) fn is_built_in_group(name: &str) -> bool {
    reserved_prefix(name).is_some()
}
