//! Words of a question that nobody knows: a no to them is true, and not what was meant.
//!
//! A cluster's own resources are known only by discovery, which a snapshot has not; so what its rules name counts as
//! known beside what Kubernetes itself has.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::caller::{Caller, Session};
use super::identity::{Admission, Identity, Who};
use super::mapping::EntryRef;
use super::query::Access;
use super::request::{ObjectRequest, Request};
use crate::diagnostic::nearest;
use crate::state::aws_auth::Section;

/// Why an answer may not be to what was meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Doubt {
    #[error("no rule and no API of Kubernetes has the verb `{word}`")]
    Verb { word: String, nearest: Option<String> },
    #[error("no rule and no API of Kubernetes has the resource `{word}`")]
    Resource { word: String, nearest: Option<String> },
    #[error("`{resource}` is not in {}", in_words(group))]
    Group { resource: String, group: String, known: Vec<String> },
    #[error("the namespace `{word}` does not exist")]
    Namespace { word: String, nearest: Option<String> },
    #[error("no entry of aws-auth and no binding names {who}")]
    Subject { who: Who, nearest: Option<String> },
    #[error("no entry of aws-auth names `{typed}`: that of `{entry}` answers for it")]
    Spelling { typed: String, entry: String },
}

impl Doubt {
    /// What may have been meant.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Verb { nearest, .. }
            | Self::Resource { nearest, .. }
            | Self::Namespace { nearest, .. }
            | Self::Subject { nearest, .. } => nearest.as_ref().map(|near| format!("did you mean `{near}`?")),
            Self::Spelling { entry, .. } => Some(format!(
                "did you mean `{entry}`? the authenticator sees no path of a role, and case does not count"
            )),
            Self::Group { resource, known, .. } => {
                let whole =
                    |group: &String| if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                let known: Vec<String> = known.iter().map(whole).collect();
                Some(format!("write {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")))
            }
        }
    }
}

fn in_words(group: &str) -> String {
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

const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

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
pub(crate) fn doubts(access: &Access<'_>, who: Option<&Who>, request: &Request) -> Vec<Doubt> {
    let mut doubts: Vec<Doubt> = who.and_then(|who| subject(access, who)).into_iter().collect();
    let known = Known::of(access);
    match request {
        Request::Url { verb, .. } => doubts.extend(odd_verb(verb, METHODS.into_iter().collect())),
        Request::Object(asked) => {
            doubts.extend(odd_verb(&asked.verb, known.verbs.clone()));
            doubts.extend(known.odd_resource(asked));
            let namespaces = &access.grants.state.namespaces;
            // A snapshot may leave the namespaces out.
            if !namespaces.is_empty() && !asked.namespace.is_empty() && !namespaces.contains_key(&asked.namespace) {
                let near = nearest(&asked.namespace, namespaces.keys().map(String::as_str));
                doubts.push(Doubt::Namespace { word: asked.namespace.clone(), nearest: near.map(str::to_owned) });
            }
        }
    }
    doubts
}

impl Access<'_> {
    /// Whether anybody of whom the state knows is meant.
    pub(crate) fn doubt(&self, who: &Who) -> Option<Doubt> {
        subject(self, who)
    }
}

/// Whether it is another spelling of an ARN that answers than the one that was typed.
pub(crate) fn spelling(typed: &str, admission: &Admission) -> Option<Doubt> {
    let caller = Caller::parse(typed).ok()?;
    // Of a session the role counts.
    let typed = match caller.session() {
        Session::Known(name) if !name.is_empty() => caller.canonical(),
        Session::Known(_) | Session::Unknown => typed,
    };
    let entries: Vec<&EntryRef> =
        admission.identities().filter_map(Identity::entry).filter(|entry| entry.section != Section::Accounts).collect();
    let other = entries.first().filter(|_| entries.iter().all(|entry| entry.principal != typed))?;
    Some(Doubt::Spelling { typed: typed.to_owned(), entry: other.principal.clone() })
}

fn odd_verb(word: &str, known: BTreeSet<&str>) -> Option<Doubt> {
    if word == "*" || known.contains(word) {
        return None;
    }
    let nearest = nearest(word, known).map(str::to_owned);
    Some(Doubt::Verb { word: word.to_owned(), nearest })
}

fn subject(access: &Access<'_>, who: &Who) -> Option<Doubt> {
    if let Who::Arn(_) | Who::Account(_) = who {
        // Who has no entry is told so by the answer itself.
        return None;
    }
    let all = access.everybody();
    if all.contains(who) {
        return None;
    }
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    let whole = who.to_string();
    // The right name behind another word: a user that is a group, a service account of another namespace.
    let bare = |text: &str| text.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let same = || names.iter().map(String::as_str).find(|name| bare(name) == bare(&whole));
    let nearest = nearest(&whole, names.iter().map(String::as_str)).or_else(same).map(str::to_owned);
    Some(Doubt::Subject { who: who.clone(), nearest })
}

/// What the rules of a state and Kubernetes itself have.
struct Known<'s> {
    verbs: BTreeSet<&'s str>,
    /// Groups by resource.
    resources: BTreeMap<&'s str, BTreeSet<&'s str>>,
}

impl<'s> Known<'s> {
    fn of(access: &Access<'s>) -> Self {
        let mut known = Self { verbs: VERBS.into_iter().collect(), resources: BTreeMap::new() };
        for (group, words) in RESOURCES.iter().chain(&MORE_RESOURCES) {
            for resource in words.split(' ') {
                known.resources.entry(resource).or_default().insert(group);
            }
        }
        for rule in access.grants.state.roles.values().flat_map(|role| &role.rules) {
            known.verbs.extend(rule.verbs.iter().map(String::as_str));
            for resource in rule.resources.iter().filter_map(|word| word.split('/').next()) {
                let groups = known.resources.entry(resource).or_default();
                groups.extend(rule.api_groups.iter().map(String::as_str));
            }
        }
        known
    }

    fn odd_resource(&self, asked: &ObjectRequest) -> Option<Doubt> {
        let ObjectRequest { resource, group, .. } = asked;
        if resource == "*" {
            return None;
        }
        match self.resources.get(resource.as_str()) {
            Some(groups) if groups.contains(group.as_str()) || groups.contains("*") && !group.is_empty() => None,
            Some(groups) => {
                let known = groups.iter().filter(|group| **group != "*").map(|group| (*group).to_owned()).collect();
                Some(Doubt::Group { resource: resource.clone(), group: group.clone(), known })
            }
            None => {
                let near = nearest(resource, self.resources.keys().copied()).map(str::to_owned);
                Some(Doubt::Resource { word: resource.clone(), nearest: near })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Moment;
    use crate::state::State;

    fn said(who: Option<&str>, request: &Request) -> Vec<String> {
        let mut state = State::default();
        state.namespaces.insert("team".to_owned(), std::collections::BTreeMap::new());
        let access = Access::of(&state, Moment::Stored);
        let who = who.map(|text| Who::parse(text).unwrap());
        let found = doubts(&access, who.as_ref(), request);
        found.iter().map(|doubt| format!("{doubt}; {}", doubt.hint().unwrap_or_default())).collect()
    }

    #[test]
    fn unknown_words_are_doubted_with_the_nearest() {
        assert_eq!(said(None, &Request::object("get", "", "pods/log").within("team")), [""; 0]);
        assert_eq!(
            said(Some("group:system:master"), &Request::object("gett", "", "pod").within("teem")),
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
