//! `rolecall validate`: the checks of a policy that need no cluster.

use super::args::{OutputFormat, ValidateArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::read_policy;
use super::print_json;
use super::refusals::print_diagnostics;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, InvariantViolation};
use crate::lint::{self, LintContext, Vocabulary};
use crate::ops::CommandError;
use crate::render::diagnostics::render_diagnostics;
use crate::render::text_util::pluralize;
use crate::report::DiagnosticsDocument;

pub(crate) fn run(args: &ValidateArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let loaded = read_policy(args.policy.as_deref(), env)?.parse()?;
    let policy = &loaded.policy;
    let vocabulary = Vocabulary::builtin(policy);
    let lints = lint::lint_policy(LintContext { policy, vocabulary: &vocabulary, cluster: None });
    let words = lint::check_invariant_words(policy, &vocabulary);
    let mut warnings = [loaded.warnings.as_slice(), &lints, &words].concat();
    warnings.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|(span, _)| *span));
    if warnings.iter().any(Diagnostic::is_error) {
        return Err(CommandError::new(policy.sources.clone(), warnings));
    }
    env.note_text(&render_diagnostics(&warnings, &policy.sources, env.stderr_style()));
    let violations = guard::check_invariants_statically(policy, env.now)?;
    let errors: Vec<Diagnostic> = violations.iter().map(InvariantViolation::to_diagnostic).collect();
    if !errors.is_empty() {
        print_diagnostics(&errors, &policy.sources, env);
        if args.format == OutputFormat::Json {
            let diagnostics = [warnings.as_slice(), &errors].concat();
            print_json(&DiagnosticsDocument::new(&diagnostics, &policy.sources), env)?;
        }
        return Ok(Exit::Refused);
    }
    match args.format {
        OutputFormat::Json => print_json(&DiagnosticsDocument::new(&warnings, &policy.sources), env)?,
        OutputFormat::Text => {
            let counts = [
                pluralize(policy.principals.len(), "principal"),
                pluralize(policy.groups.len(), "group"),
                pluralize(policy.cluster_roles.len() + policy.roles.len(), "role"),
                pluralize(policy.bindings.len(), "binding"),
            ];
            env.print(&format!("policy {} is valid: {}\n", policy.name.value, counts.join(", ")));
            let unknown_roles: Vec<String> =
                guard::roles_not_checked_statically(policy).into_iter().map(|name| format!("\"{name}\"")).collect();
            if !unknown_roles.is_empty() {
                let noun = if unknown_roles.len() == 1 { "role" } else { "roles" };
                env.note(&format!(
                    "note: the rules of {noun} {} are not known offline; run plan to check the invariants that depend \
                     on {}\n",
                    unknown_roles.join(", "),
                    if unknown_roles.len() == 1 { "it" } else { "them" }
                ));
            }
        }
    }
    Ok(Exit::Success)
}
