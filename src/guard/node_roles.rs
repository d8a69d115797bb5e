//! The IAM roles that EKS itself uses for the nodes and Fargate pods of a cluster. They show what a role is for although
//! its aws-auth entry does not, and although no node runs at the moment.
//!
//! Source: EKS API 2017-11-01, `Nodegroup.nodeRole`, `FargateProfile.podExecutionRoleArn`,
//! `ComputeConfigResponse.nodeRoleArn`.

use crate::access::{IamIdentity, SubjectQuery};

/// What EKS runs with a node role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeRoleUse {
    /// A managed node group.
    NodeGroup(String),
    FargateProfile(String),
    AutoMode,
}

impl NodeRoleUse {
    pub(super) fn is_fargate(&self) -> bool {
        matches!(self, Self::FargateProfile(_))
    }

    /// `the managed node group workers`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::NodeGroup(name) => format!("the managed node group {name}"),
            Self::FargateProfile(name) => format!("the Fargate profile {name}"),
            Self::AutoMode => "Auto Mode of EKS".to_owned(),
        }
    }
}

/// The roles by the ARN that the authenticator compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeRoles {
    uses: Vec<(String, NodeRoleUse)>,
}

impl NodeRoles {
    /// `uses` are the ARNs of the roles as EKS writes them, with their paths. One that is not an ARN is left out: no
    /// principal can have it.
    pub(crate) fn new(uses: impl IntoIterator<Item = (String, NodeRoleUse)>) -> Self {
        let comparable = |(arn, used_by): (String, NodeRoleUse)| {
            IamIdentity::parse(&arn).ok().map(|identity| (identity.comparison_key(), used_by))
        };
        let mut uses: Vec<(String, NodeRoleUse)> = uses.into_iter().filter_map(comparable).collect();
        uses.sort();
        uses.dedup();
        Self { uses }
    }

    /// Returns what EKS uses the role of a principal for.
    pub(super) fn uses_of(&self, subject: &SubjectQuery) -> Vec<&NodeRoleUse> {
        let SubjectQuery::Arn(identity) = subject else {
            return Vec::new();
        };
        let key = identity.comparison_key();
        self.uses.iter().filter(|(arn, _)| *arn == key).map(|(_, used_by)| used_by).collect()
    }
}
