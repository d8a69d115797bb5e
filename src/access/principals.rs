//! Everybody whom aws-auth lets in, each once, and for whom each stands where bindings name him.
//!
//! It is found once for a state, whatever is asked of it. It knows nothing of bindings and rules.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::identity::{Admission, Identity, Who};
use super::mapping::Mapping;
use crate::state::rbac::Subject;

/// A principal of aws-auth and what it is to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) who: Who,
    pub(crate) admission: Admission,
}

/// What tells one principal from all others: of callers what the authenticator compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Caller(String),
    Account(String),
}

/// By their keys: every caller with an entry that can answer, and then every account that is admitted whole.
#[derive(Debug, Default)]
pub(super) struct Principals {
    keys: Vec<Key>,
    all: Vec<Rc<Principal>>,
    behind: OnceCell<BTreeMap<Subject, Vec<usize>>>,
}

impl Principals {
    pub(super) fn of(mapping: &Mapping) -> Self {
        let callers = mapping.callers().into_iter();
        let callers = callers.map(|(key, caller)| (Key::Caller(key.to_owned()), Who::Arn(caller)));
        let accounts = mapping.accounts().map(|id| (Key::Account(id.to_owned()), Who::Account(id.to_owned())));
        let principal = |(key, who)| (key, Rc::new(Principal { admission: Admission::of(&who, mapping), who }));
        let (keys, all) = callers.chain(accounts).map(principal).unzip();
        Self { keys, all, behind: OnceCell::new() }
    }

    pub(super) fn all(&self) -> &[Rc<Principal>] {
        &self.all
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = (&Key, &Principal)> {
        self.keys.iter().zip(self.all.iter().map(Rc::as_ref))
    }

    /// The places of those whom a subject means.
    pub(super) fn behind(&self, subject: &Subject) -> &[usize] {
        let behind = self.behind.get_or_init(|| {
            let mut behind: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
            for (place, principal) in self.all.iter().enumerate() {
                for subject in principal.admission.identities().flat_map(Identity::subjects) {
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
