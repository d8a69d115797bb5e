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
        let Self { name, region, account, role_arn: _ } = self;
        let partition = partition_for_region(region);
        format!("arn:{partition}:eks:{region}:{}:cluster/{name}", account.as_deref().unwrap_or("*"))
    }
}

/// Returns the policy of the runner: to describe the clusters, or to assume the roles for them.
pub(crate) fn runner_iam_policy(clusters: &[EksAccess]) -> Value {
    let roles: BTreeSet<&str> = clusters.iter().filter_map(|cluster| cluster.role_arn.as_deref()).collect();
    let own = clusters.iter().filter(|cluster| cluster.role_arn.is_none());
    let described: BTreeSet<String> = own.map(EksAccess::arn).collect();
    let mut statements = Vec::new();
    if !described.is_empty() {
        statements.push(json!({ "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": described }));
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
            runner_iam_policy(&clusters),
            json!({ "Version": "2012-10-17", "Statement": [
                { "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": [
                    "arn:aws-cn:eks:cn-north-1:*:cluster/prod", "arn:aws:eks:eu-west-1:111122223333:cluster/prod" ] },
                { "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [role] },
            ] })
        );
        let of_role = "arn:aws:eks:eu-central-1:444455556666:cluster/main".to_owned();
        assert_eq!(assumed_roles(&clusters), BTreeSet::from([(role, of_role)]));
    }
}
