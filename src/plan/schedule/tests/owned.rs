//! Builds plan scenarios with ownership: objects and entries of this policy, of another policy and of none, and the
//! state that the plan must lead to.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{POLICY, auth_of, run_controller, section_of};
use crate::diagnostic::Span;
use crate::names::ObjectKey;
use crate::policy::expand::{Desired, DesiredEntry, DesiredItem, DesiredRole};
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::{Entry, Section};
use crate::state::config_map::{entry_key, principal_text};
use crate::state::entry_marks::{EntryMarks, content_hash, entry_id};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{ENTRIES_ANNOTATION, binding_digest, content_labels, mark_owned, role_digest};

/// The objects and aws-auth entries of one side.
#[derive(Debug, Clone, Default)]
pub(super) struct ScenarioSide {
    pub(super) roles: BTreeMap<ObjectKey, Role>,
    pub(super) bindings: BTreeMap<ObjectKey, Binding>,
    pub(super) entries: Vec<Entry>,
    pub(super) access_entries: Vec<AccessEntry>,
}

/// The owner of an object or entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestOwner {
    ThisPolicy,
    Unowned,
    OtherPolicy,
}

const OTHER: &str = "other";

/// The live state, the desired objects, and the state after the plan.
#[derive(Debug, Clone)]
pub(super) struct PlanScenario {
    pub(super) live: State,
    pub(super) desired: Desired,
    pub(super) end: State,
}

fn desired_item<T>(value: T) -> DesiredItem<T> {
    DesiredItem { value, span: Span::new(0, &(0..0)) }
}

/// Returns a scenario from the live side `before` to the desired side `after`. Objects and entries that this policy
/// does not own stay.
pub(super) fn scenario(
    mut before: ScenarioSide,
    after: ScenarioSide,
    mut owner: impl FnMut() -> TestOwner,
) -> PlanScenario {
    let mut desired = Desired::default();
    let auth_mode = ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap);
    let mut live = State { auth_mode: auth_mode.clone(), ..State::default() };
    let mut end = State { auth_mode, ..State::default() };
    for (state, entries) in [(&mut live, before.access_entries), (&mut end, after.access_entries)] {
        state.access_entries.status = AccessEntriesStatus::Known;
        for entry in entries {
            state.insert_access_entry(entry);
        }
    }
    let mut mark = |key: &ObjectKey, meta: &mut ObjectMeta, labels: &Labels, digest: String| {
        let owner = owner();
        match owner {
            TestOwner::ThisPolicy => mark_owned(key, meta, POLICY, labels, digest),
            TestOwner::OtherPolicy => mark_owned(key, meta, OTHER, labels, digest),
            TestOwner::Unowned => {}
        }
        owner
    };
    let mut state = State { roles: before.roles, ..State::default() };
    run_controller(&mut state);
    before.roles = state.roles;
    let mut desired_objects = after.roles;
    // Rules that were added to an aggregated role by hand stay until the controller finds others.
    for (key, role) in desired_objects.iter_mut().filter(|(_, role)| role.aggregation.is_some()) {
        let manual = before.roles.get(key).filter(|before| before.meta.has_manual_rules());
        role.rules = manual.map(|before| before.rules.clone()).unwrap_or_default();
        role.meta.rules_manager = manual.map(|before| before.meta.rules_manager).unwrap_or_default();
    }
    for (key, mut role) in before.roles {
        let labels = content_labels(&role.meta);
        let digest = role_digest(&role, &labels);
        match mark(&key, &mut role.meta, &labels, digest) {
            TestOwner::ThisPolicy => {}
            TestOwner::Unowned if desired_objects.contains_key(&key) => {}
            TestOwner::Unowned | TestOwner::OtherPolicy => {
                desired_objects.remove(&key);
                end.roles.insert(key.clone(), role.clone());
            }
        }
        live.roles.insert(key, role);
    }
    for (key, role) in desired_objects {
        let labels = content_labels(&role.meta);
        let rules = if role.aggregation.is_some() { Vec::new() } else { role.rules.clone() };
        let unmarked = Role { meta: ObjectMeta::default(), rules, aggregation: role.aggregation.clone() };
        desired.roles.insert(key.clone(), desired_item(DesiredRole { role: unmarked, labels }));
        end.roles.insert(key, role);
    }
    let mut desired_objects = after.bindings;
    for (key, mut binding) in before.bindings {
        let digest = binding_digest(&binding);
        match mark(&key, &mut binding.meta, &Labels::new(), digest) {
            TestOwner::ThisPolicy => {}
            TestOwner::Unowned if desired_objects.contains_key(&key) => {}
            TestOwner::Unowned | TestOwner::OtherPolicy => {
                desired_objects.remove(&key);
                end.bindings.insert(key.clone(), binding.clone());
            }
        }
        live.bindings.insert(key, binding);
    }
    for (key, binding) in desired_objects {
        desired.bindings.insert(key.clone(), desired_item(binding.clone()));
        end.bindings.insert(key, binding);
    }
    entries(&mut live, &mut end, &mut desired, &before.entries, after.entries, &mut owner);
    for state in [&mut live, &mut end] {
        run_controller(state);
    }
    PlanScenario { live, desired, end }
}

fn entries(
    live: &mut State,
    end: &mut State,
    desired: &mut Desired,
    before: &[Entry],
    mut after: Vec<Entry>,
    owner: &mut impl FnMut() -> TestOwner,
) {
    let mut owners: BTreeMap<(Section, String), TestOwner> = BTreeMap::new();
    let mut hashes: BTreeMap<&str, BTreeMap<[u8; 8], [u8; 4]>> = BTreeMap::new();
    let id_of = |entry: &Entry| (section_of(entry), entry_key(entry));
    for entry in before {
        let owner = *owners.entry(id_of(entry)).or_insert_with(&mut *owner);
        let policy = match owner {
            TestOwner::ThisPolicy => POLICY,
            TestOwner::OtherPolicy => OTHER,
            TestOwner::Unowned => continue,
        };
        let (section, key) = id_of(entry);
        hashes.entry(policy).or_default().insert(entry_id(section, &key), content_hash(&entry.username, &entry.groups));
    }
    let other_policy_keys: BTreeSet<&String> =
        owners.iter().filter(|(_, owner)| **owner == TestOwner::OtherPolicy).map(|((_, key), _)| key).collect();
    let mut desired_keys = BTreeSet::new();
    after.retain(|entry| !other_policy_keys.contains(&entry_key(entry)) && desired_keys.insert(entry_key(entry)));
    let stays =
        |entry: &&Entry| owners[&id_of(entry)] != TestOwner::ThisPolicy && !desired_keys.contains(&entry_key(entry));
    let final_entries: Vec<Entry> = before.iter().filter(stays).chain(&after).cloned().collect();
    let mut marks = EntryMarks::default();
    for (policy, hashes) in hashes {
        marks.set_owned_entries(policy, hashes);
    }
    let mut auth = auth_of(before);
    auth.meta.annotations.extend(marks.to_annotation().map(|text| (ENTRIES_ANNOTATION.to_owned(), text)));
    live.aws_auth = Some(auth);
    end.aws_auth = Some(auth_of(&final_entries));
    desired.entries.extend(after.into_iter().map(|entry| {
        desired_item(DesiredEntry {
            section: section_of(&entry),
            principal: principal_text(&entry),
            username: entry.username,
            groups: entry.groups,
            original_arn: None,
        })
    }));
}
