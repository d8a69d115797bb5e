//! Entries of aws-auth that have no effect beside access entries.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs": in the mode API the ConfigMap aws-auth is
//! not read, and in API_AND_CONFIG_MAP an access entry takes precedence over the aws-auth entry of the same principal.

use std::collections::BTreeSet;

use super::super::{Action, ChangeTarget, PlanBuilder};
use super::entries_after;
use crate::diagnostic::Diagnostic;
use crate::names::Arn;
use crate::policy::DesiredAccessEntry;
use crate::policy::expand::{Desired, DesiredItem};
use crate::state::State;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::Section;
use crate::state::config_map::{entry_key, principal_text};
use crate::state::entry_marks::{EntryMarks, entry_id};

/// The number of entries that a warning lists.
const MAX_LISTED: usize = 5;

/// Returns the key by which the authenticator compares the principal of an access entry.
pub(super) fn match_key(principal: &str) -> String {
    Arn::parse(principal).map_or_else(|_| principal.to_lowercase(), |arn| arn.match_key())
}

/// Returns a warning about the aws-auth of a cluster that does not read it.
pub(in crate::plan) fn unread_aws_auth_warning(live: &State) -> Option<Diagnostic> {
    let auth = live.aws_auth.as_ref()?;
    let is_used = |section: &Section| auth.data.get(section.key()).is_some_and(|text| !text.trim().is_empty());
    let has_entries = Section::ALL.into_iter().filter(is_used).any(|section| {
        // A section that cannot be parsed may have entries as well.
        auth.parse_section(section).map_or(true, |parsed| !parsed.entries.is_empty())
    });
    has_entries.then(|| {
        Diagnostic::warning("aws-auth has entries, but it is not read in the authentication mode API")
            .with_note("no plan changes it: only access entries map principals in this cluster")
            .with_help("delete it with kubectl when its entries are no longer needed")
    })
}

/// The owners of the aws-auth entries of a cluster that reads aws-auth.
pub(super) struct AwsAuthOwners(EntryMarks);

impl AwsAuthOwners {
    pub(super) fn new(live: &State) -> Self {
        let is_read = live.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::Api);
        Self(if is_read { live.entry_marks() } else { EntryMarks::default() })
    }

    /// Returns whether the policy may write the access entry. If not, adds an error: the aws-auth entry of the principal,
    /// which would lose its effect, is owned by another policy.
    pub(super) fn check(&self, builder: &mut PlanBuilder<'_>, item: &DesiredItem<DesiredAccessEntry>) -> bool {
        let principal = &item.value.principal;
        let key = match_key(principal);
        let owners = Section::ALL.into_iter().filter_map(|section| self.0.owner(entry_id(section, &key)));
        let policy = builder.policy;
        let other = owners.into_iter().find(|owner| *owner != policy);
        if let Some(other) = other {
            builder.diagnostics.push(
                Diagnostic::error(format!("the aws-auth entry of {principal} is owned by policy `{other}`"))
                    .primary_label(item.span, "")
                    .with_because("an access entry takes precedence over the aws-auth entry of its principal")
                    .with_help(format!("remove {principal} from one of the two policies, `{policy}` or `{other}`")),
            );
        }
        other.is_none()
    }
}

/// Returns a warning about the entries of aws-auth, those of the plan and those that it leaves as they are, whose principal
/// has an access entry after the plan. An entry that equals the access entry, as `authentication = "both"` asks for, needs
/// none.
pub(super) fn shadowed_warning(builder: &PlanBuilder<'_>, desired: &Desired, live: &State) -> Option<Diagnostic> {
    let has_both_stores =
        matches!(live.auth_mode, ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::Other(_)));
    if !has_both_stores {
        return None;
    }
    let after = entries_after(builder, live);
    let removed: BTreeSet<(Section, &str)> = builder
        .changes
        .iter()
        .filter(|change| change.action == Action::Delete)
        .filter_map(|change| match &change.target {
            ChangeTarget::Entry { section, principal } => Some((*section, principal.as_str())),
            ChangeTarget::Object(_) => None,
        })
        .collect();
    let kept_equal: BTreeSet<String> =
        desired.access_entries.values().map(|item| match_key(&item.value.principal)).collect();
    let listed: BTreeSet<String> = desired.entries.iter().map(|item| item.value.key()).collect();
    let mut shadowed: BTreeSet<String> = desired
        .entries
        .iter()
        .filter(|item| after.contains(&item.value.key()) && !kept_equal.contains(&item.value.key()))
        .map(|item| item.value.principal.clone())
        .collect();
    for section in [Section::Roles, Section::Users] {
        let parsed = live.aws_auth.as_ref().and_then(|auth| auth.parse_section(section).ok());
        for located in parsed.into_iter().flat_map(|parsed| parsed.entries) {
            let key = entry_key(&located.entry);
            let principal = principal_text(&located.entry);
            let is_removed = removed.contains(&(section, &principal));
            if after.contains(&key) && !listed.contains(&key) && !is_removed {
                shadowed.insert(principal);
            }
        }
    }
    let first = shadowed.first()?;
    let warning =
        match shadowed.len() {
            1 => Diagnostic::warning(format!("the aws-auth entry of {first} has no effect")),
            number => shadowed.iter().take(MAX_LISTED).fold(
                Diagnostic::warning(format!("{number} aws-auth entries have no effect")),
                |warning, principal| warning.with_note(principal.clone()),
            ),
        };
    let warning = match shadowed.len().saturating_sub(MAX_LISTED) {
        0 => warning,
        more => warning.with_note(format!("and {more} more")),
    };
    Some(warning.with_because("an access entry takes precedence over the aws-auth entry of its principal"))
}
