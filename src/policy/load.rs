//! Loads a policy: parses, merges and checks its files, and reports all of their errors at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::sync_channel;

use toml::de::DeTable;

use super::bindings::parse_binding;
use super::check::{DefinedNames, check_policy};
use super::chunks::split_into_chunks;
use super::clusters::{parse_cluster, parse_guard, parse_ownership};
use super::error::{Diagnostics, PolicyError};
use super::invariants::parse_invariant;
use super::model::{ClusterSpec, Located, Policy};
use super::principals::{parse_group, parse_principal};
use super::roles::{parse_cluster_role, parse_role};
use super::table::PolicyTable;
use crate::diagnostic::{Diagnostic, SourceMap, Span};
use crate::names::is_label_value;

const SECTIONS: [&str; 10] = [
    "policy",
    "clusters",
    "principals",
    "groups",
    "cluster-roles",
    "roles",
    "bindings",
    "ownership",
    "guard",
    "invariants",
];

/// A section of named tables, such as `[principals.NAME]`. Each name can be defined once in all files.
struct NamedSection<T> {
    section: &'static str,
    items: BTreeMap<String, T>,
    spans: BTreeMap<String, Span>,
}

impl<T> NamedSection<T> {
    fn new(section: &'static str) -> Self {
        Self { section, items: BTreeMap::new(), spans: BTreeMap::new() }
    }

    fn parse(
        &mut self,
        root: &PolicyTable<'_>,
        diagnostics: &mut Diagnostics,
        parse: impl Fn(&Located<String>, &PolicyTable<'_>, &mut Diagnostics) -> Option<T>,
    ) {
        for (name, table) in root.named_tables(self.section, diagnostics) {
            if let Some(first) = self.spans.get(&name.value) {
                let error = PolicyError::DefinedTwice { section: self.section, name: name.value.clone() };
                diagnostics.push_labeled(error, name.span, "again here", &[(*first, "first here")]);
                continue;
            }
            self.spans.insert(name.value.clone(), name.span);
            if let Some(item) = parse(&name, &table, diagnostics) {
                self.items.insert(name.value, item);
            }
        }
    }
}

/// A section that can be defined once in all files, such as `[guard]`.
struct SingletonSection<T> {
    section: &'static str,
    value: Option<(T, Span)>,
}

impl<T> SingletonSection<T> {
    fn new(section: &'static str) -> Self {
        Self { section, value: None }
    }

    fn parse(
        &mut self,
        root: &PolicyTable<'_>,
        diagnostics: &mut Diagnostics,
        parse: impl Fn(&PolicyTable<'_>, &mut Diagnostics) -> T,
    ) {
        let Some(table) = root.table(self.section, diagnostics) else {
            return;
        };
        if let Some((_, first)) = &self.value {
            let error = PolicyError::DefinedTwice { section: "", name: self.section.to_owned() };
            diagnostics.push_labeled(error, table.span, "again here", &[(*first, "first here")]);
            return;
        }
        self.value = Some((parse(&table, diagnostics), table.span));
    }
}

/// Loads a policy from its files, given as (name, text). Returns the policy with its warnings.
///
/// # Errors
/// All errors and warnings, with the sources that their spans refer to.
pub(crate) fn load_policy(
    files: Vec<(String, String)>,
) -> Result<(Policy, Vec<Diagnostic>), (SourceMap, Vec<Diagnostic>)> {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.add(name, text);
    }
    let mut diagnostics = Diagnostics::default();
    let chunks = (0..sources.len()).map(|file| split_into_chunks(sources.text(file))).collect();
    let mut parsed = parse_files(&sources, chunks, &mut diagnostics);
    if diagnostics.has_errors() {
        // A chunk can start at a line that only looks like a header. Parsing whole files gives the errors to report.
        let whole_files =
            (0..sources.len()).map(|file| std::iter::once(0..sources.text(file).len()).collect()).collect();
        diagnostics = Diagnostics::default();
        parsed = parse_files(&sources, whole_files, &mut diagnostics);
    }
    if let Some((policy, defined)) = &parsed {
        check_policy(policy, defined, &mut diagnostics);
    }
    match parsed {
        Some((policy, _)) if !diagnostics.has_errors() => Ok((policy, diagnostics.into_sorted())),
        _ => Err((sources, diagnostics.into_sorted())),
    }
}

/// Parses only the `[clusters]` tables, which are found by their headers, so that reading the clusters can start before
/// the policy is loaded. Returns `None` if this fails for any reason. The loaded policy is authoritative.
pub(crate) fn prescan_clusters(texts: &[(String, String)]) -> Option<BTreeMap<String, ClusterSpec>> {
    let mut cluster_tables = String::new();
    for (_, text) in texts.iter().filter(|(_, text)| text.contains("clusters")) {
        let mut inside = false;
        for line in text.lines() {
            if line.starts_with('[') {
                inside = line.starts_with("[clusters.") || line.starts_with("[clusters]");
            }
            if inside {
                cluster_tables.push_str(line);
                cluster_tables.push('\n');
            }
        }
    }
    let (table, errors) = DeTable::parse_recoverable(&cluster_tables);
    let mut diagnostics = Diagnostics::default();
    let mut clusters = NamedSection::new("clusters");
    clusters.parse(&PolicyTable::root(0, 0, &table), &mut diagnostics, parse_cluster);
    (errors.is_empty() && !diagnostics.has_errors()).then_some(clusters.items)
}

/// Parses the chunks of all files into one policy, without the items that have errors, and the names that are defined.
/// Returns `None` if a file is not valid TOML.
fn parse_files(
    sources: &SourceMap,
    chunks: Vec<Vec<Range<usize>>>,
    diagnostics: &mut Diagnostics,
) -> Option<(Policy, DefinedNames)> {
    let mut name = SingletonSection::new("policy");
    let mut ownership = SingletonSection::new("ownership");
    let mut guard = SingletonSection::new("guard");
    let mut clusters = NamedSection::new("clusters");
    let mut principals = NamedSection::new("principals");
    let mut groups = NamedSection::new("groups");
    let mut cluster_roles = NamedSection::new("cluster-roles");
    let mut roles = NamedSection::new("roles");
    let mut bindings = NamedSection::new("bindings");
    let mut invariants = Vec::new();
    let mut has_syntax_errors = false;
    let all_chunks =
        chunks.into_iter().enumerate().flat_map(|(file, chunks)| chunks.into_iter().map(move |chunk| (file, chunk)));
    // Parsing TOML takes as long as interpreting it, so a second thread parses one chunk ahead.
    let (sender, trees) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (file, chunk) in all_chunks {
                let base = chunk.start;
                let tree = DeTable::parse_recoverable(sources.text(file).get(chunk).unwrap_or_default());
                if sender.send((file, base, tree)).is_err() {
                    break;
                }
            }
        });
        for (file, base, (table, errors)) in trees {
            if !errors.is_empty() {
                has_syntax_errors = true;
            }
            for error in errors {
                let message = error.message().replace('\n', ", ");
                let range = error.span().unwrap_or_default();
                diagnostics
                    .push(PolicyError::Toml { message }, Span::new(file, &(base + range.start..base + range.end)));
            }
            let root = PolicyTable::root(file, base, &table);
            root.report_unknown_keys(&SECTIONS, diagnostics);
            name.parse(&root, diagnostics, parse_policy_name);
            ownership.parse(&root, diagnostics, parse_ownership);
            guard.parse(&root, diagnostics, parse_guard);
            clusters.parse(&root, diagnostics, parse_cluster);
            principals.parse(&root, diagnostics, parse_principal);
            groups.parse(&root, diagnostics, |name, table, diagnostics| Some(parse_group(name, table, diagnostics)));
            cluster_roles.parse(&root, diagnostics, |name, table, diagnostics| {
                Some(parse_cluster_role(name, table, diagnostics))
            });
            roles.parse(&root, diagnostics, |name, table, diagnostics| Some(parse_role(name, table, diagnostics)));
            bindings.parse(&root, diagnostics, parse_binding);
            let tables = root.tables("invariants", diagnostics).unwrap_or_default();
            invariants.extend(tables.iter().filter_map(|table| parse_invariant(table, diagnostics)));
        }
    });
    if name.value.is_none() && !has_syntax_errors {
        diagnostics.push(PolicyError::NoPolicyTable, Span::new(0, &(0..0)));
    }
    // Names defined in the part that did not parse would be reported as undeclared, so report only the syntax errors.
    if has_syntax_errors {
        return None;
    }
    let missing_name = || Located::new(String::new(), Span::new(0, &(0..0)));
    let defined = DefinedNames {
        clusters: clusters.spans,
        principals: principals.spans,
        groups: groups.spans,
        cluster_roles: cluster_roles.spans,
        roles: roles.spans,
    };
    let policy = Policy {
        sources: sources.clone(),
        name: name.value.and_then(|(name, _)| name).unwrap_or_else(missing_name),
        clusters: clusters.items,
        principals: principals.items,
        groups: groups.items,
        cluster_roles: cluster_roles.items,
        roles: roles.items,
        bindings: bindings.items,
        ownership: ownership.value.map(|(ownership, _)| ownership).unwrap_or_default(),
        guard: guard.value.map(|(guard, _)| guard).unwrap_or_default(),
        invariants,
    };
    Some((policy, defined))
}

fn parse_policy_name(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Located<String>> {
    table.report_unknown_keys(&["name", "description"], diagnostics);
    table.string("description", diagnostics);
    if !table.has("name") {
        diagnostics.push(PolicyError::NoPolicyName, table.span);
    }
    let name = table.string("name", diagnostics)?;
    if name.value.is_empty() || !is_label_value(&name.value) {
        diagnostics.push(PolicyError::InvalidPolicyName { name: name.value.clone() }, name.span);
    }
    Some(name)
}
