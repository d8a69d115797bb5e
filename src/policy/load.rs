//! Loads a policy: parses all of its files, merges them and checks the result. Reports the errors of all files at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::mpsc::sync_channel;

use toml::de::DeTable;

use super::bindings::parse_binding;
use super::check::{DefinedNames, check_policy};
use super::chunks::{CHUNK_BYTES, split_into_chunks};
use super::clusters::{parse_cluster, parse_guard, parse_ownership};
use super::confusable_text::report_confusable_texts;
use super::duplicates::{self, Definitions};
use super::error::{Diagnostics, PolicyError};
use super::invariants::parse_invariant;
use super::lint_spec::parse_lint;
use super::model::{ClusterSpec, Located, Policy};
use super::principals::{parse_group, parse_principal};
use super::roles::{parse_cluster_role, parse_role};
use super::table::PolicyTable;
use crate::diagnostic::{Diagnostic, SourceMap, Span};
use crate::names::is_label_value;

const SECTIONS: [&str; 11] = [
    "policy",
    "clusters",
    "principals",
    "groups",
    "cluster-roles",
    "roles",
    "bindings",
    "ownership",
    "guard",
    "lint",
    "invariants",
];

/// A section whose items have names, such as `[principals.NAME]`. Collects the items of all files and reports duplicates.
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

/// A section that a policy can have only once, such as `[guard]`. Any of the files can define it.
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

/// Loads a policy from its files, given as pairs of name and text. Returns the policy with its warnings.
///
/// # Errors
/// Returns all errors and warnings, with the files that their spans refer to.
pub(crate) fn load_policy(files: Vec<(String, String)>) -> LoadResult {
    load_policy_in_chunks(files, CHUNK_BYTES)
}

/// The policy with its warnings, or its errors with the files that their spans refer to.
pub(super) type LoadResult = Result<(Policy, Vec<Diagnostic>), (SourceMap, Vec<Diagnostic>)>;

/// Like [`load_policy`], for chunks of at least `min_bytes`. The result does not depend on it.
pub(super) fn load_policy_in_chunks(files: Vec<(String, String)>, min_bytes: usize) -> LoadResult {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.add(name, text);
    }
    let mut diagnostics = Diagnostics::default();
    let chunks = (0..sources.len()).map(|file| split_into_chunks(sources.text(file), min_bytes)).collect();
    let mut parsed = parse_files(&sources, chunks, &mut diagnostics);
    if diagnostics.has_errors() {
        // A chunk can start inside a multi-line string, which gives wrong errors. Parse each file as one chunk instead.
        let whole_files =
            (0..sources.len()).map(|file| std::iter::once(0..sources.text(file).len()).collect()).collect();
        diagnostics = Diagnostics::default();
        parsed = parse_files(&sources, whole_files, &mut diagnostics);
    }
    if let Some((policy, defined)) = &parsed {
        check_policy(policy, defined, &mut diagnostics);
    }
    let Some((policy, _)) = parsed else {
        return Err((sources, diagnostics.into_sorted()));
    };
    let diagnostics = policy.lint.apply(diagnostics.into_sorted());
    if diagnostics.iter().any(Diagnostic::is_error) { Err((sources, diagnostics)) } else { Ok((policy, diagnostics)) }
}

/// Parses only the `[clusters]` tables of a policy, so that the caller can connect to a cluster while the rest of the
/// policy is parsed. Returns `None` if these tables have an error, which [`load_policy`] reports.
///
/// The result is a guess: a line of a multi-line string can look like a table header. The caller compares it with the
/// loaded policy.
pub(crate) fn prescan_clusters(texts: &[(String, String)]) -> Option<BTreeMap<String, ClusterSpec>> {
    let mut tables = String::new();
    for (_, text) in texts.iter().filter(|(_, text)| text.contains("clusters")) {
        let mut in_clusters = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_clusters = line.starts_with("[clusters.") || line.starts_with("[clusters]");
            }
            if in_clusters {
                tables.push_str(line);
                tables.push('\n');
            }
        }
    }
    let (table, errors) = DeTable::parse_recoverable(&tables);
    let mut diagnostics = Diagnostics::default();
    let mut clusters = NamedSection::new("clusters");
    clusters.parse(&PolicyTable::root(0, 0, &table), &mut diagnostics, parse_cluster);
    (errors.is_empty() && !diagnostics.has_errors()).then_some(clusters.items)
}

/// The number of syntax errors of one file that are reported. A file that is not TOML has one for each character.
const MAX_SYNTAX_ERRORS: usize = 1000;

/// The length of text after the first syntax error that is parsed for more errors, in bytes. The parser keeps each error,
/// and text that is not TOML has one for each character.
const MAX_RECOVERED: usize = 128 << 10;

/// Parses TOML, and reports several errors at once.
fn parse_toml(text: &str) -> (toml::Spanned<DeTable<'_>>, Vec<toml::de::Error>) {
    if text.len() <= MAX_RECOVERED {
        return DeTable::parse_recoverable(text);
    }
    let first = match DeTable::parse(text) {
        Ok(table) => return (table, Vec::new()),
        Err(error) => error.span().unwrap_or_default().end,
    };
    let end = text.floor_char_boundary(first + MAX_RECOVERED);
    let (table, mut errors) = DeTable::parse_recoverable(text.get(..end).unwrap_or(text));
    // The text that is cut can end in a string or an array.
    errors.retain(|error| end == text.len() || error.span().is_some_and(|span| span.end < end));
    (table, errors)
}

/// An error of the TOML parser. The ranges are relative to the parsed text.
struct SyntaxError {
    message: String,
    range: Range<usize>,
    /// For a duplicate key or table: its first definition.
    first_definition: Option<Range<usize>>,
}

/// Converts the errors of the TOML parser. Leaves out the errors for the keys of a duplicate table, because the error for
/// the table itself is enough.
fn syntax_errors(text: &str, errors: &[toml::de::Error]) -> Vec<SyntaxError> {
    let is_duplicate = |error: &&toml::de::Error| duplicates::is_duplicate(error.message());
    let start = |error: &toml::de::Error| error.span().unwrap_or_default().start;
    let mut duplicates: Vec<usize> = errors.iter().filter(is_duplicate).map(start).collect();
    duplicates.sort_unstable();
    let definitions = (!duplicates.is_empty()).then(|| Definitions::new(text));
    let convert = |error: &toml::de::Error| {
        let range = error.span().unwrap_or_default();
        let definitions = definitions.as_ref().filter(|_| is_duplicate(&error));
        if definitions.is_some_and(|all| all.is_in_duplicate_table(range.start, &duplicates)) {
            return None;
        }
        let first_definition = definitions.and_then(|all| all.first_before(range.start));
        Some(SyntaxError { message: error.message().replace('\n', ", "), range, first_definition })
    };
    let mut converted = errors.iter().filter_map(convert);
    let mut all: Vec<SyntaxError> = converted.by_ref().take(MAX_SYNTAX_ERRORS).collect();
    if let Some(mut next) = converted.next() {
        "more errors follow, which are not listed".clone_into(&mut next.message);
        all.push(next);
    }
    all
}

/// Parses the files and merges them. `chunks` has the ranges of each file that are parsed one after the other.
///
/// Returns the policy and the names that it defines. A name is also defined if its table has errors, so that references to
/// it are not reported as well. Returns `None` if a file is not valid TOML.
fn parse_files(
    sources: &SourceMap,
    chunks: Vec<Vec<Range<usize>>>,
    diagnostics: &mut Diagnostics,
) -> Option<(Policy, DefinedNames)> {
    let mut name = SingletonSection::new("policy");
    let mut ownership = SingletonSection::new("ownership");
    let mut guard = SingletonSection::new("guard");
    let mut lint = SingletonSection::new("lint");
    let mut clusters = NamedSection::new("clusters");
    let mut principals = NamedSection::new("principals");
    let mut groups = NamedSection::new("groups");
    let mut cluster_roles = NamedSection::new("cluster-roles");
    let mut roles = NamedSection::new("roles");
    let mut bindings = NamedSection::new("bindings");
    let mut invariants = Vec::new();
    let mut confusable_texts = BTreeSet::new();
    let mut is_valid_toml = true;
    let mut toml_errors: Vec<(PolicyError, Span, Option<Span>)> = Vec::new();
    let file_chunks =
        chunks.into_iter().enumerate().flat_map(|(file, chunks)| chunks.into_iter().map(move |chunk| (file, chunk)));
    // Parsing TOML takes about as long as evaluating the tables. A second thread therefore parses the next chunk.
    let (sender, parsed_chunks) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (file, chunk) in file_chunks {
                let base_offset = chunk.start;
                let parsed = parse_toml(sources.text(file).get(chunk).unwrap_or_default());
                if sender.send((file, base_offset, parsed)).is_err() {
                    break;
                }
            }
        });
        for (file, base_offset, (table, errors)) in parsed_chunks {
            is_valid_toml &= errors.is_empty();
            let text = sources.text(file).get(base_offset..).unwrap_or_default();
            let span = |range: Range<usize>| Span::new(file, &(base_offset + range.start..base_offset + range.end));
            toml_errors.extend(syntax_errors(text, &errors).into_iter().map(|error| {
                let SyntaxError { message, range, first_definition } = error;
                (PolicyError::Toml { message }, span(range), first_definition.map(span))
            }));
            let root = PolicyTable::root(file, base_offset, &table);
            root.report_unknown_keys(&SECTIONS, diagnostics);
            report_confusable_texts(&root, &mut confusable_texts, diagnostics);
            name.parse(&root, diagnostics, parse_policy_name);
            ownership.parse(&root, diagnostics, parse_ownership);
            guard.parse(&root, diagnostics, parse_guard);
            lint.parse(&root, diagnostics, parse_lint);
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
    // The parser returns a placeholder for a value that it cannot parse. An error about the type of the placeholder would
    // be wrong.
    diagnostics.remove_at(&toml_errors.iter().map(|(_, span, _)| *span).collect());
    for (error, span, first_definition) in toml_errors {
        match first_definition {
            Some(first) => diagnostics.push_labeled(error, span, "again here", &[(first, "first here")]),
            None => diagnostics.push(error, span),
        }
    }
    if name.value.is_none() && is_valid_toml {
        diagnostics.push(PolicyError::NoPolicyTable, Span::new(0, &(0..0)));
    }
    // Without the tables that could not be parsed, references to them would be reported as undeclared.
    if !is_valid_toml {
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
        lint: lint.value.map(|(lint, _)| lint).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_toml_has_a_limited_number_of_errors() {
        for line in ["=\n", "=", "\"\n"] {
            let text = format!("[policy]\nname = \"x\"\n{}", line.repeat(400_000 / line.len()));
            let (_, diagnostics) = load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_err();
            assert!((1..=MAX_SYNTAX_ERRORS + 5).contains(&diagnostics.len()), "{line:?}: {}", diagnostics.len());
            assert!(diagnostics.iter().any(|error| error.message.starts_with("invalid TOML")), "{line:?}");
        }
    }

    #[test]
    fn text_after_the_errors_of_a_long_policy_is_not_parsed() {
        let valid = format!("[policy]\nname = \"x\"\n[groups]\n{}", "# a comment\n".repeat(30_000));
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), valid.clone())]).unwrap();
        assert_eq!(policy.name.value, "x");
        let invalid = valid.replacen("[groups]", "x y\n[groups]\nlist = [\n", 1);
        let (sources, diagnostics) = load_policy(vec![("policy.toml".to_owned(), invalid)]).unwrap_err();
        let lines: Vec<usize> =
            diagnostics.iter().filter_map(|error| Some(sources.location(error.primary.as_ref()?.0).line)).collect();
        assert_eq!(lines.first(), Some(&3), "{lines:?}");
    }
}
