//! The questions: may this one do that, who may, and what may he do at all.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::aggregation::{Aggregation, SourcedRule};
use super::effective_permissions::{EffectivePermissions, GrantedRequests};
use super::grants::{Grant, Grants};
use super::identity::{
    ANONYMOUS, AUTHENTICATED, Authentication, Identity, MASTERS, SERVICE_ACCOUNTS, SubjectQuery, UNAUTHENTICATED,
};
use super::identity_mapping::{EntryRef, IdentityMapping};
use super::principals::{MappedPrincipal, PrincipalIndex};
use super::request::Request;
use super::rule_match::{RuleMismatch, rule_allows, rule_mismatches};
use super::template::RenderedName;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::Binding;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// How many near misses are worth reading.
const MAX_NEAR_MISSES: usize = 5;

/// The access to one cluster in one state.
#[derive(Debug)]
pub(crate) struct AccessView<'s> {
    pub(crate) mapping: IdentityMapping,
    pub(crate) grants: Grants<'s>,
    principals: OnceCell<PrincipalIndex>,
}

/// From a subject to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantPath<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) binding: &'s ObjectKey,
    pub(crate) role: &'s ObjectKey,
    /// The role that has the rule: of an aggregated role another one.
    pub(crate) source: &'s ObjectKey,
    pub(crate) rule: &'s Rule,
}

/// What allows something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantSource<'s> {
    /// `system:masters`, of whom nobody asks.
    SystemMasters,
    Path(GrantPath<'s>),
}

/// A rule that somebody has, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EffectiveRule<'s> {
    pub(crate) path: GrantPath<'s>,
    /// None: everywhere.
    pub(crate) namespace: Option<&'s str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessDecision {
    Allowed,
    Denied,
    /// It depends on which of several entries answers the login.
    Ambiguous,
}

/// What just did not allow something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NearMiss<'s> {
    Rule {
        path: GrantPath<'s>,
        mismatch: RuleMismatch,
    },
    /// The role does not exist; nobody knows what it would allow.
    MissingRole {
        subject: &'s Subject,
        binding: &'s ObjectKey,
        role: &'s RoleRef,
    },
}

/// The answer to `can`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanResult<'s> {
    pub(crate) authentication: Authentication,
    pub(crate) decision: AccessDecision,
    pub(crate) granted_by: Vec<GrantSource<'s>>,
    /// Of a no, the nearest first.
    pub(crate) near_misses: Vec<NearMiss<'s>>,
}

/// Somebody whom bindings name, and who stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubjectGrants<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) paths: Vec<GrantPath<'s>>,
    /// Entries of aws-auth whose username or group this is.
    pub(crate) entries: Vec<EntryRef>,
}

/// The answer to `who-can`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WhoCanResult<'s> {
    /// Those who are `system:masters`.
    pub(crate) system_masters: Vec<Rc<MappedPrincipal>>,
    /// All others of aws-auth who can.
    pub(crate) principals: Vec<Rc<MappedPrincipal>>,
    /// Whom the bindings name, each once.
    pub(crate) subjects: Vec<SubjectGrants<'s>>,
}

impl<'s> AccessView<'s> {
    pub(crate) fn new(state: &'s State, moment: Aggregation) -> Self {
        let mapping = IdentityMapping::from_aws_auth(state.aws_auth.as_ref());
        Self { mapping, grants: Grants::new(state, moment), principals: OnceCell::new() }
    }

    pub(crate) fn state(&self) -> &'s State {
        self.grants.state
    }

    pub(crate) fn authenticate(&self, who: &SubjectQuery) -> Authentication {
        Authentication::for_query(who, &self.mapping)
    }

    /// Whether somebody may do something, and why or how nearly not.
    pub(crate) fn can(&self, who: &SubjectQuery, request: &Request) -> CanResult<'s> {
        let admission = self.authenticate(who);
        let logins = match &admission {
            Authentication::Ambiguous(logins) => logins.len(),
            Authentication::Identity(_) | Authentication::Denied(_) => 1,
        };
        let mut by: Vec<GrantSource<'s>> = Vec::new();
        let mut misses = Vec::new();
        let mut let_in = 0;
        for identity in admission.identities() {
            let grants = self.grants.grants_for_identity(identity);
            let found = self.grant_sources(identity, &grants, request);
            if found.is_empty() {
                misses.extend(self.near_misses(&grants, request));
            } else {
                let_in += 1;
            }
            by.extend(found);
        }
        by.sort();
        by.dedup();
        let verdict = match let_in {
            0 => AccessDecision::Denied,
            all if all == logins => AccessDecision::Allowed,
            _ => AccessDecision::Ambiguous,
        };
        if verdict != AccessDecision::Denied {
            misses.clear();
        }
        misses.sort_by_key(|(weight, _)| *weight);
        let misses = misses.into_iter().map(|(_, miss)| miss).take(MAX_NEAR_MISSES).collect();
        CanResult { authentication: admission, decision: verdict, granted_by: by, near_misses: misses }
    }

    pub(super) fn grant_sources(
        &self,
        identity: &Identity,
        grants: &[Grant<'s>],
        request: &Request,
    ) -> Vec<GrantSource<'s>> {
        if identity.is_in_system_masters() {
            return vec![GrantSource::SystemMasters];
        }
        let counting = grants.iter().filter(|grant| applies_to(grant, request));
        counting.flat_map(|grant| self.grant_paths(grant, request)).map(GrantSource::Path).collect()
    }

    /// By which rules a grant allows the request, where it counts.
    fn grant_paths(&self, grant: &Grant<'s>, request: &Request) -> Vec<GrantPath<'s>> {
        let Some(effective) = self.grants.role_for_grant(grant) else {
            return Vec::new();
        };
        let allowing = effective.rules().filter(|sourced| rule_allows(sourced.rule, request));
        allowing.map(|sourced| GrantPath::new(grant, effective.role, sourced)).collect()
    }

    fn near_misses(&self, grants: &[Grant<'s>], request: &Request) -> Vec<(RuleMismatch, NearMiss<'s>)> {
        let mut near = Vec::new();
        for grant in grants {
            let Some(effective) = self.grants.role_for_grant(grant) else {
                let (subject, binding, role) = (grant.subject, grant.binding_key, &grant.binding.role_ref);
                if applies_to(grant, request) {
                    near.push((RuleMismatch::Namespace, NearMiss::MissingRole { subject, binding, role }));
                }
                continue;
            };
            for sourced in effective.rules() {
                let mut missing = rule_mismatches(sourced.rule, request);
                if !applies_to(grant, request) {
                    missing.push(RuleMismatch::Namespace);
                }
                if let &[lack] = missing.as_slice() {
                    let chain = GrantPath::new(grant, effective.role, sourced);
                    near.push((lack, NearMiss::Rule { path: chain, mismatch: lack }));
                }
            }
        }
        near
    }

    /// Everybody who may do something.
    pub(crate) fn who_can(&self, request: &Request) -> WhoCanResult<'s> {
        let mut found: BTreeMap<&Subject, Vec<GrantPath<'s>>> = BTreeMap::new();
        let mut walked: Option<(&ObjectKey, Vec<GrantPath<'s>>)> = None;
        for grant in self.grants.effective_in(request.namespace()) {
            // The subjects of a binding come one after the other and have the same rules.
            if walked.as_ref().is_none_or(|(key, _)| *key != grant.binding_key) {
                walked = Some((grant.binding_key, self.grant_paths(&grant, request)));
            }
            let chains = walked.iter().flat_map(|(_, chains)| chains);
            let chains: Vec<GrantPath<'s>> =
                chains.map(|chain| GrantPath { subject: grant.subject, ..*chain }).collect();
            if !chains.is_empty() {
                found.entry(grant.subject).or_default().extend(chains);
            }
        }
        let principals = self.principals();
        let masters = self.principal_index().positions_of(&Subject::Group(MASTERS.to_owned()));
        let mut may: BTreeSet<usize> = BTreeSet::new();
        let mut holders = Vec::new();
        for (subject, mut by) in found {
            by.sort();
            by.dedup();
            may.extend(self.principal_index().positions_of(subject));
            let identities = self.principals_of(subject).flat_map(|principal| principal.authentication.identities());
            let meant = identities.filter(|identity| identity.matches_subject(subject));
            let behind = meant.filter_map(Identity::entry).cloned().collect();
            holders.push(SubjectGrants { subject, paths: by, entries: behind });
        }
        may.retain(|place| masters.binary_search(place).is_err());
        let masters = principals_at(principals, masters).map(Rc::clone).collect();
        let principals = principals_at(principals, &may).map(Rc::clone).collect();
        WhoCanResult { system_masters: masters, principals, subjects: holders }
    }

    /// All that somebody is bound to, rule by rule. Of `system:masters` it says nothing: they need no rules.
    pub(crate) fn effective_rules(&self, who: &SubjectQuery) -> Vec<EffectiveRule<'s>> {
        let grants = |identity: &Identity| self.rules_of_grants(&self.grants.grants_for_identity(identity));
        self.authenticate(who).identities().flat_map(grants).collect()
    }

    /// All that somebody may do, in as few sets as say it.
    pub(crate) fn effective_permissions(&self, who: &SubjectQuery) -> Vec<GrantedRequests<'s>> {
        let is_master = self.authenticate(who).identities().any(Identity::is_in_system_masters);
        EffectivePermissions::new(is_master, self.effective_rules(who))
            .difference(&EffectivePermissions::new(false, Vec::new()))
    }

    /// The rules of some grants, those of roles that do not exist left out.
    pub(super) fn rules_of_grants(&self, grants: &[Grant<'s>]) -> Vec<EffectiveRule<'s>> {
        let mut held = Vec::new();
        for grant in grants {
            if let Some(effective) = self.grants.role_for_grant(grant) {
                let chains = effective.rules().map(|sourced| GrantPath::new(grant, effective.role, sourced));
                held.extend(chains.map(|chain| EffectiveRule { path: chain, namespace: grant.namespace() }));
            }
        }
        held
    }

    /// Every principal with an entry that can answer, and every account that is admitted whole.
    pub(crate) fn principals(&self) -> &[Rc<MappedPrincipal>] {
        self.principal_index().all()
    }

    /// Those whom a subject means.
    pub(super) fn principals_of(&self, subject: &Subject) -> impl Iterator<Item = &Rc<MappedPrincipal>> {
        principals_at(self.principals(), self.principal_index().positions_of(subject))
    }

    pub(super) fn principal_index(&self) -> &PrincipalIndex {
        self.principals.get_or_init(|| PrincipalIndex::new(&self.mapping))
    }

    /// Everybody of whom the state knows: principals, whom bindings name, and whom entries name.
    pub(crate) fn all_subjects(&self) -> BTreeSet<SubjectQuery> {
        let mut all: BTreeSet<SubjectQuery> = self.grants.bound_subjects().map(SubjectQuery::from_subject).collect();
        for principal in self.principals() {
            for identity in principal.authentication.identities() {
                all.extend(
                    identity
                        .groups
                        .iter()
                        .filter_map(RenderedName::as_literal)
                        .map(|name| SubjectQuery::Group(name.to_owned())),
                );
                all.extend(
                    identity.username.as_ref().and_then(RenderedName::as_literal).map(SubjectQuery::from_username),
                );
            }
            all.insert(principal.subject.clone());
        }
        all.extend(
            [MASTERS, AUTHENTICATED, UNAUTHENTICATED, SERVICE_ACCOUNTS]
                .map(|name| SubjectQuery::Group(name.to_owned())),
        );
        all.insert(SubjectQuery::User(ANONYMOUS.to_owned()));
        all
    }

    /// Bindings to roles that do not exist.
    pub(crate) fn dangling_bindings(&self) -> Vec<(&'s ObjectKey, &'s Binding)> {
        Grants::dangling_in(self.grants.state)
    }
}

/// Whether a grant has a say in the request: a RoleBinding only inside its namespace, and never about URLs.
fn applies_to(grant: &Grant<'_>, request: &Request) -> bool {
    grant.namespace().is_none_or(|namespace| request.namespace() == Some(namespace))
}

/// Those at some places.
fn principals_at<'a>(
    principals: &'a [Rc<MappedPrincipal>],
    places: impl IntoIterator<Item = &'a usize>,
) -> impl Iterator<Item = &'a Rc<MappedPrincipal>> {
    places.into_iter().filter_map(|place| principals.get(*place))
}

impl<'s> GrantPath<'s> {
    fn new(grant: &Grant<'s>, role: &'s ObjectKey, sourced: SourcedRule<'s>) -> Self {
        Self { subject: grant.subject, binding: grant.binding_key, role, source: sourced.source, rule: sourced.rule }
    }
}

impl WhoCanResult<'_> {
    /// Whether somebody is among them.
    pub(crate) fn includes(&self, identity: &Identity) -> bool {
        identity.is_in_system_masters() || self.subjects.iter().any(|holder| identity.matches_subject(holder.subject))
    }
}
