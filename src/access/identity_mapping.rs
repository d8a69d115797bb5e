//! aws-auth as the authenticator keeps it in memory: which entry matches which IAM identity, and which entry never
//! matches.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/mapper/configmap` (`saveMap`, `RoleMapping`, `UserMapping`, `Map`) and
//! `pkg/config/mapper.go` (`Key`, `Matches`). The key of a role is its ARN in lower case, the key of a user is its ARN
//! as written. So several users whose ARNs differ in case only are all kept, and the order of a Go map decides for each
//! token which of them matches.

use std::collections::BTreeMap;
use std::fmt;

use super::iam_identity::{IamIdentity, fold_case};
use crate::names::{AccountId, ArnError};
use crate::state::aws_auth::{Entry, EntryPrincipal, Section, SectionError};
use crate::state::config_map::{AwsAuth, principal_text};

/// A reference to an aws-auth entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryRef {
    pub(crate) section: Section,
    /// The index among the entries of the section that the authenticator accepts.
    pub(crate) index: usize,
    /// 1-based line number in the text of the section. `None` for entries of a mapAccounts section that has an error,
    /// which the authenticator keeps up to the error.
    pub(crate) line: Option<usize>,
    /// The principal as written in the entry.
    pub(crate) principal: String,
}

/// Formatted as `arn:…:role/viewer, mapRoles line 6`.
impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.principal, self.section.key())?;
        self.line.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

/// An entry of mapRoles or mapUsers that the authenticator keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedEntry {
    pub(crate) entry_ref: EntryRef,
    pub(crate) entry: Entry,
    /// The parsed ARN of the entry.
    iam_identity: Result<IamIdentity, ArnError>,
}

/// Whether an entry can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryStatus {
    Active,
    /// Another entry matches the same principal instead.
    Shadowed {
        by: EntryRef,
    },
    /// Several entries match the same principal, and the authenticator chooses one at random for each token.
    Ambiguous,
    Unmatchable(UnmatchableReason),
}

/// Why an entry never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnmatchableReason {
    /// The key `sso` needs a feature of the authenticator that EKS has disabled.
    Sso,
    /// STS reports the principal with the ARN `canonical`: a role without its path, or the role of a session.
    NonCanonicalArn {
        canonical: String,
    },
    InvalidArn(ArnError),
}

/// The three maps of the authenticator, and the status of every entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityMapping {
    roles: BTreeMap<String, Vec<MappedEntry>>,
    users: BTreeMap<String, Vec<MappedEntry>>,
    accounts: BTreeMap<String, EntryRef>,
    statuses: Vec<(EntryRef, EntryStatus)>,
    /// Whether the ConfigMap exists.
    pub(super) exists: bool,
    /// Sections that cannot be parsed.
    pub(crate) unreadable: Vec<SectionError>,
}

impl IdentityMapping {
    pub(crate) fn from_aws_auth(auth: Option<&AwsAuth>) -> Self {
        let mut mapping = Self::default();
        let Some(auth) = auth else {
            return mapping;
        };
        mapping.exists = true;
        let mut positions = BTreeMap::new();
        for section in Section::ALL {
            let entries: Vec<(Entry, Option<usize>)> = match auth.parse_section(section) {
                Ok(parsed) => parsed.entries.into_iter().map(|parsed| (parsed.entry, Some(parsed.line))).collect(),
                Err(mut error) => {
                    let partial_entries = std::mem::take(&mut error.partial_entries);
                    mapping.unreadable.push(error);
                    partial_entries.into_iter().map(|entry| (entry, None)).collect()
                }
            };
            for (index, (entry, line)) in entries.into_iter().enumerate() {
                let entry_ref = EntryRef { section, index, line, principal: principal_text(&entry) };
                mapping.add(entry_ref, entry, &mut positions);
            }
        }
        mapping.compute_statuses();
        mapping
    }

    /// Adds an entry. `positions` are those of the earlier entries in the list of their ARN, by section and key.
    fn add(&mut self, entry_ref: EntryRef, entry: Entry, positions: &mut BTreeMap<(Section, String), usize>) {
        let (map, arn) = match &entry.principal {
            EntryPrincipal::Account(id) if AccountId::parse(id).is_none() => {
                let reason = UnmatchableReason::InvalidArn(ArnError::InvalidAccount(id.clone()));
                self.statuses.push((entry_ref, EntryStatus::Unmatchable(reason)));
                return;
            }
            EntryPrincipal::Account(id) => {
                if let Some(earlier) = self.accounts.insert(id.clone(), entry_ref.clone()) {
                    self.statuses.push((earlier, EntryStatus::Shadowed { by: entry_ref }));
                }
                return;
            }
            EntryPrincipal::Sso(_) => {
                self.statuses.push((entry_ref, EntryStatus::Unmatchable(UnmatchableReason::Sso)));
                return;
            }
            EntryPrincipal::Role(arn) => (&mut self.roles, arn),
            EntryPrincipal::User(arn) => (&mut self.users, arn),
        };
        let same_arn = map.entry(fold_case(arn)).or_default();
        let mapped = MappedEntry { iam_identity: IamIdentity::parse_entry_arn(&entry_ref.principal), entry_ref, entry };
        let position = *positions.entry((mapped.entry_ref.section, mapper_key(&mapped))).or_insert(same_arn.len());
        match same_arn.get_mut(position) {
            Some(earlier) => {
                let by = mapped.entry_ref.clone();
                let replaced = std::mem::replace(earlier, mapped);
                self.statuses.push((replaced.entry_ref, EntryStatus::Shadowed { by }));
            }
            None => same_arn.push(mapped),
        }
    }

    /// Computes the status of the entries that no later entry of the same key has replaced.
    fn compute_statuses(&mut self) {
        let Self { roles, users, accounts, statuses, exists: _, unreadable: _ } = self;
        // The authenticator looks up an ARN in mapRoles first, so a role entry takes precedence over a user entry.
        let role_entry = |key: &String| roles.get(key).and_then(|entries| entries.first());
        let role_entries = roles.values().map(|entries| (entries, None));
        let user_entries = users.iter().map(|(key, entries)| (entries, role_entry(key)));
        for (entries, preferred) in role_entries.chain(user_entries) {
            for mapped in entries {
                let status = match (mapped.unmatchable_reason(), preferred) {
                    (Some(reason), _) => EntryStatus::Unmatchable(reason),
                    (None, Some(role)) => EntryStatus::Shadowed { by: role.entry_ref.clone() },
                    (None, None) if entries.len() == 1 => EntryStatus::Active,
                    (None, None) => EntryStatus::Ambiguous,
                };
                statuses.push((mapped.entry_ref.clone(), status));
            }
        }
        statuses.extend(accounts.values().map(|entry_ref| (entry_ref.clone(), EntryStatus::Active)));
        statuses.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// Returns the status of every entry that the authenticator accepts, in the order of the text.
    pub(crate) fn statuses(&self) -> &[(EntryRef, EntryStatus)] {
        &self.statuses
    }

    /// Returns the entries that can match an IAM identity. If there are several, the authenticator chooses one at
    /// random.
    pub(crate) fn entries_for(&self, iam_identity: &IamIdentity) -> &[MappedEntry] {
        let key = iam_identity.comparison_key();
        self.roles.get(&key).or_else(|| self.users.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// Returns the mapAccounts entry that maps every principal of an account.
    pub(crate) fn account_entry(&self, id: &str) -> Option<&EntryRef> {
        self.accounts.get(id)
    }

    pub(crate) fn account_ids(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// Returns every IAM identity that an entry of mapRoles or mapUsers matches, by the key that the authenticator
    /// compares.
    pub(crate) fn iam_identities(&self) -> BTreeMap<&str, IamIdentity> {
        let by_key = self.users.iter().chain(&self.roles);
        by_key
            .filter_map(|(key, entries)| {
                let iam_identity = entries.first()?.iam_identity.as_ref().ok()?;
                (iam_identity.comparison_key() == *key).then(|| (key.as_str(), iam_identity.clone()))
            })
            .collect()
    }

    /// Returns the username of every entry of mapRoles and mapUsers that can match, before placeholders are replaced.
    pub(super) fn usernames(&self) -> impl Iterator<Item = (&IamIdentity, &str)> {
        let by_role = self.roles.values().flatten();
        let by_user =
            self.users.iter().filter(|(key, _)| !self.roles.contains_key(*key)).flat_map(|(_, entries)| entries);
        by_role
            .chain(by_user)
            .filter(|mapped| mapped.unmatchable_reason().is_none())
            .filter_map(|mapped| Some((mapped.iam_identity.as_ref().ok()?, mapped.entry.username.as_str())))
    }

    /// Returns the entries that seem to name an IAM identity but never match it, because they spell its ARN in another
    /// way than STS.
    pub(crate) fn near_misses(&self, iam_identity: &IamIdentity) -> Vec<(EntryRef, UnmatchableReason)> {
        let near_miss = |(entry_ref, status): &(EntryRef, EntryStatus)| match status {
            EntryStatus::Unmatchable(reason @ UnmatchableReason::NonCanonicalArn { canonical })
                if fold_case(canonical) == iam_identity.comparison_key() =>
            {
                Some((entry_ref.clone(), reason.clone()))
            }
            _ => None,
        };
        self.statuses.iter().filter_map(near_miss).collect()
    }
}

/// Returns the key of the entry in the authenticator's map.
fn mapper_key(mapped: &MappedEntry) -> String {
    match mapped.entry_ref.section {
        Section::Roles => mapped.entry_ref.principal.to_lowercase(),
        Section::Users | Section::Accounts => mapped.entry_ref.principal.clone(),
    }
}

impl MappedEntry {
    fn unmatchable_reason(&self) -> Option<UnmatchableReason> {
        match &self.iam_identity {
            Err(error) => Some(UnmatchableReason::InvalidArn(error.clone())),
            Ok(iam_identity) if iam_identity.comparison_key() == fold_case(&self.entry_ref.principal) => None,
            Ok(iam_identity) => {
                Some(UnmatchableReason::NonCanonicalArn { canonical: iam_identity.canonical().to_owned() })
            }
        }
    }
}
