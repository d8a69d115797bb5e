//! The writes of aws-auth: the logins that principals have after each, and whether they are within their bounds.

use std::collections::BTreeSet;

use super::contents::{Direction, OrderEffect, OrderLogin};
use super::identity_classes::{logins, state_with_aws_auth};
use super::search::{Search, SearchWrite};
use crate::access::{AccessView, Aggregation};
use crate::plan::entries::aws_auth_edit::EntryVariant;

impl<'s> Search<'s> {
    /// Returns the logins of all principals with these variants of the entries.
    pub(super) fn logins_with(&mut self, variants: &[EntryVariant]) -> Option<Vec<(usize, Vec<OrderLogin>)>> {
        let all_are = |expected: &EntryVariant| variants.iter().all(|variant| variant == expected);
        let (is_live, is_final) = (all_are(&EntryVariant::Live), all_are(&EntryVariant::Final));
        if is_live || is_final {
            let known_logins = |number: &usize| {
                let class = self.classes.get(*number)?;
                Some((*number, if is_final { class.planned_logins.clone() } else { class.live_logins.clone() }))
            };
            return Some(self.mapped_classes.iter().filter_map(known_logins).collect());
        }
        let state = state_with_aws_auth(Some(self.aws_auth_edit?.aws_auth_with(variants)?));
        let access = AccessView::new(&state, Aggregation::Reconciled);
        let mut all = Vec::with_capacity(self.mapped_classes.len());
        for class in &self.mapped_classes {
            let Some(subject) = self.classes.get(*class).map(|class| &class.who) else {
                continue;
            };
            all.push((*class, logins(&self.model, &access.authenticate(subject))));
        }
        Some(all)
    }

    /// Sets the logins of principals. Returns the previous logins of those that changed.
    pub(super) fn set_logins(&mut self, logins: Vec<(usize, Vec<OrderLogin>)>) -> Vec<(usize, Vec<OrderLogin>)> {
        let mut old = Vec::new();
        for (number, logins) in logins {
            if let Some(class) = self.classes.get_mut(number).filter(|class| class.current_logins != logins) {
                old.push((number, std::mem::replace(&mut class.current_logins, logins)));
            }
        }
        if !old.is_empty() {
            self.index_logins();
        }
        old
    }

    /// Takes a write of aws-auth if all principals stay within their bounds.
    pub(super) fn try_mapping(&mut self, variants: &[EntryVariant], write: SearchWrite<'s>) -> bool {
        let Some(logins) = self.logins_with(variants) else {
            return false;
        };
        let old = self.set_logins(logins);
        let affected: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
        if !self.all_in_bounds(&affected) {
            self.set_logins(old);
            return false;
        }
        self.record_mapping(variants, write, &old);
        true
    }

    /// Records a write of aws-auth that was taken. `old` are the previous logins.
    pub(super) fn record_mapping(
        &mut self,
        variants: &[EntryVariant],
        write: SearchWrite<'s>,
        old: &[(usize, Vec<OrderLogin>)],
    ) {
        let affected: BTreeSet<usize> = old.iter().map(|(number, _)| *number).collect();
        self.variants = variants.to_vec();
        self.end_stage();
        let direction = old.iter().fold(Direction::Neutral, |direction, (number, before)| {
            let now = self.classes.get(*number).map(|class| class.current_logins.as_slice()).unwrap_or_default();
            direction.and(match (before.as_slice(), now) {
                ([before], [now]) if before.is_master == now.is_master => {
                    Direction::between(&before.subjects, &now.subjects)
                }
                _ => Direction::Mixed,
            })
        });
        self.record_write(write, &OrderEffect { direction, ..OrderEffect::default() }, &affected);
        self.end_stage();
    }
}
