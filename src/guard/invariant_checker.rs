//! Resolves the subject of an invariant to the subjects of a state.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::built_in_identities::{CONTROLLER_NAMESPACE, CONTROLLERS, GROUPS, USERS};
use crate::access::{AccessView, Identity, MappedPrincipal, SubjectQuery};
use crate::plan::{Exemption, InvariantSubject};
use crate::policy::PolicyIndex;
use crate::state::rbac::Subject;

/// Reserved groups that an invariant about everyone includes, since together they contain all users.
const GROUPS_OF_ALL_USERS: [&str; 3] = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
const ANONYMOUS_USER: &str = "system:anonymous";

/// Checks invariants against the effective access in one cluster state.
pub(super) struct InvariantChecker<'a, 's> {
    pub(super) access: &'a AccessView<'s>,
    pub(super) policy_index: &'a PolicyIndex,
}

impl<'a, 's> InvariantChecker<'a, 's> {
    pub(super) fn new(access: &'a AccessView<'s>, policy_index: &'a PolicyIndex) -> Self {
        access.grants.build_index();
        Self { access, policy_index }
    }

    /// Returns the subjects that the invariant is about. `must_allow` is whether they must be able to do something:
    /// such an invariant does not include anonymous users.
    pub(super) fn resolve_subjects(&self, subject: &InvariantSubject, must_allow: bool) -> Vec<SubjectQuery> {
        match subject {
            InvariantSubject::Group(group) => self.group_and_members(group),
            InvariantSubject::Principal { name: _, subject: who } => {
                who.iter().flat_map(|who| self.with_variants(who.clone(), must_allow)).collect()
            }
            InvariantSubject::User(name) => self.with_variants(SubjectQuery::from_username(name), must_allow),
            InvariantSubject::ServiceAccount { namespace, name } => {
                let account = SubjectQuery::ServiceAccount { namespace: namespace.clone(), name: name.clone() };
                self.with_variants(account, must_allow)
            }
            InvariantSubject::EveryoneBut(exemptions) => self.everyone_except(exemptions, must_allow),
        }
    }

    /// Returns the subject and its variants: the sessions of a role with more access than the others, and the principals
    /// of aws-auth with a username.
    ///
    /// If they must be able to do something, the sessions add nothing, since every session has the access of the role. A
    /// username that only principals of aws-auth have counts as these principals, with the groups of their entries.
    fn with_variants(&self, subject: SubjectQuery, must_allow: bool) -> Vec<SubjectQuery> {
        let variants: Vec<SubjectQuery> =
            self.access.variants(&subject).into_iter().map(|variant| variant.subject).collect();
        match (&subject, must_allow) {
            (SubjectQuery::User(_), true) if !variants.is_empty() => variants,
            (_, true) => vec![subject],
            (_, false) => std::iter::once(subject).chain(variants).collect(),
        }
    }

    /// Returns the group itself, which has only the access of the group, and its members.
    fn group_and_members(&self, group: &str) -> Vec<SubjectQuery> {
        let is_member = |principal: &&Rc<MappedPrincipal>| {
            principal.authentication.identities().any(|identity| identity.is_in_group(group))
        };
        let principals = self.access.principals_and_variants().iter();
        let members = principals.filter(is_member).map(|principal| principal.subject.clone());
        std::iter::once(SubjectQuery::Group(group.to_owned())).chain(members).collect()
    }

    fn everyone_except(&self, exemptions: &[Exemption], must_allow: bool) -> Vec<SubjectQuery> {
        let exempt = ExemptSubjects::from_exemptions(exemptions);
        let from_entries = self.subjects_from_entries();
        let is_included = |subject: &SubjectQuery| match subject {
            SubjectQuery::Arn(_) | SubjectQuery::Account(_) => !self.is_exempt(subject, &exempt),
            // A principal has all access of the users and groups that its entry gives, so only the principal is
            // checked.
            _ if from_entries.contains(subject) => false,
            // Anonymous users need not be able to do anything.
            SubjectQuery::User(name) if must_allow && name == ANONYMOUS_USER => false,
            SubjectQuery::Group(name) if must_allow && is_group_of_all_users(name) => false,
            SubjectQuery::User(name) => !USERS.contains(&name.as_str()) && !self.is_exempt(subject, &exempt),
            SubjectQuery::Group(name) => !GROUPS.contains(&name.as_str()) && !self.is_exempt(subject, &exempt),
            SubjectQuery::ServiceAccount { namespace, name } => {
                let is_controller = namespace == CONTROLLER_NAMESPACE && CONTROLLERS.contains(&name.as_str());
                !is_controller && !self.is_exempt(subject, &exempt)
            }
        };
        self.access.all_subjects().into_iter().filter(is_included).collect()
    }

    /// Returns the users and groups that aws-auth entries give, without the groups of all users.
    fn subjects_from_entries(&self) -> BTreeSet<SubjectQuery> {
        let mut subjects = BTreeSet::new();
        for identity in self.access.principals().iter().flat_map(|principal| principal.authentication.identities()) {
            let groups = identity.groups.iter().filter_map(|name| name.as_literal());
            let groups = groups.filter(|name| !GROUPS_OF_ALL_USERS.contains(name));
            subjects.extend(groups.map(|name| SubjectQuery::Group(name.to_owned())));
            let usernames = identity.username.iter().filter_map(|name| name.as_literal());
            subjects.extend(usernames.map(SubjectQuery::from_username));
        }
        subjects
    }

    fn is_exempt(&self, subject: &SubjectQuery, exempt: &ExemptSubjects) -> bool {
        exempt.covers(subject, &self.access.authenticate(subject).identities().collect::<Vec<_>>())
    }
}

fn is_group_of_all_users(group: &str) -> bool {
    GROUPS_OF_ALL_USERS.contains(&group) || group.starts_with("system:serviceaccounts:")
}

/// The subjects in `everyone-but`.
#[derive(Default)]
struct ExemptSubjects {
    queries: BTreeSet<SubjectQuery>,
    /// ARNs in the form that the authenticator compares.
    iam_keys: BTreeSet<String>,
    rbac_subjects: Vec<Subject>,
}

impl ExemptSubjects {
    fn from_exemptions(exemptions: &[Exemption]) -> Self {
        let mut exempt = Self::default();
        for subject in exemptions.iter().flat_map(|exemption| &exemption.subjects) {
            exempt.add(subject.clone());
        }
        exempt
    }

    fn add(&mut self, subject: SubjectQuery) {
        match &subject {
            SubjectQuery::Arn(identity) => drop(self.iam_keys.insert(identity.comparison_key())),
            SubjectQuery::Group(name) => self.rbac_subjects.push(Subject::Group(name.clone())),
            SubjectQuery::User(name) => self.rbac_subjects.push(Subject::User(name.clone())),
            SubjectQuery::ServiceAccount { namespace, name } => {
                self.rbac_subjects.push(Subject::ServiceAccount { namespace: namespace.clone(), name: name.clone() });
            }
            SubjectQuery::Account(_) => {}
        }
        self.queries.insert(subject);
    }

    /// Returns whether the subject is exempt in all of its identities.
    fn covers(&self, subject: &SubjectQuery, identities: &[&Identity]) -> bool {
        let is_exempt = |identity: &&Identity| self.rbac_subjects.iter().any(|exempt| identity.matches_subject(exempt));
        let has_exempt_arn =
            matches!(subject, SubjectQuery::Arn(identity) if self.iam_keys.contains(&identity.comparison_key()));
        has_exempt_arn || self.queries.contains(subject) || (!identities.is_empty() && identities.iter().all(is_exempt))
    }
}
