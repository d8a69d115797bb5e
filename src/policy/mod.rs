//! What people want: the reviewed TOML, parsed, checked and held with the place of every word.
//!
//! This room knows files as texts and clusters by name alone; what is in a cluster it may not know, except the
//! namespaces and roles that [`expand`] is given.

mod bindings;
mod check;
mod chunks;
mod cluster_filters;
mod clusters;
mod duplicates;
mod error;
pub(crate) mod expand;
pub(crate) mod expiry;
mod invariants;
mod load;
mod model;
mod namespaces;
mod policy_index;
mod principals;
mod roles;
mod table;
#[cfg(test)]
mod tests;
mod usernames;

pub(crate) use clusters::applies_to_cluster;
pub(crate) use load::{load_policy, prescan_clusters};
pub(crate) use model::{
    Assertion, ClusterSpec, ConnectionSpec, IgnorePattern, InvariantSubjectSpec, Located, MaxRemovals,
    NamespaceSelector, OwnershipMode, OwnershipSpec, Policy, RequestSpec, RoleRefSpec,
};
pub(crate) use policy_index::{ManagedBy, PolicyIndex};
