//! What must always hold of an order, on random pairs of states.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::avoidable::plain_order;
use super::model::{Cluster, ordered, same, walk};
use super::owned::PlanScenario;
use super::random::{ScenarioKind, pair, universe};
use crate::plan::Step;
use crate::plan::probes::AccessWindow;
use crate::state::write::WriteRequest;

/// Of orders that could have kept everybody in his frame.
const TRIES: usize = 500;

fn checked(pair: &PlanScenario, kind: ScenarioKind, seed: u64) -> Result<(), TestCaseError> {
    let PlanScenario { live, desired, end } = pair;
    let universe = universe();
    let start = Cluster::of(live);
    let (steps, windows) = ordered(&start.state(), desired);
    let said =
        || format!("{:#?}", steps.iter().map(|step| (step.stage, &step.description, &step.write)).collect::<Vec<_>>());
    prop_assert!(!kind.is_safe() || windows.is_empty(), "{windows:#?} {}", said());
    // About others the search cannot ask.
    let is_asked = |window: &AccessWindow| universe.everybody.iter().any(|who| who.to_string() == window.subject);
    if !windows.is_empty() && windows.iter().all(is_asked) {
        let avoided = plain_order(&universe, &start.state(), end, TRIES);
        prop_assert!(avoided.is_none(), "{avoided:#?} avoids {windows:#?} {}", said());
    }
    let mut seed = seed | 1;
    let mut dice = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let fail = |why: String| TestCaseError::fail(format!("{why}\n{}", said()));
    let mut passed = Vec::new();
    for _ in 0..2 {
        passed = walk(&start, &steps, &windows, &universe, end, &mut dice).map_err(fail)?;
        let last = passed.last().unwrap().state();
        same(&last, end).map_err(fail)?;
        let (again, _) = ordered(&last, desired);
        prop_assert!(again.is_empty(), "a second plan: {again:#?}\n{}", said());
    }
    // Killed there, the rest is planned from what is.
    let at = dice(passed.len());
    let killed = &passed[at];
    let fail = |why: String| fail(format!("killed at {at}: {why}"));
    let (rest, windows) = ordered(&killed.state(), desired);
    prop_assert!(!kind.is_safe() || windows.is_empty(), "killed at {at}: {windows:#?} {}", said());
    let rest = walk(killed, &rest, &windows, &universe, end, &mut dice).map_err(fail)?;
    same(&rest.last().unwrap().state(), end).map_err(fail)
}

/// What a step makes of mapRoles.
fn mapped_by(step: &Step) -> Option<&str> {
    let (WriteRequest::Create(body) | WriteRequest::Patch(body)) = &step.write else {
        return None;
    };
    body.pointer("/data/mapRoles")?.as_str()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_leaves_his_frame_after_any_write(pair in pair(ScenarioKind::Plain), seed in any::<u64>()) {
        checked(&pair, ScenarioKind::Plain, seed)?;
    }

    #[test]
    fn nobody_leaves_his_frame_where_whole_accounts_are_let_in(pair in pair(ScenarioKind::Account), seed in any::<u64>()) {
        checked(&pair, ScenarioKind::Account, seed)?;
    }

    #[test]
    fn nobody_leaves_his_frame_where_he_has_several_entries(pair in pair(ScenarioKind::Doubles), seed in any::<u64>()) {
        checked(&pair, ScenarioKind::Doubles, seed)?;
    }

    #[test]
    fn machines_keep_their_username_and_nobody_leaves_his_frame_in_silence(
        pair in pair(ScenarioKind::Machines), seed in any::<u64>(),
    ) {
        checked(&pair, ScenarioKind::Machines, seed)?;
        let (steps, _) = ordered(&Cluster::of(&pair.live).state(), &pair.desired);
        for text in steps.iter().filter_map(mapped_by) {
            let entry = text.split("- rolearn").find(|entry| entry.contains("role/admin"));
            prop_assert!(entry.is_none_or(|entry| entry.contains("system:node:{{EC2PrivateDNSName}}")), "{text}");
        }
    }

    #[test]
    fn nobody_leaves_his_frame_unless_a_controller_is_late(pair in pair(ScenarioKind::Aggregated), seed in any::<u64>()) {
        checked(&pair, ScenarioKind::Aggregated, seed)?;
    }
}
