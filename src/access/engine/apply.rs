//! Changes of the engine, and how they are undone.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{
    AccessEffect, AccessEngine, Direction, EngineMark, JournalEntry, RoleContent, RoleId, RuleGrant, RuleId, ScopeId,
    sorted, unknown_object,
};
use crate::access::aggregation::{AggregatedRole, run_controller};
use crate::access::grant_index::{BindingId, SubjectId};
use crate::diagnostic::InternalError;
use crate::names::ObjectKind;
use crate::state::object::{Binding, Role};

/// The content of a binding.
pub(super) struct StoredBinding {
    subjects: Rc<[SubjectId]>,
    role: Option<RoleId>,
    scopes: Rc<[ScopeId]>,
}

impl StoredBinding {
    /// Returns the subjects that this content grants more to than the other does, and in which scopes.
    fn only_in_this(&self, other: &Self) -> Vec<(SubjectId, Vec<ScopeId>)> {
        let is_same_role = self.role == other.role;
        let scopes_of = |subject: &SubjectId| {
            if is_same_role && other.subjects.binary_search(subject).is_ok() {
                only_in(&self.scopes, &other.scopes)
            } else {
                self.scopes.to_vec()
            }
        };
        let subjects = self.subjects.iter().map(|subject| (*subject, scopes_of(subject)));
        subjects.filter(|(_, scopes)| !scopes.is_empty()).collect()
    }
}

/// A role with the rules that it granted before a change.
type EarlierRules = (RoleId, Rc<[RuleId]>);

/// The number of pairs of rules of one role up to which each is compared.
const MAX_COMPARED_RULES: usize = 4096;

impl<'s> AccessEngine<'s> {
    pub(crate) fn mark(&self) -> EngineMark {
        EngineMark(self.journal.len())
    }

    /// Undoes all changes since the mark.
    ///
    /// # Errors
    /// If the mark belongs to another engine.
    pub(crate) fn undo(&mut self, mark: EngineMark) -> Result<(), InternalError> {
        while self.journal.len() > mark.0 {
            let at = self.journal.len() - 1;
            match self.journal.pop() {
                Some(JournalEntry::Role(id, content)) => {
                    let slot = self.roles.get_mut(id.0).ok_or_else(unknown_object)?;
                    let undone = std::mem::replace(&mut slot.content, content);
                    // After a run of the controller, the role itself is the same.
                    if undone.role.map(std::ptr::from_ref) != slot.content.role.map(std::ptr::from_ref) {
                        self.select_roles(id);
                        self.select_in_others(id);
                    }
                }
                Some(JournalEntry::Binding(id, binding)) => drop(self.store_binding(id, binding)?),
                None => {}
            }
            self.journal.truncate(at);
        }
        Ok(())
    }

    /// Changes many roles and bindings at once: the controller runs after all of them.
    ///
    /// # Errors
    /// If the engine does not know an object.
    pub(crate) fn set_all(
        &mut self,
        roles: impl IntoIterator<Item = (RoleId, Option<&'s Role>)>,
        bindings: impl IntoIterator<Item = (BindingId, Option<&'s Binding>)>,
    ) -> Result<(), InternalError> {
        for (id, role) in roles {
            self.store_role(id, role)?;
            self.select_roles(id);
            self.select_in_others(id);
        }
        self.run_controller()?;
        bindings.into_iter().try_for_each(|(id, binding)| self.store_binding(id, binding).map(drop))
    }

    /// Changes a role and the aggregated roles that contain its rules.
    ///
    /// # Errors
    /// If the engine does not know the role.
    pub(crate) fn set_role(&mut self, id: RoleId, role: Option<&'s Role>) -> Result<AccessEffect, InternalError> {
        let was_in_aggregation = self.is_in_aggregation(id);
        let had_manual_rules = self.has_manual_rules();
        // The effect of a role that is aggregated depends on the other aggregated roles, so all of them are compared.
        let mut related = if was_in_aggregation { self.dependents(id) } else { BTreeSet::new() };
        let old = self.store_role(id, role)?;
        self.select_roles(id);
        self.select_in_others(id);
        let is_in_aggregation = self.is_in_aggregation(id);
        let touches_aggregation = was_in_aggregation || is_in_aggregation;
        let mut changed = BTreeMap::new();
        if touches_aggregation {
            related.extend(self.dependents(id));
            changed.extend(related.iter().map(|role| (*role, self.effective_rules(*role))));
            changed.extend(self.run_controller()?);
        }
        changed.insert(id, old.effective);
        let mut effect = AccessEffect {
            direction: Direction::new(
                is_in_aggregation && !was_in_aggregation,
                was_in_aggregation && !is_in_aggregation,
            ),
            is_order_dependent: touches_aggregation && had_manual_rules,
            ..AccessEffect::default()
        };
        for (role, before) in changed {
            let Some(slot) = self.role_slot(role) else {
                continue;
            };
            let mut gained = only_in(&slot.content.effective, &before);
            if role == id {
                gained.extend(only_in(&only_in(&slot.content.stale, &old.stale), &before));
            }
            let gained: Rc<[RuleId]> = Rc::from(sorted(gained));
            let mut lost = only_in(&before, &slot.content.effective);
            let direction = Direction::new(!gained.is_empty(), !lost.is_empty());
            if direction == Direction::Neutral && !touches_aggregation {
                continue;
            }
            effect.direction = effect.direction.and(direction);
            // What a wider rule of the same role still allows is not lost. The controller can fill in the rules of an
            // aggregated role later.
            if !touches_aggregation && lost.len().saturating_mul(slot.content.effective.len()) <= MAX_COMPARED_RULES {
                lost.retain(|lost| !slot.content.effective.iter().any(|rule| self.rules.covers(*rule, *lost)));
            }
            let lost: Rc<[RuleId]> = Rc::from(lost);
            for slot in self.bindings_of(role).filter_map(|binding| self.binding_slot(binding)) {
                for subject in &*slot.subjects {
                    for scope in &*slot.scopes {
                        effect.gains.entry(*subject).or_default().push((Rc::clone(&gained), *scope));
                        effect.losses.entry(*subject).or_default().push((Rc::clone(&lost), *scope));
                    }
                }
            }
        }
        Ok(effect)
    }

    /// Stores the content of a role. Returns the previous content.
    pub(super) fn store_role(&mut self, id: RoleId, role: Option<&'s Role>) -> Result<RoleContent<'s>, InternalError> {
        let rules: Vec<RuleId> =
            sorted(role.into_iter().flat_map(|role| &role.rules).map(|rule| self.rules.rule_id(rule)).collect());
        let slot = self.roles.get_mut(id.0).ok_or_else(unknown_object)?;
        let old = slot.content.clone();
        let is_aggregated = |role: Option<&Role>| role.is_some_and(|role| role.aggregation.is_some());
        slot.content = match role {
            // The controller continues with the rules that it filled in last, if the write leaves them as they are.
            Some(role)
                if role.aggregation.is_some()
                    && old.role.is_some_and(|old| old.aggregation.is_some() && old.rules == role.rules) =>
            {
                RoleContent { role: Some(role), ..old.clone() }
            }
            Some(role) if role.aggregation.is_some() => {
                let stale = old.stale.iter().chain(&*old.effective).chain(&rules).copied();
                RoleContent {
                    role: Some(role),
                    stale: Rc::from(sorted(stale.collect())),
                    effective: Rc::from(rules),
                    has_manual_rules: role.meta.has_manual_rules(),
                }
            }
            Some(_) | None => {
                RoleContent { role, effective: Rc::from(rules), stale: Rc::from([]), has_manual_rules: false }
            }
        };
        if is_aggregated(role) {
            self.aggregated.entry(id).or_default();
        } else {
            self.aggregated.remove(&id);
        }
        self.journal.push(JournalEntry::Role(id, old.clone()));
        Ok(old)
    }

    /// Updates the roles that the selectors of an aggregated role match.
    pub(super) fn select_roles(&mut self, id: RoleId) {
        let role = self.role_slot(id).and_then(|slot| slot.content.role);
        let Some(selectors) = role.and_then(|role| role.aggregation.as_deref()) else {
            self.aggregated.remove(&id);
            return;
        };
        let selected = self.roles.iter().enumerate().filter(|(other, slot)| {
            RoleId(*other) != id
                && slot.name.0 == ObjectKind::ClusterRole
                && slot
                    .content
                    .role
                    .is_some_and(|role| selectors.iter().any(|selector| selector.matches(&role.meta.labels)))
        });
        let selected = selected.map(|(other, _)| RoleId(other)).collect();
        self.aggregated.insert(id, selected);
    }

    /// Updates which aggregated roles match a role.
    pub(super) fn select_in_others(&mut self, id: RoleId) {
        let Some(slot) = self.roles.get(id.0).filter(|slot| slot.name.0 == ObjectKind::ClusterRole) else {
            return;
        };
        for (aggregated, selected) in &mut self.aggregated {
            let role = self.roles.get(aggregated.0).and_then(|slot| slot.content.role);
            let selectors = role.and_then(|role| role.aggregation.as_deref()).unwrap_or_default();
            let is_match = *aggregated != id
                && slot
                    .content
                    .role
                    .is_some_and(|role| selectors.iter().any(|selector| selector.matches(&role.meta.labels)));
            if is_match {
                selected.insert(id);
            } else {
                selected.remove(&id);
            }
        }
    }

    /// Runs the controller until nothing changes. Returns the changed roles with the rules that they granted before.
    pub(super) fn run_controller(&mut self) -> Result<Vec<EarlierRules>, InternalError> {
        let mut roles = BTreeMap::new();
        for (id, selected) in &self.aggregated {
            let content = &self.roles.get(id.0).ok_or_else(unknown_object)?.content;
            let (aggregated, plain): (Vec<RoleId>, Vec<RoleId>) =
                selected.iter().partition(|selected| self.aggregated.contains_key(selected));
            let plain = plain.iter().filter_map(|plain| Some((plain, self.role_slot(*plain)?)));
            let direct =
                plain.flat_map(|(plain, slot)| slot.content.effective.iter().map(|rule| (*rule, *plain))).collect();
            let role = AggregatedRole {
                direct,
                aggregated_from: aggregated,
                rules: content.effective.iter().map(|rule| (*rule, *id)).collect(),
                has_manual_rules: content.has_manual_rules,
            };
            roles.insert(*id, role);
        }
        run_controller(&mut roles);
        let mut changed = Vec::new();
        for (id, AggregatedRole { rules, has_manual_rules, .. }) in roles {
            let rules: Vec<RuleId> = rules.into_keys().collect();
            let content = &mut self.roles.get_mut(id.0).ok_or_else(unknown_object)?.content;
            // The controller writes nothing, and takes over nothing, if it finds the rules that are stored.
            let has_manual_rules = has_manual_rules || content.has_manual_rules && *content.effective == *rules;
            if *content.effective == *rules && content.has_manual_rules == has_manual_rules {
                continue;
            }
            let old = content.clone();
            content.stale = Rc::from(sorted(content.stale.iter().chain(&*old.effective).copied().collect()));
            content.effective = Rc::from(rules);
            content.has_manual_rules = has_manual_rules;
            changed.push((id, Rc::clone(&old.effective)));
            self.journal.push(JournalEntry::Role(id, old));
        }
        Ok(changed)
    }

    fn has_manual_rules(&self) -> bool {
        let aggregated = self.aggregated.keys().filter_map(|id| self.role_slot(*id));
        aggregated.into_iter().any(|slot| slot.content.has_manual_rules)
    }

    /// Returns whether there is any aggregated role.
    pub(crate) fn has_aggregated_roles(&self) -> bool {
        !self.aggregated.is_empty()
    }

    /// Returns whether the role is aggregated, or an aggregated role contains its rules.
    fn is_in_aggregation(&self, id: RoleId) -> bool {
        self.aggregated.contains_key(&id) || self.aggregated.values().any(|selected| selected.contains(&id))
    }

    /// Returns the role itself and all aggregated roles that contain its rules, directly or through others.
    pub(crate) fn dependents(&self, id: RoleId) -> BTreeSet<RoleId> {
        let mut all = BTreeSet::from([id]);
        loop {
            let more: Vec<RoleId> = self
                .aggregated
                .iter()
                .filter(|(id, selected)| !all.contains(id) && selected.iter().any(|source| all.contains(source)))
                .map(|(id, _)| *id)
                .collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// Stores the content of a binding. Returns the previous one.
    pub(super) fn store_binding(
        &mut self,
        id: BindingId,
        binding: Option<&'s Binding>,
    ) -> Result<StoredBinding, InternalError> {
        let key = self.index.key_of(id).ok_or_else(unknown_object)?;
        let old = self.index.binding(id);
        let role = binding.and_then(|binding| self.bound_role(key, binding));
        let subjects: Rc<[SubjectId]> = binding.map(|binding| self.subjects_of(binding)).unwrap_or_default().into();
        let scopes = binding.map_or_else(|| Rc::from([]), |binding| self.scopes_of(key, binding));
        self.index.set_binding(id, binding);
        let slot = self.binding_slot_mut(id).ok_or_else(unknown_object)?;
        let old_scopes = std::mem::replace(&mut slot.scopes, scopes);
        let old_role = std::mem::replace(&mut slot.role, role);
        let old_subjects = std::mem::replace(&mut slot.subjects, subjects);
        if let Some(slot) = old_role.and_then(|role| self.roles.get_mut(role.0)) {
            slot.bindings.remove(&id);
        }
        if let Some(slot) = role.and_then(|role| self.roles.get_mut(role.0)) {
            slot.bindings.insert(id);
        }
        self.journal.push(JournalEntry::Binding(id, old));
        Ok(StoredBinding { subjects: old_subjects, role: old_role, scopes: old_scopes })
    }

    /// Changes a binding.
    ///
    /// # Errors
    /// If the engine does not know the binding.
    pub(crate) fn set_binding(
        &mut self,
        id: BindingId,
        binding: Option<&'s Binding>,
    ) -> Result<AccessEffect, InternalError> {
        let old = self.store_binding(id, binding)?;
        let slot = self.binding_slot(id).ok_or_else(unknown_object)?;
        let new =
            StoredBinding { subjects: Rc::clone(&slot.subjects), role: slot.role, scopes: Rc::clone(&slot.scopes) };
        let (added, removed) = (new.only_in_this(&old), old.only_in_this(&new));
        let rules = |role: Option<RoleId>, with_stale: bool| -> Rc<[RuleId]> {
            let content = role.and_then(|role| self.role_slot(role)).map(|slot| &slot.content);
            match content {
                Some(content) if with_stale && !content.stale.is_empty() => {
                    Rc::from(sorted(content.effective.iter().chain(&*content.stale).copied().collect()))
                }
                Some(content) => Rc::clone(&content.effective),
                None => Rc::from([]),
            }
        };
        let grants = |changed: Vec<(SubjectId, Vec<ScopeId>)>, rules: &Rc<[RuleId]>| {
            let grants = changed.into_iter().map(|(subject, scopes)| {
                let grants: Vec<RuleGrant> = scopes.into_iter().map(|scope| (Rc::clone(rules), scope)).collect();
                (subject, grants)
            });
            grants.collect::<BTreeMap<_, _>>()
        };
        Ok(AccessEffect {
            direction: Direction::new(!added.is_empty(), !removed.is_empty()),
            is_order_dependent: false,
            gains: grants(added, &rules(new.role, true)),
            losses: grants(removed, &rules(old.role, false)),
        })
    }
}

fn only_in<T: Ord + Copy>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().filter(|item| b.binary_search(item).is_err()).copied().collect()
}
