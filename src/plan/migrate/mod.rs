//! Plans the move of a cluster from aws-auth to access entries.
//!
//! The first plan gives each principal of aws-auth an access entry with the effect of its entry that counts today, and
//! leaves aws-auth as it is. A second plan removes the entries of aws-auth that have no effect any more. Both can be made
//! again at any time: they have only what is left.
//!
//! Between the two, EKS and the API server know each principal in both stores, and the access entry counts.

mod entry_move;
mod finish;
mod resume;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use entry_move::ADMIN_POLICY;
use entry_move::{EntryMove, KnownArns, StayReason, no_effect_reason};

use super::entries::{check_writable, unreadable_section};
use super::{GuardLimits, Plan, PlanBuilder, ResolvedInvariant, access_entries, invalid_object_error, schedule};
use crate::access::{EntryRef, EntryStatus, IdentityMapping};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::names::{AccountId, Arn};
use crate::policy::DesiredAccessEntry;
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntryType};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::{Entry, ParsedSection, Section};
use crate::state::config_map::entry_key;
use crate::state::entry_marks::entry_id;
use crate::state::object_meta::Labels;

/// The name of the owner of temporary objects if the migration has no policy.
const NO_POLICY: &str = "migrate";

/// What a migration needs besides the state of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct MigrationSettings {
    /// Whether the entries of aws-auth are removed that have no effect any more.
    pub(crate) finish: bool,
    /// The policy whose marks the entries of its principals get. `None` if the cluster has no policy.
    pub(crate) policy: Option<String>,
    /// The principals of the policy in this cluster.
    pub(crate) principals: Vec<MigratedPrincipal>,
    /// ARNs with the paths that IAM has, from the command line.
    pub(crate) arns: Vec<Arn>,
    /// The account of the cluster, if it is known.
    pub(crate) account: Option<AccountId>,
    pub(crate) limits: GuardLimits,
    pub(crate) invariants: Vec<ResolvedInvariant>,
    pub(crate) token_cache: Duration,
}

/// A principal of the policy, with what its access entry has besides the content of its entry in aws-auth.
#[derive(Debug, Clone)]
pub(crate) struct MigratedPrincipal {
    pub(crate) arn: Arn,
    /// The `eks-tags`.
    pub(crate) tags: Labels,
}

/// The plan of a migration, and what it says about each entry of aws-auth.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    pub(crate) plan: Plan,
    /// The mode of the cluster now.
    pub(crate) mode: ClusterAuthMode,
    /// The change of the mode, which is not one of the steps: before them to API_AND_CONFIG_MAP, after them to API.
    pub(crate) mode_change: Option<ClusterAuthMode>,
    /// The principals that the plan moves, or whose entries in aws-auth it removes.
    pub(crate) moved: Vec<MovedPrincipal>,
    /// How many principals have had an access entry before.
    pub(crate) moved_before: usize,
    /// The entries that stay in aws-auth.
    pub(crate) staying: Vec<StayingEntry>,
    /// The entries of aws-auth that have no effect, and why.
    pub(crate) without_effect: Vec<(EntryRef, String)>,
}

impl Plan {
    /// Returns whether the plan is for a policy. That of a migration can be for none.
    pub(crate) fn has_policy(&self) -> bool {
        self.policy != NO_POLICY
    }
}

impl Migration {
    /// Returns the migration by the plan of a policy that is written for access entries.
    pub(crate) fn from_policy_plan(plan: Plan, mode: ClusterAuthMode) -> Self {
        let mode_change = (mode == ClusterAuthMode::ConfigMap).then_some(ClusterAuthMode::ApiAndConfigMap);
        Self {
            plan,
            mode,
            mode_change,
            moved: Vec::new(),
            moved_before: 0,
            staying: Vec::new(),
            without_effect: Vec::new(),
        }
    }
}

/// A principal that the plan moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MovedPrincipal {
    /// As in the access entry.
    pub(crate) principal: String,
    pub(crate) entry_type: AccessEntryType,
    /// Whether `system:masters` becomes an access policy.
    pub(crate) is_admin: bool,
    /// Whether the role can have a path that is not known.
    pub(crate) is_path_unknown: bool,
}

/// An entry that stays in aws-auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StayingEntry {
    pub(crate) entry: EntryRef,
    pub(crate) reason: StayReason,
}

/// Returns the state of the cluster in which the entries are planned: as if the mode was changed already.
///
/// # Errors
/// If the mode or the access entries are not known.
pub(crate) fn state_with_access_entries(live: &State) -> Result<(State, ClusterAuthMode), Box<Diagnostic>> {
    let error = |message: &str| Diagnostic::error(message.to_owned());
    let connect_help = "connect with `--eks NAME`, or with `eks = { name = …, region = … }` in `[clusters]`";
    let mode = match &live.auth_mode {
        ObservedAuthMode::Known(mode) => mode.clone(),
        ObservedAuthMode::NotAsked => {
            return Err(Box::new(
                error("the authentication mode of the cluster is not known")
                    .with_because("EKS was not asked for it")
                    .with_help(connect_help),
            ));
        }
        ObservedAuthMode::Unknown(reason) => {
            return Err(Box::new(
                error("the authentication mode of the cluster is not known")
                    .with_because(reason.clone())
                    .with_help("allow eks:DescribeCluster on the cluster"),
            ));
        }
    };
    let mut state = live.clone();
    match &mode {
        ClusterAuthMode::ConfigMap => {
            state.auth_mode = ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap);
            state.access_entries.status = AccessEntriesStatus::Known;
        }
        ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::Api => match &live.access_entries.status {
            AccessEntriesStatus::Known => {}
            AccessEntriesStatus::NotAsked => {
                return Err(Box::new(
                    error("the access entries of the cluster are not known")
                        .with_because("EKS was not asked for them")
                        .with_help(connect_help),
                ));
            }
            AccessEntriesStatus::Unknown(reason) => {
                return Err(Box::new(error("the access entries of the cluster are not known")
                    .with_because(reason.clone())
                    .with_help(
                        "allow eks:ListAccessEntries, eks:DescribeAccessEntry and eks:ListAssociatedAccessPolicies on the cluster",
                    )));
            }
        },
        ClusterAuthMode::Other(other) => {
            return Err(Box::new(
                error("the authentication mode of the cluster is not one that this version knows")
                    .with_because(format!("the mode is {other}"))
                    .with_help("use a newer version of rolecall"),
            ));
        }
    }
    Ok((state, mode))
}

/// Plans a stage of the migration. `live` is the state of [`state_with_access_entries`], and `mode` that of the cluster.
///
/// # Errors
/// All reasons why no plan can be made.
pub(crate) fn plan_migration(
    settings: &MigrationSettings,
    live: &State,
    mode: ClusterAuthMode,
) -> Result<Migration, Vec<Diagnostic>> {
    if settings.finish && mode == ClusterAuthMode::ConfigMap {
        let error = Diagnostic::error("the migration cannot be finished before it was begun");
        return Err(vec![
            error
                .with_because("the authentication mode of the cluster is CONFIG_MAP")
                .with_help("run `rolecall migrate` without --finish first"),
        ]);
    }
    let sources = SourceMap::default();
    let policy = settings.policy.as_deref().unwrap_or(NO_POLICY);
    let mut builder =
        PlanBuilder { policy, sources: &sources, changes: Vec::new(), writes: Vec::new(), diagnostics: Vec::new() };
    let mut planner = MigrationPlanner::new(settings, live)?;
    // In the mode API the cluster does not read aws-auth, so nothing is left to do.
    let mode_change = if mode == ClusterAuthMode::Api {
        None
    } else if settings.finish {
        planner.finish(&mut builder)?;
        planner.staying.is_empty().then_some(ClusterAuthMode::Api)
    } else {
        planner.move_entries(&mut builder);
        (mode == ClusterAuthMode::ConfigMap).then_some(ClusterAuthMode::ApiAndConfigMap)
    };
    if builder.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(builder.diagnostics);
    }
    let MigrationPlanner { moved, moved_before, staying, without_effect, .. } = planner;
    let author = schedule::Author { policy };
    let schedule::OrderedSteps { steps, waits, windows, unproven } =
        super::order_writes(builder.writes, live, author, settings.token_cache)
            .map_err(|error| vec![invalid_object_error(error).into()])?;
    let mut changes = builder.changes;
    changes.sort_by(|a, b| a.target.cmp(&b.target));
    let plan = Plan {
        policy: policy.to_owned(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        waits,
        token_cache: settings.token_cache,
        windows,
        unproven,
        access_changes: None,
        limits: settings.limits.clone(),
        invariants: settings.invariants.clone(),
        namespace_selections: Vec::new(),
        aws_auth_diff: None,
        warnings: builder.diagnostics,
    };
    Ok(Migration { plan, mode, mode_change, moved, moved_before, staying, without_effect })
}

/// Sorts the entries of aws-auth by what becomes of them.
struct MigrationPlanner<'a> {
    settings: &'a MigrationSettings,
    live: &'a State,
    sections: BTreeMap<Section, ParsedSection>,
    statuses: Vec<(EntryRef, EntryStatus)>,
    known: KnownArns,
    moved: Vec<MovedPrincipal>,
    moved_before: usize,
    staying: Vec<StayingEntry>,
    without_effect: Vec<(EntryRef, String)>,
}

impl<'a> MigrationPlanner<'a> {
    fn new(settings: &'a MigrationSettings, live: &'a State) -> Result<Self, Vec<Diagnostic>> {
        let (mut sections, mut errors) = (BTreeMap::new(), Vec::new());
        let is_read = live.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::Api);
        if let Some(aws_auth) = live.aws_auth.as_ref().filter(|_| is_read) {
            for section in Section::ALL {
                match aws_auth.parse_section(section) {
                    Ok(parsed) => drop(sections.insert(section, parsed)),
                    Err(error) => errors.push(unreadable_section(&error)),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let of_policy = settings.principals.iter().map(|principal| principal.arn.clone());
        let of_entries = live.access_entries.iter().filter_map(|(_, entry)| Arn::parse(entry.principal()).ok());
        // What is said on the command line counts most.
        let known = KnownArns::new(of_entries.chain(of_policy).chain(settings.arns.iter().cloned()));
        let statuses = IdentityMapping::from_state(live).statuses().to_vec();
        Ok(Self {
            settings,
            live,
            sections,
            statuses,
            known,
            moved: Vec::new(),
            moved_before: 0,
            staying: Vec::new(),
            without_effect: Vec::new(),
        })
    }

    /// Returns the entries of aws-auth with their content.
    fn aws_auth_entries(&self) -> Vec<(EntryRef, EntryStatus, Entry)> {
        let content = |(entry_ref, status): &(EntryRef, EntryStatus)| {
            let (section, index) = entry_ref.position_in_aws_auth()?;
            let located = self.sections.get(&section)?.entries.get(index)?;
            Some((entry_ref.clone(), status.clone(), located.entry.clone()))
        };
        self.statuses.iter().filter_map(content).collect()
    }

    fn stay(&mut self, entry: EntryRef, reason: StayReason) {
        self.staying.push(StayingEntry { entry, reason });
    }

    /// Returns whether the policy owns the entry of a principal, and adds the tags that it writes.
    fn prepare_owned(&self, key: &str, desired: &mut DesiredAccessEntry) -> bool {
        let marks = self.live.entry_marks();
        let own_policy = self.settings.policy.as_deref();
        let mut owners = Section::ALL.into_iter().filter_map(|section| marks.owner(entry_id(section, key)));
        let is_of_other_policy = owners.any(|owner| Some(owner) != own_policy);
        let listed = self.settings.principals.iter().find(|principal| principal.arn.match_key() == key);
        match listed.filter(|_| own_policy.is_some() && !is_of_other_policy) {
            Some(listed) => {
                desired.tags.clone_from(&listed.tags);
                true
            }
            None => false,
        }
    }

    /// Adds an access entry for each principal that only aws-auth maps.
    fn move_entries(&mut self, builder: &mut PlanBuilder<'_>) {
        let mut principals_with_entry = BTreeSet::new();
        for (entry_ref, status, entry) in self.aws_auth_entries() {
            match &status {
                EntryStatus::Unmatchable(_) => {
                    self.without_effect.extend(no_effect_reason(&status).map(|reason| (entry_ref, reason)));
                    continue;
                }
                EntryStatus::Shadowed { by } => {
                    if by.is_in_aws_auth() {
                        self.without_effect.push((entry_ref, shadowed_reason(by)));
                    } else {
                        principals_with_entry.insert(entry_key(&entry));
                    }
                    continue;
                }
                EntryStatus::Ambiguous => {
                    self.stay(entry_ref, StayReason::Ambiguous);
                    continue;
                }
                EntryStatus::Active => {}
            }
            let key = entry_key(&entry);
            let moved = match EntryMove::new(&entry, &self.known, self.settings.account.as_ref()) {
                Ok(moved) => moved,
                Err(reason) => {
                    self.stay(entry_ref, reason);
                    continue;
                }
            };
            let note = move_note(&moved);
            let (is_admin, is_path_unknown) = (moved.is_admin(), moved.is_path_unknown);
            let mut desired = moved.entry;
            let is_owned = self.prepare_owned(&key, &mut desired);
            access_entries::plan_new_entry(builder, &desired, is_owned, note);
            self.moved.push(MovedPrincipal {
                principal: desired.principal,
                entry_type: desired.entry_type,
                is_admin,
                is_path_unknown,
            });
        }
        self.moved_before = principals_with_entry.len();
        self.complete_entries(builder);
        self.remove_temporary_objects(builder);
        access_entries::check_number(builder, self.live);
    }
}

/// Says which entry counts instead of one that has no effect.
fn shadowed_reason(by: &EntryRef) -> String {
    format!("{} matches the same principal, and counts instead", by.place)
}

/// What a reviewer has to know of a new entry that does not have the text of the entry in aws-auth.
fn move_note(moved: &EntryMove) -> Option<String> {
    if moved.is_admin() {
        return Some(format!("{ADMIN_POLICY} instead of system:masters, which EKS refuses in an access entry"));
    }
    if moved.entry.entry_type.is_node() {
        return Some("EKS sets the username and the groups of nodes".to_owned());
    }
    moved.has_new_username.then(|| "aws-auth gives it an empty username, which an access entry cannot have".to_owned())
}
