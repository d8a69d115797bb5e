//! Removal of roles and bindings: those that the policy owns and no longer lists, expired ones, and with
//! `ownership.rbac = "exclusive"` those that no policy owns.

use std::collections::BTreeSet;

use super::objects::{object_change, require_as_read};
use super::schedule::{ChangeKind, PendingWrite};
use super::{Action, FieldDiff, PlanBuilder};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::expand::Desired;
use crate::policy::expiry::Expiration;
use crate::policy::{OwnershipMode, OwnershipSpec};
use crate::state::State;
use crate::state::object::Binding;
use crate::state::object_meta::ObjectMeta;
use crate::state::owner::{self, MANAGED_BY_LABEL, MANAGED_BY_VALUE, Owner, POLICY_ANNOTATION, TEMPORARY_ANNOTATION};

/// Why an object is removed.
enum RemovalReason {
    NotInPolicy,
    /// With a note for review.
    WithNote(String),
}

/// Plans removals.
pub(super) struct RemovalPlanner<'a> {
    ownership: &'a OwnershipSpec,
    /// The roles of the bindings that exist after the plan.
    bound_roles: BTreeSet<ObjectKey>,
}

/// Returns the role that a binding refers to. A ClusterRoleBinding to a Role, which the API server rejects, counts as
/// one to a ClusterRole.
pub(super) fn bound_role(key: &ObjectKey, binding: &Binding) -> ObjectKey {
    binding.role_ref.role_key(key).unwrap_or_else(|| ObjectKey::cluster_role(binding.role_ref.name()))
}

impl<'a> RemovalPlanner<'a> {
    pub(super) fn new(
        builder: &PlanBuilder<'_>,
        desired: &Desired,
        live: &State,
        ownership: &'a OwnershipSpec,
    ) -> Self {
        let mut planner = Self { ownership, bound_roles: BTreeSet::new() };
        let desired_roles = desired.bindings.iter().map(|(key, item)| bound_role(key, &item.value));
        let kept_bindings = live.bindings.iter().filter(|(key, binding)| {
            !desired.bindings.contains_key(key)
                && planner.removal_reason(builder, key, &binding.meta, desired.expired.bindings.get(key)).is_none()
        });
        let bound_roles = desired_roles.chain(kept_bindings.map(|(key, binding)| bound_role(key, binding))).collect();
        planner.bound_roles = bound_roles;
        planner
    }

    /// Returns why the object is removed. `None` if it is kept.
    fn removal_reason(
        &self,
        builder: &PlanBuilder<'_>,
        key: &ObjectKey,
        meta: &ObjectMeta,
        end: Option<&Expiration>,
    ) -> Option<RemovalReason> {
        match (owner::object_owner(meta, builder.policy), end) {
            (Owner::ThisPolicy, None) => Some(RemovalReason::NotInPolicy),
            (Owner::ThisPolicy, Some(end)) => Some(RemovalReason::WithNote(end.removal_reason(true))),
            (Owner::Unowned, Some(end))
                if self.ownership.rbac == OwnershipMode::Exclusive && !self.is_exempt(key, meta) =>
            {
                Some(RemovalReason::WithNote(end.removal_reason(false)))
            }
            (Owner::Unowned, None) if self.ownership.rbac == OwnershipMode::Exclusive && !self.is_exempt(key, meta) => {
                Some(RemovalReason::WithNote("not in the policy, and ownership.rbac = \"exclusive\"".to_owned()))
            }
            (Owner::OtherPolicy(_) | Owner::Unowned, _) => None,
        }
    }

    /// Returns whether an exclusive policy keeps the object: defaults of Kubernetes and EKS, objects that another tool
    /// or controller manages, ignored objects, and roles that a remaining binding refers to.
    fn is_exempt(&self, key: &ObjectKey, meta: &ObjectMeta) -> bool {
        let is_managed = meta.labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager != MANAGED_BY_VALUE)
            || meta.annotations.contains_key("meta.helm.sh/release-name");
        let is_ignored = self.ownership.ignore.iter().any(|pattern| pattern.value.matches_object(key));
        owner::is_built_in(key)
            || meta.has_owner_references
            || is_managed
            || is_ignored
            || meta.annotations.contains_key(POLICY_ANNOTATION)
            || self.bound_roles.contains(key)
    }

    pub(super) fn plan_removal(
        &self,
        builder: &mut PlanBuilder<'_>,
        key: &ObjectKey,
        meta: &ObjectMeta,
        end: Option<&Expiration>,
        fields: impl FnOnce() -> Vec<FieldDiff>,
    ) {
        let Some(reason) = self.removal_reason(builder, key, meta, end) else {
            if let Some(end) = end.filter(|_| owner::object_owner(meta, builder.policy) == Owner::Unowned) {
                builder.diagnostics.push(end.kept_warning(&key.to_string()));
            }
            return;
        };
        if meta.deleting {
            let finalizers = meta.finalizers.join(", ");
            builder.diagnostics.push(
                Diagnostic::warning(format!("{key} is being deleted but still grants access"))
                    .with_because(format!("it waits for its finalizers: {finalizers}"))
                    .with_help("wait until the finalizers are removed, or remove them"),
            );
            return;
        }
        if self.bound_roles.contains(key) {
            builder.diagnostics.push(
                Diagnostic::warning(format!(
                    "{key} is removed, but a binding that this policy does not own refers to it"
                ))
                .with_note("a role that is created under this name later is granted to the subjects of that binding")
                .with_help("delete the binding, or keep the role in the policy"),
            );
        }
        let mut change = object_change(builder, Action::Delete, key, end.map(|end| end.span), fields());
        change.note = match reason {
            RemovalReason::NotInPolicy if meta.annotations.contains_key(TEMPORARY_ANNOTATION) => {
                Some("temporary object left by an interrupted apply".to_owned())
            }
            RemovalReason::NotInPolicy => None,
            RemovalReason::WithNote(note) => Some(note),
        };
        builder.changes.push(change);
        builder.writes.push(PendingWrite {
            object: key.clone(),
            kind: ChangeKind::Delete,
            precondition: require_as_read(meta),
            description: format!("delete {key}"),
        });
    }
}
