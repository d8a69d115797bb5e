//! The policy's `[[invariants]]`, resolved for one cluster. A plan carries them, so that a saved plan is checked
//! without its policy.

use std::collections::BTreeSet;

use crate::access::SubjectQuery;
use crate::diagnostic::{Diagnostic, SourceLocation, Span};
use crate::lint::{Vocabulary, resolve_assertion};
use crate::names::reserved_prefix;
use crate::policy::{Assertion, InvariantSpec, InvariantSubjectSpec, Located, Policy, PolicyIndex, applies_to_cluster};
use crate::state::State;

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
    ///
    /// # Errors
    /// All words of the invariants that no API of the cluster knows.
    pub(crate) fn resolve_all(
        policy: &Policy,
        cluster: Option<&str>,
        live: &State,
    ) -> Result<Vec<Self>, Vec<Diagnostic>> {
        if policy.invariants.is_empty() {
            return Ok(Vec::new());
        }
        let vocabulary = Vocabulary::for_cluster(policy, live);
        let names = PolicyIndex::from_principals(policy, cluster);
        let applicable = policy.invariants.iter().filter(|invariant| invariant_applies(policy, cluster, invariant));
        let (mut resolved, mut errors) = (Vec::new(), Vec::new());
        for invariant in applicable {
            match resolve_assertion(&vocabulary, invariant) {
                Ok(claim) => resolved.push(Self {
                    location: policy.sources.location(invariant.span),
                    span: Some(invariant.span),
                    description: invariant.description.clone(),
                    subject: InvariantSubject::resolve_subject(&invariant.subject, policy, &names),
                    claim,
                }),
                Err(word_errors) => errors.extend(word_errors),
            }
        }
        if errors.is_empty() { Ok(resolved) } else { Err(errors) }
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
        Self { name: name.clone(), subjects: exemption_subjects(name, policy, names) }
    }
}

/// Returns the subjects that a name in `everyone-but` can refer to: a principal or a group of the policy, a subject as on
/// the command line, or a username that contains a `:`.
pub(crate) fn exemption_subjects(name: &str, policy: &Policy, names: &PolicyIndex) -> BTreeSet<SubjectQuery> {
    // Names that look like a subject and are none have been refused with the policy. Any other name is a group or a user.
    let named = names.principal(name).cloned().or_else(|| SubjectQuery::parse(name).ok());
    let mut subjects: BTreeSet<SubjectQuery> = named.into_iter().collect();
    let is_reserved = reserved_prefix(name).is_some();
    if is_reserved || policy.groups.contains_key(name) {
        subjects.insert(SubjectQuery::Group(name.to_owned()));
    }
    let is_of_policy = policy.groups.contains_key(name) || policy.principals.contains_key(name);
    if is_reserved || subjects.is_empty() && !is_of_policy {
        subjects.insert(SubjectQuery::from_username(name));
    }
    subjects
}
