//! The sessions of a principal, and the principals of an account, to which some binding grants more than to the others.
//!
//! An entry with `{{SessionName}}` in its username or in a group gives each session another name. Bindings name a few of
//! these names. The sessions that have such a name are variants of the principal: each is an identity of its own. All
//! other sessions have the access that the placeholders do not change. mapAccounts is alike: each principal of the account
//! has its ARN as username, and bindings name a few of these ARNs.

use std::collections::BTreeSet;

use super::iam_identity::IamIdentity;
use super::identity::{
    ANONYMOUS, AUTHENTICATED, Authentication, MASTERS, NODES, SubjectQuery, UNAUTHENTICATED, service_account_username,
};
use super::identity_mapping::IdentityMapping;
use super::session_attributes::SessionAttributes;
use super::session_match::{SESSION_NAME_RAW, literal_prefix, sessions_rendering};
use super::template::{RenderedName, render_template};
use crate::state::rbac::Subject;

/// Groups that decide about access without a binding.
const BUILT_IN_GROUPS: [&str; 4] = [MASTERS, NODES, AUTHENTICATED, UNAUTHENTICATED];

/// The usernames and groups that bindings name or that Kubernetes itself treats in a special way.
#[derive(Debug, Default)]
pub(super) struct BoundNames {
    usernames: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl BoundNames {
    pub(super) fn new<'s>(subjects: impl IntoIterator<Item = &'s Subject>) -> Self {
        let mut names =
            Self { usernames: [ANONYMOUS.to_owned()].into(), groups: BUILT_IN_GROUPS.map(str::to_owned).into() };
        for subject in subjects {
            match subject {
                Subject::User(name) => names.usernames.insert(name.clone()),
                Subject::Group(name) => names.groups.insert(name.clone()),
                Subject::ServiceAccount { namespace, name } => {
                    names.usernames.insert(service_account_username(namespace, name))
                }
                // All sessions of the principal of an access entry have its access policies.
                Subject::AccessEntry(_) => false,
            };
        }
        names
    }
}

/// Returns the sessions of a principal whose username or groups some binding distinguishes from those of the other
/// sessions.
pub(super) fn distinguished_sessions(
    iam_identity: &IamIdentity,
    authentication: &Authentication,
    names: &BoundNames,
) -> BTreeSet<IamIdentity> {
    let mut sessions = BTreeSet::new();
    let mut has_raw_template = false;
    let mut add = |template: &RenderedName, candidates: &BTreeSet<String>| {
        let RenderedName::PerSession(text) = template else {
            return;
        };
        has_raw_template |= text.contains(SESSION_NAME_RAW);
        // The account is rendered already.
        let prefix = literal_prefix(text, "");
        let candidates = candidates.range(prefix.clone()..).take_while(|name| name.starts_with(&prefix));
        for name in candidates {
            sessions.extend(sessions_rendering(text, "", name));
        }
    };
    for identity in authentication.identities() {
        identity.username.iter().for_each(|name| add(name, &names.usernames));
        identity.groups.iter().for_each(|name| add(name, &names.groups));
    }
    if has_raw_template {
        sessions = with_other_raw_names(sessions);
    }
    sessions.iter().filter_map(|session| iam_identity.with_session(session)).collect()
}

/// Adds to each session one that only `{{SessionNameRaw}}` distinguishes from it.
fn with_other_raw_names(mut sessions: BTreeSet<SessionAttributes>) -> BTreeSet<SessionAttributes> {
    let names: BTreeSet<String> = sessions.iter().filter_map(|session| session.name.clone()).collect();
    let others: Vec<SessionAttributes> =
        sessions.iter().filter_map(|session| session.with_other_raw_name(&names)).collect();
    sessions.extend(others);
    sessions
}

/// Returns the principals without an entry of their own whose ARN a binding names, if `is_mapped` accepts their account.
pub(super) fn bound_account_members(
    mapping: &IdentityMapping,
    names: &BoundNames,
    is_mapped: impl Fn(&str) -> bool,
) -> BTreeSet<IamIdentity> {
    let prefix = "arn:";
    let arns = names.usernames.range(prefix.to_owned()..).take_while(|name| name.starts_with(prefix));
    // The username is the ARN as STS reports it: without the path of a role, and in the case of the principal's name.
    let members = arns.filter_map(|name| IamIdentity::parse(name).ok().filter(|member| member.canonical() == name));
    members.filter(|member| is_mapped(member.account()) && mapping.entries_for(member).is_empty()).collect()
}

/// Returns the principals of mapRoles and mapUsers that can have the username, each limited to the sessions that have it.
pub(super) fn identities_with_username(mapping: &IdentityMapping, username: &str) -> BTreeSet<IamIdentity> {
    let mut identities = BTreeSet::new();
    for (iam_identity, template) in mapping.usernames() {
        if !template.contains("{{") {
            identities.extend((template == username).then(|| iam_identity.clone()));
            continue;
        }
        // The session name of a user is known: it is empty.
        match render_template(template, iam_identity) {
            Ok(RenderedName::Literal(name)) => identities.extend((name == username).then(|| iam_identity.clone())),
            Ok(RenderedName::PerSession(template)) => {
                let sessions = sessions_rendering(&template, "", username);
                identities.extend(sessions.iter().filter_map(|session| iam_identity.with_session(session)));
            }
            Ok(RenderedName::AccountPrincipal { .. }) | Err(_) => {}
        }
    }
    if let Ok(member) = IamIdentity::parse(username)
        && member.canonical() == username
        && mapping.account_entry(member.account()).is_some()
        && mapping.entries_for(&member).is_empty()
    {
        identities.insert(member);
    }
    identities
}

/// Returns every principal that one of several aws-auths maps, with the sessions and the principals of accounts whose
/// username or groups differ from those of the others in a name that a subject has.
///
/// The result is complete: every token has the same bound names in each of the aws-auths as one of the results.
pub(crate) fn distinguished_principals<'s>(
    mappings: &[&IdentityMapping],
    bound: impl IntoIterator<Item = &'s Subject>,
) -> BTreeSet<SubjectQuery> {
    let names = BoundNames::new(bound);
    let accounts: BTreeSet<&str> = mappings.iter().flat_map(|mapping| mapping.account_ids()).collect();
    let mut identities: BTreeSet<IamIdentity> =
        mappings.iter().flat_map(|mapping| mapping.iam_identities().into_values()).collect();
    let arns = names.usernames.range("arn:".to_owned()..).take_while(|name| name.starts_with("arn:"));
    let members = arns.filter_map(|name| IamIdentity::parse(name).ok().filter(|member| member.canonical() == name));
    identities.extend(members.filter(|member| accounts.contains(member.account())));
    let in_account = identities.iter().filter(|identity| accounts.contains(identity.account()));
    let others: Vec<IamIdentity> =
        in_account.filter_map(|identity| in_unbound_case(identity, &names.usernames)).collect();
    identities.extend(others);
    let sessions: Vec<IamIdentity> =
        identities.iter().flat_map(|identity| all_distinguished_sessions(identity, mappings, &names)).collect();
    identities.extend(sessions);
    let accounts = accounts.into_iter().map(|id| SubjectQuery::Account(id.to_owned()));
    identities.into_iter().map(SubjectQuery::Arn).chain(accounts).collect()
}

/// Returns the sessions that are distinguished in one of the aws-auths, or in several of them together.
fn all_distinguished_sessions(
    iam_identity: &IamIdentity,
    mappings: &[&IdentityMapping],
    names: &BoundNames,
) -> BTreeSet<IamIdentity> {
    let query = SubjectQuery::Arn(iam_identity.clone());
    let authentications = mappings.iter().map(|mapping| Authentication::for_query(&query, mapping));
    let rendered: Vec<Authentication> = authentications.filter(Authentication::has_session_names).collect();
    let mut sessions = BTreeSet::new();
    let mut pending = if rendered.is_empty() { Vec::new() } else { vec![iam_identity.clone()] };
    while let Some(session) = pending.pop() {
        let query = SubjectQuery::Arn(session.clone());
        for mapping in mappings {
            let authentication = Authentication::for_query(&query, mapping);
            let found = distinguished_sessions(&session, &authentication, names);
            pending.extend(found.into_iter().filter(|session| sessions.insert(session.clone())));
        }
    }
    let has_raw_template = rendered.iter().flat_map(Authentication::identities).any(|identity| {
        identity.username.iter().chain(&identity.groups).any(|name| name.as_str().contains(SESSION_NAME_RAW))
    });
    if has_raw_template {
        let attributes = sessions.iter().map(IamIdentity::session_attributes).collect();
        let others = with_other_raw_names(attributes);
        sessions.extend(others.iter().filter_map(|session| iam_identity.with_session(session)));
    }
    sessions
}

/// Returns the same principal with its name in a case that is no bound username. Entries of mapRoles and mapUsers match
/// without regard to case, but through mapAccounts the username is the ARN as it is, so the principal is another user.
fn in_unbound_case(identity: &IamIdentity, usernames: &BTreeSet<String>) -> Option<IamIdentity> {
    let is_bound = |name: &str| usernames.contains(name);
    if !is_bound(identity.canonical()) {
        return None;
    }
    let (head, name) = identity.canonical().split_at(identity.canonical().find('/')?);
    let swap_case = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let swap_at = |(at, c): (usize, char)| format!("{}{}{}", &name[..at], swap_case(c), &name[at + c.len_utf8()..]);
    let whole = [name.to_ascii_uppercase(), name.to_ascii_lowercase()].into_iter();
    let variants = whole.chain(name.char_indices().map(swap_at)).map(|name| format!("{head}{name}"));
    let other = variants.filter(|text| !is_bound(text)).find_map(|text| IamIdentity::parse(&text).ok())?;
    (other.comparison_key() == identity.comparison_key()).then_some(other)
}
