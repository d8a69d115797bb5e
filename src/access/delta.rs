//! What lies between two states: for each subject what it gains and what it loses.
//!
//! Only whom a difference touches is looked at: through the bindings and roles that differ, and through the entries of
//! aws-auth that make somebody else of him. Whoever is bound to the same things before and after shares one result.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::escalation::{WayUp, assumed, opened};
use super::grants::Grant;
use super::identity::{Admission, Identity, Who};
use super::query::Access;
use super::reach::{Part, Reach};
use super::template::Name;
use crate::names::ObjectKey;
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
    let mut behind = [BTreeSet::new(), BTreeSet::new()];
    let mut rows = Vec::new();
    for who in principals(before, after) {
        let sides = [before.admit(&who), after.admit(&who)];
        for (subjects, admission) in behind.iter_mut().zip(&sides) {
            subjects.extend(admission.identities().flat_map(Identity::subjects));
        }
        let [was, is] = sides;
        let same = was == is && !was.identities().any(|identity| touched.meets(identity));
        if !same {
            rows.push(work.row(who, was, is));
        }
    }
    let [behind_before, behind_after] = &behind;
    let named: BTreeSet<&Subject> = before.grants.all().chain(after.grants.all()).map(|grant| grant.subject).collect();
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
        let gains = !row.change.gained.is_empty() && (own || !behind_after.contains(subject));
        let loses = !row.change.lost.is_empty() && (own || !behind_before.contains(subject));
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

/// Principals with an entry on one of the sides, each once however it is spelled.
fn principals(before: &Access<'_>, after: &Access<'_>) -> Vec<Who> {
    let mut callers = after.mapping.callers();
    for (key, caller) in before.mapping.callers() {
        callers.entry(key).or_insert(caller);
    }
    let accounts: BTreeSet<&str> = before.mapping.accounts().chain(after.mapping.accounts()).collect();
    let accounts = accounts.into_iter().map(|id| Who::Account(id.to_owned()));
    callers.into_values().map(Who::Arn).chain(accounts).collect()
}

/// Whom no entry of aws-auth has to name: the cluster itself knows him.
pub(super) fn is_of_itself(who: &Who) -> bool {
    match who {
        Who::ServiceAccount { .. } => true,
        Who::Group(name) | Who::User(name) => name.starts_with("system:"),
        Who::Arn(_) | Who::Account(_) => false,
    }
}

/// What somebody is bound to on one side.
pub(super) type Bound = (bool, Vec<(usize, usize)>);

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
        let (was, was_granted) = bound(self.before, &before);
        let (is, is_granted) = bound(self.after, &after);
        let known = self.known.entry((was, is)).or_insert_with_key(|((was_master, _), (is_master, _))| {
            let was = Reach::new(*was_master, self.before.rules_of(&was_granted));
            let is = Reach::new(*is_master, self.after.rules_of(&is_granted));
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

/// All that any of somebody's identities is bound to.
pub(super) fn bound<'s>(access: &Access<'s>, admission: &Admission) -> (Bound, Vec<Grant<'s>>) {
    let mut grants: Vec<Grant<'s>> =
        admission.identities().flat_map(|identity| access.grants.held_by(identity)).collect();
    grants.sort_by_key(|grant| grant.at);
    grants.dedup_by_key(|grant| grant.at);
    let is_master = admission.identities().any(Identity::is_master);
    ((is_master, grants.iter().map(|grant| grant.at).collect()), grants)
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
        touched.by_bindings(before, after);
        touched.by_bindings(after, before);
        let roles = differing_roles(before, after);
        if !roles.is_empty() {
            let grants = before.grants.all().chain(after.grants.all());
            let mut walked: Option<(&ObjectKey, bool)> = None;
            for grant in grants {
                if walked.is_none_or(|(key, _)| key != grant.key) {
                    walked = Some((grant.key, grant.role_key().is_some_and(|role| roles.contains(&role))));
                }
                if walked.is_some_and(|(_, differs)| differs) {
                    touched.add(grant.subject);
                }
            }
        }
        touched
    }

    /// Subjects that one side's bindings have and the other's have not.
    fn by_bindings(&mut self, one: &Access<'s>, other: &Access<'s>) {
        for (key, binding) in &one.grants.state.bindings {
            let there = other.grants.state.bindings.get(key);
            let same = there.filter(|there| there.role_ref == binding.role_ref);
            if same.is_some_and(|there| there.subjects == binding.subjects) {
                continue;
            }
            let kept = |subject: &&Subject| same.is_some_and(|there| there.subjects.contains(subject));
            for subject in binding.subjects.iter().filter(|subject| !kept(subject)) {
                self.add(subject);
            }
        }
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

/// Roles whose rules differ, those gathered from others among them.
fn differing_roles<'s>(before: &Access<'s>, after: &Access<'s>) -> BTreeSet<&'s ObjectKey> {
    let (was, is) = (&before.grants.state.roles, &after.grants.state.roles);
    let mut roles: BTreeSet<&ObjectKey> = is.keys().filter(|key| !was.contains_key(key)).collect();
    for (key, role) in was {
        let same = is.get(key).is_some_and(|now| {
            if role.aggregation.is_none() && now.aggregation.is_none() {
                return role.rules == now.rules;
            }
            let gathered = |access: &Access<'s>| -> Option<Vec<_>> {
                access.grants.role(key).map(|effective| effective.rules().map(|sourced| sourced.rule).collect())
            };
            gathered(before) == gathered(after)
        });
        if !same {
            roles.insert(key);
        }
    }
    roles
}
