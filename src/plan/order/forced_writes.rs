//! Forced writes: writes that bring a subject outside its bounds because no order avoids it. They are recorded as
//! windows.
//!
//! Writes that are only unsafe until the controller of aggregated roles has run are preferred.

use std::collections::BTreeSet;

use super::items::{OrderItem, OrderItemKind};
use super::search::{MAX_PROBES, Search, SearchWrite};
use crate::access::{RequestSet, RequestSetExcept};
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::plan::probes::{AccessWindow, TransientAccess};

impl Search<'_> {
    /// Takes a write that brings a class outside its bounds, and records the class.
    pub(super) fn force_write(&mut self) {
        let mut remaining: Vec<usize> = (0..self.items.len())
            .filter(|number| self.items.get(*number).is_some_and(|item| !item.done && self.is_enabled(item)))
            .collect();
        if remaining.is_empty() {
            remaining =
                (0..self.items.len()).filter(|number| self.items.get(*number).is_some_and(|item| !item.done)).collect();
        }
        remaining.sort_by_key(|number| self.items.get(*number).map(OrderItem::phase));
        let safe_after_reconcile = remaining.iter().copied().find(|number| self.is_safe_after_reconcile(*number));
        let Some(number) = safe_after_reconcile.or_else(|| remaining.first().copied()) else {
            return;
        };
        let Some(item) = self.items.get(number).cloned() else {
            return;
        };
        let item_write = item.next();
        self.end_stage();
        if let OrderItemKind::Mapping = item.kind {
            let variants = vec![EntryVariant::Final; self.variants.len()];
            if let Some(logins) = self.logins_with(&variants) {
                let old = self.set_logins(logins);
                let affected: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
                self.mark_out_of_bounds(&affected);
                self.record_mapping(&variants, SearchWrite::Item(number, item_write), &old);
            }
        } else {
            let effect = self.apply_item(&item, item_write);
            let affected = self.affected(&effect);
            self.mark_out_of_bounds(&affected);
            self.record_write(SearchWrite::Item(number, item_write), &effect, &affected);
        }
        self.mark_done(number, item_write);
        self.end_stage();
    }

    /// Returns whether all classes are within their bounds after the next write of an item and a run of the controller.
    fn is_safe_after_reconcile(&mut self, number: usize) -> bool {
        let Some(item) = self.items.get(number).cloned() else {
            return false;
        };
        if let OrderItemKind::Mapping = item.kind {
            let variants = vec![EntryVariant::Final; self.variants.len()];
            let Some(logins) = self.logins_with(&variants) else {
                return false;
            };
            let old = self.set_logins(logins);
            let safe_after_reconcile = old.iter().all(|(number, _)| self.is_in_bounds_after_reconcile(*number));
            self.set_logins(old);
            return safe_after_reconcile;
        }
        let mark = self.model.mark();
        let effect = self.apply_item(&item, item.next());
        let safe_after_reconcile =
            self.affected(&effect).into_iter().all(|class| self.is_in_bounds_after_reconcile(class));
        self.model.undo(mark);
        safe_after_reconcile
    }

    fn is_in_bounds_after_reconcile(&self, class: usize) -> bool {
        self.violations(class, false, 1).is_empty()
    }

    fn violations(&self, class: usize, stale: bool, max: usize) -> Vec<(TransientAccess, RequestSet<'_>)> {
        let class = self.classes.get(class);
        let bounds = class.and_then(|class| self.bounds.get(class.bounds_index));
        class
            .zip(bounds)
            .map(|(class, bounds)| bounds.violations(&class.current_logins, &self.model, stale, max))
            .unwrap_or_default()
    }

    fn mark_out_of_bounds(&mut self, affected: &BTreeSet<usize>) {
        let stale = self.model.has_aggregated_roles();
        let out = affected.iter().copied().filter(|class| !self.violations(*class, stale, 1).is_empty()).collect();
        let out = self.with_same_logins(&out);
        self.out_of_bounds.extend(out);
        self.unblock();
    }

    pub(super) fn record_windows(&mut self, number: usize) {
        let Some(subject) = self.classes.get(number).map(|class| class.who.to_string()) else {
            return;
        };
        let violations = self.violations(number, true, MAX_PROBES);
        let is_in_bounds_after_reconcile = self.is_in_bounds_after_reconcile(number);
        let mut windows = Vec::new();
        for (fate, requests) in violations {
            let is_controller_delay = fate == TransientAccess::Gained && is_in_bounds_after_reconcile;
            let what = RequestSetExcept { set: requests, except: Vec::new() }.to_string();
            let because = if is_controller_delay {
                "the controller that fills in aggregated ClusterRoles runs later"
            } else {
                "no order of the writes avoids it"
            };
            let because = because.to_owned();
            windows.push(AccessWindow {
                step: self.log.len(),
                subject: subject.clone(),
                access: fate,
                request: what,
                reason: because,
            });
        }
        for window in windows {
            let is_same = |other: &AccessWindow| {
                (&other.subject, other.access, &other.request) == (&window.subject, window.access, &window.request)
            };
            if !self.windows.iter().any(is_same) {
                self.windows.push(window);
            }
        }
    }
}
