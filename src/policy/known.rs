//! Whom a policy calls by a name of its own, and where it says what is in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::check::home_of;
use super::expand::expand;
use super::model::{Identity, Policy};
use super::scope::is_for;
use crate::access::{Caller, EntryRef, Who};
use crate::diagnostic::Place;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::entry_marks::id;
use crate::state::owner::{self, Owner};

/// Whose an object or an entry is, as a reader of an answer wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Of the policy, which says so there.
    Here(Place),
    /// Of another policy; of this one, where it does not say so any more.
    Policy(String),
    /// Nobody owns it.
    Unmanaged,
}

/// What a policy knows of one cluster; nothing where there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    policy: String,
    /// By key of the caller, or id of the account.
    names: BTreeMap<String, String>,
    principals: BTreeMap<String, Who>,
    objects: BTreeMap<ObjectKey, Place>,
    entries: BTreeMap<String, Place>,
}

impl Known {
    /// A policy that is not at hand.
    pub(crate) fn by_name(policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..Self::default() }
    }

    /// The names of the principals.
    pub(crate) fn names(policy: &Policy, cluster: Option<&str>) -> Self {
        let home = home_of(policy, cluster);
        let mut known = Self { policy: policy.name.value.clone(), ..Self::default() };
        for (name, principal) in &policy.principals {
            if !is_for(principal.clusters.as_deref(), cluster) {
                continue;
            }
            let who = match (&principal.identity.value, principal.identity.value.arn(home)) {
                (Identity::Account(id), _) => Some(Who::Account(id.to_string())),
                (_, Some(arn)) => Caller::parse(&arn.for_aws_auth()).ok().map(Who::Arn),
                (_, None) => None,
            };
            if let Some(who) = who {
                known.names.extend(key(&who).map(|key| (key, name.clone())));
                known.principals.insert(name.clone(), who);
            }
        }
        known
    }

    /// The names, and the places of all that the policy wants in the cluster; of a policy that does not fit it, none.
    pub(crate) fn of(policy: &Policy, cluster: Option<&str>, state: &State, now: Timestamp) -> Self {
        let mut known = Self::names(policy, cluster);
        let Ok((desired, _)) = expand(policy, cluster, state, now) else {
            return known;
        };
        let roles = desired.roles.iter().map(|(key, wanted)| (key, wanted.span));
        let bindings = desired.bindings.iter().map(|(key, wanted)| (key, wanted.span));
        let objects = roles.chain(bindings).map(|(key, span)| (key.clone(), policy.sources.place(span)));
        known.objects = objects.collect();
        let entries = desired.entries.iter().map(|wanted| (wanted.value.key(), policy.sources.place(wanted.span)));
        known.entries = entries.collect();
        known
    }

    /// The name that the policy has for somebody.
    pub(crate) fn name_of(&self, who: &Who) -> Option<&str> {
        self.names.get(&key(who)?).map(String::as_str)
    }

    /// The principal of that name.
    pub(crate) fn principal(&self, name: &str) -> Option<&Who> {
        self.principals.get(name)
    }

    pub(crate) fn principals(&self) -> impl Iterator<Item = &str> {
        self.principals.keys().map(String::as_str)
    }

    /// Whose a role or a binding of the state is.
    pub(crate) fn origin(&self, state: &State, key: &ObjectKey) -> Origin {
        let Some(meta) = state.meta(key) else {
            return Origin::Unmanaged;
        };
        match owner::owner(meta, &self.policy) {
            Owner::Ours => self.of_ours(self.objects.get(key)),
            Owner::Theirs(other) => Origin::Policy(other),
            Owner::Nobody => Origin::Unmanaged,
        }
    }

    /// Whose an entry of the state's aws-auth is.
    pub(crate) fn entry_origin(&self, state: &State, entry: &EntryRef) -> Origin {
        let key = match entry.section {
            Section::Accounts => entry.principal.clone(),
            Section::Roles | Section::Users => entry.principal.to_lowercase(),
        };
        match state.entry_marks().owner(id(entry.section, &key)) {
            Some(name) if name == self.policy => self.of_ours(self.entries.get(&key)),
            Some(other) => Origin::Policy(other.to_owned()),
            None => Origin::Unmanaged,
        }
    }

    fn of_ours(&self, place: Option<&Place>) -> Origin {
        place.map_or_else(|| Origin::Policy(self.policy.clone()), |place| Origin::Here(place.clone()))
    }
}

fn key(who: &Who) -> Option<String> {
    match who {
        Who::Arn(caller) => Some(caller.key()),
        Who::Account(id) => Some(id.clone()),
        Who::User(_) | Who::Group(_) | Who::ServiceAccount { .. } => None,
    }
}
