//! The IAM policy that a runner needs to connect to EKS clusters by their names.
//!
//! GetCallerIdentity needs no permission (STS API), and a token for a cluster is made without a call.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::names::partition_for_region;

/// A cluster, and the role by which the runner connects to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EksAccess {
    pub(crate) name: String,
    pub(crate) region: String,
    /// `None` for any account.
    pub(crate) account: Option<String>,
    /// The role that the runner assumes for the cluster.
    pub(crate) role_arn: Option<String>,
}

impl EksAccess {
    /// The ARN of the cluster, with `*` for what is not known.
    fn arn(&self) -> String {
        format!("{}:cluster/{}", self.arn_prefix(), self.name)
    }

    /// The ARNs of the node groups and Fargate profiles of the cluster.
    fn node_arns(&self) -> [String; 2] {
        ["fargateprofile", "nodegroup"].map(|kind| format!("{}:{kind}/{}/*", self.arn_prefix(), self.name))
    }

    fn arn_prefix(&self) -> String {
        let Self { name: _, region, account, role_arn: _ } = self;
        let partition = partition_for_region(region);
        format!("arn:{partition}:eks:{region}:{}", account.as_deref().unwrap_or("*"))
    }
}

/// Returns the policy of the runner: to describe the clusters and read their access entries, or to assume the roles for them.
/// Reading the roles of nodes is optional: without it, the guard of nodes checks less. `writes` is whether the runner also
/// writes access entries.
pub(crate) fn runner_iam_policy(clusters: &[EksAccess], writes: bool) -> Value {
    let roles: BTreeSet<&str> = clusters.iter().filter_map(|cluster| cluster.role_arn.as_deref()).collect();
    let own = || clusters.iter().filter(|cluster| cluster.role_arn.is_none());
    let described: BTreeSet<String> = own().map(EksAccess::arn).collect();
    let node_arns: BTreeSet<String> = own().flat_map(EksAccess::node_arns).collect();
    let entry_arns: BTreeSet<String> =
        own().map(|cluster| format!("{}:access-entry/{}/*", cluster.arn_prefix(), cluster.name)).collect();
    let mut statements = Vec::new();
    if !described.is_empty() {
        statements.push(json!({ "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": &described }));
        statements.push(json!({
            "Sid": "AccessEntries",
            "Effect": "Allow",
            "Action": [
                "eks:DescribeAccessEntry", "eks:ListAccessEntries", "eks:ListAssociatedAccessPolicies"
            ],
            "Resource": described.union(&entry_arns).collect::<Vec<_>>(),
        }));
        if writes {
            // Each action is authorized on the cluster or on the entry (Service Authorization Reference, Amazon EKS).
            statements.push(json!({
                "Sid": "AccessEntryWrites",
                "Effect": "Allow",
                "Action": [
                    "eks:AssociateAccessPolicy", "eks:CreateAccessEntry", "eks:DeleteAccessEntry",
                    "eks:DisassociateAccessPolicy", "eks:TagResource", "eks:UntagResource", "eks:UpdateAccessEntry"
                ],
                "Resource": described.union(&entry_arns).collect::<Vec<_>>(),
            }));
        }
        statements.push(json!({
            "Sid": "OptionalNodeRoles",
            "Effect": "Allow",
            "Action": [
                "eks:DescribeFargateProfile", "eks:DescribeNodegroup", "eks:ListFargateProfiles", "eks:ListNodegroups"
            ],
            "Resource": described.union(&node_arns).collect::<Vec<_>>(),
        }));
    }
    if !roles.is_empty() {
        statements.push(json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": roles }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Returns the roles that are assumed, each with the clusters that it must be allowed to describe.
pub(crate) fn assumed_roles(clusters: &[EksAccess]) -> BTreeSet<(&str, String)> {
    clusters.iter().filter_map(|cluster| Some((cluster.role_arn.as_deref()?, cluster.arn()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runner_describes_clusters_or_assumes_the_roles_that_do() {
        let access = |name: &str, region: &str, account: Option<&str>, role: Option<&str>| EksAccess {
            name: name.to_owned(),
            region: region.to_owned(),
            account: account.map(str::to_owned),
            role_arn: role.map(str::to_owned),
        };
        let role = "arn:aws:iam::444455556666:role/rolecall";
        let clusters = [
            access("prod", "eu-west-1", Some("111122223333"), None),
            access("prod", "cn-north-1", None, None),
            access("main", "eu-central-1", Some("444455556666"), Some(role)),
        ];
        assert_eq!(
            runner_iam_policy(&clusters, false),
            json!({ "Version": "2012-10-17", "Statement": [
                { "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": [
                    "arn:aws-cn:eks:cn-north-1:*:cluster/prod", "arn:aws:eks:eu-west-1:111122223333:cluster/prod" ] },
                { "Sid": "AccessEntries", "Effect": "Allow", "Action": [
                    "eks:DescribeAccessEntry", "eks:ListAccessEntries", "eks:ListAssociatedAccessPolicies"
                ], "Resource": [
                    "arn:aws-cn:eks:cn-north-1:*:access-entry/prod/*",
                    "arn:aws-cn:eks:cn-north-1:*:cluster/prod",
                    "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/*",
                    "arn:aws:eks:eu-west-1:111122223333:cluster/prod"
                ] },
                { "Sid": "OptionalNodeRoles", "Effect": "Allow", "Action": [
                    "eks:DescribeFargateProfile", "eks:DescribeNodegroup", "eks:ListFargateProfiles", "eks:ListNodegroups"
                ], "Resource": [
                    "arn:aws-cn:eks:cn-north-1:*:cluster/prod",
                    "arn:aws-cn:eks:cn-north-1:*:fargateprofile/prod/*",
                    "arn:aws-cn:eks:cn-north-1:*:nodegroup/prod/*",
                    "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
                    "arn:aws:eks:eu-west-1:111122223333:fargateprofile/prod/*",
                    "arn:aws:eks:eu-west-1:111122223333:nodegroup/prod/*"
                ] },
                { "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [role] },
            ] })
        );
        let with_writes = runner_iam_policy(&clusters, true);
        assert_eq!(with_writes["Statement"][2]["Sid"], "AccessEntryWrites");
        let of_role = "arn:aws:eks:eu-central-1:444455556666:cluster/main".to_owned();
        assert_eq!(assumed_roles(&clusters), BTreeSet::from([(role, of_role)]));
    }
}
