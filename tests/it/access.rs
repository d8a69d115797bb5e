//! Tests the access section of a plan and the commands `can`, `who-can` and `access` on snapshots.

use crate::common::sandbox::{RunOutput, Sandbox, example_path};
use serde_json::Value;

const VIEWER_ARN: &str = "arn:aws:iam::111122223333:role/viewer";

/// A folder with the `cluster-viewer` example. Its policy is `rolecall.toml`, which commands find without an argument.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    let read = |name: &str| std::fs::read_to_string(example_path("cluster-viewer").join(name)).unwrap();
    sandbox.write("rolecall.toml", &read("access.toml")).write("cluster.yaml", &read("cluster.yaml"));
    sandbox
}

/// stdout, stderr and the exit code of a command in one text.
fn full_output(sandbox: &Sandbox, args: &[&str]) -> String {
    let RunOutput { exit_code: code, stdout: out, stderr: err } = sandbox.run(args);
    format!("{out}{err}exit {code}\n")
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    let output = sandbox.run(&[args, &["--format", "json"]].concat());
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}{}", output.stdout, output.stderr))
}

/// The output of a plan from the heading of the access section on, without the digest.
fn access_section(plan: &str) -> String {
    let from = plan.find("\nWho gains and loses access\n").unwrap_or_else(|| panic!("no access section: {plan}"));
    plan[from + 1..].lines().filter(|line| !line.starts_with("Digest")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn plan_lists_secrets_and_escalation_paths_of_a_read_everything_role() {
    insta::assert_snapshot!(access_section(&sandbox().ok(&["plan"])));
}

#[test]
fn plan_marks_each_change_that_changes_no_access() {
    let sandbox = sandbox();
    let unused = "[cluster-roles.unused]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    sandbox.write("rolecall.toml", &(sandbox.read("rolecall.toml") + unused));
    let effects = |sandbox: &Sandbox| -> Vec<(String, bool)> {
        let plan = sandbox.plan(&[]);
        let owned = |value: &Value| value.as_str().unwrap().to_owned();
        let name = |change: &Value| {
            let target = &change["target"];
            owned(if target["entry"].is_null() { &target["object"]["name"] } else { &target["entry"]["principal"] })
        };
        let changes = plan["changes"].as_array().unwrap().iter();
        changes.map(|change| (name(change), change["changes-access"].as_bool().unwrap())).collect()
    };
    let without_effect = |sandbox: &Sandbox| -> Vec<String> {
        effects(sandbox).into_iter().filter(|(_, changes)| !changes).map(|(name, _)| name).collect()
    };
    assert_eq!(without_effect(&sandbox), ["unused"]);
    let plan = sandbox.ok(&["plan"]);
    assert_eq!(plan.matches("no access changes").count(), 1, "{plan}");
    let (_, after) = plan.split_once("ClusterRole        unused").unwrap();
    assert!(after.lines().take(5).any(|line| line == "      no access changes"), "{plan}");
    sandbox.ok(&["apply", "--auto-approve"]);

    // A role and its binding are renamed. Each change alone would change access, both together do not.
    let renamed = sandbox.read("rolecall.toml");
    let renamed = renamed.replace("cluster-role = \"cluster-viewer\"", "cluster-role = \"looker\"");
    sandbox.write("rolecall.toml", &renamed.replace("[cluster-roles.cluster-viewer]", "[cluster-roles.looker]"));
    let plan = sandbox.plan(&[]);
    assert_eq!(plan["access"], serde_json::json!([]), "{plan:#}");
    assert_eq!(without_effect(&sandbox), [""; 0]);
    let text = sandbox.ok(&["plan"]);
    assert_eq!(text.matches("no access changes").count(), 1, "{text}");
}

#[test]
fn saved_plan_keeps_its_access_section_and_drift_has_none() {
    let sandbox = sandbox();
    let plan = sandbox.ok(&["plan", "--out", "saved.json"]);
    let dry_run = sandbox.ok(&["apply", "--plan", "saved.json", "--dry-run"]);
    assert_eq!(access_section(&dry_run), access_section(&plan));
    assert!(!sandbox.run(&["drift"]).stdout.contains("gains and loses access"));
    assert!(json(&sandbox, &["drift"])["plans"][0]["access"].is_null());
}

#[test]
fn access_section_is_printed_only_if_the_plan_has_changes() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(!sandbox.ok(&["plan"]).contains("gains and loses access"));
    assert_eq!(json(&sandbox, &["plan"])["plans"][0]["access"], serde_json::json!([]));
    let policy = sandbox.read("rolecall.toml");
    sandbox.write(
        "rolecall.toml",
        &policy.replace(
            "rules = [{ verbs = [\"get\", \"list\"], api-groups = [\"*\"], resources = [\"*\"] }]",
            "rules = [\n  { verbs = [\"get\"], api-groups = [\"*\"], resources = [\"*\"] },\n  { verbs = [\"list\"], api-groups = [\"*\"], resources = [\"*\"] },\n]",
        ),
    );
    insta::assert_snapshot!(access_section(&sandbox.ok(&["plan"])), @r"
    Who gains and loses access
      no access changes

    Guards: 8 passed.
    Plan: 0 to add, 1 to change, 0 to replace, 0 to remove. 1 object to write. 0 subjects gain access, 0 lose.
    ");
}

#[test]
fn plan_lists_gained_and_lost_access_with_the_granting_bindings() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "--auto-approve"]);
    let policy = sandbox.read("rolecall.toml").replace("members = [\"viewer\", \"alice\"]", "members = [\"viewer\"]");
    let more = "\n[cluster-roles.pods]\nrules = [{ verbs = [\"get\", \"delete\"], resources = [\"pods\"] }]\n\
                [bindings.pods]\ncluster-role = \"pods\"\nnamespaces = [\"default\"]\nprincipals = [\"alice\"]\n\
                service-accounts = [\"ci/deployer\"]\n";
    sandbox.write("rolecall.toml", &format!("{policy}{more}"));
    insta::assert_snapshot!(access_section(&sandbox.ok(&["plan"])));
}

#[test]
fn long_access_section_is_truncated_with_a_count() {
    let sandbox = sandbox();
    let names: Vec<String> = (0..50).map(|number| format!("many-{number:02}")).collect();
    let principals: String = names.iter().map(|name| format!("\n[principals.{name}]\nrole = \"{name}\"\n")).collect();
    let members: String = names.iter().map(|name| format!(", \"{name}\"")).collect();
    let policy =
        sandbox.read("rolecall.toml").replace("\"viewer\", \"alice\"", &format!("\"viewer\", \"alice\"{members}"));
    sandbox.write("rolecall.toml", &format!("{policy}{principals}"));
    // Who gains a privilege escalation path is never left out.
    assert!(access_section(&sandbox.ok(&["plan"])).contains("role/many-49 (many-49)"));
    let policy = policy.replace("api-groups = [\"*\"], resources = [\"*\"]", "resources = [\"pods\"]");
    sandbox.write("rolecall.toml", &format!("{policy}{principals}"));
    let truncated = access_section(&sandbox.ok(&["plan"]));
    assert!(truncated.contains("    … and 32 more subjects (use --full to show them)\n"), "{truncated}");
    assert!(truncated.contains("52 subjects gain access, 0 lose."), "{truncated}");
    assert!(access_section(&sandbox.ok(&["plan", "--full"])).contains("role/many-49 (many-49)"));
    let access = &json(&sandbox, &["plan"])["plans"][0]["access"];
    assert_eq!((access.as_array().unwrap().len(), access[0]["subjects"].as_array().unwrap().len()), (1, 52));
}

#[test]
fn can_repeats_the_question_and_exits_0_1_or_2() {
    let sandbox = sandbox();
    assert_eq!(
        sandbox.ok(&["can", "viewer", "get", "secrets", "--after"]),
        "yes: arn:aws:iam::111122223333:role/viewer (viewer) can get secrets in default\n"
    );
    insta::assert_snapshot!(full_output(&sandbox, &["can", "viewer", "get", "secrets"]), @r"
    no: arn:aws:iam::111122223333:role/viewer (viewer) cannot get secrets in default
    warning: arn:aws:iam::111122223333:role/viewer cannot authenticate: no aws-auth entry matches
     |
     = help: the policy adds this principal: use --after to query the planned state

    exit 1
    ");
    sandbox.ok(&["apply", "--auto-approve"]);
    for (code, question) in [
        (0, "viewer get secrets"),
        (0, "arn:aws:sts::111122223333:assumed-role/viewer/me list pods -A"),
        (0, "alice get nodes --subresource proxy"),
        (0, "group:cluster-viewer-group list deployments.apps/web -n kube-system"),
        (2, "user:bob get secrets"),
        (0, "alice get,list pods,secrets"),
        (1, "alice get,delete pods"),
        (0, "alice get deploy/web/scale"),
        (2, "alice get deployment,podz"),
        (2, "unknown get pods"),
        (2, "alice get pods --no-such-flag"),
        (1, "alice delete pods"),
        (1, "alice get /metrics"),
        (0, "group:system:masters delete pods"),
        (1, "sa:default/default get pods"),
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).collect();
        let output = sandbox.run(&args);
        assert_eq!(output.exit_code, code, "{question}: {}{}", output.stdout, output.stderr);
        let words = ["yes", "no: ", "not answered: "];
        let has_answer = output.stdout.lines().any(|line| line.starts_with(words[code as usize]));
        assert!(has_answer || code == 2 && output.stderr.contains("error: "), "{question}: {}", output.stdout);
    }
    // The username includes the groups of the entry that gives it.
    let alice = sandbox.ok(&["can", "user:alice", "get", "secrets"]);
    assert!(alice.starts_with("yes, for arn:aws:iam::111122223333:user/alice: "), "{alice}");
}

#[test]
fn can_explain_shows_the_grant_path_or_the_nearest_rule() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "--auto-approve"]);
    let unmanaged = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                     metadata: { name: by-hand, namespace: default }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: gone }\n\
                     subjects: [{ kind: User, apiGroup: rbac.authorization.k8s.io, name: alice }]\n";
    sandbox.write("cluster.yaml", &format!("{}{unmanaged}", sandbox.read("cluster.yaml")));
    let mut answers = String::new();
    for question in [
        "viewer get secrets",
        "alice delete pods/web",
        "group:system:masters get pods",
        "arn:aws:iam::111122223333:role/none get pods",
        "arn:aws:iam::111122223333:role/eks-nodes get pods",
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).chain(["--explain"]).collect();
        answers.push_str(&format!("$ can {question}\n{}\n", full_output(&sandbox, &args)));
    }
    insta::assert_snapshot!(answers);
    let answer = json(&sandbox, &["can", "viewer", "get", "secrets"]);
    let grant = &answer["clusters"][0]["granted-by"][0];
    assert_eq!(grant["binding"]["managed-by"]["location"]["file"], "rolecall.toml", "{answer:#}");
    assert_eq!(grant["rule"]["verbs"], serde_json::json!(["get", "list"]));
}

#[test]
fn can_warns_about_unknown_subjects_verbs_resources_and_namespaces() {
    let sandbox = sandbox();
    let mut answers = String::new();
    for question in [
        "vewer get pods",
        "arn:aws:iam::111122223333:group/x get pods",
        "sa:ci get pods",
        "group:system:master get pods",
        "group:x gett pod",
        "group:x get deployments.extensions,widgets.example.com",
        "group:system:authenticated get pods/logs",
        "group:x get pods -n kube-sytem",
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).collect();
        answers.push_str(&format!("$ can {question}\n{}\n", full_output(&sandbox, &args)));
    }
    insta::assert_snapshot!(answers);
    let without_policy = Sandbox::offline();
    without_policy.write("cluster.yaml", &sandbox.read("cluster.yaml"));
    let output = without_policy.run(&["can", "user:a", "get", "pods", "--after", "--snapshot", "cluster.yaml"]);
    assert!(
        output.exit_code == 2 && output.stderr.contains("error: --after needs a policy, and none was found"),
        "{}",
        output.stderr
    );
    assert_eq!(
        full_output(&without_policy, &["who-can", "list", "--snapshot", "cluster.yaml"]).lines().last(),
        Some("exit 2")
    );
}

#[test]
fn who_can_lists_subjects_and_the_principals_that_match_them() {
    let sandbox = sandbox();
    insta::assert_snapshot!(sandbox.ok(&["who-can", "get", "secrets", "--after"]), @r"
    Principals that can get secrets in any namespace:
      arn:aws:iam::111122223333:role/viewer (viewer)
      arn:aws:iam::111122223333:user/alice (alice)

    Granted by RBAC bindings:
      group cluster-viewer-group
        via cluster-viewers → cluster-viewer
        members: arn:aws:iam::111122223333:role/viewer, arn:aws:iam::111122223333:user/alice
    ");
    assert_eq!(
        sandbox.ok(&["who-can", "get", "secrets"]),
        "No binding allows anyone to get secrets in any namespace.\n"
    );
    insta::assert_snapshot!(sandbox.ok(&["who-can", "get", "secrets", "--after", "--explain", "-A"]));
    insta::assert_snapshot!(sandbox.ok(&["who-can", "escalate", "--after"]));
    assert_eq!(sandbox.ok(&["who-can", "escalate"]), "No subject has a privilege escalation path.\n");
}

#[test]
fn access_lists_all_subjects_or_one() {
    let sandbox = sandbox();
    insta::assert_snapshot!(sandbox.ok(&["access", "--after"]));
    insta::assert_snapshot!(sandbox.ok(&["access", "alice", "--after", "--explain"]));
    let all = json(&sandbox, &["access", "--after", "--full"]);
    let masters = all["clusters"][0]["access"].as_array().unwrap().iter();
    let masters = masters.filter(|row| row["subjects"][0]["subject"] == "group:system:masters").count();
    assert_eq!(masters, 1, "{all:#}");
}

#[test]
fn can_with_a_snapshot_needs_no_policy() {
    let sandbox = Sandbox::offline();
    sandbox
        .write("cluster.yaml", &std::fs::read_to_string(example_path("cluster-viewer").join("cluster.yaml")).unwrap());
    assert_eq!(
        sandbox.run(&["can", "group:system:masters", "get", "pods", "--snapshot", "cluster.yaml"]).stdout,
        "yes: group:system:masters can get pods in default\n"
    );
}

/// A ClusterRole and its binding to the user `lead`, in `team-a` or cluster-wide.
fn granted(name: &str, namespace: Option<&str>, rule: &str) -> String {
    let (kind, metadata) = match namespace {
        Some(namespace) => ("RoleBinding", format!(", namespace: {namespace}")),
        None => ("ClusterRoleBinding", String::new()),
    };
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: {name} }}\nrules: [{rule}]\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}{metadata} }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name} }}\n\
         subjects: [{{ kind: User, apiGroup: rbac.authorization.k8s.io, name: lead }}]\n"
    )
}

/// Returns the exit code and the first line of an answer about a snapshot.
fn answer(snapshot: &str, args: &[&str]) -> (i32, String) {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", snapshot);
    let output = sandbox.run(&[args, &["--snapshot", "cluster.yaml"]].concat());
    (output.exit_code, output.stdout.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn bind_counts_in_the_namespace_of_the_role_binding_and_impersonation_does_not() {
    let rbac = "rbac.authorization.k8s.io";
    let bind =
        granted("bind", Some("team-a"), &format!("{{verbs: [bind], apiGroups: [{rbac}], resources: [clusterroles]}}"));
    let target = "clusterroles/cluster-admin";
    assert_eq!(
        answer(&bind, &["can", "user:lead", "bind", target, "-n", "team-a"]),
        (0, format!("yes: user:lead can bind clusterroles.{rbac} named cluster-admin in team-a"))
    );
    assert_eq!(answer(&bind, &["can", "user:lead", "bind", target, "-A"]).0, 1);
    assert_eq!(answer(&bind, &["who-can", "bind", target]).1, "Granted by RBAC bindings:");
    let users = granted("users", Some("team-a"), "{verbs: [impersonate], apiGroups: [''], resources: [users]}");
    assert_eq!(
        answer(&users, &["can", "user:lead", "impersonate", "users/bob", "-n", "team-a"]),
        (1, "no: user:lead cannot impersonate users named bob".to_owned())
    );
}

#[test]
fn cluster_scoped_resources_in_a_role_binding_are_no_permissions() {
    let rule = "{verbs: [get, list, delete], apiGroups: ['', networking.k8s.io], \
                resources: [nodes, namespaces, servicecidrs, pods]}";
    let snapshot = granted("local", Some("team-a"), rule);
    assert_eq!(answer(&snapshot, &["can", "user:lead", "delete", "servicecidrs/x", "-n", "team-a"]).0, 1);
    assert_eq!(answer(&snapshot, &["can", "user:lead", "get", "ns/team-a"]).0, 0);
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &snapshot);
    insta::assert_snapshot!(sandbox.ok(&["access", "user:lead", "--snapshot", "cluster.yaml"]), @r"
    user:lead
      delete, get namespaces of API groups core, networking.k8s.io in team-a
        via team-a/local → local
      delete, get, list pods of API groups core, networking.k8s.io in team-a
        via team-a/local → local
    ");
}

#[test]
fn rule_with_a_word_of_no_api_does_not_make_the_word_known() {
    let snapshot = granted("typo", None, "{verbs: [get, read], apiGroups: [''], resources: [deployments, secret]}");
    assert_eq!(
        answer(&snapshot, &["can", "user:lead", "get", "deployments,secret"]),
        (1, "no: user:lead cannot get deployments.apps in default".to_owned())
    );
    assert_eq!(answer(&snapshot, &["can", "user:lead", "read", "pods"]).0, 2);
}

#[test]
fn subresource_after_a_slash_is_not_an_object() {
    let snapshot = granted("create", None, "{verbs: [create, get], apiGroups: [''], resources: [pods]}");
    assert_eq!(
        answer(&snapshot, &["can", "user:lead", "create", "pods/exec"]),
        (1, "no: user:lead cannot create pods/exec in default".to_owned())
    );
    assert_eq!(
        answer(&snapshot, &["can", "user:lead", "get", "pods/web/log"]),
        (1, "no: user:lead cannot get pods/log named web in default".to_owned())
    );
    assert_eq!(answer(&snapshot, &["can", "user:lead", "get", "pods/web"]).0, 0);
}

#[test]
fn named_create_says_how_the_object_can_be_created() {
    let rule =
        |verbs: &str| format!("{{verbs: [{verbs}], apiGroups: [''], resources: [configmaps], resourceNames: [app]}}");
    let create = ["can", "user:lead", "create", "cm/app", "-n", "team-a"];
    let (code, text) = answer(&granted("r", Some("team-a"), &rule("create, patch")), &create);
    assert!(code == 0 && text.contains("by server-side apply only"), "{text}");
    let (code, text) = answer(&granted("r", Some("team-a"), &rule("create")), &create);
    assert!(code == 1 && text.contains("server-side apply also needs `patch`"), "{text}");
    let get = ["can", "user:lead", "get", "cm", "-n", "team-a"];
    assert_eq!(
        answer(&granted("r", Some("team-a"), &rule("get")), &get),
        (1, "no: user:lead cannot get configmaps in team-a, except those named app".to_owned())
    );
}

#[test]
fn who_can_lists_grants_limited_to_names_and_namespaces() {
    let rule = "{verbs: [get], apiGroups: [''], resources: [secrets], resourceNames: [db]}";
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &granted("named", Some("team-b"), rule));
    insta::assert_snapshot!(sandbox.ok(&["who-can", "get", "secrets", "--snapshot", "cluster.yaml"]), @r"
    Granted by RBAC bindings:
      user lead  only secrets named db, in team-b
        via team-b/named → named
    ");
    let narrowed =
        |args: &[&str]| sandbox.ok(&[&["who-can", "get", "secrets", "--snapshot", "cluster.yaml"], args].concat());
    assert!(narrowed(&["-n", "team-b"]).contains("user lead  only secrets named db\n"));
    assert_eq!(narrowed(&["--cluster-wide"]), "No binding allows anyone to get secrets in all namespaces.\n");
    // The snapshot has no other namespace.
    let unknown = sandbox.run(&["who-can", "get", "secrets", "-n", "team-c", "--snapshot", "cluster.yaml"]);
    assert!(unknown.exit_code == 2 && unknown.stderr.contains("unknown namespace `team-c`"), "{}", unknown.stderr);
    let answer = json(&sandbox, &["who-can", "get", "secrets", "--snapshot", "cluster.yaml"]);
    let limit = &answer["clusters"][0]["subjects"][0]["limits"][0];
    assert_eq!((&limit["namespace"], &limit["resource-names"][0]), (&"team-b".into(), &"db".into()), "{answer:#}");
}

#[test]
fn custom_resources_are_known_from_the_discovery_in_a_snapshot() {
    let discovery = "---\napiVersion: apidiscovery.k8s.io/v2\nkind: APIGroupDiscoveryList\nitems:\n\
                     - metadata: { name: example.com }\n  versions:\n  - version: v1\n    resources:\n\
                     \x20   - { resource: widgets, scope: Cluster, singularResource: widget, verbs: [get], \
                     responseKind: { kind: Widget } }\n";
    let rule = "{verbs: [get], apiGroups: [example.com], resources: [widgets]}";
    let snapshot = granted("local", Some("team-a"), rule);
    let ask = ["can", "user:lead", "get", "widget", "-n", "team-a"];
    assert_eq!(answer(&snapshot, &ask).0, 2);
    assert_eq!(
        answer(&format!("{snapshot}{discovery}"), &ask),
        (1, "no: user:lead cannot get widgets.example.com".to_owned())
    );
}

#[test]
fn aggregation_cycle_is_reported_once() {
    let sandbox = Sandbox::offline();
    let role = |name: &str, from: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{ name: {name}, labels: {{ is: {name} }} }}\n\
             aggregationRule: {{ clusterRoleSelectors: [{{ matchLabels: {{ is: {from} }} }}] }}\n"
        )
    };
    sandbox.write("cluster.yaml", &format!("{}{}", role("one", "other"), role("other", "one")));
    let output = sandbox.run(&["who-can", "get", "pods", "--snapshot", "cluster.yaml"]);
    assert_eq!(
        output.stderr.matches("ClusterRoles aggregate each other: `one`, `other`").count(),
        1,
        "{}",
        output.stderr
    );
    sandbox.write("rolecall.toml", "[policy]\nname = \"circle\"\n");
    let output = sandbox.run(&["plan", "--snapshot", "cluster.yaml"]);
    assert_eq!(
        output.stderr.matches("ClusterRoles aggregate each other: `one`, `other`").count(),
        1,
        "{}",
        output.stderr
    );
}

const DANGLING_BINDING: &str = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: by-hand }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ghost }\n\
                     subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: dev }]\n";

#[test]
fn binding_to_a_missing_role_is_pending_access_of_its_subjects() {
    let sandbox = sandbox();
    sandbox.write("cluster.yaml", &format!("{}{DANGLING_BINDING}", sandbox.read("cluster.yaml")));
    let message = "warning: ClusterRole `ghost` does not exist, but RBAC bindings reference it: `by-hand`";
    for (args, is_reported) in [
        (&["can", "group:dev", "get", "pods"][..], true),
        (&["can", "group:system:masters", "get", "pods"], false),
        (&["who-can", "get", "pods"], true),
        (&["access"], true),
        (&["access", "group:dev"], true),
        (&["access", "sa:default/default"], false),
        (&["plan"], false),
        (&["drift"], true),
    ] {
        let output = sandbox.run(args);
        assert_eq!(output.stderr.matches(message).count(), usize::from(is_reported), "{args:?}: {}", output.stderr);
        let is_pending =
            output.stderr.contains("pending access: group:dev will get its rules as soon as it is created");
        assert_eq!(is_pending, is_reported, "{args:?}: {}", output.stderr);
    }
    let answer = json(&sandbox, &["who-can", "get", "pods"]);
    let warnings = answer["clusters"][0]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| message.ends_with(warning["message"].as_str().unwrap())), "{answer:#}");
}

#[test]
fn many_missing_roles_are_summarized_with_a_count() {
    let sandbox = sandbox();
    let dangling: String = (0..9)
        .map(|number| {
            DANGLING_BINDING.replace("ghost", &format!("ghost-{number}")).replace("by-hand", &format!("by-{number}"))
        })
        .collect();
    let second_binding = DANGLING_BINDING.replace("ghost", "ghost-0");
    sandbox.write("cluster.yaml", &format!("{}{dangling}{second_binding}", sandbox.read("cluster.yaml")));
    let output = sandbox.run(&["access"]);
    assert_eq!(output.stderr.matches("does not exist, but RBAC bindings reference it").count(), 3, "{}", output.stderr);
    assert!(
        output.stderr.contains("`ghost-0` does not exist, but RBAC bindings reference it: `by-0`, `by-hand`\n"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("warning: 6 more roles do not exist, but RBAC bindings reference them"),
        "{}",
        output.stderr
    );
}

#[test]
fn plan_warns_about_dangling_bindings_that_a_new_role_activates() {
    let sandbox = sandbox();
    sandbox.write(
        "cluster.yaml",
        &format!("{}{}", sandbox.read("cluster.yaml"), DANGLING_BINDING.replace("ghost", "cluster-viewer")),
    );
    let output = sandbox.run(&["plan"]);
    let message = "existing RBAC bindings take effect when ClusterRole `cluster-viewer` is created: `by-hand`";
    assert_eq!(output.stderr.matches(message).count(), 1, "{}", output.stderr);
    let plan = json(&sandbox, &["plan"]);
    let warnings = plan["plans"][0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().filter(|warning| warning["message"] == message).count(), 1, "{plan:#}");
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(!sandbox.run(&["plan"]).stderr.contains("existing RBAC bindings take effect"));
}

#[test]
fn plan_refuses_a_policy_binding_to_a_role_that_does_not_exist() {
    let sandbox = sandbox();
    let binding = "\n[bindings.extra]\ncluster-role = \"ghost\"\nprincipals = [\"alice\"]\n";
    sandbox.write("rolecall.toml", &(sandbox.read("rolecall.toml") + binding));
    let output = sandbox.run(&["plan"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(
        output.stderr.contains("error: ClusterRole `ghost` exists neither in the policy nor in the cluster"),
        "{}",
        output.stderr
    );
}

#[test]
fn unknown_subject_suggests_one_of_another_account_kind_or_spelling() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "--auto-approve"]);
    for typed in [
        "arn:aws:iam::111122223334:role/viewer",
        "arn:aws:iam::111122223333:role/vewer",
        "arn:aws:iam::111122223333:user/viewer",
        "arn:aws:iam::999999999999:role/viewer",
    ] {
        let output = sandbox.run(&["can", typed, "get", "pods"]);
        assert!(
            output.stderr.contains("did you mean `arn:aws:iam::111122223333:role/viewer`?"),
            "{typed}: {}",
            output.stderr
        );
    }
    let output = sandbox.run(&["can", "user:cluster-viewer-group", "get", "pods"]);
    assert!(output.stderr.contains("did you mean `group:cluster-viewer-group`?"), "{}", output.stderr);
}

#[test]
fn arn_with_other_path_or_case_is_answered_with_the_aws_auth_spelling() {
    let sandbox = sandbox();
    sandbox.ok(&["apply", "--auto-approve"]);
    let reports_spelling = |typed: &str, args: &[&str]| {
        let output = sandbox.run(args);
        let message = format!("no aws-auth entry names `{typed}`, but the entry `{VIEWER_ARN}` matches it");
        assert_eq!(
            output.stderr.contains(&message),
            output.stderr.contains(&format!("did you mean `{VIEWER_ARN}`?")),
            "{}",
            output.stderr
        );
        output.stderr.contains(&message)
    };
    let session = |role: &str| format!("arn:aws:sts::111122223333:assumed-role/{role}/me");
    for typed in ["role/team/viewer", "role/other/Viewer", "role/Viewer", "role/other/VIEWER"] {
        let typed = VIEWER_ARN.replace("role/viewer", typed);
        assert!(reports_spelling(&typed, &["can", &typed, "get", "pods"]), "{typed}");
        assert!(reports_spelling(&typed, &["access", &typed]), "{typed}");
    }
    assert!(reports_spelling(&VIEWER_ARN.replace("viewer", "VIEWER"), &["can", &session("VIEWER"), "get", "pods"]));
    // The spelling of aws-auth, a session of that role, and the name in the policy.
    for typed in [VIEWER_ARN, &session("viewer"), "viewer"] {
        assert!(!reports_spelling(typed, &["can", typed, "get", "pods"]), "{typed}");
    }
    let bob = "- userarn: arn:aws:iam::111122223333:user/team/bob\n      username: bob\n";
    let users = format!("data:\n  mapUsers: |\n    {bob}");
    let aws_auth =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system }}\n{users}");
    sandbox.write("users.yaml", &aws_auth);
    // The path is part of the ARN of a user: with another path it is another user. The case is ignored.
    for (typed, can_authenticate) in [("user/bob", false), ("user/Team/Bob", true)] {
        let typed = format!("arn:aws:iam::111122223333:{typed}");
        let output = sandbox.run(&["can", &typed, "get", "pods", "--snapshot", "users.yaml"]);
        assert_eq!(output.stderr.contains("cannot authenticate"), !can_authenticate, "{}", output.stderr);
        assert!(
            output.stderr.contains("did you mean `arn:aws:iam::111122223333:user/team/bob`?"),
            "{typed}: {}",
            output.stderr
        );
    }
}

const TEAM_POLICY: &str = "\
[policy]
name = \"teams\"

[groups.devs]

[roles.deployer]
namespaces = [\"team-a\", \"team-b\", \"team-c\", \"team-d\"]
rules = [{ verbs = [\"create\"], api-groups = [\"apps\"], resources = [\"deployments\"] }]

[bindings.devs-edit]
cluster-role = \"edit\"
namespaces = [\"team-a\", \"team-b\", \"team-c\", \"team-d\"]
groups = [\"devs\"]
";

/// A snapshot with four namespaces and a role of five rules.
fn team_snapshot() -> String {
    let rule =
        |verb: &str, resource: &str| format!("- {{verbs: [{verb}], apiGroups: [\"\"], resources: [{resource}]}}\n");
    let rules =
        [("get", "pods"), ("list", "services"), ("watch", "configmaps"), ("create", "events"), ("delete", "endpoints")];
    let rules: String = rules.map(|(verb, resource)| rule(verb, resource)).concat();
    let namespaces: String = ["kube-system", "team-a", "team-b", "team-c", "team-d"]
        .map(|name| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, uid: {name}}}\n---\n"))
        .concat();
    format!(
        "{namespaces}apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: edit}}\nrules:\n{rules}"
    )
}

#[test]
fn same_change_in_several_namespaces_and_a_whole_role_are_one_line() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", TEAM_POLICY).write("cluster.yaml", &team_snapshot());
    let output = sandbox.run(&["plan", "--snapshot", "cluster.yaml"]);
    let shown = output.stdout.split("Digest").next().unwrap();
    insta::assert_snapshot!(shown, @r"
    snapshot cluster.yaml, policy teams, 8 changes

      + Role               deployer in 4 namespaces (team-a, team-b, team-c, …)   rolecall.toml:6
          rules[0]
            verbs       create
            api-groups  apps
            resources   deployments
          no access changes
      + RoleBinding        devs-edit in 4 namespaces (team-a, team-b, team-c, …)  rolecall.toml:10
          roleRef   ClusterRole edit
          subjects  group devs

    Who gains and loses access
      + group:devs
          gains  ClusterRole edit in 4 namespaces (team-a, team-b, team-c, …) (5 permissions)  via team-a/devs-edit → edit, team-b/devs-edit → edit, team-c/devs-edit → edit and 1 more
      (--full lists the permissions of each role)

    Guards: 8 passed.
    Plan: 8 to add, 0 to change, 0 to replace, 0 to remove. 8 objects to write. 1 subject gains access, 0 lose.
    ");
    let full = sandbox.ok(&["plan", "--snapshot", "cluster.yaml", "--full"]);
    assert_eq!(full.matches("+ Role               team-").count(), 4, "{full}");
    assert_eq!(full.matches("+ RoleBinding        team-").count(), 4, "{full}");
    assert_eq!(full.matches("      gains  ").count(), 5, "{full}");
    assert!(!full.contains("permissions)"), "{full}");
}
