//! `[[invariants]]`: statements about access, parsed here and put to the access itself elsewhere.

use super::bindings::parse_service_account;
use super::clusters::{require_exactly_one, require_string, wrong_value};
use super::error::{Diagnostics, PolicyError};
use super::model::{Assertion, InvariantSpec, InvariantSubjectSpec, Located, RequestSpec};
use super::table::PolicyTable;

const SUBJECT_KEYS: [&str; 5] = ["group", "principal", "user", "service-account", "everyone-but"];

pub(crate) fn parse_invariant(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<InvariantSpec> {
    table.report_unknown_keys(
        &["description", "group", "principal", "user", "service-account", "everyone-but", "can", "cannot"],
        faults,
    );
    let description = table.string("description", faults).map(|text| text.value);
    let subject = parse_subject(table, faults);
    let claim = parse_assertion(table, faults);
    Some(InvariantSpec { span: table.span, description, subject: subject?, assertion: claim? })
}

fn parse_subject(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<InvariantSubjectSpec> {
    let which = require_exactly_one(table, &SUBJECT_KEYS, faults)?;
    if which == "everyone-but" {
        return table.strings(which, faults).map(InvariantSubjectSpec::EveryoneBut);
    }
    let text = table.string(which, faults)?;
    Some(match which {
        "group" => InvariantSubjectSpec::Group(text),
        "principal" => InvariantSubjectSpec::Principal(text),
        "user" => InvariantSubjectSpec::User(text),
        _ => InvariantSubjectSpec::ServiceAccount(parse_service_account(&text, false, faults)?),
    })
}

fn parse_assertion(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Assertion> {
    let which = require_exactly_one(table, &["can", "cannot"], faults)?;
    if table.is_string(which) {
        let text = table.string(which, faults)?;
        if which == "cannot" && text.value == "escalate" {
            return Some(Assertion::CannotEscalate);
        }
        let wanted = if which == "cannot" {
            "`\"escalate\"`, or a table such as { verb = \"get\", resource = \"secrets\" }"
        } else {
            "a table such as { verb = \"get\", resource = \"secrets\" }"
        };
        faults.push(wrong_value(table, which, wanted, &text.value), text.span);
        return None;
    }
    let action = parse_request(&table.table(which, faults)?, faults)?;
    Some(if which == "can" { Assertion::Can(action) } else { Assertion::Cannot(action) })
}

fn parse_request(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<RequestSpec> {
    table.report_unknown_keys(&["verb", "resource", "name", "namespace"], faults);
    let verb: Option<Located<String>> = require_string(table, "verb", faults);
    let resource = require_string(table, "resource", faults);
    for word in [&verb, &resource].into_iter().flatten() {
        if word.value.is_empty() {
            faults.push(PolicyError::EmptyName { what: "a verb or resource" }, word.span);
        }
    }
    Some(RequestSpec {
        name: table.string("name", faults).map(|text| text.value),
        namespace: table.string("namespace", faults).map(|text| text.value),
        verb: verb?.value,
        resource: resource?.value,
    })
}
