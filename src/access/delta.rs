//! What lies between two states: for each subject what it gains and what it loses.
//!
//! Only whom a difference touches is looked at: through the bindings and roles that differ, and through the entries of
//! aws-auth that make somebody else of him. Whoever is bound to the same things before and after shares one result.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::escalation::{WayUp, assumed, opened};
use super::identity::{Admission, Identity, Who};
use super::query::{Access, Held};
use super::reach::{Part, Reach};
use super::template::Name;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::Role;
use crate::state::pairs::{Pair, pairs};
use crate::state::rbac::Subject;

/// What changes for those who are bound to the same.
#[derive(Debug, Default)]
pub(crate) struct Change<'s> {
    pub(crate) gained: Vec<Part<'s>>,
    pub(crate) lost: Vec<Part<'s>>,
    /// Ways to more power that the gain opens.
    pub(crate) ways: Vec<WayUp<'s>>,
}

/// What changes for one subject.
#[derive(Debug)]
pub(crate) struct Row<'s> {
    pub(crate) who: Who,
    pub(crate) before: Admission,
    pub(crate) after: Admission,
    pub(crate) change: Rc<Change<'s>>,
    /// Ways to more power that lie in who he becomes.
    pub(crate) assumed: Vec<WayUp<'s>>,
}

impl Change<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { gained, lost, ways } = self;
        gained.is_empty() && lost.is_empty() && ways.is_empty()
    }
}

impl Row<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { who: _, before: _, after: _, change, assumed } = self;
        change.is_empty() && assumed.is_empty()
    }
}

/// Everybody for whom something changes: principals first, then whom bindings name and no entry stands behind.
pub(crate) fn delta<'s>(before: &Access<'s>, after: &Access<'s>) -> Vec<Row<'s>> {
    let mut work = Work::new(before, after);
    let touched = Touched::between(before, after);
    // Whom those mean who have an entry on the other side alone: an account may let them in.
    let mut also = [BTreeSet::new(), BTreeSet::new()];
    let mut rows = Vec::new();
    for (_, pair) in pairs(before.all_principals().by_key(), after.all_principals().by_key()) {
        let (who, was, is) = match pair {
            Pair::First(one) => (&one.who, Cow::Borrowed(&one.admission), Cow::Owned(after.admit(&one.who))),
            Pair::Second(other) => (&other.who, Cow::Owned(before.admit(&other.who)), Cow::Borrowed(&other.admission)),
            Pair::Both(one, other) => (&other.who, Cow::Borrowed(&one.admission), Cow::Borrowed(&other.admission)),
        };
        for (subjects, admission) in also.iter_mut().zip([&was, &is]) {
            if let Cow::Owned(admission) = admission {
                subjects.extend(admission.identities().flat_map(Identity::subjects));
            }
        }
        if was != is || was.identities().any(|identity| touched.meets(identity)) {
            rows.push(work.row(who.clone(), was.into_owned(), is.into_owned()));
        }
    }
    let [also_before, also_after] = &also;
    let is_behind = |access: &Access<'s>, also: &BTreeSet<Subject>, subject: &Subject| {
        access.behind(subject).next().is_some() || also.contains(subject)
    };
    let named: BTreeSet<&Subject> = before.grants.named().chain(after.grants.named()).collect();
    let mut seen = BTreeSet::new();
    for subject in named {
        let who = Who::of_subject(subject);
        let admission = before.admit(&who);
        if !admission.identities().any(|identity| touched.meets(identity)) || !seen.insert(who.clone()) {
            continue;
        }
        let own = is_of_itself(&who);
        let row = work.row(who, admission.clone(), admission);
        // Where an entry stands behind the name, the principal's own row says it.
        let gains = !row.change.gained.is_empty() && (own || !is_behind(after, also_after, subject));
        let loses = !row.change.lost.is_empty() && (own || !is_behind(before, also_before, subject));
        if gains || loses {
            rows.push(row);
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

/// What changes for one subject, touched or not.
pub(crate) fn delta_of<'s>(before: &Access<'s>, after: &Access<'s>, who: &Who) -> Row<'s> {
    Work::new(before, after).row(who.clone(), before.admit(who), after.admit(who))
}

/// What lies between what somebody is bound to on one side and on the other.
pub(super) fn change_between<'s>(
    before: &Access<'s>,
    after: &Access<'s>,
    was: &Admission,
    is: &Admission,
) -> Rc<Change<'s>> {
    // Who it is does not count here: the admissions say it.
    let nobody = Who::Group(String::new());
    Work::new(before, after).row(nobody, was.clone(), is.clone()).change
}

/// Whom no entry of aws-auth has to name: the cluster itself knows him.
pub(super) fn is_of_itself(who: &Who) -> bool {
    match who {
        Who::ServiceAccount { .. } => true,
        Who::Group(name) | Who::User(name) => name.starts_with("system:"),
        Who::Arn(_) | Who::Account(_) => false,
    }
}

/// Whom bindings mean by somebody on one side, and whether he needs none of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bound {
    pub(super) is_master: bool,
    subjects: Vec<usize>,
}

impl Bound {
    pub(super) fn by(access: &Access<'_>, admission: &Admission) -> Self {
        let mut subjects: Vec<usize> =
            admission.identities().flat_map(|identity| access.grants.meaning(identity)).collect();
        subjects.sort_unstable();
        subjects.dedup();
        Self { is_master: admission.identities().any(Identity::is_master), subjects }
    }

    pub(super) fn rules<'s>(&self, access: &Access<'s>) -> Vec<Held<'s>> {
        access.rules_of(&access.grants.held_together(&self.subjects))
    }

    pub(super) fn reach<'s>(&self, access: &Access<'s>) -> Reach<'s> {
        Reach::new(self.is_master, self.rules(access))
    }
}

struct Work<'a, 's> {
    before: &'a Access<'s>,
    after: &'a Access<'s>,
    known: BTreeMap<(Bound, Bound), Rc<Change<'s>>>,
}

impl<'a, 's> Work<'a, 's> {
    fn new(before: &'a Access<'s>, after: &'a Access<'s>) -> Self {
        before.grants.index();
        after.grants.index();
        Self { before, after, known: BTreeMap::new() }
    }

    fn row(&mut self, who: Who, before: Admission, after: Admission) -> Row<'s> {
        let bound = (Bound::by(self.before, &before), Bound::by(self.after, &after));
        let known = self.known.entry(bound).or_insert_with_key(|(was, is)| {
            let (was, is) = (was.reach(self.before), is.reach(self.after));
            let gained = is.beyond(&was);
            let opened = opened(&gained, &is);
            Rc::new(Change { lost: was.beyond(&is), gained, ways: opened })
        });
        let mut assumed_now = assumed(&after);
        let assumed_before = assumed(&before);
        assumed_now.retain(|way| !assumed_before.contains(way));
        Row { who, before, after, change: Rc::clone(known), assumed: assumed_now }
    }
}

/// The subjects whose bindings or whose roles' rules differ.
#[derive(Default)]
struct Touched<'s> {
    users: BTreeSet<&'s str>,
    groups: BTreeSet<&'s str>,
    service_accounts: BTreeSet<(&'s str, &'s str)>,
}

impl<'s> Touched<'s> {
    fn between(before: &Access<'s>, after: &Access<'s>) -> Self {
        let mut touched = Self::default();
        for (_, pair) in pairs(&before.grants.state.bindings, &after.grants.state.bindings) {
            match pair {
                Pair::First(one) | Pair::Second(one) => touched.all(&one.subjects),
                Pair::Both(one, other) if one.role_ref != other.role_ref => {
                    touched.all(&one.subjects);
                    touched.all(&other.subjects);
                }
                Pair::Both(one, other) if one.subjects != other.subjects => {
                    touched.all(one.subjects.iter().filter(|subject| !other.subjects.contains(subject)));
                    touched.all(other.subjects.iter().filter(|subject| !one.subjects.contains(subject)));
                }
                Pair::Both(..) => {}
            }
        }
        let roles = differing_roles(before, after);
        if !roles.is_empty() {
            let both = before.grants.state.bindings.iter().chain(&after.grants.state.bindings);
            for (key, binding) in both {
                if binding.role_ref.parts(key).is_some_and(|role| roles.contains(&role)) {
                    touched.all(&binding.subjects);
                }
            }
        }
        touched
    }

    fn all(&mut self, subjects: impl IntoIterator<Item = &'s Subject>) {
        subjects.into_iter().for_each(|subject| self.add(subject));
    }

    fn add(&mut self, subject: &'s Subject) {
        match subject {
            Subject::User(name) => self.users.insert(name),
            Subject::Group(name) => self.groups.insert(name),
            Subject::ServiceAccount { namespace, name } => self.service_accounts.insert((namespace, name)),
        };
    }

    fn meets(&self, identity: &Identity) -> bool {
        let username = identity.username.as_ref().and_then(Name::literal).unwrap_or_default();
        self.users.contains(username)
            || identity.groups.iter().filter_map(Name::literal).any(|name| self.groups.contains(name))
            || Identity::service_account_parts(username).any(|parts| self.service_accounts.contains(&parts))
    }
}

/// The key of a role, in its parts.
type RoleKey<'s> = (ObjectKind, Option<&'s str>, &'s str);

/// Roles whose rules differ, those gathered from others among them.
fn differing_roles<'s>(before: &Access<'s>, after: &Access<'s>) -> BTreeSet<RoleKey<'s>> {
    let gathered = |access: &Access<'s>, key: &ObjectKey| -> Option<Vec<_>> {
        access.grants.role(key).map(|effective| effective.rules().map(|sourced| sourced.rule).collect())
    };
    let differs = |(key, pair): (&'s ObjectKey, Pair<&Role, &Role>)| {
        let differs = match pair {
            Pair::First(_) | Pair::Second(_) => true,
            Pair::Both(one, other) if one.aggregation.is_none() && other.aggregation.is_none() => {
                one.rules != other.rules
            }
            Pair::Both(..) => gathered(before, key) != gathered(after, key),
        };
        differs.then(|| key.parts())
    };
    pairs(&before.grants.state.roles, &after.grants.state.roles).filter_map(differs).collect()
}
