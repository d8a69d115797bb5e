//! Tests `[[invariants]]`: which access violates them, what the refusal shows, and which commands refuse.

use crate::common::proxy::{Proxy, ProxyAction};
use crate::common::sandbox::{RunOutput, Sandbox, example_path};
use crate::common::schema::assert_matches_plan_schema;
use crate::common::shared_cluster::CLUSTER as REAL_CLUSTER;
use serde_json::Value;
use std::fs;

/// A folder with the `cluster-viewer` example and these invariants.
fn viewer_example(invariants: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    for file in ["access.toml", "cluster.yaml"] {
        sandbox.write(file, &fs::read_to_string(example_path("cluster-viewer").join(file)).unwrap());
    }
    let text = sandbox.read("access.toml") + "\n" + invariants;
    sandbox.write("access.toml", &text);
    sandbox
}

const NO_SECRETS: &str = "[[invariants]]\ndescription = \"viewers never read secrets\"\n\
                          group = \"cluster-viewer-group\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";

/// A cluster with nodes, an administrator and a system controller. [`TEAM_POLICY`] manages none of its objects.
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
metadata: { name: "system:controller:token-cleaner" }
rules: [{ verbs: [get], apiGroups: [""], resources: [secrets] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: "system:controller:token-cleaner" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:controller:token-cleaner" }
subjects: [{ kind: ServiceAccount, namespace: kube-system, name: token-cleaner }]
"#;

const TEAM_POLICY: &str = r#"
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

/// A folder with [`CLUSTER`] and [`TEAM_POLICY`] plus this text.
fn team_folder(rest: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER).write("rolecall.toml", &format!("{TEAM_POLICY}{rest}"));
    sandbox
}

#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str], expected: &[&str]) -> RunOutput {
    let output = sandbox.run(args);
    assert_eq!(output.exit_code, 3, "{args:?}\n{}{}", output.stdout, output.stderr);
    let unwrapped = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for message in expected {
        assert!(unwrapped.contains(message), "{message}\n{}", output.stderr);
    }
    output
}

#[test]
fn failed_invariant_shows_the_grant_path() {
    let sandbox = viewer_example(NO_SECRETS);
    let output = refused(
        &sandbox,
        &["plan", "access.toml"],
        &[
            "error: invariant violated: \"viewers never read secrets\"",
            "note: the invariant: group cluster-viewer-group must not be able to get secrets",
            "--> access.toml:31:1",
            "because: group:cluster-viewer-group can get secrets in all namespaces, via aws-auth entry \
             arn:aws:iam::111122223333:role/viewer, mapRoles",
            "and 1 more → group cluster-viewer-group → ClusterRoleBinding cluster-viewers (access.toml:27) → \
             ClusterRole cluster-viewer (access.toml:24) → rule verbs get, list; api-groups *; resources *",
        ],
    );
    assert!(output.stdout.contains("Digest sha256:"), "a refused plan is still printed\n{}", output.stdout);
}

#[test]
fn refused_plan_is_neither_saved_nor_applied() {
    let sandbox = viewer_example(NO_SECRETS);
    let before = sandbox.read("cluster.yaml");
    refused(&sandbox, &["apply", "access.toml", "--auto-approve"], &["Refused. No changes were made."]);
    let output = refused(
        &sandbox,
        &["plan", "access.toml", "--out", "saved.json", "--format", "json"],
        &["The plan was refused and not saved to saved.json."],
    );
    assert!(!sandbox.path("saved.json").exists());
    let plan: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_matches_plan_schema(&plan);
    let refusal = &plan["plans"][0]["failed-invariants"][0];
    assert_eq!(refusal["location"]["line"], 31);
    assert_eq!(refusal["violations"][0]["subject"], "group:cluster-viewer-group");
    assert_eq!(refusal["violations"][0]["path"].as_array().unwrap().len(), 5, "{refusal:#}");
    sandbox.write("saved.json", &output.stdout);
    refused(&sandbox, &["apply", "--plan", "saved.json"], &["the plan saved.json violates invariants of its policy"]);
    assert_eq!(sandbox.read("cluster.yaml"), before);
}

#[test]
fn policy_that_satisfies_its_invariants_passes() {
    let sandbox = viewer_example(NO_SECRETS);
    let narrow = sandbox.read("access.toml").replace(
        "api-groups = [\"*\"], resources = [\"*\"]",
        "api-groups = [\"\", \"apps\"], resources = [\"pods\", \"deployments\"]",
    );
    sandbox.write("access.toml", &narrow);
    sandbox.ok(&["validate", "access.toml"]);
    let plan = sandbox.plan(&["access.toml"]);
    assert_eq!(plan["failed-invariants"], serde_json::json!([]));
    sandbox.ok(&["apply", "access.toml", "--auto-approve"]);
    sandbox.ok(&["drift", "access.toml"]);
}

#[test]
fn validate_checks_invariants_on_the_policy_alone() {
    refused(
        &viewer_example(NO_SECRETS),
        &["validate", "access.toml"],
        &["viewers never read secrets", "rule verbs get, list"],
    );
    let namespaced = "[bindings.keepers]\ncluster-role = \"keeper\"\nnamespaces = [\"team-a\"]\ngroups = [\"developers\"]\n\
         [cluster-roles.keeper]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
         [[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\"";
    refused(&team_folder(&format!("{namespaced} }}\n")), &["validate"], &["can get secrets in team-a"]);
    team_folder(&format!("{namespaced}, namespace = \"team-b\" }}\n")).ok(&["validate"]);
    // Which namespaces a pattern matches, and what the roles in the cluster allow, is not in the policy.
    let globbed = format!("{namespaced} }}\n").replace("[\"team-a\"]", "[\"team-*\"]");
    team_folder(&globbed).ok(&["validate"]);
    refused(&team_folder(&globbed), &["plan"], &["can get secrets in team-a"]);
    let can = "[[invariants]]\ngroup = \"developers\"\ncan = { verb = \"get\", resource = \"nodes\" }\n";
    team_folder(can).ok(&["validate"]);
}

#[test]
fn cannot_escalate_invariant_names_the_escalation_path() {
    let rest = |resource: &str| {
        format!(
            "[cluster-roles.more]\nrules = [{{ verbs = [\"get\"], resources = [\"{resource}\"] }}]\n\
             [bindings.more]\ncluster-role = \"more\"\nprincipals = [\"dev\"]\n\
             [[invariants]]\nprincipal = \"dev\"\ncannot = \"escalate\"\n"
        )
    };
    refused(
        &team_folder(&rest("nodes/proxy")),
        &["plan"],
        &[
            "arn:aws:iam::111122223333:role/dev (dev) has the privilege escalation path `nodes-proxy`",
            "user dev → ClusterRoleBinding more",
        ],
    );
    team_folder(&rest("services")).ok(&["plan"]);
}

#[test]
fn failed_can_invariant_shows_the_nearest_rule() {
    let can = |action: &str| format!("[[invariants]]\ngroup = \"developers\"\ncan = {{ {action} }}\n");
    team_folder(&can("verb = \"get\", resource = \"pods\"")).ok(&["plan"]);
    refused(
        &team_folder(&can("verb = \"delete\", resource = \"pods\"")),
        &["plan"],
        &[
            "group:developers cannot delete pods; closest match: group developers → ClusterRoleBinding readers",
            "not applicable: does not have the verb",
        ],
    );
}

#[test]
fn everyone_but_exempts_named_subjects_and_built_in_identities() {
    let everyone_but =
        |exempt: &str, cannot: &str| format!("[[invariants]]\neveryone-but = [{exempt}]\ncannot = {cannot}\n");
    let secrets = "{ verb = \"get\", resource = \"secrets\" }";
    let admin_binding = "[bindings.all]\ncluster-role = \"cluster-admin\"\ngroups = [\"developers\"]\n";
    for exempt in ["\"admin\"", "\"system:masters\"", "\"arn:aws:iam::111122223333:role/admin\""] {
        team_folder(&everyone_but(exempt, secrets)).ok(&["plan"]);
        team_folder(&everyone_but(exempt, "\"escalate\"")).ok(&["plan"]);
        refused(
            &team_folder(&format!("{admin_binding}{}", everyone_but(exempt, secrets))),
            &["plan"],
            &["role/dev (dev) can get secrets in all namespaces"],
        );
    }
    team_folder(&format!("{admin_binding}{}", everyone_but("\"admin\", \"developers\"", secrets))).ok(&["plan"]);
    refused(
        &team_folder(&everyone_but("", secrets)),
        &["plan"],
        &["role/admin (admin) can get secrets", "group system:masters"],
    );

    let service_account_binding = "[bindings.ci]\ncluster-role = \"cluster-admin\"\nnamespaces = [\"team-a\"]\nservice-accounts = [\"deployer\"]\n";
    refused(
        &team_folder(&format!("{service_account_binding}{}", everyone_but("\"admin\"", secrets))),
        &["plan"],
        &["sa:team-a/deployer can get secrets in team-a"],
    );
    team_folder(&format!("{service_account_binding}{}", everyone_but("\"admin\", \"sa:team-a/deployer\"", secrets)))
        .ok(&["plan"]);
    let authenticated_binding =
        "[bindings.open]\ncluster-role = \"cluster-admin\"\ngroups = [\"system:authenticated\"]\n";
    refused(
        &team_folder(&format!("{authenticated_binding}{}", everyone_but("\"admin\", \"dev\"", secrets))),
        &["plan"],
        &["group:system:authenticated can"],
    );
}

#[test]
fn cannot_invariant_covers_named_resources_and_verb_wildcards() {
    let rest = |cannot: &str| {
        format!(
            "[cluster-roles.one]\nrules = [{{ verbs = [\"get\"], resources = [\"secrets\"], resource-names = [\"db\"] }}]\n\
             [bindings.one]\ncluster-role = \"one\"\ngroups = [\"developers\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {{ {cannot} }}\n"
        )
    };
    for violated in [
        "verb = \"get\", resource = \"secrets\"",
        "verb = \"*\", resource = \"secrets\"",
        "verb = \"get\", resource = \"secrets\", name = \"db\"",
    ] {
        refused(&team_folder(&rest(violated)), &["plan"], &["can get secrets named db"]);
    }
    team_folder(&rest("verb = \"get\", resource = \"secrets\", name = \"other\"")).ok(&["plan"]);
    let output = team_folder(&rest("verb = \"get\", resource = \"secretz\"")).run(&["plan"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("error: unknown resource `secretz` in an invariant"), "{}", output.stderr);
}

#[test]
fn cannot_create_is_violated_by_a_rule_that_allows_server_side_apply() {
    let rest = |verbs: &str| {
        format!(
            "[cluster-roles.one]\nrules = [{{ verbs = [{verbs}], resources = [\"secrets\"], resource-names = [\"db\"] }}]\n\
             [bindings.one]\ncluster-role = \"one\"\ngroups = [\"developers\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {{ verb = \"create\", resource = \"secrets\" }}\n"
        )
    };
    let expected = "can create secrets named db in all namespaces by server-side apply";
    refused(&team_folder(&rest("\"create\", \"patch\"")), &["plan"], &[expected]);
    // A POST has no name, and server-side apply also needs `patch`.
    team_folder(&rest("\"create\"")).ok(&["plan"]);
    team_folder(&rest("\"patch\"")).ok(&["plan"]);
}

#[test]
fn cannot_bind_counts_the_namespace_of_a_role_binding_and_cluster_scoped_resources_do_not() {
    let rest = |cannot: &str| {
        format!(
            "[cluster-roles.lead]\nrules = [\
             {{ verbs = [\"bind\", \"escalate\"], api-groups = [\"rbac.authorization.k8s.io\"], resources = [\"clusterroles\"] }},\
             {{ verbs = [\"get\", \"impersonate\"], resources = [\"nodes\", \"users\", \"groups\"] }}]\n\
             [bindings.lead]\ncluster-role = \"lead\"\ngroups = [\"developers\"]\nnamespaces = [\"kube-system\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {{ {cannot} }}\n"
        )
    };
    let bind = "verb = \"bind\", resource = \"clusterroles.rbac.authorization.k8s.io\"";
    refused(&team_folder(&rest(bind)), &["plan"], &["can bind clusterroles.rbac.authorization.k8s.io in kube-system"]);
    for holds in [
        "verb = \"escalate\", resource = \"clusterroles.rbac.authorization.k8s.io\"",
        "verb = \"get\", resource = \"nodes\"",
        "verb = \"impersonate\", resource = \"users\"",
    ] {
        team_folder(&rest(holds)).ok(&["plan"]);
    }
}

#[test]
fn drift_checks_invariants_on_the_current_cluster() {
    let sandbox = team_folder(
        "[[invariants]]\neveryone-but = [\"admin\"]\ncannot = { verb = \"get\", resource = \"secrets\" }\n",
    );
    sandbox.ok(&["apply", "--auto-approve"]);
    sandbox.ok(&["drift"]);
    let stray = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: stray }\n\
                 roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }\n\
                 subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory }]\n";
    sandbox.write("cluster.yaml", &(sandbox.read("cluster.yaml") + stray));
    let output =
        refused(&sandbox, &["drift", "--format", "json"], &["user:mallory can get secrets", "stray (unmanaged)"]);
    assert_matches_plan_schema(&serde_json::from_str(&output.stdout).unwrap());
    refused(&sandbox, &["plan"], &["user:mallory"]);
}

#[test]
fn example_invariants_hold_until_a_rule_is_widened() {
    let sandbox = Sandbox::offline();
    for file in ["access.toml", "cluster.yaml"] {
        sandbox.write(file, &fs::read_to_string(example_path("invariants").join(file)).unwrap());
    }
    sandbox.ok(&["validate", "access.toml"]);
    assert_eq!(sandbox.plan(&["access.toml"])["failed-invariants"], serde_json::json!([]));
    let wide = sandbox
        .read("access.toml")
        .replace("resources = [\"pods\", \"services\", \"configmaps\"]", "api-groups = [\"*\"], resources = [\"*\"]");
    sandbox.write("access.toml", &wide);
    refused(
        &sandbox,
        &["plan", "access.toml"],
        &["viewers never read secrets", "only break-glass can gain more access"],
    );
}

#[test]
fn validate_knows_only_cluster_admin_of_the_roles_in_the_cluster() {
    let policy_binding = |role: &str, namespaces: &str, cannot: &str| {
        format!(
            "[bindings.all]\ncluster-role = \"{role}\"\n{namespaces}groups = [\"developers\"]\n\
             [[invariants]]\ngroup = \"developers\"\ncannot = {cannot}\n"
        )
    };
    let url = "{ verb = \"get\", resource = \"/metrics\" }";
    let secrets = "{ verb = \"get\", resource = \"secrets\" }";
    let in_team_a = "namespaces = [\"team-a\"]\n";
    for exclusive in ["", "[ownership]\nrbac = \"exclusive\"\n"] {
        for (namespaces, cannot, message) in [
            ("", "\"escalate\"", "has the privilege escalation path `full-admin`"),
            ("", secrets, "can get secrets in all namespaces"),
            ("", url, "can get /metrics"),
            (in_team_a, "\"escalate\"", "has the privilege escalation path `full-admin`"),
            (in_team_a, secrets, "can get secrets in team-a"),
        ] {
            let sandbox = team_folder(&format!("{exclusive}{}", policy_binding("cluster-admin", namespaces, cannot)));
            refused(&sandbox, &["validate"], &[message, "ClusterRole cluster-admin"]);
        }
        // A RoleBinding grants no URLs, other namespaces or cluster-scoped resources, and a pattern may match no namespace.
        for (namespaces, cannot) in [
            (in_team_a, url),
            (in_team_a, "{ verb = \"get\", resource = \"secrets\", namespace = \"team-b\" }"),
            (in_team_a, "{ verb = \"get\", resource = \"nodes\" }"),
            ("namespaces = [\"team-*\"]\n", secrets),
        ] {
            let sandbox = team_folder(&format!("{exclusive}{}", policy_binding("cluster-admin", namespaces, cannot)));
            let output = sandbox.run(&["validate"]);
            assert_eq!((output.exit_code, output.stderr.as_str()), (0, ""), "{cannot}");
        }
    }
    for role in ["admin", "edit", "view", "cluster-administrator"] {
        let output = team_folder(&policy_binding(role, "", secrets)).run(&["validate"]);
        assert_eq!(output.exit_code, 0, "{}", output.stderr);
        let note = format!(
            "note: the rules of role \"{role}\" are not known offline; run plan to check the invariants that depend on it"
        );
        assert_eq!(output.stderr.trim(), note);
    }
}

const STRAY_BINDING: &str = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: stray }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }\n\
                     subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers }]\n";

/// Each kind of subject that an invariant can have.
const INVARIANT_SUBJECTS: [&str; 5] = [
    "group = \"developers\"",
    "principal = \"dev\"",
    "user = \"dev\"",
    "service-account = \"team-a/deployer\"",
    "everyone-but = [\"admin\", \"system:masters\", \"developers-of-b\", \"arn:aws:sts::111122223333:assumed-role/ops/run-1\"]",
];

#[test]
fn saved_plan_is_checked_against_its_invariants_on_the_current_cluster() {
    for subject in INVARIANT_SUBJECTS {
        let sandbox = team_folder(&format!(
            "[groups.developers-of-b]\n[[invariants]]\ndescription = \"no secrets\"\n{subject}\n\
             cannot = {{ verb = \"get\", resource = \"secrets\" }}\n\
             [[invariants]]\n{subject}\ncannot = \"escalate\"\n\
             [bindings.deployer]\ncluster-role = \"reader\"\nservice-accounts = [\"team-a/deployer\"]\n"
        ));
        let before = sandbox.read("cluster.yaml");
        sandbox.ok(&["plan", "--out", "saved.json"]);
        let saved: Value = serde_json::from_str(&sandbox.read("saved.json")).unwrap();
        assert_matches_plan_schema(&saved);
        let digest = saved["plans"][0]["digest"].as_str().unwrap();
        let stray = match subject {
            "service-account = \"team-a/deployer\"" => STRAY_BINDING.replace(
                "{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers }",
                "{ kind: ServiceAccount, namespace: team-a, name: deployer }",
            ),
            "user = \"dev\"" => STRAY_BINDING.replace("kind: Group, name: developers", "kind: User, name: dev"),
            _ => STRAY_BINDING.to_owned(),
        };
        let changed = before.clone() + &stray;
        sandbox.write("cluster.yaml", &changed);
        // Applying a saved plan does not read the policy.
        let policy = sandbox.read("rolecall.toml");
        fs::remove_file(sandbox.path("rolecall.toml")).unwrap();
        let messages = [
            "error: invariant violated: \"no secrets\"",
            "defined at rolecall.toml:2",
            "can get secrets in all namespaces",
            "ClusterRoleBinding stray (unmanaged) → ClusterRole cluster-admin (unmanaged) → rule verbs *",
            "has the privilege escalation path `full-admin`",
            "Refused. No changes were made.",
        ];
        refused(&sandbox, &["apply", "--plan", "saved.json"], &messages);
        refused(&sandbox, &["apply", "--plan", "saved.json", "--dry-run"], &messages);
        sandbox.write("rolecall.toml", &policy);
        refused(&sandbox, &["apply", "--approved", digest], &["no secrets", "Refused. No changes were made."]);
        assert_eq!(sandbox.read("cluster.yaml"), changed, "{subject}");
        sandbox.write("cluster.yaml", &before);
        sandbox.ok(&["apply", "--plan", "saved.json"]);
        assert_ne!(sandbox.read("cluster.yaml"), before);
    }
}

#[test]
fn digest_covers_invariants_but_not_their_description_and_location() {
    let digest = |rest: &str| team_folder(rest).plan(&[])["digest"].as_str().unwrap().to_owned();
    let invariant = "[[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let described = invariant.replace("group", "description = \"why\"\ngroup");
    assert_eq!(digest(invariant), digest(&format!("\n\n{described}")));
    let others =
        ["", &invariant.replace("get", "list"), &invariant.replace("group = \"developers\"", "user = \"dev\"")];
    for other in others {
        assert_ne!(digest(invariant), digest(other), "{other}");
    }
    let sandbox = team_folder(invariant);
    sandbox.ok(&["plan", "--out", "saved.json"]);
    let mut tampered: Value = serde_json::from_str(&sandbox.read("saved.json")).unwrap();
    tampered["plans"][0]["invariants"] = serde_json::json!([]);
    sandbox.write("bent.json", &tampered.to_string());
    let output = sandbox.run(&["apply", "--plan", "bent.json"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("was changed after it was saved"), "{}", output.stderr);
}

#[test]
fn exit_code_of_a_failed_cluster_overrides_that_of_a_refused_one() {
    let two_clusters = TEAM_POLICY.replace(
        "[principals.dev]",
        "[clusters.other]\nsnapshot = \"other.yaml\"\naccount = \"111122223333\"\n[principals.dev]",
    );
    let invariant = "[[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &format!("{two_clusters}{invariant}"));
    for file in ["cluster.yaml", "other.yaml"] {
        sandbox.write(file, CLUSTER);
    }
    sandbox.ok(&["plan", "--out", "saved.json"]);
    let stray = CLUSTER.to_owned() + STRAY_BINDING;
    let commands: [&[&str]; 5] = [
        &["plan"],
        &["plan", "--detailed-exitcode", "--format", "json"],
        &["drift"],
        &["apply", "--auto-approve"],
        &["apply", "--plan", "saved.json"],
    ];
    for (refused_file, missing_file) in [("cluster.yaml", "other.yaml"), ("other.yaml", "cluster.yaml")] {
        sandbox.write(refused_file, &stray).write(missing_file, CLUSTER);
        for command in commands {
            refused(&sandbox, command, &["can get secrets"]);
        }
        fs::remove_file(sandbox.path(missing_file)).unwrap();
        for command in commands {
            let output = sandbox.run(command);
            assert_eq!(output.exit_code, 1, "{command:?}\n{}{}", output.stdout, output.stderr);
            assert!(output.stderr.contains(missing_file), "{command:?}\n{}", output.stderr);
        }
        assert_eq!(sandbox.read(refused_file), stray);
    }
    // The same with a saved plan, if one cluster has changed and the other is refused.
    let changed =
        CLUSTER.replace("resourceVersion: \"7\"", "resourceVersion: \"8\"").replace("role/admin", "role/other");
    sandbox.write("cluster.yaml", &stray).write("other.yaml", &changed);
    let output = sandbox.run(&["apply", "--plan", "saved.json"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("since the plan was made"), "{}", output.stderr);
    assert_eq!((sandbox.read("cluster.yaml"), sandbox.read("other.yaml")), (stray, changed));
}

#[test]
fn binding_added_after_planning_is_checked_before_the_first_write() {
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let stray = serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "stray" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers" }],
    });
    let bind = move || assert_eq!(REAL_CLUSTER.admin("POST", bindings, Some(&stray)).0, 201);
    let policy = "[policy]\nname = \"prod\"\n[groups.developers]\n\
                  [cluster-roles.reader]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n\
                  [bindings.readers]\ncluster-role = \"reader\"\ngroups = [\"developers\"]\n\
                  [[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\" }\n";
    let (_guard, _) = REAL_CLUSTER.lock();
    let sandbox = Sandbox::with_kubeconfig(REAL_CLUSTER.kubeconfig());
    sandbox.write("rolecall.toml", policy).ok(&["plan", "--out", "saved.json"]);
    let path = "ClusterRoleBinding stray (unmanaged) → ClusterRole cluster-admin (unmanaged)";
    bind();
    refused(&sandbox, &["apply", "--plan", "saved.json"], &["can get secrets in all namespaces", path]);
    assert_eq!(REAL_CLUSTER.admin("GET", role, None).0, 404);

    // The binding is created after the plan was checked and before its first write.
    for command in [&["apply", "--auto-approve"][..], &["apply", "--plan", "saved.json"]] {
        assert_eq!(REAL_CLUSTER.admin("DELETE", &format!("{bindings}/stray"), None).0, 200);
        let bind = bind.clone();
        let proxy = Proxy::start_with_observer(
            &REAL_CLUSTER,
            |_| ProxyAction::Forward,
            move |asked, _| {
                if asked.matches("GET", "/clusterrolebindings") && asked.nth == 1 {
                    bind();
                }
            },
        );
        let late = Sandbox::with_kubeconfig(proxy.kubeconfig());
        late.write("rolecall.toml", policy).write("saved.json", &sandbox.read("saved.json"));
        let output = refused(&late, command, &["can get secrets in all namespaces", path]);
        assert!(!output.stderr.contains("Applying"), "{}", output.stderr);
        assert_eq!(proxy.writes(), Vec::<String>::new());
        assert_eq!(REAL_CLUSTER.admin("GET", role, None).0, 404);
    }
}
