//! The entries of access entries and aws-auth as the authenticator keeps them: which entry matches which IAM identity, and
//! which entry never matches.
//!
//! An access entry takes precedence over every entry of aws-auth for its principal, and in the authentication mode API the
//! cluster does not read aws-auth (Amazon EKS User Guide, "Migrating existing aws-auth ConfigMap entries to access entries").
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/mapper/configmap` (`saveMap`, `RoleMapping`, `UserMapping`, `Map`) and
//! `pkg/config/mapper.go` (`Key`, `Matches`). The key of a role is its ARN in lower case, the key of a user is its ARN
//! as written. So several users whose ARNs differ in case only are all kept, and the order of a Go map decides for each
//! token which of them matches.

use std::collections::BTreeMap;
use std::fmt;

use super::iam_identity::{IamIdentity, fold_case};
use super::identity::{Authentication, SubjectQuery};
use crate::names::{AccountId, ArnError};
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::{Entry, EntryPrincipal, Section, SectionError};
use crate::state::config_map::{AwsAuth, principal_text};

/// The store of an entry, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryPlace {
    /// The access entry of the principal.
    AccessEntry,
    AwsAuth {
        section: Section,
        /// The index among the entries of the section that the authenticator accepts.
        index: usize,
        /// 1-based line number in the text of the section. `None` for entries of a mapAccounts section that has an error,
        /// which the authenticator keeps up to the error.
        line: Option<usize>,
    },
}

/// A reference to an entry that maps a principal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryRef {
    pub(crate) place: EntryPlace,
    /// The principal as written in the entry.
    pub(crate) principal: String,
}

impl UnmatchableReason {
    /// Completes a sentence that starts with the entry, such as `the authenticator receives the ARN …`.
    pub(crate) fn explain(&self) -> String {
        match self {
            Self::Sso => "EKS does not enable `sso` entries".to_owned(),
            Self::NonCanonicalArn { canonical } => format!("the authenticator receives the ARN {canonical}"),
            Self::InvalidArn(error) => error.to_string(),
            Self::AwsAuthNotRead => "the cluster does not read aws-auth (authentication mode API)".to_owned(),
        }
    }
}

impl EntryRef {
    /// Returns the entry with its store, such as `aws-auth entry arn:…:role/viewer, mapRoles line 6`.
    pub(crate) fn with_store(&self) -> String {
        match self.place {
            EntryPlace::AccessEntry => format!("access entry {}", self.principal),
            EntryPlace::AwsAuth { .. } => format!("aws-auth entry {self}"),
        }
    }

    /// Returns the section of an entry of aws-auth. `None` for an access entry.
    pub(crate) fn section(&self) -> Option<Section> {
        match self.place {
            EntryPlace::AccessEntry => None,
            EntryPlace::AwsAuth { section, .. } => Some(section),
        }
    }

    /// Returns the section of an entry of aws-auth, and its index in it. `None` for an access entry.
    pub(crate) fn position_in_aws_auth(&self) -> Option<(Section, usize)> {
        match self.place {
            EntryPlace::AccessEntry => None,
            EntryPlace::AwsAuth { section, index, line: _ } => Some((section, index)),
        }
    }

    /// Returns whether the entry is in aws-auth.
    pub(crate) fn is_in_aws_auth(&self) -> bool {
        self.place != EntryPlace::AccessEntry
    }
}

/// Formatted as `access entry` or `mapRoles line 6`.
impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessEntry => f.write_str("access entry"),
            Self::AwsAuth { section, index: _, line } => {
                f.write_str(section.key())?;
                line.map_or(Ok(()), |line| write!(f, " line {line}"))
            }
        }
    }
}

/// Formatted as `arn:…:role/viewer, mapRoles line 6`.
impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.principal, self.place)
    }
}

/// An access entry, or an entry of mapRoles or mapUsers that the authenticator keeps.
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
    /// The entry is in aws-auth, which the cluster does not read in the authentication mode API.
    AwsAuthNotRead,
}

/// Whether a cluster reads aws-auth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum AwsAuthUse {
    #[default]
    Missing,
    Read,
    /// The authentication mode is API.
    NotRead,
}

/// Access entries and the three maps of aws-auth, and the status of every entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityMapping {
    /// By the key that the authenticator compares. There can be several for one role, if the role was created again with
    /// another path: which of them is of the role that exists is not known.
    access_entries: BTreeMap<String, Vec<MappedEntry>>,
    roles: BTreeMap<String, Vec<MappedEntry>>,
    users: BTreeMap<String, Vec<MappedEntry>>,
    accounts: BTreeMap<String, EntryRef>,
    statuses: Vec<(EntryRef, EntryStatus)>,
    pub(super) aws_auth: AwsAuthUse,
    /// Why the access entries of the cluster, which has such, are not known.
    pub(crate) unknown_access_entries: Option<String>,
    /// Sections that cannot be parsed.
    pub(crate) unreadable: Vec<SectionError>,
}

impl IdentityMapping {
    /// Returns the mapping of a cluster.
    pub(crate) fn from_state(state: &State) -> Self {
        let mode = match &state.auth_mode {
            ObservedAuthMode::Known(mode) => Some(mode),
            ObservedAuthMode::NotAsked | ObservedAuthMode::Unknown(_) => None,
        };
        let mut mapping = Self::default();
        if mode != Some(&ClusterAuthMode::ConfigMap) {
            mapping.add_access_entries(state.access_entries.iter().map(|(_, entry)| entry));
            mapping.unknown_access_entries = match (mode, &state.access_entries.status) {
                (Some(ClusterAuthMode::Other(mode)), _) => {
                    Some(format!("the authentication mode {mode} is not known to this version of rolecall"))
                }
                // Whether the cluster has access entries at all is not known, which every answer warns of.
                (None, _) | (_, AccessEntriesStatus::Known) => None,
                (Some(_), AccessEntriesStatus::Unknown(reason)) => Some(reason.clone()),
                (Some(_), AccessEntriesStatus::NotAsked) => Some("they were not read".to_owned()),
            };
        }
        mapping.add_aws_auth(state.aws_auth.as_ref(), mode == Some(&ClusterAuthMode::Api));
        mapping.compute_statuses();
        mapping
    }

    /// Returns the mapping of a cluster without access entries.
    pub(crate) fn from_aws_auth(auth: Option<&AwsAuth>) -> Self {
        let mut mapping = Self::default();
        mapping.add_aws_auth(auth, false);
        mapping.compute_statuses();
        mapping
    }

    /// Replaces or removes the access entry of a principal. The statuses stay those of the original entries.
    pub(crate) fn set_access_entry(&mut self, principal: &str, entry: Option<&AccessEntry>) {
        for entries in self.access_entries.values_mut() {
            entries.retain(|mapped| mapped.entry_ref.principal != principal);
        }
        self.access_entries.retain(|_, entries| !entries.is_empty());
        self.add_access_entries(entry);
    }

    /// Authenticates a subject.
    pub(crate) fn authenticate(&self, query: &SubjectQuery) -> Authentication {
        Authentication::for_query(query, self)
    }

    fn add_access_entries<'e>(&mut self, entries: impl IntoIterator<Item = &'e AccessEntry>) {
        for access_entry in entries {
            let arn = access_entry.principal();
            let principal = match arn.split_once(":user/") {
                Some(_) => EntryPrincipal::User(arn.to_owned()),
                None => EntryPrincipal::Role(arn.to_owned()),
            };
            let (username, groups) = (access_entry.username.clone(), access_entry.groups.clone());
            let entry_ref = EntryRef { place: EntryPlace::AccessEntry, principal: arn.to_owned() };
            // Unlike aws-auth, EKS knows the principal by its unique id, so a role matches with its path.
            let iam_identity = IamIdentity::parse(arn);
            let key = match &iam_identity {
                Ok(iam_identity) => iam_identity.comparison_key(),
                Err(_) => fold_case(arn),
            };
            let entry = Entry { principal, username, groups };
            self.access_entries.entry(key).or_default().push(MappedEntry { entry_ref, entry, iam_identity });
        }
    }

    fn add_aws_auth(&mut self, auth: Option<&AwsAuth>, is_not_read: bool) {
        let Some(auth) = auth else {
            return;
        };
        let mapping = self;
        mapping.aws_auth = if is_not_read { AwsAuthUse::NotRead } else { AwsAuthUse::Read };
        let mut positions = BTreeMap::new();
        for section in Section::ALL {
            let entries: Vec<(Entry, Option<usize>)> = match auth.parse_section(section) {
                Ok(parsed) => parsed.entries.into_iter().map(|parsed| (parsed.entry, Some(parsed.line))).collect(),
                Err(mut error) => {
                    let partial_entries = std::mem::take(&mut error.partial_entries);
                    // What cannot be read has no effect if nothing is read.
                    if !is_not_read {
                        mapping.unreadable.push(error);
                    }
                    partial_entries.into_iter().map(|entry| (entry, None)).collect()
                }
            };
            for (index, (entry, line)) in entries.into_iter().enumerate() {
                let place = EntryPlace::AwsAuth { section, index, line };
                let entry_ref = EntryRef { place, principal: principal_text(&entry) };
                if is_not_read {
                    mapping.statuses.push((entry_ref, EntryStatus::Unmatchable(UnmatchableReason::AwsAuthNotRead)));
                } else {
                    mapping.add(section, entry_ref, entry, &mut positions);
                }
            }
        }
    }

    /// Adds an entry. `positions` are those of the earlier entries in the list of their ARN, by section and key.
    fn add(
        &mut self,
        section: Section,
        entry_ref: EntryRef,
        entry: Entry,
        positions: &mut BTreeMap<(Section, String), usize>,
    ) {
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
        let position = *positions.entry((section, mapper_key(section, &mapped))).or_insert(same_arn.len());
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
        let Self { access_entries, roles, users, accounts, statuses, .. } = self;
        let first = |entries: &BTreeMap<String, Vec<MappedEntry>>, key: &String| {
            entries.get(key).and_then(|entries| Some(entries.first()?.entry_ref.clone()))
        };
        // The authenticator looks up an ARN in mapRoles first, so a role entry takes precedence over a user entry.
        let all_access_entries = access_entries.values().map(|entries| (entries, None));
        let role_entries = roles.iter().map(|(key, entries)| (entries, first(access_entries, key)));
        let user_entries =
            users.iter().map(|(key, entries)| (entries, first(access_entries, key).or_else(|| first(roles, key))));
        for (entries, preferred) in all_access_entries.chain(role_entries).chain(user_entries) {
            for mapped in entries {
                let status = match (mapped.unmatchable_reason(), &preferred) {
                    (Some(reason), _) => EntryStatus::Unmatchable(reason),
                    (None, Some(by)) => EntryStatus::Shadowed { by: by.clone() },
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
        let access_entries = self.access_entries_for(iam_identity);
        if access_entries.is_empty() { self.aws_auth_entries_for(iam_identity) } else { access_entries }
    }

    pub(super) fn access_entries_for(&self, iam_identity: &IamIdentity) -> &[MappedEntry] {
        self.access_entries.get(&iam_identity.comparison_key()).map_or(&[], Vec::as_slice)
    }

    /// Returns the entries of mapRoles and mapUsers that match an IAM identity without an access entry.
    pub(super) fn aws_auth_entries_for(&self, iam_identity: &IamIdentity) -> &[MappedEntry] {
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

    /// Returns every IAM identity that an access entry or an entry of mapRoles or mapUsers matches, by the key that the
    /// authenticator compares.
    pub(crate) fn iam_identities(&self) -> BTreeMap<&str, IamIdentity> {
        let by_key = self.users.iter().chain(&self.roles).chain(&self.access_entries);
        by_key
            .filter_map(|(key, entries)| {
                let iam_identity = entries.first()?.iam_identity.as_ref().ok()?;
                (iam_identity.comparison_key() == *key).then(|| (key.as_str(), iam_identity.clone()))
            })
            .collect()
    }

    /// Returns the username of every access entry and every entry of mapRoles and mapUsers that can match, before
    /// placeholders are replaced.
    pub(super) fn usernames(&self) -> impl Iterator<Item = (&IamIdentity, &str)> {
        let has_access_entry = |key: &String| self.access_entries.contains_key(key);
        let by_role = self.roles.iter().filter(move |(key, _)| !has_access_entry(key));
        let by_user =
            self.users.iter().filter(move |(key, _)| !has_access_entry(key) && !self.roles.contains_key(*key));
        self.access_entries
            .iter()
            .chain(by_role)
            .chain(by_user)
            .flat_map(|(_, entries)| entries)
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
fn mapper_key(section: Section, mapped: &MappedEntry) -> String {
    match section {
        Section::Roles => mapped.entry_ref.principal.to_lowercase(),
        Section::Users | Section::Accounts => mapped.entry_ref.principal.clone(),
    }
}

impl MappedEntry {
    fn unmatchable_reason(&self) -> Option<UnmatchableReason> {
        match &self.iam_identity {
            Err(error) => Some(UnmatchableReason::InvalidArn(error.clone())),
            Ok(_) if !self.entry_ref.is_in_aws_auth() => None,
            Ok(iam_identity) if iam_identity.comparison_key() == fold_case(&self.entry_ref.principal) => None,
            Ok(iam_identity) => {
                Some(UnmatchableReason::NonCanonicalArn { canonical: iam_identity.canonical().to_owned() })
            }
        }
    }
}
