//! Texts to a policy: every file parsed, merged and checked, and all faults of all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::sync_channel;

use toml::de::DeTable;

use super::bindings::binding;
use super::check::{Defined, check};
use super::fault::{Fault, Faults};
use super::invariants::invariant;
use super::model::{At, ClusterTarget, Policy};
use super::pieces::pieces;
use super::principals::{group, principal};
use super::roles::{cluster_role, role};
use super::scope::{cluster, guard, ownership};
use super::table::Table;
use crate::diagnostic::{Diagnostic, Sources, Span};
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
struct Named<T> {
    section: &'static str,
    items: BTreeMap<String, T>,
    places: BTreeMap<String, Span>,
}

impl<T> Named<T> {
    fn new(section: &'static str) -> Self {
        Self { section, items: BTreeMap::new(), places: BTreeMap::new() }
    }

    fn read(
        &mut self,
        root: &Table<'_>,
        faults: &mut Faults,
        parse: impl Fn(&At<String>, &Table<'_>, &mut Faults) -> Option<T>,
    ) {
        for (name, table) in root.named(self.section, faults) {
            if let Some(first) = self.places.get(&name.value) {
                let fault = Fault::DefinedTwice { section: self.section, name: name.value.clone() };
                faults.push_with(fault, name.span, "again here", &[(*first, "first here")]);
                continue;
            }
            self.places.insert(name.value.clone(), name.span);
            if let Some(item) = parse(&name, &table, faults) {
                self.items.insert(name.value, item);
            }
        }
    }
}

/// A section that a policy has once, in whichever file.
struct Once<T> {
    section: &'static str,
    found: Option<(T, Span)>,
}

impl<T> Once<T> {
    fn new(section: &'static str) -> Self {
        Self { section, found: None }
    }

    fn read(&mut self, root: &Table<'_>, faults: &mut Faults, parse: impl Fn(&Table<'_>, &mut Faults) -> T) {
        let Some(table) = root.table(self.section, faults) else {
            return;
        };
        if let Some((_, first)) = &self.found {
            let fault = Fault::DefinedTwice { section: "", name: self.section.to_owned() };
            faults.push_with(fault, table.span, "again here", &[(*first, "first here")]);
            return;
        }
        self.found = Some((parse(&table, faults), table.span));
    }
}

/// Reads a policy from its files, given as (name, text).
///
/// # Errors
/// All faults, with the files that they point into. With a policy come its warnings.
pub(crate) fn load(files: Vec<(String, String)>) -> Result<(Policy, Vec<Diagnostic>), (Sources, Vec<Diagnostic>)> {
    let mut sources = Sources::default();
    for (name, text) in files {
        sources.add(name, text);
    }
    let mut faults = Faults::default();
    let in_pieces = (0..sources.len()).map(|file| pieces(sources.text(file))).collect();
    let mut read = read(&sources, in_pieces, &mut faults);
    if faults.has_errors() {
        // The whole may know better, and its faults are the ones to show.
        let whole = (0..sources.len()).map(|file| std::iter::once(0..sources.text(file).len()).collect()).collect();
        faults = Faults::default();
        read = self::read(&sources, whole, &mut faults);
    }
    if let Some((policy, defined)) = &read {
        check(policy, defined, &mut faults);
    }
    match read {
        Some((policy, _)) if !faults.has_errors() => Ok((policy, faults.into_sorted())),
        _ => Err((sources, faults.into_sorted())),
    }
}

/// The clusters of a policy, found by their headers without reading the rest: where a run may begin to look while the
/// policy is still being read. Nothing where it is not sure; what the whole policy says decides.
pub(crate) fn glimpse_clusters(texts: &[(String, String)]) -> Option<BTreeMap<String, ClusterTarget>> {
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
    let mut faults = Faults::default();
    let mut clusters = Named::new("clusters");
    clusters.read(&Table::root(0, 0, &table), &mut faults, cluster);
    (errors.is_empty() && !faults.has_errors()).then_some(clusters.items)
}

/// The parts that could be read, and what is defined; nothing where a file is not TOML.
fn read(sources: &Sources, pieces: Vec<Vec<Range<usize>>>, faults: &mut Faults) -> Option<(Policy, Defined)> {
    let mut name = Once::new("policy");
    let mut ownerships = Once::new("ownership");
    let mut guards = Once::new("guard");
    let mut clusters = Named::new("clusters");
    let mut principals = Named::new("principals");
    let mut groups = Named::new("groups");
    let mut cluster_roles = Named::new("cluster-roles");
    let mut roles = Named::new("roles");
    let mut bindings = Named::new("bindings");
    let mut invariants = Vec::new();
    let mut broken = false;
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
            for error in errors {
                let message = error.message().replace('\n', ", ");
                let range = error.span().unwrap_or_default();
                faults.push(Fault::Toml { message }, Span::new(file, &(base + range.start..base + range.end)));
            }
            let root = Table::root(file, base, &table);
            root.only(&SECTIONS, faults);
            name.read(&root, faults, policy_name);
            ownerships.read(&root, faults, ownership);
            guards.read(&root, faults, guard);
            clusters.read(&root, faults, cluster);
            principals.read(&root, faults, principal);
            groups.read(&root, faults, |name, table, faults| Some(group(name, table, faults)));
            cluster_roles.read(&root, faults, |name, table, faults| Some(cluster_role(name, table, faults)));
            roles.read(&root, faults, |name, table, faults| Some(role(name, table, faults)));
            bindings.read(&root, faults, binding);
            let tables = root.tables("invariants", faults).unwrap_or_default();
            invariants.extend(tables.iter().filter_map(|table| invariant(table, faults)));
        }
    });
    if name.found.is_none() && !broken {
        faults.push(Fault::NoPolicyTable, Span::new(0, &(0..0)));
    }
    // References into what could not be read would be reported as missing: the faults of syntax come first.
    if broken {
        return None;
    }
    let missing_name = || At::new(String::new(), Span::new(0, &(0..0)));
    let defined = Defined {
        clusters: clusters.places,
        principals: principals.places,
        groups: groups.places,
        cluster_roles: cluster_roles.places,
        roles: roles.places,
    };
    let policy = Policy {
        sources: sources.clone(),
        name: name.found.and_then(|(name, _)| name).unwrap_or_else(missing_name),
        clusters: clusters.items,
        principals: principals.items,
        groups: groups.items,
        cluster_roles: cluster_roles.items,
        roles: roles.items,
        bindings: bindings.items,
        ownership: ownerships.found.map(|(found, _)| found).unwrap_or_default(),
        guard: guards.found.map(|(found, _)| found).unwrap_or_default(),
        invariants,
    };
    Some((policy, defined))
}

fn policy_name(table: &Table<'_>, faults: &mut Faults) -> Option<At<String>> {
    table.only(&["name", "description"], faults);
    table.string("description", faults);
    if !table.has("name") {
        faults.push(Fault::NoPolicyName, table.span);
    }
    let name = table.string("name", faults)?;
    if name.value.is_empty() || !is_label_value(&name.value) {
        faults.push(Fault::PolicyName { name: name.value.clone() }, name.span);
    }
    Some(name)
}
