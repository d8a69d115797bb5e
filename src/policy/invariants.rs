//! `[[invariants]]`: statements about access, parsed here and put to the access itself elsewhere.

use super::bindings::service_account;
use super::fault::{Fault, Faults};
use super::model::{Action, At, Claim, Invariant, InvariantSubject};
use super::scope::{exactly_one, required, wrong_value};
use super::table::Table;

const SUBJECTS: [&str; 5] = ["group", "principal", "user", "service-account", "everyone-but"];

pub(crate) fn invariant(table: &Table<'_>, faults: &mut Faults) -> Option<Invariant> {
    table.only(
        &["description", "group", "principal", "user", "service-account", "everyone-but", "can", "cannot"],
        faults,
    );
    let description = table.string("description", faults).map(|text| text.value);
    let subject = subject(table, faults);
    let claim = claim(table, faults);
    Some(Invariant { span: table.span, description, subject: subject?, claim: claim? })
}

fn subject(table: &Table<'_>, faults: &mut Faults) -> Option<InvariantSubject> {
    let which = exactly_one(table, &SUBJECTS, faults)?;
    if which == "everyone-but" {
        return table.strings(which, faults).map(InvariantSubject::EveryoneBut);
    }
    let text = table.string(which, faults)?;
    Some(match which {
        "group" => InvariantSubject::Group(text),
        "principal" => InvariantSubject::Principal(text),
        "user" => InvariantSubject::User(text),
        _ => InvariantSubject::ServiceAccount(service_account(&text, false, faults)?),
    })
}

fn claim(table: &Table<'_>, faults: &mut Faults) -> Option<Claim> {
    let which = exactly_one(table, &["can", "cannot"], faults)?;
    if table.is_string(which) {
        let text = table.string(which, faults)?;
        if which == "cannot" && text.value == "escalate" {
            return Some(Claim::CannotEscalate);
        }
        let wanted = if which == "cannot" {
            "`\"escalate\"`, or a table such as { verb = \"get\", resource = \"secrets\" }"
        } else {
            "a table such as { verb = \"get\", resource = \"secrets\" }"
        };
        faults.push(wrong_value(table, which, wanted, &text.value), text.span);
        return None;
    }
    let action = action(&table.table(which, faults)?, faults)?;
    Some(if which == "can" { Claim::Can(action) } else { Claim::Cannot(action) })
}

fn action(table: &Table<'_>, faults: &mut Faults) -> Option<Action> {
    table.only(&["verb", "resource", "name", "namespace"], faults);
    let verb: Option<At<String>> = required(table, "verb", faults);
    let resource = required(table, "resource", faults);
    for word in [&verb, &resource].into_iter().flatten() {
        if word.value.is_empty() {
            faults.push(Fault::EmptyName { what: "a verb or resource" }, word.span);
        }
    }
    Some(Action {
        name: table.string("name", faults).map(|text| text.value),
        namespace: table.string("namespace", faults).map(|text| text.value),
        verb: verb?.value,
        resource: resource?.value,
    })
}
