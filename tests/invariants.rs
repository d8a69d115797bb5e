//! `[[invariants]]`: what must hold of the access itself, and what refuses where it does not.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

#[cfg(test)]
mod common;

use std::fs;
use std::sync::LazyLock;

use common::TestCluster;
use common::proxy::{Fate, Proxy};
use common::rolecall::{Desk, Ran, example};
use common::schema::fits_the_schema;
use serde_json::Value;

static REAL: LazyLock<TestCluster> = LazyLock::new(TestCluster::start);

/// The example of every guide, with invariants.
fn viewer(invariants: &str) -> Desk {
    let desk = Desk::offline();
    for file in ["access.toml", "cluster.yaml"] {
        desk.write(file, &fs::read_to_string(example("cluster-viewer").join(file)).unwrap());
    }
    let text = desk.read("access.toml") + "\n" + invariants;
    desk.write("access.toml", &text);
    desk
}

const NO_SECRETS: &str = "[[invariants]]\ndescription = \"viewers never read secrets\"\n\
                          group = \"cluster-viewer-group\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";

/// A cluster with somebody in it whom no policy knows.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: team-a }
---
apiVersion: v1
kind: Namespace
metadata: { name: team-b }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eks-nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: cluster-admin }
rules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: cluster-admin }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:masters" }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: "system:controller:tokens" }
rules: [{ verbs: [get], apiGroups: [""], resources: [secrets] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: "system:controller:tokens" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:controller:tokens" }
subjects: [{ kind: ServiceAccount, namespace: kube-system, name: tokens }]
"#;

const TEAM: &str = r#"
[policy]
name = "prod"
[clusters.prod]
snapshot = "cluster.yaml"
account = "111122223333"
[principals.dev]
role = "dev"
username = "dev"
groups = ["developers"]
[principals.admin]
role = "admin"
username = "admin"
groups = ["system:masters"]
[groups.developers]
[groups."system:masters"]
[cluster-roles.reader]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["developers"]
"#;

/// A policy of its own rest on the cluster above, and what must hold.
fn team(rest: &str) -> Desk {
    let desk = Desk::offline();
    desk.write("cluster.yaml", CLUSTER).write("rolecall.toml", &format!("{TEAM}{rest}"));
    desk
}

#[track_caller]
fn refused(desk: &Desk, args: &[&str], wanted: &[&str]) -> Ran {
    let ran = desk.run(args);
    assert_eq!(ran.code, 3, "{args:?}\n{}{}", ran.out, ran.err);
    let flat = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in wanted {
        assert!(flat.contains(words), "{words}\n{}", ran.err);
    }
    ran
}

#[test]
fn the_viewer_of_every_guide_reads_secrets_and_the_path_says_how() {
    let desk = viewer(NO_SECRETS);
    let ran = refused(
        &desk,
        &["plan", "access.toml"],
        &[
            "an invariant does not hold: viewers never read secrets (group cluster-viewer-group cannot get secrets)",
            "--> access.toml:30:1",
            "group:cluster-viewer-group can get secrets everywhere, by entry arn:aws:iam::111122223333:role/viewer, mapRoles",
            "and 1 more → group cluster-viewer-group → ClusterRoleBinding cluster-viewers (access.toml:26) → \
             ClusterRole cluster-viewer (access.toml:23) → rule verbs get, list; api-groups *; resources *",
        ],
    );
    assert!(ran.out.contains("Digest sha256:"), "the plan is shown all the same\n{}", ran.out);
}

#[test]
fn apply_writes_nothing_and_a_refused_plan_is_neither_saved_nor_carried_out() {
    let desk = viewer(NO_SECRETS);
    let before = desk.read("cluster.yaml");
    refused(&desk, &["apply", "access.toml", "--auto-approve"], &["Refused: nothing was written."]);
    let ran = refused(&desk, &["plan", "access.toml", "--out", "saved.json", "--format", "json"], &["was not saved"]);
    assert!(!desk.path("saved.json").exists());
    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    fits_the_schema(&plan);
    let refusal = &plan["plans"][0]["refusals"][0];
    assert_eq!(refusal["place"]["line"], 30);
    assert_eq!(refusal["breaches"][0]["who"], "group:cluster-viewer-group");
    assert_eq!(refusal["breaches"][0]["path"].as_array().unwrap().len(), 5, "{refusal:#}");
    desk.write("saved.json", &ran.out);
    refused(&desk, &["apply", "--plan", "saved.json"], &["is refused by what its policy says must hold"]);
    assert_eq!(desk.read("cluster.yaml"), before);
}

#[test]
fn a_policy_that_keeps_its_word_passes() {
    let desk = viewer(NO_SECRETS);
    let narrow = desk.read("access.toml").replace(
        "api-groups = [\"*\"], resources = [\"*\"]",
        "api-groups = [\"\", \"apps\"], resources = [\"pods\", \"deployments\"]",
    );
    desk.write("access.toml", &narrow);
    desk.ok(&["validate", "access.toml"]);
    let plan = desk.plan(&["access.toml"]);
    assert_eq!(plan["refusals"], serde_json::json!([]));
    desk.ok(&["apply", "access.toml", "--auto-approve"]);
    desk.ok(&["drift", "access.toml"]);
}

#[test]
fn validate_judges_what_the_policy_does_by_itself() {
    refused(&viewer(NO_SECRETS), &["validate", "access.toml"], &["viewers never read secrets", "rule verbs get, list"]);
    let namespaced = "[bindings.keepers]\ncluster-role = \"keeper\"\nnamespaces = [\"team-a\"]\ngroups = [\"developers\"]\n\
         [cluster-roles.keeper]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
         [[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\"";
    refused(&team(&format!("{namespaced} }}\n")), &["validate"], &["can get secrets in team-a"]);
    team(&format!("{namespaced}, namespace = \"team-b\" }}\n")).ok(&["validate"]);
    // Which namespaces a glob means, and what the cluster's own roles allow, no policy says.
    let globbed = format!("{namespaced} }}\n").replace("[\"team-a\"]", "[\"team-*\"]");
    team(&globbed).ok(&["validate"]);
    refused(&team(&globbed), &["plan"], &["can get secrets in team-a"]);
    let can = "[[invariants]]\ngroup = \"developers\"\ncan = { verb = \"get\", resource = \"nodes\" }\n";
    team(can).ok(&["validate"]);
}

#[test]
fn escalation_names_the_way() {
    let rest = |resource: &str| {
        format!(
            "[cluster-roles.more]\nrules = [{{ verbs = [\"get\"], resources = [\"{resource}\"] }}]\n\
             [bindings.more]\ncluster-role = \"more\"\nprincipals = [\"dev\"]\n\
             [[invariants]]\nprincipal = \"dev\"\ncannot = \"escalate\"\n"
        )
    };
    refused(
        &team(&rest("nodes/proxy")),
        &["plan"],
        &["arn:aws:iam::111122223333:role/dev (dev) has the way `nodes-proxy`", "user dev → ClusterRoleBinding more"],
    );
    team(&rest("services")).ok(&["plan"]);
}

#[test]
fn what_must_be_possible_is_missed_with_the_nearest_miss() {
    let can = |what: &str| format!("[[invariants]]\ngroup = \"developers\"\ncan = {{ {what} }}\n");
    team(&can("verb = \"get\", resource = \"pods\"")).ok(&["plan"]);
    refused(
        &team(&can("verb = \"delete\", resource = \"pods\"")),
        &["plan"],
        &["group:developers cannot delete pods, by group developers → ClusterRoleBinding readers", "has not the verb"],
    );
}

#[test]
fn everyone_but_spares_those_named_the_nodes_and_the_clusters_own() {
    let all = |but: &str, cannot: &str| format!("[[invariants]]\neveryone-but = [{but}]\ncannot = {cannot}\n");
    let secrets = "{ verb = \"get\", resource = \"secrets\" }";
    let admin = "[bindings.all]\ncluster-role = \"cluster-admin\"\ngroups = [\"developers\"]\n";
    for but in ["\"admin\"", "\"system:masters\"", "\"arn:aws:iam::111122223333:role/admin\""] {
        team(&all(but, secrets)).ok(&["plan"]);
        team(&all(but, "\"escalate\"")).ok(&["plan"]);
        refused(
            &team(&format!("{admin}{}", all(but, secrets))),
            &["plan"],
            &["role/dev (dev) can get secrets everywhere"],
        );
    }
    team(&format!("{admin}{}", all("\"admin\", \"developers\"", secrets))).ok(&["plan"]);
    refused(&team(&all("", secrets)), &["plan"], &["role/admin (admin) can get secrets", "group system:masters"]);

    let accounts = "[bindings.ci]\ncluster-role = \"cluster-admin\"\nnamespaces = [\"team-a\"]\nservice-accounts = [\"deployer\"]\n";
    refused(
        &team(&format!("{accounts}{}", all("\"admin\"", secrets))),
        &["plan"],
        &["sa:team-a/deployer can get secrets in team-a"],
    );
    team(&format!("{accounts}{}", all("\"admin\", \"sa:team-a/deployer\"", secrets))).ok(&["plan"]);
    let everybody = "[bindings.open]\ncluster-role = \"cluster-admin\"\ngroups = [\"system:authenticated\"]\n";
    refused(
        &team(&format!("{everybody}{}", all("\"admin\", \"dev\"", secrets))),
        &["plan"],
        &["group:system:authenticated can"],
    );
}

#[test]
fn one_named_secret_is_a_secret_and_a_star_means_any() {
    let rest = |cannot: &str| {
        format!(
            "[cluster-roles.one]\nrules = [{{ verbs = [\"get\"], resources = [\"secrets\"], resource-names = [\"db\"] }}]\n\
             [bindings.one]\ncluster-role = \"one\"\ngroups = [\"developers\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {{ {cannot} }}\n"
        )
    };
    for broken in [
        "verb = \"get\", resource = \"secrets\"",
        "verb = \"*\", resource = \"secrets\"",
        "verb = \"get\", resource = \"secrets\", name = \"db\"",
    ] {
        refused(&team(&rest(broken)), &["plan"], &["can get secrets named db"]);
    }
    team(&rest("verb = \"get\", resource = \"secrets\", name = \"other\"")).ok(&["plan"]);
    let ran = team(&rest("verb = \"get\", resource = \"secretz\"")).run(&["plan"]);
    assert!(ran.err.contains("unknown resource `secretz`: no rule and no built-in API has it"), "{}", ran.err);
}

#[test]
fn drift_judges_the_cluster_as_it_is() {
    let desk =
        team("[[invariants]]\neveryone-but = [\"admin\"]\ncannot = { verb = \"get\", resource = \"secrets\" }\n");
    desk.ok(&["apply", "--auto-approve"]);
    desk.ok(&["drift"]);
    let stray = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: stray }\n\
                 roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }\n\
                 subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory }]\n";
    desk.write("cluster.yaml", &(desk.read("cluster.yaml") + stray));
    let ran = refused(&desk, &["drift", "--format", "json"], &["user:mallory can get secrets", "stray (unmanaged)"]);
    fits_the_schema(&serde_json::from_str(&ran.out).unwrap());
    refused(&desk, &["plan"], &["user:mallory"]);
}

#[test]
fn the_example_holds_until_its_rule_is_widened() {
    let desk = Desk::offline();
    for file in ["access.toml", "cluster.yaml"] {
        desk.write(file, &fs::read_to_string(example("invariants").join(file)).unwrap());
    }
    desk.ok(&["validate", "access.toml"]);
    assert_eq!(desk.plan(&["access.toml"])["refusals"], serde_json::json!([]));
    let wide = desk
        .read("access.toml")
        .replace("resources = [\"pods\", \"services\", \"configmaps\"]", "api-groups = [\"*\"], resources = [\"*\"]");
    desk.write("access.toml", &wide);
    refused(&desk, &["plan", "access.toml"], &["viewers never read secrets", "only break-glass can give himself more"]);
}

#[test]
fn of_the_roles_of_the_cluster_validate_knows_cluster_admin_alone_and_says_so() {
    let bound = |role: &str, namespaces: &str, cannot: &str| {
        format!(
            "[bindings.all]\ncluster-role = \"{role}\"\n{namespaces}groups = [\"developers\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {cannot}\n"
        )
    };
    let url = "{ verb = \"get\", resource = \"/metrics\" }";
    let secrets = "{ verb = \"get\", resource = \"secrets\" }";
    let in_team_a = "namespaces = [\"team-a\"]\n";
    for exclusive in ["", "[ownership]\nrbac = \"exclusive\"\n"] {
        for (namespaces, cannot, words) in [
            ("", "\"escalate\"", "has the way `full-admin`"),
            ("", secrets, "can get secrets everywhere"),
            ("", url, "can get /metrics"),
            (in_team_a, "\"escalate\"", "has the way `full-admin`"),
            (in_team_a, secrets, "can get secrets in team-a"),
        ] {
            let desk = team(&format!("{exclusive}{}", bound("cluster-admin", namespaces, cannot)));
            refused(&desk, &["validate"], &[words, "ClusterRole cluster-admin"]);
        }
        // What a binding in a namespace does not reach, and a namespace of a pattern, which may mean none.
        for (namespaces, cannot) in [
            (in_team_a, url),
            (in_team_a, "{ verb = \"get\", resource = \"secrets\", namespace = \"team-b\" }"),
            (in_team_a, "{ verb = \"get\", resource = \"nodes\" }"),
            ("namespaces = [\"team-*\"]\n", secrets),
        ] {
            let desk = team(&format!("{exclusive}{}", bound("cluster-admin", namespaces, cannot)));
            let ran = desk.run(&["validate"]);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{cannot}");
        }
    }
    for role in ["admin", "edit", "view", "cluster-administrator"] {
        let ran = team(&bound(role, "", secrets)).run(&["validate"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let note = format!("note: what the roles {role} allow the cluster says: `plan` judges it by the invariants");
        assert_eq!(ran.err.trim(), note);
    }
}

const STRAY: &str = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: stray }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }\n\
                     subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers }]\n";

/// Whoever an invariant can be about.
const OF_EACH_KIND: [&str; 5] = [
    "group = \"developers\"",
    "principal = \"dev\"",
    "user = \"dev\"",
    "service-account = \"team-a/deployer\"",
    "everyone-but = [\"admin\", \"system:masters\", \"developers-of-b\", \"arn:aws:sts::111122223333:assumed-role/ops/run-1\"]",
];

#[test]
fn a_saved_plan_is_held_to_its_invariants_on_the_cluster_as_it_is() {
    for subject in OF_EACH_KIND {
        let desk = team(&format!(
            "[groups.developers-of-b]\n[[invariants]]\ndescription = \"no secrets\"\n{subject}\n\
             cannot = {{ verb = \"get\", resource = \"secrets\" }}\n\
             [[invariants]]\n{subject}\ncannot = \"escalate\"\n"
        ));
        let before = desk.read("cluster.yaml");
        desk.ok(&["plan", "--out", "saved.json"]);
        let saved: Value = serde_json::from_str(&desk.read("saved.json")).unwrap();
        fits_the_schema(&saved);
        let digest = saved["plans"][0]["digest"].as_str().unwrap();
        let stray = match subject {
            "service-account = \"team-a/deployer\"" => STRAY.replace(
                "{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers }",
                "{ kind: ServiceAccount, namespace: team-a, name: deployer }",
            ),
            "user = \"dev\"" => STRAY.replace("kind: Group, name: developers", "kind: User, name: dev"),
            _ => STRAY.to_owned(),
        };
        let moved = before.clone() + &stray;
        desk.write("cluster.yaml", &moved);
        // The policy is not at hand when a saved plan is carried out.
        let policy = desk.read("rolecall.toml");
        fs::remove_file(desk.path("rolecall.toml")).unwrap();
        let words = [
            "an invariant does not hold: no secrets (",
            "it stands at rolecall.toml:2",
            "can get secrets everywhere",
            "ClusterRoleBinding stray (unmanaged) → ClusterRole cluster-admin (unmanaged) → rule verbs *",
            "has the way `full-admin`",
            "Refused: nothing was written.",
        ];
        refused(&desk, &["apply", "--plan", "saved.json"], &words);
        refused(&desk, &["apply", "--plan", "saved.json", "--dry-run"], &words);
        desk.write("rolecall.toml", &policy);
        refused(&desk, &["apply", "--approved", digest], &["no secrets", "Refused: nothing was written."]);
        assert_eq!(desk.read("cluster.yaml"), moved, "{subject}");
        desk.write("cluster.yaml", &before);
        desk.ok(&["apply", "--plan", "saved.json"]);
        assert_ne!(desk.read("cluster.yaml"), before);
    }
}

#[test]
fn what_must_hold_is_part_of_what_is_approved_and_its_words_and_place_are_not() {
    let digest = |rest: &str| team(rest).plan(&[])["digest"].as_str().unwrap().to_owned();
    let invariant = "[[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let described = invariant.replace("group", "description = \"why\"\ngroup");
    assert_eq!(digest(invariant), digest(&format!("\n\n{described}")));
    let others =
        ["", &invariant.replace("get", "list"), &invariant.replace("group = \"developers\"", "user = \"dev\"")];
    for other in others {
        assert_ne!(digest(invariant), digest(other), "{other}");
    }
    let desk = team(invariant);
    desk.ok(&["plan", "--out", "saved.json"]);
    let mut bent: Value = serde_json::from_str(&desk.read("saved.json")).unwrap();
    bent["plans"][0]["invariants"] = serde_json::json!([]);
    desk.write("bent.json", &bent.to_string());
    let ran = desk.run(&["apply", "--plan", "bent.json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("was changed after it was saved"), "{}", ran.err);
}

#[test]
fn a_cluster_that_failed_outweighs_one_that_refused() {
    let two = TEAM.replace(
        "[principals.dev]",
        "[clusters.other]\nsnapshot = \"other.yaml\"\naccount = \"111122223333\"\n[principals.dev]",
    );
    let invariant = "[[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let desk = Desk::offline();
    desk.write("rolecall.toml", &format!("{two}{invariant}"));
    for file in ["cluster.yaml", "other.yaml"] {
        desk.write(file, CLUSTER);
    }
    desk.ok(&["plan", "--out", "saved.json"]);
    let stray = CLUSTER.to_owned() + STRAY;
    let commands: [&[&str]; 5] = [
        &["plan"],
        &["plan", "--detailed-exitcode", "--format", "json"],
        &["drift"],
        &["apply", "--auto-approve"],
        &["apply", "--plan", "saved.json"],
    ];
    for (broken, lost) in [("cluster.yaml", "other.yaml"), ("other.yaml", "cluster.yaml")] {
        desk.write(broken, &stray).write(lost, CLUSTER);
        for command in commands {
            refused(&desk, command, &["can get secrets"]);
        }
        fs::remove_file(desk.path(lost)).unwrap();
        for command in commands {
            let ran = desk.run(command);
            assert_eq!(ran.code, 1, "{command:?}\n{}{}", ran.out, ran.err);
            assert!(ran.err.contains(lost), "{command:?}\n{}", ran.err);
        }
        assert_eq!(desk.read(broken), stray);
    }
    // Of a saved plan likewise, where the ground of one has moved.
    let ground =
        CLUSTER.replace("resourceVersion: \"7\"", "resourceVersion: \"8\"").replace("role/admin", "role/other");
    desk.write("cluster.yaml", &stray).write("other.yaml", &ground);
    let ran = desk.run(&["apply", "--plan", "saved.json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("since the plan was made"), "{}", ran.err);
    assert_eq!((desk.read("cluster.yaml"), desk.read("other.yaml")), (stray, ground));
}

#[test]
fn on_a_real_cluster_what_others_bind_while_a_plan_waits_is_judged_before_the_first_write() {
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let stray = serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "stray" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers" }],
    });
    let bind = move || assert_eq!(REAL.admin("POST", bindings, Some(&stray)).0, 201);
    let policy = "[policy]\nname = \"prod\"\n[groups.developers]\n\
                  [cluster-roles.reader]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n\
                  [bindings.readers]\ncluster-role = \"reader\"\ngroups = [\"developers\"]\n\
                  [[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let desk = Desk::with_kubeconfig(REAL.kubeconfig());
    desk.write("rolecall.toml", policy).ok(&["plan", "--out", "saved.json"]);
    let path = "ClusterRoleBinding stray (unmanaged) → ClusterRole cluster-admin (unmanaged)";
    bind();
    refused(&desk, &["apply", "--plan", "saved.json"], &["can get secrets everywhere", path]);
    assert_eq!(REAL.admin("GET", role, None).0, 404);

    // Bound after the plan was judged, and before its first write.
    for command in [&["apply", "--auto-approve"][..], &["apply", "--plan", "saved.json"]] {
        assert_eq!(REAL.admin("DELETE", &format!("{bindings}/stray"), None).0, 200);
        let bind = bind.clone();
        let proxy = Proxy::watched(
            &REAL,
            |_| Fate::Pass,
            move |asked, _| {
                if asked.is("GET", "/clusterrolebindings") && asked.nth == 1 {
                    bind();
                }
            },
        );
        let late = Desk::with_kubeconfig(proxy.kubeconfig());
        late.write("rolecall.toml", policy).write("saved.json", &desk.read("saved.json"));
        let ran = refused(&late, command, &["can get secrets everywhere", path]);
        assert!(!ran.err.contains("Applying"), "{}", ran.err);
        assert_eq!(proxy.writes(), Vec::<String>::new());
        assert_eq!(REAL.admin("GET", role, None).0, 404);
    }
}
