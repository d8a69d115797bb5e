//! The reader against the real authenticator. `ROLECALL_PARSE_MAP` names a program that reads lines
//! `{"section": "mapRoles", "text": "…"}` and answers each with what `ParseMap` returns, as
//! `{"roles": […], "users": […], "accounts": […], "error": "…"}`; without it nothing is compared.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::corpus;
use crate::state::aws_auth::{Entry, Principal, Section, Sso, read};

/// What the authenticator has, and whether it complained.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) entries: Vec<Entry>,
    pub(crate) complained: bool,
}

pub(crate) fn section_of(key: &str) -> Section {
    let found = Section::ALL.into_iter().find(|section| section.key() == key);
    found.unwrap()
}

/// Turns the answer of a real `ParseMap` into entries.
pub(crate) fn answer_of(section: Section, answer: &Json) -> Answer {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let entry = |principal: Principal, value: &Json| Entry {
        principal,
        username: text(&value["username"]),
        groups: list(&value["groups"]).iter().map(text).collect(),
    };
    let entries = match section {
        Section::Roles => list(&answer["roles"])
            .iter()
            .map(|value| {
                let sso = &value["sso"];
                let principal = if sso.is_object() {
                    Principal::Sso(Sso {
                        permission_set_name: text(&sso["permissionSetName"]),
                        account_id: text(&sso["accountID"]),
                        partition: text(&sso["partition"]),
                    })
                } else {
                    Principal::Role(text(&value["rolearn"]))
                };
                entry(principal, value)
            })
            .collect(),
        Section::Users => {
            list(&answer["users"]).iter().map(|value| entry(Principal::User(text(&value["userarn"])), value)).collect()
        }
        Section::Accounts => {
            list(&answer["accounts"]).iter().map(|value| entry(Principal::Account(text(value)), value)).collect()
        }
    };
    Answer { entries, complained: answer["error"].is_string() }
}

/// Compares the reader with an oracle; answers how we differ.
pub(crate) fn difference(section: Section, text: &str, theirs: &Answer) -> Option<String> {
    let ours = read(section, text);
    match &ours {
        Ok(reading) => {
            let entries: Vec<_> = reading.entries.iter().map(|found| found.entry.clone()).collect();
            (entries != theirs.entries).then(|| format!("read {entries:#?}\nnot {theirs:#?}"))
        }
        Err(error) if error.standing != theirs.entries || !theirs.complained => {
            Some(format!("refused: {error}\nnot {theirs:#?}"))
        }
        Err(_) => None,
    }
}

pub(crate) struct Program {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Program {
    pub(crate) fn from_env() -> Option<Self> {
        let path = std::env::var("ROLECALL_PARSE_MAP").ok()?;
        let mut child = Command::new(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, answers })
    }

    pub(crate) fn ask(&mut self, section: &str, text: &str) -> Json {
        let question = json!({"section": section, "text": text}).to_string() + "\n";
        self.child.stdin.as_mut().unwrap().write_all(question.as_bytes()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn known() -> impl Iterator<Item = (&'static str, String)> {
    let scalars = corpus::SCALARS.iter().flat_map(|scalar| {
        [
            ("mapRoles", format!("- rolearn: a\n  username: {scalar}\n- rolearn: b\n")),
            ("mapRoles", format!("- rolearn: a\n  groups:\n  - {scalar}\n  - h\n- rolearn: b\n")),
            ("mapRoles", format!("- {{rolearn: a, username: {scalar}, groups: [{scalar}, x]}}\n")),
            ("mapRoles", format!("- rolearn: a\n  {scalar}: b\n")),
            ("mapRoles", format!("- rolearn: {scalar}\n- rolearn: b\n")),
            ("mapRoles", (*scalar).to_owned()),
            ("mapAccounts", format!("- {scalar}\n- x\n")),
            ("mapAccounts", format!("[{scalar}, x]\n")),
            ("mapAccounts", (*scalar).to_owned()),
        ]
    });
    let all =
        |key: &'static str, texts: &'static [&'static str]| texts.iter().map(move |text| (key, (*text).to_owned()));
    scalars
        .chain(all("mapRoles", corpus::ROLES))
        .chain(all("mapUsers", corpus::USERS))
        .chain(all("mapAccounts", corpus::ACCOUNTS))
}

#[test]
fn reads_every_text_as_the_authenticator_does() {
    let Some(mut program) = Program::from_env() else {
        return;
    };
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let count = usize::try_from(number("ROLECALL_TEXTS", 20_000)).unwrap();
    let made = corpus::texts(number("ROLECALL_SEED", 1)).take(count);
    let (mut compared, mut differ, mut stricter, mut read_well) = (0, 0, 0, 0);
    for (key, text) in known().chain(made) {
        let section = section_of(key);
        let json = program.ask(key, &text);
        compared += 1;
        if json["panic"] == true {
            stricter += 1;
            continue;
        }
        let theirs = answer_of(section, &json);
        read_well += usize::from(!theirs.entries.is_empty());
        let Some(found) = difference(section, &text, &theirs) else {
            continue;
        };
        if found.contains("U+") || found.contains("byte order mark") || found.contains("!!timestamp") {
            stricter += 1;
            continue;
        }
        differ += 1;
        if differ <= 5 {
            eprintln!("=== {key} {text:?}\n{found}");
        }
    }
    eprintln!("compared {compared}, with entries {read_well}, differ {differ}, knowingly stricter {stricter}");
    assert_eq!(differ, 0);
}
