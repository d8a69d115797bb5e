//! Parses `[[invariants]]`. The `guard` module evaluates them.

use super::bindings::parse_service_account;
use super::clusters::{parse_cluster_filter, require_exactly_one, require_string, wrong_value};
use super::error::{Diagnostics, PolicyError};
use super::model::{Assertion, InvariantSpec, InvariantSubjectSpec, Located, RequestSpans, RequestSpec};
use super::table::PolicyTable;

const SUBJECT_KEYS: [&str; 5] = ["group", "principal", "user", "service-account", "everyone-but"];

pub(crate) fn parse_invariant(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<InvariantSpec> {
    table.report_unknown_keys(
        &["description", "group", "principal", "user", "service-account", "everyone-but", "can", "cannot", "clusters"],
        diagnostics,
    );
    let description = table.string("description", diagnostics).map(|text| text.value);
    let subject = parse_subject(table, diagnostics);
    let assertion = parse_assertion(table, diagnostics);
    let clusters = parse_cluster_filter(table, diagnostics);
    let (assertion, request_spans) = assertion?;
    Some(InvariantSpec { span: table.span, clusters, description, subject: subject?, assertion, request_spans })
}

fn parse_subject(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<InvariantSubjectSpec> {
    let key = require_exactly_one(table, &SUBJECT_KEYS, diagnostics)?;
    if key == "everyone-but" {
        return table.strings(key, diagnostics).map(InvariantSubjectSpec::EveryoneBut);
    }
    let text = table.string(key, diagnostics)?;
    Some(match key {
        "group" => InvariantSubjectSpec::Group(text),
        "principal" => InvariantSubjectSpec::Principal(text),
        "user" => InvariantSubjectSpec::User(text),
        _ => InvariantSubjectSpec::ServiceAccount(parse_service_account(&text, false, diagnostics)?),
    })
}

fn parse_assertion(
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<(Assertion, Option<RequestSpans>)> {
    let key = require_exactly_one(table, &["can", "cannot"], diagnostics)?;
    if table.is_string(key) {
        let text = table.string(key, diagnostics)?;
        if key == "cannot" && text.value == "escalate" {
            return Some((Assertion::CannotEscalate, None));
        }
        let expected = if key == "cannot" {
            "`\"escalate\"`, or a table such as { verb = \"get\", resource = \"secrets\" }"
        } else {
            "a table such as { verb = \"get\", resource = \"secrets\" }"
        };
        diagnostics.push(wrong_value(table, key, expected, &text.value), text.span);
        return None;
    }
    let (request, spans) = parse_request(&table.table(key, diagnostics)?, diagnostics)?;
    let assertion = if key == "can" { Assertion::Can(request) } else { Assertion::Cannot(request) };
    Some((assertion, Some(spans)))
}

fn parse_request(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<(RequestSpec, RequestSpans)> {
    table.report_unknown_keys(&["verb", "resource", "name", "namespace"], diagnostics);
    let verb: Option<Located<String>> = require_string(table, "verb", diagnostics);
    let resource = require_string(table, "resource", diagnostics);
    for (what, name) in [("`verb`", &verb), ("`resource`", &resource)] {
        if let Some(name) = name.as_ref().filter(|name| name.value.is_empty()) {
            diagnostics.push(PolicyError::EmptyName { what }, name.span);
        }
    }
    let name = table.string("name", diagnostics);
    let namespace = table.string("namespace", diagnostics);
    let (verb, resource) = (verb?, resource?);
    let spans = RequestSpans {
        verb: verb.span,
        resource: resource.span,
        namespace: namespace.as_ref().map(|namespace| namespace.span),
    };
    let request = RequestSpec {
        name: name.map(|text| text.value),
        namespace: namespace.map(|text| text.value),
        verb: verb.value,
        resource: resource.value,
    };
    Some((request, spans))
}
