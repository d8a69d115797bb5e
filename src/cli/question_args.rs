//! The arguments of `can`, `who-can` and `access`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{ConnectionArgs, OutputFormat, ParallelArgs};
use super::help;

/// The cluster and the state that a question is about.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    #[command(flatten)]
    pub(crate) source: QuestionSource,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Where the answer comes from.
#[derive(Debug, Args)]
pub(crate) struct QuestionSource {
    /// Policy that names the principals and clusters [default: ./rolecall.toml or ./rolecall/, if it exists]
    #[arg(long, value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Answer for the planned state, after the policy is applied
    #[arg(long)]
    pub(crate) after: bool,
}

/// Check whether a subject is allowed to do something
///
/// Prints yes or no for each verb and resource. Evaluates the authenticator and RBAC like the API server does, from
/// aws-auth, roles and bindings. Resources have the names that kubectl accepts. Requires only get and list permissions.
#[derive(Debug, Args)]
#[command(after_help = help::CAN)]
pub(crate) struct CanArgs {
    /// Principal name from the policy, ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or account:ID
    pub(crate) subject: String,
    /// Verb, such as get, list, create, delete or escalate, or several with commas
    pub(crate) verb: String,
    /// Resource, such as pods, deploy/web, secrets/db, pods/exec or pods/web/log, or a URL such as /metrics. Several with
    /// commas
    #[arg(value_name = "RESOURCE[.GROUP][/NAME][/SUBRESOURCE]")]
    pub(crate) resource: String,
    /// Subresource, such as exec or log
    #[arg(long, value_name = "NAME")]
    pub(crate) subresource: Option<String>,
    /// Namespace of a namespaced resource [default: that of the kubeconfig context, or `default` for a snapshot]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,
    /// In all namespaces at once, as with a cluster-wide list
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Show the aws-auth entry, binding, role and rule that allow it, or the closest match
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// List who is allowed to do something
///
/// Lists the IAM principals in aws-auth, and the groups, users and service accounts to which RBAC bindings grant the
/// request in any namespace, with their members in aws-auth, and the names and namespaces to which each is limited.
/// `who-can escalate` without a resource lists all privilege escalation paths. Requires only get and list permissions.
#[derive(Debug, Args)]
#[command(after_help = help::WHO_CAN)]
pub(crate) struct WhoCanArgs {
    /// Verb, such as get, list, create, delete or escalate, or several with commas
    pub(crate) verb: String,
    /// Resource, such as pods, deploy/web, secrets/db, pods/exec or pods/web/log, or a URL such as /metrics. Several with
    /// commas
    #[arg(value_name = "RESOURCE[.GROUP][/NAME][/SUBRESOURCE]")]
    pub(crate) resource: Option<String>,
    /// Subresource, such as exec or log
    #[arg(long, value_name = "NAME")]
    pub(crate) subresource: Option<String>,
    /// Only in this namespace [default: in any namespace]
    #[arg(short, long, value_name = "NAME", conflicts_with = "cluster_wide")]
    pub(crate) namespace: Option<String>,
    /// Only in all namespaces at once, as with a cluster-wide list
    #[arg(short = 'A', long, alias = "all-namespaces")]
    pub(crate) cluster_wide: bool,
    /// Show each binding, role and rule with its policy line
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// List everything that a subject is allowed to do
///
/// Shows the permissions of SUBJECT, what grants each of them, and its privilege escalation paths. Without SUBJECT,
/// lists all subjects. Requires only get and list permissions.
#[derive(Debug, Args)]
#[command(after_help = help::ACCESS)]
pub(crate) struct AccessArgs {
    /// Principal name from the policy, ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or account:ID
    pub(crate) subject: Option<String>,
    /// Show each binding and role with its policy line
    #[arg(long)]
    pub(crate) explain: bool,
    /// Show system subjects too (names that begin with system: or eks:), and all lines of a long list
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Explain the access of one subject
///
/// Prints on one page how the subject logs in, its groups, its roles by namespace, its privilege escalation paths, when its
/// access ends, and the lines of the policy to change. Requires only get and list permissions.
#[derive(Debug, Args)]
#[command(after_help = help::EXPLAIN)]
pub(crate) struct ExplainArgs {
    /// Principal name from the policy, ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or account:ID
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) source: QuestionSource,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: ExplainFormat,
}

/// The output format of an explanation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema explanation`
    Json,
    /// Markdown for a ticket or a wiki
    Markdown,
}

impl ExplainFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Text | Self::Markdown => OutputFormat::Text,
        }
    }
}
