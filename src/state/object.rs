//! Roles and bindings, and their conversion from and to the API server's JSON.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::object_meta::{ObjectMeta, RawObjectMeta, RulesManager, metadata_to_json};
use super::rbac::{LabelSelector, RBAC_GROUP, RoleRef, Rule, Subject};
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};

/// A Role or a ClusterRole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) meta: ObjectMeta,
    /// In an aggregated ClusterRole these are the rules that the aggregation controller last stored. rolecall never
    /// writes them.
    pub(crate) rules: Vec<Rule>,
    /// The selectors of an aggregated ClusterRole.
    pub(crate) aggregation: Option<Vec<LabelSelector>>,
}

/// A RoleBinding, a ClusterRoleBinding, or the association of an access entry with an access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) meta: ObjectMeta,
    pub(crate) role_ref: RoleRef,
    pub(crate) subjects: Vec<Subject>,
    /// The names and patterns of the namespaces in which an association applies. `None` for an association that applies in
    /// the whole cluster, and for the objects of RBAC, which apply in the namespace of their key.
    pub(crate) namespaces: Option<BTreeSet<String>>,
}

/// Why a JSON document is not an object of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ObjectError {
    /// It cannot be deserialized. The text is the deserializer's message.
    #[error("{0}")]
    Malformed(String),
    /// A field has a value that the API server does not accept.
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Internal(#[from] InternalError),
}

/// A Role or ClusterRole as the API server sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawRole {
    #[serde(default)]
    pub(crate) metadata: RawObjectMeta,
    #[serde(default)]
    pub(crate) rules: Option<Vec<Rule>>,
    #[serde(default)]
    pub(crate) aggregation_rule: Option<RawAggregationRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawAggregationRule {
    #[serde(default)]
    pub(crate) cluster_role_selectors: Option<Vec<LabelSelector>>,
}

/// A RoleBinding or ClusterRoleBinding as the API server sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawBinding {
    #[serde(default)]
    pub(crate) metadata: RawObjectMeta,
    pub(crate) role_ref: RawRoleRef,
    #[serde(default)]
    pub(crate) subjects: Option<Vec<RawSubject>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawRoleRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawSubject {
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: Option<String>,
}

/// A Namespace as the API server sends it. Only its name and labels are used.
#[derive(Debug, Deserialize)]
pub(crate) struct RawNamespace {
    #[serde(default)]
    pub(crate) metadata: RawObjectMeta,
}

/// Deserializes a raw object from JSON.
///
/// # Errors
/// [`ObjectError::Malformed`] with the deserializer's message, which names the wrong field.
pub(crate) fn deserialize_object<T: DeserializeOwned>(value: &Value) -> Result<T, ObjectError> {
    T::deserialize(value).map_err(|error| ObjectError::Malformed(error.to_string()))
}

impl From<RawRole> for Role {
    fn from(raw: RawRole) -> Self {
        let RawRole { metadata, rules, aggregation_rule } = raw;
        let mut meta = ObjectMeta::from(metadata);
        // The controller fills in the rules of aggregated roles only, so in other roles their manager has no meaning.
        if aggregation_rule.is_none() {
            meta.rules_manager = RulesManager::default();
        }
        Self {
            meta,
            rules: rules.unwrap_or_default(),
            aggregation: aggregation_rule.map(|rule| rule.cluster_role_selectors.unwrap_or_default()),
        }
    }
}

impl RawBinding {
    /// Returns the binding with its defaults filled in.
    ///
    /// # Errors
    /// A kind of role or subject that the API server does not know.
    pub(crate) fn into_binding(self) -> Result<Binding, ObjectError> {
        let role_ref = match self.role_ref.kind.as_str() {
            "ClusterRole" => RoleRef::ClusterRole(self.role_ref.name),
            "Role" => RoleRef::Role(self.role_ref.name),
            other => {
                return Err(ObjectError::Invalid(format!(
                    "roleRef.kind: unsupported value `{other}`, expected ClusterRole or Role"
                )));
            }
        };
        let binding_namespace = self.metadata.namespace.clone().unwrap_or_default();
        let subjects = self
            .subjects
            .unwrap_or_default()
            .into_iter()
            .map(|subject| subject.into_rbac_subject(&binding_namespace))
            .collect::<Result<_, _>>()?;
        Ok(Binding { meta: self.metadata.into(), role_ref, subjects, namespaces: None })
    }
}

impl RawSubject {
    /// Returns the subject. A service account without a namespace is in the namespace of its binding.
    ///
    /// # Errors
    /// A kind that the API server does not know.
    pub(crate) fn into_rbac_subject(self, binding_namespace: &str) -> Result<Subject, ObjectError> {
        match self.kind.as_str() {
            "Group" => Ok(Subject::Group(self.name)),
            "User" => Ok(Subject::User(self.name)),
            "ServiceAccount" => Ok(Subject::ServiceAccount {
                namespace: self.namespace.filter(|ns| !ns.is_empty()).unwrap_or_else(|| binding_namespace.to_owned()),
                name: self.name,
            }),
            other => Err(ObjectError::Invalid(format!(
                "subjects.kind: unsupported value `{other}`, expected User, Group or ServiceAccount"
            ))),
        }
    }
}

pub(crate) fn role_ref_to_json(role_ref: &RoleRef) -> Value {
    json!({ "apiGroup": RBAC_GROUP, "kind": role_ref.kind(), "name": role_ref.name() })
}

pub(crate) fn subjects_to_json(subjects: &[Subject]) -> Value {
    subjects
        .iter()
        .map(|subject| match subject {
            Subject::Group(name) => json!({ "apiGroup": RBAC_GROUP, "kind": "Group", "name": name }),
            Subject::User(name) => json!({ "apiGroup": RBAC_GROUP, "kind": "User", "name": name }),
            Subject::ServiceAccount { namespace, name } => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
            // No binding of RBAC can name it: the API server refuses the kind.
            Subject::AccessEntry(principal) => json!({ "kind": "AccessEntry", "name": principal }),
        })
        .collect()
}

pub(crate) fn aggregation_rule_to_json(selectors: &[LabelSelector]) -> Value {
    json!({ "clusterRoleSelectors": selectors })
}

fn type_and_metadata(key: &ObjectKey, meta: &ObjectMeta) -> serde_json::Map<String, Value> {
    let kind: ObjectKind = key.kind();
    let mut out = serde_json::Map::new();
    out.insert("apiVersion".to_owned(), json!(kind.api_version()));
    out.insert("kind".to_owned(), json!(kind.as_str()));
    out.insert("metadata".to_owned(), metadata_to_json(key.namespace(), key.name(), &meta.labels, &meta.annotations));
    out
}

/// Returns the request body that creates a role.
pub(crate) fn role_to_json(key: &ObjectKey, role: &Role) -> Value {
    let mut out = type_and_metadata(key, &role.meta);
    match &role.aggregation {
        Some(selectors) => out.insert("aggregationRule".to_owned(), aggregation_rule_to_json(selectors)),
        None => out.insert("rules".to_owned(), json!(role.rules)),
    };
    Value::Object(out)
}

/// Returns the request body that creates a binding.
pub(crate) fn binding_to_json(key: &ObjectKey, binding: &Binding) -> Value {
    let mut out = type_and_metadata(key, &binding.meta);
    out.insert("roleRef".to_owned(), role_ref_to_json(&binding.role_ref));
    out.insert("subjects".to_owned(), subjects_to_json(&binding.subjects));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_without_namespace_gets_the_namespace_of_its_binding() {
        let raw: RawBinding = deserialize_object(&json!({
            "metadata": { "name": "b", "namespace": "ci" },
            "roleRef": { "kind": "Role", "name": "r" },
            "subjects": [{ "kind": "ServiceAccount", "name": "deployer" }],
        }))
        .unwrap();
        let binding = raw.into_binding().unwrap();
        assert_eq!(binding.subjects, [Subject::ServiceAccount { namespace: "ci".into(), name: "deployer".into() }]);
    }

    #[test]
    fn roles_and_bindings_survive_a_json_round_trip() {
        let key = ObjectKey::binding(Some("ci"), "b");
        let binding = Binding {
            meta: ObjectMeta::default(),
            role_ref: RoleRef::ClusterRole("view".into()),
            subjects: vec![Subject::Group("g".into()), Subject::User("u".into())],
            namespaces: None,
        };
        let raw: RawBinding = deserialize_object(&binding_to_json(&key, &binding)).unwrap();
        assert_eq!(raw.into_binding().unwrap(), binding);
        let role = Role {
            rules: vec![Rule {
                verbs: vec!["get".into()],
                non_resource_urls: vec!["/metrics".into()],
                ..Rule::default()
            }],
            ..Role::default()
        };
        let raw: RawRole = deserialize_object(&role_to_json(&ObjectKey::cluster_role("r"), &role)).unwrap();
        assert_eq!(Role::from(raw), role);
    }
}
