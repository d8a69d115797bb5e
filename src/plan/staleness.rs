//! What of a plan's ground has moved since it was made.

use super::fingerprint::AccessFingerprint;
use super::post_apply_check::{PostApplyCheck, post_apply_checks};
use super::{AccessComparison, Plan, access_change};
use crate::access::diff_access;
use crate::policy::PolicyIndex;
use crate::state::State;
use crate::state::write::Precondition;

impl Plan {
    /// The objects that are not as the plan found them, in words. Empty: the plan can be carried out.
    pub(crate) fn staleness_reasons(&self, live: &State) -> Vec<String> {
        let mut out = Vec::new();
        if let (Some(planned), Some(found)) = (&self.cluster_uid, &live.cluster_uid)
            && planned != found
        {
            out.push("it is another cluster than the one that was planned for:".to_owned());
        }
        for step in &self.steps {
            let meta = live.meta(&step.object);
            let by = meta.and_then(|meta| meta.last_writer.as_ref()).map(|writer| format!(" by {}", writer.manager));
            let by = by.unwrap_or_default();
            let object = &step.object;
            match (&step.precondition, meta) {
                (Precondition::Absent, Some(_)) if !self.is_deleted_before(step) => {
                    out.push(format!("{object} was created{by}"));
                }
                (Precondition::Unchanged { .. }, None) => out.push(format!("{object} was deleted")),
                (Precondition::Unchanged { uid, resource_version }, Some(meta)) => {
                    let recreated = uid.is_some() && *uid != meta.uid;
                    let now = meta.resource_version.as_deref().unwrap_or_default();
                    if recreated || now != resource_version {
                        out.push(format!("{object} was changed{by}"));
                    }
                }
                (Precondition::Absent | Precondition::AsWrittenByStep { .. }, _) => {}
            }
        }
        out.extend(self.namespace_selections.iter().filter_map(|selected| selected.describe_change(live)));
        out
    }

    /// As the cluster is now: those whose access it would change otherwise than was told, and at most so many of its
    /// promises.
    pub(crate) fn recheck_access(
        &self,
        live: &State,
        after: &State,
        most: usize,
    ) -> (Vec<String>, Vec<PostApplyCheck>) {
        let sides = AccessComparison::new(live, after);
        let rows = diff_access(&sides.live_access, &sides.after_access);
        let others = self.access_changes.as_ref().map(|told| {
            let now = access_change::group_access_changes(&rows, &PolicyIndex::default());
            AccessFingerprint::from_changes(told)
                .differing_subjects(&AccessFingerprint::from_changes(&now))
                .map(str::to_owned)
                .collect()
        });
        (others.unwrap_or_default(), post_apply_checks(&rows, &sides, most))
    }

    /// A replaced binding is absent only once an earlier step has deleted it.
    fn is_deleted_before(&self, step: &super::Step) -> bool {
        self.steps
            .iter()
            .take_while(|earlier| !std::ptr::eq(*earlier, step))
            .any(|earlier| earlier.object == step.object && earlier.write == crate::state::write::WriteRequest::Delete)
    }
}
