//! Sets of requests as data, which a machine evaluates without reading words: the same set, to the last request.

use super::product::{ObjectRequestSet, RequestSet, UrlRequestSet};
use super::request_set_except::RequestSetExcept;
use super::resource_set::ResourceSet;
use super::string_set::StringSet;

/// A set of requests with exceptions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestSetData {
    pub(crate) set: ProductSetData,
    /// What of the set is not meant.
    pub(crate) except: Vec<ProductSetData>,
}

/// Requests that have all that is listed in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProductSetData {
    Objects {
        verbs: StringSetData,
        api_groups: StringSetData,
        /// In one of these.
        resources: Vec<ResourceSetData>,
        /// The empty name is none.
        resource_names: StringSetData,
        /// The empty namespace is none, or all of them at once.
        namespaces: StringSetData,
    },
    Urls {
        verbs: StringSetData,
        /// From short to long: of those that match, the last decides.
        patterns: Vec<UrlPatternData>,
    },
}

/// Some words, or all but some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StringSetData {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Resources with the same subresources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceSetData {
    pub(crate) names: StringSetData,
    /// The empty subresource is the resource itself.
    pub(crate) subresources: StringSetData,
}

/// A URL, or with a `*` at its end all that begin so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UrlPatternData {
    pub(crate) pattern: String,
    pub(crate) included: bool,
}

impl RequestSetData {
    pub(crate) fn from_request_set(region: &RequestSetExcept<'_>) -> Self {
        let RequestSetExcept { set: extent, except } = region;
        Self {
            set: ProductSetData::from_request_set(extent),
            except: except.iter().map(ProductSetData::from_request_set).collect(),
        }
    }
}

impl ProductSetData {
    fn from_request_set(extent: &RequestSet<'_>) -> Self {
        match extent {
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
    fn from_string_set(words: &StringSet<'_>) -> Self {
        let (listed, all_but) = words.listed();
        let listed = listed.iter().map(|word| (*word).to_owned()).collect();
        if all_but { Self::AllBut(listed) } else { Self::Only(listed) }
    }
}

impl ResourceSetData {
    fn from_resource_set(resources: &ResourceSet<'_>) -> Vec<Self> {
        let (each, others) = resources.parts();
        let listed: Vec<String> = each.iter().map(|(subresource, _)| (*subresource).to_owned()).collect();
        let one = |(subresource, names): &(&str, StringSet<'_>)| Self {
            names: StringSetData::from_string_set(names),
            subresources: StringSetData::Only(vec![(*subresource).to_owned()]),
        };
        let others = (!others.is_empty()).then(|| Self {
            names: StringSetData::from_string_set(others),
            subresources: StringSetData::AllBut(listed),
        });
        each.iter().filter(|(_, names)| !names.is_empty()).map(one).chain(others).collect()
    }
}
