//! Steps 1 to 3 of the strategy `temporaries`: blocked principals get their planned access through a group of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{Op, Purpose};
use super::components::Component;
use super::identity_classes::{IdentityClass, is_node};
use super::internal;
use super::scheduler::Scheduler;
use super::temporaries::{BindingCopies, Temporaries};
use crate::access::{MASTERS, SubjectId};
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::aws_auth::Entry;
use crate::state::object::ObjectError;
use crate::state::rbac::Subject;

impl<'s> Scheduler<'s> {
    /// Makes steps 1 to 3. Returns whether they are possible.
    pub(super) fn isolate_principals(
        &mut self,
        component: &Component,
        temporaries: &mut Temporaries<'s>,
    ) -> Result<bool, ObjectError> {
        let (Some(edit), Some(mapping), Some(blocked)) =
            (self.verifier.edit, self.mapping_change(), self.blocked_entries()?)
        else {
            return Ok(false);
        };
        let mut with_group = self.verifier.variants.clone();
        let mut isolated = self.verifier.variants.clone();
        let mut groups: Vec<(usize, String)> = Vec::new();
        let variants = with_group.iter_mut().zip(&mut isolated);
        for (index, (edited, (with_group, isolated))) in edit.principal_edits.iter().zip(variants).enumerate() {
            if !blocked.contains(&index) {
                *with_group = EntryVariant::Final;
                *isolated = EntryVariant::Final;
                continue;
            }
            if !component.entries.contains(&index) {
                continue;
            }
            let of_node = |entry: Option<&Entry>| entry.is_some_and(|entry| is_node(&entry.username, &entry.groups));
            // A principal without an entry can authenticate only through mapAccounts.
            let can_authenticate = edited.after.is_some() || edit.has_accounts();
            let is_node = of_node(edited.before.as_ref()) || of_node(edited.after.as_ref());
            if !edited.can_be_intermediate() || !can_authenticate || is_node {
                continue;
            }
            let unused_name = self.unused_name(&edited.key)?;
            self.verifier.engine.subject_id(self.arena.add_subject(Subject::Group(unused_name.clone())));
            let mut own_groups = vec![unused_name.clone()];
            own_groups
                .extend(edited.after.iter().flat_map(|after| &after.groups).filter(|group| *group == MASTERS).cloned());
            let now = match &*with_group {
                EntryVariant::Intermediate { username, groups } => Some((username.clone(), groups.clone())),
                EntryVariant::Live | EntryVariant::Final => {
                    edited.before.as_ref().map(|entry| (entry.username.clone(), entry.groups.clone()))
                }
            };
            // A principal without an entry keeps its identity: an entry could not give it the username of mapAccounts.
            if let Some((username, mut all)) = now {
                all.extend(own_groups.iter().filter(|group| !all.contains(group)).cloned().collect::<Vec<_>>());
                *with_group = EntryVariant::Intermediate { username, groups: all };
            }
            *isolated = EntryVariant::Intermediate { username: unused_name.clone(), groups: own_groups };
            groups.push((index, unused_name));
        }
        if groups.is_empty()
            || with_group != self.verifier.variants
                && !self.try_write(Op::Mapping(with_group), Purpose::Part(mapping))?
        {
            return Ok(false);
        }
        let copies = self.copies_for_principals(&groups)?;
        Ok(self.bind_copies(copies, temporaries)? && self.try_write(Op::Mapping(isolated), Purpose::Part(mapping))?)
    }

    /// Returns for each binding of the planned state the temporary groups of the principals that it grants access to.
    fn copies_for_principals(&mut self, groups: &[(usize, String)]) -> Result<BindingCopies<'s>, ObjectError> {
        let edit = self.verifier.edit.ok_or_else(|| internal("aws-auth is written, but not changed"))?;
        let mut classes_by_key: BTreeMap<String, Vec<&IdentityClass>> = BTreeMap::new();
        for id in &self.verifier.mapped_classes {
            let class = self.verifier.class(*id)?;
            let key = class.entry_key().ok_or_else(|| internal("a class that aws-auth maps has no entry"))?;
            classes_by_key.entry(key).or_default().push(class);
        }
        let mut groups_by_subject: BTreeMap<SubjectId, Vec<&String>> = BTreeMap::new();
        for (index, group) in groups {
            let edited = edit.principal_edits.get(*index);
            let edited = edited.ok_or_else(|| internal("an entry of aws-auth does not exist"))?;
            let classes = classes_by_key.get(&edited.key).into_iter().flatten();
            let mut subjects: BTreeSet<SubjectId> = classes
                .flat_map(|class| &class.planned_logins)
                .flat_map(|login| &login.subjects.subjects)
                .copied()
                .collect();
            if let Some(after) = &edited.after {
                let names = after.groups.iter().map(|group| Subject::Group(group.clone()));
                let names = names.chain([Subject::User(after.username.clone())]);
                subjects.extend(names.filter_map(|name| self.verifier.engine.find_subject(&name)));
            }
            for subject in subjects {
                groups_by_subject.entry(subject).or_default().push(group);
            }
        }
        let mut copies = Vec::new();
        for (id, planned) in self.planned_bindings() {
            let subjects = self.verifier.engine.subjects_of(planned);
            let groups: BTreeSet<&String> =
                subjects.iter().filter_map(|subject| groups_by_subject.get(subject)).flatten().copied().collect();
            if !groups.is_empty() {
                copies.push((id, planned, groups.into_iter().map(|group| Subject::Group(group.clone())).collect()));
            }
        }
        Ok(copies)
    }
}
