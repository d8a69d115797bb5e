//! Minimal roles that grant the permissions that rolecall needs, as manifests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::check::{ApplyUser, MissingPermission};
use super::required_permissions::{
    RequiredPermission, required_by_plan, required_by_policy, required_for_apply, required_for_drift,
    required_for_reading,
};
use crate::access::{AccessView, Aggregation, Identity, ObjectRequest, Request, uncovered};
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, Plan};
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{Binding, ObjectError, Role, binding_to_json, role_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::MANAGED_BY_LABEL;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// How the user is allowed to write roles with rules. The API server only accepts rules that the user already has,
/// unless the user has `escalate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleWritePermission {
    /// The user has all rules of the policy.
    HoldRules,
    /// The user has `escalate`, and can write any rule.
    Escalate,
}

/// The permissions that rolecall needs in a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct MinimalRoles {
    required: Vec<RequiredPermission>,
}

/// Rules by namespace; `None` for all namespaces and cluster-scoped resources.
type RulesByNamespace = BTreeMap<Option<String>, Vec<Rule>>;

impl MinimalRoles {
    /// Returns the permissions to plan any policy.
    pub(crate) fn for_plan() -> Self {
        Self { required: required_for_reading() }
    }

    /// Returns the permissions to find the drift of any policy.
    pub(crate) fn for_drift() -> Self {
        Self { required: required_for_drift() }
    }

    /// Returns the permissions to apply a policy, and to apply it again after changes outside of rolecall.
    ///
    /// # Errors
    /// If a write of the plan is not a valid object.
    pub(crate) fn for_apply(desired: &Desired, live: &State, plan: &Plan) -> Result<Self, ObjectError> {
        let after = plan.state_after(live)?;
        let mut for_policy = required_by_policy(desired, live, &plan.policy, &after);
        let comparison = AccessComparison::new(live, &after);
        for_policy.extend(required_by_plan(plan, &comparison)?.into_iter().map(|(permission, _)| permission));
        let mut required = required_for_reading();
        required.extend(required_for_apply(&for_policy));
        required.extend(for_policy);
        Ok(Self { required })
    }

    /// Returns the permissions without duplicates.
    pub(crate) fn required_permissions(&self) -> Vec<&RequiredPermission> {
        self.required.iter().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns the requests to ask the cluster about: all required requests, and the alternatives to rules that the
    /// user does not have.
    pub(crate) fn missing_permissions(&self, live: &State, user: &ApplyUser) -> Vec<MissingPermission> {
        let access = AccessView::new(live, Aggregation::AsStored);
        let identity = Identity::from_user_info(&user.username, &user.groups);
        let is_in_masters = identity.is_in_system_masters();
        self.required_permissions()
            .into_iter()
            .filter_map(|required| match required {
                RequiredPermission::Request(request) => Some(MissingPermission {
                    request: request.clone(),
                    missing_rules: Vec::new(),
                    step: 0,
                    is_revoked_by_plan: false,
                }),
                RequiredPermission::Rules { rules, namespace, alternative, is_aggregated: _ } => {
                    let missing_rules = uncovered(&access.rules_in_namespace(&identity, namespace.as_deref()), rules);
                    let is_missing = !is_in_masters && !missing_rules.is_empty();
                    is_missing.then(|| MissingPermission {
                        request: alternative.clone(),
                        missing_rules,
                        step: 0,
                        is_revoked_by_plan: false,
                    })
                }
            })
            .collect()
    }

    /// Returns a ClusterRole, Roles, and bindings of these to the subject.
    pub(crate) fn to_manifests(&self, name: &str, role_write: RoleWritePermission, subject: &Subject) -> Vec<Value> {
        let mut out = Vec::new();
        for (namespace, rules) in self.rules_by_namespace(role_write) {
            let (key, role_ref) = match &namespace {
                Some(namespace) => (ObjectKey::role(namespace, name), RoleRef::Role(name.to_owned())),
                None => (ObjectKey::cluster_role(name), RoleRef::ClusterRole(name.to_owned())),
            };
            out.push(role_to_json(&key, &Role { meta: unmanaged_meta(), rules, aggregation: None }));
            let binding =
                Binding { meta: unmanaged_meta(), role_ref, subjects: vec![subject.clone()], namespaces: None };
            out.push(binding_to_json(&ObjectKey::binding(namespace.as_deref(), name), &binding));
        }
        out
    }

    fn rules_by_namespace(&self, role_write: RoleWritePermission) -> RulesByNamespace {
        let mut requests: BTreeMap<Option<String>, BTreeSet<ObjectRequest>> = BTreeMap::new();
        let mut rules_by_namespace = RulesByNamespace::new();
        let mut add_request = |request: &Request| {
            if let Request::Object(request) = request {
                let namespace = Some(request.namespace.clone()).filter(|namespace| !namespace.is_empty());
                requests.entry(namespace).or_default().insert(request.clone());
            }
        };
        for required in self.required_permissions() {
            match required {
                RequiredPermission::Request(request) => add_request(request),
                RequiredPermission::Rules { rules, is_aggregated, namespace, alternative } => {
                    let hold_rules = role_write == RoleWritePermission::HoldRules
                        && !is_aggregated
                        && alternative.verb() == "escalate";
                    if hold_rules {
                        let held = rules_by_namespace.entry(namespace.clone()).or_default();
                        held.extend(rules.iter().filter(|rule| !held.contains(rule)).cloned().collect::<Vec<_>>());
                    } else {
                        add_request(alternative);
                    }
                }
            }
        }
        for (namespace, requests) in requests {
            let mut rules = minimal_rules(&requests);
            rules.append(rules_by_namespace.entry(namespace.clone()).or_default());
            rules_by_namespace.insert(namespace, rules);
        }
        rules_by_namespace
    }
}

/// Combines requests to few rules: resources with the same verbs and names share a rule.
fn minimal_rules(requests: &BTreeSet<ObjectRequest>) -> Vec<Rule> {
    let mut names: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for ObjectRequest { verb, group, resource, subresource: _, name, namespace: _ } in requests {
        names.entry((group, resource, verb)).or_default().insert(name);
    }
    // A request without a name is for all names.
    for set in names.values_mut().filter(|set| set.contains("")) {
        set.clear();
    }
    let to_strings = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut rules: Vec<Rule> = names
        .into_iter()
        .map(|((group, resource, verb), names)| Rule {
            verbs: vec![verb.to_owned()],
            api_groups: vec![group.to_owned()],
            resources: vec![resource.to_owned()],
            resource_names: to_strings(names),
            ..Rule::default()
        })
        .collect();
    merge_rules_by(&mut rules, |rule| &mut rule.verbs);
    merge_rules_by(&mut rules, |rule| &mut rule.resources);
    rules
}

/// Merges rules that are equal except for one list.
fn merge_rules_by(rules: &mut Vec<Rule>, list: impl Fn(&mut Rule) -> &mut Vec<String>) {
    let mut out: Vec<Rule> = Vec::new();
    for mut rule in std::mem::take(rules) {
        let items = std::mem::take(list(&mut rule));
        let equals_without_list = |other: &mut Rule| {
            let other_items = std::mem::take(list(other));
            let is_equal = *other == rule;
            *list(other) = other_items;
            is_equal
        };
        let position = out.iter_mut().position(equals_without_list);
        match position.and_then(|index| out.get_mut(index)) {
            Some(other) => list(other).extend(items),
            None => {
                *list(&mut rule) = items;
                out.push(rule);
            }
        }
    }
    *rules = out;
}

/// Returns labels the objects as managed by kubectl, so that an exclusive policy does not remove the roles that it is
/// applied with.
fn unmanaged_meta() -> ObjectMeta {
    ObjectMeta { labels: Labels::from([(MANAGED_BY_LABEL.to_owned(), "kubectl".to_owned())]), ..ObjectMeta::default() }
}
