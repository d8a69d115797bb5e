//! What a plan carries of `[[invariants]]`, told for its cluster, so that a saved plan is held to them without its policy.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::access::Who;
use crate::diagnostic::{Place, Span};
use crate::names::reserved_prefix;
use crate::policy::{At, Claim, InvariantSubject, Known, Policy, is_for};

/// An invariant in one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MustHold {
    pub(crate) place: Place,
    /// Of a policy that is at hand.
    #[serde(skip)]
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    pub(crate) subject: Meant,
    pub(crate) claim: Claim,
}

/// Whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Meant {
    Group(String),
    Principal {
        name: String,
        /// None: a bare name that finds no account.
        who: Option<Who>,
    },
    User(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
    EveryoneBut(Vec<Spared>),
}

/// Somebody whom `everyone-but` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Spared {
    pub(crate) name: String,
    /// All who have that name.
    pub(crate) who: BTreeSet<Who>,
}

impl MustHold {
    /// All that a policy says of a cluster; of who is not of the cluster it says nothing there.
    pub(crate) fn all(policy: &Policy, cluster: Option<&str>) -> Vec<Self> {
        if policy.invariants.is_empty() {
            return Vec::new();
        }
        let names = Known::names(policy, cluster);
        let here = policy.invariants.iter().filter(|invariant| is_here(policy, cluster, &invariant.subject));
        here.map(|invariant| Self {
            place: policy.sources.place(invariant.span),
            span: Some(invariant.span),
            description: invariant.description.clone(),
            subject: Meant::of(&invariant.subject, policy, &names),
            claim: invariant.claim.clone(),
        })
        .collect()
    }

    /// Without the place and the description: words that change are no other plan.
    pub(super) fn content(&self) -> (&Meant, &Claim) {
        (&self.subject, &self.claim)
    }
}

fn is_here(policy: &Policy, cluster: Option<&str>, subject: &InvariantSubject) -> bool {
    let filter = match subject {
        InvariantSubject::Group(name) => policy.groups.get(&name.value).map(|group| &group.clusters),
        InvariantSubject::Principal(name) => policy.principals.get(&name.value).map(|one| &one.clusters),
        InvariantSubject::User(_) | InvariantSubject::ServiceAccount(_) | InvariantSubject::EveryoneBut(_) => None,
    };
    filter.is_none_or(|filter| is_for(filter.as_deref(), cluster))
}

impl Meant {
    fn of(subject: &InvariantSubject, policy: &Policy, names: &Known) -> Self {
        match subject {
            InvariantSubject::Group(group) => Self::Group(group.value.clone()),
            InvariantSubject::Principal(name) => {
                Self::Principal { name: name.value.clone(), who: names.principal(&name.value).cloned() }
            }
            InvariantSubject::User(name) => Self::User(name.value.clone()),
            InvariantSubject::ServiceAccount(account) => Self::ServiceAccount {
                namespace: account.value.namespace.clone().unwrap_or_default(),
                name: account.value.name.clone(),
            },
            InvariantSubject::EveryoneBut(all) => {
                Self::EveryoneBut(all.iter().map(|name| Spared::of(name, policy, names)).collect())
            }
        }
    }
}

impl Spared {
    fn of(At { value: name, .. }: &At<String>, policy: &Policy, names: &Known) -> Self {
        let named = names.principal(name).cloned().or_else(|| Who::parse(name).ok());
        let mut who: BTreeSet<Who> = named.into_iter().collect();
        let reserved = reserved_prefix(name).is_some();
        if reserved || policy.groups.contains_key(name) {
            who.insert(Who::Group(name.clone()));
        }
        if reserved {
            who.insert(Who::of_username(name));
        }
        Self { name: name.clone(), who }
    }
}
