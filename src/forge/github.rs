//! The REST API of GitHub for comments of pull requests, which are comments of issues.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::client::ForgeClient;
use super::error::ForgeError;
use super::{CommentAuthor, ListedComment};

pub(super) fn comments_path(repo: &str, number: u64) -> String {
    format!("/repos/{repo}/issues/{number}/comments")
}

pub(super) fn pulls_path(repo: &str, commit: &str) -> String {
    format!("/repos/{repo}/commits/{}/pulls", utf8_percent_encode(commit, NON_ALPHANUMERIC))
}

pub(super) fn comment_path(repo: &str, id: u64) -> String {
    format!("/repos/{repo}/issues/comments/{id}")
}

pub(super) fn read_comment(comment: &Value) -> Option<ListedComment> {
    let user = comment.get("user");
    Some(ListedComment {
        id: comment.get("id")?.as_u64()?,
        author_id: user.and_then(|user| user.get("id")).and_then(Value::as_u64),
        author_login: user.and_then(|user| user.get("login")).and_then(Value::as_str).map(str::to_owned),
        body: comment.get("body")?.as_str()?.to_owned(),
    })
}

/// Returns the user of the token. The token of a workflow is that of an app, which `/user` does not answer; GraphQL answers it
/// with the login of its bot.
pub(super) async fn own_user(client: &ForgeClient) -> Result<CommentAuthor, ForgeError> {
    let operation = "read the token's user";
    match client.send("GET", "/user", None, operation).await {
        Ok(user) => {
            let id = user.get("id").and_then(Value::as_u64);
            return id.map(CommentAuthor::Id).ok_or_else(|| ForgeError::invalid(operation, "it has no `id`"));
        }
        Err(ForgeError::Status { status: 403 | 404, .. }) => {}
        Err(error) => return Err(error),
    }
    let query = json!({ "query": "query { viewer { login } }" });
    let answer = client.send_graphql(&query, operation).await?;
    let login = answer.pointer("/data/viewer/login").and_then(Value::as_str).filter(|login| !login.is_empty());
    login
        .map(|login| CommentAuthor::Login(login.to_owned()))
        .ok_or_else(|| ForgeError::invalid(operation, "it has no `login`"))
}
