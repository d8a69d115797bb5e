//! Parses `[lint]`.

use super::error::{Diagnostics, PolicyError};
use super::model::{LintSpec, Located};
use super::table::PolicyTable;
use crate::diagnostic::LintId;
use crate::names::{is_dns_label, is_dns_subdomain};

pub(crate) fn parse_lint(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> LintSpec {
    table.report_unknown_keys(&["resources", "allow", "deny"], diagnostics);
    let resources = table.strings("resources", diagnostics).unwrap_or_default();
    let resources = resources.into_iter().filter_map(|text| parse_resource(text, diagnostics)).collect();
    let allow = parse_ids(table, "allow", diagnostics);
    let deny = parse_ids(table, "deny", diagnostics);
    for id in &deny {
        if let Some(other) = allow.iter().find(|allowed| allowed.value == id.value) {
            let error = PolicyError::ContradictoryLint { name: id.value.name().to_owned() };
            diagnostics.push_labeled(error, id.span, "denied here", &[(other.span, "allowed here")]);
        }
    }
    LintSpec { resources, deny, allow }
}

/// Parses the plural name and the API group of a resource, such as `widgets.example.com`.
fn parse_resource(text: Located<String>, diagnostics: &mut Diagnostics) -> Option<Located<(String, String)>> {
    let parts = text.value.split_once('.').filter(|(plural, group)| is_dns_label(plural) && is_dns_subdomain(group));
    let Some((plural, group)) = parts else {
        diagnostics.push(PolicyError::InvalidDeclaredResource { text: text.value }, text.span);
        return None;
    };
    Some(Located::new((group.to_owned(), plural.to_owned()), text.span))
}

fn parse_ids(table: &PolicyTable<'_>, key: &str, diagnostics: &mut Diagnostics) -> Vec<Located<LintId>> {
    let names = table.strings(key, diagnostics).unwrap_or_default();
    let parse = |name: Located<String>| {
        let id = LintId::parse(&name.value);
        if id.is_none() {
            diagnostics.push(PolicyError::UnknownLint { name: name.value }, name.span);
        }
        id.map(|id| Located::new(id, name.span))
    };
    names.into_iter().filter_map(parse).collect()
}
