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

use super::aggregation::{Roles, gather, is_gathered};
use super::caller::{Caller, fold};
use super::delta::{Bound, is_of_itself};
use super::escalation::assumed;
use super::extent::{Extent, Words, without};
use super::identity::{Admission, Identity, Source, Who, service_account_username};
use super::query::Access;
use super::template::Name;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

/// Two states, ready for the question.
pub(crate) struct Alone<'a, 's> {
    sides: [Side<'a, 's>; 2],
}

impl<'a, 's> Alone<'a, 's> {
    pub(crate) fn between(before: &'a Access<'s>, after: &'a Access<'s>) -> Self {
        Self { sides: [Side::new(before, after), Side::new(after, before)] }
    }

    /// Whether a role or a binding, changed alone or left out, changes anybody's access.
    pub(crate) fn object(&self, key: &ObjectKey) -> bool {
        self.sides.iter().any(|side| match key.kind() {
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => side.binding(key),
            ObjectKind::ClusterRole | ObjectKind::Role => side.role(key),
            ObjectKind::ConfigMap | ObjectKind::Namespace => false,
        })
    }

    /// Whether the entries of a principal, as written in aws-auth, do.
    pub(crate) fn entry(&self, principal: &str) -> bool {
        // What is no caller never answers.
        Caller::of_entry(principal).ok().filter(|caller| caller.key() == fold(principal)).is_some_and(|caller| {
            self.sides.iter().any(|side| {
                let other = Admission::of_caller(&caller, &side.other.mapping, &side.access.mapping);
                side.becomes(&side.access.admit(&Who::Arn(caller.clone())), &other)
            })
        })
    }

    /// Whether the entry of a whole account does.
    pub(crate) fn account(&self, id: &str) -> bool {
        let who = Who::Account(id.to_owned());
        self.sides.iter().any(|side| side.becomes(&side.access.admit(&who), &side.other.admit(&who)))
    }
}

/// One of the states, into which single pieces of the other are put.
struct Side<'a, 's> {
    access: &'a Access<'s>,
    other: &'a Access<'s>,
    by_role: BTreeMap<ObjectKey, Vec<(&'s ObjectKey, &'s Binding)>>,
    aggregated: Vec<(&'s ObjectKey, &'s Role)>,
    rules: RefCell<Rules<'s>>,
    known: RefCell<Known<'s>>,
}

#[derive(Default)]
struct Known<'s> {
    subjects: BTreeMap<&'s Subject, Rc<Holding<'s>>>,
    whos: BTreeMap<Who, Rc<Holding<'s>>>,
    bound: BTreeMap<Bound, Rc<Holding<'s>>>,
}

/// All that somebody has, in a form from which pieces can be taken.
struct Holding<'s> {
    is_master: bool,
    /// Which bindings give each rule, and where.
    by_rule: BTreeMap<OneRule<'s>, Vec<(&'s ObjectKey, Option<&'s str>)>>,
    extents: Vec<(OneRule<'s>, Extent<'s>)>,
}

/// The one that stands for all rules of its content, so that its place in memory tells it from others: contents would
/// be compared millions of times.
#[derive(Debug, Clone, Copy)]
struct OneRule<'s>(&'s Rule);

impl PartialEq for OneRule<'_> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for OneRule<'_> {}

impl PartialOrd for OneRule<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OneRule<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        ptr::from_ref(self.0).cmp(&ptr::from_ref(other.0))
    }
}

/// The rules of both states, each content once.
#[derive(Default)]
struct Rules<'s> {
    by_place: BTreeMap<*const Rule, OneRule<'s>>,
    by_content: BTreeMap<&'s Rule, OneRule<'s>>,
}

impl<'s> Rules<'s> {
    fn one(&mut self, rule: &'s Rule) -> OneRule<'s> {
        let by_content = &mut self.by_content;
        *self.by_place.entry(ptr::from_ref(rule)).or_insert_with(|| *by_content.entry(rule).or_insert(OneRule(rule)))
    }
}

/// A binding with the rules that it gives.
#[derive(Clone)]
struct Giving<'s> {
    subjects: &'s [Subject],
    rules: Rc<BTreeSet<OneRule<'s>>>,
}

/// A binding that gives something else, or to others.
struct Touch<'s> {
    key: &'s ObjectKey,
    old: Option<Giving<'s>>,
    new: Option<Giving<'s>>,
}

impl<'s> Touch<'s> {
    /// Those for whom it differs.
    fn subjects(&self) -> BTreeSet<&'s Subject> {
        let of = |giving: &Option<Giving<'s>>| -> BTreeSet<&'s Subject> {
            let giving = giving.iter().filter(|giving| !giving.rules.is_empty());
            giving.flat_map(|giving| giving.subjects).collect()
        };
        let (old, new) = (of(&self.old), of(&self.new));
        let rules = |giving: &Option<Giving<'s>>| giving.as_ref().map(|giving| Rc::clone(&giving.rules));
        if rules(&self.old) == rules(&self.new) { &old ^ &new } else { &old | &new }
    }
}

/// Rules with the namespaces in which they count.
type Scoped<'s> = BTreeSet<(OneRule<'s>, Option<&'s str>)>;

fn extents<'s>(scoped: &Scoped<'s>) -> Vec<Extent<'s>> {
    let mut by_rule: BTreeMap<OneRule<'_>, (bool, Vec<&str>)> = BTreeMap::new();
    for (rule, namespace) in scoped {
        let (is_wide, namespaces) = by_rule.entry(*rule).or_default();
        *is_wide |= namespace.is_none();
        namespaces.extend(namespace);
    }
    by_rule.into_iter().flat_map(|(rule, (is_wide, namespaces))| extents_of(rule, is_wide, namespaces)).collect()
}

fn extents_of<'s>(
    OneRule(rule): OneRule<'s>,
    is_wide: bool,
    namespaces: impl IntoIterator<Item = &'s str>,
) -> impl Iterator<Item = Extent<'s>> {
    let scope = if is_wide { Words::all() } else { Words::only(namespaces) };
    let paths = if is_wide { Extent::paths(rule) } else { None };
    [Extent::objects(rule, scope), paths].into_iter().flatten()
}

impl<'a, 's> Side<'a, 's> {
    fn new(access: &'a Access<'s>, other: &'a Access<'s>) -> Self {
        access.grants.index();
        let state = access.grants.state;
        let mut by_role: BTreeMap<ObjectKey, Vec<(&ObjectKey, &Binding)>> = BTreeMap::new();
        for (key, binding) in &state.bindings {
            if let Some(role) = binding.role_ref.key(key) {
                by_role.entry(role).or_default().push((key, binding));
            }
        }
        let is_gathered = |(_, role): &(&ObjectKey, &Role)| role.aggregation.is_some();
        let aggregated = state.roles.iter().filter(is_gathered).collect();
        Self { access, other, by_role, aggregated, rules: RefCell::default(), known: RefCell::default() }
    }

    fn binding(&self, key: &ObjectKey) -> bool {
        let (here, there) = (&self.access.grants.state.bindings, &self.other.grants.state.bindings);
        let (old, new) = (here.get_key_value(key), there.get_key_value(key));
        let giving = |(key, binding): (&'s ObjectKey, &'s Binding)| {
            let rules = binding.role_ref.key(key).map(|role| self.rules_here(&role)).unwrap_or_default();
            Giving { subjects: &binding.subjects, rules: Rc::new(rules) }
        };
        let Some((key, _)) = old.or(new) else {
            return false;
        };
        self.touches(&[Touch { key, old: old.map(giving), new: new.map(giving) }])
    }

    fn role(&self, key: &ObjectKey) -> bool {
        let (here, there) = (&self.access.grants.state.roles, &self.other.grants.state.roles);
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
        let roles = Roles::of(self.access.grants.state).with(key, new.map(|(_, role)| role));
        let mut touches = Vec::new();
        for affected in std::iter::once(key).chain(others) {
            let bindings = self.by_role.get(affected).map(Vec::as_slice).unwrap_or_default();
            if bindings.is_empty() {
                continue;
            }
            let (was, is) = (Rc::new(self.rules_here(affected)), Rc::new(self.rules_in(roles, affected)));
            if was != is {
                touches.extend(bindings.iter().map(|(key, binding)| {
                    let giving = |rules| Some(Giving { subjects: &binding.subjects, rules });
                    Touch { key, old: giving(Rc::clone(&was)), new: giving(Rc::clone(&is)) }
                }));
            }
        }
        self.touches(&touches)
    }

    fn rules_here(&self, key: &ObjectKey) -> BTreeSet<OneRule<'s>> {
        let effective = self.access.grants.role(key);
        effective.map(|role| self.each_once(role.rules().map(|sourced| sourced.rule))).unwrap_or_default()
    }

    fn rules_in(&self, roles: Roles<'s>, key: &ObjectKey) -> BTreeSet<OneRule<'s>> {
        match roles.get(key) {
            Some((key, role)) if is_gathered(role, self.access.grants.moment) => {
                let gathered = gather(roles, key, self.access.grants.moment);
                self.each_once(gathered.into_iter().map(|sourced| sourced.rule))
            }
            Some((_, role)) => self.each_once(&role.rules),
            None => BTreeSet::new(),
        }
    }

    fn each_once(&self, rules: impl IntoIterator<Item = &'s Rule>) -> BTreeSet<OneRule<'s>> {
        let mut known = self.rules.borrow_mut();
        rules.into_iter().map(|rule| known.one(rule)).collect()
    }

    /// Whether anybody has something else when these bindings give what they give in the other state.
    fn touches(&self, touches: &[Touch<'s>]) -> bool {
        let mut seen: BTreeMap<(*const Holding<'s>, Scoped<'s>, Scoped<'s>), bool> = BTreeMap::new();
        let mut differs = |admission: &Admission, holding: &Rc<Holding<'s>>| {
            if holding.is_master {
                return false;
            }
            let given = |touch: &Touch<'s>, giving: &Option<Giving<'s>>| -> Scoped<'s> {
                let meant = |giving: &&Giving<'s>| {
                    let mut subjects = giving.subjects.iter();
                    subjects.any(|one| admission.identities().any(|identity| identity.is_meant_by(one)))
                };
                let rules = giving.iter().filter(meant).flat_map(|giving| giving.rules.iter());
                rules.map(|rule| (*rule, touch.key.namespace())).collect()
            };
            let old: Scoped<'s> = touches.iter().flat_map(|touch| given(touch, &touch.old)).collect();
            let new: Scoped<'s> = touches.iter().flat_map(|touch| given(touch, &touch.new)).collect();
            if old == new {
                return false;
            }
            let key = (Rc::as_ptr(holding), old, new);
            *seen.entry(key).or_insert_with_key(|(_, old, new)| holding.differs(old, new, touches))
        };
        let subjects: BTreeSet<&Subject> = touches.iter().flat_map(Touch::subjects).collect();
        subjects.into_iter().any(|subject| {
            // All that somebody has, one of the subjects that mean him has by itself: where none has another set, he
            // has not either.
            let (bare, holding) = self.bare(subject);
            if !differs(&bare, &holding) {
                return false;
            }
            let who = Who::of_subject(subject);
            let mut behind = self.access.behind(subject).peekable();
            // Where an entry stands behind a name, the principal says it.
            let own = behind.peek().is_none() || is_of_itself(&who);
            behind.any(|principal| differs(&principal.admission, &self.holding(&principal.who, &principal.admission)))
                || own && {
                    let admission = self.access.admit(&who);
                    differs(&admission, &self.holding(&who, &admission))
                }
        })
    }

    /// Somebody of whom a subject alone is known, without the groups that everybody is in.
    fn bare(&self, subject: &'s Subject) -> (Admission, Rc<Holding<'s>>) {
        let literal = |name: &str| Name::Literal(name.to_owned());
        let (username, groups) = match subject {
            Subject::Group(name) => (None, vec![literal(name)]),
            Subject::User(name) => (Some(literal(name)), Vec::new()),
            Subject::ServiceAccount { namespace, name } => {
                (Some(Name::Literal(service_account_username(namespace, name))), Vec::new())
            }
        };
        let admission = Admission::As(Identity { username, groups, source: Source::Asked });
        if let Some(known) = self.known.borrow().subjects.get(subject) {
            return (admission, Rc::clone(known));
        }
        let holding = self.held(&admission);
        self.known.borrow_mut().subjects.insert(subject, Rc::clone(&holding));
        (admission, holding)
    }

    fn holding(&self, who: &Who, admission: &Admission) -> Rc<Holding<'s>> {
        if let Some(known) = self.known.borrow().whos.get(who) {
            return Rc::clone(known);
        }
        let holding = self.held(admission);
        self.known.borrow_mut().whos.insert(who.clone(), Rc::clone(&holding));
        holding
    }

    fn held(&self, admission: &Admission) -> Rc<Holding<'s>> {
        let bound = Bound::by(self.access, admission);
        let mut known = self.known.borrow_mut();
        let holding = known.bound.entry(bound).or_insert_with_key(|bound| {
            let mut rules = self.rules.borrow_mut();
            let mut by_rule: BTreeMap<OneRule<'s>, Vec<_>> = BTreeMap::new();
            for held in bound.rules(self.access) {
                by_rule.entry(rules.one(held.chain.rule)).or_default().push((held.chain.binding, held.namespace));
            }
            let all = |(rule, holders): (&OneRule<'s>, &Vec<(&'s ObjectKey, Option<&'s str>)>)| {
                let (rule, is_wide) = (*rule, holders.iter().any(|(_, namespace)| namespace.is_none()));
                let namespaces: Vec<&str> = holders.iter().filter_map(|(_, namespace)| *namespace).collect();
                extents_of(rule, is_wide, namespaces).map(move |extent| (rule, extent)).collect::<Vec<_>>()
            };
            let extents = by_rule.iter().flat_map(all).collect();
            Rc::new(Holding { is_master: bound.is_master, by_rule, extents })
        });
        Rc::clone(holding)
    }

    /// Whether somebody may do something else as another.
    fn becomes(&self, was: &Admission, is: &Admission) -> bool {
        let is_node = |admission: &Admission| admission.identities().any(Identity::is_node);
        if discriminant(was) != discriminant(is) || is_node(was) != is_node(is) || assumed(was) != assumed(is) {
            return true;
        }
        let (was, is) = (Bound::by(self.access, was), Bound::by(self.access, is));
        if was == is {
            return false;
        }
        let (was, is) = (was.reach(self.access), is.reach(self.access));
        !was.beyond(&is).is_empty() || !is.beyond(&was).is_empty()
    }
}

impl<'s> Holding<'s> {
    /// Whether the bindings that give `old`, giving `new`, give more or less beside all others.
    fn differs(&self, old: &Scoped<'s>, new: &Scoped<'s>, touches: &[Touch<'s>]) -> bool {
        let (gone, come): (Scoped<'s>, Scoped<'s>) = (old - new, new - old);
        let meeting = |extent: &Extent<'s>| -> Vec<Extent<'s>> {
            self.extents.iter().map(|(_, held)| held).filter(|held| held.meets(extent)).cloned().collect()
        };
        if extents(&come).iter().any(|extent| !without(extent, &meeting(extent)).is_empty()) {
            return true;
        }
        let touched: BTreeSet<&ObjectKey> = touches.iter().map(|touch| touch.key).collect();
        let given: BTreeSet<OneRule<'s>> = old.iter().map(|(rule, _)| *rule).collect();
        // What counts where nothing goes stands in for nothing.
        let places: BTreeSet<Option<&str>> = gone.iter().map(|(_, namespace)| *namespace).collect();
        let is_near = |place: Option<&'s str>| place.is_none() || places.contains(&None) || places.contains(&place);
        let mut rest: Scoped<'s> = new.iter().filter(|(_, place)| is_near(*place)).copied().collect();
        for rule in &given {
            let near = self.by_rule.get(rule).into_iter().flatten().filter(|(_, place)| is_near(*place));
            rest.extend(near.filter(|(key, _)| !touched.contains(key)).map(|(_, place)| (*rule, *place)));
        }
        let rest = extents(&rest);
        extents(&gone).iter().any(|extent| {
            let held = self.extents.iter().filter(|(rule, _)| !given.contains(rule)).map(|(_, held)| held);
            let left: Vec<Extent<'s>> = held.chain(&rest).filter(|held| held.meets(extent)).cloned().collect();
            !without(extent, &left).is_empty()
        })
    }
}
