//! The sessions of a principal, and the principals of an account, to which some binding grants more than to the others.
//!
//! An entry with `{{SessionName}}` in its username or in a group gives each session another name. Bindings name a few of
//! these names. The sessions that have such a name are variants of the principal: each is an identity of its own. All
//! other sessions have the access that the placeholders do not change. mapAccounts is alike: each principal of the account
//! has its ARN as username, and bindings name a few of these ARNs.

use std::collections::BTreeSet;

use super::iam_identity::IamIdentity;
use super::identity::{
    ANONYMOUS, AUTHENTICATED, Authentication, MASTERS, NODES, UNAUTHENTICATED, service_account_username,
};
use super::identity_mapping::IdentityMapping;
use super::session_match::{SESSION_NAME_RAW, SessionAttributes, literal_prefix, sessions_rendering};
use super::template::RenderedName;
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
            };
        }
        names
    }
}

/// Returns the sessions of a principal whose username or groups some binding distinguishes from those of the other
/// sessions. `other_templates` are more usernames and groups of the principal, for example in another state.
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
        let sessions = sessions_rendering(template, iam_identity.account(), username);
        identities.extend(sessions.iter().filter_map(|session| iam_identity.with_session(session)));
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
