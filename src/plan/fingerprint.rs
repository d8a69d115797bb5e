//! What a plan depends on besides the objects that it writes: the access changes that it causes, and the namespaces
//! that its patterns and label selectors match.
//!
//! Roles, bindings and aws-auth entries that the plan does not write also decide which access it grants. If they have
//! changed so that the plan would now cause other access changes, it is not the plan that was reviewed. A change that
//! does not affect its result does not make it stale.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::Step;
use super::access_change::{AccessChange, AccessDiff};
use crate::names::{ObjectKind, WildcardPattern};
use crate::policy::{NamespaceSelector, Policy, applies_to_cluster};
use crate::state::State;
use crate::state::object_meta::Labels;

/// A namespace selector of the policy, and the namespaces that it matched when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamespaceSelection {
    pub(crate) selector: SavedNamespaceSelector,
    pub(crate) namespaces: BTreeSet<String>,
}

/// A pattern or label selector. A namespace given by name is not recorded, because it cannot match other namespaces.
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
    /// Returns the selectors of the roles and bindings that the steps write, each once.
    pub(super) fn for_steps(policy: &Policy, cluster: Option<&str>, steps: &[Step], live: &State) -> Vec<Self> {
        let written = |kind: ObjectKind| -> BTreeSet<&str> {
            steps.iter().filter(|step| step.object.kind() == kind).map(|step| step.object.name()).collect()
        };
        let (roles, bindings) = (written(ObjectKind::Role), written(ObjectKind::RoleBinding));
        let role_selectors = policy
            .roles
            .iter()
            .filter(|(name, role)| {
                roles.contains(name.as_str()) && applies_to_cluster(role.clusters.as_deref(), cluster)
            })
            .flat_map(|(_, role)| &role.namespaces);
        let binding_selectors = policy
            .bindings
            .iter()
            .filter(|(name, binding)| {
                bindings.contains(name.as_str()) && applies_to_cluster(binding.clusters.as_deref(), cluster)
            })
            .flat_map(|(_, binding)| binding.namespaces.iter().flatten());
        let selectors: BTreeSet<SavedNamespaceSelector> = role_selectors
            .chain(binding_selectors)
            .filter_map(|selector| SavedNamespaceSelector::from_policy(&selector.value))
            .collect();
        selectors.into_iter().map(|by| Self { namespaces: by.select_namespaces(live), selector: by }).collect()
    }

    /// Describes how the matched namespaces differ from those of the plan, as a sentence without its end: the caller
    /// appends `since the plan was made`. `None` if they are the same.
    pub(super) fn describe_change(&self, live: &State) -> Option<String> {
        let now = self.selector.select_namespaces(live);
        let added = now.difference(&self.namespaces).map(|name| format!("+ {name}"));
        let removed = self.namespaces.difference(&now).map(|name| format!("- {name}"));
        let differences: Vec<String> = added.chain(removed).collect();
        (!differences.is_empty()).then(|| {
            let selector = match &self.selector {
                SavedNamespaceSelector::Glob(glob) => format!("pattern `{glob}`"),
                SavedNamespaceSelector::MatchLabels(labels) => {
                    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    format!("label selector `{}`", labels.join(","))
                }
            };
            format!("the namespaces that match {selector} have changed ({})", differences.join(", "))
        })
    }
}

/// For each subject, a hash of the access that it gains and loses, without what grants it. Two plans with equal
/// fingerprints cause the same access changes.
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

    /// Returns the subjects whose access changes differ between the two.
    pub(super) fn differing_subjects<'a>(&'a self, other: &'a AccessFingerprint<'_>) -> impl Iterator<Item = &'a str> {
        let subjects: BTreeSet<&str> = self.0.keys().chain(other.0.keys()).copied().collect();
        subjects.into_iter().filter(|subject| self.0.get(subject) != other.0.get(subject))
    }
}

/// Returns a hash of what a subject gains and loses. Each text is hashed with its length, so that two lists with the
/// same characters do not have the same hash.
fn hash_access_diff(access: &AccessDiff) -> String {
    let AccessDiff { gains, losses, escalations } = access;
    let texts = |allowed: &[super::AllowedRequests]| allowed.iter().map(|set| set.summary.clone()).collect::<Vec<_>>();
    let paths = escalations.iter().map(|path| path.path.clone()).collect();
    let mut hash = Sha256::new();
    for list in [texts(gains), texts(losses), paths] {
        hash.update((list.len() as u64).to_be_bytes());
        for text in list {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
