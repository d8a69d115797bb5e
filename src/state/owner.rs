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
/// The identity of the object for which the mark was written. See [`OwnershipMark`].
pub(crate) const OBJECT_ANNOTATION: &str = "rolecall/object";
pub(crate) const DIGEST_ANNOTATION: &str = "rolecall/digest";
/// The keys of the labels that the policy sets, separated by commas. A later plan can then remove these labels.
pub(crate) const LABELS_ANNOTATION: &str = "rolecall/labels";
const HELM_ANNOTATION: &str = "meta.helm.sh/release-name";
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

/// What the annotations of an object say about its owner.
///
/// A mark names the object for which it was written. Otherwise a copy of an owned object would be owned too, and the next
/// plan would remove it, because the policy does not list it. The name is a hash, so that replacing the name in the text
/// of an object does not make a mark for the new name. The uid is not part of it: it is unknown before the object is
/// created, and a cluster that is restored from a backup has other uids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnershipMark<'m> {
    None,
    /// Written for this object by this policy.
    Valid(&'m str),
    /// Written for another object or for another policy.
    Copied(&'m str),
    /// Without an identity: written by a version of rolecall that did not record it, or by hand. It cannot prove ownership.
    WithoutIdentity(&'m str),
}

pub(crate) fn ownership_mark<'m>(key: &ObjectKey, meta: &'m ObjectMeta) -> OwnershipMark<'m> {
    match (meta.annotations.get(POLICY_ANNOTATION), meta.annotations.get(OBJECT_ANNOTATION)) {
        (None, _) => OwnershipMark::None,
        (Some(policy), None) => OwnershipMark::WithoutIdentity(policy),
        (Some(policy), Some(identity)) if *identity == object_identity(key, policy) => OwnershipMark::Valid(policy),
        (Some(policy), Some(_)) => OwnershipMark::Copied(policy),
    }
}

/// Hash of the policy and the object that a mark is for. Clusters store it, so it must never change.
fn object_identity(key: &ObjectKey, policy: &str) -> String {
    digest(&json!([policy, key.kind().as_str(), key.namespace(), key.name()]))
}

/// Returns the owner of an object. A copied mark proves nothing. A mark without an identity is not enough to change or
/// remove an object as the policy's own, but it is enough to leave the object to the other policy that it names.
pub(crate) fn object_owner(key: &ObjectKey, meta: &ObjectMeta, policy: &str) -> Owner {
    match ownership_mark(key, meta) {
        OwnershipMark::Valid(name) if name == policy => Owner::ThisPolicy,
        OwnershipMark::WithoutIdentity(name) if name == policy => Owner::Unowned,
        OwnershipMark::Valid(name) | OwnershipMark::WithoutIdentity(name) => Owner::OtherPolicy(name.to_owned()),
        OwnershipMark::Copied(_) | OwnershipMark::None => Owner::Unowned,
    }
}

/// The labels of objects that a cluster installs or keeps up to date by itself: the defaults of Kubernetes, its addon
/// manager (kubernetes `cluster/addons/addon-manager/README.md`), and the components and addons of EKS.
const VENDOR_LABELS: [&str; 4] = [
    "kubernetes.io/bootstrapping",
    "addonmanager.kubernetes.io/mode",
    "kubernetes.io/cluster-service",
    "eks.amazonaws.com/component",
];

/// Returns why no plan removes the object, whatever marks it has: Kubernetes, EKS or another tool provides it.
///
/// A temporary object is always removed, since its name begins with the name of the object that it replaces.
pub(crate) fn keep_reason(key: &ObjectKey, meta: &ObjectMeta) -> Option<String> {
    if matches!(ownership_mark(key, meta), OwnershipMark::Valid(_))
        && meta.annotations.contains_key(TEMPORARY_ANNOTATION)
    {
        return None;
    }
    if is_built_in(key) {
        return Some("its name is reserved for objects of Kubernetes or EKS".to_owned());
    }
    if let Some(label) = VENDOR_LABELS.iter().find(|label| meta.labels.contains_key(**label)) {
        return Some(format!("the label `{label}` marks objects of Kubernetes or EKS"));
    }
    if meta.annotations.contains_key(HELM_ANNOTATION) {
        return Some(format!("the annotation `{HELM_ANNOTATION}` marks objects of Helm"));
    }
    other_manager(meta).map(|manager| format!("the label `{MANAGED_BY_LABEL}` names {manager}"))
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
pub(super) fn digest(content: &Value) -> String {
    let hash = Sha256::digest(content.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the labels and annotations that mark an object as owned by a policy.
pub(crate) fn mark_owned(key: &ObjectKey, meta: &mut ObjectMeta, policy: &str, labels: &Labels, digest: String) {
    meta.labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY_VALUE.to_owned());
    meta.annotations.insert(OBJECT_ANNOTATION.to_owned(), object_identity(key, policy));
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

    fn marked(key: &ObjectKey) -> ObjectMeta {
        let mut meta = ObjectMeta::default();
        mark_owned(key, &mut meta, "p", &Labels::new(), "x".to_owned());
        meta
    }

    #[test]
    fn mark_is_valid_only_on_the_object_that_it_was_written_for() {
        let key = ObjectKey::role("team", "viewer");
        let meta = marked(&key);
        assert_eq!(object_owner(&key, &meta, "p"), Owner::ThisPolicy);
        assert_eq!(object_owner(&key, &meta, "q"), Owner::OtherPolicy("p".to_owned()));
        // The text of a copy with another name has another name in each annotation as well.
        for copy in
            [ObjectKey::role("team", "viewer2"), ObjectKey::role("other", "viewer"), ObjectKey::cluster_role("viewer")]
        {
            let mut meta = meta.clone();
            for value in meta.annotations.values_mut() {
                *value = value.replace("viewer", copy.name());
            }
            assert_eq!(ownership_mark(&copy, &meta), OwnershipMark::Copied("p"), "{copy}");
            assert_eq!(object_owner(&copy, &meta, "p"), Owner::Unowned);
        }
        let mut renamed = meta.clone();
        renamed.annotations.insert(POLICY_ANNOTATION.to_owned(), "q".to_owned());
        assert_eq!(object_owner(&key, &renamed, "q"), Owner::Unowned);
        let mut old = meta;
        old.annotations.remove(OBJECT_ANNOTATION);
        assert_eq!(object_owner(&key, &old, "p"), Owner::Unowned);
        assert_eq!(object_owner(&key, &old, "q"), Owner::OtherPolicy("p".to_owned()));
    }

    #[test]
    fn provided_objects_are_kept_whatever_marks_they_have() {
        let key = ObjectKey::cluster_role("r");
        assert_eq!(keep_reason(&key, &marked(&key)), None);
        for label in VENDOR_LABELS.into_iter().chain([MANAGED_BY_LABEL]) {
            let mut meta = marked(&key);
            meta.labels.insert(label.to_owned(), "Helm".to_owned());
            assert!(keep_reason(&key, &meta).is_some(), "{label}");
        }
        let mut helm = marked(&key);
        helm.annotations.insert(HELM_ANNOTATION.to_owned(), "r".to_owned());
        assert!(keep_reason(&key, &helm).is_some());
        for name in ["system:x", "eks:x", "view"] {
            let key = ObjectKey::cluster_role(name);
            assert!(keep_reason(&key, &marked(&key)).is_some(), "{name}");
        }
        let temporary = ObjectKey::cluster_role("eks:x-rolecall-temporary");
        let mut meta = marked(&temporary);
        meta.annotations.insert(TEMPORARY_ANNOTATION.to_owned(), "true".to_owned());
        assert_eq!(keep_reason(&temporary, &meta), None);
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
        assert_digest(&object_identity(&ObjectKey::role("n", "r"), "p"), r#"["p","Role","n","r"]"#);
        assert_digest(&object_identity(&ObjectKey::cluster_role("r"), "p"), r#"["p","ClusterRole",null,"r"]"#);
        let labels = Labels::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        assert_digest(&role_digest(&role, &labels), &format!(r#"[{rules},{{"a":"1","b":"2"}}]"#));
        let selector = LabelSelector { match_labels: labels, ..LabelSelector::default() };
        let aggregated = Role { aggregation: Some(vec![selector, LabelSelector::default()]), ..Role::default() };
        assert_digest(&role_digest(&aggregated, &Labels::new()), r#"[[{},{"matchLabels":{"a":"1","b":"2"}}],{}]"#);
        let binding = Binding {
            role_ref: RoleRef::ClusterRole("view".to_owned()),
            subjects: vec![Subject::User("u".to_owned()), Subject::Group("g".to_owned())],
            meta: ObjectMeta::default(),
            namespaces: None,
        };
        assert_digest(&binding_digest(&binding), r#"["ClusterRole view",["group g","user u"]]"#);
    }
}
