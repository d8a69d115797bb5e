//! Whom an invariant is about, in one state.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::access::{AccessView, Identity, MASTERS, MappedPrincipal, SubjectQuery};
use crate::names::reserved_prefix;
use crate::plan::{Exemption, InvariantSubject};
use crate::policy::PolicyIndex;
use crate::state::rbac::Subject;

/// Groups that are reserved and still mean people: what they have, everybody has.
const GROUPS_OF_ALL_USERS: [&str; 3] = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
const ANONYMOUS_USER: &str = "system:anonymous";

/// The cluster's access, and those who log in by aws-auth.
pub(super) struct InvariantChecker<'a, 's> {
    pub(super) access: &'a AccessView<'s>,
    pub(super) policy_index: &'a PolicyIndex,
}

impl<'a, 's> InvariantChecker<'a, 's> {
    pub(super) fn new(access: &'a AccessView<'s>, known: &'a PolicyIndex) -> Self {
        access.grants.build_index();
        Self { access, policy_index: known }
    }

    /// Everybody who is meant; `can` means nobody who never logged in.
    pub(super) fn resolve_subjects(&self, subject: &InvariantSubject, can: bool) -> Vec<SubjectQuery> {
        match subject {
            InvariantSubject::Group(group) => self.group_and_members(group),
            InvariantSubject::Principal { name: _, subject: who } => who.iter().cloned().collect(),
            InvariantSubject::User(name) => vec![SubjectQuery::from_username(name)],
            InvariantSubject::ServiceAccount { namespace, name } => {
                vec![SubjectQuery::ServiceAccount { namespace: namespace.clone(), name: name.clone() }]
            }
            InvariantSubject::EveryoneBut(spared) => self.everyone_except(spared, can),
        }
    }

    /// Somebody of whom the group alone is known, and its members.
    fn group_and_members(&self, group: &str) -> Vec<SubjectQuery> {
        let is_in =
            |one: &&Rc<MappedPrincipal>| one.authentication.identities().any(|identity| identity.is_in_group(group));
        let members = self.access.principals().iter().filter(is_in).map(|one| one.subject.clone());
        std::iter::once(SubjectQuery::Group(group.to_owned())).chain(members).collect()
    }

    fn everyone_except(&self, spared: &[Exemption], can: bool) -> Vec<SubjectQuery> {
        let exempt = ExemptSubjects::from_exemptions(spared);
        // For whoever stands behind a username or a group, the principal answers.
        let mut behind: BTreeSet<SubjectQuery> = BTreeSet::new();
        for identity in self.access.principals().iter().flat_map(|one| one.authentication.identities()) {
            let names = identity.groups.iter().filter_map(|name| name.as_literal());
            let names: Vec<&str> = names.filter(|name| !GROUPS_OF_ALL_USERS.contains(name)).collect();
            behind.extend(names.into_iter().map(|name| SubjectQuery::Group(name.to_owned())));
            behind
                .extend(identity.username.iter().filter_map(|name| name.as_literal()).map(SubjectQuery::from_username));
        }
        let meant = |who: &SubjectQuery| match who {
            SubjectQuery::Arn(_) | SubjectQuery::Account(_) => {
                !exempt.covers(who, &self.access.authenticate(who).identities().collect::<Vec<_>>())
            }
            SubjectQuery::User(name) => {
                (reserved_prefix(name).is_none() || !can && name == ANONYMOUS_USER)
                    && !self.is_exempt(who, &behind, &exempt)
            }
            SubjectQuery::Group(name) => {
                (reserved_prefix(name).is_none() || !can && is_group_of_all_users(name))
                    && !self.is_exempt(who, &behind, &exempt)
            }
            SubjectQuery::ServiceAccount { .. } => {
                !self.is_system_service_account(who) && !self.is_exempt(who, &behind, &exempt)
            }
        };
        self.access.all_subjects().into_iter().filter(meant).collect()
    }

    fn is_exempt(&self, who: &SubjectQuery, behind: &BTreeSet<SubjectQuery>, exempt: &ExemptSubjects) -> bool {
        behind.contains(who) || exempt.covers(who, &self.access.authenticate(who).identities().collect::<Vec<_>>())
    }

    /// A service account that nothing but the cluster's own bindings name.
    fn is_system_service_account(&self, who: &SubjectQuery) -> bool {
        let SubjectQuery::ServiceAccount { namespace, name } = who else {
            return false;
        };
        let is_own = |subject: &Subject| matches!(subject, Subject::ServiceAccount { namespace: its, name: other } if its == namespace && other == name);
        namespace == "kube-system"
            && self
                .access
                .state()
                .bindings
                .iter()
                .filter(|(_, binding)| binding.subjects.iter().any(is_own))
                .all(|(key, _)| reserved_prefix(key.name()).is_some())
    }
}

fn is_group_of_all_users(group: &str) -> bool {
    GROUPS_OF_ALL_USERS.contains(&group) || group.starts_with("system:serviceaccounts:")
}

/// Those whom `everyone-but` names.
#[derive(Default)]
struct ExemptSubjects {
    queries: BTreeSet<SubjectQuery>,
    /// What the authenticator compares of ARNs.
    iam_keys: BTreeSet<String>,
    rbac_subjects: Vec<Subject>,
}

impl ExemptSubjects {
    fn from_exemptions(spared: &[Exemption]) -> Self {
        let mut exempt = Self::default();
        for who in spared.iter().flat_map(|one| &one.subjects) {
            exempt.add(who.clone());
        }
        exempt
    }

    fn add(&mut self, who: SubjectQuery) {
        match &who {
            SubjectQuery::Arn(caller) => drop(self.iam_keys.insert(caller.comparison_key())),
            SubjectQuery::Group(name) => self.rbac_subjects.push(Subject::Group(name.clone())),
            SubjectQuery::User(name) => self.rbac_subjects.push(Subject::User(name.clone())),
            SubjectQuery::ServiceAccount { namespace, name } => {
                self.rbac_subjects.push(Subject::ServiceAccount { namespace: namespace.clone(), name: name.clone() });
            }
            SubjectQuery::Account(_) => {}
        }
        self.queries.insert(who);
    }

    /// Whether somebody is named, however he logs in, or is a machine.
    fn covers(&self, who: &SubjectQuery, identities: &[&Identity]) -> bool {
        let named = |identity: &&Identity| {
            identity.is_node() || self.rbac_subjects.iter().any(|subject| identity.matches_subject(subject))
        };
        let by_caller = matches!(who, SubjectQuery::Arn(caller) if self.iam_keys.contains(&caller.comparison_key()));
        by_caller
            || self.queries.contains(who)
            || (!identities.is_empty() && identities.iter().all(named))
            || matches!(who, SubjectQuery::Group(name) if name == MASTERS)
    }
}
