//! `rolecall comment`: posts a plan to a pull request or merge request, and updates the comment of an earlier run.

#![expect(clippy::disallowed_methods, reason = "reads the event of GitHub Actions")]

use std::path::Path;

use serde_json::Value;

use super::document_args::{CommentArgs, ForgeKind};
use super::env::Env;
use super::exit::Exit;
use super::show::{read_document, read_plan};
use crate::diagnostic::Diagnostic;
use crate::forge::{
    CommentOutcome, CommentTarget, ForgeClient, ForgeError, ForgeToken, approved_digests, marker_of, merged_number,
    post_or_update,
};
use crate::ops::CommandError;
use crate::render::plan_markdown::render_plan_markdown;

const GITHUB_API: &str = "https://api.github.com";
const GITLAB_API: &str = "https://gitlab.com/api/v4";

pub(crate) async fn run(args: &CommentArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let kind = forge_kind(args, env)?;
    let repository = forge_repository(kind, args, env)?;
    let number = args.number.or_else(|| number_of_run(kind, env));
    let token = forge_token(kind, env)?;
    let (variable, default) = match kind {
        ForgeKind::Github => ("GITHUB_API_URL", GITHUB_API),
        ForgeKind::Gitlab => ("CI_API_V4_URL", GITLAB_API),
    };
    let api_url = args.api_url.clone().or_else(|| variable_of(env, variable)).unwrap_or_else(|| default.to_owned());
    let proxy = proxy_for(&api_url, env);
    let settings = env.ops_context().connection;
    let client = ForgeClient::new(&api_url, token, proxy.as_deref(), settings)
        .map_err(|error| CommandError::from_diagnostic(diagnose(&error, kind, &repository)))?;
    match &args.file {
        Some(file) => {
            let number = number.ok_or_else(|| unknown_number(kind))?;
            post(file, args, &client, kind, &repository.with_number(number), env).await
        }
        None => print_digests(&client, kind, repository, number, env).await,
    }
}

async fn post(
    file: &Path,
    args: &CommentArgs,
    client: &ForgeClient,
    kind: ForgeKind,
    target: &CommentTarget,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let body = comment_body(file, args.max_chars, target, env)?;
    let outcome = within_limit(post_or_update(client, target, &body), "post the comment", kind, target, env).await?;
    let done = match outcome {
        CommentOutcome::Posted => "Posted the comment on",
        CommentOutcome::Updated => "Updated the comment on",
        CommentOutcome::Unchanged => "The comment is up to date on",
    };
    env.print(&format!("{done} {}", target.describe()));
    Ok(Exit::Success)
}

/// Prints the digests of the plans that the pull request was merged with.
async fn print_digests(
    client: &ForgeClient,
    kind: ForgeKind,
    repository: CommentTarget,
    number: Option<u64>,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let number = match number {
        Some(number) => Some(number),
        None => {
            let name = match kind {
                ForgeKind::Github => "GITHUB_SHA",
                ForgeKind::Gitlab => "CI_COMMIT_SHA",
            };
            let commit = variable_of(env, name).ok_or_else(|| unknown_number(kind))?;
            let finding = merged_number(client, &repository, &commit);
            let number = within_limit(finding, "find the pull request", kind, &repository, env).await?;
            if number.is_none() {
                env.note(&format!("No digests: the commit {commit} was not made by merging a pull request"));
            }
            number
        }
    };
    let Some(number) = number else {
        return Ok(Exit::Success);
    };
    let target = repository.with_number(number);
    let digests = within_limit(approved_digests(client, &target), "read the comments", kind, &target, env).await?;
    if digests.is_empty() {
        env.note(&format!("No digests: {} has no comment with a plan that can be applied", target.describe()));
    }
    for digest in digests {
        env.print(&digest);
    }
    Ok(Exit::Success)
}

/// Waits for requests to the forge, at most as long as for the observation of a cluster.
async fn within_limit<T>(
    requests: impl Future<Output = Result<T, ForgeError>>,
    purpose: &str,
    kind: ForgeKind,
    target: &CommentTarget,
    env: &mut Env,
) -> Result<T, CommandError> {
    let limit = env.ops_context().connection.timeouts.observation;
    match env.interrupt().or_stop(tokio::time::timeout(limit, requests)).await {
        Some(Ok(result)) => result.map_err(|error| CommandError::from_diagnostic(diagnose(&error, kind, target))),
        Some(Err(_)) => {
            let message = format!("could not {purpose} within {} s: {}", limit.as_secs(), target.describe());
            Err(CommandError::from_diagnostic(Diagnostic::error(message).with_help("run the command again")))
        }
        None => Err(CommandError::from_diagnostic(Diagnostic::error("interrupted"))),
    }
}

/// Returns the value of a variable that is not empty.
fn variable_of(env: &Env, name: &str) -> Option<String> {
    env.vars.get(name).filter(|value| !value.is_empty()).cloned()
}

fn forge_kind(args: &CommentArgs, env: &Env) -> Result<ForgeKind, CommandError> {
    let is_set = |name: &str| env.vars.get(name).is_some_and(|value| value == "true");
    match args.forge {
        Some(kind) => Ok(kind),
        None if is_set("GITHUB_ACTIONS") => Ok(ForgeKind::Github),
        None if is_set("GITLAB_CI") => Ok(ForgeKind::Gitlab),
        None => {
            let error = Diagnostic::error("the forge of the pull request is not known")
                .with_because("neither GITHUB_ACTIONS nor GITLAB_CI is `true`")
                .with_help("pass --forge github or --forge gitlab, with --repo and --number");
            Err(CommandError::from_diagnostic(error))
        }
    }
}

fn forge_token(kind: ForgeKind, env: &Env) -> Result<ForgeToken, CommandError> {
    let names: &[&str] = match kind {
        ForgeKind::Github => &["GITHUB_TOKEN", "GH_TOKEN"],
        ForgeKind::Gitlab => &["GITLAB_TOKEN"],
    };
    if let Some(token) = names.iter().find_map(|name| variable_of(env, name)) {
        return Ok(ForgeToken::new(&token));
    }
    let error = Diagnostic::error(format!("{} is not set", names.join(" or ")));
    let error = match kind {
        ForgeKind::Github => error.with_help(
            "in a workflow, set `env: GITHUB_TOKEN: ${{ github.token }}` and `permissions: pull-requests: write`",
        ),
        ForgeKind::Gitlab => error.with_note("the CI_JOB_TOKEN of a job cannot write comments").with_help(
            "set GITLAB_TOKEN to a project access token with the scope `api` and the role Reporter or higher",
        ),
    };
    Err(CommandError::from_diagnostic(error))
}

/// Returns the repository, as the target of a pull request whose number is not known yet.
fn forge_repository(kind: ForgeKind, args: &CommentArgs, env: &Env) -> Result<CommentTarget, CommandError> {
    let missing = |what: &str, help: &str| {
        let error = Diagnostic::error(format!("the {what} is not known"));
        CommandError::from_diagnostic(error.with_help(help.to_owned()))
    };
    match kind {
        ForgeKind::Github => {
            let repo = args.repo.clone().or_else(|| variable_of(env, "GITHUB_REPOSITORY"));
            let repo = repo.ok_or_else(|| missing("repository", "pass --repo OWNER/NAME"))?;
            if !is_github_repo(&repo) {
                let error = Diagnostic::error(format!("invalid repository `{repo}`: expected OWNER/NAME"));
                return Err(CommandError::from_diagnostic(error.with_help("pass --repo OWNER/NAME")));
            }
            Ok(CommentTarget::GitHub { repo, number: 0 })
        }
        ForgeKind::Gitlab => {
            // The merge request of a fork is in the project that it will be merged into.
            let variables = ["CI_MERGE_REQUEST_PROJECT_ID", "CI_PROJECT_ID"];
            let project = args.repo.clone().or_else(|| variables.iter().find_map(|name| variable_of(env, name)));
            let project = project.ok_or_else(|| missing("project", "pass --repo with its ID or path"))?;
            Ok(CommentTarget::GitLab { project, number: 0 })
        }
    }
}

/// Returns the number of the pull request that the CI runs for.
fn number_of_run(kind: ForgeKind, env: &Env) -> Option<u64> {
    match kind {
        ForgeKind::Github => github_number(env),
        ForgeKind::Gitlab => variable_of(env, "CI_MERGE_REQUEST_IID")?.parse().ok(),
    }
}

fn unknown_number(kind: ForgeKind) -> CommandError {
    let (what, help) = match kind {
        ForgeKind::Github => ("pull request", "run on the event pull_request, or pass --number N"),
        ForgeKind::Gitlab => ("merge request", "run in a merge request pipeline, or pass --number N"),
    };
    CommandError::from_diagnostic(Diagnostic::error(format!("the number of the {what} is not known")).with_help(help))
}

/// Returns whether the text is `OWNER/NAME` of characters that GitHub allows, so that it cannot change the path of a request.
fn is_github_repo(repo: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    repo.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

/// Returns the number of the pull request from the event, or from the ref `refs/pull/N/merge`.
fn github_number(env: &Env) -> Option<u64> {
    let event = variable_of(env, "GITHUB_EVENT_PATH")
        .and_then(|path| std::fs::read_to_string(env.cwd.join(path)).ok())
        .and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let number = event.and_then(|event| {
        let is_issue_of_pull_request = event.pointer("/issue/pull_request").is_some();
        let number = event.pointer("/pull_request/number").and_then(Value::as_u64);
        number.or_else(|| event.pointer("/issue/number").and_then(Value::as_u64).filter(|_| is_issue_of_pull_request))
    });
    number.or_else(|| {
        let git_ref = variable_of(env, "GITHUB_REF")?;
        git_ref.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok()
    })
}

/// Returns the Markdown of a saved plan, or the Markdown itself.
fn comment_body(
    file: &Path,
    max_chars: Option<usize>,
    target: &CommentTarget,
    env: &mut Env,
) -> Result<String, CommandError> {
    let name = file.display().to_string();
    let text = read_document(file, env)?;
    if text.trim_start().starts_with('{') {
        let document = read_plan(file, &text, env)?;
        let max = max_chars.unwrap_or(target.max_chars()).min(target.max_chars());
        return Ok(render_plan_markdown(&document, &[], max).as_str().to_owned());
    }
    if marker_of(&text).is_none() {
        let error = Diagnostic::error(format!("{name} is neither a saved plan nor Markdown of rolecall"))
            .with_because("its first line has no marker of rolecall")
            .with_help("make it with `rolecall plan -o markdown` or `rolecall plan --out plan.json`");
        return Err(CommandError::from_diagnostic(error));
    }
    let (length, max) = (text.chars().count(), target.max_chars());
    if length > max {
        let error = Diagnostic::error(format!("{name} has {length} characters, more than a comment can have"));
        return Err(CommandError::from_diagnostic(error.with_help(format!("make it with --max-chars {max}"))));
    }
    Ok(text)
}

/// Returns the proxy of the environment for a URL.
fn proxy_for(url: &str, env: &Env) -> Option<String> {
    let host = url.split_once("://")?.1.split(['/', ':']).next()?.to_ascii_lowercase();
    let names: &[&str] = if url.starts_with("https:") { &["HTTPS_PROXY", "https_proxy"] } else { &["http_proxy"] };
    let exceptions = variable_of(env, "NO_PROXY").or_else(|| variable_of(env, "no_proxy")).unwrap_or_default();
    let is_exception = exceptions
        .split(',')
        .map(|name| name.trim().trim_start_matches('.').to_ascii_lowercase())
        .any(|name| name == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}")))));
    names.iter().find_map(|name| variable_of(env, name)).filter(|_| !is_exception)
}

fn diagnose(error: &ForgeError, kind: ForgeKind, target: &CommentTarget) -> Diagnostic {
    let diagnostic = Diagnostic::error(error.to_string());
    let (token, permission) = match kind {
        ForgeKind::Github => ("GITHUB_TOKEN", "`permissions: pull-requests: write` in the workflow"),
        ForgeKind::Gitlab => ("GITLAB_TOKEN", "the scope `api` and the role Reporter or higher"),
    };
    match error {
        ForgeError::Status { status: 401, .. } => {
            diagnostic.with_help(format!("check that {token} is complete and has not expired"))
        }
        ForgeError::Status { status: 403, .. } => diagnostic
            .with_help(format!("give the token {permission}"))
            .with_note("the token of a pull request from a fork can only read"),
        ForgeError::Status { status: 404, .. } => diagnostic
            .with_because(format!("there is no {}, or the token may not see it", target.describe()))
            .with_help(format!("check --repo and --number, and give the token {permission}")),
        ForgeError::Status { status: 422, .. } => {
            diagnostic.with_help(format!("make the text with --max-chars {}", target.max_chars()))
        }
        ForgeError::Status { status: 429, .. } => diagnostic.with_help("try again later"),
        ForgeError::Status { .. } | ForgeError::Unreachable { .. } | ForgeError::TimedOut { .. } => {
            diagnostic.with_help("try again later: a comment that was posted is found and updated")
        }
        ForgeError::Redirect { .. } | ForgeError::InvalidUrl { .. } | ForgeError::Invalid { .. } => {
            diagnostic.with_help("pass the URL of the API itself, such as --api-url https://github.example.com/api/v3")
        }
        ForgeError::InvalidToken => diagnostic.with_help(format!("check the value of {token}")),
        ForgeError::TooLong { .. } => diagnostic.with_help("raise --max-response"),
        ForgeError::TooManyComments(_) => diagnostic.with_help("remove comments that are not needed"),
        ForgeError::TooManyDigests => {
            diagnostic.with_help("save the plan with `plan --out FILE`, and apply it with `apply --plan FILE`")
        }
        ForgeError::NoMarker => diagnostic,
    }
}
