//! The arguments about documents: how a plan is printed, which file is shown, and where a comment is posted.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::OutputFormat;
use super::help;
use crate::render::plan_markdown::{DEFAULT_MAX_CHARS, MIN_MAX_CHARS};

/// The output format of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document, described by `rolecall schema plan`
    Json,
    /// Markdown for the comment of a pull request
    Markdown,
    /// One HTML file that loads nothing, for a browser
    Html,
    /// A few lines for a chat, in the syntax of Slack
    Summary,
    /// SARIF 2.1.0 for code scanning: warnings, violated invariants, guards, and the escalation paths that are opened
    Sarif,
    /// JUnit XML with the invariants and guards as tests
    Junit,
}

impl PlanFormat {
    /// Returns the format in which errors are printed too.
    pub(crate) fn of_errors(self) -> OutputFormat {
        match self {
            Self::Json => OutputFormat::Json,
            Self::Text | Self::Markdown | Self::Html | Self::Summary | Self::Sarif | Self::Junit => OutputFormat::Text,
        }
    }
}

/// How a plan is printed.
#[derive(Debug, Args)]
pub(crate) struct PlanOutputArgs {
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: PlanFormat,
    /// Limit of -o markdown; details are cut, and the verdict is not. GitHub accepts 65536, GitLab 1000000, Azure DevOps
    /// 150000 and Bitbucket 32768
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_CHARS, value_parser = parse_max_chars)]
    pub(crate) max_chars: usize,
    /// Also add the plan as Markdown to the file that $GITHUB_STEP_SUMMARY names, the summary of a job in GitHub Actions
    #[arg(long)]
    pub(crate) step_summary: bool,
}

fn parse_max_chars(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= MIN_MAX_CHARS => Ok(number),
        Ok(_) => Err(format!("must be at least {MIN_MAX_CHARS}, so that the verdict fits")),
        Err(_) => Err(format!("expected a number of characters, at least {MIN_MAX_CHARS}")),
    }
}

/// Show a saved plan, a backup or a snapshot
///
/// Reads only the file. A plan is shown as `plan` printed it, also if it was applied or its cluster has changed since. Of
/// a backup, the writes are shown that `restore` takes back, and of a snapshot, its objects and aws-auth entries.
#[derive(Debug, Args)]
#[command(after_help = help::SHOW)]
pub(crate) struct ShowArgs {
    /// File of `plan --out`, `apply --backup` or `snapshot --out`, `-` for stdin
    pub(crate) file: PathBuf,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: PlanFormat,
    /// Limit of -o markdown; details are cut, and the verdict is not
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_CHARS, value_parser = parse_max_chars)]
    pub(crate) max_chars: usize,
    /// Show all changes of a long plan
    #[arg(long)]
    pub(crate) full: bool,
}

/// Post a plan as a comment of a pull request or merge request
///
/// Posts one comment for each policy and its clusters, and updates it when it is run again. FILE is a plan saved with
/// `plan --out`, or the output of `plan -o markdown`, which also exists for a plan that is refused. The forge, the
/// repository and the number come from the variables of GitHub Actions or GitLab CI, or from the flags. The token comes
/// from GITHUB_TOKEN or GH_TOKEN, or from GITLAB_TOKEN. Only comments of the token's own user are updated.
#[derive(Debug, Args)]
#[command(after_help = help::COMMENT)]
pub(crate) struct CommentArgs {
    /// Saved plan, or Markdown of `plan -o markdown`, `-` for stdin
    #[arg(required_unless_present = "digests")]
    pub(crate) file: Option<PathBuf>,
    /// Post nothing, and print the digests of the plans in the comments, for `apply --approved`. After a merge the number
    /// is that of the pull request that was merged as $GITHUB_SHA or $CI_COMMIT_SHA
    #[arg(long, conflicts_with_all = ["file", "max_chars"])]
    pub(crate) digests: bool,
    /// Forge [default: the one whose CI runs the command]
    #[arg(long, value_enum)]
    pub(crate) forge: Option<ForgeKind>,
    /// Repository: OWNER/NAME in GitHub, the ID or path of the project in GitLab [default: $GITHUB_REPOSITORY,
    /// $CI_MERGE_REQUEST_PROJECT_ID or $CI_PROJECT_ID]
    #[arg(long, value_name = "REPO")]
    pub(crate) repo: Option<String>,
    /// Number of the pull request or merge request [default: that of the event, or $CI_MERGE_REQUEST_IID]
    #[arg(long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// URL of the API [default: $GITHUB_API_URL or $CI_API_V4_URL, or that of github.com or gitlab.com]
    #[arg(long, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// Limit of the comment if FILE is a saved plan [default: 65536 for GitHub, 1000000 for GitLab]
    #[arg(long, value_name = "N", value_parser = parse_max_chars)]
    pub(crate) max_chars: Option<usize>,
}

/// The forge that has the pull request or merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForgeKind {
    /// GitHub, also GitHub Enterprise Server
    Github,
    /// GitLab, also a self-managed one
    Gitlab,
}

/// Print the JSON schema or an example of the policy, or the schema of an output format
#[derive(Debug, Args)]
#[command(after_help = help::SCHEMA)]
pub(crate) struct SchemaArgs {
    /// Document that the schema describes
    #[arg(value_enum, default_value_t, value_name = "DOCUMENT")]
    pub(crate) document: SchemaKind,
    /// Print an example of a policy instead, to start from
    #[arg(long, conflicts_with = "document")]
    pub(crate) example: bool,
}

/// The document that a schema describes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    /// The policy file
    #[default]
    Policy,
    /// Output of `plan` and `drift`, and saved plans
    Plan,
    /// Output of `migrate`
    Migration,
    /// First document of a backup of `apply --backup`; the Kubernetes objects follow it
    Backup,
    /// Output of `validate`, and errors of all commands
    Diagnostics,
    /// Output of `test`
    Test,
    /// Output of `whoami`
    Whoami,
    /// Output of `clusters`
    Clusters,
    /// Output of `permissions --check`
    Permissions,
    /// Output of `can`, `who-can` and `access`
    Access,
    /// Output of `explain`
    Explanation,
    /// Output of `report`
    Report,
    /// One line of the file of `--events`
    Events,
}
