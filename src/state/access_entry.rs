//! Access entries of EKS: the second store of principals, and their associations with access policies.
//!
//! Source: EKS API 2017-11-01, `AccessEntry`, `AssociatedAccessPolicy`, `AccessScope`. Unlike a Kubernetes object, an access
//! entry has no version, so its version is a hash of its content: a write compares it with what the API answers right
//! before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::access_policies::access_policy_name;
use super::object::{Binding, ObjectError};
use super::object_meta::{Labels, ObjectMeta};
use super::rbac::{RoleRef, Subject};
use super::write::ObjectVersion;
use crate::names::{ObjectKey, ObjectKind};

/// The type of an access entry. It cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccessEntryType {
    /// A principal that is no node.
    Standard,
    Ec2Linux,
    Ec2Windows,
    FargateLinux,
    HybridLinux,
    HyperpodLinux,
    /// A node of Auto Mode. It is the only type of node that takes access policies.
    Ec2,
    /// A type that this version of rolecall does not know.
    Other(String),
}

impl AccessEntryType {
    /// The types that this version of rolecall knows.
    pub(crate) const KNOWN: [Self; 7] = [
        Self::Standard,
        Self::Ec2Linux,
        Self::Ec2Windows,
        Self::FargateLinux,
        Self::HybridLinux,
        Self::HyperpodLinux,
        Self::Ec2,
    ];

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "STANDARD" => Self::Standard,
            "EC2_LINUX" => Self::Ec2Linux,
            "EC2_WINDOWS" => Self::Ec2Windows,
            "FARGATE_LINUX" => Self::FargateLinux,
            "HYBRID_LINUX" => Self::HybridLinux,
            "HYPERPOD_LINUX" => Self::HyperpodLinux,
            "EC2" => Self::Ec2,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As the API of EKS writes it.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Standard => "STANDARD",
            Self::Ec2Linux => "EC2_LINUX",
            Self::Ec2Windows => "EC2_WINDOWS",
            Self::FargateLinux => "FARGATE_LINUX",
            Self::HybridLinux => "HYBRID_LINUX",
            Self::HyperpodLinux => "HYPERPOD_LINUX",
            Self::Ec2 => "EC2",
            Self::Other(other) => other,
        }
    }

    /// Returns whether the principals of such entries are nodes. An unknown type can be one.
    pub(crate) fn is_node(&self) -> bool {
        *self != Self::Standard
    }
}

/// Where an access policy applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccessScope {
    Cluster,
    /// Names of namespaces, and patterns with `*`.
    Namespaces(BTreeSet<String>),
}

impl AccessScope {
    /// Returns the scope as the API of EKS writes it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Cluster => json!({ "type": "cluster" }),
            Self::Namespaces(names) => json!({ "type": "namespace", "namespaces": names }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let names = value.get("namespaces").and_then(Value::as_array).into_iter().flatten();
        let names = names.map(|name| name.as_str().map(str::to_owned)).collect::<Option<BTreeSet<_>>>()?;
        match value.get("type")?.as_str()? {
            "cluster" => Some(Self::Cluster),
            "namespace" => Some(Self::Namespaces(names)),
            _ => None,
        }
    }
}

/// Formatted as `the whole cluster` or `team-*, web`.
impl fmt::Display for AccessScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the whole cluster"),
            Self::Namespaces(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// The association of an access entry with an access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyAssociation {
    pub(crate) scope: AccessScope,
    /// By which the access engine refers to the association.
    key: ObjectKey,
    /// The association as the access engine sees it: it grants the rules of the policy to the entry.
    binding: Binding,
}

impl PolicyAssociation {
    fn new(principal: &str, policy_arn: &str, scope: AccessScope) -> Self {
        let policy = access_policy_name(policy_arn).to_owned();
        let namespaces = match &scope {
            AccessScope::Cluster => None,
            AccessScope::Namespaces(names) => Some(names.clone()),
        };
        Self {
            scope,
            key: ObjectKey::cluster_scoped(ObjectKind::AccessPolicyAssociation, &format!("{principal} {policy}")),
            binding: Binding {
                meta: ObjectMeta::default(),
                role_ref: RoleRef::AccessPolicy(policy),
                subjects: vec![Subject::AccessEntry(principal.to_owned())],
                namespaces,
            },
        }
    }
}

/// An access entry with its associations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessEntry {
    /// The annotations are the tags of the entry. The uid is the ARN of the entry, which differs after the entry is deleted
    /// and created again. The version is a hash of the content.
    pub(crate) meta: ObjectMeta,
    /// The ARN of the IAM role or user, as EKS has it: a role keeps its path.
    principal: String,
    pub(crate) entry_type: AccessEntryType,
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    /// By the ARN of the access policy.
    policies: BTreeMap<String, PolicyAssociation>,
    /// RFC 3339.
    pub(crate) created_at: Option<String>,
}

/// Returns the key of the access entry of a principal.
pub(crate) fn access_entry_key(principal: &str) -> ObjectKey {
    ObjectKey::cluster_scoped(ObjectKind::AccessEntry, principal)
}

impl AccessEntry {
    /// Reads an entry from the JSON that [`Self::to_json`] returns.
    ///
    /// # Errors
    /// A field is missing or has another type. The text names the field.
    pub(crate) fn from_json(value: &Value) -> Result<Self, ObjectError> {
        let invalid = |field: &str, expected: &str| ObjectError::Malformed(format!("{field}: expected {expected}"));
        let text = |field: &str| match value.pointer(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(field.trim_start_matches('/'), "a text")),
        };
        let principal = text("/metadata/name")?.ok_or_else(|| invalid("metadata.name", "the ARN of a principal"))?;
        let tags: Labels = match value.get("tags") {
            None | Some(Value::Null) => Labels::new(),
            Some(tags) => serde_json::from_value(tags.clone()).map_err(|_| invalid("tags", "a map of texts"))?,
        };
        let groups: Vec<String> = match value.get("kubernetesGroups") {
            None | Some(Value::Null) => Vec::new(),
            Some(groups) => {
                serde_json::from_value(groups.clone()).map_err(|_| invalid("kubernetesGroups", "a list of texts"))?
            }
        };
        let mut policies = BTreeMap::new();
        match value.get("accessPolicies") {
            None | Some(Value::Null) => {}
            Some(Value::Object(associations)) => {
                for (arn, scope) in associations {
                    let expected = "`type: cluster`, or `type: namespace` with `namespaces`";
                    let scope = AccessScope::from_json(scope)
                        .ok_or_else(|| invalid(&format!("accessPolicies.{arn}"), expected))?;
                    policies.insert(arn.clone(), PolicyAssociation::new(&principal, arn, scope));
                }
            }
            Some(_) => return Err(invalid("accessPolicies", "a map")),
        }
        let mut entry = Self {
            meta: ObjectMeta { annotations: tags, uid: text("/metadata/uid")?, ..ObjectMeta::default() },
            principal,
            entry_type: text("/type")?.map_or(AccessEntryType::Standard, |text| AccessEntryType::parse(&text)),
            username: text("/username")?.unwrap_or_default(),
            groups,
            policies,
            created_at: text("/createdAt")?,
        };
        entry.meta.resource_version = Some(entry.content_hash());
        Ok(entry)
    }

    /// Returns the entry as JSON, as snapshots and the steps of a plan have it: the fields of the API, with the associations
    /// by the ARN of their policy.
    pub(crate) fn to_json(&self) -> Value {
        let mut metadata = Map::from_iter([("name".to_owned(), json!(self.principal))]);
        metadata.extend(self.meta.uid.iter().map(|uid| ("uid".to_owned(), json!(uid))));
        let mut out = json!({
            "apiVersion": ObjectKind::AccessEntry.api_version(),
            "kind": ObjectKind::AccessEntry.as_str(),
            "metadata": metadata,
            "type": self.entry_type.as_str(),
            "username": self.username,
            "kubernetesGroups": self.groups,
            "accessPolicies": self.policies().map(|(arn, scope)| (arn.to_owned(), scope.to_json())).collect::<Map<_, _>>(),
            "tags": self.tags(),
        });
        if let (Some(created_at), Value::Object(fields)) = (&self.created_at, &mut out) {
            fields.insert("createdAt".to_owned(), json!(created_at));
        }
        out
    }

    /// The hash of what a client can change. The order of groups and namespaces has no meaning.
    fn content_hash(&self) -> String {
        let groups: BTreeSet<&String> = self.groups.iter().collect();
        let policies: Map<String, Value> =
            self.policies().map(|(arn, scope)| (arn.to_owned(), scope.to_json())).collect();
        let content = json!([self.entry_type.as_str(), self.username, groups, policies, self.tags()]);
        let hash = Sha256::digest(content.to_string());
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the version of an entry in the JSON that [`Self::to_json`] returns.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub(crate) fn version(value: &Value) -> Result<ObjectVersion, ObjectError> {
        let entry = Self::from_json(value)?;
        Ok(ObjectVersion { uid: entry.meta.uid.clone(), resource_version: entry.content_hash() })
    }

    /// Returns the entry with other tags.
    pub(crate) fn with_tags(&self, tags: Labels) -> Self {
        Self { meta: ObjectMeta { annotations: tags, ..self.meta.clone() }, ..self.clone() }
    }

    /// Returns the entry with one more group.
    pub(crate) fn with_group(&self, group: &str) -> Self {
        let groups = self.groups.iter().cloned().chain([group.to_owned()]).collect();
        Self { groups, ..self.clone() }
    }

    pub(crate) fn principal(&self) -> &str {
        &self.principal
    }

    pub(crate) fn tags(&self) -> &Labels {
        &self.meta.annotations
    }

    /// Returns the associated access policies by their ARN.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, &AccessScope)> {
        self.policies.iter().map(|(arn, association)| (arn.as_str(), &association.scope))
    }

    pub(crate) fn policy_scope(&self, arn: &str) -> Option<&AccessScope> {
        self.policies.get(arn).map(|association| &association.scope)
    }

    /// Returns the associations: the scope, the ARN of the policy, and the association as the access engine sees it.
    pub(crate) fn associations(&self) -> impl Iterator<Item = (&AccessScope, &str, &ObjectKey, &Binding)> {
        self.policies.iter().map(|(arn, PolicyAssociation { scope, key, binding })| (scope, arn.as_str(), key, binding))
    }

    /// Returns the associations as the access engine sees them.
    pub(crate) fn association_bindings(&self) -> impl Iterator<Item = (&ObjectKey, &Binding)> {
        self.policies.values().map(|association| (&association.key, &association.binding))
    }
}

/// Whether the access entries of a cluster are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum AccessEntriesStatus {
    /// EKS was not asked. In the mode CONFIG_MAP a cluster has none.
    #[default]
    NotAsked,
    Known,
    /// The reason why EKS did not say them.
    Unknown(String),
}

/// The access entries of a cluster, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessEntries {
    pub(crate) status: AccessEntriesStatus,
    /// By [`access_entry_key`]. Empty if they are not known.
    entries: BTreeMap<ObjectKey, AccessEntry>,
}

impl AccessEntries {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &AccessEntry)> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&AccessEntry> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut AccessEntry> {
        self.entries.get_mut(key)
    }

    pub(super) fn insert(&mut self, entry: AccessEntry) {
        self.entries.insert(access_entry_key(&entry.principal), entry);
    }

    /// Removes an entry with its associations.
    pub(crate) fn take(&mut self, key: &ObjectKey) -> Option<AccessEntry> {
        self.entries.remove(key)
    }

    /// Returns an association by the key by which the access engine refers to it.
    pub(crate) fn find_association(&self, key: &ObjectKey) -> Option<&Binding> {
        if key.kind() != ObjectKind::AccessPolicyAssociation {
            return None;
        }
        let (principal, _) = key.name().rsplit_once(' ')?;
        let entry = self.entries.get(&access_entry_key(principal))?;
        entry.association_bindings().find(|(own, _)| *own == key).map(|(_, binding)| binding)
    }

    /// Returns the associations of all entries with access policies, in the order of their keys, as the access engine sees them.
    pub(crate) fn association_bindings(&self) -> impl Iterator<Item = (&ObjectKey, &Binding)> {
        self.entries.values().flat_map(AccessEntry::association_bindings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Value {
        json!({
            "apiVersion": "rolecall/v1", "kind": "AccessEntry",
            "metadata": { "name": "arn:aws:iam::111122223333:role/team/viewer" },
            "type": "STANDARD", "username": "viewer", "kubernetesGroups": ["b", "a"],
            "accessPolicies": {
                "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy":
                    { "type": "namespace", "namespaces": ["team-*", "web"] },
            },
            "tags": { "team": "x" },
        })
    }

    #[test]
    fn entry_survives_a_json_round_trip() {
        let parsed = AccessEntry::from_json(&entry()).unwrap();
        assert_eq!(parsed.to_json(), entry());
        let (_, binding) = parsed.association_bindings().next().unwrap();
        assert_eq!(binding.subjects, [Subject::AccessEntry("arn:aws:iam::111122223333:role/team/viewer".into())]);
        assert_eq!(binding.role_ref, RoleRef::AccessPolicy("AmazonEKSViewPolicy".into()));
    }

    #[test]
    fn version_depends_on_content_and_not_on_order() {
        let version = |value: &Value| AccessEntry::version(value).unwrap().resource_version;
        let mut reordered = entry();
        reordered["kubernetesGroups"] = json!(["a", "b", "a"]);
        assert_eq!(version(&entry()), version(&reordered));
        for (field, value) in [
            ("username", json!("other")),
            ("kubernetesGroups", json!(["a"])),
            ("accessPolicies", json!({})),
            ("tags", json!({})),
            ("type", json!("EC2_LINUX")),
        ] {
            let mut changed = entry();
            changed[field] = value;
            assert_ne!(version(&entry()), version(&changed), "{field}");
        }
    }

    #[test]
    fn wrong_field_is_named() {
        for (field, value) in [
            ("username", json!(1)),
            ("kubernetesGroups", json!("a")),
            ("accessPolicies", json!([])),
            ("accessPolicies", json!({ "x": { "type": "planet" } })),
            ("tags", json!({ "a": 1 })),
        ] {
            let mut changed = entry();
            changed[field] = value;
            let error = AccessEntry::from_json(&changed).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
