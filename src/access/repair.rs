//! The rights by which a cluster's access is repaired, and what somebody who is already in loses of them.
//!
//! Whoever may write aws-auth and bindings can give everybody everything back; who loses that can only be helped from
//! outside.

use std::rc::Rc;

use super::access_view::AccessView;
use super::diff::{PermissionDiff, diff_authentications};
use super::escalation_rules::{RequiredAccess, RequiredScope};
use super::identity::{Authentication, Identity, IdentitySource, SubjectQuery};
use super::request::Request;
use super::request_set::{RequestSet, RequestSetExcept};
use super::template::RenderedName;
use crate::state::rbac::RBAC_GROUP;

/// What a runner reads and writes of a cluster's access, `escalate` and `bind` among it.
static REPAIR_ACCESS: [RequiredAccess; 2] = [
    RequiredAccess {
        verbs: &["get", "create", "update", "patch"],
        group: "",
        resources: &["configmaps"],
        names: &["aws-auth", ""],
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
    /// Whom the API server says that it takes a caller for: all groups are told, none is added.
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
    /// What lies between two identities, the first in this state, the second in the other.
    pub(crate) fn diff_identity(&self, was: &Identity, after: &Self, is: &Identity) -> Rc<PermissionDiff<'s>> {
        diff_authentications(self, after, &Authentication::Identity(was.clone()), &Authentication::Identity(is.clone()))
    }

    /// Whether somebody can surely write aws-auth and bind roles to anybody, and so repair everybody's access.
    pub(crate) fn can_repair_access(&self, who: &SubjectQuery) -> bool {
        let admission = self.authenticate(who);
        let identities: Vec<&Identity> = admission.identities().collect();
        let fails = matches!(&admission, Authentication::Ambiguous(logins) if logins.iter().any(Result::is_err));
        if identities.is_empty() || fails {
            return false;
        }
        let surely = |request: Request| identities.iter().all(|identity| self.is_allowed(identity, &request));
        let aws_auth = |verb: &str| {
            surely(Request::object(verb, "", "configmaps").with_name("aws-auth").in_namespace("kube-system"))
        };
        let bindings = |verb: &str| surely(Request::object(verb, RBAC_GROUP, "clusterrolebindings"));
        aws_auth("get")
            && (aws_auth("patch") || aws_auth("update"))
            && (bindings("create") || bindings("patch") || bindings("update"))
    }
}

/// What of a loss belongs to the rights by which access is repaired.
pub(crate) fn lost_repair_permissions<'s>(change: &PermissionDiff<'s>) -> Vec<RequestSetExcept<'s>> {
    let needs: Vec<RequestSet<'static>> = REPAIR_ACCESS.iter().map(RequiredAccess::request_set).collect();
    let lost = change.lost.iter().map(|part| &part.requests);
    lost.flat_map(|region| needs.iter().filter_map(|need| region.intersect(need))).collect()
}
