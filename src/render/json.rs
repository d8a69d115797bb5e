//! Plans, faults and answers for machines, under a version of their own.

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Sources};
use crate::guard::{Refusal, Verdict};
use crate::plan::{Action, Plan};

/// Raised when a reader of the old form would be misled.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// One plan, as `plan --format json`, `drift --format json` and `plan --out` have it.
pub(crate) fn plan(
    plan: &Plan,
    label: &str,
    name: Option<&str>,
    reached_by: &Value,
    sources: &Sources,
    refusals: &[Refusal],
    verdict: &Verdict,
) -> Value {
    json!({
        "cluster": label,
        "name": name,
        "reached-by": reached_by,
        "cluster-uid": plan.cluster_uid,
        "policy": plan.policy,
        "digest": plan.digest(),
        "summary": {
            "add": plan.count(Action::Create),
            "adopt": plan.count(Action::Adopt),
            "change": plan.count(Action::Update),
            "replace": plan.count(Action::Replace),
            "remove": plan.count(Action::Delete),
        },
        "changes": plan.changes,
        "access": plan.access,
        "steps": plan.steps,
        "windows": plan.windows,
        "warnings": diagnostics(&plan.warnings, sources),
        "refusals": refusals,
        "guarded": plan.limits,
        "invariants": plan.invariants,
        "selected": plan.selected,
        "guards": { "refused": verdict.refused, "allowed": verdict.allowed, "unjudged": verdict.unjudged },
    })
}

/// Several plans, or one.
pub(crate) fn plans(plans: &[Value]) -> Value {
    json!({ "format-version": FORMAT_VERSION, "plans": plans })
}

pub(crate) fn faults(found: &[Diagnostic], sources: &Sources) -> Value {
    json!({ "format-version": FORMAT_VERSION, "diagnostics": diagnostics(found, sources) })
}

/// The other places that belong to a diagnostic.
fn also(one: &Diagnostic, sources: &Sources) -> Value {
    one.also.iter().map(|(span, label)| json!({ "place": sources.place(*span), "label": label })).collect()
}

/// Adds a key to an object.
pub(crate) fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

pub(crate) fn diagnostics(found: &[Diagnostic], sources: &Sources) -> Value {
    found
        .iter()
        .map(|one| {
            json!({
                "severity": one.severity,
                "message": one.message,
                "place": one.at.as_ref().map(|(span, _)| sources.place(*span)),
                "also": also(one, sources),
                "excerpt": one.excerpt,
                "hints": one.hints,
            })
        })
        .collect()
}
