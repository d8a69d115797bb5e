//! Asks EKS about a connected cluster: what its API server does not know.

use super::target::ConnectedCluster;
use crate::access::IamIdentity;
use crate::aws::{AwsError, EksCluster};
use crate::cluster::eks::EksTokenSource;
use crate::cluster::eks_facts::EksFacts;
use crate::guard::{NodeRoleUse, Observed};

/// Returns what EKS says about a live cluster. `None` if the cluster is not known to be one of EKS, as for a snapshot and
/// for a kubeconfig with certificates. The rights to ask are optional: what AWS does not answer is unknown.
pub(crate) async fn read_eks_facts(connected: &ConnectedCluster) -> Option<EksFacts> {
    let source = connected.tokens.as_ref()?;
    let described = match &connected.eks {
        Some(cluster) => Ok(cluster.clone()),
        None => source.describe_cluster().await,
    };
    let unanswered = |error: &AwsError| error.to_string();
    Some(match described {
        Ok(cluster) => {
            let node_roles = ask_node_roles(source, &cluster).await;
            let EksCluster { arn, version, auth_mode, .. } = cluster;
            let no_version = || Observed::Unknown("AWS did not say it".to_owned());
            EksFacts {
                arn: Observed::Known(arn),
                version: version.map_or_else(no_version, Observed::Known),
                auth_mode: Observed::Known(auth_mode),
                node_roles,
                unknown_access_entries: None,
            }
        }
        // Its node groups are not asked for: they could be those of another cluster with the name.
        Err(error) => EksFacts {
            arn: Observed::Unknown(unanswered(&error)),
            version: Observed::Unknown(unanswered(&error)),
            auth_mode: Observed::Unknown(unanswered(&error)),
            node_roles: Observed::Unknown(unanswered(&error)),
            unknown_access_entries: None,
        },
    })
}

async fn ask_node_roles(source: &EksTokenSource, cluster: &EksCluster) -> Observed<Vec<(String, NodeRoleUse)>> {
    let auto_mode = cluster.auto_mode_role.clone().map(|role| (role, NodeRoleUse::AutoMode));
    match source.node_roles().await {
        Ok(roles) => {
            let roles: Vec<(String, NodeRoleUse)> = roles.into_iter().chain(auto_mode).collect();
            if roles.iter().all(|(role, _)| IamIdentity::parse(role).is_ok()) {
                Observed::Known(roles)
            } else {
                Observed::Unknown("AWS named a role of nodes that is not an ARN".to_owned())
            }
        }
        Err(error) => Observed::Unknown(error.to_string()),
    }
}
