//! The plan of a migration to access entries.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::common::SectionJson;
use super::plan::{PlanDocument, PlanJson};
use crate::access::{EntryPlace, EntryRef};
use crate::plan::{Migration, MovedPrincipal, StayingEntry};

/// The output of `rolecall migrate -o json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MigrationDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// The authentication mode of the cluster now, such as `CONFIG_MAP`.
    pub(crate) auth_mode: String,
    /// The mode to which the migration changes the cluster: to API_AND_CONFIG_MAP before the steps of the plan, to API after
    /// them. Null if the mode stays.
    pub(crate) new_auth_mode: Option<String>,
    /// The principals that the plan moves. With `--finish`, those whose entries in aws-auth it removes.
    pub(crate) moved: Vec<MovedPrincipalJson>,
    /// The number of principals that aws-auth maps, and that had an access entry before.
    pub(crate) moved_before: usize,
    /// The entries that stay in aws-auth.
    pub(crate) staying: Vec<StayingEntryJson>,
    /// The entries of aws-auth that have no effect.
    pub(crate) without_effect: Vec<EntryWithoutEffectJson>,
    /// The change of the policy as the lines of a unified diff. Null without a policy.
    pub(crate) policy_diff: Option<Vec<String>>,
    /// The plan: the changes, the steps and their effect on access.
    pub(crate) plan: PlanJson,
}

/// A principal that moves.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MovedPrincipalJson {
    /// The ARN of its access entry.
    pub(crate) principal: String,
    /// The type of its access entry, such as `STANDARD` or `EC2_LINUX`.
    #[serde(rename = "type")]
    pub(crate) entry_type: String,
    /// Whether it is in `system:masters` in aws-auth, and gets AmazonEKSClusterAdminPolicy instead.
    pub(crate) is_admin: bool,
    /// Whether the role may have a path in IAM that is not known. Then EKS refuses the ARN.
    pub(crate) is_path_unknown: bool,
}

/// An entry that stays in aws-auth.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StayingEntryJson {
    pub(crate) entry: AwsAuthEntryJson,
    /// Why it stays.
    pub(crate) reason: String,
    /// What to do so that it can be removed.
    pub(crate) help: String,
}

/// An entry of aws-auth without effect.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EntryWithoutEffectJson {
    pub(crate) entry: AwsAuthEntryJson,
    /// Why it has no effect.
    pub(crate) reason: String,
}

/// An entry of aws-auth.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AwsAuthEntryJson {
    /// The ARN as the entry has it, or the account ID.
    pub(crate) principal: String,
    /// The key of the section in the ConfigMap. Null for an access entry.
    pub(crate) section: Option<SectionJson>,
    /// The line in the text of the section, counted from 1. Null if it is not known.
    #[schemars(range(min = 1))]
    pub(crate) line: Option<usize>,
}

impl From<&EntryRef> for AwsAuthEntryJson {
    fn from(entry: &EntryRef) -> Self {
        let line = match entry.place {
            EntryPlace::AccessEntry => None,
            EntryPlace::AwsAuth { line, .. } => line,
        };
        Self { principal: entry.principal.clone(), section: entry.section().map(SectionJson::from), line }
    }
}

impl MigrationDocument {
    /// `plans` has the plan of the migration. `None` if it has none.
    pub(crate) fn new(migration: &Migration, policy_diff: Option<Vec<String>>, plans: PlanDocument) -> Option<Self> {
        let Migration { plan: _, mode, mode_change, moved, moved_before, staying, without_effect } = migration;
        let moved = moved.iter().map(|MovedPrincipal { principal, entry_type, is_admin, is_path_unknown }| {
            MovedPrincipalJson {
                principal: principal.clone(),
                entry_type: entry_type.as_str().to_owned(),
                is_admin: *is_admin,
                is_path_unknown: *is_path_unknown,
            }
        });
        let staying = staying.iter().map(|StayingEntry { entry, reason }| StayingEntryJson {
            entry: entry.into(),
            reason: reason.to_string(),
            help: reason.help(),
        });
        let without_effect = without_effect
            .iter()
            .map(|(entry, reason)| EntryWithoutEffectJson { entry: entry.into(), reason: reason.clone() });
        Some(Self {
            format_version: FormatVersion,
            auth_mode: mode.as_str().to_owned(),
            new_auth_mode: mode_change.as_ref().map(|mode| mode.as_str().to_owned()),
            moved: moved.collect(),
            moved_before: *moved_before,
            staying: staying.collect(),
            without_effect: without_effect.collect(),
            policy_diff,
            plan: plans.plans.into_iter().next()?,
        })
    }
}
