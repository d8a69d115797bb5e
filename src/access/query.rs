//! The questions: may this one do that, who may, and what may he do at all.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::aggregation::{Moment, Sourced};
use super::grants::{Grant, Grants};
use super::identity::{ANONYMOUS, AUTHENTICATED, Admission, Identity, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED, Who};
use super::mapping::{EntryRef, Mapping};
use super::matches::{Lack, allows, lacks};
use super::principals::{Principal, Principals};
use super::reach::{Part, Reach};
use super::request::Request;
use super::template::Name;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::Binding;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// How many near misses are worth reading.
const MISSES: usize = 5;

/// The access to one cluster in one state.
#[derive(Debug)]
pub(crate) struct Access<'s> {
    pub(crate) mapping: Mapping,
    pub(crate) grants: Grants<'s>,
    principals: OnceCell<Principals>,
}

/// From a subject to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Chain<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) binding: &'s ObjectKey,
    pub(crate) role: &'s ObjectKey,
    /// The role that has the rule: of an aggregated role another one.
    pub(crate) source: &'s ObjectKey,
    pub(crate) rule: &'s Rule,
}

/// What allows something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By<'s> {
    /// `system:masters`, of whom nobody asks.
    Masters,
    Chain(Chain<'s>),
}

/// A rule that somebody has, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held<'s> {
    pub(crate) chain: Chain<'s>,
    /// None: everywhere.
    pub(crate) namespace: Option<&'s str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    /// It depends on which of several entries answers the login.
    ByChance,
}

/// What just did not allow something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Miss<'s> {
    Rule {
        chain: Chain<'s>,
        lack: Lack,
    },
    /// The role does not exist; nobody knows what it would allow.
    Pending {
        subject: &'s Subject,
        binding: &'s ObjectKey,
        role: &'s RoleRef,
    },
}

/// The answer to `can`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<'s> {
    pub(crate) admission: Admission,
    pub(crate) verdict: Verdict,
    pub(crate) by: Vec<By<'s>>,
    /// Of a no, the nearest first.
    pub(crate) misses: Vec<Miss<'s>>,
}

/// Somebody whom bindings name, and who stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) by: Vec<Chain<'s>>,
    /// Entries of aws-auth whose username or group this is.
    pub(crate) behind: Vec<EntryRef>,
}

/// The answer to `who-can`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WhoCan<'s> {
    /// Those who are `system:masters`.
    pub(crate) masters: Vec<Rc<Principal>>,
    /// All others of aws-auth who can.
    pub(crate) principals: Vec<Rc<Principal>>,
    /// Whom the bindings name, each once.
    pub(crate) holders: Vec<Holder<'s>>,
}

impl<'s> Access<'s> {
    pub(crate) fn of(state: &'s State, moment: Moment) -> Self {
        let mapping = Mapping::of(state.aws_auth.as_ref());
        Self { mapping, grants: Grants::of(state, moment), principals: OnceCell::new() }
    }

    pub(crate) fn state(&self) -> &'s State {
        self.grants.state
    }

    pub(crate) fn admit(&self, who: &Who) -> Admission {
        Admission::of(who, &self.mapping)
    }

    /// Whether somebody may do something, and why or how nearly not.
    pub(crate) fn can(&self, who: &Who, request: &Request) -> Answer<'s> {
        let admission = self.admit(who);
        let logins = match &admission {
            Admission::ByChance(logins) => logins.len(),
            Admission::As(_) | Admission::Denied(_) => 1,
        };
        let mut by: Vec<By<'s>> = Vec::new();
        let mut misses = Vec::new();
        let mut let_in = 0;
        for identity in admission.identities() {
            let grants = self.grants.held_by(identity);
            let found = self.allowing(identity, &grants, request);
            if found.is_empty() {
                misses.extend(self.near(&grants, request));
            } else {
                let_in += 1;
            }
            by.extend(found);
        }
        by.sort();
        by.dedup();
        let verdict = match let_in {
            0 => Verdict::No,
            all if all == logins => Verdict::Yes,
            _ => Verdict::ByChance,
        };
        if verdict != Verdict::No {
            misses.clear();
        }
        misses.sort_by_key(|(weight, _)| *weight);
        let misses = misses.into_iter().map(|(_, miss)| miss).take(MISSES).collect();
        Answer { admission, verdict, by, misses }
    }

    pub(super) fn allowing(&self, identity: &Identity, grants: &[Grant<'s>], request: &Request) -> Vec<By<'s>> {
        if identity.is_master() {
            return vec![By::Masters];
        }
        let counting = grants.iter().filter(|grant| counts(grant, request));
        counting.flat_map(|grant| self.chains(grant, request)).map(By::Chain).collect()
    }

    /// By which rules a grant allows the request, where it counts.
    fn chains(&self, grant: &Grant<'s>, request: &Request) -> Vec<Chain<'s>> {
        let Some(effective) = self.grants.rules(grant) else {
            return Vec::new();
        };
        let allowing = effective.rules().filter(|sourced| allows(sourced.rule, request));
        allowing.map(|sourced| Chain::of(grant, effective.role, sourced)).collect()
    }

    fn near(&self, grants: &[Grant<'s>], request: &Request) -> Vec<(Lack, Miss<'s>)> {
        let mut near = Vec::new();
        for grant in grants {
            let Some(effective) = self.grants.rules(grant) else {
                let (subject, binding, role) = (grant.subject, grant.key, &grant.binding.role_ref);
                if counts(grant, request) {
                    near.push((Lack::Namespace, Miss::Pending { subject, binding, role }));
                }
                continue;
            };
            for sourced in effective.rules() {
                let mut missing = lacks(sourced.rule, request);
                if !counts(grant, request) {
                    missing.push(Lack::Namespace);
                }
                if let &[lack] = missing.as_slice() {
                    let chain = Chain::of(grant, effective.role, sourced);
                    near.push((lack, Miss::Rule { chain, lack }));
                }
            }
        }
        near
    }

    /// Everybody who may do something.
    pub(crate) fn who_can(&self, request: &Request) -> WhoCan<'s> {
        let mut found: BTreeMap<&Subject, Vec<Chain<'s>>> = BTreeMap::new();
        let mut walked: Option<(&ObjectKey, Vec<Chain<'s>>)> = None;
        for grant in self.grants.counting(request.namespace()) {
            // The subjects of a binding come one after the other and have the same rules.
            if walked.as_ref().is_none_or(|(key, _)| *key != grant.key) {
                walked = Some((grant.key, self.chains(&grant, request)));
            }
            let chains = walked.iter().flat_map(|(_, chains)| chains);
            let chains: Vec<Chain<'s>> = chains.map(|chain| Chain { subject: grant.subject, ..*chain }).collect();
            if !chains.is_empty() {
                found.entry(grant.subject).or_default().extend(chains);
            }
        }
        let principals = self.principals();
        let masters = self.all_principals().behind(&Subject::Group(MASTERS.to_owned()));
        let mut may: BTreeSet<usize> = BTreeSet::new();
        let mut holders = Vec::new();
        for (subject, mut by) in found {
            by.sort();
            by.dedup();
            may.extend(self.all_principals().behind(subject));
            let identities = self.behind(subject).flat_map(|principal| principal.admission.identities());
            let meant = identities.filter(|identity| identity.is_meant_by(subject));
            let behind = meant.filter_map(Identity::entry).cloned().collect();
            holders.push(Holder { subject, by, behind });
        }
        may.retain(|place| masters.binary_search(place).is_err());
        let masters = at(principals, masters).map(Rc::clone).collect();
        let principals = at(principals, &may).map(Rc::clone).collect();
        WhoCan { masters, principals, holders }
    }

    /// All that somebody is bound to, rule by rule. Of `system:masters` it says nothing: they need no rules.
    pub(crate) fn held(&self, who: &Who) -> Vec<Held<'s>> {
        let grants = |identity: &Identity| self.rules_of(&self.grants.held_by(identity));
        self.admit(who).identities().flat_map(grants).collect()
    }

    /// All that somebody may do, in as few sets as say it.
    pub(crate) fn reach(&self, who: &Who) -> Vec<Part<'s>> {
        let is_master = self.admit(who).identities().any(Identity::is_master);
        Reach::new(is_master, self.held(who)).beyond(&Reach::new(false, Vec::new()))
    }

    /// The rules of some grants, those of roles that do not exist left out.
    pub(super) fn rules_of(&self, grants: &[Grant<'s>]) -> Vec<Held<'s>> {
        let mut held = Vec::new();
        for grant in grants {
            if let Some(effective) = self.grants.rules(grant) {
                let chains = effective.rules().map(|sourced| Chain::of(grant, effective.role, sourced));
                held.extend(chains.map(|chain| Held { chain, namespace: grant.namespace() }));
            }
        }
        held
    }

    /// Every principal with an entry that can answer, and every account that is admitted whole.
    pub(crate) fn principals(&self) -> &[Rc<Principal>] {
        self.all_principals().all()
    }

    /// Those whom a subject means.
    pub(super) fn behind(&self, subject: &Subject) -> impl Iterator<Item = &Rc<Principal>> {
        at(self.principals(), self.all_principals().behind(subject))
    }

    pub(super) fn all_principals(&self) -> &Principals {
        self.principals.get_or_init(|| Principals::of(&self.mapping))
    }

    /// Everybody of whom the state knows: principals, whom bindings name, and whom entries name.
    pub(crate) fn everybody(&self) -> BTreeSet<Who> {
        let mut all: BTreeSet<Who> = self.grants.named().map(Who::of_subject).collect();
        for principal in self.principals() {
            for identity in principal.admission.identities() {
                all.extend(identity.groups.iter().filter_map(Name::literal).map(|name| Who::Group(name.to_owned())));
                all.extend(identity.username.as_ref().and_then(Name::literal).map(Who::of_username));
            }
            all.insert(principal.who.clone());
        }
        all.extend([MASTERS, AUTHENTICATED, UNAUTHENTICATED, SERVICE_ACCOUNTS].map(|name| Who::Group(name.to_owned())));
        all.insert(Who::User(ANONYMOUS.to_owned()));
        all
    }

    /// Bindings to roles that do not exist.
    pub(crate) fn pending(&self) -> Vec<(&'s ObjectKey, &'s Binding)> {
        Grants::pending_in(self.grants.state)
    }
}

/// Whether a grant has a say in the request: a RoleBinding only inside its namespace, and never about URLs.
fn counts(grant: &Grant<'_>, request: &Request) -> bool {
    grant.namespace().is_none_or(|namespace| request.namespace() == Some(namespace))
}

/// Those at some places.
fn at<'a>(
    principals: &'a [Rc<Principal>],
    places: impl IntoIterator<Item = &'a usize>,
) -> impl Iterator<Item = &'a Rc<Principal>> {
    places.into_iter().filter_map(|place| principals.get(*place))
}

impl<'s> Chain<'s> {
    fn of(grant: &Grant<'s>, role: &'s ObjectKey, sourced: Sourced<'s>) -> Self {
        Self { subject: grant.subject, binding: grant.key, role, source: sourced.source, rule: sourced.rule }
    }
}

impl WhoCan<'_> {
    /// Whether somebody is among them.
    pub(crate) fn includes(&self, identity: &Identity) -> bool {
        identity.is_master() || self.holders.iter().any(|holder| identity.is_meant_by(holder.subject))
    }
}
