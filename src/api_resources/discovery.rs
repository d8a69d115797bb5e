//! Reads and writes the aggregated discovery of a cluster (`APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`).
//!
//! Source: k8s.io/api v0.36.3 `apidiscovery/v2/types.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiResource, ApiResources, KnownResources, ResourceScope};

pub(crate) const DISCOVERY_KIND: &str = "APIGroupDiscoveryList";
const DISCOVERY_API_VERSION: &str = "apidiscovery.k8s.io/v2";

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryGroupList {
    api_version: String,
    kind: String,
    #[serde(default)]
    items: Vec<DiscoveryGroup>,
}

#[derive(Deserialize, Serialize)]
struct DiscoveryGroup {
    #[serde(default)]
    metadata: DiscoveryGroupMeta,
    #[serde(default)]
    versions: Vec<DiscoveryVersion>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct DiscoveryGroupMeta {
    name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryVersion {
    version: String,
    #[serde(default)]
    resources: Vec<DiscoveryResource>,
    /// `Stale` if the server of an aggregated API did not answer. Its resources can be missing then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    freshness: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryResource {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    scope: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    singular_resource: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<DiscoverySubresource>,
}

#[derive(Deserialize, Serialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize, Serialize)]
struct DiscoverySubresource {
    subresource: String,
    #[serde(default)]
    verbs: Vec<String>,
}

impl KnownResources {
    /// Reads the discovery of `/apis`, which lists the resources of all API groups except the core group. `None` if the
    /// value is another document, such as the `APIGroupList` of an API server without aggregated discovery.
    pub(crate) fn from_discovery_json(value: &Value) -> Option<Self> {
        let list = DiscoveryGroupList::deserialize(value).ok()?;
        if list.kind != DISCOVERY_KIND || list.api_version != DISCOVERY_API_VERSION {
            return None;
        }
        let mut discovered = ApiResources::default();
        let mut is_complete = true;
        for DiscoveryGroup { metadata, versions } in list.items {
            for version in versions {
                is_complete &= version.freshness != "Stale";
                for resource in version.resources {
                    let Some(resource) = resource.into_api_resource(&metadata.name) else {
                        is_complete = false;
                        continue;
                    };
                    discovered.insert_version(resource);
                }
            }
        }
        Some(Self::from_discovery(discovered, is_complete))
    }

    /// Returns the discovery as a document of a snapshot. It has only the resources that Kubernetes itself does not have.
    /// `None` if the discovery was not read completely.
    pub(crate) fn to_discovery_json(&self) -> Option<Value> {
        if !self.is_complete() {
            return None;
        }
        let mut groups: BTreeMap<&str, Vec<DiscoveryResource>> = BTreeMap::new();
        for resource in self.all().iter() {
            if ApiResources::builtin().get(&resource.group, &resource.plural).is_none() {
                groups.entry(&resource.group).or_default().push(DiscoveryResource::from_api_resource(resource));
            }
        }
        let group = |(name, resources): (&str, Vec<DiscoveryResource>)| DiscoveryGroup {
            metadata: DiscoveryGroupMeta { name: name.to_owned() },
            versions: vec![DiscoveryVersion { version: "any".to_owned(), resources, freshness: String::new() }],
        };
        let items = groups.into_iter().map(group).collect();
        let list = DiscoveryGroupList {
            api_version: DISCOVERY_API_VERSION.to_owned(),
            kind: DISCOVERY_KIND.to_owned(),
            items,
        };
        serde_json::to_value(list).ok()
    }
}

impl ApiResources {
    /// Adds a resource. A resource of an earlier version of the same group gets the verbs and subresources of both.
    fn insert_version(&mut self, resource: ApiResource) {
        let name = (resource.group.clone(), resource.plural.clone());
        let Some(known) = self.by_name.get_mut(&name) else {
            self.insert(resource);
            return;
        };
        known.verbs.extend(resource.verbs);
        for (subresource, verbs) in resource.subresources {
            known.subresources.entry(subresource).or_default().extend(verbs);
        }
    }
}

impl DiscoveryResource {
    /// Returns `None` if the scope is neither of the two that Kubernetes has.
    fn into_api_resource(self, group: &str) -> Option<ApiResource> {
        let scope = match self.scope.as_str() {
            "Namespaced" => ResourceScope::Namespaced,
            "Cluster" => ResourceScope::Cluster,
            _ => return None,
        };
        let subresource = |DiscoverySubresource { subresource, verbs }| (subresource, verbs.into_iter().collect());
        Some(ApiResource {
            group: group.to_owned(),
            plural: self.resource,
            singular: self.singular_resource,
            kind: self.response_kind.map(|response| response.kind).unwrap_or_default(),
            short_names: self.short_names,
            scope,
            verbs: self.verbs.into_iter().collect(),
            subresources: self.subresources.into_iter().map(subresource).collect(),
        })
    }

    fn from_api_resource(resource: &ApiResource) -> Self {
        let list = |verbs: &BTreeSet<String>| verbs.iter().cloned().collect();
        let subresource = |(name, verbs): (&String, &BTreeSet<String>)| DiscoverySubresource {
            subresource: name.clone(),
            verbs: list(verbs),
        };
        Self {
            resource: resource.plural.clone(),
            response_kind: Some(ResponseKind { kind: resource.kind.clone() }),
            scope: match resource.scope {
                ResourceScope::Namespaced => "Namespaced".to_owned(),
                ResourceScope::Cluster => "Cluster".to_owned(),
            },
            singular_resource: resource.singular.clone(),
            verbs: list(&resource.verbs),
            short_names: resource.short_names.clone(),
            subresources: resource.subresources.iter().map(subresource).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn discovery() -> Value {
        json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [{
                "metadata": { "name": "example.com", "creationTimestamp": null },
                "versions": [
                    { "version": "v2", "freshness": "Current", "resources": [{
                        "resource": "widgets", "scope": "Cluster", "singularResource": "widget", "shortNames": ["wd"],
                        "responseKind": { "group": "example.com", "version": "v2", "kind": "Widget" },
                        "verbs": ["get", "list"], "categories": ["all"],
                        "subresources": [{ "subresource": "status", "verbs": ["get"] }],
                    }] },
                    { "version": "v1", "resources": [
                        { "resource": "widgets", "scope": "Cluster", "verbs": ["delete"] },
                        { "resource": "nodes", "scope": "Namespaced", "verbs": ["get"] },
                    ] },
                ],
            }],
        })
    }

    #[test]
    fn discovery_is_read_with_all_versions_of_a_group() {
        let known = KnownResources::from_discovery_json(&discovery()).unwrap();
        let widgets = known.all().get("example.com", "widgets").unwrap();
        assert_eq!(widgets.scope, ResourceScope::Cluster);
        assert_eq!(widgets.verbs.iter().map(String::as_str).collect::<Vec<_>>(), ["delete", "get", "list"]);
        assert!(widgets.has_subresource("status") && widgets.short_names == ["wd"] && widgets.kind == "Widget");
        assert!(known.is_complete() && known.all().get("apps", "deployments").is_some());
        assert_eq!(known.scope_of("example.com", "nodes"), Some(ResourceScope::Namespaced));
        // No other group has the resource, so it does not exist.
        assert_eq!(known.scope_of("other.example", "widgets"), Some(ResourceScope::Cluster));
    }

    #[test]
    fn snapshot_document_has_the_resources_that_kubernetes_does_not_have() {
        let known = KnownResources::from_discovery_json(&discovery()).unwrap();
        let document = known.to_discovery_json().unwrap();
        assert_eq!(document["items"].as_array().unwrap().len(), 1);
        let read = KnownResources::from_discovery_json(&document).unwrap();
        assert_eq!(read.all(), known.all());
        assert!(KnownResources::default().to_discovery_json().is_none());
    }

    #[test]
    fn stale_group_leaves_the_discovery_incomplete() {
        let mut stale = discovery();
        stale["items"][0]["versions"][1]["freshness"] = json!("Stale");
        assert!(!KnownResources::from_discovery_json(&stale).unwrap().is_complete());
        assert!(KnownResources::from_discovery_json(&json!({ "kind": "APIGroupList", "apiVersion": "v1" })).is_none());
    }
}
