//! The classic cases, each by itself: safe, and in as few writes as that takes.

use super::model::{Cluster, ordered, same, walk};
use super::owned::{PlanScenario, ScenarioSide, Whose, pair_of};
use super::random::{gathered, rule, universe};
use crate::names::ObjectKey;
use crate::plan::{AccessWindow, Step};
use crate::state::aws_auth::{Entry, EntryPrincipal};
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::rbac::{LabelSelector, RoleRef, Subject};
use crate::state::write::WriteRequest;

type Entries<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];
/// A role by name, the verb and resource that it gives, and whether the role `a` gathers it.
type NamedRoles<'a> = &'a [(&'a str, &'a str, &'a str, bool)];
/// A binding by name, its role, and groups or, after a colon, users.
type Bindings<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

fn side(entries: Entries<'_>, roles: NamedRoles<'_>, bindings: Bindings<'_>) -> ScenarioSide {
    let entry = |(name, username, groups): &(&str, &str, &[&str])| Entry {
        principal: EntryPrincipal::Role(format!("arn:aws:iam::111122223333:role/{name}")),
        username: (*username).to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let entries: Vec<Entry> = entries.iter().map(entry).collect();
    let mut side = ScenarioSide { entries, ..ScenarioSide::default() };
    for (name, verb, resource, is_gathered) in roles {
        let labels = if *is_gathered { gathered() } else { Labels::new() };
        let rules = vec![rule(verb, resource)];
        let role = Role { meta: ObjectMeta { labels, ..ObjectMeta::default() }, rules, aggregation: None };
        side.roles.insert(ObjectKey::cluster_role(name), role);
    }
    let selector = LabelSelector { match_labels: gathered(), ..LabelSelector::default() };
    let aggregated = Role { aggregation: Some(vec![selector]), ..Role::default() };
    side.roles.insert(ObjectKey::cluster_role("a"), aggregated);
    for (name, role, subjects) in bindings {
        let subject = |name: &&str| match name.strip_prefix(':') {
            Some(user) => Subject::User(user.to_owned()),
            None => Subject::Group((*name).to_owned()),
        };
        let subjects = subjects.iter().map(subject).collect();
        let role_ref = RoleRef::ClusterRole((*role).to_owned());
        side.bindings
            .insert(ObjectKey::binding(None, name), Binding { meta: ObjectMeta::default(), role_ref, subjects });
    }
    side
}

/// The steps from one side to the other, with everything checked that can be.
#[track_caller]
fn way(one: &ScenarioSide, other: &ScenarioSide) -> (Vec<Step>, Vec<AccessWindow>) {
    let PlanScenario { live, desired, end } = pair_of(one.clone(), other.clone(), || Whose::Ours);
    let start = Cluster::of(&live);
    let (steps, windows) = ordered(&start.state(), &desired);
    let passed = walk(&start, &steps, &windows, &universe(), &end, &mut |_| 0).unwrap();
    same(&passed.last().unwrap().state(), &end).unwrap();
    (steps, windows)
}

/// Verb and object of each step; steps of one stage on one line.
#[track_caller]
fn told(one: &ScenarioSide, other: &ScenarioSide) -> String {
    let (steps, windows) = way(one, other);
    assert_eq!(windows, []);
    let mut lines: Vec<String> = Vec::new();
    for step in steps {
        let verb = match step.write {
            WriteRequest::Create(_) => "create",
            WriteRequest::Patch(_) => "patch",
            WriteRequest::Delete => "delete",
        };
        let awaits = if step.awaits.is_empty() { "" } else { " (awaits)" };
        let word = format!("{verb} {}{awaits}", step.object.name());
        match lines.get_mut(step.stage) {
            Some(line) => *line = format!("{line}, {word}"),
            None => lines.push(word),
        }
    }
    lines.join("\n")
}

const ROLES: NamedRoles<'static> = &[("r0", "get", "pods", false), ("r1", "get", "secrets", false)];

#[test]
fn what_only_gives_gives_roles_first_and_what_only_takes_takes_them_last() {
    let empty = side(&[], &[], &[]);
    let full = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    insta::assert_snapshot!(told(&empty, &full), @r"
    create r0, create r1
    create b0, create b1
    patch aws-auth
    ");
    insta::assert_snapshot!(told(&full, &empty), @r"
    patch aws-auth
    delete b0, delete b1
    delete r0, delete r1
    ");
}

#[test]
fn a_principal_who_moves_to_another_group_moves_in_one_write() {
    let bindings: Bindings<'_> = &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])];
    let one = side(&[("viewer", "v", &["g0"])], ROLES, bindings);
    let other = side(&[("viewer", "v", &["g1"])], ROLES, bindings);
    insta::assert_snapshot!(told(&one, &other), @"patch aws-auth");
}

#[test]
fn a_role_ref_is_replaced_over_a_bridge() {
    let one = side(&[], ROLES, &[("b0", "r0", &["g0"])]);
    let other = side(&[], ROLES, &[("b0", "r1", &["g0"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    create b0-rolecall-bridge
    delete b0
    create b0
    delete b0-rolecall-bridge
    ");
}

#[test]
fn what_a_bridge_holds_is_asked_for_again_before_the_bridge_goes() {
    let roles: NamedRoles<'_> = &[("r0", "get", "pods", false), ("r1", "*", "pods", false)];
    let one = side(&[], roles, &[("b0", "r0", &["g0"])]);
    let other = side(&[], roles, &[("b0", "r1", &["g0"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    create b0-rolecall-bridge
    delete b0 (awaits)
    create b0
    delete b0-rolecall-bridge (awaits)
    ");
}

#[test]
fn a_binding_with_another_name_is_made_before_the_old_one_goes() {
    let one = side(&[], ROLES, &[("b0", "r0", &["g0"])]);
    let other = side(&[], ROLES, &[("b1", "r0", &["g0"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    create b1
    delete b0 (awaits)
    ");
}

#[test]
fn a_group_that_is_renamed_is_bound_under_both_names_for_a_while() {
    let one = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"])]);
    let other = side(&[("viewer", "v", &["g1"])], ROLES, &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch b0
    patch aws-auth (awaits)
    patch b0
    ");
}

#[test]
fn who_leaves_a_group_goes_before_it_is_bound_for_who_enters_it() {
    let one = side(&[("viewer", "v", &["g0"]), ("deploy", "d", &["g1"])], ROLES, &[("b0", "r0", &["g0"])]);
    let other = side(&[("viewer", "v", &["g1"]), ("deploy", "d", &["g2"])], ROLES, &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch aws-auth
    patch b0 (awaits)
    patch aws-auth (awaits)
    ");
}

#[test]
fn two_groups_swap_their_roles() {
    let entries: Entries<'_> = &[("viewer", "v", &["g0"]), ("deploy", "d", &["g1"])];
    let one = side(entries, ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    let by_subjects = side(entries, ROLES, &[("b0", "r0", &["g1"]), ("b1", "r1", &["g0"])]);
    insta::assert_snapshot!(told(&one, &by_subjects), @r"
    patch b0
    patch b1
    ");
    let by_role = side(entries, ROLES, &[("b0", "r1", &["g0"]), ("b1", "r0", &["g1"])]);
    insta::assert_snapshot!(told(&one, &by_role), @r"
    create b0-rolecall-bridge, create b1-rolecall-bridge
    delete b0, delete b1
    create b0, create b1
    delete b0-rolecall-bridge, delete b1-rolecall-bridge
    ");
    let by_rules: NamedRoles<'_> = &[("r0", "get", "secrets", false), ("r1", "get", "pods", false)];
    let by_rules = side(entries, by_rules, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    insta::assert_snapshot!(told(&one, &by_rules), @"patch r0, patch r1");
}

#[test]
fn who_moves_into_a_group_does_not_get_what_leaves_it() {
    let one = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]);
    let other = side(&[("viewer", "v", &["g1"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "r1", &["g2"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch b1
    patch aws-auth
    ");
}

#[test]
fn a_role_that_changes_with_its_subjects_gives_nobody_both() {
    let one = side(&[], &[("r0", "get", "pods", false)], &[("b0", "r0", &["g0"])]);
    let other = side(&[], &[("r0", "get", "secrets", false)], &[("b0", "r0", &["g1"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch b0
    patch r0
    patch b0
    ");
}

#[test]
fn two_principals_swap_their_usernames() {
    let bindings: Bindings<'_> = &[("b0", "r0", &[":u0"]), ("b1", "r1", &[":u1"])];
    let one = side(&[("viewer", "u0", &[]), ("deploy", "u1", &[])], ROLES, bindings);
    let other = side(&[("viewer", "u1", &[]), ("deploy", "u0", &[])], ROLES, bindings);
    insta::assert_snapshot!(told(&one, &other), @"patch aws-auth");
    let too: Bindings<'_> = &[("b0", "r0", &[":u1"]), ("b1", "r1", &[":u0"])];
    let other = side(&[("viewer", "u1", &[]), ("deploy", "u0", &[])], ROLES, too);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch aws-auth
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    patch b0
    patch b1
    patch aws-auth (awaits)
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    ");
}

#[test]
fn where_one_object_would_have_to_serve_both_temporary_objects_do() {
    // Nobody may lose pods, and nobody may get pods and secrets by the other's way.
    let three: NamedRoles<'_> = &[("r0", "get", "pods", false), ("r1", "list", "pods", false)];
    let swapped: NamedRoles<'_> = &[("r0", "list", "pods", false), ("r1", "get", "pods", false)];
    let one = side(&[("viewer", "u0", &["g0"]), ("deploy", "u1", &["g1"])], three, {
        &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]
    });
    let other = side(&[("viewer", "u0", &["g1"]), ("deploy", "u1", &["g0"])], swapped, {
        &[("b0", "r0", &["g0"]), ("b1", "r1", &["g1"])]
    });
    insta::assert_snapshot!(told(&one, &other), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    patch r0, patch r1
    patch aws-auth (awaits)
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
}

/// Under the account each has the ARN of his own case for a username; behind the entry both are one.
#[test]
fn two_callers_behind_one_entry_stay_in_their_frames_where_the_entry_comes_and_where_it_goes() {
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
    insta::assert_snapshot!(told(&by_account, &by_entry), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    patch r0, patch r1
    patch aws-auth (awaits)
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
    insta::assert_snapshot!(told(&by_entry, &by_account), @r"
    patch aws-auth
    create r0-rolecall-temporary, create r1-rolecall-temporary
    create b0-rolecall-temporary, create b1-rolecall-temporary
    patch aws-auth (awaits)
    patch r0, patch r1
    patch aws-auth (awaits)
    delete b0-rolecall-temporary, delete b1-rolecall-temporary
    delete r0-rolecall-temporary, delete r1-rolecall-temporary
    ");
}

#[test]
fn a_label_that_brings_a_role_into_another_is_a_write_like_any_other() {
    let labelled: NamedRoles<'_> = &[("r0", "get", "pods", true), ("r1", "get", "secrets", false)];
    let one = side(&[("viewer", "v", &["g0"])], ROLES, &[("b0", "r0", &["g0"]), ("b1", "a", &["g1"])]);
    let other = side(&[("viewer", "v", &["g1"])], labelled, &[("b0", "r0", &["g0"]), ("b1", "a", &["g1"])]);
    insta::assert_snapshot!(told(&one, &other), @r"
    patch r0
    patch aws-auth (awaits)
    ");
}

#[test]
fn where_only_a_controller_could_be_in_time_the_moment_is_said() {
    let labelled: NamedRoles<'_> = &[("r0", "get", "pods", true)];
    let other: NamedRoles<'_> = &[("r0", "get", "pods", false)];
    let one = side(&[], labelled, &[]);
    let other = side(&[], other, &[("b0", "a", &["g0"])]);
    let (steps, windows) = way(&one, &other);
    assert_eq!(steps.len(), 2);
    let [window] = windows.as_slice() else { panic!("{windows:#?}") };
    insta::assert_snapshot!(
        format!("{} {:?} {} after {}: {}", window.subject, window.fate, window.what, window.step, window.because), @"group:g0 Gains get pods in all namespaces after 1: the controller of an aggregated ClusterRole fills in its rules at its own time"
    );
}
