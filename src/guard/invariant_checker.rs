//! Whom an invariant is about, in one state.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::access::{AccessView, Identity, MASTERS, MappedPrincipal, Who};
use crate::names::reserved_prefix;
use crate::plan::{Meant, Spared};
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
    pub(super) fn resolve_subjects(&self, subject: &Meant, can: bool) -> Vec<Who> {
        match subject {
            Meant::Group(group) => self.group_and_members(group),
            Meant::Principal { name: _, who } => who.iter().cloned().collect(),
            Meant::User(name) => vec![Who::from_username(name)],
            Meant::ServiceAccount { namespace, name } => {
                vec![Who::ServiceAccount { namespace: namespace.clone(), name: name.clone() }]
            }
            Meant::EveryoneBut(spared) => self.everyone_except(spared, can),
        }
    }

    /// Somebody of whom the group alone is known, and its members.
    fn group_and_members(&self, group: &str) -> Vec<Who> {
        let is_in =
            |one: &&Rc<MappedPrincipal>| one.authentication.identities().any(|identity| identity.is_in_group(group));
        let members = self.access.principals().iter().filter(is_in).map(|one| one.subject.clone());
        std::iter::once(Who::Group(group.to_owned())).chain(members).collect()
    }

    fn everyone_except(&self, spared: &[Spared], can: bool) -> Vec<Who> {
        let exempt = ExemptSubjects::from_exemptions(spared);
        // For whoever stands behind a username or a group, the principal answers.
        let mut behind: BTreeSet<Who> = BTreeSet::new();
        for identity in self.access.principals().iter().flat_map(|one| one.authentication.identities()) {
            let names = identity.groups.iter().filter_map(|name| name.as_literal());
            let names: Vec<&str> = names.filter(|name| !GROUPS_OF_ALL_USERS.contains(name)).collect();
            behind.extend(names.into_iter().map(|name| Who::Group(name.to_owned())));
            behind.extend(identity.username.iter().filter_map(|name| name.as_literal()).map(Who::from_username));
        }
        let meant = |who: &Who| match who {
            Who::Arn(_) | Who::Account(_) => {
                !exempt.covers(who, &self.access.authenticate(who).identities().collect::<Vec<_>>())
            }
            Who::User(name) => {
                (reserved_prefix(name).is_none() || !can && name == ANONYMOUS_USER)
                    && !self.is_exempt(who, &behind, &exempt)
            }
            Who::Group(name) => {
                (reserved_prefix(name).is_none() || !can && is_group_of_all_users(name))
                    && !self.is_exempt(who, &behind, &exempt)
            }
            Who::ServiceAccount { .. } => {
                !self.is_system_service_account(who) && !self.is_exempt(who, &behind, &exempt)
            }
        };
        self.access.all_subjects().into_iter().filter(meant).collect()
    }

    fn is_exempt(&self, who: &Who, behind: &BTreeSet<Who>, exempt: &ExemptSubjects) -> bool {
        behind.contains(who) || exempt.covers(who, &self.access.authenticate(who).identities().collect::<Vec<_>>())
    }

    /// A service account that nothing but the cluster's own bindings name.
    fn is_system_service_account(&self, who: &Who) -> bool {
        let Who::ServiceAccount { namespace, name } = who else {
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
    queries: BTreeSet<Who>,
    /// What the authenticator compares of ARNs.
    iam_keys: BTreeSet<String>,
    rbac_subjects: Vec<Subject>,
}

impl ExemptSubjects {
    fn from_exemptions(spared: &[Spared]) -> Self {
        let mut exempt = Self::default();
        for who in spared.iter().flat_map(|one| &one.who) {
            exempt.add(who.clone());
        }
        exempt
    }

    fn add(&mut self, who: Who) {
        match &who {
            Who::Arn(caller) => drop(self.iam_keys.insert(caller.comparison_key())),
            Who::Group(name) => self.rbac_subjects.push(Subject::Group(name.clone())),
            Who::User(name) => self.rbac_subjects.push(Subject::User(name.clone())),
            Who::ServiceAccount { namespace, name } => {
                self.rbac_subjects.push(Subject::ServiceAccount { namespace: namespace.clone(), name: name.clone() });
            }
            Who::Account(_) => {}
        }
        self.queries.insert(who);
    }

    /// Whether somebody is named, however he logs in, or is a machine.
    fn covers(&self, who: &Who, identities: &[&Identity]) -> bool {
        let named = |identity: &&Identity| {
            identity.is_node() || self.rbac_subjects.iter().any(|subject| identity.matches_subject(subject))
        };
        let by_caller = matches!(who, Who::Arn(caller) if self.iam_keys.contains(&caller.comparison_key()));
        by_caller
            || self.queries.contains(who)
            || (!identities.is_empty() && identities.iter().all(named))
            || matches!(who, Who::Group(name) if name == MASTERS)
    }
}
