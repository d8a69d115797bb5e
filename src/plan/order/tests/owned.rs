//! Two sides as a policy meets them: what it owns, what nobody owns, what another policy owns; and where that must end.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{POLICY, auth_of, section_of};
use crate::access::Aggregation;
use crate::access::tests::oracle;
use crate::diagnostic::Span;
use crate::names::ObjectKey;
use crate::policy::expand::{Desired, DesiredEntry, DesiredItem, DesiredRole};
use crate::state::State;
use crate::state::aws_auth::{Entry, Section};
use crate::state::config_map::{entry_key, principal_text};
use crate::state::entry_marks::{EntryMarks, content_hash, entry_id};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{ENTRIES_ANNOTATION, binding_digest, content_labels, mark_owned, role_digest};

/// One side: its objects and the entries of aws-auth.
#[derive(Debug, Clone, Default)]
pub(super) struct ScenarioSide {
    pub(super) roles: BTreeMap<ObjectKey, Role>,
    pub(super) bindings: BTreeMap<ObjectKey, Binding>,
    pub(super) entries: Vec<Entry>,
}

/// Whose something is that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Nobodys,
    Theirs,
}

const OTHER: &str = "other";

/// What is, what a policy wants, and what is when it has it.
#[derive(Debug, Clone)]
pub(super) struct PlanScenario {
    pub(super) live: State,
    pub(super) desired: Desired,
    pub(super) end: State,
}

fn wanted<T>(value: T) -> DesiredItem<T> {
    DesiredItem { value, span: Span::new(0, &(0..0)) }
}

/// From one side to what a policy makes of it that wants the other, in which what others own stays.
pub(super) fn pair_of(one: ScenarioSide, other: ScenarioSide, mut whose: impl FnMut() -> Whose) -> PlanScenario {
    let mut desired = Desired::default();
    let mut live = State::default();
    let mut end = State::default();
    let mut marked = |meta: &mut ObjectMeta, labels: &Labels, digest: String| {
        let whose = whose();
        match whose {
            Whose::Ours => mark_owned(meta, POLICY, labels, digest),
            Whose::Theirs => mark_owned(meta, OTHER, labels, digest),
            Whose::Nobodys => {}
        }
        whose
    };
    let mut others = other.roles;
    for (key, mut role) in one.roles {
        let labels = content_labels(&role.meta);
        let digest = role_digest(&role, &labels);
        match marked(&mut role.meta, &labels, digest) {
            Whose::Ours => {}
            Whose::Nobodys if others.contains_key(&key) => {}
            Whose::Nobodys | Whose::Theirs => {
                others.remove(&key);
                end.roles.insert(key.clone(), role.clone());
            }
        }
        live.roles.insert(key, role);
    }
    for (key, role) in others {
        let labels = content_labels(&role.meta);
        let bare = Role { meta: ObjectMeta::default(), ..role.clone() };
        desired.roles.insert(key.clone(), wanted(DesiredRole { role: bare, labels }));
        end.roles.insert(key, role);
    }
    let mut others = other.bindings;
    for (key, mut binding) in one.bindings {
        let digest = binding_digest(&binding);
        match marked(&mut binding.meta, &Labels::new(), digest) {
            Whose::Ours => {}
            Whose::Nobodys if others.contains_key(&key) => {}
            Whose::Nobodys | Whose::Theirs => {
                others.remove(&key);
                end.bindings.insert(key.clone(), binding.clone());
            }
        }
        live.bindings.insert(key, binding);
    }
    for (key, binding) in others {
        desired.bindings.insert(key.clone(), wanted(binding.clone()));
        end.bindings.insert(key, binding);
    }
    entries(&mut live, &mut end, &mut desired, &one.entries, other.entries, &mut whose);
    for state in [&mut live, &mut end] {
        settle(state);
    }
    PlanScenario { live, desired, end }
}

fn entries(
    live: &mut State,
    end: &mut State,
    desired: &mut Desired,
    one: &[Entry],
    mut other: Vec<Entry>,
    whose: &mut impl FnMut() -> Whose,
) {
    let mut of: BTreeMap<(Section, String), Whose> = BTreeMap::new();
    let mut written: BTreeMap<&str, BTreeMap<[u8; 8], [u8; 4]>> = BTreeMap::new();
    let place = |entry: &Entry| (section_of(entry), entry_key(entry));
    for entry in one {
        let whose = *of.entry(place(entry)).or_insert_with(&mut *whose);
        let policy = match whose {
            Whose::Ours => POLICY,
            Whose::Theirs => OTHER,
            Whose::Nobodys => continue,
        };
        let (section, key) = place(entry);
        written
            .entry(policy)
            .or_default()
            .insert(entry_id(section, &key), content_hash(&entry.username, &entry.groups));
    }
    let theirs: BTreeSet<&String> =
        of.iter().filter(|(_, whose)| **whose == Whose::Theirs).map(|((_, key), _)| key).collect();
    let mut seen = BTreeSet::new();
    other.retain(|entry| !theirs.contains(&entry_key(entry)) && seen.insert(entry_key(entry)));
    let stays = |entry: &&Entry| of[&place(entry)] != Whose::Ours && !seen.contains(&entry_key(entry));
    let last: Vec<Entry> = one.iter().filter(stays).chain(&other).cloned().collect();
    let mut marks = EntryMarks::default();
    for (policy, written) in written {
        marks.set_owned(policy, written);
    }
    let mut auth = auth_of(one);
    auth.meta.annotations.extend(marks.to_annotation().map(|text| (ENTRIES_ANNOTATION.to_owned(), text)));
    live.aws_auth = Some(auth);
    end.aws_auth = Some(auth_of(&last));
    desired.entries.extend(other.into_iter().map(|entry| {
        wanted(DesiredEntry {
            section: section_of(&entry),
            principal: principal_text(&entry),
            username: entry.username,
            groups: entry.groups,
            original_arn: None,
        })
    }));
}

/// As a controller has left it.
fn settle(state: &mut State) {
    let keys: Vec<ObjectKey> =
        state.roles.iter().filter(|(_, role)| role.aggregation.is_some()).map(|(key, _)| key.clone()).collect();
    for key in keys {
        let rules = oracle::rules(state, Aggregation::Reconciled, &key);
        state.roles.get_mut(&key).unwrap().rules = rules;
    }
}
