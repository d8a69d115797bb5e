//! Simulates the controller that fills in aggregated ClusterRoles.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::access_model::{AccessModel, JournalEntry};
use super::contents::sorted;
use crate::names::ObjectKind;

impl AccessModel<'_> {
    /// Returns whether there is any aggregated role.
    pub(super) fn has_aggregated_roles(&self) -> bool {
        !self.aggregated.is_empty()
    }

    /// Updates the roles that the selectors of an aggregated role match.
    pub(super) fn update_sources(&mut self, ix: usize) {
        let Some(selectors) = self.roles.get(ix).and_then(|slot| slot.form.as_ref()).and_then(|form| form.aggregation)
        else {
            return;
        };
        let selected = self.roles.iter().enumerate().filter(|(other, slot)| {
            *other != ix
                && slot.key.kind() == ObjectKind::ClusterRole
                && slot
                    .form
                    .as_ref()
                    .is_some_and(|form| selectors.iter().any(|selector| selector.matches(&form.labels)))
        });
        let selected = selected.map(|(other, _)| other).collect();
        self.aggregated.insert(ix, selected);
    }

    /// Updates which aggregated roles match a role.
    pub(super) fn update_sources_with(&mut self, ix: usize) {
        let form = self.roles.get(ix).filter(|slot| slot.key.kind() == ObjectKind::ClusterRole);
        let labels = form.and_then(|slot| slot.form.as_ref()).map(|form| Rc::clone(&form.labels));
        for (aggregated, selected) in &mut self.aggregated {
            let selectors = self.roles.get(*aggregated).and_then(|slot| slot.form.as_ref()?.aggregation);
            let is_match = labels.as_ref().is_some_and(|labels| {
                *aggregated != ix && selectors.is_some_and(|list| list.iter().any(|selector| selector.matches(labels)))
            });
            if is_match {
                selected.insert(ix);
            } else {
                selected.remove(&ix);
            }
        }
    }

    /// Runs the controller until nothing changes. Returns the changed roles with the rules that they granted before.
    pub(super) fn reconcile(&mut self) -> Vec<(usize, Rc<[usize]>)> {
        let aggregated: Vec<usize> = self.aggregated.keys().copied().collect();
        let before: Vec<(usize, Rc<[usize]>)> =
            aggregated.iter().filter_map(|ix| Some((*ix, Rc::clone(&self.roles.get(*ix)?.effective)))).collect();
        let mut now: BTreeMap<usize, BTreeSet<usize>> = aggregated.iter().map(|ix| (*ix, BTreeSet::new())).collect();
        loop {
            let mut has_changed = false;
            for ix in &aggregated {
                let mut all = BTreeSet::new();
                for source in self.aggregated.get(ix).into_iter().flatten() {
                    match now.get(source) {
                        Some(rules) => all.extend(rules.iter().copied()),
                        None => {
                            all.extend(
                                self.roles.get(*source).into_iter().flat_map(|slot| slot.effective.iter().copied()),
                            );
                        }
                    }
                }
                has_changed |= now.insert(*ix, all.clone()).is_none_or(|old| old != all);
            }
            if !has_changed {
                break;
            }
        }
        let mut changed = Vec::new();
        for (ix, old) in before {
            let rules: Vec<usize> = now.remove(&ix).unwrap_or_default().into_iter().collect();
            if *old == *rules {
                continue;
            }
            if let Some(slot) = self.roles.get_mut(ix) {
                let stale = sorted(slot.stale.iter().chain(old.iter()).copied().collect());
                self.journal.push(JournalEntry::Reconciled(ix, Rc::clone(&old), Rc::clone(&slot.stale)));
                slot.effective = Rc::from(rules);
                slot.stale = Rc::from(stale);
            }
            changed.push((ix, old));
        }
        changed
    }

    /// Returns whether the role is aggregated, or an aggregated role contains its rules.
    pub(super) fn is_in_aggregation(&self, ix: usize) -> bool {
        self.aggregated.contains_key(&ix) || self.aggregated.values().any(|selected| selected.contains(&ix))
    }

    /// Returns the role itself and all aggregated roles that contain its rules, directly or through others.
    pub(super) fn dependents(&self, role: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([role]);
        loop {
            let more: Vec<usize> = self
                .aggregated
                .iter()
                .filter(|(ix, selected)| !all.contains(ix) && selected.iter().any(|source| all.contains(source)))
                .map(|(ix, _)| *ix)
                .collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }
}
