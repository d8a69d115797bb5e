//! `rolecall schema`: the schemas in `schema/` of the repository, and an example of a policy.

use super::args::{SchemaArgs, SchemaKind};
use super::env::Env;
use super::exit::Exit;

pub(crate) fn run(args: &SchemaArgs, env: &mut Env) -> Exit {
    if args.example {
        env.print_data(include_str!("example_policy.toml"));
        return Exit::Success;
    }
    env.print_data(match args.document {
        SchemaKind::Policy => include_str!("../../schema/policy.schema.json"),
        SchemaKind::Plan => include_str!("../../schema/plan.schema.json"),
        SchemaKind::Migration => include_str!("../../schema/migration.schema.json"),
        SchemaKind::Backup => include_str!("../../schema/backup.schema.json"),
        SchemaKind::Diagnostics => include_str!("../../schema/diagnostics.schema.json"),
        SchemaKind::Access => include_str!("../../schema/access.schema.json"),
        SchemaKind::Explanation => include_str!("../../schema/explanation.schema.json"),
        SchemaKind::Report => include_str!("../../schema/report.schema.json"),
        SchemaKind::Events => include_str!("../../schema/events.schema.json"),
        SchemaKind::Permissions => include_str!("../../schema/permissions.schema.json"),
        SchemaKind::Test => include_str!("../../schema/test.schema.json"),
        SchemaKind::Clusters => include_str!("../../schema/clusters.schema.json"),
        SchemaKind::Whoami => include_str!("../../schema/whoami.schema.json"),
    });
    Exit::Success
}
