//! The digests of the plans that a pull request was merged with, from the comments of the token's own user.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::client::ForgeClient;
use super::error::ForgeError;
use super::{CommentTarget, MARKER_START, comment_author, own_comments};
use crate::render::plan_markdown::TOO_MANY_DIGESTS;
use crate::report::is_digest;

/// Returns the digests of the plans in the comments of the token's user, each once.
///
/// # Errors
/// If a request fails, or a comment has no digests because it is about too many clusters.
pub(crate) async fn approved_digests(client: &ForgeClient, target: &CommentTarget) -> Result<Vec<String>, ForgeError> {
    let author = comment_author(client, target).await?;
    let own = own_comments(client, target, &author).await?;
    let mut digests = Vec::new();
    for comment in &own {
        digests.extend(digests_of(&comment.body)?);
    }
    digests.sort_unstable();
    digests.dedup();
    Ok(digests)
}

/// Returns the digests in the second line of a comment: `<!-- rolecall: approve=sha256:… -->`.
fn digests_of(body: &str) -> Result<Vec<String>, ForgeError> {
    let line = body.lines().nth(1).unwrap_or_default().trim_end();
    let list = line
        .strip_prefix(MARKER_START)
        .and_then(|rest| rest.strip_prefix("approve=")?.strip_suffix(" -->"))
        .unwrap_or_default();
    if list == TOO_MANY_DIGESTS {
        return Err(ForgeError::TooManyDigests);
    }
    let digests = list.split(',').map(|digest| percent_decode_str(digest).decode_utf8_lossy().into_owned());
    Ok(digests.filter(|digest| is_digest(digest)).collect())
}

/// Returns the number of the pull request or merge request whose merge made a commit. `repository` is a target with any
/// number. `None` if the commit was not made by a merge.
///
/// # Errors
/// If the request fails, or several were merged as this commit.
pub(crate) async fn merged_number(
    client: &ForgeClient,
    repository: &CommentTarget,
    commit: &str,
) -> Result<Option<u64>, ForgeError> {
    let operation = "find the pull request of the commit";
    let answer = client.send("GET", &repository.pulls_path(commit), None, operation).await?;
    let list = answer.as_array().ok_or_else(|| ForgeError::invalid(operation, "it is not a list"))?;
    let number = match repository {
        CommentTarget::GitHub { .. } => "number",
        CommentTarget::GitLab { .. } => "iid",
    };
    let is_merged = |pull: &&Value| pull.get("merged_at").is_some_and(|time| !time.is_null());
    // A commit of a branch that was merged later belongs to that pull request too.
    let is_its_merge = |pull: &&Value| {
        let keys = ["merge_commit_sha", "squash_commit_sha", "sha"];
        keys.iter().any(|key| pull.get(key).and_then(Value::as_str) == Some(commit))
    };
    let merged: Vec<&Value> = list.iter().filter(is_merged).collect();
    let exact: Vec<&Value> = merged.iter().copied().filter(is_its_merge).collect();
    match if exact.is_empty() { merged } else { exact }.as_slice() {
        [] => Ok(None),
        [pull] => {
            let number = pull.get(number).and_then(Value::as_u64);
            number.map(Some).ok_or_else(|| ForgeError::invalid(operation, "it has no number"))
        }
        _ => Err(ForgeError::invalid(operation, "several pull requests were merged as this commit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_only_read_from_the_second_line() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let line = format!("<!-- rolecall: approve={digest},{digest} -->");
        let marker = "<!-- rolecall: command=plan policy=a cluster=b -->";
        let too_many = line.replace(&format!("{digest},{digest}"), TOO_MANY_DIGESTS);
        assert!(digests_of(&format!("{marker}\n{too_many}")).is_err());
        let digests_of = |body: &str| digests_of(body).unwrap();
        assert_eq!(digests_of(&format!("{marker}\n{line}\ntext")), [digest.clone(), digest.clone()]);
        assert_eq!(digests_of(&format!("{marker}\r\n{line}\r\ntext")).len(), 2);
        let encoded = line.replace(':', "%3A").replace("rolecall%3A", "rolecall:");
        assert_eq!(digests_of(&format!("{marker}\n{encoded}")).len(), 2);
        for other in [
            format!("{marker}\n\n{line}"),
            line.clone(),
            format!("{marker}\n> {line}"),
            format!("{marker}\n{}", line.replace("0a", "zz")),
        ] {
            assert!(digests_of(&other).is_empty(), "{other}");
        }
    }
}
