//! The policy: TOML files parsed and checked, and expanded to the state that they describe for one cluster.
//!
//! This module gets file contents as text and does not read files. It knows nothing of the contents of a cluster except
//! the namespaces, roles and owner marks in the state that is passed to it.

mod access_entries;
mod access_entry_error;
mod access_policies;
mod bindings;
mod check;
mod chunks;
mod cluster_filters;
mod clusters;
mod confusable_text;
mod duplicates;
mod error;
pub(crate) mod expand;
pub(crate) mod expiry;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod invariants;
mod lint_spec;
mod load;
mod migrated_policy;
mod model;
mod namespaces;
mod policy_index;
mod principal_spec;
mod principal_stores;
mod principals;
mod roles;
mod session_names;
mod table;
#[cfg(test)]
mod tests;
mod usernames;

pub(crate) use access_entries::DesiredAccessEntry;
pub(crate) use check::usernames_of_principal;
pub(crate) use clusters::applies_to_cluster;
pub(crate) use expiry::{PolicyExpiry, policy_expiries};
pub(crate) use load::{load_policy, prescan_clusters};
pub(crate) use migrated_policy::{migrated_policy, principals_in_cluster};
pub(crate) use model::{
    Assertion, BindingSpec, ClusterRoleContent, ClusterRoleSpec, ClusterSpec, ConnectionSpec, DEFAULT_TOKEN_CACHE,
    EksClusterSpec, Expiry, InvariantSpec, InvariantSubjectSpec, Located, MaxRemovals, NamespaceSelector,
    OwnershipMode, OwnershipSpec, Policy, RequestSpans, RequestSpec, RoleRefSpec, RuleSpec,
};
pub(crate) use policy_index::{ManagedBy, PolicyIndex};
pub(crate) use principal_spec::EntryType;
