//! Single classic cases: the order is safe and has as few writes as possible.

use super::model::{Cluster, apply_and_check, check_same_content, ordered};
use super::owned::{PlanScenario, ScenarioSide, TestOwner, scenario};
use super::random::{aggregated_labels, rule, universe};
use crate::names::ObjectKey;
use crate::plan::schedule::OrderedSteps;
use crate::state::aws_auth::{Entry, EntryPrincipal};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta, RulesManager};
use crate::state::rbac::{LabelSelector, RoleRef, Subject};
use crate::state::write::WriteRequest;

type Entries<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];
/// Roles: name, verb, resource, and whether the aggregated role `a` contains it.
type NamedRoles<'a> = &'a [(&'a str, &'a str, &'a str, bool)];
/// Bindings: name, role, and subjects. A subject with a leading colon is a user, others are groups.
type Bindings<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

fn side(entries: Entries<'_>, roles: NamedRoles<'_>, bindings: Bindings<'_>) -> ScenarioSide {
    let entry = |(name, username, groups): &(&str, &str, &[&str])| Entry {
        principal: EntryPrincipal::Role(format!("arn:aws:iam::111122223333:role/{name}")),
        username: (*username).to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let entries: Vec<Entry> = entries.iter().map(entry).collect();
    let mut side = ScenarioSide { entries, ..ScenarioSide::default() };
    for (name, verb, resource, is_aggregated) in roles {
        let labels = if *is_aggregated { aggregated_labels() } else { Labels::new() };
        let rules = vec![rule(verb, resource)];
        let role = Role { meta: ObjectMeta { labels, ..ObjectMeta::default() }, rules, aggregation: None };
        side.roles.insert(ObjectKey::cluster_role(name), role);
    }
    let selector = LabelSelector { match_labels: aggregated_labels(), ..LabelSelector::default() };
    let aggregated = Role { aggregation: Some(vec![selector]), ..Role::default() };
    side.roles.insert(ObjectKey::cluster_role("a"), aggregated);
    for (name, role, subjects) in bindings {
        let subject = |name: &&str| match name.strip_prefix(':') {
            Some(user) => Subject::User(user.to_owned()),
            None => Subject::Group((*name).to_owned()),
        };
        let subjects = subjects.iter().map(subject).collect();
        let role_ref = RoleRef::ClusterRole((*role).to_owned());
        side.bindings.insert(
            ObjectKey::binding(None, name),
            Binding { meta: ObjectMeta::default(), role_ref, subjects, namespaces: None },
        );
    }
    side
}

/// Returns the steps from one side to the other. Checks the bounds after each step and the result.
#[track_caller]
fn ordered_steps(before: &ScenarioSide, after: &ScenarioSide) -> OrderedSteps {
    let PlanScenario { live, desired, end } = scenario(before.clone(), after.clone(), || TestOwner::ThisPolicy);
    let start = Cluster::from_state(&live);
    let ordered = ordered(&start.state(), &desired, &end);
    let clusters = apply_and_check(&start, &ordered, &universe(), &end, &mut |_| 0).unwrap();
    check_same_content(&clusters.last().unwrap().state(), &end).unwrap();
    ordered
}

/// Returns the verb and object of each step. Steps of one stage are on one line.
#[track_caller]
fn describe_steps(before: &ScenarioSide, after: &ScenarioSide) -> String {
    let OrderedSteps { steps, waits, windows, .. } = ordered_steps(before, after);
    assert_eq!(windows, []);
    let mut lines: Vec<String> = Vec::new();
    for step in steps {
        let verb = match step.write {
            WriteRequest::Create(_) => "create",
            WriteRequest::Patch(_) => "patch",
            WriteRequest::Delete => "delete",
        };
        let awaits = if step.wait_for.is_empty() { "" } else { " (awaits)" };
        let word = format!("{verb} {}{awaits}", step.object.name());
        if waits.iter().any(|wait| wait.stage == lines.len()) {
            lines.push("wait".to_owned());
        }
        match lines.get_mut(step.stage) {
            Some(line) => *line = format!("{line}, {word}"),
            None => lines.push(word),
        }
    }
    lines.join("\n")
}

const ROLES: NamedRoles<'static> = &[("r0", "get", "pods", false), ("r1", "get", "secrets", false)];

#[test]
fn plan_that_only_grants_creates_roles_first_and_plan_that_only_revokes_deletes_them_last() {
    let empty = side(&[], &[], &[]);
    let full = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&empty, &full), @r"
    create r0, create r1
    create b0, create b1
    patch aws-auth
    ");
    insta::assert_snapshot!(describe_steps(&full, &empty), @r"
    patch aws-auth
    delete b0, delete b1
    delete r0, delete r1
    ");
}

#[test]
fn principal_changes_groups_in_one_write() {
    let bindings: Bindings<'_> = &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])];
    let before = side(&[("viewer", "v", &["g0"])], ROLES, bindings);
    let after = side(&[("viewer", "v", &["g1"])], ROLES, bindings);
    insta::assert_snapshot!(describe_steps(&before, &after), @"patch aws-auth");
}

#[test]
fn role_ref_is_replaced_through_a_bridge() {
    let before = side(&[], ROLES, &[("b0", "r0", &["g0"])]);
    let after = side(&[], ROLES, &[("b0", "r1", &["g0"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    create b0-rolecall-bridge
    delete b0
    create b0
    delete b0-rolecall-bridge
    ");
}

#[test]
fn access_of_a_bridge_is_probed_again_before_the_bridge_is_deleted() {
    let roles: NamedRoles<'_> = &[("r0", "get", "pods", false), ("r1", "*", "pods", false)];
    let before = side(&[], roles, &[("b0", "r0", &["g0"])]);
    let after = side(&[], roles, &[("b0", "r1", &["g0"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    create b0-rolecall-bridge
    delete b0 (awaits)
    create b0
    delete b0-rolecall-bridge (awaits)
    ");
}

#[test]
fn renamed_binding_is_created_before_the_old_one_is_deleted() {
    let before = side(&[], ROLES, &[("b0", "r0", &["g0"])]);
    let after = side(&[], ROLES, &[("b1", "r0", &["g0"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    create b1
    delete b0 (awaits)
    ");
}

#[test]
fn renamed_group_is_bound_under_both_names_temporarily() {
    let before = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"])]);
    let after = side(&[("viewer", "v", &["g1"])], ROLES, &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch b0
    patch aws-auth (awaits)
    wait
    patch b0
    ");
}

#[test]
fn principal_leaves_a_group_before_the_group_is_bound_for_another_principal() {
    let before = side(&[("viewer", "v", &["g0"]), ("deploy", "d", &["g1"])], ROLES, &[("b0", "r0", &["g0"])]);
    let after = side(&[("viewer", "v", &["g1"]), ("deploy", "d", &["g2"])], ROLES, &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch aws-auth
    wait
    patch b0 (awaits)
    patch aws-auth (awaits)
    ");
}

#[test]
fn two_groups_swap_roles() {
    let entries: Entries<'_> = &[("viewer", "v", &["g0"]), ("deploy", "d", &["g1"])];
    let before = side(entries, ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    let by_subjects = side(entries, ROLES, &[("b0", "r0", &["g1"]), ("b1", "r1", &["g0"])]);
    insta::assert_snapshot!(describe_steps(&before, &by_subjects), @r"
    patch b0
    patch b1
    ");
    let by_role = side(entries, ROLES, &[("b0", "r1", &["g0"]), ("b1", "r0", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &by_role), @r"
    create b0-rolecall-bridge, create b1-rolecall-bridge
    delete b0, delete b1
    create b0, create b1
    delete b0-rolecall-bridge, delete b1-rolecall-bridge
    ");
    let by_rules: NamedRoles<'_> = &[("r0", "get", "secrets", false), ("r1", "get", "pods", false)];
    let by_rules = side(entries, by_rules, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &by_rules), @"patch r0, patch r1");
}

#[test]
fn principal_that_joins_a_group_does_not_get_the_role_that_the_group_loses() {
    let before = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    let after = side(&[("viewer", "v", &["g1"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g2"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch b1
    patch aws-auth
    ");
}

#[test]
fn role_and_subjects_of_a_binding_change_without_granting_the_new_rules_to_old_subjects() {
    let before = side(&[], &[("r0", "get", "pods", false)], &[("b0", "r0", &["g0"])]);
    let after = side(&[], &[("r0", "get", "secrets", false)], &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch b0
    patch r0
    patch b0
    ");
}

#[test]
fn two_principals_swap_usernames() {
    let bindings: Bindings<'_> = &[("b0", "r0", &[":u0"]), ("b1", "r1", &[":u1"])];
    let before = side(&[("viewer", "u0", &[]), ("deploy", "u1", &[])], ROLES, bindings);
    let after = side(&[("viewer", "u1", &[]), ("deploy", "u0", &[])], ROLES, bindings);
    insta::assert_snapshot!(describe_steps(&before, &after), @"patch aws-auth");
    let swapped_bindings: Bindings<'_> = &[("b0", "r0", &[":u1"]), ("b1", "r1", &[":u0"])];
    let after = side(&[("viewer", "u1", &[]), ("deploy", "u0", &[])], ROLES, swapped_bindings);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch aws-auth
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    wait
    patch b0
    patch b1
    patch aws-auth (awaits)
    wait
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    ");
}

#[test]
fn swapped_groups_and_swapped_rules_need_temporary_objects() {
    // Each principal keeps one verb on pods throughout and must not get the other's verb in addition.
    let roles: NamedRoles<'_> = &[("r0", "get", "pods", false), ("r1", "list", "pods", false)];
    let swapped: NamedRoles<'_> = &[("r0", "list", "pods", false), ("r1", "get", "pods", false)];
    let before = side(&[("viewer", "u0", &["g0"]), ("deploy", "u1", &["g1"])], roles, {
        &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]
    });
    let after = side(&[("viewer", "u0", &["g1"]), ("deploy", "u1", &["g0"])], swapped, {
        &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]
    });
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    wait
    patch r0, patch r1
    patch aws-auth (awaits)
    wait
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
}

/// Through mapAccounts, two callers that differ in case have different usernames. An entry gives both the
/// same username.
#[test]
fn callers_that_differ_in_case_stay_within_bounds_when_their_entry_is_added_and_removed() {
    const VIEWER: &str = ":arn:aws:iam::111122223333:role/viewer";
    let roles: NamedRoles<'_> =
        &[("r0", "get", "pods", false), ("r1", "list", "pods", false), ("r2", "get", "secrets", false)];
    let swapped: NamedRoles<'_> =
        &[("r0", "list", "pods", false), ("r1", "get", "pods", false), ("r2", "get", "secrets", false)];
    let bindings: Bindings<'_> = &[("b0", "r0", &[VIEWER, "g0"]), ("b1", "r1", &["g1"]), ("b2", "r2", &[VIEWER])];
    let mut by_account = side(&[("deploy", "d", &["g1"])], roles, bindings);
    let mut by_entry = side(&[("viewer", "v", &["g1"]), ("deploy", "d", &["g0"])], swapped, bindings);
    for side in [&mut by_account, &mut by_entry] {
        let principal = EntryPrincipal::Account("111122223333".to_owned());
        side.entries.push(Entry { principal, username: String::new(), groups: Vec::new() });
    }
    insta::assert_snapshot!(describe_steps(&by_account, &by_entry), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    wait
    patch r0, patch r1
    patch aws-auth (awaits)
    wait
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
    insta::assert_snapshot!(describe_steps(&by_entry, &by_account), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    wait
    patch r0, patch r1
    patch aws-auth (awaits)
    wait
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
}

#[test]
fn label_that_adds_a_role_to_an_aggregated_role_is_ordered() {
    let labelled: NamedRoles<'_> = &[("r0", "get", "pods", true), ("r1", "get", "secrets", false)];
    let before = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "a", &["g1"])]);
    let after = side(&[("viewer", "v", &["g1"])], labelled, &[("b0", "r0", &["g0"]), ("b1", "a", &["g1"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch r0
    patch aws-auth (awaits)
    ");
}

#[test]
fn delay_of_the_aggregation_controller_is_reported_as_a_window() {
    let labelled: NamedRoles<'_> = &[("r0", "get", "pods", true)];
    let unlabelled: NamedRoles<'_> = &[("r0", "get", "pods", false)];
    let before = side(&[], labelled, &[]);
    let after = side(&[], unlabelled, &[("b0", "a", &["g0"])]);
    let OrderedSteps { steps, windows, .. } = ordered_steps(&before, &after);
    assert_eq!(steps.len(), 2);
    let [window] = windows.as_slice() else { panic!("{windows:#?}") };
    insta::assert_snapshot!(
        format!("{} {:?} {} after {}: {}", window.subject, window.access, window.request, window.step, window.reason), @"group:g0 Gained get pods in all namespaces after 1: the controller that fills in aggregated ClusterRoles runs later"
    );
}

/// Rules that were added to an aggregated role by hand are lost when the controller finds a role to aggregate.
#[test]
fn access_through_manual_rules_of_an_aggregated_role_is_granted_in_another_way_before_they_are_replaced() {
    let bindings: Bindings<'_> = &[("b0", "a", &["g0"])];
    let mut before = side(&[], &[], bindings);
    let aggregated = before.roles.get_mut(&ObjectKey::cluster_role("a")).unwrap();
    aggregated.rules = vec![rule("get", "pods")];
    aggregated.meta.rules_manager = RulesManager::Other;
    let roles: NamedRoles<'_> = &[("r0", "get", "secrets", true), ("r1", "get", "pods", false)];
    let after = side(&[], roles, &[("b0", "a", &["g0"]), ("b1", "r1", &["g0"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    create r1
    create b1
    create r0 (awaits)
    ");
}

#[test]
fn session_leaves_a_group_whose_template_has_two_placeholders_before_the_group_is_bound() {
    let template = "t-{{SessionName}}-{{SessionNameRaw}}";
    let before = side(&[("viewer", "v", &[template])], ROLES, &[("b0", "r0", &["g0"])]);
    let after = side(&[("viewer", "v", &["g1"])], ROLES, &[("b0", "r0", &["t-xx-xx"])]);
    insta::assert_snapshot!(describe_steps(&before, &after), @r"
    patch aws-auth
    wait
    patch b0
    ");
}
