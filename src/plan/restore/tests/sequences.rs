//! Random sequences of applies by two policies, changes of other clients, and restores of any earlier backup.
//!
//! `ROLECALL_SEQUENCES` sets the number of sequences.

use serde_json::{Value, json};

use super::random::{Random, random_policy};
use super::{FOREIGN, TestObjects, append_entry, config_map, plan_policy, policy, principal, restore};
use crate::names::ObjectKey;
use crate::state::aws_auth::Section;
use crate::state::aws_auth::tests::env_number;
use crate::state::write::WriteRequest;

/// What no policy lists, as it must stay.
#[derive(Default)]
struct ForeignContent {
    /// Texts that are in mapRoles.
    texts: Vec<String>,
    objects: Vec<(ObjectKey, Value)>,
}

impl ForeignContent {
    fn change(&mut self, random: &mut Random, objects: &mut TestObjects, number: usize) {
        let name = format!("theirs{}", random.below(3));
        let key = ObjectKey::cluster_role(&name);
        match random.below(3) {
            0 => {
                let name = format!("f{number}");
                append_entry(objects, &name, "foreign");
                self.texts.push(format!("# {name}\n- {{rolearn: {}, username: foreign}}\n", super::arn(&name)));
            }
            1 if objects.objects.contains_key(&key) => {
                objects.patch(&key, json!({ "metadata": { "labels": { "n": number.to_string() } } }));
            }
            _ if !objects.objects.contains_key(&key) => {
                let body = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
                    "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }],
                });
                objects.write(&key, &WriteRequest::Create(body));
            }
            _ => objects.patch(&ObjectKey::aws_auth(), json!({ "data": { "other": number.to_string() } })),
        }
        let is_foreign = |key: &&ObjectKey| key.name().starts_with("theirs");
        self.objects = objects
            .objects
            .iter()
            .filter(|(key, _)| is_foreign(key))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
    }

    fn assert_kept(&self, objects: &TestObjects, context: &str) {
        let text = objects.text(Section::Roles);
        for part in self.texts.iter().map(String::as_str).chain([FOREIGN]) {
            assert!(text.contains(part), "{part:?} is lost: {text}\n{context}");
        }
        for (key, object) in &self.objects {
            assert_eq!(objects.objects.get(key), Some(object), "{context}");
        }
    }
}

/// A policy whose names are not those of [`random_policy`].
fn other_policy(random: &mut Random) -> String {
    let mut body = String::new();
    for name in random.subset(&["q0", "q1", "q2"]) {
        body.push_str(&principal(name, &format!("{name}-u"), &random.subset(&["g0", "g1"])));
    }
    for name in random.subset(&["t0", "t1"]) {
        let resource = random.pick(&["pods", "secrets"]);
        body.push_str(&format!(
            "[cluster-roles.{name}]\nrules = [{{ verbs = [\"get\"], resources = [\"{resource}\"] }}]\n"
        ));
        body.push_str(&format!("[bindings.{name}]\ncluster-role = \"{name}\"\ngroups = [\"g1\"]\n"));
    }
    policy("tb", &body)
}

fn run_sequence(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut objects = config_map(FOREIGN);
    let mut foreign = ForeignContent::default();
    let mut policies: [Option<String>; 2] = [None, None];
    let mut backups = Vec::new();
    let mut log = Vec::new();
    for number in 0..12 {
        match random.below(5) {
            operation @ (0 | 1) => {
                let text = if operation == 0 { random_policy(&mut random) } else { other_policy(&mut random) };
                log.push(format!("apply {text}"));
                backups.push((operation, objects.apply_policy(&text)));
                policies[operation] = Some(text);
            }
            2 => {
                log.push(format!("foreign change {number}"));
                foreign.change(&mut random, &mut objects, number);
            }
            _ if backups.is_empty() => continue,
            _ => {
                let (owner, backup) = &backups[random.below(backups.len())];
                log.push(format!("restore {}: {:?}", backup.policy, backup.steps));
                let other = policies[1 - owner].as_ref();
                let plan_of_other =
                    |objects: &TestObjects| other.map(|text| plan_policy(text, &objects.state()).changes);
                let before = plan_of_other(&objects);
                restore(backup, &mut objects);
                assert_eq!(plan_of_other(&objects), before, "{seed}: {log:#?}");
            }
        }
        foreign.assert_kept(&objects, &format!("{seed}: {log:#?}"));
    }
}

#[test]
fn sequences_of_applies_and_restores_keep_foreign_content_and_the_plans_of_other_policies() {
    let number = env_number("ROLECALL_SEQUENCES", 60);
    (0..number).for_each(run_sequence);
}
