//! Access checks to run against the API server after an apply: requests that subjects gain or lose through the plan.
//!
//! The number of checks is limited and spread over the subjects. A subject is checked only if RBAC alone decides: the
//! name that a template in aws-auth expands to is known only when the principal authenticates, and a principal without
//! an entry cannot authenticate, whatever the rules allow.

use std::collections::BTreeSet;

use super::{AccessComparison, AccessProbe};
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, CanResult, GrantSource, GrantedRequests, Identity,
    SubjectDiff,
};
use crate::names::ObjectKind;
use crate::state::State;

/// A request and its expected result after the apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostApplyCheck {
    /// The subject, for messages.
    pub(crate) subject: String,
    pub(crate) probe: AccessProbe,
    pub(crate) expect_allowed: bool,
    /// The result is expected only after the controller has filled in the aggregated ClusterRoles.
    pub(crate) awaits_aggregation: bool,
}

/// At most `max_checks` checks of the access that `rows` say is gained or lost.
pub(super) fn post_apply_checks(
    rows: &[SubjectDiff<'_>],
    sides: &AccessComparison<'_>,
    max_checks: usize,
) -> Vec<PostApplyCheck> {
    let stored = AccessView::new(sides.after, Aggregation::AsStored);
    let mut subjects: Vec<_> = rows.iter().filter_map(checkable_subject).collect();
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    while !subjects.is_empty() {
        // One check of each subject in turn.
        subjects.retain_mut(|(row, identity, changes)| {
            let Some((requests, is_gain)) = changes.next() else {
                return false;
            };
            let check = build_check(row, identity, requests, is_gain, &sides.after_access, (sides.after, &stored));
            out.extend(check.filter(|check| out.len() < max_checks && seen.insert(check.probe.clone())));
            out.len() < max_checks
        });
    }
    out
}

type GainsAndLosses<'a, 's> = Box<dyn Iterator<Item = (&'a GrantedRequests<'s>, bool)> + 'a>;

/// Returns the identity of a subject and its gains and losses in turn. `None` if the subject cannot be checked.
fn checkable_subject<'a, 's>(
    row: &'a SubjectDiff<'s>,
) -> Option<(&'a SubjectDiff<'s>, LiteralIdentity, GainsAndLosses<'a, 's>)> {
    let Authentication::Identity(identity) = &row.after else {
        return None;
    };
    let gains = row.permissions.gained.iter().map(|requests| (requests, true));
    let losses = row.permissions.lost.iter().map(|requests| (requests, false));
    Some((row, literal_identity(identity)?, Box::new(interleave(gains, losses))))
}

fn interleave<T>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut a, mut b, mut is_turn_of_a) = (a.fuse(), b.fuse(), false);
    std::iter::from_fn(move || {
        is_turn_of_a = !is_turn_of_a;
        if is_turn_of_a { a.next().or_else(|| b.next()) } else { b.next().or_else(|| a.next()) }
    })
}

fn build_check(
    row: &SubjectDiff<'_>,
    (username, groups): &LiteralIdentity,
    changed: &GrantedRequests<'_>,
    is_gain: bool,
    after_access: &AccessView<'_>,
    (after, stored): (&State, &AccessView<'_>),
) -> Option<PostApplyCheck> {
    let request = changed.requests.example()?;
    let answer = after_access.can(&row.subject, &request);
    let is_immediate = if is_gain {
        answer.granted_by.iter().any(|source| role_contains_rule(source, after))
    } else {
        stored.can(&row.subject, &request).decision == AccessDecision::Denied
    };
    // An access review names a user and groups, and access policies are associated with neither.
    let is_by_policy = |source: &GrantSource<'_>| matches!(source, GrantSource::Path(path) if path.role.kind() == ObjectKind::AccessPolicy);
    if is_gain && answer.granted_by.iter().all(is_by_policy) {
        return None;
    }
    (definite_answer(&answer)? == is_gain).then(|| PostApplyCheck {
        subject: row.subject.to_string(),
        awaits_aggregation: !is_immediate,
        probe: AccessProbe { username: username.clone(), groups: groups.clone(), request: request.into() },
        expect_allowed: is_gain,
    })
}

/// A username and groups without templates.
type LiteralIdentity = (Option<String>, Vec<String>);

/// Returns the username and groups of an identity. `None` if one of them depends on the session or the node.
fn literal_identity(identity: &Identity) -> Option<LiteralIdentity> {
    let username = match &identity.username {
        Some(name) => Some(name.as_literal()?.to_owned()),
        None => None,
    };
    let groups = identity.groups.iter().map(|name| name.as_literal().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    Some((username, groups))
}

/// Returns whether the bound role itself contains the rule. An aggregated role contains it only after its controller
/// has run.
fn role_contains_rule(source: &GrantSource<'_>, after: &State) -> bool {
    match source {
        GrantSource::Path(path) => after.roles.get(path.role).is_some_and(|role| role.rules.contains(path.rule)),
        GrantSource::SystemMasters => true,
    }
}

/// Returns whether the request is allowed. `None` if several aws-auth entries match and disagree, or if the answer is
/// not the same for all sessions.
fn definite_answer(answer: &CanResult<'_>) -> Option<bool> {
    match answer.decision {
        AccessDecision::Allowed => Some(true),
        AccessDecision::Denied => Some(false),
        AccessDecision::Ambiguous | AccessDecision::SomeVariants => None,
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
        fn post_apply_checks_match_the_state_after_the_plan((live, after) in state_pair(), max_checks in 0_usize..60) {
            let sides = AccessComparison::new(&live, &after);
                let checks = post_apply_checks(&diff_access(&sides.live_access, &sides.after_access), &sides, max_checks);
            prop_assert!(checks.len() <= max_checks);
            for check in &checks {
                let request = Request::from(&check.probe.request);
                let identity = (check.probe.username.clone(), check.probe.groups.clone());
                let allowed = |aggregation| oracle::allows(&after, aggregation, &identity, &request);
                prop_assert_eq!(allowed(Aggregation::Reconciled), check.expect_allowed, "{} {}", check.subject, request);
                let is_immediate = check.awaits_aggregation || allowed(Aggregation::AsStored) == check.expect_allowed;
                prop_assert!(is_immediate, "{} {}", check.subject, request);
            }
        }
    }
}
