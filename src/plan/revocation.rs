//! Whether a step revokes access that a given binding and role grant. Only the step's own write decides.
//!
//! An aggregated ClusterRole loses rules when its controller runs after a write to another role. No step counts as
//! revoking these.

use serde_json::Value;

use super::Step;
use super::probes::ProbeRequest;
use crate::access::{AllowReason, Request, rule_allows};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{RawSubject, deserialize_object};
use crate::state::rbac::{Rule, Subject};
use crate::state::write::WriteRequest;

impl Step {
    /// Returns whether the binding and role in `reason` no longer allow `request` after this step.
    pub(crate) fn revokes(&self, request: &ProbeRequest, reason: &AllowReason) -> bool {
        let AllowReason { binding, role, subject } = reason;
        if self.object != *binding && self.object != *role {
            return false;
        }
        match &self.write {
            WriteRequest::Create(_) => false,
            WriteRequest::Delete => true,
            WriteRequest::Patch(patch) => match self.object.kind() {
                ObjectKind::ClusterRole | ObjectKind::Role => {
                    let request = Request::from(request);
                    let allows = |rules: &Vec<Rule>| rules.iter().any(|rule| rule_allows(rule, &request));
                    patch.get("rules").is_some_and(|rules| !parse_list(rules).as_ref().is_some_and(allows))
                }
                ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => patch
                    .get("subjects")
                    .is_some_and(|subjects| !parse_subjects(&self.object, subjects).contains(subject)),
                ObjectKind::ConfigMap
                | ObjectKind::Namespace
                | ObjectKind::AccessEntry
                | ObjectKind::AccessPolicy
                | ObjectKind::AccessPolicyAssociation => false,
            },
        }
    }
}

/// Parses a list in a merge patch, where `null` removes the field and so means an empty list.
fn parse_list<T: serde::de::DeserializeOwned>(value: &Value) -> Option<Vec<T>> {
    if value.is_null() { Some(Vec::new()) } else { deserialize_object(value).ok() }
}

fn parse_subjects(binding: &ObjectKey, subjects: &Value) -> Vec<Subject> {
    let namespace = binding.namespace().unwrap_or_default();
    let raw_subjects = parse_list::<RawSubject>(subjects).unwrap_or_default();
    raw_subjects.into_iter().filter_map(|subject| subject.into_rbac_subject(namespace).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::write::Precondition;

    fn step(object: ObjectKey, write: WriteRequest) -> Step {
        Step {
            object,
            write,
            precondition: Precondition::Absent,
            stage: 0,
            wait_for: Vec::new(),
            description: String::new(),
        }
    }

    fn reason() -> AllowReason {
        AllowReason {
            binding: ObjectKey::binding(Some("n1"), "b"),
            role: ObjectKey::role("n1", "r"),
            subject: Subject::ServiceAccount { namespace: "n1".to_owned(), name: "s".to_owned() },
        }
    }

    fn revokes(object: &ObjectKey, write: WriteRequest) -> bool {
        let request = ProbeRequest::from(Request::object("get", "", "pods").in_namespace("n1"));
        step(object.clone(), write).revokes(&request, &reason())
    }

    #[test]
    fn only_deleting_the_binding_or_its_role_revokes_the_access() {
        let AllowReason { binding, role, .. } = reason();
        assert!(revokes(&binding, WriteRequest::Delete) && revokes(&role, WriteRequest::Delete));
        for other in [ObjectKey::binding(None, "b"), ObjectKey::binding(Some("n2"), "b"), ObjectKey::cluster_role("r")]
        {
            assert!(!revokes(&other, WriteRequest::Delete), "{other}");
        }
        assert!(!revokes(&ObjectKey::aws_auth(), WriteRequest::Patch(json!({ "data": {} }))));
        assert!(!revokes(&binding, WriteRequest::Create(json!({ "subjects": [] }))));
    }

    #[test]
    fn patch_without_a_subject_revokes_its_access() {
        let binding = reason().binding;
        let patched = |patch: Value| revokes(&binding, WriteRequest::Patch(patch));
        assert!(!patched(json!({ "subjects": [{ "kind": "ServiceAccount", "name": "s" }] })));
        assert!(patched(json!({ "subjects": [{ "kind": "ServiceAccount", "name": "s", "namespace": "n2" }] })));
        assert!(patched(json!({ "subjects": null })));
        assert!(!patched(json!({ "metadata": { "labels": { "a": "b" } } })));
    }

    #[test]
    fn patch_without_an_allowing_rule_revokes_the_access() {
        let role = reason().role;
        let patched = |patch: Value| revokes(&role, WriteRequest::Patch(patch));
        let rule = |verb: &str| json!({ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] });
        assert!(!patched(json!({ "rules": [rule("list"), rule("get")] })));
        assert!(patched(json!({ "rules": [rule("list")] })));
        assert!(patched(json!({ "rules": null })));
        assert!(!patched(json!({ "metadata": { "labels": { "a": "b" } } })));
    }
}
