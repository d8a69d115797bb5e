//! The arguments of the command line. They are not resolved here: no file is read and no cluster is looked up.
//!
//! The doc comments are the help texts. `docs/reference/commands.md` is generated from them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::check_args::{TestArgs, ValidateArgs};
use super::document_args::{CommentArgs, PlanOutputArgs, ShowArgs};
pub(crate) use super::document_args::{SchemaArgs, SchemaKind};
use super::eks_args::{ClustersArgs, EksArgs};
use super::global::{GlobalOptions, parse_timeout};
use super::help;
use super::migrate_args::MigrateArgs;
pub(crate) use super::question_args::{AccessArgs, CanArgs, ExplainArgs, QuestionArgs, WhoCanArgs};
use super::report_args::{GraphArgs, ReportArgs};
use crate::ops::DEFAULT_PARALLEL;

/// More threads would not make it faster, and each cluster needs memory.
const MAX_PARALLEL: usize = 256;

/// Manage access to Amazon EKS clusters: aws-auth and RBAC from one reviewed policy
#[derive(Debug, Parser)]
#[command(name = "rolecall", version, after_help = help::OVERVIEW)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Plan(PlanArgs),
    Apply(ApplyArgs),
    Restore(RestoreArgs),
    Migrate(MigrateArgs),
    Drift(DriftArgs),
    Show(ShowArgs),
    Comment(CommentArgs),
    Validate(ValidateArgs),
    Test(TestArgs),
    Snapshot(SnapshotArgs),
    Whoami(WhoamiArgs),
    Clusters(ClustersArgs),
    Permissions(PermissionsArgs),
    Can(CanArgs),
    WhoCan(WhoCanArgs),
    Access(AccessArgs),
    Explain(ExplainArgs),
    Report(ReportArgs),
    Graph(GraphArgs),
    Schema(SchemaArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Version(Version),
}

impl Command {
    /// Returns the output format, in which errors are printed too.
    pub(crate) fn format(&self) -> OutputFormat {
        match self {
            Self::Plan(PlanArgs { output, .. }) | Self::Drift(DriftArgs { output, .. }) => output.format.of_errors(),
            Self::Show(ShowArgs { format, .. }) => format.of_errors(),
            Self::Validate(ValidateArgs { format, .. }) => format.of_errors(),
            Self::Test(TestArgs { format, .. }) => format.of_errors(),
            Self::Explain(ExplainArgs { format, .. }) => format.of_errors(),
            Self::Report(ReportArgs { format, .. }) => format.of_errors(),
            Self::Migrate(MigrateArgs { format, .. }) => format.of_errors(),
            Self::Restore(RestoreArgs { format, .. })
            | Self::Snapshot(SnapshotArgs { format, .. })
            | Self::Whoami(WhoamiArgs { format, .. })
            | Self::Clusters(ClustersArgs { format, .. })
            | Self::Permissions(PermissionsArgs { format, .. })
            | Self::Can(CanArgs { question: QuestionArgs { format, .. }, .. })
            | Self::WhoCan(WhoCanArgs { question: QuestionArgs { format, .. }, .. })
            | Self::Access(AccessArgs { question: QuestionArgs { format, .. }, .. }) => *format,
            Self::Apply(_)
            | Self::Graph(_)
            | Self::Comment(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Version(_) => OutputFormat::Text,
        }
    }

    /// Returns the name of the command.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Restore(_) => "restore",
            Self::Migrate(_) => "migrate",
            Self::Drift(_) => "drift",
            Self::Show(_) => "show",
            Self::Comment(_) => "comment",
            Self::Validate(_) => "validate",
            Self::Test(_) => "test",
            Self::Snapshot(_) => "snapshot",
            Self::Whoami(_) => "whoami",
            Self::Clusters(_) => "clusters",
            Self::Permissions(_) => "permissions",
            Self::Can(_) => "can",
            Self::WhoCan(_) => "who-can",
            Self::Access(_) => "access",
            Self::Explain(_) => "explain",
            Self::Report(_) => "report",
            Self::Graph(_) => "graph",
            Self::Schema(_) => "schema",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Version(_) => "version",
        }
    }

    /// Returns the values of `--snapshot`.
    pub(crate) fn snapshots(&self) -> Vec<&str> {
        let connection = match self {
            Self::Plan(PlanArgs { target, .. })
            | Self::Apply(ApplyArgs { target, .. })
            | Self::Migrate(MigrateArgs { target, .. })
            | Self::Drift(DriftArgs { target, .. })
            | Self::Test(TestArgs { target, .. })
            | Self::Snapshot(SnapshotArgs { target, .. })
            | Self::Whoami(WhoamiArgs { target, .. })
            | Self::Report(ReportArgs { target, .. })
            | Self::Permissions(PermissionsArgs { target, .. }) => &target.connection,
            Self::Graph(GraphArgs { connection, .. }) => connection,
            Self::Can(CanArgs { question, .. })
            | Self::WhoCan(WhoCanArgs { question, .. })
            | Self::Access(AccessArgs { question, .. }) => &question.source.connection,
            Self::Explain(ExplainArgs { source, .. }) => &source.connection,
            Self::Restore(RestoreArgs { snapshot, .. }) => return snapshot.as_deref().into_iter().collect(),
            Self::Show(_)
            | Self::Clusters(_)
            | Self::Comment(_)
            | Self::Validate(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Version(_) => return Vec::new(),
        };
        connection.snapshots.iter().map(String::as_str).collect()
    }
}

/// The output format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema`
    Json,
}

/// The policy and its clusters.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Path to the policy: a TOML file, or a directory whose .toml files form one policy [default: ./rolecall.toml or
    /// ./rolecall/]
    #[arg(value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// The clusters and how to connect to them.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// Use only this cluster of the policy. Can be repeated
    #[arg(long = "cluster", value_name = "NAME")]
    pub(crate) clusters: Vec<String>,
    /// Use a snapshot file instead of the live cluster, `-` for stdin. Can be repeated
    #[arg(long = "snapshot", value_name = "[NAME=]FILE", conflicts_with = "eks")]
    pub(crate) snapshots: Vec<String>,
    /// Kubeconfig context to use instead of the connection in the policy [default: the current context, if the policy
    /// has no clusters]
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots", env = "ROLECALL_CONTEXT")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) eks: EksArgs,
    /// Path of the kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// How many clusters are worked on at the same time.
#[derive(Debug, Args)]
pub(crate) struct ParallelArgs {
    /// Number of clusters that are read, planned and written at the same time
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARALLEL, value_parser = parse_parallel, env = "ROLECALL_PARALLEL")]
    pub(crate) parallel: usize,
}

fn parse_parallel(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=MAX_PARALLEL).contains(number))
        .ok_or_else(|| format!("expected a number from 1 to {MAX_PARALLEL}"))
}

/// Show the changes that apply would make
///
/// Compares the policy with the cluster. Prints the objects and aws-auth entries to add, change and remove, the access
/// that each subject gains and loses, and the digest of the plan. Requires only get and list permissions. Does not
/// write to the cluster.
#[derive(Debug, Args)]
#[command(after_help = help::PLAN)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Save the plan to a file for `apply --plan FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Sign the saved plan with this OpenSSH private key, and write the signature to FILE.sig
    #[arg(long, value_name = "KEY", requires = "out")]
    pub(crate) sign_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: PlanOutputArgs,
    /// Accept one risk that a guard refuses, as printed by the refusal. Can be repeated
    #[arg(long, value_name = "RISK")]
    pub(crate) allow: Vec<String>,
    /// Exit with code 2 if there are changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Show the change to the text of aws-auth as a unified diff
    #[arg(long)]
    pub(crate) aws_auth_diff: bool,
    /// Show all changes of a long plan, and the diff of aws-auth
    #[arg(long)]
    pub(crate) full: bool,
}

/// Change the cluster to match the policy
///
/// Shows the plan and asks for confirmation before it writes. No one ever has more access than before or after the
/// apply, and access that stays is never interrupted. Each write is made only if its object is unchanged since the
/// plan. If stdin is not a terminal, `--auto-approve`, `--approved` or `--plan` is required.
#[derive(Debug, Args)]
#[command(after_help = help::APPLY)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Apply only if the plan has this digest, also with --plan. Can be repeated, one for each cluster
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approved: Vec<String>,
    /// Apply a saved plan. It is refused if the objects that it relies on have changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "clusters"])]
    pub(crate) plan: Option<PathBuf>,
    /// Apply the saved plan only if FILE.sig is its signature with one of these OpenSSH public keys
    #[arg(long, value_name = "PUB", requires = "plan")]
    pub(crate) verify_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: ApplyFlags,
}

/// The flags that `apply` and `restore` have in common.
#[derive(Debug, Args)]
pub(crate) struct ApplyFlags {
    /// Show the plan, let the API server check every write, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accept the temporary access changes that the plan lists
    #[arg(long)]
    pub(crate) allow_window: bool,
    /// Accept one risk that a guard refuses, as printed by the refusal. Can be repeated
    ///
    /// remove:ARN: this principal loses access that a guard protects. masters:ARN: this principal becomes a member of
    /// system:masters. everyone:GROUP: everyone in this built-in group, such as system:authenticated, gains access.
    /// removals:N: the plan removes up to N entries and objects. empty-aws-auth: aws-auth has no valid entries.
    /// last-admin: no IAM principal in aws-auth can restore access. auth-mode: `migrate` changes the authentication mode,
    /// which cannot be undone. A saved plan and an approved digest do not include
    /// these flags: pass them again.
    #[arg(long, value_name = "RISK")]
    pub(crate) allow: Vec<String>,
    /// Save the writes, and the objects before them, to a new file in this directory, for `rolecall restore FILE`
    #[arg(long, value_name = "DIR")]
    pub(crate) backup: Option<PathBuf>,
    /// How long to wait for the Lease of another apply that may have ended, such as 30s [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub(crate) lease_timeout: Option<Duration>,
    /// Namespace of the Lease that prevents concurrent applies
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", env = "ROLECALL_LEASE_NAMESPACE")]
    pub(crate) lease_namespace: String,
    /// Show all changes of a long plan
    #[arg(long)]
    pub(crate) full: bool,
}

/// Take back what an apply wrote, from its backup
///
/// Reads a file that `apply --backup` wrote, and plans and applies the way back like `apply`: aws-auth entries one by one,
/// roles and bindings field by field. What others wrote since is kept, and what can therefore not be taken back is
/// reported. The guards and invariants of the policy, which are in the backup, apply.
#[derive(Debug, Args)]
#[command(after_help = help::RESTORE)]
pub(crate) struct RestoreArgs {
    /// Backup file, written by `apply --backup DIR`
    pub(crate) file: PathBuf,
    /// Kubeconfig context to use instead of the connection in the backup
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot", env = "ROLECALL_CONTEXT")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) eks: EksArgs,
    /// Use a snapshot file instead of the live cluster, `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "eks")]
    pub(crate) snapshot: Option<String>,
    /// Path of the kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Format of the plan on stdout. With json, the progress is on stderr
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
    /// Restore only if the plan has this digest. Can be repeated
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approved: Vec<String>,
    #[command(flatten)]
    pub(crate) flags: ApplyFlags,
}

/// Find differences between the cluster and the policy
///
/// Lists changes made outside of rolecall, with the field manager and time of the last write, and separately the
/// changes of the policy that are not yet applied. Requires only get and list permissions. Does not write to the
/// cluster.
#[derive(Debug, Args)]
#[command(after_help = help::DRIFT)]
pub(crate) struct DriftArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) parallel: ParallelArgs,
    #[command(flatten)]
    pub(crate) output: PlanOutputArgs,
    /// Also write metrics to this file, for the textfile collector of the Prometheus node exporter. A run that fails keeps
    /// the values of the clusters that it could not compare
    #[arg(long, value_name = "FILE", env = "ROLECALL_METRICS")]
    pub(crate) metrics: Option<PathBuf>,
    /// Show all changes of a long list
    #[arg(long)]
    pub(crate) full: bool,
}

/// Save the access configuration of a cluster to a file
///
/// Writes the namespaces, the aws-auth ConfigMap, and the RBAC roles and bindings of the cluster as YAML. Other
/// commands read the file with `--snapshot FILE` instead of connecting to the cluster, for example to plan in a pull
/// request without credentials. A policy is needed only to select a cluster by its name. Requires only get and list
/// permissions.
#[derive(Debug, Args)]
#[command(after_help = help::SNAPSHOT)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Output format: YAML documents (text) or a Kubernetes List (json)
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Show who the cluster authenticates you as
///
/// Prints your IAM identity by STS or by the authenticator of EKS, the username and groups that the cluster makes of it, by
/// which entry of aws-auth, and whether you may plan and apply. The rights of an access entry and of the creator of a cluster
/// are not groups: only the cluster's own answers show them.
#[derive(Debug, Args)]
#[command(after_help = help::WHOAMI)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Print the Kubernetes roles that rolecall needs to run
///
/// Prints the minimal ClusterRole and Roles for a policy and a cluster, and their bindings, as YAML for `kubectl apply
/// -f -`. Rules are limited to object names where the API server enforces them. The names are those of the policy and of
/// the objects that it owns, so regenerate the roles when the policy grows. Does not write to the cluster.
#[derive(Debug, Args)]
#[command(after_help = help::PERMISSIONS)]
pub(crate) struct PermissionsArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Command that the roles are for
    #[arg(long = "for", value_enum, default_value_t, value_name = "COMMAND")]
    pub(crate) for_command: RunnerCommand,
    /// How the subject gets permission to write rules into roles
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) with: RoleWriteMethod,
    /// Subject that the roles are bound to: group:NAME, user:NAME or sa:NAMESPACE/NAME
    #[arg(long, value_name = "SUBJECT", default_value = "group:rolecall")]
    pub(crate) subject: String,
    /// Name for the generated roles and bindings
    #[arg(long, default_value = "rolecall")]
    pub(crate) name: String,
    /// Check which of these permissions you lack, and exit with code 1 if any is missing
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the IAM policy that connecting to EKS clusters by name needs, as JSON, instead of Kubernetes roles
    #[arg(long, conflicts_with = "check")]
    pub(crate) iam: bool,
    /// Output format: YAML documents (text) or a Kubernetes List (json). With `--check`: text or a JSON document
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// The command that needs permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunnerCommand {
    /// plan, drift, and all other commands that only read
    Plan,
    /// drift only, without the reviews and nodes that plan reads for its guards
    Drift,
    /// apply and restore
    #[default]
    Apply,
}

/// What permits writing rules into roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleWriteMethod {
    /// The subject gets every rule of the policy's roles itself, and can grant only these
    #[default]
    Rules,
    /// The subject gets the `escalate` verb: it can write any rule, and can make itself cluster-admin
    Escalate,
}

/// Print the completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = help::COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Write the man pages to a directory
///
/// Writes rolecall.1, and a page for each command, such as rolecall-plan.1.
#[derive(Debug, Args)]
#[command(after_help = help::MAN)]
pub(crate) struct ManArgs {
    /// Directory that exists, such as /usr/local/share/man/man1
    pub(crate) directory: PathBuf,
}

/// Print the version of rolecall
#[derive(Debug, Args)]
pub(crate) struct Version {}
