//! A double of the APIs of GitHub and GitLab on the loopback interface: comments of the pull request 12 of `org/access`.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::hostile_server::{HostileRequest, HostileServer, respond, respond_json};

/// The only token that the double accepts.
pub const TOKEN: &str = "ghs_0123456789abcdefSECRET";

/// A comment of the double.
#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub author: u64,
    pub body: String,
    pub is_system: bool,
}

/// What the forge has, and how it fails.
#[derive(Default)]
pub struct ForgeState {
    pub comments: Vec<Comment>,
    /// The next answers to writes, instead of the right ones. The comment is stored if the flag is set.
    pub faults: VecDeque<(u16, &'static str, bool)>,
    /// Whether `/user` is refused, as for the token of a workflow.
    pub has_app_token: bool,
    /// The commit that the pull request was merged as.
    pub merged_as: Option<String>,
}

pub const OWN: u64 = 7;
pub const STRANGER: u64 = 8;

pub struct ForgeDouble {
    pub server: HostileServer,
    state: Arc<Mutex<ForgeState>>,
}

impl ForgeDouble {
    pub fn new(state: ForgeState) -> Self {
        let state = Arc::new(Mutex::new(state));
        let in_server = state.clone();
        let server = HostileServer::start(move |request, stream| answer(request, stream, &in_server));
        Self { server, state }
    }

    pub fn comments(&self) -> Vec<Comment> {
        self.state.lock().unwrap().comments.clone()
    }

    /// Lets `/user` answer, as for the token of a user.
    pub fn let_user_be_read(&self) {
        self.state.lock().unwrap().has_app_token = false;
    }

    /// Merges the pull request as a commit of the main branch.
    pub fn merge(&self, commit: &str) {
        self.state.lock().unwrap().merged_as = Some(commit.to_owned());
    }

    pub fn fail_next(&self, status: u16, headers: &'static str, is_stored: bool) {
        self.state.lock().unwrap().faults.push_back((status, headers, is_stored));
    }
}

/// Answers like GitHub below `/api/v3`, and like GitLab below `/api/v4`.
fn answer(request: &HostileRequest, stream: &mut TcpStream, state: &Mutex<ForgeState>) -> std::io::Result<()> {
    let mut state = state.lock().unwrap();
    if request.authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        return respond_json(stream, 401, &json!({ "message": "Bad credentials" }));
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let to_json = |comment: &Comment| {
        json!({
            "id": comment.id, "body": comment.body, "system": comment.is_system,
            "user": { "id": comment.author, "login": if comment.author == OWN { "github-actions[bot]" } else { "mallory" } },
            "author": { "id": comment.author, "username": if comment.author == OWN { "bot" } else { "mallory" } },
        })
    };
    let is_user = path.ends_with("/user");
    if is_user && state.has_app_token {
        return respond_json(stream, 403, &json!({ "message": "Resource not accessible by integration" }));
    }
    if is_user {
        return respond_json(stream, 200, &json!({ "id": OWN, "login": "bot" }));
    }
    if path == "/api/graphql" {
        return respond_json(stream, 200, &json!({ "data": { "viewer": { "login": "github-actions[bot]" } } }));
    }
    let list = ["/api/v3/repos/org/access/issues/12/comments", "/api/v4/projects/org%2Faccess/merge_requests/12/notes"];
    let one = ["/api/v3/repos/org/access/issues/comments/", "/api/v4/projects/org%2Faccess/merge_requests/12/notes/"];
    let text =
        serde_json::from_str::<Value>(&request.body).ok().and_then(|body| Some(body["body"].as_str()?.to_owned()));
    let pulls = [
        "/api/v3/repos/org/access/commits/3f2c1d9/pulls",
        "/api/v4/projects/org%2Faccess/repository/commits/3f2c1d9/merge_requests",
    ];
    match request.method.as_str() {
        "GET" if pulls.contains(&path) => {
            let merged_at = state.merged_as.as_ref().map(|_| "2026-11-21T08:40:00Z");
            let pull = |number: u64, merged_at: Option<&str>, commit: Option<&String>| json!({ "number": number, "iid": number, "merged_at": merged_at, "merge_commit_sha": commit });
            // Another pull request has the same commit among its own.
            let all = [pull(11, None, None), pull(12, merged_at, state.merged_as.as_ref())];
            respond_json(stream, 200, &json!(all))
        }
        "GET" if list.contains(&path) => {
            let page = query.split('&').find_map(|pair| pair.strip_prefix("page=")).unwrap().parse::<usize>().unwrap();
            let comments: Vec<Value> = state.comments.iter().skip((page - 1) * 100).take(100).map(to_json).collect();
            respond_json(stream, 200, &Value::Array(comments))
        }
        "POST" if list.contains(&path) => {
            let fault = state.faults.pop_front();
            if fault.is_none_or(|(_, _, is_stored)| is_stored) {
                let id = 1000 + state.comments.len() as u64;
                state.comments.push(Comment { id, author: OWN, body: text.unwrap(), is_system: false });
            }
            match fault {
                Some((status, headers, _)) => respond(stream, status, headers, br#"{"message":"it failed"}"#),
                None => respond_json(stream, 201, &json!({ "id": 1 })),
            }
        }
        "PATCH" | "PUT" => {
            let id = one.iter().find_map(|start| path.strip_prefix(start)).unwrap().parse::<u64>().unwrap();
            state.comments.iter_mut().find(|comment| comment.id == id).unwrap().body = text.unwrap();
            respond_json(stream, 200, &json!({ "id": id }))
        }
        _ => respond_json(stream, 404, &json!({ "message": "Not Found" })),
    }
}
