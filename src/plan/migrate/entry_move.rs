//! Which entry of aws-auth can become an access entry of the same effect, and which cannot, with a way out.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::access::{EntryStatus, MASTERS, UnmatchableReason};
use crate::names::{AccountId, Arn, PrincipalKind};
use crate::policy::DesiredAccessEntry;
use crate::state::access_entry::{AccessEntryType, AccessScope};
use crate::state::access_entry_rules::{
    EntryRuleError, check_group, check_principal, check_username, default_groups, default_username,
};
use crate::state::access_policies::access_policy_arn;
use crate::state::aws_auth::{Entry, EntryPrincipal};
use crate::state::config_map::principal_text;
use crate::state::object_meta::Labels;

/// The access policy that allows what `system:masters` allows.
pub(crate) const ADMIN_POLICY: &str = "AmazonEKSClusterAdminPolicy";
/// The group of every identity that an IAM principal has, so an entry does not need it.
const AUTHENTICATED: &str = "system:authenticated";
const BOOTSTRAPPERS: &str = "system:bootstrappers";
const NODES: &str = "system:nodes";
const NODE_PROXIER: &str = "system:node-proxier";
const WINDOWS: &str = "eks:kube-proxy-windows";
const EC2_NODE: &str = "system:node:{{EC2PrivateDNSName}}";
const SESSION_NODE: &str = "system:node:{{SessionName}}";
const SESSION_NAME: &str = "{{SessionName}}";
/// How the names of the roles start that IAM Identity Center creates. Their path is known only in IAM.
const SSO_ROLE: &str = "AWSReservedSSO_";
/// How the names of most service-linked roles start (IAM User Guide, "Create a service-linked role").
const SERVICE_LINKED_ROLE: &str = "AWSServiceRoleFor";

/// Why an entry of aws-auth cannot become an access entry. The messages follow the name of the entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StayReason {
    #[error("EKS has no access entries for whole accounts")]
    Account,
    #[error("several entries match this principal, and which of them counts is not defined")]
    Ambiguous,
    #[error("{0}")]
    Rule(#[from] EntryRuleError),
    #[error("EKS does not fill in `{template}` in an access entry")]
    Template { template: String },
    #[error("its group `{group}` has a placeholder, and EKS does not document those of an access entry")]
    GroupTemplate { group: String },
    #[error("the path of the role is not known: aws-auth has none, and an access entry needs it")]
    SsoPath,
    #[error("its groups {groups} are not those of a node, and EKS sets the groups of nodes itself")]
    NodeGroups { groups: String },
    #[error("policy `{0}` owns its entry in aws-auth")]
    OtherPolicy(String),
    #[error("its access entry does not give the access that aws-auth would give")]
    OtherEffect,
    #[error("it has no access entry yet")]
    NotMoved,
}

impl StayReason {
    /// What to do so that the principal does not need its entry in aws-auth any more.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Account => "find out which roles and users of the account use the cluster (its audit log names them), \
                 give each an access entry, then remove the account from mapAccounts"
                .to_owned(),
            Self::Ambiguous => "remove all but one of these entries from aws-auth, then run it again".to_owned(),
            Self::Rule(EntryRuleError::ReservedGroup { group, .. }) => {
                format!("bind the roles that `{group}` gives to a group of your own, and put the principal in that group")
            }
            Self::Rule(EntryRuleError::ReservedUsername { .. }) => {
                "give the principal another username in aws-auth first, and bind to it what the old one has".to_owned()
            }
            Self::Rule(EntryRuleError::NoColonBeforeSessionName) => {
                "write a username with a colon before the placeholder in aws-auth first, such as \
                 `team:{{SessionName}}`: this changes who the user is, so bindings to the old names need the new ones too"
                    .to_owned()
            }
            Self::Rule(EntryRuleError::AccountRoot) => {
                "give an access entry to each role or user that needs access, instead of the root user".to_owned()
            }
            Self::Rule(EntryRuleError::ServiceLinkedRole) => {
                "enable the service again for the cluster: it makes the access entry of its role itself".to_owned()
            }
            Self::Rule(rule) => {
                rule.help().unwrap_or_else(|| "change the entry in aws-auth first, then run it again".to_owned())
            }
            Self::Template { .. } => "write a username without this placeholder in aws-auth first, such as \
                 `team:{{SessionName}}`: this changes who the user is, so bindings to the old names need the new ones too"
                .to_owned(),
            Self::GroupTemplate { .. } => {
                "bind the roles of these groups to users or to a plain group, and remove the group from aws-auth".to_owned()
            }
            Self::SsoPath => "run `aws iam get-role --role-name NAME --query Role.Arn --output text`, and pass the ARN \
                 with --arn; one role of an account is enough, because all have the same path"
                .to_owned(),
            Self::NodeGroups { .. } => {
                "use a role of its own for nodes, and another for the groups, then run it again".to_owned()
            }
            Self::OtherPolicy(policy) => format!("run it with the policy `{policy}`, which owns the entry"),
            Self::OtherEffect => "make the access entry equal; or, if the access entry is what you want, remove the entry \
                 from aws-auth by hand"
                .to_owned(),
            Self::NotMoved => "run `rolecall migrate` without --finish first".to_owned(),
        }
    }
}

/// The ARNs of principals as IAM has them, with the paths that aws-auth does not have.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownArns {
    /// By the key that the authenticator compares.
    arns: BTreeMap<String, Arn>,
    /// The path of the roles of IAM Identity Center, which is the same for all roles of an account.
    sso_paths: BTreeMap<AccountId, String>,
}

impl KnownArns {
    pub(super) fn new(arns: impl IntoIterator<Item = Arn>) -> Self {
        let mut known = Self::default();
        for arn in arns {
            if arn.has_role_path() {
                if arn.name().starts_with(SSO_ROLE) {
                    known.sso_paths.insert(arn.account().clone(), arn.path().to_owned());
                }
                known.arns.insert(arn.match_key(), arn);
            }
        }
        known
    }

    fn resolve(&self, arn: Arn) -> Result<Arn, StayReason> {
        if let Some(known) = self.arns.get(&arn.match_key()) {
            return Ok(known.clone());
        }
        if arn.kind() != PrincipalKind::Role || !arn.name().starts_with(SSO_ROLE) {
            return Ok(arn);
        }
        let path = self.sso_paths.get(arn.account()).ok_or(StayReason::SsoPath)?;
        Ok(arn.with_path(path))
    }
}

/// An access entry of the same effect as an entry of aws-auth, and what is not the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryMove {
    pub(super) entry: DesiredAccessEntry,
    /// Whether the path of the role is not known. EKS refuses the ARN if the role has one.
    pub(super) is_path_unknown: bool,
    /// Whether the username is the one that EKS gives, because that in aws-auth is empty.
    pub(super) has_new_username: bool,
}

impl EntryMove {
    pub(super) fn new(entry: &Entry, known: &KnownArns, account: Option<&AccountId>) -> Result<Self, StayReason> {
        let text = match &entry.principal {
            EntryPrincipal::Role(arn) | EntryPrincipal::User(arn) => arn,
            EntryPrincipal::Account(_) => return Err(StayReason::Account),
            EntryPrincipal::Sso(_) => return Err(EntryRuleError::NotAPrincipal(principal_text(entry)).into()),
        };
        // Reports session ARNs, root users and other principals that no entry can have.
        check_principal(text, &AccessEntryType::Standard, None)?;
        let written = Arn::parse(text).map_err(|_| EntryRuleError::NotAPrincipal(text.clone()))?;
        if written.kind() == PrincipalKind::Role && written.name().starts_with(SERVICE_LINKED_ROLE) {
            return Err(EntryRuleError::ServiceLinkedRole.into());
        }
        let entry_type = node_type(entry)?;
        let arn = known.resolve(written.clone())?;
        let principal = arn.to_string();
        check_principal(&principal, &entry_type, account)?;
        let is_path_unknown =
            arn.kind() == PrincipalKind::Role && !arn.has_role_path() && !known.arns.contains_key(&arn.match_key());
        let mut desired = DesiredAccessEntry {
            principal,
            username: entry.username.clone(),
            groups: Vec::new(),
            policies: BTreeMap::new(),
            tags: Labels::new(),
            entry_type,
        };
        if desired.entry_type.is_node() {
            desired.username = default_username(&desired.principal, &desired.entry_type);
            desired.groups = default_groups(&desired.entry_type).iter().map(|group| (*group).to_owned()).collect();
            return Ok(Self { entry: desired, is_path_unknown, has_new_username: false });
        }
        check_username(&desired.username, &desired.entry_type)?;
        if let Some(template) = other_template(&desired.username) {
            return Err(StayReason::Template { template });
        }
        let mut seen = BTreeSet::new();
        for group in entry.groups.iter().filter(|group| seen.insert(group.as_str())) {
            if group.as_str() == MASTERS {
                let policy = access_policy_arn(arn.partition(), ADMIN_POLICY);
                desired.policies.insert(policy, AccessScope::Cluster);
            } else if !group.is_empty() && group.as_str() != AUTHENTICATED {
                check_group(group, &desired.entry_type)?;
                if group.contains("{{") {
                    return Err(StayReason::GroupTemplate { group: group.clone() });
                }
                desired.groups.push(group.clone());
            }
        }
        let has_new_username = desired.username.is_empty();
        if has_new_username {
            desired.username = default_username(&desired.principal, &desired.entry_type);
        }
        Ok(Self { entry: desired, is_path_unknown, has_new_username })
    }

    pub(super) fn is_admin(&self) -> bool {
        !self.entry.policies.is_empty()
    }
}

/// Returns the first placeholder of a username that EKS does not document for access entries.
fn other_template(username: &str) -> Option<String> {
    let rest = username.replace(SESSION_NAME, "");
    let (_, start) = rest.split_once("{{")?;
    let name = start.split_once("}}").map_or(start, |(name, _)| name);
    Some(format!("{{{{{name}}}}}"))
}

/// Returns the type of the access entry. An entry of nodes is known by its username.
fn node_type(entry: &Entry) -> Result<AccessEntryType, StayReason> {
    let groups: BTreeSet<&str> =
        entry.groups.iter().map(String::as_str).filter(|group| !group.is_empty() && *group != AUTHENTICATED).collect();
    let (entry_type, allowed): (AccessEntryType, &[&str]) = match entry.username.as_str() {
        EC2_NODE if groups.contains(WINDOWS) => (AccessEntryType::Ec2Windows, &[BOOTSTRAPPERS, NODES, WINDOWS]),
        EC2_NODE => (AccessEntryType::Ec2Linux, &[BOOTSTRAPPERS, NODES]),
        SESSION_NODE if groups.contains(NODE_PROXIER) => {
            (AccessEntryType::FargateLinux, &[BOOTSTRAPPERS, NODES, NODE_PROXIER])
        }
        SESSION_NODE => (AccessEntryType::HybridLinux, &[BOOTSTRAPPERS, NODES]),
        _ => return Ok(AccessEntryType::Standard),
    };
    if groups.contains(NODES) && groups.iter().all(|group| allowed.contains(group)) {
        return Ok(entry_type);
    }
    Err(StayReason::NodeGroups { groups: groups.into_iter().collect::<Vec<_>>().join(", ") })
}

/// Returns why an entry never matches a principal, so that there is nothing to move.
pub(super) fn no_effect_reason(status: &EntryStatus) -> Option<String> {
    match status {
        EntryStatus::Unmatchable(UnmatchableReason::InvalidArn(error)) => Some(error.to_string()),
        EntryStatus::Unmatchable(reason) => Some(reason.explain()),
        EntryStatus::Active | EntryStatus::Ambiguous | EntryStatus::Shadowed { .. } => None,
    }
}
