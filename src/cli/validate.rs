//! `rolecall validate`: everything that can be said of a policy without a cluster.

use super::args::{OutputFormat, ValidateArgs};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::policy_files::load_policy;
use super::print_json;
use super::refusals::print_diagnostics;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, InvariantViolation};
use crate::render::text_util::pluralize;
use crate::report::DiagnosticsDocument;

pub(crate) fn run(args: &ValidateArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let loaded = load_policy(args.policy.as_deref(), world)?;
    let policy = &loaded.policy;
    let refusals = guard::check_invariants_statically(policy, world.now);
    let refused: Vec<Diagnostic> = refusals.iter().map(InvariantViolation::to_diagnostic).collect();
    if !refused.is_empty() {
        print_diagnostics(&refused, &policy.sources, world);
        if args.format == OutputFormat::Json {
            let all = [loaded.warnings.as_slice(), &refused].concat();
            print_json(&DiagnosticsDocument::new(&all, &policy.sources), world)?;
        }
        return Ok(Exit::Refused);
    }
    match args.format {
        OutputFormat::Json => print_json(&DiagnosticsDocument::new(&loaded.warnings, &policy.sources), world)?,
        OutputFormat::Text => {
            let parts = [
                pluralize(policy.principals.len(), "principal"),
                pluralize(policy.groups.len(), "group"),
                pluralize(policy.cluster_roles.len() + policy.roles.len(), "role"),
                pluralize(policy.bindings.len(), "binding"),
            ];
            world.print(&format!("policy {} is valid: {}\n", policy.name.value, parts.join(", ")));
            let open: Vec<&str> = guard::roles_not_checked_statically(policy).into_iter().collect();
            if !open.is_empty() {
                let roles = open.join(", ");
                world.note(&format!(
                    "note: what the roles {roles} allow the cluster says: `plan` judges it by the invariants\n"
                ));
            }
        }
    }
    Ok(Exit::Success)
}
