//! Parses `namespaces = […]`: names, globs and labels.

use super::error::{Diagnostics, PolicyError};
use super::model::{Located, NamespaceSelector};
use super::roles::parse_labels;
use super::table::{PolicyTable, StringOrTable};
use crate::diagnostic::LintId;
use crate::names::{WildcardPattern, is_dns_label};
use crate::state::object_meta::Labels;

/// Parses the `namespaces` of a role or binding; `None` if the key is absent or not a list.
pub(crate) fn parse_namespace_selectors(
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Located<NamespaceSelector>>> {
    let expected = "a list of names, globs or { match-labels = {…} }";
    let selectors = table.strings_or_tables("namespaces", expected, diagnostics, |item, diagnostics| match item {
        StringOrTable::String(text) => parse_name_or_glob(&text, diagnostics),
        StringOrTable::Table(table) => {
            table.report_unknown_keys(&["match-labels"], diagnostics);
            if !table.has("match-labels") {
                let error = PolicyError::MissingKey { table: table.path.clone(), keys: "`match-labels`".to_owned() };
                diagnostics.push(error, table.span);
                return None;
            }
            let labels = parse_labels(&table, "match-labels", diagnostics)?;
            if labels.is_empty() {
                let reason = "selects all namespaces, the same as `*`";
                let help = "add a label, or write `*` if all namespaces are intended";
                diagnostics.push(
                    PolicyError::MisleadingValue {
                        lint: LintId::MisleadingValue,
                        value: "match-labels = {}".to_owned(),
                        reason,
                        help,
                    },
                    table.span,
                );
            }
            Some(NamespaceSelector::Labels(labels))
        }
    })?;
    if table.is_empty_list("namespaces") {
        let reason = "it would apply to no namespace";
        diagnostics.push(
            PolicyError::EmptyList { path: table.child_path("namespaces"), key: "namespaces", reason },
            table.key_span("namespaces"),
        );
    }
    let names_and_globs: Vec<Located<String>> = selectors
        .iter()
        .filter_map(|selector| match &selector.value {
            NamespaceSelector::Name(name) => Some(Located::new(name.clone(), selector.span)),
            NamespaceSelector::Glob(glob) => Some(Located::new(glob.as_str().to_owned(), selector.span)),
            NamespaceSelector::Labels(_) => None,
        })
        .collect();
    table.report_duplicates("namespaces", &names_and_globs, diagnostics);
    Some(selectors)
}

fn parse_name_or_glob(text: &Located<String>, diagnostics: &mut Diagnostics) -> Option<NamespaceSelector> {
    let pattern = WildcardPattern::new(&text.value);
    if !is_dns_label(&text.value.replace('*', "x")) {
        diagnostics.push(PolicyError::InvalidNamespaceName { name: text.value.clone() }, text.span);
        return None;
    }
    Some(if pattern.is_literal() {
        NamespaceSelector::Name(text.value.clone())
    } else {
        NamespaceSelector::Glob(pattern)
    })
}

impl NamespaceSelector {
    /// Returns the live namespaces that it selects.
    pub(crate) fn select<'a>(&'a self, live: &'a std::collections::BTreeMap<String, Labels>) -> Vec<&'a str> {
        match self {
            Self::Name(name) => live.get_key_value(name).map(|(name, _)| name.as_str()).into_iter().collect(),
            Self::Glob(glob) => live.keys().map(String::as_str).filter(|name| glob.matches(name)).collect(),
            Self::Labels(selector) => live
                .iter()
                .filter(|(_, labels)| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
                .map(|(name, _)| name.as_str())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_globs_and_labels_select_existing_namespaces() {
        let team = Labels::from([("team".to_owned(), "a".to_owned())]);
        let live = BTreeMap::from([
            ("team-a".to_owned(), team.clone()),
            ("team-b".to_owned(), Labels::new()),
            ("other".to_owned(), team.clone()),
        ]);
        assert_eq!(NamespaceSelector::Name("team-a".into()).select(&live), ["team-a"]);
        assert!(NamespaceSelector::Name("gone".into()).select(&live).is_empty());
        assert_eq!(NamespaceSelector::Glob(WildcardPattern::new("team-*")).select(&live), ["team-a", "team-b"]);
        assert_eq!(NamespaceSelector::Labels(team).select(&live), ["other", "team-a"]);
    }
}
