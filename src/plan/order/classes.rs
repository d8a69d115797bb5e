//! Whom the writes may concern: principals whose entry changes, principals in whom several changes meet, and whom
//! bindings name.
//!
//! Where one single thing changes for somebody, the frame of that group or user by itself is his frame too: what does not
//! change is the same on both sides. Only where two changes meet in one login has it a frame of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::forms::OrderLogin;
use super::world::OrderWorld;
use crate::access::{
    AccessView, Aggregation, Authentication, IamIdentity, Identity, RenderedName, SubjectQuery, is_session_name_char,
};
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::AwsAuth;
use crate::state::rbac::Subject;

/// Somebody whom the writes may concern, and the logins that he has now.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) who: SubjectQuery,
    pub(super) first: Vec<OrderLogin>,
    pub(super) last: Vec<OrderLogin>,
    pub(super) now: Vec<OrderLogin>,
    /// The number of his frame.
    pub(super) frame: usize,
}

impl Class {
    fn new(who: SubjectQuery, first: Vec<OrderLogin>, last: Vec<OrderLogin>) -> Self {
        Self { who, now: first.clone(), first, last, frame: 0 }
    }

    /// What aws-auth knows him by.
    pub(super) fn key(&self) -> String {
        match &self.who {
            SubjectQuery::Arn(caller) => caller.comparison_key(),
            SubjectQuery::Account(id) => id.clone(),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => String::new(),
        }
    }

    /// Who has the same frame and the same logins is in it or out of it with him.
    pub(super) fn standing(&self) -> (usize, Vec<Bare>) {
        (self.frame, bare(&self.now))
    }
}

/// What of a login decides.
pub(super) type Bare = (Vec<usize>, bool);

pub(super) fn bare(logins: &[OrderLogin]) -> Vec<Bare> {
    logins.iter().map(|login| (login.subjects.clone(), login.is_master)).collect()
}

/// The logins of somebody, with the subjects that some binding names, as one state of aws-auth has them; without any he has one that gives nothing.
pub(super) fn logins(world: &OrderWorld<'_>, admission: &Authentication) -> Vec<OrderLogin> {
    let mut all: Vec<OrderLogin> = admission.identities().map(|identity| login(world, identity)).collect();
    let denied = match admission {
        Authentication::Identity(_) => 0,
        Authentication::Denied(_) => 1,
        Authentication::Ambiguous(logins) => logins.iter().filter(|login| login.is_err()).count(),
    };
    if denied > 0 || all.is_empty() {
        all.push(OrderLogin::default());
    }
    all
}

fn login(world: &OrderWorld<'_>, identity: &Identity) -> OrderLogin {
    let mut subjects: Vec<usize> = identity.subjects().filter_map(|subject| world.known_subject(&subject)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    OrderLogin {
        username: identity.username.as_ref().and_then(RenderedName::as_literal).map(str::to_owned),
        groups: identity.groups.iter().filter_map(RenderedName::as_literal).map(str::to_owned).collect(),
        subjects,
        is_master: identity.is_in_system_masters(),
    }
}

/// A state of aws-auth alone.
pub(super) fn mapping_of(auth: Option<AwsAuth>) -> State {
    State { aws_auth: auth, ..State::default() }
}

/// All whom the changes concern. `touched` are the subjects of changed bindings and of bindings to changed roles.
pub(super) fn classes(world: &OrderWorld<'_>, touched: &BTreeSet<usize>, before: &State, after: &State) -> Vec<Class> {
    let sides = [AccessView::new(before, Aggregation::Reconciled), AccessView::new(after, Aggregation::Reconciled)];
    let meeting = |login: &OrderLogin| login.subjects.iter().filter(|subject| touched.contains(subject)).count();
    let mut named = Vec::new();
    // Whose own login has more that changes, such as the groups of a service account: no frame of others.
    let mut wide = BTreeSet::new();
    for number in touched {
        let Some(subject) = world.subjects.get(*number) else {
            continue;
        };
        let who = SubjectQuery::from_subject(subject);
        let own = logins(world, &sides[0].authenticate(&who));
        if own.iter().any(|login| meeting(login) > 1) {
            wide.insert(*number);
        }
        named.push((who, own));
    }
    let mut seen: BTreeSet<(Vec<Bare>, Vec<Bare>)> = BTreeSet::new();
    let mut all = Vec::new();
    for who in principals(&sides, world) {
        let admissions = sides.each_ref().map(|side| side.authenticate(&who));
        let [first, last] = admissions.each_ref().map(|admission| logins(world, admission));
        let has_own = |login: &OrderLogin| meeting(login) > 1 || login.subjects.iter().any(|one| wide.contains(one));
        let several = first.len() > 1 || first.iter().any(has_own);
        if first != last || several && seen.insert((bare(&first), bare(&last))) {
            all.push(Class::new(who, first, last));
        }
    }
    for (who, own) in named {
        if seen.insert((bare(&own), bare(&own))) {
            all.push(Class::new(who, own.clone(), own));
        }
    }
    all
}

/// Principals of either side, with the sessions that bindings could mean, and those that an account lets in.
fn principals(sides: &[AccessView<'_>; 2], world: &OrderWorld<'_>) -> BTreeSet<SubjectQuery> {
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
        let users = world.subjects.iter().filter_map(|subject| match subject {
            Subject::User(name) if name.starts_with("arn:") => IamIdentity::parse(name).ok(),
            Subject::User(_) | Subject::Group(_) | Subject::ServiceAccount { .. } => None,
        });
        let of_account = users.filter(|caller| accounts.contains(caller.account()));
        all.extend(of_account.map(SubjectQuery::Arn));
        let others: Vec<SubjectQuery> = all.iter().filter_map(|who| spelled_otherwise(who, &accounts, world)).collect();
        all.extend(others);
    }
    let templates = templates(sides);
    if !templates.is_empty() {
        let sessions = all.iter().flat_map(|who| sessions(who, &templates, world)).collect::<Vec<_>>();
        all.extend(sessions);
    }
    all
}

/// A caller in a case that no binding names: an entry answers for him all the same, and where it is his account that lets
/// him in he is somebody else.
fn spelled_otherwise(who: &SubjectQuery, accounts: &BTreeSet<String>, world: &OrderWorld<'_>) -> Option<SubjectQuery> {
    let SubjectQuery::Arn(caller) = who else {
        return None;
    };
    let is_named = |name: &str| world.known_subject(&Subject::User(name.to_owned())).is_some();
    if !accounts.contains(caller.account()) || !is_named(caller.canonical()) {
        return None;
    }
    let (head, name) = caller.canonical().split_at(caller.canonical().find('/')?);
    let turned = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let one = |(at, c): (usize, char)| format!("{}{}{}", &name[..at], turned(c), &name[at + c.len_utf8()..]);
    let whole = [name.to_ascii_uppercase(), name.to_ascii_lowercase()].into_iter();
    let all = whole.chain(name.char_indices().map(one)).map(|name| format!("{head}{name}"));
    let other = all.filter(|text| !is_named(text)).find_map(|text| IamIdentity::parse(&text).ok())?;
    (other.comparison_key() == caller.comparison_key()).then_some(SubjectQuery::Arn(other))
}

/// Usernames and groups with an open session in them, by principal.
fn templates(sides: &[AccessView<'_>; 2]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for side in sides {
        let readings =
            side.state().aws_auth.iter().flat_map(|auth| Section::ALL.map(|section| auth.parse_section(section)));
        for found in readings.filter_map(Result::ok).flat_map(|reading| reading.entries) {
            let names = found.entry.groups.iter().chain([&found.entry.username]);
            let open: BTreeSet<String> = names.filter(|name| name.contains("{{Session")).cloned().collect();
            if !open.is_empty() {
                all.entry(crate::state::config_map::entry_key(&found.entry)).or_default().extend(open);
            }
        }
    }
    all
}

/// The sessions of a role by whose name a template becomes a name that some binding has.
fn sessions(
    who: &SubjectQuery,
    templates: &BTreeMap<String, BTreeSet<String>>,
    world: &OrderWorld<'_>,
) -> Vec<SubjectQuery> {
    let SubjectQuery::Arn(caller) = who else {
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    for template in templates.get(&caller.comparison_key()).into_iter().flatten() {
        let template = template.replace("{{AccountID}}", caller.account());
        let Some((head, rest)) = template.split_once("{{Session") else {
            continue;
        };
        let Some((_, tail)) = rest.split_once("}}").filter(|(_, tail)| !tail.contains("{{")) else {
            continue;
        };
        for subject in &world.subjects {
            let (Subject::User(name) | Subject::Group(name) | Subject::ServiceAccount { name, .. }) = subject;
            if let Some(name) = name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)) {
                names.insert(name.to_owned());
                names.insert(name.replacen('-', "@", 1));
            }
        }
    }
    let role = caller.canonical().split_once(":role/").map(|(_, role)| role).unwrap_or_default();
    let partition = caller.canonical().split(':').nth(1).unwrap_or_default();
    let session = |name: &String| {
        IamIdentity::parse(&format!("arn:{partition}:sts::{}:assumed-role/{role}/{name}", caller.account())).ok()
    };
    names
        .iter()
        .filter(|name| !name.is_empty() && name.chars().all(is_session_name_char))
        .filter_map(session)
        .map(SubjectQuery::Arn)
        .collect()
}

/// The logins of both sides, once for all who have the same; each class gets the number of its own.
pub(super) fn framed(classes: &mut [Class]) -> Vec<(Vec<OrderLogin>, Vec<OrderLogin>)> {
    let mut known: BTreeMap<(Vec<Bare>, Vec<Bare>), usize> = BTreeMap::new();
    let mut all = Vec::new();
    for class in classes {
        class.frame = *known.entry((bare(&class.first), bare(&class.last))).or_insert_with(|| {
            all.push((class.first.clone(), class.last.clone()));
            all.len() - 1
        });
    }
    all
}

/// Whether an entry's username and groups are what machines join by.
pub(super) fn is_node(username: &str, groups: &[String]) -> bool {
    username.starts_with("system:node:")
        || groups.iter().any(|group| group == "system:nodes" || group == "system:bootstrappers")
}
