//! The real authenticator's parser, `ParseMap`, as a child process. It is the program of the test cluster without its
//! servers. Requests and responses are JSON documents of one line each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::state::aws_auth::{Entry, EntryPrincipal, Section, SsoArnMatcher};

/// A section as the authenticator has it.
#[derive(Debug, PartialEq)]
pub(crate) struct AuthenticatorOutput {
    pub(crate) entries: Vec<Entry>,
    pub(crate) errors: Vec<String>,
    /// The parser panicked. A real authenticator would have crashed.
    pub(crate) panicked: bool,
}

pub(crate) struct AuthenticatorProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl AuthenticatorProcess {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(crate::test_cluster::binary::path());
        let piped = command.arg("parse").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    pub(crate) fn parse_section(&mut self, section: Section, text: &str) -> AuthenticatorOutput {
        let mut request = json!({ "data": { section.key(): text } }).to_string();
        request.push('\n');
        self.input.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        parse_output(section, &serde_json::from_str(&line).unwrap())
    }
}

impl Drop for AuthenticatorProcess {
    fn drop(&mut self) {
        // The process exits when its stdin is closed.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn parse_output(section: Section, response: &Json) -> AuthenticatorOutput {
    let entry = |principal: EntryPrincipal, value: &Json| Entry {
        principal,
        username: text_value(&value["username"]),
        groups: list_value(&value["groups"]).iter().map(text_value).collect(),
    };
    let (key, principal): (_, fn(&Json) -> EntryPrincipal) = match section {
        Section::Roles => ("roles", parse_role),
        Section::Users => ("users", |value| EntryPrincipal::User(text_value(&value["userarn"]))),
        Section::Accounts => ("accounts", |value| EntryPrincipal::Account(text_value(value))),
    };
    AuthenticatorOutput {
        entries: list_value(&response[key]).iter().map(|value| entry(principal(value), value)).collect(),
        errors: list_value(&response["errors"]).iter().map(text_value).collect(),
        panicked: response["panic"].is_string(),
    }
}

fn parse_role(value: &Json) -> EntryPrincipal {
    let sso = &value["sso"];
    if !sso.is_object() {
        return EntryPrincipal::Role(text_value(&value["rolearn"]));
    }
    EntryPrincipal::Sso(SsoArnMatcher {
        permission_set_name: text_value(&sso["permissionSetName"]),
        account_id: text_value(&sso["accountID"]),
        partition: text_value(&sso["partition"]),
    })
}

fn text_value(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list_value(value: &Json) -> Vec<Json> {
    value.as_array().cloned().unwrap_or_default()
}
