//! Whether one change between two states changes any access by itself.
//!
//! A change has no impact if it makes no difference when it is applied alone to the first state, and no difference when
//! it is omitted from the second state. Only the subjects that the changed object or entry affects are compared, so the
//! impact of each of thousands of changes can be computed. All aws-auth entries of one principal are one change.

use std::cell::{OnceCell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::ptr;
use std::rc::Rc;

use super::access_view::AccessView;
use super::aggregation::{ComputedRules, RoleOverlay, aggregate_rules, is_aggregated};
use super::bound_grants::BoundGrants;
use super::diff::needs_no_entry;
use super::escalation::identity_escalation_paths;
use super::iam_identity::{IamIdentity, fold_case};
use super::identity::{
    Authentication, Identity, IdentitySource, StoreMappings, SubjectQuery, service_account_username,
};
use super::identity_mapping::{EntryPlace, EntryRef, IdentityMapping};
use super::request_set::{RequestSet, StringSet, subtract};
use super::rule_key::RuleKey;
use super::template::RenderedName;
use crate::api_resources::KnownResources;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

/// Computes the impact of single changes between two states.
pub(crate) struct MarginalImpact<'a, 's> {
    substitutions: [Substitution<'a, 's>; 2],
}

impl<'a, 's> MarginalImpact<'a, 's> {
    pub(crate) fn new(before: &'a AccessView<'s>, after: &'a AccessView<'s>) -> Self {
        Self { substitutions: [Substitution::new(before, after), Substitution::new(after, before)] }
    }

    /// Returns whether the change of a role or binding alone, or its omission, changes any access.
    pub(crate) fn object_changes_access(&self, key: &ObjectKey) -> bool {
        if key.kind() == ObjectKind::AccessEntry {
            return self.access_entry_changes_access(key);
        }
        self.substitutions.iter().any(|substitution| match key.kind() {
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => substitution.binding_changes_access(key),
            ObjectKind::ClusterRole | ObjectKind::Role => substitution.role_changes_access(key),
            ObjectKind::ConfigMap
            | ObjectKind::Namespace
            | ObjectKind::AccessEntry
            | ObjectKind::AccessPolicy
            | ObjectKind::AccessPolicyAssociation => false,
        })
    }

    /// Returns whether the change of an access entry with its associations alone, or its omission, changes any access.
    fn access_entry_changes_access(&self, key: &ObjectKey) -> bool {
        let policies = self.substitutions.each_ref().map(|substitution| {
            let entry = substitution.base.grants.state.access_entries.get(key);
            entry.map(|entry| entry.policies().collect::<BTreeMap<_, _>>()).unwrap_or_default()
        });
        let [before, after] = &policies;
        before != after
            || self.principal_changes_access(&IamIdentity::from_access_entry(key.name()), |base, other| {
                StoreMappings { access_entries: other, ..StoreMappings::all_of(base) }
            })
    }

    /// Returns whether the change of a principal's entries alone, or its omission, changes any access. `principal` is
    /// the ARN as written in aws-auth.
    pub(crate) fn entry_changes_access(&self, principal: &str) -> bool {
        let Ok(iam_identity) = IamIdentity::parse_entry_arn(principal) else {
            return false;
        };
        if iam_identity.comparison_key() != fold_case(principal) {
            // The entry never matches.
            return false;
        }
        self.principal_changes_access(&iam_identity, |base, other| StoreMappings {
            aws_auth: other,
            ..StoreMappings::all_of(base)
        })
    }

    /// `stores` returns the stores after the change, from the mapping of the base state and the other one.
    fn principal_changes_access(
        &self,
        iam_identity: &IamIdentity,
        stores: impl for<'m> Fn(&'m IdentityMapping, &'m IdentityMapping) -> StoreMappings<'m>,
    ) -> bool {
        let query = SubjectQuery::Arn(iam_identity.clone());
        self.substitutions.iter().any(|substitution| {
            let Substitution { base, other, .. } = substitution;
            let stores = stores(&base.mapping, &other.mapping);
            let authenticate = |identity: &IamIdentity| Authentication::for_iam_identity(identity, &stores);
            let new = authenticate(iam_identity);
            // The sessions that the bindings of the base state distinguish, with the entries of either state.
            let mut sessions: BTreeSet<IamIdentity> = base.distinguished_sessions(iam_identity, &new);
            sessions.extend(base.distinguished_sessions(iam_identity, &base.authenticate(&query)));
            substitution.identity_changes_access(&base.authenticate(&query), &new)
                || sessions.iter().any(|session| {
                    let old = base.authenticate(&SubjectQuery::Arn(session.clone()));
                    substitution.identity_changes_access(&old, &authenticate(session))
                })
        })
    }

    /// Returns whether the change of a mapAccounts entry alone, or its omission, changes any access.
    pub(crate) fn account_changes_access(&self, id: &str) -> bool {
        let query = SubjectQuery::Account(id.to_owned());
        self.substitutions.iter().any(|substitution| {
            let Substitution { base, other, .. } = substitution;
            substitution.identity_changes_access(&base.authenticate(&query), &other.authenticate(&query))
                || base.bound_principals_of_account(id).iter().any(|member| {
                    let old = base.authenticate(&SubjectQuery::Arn(member.clone()));
                    let stores = StoreMappings { accounts: &other.mapping, ..StoreMappings::all_of(&base.mapping) };
                    let new = Authentication::for_iam_identity(member, &stores);
                    substitution.identity_changes_access(&old, &new)
                })
        })
    }
}

/// One of the states, in which single objects or entries are replaced by those of the other state.
struct Substitution<'a, 's> {
    base: &'a AccessView<'s>,
    other: &'a AccessView<'s>,
    bindings_by_role: BTreeMap<ObjectKey, Vec<(&'s ObjectKey, &'s Binding)>>,
    aggregated_roles: Vec<(&'s ObjectKey, &'s Role)>,
    interner: RefCell<RuleInterner<'s>>,
    cache: RefCell<ImpactCache<'s>>,
}

/// The rules of subjects in the base state.
#[derive(Default)]
struct ImpactCache<'s> {
    subjects: BTreeMap<&'s Subject, Rc<GrantedRules<'s>>>,
    queries: BTreeMap<SubjectQuery, Rc<GrantedRules<'s>>>,
    bound_grants: BTreeMap<BoundGrants, Rc<GrantedRules<'s>>>,
}

/// All rules that a subject has, in a form from which the grants of single bindings can be removed.
struct GrantedRules<'s> {
    known: &'s KnownResources,
    is_in_system_masters: bool,
    /// The bindings that grant each rule, and the namespaces of those bindings.
    grants_by_rule: BTreeMap<InternedRule<'s>, Vec<(&'s ObjectKey, Option<&'s str>)>>,
    request_sets: Vec<(InternedRule<'s>, RequestSet<'s>)>,
}

/// A rule that is compared by its address. All rules with the same content are interned as one rule. This is faster than
/// comparing contents, which would happen millions of times.
#[derive(Debug, Clone, Copy)]
struct InternedRule<'s>(&'s Rule);

impl PartialEq for InternedRule<'_> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for InternedRule<'_> {}

impl PartialOrd for InternedRule<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InternedRule<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        ptr::from_ref(self.0).cmp(&ptr::from_ref(other.0))
    }
}

/// The interned rules of both states.
#[derive(Default)]
struct RuleInterner<'s> {
    by_address: BTreeMap<*const Rule, InternedRule<'s>>,
    by_content: BTreeMap<RuleKey<'s>, InternedRule<'s>>,
}

impl<'s> RuleInterner<'s> {
    fn intern(&mut self, rule: &'s Rule) -> InternedRule<'s> {
        let by_content = &mut self.by_content;
        *self
            .by_address
            .entry(ptr::from_ref(rule))
            .or_insert_with(|| *by_content.entry(rule.into()).or_insert(InternedRule(rule)))
    }
}

/// The subjects of a binding and the rules that it grants.
#[derive(Clone)]
struct BindingGrant<'s> {
    subjects: &'s [Subject],
    rules: Rc<BTreeSet<InternedRule<'s>>>,
}

/// A change of the subjects or rules of a binding.
struct BindingChange<'s> {
    key: &'s ObjectKey,
    old: Option<BindingGrant<'s>>,
    new: Option<BindingGrant<'s>>,
}

impl<'s> BindingChange<'s> {
    /// Returns the subjects that the change affects.
    fn affected_subjects(&self) -> BTreeSet<&'s Subject> {
        let subjects = |grant: &Option<BindingGrant<'s>>| -> BTreeSet<&'s Subject> {
            let grant = grant.iter().filter(|grant| !grant.rules.is_empty());
            grant.flat_map(|grant| grant.subjects).collect()
        };
        let rules = |grant: &Option<BindingGrant<'s>>| grant.as_ref().map(|grant| Rc::clone(&grant.rules));
        let (old, new) = (subjects(&self.old), subjects(&self.new));
        if rules(&self.old) == rules(&self.new) { &old ^ &new } else { &old | &new }
    }
}

/// Rules with the namespaces in which they apply.
type ScopedRules<'s> = BTreeSet<(InternedRule<'s>, Option<&'s str>)>;

fn request_sets<'s>(rules: &ScopedRules<'s>, known: &'s KnownResources) -> Vec<RequestSet<'s>> {
    let mut by_rule: BTreeMap<InternedRule<'_>, (bool, Vec<&str>)> = BTreeMap::new();
    for (rule, namespace) in rules {
        let (is_cluster_wide, namespaces) = by_rule.entry(*rule).or_default();
        *is_cluster_wide |= namespace.is_none();
        namespaces.extend(namespace);
    }
    let sets = |(rule, (is_cluster_wide, namespaces))| rule_request_sets(rule, is_cluster_wide, namespaces, known);
    by_rule.into_iter().flat_map(sets).collect()
}

fn rule_request_sets<'s>(
    InternedRule(rule): InternedRule<'s>,
    is_cluster_wide: bool,
    namespaces: impl IntoIterator<Item = &'s str>,
    known: &'s KnownResources,
) -> Vec<RequestSet<'s>> {
    let scope = if is_cluster_wide { StringSet::all() } else { StringSet::only(namespaces) };
    RequestSet::from_rule(rule, scope, known)
}

impl<'a, 's> Substitution<'a, 's> {
    fn new(base: &'a AccessView<'s>, other: &'a AccessView<'s>) -> Self {
        base.grants.build_index();
        let state = base.grants.state;
        let mut bindings_by_role: BTreeMap<ObjectKey, Vec<(&ObjectKey, &Binding)>> = BTreeMap::new();
        for (key, binding) in state.all_bindings() {
            if let Some(role) = binding.role_ref.role_key(key) {
                bindings_by_role.entry(role).or_default().push((key, binding));
            }
        }
        let aggregated_roles = state.roles.iter().filter(|(_, role)| role.aggregation.is_some()).collect();
        let (interner, cache) = (RefCell::default(), RefCell::default());
        Self { base, other, bindings_by_role, aggregated_roles, interner, cache }
    }

    fn binding_changes_access(&self, key: &ObjectKey) -> bool {
        let old = self.base.grants.state.bindings.get_key_value(key);
        let new = self.other.grants.state.bindings.get_key_value(key);
        let grant = |(key, binding): (&'s ObjectKey, &'s Binding)| {
            let rules = binding.role_ref.role_key(key).map(|role| self.base_rules(&role)).unwrap_or_default();
            BindingGrant { subjects: &binding.subjects, rules: Rc::new(rules) }
        };
        let Some((key, _)) = old.or(new) else {
            return false;
        };
        self.any_access_changes(&[BindingChange { key, old: old.map(grant), new: new.map(grant) }])
    }

    fn role_changes_access(&self, key: &ObjectKey) -> bool {
        let old = self.base.grants.state.roles.get_key_value(key);
        let new = self.other.grants.state.roles.get_key_value(key);
        let Some((key, _)) = old.or(new) else {
            return false;
        };
        let is_selected = |role: &Role| {
            let mut selectors =
                self.aggregated_roles.iter().filter_map(|(_, role)| role.aggregation.as_ref()).flatten();
            selectors.any(|selector| selector.matches(&role.meta.labels))
        };
        let changes_aggregated_roles =
            key.namespace().is_none() && old.into_iter().chain(new).any(|(_, role)| is_selected(role));
        let aggregated_roles = self.aggregated_roles.iter().map(|(key, _)| *key);
        let others = aggregated_roles.filter(|other| changes_aggregated_roles && *other != key);
        let roles = RoleOverlay::new(self.base.grants.state).with_replacement(key, new.map(|(_, role)| role));
        let (aggregated, mut changes) = (OnceCell::new(), Vec::new());
        for affected in std::iter::once(key).chain(others) {
            let bindings = self.bindings_by_role.get(affected).map(Vec::as_slice).unwrap_or_default();
            if bindings.is_empty() {
                continue;
            }
            let old_rules = Rc::new(self.base_rules(affected));
            let new_rules = Rc::new(self.rules_from(roles, &aggregated, affected));
            if old_rules != new_rules {
                changes.extend(bindings.iter().map(|(key, binding)| {
                    let grant = |rules| Some(BindingGrant { subjects: &binding.subjects, rules });
                    BindingChange { key, old: grant(Rc::clone(&old_rules)), new: grant(Rc::clone(&new_rules)) }
                }));
            }
        }
        self.any_access_changes(&changes)
    }

    /// Returns the rules of a role in the base state.
    fn base_rules(&self, key: &ObjectKey) -> BTreeSet<InternedRule<'s>> {
        let effective = self.base.grants.role_by_key(key);
        effective.map(|role| self.intern_all(role.sourced_rules().map(|sourced| sourced.rule))).unwrap_or_default()
    }

    /// Returns the rules of a role in the base state with a replaced role. `aggregated` caches those of aggregated roles.
    fn rules_from(
        &self,
        roles: RoleOverlay<'s>,
        aggregated: &OnceCell<ComputedRules<'s>>,
        key: &ObjectKey,
    ) -> BTreeSet<InternedRule<'s>> {
        let aggregation = self.base.grants.aggregation;
        match roles.get(key) {
            Some((key, role)) if is_aggregated(role, aggregation) => {
                let all = aggregated.get_or_init(|| aggregate_rules(roles, aggregation));
                self.intern_all(all.get(key).into_iter().flat_map(|rules| rules.iter()).map(|sourced| sourced.rule))
            }
            Some((_, role)) => self.intern_all(&role.rules),
            None => BTreeSet::new(),
        }
    }

    fn intern_all(&self, rules: impl IntoIterator<Item = &'s Rule>) -> BTreeSet<InternedRule<'s>> {
        let mut interner = self.interner.borrow_mut();
        rules.into_iter().map(|rule| interner.intern(rule)).collect()
    }

    /// Returns whether any subject has other permissions if these bindings change.
    fn any_access_changes(&self, changes: &[BindingChange<'s>]) -> bool {
        let mut cache: BTreeMap<(*const GrantedRules<'s>, ScopedRules<'s>, ScopedRules<'s>), bool> = BTreeMap::new();
        let mut differs = |authentication: &Authentication, granted: &Rc<GrantedRules<'s>>| {
            if granted.is_in_system_masters {
                return false;
            }
            let matches = |grant: &&BindingGrant<'s>| {
                let mut subjects = grant.subjects.iter();
                subjects.any(|subject| authentication.identities().any(|identity| identity.matches_subject(subject)))
            };
            let rules = |change: &BindingChange<'s>, grant: &Option<BindingGrant<'s>>| -> ScopedRules<'s> {
                let rules = grant.iter().filter(matches).flat_map(|grant| grant.rules.iter());
                rules.map(|rule| (*rule, change.key.namespace())).collect()
            };
            let old: ScopedRules<'s> = changes.iter().flat_map(|change| rules(change, &change.old)).collect();
            let new: ScopedRules<'s> = changes.iter().flat_map(|change| rules(change, &change.new)).collect();
            if old == new {
                return false;
            }
            let key = (Rc::as_ptr(granted), old, new);
            *cache.entry(key).or_insert_with_key(|(_, old, new)| granted.changes_with(old, new, changes))
        };
        let subjects: BTreeSet<&Subject> = changes.iter().flat_map(BindingChange::affected_subjects).collect();
        subjects.into_iter().any(|subject| {
            // An identity's permissions are the union of the permissions of the subjects that match it. So if no single
            // subject has other permissions, no identity has.
            let (authentication, granted) = self.grants_of_bare_subject(subject);
            if !differs(&authentication, &granted) {
                return false;
            }
            let query = SubjectQuery::from_subject(subject);
            // If principals map to the subject, their permissions are compared instead of the subject's own. A session that
            // can take the name is compared in addition, as in `diff_access`.
            let has_principal = self.base.principals_of(subject).any(|principal| !principal.is_session());
            let is_compared_itself = !has_principal || needs_no_entry(&query);
            self.base.principals_of(subject).any(|principal| {
                let granted = self.grants_of_query(&principal.subject, &principal.authentication);
                differs(&principal.authentication, &granted)
            }) || is_compared_itself && {
                let authentication = self.base.authenticate(&query);
                differs(&authentication, &self.grants_of_query(&query, &authentication))
            }
        })
    }

    /// Returns the permissions of a subject alone, without the groups that the API server adds to every identity.
    fn grants_of_bare_subject(&self, subject: &'s Subject) -> (Authentication, Rc<GrantedRules<'s>>) {
        let literal = |name: &str| RenderedName::Literal(name.to_owned());
        let (username, groups) = match subject {
            Subject::Group(name) => (None, vec![literal(name)]),
            Subject::User(name) => (Some(literal(name)), Vec::new()),
            Subject::ServiceAccount { namespace, name } => {
                (Some(RenderedName::Literal(service_account_username(namespace, name))), Vec::new())
            }
            Subject::AccessEntry(_) => (None, Vec::new()),
        };
        let source = match subject {
            Subject::AccessEntry(principal) => {
                IdentitySource::Entry(EntryRef { place: EntryPlace::AccessEntry, principal: principal.clone() })
            }
            Subject::Group(_) | Subject::User(_) | Subject::ServiceAccount { .. } => IdentitySource::Query,
        };
        let authentication = Authentication::Identity(Identity { username, groups, source });
        if let Some(cached) = self.cache.borrow().subjects.get(subject) {
            return (authentication, Rc::clone(cached));
        }
        let granted = self.grants_of_authentication(&authentication);
        self.cache.borrow_mut().subjects.insert(subject, Rc::clone(&granted));
        (authentication, granted)
    }

    fn grants_of_query(&self, query: &SubjectQuery, authentication: &Authentication) -> Rc<GrantedRules<'s>> {
        if let Some(cached) = self.cache.borrow().queries.get(query) {
            return Rc::clone(cached);
        }
        let granted = self.grants_of_authentication(authentication);
        self.cache.borrow_mut().queries.insert(query.clone(), Rc::clone(&granted));
        granted
    }

    fn grants_of_authentication(&self, authentication: &Authentication) -> Rc<GrantedRules<'s>> {
        let bound = BoundGrants::for_authentication(self.base, authentication);
        let mut cache = self.cache.borrow_mut();
        let granted = cache.bound_grants.entry(bound).or_insert_with_key(|bound| {
            let mut interner = self.interner.borrow_mut();
            let mut grants_by_rule: BTreeMap<InternedRule<'s>, Vec<_>> = BTreeMap::new();
            for effective in bound.effective_rules(self.base) {
                let grants = grants_by_rule.entry(interner.intern(effective.path.rule)).or_default();
                grants.push((effective.path.binding, effective.namespace));
            }
            let sets = |(rule, grants): (&InternedRule<'s>, &Vec<(&'s ObjectKey, Option<&'s str>)>)| {
                let rule = *rule;
                let is_cluster_wide = grants.iter().any(|(_, namespace)| namespace.is_none());
                let namespaces: Vec<&str> = grants.iter().filter_map(|(_, namespace)| *namespace).collect();
                let known = &self.base.grants.state.resources;
                let sets = rule_request_sets(rule, is_cluster_wide, namespaces, known).into_iter();
                sets.map(move |set| (rule, set)).collect::<Vec<_>>()
            };
            let request_sets = grants_by_rule.iter().flat_map(sets).collect();
            let known = &self.base.grants.state.resources;
            let is_in_system_masters = bound.is_in_system_masters;
            Rc::new(GrantedRules { known, is_in_system_masters, grants_by_rule, request_sets })
        });
        Rc::clone(granted)
    }

    /// Returns whether a principal has other access with its new identity than with its old one.
    fn identity_changes_access(&self, old: &Authentication, new: &Authentication) -> bool {
        let is_node = |authentication: &Authentication| authentication.identities().any(Identity::is_node);
        if discriminant(old) != discriminant(new)
            || is_node(old) != is_node(new)
            || identity_escalation_paths(old) != identity_escalation_paths(new)
        {
            return true;
        }
        let old = BoundGrants::for_authentication(self.base, old);
        let new = BoundGrants::for_authentication(self.base, new);
        if old == new {
            return false;
        }
        let (old, new) = (old.effective_permissions(self.base), new.effective_permissions(self.base));
        !old.difference(&new).is_empty() || !new.difference(&old).is_empty()
    }
}

impl<'s> GrantedRules<'s> {
    /// Returns whether the permissions change if the changed bindings grant the rules `new` instead of the rules `old`.
    fn changes_with(&self, old: &ScopedRules<'s>, new: &ScopedRules<'s>, changes: &[BindingChange<'s>]) -> bool {
        let (revoked, granted): (ScopedRules<'s>, ScopedRules<'s>) = (old - new, new - old);
        let is_gained = |set: &RequestSet<'s>| {
            let own_sets = self.request_sets.iter().map(|(_, own)| own);
            !subtract(set, &overlapping(own_sets, set)).is_empty()
        };
        if request_sets(&granted, self.known).iter().any(is_gained) {
            return true;
        }
        let changed_bindings: BTreeSet<&ObjectKey> = changes.iter().map(|change| change.key).collect();
        let old_rules: BTreeSet<InternedRule<'s>> = old.iter().map(|(rule, _)| *rule).collect();
        // Rules in namespaces where nothing is revoked cannot make up for a revoked rule, so they are skipped.
        let revoked_in: BTreeSet<Option<&str>> = revoked.iter().map(|(_, namespace)| *namespace).collect();
        let is_relevant = |namespace: Option<&'s str>| {
            namespace.is_none() || revoked_in.contains(&None) || revoked_in.contains(&namespace)
        };
        let mut remaining: ScopedRules<'s> =
            new.iter().filter(|(_, namespace)| is_relevant(*namespace)).copied().collect();
        for rule in &old_rules {
            let grants = self.grants_by_rule.get(rule).into_iter().flatten();
            let unchanged = grants.filter(|(key, _)| !changed_bindings.contains(key));
            let relevant = unchanged.filter(|(_, namespace)| is_relevant(*namespace));
            remaining.extend(relevant.map(|(_, namespace)| (*rule, *namespace)));
        }
        let remaining = request_sets(&remaining, self.known);
        request_sets(&revoked, self.known).iter().any(|set| {
            let other_rules = self.request_sets.iter().filter(|(rule, _)| !old_rules.contains(rule));
            let remaining = other_rules.map(|(_, own)| own).chain(&remaining);
            !subtract(set, &overlapping(remaining, set)).is_empty()
        })
    }
}

/// Returns the sets that overlap `set`.
fn overlapping<'a, 's: 'a>(
    sets: impl Iterator<Item = &'a RequestSet<'s>>,
    set: &RequestSet<'s>,
) -> Vec<RequestSet<'s>> {
    sets.filter(|other| other.overlaps(set)).cloned().collect()
}
