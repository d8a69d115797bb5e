//! Of what is needed, what the caller does not hold by RBAC: that much has to be asked of the cluster.

use std::collections::BTreeMap;

use super::needs::{Need, of_plan};
use crate::access::{Access, Identity, MASTERS, Moment, Request, uncovered};
use crate::plan::{Plan, Sides};
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
/// What an earlier stage of the plan grants is not missing.
///
/// # Errors
/// A write of the plan that is none.
pub(crate) fn wanted(plan: &Plan, sides: &Sides<'_>, runner: &Runner) -> Result<Vec<Lack>, ObjectFault> {
    // Of these RBAC is not asked.
    if plan.is_empty() || runner.groups.iter().any(|group| group == MASTERS) {
        return Ok(Vec::new());
    }
    let Sides { live, after, .. } = sides;
    let identity = Identity::reported(&runner.username, &runner.groups);
    let mut left: BTreeMap<usize, Vec<(Need, usize)>> = BTreeMap::new();
    let mut holder = Holder::new(live, &identity);
    for (need, step) in of_plan(plan, live, after) {
        if holder.lacks(&need).is_some() {
            let stage = plan.steps.get(step).map_or(0, |step| step.stage);
            left.entry(stage).or_default().push((need, step));
        }
    }
    let mut out: BTreeMap<Request, Lack> = BTreeMap::new();
    for (stage, needs) in left {
        // As it is when the stage begins.
        let before = plan.before(stage, live)?;
        let mut holder = Holder::new(&before, &identity);
        for (need, step) in needs {
            if let Some((request, rules)) = holder.lacks(&need) {
                out.entry(request.clone()).or_insert(Lack { request, rules, step });
            }
        }
    }
    let mut lacks: Vec<Lack> = out.into_values().collect();
    lacks.sort_by_key(|lack| lack.step);
    Ok(lacks)
}

/// The runner in one state.
struct Holder<'a, 's> {
    identity: &'a Identity,
    access: Access<'s>,
    /// The rules that it holds, namespace by namespace.
    held: BTreeMap<Option<String>, Vec<&'s Rule>>,
}

impl<'a, 's> Holder<'a, 's> {
    fn new(state: &'s State, identity: &'a Identity) -> Self {
        let access = Access::of(state, Moment::Stored);
        access.grants.index();
        Self { identity, access, held: BTreeMap::new() }
    }

    /// The request that is not allowed, and the rules that would do in its place.
    fn lacks(&mut self, need: &Need) -> Option<(Request, Vec<Rule>)> {
        let (request, missing) = match need {
            Need::Request(request) => (request, Vec::new()),
            Need::Rules { rules, namespace, or, gathers: _ } => {
                let held = self.held.entry(namespace.clone());
                let held = held.or_insert_with_key(|one| self.access.rules_in(self.identity, one.as_deref()));
                let missing = uncovered(held, rules);
                if missing.is_empty() {
                    return None;
                }
                (or, missing)
            }
        };
        (!self.access.may(self.identity, request)).then(|| (request.clone(), missing))
    }
}
