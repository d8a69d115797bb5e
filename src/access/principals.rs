//! Everybody whom aws-auth lets in, each once, and for whom each stands where bindings name him.
//!
//! It is found once for a state, whatever is asked of it. It knows nothing of bindings and rules.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::IdentityMapping;
use crate::state::rbac::Subject;

/// A principal of aws-auth and what it is to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedPrincipal {
    pub(crate) subject: SubjectQuery,
    pub(crate) authentication: Authentication,
}

/// What tells one principal from all others: of callers what the authenticator compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PrincipalKey {
    IamIdentity(String),
    Account(String),
}

/// By their keys: every caller with an entry that can answer, and then every account that is admitted whole.
#[derive(Debug, Default)]
pub(super) struct PrincipalIndex {
    keys: Vec<PrincipalKey>,
    all: Vec<Rc<MappedPrincipal>>,
    by_subject: OnceCell<BTreeMap<Subject, Vec<usize>>>,
}

impl PrincipalIndex {
    pub(super) fn new(mapping: &IdentityMapping) -> Self {
        let callers = mapping.iam_identities().into_iter();
        let callers =
            callers.map(|(key, caller)| (PrincipalKey::IamIdentity(key.to_owned()), SubjectQuery::Arn(caller)));
        let accounts = mapping
            .account_ids()
            .map(|id| (PrincipalKey::Account(id.to_owned()), SubjectQuery::Account(id.to_owned())));
        let principal = |(key, who)| {
            (key, Rc::new(MappedPrincipal { authentication: Authentication::for_query(&who, mapping), subject: who }))
        };
        let (keys, all) = callers.chain(accounts).map(principal).unzip();
        Self { keys, all, by_subject: OnceCell::new() }
    }

    pub(super) fn all(&self) -> &[Rc<MappedPrincipal>] {
        &self.all
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = (&PrincipalKey, &MappedPrincipal)> {
        self.keys.iter().zip(self.all.iter().map(Rc::as_ref))
    }

    /// The places of those whom a subject means.
    pub(super) fn positions_of(&self, subject: &Subject) -> &[usize] {
        let behind = self.by_subject.get_or_init(|| {
            let mut behind: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
            for (place, principal) in self.all.iter().enumerate() {
                for subject in principal.authentication.identities().flat_map(Identity::subjects) {
                    let places = behind.entry(subject).or_default();
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
            behind
        });
        behind.get(subject).map_or(&[], Vec::as_slice)
    }
}
