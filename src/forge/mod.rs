//! Comments of pull requests and merge requests: finds the comment of a policy by its marker, and posts or updates it.
//!
//! A marker can be copied by anyone who may comment, so only a comment of the token's own user counts.

mod approval;
mod client;
mod error;
mod github;
mod gitlab;

pub(crate) use approval::{approved_digests, merged_number};
pub(crate) use client::{ForgeClient, ForgeToken};
pub(crate) use error::ForgeError;

use serde_json::Value;

/// The number of comments of a page.
const PAGE_SIZE: usize = 100;
/// The maximum number of pages that are read.
const MAX_PAGES: usize = 50;
/// How often a comment is looked for, if it is not known whether a request that posts it was executed.
const MAX_ATTEMPTS: usize = 3;
/// The beginning of the first line of each comment.
const MARKER_START: &str = "<!-- rolecall: ";
/// The beginning of the marker of a command that failed before there was a plan.
const FAILURE_MARKER_START: &str = "<!-- rolecall: failed=";

/// A pull request or merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommentTarget {
    /// `repo` is `OWNER/NAME`.
    GitHub { repo: String, number: u64 },
    /// `project` is the ID or the path of the project.
    GitLab { project: String, number: u64 },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommentOutcome {
    Posted,
    Updated,
    /// The comment has this text already.
    Unchanged,
}

/// The user of a token, as the forge names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CommentAuthor {
    Id(u64),
    Login(String),
}

/// A comment as it was listed.
#[derive(Debug)]
struct ListedComment {
    id: u64,
    author_id: Option<u64>,
    author_login: Option<String>,
    body: String,
}

impl CommentTarget {
    /// Returns the pull request with this number in the same repository.
    pub(crate) fn with_number(self, number: u64) -> Self {
        match self {
            Self::GitHub { repo, .. } => Self::GitHub { repo, number },
            Self::GitLab { project, .. } => Self::GitLab { project, number },
        }
    }

    /// The maximum number of characters of a comment.
    pub(crate) fn max_chars(&self) -> usize {
        match self {
            Self::GitHub { .. } => 65_536,
            Self::GitLab { .. } => 1_000_000,
        }
    }

    /// `pull request 12 of org/repo`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::GitHub { repo, number } => format!("pull request {number} of {repo}"),
            Self::GitLab { project, number } => format!("merge request {number} of project {project}"),
        }
    }

    /// The path of the comments, below the URL of the API.
    fn comments_path(&self) -> String {
        match self {
            Self::GitHub { repo, number } => github::comments_path(repo, *number),
            Self::GitLab { project, number } => gitlab::notes_path(project, *number),
        }
    }

    fn list_path(&self, page: usize) -> String {
        let path = self.comments_path();
        match self {
            Self::GitHub { .. } => format!("{path}?per_page={PAGE_SIZE}&page={page}"),
            Self::GitLab { .. } => format!("{path}?per_page={PAGE_SIZE}&page={page}&order_by=created_at&sort=asc"),
        }
    }

    /// The path of the list of pull requests or merge requests that a commit belongs to.
    fn pulls_path(&self, commit: &str) -> String {
        match self {
            Self::GitHub { repo, .. } => github::pulls_path(repo, commit),
            Self::GitLab { project, .. } => gitlab::merge_requests_path(project, commit),
        }
    }

    fn update_request(&self, id: u64) -> (&'static str, String) {
        match self {
            Self::GitHub { repo, .. } => ("PATCH", github::comment_path(repo, id)),
            Self::GitLab { .. } => ("PUT", format!("{}/{id}", self.comments_path())),
        }
    }

    fn read_comment(&self, comment: &Value) -> Option<ListedComment> {
        match self {
            Self::GitHub { .. } => github::read_comment(comment),
            Self::GitLab { .. } => gitlab::read_note(comment),
        }
    }
}

/// Returns the marker of a text: its first line.
pub(crate) fn marker_of(body: &str) -> Option<&str> {
    let line = body.lines().next().unwrap_or_default().trim_end();
    (line.starts_with(MARKER_START) && line.ends_with(" -->") && line.matches("-->").count() == 1).then_some(line)
}

/// Posts the comment, or updates the one that has the same marker. `body` begins with its marker.
///
/// # Errors
/// If a request fails. The comment may have been posted if the response was lost.
pub(crate) async fn post_or_update(
    client: &ForgeClient,
    target: &CommentTarget,
    body: &str,
) -> Result<CommentOutcome, ForgeError> {
    let marker = marker_of(body).ok_or(ForgeError::NoMarker)?;
    let author = comment_author(client, target).await?;
    let content = serde_json::json!({ "body": body });
    let mut attempts = 0;
    loop {
        attempts += 1;
        let own = own_comments(client, target, &author).await?;
        if let Some(comment) = comment_to_update(&own, marker) {
            // A forge may trim the text, or change its line breaks.
            if comment.body.replace("\r\n", "\n").trim_end() == body.trim_end() {
                return Ok(CommentOutcome::Unchanged);
            }
            let (method, path) = target.update_request(comment.id);
            client.send(method, &path, Some(&content), "update the comment").await?;
            return Ok(CommentOutcome::Updated);
        }
        match client.send("POST", &target.comments_path(), Some(&content), "post the comment").await {
            Ok(_) => return Ok(CommentOutcome::Posted),
            // It may have been posted: look again, so that there are not two.
            Err(error) if error.is_outcome_unknown() && attempts < MAX_ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the user of the token.
async fn comment_author(client: &ForgeClient, target: &CommentTarget) -> Result<CommentAuthor, ForgeError> {
    match target {
        CommentTarget::GitHub { .. } => github::own_user(client).await,
        CommentTarget::GitLab { .. } => gitlab::own_user(client).await,
    }
}

/// Returns the comment with this marker. A failure has no policy, so it replaces the only comment that there is, whose plan is
/// out of date, and is itself replaced by the next plan.
fn comment_to_update<'a>(own: &'a [ListedComment], marker: &str) -> Option<&'a ListedComment> {
    let marker_of_comment = |comment: &ListedComment| marker_of(&comment.body).map(str::to_owned);
    let same = own.iter().find(|comment| marker_of_comment(comment).as_deref() == Some(marker));
    let is_failure = |marker: &str| marker.starts_with(FAILURE_MARKER_START);
    same.or_else(|| match own {
        [only] if is_failure(marker) => Some(only),
        _ => own.iter().find(|comment| marker_of_comment(comment).is_some_and(|marker| is_failure(&marker))),
    })
}

/// Returns the comments of the token's user that have a marker, the oldest first.
async fn own_comments(
    client: &ForgeClient,
    target: &CommentTarget,
    author: &CommentAuthor,
) -> Result<Vec<ListedComment>, ForgeError> {
    let operation = "list the comments";
    let mut own = Vec::new();
    for page in 1..=MAX_PAGES {
        let answer = client.send("GET", &target.list_path(page), None, operation).await?;
        let comments = answer.as_array().ok_or_else(|| ForgeError::invalid(operation, "it is not a list"))?;
        let is_own = |comment: &ListedComment| match author {
            CommentAuthor::Id(id) => comment.author_id == Some(*id),
            CommentAuthor::Login(login) => comment.author_login.as_ref() == Some(login),
        };
        own.extend(
            comments
                .iter()
                .filter_map(|comment| target.read_comment(comment))
                .filter(is_own)
                .filter(|comment| marker_of(&comment.body).is_some()),
        );
        if comments.len() < PAGE_SIZE {
            return Ok(own);
        }
    }
    Err(ForgeError::TooManyComments(MAX_PAGES * PAGE_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_the_whole_first_line() {
        let marker = "<!-- rolecall: command=plan policy=a cluster=b -->";
        assert_eq!(marker_of(&format!("{marker}\ntext")), Some(marker));
        assert_eq!(marker_of(&format!("{marker}\r\ntext")), Some(marker));
        for other in [
            format!("> {marker}\n"),
            format!("x\n{marker}"),
            format!("{marker} x"),
            format!("{marker} -->"),
            String::new(),
        ] {
            assert_eq!(marker_of(&other), None, "{other}");
        }
    }
}
