//! The moments that no order avoids: what must be written although somebody leaves his frame, and for whom.
//!
//! Where only the delay of a controller speaks against a write, that one comes first.

use std::collections::BTreeSet;

use super::items::{Item, Kind};
use super::search::{ASKED, Search, What};
use crate::access::Region;
use crate::plan::awaited::{Passing, Window};
use crate::plan::entries::splits::Standing;

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
        waiting.sort_by_key(|number| self.items.get(*number).map(Item::phase));
        let mild = waiting.iter().copied().find(|number| self.is_mild(*number));
        let Some(number) = mild.or_else(|| waiting.first().copied()) else {
            return;
        };
        let Some(item) = self.items.get(number).cloned() else {
            return;
        };
        let act = item.next();
        self.flush();
        if let Kind::Mapping = item.kind {
            let standings = vec![Standing::Final; self.standings.len()];
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
            self.record(What::Act(number, act), effect.direction, &touched);
        }
        self.finish(number, act);
        self.flush();
    }

    /// Whether only the delay of a controller speaks against the next write of an item.
    fn is_mild(&mut self, number: usize) -> bool {
        let Some(item) = self.items.get(number).cloned() else {
            return false;
        };
        if let Kind::Mapping = item.kind {
            let standings = vec![Standing::Final; self.standings.len()];
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
        self.classes.get(class).is_none_or(|class| class.breaches(&self.world, false, 1).is_empty())
    }

    fn excuse(&mut self, touched: &BTreeSet<usize>) {
        let out: Vec<usize> = touched
            .iter()
            .copied()
            .filter(|class| self.classes.get(*class).is_some_and(|class| !class.is_in_frame(&self.world)))
            .collect();
        self.excused.extend(out);
        self.unblock();
    }

    pub(super) fn note_windows(&mut self, number: usize) {
        let Some(class) = self.classes.get(number) else {
            return;
        };
        for (fate, extent) in class.breaches(&self.world, true, ASKED) {
            let is_late = fate == Passing::Gains && class.breaches(&self.world, false, 1).is_empty();
            let what = Region { extent, except: Vec::new() }.to_string();
            let because = if is_late {
                "the controller of an aggregated ClusterRole fills in its rules at its own time"
            } else {
                "no order of the writes avoids it"
            };
            let window = Window {
                step: self.log.len(),
                subject: class.who.to_string(),
                fate,
                what,
                because: because.to_owned(),
            };
            let known =
                |one: &Window| (&one.subject, one.fate, &one.what) == (&window.subject, window.fate, &window.what);
            if !self.windows.iter().any(known) {
                self.windows.push(window);
            }
        }
    }
}
