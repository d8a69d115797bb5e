//! `rolecall validate`: everything that can be said of a policy without a cluster.

use super::args::{Format, Validate};
use super::exit::Exit;
use super::failure::Failure;
use super::policy_files::load;
use super::print_json;
use super::refused::say;
use super::world::World;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, Refusal};
use crate::render::json;
use crate::render::words::count;

pub(crate) fn run(args: &Validate, world: &mut World) -> Result<Exit, Failure> {
    let loaded = load(args.policy.as_deref(), world)?;
    let policy = &loaded.policy;
    let refusals = guard::of_policy_alone(policy, world.now);
    let refused: Vec<Diagnostic> = refusals.iter().map(Refusal::diagnostic).collect();
    if !refused.is_empty() {
        say(&refused, &policy.sources, world);
        if args.format == Format::Json {
            let all = [loaded.warnings.as_slice(), &refused].concat();
            print_json(&json::faults(&all, &policy.sources), world);
        }
        return Ok(Exit::Refused);
    }
    match args.format {
        Format::Json => print_json(&json::faults(&loaded.warnings, &policy.sources), world),
        Format::Text => {
            let parts = [
                count(policy.principals.len(), "principal"),
                count(policy.groups.len(), "group"),
                count(policy.cluster_roles.len() + policy.roles.len(), "role"),
                count(policy.bindings.len(), "binding"),
            ];
            world.print(&format!("policy {} is valid: {}\n", policy.name.value, parts.join(", ")));
            let open: Vec<&str> = guard::not_judged_alone(policy).into_iter().collect();
            if !open.is_empty() {
                let roles = open.join(", ");
                world.say(&format!(
                    "note: what the roles {roles} allow the cluster says: `plan` judges it by the invariants\n"
                ));
            }
        }
    }
    Ok(Exit::Done)
}
