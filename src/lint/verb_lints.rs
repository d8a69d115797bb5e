//! Lints on the verbs of a rule, together with its resources. The rule grants every verb on every resource, so a verb has
//! an effect if one of the resources has it, and a resource if it has one of the verbs.

use std::collections::BTreeSet;

use super::rule_lints::RuleTarget;
use super::vocabulary::{Vocabulary, verbs_of};
use crate::diagnostic::{Diagnostic, LintId};
use crate::policy::{Located, RuleSpec};

pub(super) fn lint_verbs(vocabulary: &Vocabulary<'_>, rule: &RuleSpec, targets: &[RuleTarget<'_>]) -> Vec<Diagnostic> {
    let target_verbs: Vec<Option<BTreeSet<&str>>> = targets.iter().map(verbs_of_target).collect();
    let is_known = target_verbs.iter().all(Option::is_some);
    let all: BTreeSet<&str> = target_verbs.iter().flatten().flatten().copied().collect();
    let has_effect = |verb: &str| verb == "*" || all.contains(verb);
    let mut diagnostics = Vec::new();
    let mut supported = 0;
    for verb in &rule.verbs {
        if has_effect(&verb.value) {
            supported += 1;
            continue;
        }
        let help = vocabulary.verb_help(&verb.value);
        if !vocabulary.has_verb(&verb.value) {
            // An extension can define verbs of its own for its resources.
            if is_known || help.is_some() {
                diagnostics.push(unknown_verb(verb, help));
            }
        } else if is_known && !verb.value.contains(':') {
            diagnostics.push(unsupported_verb(verb, rule, &all));
        }
    }
    if supported > 0 && supported == rule.verbs.len() {
        let words = rule.resources.iter().zip(&target_verbs);
        diagnostics.extend(words.filter_map(|(word, verbs)| lint_resource_without_verbs(rule, word, verbs.as_ref()?)));
    }
    diagnostics
}

/// Returns the verbs that requests for the target can have; `None` if they are not known.
fn verbs_of_target<'a>(target: &RuleTarget<'a>) -> Option<BTreeSet<&'a str>> {
    match target {
        RuleTarget::All(resources, subresource) | RuleTarget::Resources(resources, subresource) => {
            let verbs: Vec<BTreeSet<&str>> =
                resources.iter().map(|resource| verbs_of(resource, *subresource)).collect::<Option<_>>()?;
            Some(verbs.into_iter().flatten().collect())
        }
        RuleTarget::Opaque => None,
    }
}

fn unknown_verb(verb: &Located<String>, help: Option<String>) -> Diagnostic {
    let lint = Diagnostic::lint(LintId::UnknownVerb, format!("unknown verb `{}`", verb.value))
        .primary_label(verb.span, "")
        .with_because("no request to the API server has this verb");
    help.into_iter().fold(lint, Diagnostic::with_help)
}

fn unsupported_verb(verb: &Located<String>, rule: &RuleSpec, all: &BTreeSet<&str>) -> Diagnostic {
    let resources: Vec<String> = rule.resources.iter().map(|word| format!("`{}`", word.value)).collect();
    let verbs: Vec<&str> = all.iter().copied().collect();
    let message = match resources.as_slice() {
        [one] => format!("{one} has no requests with the verb `{}`", verb.value),
        _ => format!("no resource of this rule has requests with the verb `{}`", verb.value),
    };
    Diagnostic::lint(LintId::UnsupportedVerb, message)
        .primary_label(verb.span, "")
        .with_because(format!("the verbs are: {}", verbs.join(", ")))
        .with_help("remove the verb, or add the resource that it is for")
}

/// Reports a resource that has none of the verbs, while other resources of the rule have them.
fn lint_resource_without_verbs(rule: &RuleSpec, word: &Located<String>, verbs: &BTreeSet<&str>) -> Option<Diagnostic> {
    let has_verb = rule.verbs.iter().any(|verb| verb.value == "*" || verbs.contains(verb.value.as_str()));
    if has_verb || verbs.is_empty() {
        return None;
    }
    let verbs: Vec<&str> = verbs.iter().copied().collect();
    let message = format!("`{}` has no requests with any verb of this rule", word.value);
    Some(
        Diagnostic::lint(LintId::DeadRule, message)
            .primary_label(word.span, "")
            .with_because(format!("its verbs are: {}", verbs.join(", ")))
            .with_help("remove it from this rule, or write a rule with its verbs"),
    )
}
