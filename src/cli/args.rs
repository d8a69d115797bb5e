//! What was typed. Nothing is resolved here: no file is looked for, no default taken from the environment.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::global::GlobalOptions;

/// Declarative access to Amazon EKS: aws-auth and RBAC from one reviewed policy.
#[derive(Debug, Parser)]
#[command(
    name = "rolecall",
    version,
    after_help = "Exit codes: 0 done (`can`: yes); 1 error or wrong usage (`can`: no; `permissions --check`: something is missing); 2 `drift` or `plan --detailed-exitcode` found changes; \
                  3 a guard or an invariant refused."
)]
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
    Drift(DriftArgs),
    Validate(ValidateArgs),
    Snapshot(SnapshotArgs),
    Whoami(WhoamiArgs),
    Permissions(PermissionsArgs),
    Can(CanArgs),
    WhoCan(WhoCanArgs),
    Access(AccessArgs),
    Schema(SchemaArgs),
    Completions(CompletionsArgs),
    Version(Version),
}

impl Command {
    /// How the result is wanted, so that faults can take the same form.
    pub(crate) fn format(&self) -> OutputFormat {
        match self {
            Self::Plan(PlanArgs { format, .. })
            | Self::Drift(DriftArgs { format, .. })
            | Self::Validate(ValidateArgs { format, .. })
            | Self::Snapshot(SnapshotArgs { format, .. })
            | Self::Whoami(WhoamiArgs { format, .. })
            | Self::Permissions(PermissionsArgs { format, .. })
            | Self::Can(CanArgs { question: QuestionArgs { format, .. }, .. })
            | Self::WhoCan(WhoCanArgs { question: QuestionArgs { format, .. }, .. })
            | Self::Access(AccessArgs { question: QuestionArgs { format, .. }, .. }) => *format,
            Self::Apply(_) | Self::Restore(_) | Self::Schema(_) | Self::Completions(_) | Self::Version(_) => {
                OutputFormat::Text
            }
        }
    }

    /// The values of `--snapshot`.
    pub(crate) fn snapshots(&self) -> Vec<&str> {
        let place = match self {
            Self::Plan(PlanArgs { target, .. })
            | Self::Apply(ApplyArgs { target, .. })
            | Self::Drift(DriftArgs { target, .. })
            | Self::Snapshot(SnapshotArgs { target, .. })
            | Self::Whoami(WhoamiArgs { target, .. })
            | Self::Permissions(PermissionsArgs { target, .. }) => &target.connection,
            Self::Can(CanArgs { question, .. })
            | Self::WhoCan(WhoCanArgs { question, .. })
            | Self::Access(AccessArgs { question, .. }) => &question.connection,
            Self::Restore(RestoreArgs { snapshot, .. }) => return snapshot.as_deref().into_iter().collect(),
            Self::Validate(_) | Self::Schema(_) | Self::Completions(_) | Self::Version(_) => return Vec::new(),
        };
        place.snapshots.iter().map(String::as_str).collect()
    }
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One document under a published schema.
    Json,
}

/// Which policy, and which clusters of it.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Policy: a TOML file, or a folder whose .toml files make one policy [default: rolecall.toml or rolecall/ here]
    #[arg(value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Which clusters, and how they are reached.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// Only this cluster of the policy; can be repeated
    #[arg(long = "cluster", value_name = "NAME")]
    pub(crate) clusters: Vec<String>,
    /// Put a snapshot in the place of the live cluster, `-` for stdin; can be repeated
    #[arg(long = "snapshot", value_name = "[NAME=]FILE")]
    pub(crate) snapshots: Vec<String>,
    /// The kubeconfig's context, in place of what the policy says [default: the current one]
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots", env = "ROLECALL_CONTEXT")]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Show what apply would change
///
/// Compares the policy with the cluster and prints what would come, change and go, and the digest of the plan. Needs
/// get and list alone; nothing is written.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Save the plan, for `apply --plan FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
    /// Say yes to one danger that a guard refuses, as the refusal names it; can be repeated
    #[arg(long, value_name = "DANGER")]
    pub(crate) allow: Vec<String>,
    /// Exit with 2 where there are changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Show every change of a long plan
    #[arg(long)]
    pub(crate) full: bool,
}

/// Make the cluster what the policy says
///
/// Shows the plan, asks, and makes its writes in an order in which nobody may more than before and after, and nobody
/// loses what he has on both sides. Each write is made only if its object is as it was planned. Without a terminal it needs `--auto-approve`, `--approved` or `--plan`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Do not ask
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Plan again, and go on only if the plan has this digest; can be repeated, one for each cluster
    #[arg(long, value_name = "DIGEST", conflicts_with = "plan")]
    pub(crate) approved: Vec<String>,
    /// Apply a saved plan, if nothing that it relies on has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "clusters"])]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: ApplyFlags,
}

/// How the writes are made, and what is done around them.
#[derive(Debug, Args)]
pub(crate) struct ApplyFlags {
    /// Show the plan, have the cluster judge every write of it, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on although the plan says that there are moments which no order of the writes avoids
    #[arg(long)]
    pub(crate) allow_window: bool,
    /// Say yes to one danger that a guard refuses, as the refusal names it; can be repeated
    ///
    /// remove:ARN: he loses access that a guard watches over. masters:ARN: he becomes system:masters. removals:N: so
    /// many things go. empty-aws-auth: it lets nobody in. last-admin: nobody of it can repair access. A saved plan and
    /// an approved digest say yes to nothing: it is said again here.
    #[arg(long, value_name = "DANGER")]
    pub(crate) allow: Vec<String>,
    /// Keep what is about to change in a new file of this folder, for `rolecall restore FILE`
    #[arg(long, value_name = "DIR")]
    pub(crate) backup: Option<PathBuf>,
    /// Where the Lease is kept that lets one apply run at a time
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", env = "ROLECALL_LEASE_NAMESPACE")]
    pub(crate) lease_namespace: String,
    /// Show every change of a long plan
    #[arg(long)]
    pub(crate) full: bool,
}

/// Take a cluster back to what a backup holds
///
/// Plans the way from the cluster as it is to the objects of a file that `apply --backup` wrote, and applies it as `apply`
/// does: what was created since then by that apply goes, what it changed or deleted is as it was, to the byte.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file, written by `apply --backup DIR`
    pub(crate) file: PathBuf,
    /// The kubeconfig's context, in place of the one that the backup was made by
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot", env = "ROLECALL_CONTEXT")]
    pub(crate) context: Option<String>,
    /// Put a snapshot in the place of the live cluster, `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Go on only if the plan has this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approved: Vec<String>,
    #[command(flatten)]
    pub(crate) flags: ApplyFlags,
}

/// Find what differs from the policy, who changed it and when
///
/// Tells what was changed in the cluster behind the policy's back from what was merged and not applied. Exits with 2
/// where there is either. Needs get and list alone.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
    /// Show every change of a long list
    #[arg(long)]
    pub(crate) full: bool,
}

/// Check a policy without any cluster
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Policy: a TOML file, or a folder whose .toml files make one policy [default: rolecall.toml or rolecall/ here]
    #[arg(value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Write the access to a cluster as one YAML file
///
/// The file holds namespaces, aws-auth, roles and bindings, and takes the cluster's place in `plan --snapshot FILE`:
/// a pull request is planned without credentials. A policy is needed only for the names of its clusters.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// YAML documents (text), or one List (json)
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Show whom the cluster takes you for
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Print the roles that whoever runs rolecall needs
///
/// The least ClusterRole and Roles for a policy on a cluster, as YAML for `kubectl apply -f -`: limited by name where
/// the API server heeds it. Names are those of the policy and of what it owns, so print them anew when it grows.
#[derive(Debug, Args)]
pub(crate) struct PermissionsArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// What it is to run
    #[arg(long = "for", value_enum, default_value_t, value_name = "COMMAND")]
    pub(crate) for_command: RunnerCommand,
    /// How it may write rules into roles
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) with: RoleWriteMethod,
    /// Who runs it: group:NAME, user:NAME or sa:NAMESPACE/NAME
    #[arg(long, value_name = "SUBJECT", default_value = "group:rolecall")]
    pub(crate) subject: String,
    /// How the roles and bindings are called
    #[arg(long, default_value = "rolecall")]
    pub(crate) name: String,
    /// Ask the cluster what of it you lack, and exit with 1 where something is missing
    #[arg(long)]
    pub(crate) check: bool,
    /// YAML documents (text), or one List (json); of `--check` one document
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// Which command needs permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunnerCommand {
    /// plan, drift and all questions
    Plan,
    #[default]
    Apply,
}

/// What lets a runner write rules into roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleWriteMethod {
    /// It holds every rule of the policy's roles itself: it can hand out nothing else
    #[default]
    Rules,
    /// It may write any rule, and holds none: it can make itself cluster-admin
    Escalate,
}

/// Of which state of which cluster something is asked.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// Policy, for the names of its principals and clusters [default: rolecall.toml or rolecall/ here, if there is one]
    #[arg(long, value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Ask of the state that the policy's plan leads to
    #[arg(long)]
    pub(crate) after: bool,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

/// On what something is done.
#[derive(Debug, Args)]
pub(crate) struct RequestScopeArgs {
    /// Of the object, such as exec or log
    #[arg(long, value_name = "NAME")]
    pub(crate) subresource: Option<String>,
    /// The namespace, where the resource is in one
    #[arg(short, long, value_name = "NAME", default_value = "default", conflicts_with = "all_namespaces")]
    pub(crate) namespace: String,
    /// In all namespaces at once
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// Ask whether somebody may do something
///
/// Answers yes or no, and exits with 0 or 1. What it answers is what the authenticator and the API server would decide.
/// Needs get and list alone.
#[derive(Debug, Args)]
pub(crate) struct CanArgs {
    /// A principal of the policy by name, an ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or account:ID
    pub(crate) subject: String,
    /// Such as get, list, create, delete, escalate
    pub(crate) verb: String,
    /// Such as pods, deployments.apps, secrets/db, or a URL as /metrics
    #[arg(value_name = "RESOURCE[.GROUP][/NAME]")]
    pub(crate) resource: String,
    #[command(flatten)]
    pub(crate) request_scope: RequestScopeArgs,
    /// Show by which entry, binding and rule, or what is nearest to a yes
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Ask who may do something
///
/// Names the principals of aws-auth, and the groups, users and service accounts that bindings give it to, with who
/// stands behind them. `who-can escalate` without a resource names everybody who has a way to more power.
#[derive(Debug, Args)]
pub(crate) struct WhoCanArgs {
    /// Such as get, list, create, delete, escalate
    pub(crate) verb: String,
    /// Such as pods, deployments.apps, secrets/db, or a URL as /metrics
    #[arg(value_name = "RESOURCE[.GROUP][/NAME]")]
    pub(crate) resource: Option<String>,
    #[command(flatten)]
    pub(crate) request_scope: RequestScopeArgs,
    /// Show each binding, role and rule with its place
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Show all that somebody may do, or everybody
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// A principal of the policy by name, an ARN, user:NAME, group:NAME, sa:NAMESPACE/NAME or account:ID
    pub(crate) subject: Option<String>,
    /// Show each binding and role with its place
    #[arg(long)]
    pub(crate) explain: bool,
    /// Show those of the cluster itself, whose names begin with system: or eks:, and every line of a long list
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Print a JSON schema
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of the policy file, of what `plan` and `drift` print, of what `validate` and faults print, of what `whoami` prints,
    /// of what `permissions --check` prints, or of what `can`, `who-can` and `access` print
    #[arg(value_enum, default_value_t)]
    pub(crate) of: SchemaKind,
}

/// What a schema describes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    #[default]
    Policy,
    Plan,
    Diagnostics,
    Whoami,
    Permissions,
    Access,
}

/// Print the completions for a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
/// Print the version of rolecall
#[derive(Debug, Args)]
pub(crate) struct Version {}
