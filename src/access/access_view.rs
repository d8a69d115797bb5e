//! The queries about access: can a subject make a request, who can make a request, and what can a subject do.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::aggregation::{Aggregation, SourcedRule};
use super::effective_permissions::{EffectivePermissions, GrantedRequests};
use super::grant_scope::{GrantScope, KnownNamespaces};
use super::grants::{Grant, Grants};
use super::iam_identity::IamIdentity;
use super::identity::{
    ANONYMOUS, AUTHENTICATED, Authentication, Identity, MASTERS, SERVICE_ACCOUNTS, SubjectQuery, UNAUTHENTICATED,
    service_account_username,
};
use super::identity_mapping::{EntryRef, IdentityMapping};
use super::principals::{MappedPrincipal, PrincipalIndex};
use super::request::Request;
use super::rule_match::{RuleMismatch, rule_allows, rule_mismatches};
use super::template::RenderedName;
use super::variants::{BoundNames, bound_account_members, distinguished_sessions, identities_with_username};
use super::who_can::WhoCanResult;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::Binding;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// The number of near misses that a denied query reports.
const MAX_NEAR_MISSES: usize = 5;

/// Access to one cluster in one state.
#[derive(Debug)]
pub(crate) struct AccessView<'s> {
    pub(crate) mapping: IdentityMapping,
    pub(crate) grants: Grants<'s>,
    principals: OnceCell<PrincipalIndex>,
    bound_names: OnceCell<BoundNames>,
}

/// The path from a subject through a binding to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantPath<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) binding: &'s ObjectKey,
    pub(crate) role: &'s ObjectKey,
    /// The role in which the rule is written. It differs from `role` if `role` is aggregated.
    pub(crate) source: &'s ObjectKey,
    pub(crate) rule: &'s Rule,
    /// Where the binding applies.
    pub(crate) scope: GrantScope<'s>,
}

/// What grants a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantSource<'s> {
    /// Membership in `system:masters`, which bypasses RBAC.
    SystemMasters,
    Path(GrantPath<'s>),
}

/// A rule that a subject has, and its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EffectiveRule<'s> {
    pub(crate) path: GrantPath<'s>,
    /// The namespace of the RoleBinding, or one of those of an association with an access policy, which can also be a pattern:
    /// the other namespaces that match it. `None` if the rule applies in the whole cluster.
    pub(crate) namespace: Option<&'s str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessDecision {
    Allowed,
    Denied,
    /// Several aws-auth entries match the principal, and only some of them allow the request.
    Ambiguous,
    /// Only some variants of the subject are allowed to make the request, such as the sessions with a certain name.
    SomeVariants,
}

/// A grant that almost allows a denied request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NearMiss<'s> {
    /// Everything but one attribute of the request matches.
    Rule { path: GrantPath<'s>, mismatch: RuleMismatch },
    /// The role does not exist, so its rules are unknown.
    MissingRole { subject: &'s Subject, binding: &'s ObjectKey, role: &'s RoleRef },
}

/// The result of `can`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanResult<'s> {
    pub(crate) authentication: Authentication,
    pub(crate) decision: AccessDecision,
    pub(crate) granted_by: Vec<GrantSource<'s>>,
    /// The variants of the subject that are allowed to make the request, if the subject itself is not.
    pub(crate) allowed_variants: Vec<AllowedVariant<'s>>,
    /// For a denied request only. The closest first.
    pub(crate) near_misses: Vec<NearMiss<'s>>,
}

/// A variant of a subject that is allowed to make a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedVariant<'s> {
    pub(crate) principal: MappedPrincipal,
    pub(crate) granted_by: Vec<GrantSource<'s>>,
}

/// The grants of a binding's subject, and the aws-auth entries that map to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubjectGrants<'s> {
    pub(crate) subject: &'s Subject,
    pub(crate) paths: Vec<GrantPath<'s>>,
    /// The principals of aws-auth that have the subject as username or group, and the entries that give it.
    pub(crate) members: Vec<(SubjectQuery, EntryRef)>,
}

impl<'s> AccessView<'s> {
    /// Returns the rules of a role. `None` if it does not exist.
    pub(crate) fn role_rules(&self, key: &ObjectKey) -> Option<Vec<Rule>> {
        Some(self.grants.role_by_key(key)?.sourced_rules().map(|sourced| sourced.rule.clone()).collect())
    }

    pub(crate) fn new(state: &'s State, aggregation: Aggregation) -> Self {
        let mapping = IdentityMapping::from_state(state);
        Self {
            mapping,
            grants: Grants::new(state, aggregation),
            principals: OnceCell::new(),
            bound_names: OnceCell::new(),
        }
    }

    /// Returns the access in a state that is compared with another one.
    fn compared_with(state: &'s State, other: &'s State, aggregation: Aggregation) -> Self {
        let namespaces = OnceCell::from(KnownNamespaces::new([state, other]));
        Self { grants: Grants::with_namespaces(state, aggregation, namespaces), ..Self::new(state, aggregation) }
    }

    /// Returns the access in two states that are compared.
    pub(crate) fn pair(first: &'s State, second: &'s State, aggregation: Aggregation) -> (Self, Self) {
        (Self::compared_with(first, second, aggregation), Self::compared_with(second, first, aggregation))
    }

    pub(crate) fn state(&self) -> &'s State {
        self.grants.state
    }

    pub(crate) fn authenticate(&self, query: &SubjectQuery) -> Authentication {
        Authentication::for_query(query, &self.mapping)
    }

    /// Returns the variants of a subject: the principals that a question about it includes, and to which bindings can
    /// grant more than to the subject itself.
    ///
    /// The variants of a role are its sessions with a name that a binding distinguishes, those of an account are its
    /// principals that a binding names, and those of a username are the principals of aws-auth that have it.
    pub(crate) fn variants(&self, query: &SubjectQuery) -> Vec<MappedPrincipal> {
        let identities = match query {
            SubjectQuery::Arn(iam_identity) => self.distinguished_sessions(iam_identity, &self.authenticate(query)),
            SubjectQuery::Account(id) => {
                if self.mapping.account_entry(id).is_none() {
                    return Vec::new();
                }
                self.bound_principals_of_account(id)
            }
            SubjectQuery::User(name) => identities_with_username(&self.mapping, name),
            SubjectQuery::ServiceAccount { namespace, name } => {
                identities_with_username(&self.mapping, &service_account_username(namespace, name))
            }
            SubjectQuery::Group(_) => return Vec::new(),
        };
        let principal = |identity| {
            let subject = SubjectQuery::Arn(identity);
            let authentication = self.authenticate(&subject);
            MappedPrincipal { subject, authentication, variant_of: Some(query.clone()) }
        };
        let principals = identities.into_iter().map(principal);
        principals.filter(|principal| principal.authentication.identities().next().is_some()).collect()
    }

    /// Returns the sessions of a principal that the bindings of this state distinguish, if it authenticates like this.
    pub(super) fn distinguished_sessions(
        &self,
        iam_identity: &IamIdentity,
        authentication: &Authentication,
    ) -> BTreeSet<IamIdentity> {
        if !authentication.has_session_names() {
            return BTreeSet::new();
        }
        distinguished_sessions(iam_identity, authentication, self.bound_names())
    }

    /// Returns the principals of an account without an entry of their own whose ARN a binding names.
    pub(super) fn bound_principals_of_account(&self, account: &str) -> BTreeSet<IamIdentity> {
        bound_account_members(&self.mapping, self.bound_names(), |id| id == account)
    }

    fn bound_names(&self) -> &BoundNames {
        self.bound_names.get_or_init(|| BoundNames::new(self.grants.all().map(|grant| grant.subject)))
    }

    /// Returns whether a subject is allowed to make a request, and what grants or almost grants it.
    ///
    /// If the subject itself is not allowed to make it, but some of its variants are, the decision is
    /// [`AccessDecision::SomeVariants`].
    pub(crate) fn can(&self, query: &SubjectQuery, request: &Request) -> CanResult<'s> {
        let mut result = self.can_itself(query, request);
        if result.decision == AccessDecision::Denied {
            let variant = |principal: MappedPrincipal| {
                let granted_by = self.can_itself(&principal.subject, request).granted_by;
                (!granted_by.is_empty()).then_some(AllowedVariant { principal, granted_by })
            };
            result.allowed_variants = self.variants(query).into_iter().filter_map(variant).collect();
            if !result.allowed_variants.is_empty() {
                result.decision = AccessDecision::SomeVariants;
                result.near_misses.clear();
            }
        }
        result
    }

    /// Returns the answer for a subject without its variants.
    fn can_itself(&self, query: &SubjectQuery, request: &Request) -> CanResult<'s> {
        let authentication = self.authenticate(query);
        let result_count = match &authentication {
            Authentication::Ambiguous(results) => results.len(),
            Authentication::Identity(_) | Authentication::Denied(_) => 1,
        };
        let mut granted_by: Vec<GrantSource<'s>> = Vec::new();
        let mut near_misses = Vec::new();
        let mut allowed_count = 0;
        for identity in authentication.identities() {
            let grants = self.grants.grants_for_identity(identity);
            let sources = self.grant_sources(identity, &grants, request);
            if sources.is_empty() {
                near_misses.extend(self.near_misses(&grants, request));
            } else {
                allowed_count += 1;
            }
            granted_by.extend(sources);
        }
        granted_by.sort();
        granted_by.dedup();
        let decision = match allowed_count {
            0 => AccessDecision::Denied,
            count if count == result_count => AccessDecision::Allowed,
            _ => AccessDecision::Ambiguous,
        };
        if decision != AccessDecision::Denied {
            near_misses.clear();
        }
        near_misses.sort_by_key(|(mismatch, _)| *mismatch);
        let near_misses = near_misses.into_iter().map(|(_, near_miss)| near_miss).take(MAX_NEAR_MISSES).collect();
        CanResult { authentication, decision, granted_by, allowed_variants: Vec::new(), near_misses }
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
        let applicable = grants.iter().filter(|grant| applies_to(grant, request));
        applicable.flat_map(|grant| self.grant_paths(grant, request)).map(GrantSource::Path).collect()
    }

    /// Returns the paths through the rules of a grant that allow the request. The scope of the binding is not
    /// considered.
    fn grant_paths(&self, grant: &Grant<'s>, request: &Request) -> Vec<GrantPath<'s>> {
        self.paths_of_grant(grant, |rule| rule_allows(rule, request))
    }

    /// Returns the paths through the rules of a grant that have a property.
    pub(super) fn paths_of_grant(&self, grant: &Grant<'s>, is_wanted: impl Fn(&Rule) -> bool) -> Vec<GrantPath<'s>> {
        let Some(effective) = self.grants.role_for_grant(grant) else {
            return Vec::new();
        };
        let allowing_rules = effective.sourced_rules().filter(|sourced| is_wanted(sourced.rule));
        allowing_rules.map(|sourced| GrantPath::new(grant, effective.role, sourced)).collect()
    }

    /// Returns the grants that almost allow the request, each with the mismatch by which they are ordered.
    fn near_misses(&self, grants: &[Grant<'s>], request: &Request) -> Vec<(RuleMismatch, NearMiss<'s>)> {
        let mut near_misses = Vec::new();
        for grant in grants {
            let Some(effective) = self.grants.role_for_grant(grant) else {
                let (subject, binding, role) = (grant.subject, grant.binding_key, &grant.binding.role_ref);
                if applies_to(grant, request) {
                    near_misses.push((RuleMismatch::Namespace, NearMiss::MissingRole { subject, binding, role }));
                }
                continue;
            };
            for sourced in effective.sourced_rules() {
                let mut mismatches = rule_mismatches(sourced.rule, request);
                if !applies_to(grant, request) {
                    mismatches.push(RuleMismatch::Namespace);
                }
                if let &[mismatch] = mismatches.as_slice() {
                    let path = GrantPath::new(grant, effective.role, sourced);
                    near_misses.push((mismatch, NearMiss::Rule { path, mismatch }));
                }
            }
        }
        near_misses
    }

    /// Returns every principal and every subject of a binding that is allowed to make a request.
    pub(crate) fn who_can(&self, request: &Request) -> WhoCanResult<'s> {
        let grants = self.grants.effective_in(request.namespace());
        self.who_can_by(grants, |grant| self.grant_paths(grant, request), false)
    }

    /// Returns every principal and every subject of the grants with at least one path. `are_limited` is whether a path can
    /// allow only a part of the request.
    pub(super) fn who_can_by(
        &self,
        grants: impl Iterator<Item = Grant<'s>>,
        paths_of_grant: impl Fn(&Grant<'s>) -> Vec<GrantPath<'s>>,
        are_limited: bool,
    ) -> WhoCanResult<'s> {
        let mut paths_by_subject: BTreeMap<&Subject, Vec<GrantPath<'s>>> = BTreeMap::new();
        let mut binding_paths: Option<(&ObjectKey, Vec<GrantPath<'s>>)> = None;
        for grant in grants {
            // The subjects of one binding follow each other and have the same rules.
            if binding_paths.as_ref().is_none_or(|(key, _)| *key != grant.binding_key) {
                binding_paths = Some((grant.binding_key, paths_of_grant(&grant)));
            }
            let paths = binding_paths.iter().flat_map(|(_, paths)| paths);
            let paths: Vec<GrantPath<'s>> = paths.map(|path| GrantPath { subject: grant.subject, ..*path }).collect();
            if !paths.is_empty() {
                paths_by_subject.entry(grant.subject).or_default().extend(paths);
            }
        }
        let principals = self.principals_and_variants();
        let system_masters = self.principal_index().positions_of(&Subject::Group(MASTERS.to_owned()));
        let mut allowed: BTreeSet<usize> = BTreeSet::new();
        let mut subjects = Vec::new();
        for (subject, mut paths) in paths_by_subject {
            paths.sort();
            paths.dedup();
            allowed.extend(self.principal_index().positions_of(subject));
            let members = self.members_of(subject);
            subjects.push(SubjectGrants { subject, paths, members });
        }
        allowed.retain(|position| system_masters.binary_search(position).is_err());
        // If a principal is allowed, all of its variants are, and need not be listed.
        let is_listed = |position: &usize| allowed.contains(position) || system_masters.binary_search(position).is_ok();
        // If grants are limited, a variant with other grants than its base can do more.
        let has_same_grants = |position: usize, base: usize| {
            let has = |subject: &Subject, position: usize| {
                self.principal_index().positions_of(subject).binary_search(&position).is_ok()
            };
            subjects.iter().all(|grants| has(grants.subject, base) || !has(grants.subject, position))
        };
        let is_implied = |position: &usize| {
            self.principal_index()
                .variant_of(*position)
                .is_some_and(|base| is_listed(&base) && (!are_limited || has_same_grants(*position, base)))
        };
        let system_masters: Vec<usize> =
            system_masters.iter().filter(|position| !is_implied(position)).copied().collect();
        let allowed: Vec<usize> = allowed.iter().filter(|position| !is_implied(position)).copied().collect();
        WhoCanResult {
            system_masters: principals_at(principals, &system_masters).map(Rc::clone).collect(),
            principals: principals_at(principals, &allowed).map(Rc::clone).collect(),
            subjects,
        }
    }

    /// Returns the principals of aws-auth that have the subject of a binding as username or group, each with the entry
    /// that gives it. If all sessions of a role have it, the role is listed and not its sessions.
    fn members_of(&self, subject: &Subject) -> Vec<(SubjectQuery, EntryRef)> {
        let index = self.principal_index();
        let positions = index.positions_of(subject);
        let is_implied = |position: &usize| index.variant_of(*position).is_some_and(|base| positions.contains(&base));
        let mut members = Vec::new();
        for principal in principals_at(index.all(), positions.iter().filter(|position| !is_implied(position))) {
            let matching = principal.authentication.identities().filter(|identity| identity.matches_subject(subject));
            members
                .extend(matching.filter_map(Identity::entry).map(|entry| (principal.subject.clone(), entry.clone())));
        }
        members
    }

    /// Returns every rule that bindings grant to a subject. Membership in `system:masters` grants no rules.
    pub(crate) fn effective_rules(&self, query: &SubjectQuery) -> Vec<EffectiveRule<'s>> {
        let rules = |identity: &Identity| self.rules_of_grants(&self.grants.grants_for_identity(identity));
        self.authenticate(query).identities().flat_map(rules).collect()
    }

    /// Returns whether a binding grants a rule to a subject.
    pub(crate) fn has_rules(&self, query: &SubjectQuery) -> bool {
        let authentication = self.authenticate(query);
        let mut grants = authentication.identities().flat_map(|identity| self.grants.grants_for_identity(identity));
        grants.any(|grant| self.grants.role_for_grant(&grant).is_some_and(|role| role.sourced_rules().next().is_some()))
    }

    /// Returns every request that a subject is allowed to make, merged into few sets.
    pub(crate) fn effective_permissions(&self, query: &SubjectQuery) -> Vec<GrantedRequests<'s>> {
        let is_in_system_masters = self.authenticate(query).identities().any(Identity::is_in_system_masters);
        let known = &self.grants.state.resources;
        EffectivePermissions::new(known, is_in_system_masters, self.effective_rules(query)).merged_requests()
    }

    /// Returns the rules of grants. Grants of roles that do not exist are skipped.
    pub(super) fn rules_of_grants(&self, grants: &[Grant<'s>]) -> Vec<EffectiveRule<'s>> {
        let mut rules = Vec::new();
        for grant in grants {
            if let Some(effective) = self.grants.role_for_grant(grant) {
                let paths = effective.sourced_rules().map(|sourced| GrantPath::new(grant, effective.role, sourced));
                let scopes = self.grants.single_scopes(grant);
                rules.extend(paths.flat_map(|path| {
                    scopes.iter().map(move |namespace| EffectiveRule { path, namespace: *namespace })
                }));
            }
        }
        rules
    }

    /// Returns every IAM identity that an aws-auth entry matches, and every account of mapAccounts.
    pub(crate) fn principals(&self) -> &[Rc<MappedPrincipal>] {
        self.principal_index().plain()
    }

    /// Returns the principals, and the sessions of roles and the principals of accounts to which bindings grant more
    /// than to the role or the account. Every principal is followed by its variants.
    pub(crate) fn principals_and_variants(&self) -> &[Rc<MappedPrincipal>] {
        self.principal_index().all()
    }

    /// Returns the principals and variants that a subject matches.
    pub(super) fn principals_of(&self, subject: &Subject) -> impl Iterator<Item = &Rc<MappedPrincipal>> {
        principals_at(self.principals_and_variants(), self.principal_index().positions_of(subject))
    }

    pub(super) fn principal_index(&self) -> &PrincipalIndex {
        self.principals.get_or_init(|| PrincipalIndex::new(&self.mapping, || self.bound_names()))
    }

    /// Returns every subject that the state names: the subjects of bindings, the principals of aws-auth, their
    /// usernames and groups, and the users and groups that Kubernetes itself assigns.
    pub(crate) fn all_subjects(&self) -> BTreeSet<SubjectQuery> {
        let group = |name: &str| SubjectQuery::Group(name.to_owned());
        let mut subjects: BTreeSet<SubjectQuery> =
            self.grants.bound_subjects().map(SubjectQuery::from_subject).collect();
        for principal in self.principals_and_variants() {
            for identity in principal.authentication.identities() {
                let username = identity.username.as_ref().and_then(RenderedName::as_literal);
                subjects.extend(identity.groups.iter().filter_map(RenderedName::as_literal).map(group));
                subjects.extend(username.map(SubjectQuery::from_username));
            }
            subjects.insert(principal.subject.clone());
        }
        subjects.extend([MASTERS, AUTHENTICATED, UNAUTHENTICATED, SERVICE_ACCOUNTS].map(group));
        subjects.insert(SubjectQuery::User(ANONYMOUS.to_owned()));
        subjects
    }

    /// Returns the bindings with subjects whose role does not exist.
    pub(crate) fn dangling_bindings(&self) -> Vec<(&'s ObjectKey, &'s Binding)> {
        Grants::dangling_in(self.grants.state)
    }
}

/// Returns whether a grant applies to the request. A RoleBinding applies in its own namespace only, and never to URLs.
fn applies_to(grant: &Grant<'_>, request: &Request) -> bool {
    grant.applies_in(request.namespace())
}

fn principals_at<'a>(
    principals: &'a [Rc<MappedPrincipal>],
    positions: impl IntoIterator<Item = &'a usize>,
) -> impl Iterator<Item = &'a Rc<MappedPrincipal>> {
    positions.into_iter().filter_map(|position| principals.get(*position))
}

impl<'s> GrantPath<'s> {
    fn new(grant: &Grant<'s>, role: &'s ObjectKey, sourced: SourcedRule<'s>) -> Self {
        let SourcedRule { rule, source } = sourced;
        Self { subject: grant.subject, binding: grant.binding_key, role, source, rule, scope: grant.scope() }
    }
}
