//! aws-auth as the authenticator has it in memory: which entry answers for which caller, and which never answers.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/mapper/configmap` (`saveMap`, `RoleMapping`, `UserMapping`, `Map`) and
//! `pkg/config/mapper.go` (`Key`, `Matches`). Roles are keyed by their lower-case ARN, users by the ARN as written, so
//! that users who differ in case stay side by side and Go's map order picks one at each login.

use std::collections::BTreeMap;
use std::fmt;

use super::caller::{Caller, fold};
use crate::names::ArnFault;
use crate::state::aws_auth::{Entry, Principal, Section, SectionError};
use crate::state::mapping::{AwsAuth, principal_text};

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryRef {
    pub(crate) section: Section,
    /// Among the section's entries that count.
    pub(crate) index: usize,
    /// In the section's text, counted from 1; unknown behind an error under mapAccounts.
    pub(crate) line: Option<usize>,
    /// The principal as written.
    pub(crate) principal: String,
}

/// `arn:…:role/viewer, mapRoles line 6`.
impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.principal, self.section.key())?;
        self.line.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

/// An entry and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) place: EntryRef,
    pub(crate) entry: Entry,
    /// Whom it means, spelled as there.
    caller: Result<Caller, ArnFault>,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    InForce,
    /// Another entry answers for the same caller.
    Shadowed {
        by: EntryRef,
    },
    /// One of several answers, another at each login.
    ByChance {
        with: Vec<EntryRef>,
    },
    Never(Never),
}

/// Why an entry never answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Never {
    /// `sso` needs a feature of the authenticator that EKS has switched off.
    Sso,
    /// STS shows this caller as `shown`: a role without its path, or the role of a session.
    Spelling {
        shown: String,
    },
    NotACaller(ArnFault),
}

/// The three maps of the authenticator, and what did not get into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    roles: BTreeMap<String, Vec<Mapped>>,
    users: BTreeMap<String, Vec<Mapped>>,
    accounts: BTreeMap<String, EntryRef>,
    standings: Vec<(EntryRef, Standing)>,
    /// Sections that cannot be read and map nobody.
    pub(crate) unreadable: Vec<SectionError>,
}

impl Mapping {
    pub(crate) fn of(auth: Option<&AwsAuth>) -> Self {
        let mut mapping = Self::default();
        let Some(auth) = auth else {
            return mapping;
        };
        for section in Section::ALL {
            let entries: Vec<(Entry, Option<usize>)> = match auth.reading(section) {
                Ok(reading) => reading.entries.into_iter().map(|found| (found.entry, Some(found.line))).collect(),
                Err(mut error) => {
                    let standing = std::mem::take(&mut error.standing);
                    mapping.unreadable.push(error);
                    standing.into_iter().map(|entry| (entry, None)).collect()
                }
            };
            for (index, (entry, line)) in entries.into_iter().enumerate() {
                let place = EntryRef { section, index, line, principal: principal_text(&entry) };
                mapping.add(place, entry);
            }
        }
        mapping.weigh();
        mapping
    }

    fn add(&mut self, place: EntryRef, entry: Entry) {
        let (map, arn) = match &entry.principal {
            Principal::Account(id) => {
                if let Some(earlier) = self.accounts.insert(id.clone(), place.clone()) {
                    self.standings.push((earlier, Standing::Shadowed { by: place }));
                }
                return;
            }
            Principal::Sso(_) => {
                self.standings.push((place, Standing::Never(Never::Sso)));
                return;
            }
            Principal::Role(arn) => (&mut self.roles, arn),
            Principal::User(arn) => (&mut self.users, arn),
        };
        let slots = map.entry(fold(arn)).or_default();
        let mapped = Mapped { caller: Caller::of_entry(&place.principal), place, entry };
        match slots.iter_mut().find(|slot| go_key(slot) == go_key(&mapped)) {
            Some(slot) => {
                let by = mapped.place.clone();
                let earlier = std::mem::replace(slot, mapped);
                self.standings.push((earlier.place, Standing::Shadowed { by }));
            }
            None => slots.push(mapped),
        }
    }

    /// Says of what is in the maps whether it can ever answer.
    fn weigh(&mut self) {
        let Self { roles, users, accounts, standings, unreadable: _ } = self;
        let before_users = |key: &String| roles.get(key).and_then(|slots| slots.first());
        let all = roles.values().map(|slots| (slots, None));
        for (slots, rival) in all.chain(users.iter().map(|(key, slots)| (slots, before_users(key)))) {
            for slot in slots {
                let others = slots.iter().filter(|other| other.place != slot.place);
                let with: Vec<EntryRef> = others.map(|other| other.place.clone()).collect();
                let standing = match (slot.never(), rival) {
                    (Some(never), _) => Standing::Never(never),
                    (None, Some(role)) => Standing::Shadowed { by: role.place.clone() },
                    (None, None) if with.is_empty() => Standing::InForce,
                    (None, None) => Standing::ByChance { with },
                };
                standings.push((slot.place.clone(), standing));
            }
        }
        standings.extend(accounts.values().map(|place| (place.clone(), Standing::InForce)));
        standings.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// Every entry that counts, in the order of the text, and what it does.
    pub(crate) fn standings(&self) -> &[(EntryRef, Standing)] {
        &self.standings
    }

    /// The entries that may answer for a caller: none, one, or several by chance.
    pub(crate) fn answering(&self, caller: &Caller) -> &[Mapped] {
        let key = caller.key();
        self.roles.get(&key).or_else(|| self.users.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// The entry that admits every principal of an account.
    pub(crate) fn account(&self, id: &str) -> Option<&EntryRef> {
        self.accounts.get(id)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// Every caller with an entry of his own that can answer, by the key that is compared.
    pub(crate) fn callers(&self) -> BTreeMap<&str, Caller> {
        let slots = self.users.iter().chain(&self.roles);
        slots
            .filter_map(|(key, slots)| {
                let caller = slots.first()?.caller.as_ref().ok().filter(|caller| caller.key() == *key)?;
                Some((key.as_str(), caller.clone()))
            })
            .collect()
    }

    /// Entries that look meant for the caller and never answer.
    pub(crate) fn meant_for(&self, caller: &Caller) -> Vec<(EntryRef, Never)> {
        let meant = |(place, standing): &(EntryRef, Standing)| match standing {
            Standing::Never(never @ Never::Spelling { shown }) if fold(shown) == caller.key() => {
                Some((place.clone(), never.clone()))
            }
            _ => None,
        };
        self.standings.iter().filter_map(meant).collect()
    }
}

/// The key under which Go keeps the entry.
fn go_key(mapped: &Mapped) -> String {
    match mapped.place.section {
        Section::Roles => mapped.place.principal.to_lowercase(),
        Section::Users | Section::Accounts => mapped.place.principal.clone(),
    }
}

impl Mapped {
    fn never(&self) -> Option<Never> {
        match &self.caller {
            Err(fault) => Some(Never::NotACaller(fault.clone())),
            Ok(caller) if caller.key() == fold(&self.place.principal) => None,
            Ok(caller) => Some(Never::Spelling { shown: caller.canonical().to_owned() }),
        }
    }
}
