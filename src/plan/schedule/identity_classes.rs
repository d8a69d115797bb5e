//! The subjects that the writes can affect: principals whose aws-auth entry changes, principals that several changes
//! affect, and the subjects of changed bindings.
//!
//! If only one change affects a principal, the bounds of that group or user apply to the principal too, because
//! everything else is the same before and after. A principal has its own bounds only if at least two changes affect one
//! login.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::PlannedChanges;
use super::internal;
use super::token_logins::TokenLogins;
use crate::access::{
    AccessEngine, AccessView, Aggregation, Authentication, Identity, IdentityMapping, RenderedName, SubjectId,
    SubjectQuery, SubjectSet, distinguished_principals,
};
use crate::state::State;
use crate::state::access_entry::AccessEntries;
use crate::state::auth_mode::ObservedAuthMode;
use crate::state::config_map::AwsAuth;
use crate::state::object::ObjectError;
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
    /// The identities of its tokens after the writes so far.
    pub(super) tokens: TokenLogins,
    pub(super) bounds: BoundsId,
}

impl IdentityClass {
    fn new(who: SubjectQuery, live_logins: Vec<Login>, planned_logins: Vec<Login>) -> Self {
        let tokens = TokenLogins { current: live_logins.clone(), cached: Vec::new() };
        Self { who, live_logins, planned_logins, tokens, bounds: BoundsId(0) }
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
        (self.bounds, self.tokens.all().map(|login| &login.subjects).collect())
    }
}

fn to_subject_sets(logins: &[Login]) -> Vec<SubjectSet> {
    logins.iter().map(|login| login.subjects.clone()).collect()
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

/// The stores of principals.
#[derive(Debug, Clone)]
pub(super) struct MappingStores {
    pub(super) aws_auth: Option<AwsAuth>,
    pub(super) auth_mode: ObservedAuthMode,
    pub(super) access_entries: AccessEntries,
}

impl MappingStores {
    pub(super) fn live(state: &State) -> Self {
        let State { aws_auth, auth_mode, access_entries, .. } = state;
        Self { aws_auth: aws_auth.clone(), auth_mode: auth_mode.clone(), access_entries: access_entries.clone() }
    }

    /// Returns the stores after the plan.
    pub(super) fn planned(&self, planned: &PlannedChanges<'_>) -> Self {
        let mut state = Self { aws_auth: planned.aws_auth.clone(), ..self.clone() }.into_state();
        for slot in planned.entries.iter() {
            match slot.planned {
                Some(entry) => state.insert_access_entry(entry.clone()),
                None => drop(state.access_entries.take(slot.key)),
            }
        }
        Self::live(&state)
    }

    /// Returns a state with nothing else.
    pub(super) fn into_state(self) -> State {
        let Self { aws_auth, auth_mode, access_entries } = self;
        State { auth_mode, aws_auth, access_entries, ..State::default() }
    }
}

/// Returns all classes that the changes can affect. `affected` are the subjects of changed bindings and of bindings to
/// changed roles, `bound` are all subjects that bindings name, and `changed_entries` are the keys of changed access entries:
/// between two writes their principals can have neither this entry nor one of aws-auth.
pub(super) fn classes(
    engine: &AccessEngine<'_>,
    affected: &BTreeSet<SubjectId>,
    bound: &[&Subject],
    sides: [MappingStores; 2],
    changed_entries: &BTreeSet<String>,
) -> Result<Vec<IdentityClass>, ObjectError> {
    // Between two writes, an entry of aws-auth can map a principal that has an access entry in both states.
    let [live, planned] = &sides;
    let mixed = [(live, planned), (planned, live)].map(|(entries, aws_auth)| {
        let stores = MappingStores { aws_auth: aws_auth.aws_auth.clone(), ..entries.clone() };
        IdentityMapping::from_state(&stores.into_state())
    });
    let states = sides.map(MappingStores::into_state);
    let sides = states.each_ref().map(|state| AccessView::new(state, Aggregation::Reconciled));
    let [live, _] = &sides;
    let count_affected =
        |login: &Login| login.subjects.subjects.iter().filter(|subject| affected.contains(subject)).count();
    let mut subjects = Vec::new();
    // Subjects that log in as several changed subjects, such as a service account with its groups. The bounds of one
    // subject do not cover them.
    let mut combined = BTreeSet::new();
    for id in affected {
        let subject = engine.subject(*id).ok_or_else(|| internal("a subject does not exist"))?;
        // The principal of a changed access entry has its own class, because its logins can change too.
        if matches!(subject, Subject::AccessEntry(_)) {
            continue;
        }
        let who = SubjectQuery::from_subject(subject);
        let own_logins = logins(engine, &live.authenticate(&who));
        if own_logins.iter().any(|login| count_affected(login) > 1) {
            combined.insert(*id);
        }
        subjects.push((who, own_logins));
    }
    let mut seen: BTreeSet<(Vec<SubjectSet>, Vec<SubjectSet>)> = BTreeSet::new();
    let mut all = Vec::new();
    let mappings: Vec<&IdentityMapping> = sides.iter().map(|side| &side.mapping).chain(&mixed).collect();
    let mappings = if changed_entries.is_empty() { mappings.get(..2).unwrap_or(&mappings) } else { &mappings };
    for who in distinguished_principals(mappings, bound.iter().copied()) {
        let [first, last] = sides.each_ref().map(|side| logins(engine, &side.authenticate(&who)));
        let has_own_bounds = |login: &Login| {
            count_affected(login) > 1 || login.subjects.subjects.iter().any(|subject| combined.contains(subject))
        };
        let needs_own_bounds = first.len() > 1 || first.iter().any(has_own_bounds);
        let has_changed_entry = match &who {
            SubjectQuery::Arn(identity) => changed_entries.contains(&identity.comparison_key()),
            _ => false,
        };
        if first != last
            || has_changed_entry
            || needs_own_bounds && seen.insert((to_subject_sets(&first), to_subject_sets(&last)))
        {
            all.push(IdentityClass::new(who, first, last));
        }
    }
    for (who, own_logins) in subjects {
        if seen.insert((to_subject_sets(&own_logins), to_subject_sets(&own_logins))) {
            all.push(IdentityClass::new(who, own_logins.clone(), own_logins));
        }
    }
    Ok(all)
}

/// Returns the distinct pairs of logins in the live and the planned state. Sets for each class the index of its pair.
pub(super) fn assign_bounds(classes: &mut [IdentityClass]) -> Vec<[Vec<SubjectSet>; 2]> {
    let mut known: BTreeMap<[Vec<SubjectSet>; 2], BoundsId> = BTreeMap::new();
    let mut all = Vec::new();
    for class in classes {
        let pair = [&class.live_logins, &class.planned_logins].map(|logins| to_subject_sets(logins));
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
