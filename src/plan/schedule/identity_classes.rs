//! The subjects that the writes can affect: principals whose aws-auth entry changes, principals that several changes
//! affect, and the subjects of changed bindings.
//!
//! If only one change affects a principal, the bounds of that group or user apply to the principal too, because
//! everything else is the same before and after. A principal has its own bounds only if at least two changes affect one
//! login.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{
    AccessEngine, AccessView, Aggregation, Authentication, IamIdentity, Identity, RenderedName, SubjectId,
    SubjectQuery, SubjectSet, is_session_name_char,
};
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::AwsAuth;
use crate::state::rbac::Subject;

/// The index of an identity class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId(pub(super) usize);

/// The index of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BoundsId(pub(super) usize);

/// The identity that an authentication results in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) subjects: SubjectSet,
}

/// A subject that the writes can affect. It also represents the other subjects with the same logins.
#[derive(Debug)]
pub(super) struct IdentityClass {
    pub(super) who: SubjectQuery,
    /// The identities that aws-auth maps in the live state.
    pub(super) live_logins: Vec<Login>,
    /// The identities that aws-auth maps in the planned state.
    pub(super) planned_logins: Vec<Login>,
    /// The identities that aws-auth maps after the writes so far.
    pub(super) current_logins: Vec<Login>,
    pub(super) bounds: BoundsId,
}

impl IdentityClass {
    fn new(who: SubjectQuery, live_logins: Vec<Login>, planned_logins: Vec<Login>) -> Self {
        Self { who, current_logins: live_logins.clone(), live_logins, planned_logins, bounds: BoundsId(0) }
    }

    /// Returns the key of its aws-auth entry. `None` for a subject that can have none.
    pub(super) fn entry_key(&self) -> Option<String> {
        match &self.who {
            SubjectQuery::Arn(identity) => Some(identity.comparison_key()),
            SubjectQuery::Account(id) => Some(id.clone()),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => None,
        }
    }

    /// Returns a key: classes with equal keys have the same bounds and logins, so they are all within the bounds or all
    /// outside.
    pub(super) fn group_key(&self) -> (BoundsId, Vec<&SubjectSet>) {
        (self.bounds, subject_sets(&self.current_logins))
    }
}

/// Returns the part of the logins that decides about access.
fn subject_sets(logins: &[Login]) -> Vec<&SubjectSet> {
    logins.iter().map(|login| &login.subjects).collect()
}

/// Returns the possible results of an authentication. If the authentication can be denied, one of them is an empty login.
pub(super) fn logins(engine: &AccessEngine<'_>, authentication: &Authentication) -> Vec<Login> {
    let mut all: Vec<Login> = authentication.identities().map(|identity| login(engine, identity)).collect();
    let can_be_denied = match authentication {
        Authentication::Identity(_) => false,
        Authentication::Denied(_) => true,
        Authentication::Ambiguous(results) => results.iter().any(Result::is_err),
    };
    if can_be_denied {
        all.push(Login::default());
    }
    all
}

fn login(engine: &AccessEngine<'_>, identity: &Identity) -> Login {
    Login {
        username: identity.username.as_ref().and_then(RenderedName::as_literal).map(str::to_owned),
        groups: identity.groups.iter().filter_map(RenderedName::as_literal).map(str::to_owned).collect(),
        subjects: SubjectSet {
            subjects: engine.matching_subjects(identity),
            is_in_system_masters: identity.is_in_system_masters(),
        },
    }
}

/// Returns a state with only aws-auth.
pub(super) fn state_with_aws_auth(aws_auth: Option<AwsAuth>) -> State {
    State { aws_auth, ..State::default() }
}

/// Returns all classes that the changes can affect. `affected` are the subjects of changed bindings and of bindings to
/// changed roles, and `bound` are all subjects that bindings name.
pub(super) fn classes(
    engine: &AccessEngine<'_>,
    affected: &BTreeSet<SubjectId>,
    bound: &[&Subject],
    [live, planned]: [Option<AwsAuth>; 2],
) -> Vec<IdentityClass> {
    let states = [state_with_aws_auth(live), state_with_aws_auth(planned)];
    let sides = states.each_ref().map(|state| AccessView::new(state, Aggregation::Reconciled));
    let [live, _] = &sides;
    let count_affected =
        |login: &Login| login.subjects.subjects.iter().filter(|subject| affected.contains(subject)).count();
    let mut subjects = Vec::new();
    // Subjects that log in as several changed subjects, such as a service account with its groups. The bounds of one
    // subject do not cover them.
    let mut combined = BTreeSet::new();
    for id in affected {
        let Some(subject) = engine.subject(*id) else {
            continue;
        };
        let who = SubjectQuery::from_subject(subject);
        let own_logins = logins(engine, &live.authenticate(&who));
        if own_logins.iter().any(|login| count_affected(login) > 1) {
            combined.insert(*id);
        }
        subjects.push((who, own_logins));
    }
    let to_key = |logins: &[Login]| logins.iter().map(|login| login.subjects.clone()).collect::<Vec<_>>();
    let mut seen: BTreeSet<(Vec<SubjectSet>, Vec<SubjectSet>)> = BTreeSet::new();
    let mut all = Vec::new();
    for who in principals(&sides, bound) {
        let [first, last] = sides.each_ref().map(|side| logins(engine, &side.authenticate(&who)));
        let has_own_bounds = |login: &Login| {
            count_affected(login) > 1 || login.subjects.subjects.iter().any(|subject| combined.contains(subject))
        };
        let needs_own_bounds = first.len() > 1 || first.iter().any(has_own_bounds);
        if first != last || needs_own_bounds && seen.insert((to_key(&first), to_key(&last))) {
            all.push(IdentityClass::new(who, first, last));
        }
    }
    for (who, own_logins) in subjects {
        if seen.insert((to_key(&own_logins), to_key(&own_logins))) {
            all.push(IdentityClass::new(who, own_logins.clone(), own_logins));
        }
    }
    all
}

/// Returns the principals of both states, including sessions whose names bindings refer to, and principals that only an
/// entry of mapAccounts can authenticate.
fn principals(sides: &[AccessView<'_>; 2], bound: &[&Subject]) -> BTreeSet<SubjectQuery> {
    let mut all: BTreeSet<SubjectQuery> =
        sides.iter().flat_map(AccessView::principals).map(|principal| principal.subject.clone()).collect();
    let accounts: BTreeSet<String> = all
        .iter()
        .filter_map(|who| match who {
            SubjectQuery::Account(id) => Some(id.clone()),
            SubjectQuery::Arn(_)
            | SubjectQuery::User(_)
            | SubjectQuery::Group(_)
            | SubjectQuery::ServiceAccount { .. } => None,
        })
        .collect();
    if !accounts.is_empty() {
        let users = bound.iter().filter_map(|subject| match subject {
            Subject::User(name) if name.starts_with("arn:") => IamIdentity::parse(name).ok(),
            Subject::User(_) | Subject::Group(_) | Subject::ServiceAccount { .. } => None,
        });
        let account_users = users.filter(|identity| accounts.contains(identity.account()));
        all.extend(account_users.map(SubjectQuery::Arn));
        let named: BTreeSet<&str> = bound
            .iter()
            .filter_map(|subject| match subject {
                Subject::User(name) => Some(name.as_str()),
                Subject::Group(_) | Subject::ServiceAccount { .. } => None,
            })
            .collect();
        let others: Vec<SubjectQuery> = all.iter().filter_map(|who| in_different_case(who, &accounts, &named)).collect();
        all.extend(others);
    }
    let templates = templates(sides);
    if !templates.is_empty() {
        let sessions = all.iter().flat_map(|who| sessions(who, &templates, bound)).collect::<Vec<_>>();
        all.extend(sessions);
    }
    all
}

/// Returns the same principal with its name in a case that no binding uses. Entries of mapRoles and mapUsers match
/// without regard to case, but through mapAccounts the username is the ARN as it is, so the principal is another user.
fn in_different_case(who: &SubjectQuery, accounts: &BTreeSet<String>, named: &BTreeSet<&str>) -> Option<SubjectQuery> {
    let SubjectQuery::Arn(identity) = who else {
        return None;
    };
    let is_named = |name: &str| named.contains(name);
    if !accounts.contains(identity.account()) || !is_named(identity.canonical()) {
        return None;
    }
    let (head, name) = identity.canonical().split_at(identity.canonical().find('/')?);
    let swap_case = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let swap_at = |(at, c): (usize, char)| format!("{}{}{}", &name[..at], swap_case(c), &name[at + c.len_utf8()..]);
    let whole = [name.to_ascii_uppercase(), name.to_ascii_lowercase()].into_iter();
    let variants = whole.chain(name.char_indices().map(swap_at)).map(|name| format!("{head}{name}"));
    let other = variants.filter(|text| !is_named(text)).find_map(|text| IamIdentity::parse(&text).ok())?;
    (other.comparison_key() == identity.comparison_key()).then_some(SubjectQuery::Arn(other))
}

/// Returns usernames and groups with a session template, by principal.
fn templates(sides: &[AccessView<'_>; 2]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for side in sides {
        let sections =
            side.state().aws_auth.iter().flat_map(|auth| Section::ALL.map(|section| auth.parse_section(section)));
        for located in sections.filter_map(Result::ok).flat_map(|section| section.entries) {
            let names = located.entry.groups.iter().chain([&located.entry.username]);
            let templates: BTreeSet<String> = names.filter(|name| name.contains("{{Session")).cloned().collect();
            if !templates.is_empty() {
                all.entry(crate::state::config_map::entry_key(&located.entry)).or_default().extend(templates);
            }
        }
    }
    all
}

/// Returns the sessions of a role with which a template expands to the name of a subject of some binding.
fn sessions(
    who: &SubjectQuery,
    templates: &BTreeMap<String, BTreeSet<String>>,
    bound: &[&Subject],
) -> Vec<SubjectQuery> {
    let SubjectQuery::Arn(identity) = who else {
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    for template in templates.get(&identity.comparison_key()).into_iter().flatten() {
        let template = template.replace("{{AccountID}}", identity.account());
        let Some((head, rest)) = template.split_once("{{Session") else {
            continue;
        };
        let Some((_, tail)) = rest.split_once("}}").filter(|(_, tail)| !tail.contains("{{")) else {
            continue;
        };
        for subject in bound {
            let (Subject::User(name) | Subject::Group(name) | Subject::ServiceAccount { name, .. }) = subject;
            if let Some(name) = name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)) {
                names.insert(name.to_owned());
                names.insert(name.replacen('-', "@", 1));
            }
        }
    }
    let role = identity.canonical().split_once(":role/").map(|(_, role)| role).unwrap_or_default();
    let partition = identity.canonical().split(':').nth(1).unwrap_or_default();
    let session = |name: &String| {
        IamIdentity::parse(&format!("arn:{partition}:sts::{}:assumed-role/{role}/{name}", identity.account())).ok()
    };
    names
        .iter()
        .filter(|name| !name.is_empty() && name.chars().all(is_session_name_char))
        .filter_map(session)
        .map(SubjectQuery::Arn)
        .collect()
}

/// Returns the distinct pairs of logins in the live and the planned state. Sets for each class the index of its pair.
pub(super) fn assign_bounds(classes: &mut [IdentityClass]) -> Vec<[Vec<SubjectSet>; 2]> {
    let mut known: BTreeMap<[Vec<SubjectSet>; 2], BoundsId> = BTreeMap::new();
    let mut all = Vec::new();
    for class in classes {
        let pair = [&class.live_logins, &class.planned_logins]
            .map(|logins| logins.iter().map(|login| login.subjects.clone()).collect::<Vec<_>>());
        class.bounds = *known.entry(pair).or_insert_with_key(|pair| {
            all.push(pair.clone());
            BoundsId(all.len() - 1)
        });
    }
    all
}

/// Returns whether an entry has the username or a group of nodes.
pub(super) fn is_node(username: &str, groups: &[String]) -> bool {
    username.starts_with("system:node:")
        || groups.iter().any(|group| group == "system:nodes" || group == "system:bootstrappers")
}
