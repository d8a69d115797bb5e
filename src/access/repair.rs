//! The permissions that are needed to repair the access to a cluster, and how much of them an identity loses.
//!
//! A subject that can write aws-auth and bindings can restore all access. If no subject can, access can only be restored
//! from outside of the cluster.

use std::rc::Rc;

use super::access_view::AccessView;
use super::diff::{PermissionDiff, diff_authentications};
use super::escalation_rules::{RequiredAccess, RequiredScope};
use super::identity::{Authentication, Identity, IdentitySource, SubjectQuery};
use super::request::Request;
use super::request_set::{RequestSet, RequestSetExcept};
use super::template::RenderedName;
use crate::state::rbac::RBAC_GROUP;

/// The requests by which rolecall reads and writes the access of a cluster, including `escalate` and `bind`.
static REPAIR_ACCESS: [RequiredAccess; 2] = [
    RequiredAccess {
        verbs: &["get", "create", "update", "patch"],
        group: "",
        resources: &["configmaps"],
        names: &["aws-auth"],
        scope: RequiredScope::InNamespace("kube-system"),
    },
    RequiredAccess {
        verbs: &["get", "list", "create", "update", "patch", "delete", "escalate", "bind"],
        group: RBAC_GROUP,
        resources: &["clusterroles", "clusterrolebindings", "roles", "rolebindings"],
        names: &[],
        scope: RequiredScope::Any,
    },
];

impl Identity {
    /// Returns the identity that the API server reports for a user. The reported groups are complete, so none is added.
    pub(crate) fn from_user_info(username: &str, groups: &[String]) -> Self {
        let literal = |text: &str| RenderedName::Literal(text.to_owned());
        Self {
            username: Some(literal(username)),
            groups: groups.iter().map(|group| literal(group)).collect(),
            source: IdentitySource::Query,
        }
    }
}

impl<'s> AccessView<'s> {
    /// Returns the difference between the permissions of `before` in this state and those of `after` in the other
    /// state.
    pub(crate) fn diff_identity(&self, before: &Identity, other: &Self, after: &Identity) -> Rc<PermissionDiff<'s>> {
        let (before, after) = (Authentication::Identity(before.clone()), Authentication::Identity(after.clone()));
        diff_authentications(self, other, &before, &after)
    }

    /// Returns whether a subject can write aws-auth and bind roles to any subject, and so repair all access. An
    /// ambiguous subject must be able to with each of its identities.
    pub(crate) fn can_repair_access(&self, query: &SubjectQuery) -> bool {
        let authentication = self.authenticate(query);
        let identities: Vec<&Identity> = authentication.identities().collect();
        let can_fail =
            matches!(&authentication, Authentication::Ambiguous(results) if results.iter().any(Result::is_err));
        if identities.is_empty() || can_fail {
            return false;
        }
        let all_are_allowed = |request: Request| identities.iter().all(|identity| self.is_allowed(identity, &request));
        let aws_auth = |verb: &str| {
            all_are_allowed(Request::object(verb, "", "configmaps").with_name("aws-auth").in_namespace("kube-system"))
        };
        let bindings = |verb: &str| all_are_allowed(Request::object(verb, RBAC_GROUP, "clusterrolebindings"));
        aws_auth("get")
            && (aws_auth("patch") || aws_auth("update"))
            && (bindings("create") || bindings("patch") || bindings("update"))
    }
}

/// Returns the lost requests that are needed to repair access.
pub(crate) fn lost_repair_permissions<'s>(diff: &PermissionDiff<'s>) -> Vec<RequestSetExcept<'s>> {
    let required: Vec<RequestSet<'static>> = REPAIR_ACCESS.iter().flat_map(RequiredAccess::request_sets).collect();
    let lost = diff.lost.iter().map(|granted| &granted.requests);
    lost.flat_map(|requests| required.iter().filter_map(|required| requests.intersect(required))).collect()
}
