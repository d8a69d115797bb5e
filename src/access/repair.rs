//! The rights by which a cluster's access is repaired, and what somebody who is already in loses of them.
//!
//! Whoever may write aws-auth and bindings can give everybody everything back; who loses that can only be helped from
//! outside.

use std::rc::Rc;

use super::delta::{Change, change_between};
use super::extent::{Extent, Region};
use super::identity::{Admission, Identity, Source, Who};
use super::query::Access;
use super::request::Request;
use super::template::Name;
use super::ways::{Need, Place};
use crate::state::rbac::RBAC_GROUP;

/// What a runner reads and writes of a cluster's access, `escalate` and `bind` among it.
static RIGHTS: [Need; 2] = [
    Need {
        verbs: &["get", "create", "update", "patch"],
        group: "",
        resources: &["configmaps"],
        names: &["aws-auth", ""],
        place: Place::In("kube-system"),
    },
    Need {
        verbs: &["get", "list", "create", "update", "patch", "delete", "escalate", "bind"],
        group: RBAC_GROUP,
        resources: &["clusterroles", "clusterrolebindings", "roles", "rolebindings"],
        names: &[],
        place: Place::Any,
    },
];

impl Identity {
    /// Whom the API server says that it takes a caller for: all groups are told, none is added.
    pub(crate) fn reported(username: &str, groups: &[String]) -> Self {
        let literal = |text: &str| Name::Literal(text.to_owned());
        Self {
            username: Some(literal(username)),
            groups: groups.iter().map(|group| literal(group)).collect(),
            source: Source::Asked,
        }
    }
}

impl<'s> Access<'s> {
    /// What lies between two identities, the first in this state, the second in the other.
    pub(crate) fn change_to(&self, was: &Identity, after: &Self, is: &Identity) -> Rc<Change<'s>> {
        change_between(self, after, &Admission::As(was.clone()), &Admission::As(is.clone()))
    }

    /// Whether somebody can surely write aws-auth and bind roles to anybody, and so repair everybody's access.
    pub(crate) fn can_repair(&self, who: &Who) -> bool {
        let admission = self.admit(who);
        let identities: Vec<&Identity> = admission.identities().collect();
        let fails = matches!(&admission, Admission::ByChance(logins) if logins.iter().any(Result::is_err));
        if identities.is_empty() || fails {
            return false;
        }
        let surely = |request: Request| identities.iter().all(|identity| self.may(identity, &request));
        let aws_auth =
            |verb: &str| surely(Request::object(verb, "", "configmaps").named("aws-auth").within("kube-system"));
        let bindings = |verb: &str| surely(Request::object(verb, RBAC_GROUP, "clusterrolebindings"));
        aws_auth("get")
            && (aws_auth("patch") || aws_auth("update"))
            && (bindings("create") || bindings("patch") || bindings("update"))
    }
}

/// What of a loss belongs to the rights by which access is repaired.
pub(crate) fn lost_rights<'s>(change: &Change<'s>) -> Vec<Region<'s>> {
    let needs: Vec<Extent<'static>> = RIGHTS.iter().map(Need::extent).collect();
    let lost = change.lost.iter().map(|part| &part.region);
    lost.flat_map(|region| needs.iter().filter_map(|need| region.intersect(need))).collect()
}
