//! The principals of aws-auth, each once, and an index from the subjects of bindings to the principals that they match.
//!
//! The index is built once for a state. This module may not depend on bindings or rules.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::IdentityMapping;
use crate::state::rbac::Subject;

/// A principal of aws-auth and its identity to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedPrincipal {
    pub(crate) subject: SubjectQuery,
    pub(crate) authentication: Authentication,
}

/// The key of a principal. For an IAM identity it is the string that the authenticator compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PrincipalKey {
    IamIdentity(String),
    Account(String),
}

/// The principals in the order of their keys: every IAM identity that an entry matches, then every account that
/// mapAccounts maps.
#[derive(Debug, Default)]
pub(super) struct PrincipalIndex {
    keys: Vec<PrincipalKey>,
    all: Vec<Rc<MappedPrincipal>>,
    by_subject: OnceCell<BTreeMap<Subject, Vec<usize>>>,
}

impl PrincipalIndex {
    pub(super) fn new(mapping: &IdentityMapping) -> Self {
        let iam_identities = mapping
            .iam_identities()
            .into_iter()
            .map(|(key, iam_identity)| (PrincipalKey::IamIdentity(key.to_owned()), SubjectQuery::Arn(iam_identity)));
        let accounts = mapping
            .account_ids()
            .map(|id| (PrincipalKey::Account(id.to_owned()), SubjectQuery::Account(id.to_owned())));
        let principal = |(key, subject)| {
            (key, Rc::new(MappedPrincipal { authentication: Authentication::for_query(&subject, mapping), subject }))
        };
        let (keys, all) = iam_identities.chain(accounts).map(principal).unzip();
        Self { keys, all, by_subject: OnceCell::new() }
    }

    pub(super) fn all(&self) -> &[Rc<MappedPrincipal>] {
        &self.all
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = (&PrincipalKey, &MappedPrincipal)> {
        self.keys.iter().zip(self.all.iter().map(Rc::as_ref))
    }

    /// Returns the positions of the principals that a subject matches, in ascending order.
    pub(super) fn positions_of(&self, subject: &Subject) -> &[usize] {
        let by_subject = self.by_subject.get_or_init(|| {
            let mut by_subject: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
            for (position, principal) in self.all.iter().enumerate() {
                for subject in principal.authentication.identities().flat_map(Identity::subjects) {
                    let positions = by_subject.entry(subject).or_default();
                    // Several identities of an ambiguous principal can have the same subject.
                    if positions.last() != Some(&position) {
                        positions.push(position);
                    }
                }
            }
            by_subject
        });
        by_subject.get(subject).map_or(&[], Vec::as_slice)
    }
}
