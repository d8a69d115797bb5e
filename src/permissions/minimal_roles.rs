//! The least roles that allow what is needed, as objects to apply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::check::{ApplyUser, MissingPermission};
use super::required_permissions::{
    RequiredPermission, required_by_plan, required_by_policy, required_for_apply, required_for_reading,
};
use crate::access::{AccessView, Aggregation, Identity, ObjectRequest, Request, uncovered};
use crate::names::ObjectKey;
use crate::plan::Plan;
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{Binding, ObjectError, Role, binding_to_json, role_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::MANAGED_BY_LABEL;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// How the runner may write rules into roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleWritePermission {
    /// It holds them itself, and can give nobody more.
    HoldRules,
    /// It may write any.
    Escalate,
}

/// What is needed of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct MinimalRoles {
    required: Vec<RequiredPermission>,
}

/// Rules by where they count: everywhere, or in a namespace.
type RulesByNamespace = BTreeMap<Option<String>, Vec<Rule>>;

impl MinimalRoles {
    /// What a plan needs, whatever the policy.
    pub(crate) fn for_plan() -> Self {
        Self { required: required_for_reading() }
    }

    /// What it takes to make a cluster what the policy wants, and to keep it so.
    ///
    /// # Errors
    /// A write of the plan that is none.
    pub(crate) fn for_apply(desired: &Desired, live: &State, plan: &Plan) -> Result<Self, ObjectError> {
        let after = plan.state_after(live)?;
        let mut policy = required_by_policy(desired, live, &plan.policy, &after);
        policy.extend(required_by_plan(plan, live, &after).into_iter().map(|(need, _)| need));
        let mut needs = required_for_reading();
        needs.extend(required_for_apply(&policy));
        needs.extend(policy);
        Ok(Self { required: needs })
    }

    /// Each once.
    pub(crate) fn required_permissions(&self) -> Vec<&RequiredPermission> {
        self.required.iter().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What has to be asked of the cluster: requests, and those that stand in for rules which the runner does not hold.
    pub(crate) fn missing_permissions(&self, live: &State, runner: &ApplyUser) -> Vec<MissingPermission> {
        let access = AccessView::new(live, Aggregation::AsStored);
        let identity = Identity::from_user_info(&runner.username, &runner.groups);
        let is_master = identity.is_in_system_masters();
        let needs = self.required_permissions().into_iter();
        needs
            .filter_map(|need| match need {
                RequiredPermission::Request(request) => {
                    Some(MissingPermission { request: request.clone(), missing_rules: Vec::new(), step: 0 })
                }
                RequiredPermission::Rules { rules, namespace, alternative: or, is_aggregated: _ } => {
                    let missing = uncovered(&access.rules_in_namespace(&identity, namespace.as_deref()), rules);
                    let lack = MissingPermission { request: or.clone(), missing_rules: missing, step: 0 };
                    (!is_master && !lack.missing_rules.is_empty()).then_some(lack)
                }
            })
            .collect()
    }

    /// ClusterRole, Roles, and the bindings that give them to the subject.
    pub(crate) fn to_manifests(&self, name: &str, with: RoleWritePermission, subject: &Subject) -> Vec<Value> {
        let mut out = Vec::new();
        for (namespace, rules) in self.rules_by_namespace(with) {
            let (key, role_ref) = match &namespace {
                Some(namespace) => (ObjectKey::role(namespace, name), RoleRef::Role(name.to_owned())),
                None => (ObjectKey::cluster_role(name), RoleRef::ClusterRole(name.to_owned())),
            };
            out.push(role_to_json(&key, &Role { meta: unmanaged_meta(), rules, aggregation: None }));
            let binding = Binding { meta: unmanaged_meta(), role_ref, subjects: vec![subject.clone()] };
            out.push(binding_to_json(&ObjectKey::binding(namespace.as_deref(), name), &binding));
        }
        out
    }

    fn rules_by_namespace(&self, with: RoleWritePermission) -> RulesByNamespace {
        let mut atoms: BTreeMap<Option<String>, BTreeSet<ObjectRequest>> = BTreeMap::new();
        let mut scopes = RulesByNamespace::new();
        let mut allow = |request: &Request| {
            if let Request::Object(request) = request {
                let scope = Some(request.namespace.clone()).filter(|namespace| !namespace.is_empty());
                atoms.entry(scope).or_default().insert(request.clone());
            }
        };
        for need in self.required_permissions() {
            match need {
                RequiredPermission::Request(request) => allow(request),
                RequiredPermission::Rules { rules, is_aggregated: gathers, namespace, alternative: or } => {
                    let holds = with == RoleWritePermission::HoldRules && !gathers && or.verb() == "escalate";
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
            let mut rules = minimal_rules(&atoms);
            rules.append(scopes.entry(scope.clone()).or_default());
            scopes.insert(scope, rules);
        }
        scopes
    }
}

/// As few rules as say the same: kinds with the same verbs are one rule, names with the same verbs another.
fn minimal_rules(atoms: &BTreeSet<ObjectRequest>) -> Vec<Rule> {
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
    merge_rules_by(&mut rules, |rule| &mut rule.verbs);
    merge_rules_by(&mut rules, |rule| &mut rule.resources);
    rules
}

/// Rules that differ in one list alone become one.
fn merge_rules_by(rules: &mut Vec<Rule>, list: impl Fn(&mut Rule) -> &mut Vec<String>) {
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
fn unmanaged_meta() -> ObjectMeta {
    ObjectMeta { labels: Labels::from([(MANAGED_BY_LABEL.to_owned(), "kubectl".to_owned())]), ..ObjectMeta::default() }
}
