//! Tests of the default limit of removals, of grants to everyone, and of entries that can never match.

use super::{
    admin, cluster, evaluate, exclusive_policy, load_policy, messages, node_principal_table, nodes, plan,
    principal_table, refused_risks, unknown_caller,
};

#[test]
fn default_limit_of_removals_is_half_of_what_the_policy_owns_and_at_least_ten() {
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    let principals = |numbers: std::ops::Range<usize>| -> String {
        numbers.map(|number| principal_table(&format!("p{number}"), &format!("p{number}"), "others")).collect()
    };
    let applied = |count: usize| {
        let live = cluster(&(nodes() + &admin()));
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), shared(&principals(0..count)))]).unwrap();
        plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().state_after(&live).unwrap()
    };
    assert!(refused_risks(&applied(10), &shared(""), unknown_caller()).is_empty(), "10 of 10");
    assert_eq!(refused_risks(&applied(11), &shared(""), unknown_caller()), ["max-removals removals:11"]);
    let large = applied(24);
    assert!(refused_risks(&large, &shared(&principals(12..24)), unknown_caller()).is_empty(), "12 of 24");
    assert_eq!(
        refused_risks(&large, &shared(&principals(13..24)), unknown_caller()),
        ["max-removals removals:13"],
        "13 of 24"
    );
    insta::assert_snapshot!(messages(&large, &shared(&principals(13..24)), unknown_caller()), @r"
    this plan removes 13 entries and objects, more than the default limit (12)
    without `max-removals`, a plan removes at most half of what the policy owns (24), or 10
    if the removals are intended, set `max-removals` in `[guard]` of the policy
    ");
    let limit = "[guard]\nmax-removals = 24\n";
    assert!(refused_risks(&large, &shared(limit), unknown_caller()).is_empty(), "the policy sets a limit");
}

#[test]
fn grants_to_everyone_are_refused() {
    let live = cluster(&(nodes() + &admin()));
    let policy = |rest: &str| format!("[policy]\nname = \"prod\"\n{rest}");
    let role = "[cluster-roles.reader]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    let binding = |subject: &str| policy(&format!("{role}[bindings.open]\ncluster-role = \"reader\"\n{subject}\n"));
    for (subject, name) in [
        ("groups = [\"system:unauthenticated\"]", "system:unauthenticated"),
        ("users = [\"system:anonymous\"]", "system:anonymous"),
        ("groups = [\"system:authenticated\"]", "system:authenticated"),
        ("groups = [\"system:serviceaccounts\"]", "system:serviceaccounts"),
        ("groups = [\"system:serviceaccounts\"]\nnamespaces = [\"team-a\"]", "system:serviceaccounts"),
    ] {
        let refused = refused_risks(&live, &binding(subject), unknown_caller());
        assert_eq!(refused, [format!("everyone everyone:{name}")], "{subject}");
        let flag = format!("everyone:{name}");
        assert!(evaluate(&live, &binding(subject), unknown_caller(), &[&flag]).refused.is_empty(), "{subject}");
    }
    let other = evaluate(
        &live,
        &binding("groups = [\"system:authenticated\"]"),
        unknown_caller(),
        &["everyone:system:serviceaccounts"],
    );
    assert_eq!(other.refused.len(), 1, "a flag accepts one group");
    for subject in ["groups = [\"system:serviceaccounts:team-a\"]", "users = [\"alice\"]"] {
        assert!(refused_risks(&live, &binding(subject), unknown_caller()).is_empty(), "{subject}");
    }
    insta::assert_snapshot!(messages(&live, &binding("groups = [\"system:authenticated\"]"), unknown_caller()), @r"
    this plan grants access to all authenticated users (group system:authenticated)
    gained: get pods in all namespaces
    ClusterRoleBinding open (policy.toml:5) binds ClusterRole reader (policy.toml:3)
    every IAM principal that can authenticate and every service account has this access
    bind a group, user or service account of its own instead
    ");
}

#[test]
fn role_that_everyone_has_does_not_grow() {
    let text = |verbs: &str| {
        format!(
            "[policy]\nname = \"prod\"\n[cluster-roles.reader]\nrules = [{{ verbs = [{verbs}], resources = [\"pods\"] }}]\n\
             [bindings.open]\ncluster-role = \"reader\"\ngroups = [\"system:authenticated\"]\n"
        )
    };
    let live = cluster(&(nodes() + &admin()));
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), text("\"get\", \"list\""))]).unwrap();
    let applied =
        plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().state_after(&live).unwrap();
    assert!(refused_risks(&applied, &text("\"get\""), unknown_caller()).is_empty(), "the role shrinks");
    assert_eq!(
        refused_risks(&applied, &text("\"get\", \"list\", \"delete\""), unknown_caller()),
        ["everyone everyone:system:authenticated"]
    );
}

#[test]
fn entries_that_can_never_match_count_for_no_guard() {
    let dead = "    - rolearn: arn:aws:iam::*:role/*\n      username: ghost\n      groups: [system:masters]\n\
                \x20   - rolearn: arn:aws:iam::11112222333:role/short\n      username: short\n      groups: [system:masters]\n";
    let live = cluster(&(nodes() + &admin() + dead));
    let shared = |rest: &str| {
        format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{}{rest}", node_principal_table())
    };
    assert_eq!(
        refused_risks(&live, &shared(&principal_table("admin", "admin", "others")), unknown_caller()),
        ["last-admin last-admin"],
        "the dead entries are no administrators"
    );
    let protected = "[guard]\nprotected = [\"arn:aws:iam::*:role/*\"]\nmax-removals = 0\n";
    let exclusive =
        exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    assert!(
        refused_risks(&live, &(exclusive + protected), unknown_caller()).is_empty(),
        "the removal of dead entries is no risk"
    );
}
