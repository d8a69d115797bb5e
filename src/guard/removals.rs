//! How much a plan takes away, counted in the states on both of its sides.

use std::collections::BTreeMap;

use super::allowance::Allowance;
use super::danger::{Danger, Guard};
use super::scene::Scene;
use crate::policy::MaxRemovals;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::entry_marks::id;
use crate::state::mapping::entry_key;
use crate::state::owner::{Owner, owner};

pub(super) fn danger(scene: &Scene<'_, '_>) -> Option<Danger> {
    let (limit, place) = scene.plan.limits.max_removals()?;
    let Count { gone, of } = count(scene);
    let (is_too_much, said) = match limit {
        MaxRemovals::Count(most) => (gone > most as usize, format!("{most} may go")),
        MaxRemovals::Percent(most) => {
            (gone * 100 > of * most as usize, format!("{most}% may go of the {of} that are in its hand"))
        }
    };
    is_too_much.then(|| {
        let what = if gone == 1 { "1 entry or object".to_owned() } else { format!("{gone} entries and objects") };
        Danger::new(Guard::MaxRemovals, format!("the plan removes {what}, and {said}"))
            .hint(format!("{place} sets the limit"))
            .unless(Allowance::Removals(gone))
    })
}

#[derive(Default)]
struct Count {
    gone: usize,
    /// What the policy owns before the plan, and what the plan removes besides.
    of: usize,
}

impl Count {
    fn add(&mut self, there: usize, gone: usize, owned: usize) {
        self.gone += gone;
        self.of += owned.min(there).max(gone);
    }
}

fn count(scene: &Scene<'_, '_>) -> Count {
    let (live, after, policy) = (scene.live, scene.after, scene.plan.policy.as_str());
    let mut count = Count::default();
    for (key, meta) in live.rbac() {
        let goes = after.meta(key).is_none_or(|now| now.deleting && !meta.deleting);
        count.add(1, usize::from(goes), usize::from(owner(meta, policy) == Owner::Ours));
    }
    let marks = live.entry_marks();
    let owned = marks.owned_by(policy);
    let left = entries(after);
    for ((section, key), there) in entries(live) {
        let is_ours = owned.contains_key(&id(section, &key));
        let left = left.get(&(section, key)).copied().unwrap_or_default();
        count.add(there, there.saturating_sub(left), usize::from(is_ours));
    }
    count
}

/// How many entries each principal has in each section.
fn entries(state: &State) -> BTreeMap<(Section, String), usize> {
    let mut out = BTreeMap::new();
    for section in Section::ALL {
        let reading = state.aws_auth.as_ref().and_then(|auth| auth.reading(section).ok());
        for found in reading.into_iter().flat_map(|reading| reading.entries) {
            *out.entry((section, entry_key(&found.entry))).or_default() += 1;
        }
    }
    out
}
