//! `rolecall validate`: the checks of a policy that need no cluster.

use super::check_args::{CheckFormat, ValidateArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::read_policy;
use super::print_json;
use super::refusals::print_diagnostics;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, InvariantViolation};
use crate::lint::{self, LintContext, Vocabulary};
use crate::ops::CommandError;
use crate::policy::Policy;
use crate::render::diagnostics::render_diagnostics;
use crate::render::sarif::{SarifContext, render_policy_sarif};
use crate::render::text_util::pluralize;
use crate::report::{DiagnosticJson, DiagnosticsDocument, FailedInvariantJson, LocationJson, PolicyEscalationJson};

pub(crate) fn run(args: &ValidateArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let result = check_and_print(args, env);
    if let (Err(error), CheckFormat::Sarif) = (&result, args.format) {
        let errors = DiagnosticJson::all(&error.diagnostics, &error.sources);
        let context = SarifContext { command: "validate", policy: None, policy_location: None };
        print_json(&render_policy_sarif(&errors, &[], &[], &context), env)?;
    }
    result
}

fn check_and_print(args: &ValidateArgs, env: &mut Env) -> Result<Exit, CommandError> {
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
    print_diagnostics(&errors, &policy.sources, env);
    match args.format {
        CheckFormat::Text if errors.is_empty() => print_valid(policy, env),
        CheckFormat::Text => {}
        CheckFormat::Json => {
            let mut diagnostics = DiagnosticJson::all(&warnings, &policy.sources);
            diagnostics.extend(DiagnosticJson::of_violations(&violations, &policy.sources));
            let escalations = policy_escalations(policy, env)?;
            print_json(&DiagnosticsDocument::from_json(diagnostics).with_escalations(escalations), env)?;
        }
        CheckFormat::Sarif => {
            let diagnostics = DiagnosticJson::all(&warnings, &policy.sources);
            let violations: Vec<FailedInvariantJson> =
                violations.iter().map(|violation| FailedInvariantJson::new("", violation)).collect();
            let escalations = policy_escalations(policy, env)?;
            let location = LocationJson::from(&policy.sources.location(policy.name.span));
            let context = SarifContext {
                command: "validate",
                policy: Some(&policy.name.value),
                policy_location: Some(&location),
            };
            print_json(&render_policy_sarif(&diagnostics, &violations, &escalations, &context), env)?;
        }
    }
    Ok(if errors.is_empty() { Exit::Success } else { Exit::Refused })
}

/// Returns the privilege escalation paths that the policy grants in any cluster.
fn policy_escalations(policy: &Policy, env: &Env) -> Result<Vec<PolicyEscalationJson>, CommandError> {
    let found = guard::find_escalations_statically(policy, env.now)?;
    Ok(found.iter().map(PolicyEscalationJson::from).collect())
}

fn print_valid(policy: &Policy, env: &mut Env) {
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
            "note: the rules of {noun} {} are not known offline; run plan to check the invariants that depend on {}\n",
            unknown_roles.join(", "),
            if unknown_roles.len() == 1 { "it" } else { "them" }
        ));
    }
}
