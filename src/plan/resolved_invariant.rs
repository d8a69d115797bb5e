//! What a plan carries of `[[invariants]]`, told for its cluster, so that a saved plan is held to them without its policy.

use std::collections::BTreeSet;

use crate::access::SubjectQuery;
use crate::diagnostic::{SourceLocation, Span};
use crate::names::reserved_prefix;
use crate::policy::{Assertion, InvariantSubjectSpec, Located, Policy, PolicyIndex, applies_to_cluster};

/// An invariant in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedInvariant {
    pub(crate) location: SourceLocation,
    /// Of a policy that is at hand.
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    pub(crate) subject: InvariantSubject,
    pub(crate) claim: Assertion,
}

/// Whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvariantSubject {
    Group(String),
    Principal {
        name: String,
        /// None: a bare name that finds no account.
        subject: Option<SubjectQuery>,
    },
    User(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
    EveryoneBut(Vec<Exemption>),
}

/// Somebody whom `everyone-but` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exemption {
    pub(crate) name: String,
    /// All who have that name.
    pub(crate) subjects: BTreeSet<SubjectQuery>,
}

impl ResolvedInvariant {
    /// All that a policy says of a cluster; of who is not of the cluster it says nothing there.
    pub(crate) fn resolve_all(policy: &Policy, cluster: Option<&str>) -> Vec<Self> {
        if policy.invariants.is_empty() {
            return Vec::new();
        }
        let names = PolicyIndex::from_principals(policy, cluster);
        let here =
            policy.invariants.iter().filter(|invariant| subject_is_in_cluster(policy, cluster, &invariant.subject));
        here.map(|invariant| Self {
            location: policy.sources.location(invariant.span),
            span: Some(invariant.span),
            description: invariant.description.clone(),
            subject: InvariantSubject::resolve(&invariant.subject, policy, &names),
            claim: invariant.assertion.clone(),
        })
        .collect()
    }
}

fn subject_is_in_cluster(policy: &Policy, cluster: Option<&str>, subject: &InvariantSubjectSpec) -> bool {
    let filter = match subject {
        InvariantSubjectSpec::Group(name) => policy.groups.get(&name.value).map(|group| &group.clusters),
        InvariantSubjectSpec::Principal(name) => policy.principals.get(&name.value).map(|one| &one.clusters),
        InvariantSubjectSpec::User(_)
        | InvariantSubjectSpec::ServiceAccount(_)
        | InvariantSubjectSpec::EveryoneBut(_) => None,
    };
    filter.is_none_or(|filter| applies_to_cluster(filter.as_deref(), cluster))
}

impl InvariantSubject {
    fn resolve(subject: &InvariantSubjectSpec, policy: &Policy, names: &PolicyIndex) -> Self {
        match subject {
            InvariantSubjectSpec::Group(group) => Self::Group(group.value.clone()),
            InvariantSubjectSpec::Principal(name) => {
                Self::Principal { name: name.value.clone(), subject: names.principal(&name.value).cloned() }
            }
            InvariantSubjectSpec::User(name) => Self::User(name.value.clone()),
            InvariantSubjectSpec::ServiceAccount(account) => Self::ServiceAccount {
                namespace: account.value.namespace.clone().unwrap_or_default(),
                name: account.value.name.clone(),
            },
            InvariantSubjectSpec::EveryoneBut(all) => {
                Self::EveryoneBut(all.iter().map(|name| Exemption::resolve(name, policy, names)).collect())
            }
        }
    }
}

impl Exemption {
    fn resolve(Located { value: name, .. }: &Located<String>, policy: &Policy, names: &PolicyIndex) -> Self {
        let named = names.principal(name).cloned().or_else(|| SubjectQuery::parse(name).ok());
        let mut who: BTreeSet<SubjectQuery> = named.into_iter().collect();
        let reserved = reserved_prefix(name).is_some();
        if reserved || policy.groups.contains_key(name) {
            who.insert(SubjectQuery::Group(name.clone()));
        }
        if reserved {
            who.insert(SubjectQuery::from_username(name));
        }
        Self { name: name.clone(), subjects: who }
    }
}
