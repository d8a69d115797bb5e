//! Sets of requests as data, so that scripts do not have to parse the text of a permission.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{ProductSetData, RequestSetData, ResourceSetData, StringSetData, UrlPatternData};

/// A set of requests. A request is in it if it is in `set` and in none of `except`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RequestsJson {
    /// The requests, before the exceptions.
    set: RequestSetJson,
    /// The exceptions.
    except: Vec<RequestSetJson>,
}

/// Requests for resources, or requests for URLs that are not resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RequestSetJson {
    Resource(ResourceRequestsJson),
    NonResource(NonResourceRequestsJson),
}

/// Requests for resources. A request is in the set if each of its parts is in the list of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ResourceRequestsJson {
    /// The verbs, such as `get`.
    verbs: StringSetJson,
    /// The API groups. The core group is the empty string.
    api_groups: StringSetJson,
    /// The resources with their subresources. A request is in the list if one item has both.
    resources: Vec<ResourceSetJson>,
    /// The names of the objects. A request without a name, such as `create`, has the empty string.
    resource_names: StringSetJson,
    /// The namespaces. A request for a cluster-scoped object or for all namespaces at once has the empty string.
    namespaces: StringSetJson,
}

/// Requests for URLs that are not resources. A request is in the set if its verb is listed and its URL is included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct NonResourceRequestsJson {
    /// The verbs, such as `get`.
    verbs: StringSetJson,
    /// URL patterns, from short to long. The last pattern that matches a URL decides whether the URL is included. A URL
    /// that no pattern matches is not included.
    urls: Vec<UrlPatternJson>,
}

/// Resources that have the same subresources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ResourceSetJson {
    /// The resources, such as `pods`.
    names: StringSetJson,
    /// The subresources, such as `exec`. The empty string is the resource itself.
    subresources: StringSetJson,
}

/// A URL, or a prefix of URLs if it ends with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct UrlPatternJson {
    /// A non-resource URL, or a URL prefix that ends with `*`.
    pattern: String,
    /// Whether the set includes (true) or excludes (false) the matching URLs.
    included: bool,
}

/// A set of strings. The object has exactly one of these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum StringSetJson {
    /// The set contains only these strings.
    Only(Vec<String>),
    /// The set contains all strings except these.
    AllExcept(Vec<String>),
}

impl From<&RequestSetData> for RequestsJson {
    fn from(requests: &RequestSetData) -> Self {
        let RequestSetData { set, except } = requests;
        Self { set: set.into(), except: except.iter().map(RequestSetJson::from).collect() }
    }
}

impl From<RequestsJson> for RequestSetData {
    fn from(requests: RequestsJson) -> Self {
        let RequestsJson { set, except } = requests;
        Self { set: set.into(), except: except.into_iter().map(ProductSetData::from).collect() }
    }
}

impl From<&ProductSetData> for RequestSetJson {
    fn from(set: &ProductSetData) -> Self {
        match set {
            ProductSetData::Objects { verbs, api_groups, resources, resource_names, namespaces } => {
                Self::Resource(ResourceRequestsJson {
                    verbs: verbs.into(),
                    api_groups: api_groups.into(),
                    resources: resources
                        .iter()
                        .map(|ResourceSetData { names, subresources }| ResourceSetJson {
                            names: names.into(),
                            subresources: subresources.into(),
                        })
                        .collect(),
                    resource_names: resource_names.into(),
                    namespaces: namespaces.into(),
                })
            }
            ProductSetData::Urls { verbs, patterns } => Self::NonResource(NonResourceRequestsJson {
                verbs: verbs.into(),
                urls: patterns
                    .iter()
                    .map(|UrlPatternData { pattern, included }| UrlPatternJson {
                        pattern: pattern.clone(),
                        included: *included,
                    })
                    .collect(),
            }),
        }
    }
}

impl From<RequestSetJson> for ProductSetData {
    fn from(set: RequestSetJson) -> Self {
        match set {
            RequestSetJson::Resource(set) => {
                let ResourceRequestsJson { verbs, api_groups, resources, resource_names, namespaces } = set;
                Self::Objects {
                    verbs: verbs.into(),
                    api_groups: api_groups.into(),
                    resources: resources
                        .into_iter()
                        .map(|ResourceSetJson { names, subresources }| ResourceSetData {
                            names: names.into(),
                            subresources: subresources.into(),
                        })
                        .collect(),
                    resource_names: resource_names.into(),
                    namespaces: namespaces.into(),
                }
            }
            RequestSetJson::NonResource(NonResourceRequestsJson { verbs, urls }) => Self::Urls {
                verbs: verbs.into(),
                patterns: urls
                    .into_iter()
                    .map(|UrlPatternJson { pattern, included }| UrlPatternData { pattern, included })
                    .collect(),
            },
        }
    }
}

impl From<&StringSetData> for StringSetJson {
    fn from(set: &StringSetData) -> Self {
        match set {
            StringSetData::Only(strings) => Self::Only(strings.clone()),
            StringSetData::AllBut(strings) => Self::AllExcept(strings.clone()),
        }
    }
}

impl From<StringSetJson> for StringSetData {
    fn from(set: StringSetJson) -> Self {
        match set {
            StringSetJson::Only(strings) => Self::Only(strings),
            StringSetJson::AllExcept(strings) => Self::AllBut(strings),
        }
    }
}
