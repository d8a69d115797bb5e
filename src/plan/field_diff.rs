//! Field-level differences of roles, bindings and entries, made to be read at a glance.

use super::{DiffOp, FieldDiff, ValueDiff};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::Labels;
use crate::state::rbac::{Rule, same_rules};

fn value_diff(fate: DiffOp, value: impl Into<String>) -> ValueDiff {
    ValueDiff { op: fate, value: value.into() }
}

/// The empty string as people can see it.
fn quote_if_blank(value: &str) -> String {
    if value.is_empty() || value.trim() != value { format!("{value:?}") } else { value.to_owned() }
}

/// A field with one value, where it changes.
pub(super) fn diff_scalar(path: &[&str], from: Option<&str>, to: Option<&str>) -> Option<FieldDiff> {
    if from == to {
        return None;
    }
    let removed = from.map(|value| value_diff(DiffOp::Remove, quote_if_blank(value)));
    let added = to.map(|value| value_diff(DiffOp::Add, quote_if_blank(value)));
    Some(field_diff(path, removed.into_iter().chain(added).collect()))
}

fn field_diff(path: &[&str], items: Vec<ValueDiff>) -> FieldDiff {
    FieldDiff { path: path.iter().map(|part| (*part).to_owned()).collect(), values: items }
}

/// A list whose order does not count: what stays, then what goes, then what comes. Nothing where all stays.
pub(super) fn diff_set(path: &[&str], from: &[String], to: &[String]) -> Option<FieldDiff> {
    let mut stays = Vec::new();
    let mut goes = Vec::new();
    let mut comes = Vec::new();
    for value in from {
        if to.contains(value) { stays.push(value) } else { goes.push(value) }
    }
    for value in to {
        if !from.contains(value) && !comes.contains(&value) {
            comes.push(value);
        }
    }
    if goes.is_empty() && comes.is_empty() {
        return None;
    }
    stays.dedup();
    let items = stays.into_iter().map(|value| value_diff(DiffOp::Keep, quote_if_blank(value)));
    let goes = goes.into_iter().map(|value| value_diff(DiffOp::Remove, quote_if_blank(value)));
    let comes = comes.into_iter().map(|value| value_diff(DiffOp::Add, quote_if_blank(value)));
    Some(field_diff(path, items.chain(goes).chain(comes).collect()))
}

/// How many words two rules have in common, weighed so that the place counts before the verb.
fn similarity(one: &Rule, other: &Rule) -> usize {
    let common = |a: &[String], b: &[String]| a.iter().filter(|word| b.contains(word)).count();
    let places = common(&one.resources, &other.resources) + common(&one.non_resource_urls, &other.non_resource_urls);
    if places == 0 {
        return common(&one.verbs, &other.verbs).min(1);
    }
    100 * places + 10 * common(&one.api_groups, &other.api_groups) + common(&one.verbs, &other.verbs)
}

/// Rules that stay say nothing; a rule that changed is held against the one it most resembles.
pub(super) fn diff_rules(from: &[Rule], to: &[Rule]) -> Vec<FieldDiff> {
    let mut left: Vec<&Rule> = from.iter().filter(|rule| !to.iter().any(|other| is_same_rule(rule, other))).collect();
    let mut out = Vec::new();
    for (at, rule) in to.iter().enumerate() {
        if from.iter().any(|other| is_same_rule(rule, other)) {
            continue;
        }
        let best = left
            .iter()
            .enumerate()
            .map(|(place, old)| (similarity(old, rule), std::cmp::Reverse(place)))
            .filter(|(weight, _)| *weight >= 100)
            .max();
        let old = best.map(|(_, std::cmp::Reverse(place))| left.remove(place));
        push_rule_diff(&format!("rules[{at}]"), old, Some(rule), &mut out);
    }
    for old in left {
        let at = from.iter().position(|rule| std::ptr::eq(rule, old)).unwrap_or_default();
        push_rule_diff(&format!("rules[{at}]"), Some(old), None, &mut out);
    }
    out
}

fn is_same_rule(one: &Rule, other: &Rule) -> bool {
    same_rules(std::slice::from_ref(one), std::slice::from_ref(other))
}

fn push_rule_diff(name: &str, from: Option<&Rule>, to: Option<&Rule>, out: &mut Vec<FieldDiff>) {
    let empty = Rule::default();
    let (old, new) = (from.unwrap_or(&empty), to.unwrap_or(&empty));
    let core = [String::new()];
    for ((word, before), (_, after)) in old.named_lists().into_iter().zip(new.named_lists()) {
        // The core group alone is the default and says nothing.
        if word == "api-groups" && (from.is_none() || to.is_none()) && [before, after].iter().any(|list| **list == core)
        {
            continue;
        }
        match diff_set(&[name, word], before, after) {
            Some(field) => out.push(field),
            // Where a rule changes, what it is about must be readable.
            None if word == "resources" || word == "non-resource-urls" => {
                let items: Vec<ValueDiff> =
                    after.iter().map(|value| value_diff(DiffOp::Keep, quote_if_blank(value))).collect();
                if !items.is_empty() {
                    out.push(field_diff(&[name, word], items));
                }
            }
            None => {}
        }
    }
}

/// What changes from one role to another; no role on one side means all of the other.
pub(super) fn diff_role(from: Option<&Role>, to: Option<&Role>) -> Vec<FieldDiff> {
    let aggregated = |role: Option<&Role>| role.is_some_and(|role| role.aggregation.is_some());
    let none = Vec::new();
    let pick = |role: Option<&Role>| {
        let own = role.filter(|role| role.aggregation.is_none());
        own.map_or(none.clone(), |role| role.rules.clone())
    };
    let mut out = diff_rules(&pick(from), &pick(to));
    if aggregated(from) || aggregated(to) {
        let selectors = |role: Option<&Role>| -> Vec<String> {
            let all = role.and_then(|role| role.aggregation.as_ref());
            all.map(|all| all.iter().map(ToString::to_string).collect()).unwrap_or_default()
        };
        out.extend(diff_set(&["aggregation"], &selectors(from), &selectors(to)));
    }
    out
}

/// Labels that count, by key.
pub(super) fn diff_labels(from: &Labels, to: &Labels) -> Vec<FieldDiff> {
    let keys: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let value = |map: &'_ Labels| map.get(key).cloned();
            diff_scalar(&["labels", key], value(from).as_deref(), value(to).as_deref())
        })
        .collect()
}

/// What changes from one binding to another.
pub(super) fn diff_binding(from: Option<&Binding>, to: Option<&Binding>) -> Vec<FieldDiff> {
    let role = |binding: Option<&Binding>| binding.map(|binding| binding.role_ref.to_string());
    let subjects = |binding: Option<&Binding>| -> Vec<String> {
        binding.map(|binding| binding.subjects.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let role_ref = diff_scalar(&["roleRef"], role(from).as_deref(), role(to).as_deref());
    role_ref.into_iter().chain(diff_set(&["subjects"], &subjects(from), &subjects(to))).collect()
}
