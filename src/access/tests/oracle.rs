//! A slow and simple implementation of authentication and authorization, written after the Go sources. It shares only
//! the types with the access engine, so that the tests can compare the two.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::access::{Aggregation, IamIdentity, Request, SessionName, SubjectQuery};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::access_entry::{AccessEntry, AccessScope, access_entry_key};
use crate::state::access_policies::AccessPolicy;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::{Entry, EntryPrincipal, Section};
use crate::state::rbac::{RoleRef, Rule, Subject};

/// A username and groups. The username is `None` if the query does not determine it. A group that starts with
/// [`ACCESS_ENTRY`] stands for the access entry that gave the identity.
pub(crate) type OracleIdentity = (Option<String>, Vec<String>);

/// No group can have a line break.
const ACCESS_ENTRY: &str = "\n";

/// Returns how many of the possible identities of a subject are allowed to make the request, and how many there are.
pub(crate) fn allowed(
    state: &State,
    aggregation: Aggregation,
    subject: &SubjectQuery,
    request: &Request,
) -> (usize, usize) {
    let identities = identities(state, subject);
    count_allowed(state, aggregation, &identities, request)
}

/// [`allowed`] for several requests.
pub(crate) fn all_allowed(
    state: &State,
    aggregation: Aggregation,
    subject: &SubjectQuery,
    requests: &[Request],
) -> Vec<(usize, usize)> {
    let identities = identities(state, subject);
    requests.iter().map(|request| count_allowed(state, aggregation, &identities, request)).collect()
}

fn count_allowed(
    state: &State,
    aggregation: Aggregation,
    identities: &[Option<OracleIdentity>],
    request: &Request,
) -> (usize, usize) {
    let allowing = identities
        .iter()
        .filter(|identity| identity.as_ref().is_some_and(|identity| allows(state, aggregation, identity, request)));
    (allowing.count(), identities.len())
}

/// Returns the possible identities of a subject. `None` is a denied authentication.
pub(crate) fn identities(state: &State, subject: &SubjectQuery) -> Vec<Option<OracleIdentity>> {
    let own = |name: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        vec![Some(authenticated(Some(name.to_owned()), groups))]
    };
    match subject {
        SubjectQuery::User(name) if name == "system:anonymous" => own(name, &["system:unauthenticated"]),
        SubjectQuery::User(name) => own(name, &[]),
        SubjectQuery::Group(name) => {
            // Every service account of a namespace is also in the group of all service accounts.
            let parent = name.starts_with("system:serviceaccounts:").then(|| "system:serviceaccounts".to_owned());
            vec![Some(authenticated(None, [name.clone()].into_iter().chain(parent).collect()))]
        }
        SubjectQuery::ServiceAccount { namespace, name } => {
            let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
            own(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
        }
        SubjectQuery::Account(id) => {
            let is_mapped = entries(state, Section::Accounts).iter().any(|entry| is_account(entry, id));
            if is_mapped && reads_aws_auth(state) { vec![Some(authenticated(None, Vec::new()))] } else { Vec::new() }
        }
        SubjectQuery::Arn(caller) => {
            let arn = caller.canonical();
            let has_same_name = |entry: &&AccessEntry| {
                let (kind, rest) = entry.principal().split_once(":iam::").unwrap().1.split_once('/').unwrap();
                let canonical = match kind.rsplit_once(':').unwrap() {
                    (account, "role") => {
                        format!("arn:aws:iam::{account}:role/{}", rest.rsplit('/').next().unwrap())
                    }
                    (account, kind) => format!("arn:aws:iam::{account}:{kind}/{rest}"),
                };
                canonical.eq_ignore_ascii_case(arn)
            };
            let matching: Vec<&AccessEntry> =
                state.access_entries.iter().map(|(_, entry)| entry).filter(has_same_name).collect();
            if !matching.is_empty() && state.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::ConfigMap) {
                let identity = |access_entry: &&AccessEntry| {
                    let principal = EntryPrincipal::Role(access_entry.principal().to_owned());
                    let (username, groups) = (access_entry.username.clone(), access_entry.groups.clone());
                    let (username, mut groups) = render_entry(&Entry { principal, username, groups }, caller)?;
                    groups.push(format!("{ACCESS_ENTRY}{}", access_entry.principal()));
                    Some((username, groups))
                };
                return matching.iter().map(identity).collect();
            }
            if !reads_aws_auth(state) {
                return Vec::new();
            }
            let mut roles = BTreeMap::new();
            for entry in entries(state, Section::Roles).iter() {
                if let EntryPrincipal::Role(text) = &entry.principal {
                    roles.insert(text.to_lowercase(), entry.clone());
                }
            }
            let mut users = BTreeMap::new();
            for entry in entries(state, Section::Users).iter() {
                if let EntryPrincipal::User(text) = &entry.principal {
                    users.insert(text.clone(), entry.clone());
                }
            }
            for map in [roles, users] {
                let matching: Vec<&Entry> =
                    map.iter().filter(|(key, _)| key.eq_ignore_ascii_case(arn)).map(|(_, entry)| entry).collect();
                if !matching.is_empty() {
                    let identity = |entry: &&Entry| render_entry(entry, caller);
                    return matching.iter().map(identity).collect();
                }
            }
            if entries(state, Section::Accounts).iter().any(|entry| is_account(entry, caller.account())) {
                return vec![Some(authenticated(Some(arn.to_owned()), Vec::new()))];
            }
            Vec::new()
        }
    }
}

fn reads_aws_auth(state: &State) -> bool {
    state.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::Api)
}

fn is_account(entry: &Entry, id: &str) -> bool {
    matches!(&entry.principal, EntryPrincipal::Account(account) if account == id)
}

/// How many parsed texts a thread keeps.
const MAX_PARSED: usize = 10_000;

/// The entries of each section and text.
type ParsedTexts = BTreeMap<(&'static str, String), Rc<[Entry]>>;

thread_local! {
    /// The entries of texts that were parsed before. Tests ask many questions about states with equal texts.
    static PARSED: RefCell<ParsedTexts> = RefCell::default();
}

/// Returns the entries of a section, up to the error if it is not valid.
pub(super) fn entries(state: &State, section: Section) -> Rc<[Entry]> {
    let Some(auth) = &state.aws_auth else {
        return Rc::new([]);
    };
    let key = (section.key(), auth.data.get(section.key()).cloned().unwrap_or_default());
    if let Some(entries) = PARSED.with_borrow(|parsed| parsed.get(&key).cloned()) {
        return entries;
    }
    let entries: Rc<[Entry]> = match auth.parse_section(section) {
        Ok(parsed) => parsed.entries.into_iter().map(|parsed| parsed.entry).collect(),
        Err(error) => error.partial_entries.into(),
    };
    PARSED.with_borrow_mut(|parsed| {
        if parsed.len() >= MAX_PARSED {
            parsed.clear();
        }
        parsed.insert(key, Rc::clone(&entries));
    });
    entries
}

fn render_entry(entry: &Entry, caller: &IamIdentity) -> Option<OracleIdentity> {
    let attributes = caller.session_attributes();
    let render = |template: &str| -> Option<Option<String>> {
        let mut text = template.to_owned();
        if text.contains("{{EC2PrivateDNSName}}") {
            if let SessionName::Known(name) = caller.session()
                && !name.starts_with("i-")
            {
                return None;
            }
            match &attributes.ec2_private_dns_name {
                Some(dns_name) => text = text.replace("{{EC2PrivateDNSName}}", dns_name),
                None => return Some(None),
            }
        }
        text = text.replace("{{AccountID}}", caller.account());
        match caller.session() {
            SessionName::Unknown if text.contains("{{Session") => return Some(None),
            SessionName::Unknown => {}
            SessionName::Known(name) => {
                text = text.replace("{{SessionName}}", &name.replace('@', "-")).replace("{{SessionNameRaw}}", name);
            }
        }
        match &attributes.access_key_id {
            Some(id) => Some(Some(text.replace("{{AccessKeyID}}", id))),
            None => Some((!text.contains("{{AccessKeyID}}")).then_some(text)),
        }
    };
    let username = render(&entry.username)?;
    let mut groups = Vec::new();
    for group in &entry.groups {
        groups.extend(render(group)?);
    }
    Some(authenticated(username, groups))
}

fn authenticated(username: Option<String>, mut groups: Vec<String>) -> OracleIdentity {
    let has_group = groups.iter().any(|group| group == "system:authenticated" || group == "system:unauthenticated");
    if username.as_deref() != Some("system:anonymous") && !has_group {
        groups.push("system:authenticated".to_owned());
    }
    (username, groups)
}

pub(crate) fn allows(
    state: &State,
    aggregation: Aggregation,
    (username, groups): &OracleIdentity,
    request: &Request,
) -> bool {
    if groups.iter().any(|group| group == "system:masters") {
        return true;
    }
    let access_entries = groups.iter().filter_map(|group| group.strip_prefix(ACCESS_ENTRY));
    let access_entries = access_entries.filter_map(|arn| state.access_entries.get(&access_entry_key(arn)));
    let mut associations = access_entries.flat_map(AccessEntry::policies);
    if associations.any(|(arn, scope)| {
        let in_scope = match (scope, request) {
            (AccessScope::Cluster, _) => true,
            (AccessScope::Namespaces(_), Request::Url { .. }) => false,
            (AccessScope::Namespaces(names), Request::Object(object)) => {
                !object.namespace.is_empty() && names.iter().any(|name| glob(name, &object.namespace))
            }
        };
        let rules = AccessPolicy::named(arn.rsplit('/').next().unwrap()).role.rules;
        in_scope && rules.iter().any(|rule| rule_allows(rule, request))
    }) {
        return true;
    }
    state.bindings.iter().any(|(key, binding)| {
        let in_scope = match (key.namespace(), request) {
            (None, _) => true,
            (Some(_), Request::Url { .. }) => false,
            (Some(namespace), Request::Object(object)) => object.namespace == namespace,
        };
        let matches_subject = |subject: &Subject| match subject {
            Subject::User(name) => Some(name) == username.as_ref(),
            Subject::Group(name) => groups.contains(name),
            Subject::ServiceAccount { namespace, name } => {
                Some(format!("system:serviceaccount:{namespace}:{name}")) == *username
            }
            Subject::AccessEntry(_) => false,
        };
        let role = match (&binding.role_ref, key.namespace()) {
            (RoleRef::ClusterRole(name), _) => ObjectKey::cluster_role(name),
            (RoleRef::Role(name), Some(namespace)) => ObjectKey::role(namespace, name),
            (RoleRef::Role(_), None) | (RoleRef::AccessPolicy(_), _) => return false,
        };
        in_scope
            && binding.subjects.iter().any(matches_subject)
            && rules(state, aggregation, &role).iter().any(|rule| rule_allows(rule, request))
    })
}

/// Matches letter by letter.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) if glob(&pattern[1..], text) => true,
        (Some('*'), Some(first)) => glob(pattern, &text[first.len_utf8()..]),
        (Some(a), Some(b)) if a == b => glob(&pattern[a.len_utf8()..], &text[b.len_utf8()..]),
        _ => false,
    }
}

/// Returns the rules of a role after the aggregation controller has run on all roles until nothing changes. Does not
/// terminate for an aggregation cycle whose rules keep changing.
pub(crate) fn rules<'s>(state: &'s State, aggregation: Aggregation, key: &ObjectKey) -> Cow<'s, [Rule]> {
    if state.roles.values().all(|role| role.aggregation.is_none()) {
        return Cow::Borrowed(state.roles.get(key).map_or(&[], |role| &role.rules));
    }
    let mut roles = state.roles.clone();
    loop {
        let mut changed = false;
        let current = roles.clone();
        for (name, role) in &mut roles {
            let stored = state.roles.get(name).is_some_and(|stored| !stored.rules.is_empty());
            let Some(selectors) =
                role.aggregation.clone().filter(|_| aggregation == Aggregation::Reconciled || !stored)
            else {
                continue;
            };
            let mut next: Vec<Rule> = Vec::new();
            for (other, selected) in current.iter().filter(|(other, _)| other.namespace().is_none() && *other != name) {
                if selectors.iter().any(|selector| selector.matches(&selected.meta.labels)) {
                    next.extend(current[other].rules.iter().cloned());
                }
            }
            next.sort();
            next.dedup();
            // The controller writes no rules if it finds none, so rules that were added by hand remain.
            let has_manual_rules = state.roles.get(name).is_some_and(|role| role.meta.has_manual_rules());
            if next.is_empty() && has_manual_rules {
                continue;
            }
            changed |= next != role.rules;
            role.rules = next;
        }
        if !changed {
            return Cow::Owned(roles.remove(key).map(|role| role.rules).unwrap_or_default());
        }
    }
}

fn rule_allows(rule: &Rule, request: &Request) -> bool {
    let has = |list: &[String], word: &str| list.iter().any(|item| item == "*" || item == word);
    match request {
        Request::Url { verb, path } => {
            has(&rule.verbs, verb)
                && rule.non_resource_urls.iter().any(|url| {
                    url == "*" || url == path || url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))
                })
        }
        Request::Object(object) => {
            let combined = if object.subresource.is_empty() {
                object.resource.clone()
            } else {
                format!("{}/{}", object.resource, object.subresource)
            };
            let matches_resource = |word: &String| {
                word == "*"
                    || *word == combined
                    || !object.subresource.is_empty() && *word == format!("*/{}", object.subresource)
            };
            has(&rule.verbs, &object.verb)
                && has(&rule.api_groups, &object.group)
                && rule.resources.iter().any(matches_resource)
                && (rule.resource_names.is_empty() || rule.resource_names.contains(&object.name))
        }
    }
}
