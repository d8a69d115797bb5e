//! The arguments of `report` and `graph`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{ConnectionArgs, OutputFormat, ParallelArgs, TargetArgs};
use super::help;

/// The output format of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One HTML file that loads nothing, for a browser
    #[default]
    Html,
    /// One JSON document, described by `rolecall schema report`
    Json,
    /// One line for each subject, role and namespace, for a spreadsheet
    Csv,
}

impl ReportFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Html | Self::Csv => OutputFormat::Text,
        }
    }
}

/// The language of a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// An image
    #[default]
    Svg,
    /// Graphviz
    Dot,
    /// Mermaid, which GitHub and GitLab show in Markdown
    Mermaid,
}

/// Report the access to clusters as a page, for an audit or an access review
///
/// Shows the roles of each principal, group, user and service account in each namespace, privilege escalation paths, who can
/// make the requests that lead to other access, what expires, how the cluster differs from the policy, and a graph.
/// Without a policy, the names of principals, the expiries and the differences are left out. Requires only get and list
/// permissions.
#[derive(Debug, Args)]
#[command(after_help = help::REPORT)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Report on the planned state, after the policy is applied
    #[arg(long)]
    pub(crate) after: bool,
    /// List system subjects too (names that begin with system: or eks:)
    #[arg(long)]
    pub(crate) full: bool,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

/// Draw who has access through which groups, bindings and roles
///
/// Objects that are connected in the same way become one node, unless --full is passed. Requires only get and list
/// permissions.
#[derive(Debug, Args)]
#[command(after_help = help::GRAPH)]
pub(crate) struct GraphArgs {
    /// Only what this subject has: principal name from the policy, ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or
    /// account:ID
    pub(crate) subject: Option<String>,
    /// Policy that names the principals and clusters [default: ./rolecall.toml or ./rolecall/, if it exists]
    #[arg(long, value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Draw the planned state, after the policy is applied
    #[arg(long)]
    pub(crate) after: bool,
    /// Draw system subjects too (names that begin with system: or eks:), and a node for each object
    #[arg(long)]
    pub(crate) full: bool,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t)]
    pub(crate) format: GraphFormat,
}
