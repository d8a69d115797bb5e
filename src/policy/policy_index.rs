//! Whom a policy calls by a name of its own, and where it says what is in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::check::arn_defaults;
use super::clusters::applies_to_cluster;
use super::expand::expand;
use super::model::{IdentitySpec, Policy};
use crate::access::{EntryRef, IamIdentity, SubjectQuery};
use crate::diagnostic::SourceLocation;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::entry_marks::entry_id;
use crate::state::owner::{self, Owner};

/// Whose an object or an entry is, as a reader of an answer wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ManagedBy {
    /// Of the policy, which says so there.
    Location(SourceLocation),
    /// Of another policy; of this one, where it does not say so any more.
    Policy(String),
    /// Nobody owns it.
    Unmanaged,
}

/// What a policy knows of one cluster; nothing where there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyIndex {
    policy_name: String,
    /// By key of the caller, or id of the account.
    names_by_identity: BTreeMap<String, String>,
    principals: BTreeMap<String, SubjectQuery>,
    object_locations: BTreeMap<ObjectKey, SourceLocation>,
    entry_locations: BTreeMap<String, SourceLocation>,
}

impl PolicyIndex {
    /// A policy that is not at hand.
    pub(crate) fn from_policy_name(policy: &str) -> Self {
        Self { policy_name: policy.to_owned(), ..Self::default() }
    }

    /// The names of the principals.
    pub(crate) fn from_principals(policy: &Policy, cluster: Option<&str>) -> Self {
        let home = arn_defaults(policy, cluster);
        let mut known = Self { policy_name: policy.name.value.clone(), ..Self::default() };
        for (name, principal) in &policy.principals {
            if !applies_to_cluster(principal.clusters.as_deref(), cluster) {
                continue;
            }
            let who = match (&principal.identity.value, principal.identity.value.resolve_arn(home)) {
                (IdentitySpec::Account(id), _) => Some(SubjectQuery::Account(id.to_string())),
                (_, Some(arn)) => IamIdentity::parse(&arn.to_aws_auth()).ok().map(SubjectQuery::Arn),
                (_, None) => None,
            };
            if let Some(who) = who {
                known.names_by_identity.extend(identity_key(&who).map(|key| (key, name.clone())));
                known.principals.insert(name.clone(), who);
            }
        }
        known
    }

    /// The names, and the places of all that the policy wants in the cluster; of a policy that does not fit it, none.
    pub(crate) fn from_policy(policy: &Policy, cluster: Option<&str>, state: &State, now: Timestamp) -> Self {
        let mut known = Self::from_principals(policy, cluster);
        let Ok((desired, _)) = expand(policy, cluster, state, now) else {
            return known;
        };
        let roles = desired.roles.iter().map(|(key, wanted)| (key, wanted.span));
        let bindings = desired.bindings.iter().map(|(key, wanted)| (key, wanted.span));
        let objects = roles.chain(bindings).map(|(key, span)| (key.clone(), policy.sources.location(span)));
        known.object_locations = objects.collect();
        let entries = desired.entries.iter().map(|wanted| (wanted.value.key(), policy.sources.location(wanted.span)));
        known.entry_locations = entries.collect();
        known
    }

    /// The name that the policy has for somebody.
    pub(crate) fn principal_name(&self, who: &SubjectQuery) -> Option<&str> {
        self.names_by_identity.get(&identity_key(who)?).map(String::as_str)
    }

    /// The principal of that name.
    pub(crate) fn principal(&self, name: &str) -> Option<&SubjectQuery> {
        self.principals.get(name)
    }

    pub(crate) fn principal_names(&self) -> impl Iterator<Item = &str> {
        self.principals.keys().map(String::as_str)
    }

    /// Whose a role or a binding of the state is.
    pub(crate) fn managed_by(&self, state: &State, key: &ObjectKey) -> ManagedBy {
        let Some(meta) = state.meta(key) else {
            return ManagedBy::Unmanaged;
        };
        match owner::object_owner(meta, &self.policy_name) {
            Owner::ThisPolicy => self.managed_by_this_policy(self.object_locations.get(key)),
            Owner::OtherPolicy(other) => ManagedBy::Policy(other),
            Owner::Unowned => ManagedBy::Unmanaged,
        }
    }

    /// Whose an entry of the state's aws-auth is.
    pub(crate) fn entry_managed_by(&self, state: &State, entry: &EntryRef) -> ManagedBy {
        let key = match entry.section {
            Section::Accounts => entry.principal.clone(),
            Section::Roles | Section::Users => entry.principal.to_lowercase(),
        };
        match state.entry_marks().owner(entry_id(entry.section, &key)) {
            Some(name) if name == self.policy_name => self.managed_by_this_policy(self.entry_locations.get(&key)),
            Some(other) => ManagedBy::Policy(other.to_owned()),
            None => ManagedBy::Unmanaged,
        }
    }

    fn managed_by_this_policy(&self, place: Option<&SourceLocation>) -> ManagedBy {
        place.map_or_else(|| ManagedBy::Policy(self.policy_name.clone()), |place| ManagedBy::Location(place.clone()))
    }
}

fn identity_key(who: &SubjectQuery) -> Option<String> {
    match who {
        SubjectQuery::Arn(caller) => Some(caller.comparison_key()),
        SubjectQuery::Account(id) => Some(id.clone()),
        SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => None,
    }
}
