//! Whom an invariant is about, in one state.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::access::{Access, Identity, MASTERS, Principal, Who};
use crate::names::reserved_prefix;
use crate::plan::{Meant, Spared};
use crate::policy::Known;
use crate::state::rbac::Subject;

/// Groups that are reserved and still mean people: what they have, everybody has.
const OF_EVERYBODY: [&str; 3] = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
const ANONYMOUS: &str = "system:anonymous";

/// The cluster's access, and those who log in by aws-auth.
pub(super) struct People<'a, 's> {
    pub(super) access: &'a Access<'s>,
    pub(super) known: &'a Known,
}

impl<'a, 's> People<'a, 's> {
    pub(super) fn of(access: &'a Access<'s>, known: &'a Known) -> Self {
        access.grants.index();
        Self { access, known }
    }

    /// Everybody who is meant; `can` means nobody who never logged in.
    pub(super) fn meant(&self, subject: &Meant, can: bool) -> Vec<Who> {
        match subject {
            Meant::Group(group) => self.group(group),
            Meant::Principal { name: _, who } => who.iter().cloned().collect(),
            Meant::User(name) => vec![Who::of_username(name)],
            Meant::ServiceAccount { namespace, name } => {
                vec![Who::ServiceAccount { namespace: namespace.clone(), name: name.clone() }]
            }
            Meant::EveryoneBut(spared) => self.everyone_but(spared, can),
        }
    }

    /// Somebody of whom the group alone is known, and its members.
    fn group(&self, group: &str) -> Vec<Who> {
        let is_in = |one: &&Rc<Principal>| one.admission.identities().any(|identity| identity.is_in(group));
        let members = self.access.principals().iter().filter(is_in).map(|one| one.who.clone());
        std::iter::once(Who::Group(group.to_owned())).chain(members).collect()
    }

    fn everyone_but(&self, spared: &[Spared], can: bool) -> Vec<Who> {
        let exempt = Exempt::of(spared);
        // For whoever stands behind a username or a group, the principal answers.
        let mut behind: BTreeSet<Who> = BTreeSet::new();
        for identity in self.access.principals().iter().flat_map(|one| one.admission.identities()) {
            let names = identity.groups.iter().filter_map(|name| name.literal());
            let names: Vec<&str> = names.filter(|name| !OF_EVERYBODY.contains(name)).collect();
            behind.extend(names.into_iter().map(|name| Who::Group(name.to_owned())));
            behind.extend(identity.username.iter().filter_map(|name| name.literal()).map(Who::of_username));
        }
        let meant = |who: &Who| match who {
            Who::Arn(_) | Who::Account(_) => {
                !exempt.covers(who, &self.access.admit(who).identities().collect::<Vec<_>>())
            }
            Who::User(name) => {
                (reserved_prefix(name).is_none() || !can && name == ANONYMOUS) && !self.is_spared(who, &behind, &exempt)
            }
            Who::Group(name) => {
                (reserved_prefix(name).is_none() || !can && is_of_everybody(name))
                    && !self.is_spared(who, &behind, &exempt)
            }
            Who::ServiceAccount { .. } => !self.is_of_cluster(who) && !self.is_spared(who, &behind, &exempt),
        };
        self.access.everybody().into_iter().filter(meant).collect()
    }

    fn is_spared(&self, who: &Who, behind: &BTreeSet<Who>, exempt: &Exempt) -> bool {
        behind.contains(who) || exempt.covers(who, &self.access.admit(who).identities().collect::<Vec<_>>())
    }

    /// A service account that nothing but the cluster's own bindings name.
    fn is_of_cluster(&self, who: &Who) -> bool {
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

fn is_of_everybody(group: &str) -> bool {
    OF_EVERYBODY.contains(&group) || group.starts_with("system:serviceaccounts:")
}

/// Those whom `everyone-but` names.
#[derive(Default)]
struct Exempt {
    all: BTreeSet<Who>,
    /// What the authenticator compares of ARNs.
    callers: BTreeSet<String>,
    subjects: Vec<Subject>,
}

impl Exempt {
    fn of(spared: &[Spared]) -> Self {
        let mut exempt = Self::default();
        for who in spared.iter().flat_map(|one| &one.who) {
            exempt.add(who.clone());
        }
        exempt
    }

    fn add(&mut self, who: Who) {
        match &who {
            Who::Arn(caller) => drop(self.callers.insert(caller.key())),
            Who::Group(name) => self.subjects.push(Subject::Group(name.clone())),
            Who::User(name) => self.subjects.push(Subject::User(name.clone())),
            Who::ServiceAccount { namespace, name } => {
                self.subjects.push(Subject::ServiceAccount { namespace: namespace.clone(), name: name.clone() });
            }
            Who::Account(_) => {}
        }
        self.all.insert(who);
    }

    /// Whether somebody is named, however he logs in, or is a machine.
    fn covers(&self, who: &Who, identities: &[&Identity]) -> bool {
        let named = |identity: &&Identity| {
            identity.is_node() || self.subjects.iter().any(|subject| identity.is_meant_by(subject))
        };
        let by_caller = matches!(who, Who::Arn(caller) if self.callers.contains(&caller.key()));
        by_caller
            || self.all.contains(who)
            || (!identities.is_empty() && identities.iter().all(named))
            || matches!(who, Who::Group(name) if name == MASTERS)
    }
}
