//! What a plan was made on beside the objects that it writes: whose access it changes how, and which namespaces its
//! patterns and labels meant.
//!
//! Roles, bindings and entries that others write decide with it what a plan lets somebody do. Where they have moved so
//! that it would do something else, it is not the plan that was looked at; where it does the same, nothing has moved.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use super::Step;
use super::access_change::{AccessChange, AccessDiff};
use crate::names::{ObjectKind, WildcardPattern};
use crate::policy::{NamespaceSelector, Policy, applies_to_cluster};
use crate::state::State;
use crate::state::object_meta::Labels;

/// Namespaces told in the words of the policy, and those that were meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamespaceSelection {
    pub(crate) selector: SavedNamespaceSelector,
    pub(crate) namespaces: BTreeSet<String>,
}

/// The words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SavedNamespaceSelector {
    Glob(String),
    MatchLabels(Labels),
}

impl SavedNamespaceSelector {
    fn from_policy(selector: &NamespaceSelector) -> Option<Self> {
        match selector {
            NamespaceSelector::Name(_) => None,
            NamespaceSelector::Glob(glob) => Some(Self::Glob(glob.as_str().to_owned())),
            NamespaceSelector::Labels(labels) => Some(Self::MatchLabels(labels.clone())),
        }
    }

    fn select_namespaces(&self, live: &State) -> BTreeSet<String> {
        let selector = match self {
            Self::Glob(glob) => NamespaceSelector::Glob(WildcardPattern::new(glob)),
            Self::MatchLabels(labels) => NamespaceSelector::Labels(labels.clone()),
        };
        selector.select(&live.namespaces).into_iter().map(str::to_owned).collect()
    }
}

impl NamespaceSelection {
    /// What the steps' roles and bindings meant, each selection once.
    pub(super) fn for_steps(policy: &Policy, cluster: Option<&str>, steps: &[Step], live: &State) -> Vec<Self> {
        let written = |kind: ObjectKind| -> BTreeSet<&str> {
            steps.iter().filter(|step| step.object.kind() == kind).map(|step| step.object.name()).collect()
        };
        let (roles, bindings) = (written(ObjectKind::Role), written(ObjectKind::RoleBinding));
        let of_roles = policy
            .roles
            .iter()
            .filter(|(name, role)| {
                roles.contains(name.as_str()) && applies_to_cluster(role.clusters.as_deref(), cluster)
            })
            .flat_map(|(_, role)| &role.namespaces);
        let of_bindings = policy
            .bindings
            .iter()
            .filter(|(name, one)| {
                bindings.contains(name.as_str()) && applies_to_cluster(one.clusters.as_deref(), cluster)
            })
            .flat_map(|(_, one)| one.namespaces.iter().flatten());
        let selections: BTreeSet<SavedNamespaceSelector> = of_roles
            .chain(of_bindings)
            .filter_map(|selector| SavedNamespaceSelector::from_policy(&selector.value))
            .collect();
        selections.into_iter().map(|by| Self { namespaces: by.select_namespaces(live), selector: by }).collect()
    }

    /// How the words mean other namespaces now, in words.
    pub(super) fn describe_change(&self, live: &State) -> Option<String> {
        let now = self.selector.select_namespaces(live);
        let told = |sign: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
            one.difference(other).map(|name| format!("{sign} {name}")).collect()
        };
        let others = [told("+", &now, &self.namespaces), told("-", &self.namespaces, &now)].concat();
        (!others.is_empty()).then(|| {
            let by = match &self.selector {
                SavedNamespaceSelector::Glob(glob) => format!("the names `{glob}`"),
                SavedNamespaceSelector::MatchLabels(labels) => {
                    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    format!("the labels {}", labels.join(", "))
                }
            };
            format!("{by} now mean other namespaces: {}", others.join(", "))
        })
    }
}

/// What changes for whom, without what gives it: two of these are equal where everybody gains and loses the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AccessFingerprint<'p>(BTreeMap<&'p str, String>);

impl<'p> AccessFingerprint<'p> {
    pub(super) fn from_changes(changes: &'p [AccessChange]) -> Self {
        let mut out = BTreeMap::new();
        for change in changes {
            let digest = hash_access_diff(&change.diff);
            out.extend(change.subjects.iter().map(|subject| (subject.subject.as_str(), digest.clone())));
        }
        Self(out)
    }

    pub(super) fn into_fingerprints(self) -> BTreeMap<&'p str, String> {
        self.0
    }

    /// Those for whom another is not the same.
    pub(super) fn differing_subjects<'a>(&'a self, other: &'a AccessFingerprint<'_>) -> impl Iterator<Item = &'a str> {
        let all: BTreeSet<&str> = self.0.keys().chain(other.0.keys()).copied().collect();
        all.into_iter().filter(|who| self.0.get(who) != other.0.get(who))
    }
}

/// A hash of what a subject gains and loses. Each text is hashed with its length, so that two lists with the same
/// characters do not have the same hash.
fn hash_access_diff(access: &AccessDiff) -> String {
    let AccessDiff { gains, losses: loses, escalations: ways } = access;
    let what = |all: &'_ [super::AllowedRequests]| all.iter().map(|one| one.summary.clone()).collect::<Vec<_>>();
    let ways = ways.iter().map(|way| way.path.clone()).collect();
    let mut hash = Sha256::new();
    for list in [what(gains), what(loses), ways] {
        hash.update((list.len() as u64).to_be_bytes());
        for text in list {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
