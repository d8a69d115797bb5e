//! What people want: the reviewed TOML, parsed, checked and held with the place of every word.
//!
//! This room knows files as texts and clusters by name alone; what is in a cluster it may not know, except the
//! namespaces and roles that [`expand`] is given.

mod bindings;
mod check;
pub(crate) mod ending;
pub(crate) mod expand;
mod fault;
mod invariants;
mod known;
mod load;
mod model;
mod namespaces;
mod pieces;
mod principals;
mod reach;
mod roles;
mod scope;
mod table;
#[cfg(test)]
mod tests;
mod usernames;

pub(crate) use known::{Known, Origin};
pub(crate) use load::{glimpse_clusters, load};
pub(crate) use model::{
    Action, At, BoundRole, Claim, ClusterTarget, Connection, Exclusive, IgnorePattern, InvariantSubject, MaxRemovals,
    NamespaceSelector, Ownership, Policy,
};
pub(crate) use scope::is_for;
