//! The least roles that allow what is needed, as objects to apply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::needs::{Need, of_applying, of_plan, of_policy, of_reading};
use super::wanted::{Lack, Runner};
use crate::access::{Access, Identity, Moment, ObjectRequest, Request, uncovered};
use crate::names::ObjectKey;
use crate::plan::Plan;
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::meta::{Labels, Meta};
use crate::state::object::{Binding, ObjectFault, Role, binding_json, role_json};
use crate::state::owner::MANAGED_BY;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// How the runner may write rules into roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// It holds them itself, and can give nobody more.
    Rules,
    /// It may write any.
    Escalate,
}

/// What is needed of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Least {
    needs: Vec<Need>,
}

/// Rules by where they count: everywhere, or in a namespace.
type Scopes = BTreeMap<Option<String>, Vec<Rule>>;

impl Least {
    /// What a plan needs, whatever the policy.
    pub(crate) fn to_plan() -> Self {
        Self { needs: of_reading() }
    }

    /// What it takes to make a cluster what the policy wants, and to keep it so.
    ///
    /// # Errors
    /// A write of the plan that is none.
    pub(crate) fn to_apply(desired: &Desired, live: &State, plan: &Plan) -> Result<Self, ObjectFault> {
        let after = plan.after(live)?;
        let mut policy = of_policy(desired, live, &plan.policy, &after);
        policy.extend(of_plan(plan, live, &after).into_iter().map(|(need, _)| need));
        let mut needs = of_reading();
        needs.extend(of_applying(&policy));
        needs.extend(policy);
        Ok(Self { needs })
    }

    /// Each once.
    pub(crate) fn needs(&self) -> Vec<&Need> {
        self.needs.iter().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What has to be asked of the cluster: requests, and those that stand in for rules which the runner does not hold.
    pub(crate) fn unheld(&self, live: &State, runner: &Runner) -> Vec<Lack> {
        let access = Access::of(live, Moment::Stored);
        let identity = Identity::reported(&runner.username, &runner.groups);
        let is_master = identity.is_master();
        let needs = self.needs().into_iter();
        needs
            .filter_map(|need| match need {
                Need::Request(request) => Some(Lack { request: request.clone(), rules: Vec::new(), step: 0 }),
                Need::Rules { rules, namespace, or, gathers: _ } => {
                    let missing = uncovered(&access.rules_in(&identity, namespace.as_deref()), rules);
                    let lack = Lack { request: or.clone(), rules: missing, step: 0 };
                    (!is_master && !lack.rules.is_empty()).then_some(lack)
                }
            })
            .collect()
    }

    /// ClusterRole, Roles, and the bindings that give them to the subject.
    pub(crate) fn objects(&self, name: &str, with: With, subject: &Subject) -> Vec<Value> {
        let mut out = Vec::new();
        for (namespace, rules) in self.scopes(with) {
            let (key, role_ref) = match &namespace {
                Some(namespace) => (ObjectKey::role(namespace, name), RoleRef::Role(name.to_owned())),
                None => (ObjectKey::cluster_role(name), RoleRef::ClusterRole(name.to_owned())),
            };
            out.push(role_json(&key, &Role { meta: anothers(), rules, aggregation: None }));
            let binding = Binding { meta: anothers(), role_ref, subjects: vec![subject.clone()] };
            out.push(binding_json(&ObjectKey::binding(namespace.as_deref(), name), &binding));
        }
        out
    }

    fn scopes(&self, with: With) -> Scopes {
        let mut atoms: BTreeMap<Option<String>, BTreeSet<ObjectRequest>> = BTreeMap::new();
        let mut scopes = Scopes::new();
        let mut allow = |request: &Request| {
            if let Request::Object(request) = request {
                let scope = Some(request.namespace.clone()).filter(|namespace| !namespace.is_empty());
                atoms.entry(scope).or_default().insert(request.clone());
            }
        };
        for need in self.needs() {
            match need {
                Need::Request(request) => allow(request),
                Need::Rules { rules, gathers, namespace, or } => {
                    let holds = with == With::Rules && !gathers && or.verb() == "escalate";
                    if holds {
                        let held = scopes.entry(namespace.clone()).or_default();
                        held.extend(rules.iter().filter(|rule| !held.contains(rule)).cloned().collect::<Vec<_>>());
                    } else {
                        allow(or);
                    }
                }
            }
        }
        for (scope, atoms) in atoms {
            let mut rules = folded(&atoms);
            rules.append(scopes.entry(scope.clone()).or_default());
            scopes.insert(scope, rules);
        }
        scopes
    }
}

/// As few rules as say the same: kinds with the same verbs are one rule, names with the same verbs another.
fn folded(atoms: &BTreeSet<ObjectRequest>) -> Vec<Rule> {
    let mut names: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for ObjectRequest { verb, group, resource, subresource: _, name, namespace: _ } in atoms {
        names.entry((group, resource, verb)).or_default().insert(name);
    }
    // Without a name all names are meant.
    for set in names.values_mut().filter(|set| set.contains("")) {
        set.clear();
    }
    let words = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut rules: Vec<Rule> = names
        .into_iter()
        .map(|((group, resource, verb), names)| Rule {
            verbs: vec![verb.to_owned()],
            api_groups: vec![group.to_owned()],
            resources: vec![resource.to_owned()],
            resource_names: words(names),
            ..Rule::default()
        })
        .collect();
    join(&mut rules, |rule| &mut rule.verbs);
    join(&mut rules, |rule| &mut rule.resources);
    rules
}

/// Rules that differ in one list alone become one.
fn join(rules: &mut Vec<Rule>, list: impl Fn(&mut Rule) -> &mut Vec<String>) {
    let mut out: Vec<Rule> = Vec::new();
    for mut rule in std::mem::take(rules) {
        let own = std::mem::take(list(&mut rule));
        let same = |other: &mut Rule| {
            let theirs = std::mem::take(list(other));
            let same = *other == rule;
            *list(other) = theirs;
            same
        };
        let found = out.iter_mut().position(same);
        match found.and_then(|place| out.get_mut(place)) {
            Some(other) => list(other).extend(own),
            None => {
                *list(&mut rule) = own;
                out.push(rule);
            }
        }
    }
    *rules = out;
}

/// Another's hand is told by the label, so that an exclusive policy does not take away what it is applied with.
fn anothers() -> Meta {
    Meta { labels: Labels::from([(MANAGED_BY.to_owned(), "kubectl".to_owned())]), ..Meta::default() }
}
