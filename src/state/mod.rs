//! The access model of one cluster: namespaces, RBAC objects, the aws-auth ConfigMap and access entries.
//!
//! The live cluster, the desired state and every intermediate state of a plan use this one model. It consists of pure
//! data and pure functions, and must not depend on policies, plans, terminals or connections.

pub(crate) mod access_entry;
pub(crate) mod access_entry_marks;
pub(crate) mod access_entry_rules;
pub(crate) mod access_entry_write;
pub(crate) mod access_policies;
pub(crate) mod auth_mode;
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

use access_entry::{AccessEntries, AccessEntry};
use access_policies::{AccessPolicy, access_policy_key};
use auth_mode::ObservedAuthMode;
use config_map::AwsAuth;
use entry_marks::EntryMarks;
use object::{Binding, ObjectError, RawBinding, RawNamespace, RawRole, Role, deserialize_object};
use object_meta::{Labels, ObjectMeta};
use serde_json::Value;

use crate::api_resources::KnownResources;
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};

/// All objects that decide about access to one cluster. An object that is missing here does not exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The uid of the namespace kube-system, which identifies the cluster. A snapshot may lack it.
    pub(crate) cluster_uid: Option<String>,
    /// Which stores of principals the cluster reads.
    pub(crate) auth_mode: ObservedAuthMode,
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) aws_auth: Option<AwsAuth>,
    pub(crate) roles: BTreeMap<ObjectKey, Role>,
    pub(crate) bindings: BTreeMap<ObjectKey, Binding>,
    pub(crate) access_entries: AccessEntries,
    /// The access policies with which access entries are associated, as roles.
    pub(crate) access_policies: BTreeMap<ObjectKey, Role>,
    /// The resources of the cluster's API. If its discovery was not read, only those of Kubernetes itself.
    pub(crate) resources: KnownResources,
}

impl State {
    /// Inserts an object from the API server's JSON and replaces the one with the same key.
    ///
    /// # Errors
    /// The JSON does not have the shape that the key's kind requires.
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
            ObjectKind::AccessEntry => self.insert_access_entry(AccessEntry::from_json(value)?),
            ObjectKind::ClusterRole | ObjectKind::Role => {
                self.roles.insert(key.clone(), deserialize_object::<RawRole>(value)?.into());
            }
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.insert(key.clone(), deserialize_object::<RawBinding>(value)?.into_binding()?);
            }
            ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => {
                return Err(InternalError::new(format!("{key} is no object of its own")).into());
            }
        }
        Ok(())
    }

    /// Inserts an access entry and replaces the one of the same principal.
    pub(crate) fn insert_access_entry(&mut self, entry: AccessEntry) {
        for (_, association) in entry.association_bindings() {
            let name = association.role_ref.name();
            self.access_policies.entry(access_policy_key(name)).or_insert_with(|| AccessPolicy::named(name).role);
        }
        self.access_entries.insert(entry);
    }

    /// Returns everything that grants a role: the bindings of RBAC, and the associations of access entries with access
    /// policies.
    pub(crate) fn all_bindings(&self) -> impl Iterator<Item = (&ObjectKey, &Binding)> {
        self.bindings.iter().chain(self.access_entries.association_bindings())
    }

    /// Returns everything that has rules: the roles of RBAC, and access policies.
    pub(crate) fn all_roles(&self) -> impl Iterator<Item = (&ObjectKey, &Role)> {
        self.roles.iter().chain(&self.access_policies)
    }

    /// Returns a role or an access policy.
    pub(crate) fn find_role(&self, key: &ObjectKey) -> Option<(&ObjectKey, &Role)> {
        self.roles.get_key_value(key).or_else(|| self.access_policies.get_key_value(key))
    }

    /// Returns the metadata of an object. `None` for a namespace: only its labels are kept.
    pub(crate) fn meta(&self, key: &ObjectKey) -> Option<&ObjectMeta> {
        match key.kind() {
            ObjectKind::ConfigMap => self.aws_auth.as_ref().map(|aws_auth| &aws_auth.meta),
            ObjectKind::AccessEntry => self.access_entries.get(key).map(|entry| &entry.meta),
            ObjectKind::ClusterRole | ObjectKind::Role => self.roles.get(key).map(|role| &role.meta),
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.get(key).map(|binding| &binding.meta)
            }
            ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => None,
        }
    }

    /// Returns all roles and bindings with their metadata.
    pub(crate) fn rbac_objects(&self) -> impl Iterator<Item = (&ObjectKey, &ObjectMeta)> {
        let roles = self.roles.iter().map(|(key, role)| (key, &role.meta));
        roles.chain(self.bindings.iter().map(|(key, binding)| (key, &binding.meta)))
    }

    /// Returns which policy owns which aws-auth entry. If the annotation cannot be read, no entry is owned.
    pub(crate) fn entry_marks(&self) -> EntryMarks {
        let meta = self.aws_auth.as_ref().map(|aws_auth| &aws_auth.meta);
        meta.and_then(|meta| EntryMarks::from_annotations(&meta.annotations).ok()).unwrap_or_default()
    }

    pub(crate) fn meta_mut(&mut self, key: &ObjectKey) -> Option<&mut ObjectMeta> {
        match key.kind() {
            ObjectKind::ConfigMap => self.aws_auth.as_mut().map(|aws_auth| &mut aws_auth.meta),
            ObjectKind::AccessEntry => self.access_entries.get_mut(key).map(|entry| &mut entry.meta),
            ObjectKind::ClusterRole | ObjectKind::Role => self.roles.get_mut(key).map(|role| &mut role.meta),
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                self.bindings.get_mut(key).map(|binding| &mut binding.meta)
            }
            ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => None,
        }
    }
}
