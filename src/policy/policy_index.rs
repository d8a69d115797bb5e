//! Looks up the names of principals in a policy, and the places where it defines objects and aws-auth entries.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::check::arn_defaults;
use super::clusters::applies_to_cluster;
use super::expand::expand;
use super::model::Policy;
use super::principal_spec::IdentitySpec;
use crate::access::{EntryPlace, EntryRef, IamIdentity, SubjectQuery};
use crate::diagnostic::SourceLocation;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::access_entry::access_entry_key;
use crate::state::aws_auth::Section;
use crate::state::entry_marks::{EntryMarks, entry_id};
use crate::state::owner::{self, Owner};

/// Who manages an object or an aws-auth entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ManagedBy {
    /// This policy, which defines it here.
    Location(SourceLocation),
    /// Another policy, or this one if it no longer defines it.
    Policy(String),
    /// No policy.
    Unmanaged,
}

/// The names and places of a policy for one cluster. The default is the index of no policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyIndex {
    policy_name: String,
    /// By comparison key of the ARN, or by account ID.
    names_by_identity: BTreeMap<String, String>,
    principals: BTreeMap<String, SubjectQuery>,
    /// The names of the principals that the policy has in other clusters only.
    principals_elsewhere: BTreeSet<String>,
    object_locations: BTreeMap<ObjectKey, SourceLocation>,
    entry_locations: BTreeMap<String, SourceLocation>,
}

impl PolicyIndex {
    /// Returns an index of a policy of which only the name is known.
    pub(crate) fn from_policy_name(policy: &str) -> Self {
        Self { policy_name: policy.to_owned(), ..Self::default() }
    }

    /// Returns an index of only the principals.
    pub(crate) fn from_principals(policy: &Policy, cluster: Option<&str>) -> Self {
        let defaults = arn_defaults(policy, cluster);
        let mut index = Self { policy_name: policy.name.value.clone(), ..Self::default() };
        for (name, principal) in &policy.principals {
            if !applies_to_cluster(principal.clusters.as_deref(), cluster) {
                index.principals_elsewhere.insert(name.clone());
                continue;
            }
            let query = match (&principal.identity.value, principal.identity.value.resolve_arn(defaults)) {
                (IdentitySpec::Account(id), _) => Some(SubjectQuery::Account(id.to_string())),
                (_, Some(arn)) => IamIdentity::parse(&arn.to_aws_auth()).ok().map(SubjectQuery::Arn),
                (_, None) => None,
            };
            if let Some(query) = query {
                index.names_by_identity.extend(identity_key(&query).map(|key| (key, name.clone())));
                index.principals.insert(name.clone(), query);
            }
        }
        index
    }

    /// Returns an index of the principals, and of the objects and entries that the policy defines for the cluster.
    /// Without the objects and entries if the policy cannot be expanded for this cluster.
    pub(crate) fn from_policy(policy: &Policy, cluster: Option<&str>, state: &State, now: Timestamp) -> Self {
        let mut index = Self::from_principals(policy, cluster);
        let Ok((desired, _)) = expand(policy, cluster, state, now) else {
            return index;
        };
        let roles = desired.roles.iter().map(|(key, item)| (key, item.span));
        let bindings = desired.bindings.iter().map(|(key, item)| (key, item.span));
        let access_entries = desired.access_entries.iter().map(|(key, item)| (key, item.span));
        let objects =
            roles.chain(bindings).chain(access_entries).map(|(key, span)| (key.clone(), policy.sources.location(span)));
        index.object_locations = objects.collect();
        let entries = desired.entries.iter().map(|item| (item.value.key(), policy.sources.location(item.span)));
        index.entry_locations = entries.collect();
        index
    }

    /// Returns the name of a principal in the policy.
    pub(crate) fn principal_name(&self, query: &SubjectQuery) -> Option<&str> {
        self.names_by_identity.get(&identity_key(query)?).map(String::as_str)
    }

    /// Returns the principal with this name in the policy.
    pub(crate) fn principal(&self, name: &str) -> Option<&SubjectQuery> {
        self.principals.get(name)
    }

    /// Returns whether the policy has a principal with this name in other clusters only.
    pub(crate) fn is_in_other_clusters(&self, name: &str) -> bool {
        self.principals_elsewhere.contains(name)
    }

    pub(crate) fn principal_names(&self) -> impl Iterator<Item = &str> {
        self.principals.keys().map(String::as_str)
    }

    /// Returns who manages a role or a binding of the state.
    pub(crate) fn managed_by(&self, state: &State, key: &ObjectKey) -> ManagedBy {
        let Some(meta) = state.meta(key) else {
            return ManagedBy::Unmanaged;
        };
        match owner::object_owner(key, meta, &self.policy_name) {
            Owner::ThisPolicy => self.managed_by_this_policy(self.object_locations.get(key)),
            Owner::OtherPolicy(other) => ManagedBy::Policy(other),
            Owner::Unowned => ManagedBy::Unmanaged,
        }
    }

    /// Returns who manages an access entry or an aws-auth entry, given the marks of the state.
    pub(crate) fn entry_managed_by(&self, state: &State, marks: &EntryMarks, entry: &EntryRef) -> ManagedBy {
        let EntryPlace::AwsAuth { section, .. } = entry.place else {
            return self.managed_by(state, &access_entry_key(&entry.principal));
        };
        let key = match section {
            Section::Accounts => entry.principal.clone(),
            Section::Roles | Section::Users => entry.principal.to_lowercase(),
        };
        match marks.owner(entry_id(section, &key)) {
            Some(name) if name == self.policy_name => self.managed_by_this_policy(self.entry_locations.get(&key)),
            Some(other) => ManagedBy::Policy(other.to_owned()),
            None => ManagedBy::Unmanaged,
        }
    }

    fn managed_by_this_policy(&self, location: Option<&SourceLocation>) -> ManagedBy {
        match location {
            Some(location) => ManagedBy::Location(location.clone()),
            None => ManagedBy::Policy(self.policy_name.clone()),
        }
    }
}

fn identity_key(query: &SubjectQuery) -> Option<String> {
    match query {
        SubjectQuery::Arn(identity) => Some(identity.comparison_key()),
        SubjectQuery::Account(id) => Some(id.clone()),
        SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => None,
    }
}
