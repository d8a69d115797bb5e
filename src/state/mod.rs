//! What a cluster's access is made of: one model for the live side, the wanted side and every state between.
//!
//! Pure data and pure functions. This room may not know policies, plans, terminals or connections.

pub(crate) mod aws_auth;
pub(crate) mod config_map;
pub(crate) mod entry_marks;
pub(crate) mod merge_join;
pub(crate) mod object;
pub(crate) mod object_meta;
pub(crate) mod owner;
pub(crate) mod rbac;
pub(crate) mod undo;
pub(crate) mod validate;
pub(crate) mod write;

use std::collections::BTreeMap;

use config_map::AwsAuth;
use entry_marks::EntryMarks;
use object::{Binding, ObjectError, RawBinding, RawNamespace, RawRole, Role, deserialize_object};
use object_meta::{Labels, ObjectMeta};
use serde_json::Value;

use crate::names::{ObjectKey, ObjectKind};

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

impl State {
    /// Takes an object in from the API server's JSON, in the place of what has its key.
    ///
    /// # Errors
    /// What does not fit the kind.
    pub(crate) fn insert_object(&mut self, key: &ObjectKey, value: &Value) -> Result<(), ObjectError> {
        match key.kind() {
            ObjectKind::Namespace => {
                let meta: ObjectMeta = deserialize_object::<RawNamespace>(value)?.metadata.into();
                if key.name() == "kube-system" {
                    self.cluster_uid.clone_from(&meta.uid);
                }
                self.namespaces.insert(key.name().to_owned(), meta.labels);
            }
            ObjectKind::ConfigMap => self.aws_auth = Some(AwsAuth::from_json(value)?),
            ObjectKind::ClusterRole | ObjectKind::Role => {
                self.roles.insert(key.clone(), deserialize_object::<RawRole>(value)?.into());
            }
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.insert(key.clone(), deserialize_object::<RawBinding>(value)?.into_binding()?);
            }
        }
        Ok(())
    }

    /// The metadata of an object that has access in it.
    pub(crate) fn meta(&self, key: &ObjectKey) -> Option<&ObjectMeta> {
        match key.kind() {
            ObjectKind::ConfigMap => self.aws_auth.as_ref().map(|auth| &auth.meta),
            ObjectKind::ClusterRole | ObjectKind::Role => self.roles.get(key).map(|role| &role.meta),
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.get(key).map(|binding| &binding.meta)
            }
            ObjectKind::Namespace => None,
        }
    }

    /// Roles and bindings, each with its metadata.
    pub(crate) fn rbac_objects(&self) -> impl Iterator<Item = (&ObjectKey, &ObjectMeta)> {
        let roles = self.roles.iter().map(|(key, role)| (key, &role.meta));
        roles.chain(self.bindings.iter().map(|(key, binding)| (key, &binding.meta)))
    }

    /// Which entries of aws-auth are owned; of marks that cannot be read none is.
    pub(crate) fn entry_marks(&self) -> EntryMarks {
        let auth = self.aws_auth.as_ref();
        auth.and_then(|auth| EntryMarks::from_annotations(&auth.meta.annotations).ok()).unwrap_or_default()
    }

    pub(crate) fn meta_mut(&mut self, key: &ObjectKey) -> Option<&mut ObjectMeta> {
        match key.kind() {
            ObjectKind::ConfigMap => self.aws_auth.as_mut().map(|auth| &mut auth.meta),
            ObjectKind::ClusterRole | ObjectKind::Role => self.roles.get_mut(key).map(|role| &mut role.meta),
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.get_mut(key).map(|binding| &mut binding.meta)
            }
            ObjectKind::Namespace => None,
        }
    }
}
