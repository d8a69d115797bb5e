//! Whether one difference between two states changes by itself what anybody may do.
//!
//! It changes nothing where it makes no difference to the first state, made alone, and none to the second, left out of
//! it. Only whom the one object or entry touches is looked at, so that each of many thousand differences can be asked.
//! Entries of aws-auth of one principal are one difference.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::ptr;
use std::rc::Rc;

use super::access_view::AccessView;
use super::aggregation::{RoleOverlay, aggregate_rules, is_aggregated};
use super::diff::{BoundSubjects, needs_no_entry};
use super::escalation::identity_escalation_paths;
use super::iam_identity::{IamIdentity, fold_case};
use super::identity::{Authentication, Identity, IdentitySource, SubjectQuery, service_account_username};
use super::request_set::{RequestSet, StringSet, subtract};
use super::template::RenderedName;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

/// Two states, ready for the question.
pub(crate) struct MarginalImpact<'a, 's> {
    substitutions: [Substitution<'a, 's>; 2],
}

impl<'a, 's> MarginalImpact<'a, 's> {
    pub(crate) fn new(before: &'a AccessView<'s>, after: &'a AccessView<'s>) -> Self {
        Self { substitutions: [Substitution::new(before, after), Substitution::new(after, before)] }
    }

    /// Whether a role or a binding, changed alone or left out, changes anybody's access.
    pub(crate) fn object_changes_access(&self, key: &ObjectKey) -> bool {
        self.substitutions.iter().any(|side| match key.kind() {
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => side.binding_changes_access(key),
            ObjectKind::ClusterRole | ObjectKind::Role => side.role_changes_access(key),
            ObjectKind::ConfigMap | ObjectKind::Namespace => false,
        })
    }

    /// Whether the entries of a principal, as written in aws-auth, do.
    pub(crate) fn entry_changes_access(&self, principal: &str) -> bool {
        // What is no caller never answers.
        IamIdentity::parse_entry_arn(principal)
            .ok()
            .filter(|caller| caller.comparison_key() == fold_case(principal))
            .is_some_and(|caller| {
                self.substitutions.iter().any(|side| {
                    let other = Authentication::for_iam_identity(&caller, &side.other.mapping, &side.base.mapping);
                    side.login_changes_access(&side.base.authenticate(&SubjectQuery::Arn(caller.clone())), &other)
                })
            })
    }

    /// Whether the entry of a whole account does.
    pub(crate) fn account_changes_access(&self, id: &str) -> bool {
        let who = SubjectQuery::Account(id.to_owned());
        self.substitutions
            .iter()
            .any(|side| side.login_changes_access(&side.base.authenticate(&who), &side.other.authenticate(&who)))
    }
}

/// One of the states, into which single pieces of the other are put.
struct Substitution<'a, 's> {
    base: &'a AccessView<'s>,
    other: &'a AccessView<'s>,
    by_role: BTreeMap<ObjectKey, Vec<(&'s ObjectKey, &'s Binding)>>,
    aggregated: Vec<(&'s ObjectKey, &'s Role)>,
    interner: RefCell<RuleInterner<'s>>,
    cache: RefCell<ImpactCache<'s>>,
}

#[derive(Default)]
struct ImpactCache<'s> {
    by_subject: BTreeMap<&'s Subject, Rc<GrantedRules<'s>>>,
    by_query: BTreeMap<SubjectQuery, Rc<GrantedRules<'s>>>,
    by_bound_subjects: BTreeMap<BoundSubjects, Rc<GrantedRules<'s>>>,
}

/// All that somebody has, in a form from which pieces can be taken.
struct GrantedRules<'s> {
    is_in_system_masters: bool,
    /// Which bindings give each rule, and where.
    grants_by_rule: BTreeMap<InternedRule<'s>, Vec<(&'s ObjectKey, Option<&'s str>)>>,
    request_sets: Vec<(InternedRule<'s>, RequestSet<'s>)>,
}

/// The one that stands for all rules of its content, so that its place in memory tells it from others: contents would
/// be compared millions of times.
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

/// The rules of both states, each content once.
#[derive(Default)]
struct RuleInterner<'s> {
    by_address: BTreeMap<*const Rule, InternedRule<'s>>,
    by_content: BTreeMap<&'s Rule, InternedRule<'s>>,
}

impl<'s> RuleInterner<'s> {
    fn intern(&mut self, rule: &'s Rule) -> InternedRule<'s> {
        let by_content = &mut self.by_content;
        *self
            .by_address
            .entry(ptr::from_ref(rule))
            .or_insert_with(|| *by_content.entry(rule).or_insert(InternedRule(rule)))
    }
}

/// A binding with the rules that it gives.
#[derive(Clone)]
struct BindingGrant<'s> {
    subjects: &'s [Subject],
    rules: Rc<BTreeSet<InternedRule<'s>>>,
}

/// A binding that gives something else, or to others.
struct BindingChange<'s> {
    key: &'s ObjectKey,
    old: Option<BindingGrant<'s>>,
    new: Option<BindingGrant<'s>>,
}

impl<'s> BindingChange<'s> {
    /// Those for whom it differs.
    fn affected_subjects(&self) -> BTreeSet<&'s Subject> {
        let of = |giving: &Option<BindingGrant<'s>>| -> BTreeSet<&'s Subject> {
            let giving = giving.iter().filter(|giving| !giving.rules.is_empty());
            giving.flat_map(|giving| giving.subjects).collect()
        };
        let (old, new) = (of(&self.old), of(&self.new));
        let rules = |giving: &Option<BindingGrant<'s>>| giving.as_ref().map(|giving| Rc::clone(&giving.rules));
        if rules(&self.old) == rules(&self.new) { &old ^ &new } else { &old | &new }
    }
}

/// Rules with the namespaces in which they count.
type ScopedRules<'s> = BTreeSet<(InternedRule<'s>, Option<&'s str>)>;

fn request_sets<'s>(scoped: &ScopedRules<'s>) -> Vec<RequestSet<'s>> {
    let mut by_rule: BTreeMap<InternedRule<'_>, (bool, Vec<&str>)> = BTreeMap::new();
    for (rule, namespace) in scoped {
        let (is_wide, namespaces) = by_rule.entry(*rule).or_default();
        *is_wide |= namespace.is_none();
        namespaces.extend(namespace);
    }
    by_rule.into_iter().flat_map(|(rule, (is_wide, namespaces))| rule_request_sets(rule, is_wide, namespaces)).collect()
}

fn rule_request_sets<'s>(
    InternedRule(rule): InternedRule<'s>,
    is_wide: bool,
    namespaces: impl IntoIterator<Item = &'s str>,
) -> impl Iterator<Item = RequestSet<'s>> {
    let scope = if is_wide { StringSet::all() } else { StringSet::only(namespaces) };
    let paths = if is_wide { RequestSet::from_rule_urls(rule) } else { None };
    [RequestSet::from_rule_objects(rule, scope), paths].into_iter().flatten()
}

impl<'a, 's> Substitution<'a, 's> {
    fn new(access: &'a AccessView<'s>, other: &'a AccessView<'s>) -> Self {
        access.grants.build_index();
        let state = access.grants.state;
        let mut by_role: BTreeMap<ObjectKey, Vec<(&ObjectKey, &Binding)>> = BTreeMap::new();
        for (key, binding) in &state.bindings {
            if let Some(role) = binding.role_ref.role_key(key) {
                by_role.entry(role).or_default().push((key, binding));
            }
        }
        let is_gathered = |(_, role): &(&ObjectKey, &Role)| role.aggregation.is_some();
        let aggregated = state.roles.iter().filter(is_gathered).collect();
        Self { base: access, other, by_role, aggregated, interner: RefCell::default(), cache: RefCell::default() }
    }

    fn binding_changes_access(&self, key: &ObjectKey) -> bool {
        let (here, there) = (&self.base.grants.state.bindings, &self.other.grants.state.bindings);
        let (old, new) = (here.get_key_value(key), there.get_key_value(key));
        let giving = |(key, binding): (&'s ObjectKey, &'s Binding)| {
            let rules = binding.role_ref.role_key(key).map(|role| self.base_rules(&role)).unwrap_or_default();
            BindingGrant { subjects: &binding.subjects, rules: Rc::new(rules) }
        };
        let Some((key, _)) = old.or(new) else {
            return false;
        };
        self.any_access_changes(&[BindingChange { key, old: old.map(giving), new: new.map(giving) }])
    }

    fn role_changes_access(&self, key: &ObjectKey) -> bool {
        let (here, there) = (&self.base.grants.state.roles, &self.other.grants.state.roles);
        let (old, new) = (here.get_key_value(key), there.get_key_value(key));
        let Some((key, _)) = old.or(new) else {
            return false;
        };
        let is_fed_by = |role: &Role| {
            let mut selectors = self.aggregated.iter().filter_map(|(_, role)| role.aggregation.as_ref()).flatten();
            selectors.any(|selector| selector.matches(&role.meta.labels))
        };
        let feeds = key.namespace().is_none() && old.into_iter().chain(new).any(|(_, role)| is_fed_by(role));
        let others = self.aggregated.iter().map(|(key, _)| *key).filter(|other| feeds && *other != key);
        let roles = RoleOverlay::new(self.base.grants.state).with_replacement(key, new.map(|(_, role)| role));
        let mut touches = Vec::new();
        for affected in std::iter::once(key).chain(others) {
            let bindings = self.by_role.get(affected).map(Vec::as_slice).unwrap_or_default();
            if bindings.is_empty() {
                continue;
            }
            let (was, is) = (Rc::new(self.base_rules(affected)), Rc::new(self.rules_from(roles, affected)));
            if was != is {
                touches.extend(bindings.iter().map(|(key, binding)| {
                    let giving = |rules| Some(BindingGrant { subjects: &binding.subjects, rules });
                    BindingChange { key, old: giving(Rc::clone(&was)), new: giving(Rc::clone(&is)) }
                }));
            }
        }
        self.any_access_changes(&touches)
    }

    fn base_rules(&self, key: &ObjectKey) -> BTreeSet<InternedRule<'s>> {
        let effective = self.base.grants.role_by_key(key);
        effective.map(|role| self.intern_all(role.rules().map(|sourced| sourced.rule))).unwrap_or_default()
    }

    fn rules_from(&self, roles: RoleOverlay<'s>, key: &ObjectKey) -> BTreeSet<InternedRule<'s>> {
        match roles.get(key) {
            Some((key, role)) if is_aggregated(role, self.base.grants.aggregation) => {
                let gathered = aggregate_rules(roles, key, self.base.grants.aggregation);
                self.intern_all(gathered.into_iter().map(|sourced| sourced.rule))
            }
            Some((_, role)) => self.intern_all(&role.rules),
            None => BTreeSet::new(),
        }
    }

    fn intern_all(&self, rules: impl IntoIterator<Item = &'s Rule>) -> BTreeSet<InternedRule<'s>> {
        let mut known = self.interner.borrow_mut();
        rules.into_iter().map(|rule| known.intern(rule)).collect()
    }

    /// Whether anybody has something else when these bindings give what they give in the other state.
    fn any_access_changes(&self, touches: &[BindingChange<'s>]) -> bool {
        let mut seen: BTreeMap<(*const GrantedRules<'s>, ScopedRules<'s>, ScopedRules<'s>), bool> = BTreeMap::new();
        let mut differs = |admission: &Authentication, holding: &Rc<GrantedRules<'s>>| {
            if holding.is_in_system_masters {
                return false;
            }
            let given = |touch: &BindingChange<'s>, giving: &Option<BindingGrant<'s>>| -> ScopedRules<'s> {
                let meant = |giving: &&BindingGrant<'s>| {
                    let mut subjects = giving.subjects.iter();
                    subjects.any(|one| admission.identities().any(|identity| identity.matches_subject(one)))
                };
                let rules = giving.iter().filter(meant).flat_map(|giving| giving.rules.iter());
                rules.map(|rule| (*rule, touch.key.namespace())).collect()
            };
            let old: ScopedRules<'s> = touches.iter().flat_map(|touch| given(touch, &touch.old)).collect();
            let new: ScopedRules<'s> = touches.iter().flat_map(|touch| given(touch, &touch.new)).collect();
            if old == new {
                return false;
            }
            let key = (Rc::as_ptr(holding), old, new);
            *seen.entry(key).or_insert_with_key(|(_, old, new)| holding.changes_with(old, new, touches))
        };
        let subjects: BTreeSet<&Subject> = touches.iter().flat_map(BindingChange::affected_subjects).collect();
        subjects.into_iter().any(|subject| {
            // All that somebody has, one of the subjects that mean him has by itself: where none has another set, he
            // has not either.
            let (bare, holding) = self.grants_of_bare_subject(subject);
            if !differs(&bare, &holding) {
                return false;
            }
            let who = SubjectQuery::from_subject(subject);
            let mut behind = self.base.principals_of(subject).peekable();
            // Where an entry stands behind a name, the principal says it.
            let own = behind.peek().is_none() || needs_no_entry(&who);
            behind.any(|principal| {
                differs(&principal.authentication, &self.grants_of_query(&principal.subject, &principal.authentication))
            }) || own && {
                let admission = self.base.authenticate(&who);
                differs(&admission, &self.grants_of_query(&who, &admission))
            }
        })
    }

    /// Somebody of whom a subject alone is known, without the groups that everybody is in.
    fn grants_of_bare_subject(&self, subject: &'s Subject) -> (Authentication, Rc<GrantedRules<'s>>) {
        let literal = |name: &str| RenderedName::Literal(name.to_owned());
        let (username, groups) = match subject {
            Subject::Group(name) => (None, vec![literal(name)]),
            Subject::User(name) => (Some(literal(name)), Vec::new()),
            Subject::ServiceAccount { namespace, name } => {
                (Some(RenderedName::Literal(service_account_username(namespace, name))), Vec::new())
            }
        };
        let admission = Authentication::Identity(Identity { username, groups, source: IdentitySource::Query });
        if let Some(known) = self.cache.borrow().by_subject.get(subject) {
            return (admission, Rc::clone(known));
        }
        let holding = self.grants_of_authentication(&admission);
        self.cache.borrow_mut().by_subject.insert(subject, Rc::clone(&holding));
        (admission, holding)
    }

    fn grants_of_query(&self, who: &SubjectQuery, admission: &Authentication) -> Rc<GrantedRules<'s>> {
        if let Some(known) = self.cache.borrow().by_query.get(who) {
            return Rc::clone(known);
        }
        let holding = self.grants_of_authentication(admission);
        self.cache.borrow_mut().by_query.insert(who.clone(), Rc::clone(&holding));
        holding
    }

    fn grants_of_authentication(&self, admission: &Authentication) -> Rc<GrantedRules<'s>> {
        let bound = BoundSubjects::for_authentication(self.base, admission);
        let mut known = self.cache.borrow_mut();
        let holding = known.by_bound_subjects.entry(bound).or_insert_with_key(|bound| {
            let mut rules = self.interner.borrow_mut();
            let mut by_rule: BTreeMap<InternedRule<'s>, Vec<_>> = BTreeMap::new();
            for held in bound.effective_rules(self.base) {
                by_rule.entry(rules.intern(held.path.rule)).or_default().push((held.path.binding, held.namespace));
            }
            let all = |(rule, holders): (&InternedRule<'s>, &Vec<(&'s ObjectKey, Option<&'s str>)>)| {
                let (rule, is_wide) = (*rule, holders.iter().any(|(_, namespace)| namespace.is_none()));
                let namespaces: Vec<&str> = holders.iter().filter_map(|(_, namespace)| *namespace).collect();
                rule_request_sets(rule, is_wide, namespaces).map(move |extent| (rule, extent)).collect::<Vec<_>>()
            };
            let extents = by_rule.iter().flat_map(all).collect();
            Rc::new(GrantedRules {
                is_in_system_masters: bound.is_in_system_masters,
                grants_by_rule: by_rule,
                request_sets: extents,
            })
        });
        Rc::clone(holding)
    }

    /// Whether somebody may do something else as another.
    fn login_changes_access(&self, was: &Authentication, is: &Authentication) -> bool {
        let is_node = |admission: &Authentication| admission.identities().any(Identity::is_node);
        if discriminant(was) != discriminant(is)
            || is_node(was) != is_node(is)
            || identity_escalation_paths(was) != identity_escalation_paths(is)
        {
            return true;
        }
        let (was, is) =
            (BoundSubjects::for_authentication(self.base, was), BoundSubjects::for_authentication(self.base, is));
        if was == is {
            return false;
        }
        let (was, is) = (was.effective_permissions(self.base), is.effective_permissions(self.base));
        !was.difference(&is).is_empty() || !is.difference(&was).is_empty()
    }
}

impl<'s> GrantedRules<'s> {
    /// Whether the bindings that give `old`, giving `new`, give more or less beside all others.
    fn changes_with(&self, old: &ScopedRules<'s>, new: &ScopedRules<'s>, touches: &[BindingChange<'s>]) -> bool {
        let (gone, come): (ScopedRules<'s>, ScopedRules<'s>) = (old - new, new - old);
        let meeting = |extent: &RequestSet<'s>| -> Vec<RequestSet<'s>> {
            self.request_sets.iter().map(|(_, held)| held).filter(|held| held.overlaps(extent)).cloned().collect()
        };
        if request_sets(&come).iter().any(|extent| !subtract(extent, &meeting(extent)).is_empty()) {
            return true;
        }
        let touched: BTreeSet<&ObjectKey> = touches.iter().map(|touch| touch.key).collect();
        let given: BTreeSet<InternedRule<'s>> = old.iter().map(|(rule, _)| *rule).collect();
        // What counts where nothing goes stands in for nothing.
        let places: BTreeSet<Option<&str>> = gone.iter().map(|(_, namespace)| *namespace).collect();
        let is_near = |place: Option<&'s str>| place.is_none() || places.contains(&None) || places.contains(&place);
        let mut rest: ScopedRules<'s> = new.iter().filter(|(_, place)| is_near(*place)).copied().collect();
        for rule in &given {
            let near = self.grants_by_rule.get(rule).into_iter().flatten().filter(|(_, place)| is_near(*place));
            rest.extend(near.filter(|(key, _)| !touched.contains(key)).map(|(_, place)| (*rule, *place)));
        }
        let rest = request_sets(&rest);
        request_sets(&gone).iter().any(|extent| {
            let held = self.request_sets.iter().filter(|(rule, _)| !given.contains(rule)).map(|(_, held)| held);
            let left: Vec<RequestSet<'s>> = held.chain(&rest).filter(|held| held.overlaps(extent)).cloned().collect();
            !subtract(extent, &left).is_empty()
        })
    }
}
