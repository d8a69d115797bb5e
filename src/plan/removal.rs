//! What goes: objects of the policy that it does not list any more, and what an exclusive policy does not suffer.

use std::collections::BTreeSet;

use super::objects::{as_read, change};
use super::order::{Planned, Turn};
use super::{Action, Draft, Field};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::policy::ending::Ended;
use crate::policy::expand::Desired;
use crate::policy::{Exclusive, IgnorePattern, Ownership};
use crate::state::State;
use crate::state::meta::Meta;
use crate::state::object::Binding;
use crate::state::owner::{self, MANAGED_BY, MANAGER, Owner, POLICY, TEMPORARY};

/// Why an object goes.
enum Going {
    NoLongerListed,
    /// With words for the reviewer.
    Because(String),
}

/// What removals must know of the rest of a plan.
pub(super) struct Removals<'a> {
    ownership: &'a Ownership,
    /// The roles that bindings give which are there after the plan.
    bound: BTreeSet<ObjectKey>,
}

/// The role that a binding gives; what cannot be stored is taken for a ClusterRole.
pub(super) fn role_of(key: &ObjectKey, binding: &Binding) -> ObjectKey {
    binding.role_ref.key(key).unwrap_or_else(|| ObjectKey::cluster_role(binding.role_ref.name()))
}

impl<'a> Removals<'a> {
    pub(super) fn new(draft: &Draft<'_>, desired: &Desired, live: &State, ownership: &'a Ownership) -> Self {
        let mut out = Self { ownership, bound: BTreeSet::new() };
        let wanted = desired.bindings.iter().map(|(key, wanted)| role_of(key, &wanted.value));
        let stays = live.bindings.iter().filter(|(key, binding)| {
            !desired.bindings.contains_key(key)
                && out.reason(draft, key, &binding.meta, desired.ended.bindings.get(key)).is_none()
        });
        let bound = wanted.chain(stays.map(|(key, binding)| role_of(key, binding))).collect();
        out.bound = bound;
        out
    }

    /// Why the object goes; nothing where it stays.
    fn reason(&self, draft: &Draft<'_>, key: &ObjectKey, meta: &Meta, end: Option<&Ended>) -> Option<Going> {
        match (owner::owner(meta, draft.policy), end) {
            (Owner::Ours, None) => Some(Going::NoLongerListed),
            (Owner::Ours, Some(end)) => Some(Going::Because(end.note_of(true))),
            // Listed with an end that has come: it would have been adopted before.
            (Owner::Nobody, Some(end)) if !owner::is_built_in(key, meta) => Some(Going::Because(end.note_of(false))),
            (Owner::Nobody, _) if self.ownership.rbac == Exclusive::Exclusive && !self.is_spared(key, meta) => {
                Some(Going::Because("not in the policy, which is exclusive".to_owned()))
            }
            (Owner::Theirs(_) | Owner::Nobody, _) => None,
        }
    }

    /// What an exclusive policy leaves alone: what others visibly manage, and roles that a binding gives which stays.
    fn is_spared(&self, key: &ObjectKey, meta: &Meta) -> bool {
        let managed = meta.labels.get(MANAGED_BY).is_some_and(|manager| manager != MANAGER)
            || meta.annotations.contains_key("meta.helm.sh/release-name");
        let ignored = self.ownership.ignore.iter().any(|pattern| match pattern {
            IgnorePattern::Object(pattern) => {
                pattern.matches(&format!("{}/{}", key.kind().word(), key.name()))
                    || pattern.matches(&format!("{}/{}", key.kind().word(), key.path()))
            }
            IgnorePattern::Arn(_) => false,
        });
        owner::is_built_in(key, meta)
            || meta.owned_by_object
            || managed
            || ignored
            || meta.annotations.contains_key(POLICY)
            || self.bound.contains(key)
    }

    pub(super) fn remove(
        &self,
        draft: &mut Draft<'_>,
        key: &ObjectKey,
        meta: &Meta,
        end: Option<&Ended>,
        shown: impl FnOnce() -> Vec<Field>,
    ) {
        let Some(going) = self.reason(draft, key, meta, end) else {
            return;
        };
        if meta.deleting {
            let held = meta.finalizers.join(", ");
            draft.findings.push(
                Diagnostic::warning(format!("{key} is being deleted and still grants: it waits for {held}"))
                    .hint("let the finalizers end, or take them off"),
            );
            return;
        }
        if self.bound.contains(key) {
            draft.findings.push(
                Diagnostic::warning(format!("{key} goes, and a binding that is not this policy's still gives it"))
                    .hint("whoever makes a role of that name would give its rules to those subjects"),
            );
        }
        let mut out = change(draft, Action::Delete, key, end.map(|end| end.span), shown());
        out.note = match going {
            Going::NoLongerListed if meta.annotations.contains_key(TEMPORARY) => {
                Some("left by an apply that was stopped".to_owned())
            }
            Going::NoLongerListed => None,
            Going::Because(why) => Some(why),
        };
        draft.changes.push(out);
        draft.writes.push(Planned {
            object: key.clone(),
            turn: Turn::Delete,
            needs: as_read(meta),
            why: format!("delete {key}"),
        });
    }
}
