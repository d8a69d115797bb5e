//! The arguments of the checks of a policy: `validate` and `test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{OutputFormat, ParallelArgs, TargetArgs};
use super::help;

/// The output format of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema diagnostics`
    Json,
    /// SARIF 2.1.0 for code scanning, also with the privilege escalation paths that the policy grants
    Sarif,
}

impl CheckFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Text | Self::Sarif => OutputFormat::Text,
        }
    }
}

/// Check a policy without a cluster
///
/// Reports the errors and warnings of all files at once. Invariants are checked as far as the policy alone decides
/// them. Does not connect to a cluster.
#[derive(Debug, Args)]
#[command(after_help = help::VALIDATE)]
pub(crate) struct ValidateArgs {
    /// Path to the policy: a TOML file, or a directory whose .toml files form one policy [default: ./rolecall.toml or
    /// ./rolecall/]
    #[arg(value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: CheckFormat,
}

/// Test the invariants of a policy
///
/// Checks each invariant of each cluster in the state after the policy is applied, and says which hold. Unlike `plan`, it
/// shows no changes, and evaluates no guards. Requires only get and list permissions. Does not write to the cluster.
#[derive(Debug, Args)]
#[command(after_help = help::TEST)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Test the clusters as they are, before the policy is applied
    #[arg(long)]
    pub(crate) current: bool,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: TestFormat,
}

/// The output format of a test run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema test`
    Json,
    /// JUnit XML for CI systems
    Junit,
}

impl TestFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Text | Self::Junit => OutputFormat::Text,
        }
    }
}
