//! aws-auth as the authenticator has it in memory: which entry answers for which caller, and which never answers.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/mapper/configmap` (`saveMap`, `RoleMapping`, `UserMapping`, `Map`) and
//! `pkg/config/mapper.go` (`Key`, `Matches`). Roles are keyed by their lower-case ARN, users by the ARN as written, so
//! that users who differ in case stay side by side and Go's map order picks one at each login.

use std::collections::BTreeMap;
use std::fmt;

use super::iam_identity::{IamIdentity, fold_case};
use crate::names::ArnError;
use crate::state::aws_auth::{Entry, EntryPrincipal, Section, SectionError};
use crate::state::config_map::{AwsAuth, principal_text};

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
pub(crate) struct MappedEntry {
    pub(crate) entry_ref: EntryRef,
    pub(crate) entry: Entry,
    /// Whom it means, spelled as there.
    iam_identity: Result<IamIdentity, ArnError>,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryStatus {
    Active,
    /// Another entry answers for the same caller.
    Shadowed {
        by: EntryRef,
    },
    /// One of several answers, another at each login.
    Ambiguous {
        with: Vec<EntryRef>,
    },
    Unmatchable(UnmatchableReason),
}

/// Why an entry never answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnmatchableReason {
    /// `sso` needs a feature of the authenticator that EKS has switched off.
    Sso,
    /// STS shows this caller as `shown`: a role without its path, or the role of a session.
    NonCanonicalArn {
        canonical: String,
    },
    InvalidArn(ArnError),
}

/// The three maps of the authenticator, and what did not get into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityMapping {
    roles: BTreeMap<String, Vec<MappedEntry>>,
    users: BTreeMap<String, Vec<MappedEntry>>,
    accounts: BTreeMap<String, EntryRef>,
    statuses: Vec<(EntryRef, EntryStatus)>,
    /// Sections that cannot be read and map nobody.
    pub(crate) unreadable: Vec<SectionError>,
}

impl IdentityMapping {
    pub(crate) fn from_aws_auth(auth: Option<&AwsAuth>) -> Self {
        let mut mapping = Self::default();
        let Some(auth) = auth else {
            return mapping;
        };
        for section in Section::ALL {
            let entries: Vec<(Entry, Option<usize>)> = match auth.parse_section(section) {
                Ok(reading) => reading.entries.into_iter().map(|found| (found.entry, Some(found.line))).collect(),
                Err(mut error) => {
                    let standing = std::mem::take(&mut error.partial_entries);
                    mapping.unreadable.push(error);
                    standing.into_iter().map(|entry| (entry, None)).collect()
                }
            };
            for (index, (entry, line)) in entries.into_iter().enumerate() {
                let place = EntryRef { section, index, line, principal: principal_text(&entry) };
                mapping.add(place, entry);
            }
        }
        mapping.compute_statuses();
        mapping
    }

    fn add(&mut self, place: EntryRef, entry: Entry) {
        let (map, arn) = match &entry.principal {
            EntryPrincipal::Account(id) => {
                if let Some(earlier) = self.accounts.insert(id.clone(), place.clone()) {
                    self.statuses.push((earlier, EntryStatus::Shadowed { by: place }));
                }
                return;
            }
            EntryPrincipal::Sso(_) => {
                self.statuses.push((place, EntryStatus::Unmatchable(UnmatchableReason::Sso)));
                return;
            }
            EntryPrincipal::Role(arn) => (&mut self.roles, arn),
            EntryPrincipal::User(arn) => (&mut self.users, arn),
        };
        let slots = map.entry(fold_case(arn)).or_default();
        let mapped =
            MappedEntry { iam_identity: IamIdentity::parse_entry_arn(&place.principal), entry_ref: place, entry };
        match slots.iter_mut().find(|slot| mapper_key(slot) == mapper_key(&mapped)) {
            Some(slot) => {
                let by = mapped.entry_ref.clone();
                let earlier = std::mem::replace(slot, mapped);
                self.statuses.push((earlier.entry_ref, EntryStatus::Shadowed { by }));
            }
            None => slots.push(mapped),
        }
    }

    /// Says of what is in the maps whether it can ever answer.
    fn compute_statuses(&mut self) {
        let Self { roles, users, accounts, statuses: standings, unreadable: _ } = self;
        let before_users = |key: &String| roles.get(key).and_then(|slots| slots.first());
        let all = roles.values().map(|slots| (slots, None));
        for (slots, rival) in all.chain(users.iter().map(|(key, slots)| (slots, before_users(key)))) {
            for slot in slots {
                let others = slots.iter().filter(|other| other.entry_ref != slot.entry_ref);
                let with: Vec<EntryRef> = others.map(|other| other.entry_ref.clone()).collect();
                let standing = match (slot.unmatchable_reason(), rival) {
                    (Some(never), _) => EntryStatus::Unmatchable(never),
                    (None, Some(role)) => EntryStatus::Shadowed { by: role.entry_ref.clone() },
                    (None, None) if with.is_empty() => EntryStatus::Active,
                    (None, None) => EntryStatus::Ambiguous { with },
                };
                standings.push((slot.entry_ref.clone(), standing));
            }
        }
        standings.extend(accounts.values().map(|place| (place.clone(), EntryStatus::Active)));
        standings.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// Every entry that counts, in the order of the text, and what it does.
    pub(crate) fn statuses(&self) -> &[(EntryRef, EntryStatus)] {
        &self.statuses
    }

    /// The entries that may answer for a caller: none, one, or several by chance.
    pub(crate) fn entries_for(&self, caller: &IamIdentity) -> &[MappedEntry] {
        let key = caller.comparison_key();
        self.roles.get(&key).or_else(|| self.users.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// The entry that admits every principal of an account.
    pub(crate) fn account_entry(&self, id: &str) -> Option<&EntryRef> {
        self.accounts.get(id)
    }

    pub(crate) fn account_ids(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// Every caller with an entry of his own that can answer, by the key that is compared.
    pub(crate) fn iam_identities(&self) -> BTreeMap<&str, IamIdentity> {
        let slots = self.users.iter().chain(&self.roles);
        slots
            .filter_map(|(key, slots)| {
                let caller =
                    slots.first()?.iam_identity.as_ref().ok().filter(|caller| caller.comparison_key() == *key)?;
                Some((key.as_str(), caller.clone()))
            })
            .collect()
    }

    /// Entries that look meant for the caller and never answer.
    pub(crate) fn near_misses(&self, caller: &IamIdentity) -> Vec<(EntryRef, UnmatchableReason)> {
        let meant = |(place, standing): &(EntryRef, EntryStatus)| match standing {
            EntryStatus::Unmatchable(never @ UnmatchableReason::NonCanonicalArn { canonical: shown })
                if fold_case(shown) == caller.comparison_key() =>
            {
                Some((place.clone(), never.clone()))
            }
            _ => None,
        };
        self.statuses.iter().filter_map(meant).collect()
    }
}

/// The key under which Go keeps the entry.
fn mapper_key(mapped: &MappedEntry) -> String {
    match mapped.entry_ref.section {
        Section::Roles => mapped.entry_ref.principal.to_lowercase(),
        Section::Users | Section::Accounts => mapped.entry_ref.principal.clone(),
    }
}

impl MappedEntry {
    fn unmatchable_reason(&self) -> Option<UnmatchableReason> {
        match &self.iam_identity {
            Err(fault) => Some(UnmatchableReason::InvalidArn(fault.clone())),
            Ok(caller) if caller.comparison_key() == fold_case(&self.entry_ref.principal) => None,
            Ok(caller) => Some(UnmatchableReason::NonCanonicalArn { canonical: caller.canonical().to_owned() }),
        }
    }
}
