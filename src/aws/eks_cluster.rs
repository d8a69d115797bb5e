//! What DescribeCluster says about a cluster: how to connect to it, and how it authenticates.

use aws_sdk_eks::types::Cluster;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use super::errors::AwsError;
use crate::names::eks_cluster_in_arn;
use crate::state::auth_mode::ClusterAuthMode;

/// The name of a cluster and its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EksClusterName {
    pub(crate) name: String,
    pub(crate) region: String,
}

/// A cluster that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EksCluster {
    pub(crate) endpoint: String,
    /// Base64 of one or several PEM certificates.
    pub(crate) certificate_authority: String,
    /// What tokens are signed for: the name, or the id of a local cluster on an Outpost.
    pub(crate) token_id: String,
    pub(crate) arn: String,
    pub(crate) version: Option<String>,
    pub(crate) auth_mode: ClusterAuthMode,
    /// The role of the nodes of Auto Mode, if it is enabled.
    pub(crate) auto_mode_role: Option<String>,
    /// Whether the endpoint can be reached only from the VPC of the cluster.
    pub(crate) is_private: bool,
}

impl EksCluster {
    /// Reads an answer of DescribeCluster.
    ///
    /// # Errors
    /// If the cluster has no endpoint yet or any more, if it is in another account, or if the answer is not as documented
    /// (EKS API 2017-11-01, Cluster).
    pub(super) fn from_answer(cluster: &Cluster, id: &EksClusterName, account: Option<&str>) -> Result<Self, AwsError> {
        let EksClusterName { name, region } = id;
        let status = cluster.status().map_or("UNKNOWN", |status| status.as_str());
        let not_ready = || AwsError::ClusterNotReady {
            name: name.clone(),
            region: region.clone(),
            status: if is_word(status) { status.to_owned() } else { "UNKNOWN".to_owned() },
        };
        // A cluster that is UPDATING serves requests.
        if ["CREATING", "PENDING", "DELETING", "FAILED"].contains(&status) {
            return Err(not_ready());
        }
        let invalid = |problem| AwsError::InvalidCluster { name: name.clone(), problem };
        let arn = cluster
            .arn()
            .filter(|arn| eks_cluster_in_arn(arn) == Some(name.as_str()))
            .ok_or_else(|| invalid("it has no ARN"))?;
        if let Some(expected) = account
            && let Some(found) = arn.split(':').nth(4)
            && found != expected
        {
            return Err(AwsError::OtherAccount {
                name: name.clone(),
                region: region.clone(),
                found: found.to_owned(),
                expected: expected.to_string(),
            });
        }
        let endpoint = cluster.endpoint().ok_or_else(not_ready)?;
        let uri = endpoint.parse::<Uri>().ok();
        let uri =
            uri.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty()));
        if uri.is_none_or(|uri| uri.authority().is_some_and(|authority| authority.as_str().contains('@'))) {
            return Err(invalid("its endpoint is not an https URL"));
        }
        let authority = cluster.certificate_authority().and_then(|authority| authority.data()).ok_or_else(not_ready)?;
        STANDARD.decode(authority).map_err(|_| invalid("its certificate authority is not valid base64"))?;
        let mode = cluster.access_config().and_then(|config| config.authentication_mode());
        let auth_mode = mode.map_or(Some(ClusterAuthMode::ConfigMap), |mode| ClusterAuthMode::parse(mode.as_str()));
        let outpost_id = cluster.outpost_config().and(cluster.id());
        Ok(Self {
            endpoint: endpoint.to_owned(),
            certificate_authority: authority.to_owned(),
            token_id: outpost_id.unwrap_or(name).to_owned(),
            arn: arn.to_owned(),
            auto_mode_role: cluster.compute_config().and_then(|compute| compute.node_role_arn()).map(str::to_owned),
            version: cluster.version().filter(|version| is_version(version)).map(str::to_owned),
            auth_mode: auth_mode.unwrap_or_else(|| ClusterAuthMode::Other("UNKNOWN".to_owned())),
            is_private: cluster.resources_vpc_config().is_some_and(|vpc| !vpc.endpoint_public_access()),
        })
    }
}

/// Returns whether a text is one word, as a status is.
fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// `1.36`.
pub(crate) fn is_version(text: &str) -> bool {
    text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::builders::ClusterBuilder;
    use aws_sdk_eks::types::{AccessConfigResponse, AuthenticationMode, Certificate, ClusterStatus, VpcConfigResponse};

    use super::*;

    fn builder() -> ClusterBuilder {
        Cluster::builder()
            .name("prod")
            .arn("arn:aws:eks:eu-west-1:111122223333:cluster/prod")
            .endpoint("https://ABC.gr7.eu-west-1.eks.amazonaws.com")
            .certificate_authority(Certificate::builder().data("LS0t").build())
            .status(ClusterStatus::Active)
            .version("1.36")
    }

    fn read(builder: ClusterBuilder, account: Option<&str>) -> Result<EksCluster, AwsError> {
        let id = EksClusterName { name: "prod".to_owned(), region: "eu-west-1".to_owned() };
        EksCluster::from_answer(&builder.build(), &id, account)
    }

    #[test]
    fn cluster_that_is_active_or_updating_can_be_connected_to() {
        let cluster = read(builder(), Some("111122223333")).unwrap();
        assert_eq!((cluster.auth_mode, cluster.is_private), (ClusterAuthMode::ConfigMap, false));
        let mode = AccessConfigResponse::builder().authentication_mode(AuthenticationMode::from("NEW")).build();
        let vpc = VpcConfigResponse::builder().endpoint_public_access(false).build();
        let updating = builder().status(ClusterStatus::Updating).access_config(mode).resources_vpc_config(vpc);
        let cluster = read(updating, None).unwrap();
        assert_eq!((cluster.auth_mode, cluster.is_private), (ClusterAuthMode::Other("NEW".to_owned()), true));
    }

    #[test]
    fn cluster_without_a_usable_endpoint_is_refused() {
        for status in [ClusterStatus::Creating, ClusterStatus::Deleting, ClusterStatus::Failed, ClusterStatus::Pending]
        {
            assert!(matches!(read(builder().status(status), None), Err(AwsError::ClusterNotReady { .. })));
        }
        assert!(matches!(read(builder().set_endpoint(None), None), Err(AwsError::ClusterNotReady { .. })));
        for endpoint in ["http://example.test", "https://u:p@example.test", "example", "https://"] {
            assert!(
                matches!(read(builder().endpoint(endpoint), None), Err(AwsError::InvalidCluster { .. })),
                "{endpoint}"
            );
        }
        let other = read(builder(), Some("444455556666")).unwrap_err();
        assert_eq!(
            other.to_string(),
            "the EKS cluster `prod` in eu-west-1 is in the account 111122223333, not in 444455556666"
        );
        assert!(matches!(
            read(builder().arn("arn:aws:eks:eu-west-1:111122223333:cluster/other"), None),
            Err(AwsError::InvalidCluster { .. })
        ));
    }
}
