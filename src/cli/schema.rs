//! `rolecall schema`: the published schemas, as they lie in the repository.

use super::args::{SchemaArgs, SchemaKind};
use super::env::Env;
use super::exit::Exit;

pub(crate) fn run(args: &SchemaArgs, world: &mut Env) -> Exit {
    world.print(match args.of {
        SchemaKind::Policy => include_str!("../../schema/policy.schema.json"),
        SchemaKind::Plan => include_str!("../../schema/plan.schema.json"),
        SchemaKind::Diagnostics => include_str!("../../schema/diagnostics.schema.json"),
        SchemaKind::Access => include_str!("../../schema/access.schema.json"),
        SchemaKind::Permissions => include_str!("../../schema/permissions.schema.json"),
        SchemaKind::Whoami => include_str!("../../schema/whoami.schema.json"),
    });
    Exit::Success
}
