//! Whether a plan that was made during an apply is what is left of the plan that is applied.

use std::collections::BTreeSet;

use super::{AccessChange, AllowedRequests, Change, EscalationSummary, Plan};

/// One piece of access that one subject gains or loses.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum AccessItem<'a> {
    Gain(&'a str, &'a AllowedRequests),
    Loss(&'a str, &'a AllowedRequests),
    Escalation(&'a str, &'a EscalationSummary),
}

fn access_items(changes: Option<&Vec<AccessChange>>) -> BTreeSet<AccessItem<'_>> {
    let mut items = BTreeSet::new();
    for AccessChange { subjects, diff, .. } in changes.into_iter().flatten() {
        for subject in subjects.iter().map(|affected| affected.subject.as_str()) {
            items.extend(diff.gains.iter().map(|gain| AccessItem::Gain(subject, gain)));
            items.extend(diff.losses.iter().map(|loss| AccessItem::Loss(subject, loss)));
            items.extend(diff.escalations.iter().map(|path| AccessItem::Escalation(subject, path)));
        }
    }
    items
}

/// The last writer and the place in the policy do not matter: neither decides what is written.
fn is_same_change(left: &Change, right: &Change) -> bool {
    left.action == right.action && left.target == right.target && left.fields == right.fields
}

impl Plan {
    /// Returns whether this plan makes only changes that the earlier plan makes, and only the same changes of access.
    pub(crate) fn is_remainder_of(&self, earlier: &Self) -> bool {
        let has_change = |change: &Change| earlier.changes.iter().any(|other| is_same_change(change, other));
        self.policy == earlier.policy
            && self.cluster_uid == earlier.cluster_uid
            && self.limits == earlier.limits
            && self.invariants == earlier.invariants
            && self.changes.iter().all(has_change)
            && access_items(self.access_changes.as_ref()).is_subset(&access_items(earlier.access_changes.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{AccessComparison, Plan, plan};
    use crate::policy::{PolicyIndex, load_policy};
    use crate::state::State;

    const POLICY: &str = "
[policy]
name = 'prod'
[groups.viewers]
[cluster-roles.one]
rules = [{ verbs = ['get'], resources = ['pods'] }]
[cluster-roles.two]
rules = [{ verbs = ['get'], resources = ['services'] }]
[bindings.one]
cluster-role = 'one'
groups = ['viewers']
[bindings.view]
cluster-role = 'view'
groups = ['viewers']
";

    fn make_plan(policy: &str, live: &State) -> Plan {
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
        let mut plan = plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
        let after = plan.state_after(live).unwrap();
        plan.record_access_changes(&AccessComparison::new(live, &after), &PolicyIndex::default());
        plan
    }

    fn put_role(state: &mut State, name: &str, verb: &str) {
        let object = serde_json::json!({
            "metadata": { "name": name, "resourceVersion": "1" },
            "rules": [{ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] }],
        });
        let kind = crate::names::ObjectKind::ClusterRole;
        state.insert_object(&crate::names::ObjectKey::new(kind, None, name).unwrap(), &object).unwrap();
    }

    /// A cluster with one role of its own.
    fn live() -> State {
        let mut state = State::default();
        put_role(&mut state, "view", "get");
        state
    }

    #[test]
    fn plan_after_some_writes_is_a_remainder() {
        let first = make_plan(POLICY, &live());
        assert!(first.is_remainder_of(&first));
        let after = first.state_after(&live()).unwrap();
        assert!(make_plan(POLICY, &after).is_remainder_of(&first));
        let mut partly = live();
        let one = crate::names::ObjectKey::new(crate::names::ObjectKind::ClusterRole, None, "one").unwrap();
        partly.roles.insert(one.clone(), after.roles[&one].clone());
        let rest = make_plan(POLICY, &partly);
        assert!(!rest.is_empty() && rest.changes.len() < first.changes.len() && rest.is_remainder_of(&first));
        let mut other = live();
        put_role(&mut other, "unrelated", "list");
        assert!(make_plan(POLICY, &other).is_remainder_of(&first), "an object of another client");
    }

    #[test]
    fn plan_with_other_changes_or_another_effect_is_not_a_remainder() {
        let first = make_plan(POLICY, &live());
        let mut same_name = live();
        put_role(&mut same_name, "one", "list");
        assert!(!make_plan(POLICY, &same_name).is_remainder_of(&first), "the role exists and is adopted");
        let mut wider = live();
        put_role(&mut wider, "view", "delete");
        assert!(!make_plan(POLICY, &wider).is_remainder_of(&first), "the binding now grants something else");
        let other_policy = POLICY.replace("'services'", "'secrets'");
        assert!(!make_plan(&other_policy, &live()).is_remainder_of(&first), "the policy has changed");
    }
}
