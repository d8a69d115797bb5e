//! What a step takes away, read off its own write: whether an access goes that comes by a certain binding and role.
//!
//! An aggregated role loses rules by the writes of others; that is its controller's doing, and no step's.

use serde_json::Value;

use super::Step;
use super::probes::ProbeRequest;
use crate::access::{AllowReason, Request, rule_allows};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{RawSubject, deserialize_object};
use crate::state::rbac::{Rule, Subject};
use crate::state::write::WriteRequest;

impl Step {
    /// Whether what is asked about will no longer come by this binding.
    pub(crate) fn revokes(&self, question: &ProbeRequest, by: &AllowReason) -> bool {
        let AllowReason { binding, role, subject } = by;
        if self.object != *binding && self.object != *role {
            return false;
        }
        match &self.write {
            WriteRequest::Create(_) => false,
            WriteRequest::Delete => true,
            WriteRequest::Patch(patch) => match self.object.kind() {
                ObjectKind::ClusterRole | ObjectKind::Role => {
                    let request = Request::from(question);
                    let gives = |rules: &Vec<Rule>| rules.iter().any(|rule| rule_allows(rule, &request));
                    patch.get("rules").is_some_and(|rules| !parse_list(rules).as_ref().is_some_and(gives))
                }
                ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => patch
                    .get("subjects")
                    .is_some_and(|subjects| !parse_subjects(&self.object, subjects).contains(subject)),
                ObjectKind::ConfigMap | ObjectKind::Namespace => false,
            },
        }
    }
}

/// In a patch null is an empty list.
fn parse_list<T: serde::de::DeserializeOwned>(value: &Value) -> Option<Vec<T>> {
    if value.is_null() { Some(Vec::new()) } else { deserialize_object(value).ok() }
}

fn parse_subjects(binding: &ObjectKey, subjects: &Value) -> Vec<Subject> {
    let own = binding.namespace().unwrap_or_default();
    let all = parse_list::<RawSubject>(subjects).unwrap_or_default();
    all.into_iter().filter_map(|subject| subject.into_subject(own).ok()).collect()
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

    fn by() -> AllowReason {
        AllowReason {
            binding: ObjectKey::binding(Some("n1"), "b"),
            role: ObjectKey::role("n1", "r"),
            subject: Subject::ServiceAccount { namespace: "n1".to_owned(), name: "s".to_owned() },
        }
    }

    fn takes(object: &ObjectKey, write: WriteRequest) -> bool {
        let question = ProbeRequest::from(Request::object("get", "", "pods").in_namespace("n1"));
        step(object.clone(), write).revokes(&question, &by())
    }

    #[test]
    fn what_goes_or_comes_by_another_way_takes_nothing() {
        let AllowReason { binding, role, .. } = by();
        assert!(takes(&binding, WriteRequest::Delete) && takes(&role, WriteRequest::Delete));
        for other in [ObjectKey::binding(None, "b"), ObjectKey::binding(Some("n2"), "b"), ObjectKey::cluster_role("r")]
        {
            assert!(!takes(&other, WriteRequest::Delete), "{other}");
        }
        assert!(!takes(&ObjectKey::aws_auth(), WriteRequest::Patch(json!({ "data": {} }))));
        assert!(!takes(&binding, WriteRequest::Create(json!({ "subjects": [] }))));
    }

    #[test]
    fn a_patch_takes_from_the_subjects_that_it_leaves_out() {
        let binding = by().binding;
        let patched = |patch: Value| takes(&binding, WriteRequest::Patch(patch));
        assert!(!patched(json!({ "subjects": [{ "kind": "ServiceAccount", "name": "s" }] })));
        assert!(patched(json!({ "subjects": [{ "kind": "ServiceAccount", "name": "s", "namespace": "n2" }] })));
        assert!(patched(json!({ "subjects": null })));
        assert!(!patched(json!({ "metadata": { "labels": { "a": "b" } } })));
    }

    #[test]
    fn a_patch_takes_what_its_rules_no_longer_allow() {
        let role = by().role;
        let patched = |patch: Value| takes(&role, WriteRequest::Patch(patch));
        let rule = |verb: &str| json!({ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] });
        assert!(!patched(json!({ "rules": [rule("list"), rule("get")] })));
        assert!(patched(json!({ "rules": [rule("list")] })));
        assert!(patched(json!({ "rules": null })));
        assert!(!patched(json!({ "metadata": { "labels": { "a": "b" } } })));
    }
}
