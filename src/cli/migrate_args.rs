//! The arguments of `rolecall migrate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{ApplyFlags, OutputFormat, TargetArgs};
use super::help;

/// Move a cluster from aws-auth to access entries
///
/// Shows the access entries that give each principal exactly the access that aws-auth gives it today, and with --apply
/// makes them. aws-auth stays until `--finish`, which removes the entries that have no effect any more and then changes
/// the authentication mode to API. What cannot move is listed with what to do about it. Each run shows only what is left.
/// Without --apply it does not write to the cluster.
#[derive(Debug, Args)]
#[command(after_help = help::MIGRATE)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Where the principals move to
    #[arg(long, value_enum, default_value_t)]
    pub(crate) to: MigrationTarget,
    /// Remove the entries of aws-auth whose principals have an equal access entry, and change the mode to API if no other
    /// entry is left
    #[arg(long)]
    pub(crate) finish: bool,
    /// The policy is written for access entries already: change the mode, and apply the plan of the policy
    #[arg(long, conflicts_with_all = ["finish", "out_policy"])]
    pub(crate) from_policy: bool,
    /// ARN of a role with its path, as IAM shows it: aws-auth has no paths. Can be repeated
    #[arg(long = "arn", value_name = "ARN")]
    pub(crate) arns: Vec<String>,
    /// Make the changes, after a question
    #[arg(long)]
    pub(crate) apply: bool,
    /// Do not ask for confirmation
    #[arg(long, requires = "apply")]
    pub(crate) auto_approve: bool,
    /// Apply only if the plan has this digest
    #[arg(long, value_name = "DIGEST", requires = "apply")]
    pub(crate) approved: Vec<String>,
    /// Write the changed policy to this file, `-` for stdout. The policy itself stays
    #[arg(long, value_name = "FILE")]
    pub(crate) out_policy: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: MigrationFormat,
    #[command(flatten)]
    pub(crate) flags: ApplyFlags,
}

/// The store that principals move to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrationTarget {
    /// Access entries of EKS
    #[default]
    AccessEntries,
}

/// The output format of a migration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrationFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema migration`
    Json,
    /// Markdown for the comment of a pull request
    Markdown,
}

impl MigrationFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Text | Self::Markdown => OutputFormat::Text,
        }
    }
}
