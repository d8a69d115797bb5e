//! Of what is needed, what the caller does not hold by RBAC: that much has to be asked of the cluster.

use std::collections::BTreeMap;

use super::needs::{Need, of_plan};
use crate::access::{Access, Identity, MASTERS, Moment, Request, uncovered};
use crate::plan::Plan;
use crate::state::State;
use crate::state::object::ObjectFault;
use crate::state::rbac::Rule;

/// Whoever is to make the writes.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
}

/// A request that RBAC does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) request: Request,
    /// Rules to hold in its place, those that are missing.
    pub(crate) rules: Vec<Rule>,
    /// For which step of the plan.
    pub(crate) step: usize,
}

/// The requests of a plan that RBAC does not allow its runner, each once; other authorizers may.
///
/// What an earlier step of the plan grants is not missing.
///
/// # Errors
/// A write of the plan that is none.
pub(crate) fn wanted(plan: &Plan, live: &State, runner: &Runner) -> Result<Vec<Lack>, ObjectFault> {
    // Of these RBAC is not asked.
    if plan.is_empty() || runner.groups.iter().any(|group| group == MASTERS) {
        return Ok(Vec::new());
    }
    let after = plan.after(live)?;
    let identity = Identity::reported(&runner.username, &runner.groups);
    let sides = [Access::of(live, Moment::Stored), Access::of(&after, Moment::Settled)];
    for side in &sides {
        side.grants.index();
    }
    let mut out: BTreeMap<Request, Lack> = BTreeMap::new();
    let mut held = Held { identity: &identity, sides: &sides, known: BTreeMap::new() };
    for (need, step) in of_plan(plan, live, &after) {
        let (request, rules) = match need {
            Need::Request(request) => (request, Vec::new()),
            Need::Rules { rules, namespace, or, gathers: _ } => {
                let missing = held.missing(&rules, namespace);
                if missing.is_empty() {
                    continue;
                }
                (or, missing)
            }
        };
        if !out.contains_key(&request) && !sides.iter().any(|side| side.may(&identity, &request)) {
            out.insert(request.clone(), Lack { request, rules, step });
        }
    }
    let mut lacks: Vec<Lack> = out.into_values().collect();
    lacks.sort_by_key(|lack| lack.step);
    Ok(lacks)
}

/// The rules that the runner holds before and after, namespace by namespace.
struct Held<'a, 's> {
    identity: &'a Identity,
    sides: &'a [Access<'s>; 2],
    known: BTreeMap<Option<String>, Vec<&'s Rule>>,
}

impl Held<'_, '_> {
    fn missing(&mut self, rules: &[Rule], namespace: Option<String>) -> Vec<Rule> {
        let held = self.known.entry(namespace).or_insert_with_key(|namespace| {
            self.sides.iter().flat_map(|side| side.rules_in(self.identity, namespace.as_deref())).collect()
        });
        uncovered(held, rules)
    }
}
