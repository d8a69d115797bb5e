//! An example request of a set of requests, preferably one with common verbs, resources and namespaces.

use super::{RequestSet, RequestSetExcept, StringSet};
use crate::access::request::{ObjectRequest, Request};

const VERBS: [&str; 4] = ["get", "list", "create", "delete"];
const RESOURCES: [(&str, &str); 6] =
    [("", "pods"), ("", "configmaps"), ("apps", "deployments"), ("", "secrets"), ("batch", "jobs"), ("", "services")];
const NAMESPACES: [&str; 3] = ["default", "kube-public", "rolecall-example"];
const NAMES: [&str; 3] = ["", "rolecall-example", "rolecall-example-2"];
const SUBRESOURCES: [&str; 4] = ["", "log", "status", "rolecall-example"];
const URLS: [&str; 4] = ["/version", "/metrics", "/rolecall-example", "/healthz"];
/// The number of listed strings of one dimension that are tried.
const MAX_CANDIDATES: usize = 12;

impl RequestSetExcept<'_> {
    /// Returns a request of this set. `None` if no combination of the candidates is in it.
    pub(crate) fn example(&self) -> Option<Request> {
        match &self.set {
            RequestSet::Objects(set) => {
                let (by_subresource, others) = set.resources.parts();
                let likely_resources = RESOURCES.map(|(_, resource)| resource);
                let mut resources: Vec<(&str, &str)> = Vec::new();
                for resource in candidates(others, &likely_resources) {
                    resources.extend(SUBRESOURCES.iter().map(|subresource| (resource, *subresource)));
                }
                for (subresource, names) in by_subresource {
                    let candidates = candidates(names, &likely_resources).into_iter();
                    resources.extend(candidates.map(|resource| (resource, *subresource)));
                }
                let groups = candidates(&set.groups, &["", "apps", "batch", "rolecall.example"]);
                let (verbs, namespaces) = (candidates(&set.verbs, &VERBS), candidates(&set.namespaces, &NAMESPACES));
                let names = candidates(&set.names, &NAMES);
                let mut requests = resources.iter().flat_map(|(resource, subresource)| {
                    groups.iter().flat_map({
                        let (verbs, namespaces, names) = (&verbs, &namespaces, &names);
                        move |group| {
                            verbs.iter().flat_map(move |verb| {
                                namespaces.iter().flat_map(move |namespace| {
                                    names.iter().map(move |name| {
                                        let text = |text: &str| text.to_owned();
                                        Request::Object(ObjectRequest {
                                            verb: text(verb),
                                            group: text(group),
                                            resource: text(resource),
                                            subresource: text(subresource),
                                            name: text(name),
                                            namespace: text(namespace),
                                        })
                                    })
                                })
                            })
                        }
                    })
                });
                requests.find(|request| self.contains(request))
            }
            RequestSet::Urls(set) => {
                let included = set.urls.patterns().filter(|(_, included)| *included).map(|(pattern, _)| pattern);
                let included: Vec<String> =
                    included.map(|pattern| pattern.to_string().replace('*', "rolecall-example")).collect();
                let verbs = candidates(&set.verbs, &VERBS);
                let urls = included.iter().map(String::as_str).chain(URLS);
                let mut requests = urls.flat_map(|url| verbs.iter().map(move |verb| Request::url(verb, url)));
                requests.find(|request| self.contains(request))
            }
        }
    }
}

/// Returns the strings that a dimension lists, or of a complement the `likely` strings that are in it.
fn candidates<'a>(set: &StringSet<'a>, likely: &[&'a str]) -> Vec<&'a str> {
    match set.listed() {
        (listed, false) => listed.iter().take(MAX_CANDIDATES).copied().collect(),
        (_, true) => likely.iter().filter(|string| set.contains(string)).copied().collect(),
    }
}
