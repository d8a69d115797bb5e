//! The reader against the real authenticator: for every text the same entries, and no text refused that it reads,
//! but those where strictness is meant.

use std::collections::BTreeMap;

use super::authenticator::{AuthenticatorOutput, AuthenticatorProcess};
use super::{corpus, env_number, samples};
use crate::state::aws_auth::{Entry, Section, parse_section};

pub(crate) fn parse_section_key(key: &str) -> Section {
    Section::ALL.into_iter().find(|section| section.key() == key).unwrap()
}

/// Where the reader refuses on purpose what the authenticator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum IntendedRefusal {
    /// go-yaml v2 takes a byte order mark within a text as content, or skips it, by where its read buffer ends: what
    /// the same entry says would hang on the length of what stands before it.
    ByteOrderMark,
    /// Whether `!!timestamp` is a date, and the section readable, is decided by Go's date parser.
    Timestamp,
}

impl IntendedRefusal {
    fn from_message(message: &str) -> Option<Self> {
        match message {
            "a byte order mark inside the text is not allowed" => Some(Self::ByteOrderMark),
            "the tag `!!timestamp` is not supported" => Some(Self::Timestamp),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct DifferentialTally {
    compared: usize,
    with_entries: usize,
    refused_by_both: usize,
    stricter: BTreeMap<IntendedRefusal, usize>,
    different: Vec<String>,
}

impl DifferentialTally {
    fn compare(&mut self, section: Section, text: &str, theirs: &AuthenticatorOutput) {
        self.compared += 1;
        self.with_entries += usize::from(!theirs.entries.is_empty());
        let differs = match parse_section(section, text) {
            Ok(reading) => {
                let ours: Vec<Entry> = reading.entries.into_iter().map(|found| found.entry).collect();
                ours != theirs.entries || theirs.panicked
            }
            Err(error) if error.partial_entries == theirs.entries && !theirs.errors.is_empty() => {
                self.refused_by_both += 1;
                false
            }
            Err(error) => match IntendedRefusal::from_message(&error.message) {
                Some(why) => {
                    *self.stricter.entry(why).or_default() += 1;
                    false
                }
                None => true,
            },
        };
        if differs {
            self.different
                .push(format!("{section} {text:?}\nours {:?}\ntheirs {theirs:?}", parse_section(section, text)));
        }
    }
}

fn known_texts() -> impl Iterator<Item = (Section, String)> {
    let scalars = corpus::SCALARS.iter().flat_map(|scalar| {
        let roles = [
            format!("- rolearn: a\n  username: {scalar}\n- rolearn: b\n"),
            format!("- rolearn: a\n  groups:\n  - {scalar}\n  - h\n- rolearn: b\n"),
            format!("- {{rolearn: a, username: {scalar}, groups: [{scalar}, x]}}\n"),
            format!("- rolearn: a\n  {scalar}: b\n"),
            format!("- rolearn: {scalar}\n- rolearn: b\n"),
            (*scalar).to_owned(),
        ];
        let accounts = [format!("- {scalar}\n- x\n"), format!("[{scalar}, x]\n"), (*scalar).to_owned()];
        let of = |section: Section| move |text: String| (section, text);
        roles.into_iter().map(of(Section::Roles)).chain(accounts.into_iter().map(of(Section::Accounts)))
    });
    let all =
        |section: Section, texts: &'static [&'static str]| texts.iter().map(move |text| (section, (*text).to_owned()));
    scalars
        .chain(all(Section::Roles, corpus::ROLES))
        .chain(all(Section::Users, corpus::USERS))
        .chain(all(Section::Accounts, corpus::ACCOUNTS))
        .chain(samples::load_samples().into_iter().map(|text| (text.section, text.text)))
}

#[test]
fn every_text_reads_as_the_authenticator_reads_it() {
    let mut authenticator = AuthenticatorProcess::start();
    let made = corpus::random_texts(env_number("ROLECALL_SEED", 1)).take(env_number("ROLECALL_TEXTS", 20_000));
    let made = made.map(|(key, text)| (parse_section_key(key), text));
    let mut tally = DifferentialTally::default();
    for (section, text) in known_texts().chain(made) {
        let theirs = authenticator.parse_section(section, &text);
        tally.compare(section, &text, &theirs);
    }
    let DifferentialTally { compared, with_entries, refused_by_both, stricter, different } = tally;
    eprintln!(
        "{compared} texts, {with_entries} with entries, {refused_by_both} refused by both, stricter: {stricter:?}"
    );
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different[..different.len().min(5)].join("\n\n"));
    // A reason that no text needs any more is to be deleted.
    assert_eq!(stricter.keys().collect::<Vec<_>>(), [&IntendedRefusal::ByteOrderMark, &IntendedRefusal::Timestamp]);
    let stricter: usize = stricter.values().sum();
    assert!(stricter * 100 < compared, "{stricter} refused of {compared}");
}
