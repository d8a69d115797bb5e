//! `rolecall validate`: everything that can be said of a policy without a cluster.

use super::args::{Format, Validate};
use super::exit::Exit;
use super::failure::Failure;
use super::policy_files::load;
use super::print_json;
use super::world::World;
use crate::render::json;
use crate::render::words::count;

pub(crate) fn run(args: &Validate, world: &mut World) -> Result<Exit, Failure> {
    let loaded = load(args.policy.as_deref(), world)?;
    let policy = &loaded.policy;
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
        }
    }
    Ok(Exit::Done)
}
