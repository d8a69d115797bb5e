//! The requests that the words of a question mean, as kubectl reads them: `get`, `pods,secrets`, `deploy/web`,
//! `pods/exec`, `deployments.apps/web/scale`.
//!
//! Only the API makes a word known, never a rule: a rule with a misspelled word grants nothing.

use std::collections::BTreeSet;

use thiserror::Error;

use super::request::Request;
use super::request_scope::OBJECT_VERBS;
use crate::api_resources::{ApiResource, KnownResources, Resolution};
use crate::diagnostic::closest_match;

/// The verbs of requests for URLs that are not resources.
pub(super) const HTTP_VERBS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];
/// Verbs that the API server checks beside the verb of a request, and that discovery does not list.
const CHECKED_VERBS: [&str; 3] = ["request-serviceaccounts-token-audience", "unsafe-delete-ignore-read-errors", "use"];
/// The prefixes of verbs with a variable part, for constrained impersonation.
const VERB_PREFIXES: [&str; 2] = ["impersonate:", "impersonate-on:"];

/// Why a question cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
pub(crate) enum QuestionError {
    #[error("unknown verb `{verb}`")]
    UnknownVerb { verb: String, nearest: Option<String> },
    #[error("unknown resource `{name}`")]
    UnknownResource {
        name: String,
        nearest: Option<String>,
        /// Whether the cluster can have custom resources that are not known here.
        can_be_custom: bool,
    },
    #[error("ambiguous resource `{name}`")]
    AmbiguousResource { name: String, candidates: Vec<String> },
    #[error("unknown subresource `{subresource}` of `{resource}`")]
    UnknownSubresource { resource: String, subresource: String, known: Vec<String> },
}

impl QuestionError {
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::UnknownVerb { nearest, .. } => nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?")),
            Self::UnknownResource { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownResource { nearest: None, can_be_custom: true, .. } => Some(
                "custom resources are known from the API of a live cluster, or from a file that `rolecall snapshot` wrote"
                    .to_owned(),
            ),
            Self::UnknownResource { .. } => Some("run `kubectl api-resources` to list the resources".to_owned()),
            Self::AmbiguousResource { candidates, .. } => Some(format!("write {}", quoted_list(candidates))),
            Self::UnknownSubresource { known, .. } if known.is_empty() => Some("it has no subresources".to_owned()),
            Self::UnknownSubresource { known, .. } => Some(format!("its subresources are {}", quoted_list(known))),
        }
    }
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns one request without a namespace for every verb and every resource. Both can be lists with commas.
///
/// # Errors
/// Every word that is not known.
pub(crate) fn parse_requests(
    known: &KnownResources,
    verbs: &str,
    resources: &str,
    subresource: Option<&str>,
) -> Result<Vec<Request>, Vec<QuestionError>> {
    let (mut requests, mut errors) = (Vec::new(), Vec::new());
    for verb in verbs.split(',') {
        // A URL can contain a comma.
        let resources: Vec<&str> =
            if resources.starts_with('/') { vec![resources] } else { resources.split(',').collect() };
        for resource in resources {
            match parse_request(known, verb, resource, subresource) {
                Ok(request) => requests.push(request),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() {
        return Ok(requests);
    }
    errors.sort();
    errors.dedup();
    Err(errors)
}

fn parse_request(
    known: &KnownResources,
    verb: &str,
    text: &str,
    subresource: Option<&str>,
) -> Result<Request, QuestionError> {
    if text.starts_with('/') {
        check_verb(verb, &BTreeSet::from(HTTP_VERBS))?;
        return Ok(Request::url(verb, text));
    }
    let target = ObjectTarget::parse(known, text, subresource)?;
    let verbs = known.all().iter().flat_map(|resource| &resource.verbs).map(String::as_str);
    check_verb(verb, &verbs.chain(OBJECT_VERBS).chain(CHECKED_VERBS).collect())?;
    Ok(target.into_request(verb))
}

fn check_verb(verb: &str, known: &BTreeSet<&str>) -> Result<(), QuestionError> {
    let has_prefix = VERB_PREFIXES.iter().any(|prefix| verb.starts_with(prefix));
    if verb == "*" || has_prefix || known.contains(verb) {
        return Ok(());
    }
    let lower = verb.to_ascii_lowercase();
    let same_word = known.get(lower.as_str()).copied();
    let nearest = same_word.or_else(|| closest_match(verb, known.iter().copied()));
    Err(QuestionError::UnknownVerb { verb: verb.to_owned(), nearest: nearest.map(str::to_owned) })
}

/// The object or collection that a question is about.
struct ObjectTarget {
    group: String,
    plural: String,
    subresource: String,
    name: String,
}

impl ObjectTarget {
    fn parse(known: &KnownResources, text: &str, subresource: Option<&str>) -> Result<Self, QuestionError> {
        let (type_name, path) = text.split_once('/').unwrap_or((text, ""));
        if type_name == "*" || type_name.starts_with("*.") {
            let group = type_name.split_once('.').map_or("", |(_, group)| group).to_owned();
            let subresource = subresource.unwrap_or(path).to_owned();
            return Ok(Self { group, plural: "*".to_owned(), subresource, name: String::new() });
        }
        if let Some((plural, group)) =
            type_name.split_once('.').filter(|(plural, group)| known.is_only_declared(group, plural))
        {
            let (name, path) = path.split_once('/').unwrap_or((path, ""));
            let (group, plural) = (group.to_owned(), plural.to_owned());
            let subresource = subresource.unwrap_or(path).to_owned();
            return Ok(Self { group, plural, subresource, name: name.to_owned() });
        }
        let resource = match known.all().resolve(type_name) {
            Resolution::Resource(resource) => resource,
            Resolution::Ambiguous(resources) => {
                let candidates = resources.iter().map(|resource| resource.qualified_name()).collect();
                return Err(QuestionError::AmbiguousResource { name: type_name.to_owned(), candidates });
            }
            Resolution::Unknown { nearest } => {
                let can_be_custom = !known.is_complete();
                return Err(QuestionError::UnknownResource { name: type_name.to_owned(), nearest, can_be_custom });
            }
        };
        let (subresource, name) = parse_path(resource, path, subresource)?;
        let (group, plural) = (resource.group.clone(), resource.plural.clone());
        Ok(Self { group, plural, subresource: subresource.to_owned(), name: name.to_owned() })
    }

    fn into_request(self, verb: &str) -> Request {
        let Self { group, plural, subresource, name } = self;
        let resource = if subresource.is_empty() { plural } else { format!("{plural}/{subresource}") };
        Request::object(verb, &group, &resource).with_name(&name)
    }
}

/// Returns the subresource and the name in the part after the resource: `SUBRESOURCE`, `NAME` or `NAME/SUBRESOURCE`. A
/// final slash marks a name that is also the name of a subresource, as in `pods/exec/`.
fn parse_path<'a>(
    resource: &ApiResource,
    path: &'a str,
    subresource: Option<&'a str>,
) -> Result<(&'a str, &'a str), QuestionError> {
    if resource.subresources.is_empty() && resource.plural != "userextras" && !resource.verbs.contains("get") {
        // The names of users and signers can contain slashes.
        return Ok((subresource.unwrap_or_default(), path));
    }
    let (subresource, name) = match (subresource, path.split_once('/')) {
        (Some(subresource), _) => (subresource, path),
        (None, Some((name, subresource))) => (subresource, name),
        (None, None) if !path.is_empty() && resource.has_subresource(path) => (path, ""),
        (None, None) => ("", path),
    };
    if subresource.is_empty() || resource.has_subresource(subresource) {
        return Ok((subresource, name));
    }
    Err(QuestionError::UnknownSubresource {
        resource: resource.qualified_name(),
        subresource: subresource.to_owned(),
        known: resource.subresources.keys().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(verbs: &str, resources: &str) -> Vec<String> {
        match parse_requests(&KnownResources::default(), verbs, resources, None) {
            Ok(requests) => requests.iter().map(ToString::to_string).collect(),
            Err(errors) => {
                let text = |error: &QuestionError| format!("{error}; {}", error.help().unwrap_or_default());
                errors.iter().map(text).collect()
            }
        }
    }

    #[test]
    fn resources_are_read_as_kubectl_reads_them() {
        for (resource, expected) in [
            ("pods", "get pods"),
            ("po", "get pods"),
            ("Pod/web", "get pods named web"),
            ("deploy/web", "get deployments.apps named web"),
            ("deployments.v1.apps", "get deployments.apps"),
            ("pods/exec", "get pods/exec"),
            ("pods/exec/", "get pods named exec"),
            ("pods/web/log", "get pods/log named web"),
            ("pods/logs", "get pods named logs"),
            ("deployments.apps/scale", "get deployments.apps/scale"),
            ("deploy/web/scale", "get deployments.apps/scale named web"),
            ("nodes/proxy", "get nodes/proxy"),
            ("ns/team-a", "get namespaces named team-a"),
            ("*", "get *"),
            ("*.apps", "get *.apps"),
            ("/metrics,/x", "get /metrics,/x"),
        ] {
            assert_eq!(parse("get", resource), [expected], "{resource}");
        }
        assert_eq!(
            parse("impersonate", "users/arn:aws:iam::111122223333:role/admin"),
            ["impersonate users named arn:aws:iam::111122223333:role/admin"]
        );
        assert_eq!(
            parse("approve", "signers/kubernetes.io/kubelet-serving"),
            ["approve signers.certificates.k8s.io named kubernetes.io/kubelet-serving"]
        );
        assert_eq!(parse("impersonate", "userextras/scopes"), ["impersonate userextras.authentication.k8s.io/scopes"]);
    }

    #[test]
    fn declared_resource_is_known() {
        let declared = ("example.com".to_owned(), "widgets".to_owned());
        let known = KnownResources::default().with_declared([declared]);
        let requests = parse_requests(&known, "get", "widgets.example.com/a", None).unwrap();
        assert_eq!(requests[0].to_string(), "get widgets.example.com named a");
    }

    #[test]
    fn lists_are_asked_one_by_one() {
        assert_eq!(parse("get,list", "pods,secret"), ["get pods", "get secrets", "list pods", "list secrets"]);
    }

    #[test]
    fn unknown_words_are_errors() {
        assert_eq!(parse("get", "secrits"), ["unknown resource `secrits`; did you mean `secrets`?"]);
        assert_eq!(parse("GET", "pods"), ["unknown verb `GET`; did you mean `get`?"]);
        assert_eq!(
            parse("gett,list", "pods,podz"),
            ["unknown verb `gett`; did you mean `get`?", "unknown resource `podz`; did you mean `pods`?"]
        );
        assert_eq!(
            parse("create", "nodes/web/exec")[0].split(';').next(),
            Some("unknown subresource `exec` of `nodes`")
        );
        assert_eq!(parse("list", "/metrics"), ["unknown verb `list`; "]);
        assert_eq!(
            parse("get", "widgets.example.com"),
            ["unknown resource `widgets.example.com`; custom resources are known from the API of a live cluster, or \
              from a file that `rolecall snapshot` wrote"]
        );
        for verb in ["use", "impersonate:user-info", "bind", "*"] {
            assert_eq!(parse(verb, "pods"), [format!("{verb} pods")]);
        }
    }
}
