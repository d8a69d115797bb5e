//! Removal of roles and bindings: those that the policy owns and no longer lists, expired ones, and with
//! `ownership.rbac = "exclusive"` those that no policy owns.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::state::owner::{self, OBJECT_ANNOTATION, Owner, OwnershipMark, POLICY_ANNOTATION, TEMPORARY_ANNOTATION};

/// The number of kept objects that a warning lists.
const MAX_LISTED: usize = 5;

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
        match (owner::object_owner(key, meta, builder.policy), end) {
            (Owner::ThisPolicy, _) if owner::keep_reason(key, meta).is_some() => None,
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
        let is_ignored = self.ownership.ignore.iter().any(|pattern| pattern.value.matches_object(key));
        owner::keep_reason(key, meta).is_some()
            || meta.has_owner_references
            || is_ignored
            || self.bound_roles.contains(key)
    }

    /// Warns about objects that have a mark of this policy or a copied mark, and that the plan keeps.
    pub(super) fn warn_kept_objects(&self, builder: &mut PlanBuilder<'_>, desired: &Desired, live: &State) {
        let (mut copied, mut without_identity) = (Vec::new(), Vec::new());
        let mut provided: BTreeMap<String, Vec<&ObjectKey>> = BTreeMap::new();
        for (key, meta) in live.rbac_objects() {
            let is_listed = desired.roles.contains_key(key) || desired.bindings.contains_key(key);
            let end = desired.expired.bindings.get(key);
            if is_listed || meta.deleting || self.removal_reason(builder, key, meta, end).is_some() {
                continue;
            }
            match owner::ownership_mark(key, meta) {
                OwnershipMark::Valid(policy) if policy == builder.policy => {
                    // Only such a reason keeps an object that the policy owns and does not list.
                    provided.entry(owner::keep_reason(key, meta).unwrap_or_default()).or_default().push(key);
                }
                OwnershipMark::Copied(_) => copied.push(key),
                OwnershipMark::WithoutIdentity(policy) if policy == builder.policy => without_identity.push(key),
                OwnershipMark::Valid(_) | OwnershipMark::WithoutIdentity(_) | OwnershipMark::None => {}
            }
        }
        let policy = builder.policy;
        let warning = |title: String, keys: &[&ObjectKey]| {
            let shown = keys
                .iter()
                .take(MAX_LISTED)
                .fold(Diagnostic::warning(title), |warning, key| warning.with_note(key.to_string()));
            match keys.len().saturating_sub(MAX_LISTED) {
                0 => shown,
                more => shown.with_note(format!("and {more} more")),
            }
        };
        if !copied.is_empty() {
            let title = format!("kept, because the ownership mark was copied from another object: {}", copied.len());
            let help = format!("remove the annotation `{POLICY_ANNOTATION}` from them, or delete them with kubectl");
            builder.diagnostics.push(warning(title, &copied).with_help(help));
        }
        if !without_identity.is_empty() {
            let number = without_identity.len();
            let title = format!("kept, because the ownership mark does not name the object: {number}");
            let warning = warning(title, &without_identity)
                .with_because(format!(
                    "the annotation `{POLICY_ANNOTATION}` names policy `{policy}`, but `{OBJECT_ANNOTATION}` is missing"
                ))
                .with_help("delete them with kubectl, or list them in the policy, apply, and then remove them from it");
            builder.diagnostics.push(warning);
        }
        for (reason, keys) in provided {
            let title = format!("kept, although policy `{policy}` owns them and does not list them: {}", keys.len());
            let help = "delete them with kubectl if nothing else provides them";
            builder.diagnostics.push(warning(title, &keys).with_because(reason).with_help(help));
        }
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
            if let Some(end) = end.filter(|_| owner::object_owner(key, meta, builder.policy) == Owner::Unowned) {
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
