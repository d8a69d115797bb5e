//! Sets of requests as owned data for JSON output. The data describe exactly the same set of requests, so that another
//! program can evaluate it without parsing text.

use super::product::{ObjectRequestSet, RequestSet, UrlRequestSet};
use super::request_set_except::RequestSetExcept;
use super::resource_set::ResourceSet;
use super::string_set::StringSet;

/// A set of requests with exceptions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestSetData {
    pub(crate) set: ProductSetData,
    /// Requests of the set that are excluded.
    pub(crate) except: Vec<ProductSetData>,
}

/// The requests that match every listed field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProductSetData {
    Objects {
        verbs: StringSetData,
        api_groups: StringSetData,
        /// The resource must be in one of these.
        resources: Vec<ResourceSetData>,
        /// The empty name is a request without a name.
        resource_names: StringSetData,
        /// The empty namespace is a cluster-scoped request, or a request across all namespaces.
        namespaces: StringSetData,
    },
    Urls {
        verbs: StringSetData,
        /// From short to long. The last pattern that matches a URL decides.
        patterns: Vec<UrlPatternData>,
    },
}

/// The listed strings, or all strings except the listed ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StringSetData {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Resources that have the same subresources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceSetData {
    pub(crate) names: StringSetData,
    /// The empty subresource is the resource itself.
    pub(crate) subresources: StringSetData,
}

/// A URL, or with a trailing `*` every URL with that prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UrlPatternData {
    pub(crate) pattern: String,
    pub(crate) included: bool,
}

impl RequestSetData {
    pub(crate) fn from_request_set(requests: &RequestSetExcept<'_>) -> Self {
        let RequestSetExcept { set, except } = requests;
        Self {
            set: ProductSetData::from_request_set(set),
            except: except.iter().map(ProductSetData::from_request_set).collect(),
        }
    }
}

impl ProductSetData {
    fn from_request_set(set: &RequestSet<'_>) -> Self {
        match set {
            RequestSet::Objects(ObjectRequestSet { namespaces, resources, groups, names, verbs }) => Self::Objects {
                verbs: StringSetData::from_string_set(verbs),
                api_groups: StringSetData::from_string_set(groups),
                resources: ResourceSetData::from_resource_set(resources),
                resource_names: StringSetData::from_string_set(names),
                namespaces: StringSetData::from_string_set(namespaces),
            },
            RequestSet::Urls(UrlRequestSet { urls, verbs }) => Self::Urls {
                verbs: StringSetData::from_string_set(verbs),
                patterns: urls
                    .patterns()
                    .map(|(pattern, included)| UrlPatternData { pattern: pattern.to_string(), included })
                    .collect(),
            },
        }
    }
}

impl StringSetData {
    fn from_string_set(set: &StringSet<'_>) -> Self {
        let (listed, all_but) = set.listed();
        let listed = listed.iter().map(|string| (*string).to_owned()).collect();
        if all_but { Self::AllBut(listed) } else { Self::Only(listed) }
    }
}

impl ResourceSetData {
    fn from_resource_set(resources: &ResourceSet<'_>) -> Vec<Self> {
        let (by_subresource, others) = resources.parts();
        let listed: Vec<String> = by_subresource.iter().map(|(subresource, _)| (*subresource).to_owned()).collect();
        let with_subresource = |(subresource, names): &(&str, StringSet<'_>)| Self {
            names: StringSetData::from_string_set(names),
            subresources: StringSetData::Only(vec![(*subresource).to_owned()]),
        };
        let others = (!others.is_empty()).then(|| Self {
            names: StringSetData::from_string_set(others),
            subresources: StringSetData::AllBut(listed),
        });
        by_subresource.iter().filter(|(_, names)| !names.is_empty()).map(with_subresource).chain(others).collect()
    }
}
