//! The store of each principal in a cluster: aws-auth, access entries, or both.
//!
//! The policy says it for the cluster with `authentication`. Otherwise the authentication mode decides, and in the mode
//! API_AND_CONFIG_MAP the store in which the principal is: only `migrate` moves it.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Located;
use super::principal_spec::StoreChoice;
use crate::diagnostic::Diagnostic;
use crate::names::Arn;
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::Section;
use crate::state::config_map::entry_key;

/// The principals of each store of a cluster.
pub(super) struct LivePrincipals<'s> {
    mode: Option<&'s ClusterAuthMode>,
    status: &'s AccessEntriesStatus,
    /// By [`crate::state::config_map::entry_key`]. Empty if the cluster has no access entries.
    aws_auth: BTreeSet<String>,
    /// By the key that the authenticator compares. There can be several if a role was created again with another path.
    access_entries: BTreeMap<String, Vec<&'s AccessEntry>>,
}

/// Why a principal has only an entry of aws-auth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AwsAuthReason {
    /// The `authentication` of the cluster.
    Given,
    ConfigMapMode,
    /// It is in aws-auth, and the policy does not say that it moves.
    NotMoved,
    UnknownMode,
}

impl AwsAuthReason {
    pub(super) fn because(self) -> &'static str {
        match self {
            Self::Given => "the cluster has `authentication = \"aws-auth\"`",
            Self::ConfigMapMode => "the authentication mode of the cluster is CONFIG_MAP",
            Self::NotMoved => "the principal is in aws-auth, and a plan does not move it on its own",
            Self::UnknownMode => "the authentication mode of the cluster is not known",
        }
    }

    /// What to do so that the principal has an access entry.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Given | Self::NotMoved => {
                "write `authentication = \"access-entries\"` or `authentication = \"both\"` for the cluster"
            }
            Self::ConfigMapMode => {
                "change the mode first: aws eks update-cluster-config --name NAME --access-config \
                 authenticationMode=API_AND_CONFIG_MAP"
            }
            Self::UnknownMode => {
                "connect with `eks = { name = …, region = … }` in `[clusters]` or with `--eks NAME`, which reads the mode"
            }
        }
    }
}

/// Several access entries match the ARN of a principal without a path.
pub(super) struct AmbiguousPath {
    pub(super) principals: Vec<String>,
}

impl<'s> LivePrincipals<'s> {
    pub(super) fn new(live: &'s State) -> Self {
        let mode = match &live.auth_mode {
            ObservedAuthMode::Known(mode) => Some(mode),
            ObservedAuthMode::NotAsked | ObservedAuthMode::Unknown(_) => None,
        };
        let mut principals = Self {
            mode,
            status: &live.access_entries.status,
            aws_auth: BTreeSet::new(),
            access_entries: BTreeMap::new(),
        };
        let has_access_entries = mode != Some(&ClusterAuthMode::ConfigMap);
        // Most clusters without access entries have a large aws-auth, which is parsed elsewhere as well.
        if !has_access_entries || (mode.is_none() && *principals.status != AccessEntriesStatus::Known) {
            return principals;
        }
        for (_, entry) in live.access_entries.iter() {
            let key =
                Arn::parse(entry.principal()).map_or_else(|_| entry.principal().to_lowercase(), |arn| arn.match_key());
            principals.access_entries.entry(key).or_default().push(entry);
        }
        for section in [Section::Roles, Section::Users] {
            // The plan reports a section that cannot be parsed.
            let parsed = live.aws_auth.as_ref().and_then(|auth| auth.parse_section(section).ok());
            let entries = parsed.into_iter().flat_map(|parsed| parsed.entries);
            principals.aws_auth.extend(entries.map(|located| entry_key(&located.entry)));
        }
        principals
    }

    /// Returns whether the cluster reads aws-auth, as far as it is known.
    pub(super) fn reads_aws_auth(&self) -> bool {
        self.mode != Some(&ClusterAuthMode::Api)
    }

    pub(super) fn is_in_aws_auth(&self, arn: &Arn) -> bool {
        self.aws_auth.contains(&arn.match_key())
    }

    /// Returns the access entry of a principal. An ARN without a path also finds the entry of the role with its path: role
    /// names are unique in an account, and EKS accepts only the ARN that IAM has.
    pub(super) fn access_entry(&self, arn: &Arn) -> Result<Option<&'s AccessEntry>, AmbiguousPath> {
        let entries = self.access_entries.get(&arn.match_key()).map_or(&[][..], Vec::as_slice);
        let text = arn.to_string();
        if let Some(exact) = entries.iter().find(|entry| entry.principal() == text) {
            return Ok(Some(exact));
        }
        match entries {
            [] => Ok(None),
            _ if arn.has_role_path() => Ok(None),
            [entry] => Ok(Some(entry)),
            several => {
                let principals = several.iter().map(|entry| entry.principal().to_owned()).collect();
                Err(AmbiguousPath { principals })
            }
        }
    }

    /// Returns the stores of a principal. `given` is the `authentication` of the cluster.
    pub(super) fn stores(
        &self,
        given: Option<&Located<StoreChoice>>,
        is_in_aws_auth: bool,
        has_access_entry: bool,
    ) -> StoreChoice {
        if let Some(given) = given {
            return given.value;
        }
        match (self.mode, is_in_aws_auth, has_access_entry) {
            (Some(ClusterAuthMode::Api), ..) | (Some(ClusterAuthMode::ApiAndConfigMap), false, _) => {
                StoreChoice::AccessEntries
            }
            (Some(ClusterAuthMode::ApiAndConfigMap), true, true) => StoreChoice::Both,
            (None | Some(ClusterAuthMode::ConfigMap | ClusterAuthMode::Other(_)), ..)
            | (Some(ClusterAuthMode::ApiAndConfigMap), true, false) => StoreChoice::AwsAuth,
        }
    }

    /// Returns why a principal has only an entry of aws-auth.
    pub(super) fn aws_auth_reason(&self, given: Option<&Located<StoreChoice>>) -> AwsAuthReason {
        match (given, self.mode) {
            (Some(_), _) => AwsAuthReason::Given,
            (None, Some(ClusterAuthMode::ConfigMap)) => AwsAuthReason::ConfigMapMode,
            (None, Some(ClusterAuthMode::ApiAndConfigMap)) => AwsAuthReason::NotMoved,
            (None, Some(ClusterAuthMode::Api | ClusterAuthMode::Other(_)) | None) => AwsAuthReason::UnknownMode,
        }
    }

    /// Returns why the principals of the policy cannot be planned in this cluster: `authentication` does not fit the
    /// mode, or the access entries are not known.
    pub(super) fn problem(&self, given: Option<&Located<StoreChoice>>) -> Option<Diagnostic> {
        if let Some(given) = given
            && let Some(problem) = self.mode_problem(given)
        {
            return Some(problem);
        }
        let needs_entries = match given {
            Some(given) => given.value.uses_access_entries(),
            None => matches!(self.mode, Some(ClusterAuthMode::Api | ClusterAuthMode::ApiAndConfigMap)),
        };
        let reason = match self.status {
            AccessEntriesStatus::Known => return None,
            AccessEntriesStatus::Unknown(reason) => reason.clone(),
            AccessEntriesStatus::NotAsked => "EKS was not asked for them".to_owned(),
        };
        if !needs_entries {
            return None;
        }
        let diagnostic = Diagnostic::error("the access entries of the cluster are not known").with_because(reason);
        let diagnostic = match given {
            Some(given) => diagnostic.primary_label(given.span, "needs the access entries"),
            None => {
                diagnostic.with_note("which principals have an access entry decides where the policy's principals are")
            }
        };
        Some(match self.status {
            AccessEntriesStatus::NotAsked => diagnostic.with_help(
                "connect with `eks = { name = …, region = … }` in `[clusters]`, or with `--eks NAME`",
            ),
            AccessEntriesStatus::Known | AccessEntriesStatus::Unknown(_) => diagnostic.with_help(
                "allow eks:ListAccessEntries, eks:DescribeAccessEntry and eks:ListAssociatedAccessPolicies on the cluster",
            ),
        })
    }

    fn mode_problem(&self, given: &Located<StoreChoice>) -> Option<Diagnostic> {
        let stores = given.value.as_str();
        let diagnostic = match self.mode {
            Some(ClusterAuthMode::ConfigMap) if given.value.uses_access_entries() => {
                Diagnostic::error(format!("`authentication = \"{stores}\"` is not possible: the cluster has no access entries"))
                    .with_because("its authentication mode is CONFIG_MAP")
                    .with_help("write `authentication = \"aws-auth\"`, or change the mode first: aws eks update-cluster-config --name NAME --access-config authenticationMode=API_AND_CONFIG_MAP")
                    .with_note("the mode cannot be changed back")
            }
            Some(ClusterAuthMode::Api) if given.value.uses_aws_auth() => {
                Diagnostic::error(format!("`authentication = \"{stores}\"` is not possible: the cluster does not read aws-auth"))
                    .with_because("its authentication mode is API, which cannot be changed back")
                    .with_help("write `authentication = \"access-entries\"`")
            }
            None | Some(_) => return None,
        };
        Some(diagnostic.primary_label(given.span, ""))
    }
}
