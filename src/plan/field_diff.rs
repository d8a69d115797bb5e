//! Field-level differences of roles, bindings and aws-auth entries, for review.

use std::collections::BTreeSet;

use super::{DiffOp, FieldDiff, ValueDiff};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::Labels;
use crate::state::rbac::{Rule, canonical_rules};

fn value_diff(op: DiffOp, value: impl Into<String>) -> ValueDiff {
    ValueDiff { op, value: value.into() }
}

/// Quotes a value that is empty or has white space at an end, so that it is visible.
fn quote_if_blank(value: &str) -> String {
    if value.is_empty() || value.trim() != value { format!("{value:?}") } else { value.to_owned() }
}

/// Returns the difference of a field with one value. `None` if it does not change.
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

/// Returns the difference of a list without order: unchanged values, then removed ones, then added ones. `None` if it
/// does not change.
pub(super) fn diff_set(path: &[&str], from: &[String], to: &[String]) -> Option<FieldDiff> {
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) = (from.iter().collect(), to.iter().collect());
    let (mut kept, removed): (Vec<&String>, Vec<&String>) = from.iter().partition(|value| after.contains(value));
    let mut seen = BTreeSet::new();
    let added: Vec<&String> = to.iter().filter(|value| !before.contains(value) && seen.insert(*value)).collect();
    if removed.is_empty() && added.is_empty() {
        return None;
    }
    kept.dedup();
    let kept = kept.into_iter().map(|value| value_diff(DiffOp::Keep, quote_if_blank(value)));
    let removed = removed.into_iter().map(|value| value_diff(DiffOp::Remove, quote_if_blank(value)));
    let added = added.into_iter().map(|value| value_diff(DiffOp::Add, quote_if_blank(value)));
    Some(field_diff(path, kept.chain(removed).chain(added).collect()))
}

/// Returns the number of values that two rules have in common. Resources and URLs weigh more than API groups, and these
/// more than verbs.
fn similarity(a: &Rule, b: &Rule) -> usize {
    let common = |a: &[String], b: &[String]| {
        let (a, b): (BTreeSet<&String>, BTreeSet<&String>) = (a.iter().collect(), b.iter().collect());
        a.intersection(&b).count()
    };
    let targets = common(&a.resources, &b.resources) + common(&a.non_resource_urls, &b.non_resource_urls);
    if targets == 0 {
        return common(&a.verbs, &b.verbs).min(1);
    }
    100 * targets + 10 * common(&a.api_groups, &b.api_groups) + common(&a.verbs, &b.verbs)
}

/// The least similarity at which two rules are shown as a change of one rule: one resource or URL in common.
const MIN_SIMILARITY: usize = 100;

/// The largest number of pairs of old and new rules that are compared. Of longer lists, rules are shown as removed and
/// added, and not as changed, because comparing each pair takes quadratic time.
const MAX_COMPARED_PAIRS: usize = 10_000;

/// Returns the difference of two lists of rules. Unchanged rules are left out. A new rule is compared with the most
/// similar old rule.
pub(super) fn diff_rules(from: &[Rule], to: &[Rule]) -> Vec<FieldDiff> {
    let (before, after) = (canonical_rules(from), canonical_rules(to));
    let unmatched = from.iter().enumerate().filter(|(_, rule)| !after.contains(&rule.as_sets()));
    let mut unmatched: Vec<(usize, &Rule)> = unmatched.collect();
    let new_rules: Vec<(usize, &Rule)> =
        to.iter().enumerate().filter(|(_, rule)| !before.contains(&rule.as_sets())).collect();
    let are_compared = unmatched.len().saturating_mul(new_rules.len()) <= MAX_COMPARED_PAIRS;
    let mut out = Vec::new();
    for (index, rule) in new_rules {
        let candidates = unmatched.iter().enumerate().filter(|_| are_compared);
        let best = candidates
            .map(|(position, (_, old))| (similarity(old, rule), std::cmp::Reverse(position)))
            .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
            .max();
        let old = best.map(|(_, std::cmp::Reverse(position))| unmatched.remove(position).1);
        push_rule_diff(&format!("rules[{index}]"), old, Some(rule), &mut out);
    }
    for (index, old) in unmatched {
        push_rule_diff(&format!("rules[{index}]"), Some(old), None, &mut out);
    }
    out
}

fn push_rule_diff(name: &str, from: Option<&Rule>, to: Option<&Rule>, out: &mut Vec<FieldDiff>) {
    let empty = Rule::default();
    let (old, new) = (from.unwrap_or(&empty), to.unwrap_or(&empty));
    let core_group = [String::new()];
    for ((field, before), (_, after)) in old.named_lists().into_iter().zip(new.named_lists()) {
        // A rule for the core group alone is the common case, so its API group is not shown.
        if field == "api-groups"
            && (from.is_none() || to.is_none())
            && [before, after].iter().any(|list| **list == core_group)
        {
            continue;
        }
        match diff_set(&[name, field], before, after) {
            Some(diff) => out.push(diff),
            // A changed rule always shows its resources or URLs, because without them the verbs say little.
            None if field == "resources" || field == "non-resource-urls" => {
                let values: Vec<ValueDiff> =
                    after.iter().map(|value| value_diff(DiffOp::Keep, quote_if_blank(value))).collect();
                if !values.is_empty() {
                    out.push(field_diff(&[name, field], values));
                }
            }
            None => {}
        }
    }
}

/// Returns the difference of two roles. `None` stands for a role that does not exist.
pub(super) fn diff_role(from: Option<&Role>, to: Option<&Role>) -> Vec<FieldDiff> {
    let is_aggregated = |role: Option<&Role>| role.is_some_and(|role| role.aggregation.is_some());
    // The rules of an aggregated role are written by its controller, so they are not part of the change.
    let own_rules = |role: Option<&Role>| {
        role.filter(|role| role.aggregation.is_none()).map(|role| role.rules.clone()).unwrap_or_default()
    };
    let mut out = diff_rules(&own_rules(from), &own_rules(to));
    if is_aggregated(from) || is_aggregated(to) {
        let selectors = |role: Option<&Role>| -> Vec<String> {
            role.iter().flat_map(|role| role.aggregation.iter().flatten()).map(ToString::to_string).collect()
        };
        out.extend(diff_set(&["aggregation"], &selectors(from), &selectors(to)));
    }
    out
}

/// Returns the difference of two label maps, one field for each label.
pub(super) fn diff_labels(from: &Labels, to: &Labels) -> Vec<FieldDiff> {
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            diff_scalar(&["labels", key], from.get(key).map(String::as_str), to.get(key).map(String::as_str))
        })
        .collect()
}

/// Returns the difference of two bindings. `None` stands for a binding that does not exist.
pub(super) fn diff_binding(from: Option<&Binding>, to: Option<&Binding>) -> Vec<FieldDiff> {
    let role = |binding: Option<&Binding>| binding.map(|binding| binding.role_ref.to_string());
    let subjects = |binding: Option<&Binding>| -> Vec<String> {
        binding.map(|binding| binding.subjects.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let role_ref = diff_scalar(&["roleRef"], role(from).as_deref(), role(to).as_deref());
    role_ref.into_iter().chain(diff_set(&["subjects"], &subjects(from), &subjects(to))).collect()
}
