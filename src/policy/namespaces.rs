//! `namespaces = [...]`: names, globs and labels.

use super::error::{Diagnostics, PolicyError};
use super::model::{Located, NamespaceSelector};
use super::roles::parse_labels;
use super::table::{PolicyTable, StringOrTable};
use crate::names::{WildcardPattern, is_dns_label};
use crate::state::object_meta::Labels;

/// The selectors of a role or binding; nothing where the key is absent.
pub(crate) fn parse_namespace_selectors(
    table: &PolicyTable<'_>,
    faults: &mut Diagnostics,
) -> Option<Vec<Located<NamespaceSelector>>> {
    let wanted = "a list of names, globs or { match-labels = {…} }";
    let found = table.strings_or_tables("namespaces", wanted, faults, |item, faults| match item {
        StringOrTable::String(text) => parse_name_or_glob(&text, faults),
        StringOrTable::Table(table) => {
            table.report_unknown_keys(&["match-labels"], faults);
            if !table.has("match-labels") {
                let fault = PolicyError::MissingKey { table: table.path.clone(), what: "`match-labels`".to_owned() };
                faults.push(fault, table.span);
                return None;
            }
            let found = parse_labels(&table, "match-labels", faults)?;
            if found.is_empty() {
                let why = "means every namespace there is: the same as `*`";
                faults.push(PolicyError::MisleadingValue { word: "match-labels = {}".to_owned(), why }, table.span);
            }
            Some(NamespaceSelector::Labels(found))
        }
    })?;
    if table.is_empty_list("namespaces") {
        let why = "it would stand in no namespace at all";
        faults.push(
            PolicyError::EmptyList { path: table.child_path("namespaces"), key: "namespaces", why },
            table.key_span("namespaces"),
        );
    }
    let words: Vec<Located<String>> = found
        .iter()
        .filter_map(|selector| match &selector.value {
            NamespaceSelector::Name(name) => Some(Located::new(name.clone(), selector.span)),
            NamespaceSelector::Glob(glob) => Some(Located::new(glob.as_str().to_owned(), selector.span)),
            NamespaceSelector::Labels(_) => None,
        })
        .collect();
    table.report_duplicates("namespaces", &words, faults);
    Some(found)
}

fn parse_name_or_glob(text: &Located<String>, faults: &mut Diagnostics) -> Option<NamespaceSelector> {
    let pattern = WildcardPattern::new(&text.value);
    let shape = if text.value == "*" { "x".to_owned() } else { text.value.replace('*', "x") };
    if !is_dns_label(&shape) {
        faults.push(PolicyError::InvalidNamespaceName { name: text.value.clone() }, text.span);
        return None;
    }
    Some(if pattern.is_literal() {
        NamespaceSelector::Name(text.value.clone())
    } else {
        NamespaceSelector::Glob(pattern)
    })
}

impl NamespaceSelector {
    /// The namespaces it means, of those that there are.
    pub(crate) fn select<'a>(&'a self, live: &'a std::collections::BTreeMap<String, Labels>) -> Vec<&'a str> {
        match self {
            Self::Name(name) => live.get_key_value(name).map(|(name, _)| name.as_str()).into_iter().collect(),
            Self::Glob(glob) => live.keys().map(String::as_str).filter(|name| glob.matches(name)).collect(),
            Self::Labels(wanted) => live
                .iter()
                .filter(|(_, labels)| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
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
    fn names_globs_and_labels_select_what_is_there() {
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
