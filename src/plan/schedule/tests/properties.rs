//! Properties of the order on random pairs of states.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::avoidable::find_whole_write_order;
use super::model::{Cluster, apply_and_check, check_same_content, ordered};
use super::owned::PlanScenario;
use super::random::{ScenarioKind, addition, pair, universe};
use crate::plan::Step;
use crate::plan::probes::AccessWindow;
use crate::plan::schedule::OrderedSteps;
use crate::state::aws_auth::tests::env_number;
use crate::state::write::WriteRequest;

/// The number of alternative orders to try for a plan with windows.
const TRIES: usize = 500;

fn check_order(pair: &PlanScenario, kind: ScenarioKind, seed: u64) -> Result<(), TestCaseError> {
    let PlanScenario { live, desired, end } = pair;
    let universe = universe();
    let start = Cluster::from_state(live);
    let ordered_steps = ordered(&start.state(), desired, end);
    let OrderedSteps { steps, windows, .. } = &ordered_steps;
    let steps_text =
        || format!("{:#?}", steps.iter().map(|step| (step.stage, &step.description, &step.write)).collect::<Vec<_>>());
    prop_assert!(!kind.is_safe() || windows.is_empty(), "{windows:#?} {}", steps_text());
    // The exhaustive search only knows the subjects of the universe.
    let is_in_universe = |window: &AccessWindow| universe.subjects.iter().any(|who| who.to_string() == window.subject);
    if !windows.is_empty() && windows.iter().all(is_in_universe) {
        let alternative = find_whole_write_order(&universe, &start.state(), end, TRIES);
        prop_assert!(alternative.is_none(), "{alternative:#?} avoids {windows:#?} {}", steps_text());
    }
    let mut seed = seed | 1;
    let mut random_below = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let fail = |reason: String| TestCaseError::fail(format!("{reason}\n{}", steps_text()));
    let mut clusters = Vec::new();
    for _ in 0..2 {
        clusters = apply_and_check(&start, &ordered_steps, &universe, end, &mut random_below).map_err(fail)?;
        let last = clusters.last().unwrap().state();
        check_same_content(&last, end).map_err(fail)?;
        let second_plan = ordered(&last, desired, end).steps;
        prop_assert!(second_plan.is_empty(), "a second plan: {second_plan:#?}\n{}", steps_text());
    }
    // An apply that is killed here is planned again from the state that it leaves.
    let at = random_below(clusters.len());
    let killed = &clusters[at];
    let fail = |reason: String| fail(format!("killed at {at}: {reason}"));
    let rest = ordered(&killed.state(), desired, end);
    let windows = &rest.windows;
    prop_assert!(!kind.is_safe() || windows.is_empty(), "killed at {at}: {windows:#?} {}", steps_text());
    let rest = apply_and_check(killed, &rest, &universe, end, &mut random_below).map_err(fail)?;
    check_same_content(&rest.last().unwrap().state(), end).map_err(fail)
}

/// The numbers of plans by what they need.
#[derive(Debug, Default)]
struct PlanCounts {
    plans: usize,
    with_windows: usize,
    not_proven: usize,
    with_waits: usize,
    waits: usize,
    /// Waits without which the model finds nothing outside the bounds.
    needless_waits: usize,
}

/// `ROLECALL_PLANS=1000 cargo test --lib plan::schedule::tests::properties::waits -- --nocapture` counts more plans.
#[test]
fn waits_are_needed() {
    let number: usize = env_number("ROLECALL_PLANS", 40);
    let universe = universe();
    for kind in ScenarioKind::ALL {
        let mut runner = TestRunner::deterministic();
        let mut counts = PlanCounts::default();
        for _ in 0..number {
            let PlanScenario { live, desired, end } = pair(kind).new_tree(&mut runner).unwrap().current();
            let start = Cluster::from_state(&live);
            let mut ordered = ordered(&start.state(), &desired, &end);
            counts.plans += 1;
            counts.with_windows += usize::from(!ordered.windows.is_empty());
            counts.not_proven += usize::from(!ordered.unproven.is_empty());
            counts.with_waits += usize::from(!ordered.waits.is_empty());
            counts.waits += ordered.waits.len();
            for index in 0..ordered.waits.len() {
                let wait = ordered.waits.remove(index);
                if apply_and_check(&start, &ordered, &universe, &end, &mut |_| 0).is_ok() {
                    counts.needless_waits += 1;
                    eprintln!("{kind:?}: {wait:?} can be left out: {:#?}\n{:#?}", ordered.steps, live.aws_auth);
                }
                ordered.waits.insert(index, wait);
            }
        }
        eprintln!("{kind:?}: {counts:?}");
        assert_eq!(counts.not_proven, 0, "{kind:?}: {counts:?}");
        assert!(counts.needless_waits * 20 <= counts.waits, "{kind:?}: {counts:?}");
    }
}

/// Returns the mapRoles text that a step writes.
fn written_map_roles(step: &Step) -> Option<&str> {
    let (WriteRequest::Create(body) | WriteRequest::Patch(body)) = &step.write else {
        return None;
    };
    body.pointer("/data/mapRoles")?.as_str()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_write_keeps_access_within_bounds(pair in pair(ScenarioKind::Plain), seed in any::<u64>()) {
        check_order(&pair, ScenarioKind::Plain, seed)?;
    }

    #[test]
    fn plans_that_only_add_or_only_remove_have_no_waits(scenarios in addition()) {
        for PlanScenario { live, desired, end } in scenarios {
            let OrderedSteps { waits, windows, unproven, .. } = ordered(&Cluster::from_state(&live).state(), &desired, &end);
            prop_assert!(waits.is_empty() && windows.is_empty() && unproven.is_empty(), "{waits:#?} {windows:#?}");
        }
    }

    #[test]
    fn every_write_keeps_access_within_bounds_with_map_accounts(pair in pair(ScenarioKind::Account), seed in any::<u64>()) {
        check_order(&pair, ScenarioKind::Account, seed)?;
    }

    #[test]
    fn every_write_keeps_access_within_bounds_with_duplicate_entries(pair in pair(ScenarioKind::Duplicates), seed in any::<u64>()) {
        check_order(&pair, ScenarioKind::Duplicates, seed)?;
    }

    #[test]
    fn nodes_keep_their_username_and_access_outside_the_bounds_is_reported(
        pair in pair(ScenarioKind::Nodes), seed in any::<u64>(),
    ) {
        check_order(&pair, ScenarioKind::Nodes, seed)?;
        let steps = ordered(&Cluster::from_state(&pair.live).state(), &pair.desired, &pair.end).steps;
        for text in steps.iter().filter_map(written_map_roles) {
            let entry = text.split("- rolearn").find(|entry| entry.contains("role/admin"));
            prop_assert!(entry.is_none_or(|entry| entry.contains("system:node:{{EC2PrivateDNSName}}")), "{text}");
        }
    }

    #[test]
    fn every_write_of_access_entries_keeps_access_within_bounds_or_is_reported(
        pair in pair(ScenarioKind::AccessEntries), seed in any::<u64>(),
    ) {
        check_order(&pair, ScenarioKind::AccessEntries, seed)?;
    }

    #[test]
    fn access_leaves_the_bounds_only_until_the_aggregation_controller_runs(pair in pair(ScenarioKind::Aggregated), seed in any::<u64>()) {
        check_order(&pair, ScenarioKind::Aggregated, seed)?;
    }
}
