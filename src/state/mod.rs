//! What a cluster's access is made of: one model for the live side, the wanted side and every state between.
//!
//! Pure data and pure functions. This room may not know policies, plans, terminals or connections.

pub(crate) mod aws_auth;
pub(crate) mod entry_marks;
pub(crate) mod mapping;
pub(crate) mod meta;
pub(crate) mod object;
pub(crate) mod owner;
pub(crate) mod rbac;
pub(crate) mod validate;
pub(crate) mod write;

use std::collections::BTreeMap;

use mapping::AwsAuth;
use meta::Labels;
use object::{Binding, Role};

use crate::names::ObjectKey;

/// The access to one cluster, complete: what is not here does not exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The uid of the namespace kube-system, which no other cluster has; a snapshot may lack it.
    pub(crate) cluster_uid: Option<String>,
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) aws_auth: Option<AwsAuth>,
    pub(crate) roles: BTreeMap<ObjectKey, Role>,
    pub(crate) bindings: BTreeMap<ObjectKey, Binding>,
}
