//! What the controller of aggregated ClusterRoles fills in, kept while roles come, change and go.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::forms::sorted;
use super::world::{Old, OrderWorld};
use crate::names::ObjectKind;

impl OrderWorld<'_> {
    /// Whether there is any aggregated role.
    pub(super) fn gathers(&self) -> bool {
        !self.gathering.is_empty()
    }

    /// Which roles an aggregated one takes rules from.
    pub(super) fn select(&mut self, ix: usize) {
        let Some(selectors) = self.roles.get(ix).and_then(|slot| slot.form.as_ref()).and_then(|form| form.aggregation)
        else {
            return;
        };
        let selected = self.roles.iter().enumerate().filter(|(other, slot)| {
            *other != ix
                && slot.key.kind() == ObjectKind::ClusterRole
                && slot.form.as_ref().is_some_and(|form| selectors.iter().any(|one| one.matches(&form.labels)))
        });
        let selected = selected.map(|(other, _)| other).collect();
        self.gathering.insert(ix, selected);
    }

    pub(super) fn select_one(&mut self, ix: usize) {
        let form = self.roles.get(ix).filter(|slot| slot.key.kind() == ObjectKind::ClusterRole);
        let labels = form.and_then(|slot| slot.form.as_ref()).map(|form| Rc::clone(&form.labels));
        for (gathering, selected) in &mut self.gathering {
            let selectors = self.roles.get(*gathering).and_then(|slot| slot.form.as_ref()?.aggregation);
            let takes = labels.as_ref().is_some_and(|labels| {
                *gathering != ix && selectors.is_some_and(|list| list.iter().any(|one| one.matches(labels)))
            });
            if takes {
                selected.insert(ix);
            } else {
                selected.remove(&ix);
            }
        }
    }

    /// Runs the controller of aggregated roles until nothing changes; answers which gave something else before.
    pub(super) fn gather_all(&mut self) -> Vec<(usize, Rc<[usize]>)> {
        let aggregated: Vec<usize> = self.gathering.keys().copied().collect();
        let before: Vec<(usize, Rc<[usize]>)> =
            aggregated.iter().filter_map(|ix| Some((*ix, Rc::clone(&self.roles.get(*ix)?.gives)))).collect();
        let mut now: BTreeMap<usize, BTreeSet<usize>> = aggregated.iter().map(|ix| (*ix, BTreeSet::new())).collect();
        loop {
            let mut moved = false;
            for ix in &aggregated {
                let mut all = BTreeSet::new();
                for from in self.gathering.get(ix).into_iter().flatten() {
                    match now.get(from) {
                        Some(gathered) => all.extend(gathered.iter().copied()),
                        None => {
                            all.extend(self.roles.get(*from).into_iter().flat_map(|slot| slot.gives.iter().copied()));
                        }
                    }
                }
                moved |= now.insert(*ix, all.clone()).is_none_or(|old| old != all);
            }
            if !moved {
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
                self.journal.push(Old::Gathered(ix, Rc::clone(&old), Rc::clone(&slot.stale)));
                slot.gives = Rc::from(rules);
                slot.stale = Rc::from(stale);
            }
            changed.push((ix, old));
        }
        changed
    }

    pub(super) fn is_selected(&self, ix: usize) -> bool {
        self.gathering.contains_key(&ix) || self.gathering.values().any(|selected| selected.contains(&ix))
    }

    /// Roles whose rules hang on a role: itself, and all that gather from it.
    pub(super) fn dependents(&self, role: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([role]);
        loop {
            let more: Vec<usize> = self
                .gathering
                .iter()
                .filter(|(ix, selected)| !all.contains(ix) && selected.iter().any(|from| all.contains(from)))
                .map(|(ix, _)| *ix)
                .collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }
}
