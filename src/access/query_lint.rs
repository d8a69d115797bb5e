//! Words of a question that nobody knows: a no to them is true, and not what was meant.
//!
//! A cluster's own resources are known only by discovery, which a snapshot has not; so what its rules name counts as
//! known beside what Kubernetes itself has.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::access_view::AccessView;
use super::iam_identity::{IamIdentity, SessionName};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::EntryRef;
use super::request::{ObjectRequest, Request};
use crate::diagnostic::closest_match;
use crate::state::aws_auth::Section;

/// Why an answer may not be to what was meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum QueryLint {
    #[error("no rule and no API of Kubernetes has the verb `{word}`")]
    UnknownVerb { word: String, nearest: Option<String> },
    #[error("no rule and no API of Kubernetes has the resource `{word}`")]
    UnknownResource { word: String, nearest: Option<String> },
    #[error("`{resource}` is not in {}", format_group(group))]
    WrongApiGroup { resource: String, group: String, known: Vec<String> },
    #[error("the namespace `{word}` does not exist")]
    UnknownNamespace { word: String, nearest: Option<String> },
    #[error("no entry of aws-auth and no binding names {subject}")]
    UnknownSubject { subject: SubjectQuery, nearest: Option<String> },
    #[error("no entry of aws-auth names `{typed}`: that of `{entry}` answers for it")]
    OtherSpelling { typed: String, entry: String },
}

impl QueryLint {
    /// What may have been meant.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownVerb { nearest, .. }
            | Self::UnknownResource { nearest, .. }
            | Self::UnknownNamespace { nearest, .. }
            | Self::UnknownSubject { nearest, .. } => nearest.as_ref().map(|near| format!("did you mean `{near}`?")),
            Self::OtherSpelling { entry, .. } => Some(format!(
                "did you mean `{entry}`? the authenticator sees no path of a role, and case does not count"
            )),
            Self::WrongApiGroup { resource, known, .. } => {
                let whole =
                    |group: &String| if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                let known: Vec<String> = known.iter().map(whole).collect();
                Some(format!("write {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")))
            }
        }
    }
}

fn format_group(group: &str) -> String {
    if group.is_empty() { "the core group".to_owned() } else { format!("the API group `{group}`") }
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

/// Resources of Kubernetes itself, by group.
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

/// Resources whose groups matter less often.
const MORE_RESOURCES: [(&str, &str); 5] = [
    ("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations"),
    ("node.k8s.io", "runtimeclasses"),
    ("resource.k8s.io", "deviceclasses resourceclaims resourceclaimtemplates resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments"),
];

/// What is odd about a question.
pub(crate) fn lint_query(access: &AccessView<'_>, who: Option<&SubjectQuery>, request: &Request) -> Vec<QueryLint> {
    let mut doubts: Vec<QueryLint> = who.and_then(|who| lint_subject_name(access, who)).into_iter().collect();
    let known = KnownNames::new(access);
    match request {
        Request::Url { verb, .. } => doubts.extend(lint_verb(verb, HTTP_VERBS.into_iter().collect())),
        Request::Object(asked) => {
            doubts.extend(lint_verb(&asked.verb, known.verbs.clone()));
            doubts.extend(known.lint_resource(asked));
            let namespaces = &access.grants.state.namespaces;
            // A snapshot may leave the namespaces out.
            if !namespaces.is_empty() && !asked.namespace.is_empty() && !namespaces.contains_key(&asked.namespace) {
                let near = closest_match(&asked.namespace, namespaces.keys().map(String::as_str));
                doubts.push(QueryLint::UnknownNamespace {
                    word: asked.namespace.clone(),
                    nearest: near.map(str::to_owned),
                });
            }
        }
    }
    doubts
}

impl AccessView<'_> {
    /// Whether anybody of whom the state knows is meant.
    pub(crate) fn lint_subject(&self, who: &SubjectQuery) -> Option<QueryLint> {
        lint_subject_name(self, who)
    }
}

/// Whether it is another spelling of an ARN that answers than the one that was typed.
pub(crate) fn lint_spelling(typed: &str, admission: &Authentication) -> Option<QueryLint> {
    let caller = IamIdentity::parse(typed).ok()?;
    // Of a session the role counts.
    let typed = match caller.session() {
        SessionName::Known(name) if !name.is_empty() => caller.canonical(),
        SessionName::Known(_) | SessionName::Unknown => typed,
    };
    let entries: Vec<&EntryRef> =
        admission.identities().filter_map(Identity::entry).filter(|entry| entry.section != Section::Accounts).collect();
    let other = entries.first().filter(|_| entries.iter().all(|entry| entry.principal != typed))?;
    Some(QueryLint::OtherSpelling { typed: typed.to_owned(), entry: other.principal.clone() })
}

fn lint_verb(word: &str, known: BTreeSet<&str>) -> Option<QueryLint> {
    if word == "*" || known.contains(word) {
        return None;
    }
    let nearest = closest_match(word, known).map(str::to_owned);
    Some(QueryLint::UnknownVerb { word: word.to_owned(), nearest })
}

fn lint_subject_name(access: &AccessView<'_>, who: &SubjectQuery) -> Option<QueryLint> {
    if let SubjectQuery::Arn(_) | SubjectQuery::Account(_) = who {
        // Who has no entry is told so by the answer itself.
        return None;
    }
    let all = access.all_subjects();
    if all.contains(who) {
        return None;
    }
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    let whole = who.to_string();
    // The right name behind another word: a user that is a group, a service account of another namespace.
    let bare = |text: &str| text.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let same = || names.iter().map(String::as_str).find(|name| bare(name) == bare(&whole));
    let nearest = closest_match(&whole, names.iter().map(String::as_str)).or_else(same).map(str::to_owned);
    Some(QueryLint::UnknownSubject { subject: who.clone(), nearest })
}

/// What the rules of a state and Kubernetes itself have.
struct KnownNames<'s> {
    verbs: BTreeSet<&'s str>,
    /// Groups by resource.
    groups_by_resource: BTreeMap<&'s str, BTreeSet<&'s str>>,
}

impl<'s> KnownNames<'s> {
    fn new(access: &AccessView<'s>) -> Self {
        let mut known = Self { verbs: VERBS.into_iter().collect(), groups_by_resource: BTreeMap::new() };
        for (group, words) in RESOURCES.iter().chain(&MORE_RESOURCES) {
            for resource in words.split(' ') {
                known.groups_by_resource.entry(resource).or_default().insert(group);
            }
        }
        for rule in access.grants.state.roles.values().flat_map(|role| &role.rules) {
            known.verbs.extend(rule.verbs.iter().map(String::as_str));
            for resource in rule.resources.iter().filter_map(|word| word.split('/').next()) {
                let groups = known.groups_by_resource.entry(resource).or_default();
                groups.extend(rule.api_groups.iter().map(String::as_str));
            }
        }
        known
    }

    fn lint_resource(&self, asked: &ObjectRequest) -> Option<QueryLint> {
        let ObjectRequest { resource, group, .. } = asked;
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
                let near = closest_match(resource, self.groups_by_resource.keys().copied()).map(str::to_owned);
                Some(QueryLint::UnknownResource { word: resource.clone(), nearest: near })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Aggregation;
    use crate::state::State;

    fn said(who: Option<&str>, request: &Request) -> Vec<String> {
        let mut state = State::default();
        state.namespaces.insert("team".to_owned(), std::collections::BTreeMap::new());
        let access = AccessView::new(&state, Aggregation::AsStored);
        let who = who.map(|text| SubjectQuery::parse(text).unwrap());
        let found = lint_query(&access, who.as_ref(), request);
        found.iter().map(|doubt| format!("{doubt}; {}", doubt.hint().unwrap_or_default())).collect()
    }

    #[test]
    fn unknown_words_are_doubted_with_the_nearest() {
        assert_eq!(said(None, &Request::object("get", "", "pods/log").in_namespace("team")), [""; 0]);
        assert_eq!(
            said(Some("group:system:master"), &Request::object("gett", "", "pod").in_namespace("teem")),
            [
                "no entry of aws-auth and no binding names group:system:master; did you mean `group:system:masters`?",
                "no rule and no API of Kubernetes has the verb `gett`; did you mean `get`?",
                "no rule and no API of Kubernetes has the resource `pod`; did you mean `pods`?",
                "the namespace `teem` does not exist; did you mean `team`?",
            ]
        );
        assert_eq!(
            said(None, &Request::object("get", "", "deployments")),
            ["`deployments` is not in the core group; write `deployments.apps`"]
        );
        assert_eq!(said(None, &Request::url("list", "/metrics")).len(), 1);
    }
}
