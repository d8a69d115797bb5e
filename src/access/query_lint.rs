//! Warnings about names in a query that are probably wrong. A query with a misspelled verb or resource gets a correct "no",
//! which does not answer the intended question.
//!
//! The resources of a cluster are known from discovery only, which a snapshot does not contain. So every name in the
//! cluster's rules is taken as known, in addition to the names of Kubernetes itself.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::access_view::AccessView;
use super::iam_identity::{IamIdentity, SessionName};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::EntryRef;
use super::request::{ObjectRequest, Request};
use crate::diagnostic::closest_match;
use crate::state::aws_auth::Section;

/// A name in a query that is probably wrong. The message also reads well after "refers to".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum QueryLint {
    #[error("unknown verb `{name}`: not a built-in verb and not named in any RBAC rule")]
    UnknownVerb { name: String, nearest: Option<String> },
    #[error("unknown resource `{name}`: not a built-in resource and not named in any RBAC rule")]
    UnknownResource { name: String, nearest: Option<String> },
    #[error("unknown resource `{resource}` in {}", format_group(group))]
    WrongApiGroup { resource: String, group: String, known: Vec<String> },
    #[error("unknown namespace `{name}`")]
    UnknownNamespace { name: String, nearest: Option<String> },
    #[error("unknown subject `{subject}`: not named in aws-auth or in any RBAC binding")]
    UnknownSubject { subject: SubjectQuery, nearest: Option<String> },
    #[error("no aws-auth entry names `{typed}`, but the entry `{entry}` matches it")]
    OtherSpelling { typed: String, entry: String },
}

impl QueryLint {
    /// Returns the name that was probably intended.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::UnknownVerb { nearest, .. }
            | Self::UnknownResource { nearest, .. }
            | Self::UnknownNamespace { nearest, .. }
            | Self::UnknownSubject { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
            }
            Self::OtherSpelling { entry, .. } => Some(format!(
                "did you mean `{entry}`? the authenticator ignores the path of a role and the case of an ARN"
            )),
            Self::WrongApiGroup { resource, known, .. } => {
                let qualified = |group: &String| {
                    if group.is_empty() { format!("`{resource}`") } else { format!("`{resource}.{group}`") }
                };
                Some(format!("write {}", known.iter().map(qualified).collect::<Vec<_>>().join(" or ")))
            }
        }
    }
}

fn format_group(group: &str) -> String {
    if group.is_empty() { "the core API group".to_owned() } else { format!("API group `{group}`") }
}

const VERBS: [&str; 15] = [
    "approve",
    "attest",
    "bind",
    "create",
    "delete",
    "deletecollection",
    "escalate",
    "get",
    "impersonate",
    "list",
    "patch",
    "sign",
    "update",
    "use",
    "watch",
];

const HTTP_VERBS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// The resources of Kubernetes itself, by API group.
const RESOURCES: [(&str, &str); 20] = [
    ("", "bindings componentstatuses configmaps endpoints events groups limitranges namespaces nodes"),
    ("", "persistentvolumeclaims persistentvolumes pods podtemplates replicationcontrollers resourcequotas secrets"),
    ("", "serviceaccounts services users"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies validatingadmissionpolicybindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("apps", "controllerrevisions daemonsets deployments replicasets statefulsets"),
    ("authentication.k8s.io", "selfsubjectreviews tokenreviews uids userextras"),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
    ),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs jobs"),
    ("certificates.k8s.io", "certificatesigningrequests clustertrustbundles signers"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("events.k8s.io", "events"),
    ("networking.k8s.io", "ingressclasses ingresses ipaddresses networkpolicies servicecidrs"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterrolebindings clusterroles rolebindings roles"),
];

/// More resources of Kubernetes itself, by API group.
const MORE_RESOURCES: [(&str, &str); 5] = [
    ("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations"),
    ("node.k8s.io", "runtimeclasses"),
    ("resource.k8s.io", "deviceclasses resourceclaims resourceclaimtemplates resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments"),
];

/// Returns the names in a query that are probably wrong.
pub(crate) fn lint_query(access: &AccessView<'_>, query: Option<&SubjectQuery>, request: &Request) -> Vec<QueryLint> {
    let mut lints: Vec<QueryLint> = query.and_then(|query| lint_subject_name(access, query)).into_iter().collect();
    let known = KnownNames::new(access);
    match request {
        Request::Url { verb, .. } => lints.extend(lint_verb(verb, HTTP_VERBS.into_iter().collect())),
        Request::Object(request) => {
            lints.extend(lint_verb(&request.verb, known.verbs.clone()));
            lints.extend(known.lint_resource(request));
            let namespaces = &access.grants.state.namespaces;
            // A snapshot may contain no namespaces.
            if !namespaces.is_empty() && !request.namespace.is_empty() && !namespaces.contains_key(&request.namespace) {
                let nearest = closest_match(&request.namespace, namespaces.keys().map(String::as_str));
                lints.push(QueryLint::UnknownNamespace {
                    name: request.namespace.clone(),
                    nearest: nearest.map(str::to_owned),
                });
            }
        }
    }
    lints
}

impl AccessView<'_> {
    /// Returns a lint if the queried subject does not appear in the cluster state.
    pub(crate) fn lint_subject(&self, query: &SubjectQuery) -> Option<QueryLint> {
        lint_subject_name(self, query)
    }
}

/// Returns a lint if the matching aws-auth entry spells the ARN differently than the query.
pub(crate) fn lint_spelling(typed: &str, authentication: &Authentication) -> Option<QueryLint> {
    let iam_identity = IamIdentity::parse(typed).ok()?;
    // An entry names the role of a session, never the session.
    let typed = match iam_identity.session() {
        SessionName::Known(name) if !name.is_empty() => iam_identity.canonical(),
        SessionName::Known(_) | SessionName::Unknown => typed,
    };
    let entries = authentication.identities().filter_map(Identity::entry);
    let entries: Vec<&EntryRef> = entries.filter(|entry| entry.section != Section::Accounts).collect();
    let first = entries.first().filter(|_| entries.iter().all(|entry| entry.principal != typed))?;
    Some(QueryLint::OtherSpelling { typed: typed.to_owned(), entry: first.principal.clone() })
}

fn lint_verb(verb: &str, known: BTreeSet<&str>) -> Option<QueryLint> {
    if verb == "*" || known.contains(verb) {
        return None;
    }
    let nearest = closest_match(verb, known).map(str::to_owned);
    Some(QueryLint::UnknownVerb { name: verb.to_owned(), nearest })
}

fn lint_subject_name(access: &AccessView<'_>, query: &SubjectQuery) -> Option<QueryLint> {
    if let SubjectQuery::Arn(_) | SubjectQuery::Account(_) = query {
        // The result of the query reports that no aws-auth entry matches.
        return None;
    }
    let subjects = access.all_subjects();
    if subjects.contains(query) {
        return None;
    }
    let known: Vec<String> = subjects.iter().map(ToString::to_string).collect();
    let typed = query.to_string();
    // The same name of another kind or namespace: a group instead of a user, or another service account.
    let bare_name = |text: &str| text.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let same_name = || known.iter().map(String::as_str).find(|known| bare_name(known) == bare_name(&typed));
    let nearest = closest_match(&typed, known.iter().map(String::as_str)).or_else(same_name).map(str::to_owned);
    Some(QueryLint::UnknownSubject { subject: query.clone(), nearest })
}

/// The verbs and resources of Kubernetes itself and of the rules of a state.
struct KnownNames<'s> {
    verbs: BTreeSet<&'s str>,
    groups_by_resource: BTreeMap<&'s str, BTreeSet<&'s str>>,
}

impl<'s> KnownNames<'s> {
    fn new(access: &AccessView<'s>) -> Self {
        let mut known = Self { verbs: VERBS.into_iter().collect(), groups_by_resource: BTreeMap::new() };
        for (group, resources) in RESOURCES.iter().chain(&MORE_RESOURCES) {
            for resource in resources.split(' ') {
                known.groups_by_resource.entry(resource).or_default().insert(group);
            }
        }
        for rule in access.grants.state.roles.values().flat_map(|role| &role.rules) {
            known.verbs.extend(rule.verbs.iter().map(String::as_str));
            for resource in rule.resources.iter().filter_map(|resource| resource.split('/').next()) {
                let groups = known.groups_by_resource.entry(resource).or_default();
                groups.extend(rule.api_groups.iter().map(String::as_str));
            }
        }
        known
    }

    fn lint_resource(&self, request: &ObjectRequest) -> Option<QueryLint> {
        let ObjectRequest { resource, group, .. } = request;
        if resource == "*" {
            return None;
        }
        match self.groups_by_resource.get(resource.as_str()) {
            Some(groups) if groups.contains(group.as_str()) || groups.contains("*") && !group.is_empty() => None,
            Some(groups) => {
                let known = groups.iter().filter(|group| **group != "*").map(|group| (*group).to_owned()).collect();
                Some(QueryLint::WrongApiGroup { resource: resource.clone(), group: group.clone(), known })
            }
            None => {
                let nearest = closest_match(resource, self.groups_by_resource.keys().copied()).map(str::to_owned);
                Some(QueryLint::UnknownResource { name: resource.clone(), nearest })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Aggregation;
    use crate::state::State;

    fn lint(subject: Option<&str>, request: &Request) -> Vec<String> {
        let mut state = State::default();
        state.namespaces.insert("team".to_owned(), std::collections::BTreeMap::new());
        let access = AccessView::new(&state, Aggregation::AsStored);
        let query = subject.map(|text| SubjectQuery::parse(text).unwrap());
        let lints = lint_query(&access, query.as_ref(), request);
        lints.iter().map(|lint| format!("{lint}; {}", lint.help().unwrap_or_default())).collect()
    }

    #[test]
    fn unknown_names_are_reported_with_the_nearest_known_name() {
        assert_eq!(lint(None, &Request::object("get", "", "pods/log").in_namespace("team")), [""; 0]);
        assert_eq!(
            lint(Some("group:system:master"), &Request::object("gett", "", "pod").in_namespace("teem")),
            [
                "unknown subject `group:system:master`: not named in aws-auth or in any RBAC binding; \
                 did you mean `group:system:masters`?",
                "unknown verb `gett`: not a built-in verb and not named in any RBAC rule; did you mean `get`?",
                "unknown resource `pod`: not a built-in resource and not named in any RBAC rule; did you mean `pods`?",
                "unknown namespace `teem`; did you mean `team`?",
            ]
        );
        assert_eq!(
            lint(None, &Request::object("get", "", "deployments")),
            ["unknown resource `deployments` in the core API group; write `deployments.apps`"]
        );
        assert_eq!(lint(None, &Request::url("list", "/metrics")).len(), 1);
    }
}
