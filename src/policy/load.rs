//! Texts to a policy: every file parsed, merged and checked, and all faults of all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::sync_channel;

use toml::de::DeTable;

use super::bindings::parse_binding;
use super::check::{DefinedNames, check_policy};
use super::chunks::split_into_chunks;
use super::clusters::{parse_cluster, parse_guard, parse_ownership};
use super::duplicates::{self, Definitions};
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

/// A section whose items have names, while the files are read: each name once.
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
        faults: &mut Diagnostics,
        parse: impl Fn(&Located<String>, &PolicyTable<'_>, &mut Diagnostics) -> Option<T>,
    ) {
        for (name, table) in root.named_tables(self.section, faults) {
            if let Some(first) = self.spans.get(&name.value) {
                let fault = PolicyError::DefinedTwice { section: self.section, name: name.value.clone() };
                faults.push_labeled(fault, name.span, "again here", &[(*first, "first here")]);
                continue;
            }
            self.spans.insert(name.value.clone(), name.span);
            if let Some(item) = parse(&name, &table, faults) {
                self.items.insert(name.value, item);
            }
        }
    }
}

/// A section that a policy has once, in whichever file.
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
        faults: &mut Diagnostics,
        parse: impl Fn(&PolicyTable<'_>, &mut Diagnostics) -> T,
    ) {
        let Some(table) = root.table(self.section, faults) else {
            return;
        };
        if let Some((_, first)) = &self.value {
            let fault = PolicyError::DefinedTwice { section: "", name: self.section.to_owned() };
            faults.push_labeled(fault, table.span, "again here", &[(*first, "first here")]);
            return;
        }
        self.value = Some((parse(&table, faults), table.span));
    }
}

/// Reads a policy from its files, given as (name, text).
///
/// # Errors
/// All faults, with the files that they point into. With a policy come its warnings.
pub(crate) fn load_policy(
    files: Vec<(String, String)>,
) -> Result<(Policy, Vec<Diagnostic>), (SourceMap, Vec<Diagnostic>)> {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.add(name, text);
    }
    let mut faults = Diagnostics::default();
    let in_pieces = (0..sources.len()).map(|file| split_into_chunks(sources.text(file))).collect();
    let mut read = parse_files(&sources, in_pieces, &mut faults);
    if faults.has_errors() {
        // The whole may know better, and its faults are the ones to show.
        let whole = (0..sources.len()).map(|file| std::iter::once(0..sources.text(file).len()).collect()).collect();
        faults = Diagnostics::default();
        read = self::parse_files(&sources, whole, &mut faults);
    }
    if let Some((policy, defined)) = &read {
        check_policy(policy, defined, &mut faults);
    }
    match read {
        Some((policy, _)) if !faults.has_errors() => Ok((policy, faults.into_sorted())),
        _ => Err((sources, faults.into_sorted())),
    }
}

/// The clusters of a policy, found by their headers without reading the rest: where a run may begin to look while the
/// policy is still being read. Nothing where it is not sure; what the whole policy says decides.
pub(crate) fn prescan_clusters(texts: &[(String, String)]) -> Option<BTreeMap<String, ClusterSpec>> {
    let mut found = String::new();
    for (_, text) in texts.iter().filter(|(_, text)| text.contains("clusters")) {
        let mut inside = false;
        for line in text.lines() {
            if line.starts_with('[') {
                inside = line.starts_with("[clusters.") || line.starts_with("[clusters]");
            }
            if inside {
                found.push_str(line);
                found.push('\n');
            }
        }
    }
    let (table, errors) = DeTable::parse_recoverable(&found);
    let mut faults = Diagnostics::default();
    let mut clusters = NamedSection::new("clusters");
    clusters.parse(&PolicyTable::root(0, 0, &table), &mut faults, parse_cluster);
    (errors.is_empty() && !faults.has_errors()).then_some(clusters.items)
}

/// A fault of the syntax, and where the same key was defined first.
struct SyntaxFault {
    message: String,
    at: Range<usize>,
    first: Option<Range<usize>>,
}

/// The errors of the parser, without those that only follow from another.
fn syntax_faults(text: &str, errors: &[toml::de::Error]) -> Vec<SyntaxFault> {
    let is_duplicate = |error: &&toml::de::Error| duplicates::is_duplicate(error.message());
    let start = |error: &toml::de::Error| error.span().unwrap_or_default().start;
    let mut duplicates: Vec<usize> = errors.iter().filter(is_duplicate).map(start).collect();
    duplicates.sort_unstable();
    let definitions = (!duplicates.is_empty()).then(|| Definitions::new(text));
    let one = |error: &toml::de::Error| {
        let at = error.span().unwrap_or_default();
        let definitions = definitions.as_ref().filter(|_| is_duplicate(&error));
        if definitions.is_some_and(|all| all.is_in_duplicate_table(at.start, &duplicates)) {
            return None;
        }
        let first = definitions.and_then(|all| all.first_before(at.start));
        Some(SyntaxFault { message: error.message().replace('\n', ", "), at, first })
    };
    errors.iter().filter_map(one).collect()
}

/// The parts that could be read, and what is defined; nothing where a file is not TOML.
fn parse_files(
    sources: &SourceMap,
    pieces: Vec<Vec<Range<usize>>>,
    faults: &mut Diagnostics,
) -> Option<(Policy, DefinedNames)> {
    let mut name = SingletonSection::new("policy");
    let mut ownerships = SingletonSection::new("ownership");
    let mut guards = SingletonSection::new("guard");
    let mut clusters = NamedSection::new("clusters");
    let mut principals = NamedSection::new("principals");
    let mut groups = NamedSection::new("groups");
    let mut cluster_roles = NamedSection::new("cluster-roles");
    let mut roles = NamedSection::new("roles");
    let mut bindings = NamedSection::new("bindings");
    let mut invariants = Vec::new();
    let mut broken = false;
    let mut syntax: Vec<(PolicyError, Span, Option<Span>)> = Vec::new();
    let all =
        pieces.into_iter().enumerate().flat_map(|(file, pieces)| pieces.into_iter().map(move |piece| (file, piece)));
    // To make trees of the texts takes as long as to understand them: one piece ahead, by another hand.
    let (ahead, trees) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (file, piece) in all {
                let base = piece.start;
                let tree = DeTable::parse_recoverable(sources.text(file).get(piece).unwrap_or_default());
                if ahead.send((file, base, tree)).is_err() {
                    break;
                }
            }
        });
        for (file, base, (table, errors)) in trees {
            if !errors.is_empty() {
                broken = true;
            }
            let text = sources.text(file).get(base..).unwrap_or_default();
            syntax.extend(syntax_faults(text, &errors).into_iter().map(|SyntaxFault { message, at, first }| {
                let span = |range: Range<usize>| Span::new(file, &(base + range.start..base + range.end));
                (PolicyError::Toml { message }, span(at), first.map(span))
            }));
            let root = PolicyTable::root(file, base, &table);
            root.report_unknown_keys(&SECTIONS, faults);
            name.parse(&root, faults, parse_policy_name);
            ownerships.parse(&root, faults, parse_ownership);
            guards.parse(&root, faults, parse_guard);
            clusters.parse(&root, faults, parse_cluster);
            principals.parse(&root, faults, parse_principal);
            groups.parse(&root, faults, |name, table, faults| Some(parse_group(name, table, faults)));
            cluster_roles.parse(&root, faults, |name, table, faults| Some(parse_cluster_role(name, table, faults)));
            roles.parse(&root, faults, |name, table, faults| Some(parse_role(name, table, faults)));
            bindings.parse(&root, faults, parse_binding);
            let tables = root.tables("invariants", faults).unwrap_or_default();
            invariants.extend(tables.iter().filter_map(|table| parse_invariant(table, faults)));
        }
    });
    // What the parser puts in the place of a value that it cannot read has no type that would be worth a word.
    faults.remove_at(&syntax.iter().map(|(_, span, _)| *span).collect());
    for (fault, span, first) in syntax {
        match first {
            Some(first) => faults.push_labeled(fault, span, "again here", &[(first, "first here")]),
            None => faults.push(fault, span),
        }
    }
    if name.value.is_none() && !broken {
        faults.push(PolicyError::NoPolicyTable, Span::new(0, &(0..0)));
    }
    // References into what could not be read would be reported as missing: the faults of syntax come first.
    if broken {
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
        ownership: ownerships.value.map(|(found, _)| found).unwrap_or_default(),
        guard: guards.value.map(|(found, _)| found).unwrap_or_default(),
        invariants,
    };
    Some((policy, defined))
}

fn parse_policy_name(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Located<String>> {
    table.report_unknown_keys(&["name", "description"], faults);
    table.string("description", faults);
    if !table.has("name") {
        faults.push(PolicyError::NoPolicyName, table.span);
    }
    let name = table.string("name", faults)?;
    if name.value.is_empty() || !is_label_value(&name.value) {
        faults.push(PolicyError::InvalidPolicyName { name: name.value.clone() }, name.span);
    }
    Some(name)
}
