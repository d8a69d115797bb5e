//! A runner with exactly the permissions that `rolecall permissions` prints applies random plans, while the controller of
//! Kubernetes writes the rules of the aggregated roles. With one rule less, the lack is said before the first write.

use std::collections::BTreeSet;

use serde_json::Value;

use super::permissions::{Folders, create_folders, wait_until_allowed_is};
use crate::common::shared_cluster::cluster;

/// The number of random plans.
fn plans() -> u64 {
    std::env::var("ROLECALL_RUNNER_PLANS").ok().and_then(|number| number.parse().ok()).unwrap_or(4)
}

/// Numbers that are the same in every run (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub(crate) fn subset<'a>(&mut self, all: &[&'a str]) -> Vec<&'a str> {
        all.iter().filter(|_| self.below(2) == 0).copied().collect()
    }
}

const RULES: [&str; 7] = [
    "{ verbs = [\"get\", \"list\"], resources = [\"pods\"] }",
    "{ verbs = [\"get\"], resources = [\"secrets\"], resource-names = [\"db\"] }",
    "{ verbs = [\"*\"], api-groups = [\"apps\"], resources = [\"deployments\", \"deployments/scale\"] }",
    "{ verbs = [\"get\"], non-resource-urls = [\"/metrics\"] }",
    "{ verbs = [\"list\"], resources = [\"nodes\"] }",
    "{ verbs = [\"create\"], resources = [\"pods/exec\"] }",
    "{ verbs = [\"get\", \"delete\"], api-groups = [\"\", \"batch\"], resources = [\"jobs\", \"services\"] }",
];

fn quoted(list: &[&str]) -> String {
    list.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}

/// A policy with roles, some of which are aggregated, and their bindings.
fn random_policy(random: &mut Random) -> String {
    let mut text = "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[groups.g0]\n[groups.g1]\n[groups.g2]\n".to_owned();
    let groups = ["g0", "g1", "g2"];
    for name in random.subset(&["x0", "x1", "x2"]) {
        let groups = quoted(&random.subset(&groups));
        text +=
            &format!("[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\ngroups = [{groups}]\n");
    }
    let roles = random.subset(&["r0", "r1", "r2", "r3", "r4"]);
    for name in &roles {
        text += &format!("[cluster-roles.{name}]\n");
        if random.below(4) == 0 {
            text += "aggregation = [{ match-labels = { part = \"yes\" } }]\n";
        } else {
            let rules: Vec<&str> = random.subset(&RULES);
            text += &format!("rules = [{}]\n", rules.join(", "));
            if random.below(2) == 0 {
                text += "labels = { part = \"yes\" }\n";
            }
        }
    }
    if random.below(2) == 0 {
        let rules: Vec<&str> = random.subset(&[RULES[0], RULES[1], RULES[5]]);
        text += &format!("[roles.local]\nnamespaces = [\"team-a\", \"team-b\"]\nrules = [{}]\n", rules.join(", "));
        text += "[bindings.local]\nrole = \"local\"\nnamespaces = [\"team-a\"]\ngroups = [\"g0\"]\n";
    }
    for name in ["b0", "b1", "b2", "b3"] {
        let role = if roles.is_empty() || random.below(6) == 0 { "view" } else { roles[random.below(roles.len())] };
        let groups = random.subset(&groups);
        if !groups.is_empty() && random.below(4) > 0 {
            text += &format!("[bindings.{name}]\ncluster-role = \"{role}\"\ngroups = [{}]\n", quoted(&groups));
            if random.below(3) == 0 {
                text += "namespaces = [\"team-a\"]\n";
            }
        }
    }
    text
}

const APPLY: [&str; 9] = [
    "apply",
    "--auto-approve",
    "--allow-window",
    "--allow",
    "empty-aws-auth",
    "--allow",
    "last-admin",
    "--allow",
    "removals:99",
];

/// Applies the plan with one rule less than printed. Returns whether it was refused.
fn apply_with_one_rule_less(
    cluster: &crate::common::TestCluster,
    folders: &Folders,
    printed: &[Value],
    random: &mut Random,
) -> bool {
    let with_rules: Vec<usize> = (0..printed.len())
        .filter(|index| printed[*index]["rules"].as_array().is_some_and(|list| !list.is_empty()))
        .collect();
    let index = with_rules[random.below(with_rules.len())];
    let mut reduced = printed.to_vec();
    let rules = reduced[index]["rules"].as_array_mut().unwrap();
    let removed = rules.remove(random.below(rules.len()));
    folders.grant(cluster, &reduced);
    wait_until_allowed_is(cluster, &printed[index], &removed, false);
    let content = |cluster: &crate::common::TestCluster| -> BTreeSet<String> {
        let objects = cluster.object_metadata();
        objects.iter().map(|metadata| format!("{} {}", metadata["uid"], metadata["annotations"])).collect()
    };
    let before = content(cluster);
    let output = folders.runner.run(&APPLY);
    if output.exit_code == 0 {
        return false;
    }
    let is_said =
        output.stderr.contains("you lack permissions for") || output.stderr.contains("you are not allowed to");
    let context = format!("without {removed}\n{}\n{}", output.stdout, output.stderr);
    assert!(output.exit_code == 1 && is_said, "{context}");
    assert_eq!(content(cluster), before, "{context}");
    true
}

#[test]
fn runner_with_the_printed_permissions_applies_random_plans() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    cluster.reset();
    let (mut applied, mut refused) = (0, 0);
    for seed in 0..plans() {
        let mut random = Random::new(seed + 1);
        if seed % 5 == 0 {
            cluster.reset();
        }
        // The first policy makes the state from which the second one starts.
        let first = random_policy(&mut random);
        folders.admin.write("rolecall.toml", &first);
        let output = folders.admin.run(&APPLY);
        assert_eq!(output.exit_code, 0, "{seed}: {first}\n{}", output.stderr);
        let second = random_policy(&mut random);
        folders.admin.write("rolecall.toml", &second);
        folders.runner.write("rolecall.toml", &second);
        let printed = folders.permissions(&[]);
        refused += usize::from(apply_with_one_rule_less(&cluster, &folders, &printed, &mut random));
        folders.grant(&cluster, &folders.permissions(&[]));
        let check = folders.runner.run(&["permissions", "--check"]);
        assert_eq!(check.exit_code, 0, "{seed}: {second}\n{}", check.stdout);
        let output = folders.runner.run(&APPLY);
        assert_eq!(output.exit_code, 0, "{seed}: {first}\n{second}\n{}{}", output.stdout, output.stderr);
        let plan = folders.runner.ok(&["plan"]);
        assert!(plan.contains("No changes."), "{seed}: {plan}");
        applied += 1;
    }
    eprintln!("{applied} plans applied, {refused} refused with one rule less");
    assert!(refused > 0);
}
