//! The policy's `[[invariants]]`, resolved for one cluster. A plan carries them, so that a saved plan is checked
//! without its policy.

use std::collections::BTreeSet;

use crate::access::SubjectQuery;
use crate::diagnostic::{SourceLocation, Span};
use crate::names::reserved_prefix;
use crate::policy::{Assertion, InvariantSpec, InvariantSubjectSpec, Located, Policy, PolicyIndex, applies_to_cluster};

/// An invariant in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedInvariant {
    pub(crate) location: SourceLocation,
    /// `None` in a plan that was read from a file.
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    pub(crate) subject: InvariantSubject,
    pub(crate) claim: Assertion,
}

/// The subject of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvariantSubject {
    Group(String),
    Principal {
        name: String,
        /// `None` if the policy gives a bare name and no account for it.
        subject: Option<SubjectQuery>,
    },
    User(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
    EveryoneBut(Vec<Exemption>),
}

/// A name listed in `everyone-but`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exemption {
    pub(crate) name: String,
    /// All subjects that the name can refer to.
    pub(crate) subjects: BTreeSet<SubjectQuery>,
}

impl ResolvedInvariant {
    /// Resolves the invariants that apply to a cluster. An invariant about a group or principal that does not exist in
    /// the cluster does not apply there.
    pub(crate) fn resolve_all(policy: &Policy, cluster: Option<&str>) -> Vec<Self> {
        if policy.invariants.is_empty() {
            return Vec::new();
        }
        let names = PolicyIndex::from_principals(policy, cluster);
        let applicable =
            policy.invariants.iter().filter(|invariant| invariant_applies(policy, cluster, invariant));
        applicable
            .map(|invariant| Self {
                location: policy.sources.location(invariant.span),
                span: Some(invariant.span),
                description: invariant.description.clone(),
                subject: InvariantSubject::resolve_subject(&invariant.subject, policy, &names),
                claim: invariant.assertion.clone(),
            })
            .collect()
    }
}

/// Returns whether an invariant is about this cluster: it names it or no cluster, and its subject is there.
pub(crate) fn invariant_applies(policy: &Policy, cluster: Option<&str>, invariant: &InvariantSpec) -> bool {
    applies_to_cluster(invariant.clusters.as_deref(), cluster)
        && subject_is_in_cluster(policy, cluster, &invariant.subject)
}

fn subject_is_in_cluster(policy: &Policy, cluster: Option<&str>, subject: &InvariantSubjectSpec) -> bool {
    let filter = match subject {
        InvariantSubjectSpec::Group(name) => policy.groups.get(&name.value).map(|group| &group.clusters),
        InvariantSubjectSpec::Principal(name) => {
            policy.principals.get(&name.value).map(|principal| &principal.clusters)
        }
        InvariantSubjectSpec::User(_)
        | InvariantSubjectSpec::ServiceAccount(_)
        | InvariantSubjectSpec::EveryoneBut(_) => None,
    };
    filter.is_none_or(|filter| applies_to_cluster(filter.as_deref(), cluster))
}

impl InvariantSubject {
    fn resolve_subject(subject: &InvariantSubjectSpec, policy: &Policy, names: &PolicyIndex) -> Self {
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
            InvariantSubjectSpec::EveryoneBut(exempt) => {
                Self::EveryoneBut(exempt.iter().map(|name| Exemption::resolve_exemption(name, policy, names)).collect())
            }
        }
    }
}

impl Exemption {
    fn resolve_exemption(Located { value: name, .. }: &Located<String>, policy: &Policy, names: &PolicyIndex) -> Self {
        let named = names.principal(name).cloned().or_else(|| SubjectQuery::parse(name).ok());
        let mut who: BTreeSet<SubjectQuery> = named.into_iter().collect();
        let is_reserved = reserved_prefix(name).is_some();
        if is_reserved || policy.groups.contains_key(name) {
            who.insert(SubjectQuery::Group(name.clone()));
        }
        if is_reserved {
            who.insert(SubjectQuery::from_username(name));
        }
        Self { name: name.clone(), subjects: who }
    }
}
