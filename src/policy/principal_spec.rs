//! The parsed principals and groups of a policy: who they are, and in which store a cluster finds them.

use super::model::{ArnDefaults, ClusterFilter, Expiry, Located};
use crate::diagnostic::Span;
use crate::names::{AccountId, Arn};
use crate::state::access_entry::{AccessEntryType, AccessScope};

/// The stores of principals that a policy uses in a cluster: the `authentication` of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    AwsAuth,
    AccessEntries,
    /// A principal has an entry with the same username and groups in both.
    Both,
}

impl StoreChoice {
    pub(crate) const ALL: [Self; 3] = [Self::AwsAuth, Self::AccessEntries, Self::Both];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AwsAuth => "aws-auth",
            Self::AccessEntries => "access-entries",
            Self::Both => "both",
        }
    }

    pub(crate) fn uses_aws_auth(self) -> bool {
        self != Self::AccessEntries
    }

    pub(crate) fn uses_access_entries(self) -> bool {
        self != Self::AwsAuth
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PrincipalSpec {
    pub(crate) span: Span,
    pub(crate) identity: Located<IdentitySpec>,
    pub(crate) kind: EntryType,
    pub(crate) username: Option<Located<String>>,
    /// Two principals can have the same username only if both set this.
    pub(crate) shared_username: bool,
    pub(crate) groups: Vec<Located<String>>,
    /// Only access entries have them.
    pub(crate) access_policies: Vec<AccessPolicySpec>,
    /// The `eks-tags`: tags of the access entry.
    pub(crate) tags: Vec<(Located<String>, Located<String>)>,
    pub(crate) expires: Option<Located<Expiry>>,
    pub(crate) clusters: ClusterFilter,
}

/// An item of `access-policies`: an access policy of EKS, and where it applies.
#[derive(Debug, Clone)]
pub(crate) struct AccessPolicySpec {
    /// The name, such as `AmazonEKSViewPolicy`.
    pub(crate) policy: Located<String>,
    /// Names of namespaces, and patterns with `*`. `None` for the whole cluster.
    pub(crate) namespaces: Option<Vec<Located<String>>>,
}

impl AccessPolicySpec {
    pub(crate) fn scope(&self) -> AccessScope {
        match &self.namespaces {
            None => AccessScope::Cluster,
            Some(names) => AccessScope::Namespaces(names.iter().map(|name| name.value.clone()).collect()),
        }
    }
}

/// The IAM identity of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdentitySpec {
    Arn(Arn),
    /// A bare role name, in the account of each cluster.
    Role(String),
    /// A bare user name, in the account of each cluster.
    User(String),
    Sso {
        permission_set: String,
        account: AccountId,
        /// `None` for the partition of each cluster.
        partition: Option<&'static str>,
        /// The suffix of the role name: 16 hexadecimal digits.
        id: String,
        /// The home region of IAM Identity Center, which is a part of the path of the role. `None` if the policy leaves it
        /// out: aws-auth has no paths.
        region: Option<String>,
    },
    Account(AccountId),
}

impl IdentitySpec {
    /// Returns the ARN in a cluster with these defaults; `None` for a whole account, and for a bare name without a
    /// default account.
    pub(crate) fn resolve_arn(&self, defaults: ArnDefaults<'_>) -> Option<Arn> {
        use crate::names::PrincipalKind::{Role, User};
        let default_partition = defaults.partition_or_default();
        match self {
            Self::Arn(arn) => Some(arn.clone()),
            Self::Role(name) => defaults.account.map(|id| Arn::new(default_partition, id, Role, name)),
            Self::User(name) => defaults.account.map(|id| Arn::new(default_partition, id, User, name)),
            Self::Sso { permission_set, account, partition, id, region } => {
                let name = format!("AWSReservedSSO_{permission_set}_{id}");
                let arn = Arn::new(partition.unwrap_or(default_partition), account, Role, &name);
                Some(match region.as_deref() {
                    None => arn,
                    // IAM Identity Center in us-east-1 creates its roles without the region in the path (IAM Identity Center
                    // User Guide, "Referencing permission sets in resource policies").
                    Some("us-east-1") => arn.with_path(SSO_ROLE_PATH),
                    Some(region) => arn.with_path(&format!("{SSO_ROLE_PATH}{region}/")),
                })
            }
            Self::Account(_) => None,
        }
    }
}

/// The path of the roles that IAM Identity Center creates.
const SSO_ROLE_PATH: &str = "/aws-reserved/sso.amazonaws.com/";

/// The `kind` of a principal: whether it is a node, and of which type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryType {
    Standard,
    Node,
    WindowsNode,
    Fargate,
    HybridNode,
    /// A node of Auto Mode. It has an access entry only.
    AutoNode,
    /// A node of SageMaker HyperPod. It has an access entry only.
    Hyperpod,
}

const EC2_NODE_USERNAME: &str = "system:node:{{EC2PrivateDNSName}}";
const SESSION_NODE_USERNAME: &str = "system:node:{{SessionName}}";

impl EntryType {
    /// The kinds of node that a policy can name.
    pub(crate) const NODES: [Self; 6] =
        [Self::Node, Self::WindowsNode, Self::Fargate, Self::HybridNode, Self::AutoNode, Self::Hyperpod];

    /// As the policy writes it. A principal that is no node has no `kind`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Node => "node",
            Self::WindowsNode => "windows-node",
            Self::Fargate => "fargate",
            Self::HybridNode => "hybrid-node",
            Self::AutoNode => "auto-node",
            Self::Hyperpod => "hyperpod",
        }
    }

    /// Returns the username template of nodes of this kind. An access entry gets it from EKS.
    pub(crate) fn node_username(self) -> Option<&'static str> {
        match self {
            Self::Standard => None,
            Self::Node | Self::WindowsNode | Self::AutoNode => Some(EC2_NODE_USERNAME),
            Self::Fargate | Self::HybridNode | Self::Hyperpod => Some(SESSION_NODE_USERNAME),
        }
    }

    /// Returns the groups that nodes of this kind need in aws-auth (EKS User Guide, "Grant IAM users access" and "Prepare
    /// cluster access for hybrid nodes"). `None` if aws-auth cannot map them.
    pub(crate) fn aws_auth_groups(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Standard => Some(&[]),
            Self::Node | Self::HybridNode => Some(&["system:bootstrappers", "system:nodes"]),
            Self::WindowsNode => Some(&["system:bootstrappers", "system:nodes", "eks:kube-proxy-windows"]),
            Self::Fargate => Some(&["system:bootstrappers", "system:nodes", "system:node-proxier"]),
            Self::AutoNode | Self::Hyperpod => None,
        }
    }

    /// Returns the type of the access entry (EKS API 2017-11-01, `CreateAccessEntryRequest.type`).
    pub(crate) fn access_entry_type(self) -> AccessEntryType {
        match self {
            Self::Standard => AccessEntryType::Standard,
            Self::Node => AccessEntryType::Ec2Linux,
            Self::WindowsNode => AccessEntryType::Ec2Windows,
            Self::Fargate => AccessEntryType::FargateLinux,
            Self::HybridNode => AccessEntryType::HybridLinux,
            Self::AutoNode => AccessEntryType::Ec2,
            Self::Hyperpod => AccessEntryType::HyperpodLinux,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct GroupSpec {
    pub(crate) span: Span,
    pub(crate) members: Vec<Located<String>>,
    /// Each member has them.
    pub(crate) access_policies: Vec<AccessPolicySpec>,
    pub(crate) clusters: ClusterFilter,
}
