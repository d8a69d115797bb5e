//! The roles that EKS uses for the nodes of a cluster: those of its managed node groups and Fargate profiles.

use aws_sdk_eks::Client;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::errors::{AwsError, classify_call_error};
use super::session::AwsSession;
use crate::guard::NodeRoleUse;

/// How many node groups or profiles are described at the same time. EKS allows few requests a second.
const CONCURRENT: usize = 4;

/// Returns the ARN of each role, as EKS writes it, and what EKS uses it for.
///
/// # Errors
/// If one of the calls is not allowed or fails. The result is never partial.
pub(crate) async fn read_node_roles(
    session: &AwsSession,
    cluster: &str,
) -> Result<Vec<(String, NodeRoleUse)>, AwsError> {
    let client = session.eks_client().await?;
    let (groups, profiles) = futures::future::try_join(
        node_group_roles(session, &client, cluster),
        fargate_profile_roles(session, &client, cluster),
    )
    .await?;
    Ok(groups.into_iter().chain(profiles).collect())
}

async fn node_group_roles(
    session: &AwsSession,
    client: &Client,
    cluster: &str,
) -> Result<Vec<(String, NodeRoleUse)>, AwsError> {
    let resource = format!("the cluster {cluster} in {}", session.region());
    let pages = client.list_nodegroups().cluster_name(cluster).into_paginator().items().send();
    let names: Vec<String> = pages
        .collect::<Result<_, _>>()
        .await
        .map_err(|error| classify_call_error(&error, &session.call("eks:ListNodegroups", &resource)))?;
    let described = stream::iter(names).map(|name| async {
        let result = client.describe_nodegroup().cluster_name(cluster).nodegroup_name(&name).send().await;
        let answer =
            result.map_err(|error| classify_call_error(&error, &session.call("eks:DescribeNodegroup", &resource)))?;
        let role = answer.nodegroup().and_then(|group| group.node_role()).map(str::to_owned);
        Ok::<_, AwsError>(role.map(|role| (role, NodeRoleUse::NodeGroup(name))))
    });
    let roles: Vec<_> = described.buffered(CONCURRENT).try_collect().await?;
    Ok(roles.into_iter().flatten().collect())
}

async fn fargate_profile_roles(
    session: &AwsSession,
    client: &Client,
    cluster: &str,
) -> Result<Vec<(String, NodeRoleUse)>, AwsError> {
    let resource = format!("the cluster {cluster} in {}", session.region());
    let pages = client.list_fargate_profiles().cluster_name(cluster).into_paginator().items().send();
    let names: Vec<String> = pages
        .collect::<Result<_, _>>()
        .await
        .map_err(|error| classify_call_error(&error, &session.call("eks:ListFargateProfiles", &resource)))?;
    let described = stream::iter(names).map(|name| async {
        let result = client.describe_fargate_profile().cluster_name(cluster).fargate_profile_name(&name).send().await;
        let answer = result
            .map_err(|error| classify_call_error(&error, &session.call("eks:DescribeFargateProfile", &resource)))?;
        let role = answer.fargate_profile().and_then(|profile| profile.pod_execution_role_arn()).map(str::to_owned);
        Ok::<_, AwsError>(role.map(|role| (role, NodeRoleUse::FargateProfile(name))))
    });
    let roles: Vec<_> = described.buffered(CONCURRENT).try_collect().await?;
    Ok(roles.into_iter().flatten().collect())
}
