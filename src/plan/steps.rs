//! The order of the writes: what grants before what takes away.
//!
//! First roles come and widen, so that no binding points at nothing; then bindings, bridges among them; then aws-auth, in
//! one write; then what only narrows; then a replaced binding goes, comes back under its name, and its bridge goes: its
//! subjects hold the new role all the time; then bindings go, and last roles.

use super::Step;
use crate::names::ObjectKey;
use crate::state::write::{Precondition, Write};

/// When in an apply a write has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    GrantRole,
    GrantBinding,
    Mapping,
    Narrow,
    ReplaceAway,
    ReplaceBack,
    BridgeAway,
    TakeBinding,
    TakeRole,
}

/// What a write needs of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Needs {
    Absent,
    AsRead {
        uid: Option<String>,
        resource_version: String,
    },
    /// As the earlier step of this plan that created it left it.
    AsCreated,
}

/// A write before it has its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) object: ObjectKey,
    pub(super) write: Write,
    pub(super) needs: Needs,
    pub(super) phase: Phase,
    pub(super) why: String,
}

/// Puts the writes in order and numbers their stages.
pub(super) fn order(mut planned: Vec<Planned>) -> Vec<Step> {
    planned.sort_by(|a, b| (a.phase, &a.object).cmp(&(b.phase, &b.object)));
    let mut stage = 0;
    let mut last = None;
    let mut created = std::collections::BTreeMap::new();
    let mut steps: Vec<Step> = Vec::with_capacity(planned.len());
    for item in planned {
        if last.replace(item.phase).is_some_and(|phase| phase != item.phase) {
            stage += 1;
        }
        let precondition = match item.needs {
            Needs::Absent => Precondition::Absent,
            Needs::AsRead { uid, resource_version } => Precondition::Unchanged { uid, resource_version },
            Needs::AsCreated => match created.get(&item.object) {
                Some(step) => Precondition::AsWrittenByStep { step: *step },
                None => Precondition::Absent,
            },
        };
        if matches!(item.write, Write::Create(_)) {
            created.insert(item.object.clone(), steps.len());
        }
        steps.push(Step {
            object: item.object,
            write: item.write,
            precondition,
            stage,
            awaits: Vec::new(),
            why: item.why,
        });
    }
    steps
}
