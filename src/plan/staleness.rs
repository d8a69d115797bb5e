//! Whether a plan is stale: whether the cluster has changed since the plan was made so that the plan must not be
//! applied.

use std::collections::BTreeMap;

use super::fingerprint::AccessFingerprint;
use super::post_apply_check::{PostApplyCheck, post_apply_checks};
use super::{AccessComparison, AggregatedRoles, Plan, access_change};
use crate::access::diff_access;
use crate::policy::PolicyIndex;
use crate::state::State;
use crate::state::write::Precondition;

impl Plan {
    /// Returns why the plan is stale, each reason as a sentence without its end: the caller appends `since the plan was
    /// made`. Empty if the plan can be applied.
    ///
    /// `roles` are the aggregated roles as the plan has found them. The aggregation controller may have written their
    /// rules since: the plan expects that, and the access changes are compared separately.
    pub(crate) fn staleness_reasons(&self, live: &State, roles: &AggregatedRoles) -> Vec<String> {
        let mut reasons = Vec::new();
        if let (Some(planned), Some(live)) = (&self.cluster_uid, &live.cluster_uid)
            && planned != live
        {
            reasons.push("the cluster is a different one (the uid of namespace kube-system has changed)".to_owned());
        }
        for step in &self.steps {
            let meta = live.meta(&step.object);
            let last_writer = meta.and_then(|meta| meta.last_writer.as_ref());
            let by_writer = last_writer.map(|writer| format!(" by {}", writer.manager)).unwrap_or_default();
            let object = &step.object;
            match (&step.precondition, meta) {
                (Precondition::Absent, Some(_)) if !self.is_deleted_before(step) => {
                    reasons.push(format!("{object} was created{by_writer}"));
                }
                (Precondition::Unchanged { .. }, None) => reasons.push(format!("{object} was deleted")),
                (Precondition::Unchanged { uid, resource_version }, Some(meta)) => {
                    let is_recreated = uid.is_some() && *uid != meta.uid;
                    let is_same_version = meta.resource_version.as_ref() == Some(resource_version);
                    let is_reconciled = live.roles.get(object).is_some_and(|role| roles.is_reconciled(object, role));
                    if is_recreated || !is_same_version && !is_reconciled {
                        reasons.push(format!("{object} was changed{by_writer}"));
                    }
                }
                (Precondition::Absent | Precondition::AsWrittenByStep { .. }, _) => {}
            }
        }
        reasons.extend(self.namespace_selections.iter().filter_map(|selection| selection.describe_change(live)));
        reasons
    }

    /// Computes the access changes again for the current state of the cluster. Returns the subjects whose access would
    /// change differently than the plan says, and at most `max_checks` checks to run after the apply.
    pub(crate) fn recheck_access(
        &self,
        live: &State,
        after: &State,
        max_checks: usize,
    ) -> (Vec<String>, Vec<PostApplyCheck>) {
        let sides = AccessComparison::new(live, after);
        let rows = diff_access(&sides.live_access, &sides.after_access);
        let differing = self.access_changes.as_ref().map(|planned| {
            let now = access_change::group_access_changes(&rows, &PolicyIndex::default(), None);
            AccessFingerprint::from_changes(planned)
                .differing_subjects(&AccessFingerprint::from_changes(&now))
                .map(str::to_owned)
                .collect()
        });
        (differing.unwrap_or_default(), post_apply_checks(&rows, &sides, max_checks))
    }

    /// Replaces the access changes by those that the writes cause now. The names of principals, which only the policy
    /// knows, are kept. Returns the subjects whose access would change differently than the plan says.
    pub(crate) fn renew_access_changes(&mut self, comparison: &AccessComparison<'_>) -> Vec<String> {
        let planned = self.access_changes.take().unwrap_or_default();
        self.record_access_changes(comparison, &PolicyIndex::default());
        let now = self.access_changes.as_deref().unwrap_or_default();
        let differing = AccessFingerprint::from_changes(&planned)
            .differing_subjects(&AccessFingerprint::from_changes(now))
            .map(str::to_owned)
            .collect();
        let subjects = planned.into_iter().flat_map(|change| change.subjects);
        let names: BTreeMap<String, String> =
            subjects.filter_map(|affected| Some((affected.subject, affected.name?))).collect();
        for affected in self.access_changes.iter_mut().flatten().flat_map(|change| &mut change.subjects) {
            affected.name = names.get(&affected.subject).cloned();
        }
        differing
    }

    /// Returns whether an earlier step deletes the object. A replaced binding exists until then, although the step that
    /// creates it again requires that it does not.
    fn is_deleted_before(&self, step: &super::Step) -> bool {
        self.steps
            .iter()
            .take_while(|earlier| !std::ptr::eq(*earlier, step))
            .any(|earlier| earlier.object == step.object && earlier.write == crate::state::write::WriteRequest::Delete)
    }
}
