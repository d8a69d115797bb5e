//! The writes of aws-auth: whom each makes of the principals, and whether that may be.

use std::collections::BTreeSet;

use super::classes::{logins, mapping_of};
use super::forms::{Direction, OrderEffect, OrderLogin};
use super::search::{Search, What};
use crate::access::{AccessView, Aggregation};
use crate::plan::entries::aws_auth_edit::EntryVariant;

impl<'s> Search<'s> {
    /// The logins of all principals with the entries as they stand.
    pub(super) fn logins_at(&mut self, standings: &[EntryVariant]) -> Option<Vec<(usize, Vec<OrderLogin>)>> {
        let whole = |standing: &EntryVariant| standings.iter().all(|one| one == standing);
        let (first, last) = (whole(&EntryVariant::Live), whole(&EntryVariant::Final));
        if first || last {
            let of = |class: &usize| {
                let class_of = self.classes.get(*class)?;
                Some((*class, if last { class_of.last.clone() } else { class_of.first.clone() }))
            };
            return Some(self.mapped.iter().filter_map(of).collect());
        }
        let state = mapping_of(Some(self.splits?.aws_auth_with(standings)?));
        let access = AccessView::new(&state, Aggregation::Reconciled);
        let mut all = Vec::with_capacity(self.mapped.len());
        for class in &self.mapped {
            let Some(who) = self.classes.get(*class).map(|class| &class.who) else {
                continue;
            };
            all.push((*class, logins(&self.world, &access.authenticate(who))));
        }
        Some(all)
    }

    /// Gives principals the logins; answers those they had.
    pub(super) fn log_in(&mut self, logins: Vec<(usize, Vec<OrderLogin>)>) -> Vec<(usize, Vec<OrderLogin>)> {
        let mut old = Vec::new();
        for (number, logins) in logins {
            if let Some(class) = self.classes.get_mut(number).filter(|class| class.now != logins) {
                old.push((number, std::mem::replace(&mut class.now, logins)));
            }
        }
        if !old.is_empty() {
            self.stand();
        }
        old
    }

    /// Writes aws-auth so, where nobody leaves his frame by it.
    pub(super) fn map(&mut self, standings: &[EntryVariant], what: What<'s>) -> bool {
        let Some(logins) = self.logins_at(standings) else {
            return false;
        };
        let old = self.log_in(logins);
        let touched: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
        if !self.all_in_frame(&touched) {
            self.log_in(old);
            return false;
        }
        self.mapped_so(standings, what, &old);
        true
    }

    pub(super) fn mapped_so(&mut self, standings: &[EntryVariant], what: What<'s>, old: &[(usize, Vec<OrderLogin>)]) {
        let touched: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
        self.standings = standings.to_vec();
        self.flush();
        let direction = old.iter().fold(Direction::Neutral, |direction, (number, was)| {
            let now = self.classes.get(*number).map(|class| class.now.as_slice()).unwrap_or_default();
            direction.and(match (was.as_slice(), now) {
                ([was], [now]) if was.is_master == now.is_master => Direction::between(&was.subjects, &now.subjects),
                _ => Direction::Mixed,
            })
        });
        self.record(what, &OrderEffect { direction, ..OrderEffect::default() }, &touched);
        self.flush();
    }
}
