//! Plans, faults and answers for machines, under a version of their own.

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard::{GuardReport, InvariantViolation};
use crate::plan::{Action, Plan};

/// Raised when a reader of the old form would be misled.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// One plan, as `plan --format json`, `drift --format json` and `plan --out` have it.
pub(crate) fn plan_json(
    plan: &Plan,
    label: &str,
    name: Option<&str>,
    reached_by: &Value,
    sources: &SourceMap,
    refusals: &[InvariantViolation],
    verdict: &GuardReport,
) -> Value {
    json!({
        "cluster": label,
        "name": name,
        "reached-by": reached_by,
        "cluster-uid": plan.cluster_uid,
        "policy": plan.policy,
        "digest": plan.digest(),
        "summary": {
            "add": plan.count_changes(Action::Create),
            "adopt": plan.count_changes(Action::Adopt),
            "change": plan.count_changes(Action::Update),
            "replace": plan.count_changes(Action::Replace),
            "remove": plan.count_changes(Action::Delete),
        },
        "changes": plan.changes,
        "access": plan.access,
        "steps": plan.steps,
        "windows": plan.windows,
        "warnings": diagnostics_json(&plan.warnings, sources),
        "refusals": refusals,
        "guarded": plan.limits,
        "invariants": plan.invariants,
        "selected": plan.selected,
        "guards": { "refused": verdict.refused, "allowed": verdict.allowed, "unjudged": verdict.not_evaluated },
    })
}

/// Several plans, or one.
pub(crate) fn plans_json(plans: &[Value]) -> Value {
    json!({ "format-version": FORMAT_VERSION, "plans": plans })
}

pub(crate) fn diagnostics_document(found: &[Diagnostic], sources: &SourceMap) -> Value {
    json!({ "format-version": FORMAT_VERSION, "diagnostics": diagnostics_json(found, sources) })
}

/// The other places that belong to a diagnostic.
fn related_json(one: &Diagnostic, sources: &SourceMap) -> Value {
    one.secondary.iter().map(|(span, label)| json!({ "place": sources.location(*span), "label": label })).collect()
}

/// Adds a key to an object.
pub(crate) fn insert_key(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

pub(crate) fn diagnostics_json(found: &[Diagnostic], sources: &SourceMap) -> Value {
    found
        .iter()
        .map(|one| {
            json!({
                "severity": one.severity,
                "message": one.message,
                "place": one.primary.as_ref().map(|(span, _)| sources.location(*span)),
                "also": related_json(one, sources),
                "excerpt": one.excerpt,
                "hints": one.notes.iter().map(|note| &note.text).collect::<Vec<_>>(),
            })
        })
        .collect()
}
