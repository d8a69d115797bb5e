//! One request out of a set of requests, as likely a real one as the set has.

use super::{RequestSet, RequestSetExcept, StringSet};
use crate::access::request::{ObjectRequest, Request};

const VERBS: [&str; 4] = ["get", "list", "create", "delete"];
const RESOURCES: [(&str, &str); 6] =
    [("", "pods"), ("", "configmaps"), ("apps", "deployments"), ("", "secrets"), ("batch", "jobs"), ("", "services")];
const NAMESPACES: [&str; 3] = ["default", "kube-public", "rolecall-asks"];
const NAMES: [&str; 3] = ["", "rolecall-asks", "rolecall-asks-again"];
const SUBRESOURCES: [&str; 4] = ["", "log", "status", "rolecall-asks"];
const URLS: [&str; 4] = ["/version", "/metrics", "/rolecall-asks", "/healthz"];
/// Candidates of one side that are tried.
const MAX_CANDIDATES: usize = 12;

impl RequestSetExcept<'_> {
    /// A request of this set; nothing where none of the likely ones is in it.
    pub(crate) fn example(&self) -> Option<Request> {
        match &self.set {
            RequestSet::Objects(set) => {
                let (under, plain) = set.resources.parts();
                let mut resources: Vec<(&str, &str)> = Vec::new();
                for resource in candidates(plain, &RESOURCES.map(|(_, resource)| resource)) {
                    resources.extend(SUBRESOURCES.iter().map(|sub| (resource, *sub)));
                }
                for (subresource, names) in under {
                    let listed = candidates(names, &RESOURCES.map(|(_, resource)| resource)).into_iter();
                    resources.extend(listed.map(|resource| (resource, *subresource)));
                }
                let groups = candidates(&set.groups, &["", "apps", "batch", "rolecall-asks.example"]);
                let (verbs, namespaces) = (candidates(&set.verbs, &VERBS), candidates(&set.namespaces, &NAMESPACES));
                let names = candidates(&set.names, &NAMES);
                let mut all = resources.iter().flat_map(|(resource, subresource)| {
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
                all.find(|request| self.contains(request))
            }
            RequestSet::Urls(set) => {
                let listed = set.urls.patterns().filter(|(_, inside)| *inside).map(|(pattern, _)| pattern.to_string());
                let listed: Vec<String> = listed.map(|url| url.replace('*', "rolecall-asks")).collect();
                let verbs = candidates(&set.verbs, &VERBS);
                let urls = listed.iter().map(String::as_str).chain(URLS);
                let mut all = urls.flat_map(|url| verbs.iter().map(move |verb| Request::url(verb, url)));
                all.find(|request| self.contains(request))
            }
        }
    }
}

/// The words that a side lists, or likely ones that are in it.
fn candidates<'a>(set: &StringSet<'a>, likely: &[&'a str]) -> Vec<&'a str> {
    match set.listed() {
        (listed, false) => listed.iter().take(MAX_CANDIDATES).copied().collect(),
        (_, true) => likely.iter().filter(|word| set.contains(word)).copied().collect(),
    }
}
