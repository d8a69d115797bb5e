//! The groups that Kubernetes and EKS define, and names that look like one of them.

use crate::diagnostic::closest_match;
use crate::state::State;

/// The `system:` groups that Kubernetes, EKS and the authenticator define (kubernetes v1.36.3
/// `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, k8s.io/apiserver `authentication/user`).
const SYSTEM_GROUPS: [&str; 8] = [
    "system:authenticated",
    "system:bootstrappers",
    "system:masters",
    "system:monitoring",
    "system:node-proxier",
    "system:nodes",
    "system:serviceaccounts",
    "system:unauthenticated",
];
/// The prefixes of groups with a part that is chosen freely: the namespace, or the name of a bootstrap token's group.
const SYSTEM_GROUP_PREFIXES: [&str; 2] = ["system:bootstrappers:", "system:serviceaccounts:"];

/// Returns whether a `system:` group is one that Kubernetes or EKS defines. Other prefixes are not checked.
pub(crate) fn is_defined_group(name: &str) -> bool {
    !name.starts_with("system:")
        || SYSTEM_GROUPS.contains(&name)
        || SYSTEM_GROUP_PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}

/// Returns the group of Kubernetes that was probably intended.
pub(super) fn nearest_defined_group(name: &str) -> Option<&'static str> {
    closest_match(name, SYSTEM_GROUPS)
}

/// Returns whether an aws-auth entry of the state gives the group, so that it has members although Kubernetes does not
/// define it.
pub(super) fn is_given_by_entry(state: &State, name: &str) -> bool {
    use crate::state::aws_auth::Section;
    let entries = Section::ALL.into_iter().filter_map(|section| state.aws_auth.as_ref()?.parse_section(section).ok());
    entries.flat_map(|parsed| parsed.entries).any(|parsed| parsed.entry.groups.iter().any(|group| group == name))
}
