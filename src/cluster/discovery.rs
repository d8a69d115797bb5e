//! Reads the resources of the cluster's API. It needs no other permission than that of `system:discovery`.

use super::ClusterError;
use super::api_client::{Accepted, ApiClient, ApiRequest, invalid};
use super::response_body::ResponseSize;
use crate::api_resources::KnownResources;

/// Aggregated discovery, which has all groups in one response (Kubernetes 1.30 and newer).
const ACCEPT_DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Returns the built-in resources if the API server does not answer with aggregated discovery, or refuses it. The core
/// group is not requested, because all of its resources are built-in.
///
/// # Errors
/// If the API server cannot be reached.
pub(super) async fn read_resources(client: &ApiClient) -> Result<KnownResources, ClusterError> {
    let operation = "read the API discovery".to_owned();
    let accept = Accepted { content_type: ACCEPT_DISCOVERY, size: ResponseSize::Object };
    let request = ApiRequest { method: "GET", path: "/apis", body: None, operation: operation.clone() };
    let response = client.send_accepting(&request, accept).await?;
    if !response.is_success() {
        return Ok(KnownResources::default());
    }
    // An API server before Kubernetes 1.30 ignores the accepted type and sends the list of the groups.
    if response.parse_object("APIGroupList", &operation).is_ok() {
        return Ok(KnownResources::default());
    }
    let value = response.parse_object("APIGroupDiscoveryList", &operation)?;
    KnownResources::from_discovery_json(&value).ok_or_else(|| invalid(&operation, &"it is not valid"))
}
