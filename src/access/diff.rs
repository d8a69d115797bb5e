//! What lies between two states: for each subject what it gains and what it loses.
//!
//! Only whom a difference touches is looked at: through the bindings and roles that differ, and through the entries of
//! aws-auth that make somebody else of him. Whoever is bound to the same things before and after shares one result.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::access_view::{AccessView, EffectiveRule};
use super::effective_permissions::{EffectivePermissions, GrantedRequests};
use super::escalation::{EscalationPath, identity_escalation_paths, newly_opened_paths};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::template::RenderedName;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::merge_join::{EitherOrBoth, merge_join};
use crate::state::object::Role;
use crate::state::rbac::Subject;

/// What changes for those who are bound to the same.
#[derive(Debug, Default)]
pub(crate) struct PermissionDiff<'s> {
    pub(crate) gained: Vec<GrantedRequests<'s>>,
    pub(crate) lost: Vec<GrantedRequests<'s>>,
    /// Ways to more power that the gain opens.
    pub(crate) escalation_paths: Vec<EscalationPath<'s>>,
}

/// What changes for one subject.
#[derive(Debug)]
pub(crate) struct SubjectDiff<'s> {
    pub(crate) subject: SubjectQuery,
    pub(crate) before: Authentication,
    pub(crate) after: Authentication,
    pub(crate) permissions: Rc<PermissionDiff<'s>>,
    /// Ways to more power that lie in who he becomes.
    pub(crate) identity_paths: Vec<EscalationPath<'s>>,
}

impl PermissionDiff<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { gained, lost, escalation_paths: ways } = self;
        gained.is_empty() && lost.is_empty() && ways.is_empty()
    }
}

impl SubjectDiff<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { subject: _, before: _, after: _, permissions: change, identity_paths: assumed } = self;
        change.is_empty() && assumed.is_empty()
    }
}

/// Everybody for whom something changes: principals first, then whom bindings name and no entry stands behind.
pub(crate) fn diff_access<'s>(before: &AccessView<'s>, after: &AccessView<'s>) -> Vec<SubjectDiff<'s>> {
    let mut work = Differ::new(before, after);
    let touched = ChangedSubjects::new(before, after);
    // Whom those mean who have an entry on the other side alone: an account may let them in.
    let mut also = [BTreeSet::new(), BTreeSet::new()];
    let mut rows = Vec::new();
    for (_, pair) in merge_join(before.principal_index().by_key(), after.principal_index().by_key()) {
        let (who, was, is) = match pair {
            EitherOrBoth::Left(one) => {
                (&one.subject, Cow::Borrowed(&one.authentication), Cow::Owned(after.authenticate(&one.subject)))
            }
            EitherOrBoth::Right(other) => {
                (&other.subject, Cow::Owned(before.authenticate(&other.subject)), Cow::Borrowed(&other.authentication))
            }
            EitherOrBoth::Both(one, other) => {
                (&other.subject, Cow::Borrowed(&one.authentication), Cow::Borrowed(&other.authentication))
            }
        };
        for (subjects, admission) in also.iter_mut().zip([&was, &is]) {
            if let Cow::Owned(admission) = admission {
                subjects.extend(admission.identities().flat_map(Identity::subjects));
            }
        }
        if was != is || was.identities().any(|identity| touched.matches_any(identity)) {
            rows.push(work.diff(who.clone(), was.into_owned(), is.into_owned()));
        }
    }
    let [also_before, also_after] = &also;
    let is_behind = |access: &AccessView<'s>, also: &BTreeSet<Subject>, subject: &Subject| {
        access.principals_of(subject).next().is_some() || also.contains(subject)
    };
    let named: BTreeSet<&Subject> = before.grants.bound_subjects().chain(after.grants.bound_subjects()).collect();
    let mut seen = BTreeSet::new();
    for subject in named {
        let who = SubjectQuery::from_subject(subject);
        let admission = before.authenticate(&who);
        if !admission.identities().any(|identity| touched.matches_any(identity)) || !seen.insert(who.clone()) {
            continue;
        }
        let own = needs_no_entry(&who);
        let row = work.diff(who, admission.clone(), admission);
        // Where an entry stands behind the name, the principal's own row says it.
        let gains = !row.permissions.gained.is_empty() && (own || !is_behind(after, also_after, subject));
        let loses = !row.permissions.lost.is_empty() && (own || !is_behind(before, also_before, subject));
        if gains || loses {
            rows.push(row);
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

/// What changes for one subject, touched or not.
pub(crate) fn diff_subject<'s>(before: &AccessView<'s>, after: &AccessView<'s>, who: &SubjectQuery) -> SubjectDiff<'s> {
    Differ::new(before, after).diff(who.clone(), before.authenticate(who), after.authenticate(who))
}

/// What lies between what somebody is bound to on one side and on the other.
pub(super) fn diff_authentications<'s>(
    before: &AccessView<'s>,
    after: &AccessView<'s>,
    was: &Authentication,
    is: &Authentication,
) -> Rc<PermissionDiff<'s>> {
    // Who it is does not count here: the admissions say it.
    let nobody = SubjectQuery::Group(String::new());
    Differ::new(before, after).diff(nobody, was.clone(), is.clone()).permissions
}

/// Whom no entry of aws-auth has to name: the cluster itself knows him.
pub(super) fn needs_no_entry(who: &SubjectQuery) -> bool {
    match who {
        SubjectQuery::ServiceAccount { .. } => true,
        SubjectQuery::Group(name) | SubjectQuery::User(name) => name.starts_with("system:"),
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) => false,
    }
}

/// Whom bindings mean by somebody on one side, and whether he needs none of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BoundSubjects {
    pub(super) is_in_system_masters: bool,
    subjects: Vec<usize>,
}

impl BoundSubjects {
    pub(super) fn for_authentication(access: &AccessView<'_>, admission: &Authentication) -> Self {
        let mut subjects: Vec<usize> =
            admission.identities().flat_map(|identity| access.grants.matching_subjects(identity)).collect();
        subjects.sort_unstable();
        subjects.dedup();
        Self { is_in_system_masters: admission.identities().any(Identity::is_in_system_masters), subjects }
    }

    pub(super) fn effective_rules<'s>(&self, access: &AccessView<'s>) -> Vec<EffectiveRule<'s>> {
        access.rules_of_grants(&access.grants.grants_for_subjects(&self.subjects))
    }

    pub(super) fn effective_permissions<'s>(&self, access: &AccessView<'s>) -> EffectivePermissions<'s> {
        EffectivePermissions::new(self.is_in_system_masters, self.effective_rules(access))
    }
}

struct Differ<'a, 's> {
    before: &'a AccessView<'s>,
    after: &'a AccessView<'s>,
    cache: BTreeMap<(BoundSubjects, BoundSubjects), Rc<PermissionDiff<'s>>>,
}

impl<'a, 's> Differ<'a, 's> {
    fn new(before: &'a AccessView<'s>, after: &'a AccessView<'s>) -> Self {
        before.grants.build_index();
        after.grants.build_index();
        Self { before, after, cache: BTreeMap::new() }
    }

    fn diff(&mut self, who: SubjectQuery, before: Authentication, after: Authentication) -> SubjectDiff<'s> {
        let bound = (
            BoundSubjects::for_authentication(self.before, &before),
            BoundSubjects::for_authentication(self.after, &after),
        );
        let known = self.cache.entry(bound).or_insert_with_key(|(was, is)| {
            let (was, is) = (was.effective_permissions(self.before), is.effective_permissions(self.after));
            let gained = is.difference(&was);
            let opened = newly_opened_paths(&gained, &is);
            Rc::new(PermissionDiff { lost: was.difference(&is), gained, escalation_paths: opened })
        });
        let mut assumed_now = identity_escalation_paths(&after);
        let assumed_before = identity_escalation_paths(&before);
        assumed_now.retain(|way| !assumed_before.contains(way));
        SubjectDiff { subject: who, before, after, permissions: Rc::clone(known), identity_paths: assumed_now }
    }
}

/// The subjects whose bindings or whose roles' rules differ.
#[derive(Default)]
struct ChangedSubjects<'s> {
    users: BTreeSet<&'s str>,
    groups: BTreeSet<&'s str>,
    service_accounts: BTreeSet<(&'s str, &'s str)>,
}

impl<'s> ChangedSubjects<'s> {
    fn new(before: &AccessView<'s>, after: &AccessView<'s>) -> Self {
        let mut touched = Self::default();
        for (_, pair) in merge_join(&before.grants.state.bindings, &after.grants.state.bindings) {
            match pair {
                EitherOrBoth::Left(one) | EitherOrBoth::Right(one) => touched.add_all(&one.subjects),
                EitherOrBoth::Both(one, other) if one.role_ref != other.role_ref => {
                    touched.add_all(&one.subjects);
                    touched.add_all(&other.subjects);
                }
                EitherOrBoth::Both(one, other) if one.subjects != other.subjects => {
                    touched.add_all(one.subjects.iter().filter(|subject| !other.subjects.contains(subject)));
                    touched.add_all(other.subjects.iter().filter(|subject| !one.subjects.contains(subject)));
                }
                EitherOrBoth::Both(..) => {}
            }
        }
        let roles = changed_roles(before, after);
        if !roles.is_empty() {
            let both = before.grants.state.bindings.iter().chain(&after.grants.state.bindings);
            for (key, binding) in both {
                if binding.role_ref.role_key_parts(key).is_some_and(|role| roles.contains(&role)) {
                    touched.add_all(&binding.subjects);
                }
            }
        }
        touched
    }

    fn add_all(&mut self, subjects: impl IntoIterator<Item = &'s Subject>) {
        subjects.into_iter().for_each(|subject| self.add(subject));
    }

    fn add(&mut self, subject: &'s Subject) {
        match subject {
            Subject::User(name) => self.users.insert(name),
            Subject::Group(name) => self.groups.insert(name),
            Subject::ServiceAccount { namespace, name } => self.service_accounts.insert((namespace, name)),
        };
    }

    fn matches_any(&self, identity: &Identity) -> bool {
        let username = identity.username.as_ref().and_then(RenderedName::as_literal).unwrap_or_default();
        self.users.contains(username)
            || identity.groups.iter().filter_map(RenderedName::as_literal).any(|name| self.groups.contains(name))
            || Identity::service_account_parts(username).any(|parts| self.service_accounts.contains(&parts))
    }
}

/// The key of a role, in its parts.
type RoleKeyParts<'s> = (ObjectKind, Option<&'s str>, &'s str);

/// Roles whose rules differ, those gathered from others among them.
fn changed_roles<'s>(before: &AccessView<'s>, after: &AccessView<'s>) -> BTreeSet<RoleKeyParts<'s>> {
    let gathered = |access: &AccessView<'s>, key: &ObjectKey| -> Option<Vec<_>> {
        access.grants.role_by_key(key).map(|effective| effective.rules().map(|sourced| sourced.rule).collect())
    };
    let differs = |(key, pair): (&'s ObjectKey, EitherOrBoth<&Role, &Role>)| {
        let differs = match pair {
            EitherOrBoth::Left(_) | EitherOrBoth::Right(_) => true,
            EitherOrBoth::Both(one, other) if one.aggregation.is_none() && other.aggregation.is_none() => {
                one.rules != other.rules
            }
            EitherOrBoth::Both(..) => gathered(before, key) != gathered(after, key),
        };
        differs.then(|| key.parts())
    };
    merge_join(&before.grants.state.roles, &after.grants.state.roles).filter_map(differs).collect()
}
