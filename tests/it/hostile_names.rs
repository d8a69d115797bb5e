//! Names that an attacker chooses, in everything that an API server, a policy or a file system allows. No command may
//! print their control characters, and no name may forge a line or a command of the CI system.

use serde_json::json;

use crate::common::sandbox::{RunOutput, Sandbox};

/// One name for each class of characters, and some with several.
const HOSTILE: [&str; 16] = [
    "clear\u{1b}[2J\u{1b}[Hscreen",
    "title\u{1b}]0;owned\u{7}end",
    "line\nNo changes. The cluster matches the policy.",
    "cr\rNo changes.",
    "cmd\n::error file=x::forged",
    "::set-output name=a::b",
    "v1 ##[error]forged",
    "c1\u{9b}31mred\u{85}next",
    "bidi\u{202e}gpj.exe\u{2066}x\u{2069}",
    "marks\u{200e}\u{200f}\u{61c}x",
    "zero\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}width",
    "sep\u{2028}line\u{2029}par",
    "tag\u{e0001}\u{e0041}\u{e007f}s",
    "del\u{7f}tab\tend",
    "fill\u{3164}\u{115f}\u{ad}er\u{180e}",
    "all\n  \u{1b}[1m::warning::\u{202e}\u{200b}\u{2028}\u{9b}x",
];

/// What a test prints when a character came through.
fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}'
            | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}' | '\u{3164}' | '\u{115f}' | '\u{ad}' | '\u{180e}')
}

#[track_caller]
fn assert_harmless(args: &[&str], output: &RunOutput) {
    for text in [&output.stdout, &output.stderr] {
        let found = text.chars().find(|c| is_unsafe(*c));
        assert_eq!(found, None, "{args:?} prints an unsafe character:\n{text:?}");
        let forged = text.lines().find(|line| {
            let line = line.trim_start();
            line.starts_with("::") && !line.starts_with("::: ")
                || line.starts_with("No changes. The cluster matches the policy.")
                || line.contains("##[")
        });
        assert_eq!(forged, None, "{args:?} prints a forged line:\n{text}");
        assert!(!text.contains("panicked") && !text.contains("internal error"), "{args:?}\n{text}");
    }
}

/// A snapshot in which everything that can have any name has this one.
fn snapshot(name: &str) -> String {
    let rbac = "rbac.authorization.k8s.io";
    let role_ref = json!({ "apiGroup": rbac, "kind": "ClusterRole", "name": name });
    let subjects = json!([
        { "kind": "User", "apiGroup": rbac, "name": name },
        { "kind": "Group", "apiGroup": rbac, "name": format!("g-{name}") },
    ]);
    let map_roles = serde_json::to_string(&json!([
        { "rolearn": "arn:aws:iam::111122223333:role/dev", "username": name, "groups": [format!("g-{name}"), name] },
        { "rolearn": format!("arn:aws:iam::111122223333:role/{name}"), "username": "x", "groups": ["system:masters"] },
        { "rolearn": "arn:aws:iam::111122223333:role/admin", "username": "admin", "groups": ["system:masters"] },
    ]))
    .unwrap();
    let map_roles = escape_for_yaml(&map_roles);
    let managed = json!([{ "manager": name, "operation": "Update", "time": "2026-01-01T00:00:00Z", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { "f:mapRoles": {} } } }]);
    let items = json!([
        { "apiVersion": "v1", "kind": "ConfigMap",
          "metadata": { "name": "aws-auth", "namespace": "kube-system", "managedFields": managed,
                        "annotations": { "note": name } },
          "data": { "mapRoles": map_roles } },
        { "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
          "metadata": { "name": name, "annotations": { "note": name }, "managedFields": managed },
          "rules": [{ "apiGroups": ["", name], "resources": ["pods", name], "verbs": ["get", "escalate", name] },
                    { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"] },
                    { "nonResourceURLs": ["/healthz"], "verbs": [name] }] },
        { "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": name },
          "roleRef": role_ref, "subjects": subjects },
        { "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
          "metadata": { "name": name, "namespace": "team-a" }, "roleRef": role_ref, "subjects": subjects },
        { "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
          "metadata": { "name": format!("gone-{name}"), "namespace": "team-a" },
          "roleRef": { "apiGroup": rbac, "kind": "Role", "name": format!("gone-{name}") }, "subjects": subjects },
    ]);
    let text = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    escape_for_yaml(&text)
}

/// YAML does not allow some of the characters of a JSON text as they are.
fn escape_for_yaml(json: &str) -> String {
    let escape = |c: char| match u32::from(c) {
        code @ 0x7f..=0xffff => format!("\\u{code:04x}"),
        _ => c.to_string(),
    };
    json.chars().map(escape).collect()
}

/// A policy that takes the group away from the binding, and has the name where a policy can have one.
fn policy(name: &str) -> String {
    let name = serde_json::to_string(name).unwrap();
    // A JSON string is a TOML string, except for DEL and characters beyond U+FFFF, which TOML allows as they are.
    let name = name.replace('\u{7f}', "\\u007f");
    format!(
        "[policy]\nname = \"team\"\n[groups.devs]\n[groups.{name}]\n[groups.\"system:masters\"]\n\
         [principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/dev\"\ngroups = [{name}, \"devs\"]\nusername = {name}\n\
         [principals.admin]\nrole = \"arn:aws:iam::111122223333:role/admin\"\ngroups = [\"system:masters\"]\nusername = \"admin\"\n\
         [cluster-roles.viewer]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"], resource-names = [{name}] }}]\n\
         [bindings.viewers]\ncluster-role = \"viewer\"\ngroups = [{name}]\nusers = [{name}]\n\
         [bindings.others]\ncluster-role = {name}\ngroups = [\"devs\"]\n\
         [[invariants]]\ndescription = {name}\nuser = {name}\ncannot = {{ verb = \"get\", resource = \"secrets\" }}\n"
    )
}

/// A policy whose objects have the name.
fn objects_policy(name: &str) -> String {
    let name = serde_json::to_string(&format!("new-{name}")).unwrap().replace('\u{7f}', "\\u007f");
    format!(
        "[policy]\nname = \"team\"\n[groups.devs]\n\
         [cluster-roles.{name}]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n\
         [bindings.{name}]\ncluster-role = {name}\ngroups = [\"devs\"]\n"
    )
}

fn commands(name: &str) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let subject = format!("user:{name}");
    vec![
        words(&["plan", "policy", "--snapshot", "cluster.yaml", "--full"]),
        words(&["plan", "simple.toml", "--snapshot", "cluster.yaml", "--full"]),
        words(&["plan", "simple.toml", "--snapshot", "cluster.yaml", "--out", "plan.json"]),
        words(&["drift", "simple.toml", "--snapshot", "cluster.yaml"]),
        words(&["validate", "policy"]),
        words(&["validate", "policy", "-o", "sarif"]),
        words(&["plan", "policy", "--snapshot", "cluster.yaml", "-o", "sarif"]),
        words(&["plan", "policy", "--snapshot", "cluster.yaml", "-o", "junit"]),
        words(&["test", "policy", "--snapshot", "cluster.yaml"]),
        words(&["test", "policy", "--snapshot", "cluster.yaml", "-o", "junit"]),
        words(&["drift", "policy", "--snapshot", "cluster.yaml", "--metrics", "rolecall.prom"]),
        words(&["drift", "policy", "--snapshot", "cluster.yaml", "--metrics", name]),
        words(&["explain", &subject, "--policy", "policy", "--snapshot", "cluster.yaml"]),
        words(&[
            "explain",
            "arn:aws:iam::111122223333:role/dev",
            "--policy",
            "policy",
            "--snapshot",
            "cluster.yaml",
            "--after",
        ]),
        words(&["explain", name, "--snapshot", "cluster.yaml"]),
        words(&["man", name]),
        words(&["access", "--snapshot", "cluster.yaml", "--full", "--explain"]),
        words(&["can", &subject, "get", "secrets", "--snapshot", "cluster.yaml", "--explain"]),
        words(&[
            "can",
            "arn:aws:iam::111122223333:role/dev",
            "get",
            "pods",
            "-A",
            "--snapshot",
            "cluster.yaml",
            "--explain",
        ]),
        words(&["can", "arn:aws:iam::111122223333:role/dev", "get", "pods", "-n", name, "--snapshot", "cluster.yaml"]),
        words(&["who-can", "get", "pods", "--snapshot", "cluster.yaml", "--explain"]),
        words(&["who-can", "get", &format!("secrets/{name}"), "--snapshot", "cluster.yaml"]),
        words(&["who-can", "escalate", "--snapshot", "cluster.yaml"]),
        words(&["report", "policy", "--snapshot", "cluster.yaml", "--full"]),
        words(&["report", "--snapshot", "cluster.yaml", "-o", "csv"]),
        words(&["graph", "--snapshot", "cluster.yaml", "--full"]),
        words(&["graph", "--snapshot", "cluster.yaml", "--full", "-o", "dot"]),
        words(&["graph", "--snapshot", "cluster.yaml", "--full", "-o", "mermaid"]),
        words(&["plan", "simple.toml", "--snapshot", "cluster.yaml", "-o", "html"]),
        words(&["permissions", "simple.toml", "--snapshot", "cluster.yaml", "--check"]),
        words(&["whoami", "--snapshot", "cluster.yaml"]),
        words(&["snapshot", "--snapshot", "cluster.yaml", "--out", &format!("{name}.out")]),
        words(&["plan", "simple.toml", "--cluster", name]),
        words(&["plan", "simple.toml", "--context", name]),
        words(&["plan", "simple.toml", "--snapshot", &format!("{name}.yaml")]),
        words(&["plan", &format!("{name}.toml")]),
        words(&["plan", "named", "--snapshot", "cluster.yaml"]),
        words(&["plan", "broken.toml", "--snapshot", "cluster.yaml"]),
        words(&["plan", "simple.toml", "--snapshot", "broken.yaml"]),
        words(&["plan", "simple.toml", "--allow", name]),
        words(&["apply", "simple.toml", "--snapshot", "cluster.yaml", "--dry-run"]),
        words(&[
            "apply",
            "simple.toml",
            "--snapshot",
            "copy.yaml",
            "--auto-approve",
            "--backup",
            "backups",
            "--allow-window",
        ]),
        // Progress lines with the names of the objects, and drift of what others changed.
        words(&["apply", "objects.toml", "--snapshot", "copy.yaml", "--auto-approve", "--backup", "backups"]),
        words(&["drift", "objects.toml", "--snapshot", "copy.yaml"]),
        words(&["restore", name]),
        words(&["apply", "--plan", name]),
        words(&[name]),
    ]
}

fn check(name: &str, with_colors: bool) {
    let sandbox = Sandbox::with_kubeconfig_text(
        &json!({ "apiVersion": "v1", "kind": "Config", "current-context": name,
            "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
            "clusters": [{ "name": name, "cluster": { "server": "http://127.0.0.1:1" } }],
            "users": [{ "name": name, "user": { "client-key-data": name } }] })
        .to_string(),
    );
    let simple = "[policy]\nname = \"team\"\n[groups.devs]\n[cluster-roles.viewer]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n\
        [bindings.viewers]\ncluster-role = \"viewer\"\ngroups = [\"devs\"]\n";
    sandbox
        .write("cluster.yaml", &snapshot(name))
        .write("copy.yaml", &snapshot(name))
        .write("simple.toml", simple)
        .write("policy/a.toml", &policy(name))
        .write("objects.toml", &objects_policy(name))
        .write(&format!("named/{}.toml", name.replace('/', "-")), &format!("{simple}x = {}\n", "1"))
        .write("broken.toml", &format!("[policy]\nname = \"{}\n", name.replace('\n', " ")))
        .write("broken.yaml", &format!("kind: [\"{name}\"\n  x: {{{name}: ]"));
    for command in commands(name) {
        // A NUL cannot be in an argument, and a name that starts with a dash is a flag.
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = sandbox.run(&args);
        // The renderers must be reached.
        if args.starts_with(&["plan", "simple.toml", "--snapshot", "cluster.yaml"]) || args[0] == "access" {
            assert_eq!(output.exit_code, 0, "{args:?}\n{}", output.stderr);
        }
        assert_harmless(&args, &output);
        if !with_colors {
            continue;
        }
        let colored: Vec<&str> = args.iter().copied().chain(["--color", "always"]).collect();
        let output = sandbox.run(&colored);
        let without_colors = |text: &str| anstream::adapter::strip_str(text).to_string();
        let is_known = |text: &str| {
            text.split('\u{1b}').skip(1).all(|rest| {
                rest.split_once('m').is_some_and(|(code, _)| {
                    code.strip_prefix('[').is_some_and(|code| code.bytes().all(|b| b.is_ascii_digit() || b == b';'))
                })
            })
        };
        assert!(is_known(&output.stdout) && is_known(&output.stderr), "{colored:?}\n{output:?}");
        let plain =
            RunOutput { stdout: without_colors(&output.stdout), stderr: without_colors(&output.stderr), ..output };
        assert_harmless(&colored, &plain);
    }
    for args in [
        &["plan", "policy", "--snapshot", "cluster.yaml", "-o", "json"][..],
        &["access", "--snapshot", "cluster.yaml", "-o", "json"],
        &["who-can", "get", "pods", "--snapshot", "cluster.yaml", "-o", "json"],
        &["validate", "policy", "-o", "json"],
        &["snapshot", "--snapshot", "cluster.yaml", "-o", "json"],
    ] {
        let output = sandbox.run(args);
        assert!(serde_json::from_str::<serde_json::Value>(&output.stdout).is_ok(), "{args:?}\n{}", output.stdout);
    }
}

#[test]
fn no_output_has_unsafe_characters_of_a_name() {
    for (number, name) in HOSTILE.iter().enumerate() {
        // With colors the text is the same, and a few names show that.
        check(name, number % 8 == 7);
    }
}

#[test]
fn random_names_are_harmless_in_every_output() {
    use proptest::prelude::*;
    let part = prop_oneof![
        Just("\u{1b}[31m".to_owned()),
        Just("\n::error::".to_owned()),
        Just("\r\n".to_owned()),
        Just("\u{202e}\u{200b}".to_owned()),
        Just("##[group]".to_owned()),
        "[a-z]{1,4}",
        any::<char>()
            .prop_filter("allowed in names of files and objects", |c| !"\0/%".contains(*c))
            .prop_map(String::from),
    ];
    let name = proptest::collection::vec(part, 1..6).prop_map(|parts| format!("n{}", parts.concat()));
    let config = ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    runner
        .run(&name, |name| {
            check(&name, false);
            Ok(())
        })
        .unwrap();
}
