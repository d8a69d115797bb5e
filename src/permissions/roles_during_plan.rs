//! The roles as they are when a step of a plan is made.
//!
//! The API server judges a write of a role or binding by the roles that it has stored at that moment. A plan that ends
//! with a small role can bind it while it still has many rules.

use std::collections::{BTreeMap, BTreeSet};

use super::required_permissions::role_after_write;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{AccessComparison, Step};
use crate::state::object::{ObjectError, Role};
use crate::state::rbac::Rule;
use crate::state::write::WriteRequest;

/// The roles before and after the current stage. Steps of one stage are made in any order.
pub(super) struct RolesDuringPlan<'a, 's> {
    comparison: &'a AccessComparison<'s>,
    /// The roles that earlier stages wrote. `None`: deleted.
    written: BTreeMap<ObjectKey, Option<Role>>,
    /// The roles that the current stage writes.
    pending: BTreeMap<ObjectKey, Option<Role>>,
    /// The objects that earlier stages deleted.
    deleted: BTreeSet<ObjectKey>,
}

fn is_role(key: &ObjectKey) -> bool {
    matches!(key.kind(), ObjectKind::ClusterRole | ObjectKind::Role)
}

impl<'a, 's> RolesDuringPlan<'a, 's> {
    pub(super) fn new(comparison: &'a AccessComparison<'s>) -> Self {
        Self { comparison, written: BTreeMap::new(), pending: BTreeMap::new(), deleted: BTreeSet::new() }
    }

    pub(super) fn begin_stage(&mut self, steps: &[Step]) -> Result<(), ObjectError> {
        for step in steps.iter().filter(|step| is_role(&step.object)) {
            let role = match &step.write {
                WriteRequest::Create(body) => Some(role_after_write(None, body)?),
                WriteRequest::Patch(body) => Some(role_after_write(self.stored(&step.object), body)?),
                WriteRequest::Delete => None,
            };
            self.pending.insert(step.object.clone(), role);
        }
        Ok(())
    }

    pub(super) fn end_stage(&mut self, steps: &[Step]) {
        self.written.append(&mut self.pending);
        let deleted = steps.iter().filter(|step| step.write == WriteRequest::Delete);
        self.deleted.extend(deleted.map(|step| step.object.clone()));
    }

    /// Returns whether an earlier stage deleted the object, so that the current one has another content.
    pub(super) fn was_deleted(&self, key: &ObjectKey) -> bool {
        self.deleted.contains(key)
    }

    /// Returns the role before the current stage.
    pub(super) fn stored(&self, key: &ObjectKey) -> Option<&Role> {
        match self.written.get(key) {
            Some(written) => written.as_ref(),
            None => self.comparison.live.roles.get(key),
        }
    }

    /// Returns the rules that a subject must have to bind the role in the current stage. `None` if it does not exist.
    /// The controller can have written the rules of an aggregated role or not, so these are all rules that it can have.
    pub(super) fn rules_to_bind(&self, key: &ObjectKey) -> Option<Vec<Rule>> {
        let stored = self.stored(key)?;
        let mut rules = stored.rules.clone();
        let mut add = |more: &[Rule]| {
            for rule in more {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        };
        let pending = self.pending.get(key).and_then(Option::as_ref);
        if let Some(role) = pending {
            add(&role.rules);
        }
        if stored.aggregation.is_some() || pending.is_some_and(|role| role.aggregation.is_some()) {
            for access in [&self.comparison.live_access, &self.comparison.after_access] {
                add(&access.role_rules(key).unwrap_or_default());
            }
            for state in [self.comparison.live, self.comparison.after] {
                state.roles.get(key).into_iter().for_each(|role| add(&role.rules));
            }
        }
        Some(rules)
    }
}
