//! Guards the number of aws-auth entries and objects that a plan removes, counted in the states before and after it.
//!
//! Entries that can never match, such as an ARN with a wildcard, grant nothing and do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::allow_flag::AllowFlag;
use super::context::GuardContext;
use super::risk::{GuardKind, Risk};
use crate::access::{AccessView, EntryPlace, EntryStatus};
use crate::policy::MaxRemovals;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::entry_key;
use crate::state::entry_marks::entry_id;
use crate::state::owner::{Owner, object_owner};

/// How many removals a plan can have whatever the policy owns, if the policy sets no limit. Above it, the limit is half of
/// what the policy owns.
const DEFAULT_MINIMUM: usize = 10;

pub(super) fn check_removals(context: &GuardContext<'_, '_>) -> Option<Risk> {
    let RemovalCount { removed, total } = count_removals(context);
    let noun = if removed == 1 { "entry or object" } else { "entries and objects" };
    let Some((limit, place)) = context.plan.limits.max_removals() else {
        let maximum = DEFAULT_MINIMUM.max(total / 2);
        return (removed > maximum).then(|| {
            let message = format!("this plan removes {removed} {noun}, more than the default limit ({maximum})");
            Risk::new(GuardKind::MaxRemovals, message)
                .with_because(format!(
                    "without `max-removals`, a plan removes at most half of what the policy owns ({total}), or \
                     {DEFAULT_MINIMUM}"
                ))
                .with_help("if the removals are intended, set `max-removals` in `[guard]` of the policy")
                .with_allow_flag(AllowFlag::Removals(removed))
        });
    };
    let (is_exceeded, limit_text) = match limit {
        MaxRemovals::Count(maximum) => (removed > maximum as usize, limit.to_string()),
        MaxRemovals::Percent(percent) => (removed * 100 > total * percent as usize, format!("{limit} of {total}")),
    };
    is_exceeded.then(|| {
        let message = format!("this plan removes {removed} {noun}, more than max-removals allows ({limit_text})");
        Risk::new(GuardKind::MaxRemovals, message)
            .with_because(format!("the limit is set at {place}"))
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
        count.add(1, usize::from(is_removed), usize::from(object_owner(key, meta, policy) == Owner::ThisPolicy));
    }
    for (key, entry) in live.access_entries.iter() {
        let is_removed = after.access_entries.get(key).is_none();
        let is_owned = object_owner(key, &entry.meta, policy) == Owner::ThisPolicy;
        count.add(1, usize::from(is_removed), usize::from(is_owned));
    }
    let marks = live.entry_marks();
    let owned = marks.owned_by(policy);
    let remaining_entries = count_entries(after, context.after_access);
    for ((section, key), existing) in count_entries(live, context.live_access) {
        let is_owned = owned.contains_key(&entry_id(section, &key));
        let remaining = remaining_entries.get(&(section, key)).copied().unwrap_or_default();
        count.add(existing, existing.saturating_sub(remaining), usize::from(is_owned));
    }
    count
}

/// Counts the entries of each principal in each section that can match a principal.
fn count_entries(state: &State, access: &AccessView<'_>) -> BTreeMap<(Section, String), usize> {
    let unmatchable: BTreeSet<(Section, usize)> = access
        .mapping
        .statuses()
        .iter()
        .filter(|(_, status)| matches!(status, EntryStatus::Unmatchable(_)))
        .filter_map(|(entry, _)| match entry.place {
            EntryPlace::AwsAuth { section, index, .. } => Some((section, index)),
            EntryPlace::AccessEntry => None,
        })
        .collect();
    let mut out = BTreeMap::new();
    for section in Section::ALL {
        let parsed = state.aws_auth.as_ref().and_then(|auth| auth.parse_section(section).ok());
        for (index, parsed_entry) in parsed.into_iter().flat_map(|parsed| parsed.entries).enumerate() {
            if !unmatchable.contains(&(section, index)) {
                *out.entry((section, entry_key(&parsed_entry.entry))).or_default() += 1;
            }
        }
    }
    out
}
