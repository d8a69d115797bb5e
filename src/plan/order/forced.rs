//! The moments that no order avoids: what must be written although somebody leaves his frame, and for whom.
//!
//! Where only the delay of a controller speaks against a write, that one comes first.

use std::collections::BTreeSet;

use super::items::{OrderItem, OrderItemKind};
use super::search::{ASKED, Search, What};
use crate::access::{RequestSet, RequestSetExcept};
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::plan::probes::{AccessWindow, TransientAccess};

impl Search<'_> {
    /// Makes a write although somebody leaves his frame, and says who.
    pub(super) fn force(&mut self) {
        let mut waiting: Vec<usize> = (0..self.items.len())
            .filter(|number| self.items.get(*number).is_some_and(|item| !item.done && self.is_enabled(item)))
            .collect();
        if waiting.is_empty() {
            waiting =
                (0..self.items.len()).filter(|number| self.items.get(*number).is_some_and(|item| !item.done)).collect();
        }
        waiting.sort_by_key(|number| self.items.get(*number).map(OrderItem::phase));
        let mild = waiting.iter().copied().find(|number| self.is_mild(*number));
        let Some(number) = mild.or_else(|| waiting.first().copied()) else {
            return;
        };
        let Some(item) = self.items.get(number).cloned() else {
            return;
        };
        let act = item.next();
        self.flush();
        if let OrderItemKind::Mapping = item.kind {
            let standings = vec![EntryVariant::Final; self.standings.len()];
            if let Some(logins) = self.logins_at(&standings) {
                let old = self.log_in(logins);
                let touched: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
                self.excuse(&touched);
                self.mapped_so(&standings, What::Act(number, act), &old);
            }
        } else {
            let effect = self.perform(&item, act);
            let touched = self.touched(&effect);
            self.excuse(&touched);
            self.record(What::Act(number, act), &effect, &touched);
        }
        self.finish(number, act);
        self.flush();
    }

    /// Whether only the delay of a controller speaks against the next write of an item.
    fn is_mild(&mut self, number: usize) -> bool {
        let Some(item) = self.items.get(number).cloned() else {
            return false;
        };
        if let OrderItemKind::Mapping = item.kind {
            let standings = vec![EntryVariant::Final; self.standings.len()];
            let Some(logins) = self.logins_at(&standings) else {
                return false;
            };
            let old = self.log_in(logins);
            let mild = old.iter().all(|(number, _)| self.is_settled(*number));
            self.log_in(old);
            return mild;
        }
        let mark = self.world.mark();
        let effect = self.perform(&item, item.next());
        let mild = self.touched(&effect).into_iter().all(|class| self.is_settled(class));
        self.world.undo(mark);
        mild
    }

    fn is_settled(&self, class: usize) -> bool {
        self.breaches(class, false, 1).is_empty()
    }

    fn breaches(&self, class: usize, late: bool, few: usize) -> Vec<(TransientAccess, RequestSet<'_>)> {
        let class = self.classes.get(class);
        let frame = class.and_then(|class| self.frames.get(class.frame));
        class.zip(frame).map(|(class, frame)| frame.breaches(&class.now, &self.world, late, few)).unwrap_or_default()
    }

    fn excuse(&mut self, touched: &BTreeSet<usize>) {
        let late = self.world.gathers();
        let out = touched.iter().copied().filter(|class| !self.breaches(*class, late, 1).is_empty()).collect();
        let out = self.crowd(&out);
        self.excused.extend(out);
        self.unblock();
    }

    pub(super) fn note_windows(&mut self, number: usize) {
        let Some(who) = self.classes.get(number).map(|class| class.who.to_string()) else {
            return;
        };
        let found = self.breaches(number, true, ASKED);
        let is_settled = self.is_settled(number);
        let mut windows = Vec::new();
        for (fate, extent) in found {
            let is_late = fate == TransientAccess::Gained && is_settled;
            let what = RequestSetExcept { set: extent, except: Vec::new() }.to_string();
            let because = if is_late {
                "the controller of an aggregated ClusterRole fills in its rules at its own time"
            } else {
                "no order of the writes avoids it"
            };
            let because = because.to_owned();
            windows.push(AccessWindow {
                step: self.log.len(),
                subject: who.clone(),
                access: fate,
                request: what,
                reason: because,
            });
        }
        for window in windows {
            let known = |one: &AccessWindow| {
                (&one.subject, one.access, &one.request) == (&window.subject, window.access, &window.request)
            };
            if !self.windows.iter().any(known) {
                self.windows.push(window);
            }
        }
    }
}
