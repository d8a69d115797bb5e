//! The policy after parsing: wrong combinations cannot be expressed, and every word knows its place.

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::{SourceMap, Span};
use crate::names::{AccountId, Arn, WildcardPattern};
use crate::state::object_meta::Labels;
use crate::state::rbac::Rule;
use jiff::Timestamp;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> Located<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A whole policy, checked.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) sources: SourceMap,
    pub(crate) name: Located<String>,
    pub(crate) clusters: BTreeMap<String, ClusterSpec>,
    pub(crate) principals: BTreeMap<String, PrincipalSpec>,
    pub(crate) groups: BTreeMap<String, GroupSpec>,
    pub(crate) cluster_roles: BTreeMap<String, ClusterRoleSpec>,
    pub(crate) roles: BTreeMap<String, RoleSpec>,
    pub(crate) bindings: BTreeMap<String, BindingSpec>,
    pub(crate) ownership: OwnershipSpec,
    pub(crate) guard: GuardSpec,
    pub(crate) invariants: Vec<InvariantSpec>,
}

/// One cluster that the policy is for.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSpec {
    pub(crate) connection: ConnectionSpec,
    pub(crate) account: Option<AccountId>,
    /// Of AWS; nothing where neither the policy nor the region of the cluster says it.
    pub(crate) partition: Option<&'static str>,
}

/// Where the bare names of a cluster are at home.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ArnDefaults<'a> {
    pub(crate) account: Option<&'a AccountId>,
    pub(crate) partition: Option<&'static str>,
}

impl ArnDefaults<'_> {
    /// What most clusters are in, where nothing says another.
    fn partition_or_default(self) -> &'static str {
        self.partition.unwrap_or("aws")
    }
}

/// How a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionSpec {
    Eks {
        name: String,
        region: String,
    },
    Context(String),
    /// Files relative to the folder of the policy.
    Snapshot(Vec<String>),
}

/// The clusters that an item is for; none named: all.
pub(crate) type ClusterFilter = Option<Vec<Located<String>>>;

#[derive(Debug, Clone)]
pub(crate) struct PrincipalSpec {
    pub(crate) span: Span,
    pub(crate) identity: Located<IdentitySpec>,
    pub(crate) kind: EntryType,
    pub(crate) username: Option<Located<String>>,
    /// Said by every principal that has the username.
    pub(crate) shared_username: bool,
    pub(crate) groups: Vec<Located<String>>,
    pub(crate) expires: Option<Located<Expiry>>,
    pub(crate) clusters: ClusterFilter,
}

/// Who a principal is in IAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdentitySpec {
    Arn(Arn),
    /// Of each cluster's own account.
    Role(String),
    /// Of each cluster's own account.
    User(String),
    Sso {
        permission_set: String,
        account: AccountId,
        /// None: that of each cluster.
        partition: Option<&'static str>,
        id: String,
    },
    Account(AccountId),
}

impl IdentitySpec {
    /// The principal in one cluster; nothing for a whole account, or where a bare name finds no account.
    pub(crate) fn resolve_arn(&self, home: ArnDefaults<'_>) -> Option<Arn> {
        use crate::names::PrincipalKind::{Role, User};
        let own = home.partition_or_default();
        match self {
            Self::Arn(arn) => Some(arn.clone()),
            Self::Role(name) => home.account.map(|id| Arn::new(own, id, Role, name)),
            Self::User(name) => home.account.map(|id| Arn::new(own, id, User, name)),
            Self::Sso { permission_set, account, partition, id } => {
                let name = format!("AWSReservedSSO_{permission_set}_{id}");
                Some(Arn::new(partition.unwrap_or(own), account, Role, &name))
            }
            Self::Account(_) => None,
        }
    }
}

/// Whether the principal is a machine of the cluster, and of which sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryType {
    Standard,
    Node,
    WindowsNode,
    Fargate,
}

impl EntryType {
    /// Username template and groups that the machines need (EKS User Guide, "Grant IAM users access").
    pub(crate) fn required_mapping(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Standard => None,
            Self::Node => Some(("system:node:{{EC2PrivateDNSName}}", &["system:bootstrappers", "system:nodes"])),
            Self::WindowsNode => Some((
                "system:node:{{EC2PrivateDNSName}}",
                &["system:bootstrappers", "system:nodes", "eks:kube-proxy-windows"],
            )),
            Self::Fargate => {
                Some(("system:node:{{SessionName}}", &["system:bootstrappers", "system:nodes", "system:node-proxier"]))
            }
        }
    }
}

/// From when on access ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// As the policy has it.
    pub(crate) text: String,
    /// The first moment without access: of a date 00:00 UTC.
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupSpec {
    pub(crate) span: Span,
    pub(crate) members: Vec<Located<String>>,
    pub(crate) clusters: ClusterFilter,
}

#[derive(Debug, Clone)]
pub(crate) struct ClusterRoleSpec {
    pub(crate) span: Span,
    pub(crate) content: ClusterRoleContent,
    pub(crate) aggregate_to: Vec<Located<String>>,
    pub(crate) labels: Labels,
    pub(crate) clusters: ClusterFilter,
}

/// A ClusterRole has rules of its own, or takes those of others.
#[derive(Debug, Clone)]
pub(crate) enum ClusterRoleContent {
    Rules(Vec<Rule>),
    Aggregation(Vec<Labels>),
}

#[derive(Debug, Clone)]
pub(crate) struct RoleSpec {
    pub(crate) span: Span,
    pub(crate) namespaces: Vec<Located<NamespaceSelector>>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) labels: Labels,
    pub(crate) clusters: ClusterFilter,
}

/// Which namespaces are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceSelector {
    Name(String),
    Glob(WildcardPattern),
    Labels(Labels),
}

#[derive(Debug, Clone)]
pub(crate) struct BindingSpec {
    pub(crate) span: Span,
    pub(crate) role: Located<RoleRefSpec>,
    /// None: cluster-wide.
    pub(crate) namespaces: Option<Vec<Located<NamespaceSelector>>>,
    pub(crate) groups: Vec<Located<String>>,
    pub(crate) users: Vec<Located<String>>,
    pub(crate) principals: Vec<Located<String>>,
    pub(crate) service_accounts: Vec<Located<ServiceAccountSpec>>,
    pub(crate) expires: Option<Located<Expiry>>,
    pub(crate) clusters: ClusterFilter,
}

/// The role a binding gives, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleRefSpec {
    ClusterRole(String),
    Role(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccountSpec {
    /// None: of each of the binding's namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// How far the policy's word goes beyond what it lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OwnershipMode {
    #[default]
    Shared,
    Exclusive,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct OwnershipSpec {
    pub(crate) aws_auth: OwnershipMode,
    pub(crate) rbac: OwnershipMode,
    pub(crate) ignore: Vec<IgnorePattern>,
}

/// What an exclusive policy leaves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IgnorePattern {
    /// Against the ARN of an entry of aws-auth.
    Arn(WildcardPattern),
    /// Against `Kind/name`, or `Kind/namespace/name`.
    Object(WildcardPattern),
}

/// What no plan may do unless the command line says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuardSpec {
    /// Against the ARN as the authenticator compares it: of a role without its path.
    pub(crate) protected: Vec<Located<WildcardPattern>>,
    pub(crate) max_removals: Option<Located<MaxRemovals>>,
}

/// How much a plan may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxRemovals {
    Count(u32),
    /// Of the entries and objects that the policy owns.
    Percent(u32),
}

impl MaxRemovals {
    /// `10` or `20%`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(number) => number.parse().ok().filter(|n| *n <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        }
    }
}

impl fmt::Display for MaxRemovals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(number) => write!(f, "{number}"),
            Self::Percent(number) => write!(f, "{number}%"),
        }
    }
}

/// A statement about access that must hold.
#[derive(Debug, Clone)]
pub(crate) struct InvariantSpec {
    pub(crate) span: Span,
    pub(crate) description: Option<String>,
    pub(crate) subject: InvariantSubjectSpec,
    pub(crate) assertion: Assertion,
}

#[derive(Debug, Clone)]
pub(crate) enum InvariantSubjectSpec {
    Group(Located<String>),
    Principal(Located<String>),
    User(Located<String>),
    ServiceAccount(Located<ServiceAccountSpec>),
    EveryoneBut(Vec<Located<String>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assertion {
    Can(RequestSpec),
    Cannot(RequestSpec),
    CannotEscalate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestSpec {
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
}
