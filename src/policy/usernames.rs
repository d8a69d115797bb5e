//! Checks the names of users and groups: reserved names and templates.
//!
//! Source of the templates: aws-iam-authenticator v0.7.8 `pkg/server/server.go`, `renderTemplate`. Templates match
//! exactly; the authenticator leaves an unknown template in the name.

use super::error::{Diagnostics, PolicyError};
use super::model::Located;
use super::principal_spec::EntryType;
use crate::diagnostic::LintId;
use crate::names::reserved_prefix;

const USERNAME_TEMPLATES: [&str; 5] =
    ["{{EC2PrivateDNSName}}", "{{AccountID}}", "{{SessionName}}", "{{SessionNameRaw}}", "{{AccessKeyID}}"];

/// The only `system:` group to which a policy can add members. A guard reports new members.
pub(crate) const MASTERS: &str = "system:masters";

/// Returns the `{{…}}` templates of a name.
pub(crate) fn find_templates(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices("{{").map(|(at, _)| {
        let rest = name.get(at..).unwrap_or_default();
        rest.find("}}").and_then(|end| rest.get(..end + 2)).unwrap_or(rest)
    })
}

pub(crate) fn check_username(name: &Located<String>, is_user: bool, kind: EntryType, diagnostics: &mut Diagnostics) {
    if name.value.is_empty() {
        diagnostics.push(PolicyError::EmptyUsername, name.span);
        return;
    }
    if kind != EntryType::Standard {
        return;
    }
    if let Some(prefix) = reserved_prefix(&name.value) {
        let owner = if prefix == "eks:" { "EKS" } else { "Kubernetes" };
        let error = PolicyError::ReservedUsername { name: name.value.clone(), prefix, owner };
        diagnostics.push(error, name.span);
    }
    check_templates(name, is_user, diagnostics);
    check_for_risky_name(name, diagnostics);
}

/// Warns of names that the caller can choose, and of leading or trailing whitespace.
fn check_for_risky_name(name: &Located<String>, diagnostics: &mut Diagnostics) {
    if name.value.starts_with("{{SessionName") {
        diagnostics.push(PolicyError::CallerControlledName, name.span);
    }
    if name.value.trim() != name.value {
        let reason = "starts or ends with whitespace, which is part of the name";
        let help = "remove the whitespace";
        diagnostics.push(
            PolicyError::MisleadingValue { lint: LintId::MisleadingValue, value: name.value.clone(), reason, help },
            name.span,
        );
    }
}

/// Returns whether the authenticator replaces a part of the name with the session name.
pub(crate) fn has_session_template(name: &str) -> bool {
    find_templates(name).any(|template| template.starts_with("{{SessionName"))
}

fn check_templates(name: &Located<String>, is_user: bool, diagnostics: &mut Diagnostics) {
    for template in find_templates(&name.value) {
        let error = match template {
            "{{EC2PrivateDNSName}}" => PolicyError::NodeTemplateForNonNode,
            "{{SessionName}}" | "{{SessionNameRaw}}" if is_user => PolicyError::SessionTemplateForUser,
            known if USERNAME_TEMPLATES.contains(&known) => continue,
            other => PolicyError::UnknownTemplate { template: other.to_owned() },
        };
        diagnostics.push(error, name.span);
    }
}

/// Checks the name of a group in `[groups]`.
pub(crate) fn check_group_name(name: &Located<String>, diagnostics: &mut Diagnostics) {
    if name.value.is_empty() {
        diagnostics.push(PolicyError::EmptyName { what: "the name of a group" }, name.span);
        return;
    }
    check_templates(name, false, diagnostics);
    check_for_risky_name(name, diagnostics);
    if let Some(error) = reserved_group_error(&name.value) {
        diagnostics.push(error, name.span);
    }
}

/// Returns an error if a policy cannot add members to this group.
pub(crate) fn reserved_group_error(name: &str) -> Option<PolicyError> {
    let (reason, help) = match reserved_prefix(name)? {
        "eks:" if name == "eks:kube-proxy-windows" => {
            ("it is for Windows nodes", Some("set `kind = \"windows-node\"` on the principal of the nodes"))
        }
        "eks:" => ("it is for components that EKS runs", None),
        _ if name == MASTERS => return None,
        _ if matches!(name, "system:nodes" | "system:bootstrappers" | "system:node-proxier") => {
            ("it is for nodes", Some("set `kind = \"node\"` or `kind = \"fargate\"` on the principal of the nodes"))
        }
        _ if is_assigned_group(name) => (
            "the API server determines its members",
            Some("remove it here; a binding can refer to it without a declaration"),
        ),
        // The API server assigns no meaning to other groups with this prefix. Entries of aws-auth can give them.
        _ => return None,
    };
    Some(PolicyError::ReservedGroup { name: name.to_owned(), reason, help })
}

/// Returns whether the API server itself decides who is in the group (k8s.io/apiserver v0.36.3 `authentication/user` and
/// `authentication/serviceaccount`).
fn is_assigned_group(name: &str) -> bool {
    let prefixes = ["system:serviceaccounts:", "system:bootstrappers:"];
    matches!(name, "system:authenticated" | "system:unauthenticated" | "system:serviceaccounts")
        || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether a binding can refer to a group that the policy does not declare, because Kubernetes or EKS defines
/// it.
pub(crate) fn is_built_in_group(name: &str) -> bool {
    reserved_prefix(name).is_some()
}
