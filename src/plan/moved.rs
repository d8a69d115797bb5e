//! What of a plan's ground has moved since it was made.

use super::grounds::Outcome;
use super::{Plan, Sides, access};
use crate::policy::Known;
use crate::state::State;
use crate::state::write::Precondition;

impl Plan {
    /// The objects that are not as the plan found them, in words. Empty: the plan can be carried out.
    pub(crate) fn moved(&self, live: &State) -> Vec<String> {
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
        out.extend(self.selected.iter().filter_map(|selected| selected.moved(live)));
        out
    }

    /// Those whose access it would change otherwise than was told, as the cluster is now.
    pub(crate) fn others_affected(&self, sides: &Sides<'_>) -> Vec<String> {
        let Some(told) = &self.access else {
            return Vec::new();
        };
        let now = access::changes(sides, &Known::default());
        Outcome::of(told).others(&Outcome::of(&now)).map(str::to_owned).collect()
    }

    /// A replaced binding is absent only once an earlier step has deleted it.
    fn is_deleted_before(&self, step: &super::Step) -> bool {
        self.steps
            .iter()
            .take_while(|earlier| !std::ptr::eq(*earlier, step))
            .any(|earlier| earlier.object == step.object && earlier.write == crate::state::write::Write::Delete)
    }
}
