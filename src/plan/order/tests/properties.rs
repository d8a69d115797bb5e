//! What must always hold of an order, on random pairs of states.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::model::{Cluster, ordered, same, walk};
use super::random::{Kind, Side, pair, universe};
use crate::plan::Step;
use crate::state::write::Write;

fn checked((one, other): &(Side, Side), kind: Kind, seed: u64) -> Result<(), TestCaseError> {
    let universe = universe();
    let start = Cluster::of(&one.state);
    let live = start.state();
    let (steps, windows) = ordered(&live, &other.state, &other.entries);
    let said = || format!("{:#?}", steps.iter().map(|step| (step.stage, &step.why, &step.write)).collect::<Vec<_>>());
    prop_assert!(!kind.is_safe() || windows.is_empty(), "{windows:#?} {}", said());
    let mut seed = seed | 1;
    let mut dice = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut passed = Vec::new();
    for _ in 0..2 {
        passed = walk(&start, &steps, &windows, &universe, &other.state, &mut dice)
            .map_err(|why| TestCaseError::fail(format!("{why}\n{}", said())))?;
        let last = passed.last().unwrap().state();
        same(&last, &other.state, &other.entries).map_err(|why| TestCaseError::fail(format!("{why}\n{}", said())))?;
    }
    // Killed there, the rest is planned from what is.
    let at = dice(passed.len());
    let killed = &passed[at];
    let live = killed.state();
    let (rest, windows) = ordered(&live, &other.state, &other.entries);
    prop_assert!(!kind.is_safe() || windows.is_empty(), "killed at {at}: {windows:#?} {}", said());
    let rest = walk(killed, &rest, &windows, &universe, &other.state, &mut dice)
        .map_err(|why| TestCaseError::fail(format!("killed at {at}: {why}\n{}", said())))?;
    same(&rest.last().unwrap().state(), &other.state, &other.entries)
        .map_err(|why| TestCaseError::fail(format!("killed at {at}: {why}\n{}", said())))
}

/// What a step makes of mapRoles.
fn mapped_by(step: &Step) -> Option<&str> {
    let (Write::Create(body) | Write::Patch(body)) = &step.write else {
        return None;
    };
    body.pointer("/data/mapRoles")?.as_str()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_leaves_his_frame_after_any_write(sides in pair(Kind::Plain), seed in any::<u64>()) {
        checked(&sides, Kind::Plain, seed)?;
    }

    #[test]
    fn nobody_leaves_his_frame_where_a_whole_account_is_let_in(sides in pair(Kind::Account), seed in any::<u64>()) {
        checked(&sides, Kind::Account, seed)?;
    }

    #[test]
    fn machines_keep_their_username_and_nobody_leaves_his_frame_in_silence(
        sides in pair(Kind::Machines), seed in any::<u64>(),
    ) {
        checked(&sides, Kind::Machines, seed)?;
        let (steps, _) = ordered(&Cluster::of(&sides.0.state).state(), &sides.1.state, &sides.1.entries);
        for text in steps.iter().filter_map(mapped_by) {
            let entry = text.split("- rolearn").find(|entry| entry.contains("role/admin"));
            prop_assert!(entry.is_none_or(|entry| entry.contains("system:node:{{EC2PrivateDNSName}}")), "{text}");
        }
    }

    #[test]
    fn nobody_leaves_his_frame_unless_a_controller_is_late(sides in pair(Kind::Aggregated), seed in any::<u64>()) {
        checked(&sides, Kind::Aggregated, seed)?;
    }
}
