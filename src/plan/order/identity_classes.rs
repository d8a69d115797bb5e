//! The subjects that the writes can affect: principals whose aws-auth entry changes, principals that several changes
//! affect, and the subjects of changed bindings.
//!
//! If only one change affects a principal, the bounds of that group or user apply to the principal too, because
//! everything else is the same before and after. A principal has its own bounds only if at least two changes affect one
//! login.

use std::collections::{BTreeMap, BTreeSet};

use super::access_model::AccessModel;
use super::contents::OrderLogin;
use crate::access::{
    AccessView, Aggregation, Authentication, IamIdentity, Identity, RenderedName, SubjectQuery, is_session_name_char,
};
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::AwsAuth;
use crate::state::rbac::Subject;

/// A subject that the writes can affect. It also represents the other subjects with the same logins.
#[derive(Debug)]
pub(super) struct IdentityClass {
    pub(super) who: SubjectQuery,
    /// The identities that aws-auth maps in the live state.
    pub(super) live_logins: Vec<OrderLogin>,
    /// The identities that aws-auth maps in the planned state.
    pub(super) planned_logins: Vec<OrderLogin>,
    /// The identities that aws-auth maps after the writes so far.
    pub(super) current_logins: Vec<OrderLogin>,
    /// The index of its bounds.
    pub(super) bounds_index: usize,
}

impl IdentityClass {
    fn new(who: SubjectQuery, live_logins: Vec<OrderLogin>, planned_logins: Vec<OrderLogin>) -> Self {
        Self { who, current_logins: live_logins.clone(), live_logins, planned_logins, bounds_index: 0 }
    }

    /// Returns the key of its aws-auth entry. Empty for a subject that has none.
    pub(super) fn key(&self) -> String {
        match &self.who {
            SubjectQuery::Arn(identity) => identity.comparison_key(),
            SubjectQuery::Account(id) => id.clone(),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => String::new(),
        }
    }

    /// Returns a key: classes with equal keys have the same bounds and logins, so they are all within the bounds or all
    /// outside.
    pub(super) fn group_key(&self) -> (usize, Vec<LoginKey>) {
        (self.bounds_index, login_keys(&self.current_logins))
    }
}

/// The part of a login that decides about access: its subjects, and whether it is in `system:masters`.
pub(super) type LoginKey = (Vec<usize>, bool);

pub(super) fn login_keys(logins: &[OrderLogin]) -> Vec<LoginKey> {
    logins.iter().map(|login| (login.subjects.clone(), login.is_master)).collect()
}

/// Returns the possible results of an authentication, with the subjects that bindings refer to. If the authentication
/// can be denied, one of them is an empty login.
pub(super) fn logins(model: &AccessModel<'_>, authentication: &Authentication) -> Vec<OrderLogin> {
    let mut all: Vec<OrderLogin> = authentication.identities().map(|identity| login(model, identity)).collect();
    let denied = match authentication {
        Authentication::Identity(_) => 0,
        Authentication::Denied(_) => 1,
        Authentication::Ambiguous(logins) => logins.iter().filter(|login| login.is_err()).count(),
    };
    if denied > 0 || all.is_empty() {
        all.push(OrderLogin::default());
    }
    all
}

fn login(model: &AccessModel<'_>, identity: &Identity) -> OrderLogin {
    let mut subjects: Vec<usize> = identity.subjects().filter_map(|subject| model.subject_id(&subject)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    OrderLogin {
        username: identity.username.as_ref().and_then(RenderedName::as_literal).map(str::to_owned),
        groups: identity.groups.iter().filter_map(RenderedName::as_literal).map(str::to_owned).collect(),
        subjects,
        is_master: identity.is_in_system_masters(),
    }
}

/// Returns a state with only aws-auth.
pub(super) fn state_with_aws_auth(auth: Option<AwsAuth>) -> State {
    State { aws_auth: auth, ..State::default() }
}

/// Returns all classes that the changes can affect. `affected` are the subjects of changed bindings and of bindings to
/// changed roles.
pub(super) fn classes(
    model: &AccessModel<'_>,
    affected: &BTreeSet<usize>,
    before: &State,
    after: &State,
) -> Vec<IdentityClass> {
    let sides = [AccessView::new(before, Aggregation::Reconciled), AccessView::new(after, Aggregation::Reconciled)];
    let count_affected =
        |login: &OrderLogin| login.subjects.iter().filter(|subject| affected.contains(subject)).count();
    let mut subjects = Vec::new();
    // Subjects that log in as several changed subjects, such as a service account with its groups. The bounds of one
    // subject do not cover them.
    let mut combined = BTreeSet::new();
    for number in affected {
        let Some(subject) = model.subjects.get(*number) else {
            continue;
        };
        let who = SubjectQuery::from_subject(subject);
        let own_logins = logins(model, &sides[0].authenticate(&who));
        if own_logins.iter().any(|login| count_affected(login) > 1) {
            combined.insert(*number);
        }
        subjects.push((who, own_logins));
    }
    let mut seen: BTreeSet<(Vec<LoginKey>, Vec<LoginKey>)> = BTreeSet::new();
    let mut all = Vec::new();
    for who in principals(&sides, model) {
        let authentications = sides.each_ref().map(|side| side.authenticate(&who));
        let [first, last] = authentications.each_ref().map(|authentication| logins(model, authentication));
        let has_own_bounds = |login: &OrderLogin| {
            count_affected(login) > 1 || login.subjects.iter().any(|subject| combined.contains(subject))
        };
        let needs_own_bounds = first.len() > 1 || first.iter().any(has_own_bounds);
        if first != last || needs_own_bounds && seen.insert((login_keys(&first), login_keys(&last))) {
            all.push(IdentityClass::new(who, first, last));
        }
    }
    for (who, own_logins) in subjects {
        if seen.insert((login_keys(&own_logins), login_keys(&own_logins))) {
            all.push(IdentityClass::new(who, own_logins.clone(), own_logins));
        }
    }
    all
}

/// Returns the principals of both states, including sessions whose names bindings refer to, and principals that only an
/// entry of mapAccounts can authenticate.
fn principals(sides: &[AccessView<'_>; 2], model: &AccessModel<'_>) -> BTreeSet<SubjectQuery> {
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
        let users = model.subjects.iter().filter_map(|subject| match subject {
            Subject::User(name) if name.starts_with("arn:") => IamIdentity::parse(name).ok(),
            Subject::User(_) | Subject::Group(_) | Subject::ServiceAccount { .. } => None,
        });
        let account_users = users.filter(|identity| accounts.contains(identity.account()));
        all.extend(account_users.map(SubjectQuery::Arn));
        let others: Vec<SubjectQuery> = all.iter().filter_map(|who| in_different_case(who, &accounts, model)).collect();
        all.extend(others);
    }
    let templates = templates(sides);
    if !templates.is_empty() {
        let sessions = all.iter().flat_map(|who| sessions(who, &templates, model)).collect::<Vec<_>>();
        all.extend(sessions);
    }
    all
}

/// Returns the same principal with its name in a case that no binding uses. Entries of mapRoles and mapUsers match
/// without regard to case, but through mapAccounts the username is the ARN as it is, so the principal is another user.
fn in_different_case(who: &SubjectQuery, accounts: &BTreeSet<String>, model: &AccessModel<'_>) -> Option<SubjectQuery> {
    let SubjectQuery::Arn(identity) = who else {
        return None;
    };
    let is_named = |name: &str| model.subject_id(&Subject::User(name.to_owned())).is_some();
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
    model: &AccessModel<'_>,
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
        for subject in &model.subjects {
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
pub(super) fn assign_bounds(classes: &mut [IdentityClass]) -> Vec<(Vec<OrderLogin>, Vec<OrderLogin>)> {
    let mut known: BTreeMap<(Vec<LoginKey>, Vec<LoginKey>), usize> = BTreeMap::new();
    let mut all = Vec::new();
    for class in classes {
        class.bounds_index =
            *known.entry((login_keys(&class.live_logins), login_keys(&class.planned_logins))).or_insert_with(|| {
                all.push((class.live_logins.clone(), class.planned_logins.clone()));
                all.len() - 1
            });
    }
    all
}

/// Returns whether an entry has the username or a group of nodes.
pub(super) fn is_node(username: &str, groups: &[String]) -> bool {
    username.starts_with("system:node:")
        || groups.iter().any(|group| group == "system:nodes" || group == "system:bootstrappers")
}
