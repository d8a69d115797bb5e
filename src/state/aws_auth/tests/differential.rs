//! Differential test of the parser against the real authenticator. For every text both must have the same entries, and the
//! parser must not reject a text that the authenticator reads, except for the reasons of [`IntendedRefusal`].

use std::collections::BTreeMap;

use super::authenticator::{AuthenticatorOutput, AuthenticatorProcess};
use super::{corpus, env_number, samples};
use crate::state::aws_auth::{Entry, Section, parse_section};

pub(crate) fn parse_section_key(key: &str) -> Section {
    Section::ALL.into_iter().find(|section| section.key() == key).unwrap()
}

/// Why the parser deliberately rejects a text that the authenticator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum IntendedRefusal {
    /// go-yaml v2 treats a byte order mark inside the text as content or skips it, depending on the position of its read
    /// buffer. The meaning of an entry would depend on the length of the text before it.
    ByteOrderMark,
    /// Go's date parser decides whether a `!!timestamp` is valid, and so whether the section can be read.
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
    fn compare(&mut self, section: Section, text: &str, authenticator: &AuthenticatorOutput) {
        self.compared += 1;
        self.with_entries += usize::from(!authenticator.entries.is_empty());
        let differs = match parse_section(section, text) {
            Ok(parsed) => {
                let entries: Vec<Entry> = parsed.entries.into_iter().map(|located| located.entry).collect();
                entries != authenticator.entries || authenticator.panicked
            }
            Err(error) if error.partial_entries == authenticator.entries && !authenticator.errors.is_empty() => {
                self.refused_by_both += 1;
                false
            }
            Err(error) => match IntendedRefusal::from_message(&error.message) {
                Some(reason) => {
                    *self.stricter.entry(reason).or_default() += 1;
                    false
                }
                None => true,
            },
        };
        if differs {
            let parsed = parse_section(section, text);
            self.different.push(format!("{section} {text:?}\nparser {parsed:?}\nauthenticator {authenticator:?}"));
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
        let in_section = |section: Section| move |text: String| (section, text);
        let roles = roles.into_iter().map(in_section(Section::Roles));
        roles.chain(accounts.into_iter().map(in_section(Section::Accounts)))
    });
    let corpus_texts =
        |section: Section, texts: &'static [&'static str]| texts.iter().map(move |text| (section, (*text).to_owned()));
    scalars
        .chain(corpus_texts(Section::Roles, corpus::ROLES))
        .chain(corpus_texts(Section::Users, corpus::USERS))
        .chain(corpus_texts(Section::Accounts, corpus::ACCOUNTS))
        .chain(samples::load_samples().into_iter().map(|sample| (sample.section, sample.text)))
}

#[test]
fn parser_has_the_same_entries_as_the_authenticator_for_every_text() {
    let mut authenticator = AuthenticatorProcess::start();
    let random = corpus::random_texts(env_number("ROLECALL_SEED", 1)).take(env_number("ROLECALL_TEXTS", 20_000));
    let random = random.map(|(key, text)| (parse_section_key(key), text));
    let mut tally = DifferentialTally::default();
    for (section, text) in known_texts().chain(random) {
        let output = authenticator.parse_section(section, &text);
        tally.compare(section, &text, &output);
    }
    let DifferentialTally { compared, with_entries, refused_by_both, stricter, different } = tally;
    eprintln!(
        "{compared} texts, {with_entries} with entries, {refused_by_both} rejected by both, stricter: {stricter:?}"
    );
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different[..different.len().min(5)].join("\n\n"));
    // Fails when no text in the corpus is rejected for one of these reasons: then remove the reason from the enum.
    assert_eq!(stricter.keys().collect::<Vec<_>>(), [&IntendedRefusal::ByteOrderMark, &IntendedRefusal::Timestamp]);
    let stricter: usize = stricter.values().sum();
    assert!(stricter * 100 < compared, "{stricter} of {compared} rejected");
}
