//! The REST API of GitLab for notes of merge requests.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::ForgeClient;
use super::error::ForgeError;
use super::{CommentAuthor, ListedComment};

pub(super) fn notes_path(project: &str, number: u64) -> String {
    let project = utf8_percent_encode(project, NON_ALPHANUMERIC);
    format!("/projects/{project}/merge_requests/{number}/notes")
}

pub(super) fn merge_requests_path(project: &str, commit: &str) -> String {
    let [project, commit] = [project, commit].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    format!("/projects/{project}/repository/commits/{commit}/merge_requests")
}

/// Returns `None` for a note that GitLab itself wrote, such as about a push.
pub(super) fn read_note(note: &Value) -> Option<ListedComment> {
    if note.get("system").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let author = note.get("author");
    Some(ListedComment {
        id: note.get("id")?.as_u64()?,
        author_id: author.and_then(|author| author.get("id")).and_then(Value::as_u64),
        author_login: author.and_then(|author| author.get("username")).and_then(Value::as_str).map(str::to_owned),
        body: note.get("body")?.as_str()?.to_owned(),
    })
}

pub(super) async fn own_user(client: &ForgeClient) -> Result<CommentAuthor, ForgeError> {
    let operation = "read the token's user";
    let user = client.send("GET", "/user", None, operation).await?;
    let id = user.get("id").and_then(Value::as_u64);
    id.map(CommentAuthor::Id).ok_or_else(|| ForgeError::invalid(operation, "it has no `id`"))
}
