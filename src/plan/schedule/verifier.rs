//! Applies writes to the access engine and decides whether every subject that they affect is within its bounds.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::access_bounds::{AccessBounds, InitialBounds, Violation};
use super::access_entries::{EntryId, EntrySlots};
use super::changes::{Op, PlannedChanges, TargetObject};
use super::identity_classes::{BoundsId, ClassId, IdentityClass, Login, MappingStores, assign_bounds, classes};
use super::internal;
use super::token_logins::{FormerLogins, TokenLogins};
use crate::access::{
    AccessEffect, AccessEngine, AggregatedRules, EngineMark, GrantedRoles, IdentityMapping, RoleId, RuleId, SubjectId,
    SubjectSet,
};
use crate::plan::entries::aws_auth_edit::{AwsAuthEdit, EntryVariant};
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::object::ObjectError;

/// How a write is undone.
#[derive(Debug)]
pub(super) enum UndoWrite<'s> {
    Objects(EngineMark),
    Mapping { logins: FormerLogins, variants: Vec<EntryVariant> },
    AccessEntry { id: EntryId, previous: Option<&'s AccessEntry>, mark: EngineMark, logins: FormerLogins },
}

/// A write that was applied, with the classes that it affects.
#[derive(Debug)]
pub(super) struct AppliedWrite<'s> {
    pub(super) effect: AccessEffect,
    pub(super) affected: BTreeSet<ClassId>,
    pub(super) undo: UndoWrite<'s>,
}

/// The state of a verifier.
#[derive(Debug)]
pub(super) struct VerifierCheckpoint<'s> {
    entries: Vec<Option<&'s AccessEntry>>,
    mark: EngineMark,
    logins: Vec<TokenLogins>,
    variants: Vec<EntryVariant>,
    out_of_bounds: BTreeSet<ClassId>,
}

#[derive(Debug)]
pub(super) struct Verifier<'s> {
    pub(super) engine: AccessEngine<'s>,
    pub(super) classes: Vec<IdentityClass>,
    /// By `BoundsId`. Identities with the same roles in both states share their bounds.
    pub(super) bounds: Vec<Rc<AccessBounds<'s>>>,
    /// For each RBAC subject, the classes that log in with it. Of classes with equal keys only one is listed.
    pub(super) classes_by_subject: BTreeMap<SubjectId, BTreeSet<ClassId>>,
    /// The classes whose logins aws-auth decides.
    pub(super) mapped_classes: Vec<ClassId>,
    /// The planned change of aws-auth, and the variant of each entry after the writes so far.
    pub(super) edit: Option<&'s AwsAuthEdit>,
    pub(super) variants: Vec<EntryVariant>,
    /// The stores of principals in the live state.
    pub(super) stores: MappingStores,
    pub(super) entries: EntrySlots<'s>,
    /// The mapping of principals after the writes so far. `None` if it must be built.
    pub(super) mapping: Option<IdentityMapping>,
    /// Whether a write of aws-auth leaves tokens behind that an API server has cached with their former identity.
    pub(super) caches_tokens: bool,
    /// Classes outside their bounds. Whether they stay outside is not checked.
    pub(super) out_of_bounds: BTreeSet<ClassId>,
}

/// A key of an identity class. Classes with equal keys have the same bounds, and the same rules apply to them now. For
/// each login, whether it is in `system:masters`, and the numbers of what its subjects are granted.
type AccessKey<'s> = (*const AccessBounds<'s>, Vec<(bool, BTreeSet<usize>)>);

/// The number of classes up to which each is checked, although several can have equal keys.
const MAX_UNCOMPARED: usize = 4;

/// Makes the keys of classes in one state of the engine. What a subject is granted is looked up once.
#[derive(Debug, Default)]
struct AccessKeys {
    numbers: BTreeMap<GrantedRoles, usize>,
    by_subject: BTreeMap<SubjectId, usize>,
}

impl AccessKeys {
    fn key_of<'s>(&mut self, class: &IdentityClass, verifier: &Verifier<'s>) -> Result<AccessKey<'s>, ObjectError> {
        let granted = class.tokens.all().map(|Login { subjects, .. }| {
            let numbers = subjects.subjects.iter().map(|subject| self.number_of(*subject, &verifier.engine));
            (subjects.is_in_system_masters, numbers.collect())
        });
        Ok((std::ptr::from_ref(verifier.bounds_of(class)?), granted.collect()))
    }

    fn number_of(&mut self, subject: SubjectId, engine: &AccessEngine<'_>) -> usize {
        *self.by_subject.entry(subject).or_insert_with(|| {
            let only = SubjectSet { subjects: vec![subject], is_in_system_masters: false };
            let next = self.numbers.len();
            *self.numbers.entry(engine.granted_roles(&only)).or_insert(next)
        })
    }
}

/// The rules that changed roles grant in the planned state.
pub(super) type PlannedRules = BTreeMap<RoleId, Vec<RuleId>>;

impl<'s> Verifier<'s> {
    pub(super) fn new(
        mut engine: AccessEngine<'s>,
        live: &State,
        planned: &PlannedChanges<'s>,
        edit: Option<&'s AwsAuthEdit>,
    ) -> Result<(Self, PlannedRules), ObjectError> {
        let start = engine.mark();
        let mut roles: BTreeSet<RoleId> = changed_roles(planned).flat_map(|role| engine.dependents(role)).collect();
        let mut affected: BTreeSet<SubjectId> = roles.iter().flat_map(|role| engine.subjects_of_role(*role)).collect();
        affected.extend(subjects_of_changed_bindings(planned, &mut engine));
        planned.apply_to(&mut engine)?;
        roles.extend(changed_roles(planned).flat_map(|role| engine.dependents(role)));
        affected.extend(roles.iter().flat_map(|role| engine.subjects_of_role(*role)));
        affected.extend(subjects_of_changed_bindings(planned, &mut engine));
        let planned_rules = roles.iter().map(|role| (*role, engine.effective_rules(*role).to_vec())).collect();
        engine.undo(start)?;
        affected.extend(roles.iter().flat_map(|role| engine.subjects_of_role(*role)));

        let bound = engine.subjects();
        let stores = MappingStores::live(live);
        let mut entries = planned.entries.clone();
        let sides = [stores.clone(), stores.planned(planned)];
        let changed_keys = entries.comparison_keys().collect();
        let mut classes = classes(&engine, &affected, &bound, sides, &changed_keys)?;
        entries.index_classes(&classes);
        let pairs = assign_bounds(&mut classes);
        let bounds = bounds(&pairs, &mut engine, planned)?;
        let mapped_classes = classes.iter().enumerate().filter(|(_, class)| class.entry_key().is_some());
        let mapped_classes = mapped_classes.map(|(number, _)| ClassId(number)).collect();
        let mut verifier = Self {
            engine,
            classes,
            bounds,
            classes_by_subject: BTreeMap::new(),
            mapped_classes,
            variants: vec![EntryVariant::Live; edit.map_or(0, |edit| edit.principal_edits.len())],
            edit,
            stores,
            entries,
            mapping: None,
            caches_tokens: false,
            out_of_bounds: BTreeSet::new(),
        };
        verifier.index_logins();
        Ok((verifier, planned_rules))
    }

    pub(super) fn class(&self, id: ClassId) -> Result<&IdentityClass, ObjectError> {
        self.classes.get(id.0).ok_or_else(unknown_class)
    }

    pub(super) fn class_mut(&mut self, id: ClassId) -> Result<&mut IdentityClass, ObjectError> {
        self.classes.get_mut(id.0).ok_or_else(unknown_class)
    }

    pub(super) fn all_classes<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i ClassId>,
    ) -> Result<Vec<(ClassId, &IdentityClass)>, ObjectError> {
        ids.into_iter().map(|id| Ok((*id, self.class(*id)?))).collect()
    }

    pub(super) fn bounds_of(&self, class: &IdentityClass) -> Result<&AccessBounds<'s>, ObjectError> {
        let bounds = self.bounds.get(class.bounds.0).ok_or_else(|| internal("an identity class has no bounds"))?;
        Ok(bounds)
    }

    pub(super) fn count_bounds(&self) -> usize {
        self.bounds.len()
    }

    /// Returns the bounds of some classes.
    pub(super) fn bounds_ids(&self, classes: &BTreeSet<ClassId>) -> Result<BTreeSet<BoundsId>, ObjectError> {
        classes.iter().map(|class| Ok(self.class(*class)?.bounds)).collect()
    }

    /// Applies a write. `None` if the text of aws-auth cannot be edited in this way.
    pub(super) fn apply(&mut self, op: &Op<'s>) -> Result<Option<AppliedWrite<'s>>, ObjectError> {
        let mark = self.engine.mark();
        let effect = match op {
            Op::Role(id, role) => self.engine.set_role(*id, *role)?,
            Op::Binding(id, binding) => self.engine.set_binding(*id, *binding)?,
            Op::Association(_, id, _, binding) => self.engine.set_binding(*id, *binding)?,
            Op::AccessEntry(id, entry) => return self.apply_access_entry(*id, *entry).map(Some),
            Op::Mapping(variants) => return self.apply_mapping(variants),
        };
        let affected = self.affected(&effect);
        Ok(Some(AppliedWrite { effect, affected, undo: UndoWrite::Objects(mark) }))
    }

    fn apply_mapping(&mut self, variants: &[EntryVariant]) -> Result<Option<AppliedWrite<'s>>, ObjectError> {
        let Some(logins) = self.logins_with(variants)? else {
            return Ok(None);
        };
        let old = self.set_logins(logins)?;
        let affected = old.iter().map(|(class, _)| *class).collect();
        let effect = AccessEffect::without_grants(self.direction_of(&old)?);
        self.mapping = None;
        let variants = std::mem::replace(&mut self.variants, variants.to_vec());
        Ok(Some(AppliedWrite { effect, affected, undo: UndoWrite::Mapping { logins: old, variants } }))
    }

    pub(super) fn undo(&mut self, applied: AppliedWrite<'s>) -> Result<(), ObjectError> {
        match applied.undo {
            UndoWrite::Objects(mark) => self.engine.undo(mark)?,
            UndoWrite::Mapping { logins, variants } => {
                self.restore_logins(logins)?;
                self.variants = variants;
                self.mapping = None;
            }
            UndoWrite::AccessEntry { id, previous, mark, logins } => {
                self.engine.undo(mark)?;
                self.undo_access_entry(id, previous)?;
                self.restore_logins(logins)?;
            }
        }
        Ok(())
    }

    pub(super) fn checkpoint(&self) -> VerifierCheckpoint<'s> {
        VerifierCheckpoint {
            entries: self.entries.current(),
            mark: self.engine.mark(),
            logins: self.classes.iter().map(|class| class.tokens.clone()).collect(),
            variants: self.variants.clone(),
            out_of_bounds: self.out_of_bounds.clone(),
        }
    }

    pub(super) fn restore(&mut self, checkpoint: &VerifierCheckpoint<'s>) -> Result<(), ObjectError> {
        self.engine.undo(checkpoint.mark)?;
        for (class, logins) in self.classes.iter_mut().zip(&checkpoint.logins) {
            class.tokens.clone_from(logins);
        }
        self.variants.clone_from(&checkpoint.variants);
        self.entries.restore(&checkpoint.entries);
        self.mapping = None;
        self.out_of_bounds.clone_from(&checkpoint.out_of_bounds);
        self.index_logins();
        Ok(())
    }

    /// Returns the keys of the entries whose principals would be outside their bounds with these variants. `None` if the
    /// text of aws-auth cannot be edited in this way.
    pub(super) fn entries_out_of_bounds(
        &mut self,
        variants: &[EntryVariant],
    ) -> Result<Option<BTreeSet<String>>, ObjectError> {
        let Some(applied) = self.apply_mapping(variants)? else {
            return Ok(None);
        };
        let mut keys = BTreeSet::new();
        for id in &applied.affected {
            if !self.are_in_bounds(&BTreeSet::from([*id]))? {
                keys.extend(self.class(*id)?.entry_key());
            }
        }
        self.undo(applied)?;
        Ok(Some(keys))
    }

    pub(super) fn affected(&self, effect: &AccessEffect) -> BTreeSet<ClassId> {
        let subjects = effect.subjects();
        subjects.iter().filter_map(|subject| self.classes_by_subject.get(subject)).flatten().copied().collect()
    }

    /// Returns whether all classes that a write affects are within their bounds, if they were before it.
    pub(super) fn stay_in_bounds(&self, applied: &AppliedWrite<'_>) -> Result<bool, ObjectError> {
        match applied.undo {
            UndoWrite::Objects(_) => self.stay_in_bounds_after(&applied.affected, &applied.effect),
            UndoWrite::Mapping { .. } | UndoWrite::AccessEntry { .. } => self.are_in_bounds(&applied.affected),
        }
    }

    /// Returns whether classes are within their bounds after a change, if they were before it. Classes that a forced
    /// write has brought outside are skipped.
    pub(super) fn stay_in_bounds_after(
        &self,
        affected: &BTreeSet<ClassId>,
        effect: &AccessEffect,
    ) -> Result<bool, ObjectError> {
        // A few classes are checked faster than compared with each other.
        let is_short = affected.len() <= MAX_UNCOMPARED;
        let (mut keys, mut seen) = (AccessKeys::default(), BTreeSet::new());
        for (_, class) in self.all_classes(affected.difference(&self.out_of_bounds))? {
            let changes = class.tokens.all().map(|login| effect.key_of(&login.subjects.subjects));
            if (is_short || seen.insert((keys.key_of(class, self)?, changes.collect::<Vec<_>>())))
                && !self.bounds_of(class)?.contains_after(class.tokens.all(), effect, &self.engine)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn are_in_bounds(&self, affected: &BTreeSet<ClassId>) -> Result<bool, ObjectError> {
        let (mut keys, mut seen) = (AccessKeys::default(), BTreeSet::new());
        for (_, class) in self.all_classes(affected.difference(&self.out_of_bounds))? {
            if seen.insert(keys.key_of(class, self)?)
                && !self.bounds_of(class)?.contains_all(class.tokens.all(), &self.engine)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the requests with which a class is outside its bounds, at most `max` lost and gained ones for each login.
    pub(super) fn violations(
        &self,
        id: ClassId,
        allowed: AggregatedRules,
        max: usize,
    ) -> Result<Vec<Violation<'s>>, ObjectError> {
        let class = self.class(id)?;
        Ok(self.bounds_of(class)?.violations(class.tokens.all(), &self.engine, allowed, max))
    }

    /// Returns all classes with the same bounds and logins as one of these.
    pub(super) fn with_same_logins(&self, ids: &BTreeSet<ClassId>) -> Result<BTreeSet<ClassId>, ObjectError> {
        let keys: BTreeSet<_> = self.all_classes(ids)?.into_iter().map(|(_, class)| class.group_key()).collect();
        let all = self.classes.iter().enumerate().filter(|(_, class)| keys.contains(&class.group_key()));
        Ok(all.map(|(number, _)| ClassId(number)).collect())
    }

    /// Returns the classes that a write has brought outside their bounds, of those that it affects.
    pub(super) fn classes_out_of_bounds(&self, affected: &BTreeSet<ClassId>) -> Result<BTreeSet<ClassId>, ObjectError> {
        let mut out = BTreeSet::new();
        let (mut keys, mut known) = (AccessKeys::default(), BTreeMap::new());
        for (id, class) in self.all_classes(affected)? {
            let is_out = match known.entry(keys.key_of(class, self)?) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => *entry.insert(!self.violations(id, AggregatedRules::WithStale, 1)?.is_empty()),
            };
            if is_out {
                out.insert(id);
            }
        }
        self.with_same_logins(&out)
    }

    /// Records which of the affected classes a write has brought outside their bounds.
    pub(super) fn mark_out_of_bounds(&mut self, affected: &BTreeSet<ClassId>) -> Result<(), ObjectError> {
        let out = self.classes_out_of_bounds(affected)?;
        self.out_of_bounds.extend(out);
        Ok(())
    }
}

/// Returns the bounds of each pair of logins in the live and the planned state.
fn bounds<'s>(
    pairs: &[[Vec<SubjectSet>; 2]],
    engine: &mut AccessEngine<'s>,
    planned: &PlannedChanges<'s>,
) -> Result<Vec<Rc<AccessBounds<'s>>>, ObjectError> {
    let granted = |logins: &[SubjectSet], engine: &AccessEngine<'s>| -> Vec<GrantedRoles> {
        logins.iter().map(|login| engine.granted_roles(login)).collect()
    };
    let mut initial = BTreeMap::new();
    let mut keys = Vec::new();
    for [live, _] in pairs {
        let key = granted(live, engine);
        initial.entry(key.clone()).or_insert_with(|| InitialBounds::new(live, engine));
        keys.push(key);
    }
    let start = engine.mark();
    planned.apply_to(engine)?;
    let mut known = BTreeMap::new();
    let mut all = Vec::new();
    for (live, [_, planned]) in keys.into_iter().zip(pairs) {
        let initial = initial.get(&live).ok_or_else(|| internal("a login has no bounds"))?;
        let shared = known.entry((live, granted(planned, engine)));
        all.push(Rc::clone(shared.or_insert_with(|| Rc::new(initial.with_planned(planned, engine)))));
    }
    engine.undo(start)?;
    Ok(all)
}

fn unknown_class() -> ObjectError {
    internal("an identity class does not exist")
}

fn changed_roles(planned: &PlannedChanges<'_>) -> impl Iterator<Item = RoleId> {
    planned.changes.iter().filter_map(|change| match &change.target {
        TargetObject::Role { id, .. } => Some(*id),
        TargetObject::Binding { .. }
        | TargetObject::Replace { .. }
        | TargetObject::AccessEntry { .. }
        | TargetObject::Association { .. }
        | TargetObject::Mapping => None,
    })
}

/// Returns the subjects that the changed bindings name now.
fn subjects_of_changed_bindings<'s>(planned: &PlannedChanges<'s>, engine: &mut AccessEngine<'s>) -> Vec<SubjectId> {
    let ids = planned.changes.iter().filter_map(|change| match &change.target {
        TargetObject::Binding { id, .. } | TargetObject::Replace { id, .. } | TargetObject::Association { id, .. } => {
            Some(*id)
        }
        TargetObject::Role { .. } | TargetObject::AccessEntry { .. } | TargetObject::Mapping => None,
    });
    let deleted = planned.entries.iter().flat_map(|slot| slot.associations.keys().copied());
    let ids = ids.chain(deleted);
    let bindings: Vec<_> = ids.filter_map(|id| engine.binding(id)).collect();
    bindings.into_iter().flat_map(|binding| engine.subjects_of(binding)).collect()
}
