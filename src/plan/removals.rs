//! What goes: objects of the policy that it does not list any more, and what an exclusive policy does not suffer.

use std::collections::BTreeSet;

use super::objects::{object_change, require_as_read};
use super::order::{PendingWrite, Turn};
use super::{Action, FieldDiff, PlanBuilder};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::expand::Desired;
use crate::policy::expiry::Expiration;
use crate::policy::{IgnorePattern, OwnershipMode, OwnershipSpec};
use crate::state::State;
use crate::state::object::Binding;
use crate::state::object_meta::ObjectMeta;
use crate::state::owner::{self, MANAGED_BY_LABEL, MANAGED_BY_VALUE, Owner, POLICY_ANNOTATION, TEMPORARY_ANNOTATION};

/// Why an object goes.
enum RemovalReason {
    NotInPolicy,
    /// With words for the reviewer.
    WithNote(String),
}

/// What removals must know of the rest of a plan.
pub(super) struct RemovalPlanner<'a> {
    ownership: &'a OwnershipSpec,
    /// The roles that bindings give which are there after the plan.
    bound_roles: BTreeSet<ObjectKey>,
}

/// The role that a binding gives; what cannot be stored is taken for a ClusterRole.
pub(super) fn bound_role(key: &ObjectKey, binding: &Binding) -> ObjectKey {
    binding.role_ref.role_key(key).unwrap_or_else(|| ObjectKey::cluster_role(binding.role_ref.name()))
}

impl<'a> RemovalPlanner<'a> {
    pub(super) fn new(draft: &PlanBuilder<'_>, desired: &Desired, live: &State, ownership: &'a OwnershipSpec) -> Self {
        let mut out = Self { ownership, bound_roles: BTreeSet::new() };
        let wanted = desired.bindings.iter().map(|(key, wanted)| bound_role(key, &wanted.value));
        let stays = live.bindings.iter().filter(|(key, binding)| {
            !desired.bindings.contains_key(key)
                && out.removal_reason(draft, key, &binding.meta, desired.expired.bindings.get(key)).is_none()
        });
        let bound = wanted.chain(stays.map(|(key, binding)| bound_role(key, binding))).collect();
        out.bound_roles = bound;
        out
    }

    /// Why the object goes; nothing where it stays.
    fn removal_reason(
        &self,
        draft: &PlanBuilder<'_>,
        key: &ObjectKey,
        meta: &ObjectMeta,
        end: Option<&Expiration>,
    ) -> Option<RemovalReason> {
        match (owner::object_owner(meta, draft.policy), end) {
            (Owner::ThisPolicy, None) => Some(RemovalReason::NotInPolicy),
            (Owner::ThisPolicy, Some(end)) => Some(RemovalReason::WithNote(end.removal_reason(true))),
            // Listed with an end that has come: it would have been adopted before.
            (Owner::Unowned, Some(end)) if !owner::is_built_in(key, meta) => {
                Some(RemovalReason::WithNote(end.removal_reason(false)))
            }
            (Owner::Unowned, _) if self.ownership.rbac == OwnershipMode::Exclusive && !self.is_exempt(key, meta) => {
                Some(RemovalReason::WithNote("not in the policy, which is exclusive".to_owned()))
            }
            (Owner::OtherPolicy(_) | Owner::Unowned, _) => None,
        }
    }

    /// What an exclusive policy leaves alone: what others visibly manage, and roles that a binding gives which stays.
    fn is_exempt(&self, key: &ObjectKey, meta: &ObjectMeta) -> bool {
        let managed = meta.labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager != MANAGED_BY_VALUE)
            || meta.annotations.contains_key("meta.helm.sh/release-name");
        let ignored = self.ownership.ignore.iter().any(|pattern| match pattern {
            IgnorePattern::Object(pattern) => {
                pattern.matches(&format!("{}/{}", key.kind().as_str(), key.name()))
                    || pattern.matches(&format!("{}/{}", key.kind().as_str(), key.path()))
            }
            IgnorePattern::Arn(_) => false,
        });
        owner::is_built_in(key, meta)
            || meta.has_owner_references
            || managed
            || ignored
            || meta.annotations.contains_key(POLICY_ANNOTATION)
            || self.bound_roles.contains(key)
    }

    pub(super) fn plan_removal(
        &self,
        draft: &mut PlanBuilder<'_>,
        key: &ObjectKey,
        meta: &ObjectMeta,
        end: Option<&Expiration>,
        shown: impl FnOnce() -> Vec<FieldDiff>,
    ) {
        let Some(going) = self.removal_reason(draft, key, meta, end) else {
            return;
        };
        if meta.deleting {
            let held = meta.finalizers.join(", ");
            draft.diagnostics.push(
                Diagnostic::warning(format!("{key} is being deleted and still grants: it waits for {held}"))
                    .with_help("let the finalizers end, or take them off"),
            );
            return;
        }
        if self.bound_roles.contains(key) {
            draft.diagnostics.push(
                Diagnostic::warning(format!("{key} goes, and a binding that is not this policy's still gives it"))
                    .with_help("whoever makes a role of that name would give its rules to those subjects"),
            );
        }
        let mut out = object_change(draft, Action::Delete, key, end.map(|end| end.span), shown());
        out.note = match going {
            RemovalReason::NotInPolicy if meta.annotations.contains_key(TEMPORARY_ANNOTATION) => {
                Some("left by an apply that was stopped".to_owned())
            }
            RemovalReason::NotInPolicy => None,
            RemovalReason::WithNote(why) => Some(why),
        };
        draft.changes.push(out);
        draft.writes.push(PendingWrite {
            object: key.clone(),
            turn: Turn::Delete,
            needs: require_as_read(meta),
            why: format!("delete {key}"),
        });
    }
}
