//! The labels and annotations that record which policy owns an object, and the content that was last written.
//!
//! There is no state file: these labels and annotations are the only state that rolecall has. The digest lets `drift`
//! distinguish "changed outside of rolecall" from "not yet applied".

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::object::{Binding, Role};
use super::object_meta::{Labels, ObjectMeta};
use super::rbac::canonical_rules;
use crate::names::{ObjectKey, ObjectKind};

pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
pub(crate) const MANAGED_BY_VALUE: &str = "rolecall";
pub(crate) const POLICY_ANNOTATION: &str = "rolecall/policy";
pub(crate) const DIGEST_ANNOTATION: &str = "rolecall/digest";
/// The keys of the labels that the policy sets, separated by commas. A later plan can then remove these labels.
pub(crate) const LABELS_ANNOTATION: &str = "rolecall/labels";
/// Marks an object that grants access only while an apply runs.
pub(crate) const TEMPORARY_ANNOTATION: &str = "rolecall/temporary";
/// On the ConfigMap aws-auth: the entries that each policy owns. See [`super::entry_marks`].
pub(crate) const ENTRIES_ANNOTATION: &str = "rolecall/entries";
pub(crate) const AGGREGATE_LABEL_PREFIX: &str = "rbac.authorization.k8s.io/aggregate-to-";
/// The user-facing default ClusterRoles (kubernetes `bootstrappolicy/policy.go`).
pub(crate) const DEFAULT_CLUSTER_ROLES: [&str; 4] = ["cluster-admin", "admin", "edit", "view"];

/// The owner of an object from the point of view of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    ThisPolicy,
    OtherPolicy(String),
    Unowned,
}

pub(crate) fn object_owner(meta: &ObjectMeta, policy: &str) -> Owner {
    match meta.annotations.get(POLICY_ANNOTATION) {
        Some(name) if name == policy => Owner::ThisPolicy,
        Some(name) => Owner::OtherPolicy(name.clone()),
        None => Owner::Unowned,
    }
}

/// Returns whether Kubernetes or EKS provides the object. Their controllers would restore it after a change.
///
/// Only the name counts. The label `kubernetes.io/bootstrapping: rbac-defaults` of the default objects is also on copies
/// of them, which nothing restores (kubernetes v1.36.3 `bootstrappolicy/policy.go` and `namespace_policy.go`: the defaults
/// are these roles, the binding `cluster-admin`, and objects with the prefix `system:`).
pub(crate) fn is_built_in(key: &ObjectKey) -> bool {
    let is_default = match key.kind() {
        ObjectKind::ClusterRole => DEFAULT_CLUSTER_ROLES.contains(&key.name()),
        ObjectKind::ClusterRoleBinding => key.name() == "cluster-admin",
        _ => false,
    };
    is_default || crate::names::reserved_prefix(key.name()).is_some()
}

/// Returns the tool other than rolecall that the label `app.kubernetes.io/managed-by` names.
pub(crate) fn other_manager(meta: &ObjectMeta) -> Option<&str> {
    meta.labels.get(MANAGED_BY_LABEL).map(String::as_str).filter(|manager| *manager != MANAGED_BY_VALUE)
}

/// Returns the labels of a live role that are part of its content: aggregation labels, which decide about rules of
/// other roles, and the labels that a policy set.
pub(crate) fn content_labels(meta: &ObjectMeta) -> Labels {
    let set_by_policy: BTreeSet<&str> =
        meta.annotations.get(LABELS_ANNOTATION).map(|list| list.split(',').collect()).unwrap_or_default();
    meta.labels
        .iter()
        .filter(|(key, _)| key.starts_with(AGGREGATE_LABEL_PREFIX) || set_by_policy.contains(key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Digest of a role's content: its rules or its selectors, and its content labels.
pub(crate) fn role_digest(role: &Role, labels: &Labels) -> String {
    match &role.aggregation {
        Some(selectors) => digest(&json!([selectors.iter().collect::<BTreeSet<_>>(), labels])),
        None => digest(&json!([canonical_rules(&role.rules), labels])),
    }
}

/// Digest of a binding's content: its role and its subjects.
pub(crate) fn binding_digest(binding: &Binding) -> String {
    let subjects: BTreeSet<String> = binding.subjects.iter().map(ToString::to_string).collect();
    digest(&json!([binding.role_ref.to_string(), subjects]))
}

/// A digest of the text of a JSON value. There is no case in which a value has no text.
fn digest(content: &Value) -> String {
    let hash = Sha256::digest(content.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the labels and annotations that mark an object as owned by a policy.
pub(crate) fn mark_owned(meta: &mut ObjectMeta, policy: &str, labels: &Labels, digest: String) {
    meta.labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY_VALUE.to_owned());
    meta.labels.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    meta.annotations.insert(POLICY_ANNOTATION.to_owned(), policy.to_owned());
    meta.annotations.insert(DIGEST_ANNOTATION.to_owned(), digest);
    let keys: Vec<&str> =
        labels.keys().map(String::as_str).filter(|key| !key.starts_with(AGGREGATE_LABEL_PREFIX)).collect();
    if keys.is_empty() {
        meta.annotations.remove(LABELS_ANNOTATION);
    } else {
        meta.annotations.insert(LABELS_ANNOTATION.to_owned(), keys.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rbac::{LabelSelector, RoleRef, Rule, Subject};

    /// The digests in existing clusters were computed from exactly this text. With any other text, every object would
    /// count as changed outside of rolecall.
    #[track_caller]
    fn assert_digest(digest: &str, text: &str) {
        let hash: String = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hash, "{text}");
    }

    #[test]
    fn built_in_objects_are_known_by_name() {
        let binding = |name: &str| ObjectKey::binding(None, name);
        assert!(is_built_in(&ObjectKey::cluster_role("view")) && is_built_in(&binding("cluster-admin")));
        assert!(is_built_in(&ObjectKey::role("kube-system", "system:x")) && is_built_in(&binding("eks:x")));
        assert!(!is_built_in(&binding("view")) && !is_built_in(&ObjectKey::role("team", "view")));
        assert!(!is_built_in(&ObjectKey::cluster_role("view-copy")));
    }

    #[test]
    fn digest_input_is_the_same_in_every_version() {
        let rule = Rule {
            verbs: vec!["get".to_owned()],
            api_groups: vec![String::new()],
            resources: vec!["pods".to_owned()],
            ..Rule::default()
        };
        let role = Role { rules: vec![rule], ..Role::default() };
        let rules = r#"[[["get"],[""],["pods"],[],[]]]"#;
        assert_digest(&role_digest(&role, &Labels::new()), &format!("[{rules},{{}}]"));
        let labels = Labels::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        assert_digest(&role_digest(&role, &labels), &format!(r#"[{rules},{{"a":"1","b":"2"}}]"#));
        let selector = LabelSelector { match_labels: labels, ..LabelSelector::default() };
        let aggregated = Role { aggregation: Some(vec![selector, LabelSelector::default()]), ..Role::default() };
        assert_digest(&role_digest(&aggregated, &Labels::new()), r#"[[{},{"matchLabels":{"a":"1","b":"2"}}],{}]"#);
        let binding = Binding {
            role_ref: RoleRef::ClusterRole("view".to_owned()),
            subjects: vec![Subject::User("u".to_owned()), Subject::Group("g".to_owned())],
            meta: ObjectMeta::default(),
        };
        assert_digest(&binding_digest(&binding), r#"["ClusterRole view",["group g","user u"]]"#);
    }
}
