//! What a plan promises, as questions that an API server can answer once it is carried out: for each subject something
//! that it gains, and something that it loses.
//!
//! A bounded number, spread over the subjects. Only what the rules alone decide is asked: whom a template names is known
//! at no login but his own, and who has no entry any more is stopped before any rule is.

use std::collections::BTreeSet;

use super::{AccessComparison, AccessProbe};
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, CanResult, GrantSource, GrantedRequests, Identity,
    SubjectDiff,
};
use crate::state::State;

/// A question and the answer that the plan promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostApplyCheck {
    /// As people know him.
    pub(crate) subject: String,
    pub(crate) probe: AccessProbe,
    pub(crate) expect_allowed: bool,
    /// Only when the controller that fills aggregated ClusterRoles has run, which is the cluster's part.
    pub(crate) awaits_aggregation: bool,
}

/// At most so many promises of what changes between two sides.
pub(super) fn post_apply_checks(
    rows: &[SubjectDiff<'_>],
    sides: &AccessComparison<'_>,
    most: usize,
) -> Vec<PostApplyCheck> {
    let stored = AccessView::new(sides.after, Aggregation::AsStored);
    let mut subjects: Vec<_> = rows.iter().filter_map(checkable_subject).collect();
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    while !subjects.is_empty() {
        // One of each subject in turn.
        subjects.retain_mut(|(row, identity, changes)| {
            let Some((part, allowed)) = changes.next() else {
                return false;
            };
            let promise = build_check(row, identity, part, allowed, &sides.after_access, (sides.after, &stored));
            out.extend(promise.filter(|promise| out.len() < most && seen.insert(promise.probe.clone())));
            out.len() < most
        });
    }
    out
}

type GainsAndLosses<'a, 's> = Box<dyn Iterator<Item = (&'a GrantedRequests<'s>, bool)> + 'a>;

/// A subject who can be asked about, with his gains and losses in turn.
fn checkable_subject<'a, 's>(
    row: &'a SubjectDiff<'s>,
) -> Option<(&'a SubjectDiff<'s>, LiteralIdentity, GainsAndLosses<'a, 's>)> {
    let Authentication::Identity(identity) = &row.after else {
        return None;
    };
    let gains = row.permissions.gained.iter().map(|part| (part, true));
    let losses = row.permissions.lost.iter().map(|part| (part, false));
    Some((row, literal_identity(identity)?, Box::new(interleave(gains, losses))))
}

fn interleave<T>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut one, mut other, mut first) = (one.fuse(), other.fuse(), false);
    std::iter::from_fn(move || {
        first = !first;
        if first { one.next().or_else(|| other.next()) } else { other.next().or_else(|| one.next()) }
    })
}

fn build_check(
    row: &SubjectDiff<'_>,
    (username, groups): &LiteralIdentity,
    part: &GrantedRequests<'_>,
    allowed: bool,
    is: &AccessView<'_>,
    (after, stored): (&State, &AccessView<'_>),
) -> Option<PostApplyCheck> {
    let request = part.requests.example()?;
    let answer = is.can(&row.subject, &request);
    let is_now = if allowed {
        answer.granted_by.iter().any(|by| role_contains_rule(by, after))
    } else {
        stored.can(&row.subject, &request).decision == AccessDecision::Denied
    };
    (definite_answer(&answer)? == allowed).then(|| PostApplyCheck {
        subject: row.subject.to_string(),
        awaits_aggregation: !is_now,
        probe: AccessProbe { username: username.clone(), groups: groups.clone(), request: request.into() },
        expect_allowed: allowed,
    })
}

/// Username and groups of a login.
type LiteralIdentity = (Option<String>, Vec<String>);

/// Username and groups, where a login does not decide about them.
fn literal_identity(identity: &Identity) -> Option<LiteralIdentity> {
    let username = match &identity.username {
        Some(name) => Some(name.as_literal()?.to_owned()),
        None => None,
    };
    let groups = identity.groups.iter().map(|name| name.as_literal().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    Some((username, groups))
}

/// Whether the very role that is bound has the rule, which is not so before it has come in from others.
fn role_contains_rule(by: &GrantSource<'_>, after: &State) -> bool {
    match by {
        GrantSource::Path(chain) => after.roles.get(chain.role).is_some_and(|role| role.rules.contains(chain.rule)),
        GrantSource::SystemMasters => true,
    }
}

/// What the state after the plan says of the request itself.
fn definite_answer(answer: &CanResult<'_>) -> Option<bool> {
    match answer.decision {
        AccessDecision::Allowed => Some(true),
        AccessDecision::Denied => Some(false),
        AccessDecision::Ambiguous => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::tests::oracle;
    use crate::access::tests::random::state_pair;
    use crate::access::{Request, diff_access};

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_promised_is_so_afterwards((live, after) in state_pair(), most in 0_usize..60) {
            let sides = AccessComparison::new(&live, &after);
                let promises = post_apply_checks(&diff_access(&sides.live_access, &sides.after_access), &sides, most);
            prop_assert!(promises.len() <= most);
            for promise in &promises {
                let request = Request::from(&promise.probe.request);
                let login = (promise.probe.username.clone(), promise.probe.groups.clone());
                let allowed = |moment| oracle::allows(&after, moment, &login, &request);
                prop_assert_eq!(allowed(Aggregation::Reconciled), promise.expect_allowed, "{} {}", promise.subject, request);
                let at_once = promise.awaits_aggregation || allowed(Aggregation::AsStored) == promise.expect_allowed;
                prop_assert!(at_once, "{} {}", promise.subject, request);
            }
        }
    }
}
