//! Parses `access-policies` and `eks-tags`.

use super::clusters::{require_string, wrong_value};
use super::error::{Diagnostics, PolicyError};
use super::model::Located;
use super::principal_spec::AccessPolicySpec;
use super::table::PolicyTable;
use crate::diagnostic::closest_match;
use crate::state::access_policies::{AccessPolicy, access_policy_name};

/// Parses the `access-policies` of a principal or of a group.
pub(crate) fn parse_access_policies(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Vec<AccessPolicySpec> {
    let mut specs: Vec<AccessPolicySpec> = Vec::new();
    for item in table.tables("access-policies", diagnostics).unwrap_or_default() {
        let Some(spec) = parse_access_policy(&item, diagnostics) else {
            continue;
        };
        // The same policy with another scope is an error of the principal.
        let is_same =
            |other: &&AccessPolicySpec| other.policy.value == spec.policy.value && other.scope() == spec.scope();
        if let Some(first) = specs.iter().find(is_same) {
            let error = PolicyError::DuplicateItem {
                value: spec.policy.value.clone(),
                list: table.child_path("access-policies"),
            };
            diagnostics.push_labeled(error, spec.policy.span, "again here", &[(first.policy.span, "first here")]);
            continue;
        }
        specs.push(spec);
    }
    specs
}

fn parse_access_policy(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<AccessPolicySpec> {
    table.report_unknown_keys(&["policy", "namespaces"], diagnostics);
    let policy = require_string(table, "policy", diagnostics);
    let namespaces = table.strings("namespaces", diagnostics);
    if table.is_empty_list("namespaces") {
        let reason = "the policy would apply to no namespace";
        let path = table.child_path("namespaces");
        diagnostics.push(PolicyError::EmptyList { path, key: "namespaces", reason }, table.key_span("namespaces"));
    }
    let policy = policy?;
    let name = access_policy_name(&policy.value);
    if name != policy.value {
        let error = PolicyError::AccessPolicyArn { name: name.to_owned() };
        diagnostics.push(error, policy.span);
        return None;
    }
    // As in the ARN of an access policy.
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+=,.@".contains(&byte));
    if !is_name {
        let expected = "the name of an access policy, such as `AmazonEKSViewPolicy`";
        diagnostics.push(wrong_value(table, "policy", expected, &policy.value), policy.span);
        return None;
    }
    if !AccessPolicy::known_names().any(|known| known == name) {
        let nearest = closest_match(name, AccessPolicy::known_names()).map(str::to_owned);
        let error = PolicyError::UnknownAccessPolicy { name: name.to_owned(), nearest };
        diagnostics.push(error, policy.span);
    }
    Some(AccessPolicySpec { policy, namespaces })
}

/// Parses the `eks-tags` of a principal.
pub(crate) fn parse_tags(
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<(Located<String>, Located<String>)> {
    table.labels("eks-tags", diagnostics).unwrap_or_default()
}
