//! A slow and plain evaluator, written from the Go sources line by line and sharing nothing with the room but the names.

use std::collections::BTreeMap;

use crate::access::{Aggregation, Request, SessionName, SubjectQuery};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::{Entry, EntryPrincipal, Section};
use crate::state::rbac::{RoleRef, Rule, Subject};

/// A login: a username and groups; what the question leaves open is none.
pub(crate) type OracleLogin = (Option<String>, Vec<String>);

/// How many of the logins of somebody may do something, and how many there are.
pub(crate) fn allowed(state: &State, moment: Aggregation, who: &SubjectQuery, request: &Request) -> (usize, usize) {
    let logins = logins(state, who);
    count_allowed(state, moment, &logins, request)
}

/// The same for many requests.
pub(crate) fn all_allowed(
    state: &State,
    moment: Aggregation,
    who: &SubjectQuery,
    requests: &[Request],
) -> Vec<(usize, usize)> {
    let logins = logins(state, who);
    requests.iter().map(|request| count_allowed(state, moment, &logins, request)).collect()
}

fn count_allowed(
    state: &State,
    moment: Aggregation,
    logins: &[Option<OracleLogin>],
    request: &Request,
) -> (usize, usize) {
    let allowing =
        logins.iter().filter(|login| login.as_ref().is_some_and(|login| allows(state, moment, login, request)));
    (allowing.count(), logins.len())
}

fn logins(state: &State, who: &SubjectQuery) -> Vec<Option<OracleLogin>> {
    let own = |name: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        vec![Some(authenticated(Some(name.to_owned()), groups))]
    };
    match who {
        SubjectQuery::User(name) if name == "system:anonymous" => own(name, &["system:unauthenticated"]),
        SubjectQuery::User(name) => own(name, &[]),
        SubjectQuery::Group(name) => {
            // Nobody is a service account of one namespace and not one of all.
            let all = name.starts_with("system:serviceaccounts:").then(|| "system:serviceaccounts".to_owned());
            vec![Some(authenticated(None, [name.clone()].into_iter().chain(all).collect()))]
        }
        SubjectQuery::ServiceAccount { namespace, name } => {
            let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
            own(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
        }
        SubjectQuery::Account(id) => {
            let has = entries(state, Section::Accounts).iter().any(|entry| is_account(entry, id));
            if has { vec![Some(authenticated(None, Vec::new()))] } else { Vec::new() }
        }
        SubjectQuery::Arn(caller) => {
            let arn = caller.canonical();
            let mut roles = BTreeMap::new();
            for entry in entries(state, Section::Roles) {
                if let EntryPrincipal::Role(text) = &entry.principal {
                    roles.insert(text.to_lowercase(), entry.clone());
                }
            }
            let mut users = BTreeMap::new();
            for entry in entries(state, Section::Users) {
                if let EntryPrincipal::User(text) = &entry.principal {
                    users.insert(text.clone(), entry.clone());
                }
            }
            for map in [roles, users] {
                let found: Vec<&Entry> =
                    map.iter().filter(|(key, _)| key.eq_ignore_ascii_case(arn)).map(|(_, entry)| entry).collect();
                if !found.is_empty() {
                    let login = |entry: &&Entry| render_entry(entry, caller.account(), caller.session());
                    return found.iter().map(login).collect();
                }
            }
            if entries(state, Section::Accounts).iter().any(|entry| is_account(entry, caller.account())) {
                return vec![Some(authenticated(Some(arn.to_owned()), Vec::new()))];
            }
            Vec::new()
        }
    }
}

fn is_account(entry: &Entry, id: &str) -> bool {
    matches!(&entry.principal, EntryPrincipal::Account(account) if account == id)
}

fn entries(state: &State, section: Section) -> Vec<Entry> {
    let reading = state.aws_auth.as_ref().map(|auth| auth.parse_section(section));
    match reading {
        None => Vec::new(),
        Some(Ok(reading)) => reading.entries.into_iter().map(|found| found.entry).collect(),
        Some(Err(error)) => error.partial_entries,
    }
}

fn render_entry(entry: &Entry, account: &str, session: &SessionName) -> Option<OracleLogin> {
    let render = |template: &str| -> Option<Option<String>> {
        let text = template.replace("{{AccountID}}", account);
        match session {
            SessionName::Unknown => Some((!text.contains("{{Session") && !text.contains("{{EC2")).then_some(text)),
            SessionName::Known(name) => {
                if text.contains("{{EC2PrivateDNSName}}") {
                    return name.starts_with("i-").then_some(None);
                }
                let text = text.replace("{{SessionName}}", &name.replace('@', "-"));
                Some(Some(text.replace("{{SessionNameRaw}}", name)))
            }
        }
    };
    let username = render(&entry.username)?;
    let mut groups = Vec::new();
    for group in &entry.groups {
        groups.extend(render(group)?);
    }
    Some(authenticated(username, groups))
}

fn authenticated(username: Option<String>, mut groups: Vec<String>) -> OracleLogin {
    let has = groups.iter().any(|group| group == "system:authenticated" || group == "system:unauthenticated");
    if username.as_deref() != Some("system:anonymous") && !has {
        groups.push("system:authenticated".to_owned());
    }
    (username, groups)
}

pub(crate) fn allows(state: &State, moment: Aggregation, (username, groups): &OracleLogin, request: &Request) -> bool {
    if groups.iter().any(|group| group == "system:masters") {
        return true;
    }
    state.bindings.iter().any(|(key, binding)| {
        let counts = match (key.namespace(), request) {
            (None, _) => true,
            (Some(_), Request::Url { .. }) => false,
            (Some(namespace), Request::Object(asked)) => asked.namespace == namespace,
        };
        let means = |subject: &Subject| match subject {
            Subject::User(name) => Some(name) == username.as_ref(),
            Subject::Group(name) => groups.contains(name),
            Subject::ServiceAccount { namespace, name } => {
                Some(format!("system:serviceaccount:{namespace}:{name}")) == *username
            }
        };
        let role = match (&binding.role_ref, key.namespace()) {
            (RoleRef::ClusterRole(name), _) => ObjectKey::cluster_role(name),
            (RoleRef::Role(name), Some(namespace)) => ObjectKey::role(namespace, name),
            (RoleRef::Role(_), None) => return false,
        };
        counts
            && binding.subjects.iter().any(means)
            && rules(state, moment, &role).iter().any(|rule| rule_allows(rule, request))
    })
}

/// Runs the controller over all roles until nothing changes; there must be no circle.
pub(crate) fn rules(state: &State, moment: Aggregation, key: &ObjectKey) -> Vec<Rule> {
    if state.roles.values().all(|role| role.aggregation.is_none()) {
        return state.roles.get(key).map(|role| role.rules.clone()).unwrap_or_default();
    }
    let mut roles = state.roles.clone();
    loop {
        let mut changed = false;
        let now = roles.clone();
        for (name, role) in &mut roles {
            let stored = state.roles.get(name).is_some_and(|stored| !stored.rules.is_empty());
            let Some(selectors) = role.aggregation.clone().filter(|_| moment == Aggregation::Reconciled || !stored)
            else {
                continue;
            };
            let mut next: Vec<Rule> = Vec::new();
            for (other, selected) in now.iter().filter(|(other, _)| other.namespace().is_none() && *other != name) {
                if selectors.iter().any(|selector| selector.matches(&selected.meta.labels)) {
                    next.extend(now[other].rules.iter().cloned());
                }
            }
            next.sort();
            next.dedup();
            changed |= next != role.rules;
            role.rules = next;
        }
        if !changed {
            return roles.get(key).map(|role| role.rules.clone()).unwrap_or_default();
        }
    }
}

fn rule_allows(rule: &Rule, request: &Request) -> bool {
    let has = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
    match request {
        Request::Url { verb, path } => {
            has(&rule.verbs, verb)
                && rule.non_resource_urls.iter().any(|url| {
                    url == "*" || url == path || url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))
                })
        }
        Request::Object(asked) => {
            let combined = if asked.subresource.is_empty() {
                asked.resource.clone()
            } else {
                format!("{}/{}", asked.resource, asked.subresource)
            };
            let resource = |word: &String| {
                word == "*"
                    || *word == combined
                    || !asked.subresource.is_empty() && *word == format!("*/{}", asked.subresource)
            };
            has(&rule.verbs, &asked.verb)
                && has(&rule.api_groups, &asked.group)
                && rule.resources.iter().any(resource)
                && (rule.resource_names.is_empty() || rule.resource_names.contains(&asked.name))
        }
    }
}
