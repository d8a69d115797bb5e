//! How much a plan takes away, counted in the states on both of its sides.

use std::collections::BTreeMap;

use super::allow_flag::AllowFlag;
use super::context::GuardContext;
use super::risk::{GuardKind, Risk};
use crate::policy::MaxRemovals;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::entry_key;
use crate::state::entry_marks::entry_id;
use crate::state::owner::{Owner, object_owner};

pub(super) fn check_removals(scene: &GuardContext<'_, '_>) -> Option<Risk> {
    let (limit, place) = scene.plan.limits.max_removals()?;
    let RemovalCount { removed: gone, total: of } = count_removals(scene);
    let (is_too_much, said) = match limit {
        MaxRemovals::Count(most) => (gone > most as usize, format!("{most} may go")),
        MaxRemovals::Percent(most) => {
            (gone * 100 > of * most as usize, format!("{most}% may go of the {of} that are in its hand"))
        }
    };
    is_too_much.then(|| {
        let what = if gone == 1 { "1 entry or object".to_owned() } else { format!("{gone} entries and objects") };
        Risk::new(GuardKind::MaxRemovals, format!("the plan removes {what}, and {said}"))
            .with_help(format!("{place} sets the limit"))
            .with_allow_flag(AllowFlag::Removals(gone))
    })
}

#[derive(Default)]
struct RemovalCount {
    removed: usize,
    /// What the policy owns before the plan, and what the plan removes besides.
    total: usize,
}

impl RemovalCount {
    fn add(&mut self, there: usize, gone: usize, owned: usize) {
        self.removed += gone;
        self.total += owned.min(there).max(gone);
    }
}

fn count_removals(scene: &GuardContext<'_, '_>) -> RemovalCount {
    let (live, after, policy) = (scene.live, scene.after, scene.plan.policy.as_str());
    let mut count = RemovalCount::default();
    for (key, meta) in live.rbac_objects() {
        let goes = after.meta(key).is_none_or(|now| now.deleting && !meta.deleting);
        count.add(1, usize::from(goes), usize::from(object_owner(meta, policy) == Owner::ThisPolicy));
    }
    let marks = live.entry_marks();
    let owned = marks.owned_by(policy);
    let left = count_entries(after);
    for ((section, key), there) in count_entries(live) {
        let is_ours = owned.contains_key(&entry_id(section, &key));
        let left = left.get(&(section, key)).copied().unwrap_or_default();
        count.add(there, there.saturating_sub(left), usize::from(is_ours));
    }
    count
}

/// How many entries each principal has in each section.
fn count_entries(state: &State) -> BTreeMap<(Section, String), usize> {
    let mut out = BTreeMap::new();
    for section in Section::ALL {
        let reading = state.aws_auth.as_ref().and_then(|auth| auth.parse_section(section).ok());
        for found in reading.into_iter().flat_map(|reading| reading.entries) {
            *out.entry((section, entry_key(&found.entry))).or_default() += 1;
        }
    }
    out
}
