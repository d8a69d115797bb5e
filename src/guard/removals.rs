//! Guards the number of aws-auth entries and objects that a plan removes, counted in the states before and after it.

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

pub(super) fn check_removals(context: &GuardContext<'_, '_>) -> Option<Risk> {
    let (limit, place) = context.plan.limits.max_removals()?;
    let RemovalCount { removed, total } = count_removals(context);
    let (is_exceeded, limit_text) = match limit {
        MaxRemovals::Count(maximum) => (removed > maximum as usize, limit.to_string()),
        MaxRemovals::Percent(percent) => (removed * 100 > total * percent as usize, format!("{limit} of {total}")),
    };
    is_exceeded.then(|| {
        let noun = if removed == 1 { "entry or object" } else { "entries and objects" };
        let message = format!("this plan removes {removed} {noun}, more than max-removals allows ({limit_text})");
        Risk::new(GuardKind::MaxRemovals, message)
            .with_note(format!("the limit is set at {place}"))
            .with_allow_flag(AllowFlag::Removals(removed))
    })
}

#[derive(Default)]
struct RemovalCount {
    removed: usize,
    /// What the policy owns before the plan, and what the plan removes in addition.
    total: usize,
}

impl RemovalCount {
    fn add(&mut self, existing: usize, removed: usize, owned: usize) {
        self.removed += removed;
        self.total += owned.min(existing).max(removed);
    }
}

fn count_removals(context: &GuardContext<'_, '_>) -> RemovalCount {
    let (live, after, policy) = (context.live, context.after, context.plan.policy.as_str());
    let mut count = RemovalCount::default();
    for (key, meta) in live.rbac_objects() {
        let is_removed = after.meta(key).is_none_or(|now| now.deleting && !meta.deleting);
        count.add(1, usize::from(is_removed), usize::from(object_owner(meta, policy) == Owner::ThisPolicy));
    }
    let marks = live.entry_marks();
    let owned = marks.owned_by(policy);
    let remaining_entries = count_entries(after);
    for ((section, key), existing) in count_entries(live) {
        let is_owned = owned.contains_key(&entry_id(section, &key));
        let remaining = remaining_entries.get(&(section, key)).copied().unwrap_or_default();
        count.add(existing, existing.saturating_sub(remaining), usize::from(is_owned));
    }
    count
}

/// Counts the entries of each principal in each section.
fn count_entries(state: &State) -> BTreeMap<(Section, String), usize> {
    let mut out = BTreeMap::new();
    for section in Section::ALL {
        let parsed = state.aws_auth.as_ref().and_then(|auth| auth.parse_section(section).ok());
        for parsed_entry in parsed.into_iter().flat_map(|parsed| parsed.entries) {
            *out.entry((section, entry_key(&parsed_entry.entry))).or_default() += 1;
        }
    }
    out
}
