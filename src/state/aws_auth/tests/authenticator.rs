//! The real authenticator's parser, `ParseMap`, as a child process: the program of the test cluster without its
//! servers, a question and an answer on a line each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::state::aws_auth::{Entry, Principal, Section, Sso};

/// What the authenticator has of a section.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) entries: Vec<Entry>,
    pub(crate) errors: Vec<String>,
    /// The parser went down, and a real authenticator would have gone with it.
    pub(crate) panicked: bool,
}

pub(crate) struct Authenticator {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Authenticator {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(crate::test_cluster::bed::program());
        let piped = command.arg("parse").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    pub(crate) fn read(&mut self, section: Section, text: &str) -> Answer {
        let mut question = json!({ "data": { section.key(): text } }).to_string();
        question.push('\n');
        self.questions.as_mut().unwrap().write_all(question.as_bytes()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        answer_of(section, &serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Authenticator {
    fn drop(&mut self) {
        // The end of its questions ends it.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

fn answer_of(section: Section, answer: &Json) -> Answer {
    let entry = |principal: Principal, value: &Json| Entry {
        principal,
        username: text(&value["username"]),
        groups: list(&value["groups"]).iter().map(text).collect(),
    };
    let (key, principal): (_, fn(&Json) -> Principal) = match section {
        Section::Roles => ("roles", role_of),
        Section::Users => ("users", |value| Principal::User(text(&value["userarn"]))),
        Section::Accounts => ("accounts", |value| Principal::Account(text(value))),
    };
    Answer {
        entries: list(&answer[key]).iter().map(|value| entry(principal(value), value)).collect(),
        errors: list(&answer["errors"]).iter().map(text).collect(),
        panicked: answer["panic"].is_string(),
    }
}

fn role_of(value: &Json) -> Principal {
    let sso = &value["sso"];
    if !sso.is_object() {
        return Principal::Role(text(&value["rolearn"]));
    }
    Principal::Sso(Sso {
        permission_set_name: text(&sso["permissionSetName"]),
        account_id: text(&sso["accountID"]),
        partition: text(&sso["partition"]),
    })
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Json) -> Vec<Json> {
    value.as_array().cloned().unwrap_or_default()
}
