//! Lints on the words of a rule: API groups, resources and subresources. Several groups and resources of a rule are
//! combined, so a resource needs to be in one of the groups only.

use super::verb_lints::lint_verbs;
use super::vocabulary::{HTTP_VERBS, Vocabulary};
use crate::api_resources::{ApiResource, ApiResources};
use crate::diagnostic::{Diagnostic, LintId, closest_match};
use crate::policy::{Located, RuleSpec};

/// What a word in `resources` stands for.
pub(super) enum RuleTarget<'a> {
    /// `*`, or `*/scale`.
    All(Vec<&'a ApiResource>, Option<&'a str>),
    /// Resources of one plural, in one or several API groups.
    Resources(Vec<&'a ApiResource>, Option<&'a str>),
    /// A resource of which only the name is known, or not even that.
    Opaque,
}

/// Returns the warnings about the words of a rule.
pub(super) fn lint_rule(vocabulary: &Vocabulary<'_>, rule: &RuleSpec) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    if !rule.non_resource_urls.is_empty() {
        for verb in &rule.verbs {
            if verb.value != "*" && !HTTP_VERBS.contains(&verb.value.as_str()) {
                let lint = Diagnostic::lint(LintId::UnknownVerb, format!("unknown verb `{}`", verb.value));
                diagnostics.push(
                    lint.primary_label(verb.span, "")
                        .with_because("the verbs for non-resource URLs are the HTTP methods")
                        .with_help(format!("use one of: {}", HTTP_VERBS.join(", "))),
                );
            }
        }
        return diagnostics;
    }
    let groups = RuleGroups::new(vocabulary, rule, &mut diagnostics);
    let targets: Vec<RuleTarget<'_>> =
        rule.resources.iter().map(|word| groups.resolve(vocabulary, word, &mut diagnostics)).collect();
    diagnostics.extend(lint_verbs(vocabulary, rule, &targets));
    diagnostics
}

/// Returns what the words in `resources` stand for, without warnings.
pub(super) fn resolve_targets<'a>(vocabulary: &Vocabulary<'a>, rule: &'a RuleSpec) -> Vec<RuleTarget<'a>> {
    let mut ignored = Vec::new();
    let groups = RuleGroups::new(vocabulary, rule, &mut ignored);
    rule.resources.iter().map(|word| groups.resolve(vocabulary, word, &mut ignored)).collect()
}

/// The API groups of a rule.
struct RuleGroups<'a> {
    /// The known groups. A misspelled group counts as the one that was probably intended, so that its resources are
    /// checked as well.
    known: Vec<&'a str>,
    has_unknown: bool,
    is_wildcard: bool,
}

impl<'a> RuleGroups<'a> {
    fn new(vocabulary: &Vocabulary<'a>, rule: &'a RuleSpec, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let Some(words) = &rule.api_groups else {
            return Self { known: vec![""], has_unknown: false, is_wildcard: false };
        };
        let mut groups = Self { known: Vec::new(), has_unknown: false, is_wildcard: false };
        for word in words {
            if word.value == "*" {
                groups.is_wildcard = true;
            } else if vocabulary.has_group(&word.value) {
                groups.known.push(&word.value);
            } else {
                let nearest = vocabulary.nearest_group(&word.value);
                groups.known.extend(nearest);
                groups.has_unknown |= nearest.is_none();
                diagnostics.push(unknown_group(vocabulary, rule, word, nearest));
            }
        }
        groups
    }

    fn contains(&self, group: &str) -> bool {
        self.is_wildcard || self.known.contains(&group)
    }

    fn resolve(
        &self,
        vocabulary: &Vocabulary<'a>,
        word: &'a Located<String>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> RuleTarget<'a> {
        let (plural, subresource) = match word.value.split_once('/') {
            Some((plural, subresource)) => (plural, Some(subresource)),
            None => (word.value.as_str(), None),
        };
        if plural == "*" {
            let in_groups = vocabulary.api.iter().filter(|resource| self.contains(&resource.group));
            let matching: Vec<&ApiResource> = in_groups
                .filter(|resource| subresource.is_none_or(|name| has_named_subresource(resource, name)))
                .collect();
            if let Some(name) = subresource.filter(|_| matching.is_empty() && !self.has_unknown) {
                let all = vocabulary.api.iter().flat_map(|resource| resource.subresources.keys());
                let nearest = closest_match(name, all.map(String::as_str)).map(|near| format!("*/{near}"));
                diagnostics.push(unknown_subresource(word, nearest, None));
            }
            return if self.has_unknown { RuleTarget::Opaque } else { RuleTarget::All(matching, subresource) };
        }
        let candidates = vocabulary.with_plural(plural);
        let in_groups: Vec<&ApiResource> =
            candidates.iter().copied().filter(|resource| self.contains(&resource.group)).collect();
        let is_declared = vocabulary.declared_groups(plural).any(|group| self.contains(group));
        if in_groups.is_empty() {
            if !is_declared && !self.has_unknown {
                diagnostics.push(self.unknown_resource(vocabulary, word, plural, candidates));
            }
            return RuleTarget::Opaque;
        }
        let matching: Vec<&ApiResource> = in_groups
            .iter()
            .copied()
            .filter(|resource| subresource.is_none_or(|name| resource.has_subresource(name)))
            .collect();
        if let Some(name) = subresource.filter(|_| matching.is_empty() && !is_declared) {
            let known: Vec<&str> =
                in_groups.iter().flat_map(|resource| resource.subresources.keys()).map(String::as_str).collect();
            let nearest = closest_match(name, known.iter().copied()).map(|near| format!("{plural}/{near}"));
            diagnostics.push(unknown_subresource(word, nearest, Some((plural, &known))));
            return RuleTarget::Opaque;
        }
        if matching.is_empty() { RuleTarget::Opaque } else { RuleTarget::Resources(matching, subresource) }
    }

    fn unknown_resource(
        &self,
        vocabulary: &Vocabulary<'a>,
        word: &Located<String>,
        plural: &str,
        elsewhere: &[&ApiResource],
    ) -> Diagnostic {
        let declared = vocabulary.declared_groups(plural);
        let other_groups: Vec<&str> = elsewhere
            .iter()
            .map(|resource| resource.group.as_str())
            .filter(|group| *group != "extensions")
            .chain(declared)
            .collect();
        if !other_groups.is_empty() {
            let message = format!("resource `{plural}` is not in {}", describe_groups(&self.known));
            return Diagnostic::lint(LintId::ResourceInWrongGroup, message)
                .primary_label(word.span, "")
                .with_because(format!("it is in {}", describe_groups(&other_groups)))
                .with_help(format!("write `api-groups = [\"{}\"]` in a rule for it", other_groups.join("\", \"")));
        }
        let lint = Diagnostic::lint(LintId::UnknownResource, format!("unknown resource `{plural}`"))
            .primary_label(word.span, "");
        if let Some(resource) = vocabulary.by_other_name(plural, &self.known) {
            return lint
                .with_because("rules name a resource by its plural, in lower case")
                .with_help(format!("write {}", self.describe_use(resource)));
        }
        let lint = lint.with_because(if vocabulary.is_complete {
            "the cluster has no such resource".to_owned()
        } else {
            format!("Kubernetes {KUBERNETES_VERSION} has no such resource")
        });
        match vocabulary.nearest_resource(plural, &self.known) {
            Some(resource) => lint.with_help(format!("did you mean {}?", self.describe_use(resource))),
            None => lint.with_help(declare_help(vocabulary, plural, self.known.first().copied())),
        }
    }

    /// Returns how a rule names the resource, with the API group if the rule does not have it.
    fn describe_use(&self, resource: &ApiResource) -> String {
        let ApiResource { plural, group, .. } = resource;
        if self.contains(group) {
            format!("`{plural}`")
        } else {
            format!("`{plural}` with `api-groups = [\"{group}\"]`")
        }
    }
}

/// Returns whether the resource has this subresource, without those that stand for any name.
fn has_named_subresource(resource: &ApiResource, name: &str) -> bool {
    resource.plural != "userextras" && resource.has_subresource(name)
}

/// The version of the built-in resources.
const KUBERNETES_VERSION: &str = "1.36";

fn unknown_group(
    vocabulary: &Vocabulary<'_>,
    rule: &RuleSpec,
    word: &Located<String>,
    nearest: Option<&str>,
) -> Diagnostic {
    let lint = Diagnostic::lint(LintId::UnknownApiGroup, format!("unknown API group `{}`", word.value))
        .primary_label(word.span, "");
    if word.value.contains(',') {
        return lint.with_help("write each API group as a separate string");
    }
    if is_version(&word.value) {
        return lint
            .with_because("rules name an API group without its version")
            .with_help("write the group, such as `apps`, or `\"\"` for the core group");
    }
    let lint = lint.with_because(if vocabulary.is_complete {
        "the cluster has no API in this group".to_owned()
    } else {
        format!("Kubernetes {KUBERNETES_VERSION} has no API in this group")
    });
    match nearest {
        Some(near) => lint.with_help(format!("did you mean `{near}`?")),
        None => {
            let plural =
                rule.resources.iter().find_map(|word| word.value.split('/').next().filter(|word| *word != "*"));
            lint.with_help(declare_help(vocabulary, plural.unwrap_or("widgets"), Some(&word.value)))
        }
    }
}

/// Returns the advice for a resource that could be a custom resource.
fn declare_help(vocabulary: &Vocabulary<'_>, plural: &str, group: Option<&str>) -> String {
    let is_custom_group = |group: &&str| group.contains('.') && !ApiResources::builtin().has_group(group);
    let group = group.filter(is_custom_group).unwrap_or("example.com");
    if vocabulary.is_complete {
        return format!(
            "for a custom resource that is not installed yet, declare it: `[lint] resources = [\"{plural}.{group}\"]`"
        );
    }
    format!("for a custom resource, declare it: `[lint] resources = [\"{plural}.{group}\"]`")
}

fn unknown_subresource(word: &Located<String>, nearest: Option<String>, known: Option<(&str, &[&str])>) -> Diagnostic {
    let lint = Diagnostic::lint(LintId::UnknownSubresource, format!("unknown subresource `{}`", word.value))
        .primary_label(word.span, "");
    let lint = match known {
        Some((plural, [])) => lint.with_because(format!("`{plural}` has no subresources")),
        Some((plural, known)) => lint.with_because(format!("`{plural}` has the subresources {}", known.join(", "))),
        None => lint.with_because("no resource of these API groups has it"),
    };
    match nearest {
        Some(near) => lint.with_help(format!("did you mean `{near}`?")),
        None => lint,
    }
}

/// `the core API group`, `API group `apps``, `API groups `apps`, `batch``.
fn describe_groups(groups: &[&str]) -> String {
    let quoted: Vec<String> = groups
        .iter()
        .map(|group| if group.is_empty() { "\"\" (core)".to_owned() } else { format!("`{group}`") })
        .collect();
    match groups {
        [""] => "the core API group".to_owned(),
        [_] => format!("API group {}", quoted.join(", ")),
        _ => format!("API groups {}", quoted.join(", ")),
    }
}

/// Returns whether a text is a version such as `v1beta1`.
fn is_version(text: &str) -> bool {
    let rest = text.strip_prefix('v').unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .split(|c: char| c.is_ascii_digit())
            .next()
            .is_some_and(|stage| matches!(stage, "" | "alpha" | "beta"))
}
