//! The order with temporary objects: they grant the new access while the real objects change. It is always possible,
//! except if a delay of the controller of aggregated ClusterRoles prevents it.
//!
//! 1. Each blocked principal keeps its access and gets a temporary group that no binding refers to yet. A principal
//!    without an entry gets the group in step 3.
//! 2. Temporary bindings, to copies of roles where needed, grant the planned access to that group.
//! 3. The principal keeps only its temporary group and a temporary username. It now has exactly its planned access, and
//!    the real usernames and groups no longer refer to it.
//! 4. Temporary bindings grant the planned access to the other subjects too. Then old bindings shrink, roles change,
//!    and bindings get their final content.
//! 5. The entries get their final content, and the temporary objects are deleted.
//!
//! Every write is checked against the bounds like any other. Nodes never get another username.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::access_model::BindingSlot;
use super::contents::{BindingForm, Direction, OrderEffect, OrderLogin, RoleForm};
use super::identity_classes::{IdentityClass, is_node};
use super::items::{ItemWrite, OrderItem, OrderItemKind, ReplaceProgress};
use super::search::{ScheduledWrite, Search, SearchWrite};
use crate::access::MASTERS;
use crate::names::ObjectKey;
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::plan::probes::{AccessProbe, AccessWindow};
use crate::state::owner::{MANAGED_BY_LABEL, MANAGED_BY_VALUE};
use crate::state::rbac::Subject;

/// The state of the search, to be restored if the temporary objects do not help.
struct OrderCheckpoint<'s> {
    mark: usize,
    items: Vec<OrderItem<'s>>,
    now: Vec<Vec<OrderLogin>>,
    variants: Vec<EntryVariant>,
    log: Vec<ScheduledWrite<'s>>,
    stage: usize,
    probes: BTreeSet<(usize, AccessProbe)>,
    windows: Vec<AccessWindow>,
}

/// The temporary objects. `roles` maps a role to its copy.
#[derive(Default)]
struct Temporaries {
    roles: BTreeMap<usize, usize>,
    bindings: Vec<usize>,
}

impl<'s> Search<'s> {
    fn save(&self) -> OrderCheckpoint<'s> {
        OrderCheckpoint {
            mark: self.model.mark(),
            items: self.items.clone(),
            now: self.classes.iter().map(|class| class.current_logins.clone()).collect(),
            variants: self.variants.clone(),
            log: self.log.clone(),
            stage: self.stage,
            probes: self.probes.clone(),
            windows: self.windows.clone(),
        }
    }

    fn restore(&mut self, saved: OrderCheckpoint<'s>) {
        self.model.undo(saved.mark);
        self.items = saved.items;
        for (class, now) in self.classes.iter_mut().zip(saved.now) {
            class.current_logins = now;
        }
        self.variants = saved.variants;
        self.index_logins();
        self.log = saved.log;
        self.stage = saved.stage;
        self.probes = saved.probes;
        self.windows = saved.windows;
        self.unblock();
    }

    /// Finishes the plan with temporary objects. If that is not possible, restores the search.
    pub(super) fn use_temporaries(&mut self) -> bool {
        for isolate in [false, true] {
            let saved = self.save();
            if self.try_temporaries(isolate).is_some() && self.is_done() {
                return true;
            }
            self.restore(saved);
        }
        false
    }

    fn try_temporaries(&mut self, isolate: bool) -> Option<()> {
        let mut temporaries = Temporaries::default();
        let changes_mapping = self.items.iter().any(|item| !item.done && matches!(item.kind, OrderItemKind::Mapping));
        if isolate && changes_mapping {
            self.isolate_principals(&mut temporaries)?;
            self.take_possible_writes();
        }
        if !self.only_mapping_remains() {
            self.grant_through_copies(&mut temporaries)?;
            self.change_originals()?;
        }
        self.take_possible_writes();
        self.delete_temporaries(&temporaries)
    }

    fn only_mapping_remains(&self) -> bool {
        self.items.iter().all(|item| item.done || matches!(item.kind, OrderItemKind::Mapping))
    }

    /// Returns steps 1 to 3.
    fn isolate_principals(&mut self, temporaries: &mut Temporaries) -> Option<()> {
        let edit = self.aws_auth_edit?;
        let blocked_principals = self.blocked_principals();
        let mut with_group = self.variants.clone();
        let mut isolated = self.variants.clone();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for (index, edited) in edit.principal_edits.iter().enumerate() {
            if !blocked_principals.contains(&index) {
                *with_group.get_mut(index)? = EntryVariant::Final;
                *isolated.get_mut(index)? = EntryVariant::Final;
                continue;
            }
            let of_node = |entry: Option<&crate::state::aws_auth::Entry>| {
                entry.is_some_and(|entry| is_node(&entry.username, &entry.groups))
            };
            // A principal without an entry can authenticate only through mapAccounts.
            let can_authenticate = edited.after.is_some() || edit.has_accounts();
            let is_node = of_node(edited.before.as_ref()) || of_node(edited.after.as_ref());
            if !edited.can_be_intermediate() || !can_authenticate || is_node {
                continue;
            }
            let unused_name = self.unused_name(&edited.key);
            let group = self.model.subject(&Subject::Group(unused_name.clone()));
            let mut own_groups = vec![unused_name.clone()];
            own_groups
                .extend(edited.after.iter().flat_map(|after| &after.groups).filter(|group| *group == MASTERS).cloned());
            let now = match self.variants.get(index)? {
                EntryVariant::Intermediate { username, groups } => Some((username.clone(), groups.clone())),
                EntryVariant::Live | EntryVariant::Final => {
                    edited.before.as_ref().map(|entry| (entry.username.clone(), entry.groups.clone()))
                }
            };
            // A principal without an entry keeps its identity: an entry could not give it the username of mapAccounts.
            if let Some((username, mut all)) = now {
                all.extend(own_groups.iter().filter(|group| !all.contains(group)).cloned().collect::<Vec<_>>());
                *with_group.get_mut(index)? = EntryVariant::Intermediate { username, groups: all };
            }
            *isolated.get_mut(index)? = EntryVariant::Intermediate { username: unused_name, groups: own_groups };
            groups.push((index, group));
        }
        if groups.is_empty() {
            return None;
        }
        if with_group != self.variants {
            self.try_mapping(&with_group.clone(), SearchWrite::PartialMapping(with_group)).then_some(())?;
        }
        let bindings = self.final_bindings_of(&groups);
        self.bind_copies(bindings, temporaries)?;
        self.try_mapping(&isolated.clone(), SearchWrite::PartialMapping(isolated)).then_some(())
    }

    /// For each binding of the planned state, the temporary groups of the principals that it grants access to.
    fn final_bindings_of(&mut self, groups: &[(usize, usize)]) -> Vec<(usize, BindingForm)> {
        let Some(edit) = self.aws_auth_edit else {
            return Vec::new();
        };
        let mut groups_by_subject: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for class in &self.mapped_classes {
            let key = self.classes.get(*class).map(IdentityClass::key).unwrap_or_default();
            by_key.entry(key).or_default().push(*class);
        }
        for (index, group) in groups {
            let key = edit.principal_edits.get(*index).map(|edited| edited.key.clone()).unwrap_or_default();
            let after = edit.principal_edits.get(*index).and_then(|edited| edited.after.clone());
            let mut subjects: BTreeSet<usize> = BTreeSet::new();
            let own_groups = by_key.get(&key).into_iter().flatten().filter_map(|class| self.classes.get(*class));
            subjects.extend(
                own_groups.flat_map(|class| &class.planned_logins).flat_map(|login| login.subjects.iter().copied()),
            );
            if let Some(after) = after {
                let names = after.groups.iter().map(|group| Subject::Group(group.clone()));
                let names = names.chain([Subject::User(after.username.clone())]);
                subjects.extend(names.collect::<Vec<_>>().iter().map(|name| self.model.subject(name)));
            }
            for subject in subjects {
                groups_by_subject.entry(subject).or_default().push(*group);
            }
        }
        let mut all = Vec::new();
        for (ix, last) in self.final_bindings() {
            let mut subjects: Vec<usize> =
                last.subjects.iter().filter_map(|subject| groups_by_subject.get(subject)).flatten().copied().collect();
            subjects.sort_unstable();
            subjects.dedup();
            if !subjects.is_empty() {
                all.push((ix, BindingForm { role: last.role, subjects }));
            }
        }
        all
    }

    /// Returns the bindings of the planned state.
    fn final_bindings(&self) -> BTreeMap<usize, BindingForm> {
        let now = self.model.bindings.iter().enumerate();
        let mut all: BTreeMap<usize, BindingForm> =
            now.filter_map(|(ix, edited)| Some((ix, edited.form.clone()?))).collect();
        for item in &self.items {
            match &item.kind {
                OrderItemKind::Binding { ix, last: Some(last) } => drop(all.insert(*ix, last.clone())),
                OrderItemKind::Binding { ix, last: None } => drop(all.remove(ix)),
                OrderItemKind::Replace { ix, last, bridge, .. } => {
                    all.insert(*ix, last.clone());
                    bridge.map(|bridge| all.remove(&bridge));
                }
                OrderItemKind::Role { .. } | OrderItemKind::Mapping => {}
            }
        }
        all
    }

    /// Creates temporary bindings that grant the planned rules of roles.
    fn bind_copies(&mut self, bindings: Vec<(usize, BindingForm)>, temporaries: &mut Temporaries) -> Option<()> {
        let mut temporary_bindings = Vec::new();
        for (original, mut form) in bindings {
            form.role = self.copy_role(form.role, temporaries)?;
            temporary_bindings.push((original, form));
        }
        self.end_stage();
        for (original, form) in temporary_bindings {
            let key = self.model.bindings.get(original)?.key.clone();
            let key = self.unused_key(&key);
            let ix = self.model.binding_beside(&key, original);
            if let Some((form, effect)) = self.create_allowed_binding(ix, form) {
                let affected = self.affected(&effect);
                self.record_write(SearchWrite::TemporaryBinding(ix, form), &effect, &affected);
                temporaries.bindings.push(ix);
            }
        }
        self.end_stage();
        Some(())
    }

    /// Creates a binding for those of its subjects that stay within their bounds. One entry can match two principals,
    /// of which only one has the access in the planned state.
    fn create_allowed_binding(&mut self, ix: usize, mut form: BindingForm) -> Option<(BindingForm, OrderEffect)> {
        let whole = form.subjects.clone();
        let one_by_one: Vec<Vec<usize>> = whole.iter().map(|subject| vec![*subject]).collect();
        let mark = self.model.mark();
        let stays = |search: &mut Self, subjects: &[usize]| {
            let form = BindingForm { role: form.role, subjects: subjects.to_vec() };
            let effect = search.model.set_binding(ix, Some(form));
            let stays = search.stays_in_bounds(&search.affected(&effect), &effect);
            search.model.undo(mark);
            stays
        };
        if !stays(self, &whole) {
            form.subjects = one_by_one.into_iter().filter(|subject| stays(self, subject)).flatten().collect();
        }
        if form.subjects.is_empty() {
            return None;
        }
        let effect = self.model.set_binding(ix, Some(form.clone()));
        Some((form, effect))
    }

    /// Returns a role that grants now what another role grants in the planned state: the role itself if it already
    /// does, or a copy.
    fn copy_role(&mut self, role: usize, temporaries: &mut Temporaries) -> Option<usize> {
        let edited = self.model.roles.get(role)?;
        let last = match self.final_rules.get(&role) {
            Some(last) if *last != *edited.effective => last.clone(),
            Some(_) | None => return Some(role),
        };
        if let Some(copy) = temporaries.roles.get(&role) {
            return Some(*copy);
        }
        let key = self.unused_key(&edited.key.clone());
        let ix = self.model.role(&key);
        let labels = [(MANAGED_BY_LABEL.to_owned(), MANAGED_BY_VALUE.to_owned())].into();
        let form = RoleForm { rules: last, labels: std::rc::Rc::new(labels), aggregation: None };
        let effect = self.model.set_role(ix, Some(form.clone()));
        self.record_if_in_bounds(SearchWrite::TemporaryRole(ix, form), &effect)?;
        temporaries.roles.insert(role, ix);
        Some(ix)
    }

    /// Records a write if all affected classes stay within their bounds.
    fn record_if_in_bounds(&mut self, write: SearchWrite<'s>, effect: &OrderEffect) -> Option<()> {
        let affected = self.affected(effect);
        self.stays_in_bounds(&affected, effect).then(|| self.record_write(write, effect, &affected))
    }

    /// Returns the first half of step 4: grants the planned access to the other subjects through temporary bindings.
    fn grant_through_copies(&mut self, temporaries: &mut Temporaries) -> Option<()> {
        let mut changed_bindings = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for item in self.items.iter().filter(|item| !item.done) {
            match &item.kind {
                OrderItemKind::Binding { ix, .. } | OrderItemKind::Replace { ix, .. } => {
                    changed_bindings.insert(*ix);
                }
                OrderItemKind::Role { ix, .. } => roles.extend(self.model.dependents(*ix)),
                OrderItemKind::Mapping => {}
            }
        }
        let existing: BTreeSet<usize> = temporaries.bindings.iter().copied().collect();
        let needs_copy = |ix: usize, form: &BindingForm| {
            changed_bindings.contains(&ix) || roles.contains(&form.role) && !existing.contains(&ix)
        };
        let bindings = self.final_bindings().into_iter().filter(|(ix, form)| needs_copy(*ix, form));
        let bindings = bindings.filter(|(_, form)| !form.subjects.is_empty()).collect();
        self.bind_copies(bindings, temporaries)
    }

    /// Returns the second half of step 4: changes the real bindings and roles.
    fn change_originals(&mut self) -> Option<()> {
        let remaining: Vec<(usize, OrderItem<'s>)> =
            self.items.iter().cloned().enumerate().filter(|(_, item)| !item.done).collect();
        for (number, item) in &remaining {
            match &item.kind {
                OrderItemKind::Binding { ix, last: None } => {
                    let effect = self.model.set_binding(*ix, None);
                    self.record_if_in_bounds(SearchWrite::Item(*number, ItemWrite::Final), &effect)?;
                    self.mark_done(*number, ItemWrite::Final);
                }
                OrderItemKind::Binding { ix, last: Some(last) } => {
                    let Some(mut form) = self.model.bindings.get(*ix)?.form.clone() else {
                        continue;
                    };
                    let before = form.subjects.len();
                    form.subjects.retain(|subject| last.subjects.contains(subject));
                    if form.subjects.len() < before && form != *last {
                        let effect = self.model.set_binding(*ix, Some(form.clone()));
                        self.record_if_in_bounds(SearchWrite::PartialBinding(*number, form), &effect)?;
                    }
                }
                OrderItemKind::Replace {
                    ix,
                    progress: ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated,
                    ..
                } => {
                    let effect = self.model.set_binding(*ix, None);
                    self.record_if_in_bounds(SearchWrite::Item(*number, ItemWrite::DeleteOld), &effect)?;
                    self.mark_old_deleted(*number);
                }
                OrderItemKind::Replace { .. } | OrderItemKind::Role { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.end_stage();
        for (number, item) in &remaining {
            let OrderItemKind::Role { ix, last: Some(last) } = &item.kind else {
                continue;
            };
            let effect = self.model.set_role(*ix, Some(last.clone()));
            self.record_if_in_bounds(SearchWrite::Item(*number, ItemWrite::Final), &effect)?;
            self.mark_done(*number, ItemWrite::Final);
            self.end_stage();
        }
        self.take_possible_writes();
        self.only_mapping_remains().then_some(())
    }

    fn mark_old_deleted(&mut self, number: usize) {
        if let Some(OrderItem { kind: OrderItemKind::Replace { bridge, progress, .. }, .. }) =
            self.items.get_mut(number)
        {
            // A bridge that does not exist yet is not needed: a temporary binding grants the new access.
            if *progress == ReplaceProgress::NotStarted {
                *bridge = None;
            }
            *progress = ReplaceProgress::OldDeleted;
        }
    }

    fn delete_temporaries(&mut self, temporaries: &Temporaries) -> Option<()> {
        self.end_stage();
        for ix in &temporaries.bindings {
            let effect = self.model.set_binding(*ix, None);
            self.record_if_in_bounds(SearchWrite::DeleteTemporaryBinding(*ix), &effect)?;
        }
        self.end_stage();
        for ix in temporaries.roles.values() {
            let effect = self.model.set_role(*ix, None);
            let effect = OrderEffect { direction: Direction::Shrinks, ..effect };
            self.record_if_in_bounds(SearchWrite::DeleteTemporaryRole(*ix), &effect)?;
        }
        self.end_stage();
        Some(())
    }

    /// Returns an unused name for a temporary object.
    fn unused_key(&self, key: &ObjectKey) -> ObjectKey {
        let names = (1_usize..).map(|n| match n {
            1 => format!("{}-rolecall-temporary", key.name()),
            n => format!("{}-rolecall-temporary-{n}", key.name()),
        });
        let is_free = |key: &ObjectKey| !self.is_taken(key);
        names.map(|name| key.with_name(&name)).find(is_free).unwrap_or_else(|| key.clone())
    }

    /// Returns whether the cluster or the plan uses the name. A name from an abandoned attempt is unused.
    fn is_taken(&self, key: &ObjectKey) -> bool {
        let role = self.model.role_ids.get(key).copied();
        let binding = self.model.binding_ids.get(key).copied();
        if role.is_none() && binding.is_none() {
            return false;
        }
        let is_planned = |item: &OrderItem<'_>| match &item.kind {
            OrderItemKind::Role { ix, .. } => Some(*ix) == role,
            OrderItemKind::Binding { ix, .. } => Some(*ix) == binding,
            OrderItemKind::Replace { ix, bridge, .. } => Some(*ix) == binding || bridge.is_some() && *bridge == binding,
            OrderItemKind::Mapping => false,
        };
        role.and_then(|ix| self.model.roles.get(ix)).is_some_and(|edited| edited.form.is_some())
            || role.is_some_and(|ix| self.model.bindings_of(ix).next().is_some())
            || binding.and_then(|ix| self.model.bindings.get(ix)).is_some_and(BindingSlot::exists_or_existed)
            || self.items.iter().any(is_planned)
    }

    /// Returns an unused name for the temporary username and group of a principal. It is the same in every plan of the
    /// policy.
    fn unused_name(&self, key: &str) -> String {
        let hash = Sha256::digest(format!("{}\0{key}", self.author.policy));
        let hex: String = hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let names = (1_usize..).map(|n| match n {
            1 => format!("rolecall-temporary-{hex}"),
            n => format!("rolecall-temporary-{hex}-{n}"),
        });
        let is_used = |subject: usize| {
            let mut logins =
                self.classes.iter().flat_map(|class| class.live_logins.iter().chain(&class.planned_logins));
            self.model.bindings_naming(subject).next().is_some()
                || logins.any(|login| login.subjects.contains(&subject))
        };
        let is_free = |name: &String| {
            let both = [Subject::Group(name.clone()), Subject::User(name.clone())];
            both.iter().filter_map(|subject| self.model.subject_id(subject)).all(|subject| !is_used(subject))
        };
        names.into_iter().find(is_free).unwrap_or_default()
    }
}
