//! `rolecall schema`: the published schemas, as they lie in the repository.

use super::args::{Schema, SchemaOf};
use super::exit::Exit;
use super::world::World;

pub(crate) fn run(args: &Schema, world: &mut World) -> Exit {
    world.print(match args.of {
        SchemaOf::Policy => include_str!("../../schema/policy.schema.json"),
        SchemaOf::Plan => include_str!("../../schema/plan.schema.json"),
        SchemaOf::Diagnostics => include_str!("../../schema/diagnostics.schema.json"),
        SchemaOf::Access => include_str!("../../schema/access.schema.json"),
        SchemaOf::Permissions => include_str!("../../schema/permissions.schema.json"),
        SchemaOf::Whoami => include_str!("../../schema/whoami.schema.json"),
    });
    Exit::Done
}
