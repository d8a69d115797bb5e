//! The pages of `report` and `plan -o html` in Chromium: no request, no error, usable by keyboard and screen reader, also with
//! hostile names and with thousands of principals.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::browser::open_page;
use crate::common::sandbox::Sandbox;

const POLICY: &str = r#"
[policy]
name = "platform"
[clusters.prod]
snapshot = "cluster.yaml"
[principals.admins]
role = "arn:aws:iam::111122223333:role/admins"
username = "admins"
groups = ["system:masters"]
[principals.devs]
role = "arn:aws:iam::111122223333:role/devs"
groups = ["developers"]
expires = 2099-12-31
[groups.developers]
[groups."system:masters"]
[bindings.developers-edit]
cluster-role = "edit"
groups = ["developers"]
namespaces = ["team-*"]
[bindings.auditors]
cluster-role = "view"
users = ["auditor"]
expires = 2098-01-01
[[invariants]]
description = "developers never read secrets"
group = "developers"
cannot = { verb = "get", resource = "secrets" }
"#;

/// A cluster with a little of everything.
fn small_cluster() -> String {
    let rbac = "rbac.authorization.k8s.io";
    let role = |name: &str, rules: Value| {
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
                "metadata": { "name": name, "resourceVersion": "1" }, "rules": rules })
    };
    let binding = |name: &str, namespace: Option<&str>, role: &str, kind: &str, subject: &str| {
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" },
                "metadata": { "name": name, "namespace": namespace, "resourceVersion": "1" },
                "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": role },
                "subjects": [{ "apiGroup": rbac, "kind": kind, "name": subject }] })
    };
    let map_roles = "- { rolearn: arn:aws:iam::111122223333:role/admins, username: admins, groups: [system:masters] }\n\
                     - { rolearn: arn:aws:iam::111122223333:role/devs, username: devs, groups: [developers] }\n\
                     - { rolearn: arn:aws:iam::111122223333:role/ops, username: ops, groups: [operators] }\n\
                     - { rolearn: arn:aws:iam::111122223333:role/idle, username: idle, groups: [] }\n";
    let mut items = vec![
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "aws-auth", "namespace": "kube-system", "resourceVersion": "1" },
                "data": { "mapRoles": map_roles } }),
        role("edit", json!([{ "apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "update"] }])),
        role("view", json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] }])),
        role("node-ops", json!([{ "apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get", "create"] }])),
        binding("operators", None, "node-ops", "Group", "operators"),
        binding("viewers", None, "view", "Group", "developers"),
        binding("legacy", Some("team-a"), "gone", "User", "legacy"),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
                "metadata": { "name": "deployers", "namespace": "team-b", "resourceVersion": "1" },
                "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "edit" },
                "subjects": [{ "kind": "ServiceAccount", "namespace": "ci", "name": "deployer" }] }),
    ];
    for name in ["kube-system", "team-a", "team-b", "team-c", "ci"] {
        let uid = (name == "kube-system").then_some("5d1c0b52");
        items.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "uid": uid } }));
    }
    for name in ["team-a", "team-b", "team-c"] {
        items.push(binding("developers", Some(name), "edit", "Group", "developers"));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Writes a page of a command to a file.
#[track_caller]
fn page(sandbox: &Sandbox, name: &str, args: &[&str]) -> PathBuf {
    let output = sandbox.run(args);
    assert!(output.stdout.starts_with("<!doctype html>"), "{args:?}\n{}{}", output.stdout, output.stderr);
    sandbox.write(name, &output.stdout);
    sandbox.path(name)
}

#[test]
fn report_is_usable_by_keyboard_and_has_no_serious_fault() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", POLICY);
    let report = page(&sandbox, "report-small.html", &["report", "access.toml"]);
    let status = "#access-0 [data-part=status]";
    let opened = open_page(
        &report,
        &[
            json!(["press", "Tab"]),
            json!(["press", "Enter"]),
            json!(["tab_to", "[data-filter=text]", 10]),
            json!(["type", "[data-filter=text]", "node-ops", status]),
            json!(["text", "#access-0 tbody th"]),
            json!(["focus", "#access-0 tbody summary"]),
            json!(["press", "Enter"]),
            json!(["text", "#access-0 tbody .details"]),
            json!(["type", "[data-filter=text]", "", status]),
            json!(["type", "[data-filter=namespace]", "team-a", status]),
            json!(["text", "#access-0 thead"]),
            json!(["select", "[data-filter=kind]", "service-account", status]),
            json!(["text", "#drift-0"]),
            json!(["text", "#expiries-0"]),
            json!(["text", "#sensitive-0"]),
            json!(["type", "[data-graph]", "operators", "#graph-image-0-status"]),
            json!(["count", "#graph-image-0 .nodes .is-shown"]),
        ],
    );
    opened.assert_clean();
    assert_eq!(opened.action(0), "a Skip to the content");
    assert!(opened.action(1).as_str().unwrap().starts_with("main "), "{}", opened.action(1));
    assert!(opened.action(2).as_u64().is_some(), "the filter is reached by Tab");
    let found = opened.action(3)["status"].as_str().unwrap();
    assert!(found.starts_with("Subjects 1–2 of 2 (filtered from "), "{found}");
    assert!(opened.action(4).as_str().unwrap().contains("role/ops"), "{}", opened.action(4));
    let details = opened.action(7).as_str().unwrap();
    assert!(details.contains("group:operators → ClusterRoleBinding operators → ClusterRole node-ops"), "{details}");
    assert!(details.contains("user ops, groups operators, system:authenticated, mapRoles line 3"), "{details}");
    let columns = opened.action(10).as_str().unwrap();
    assert!(columns.contains("team-a") && !columns.contains("team-b"), "{columns}");
    assert!(opened.action(11).as_str().unwrap().contains("Subjects none"), "{}", opened.action(11));
    assert!(opened.action(12).as_str().unwrap().contains("developers never read secrets"), "{}", opened.action(12));
    assert!(opened.action(13).as_str().unwrap().contains("bindings.auditors"), "{}", opened.action(13));
    assert!(opened.action(14).as_str().unwrap().contains("get nodes/proxy"), "{}", opened.action(14));
    assert_eq!(opened.action(16), 4, "principal, group, binding and role are shown");
}

#[test]
fn plan_page_has_no_serious_fault_and_its_changes_can_be_filtered() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", POLICY);
    let plan = page(&sandbox, "plan-small.html", &["plan", "access.toml", "-o", "html", "--full"]);
    let opened = open_page(
        &plan,
        &[
            json!(["text", ".verdict"]),
            json!(["type", "[data-list=change-list]", "auditors", "#change-list-status"]),
            json!(["count", "#change-list [data-item]:not([hidden])"]),
            json!(["text", "#access"]),
            json!(["text", "#checks"]),
        ],
    );
    opened.assert_clean();
    let verdict = opened.action(0).as_str().unwrap();
    assert!(verdict.contains("Refused") && verdict.contains("developers never read secrets"), "{verdict}");
    assert_eq!(opened.action(2), 1, "{}", opened.action(1));
    assert!(opened.action(3).as_str().unwrap().contains("auditor"), "{}", opened.action(3));
    assert!(opened.action(4).as_str().unwrap().contains("violated"), "{}", opened.action(4));
    let drift = page(&sandbox, "drift-small.html", &["drift", "access.toml", "-o", "html"]);
    open_page(&drift, &[]).assert_clean();
}

/// Names with markup, scripts, quotes and bidi characters, where an API server allows them.
const HOSTILE: [&str; 7] = [
    "<script>globalThis.pwned=1</script>",
    "<img src=x onerror=globalThis.pwned=1>",
    "</script><script>globalThis.pwned=1</script><!--",
    "\"' onmouseover=globalThis.pwned=1 x='",
    "a&lt;b&amp;&#60;i&#62;",
    "bidi\u{202e}gpj.exe\u{2066}x\u{200b}\u{2028}y",
    "`${globalThis.pwned=1}` {7*7} \\u003cb>",
];

fn hostile_cluster() -> String {
    let rbac = "rbac.authorization.k8s.io";
    let mut items =
        vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system", "uid": "a" } })];
    let mut entries = Vec::new();
    for (number, name) in HOSTILE.iter().enumerate() {
        let object = name.replace('/', "∕").replace('%', "");
        items.push(json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": object, "resourceVersion": "1" },
            "rules": [{ "apiGroups": ["", name], "resources": ["secrets", name], "resourceNames": [name], "verbs": ["get", "escalate", name] },
                      { "apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["*"] }] }));
        items.push(json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": object, "resourceVersion": "1" },
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": object },
            "subjects": [{ "apiGroup": rbac, "kind": "Group", "name": name }, { "apiGroup": rbac, "kind": "User", "name": format!("u-{name}") }] }));
        entries.push(json!({ "rolearn": format!("arn:aws:iam::111122223333:role/r{number}"), "username": name, "groups": [name] }));
    }
    let map_roles = serde_json::to_string(&entries).unwrap();
    items.push(json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "aws-auth", "namespace": "kube-system", "resourceVersion": "1" }, "data": { "mapRoles": escape_for_yaml(&map_roles) } }));
    escape_for_yaml(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())
}

/// YAML does not allow some of the characters of a JSON text as they are.
fn escape_for_yaml(json: &str) -> String {
    let escape = |c: char| match u32::from(c) {
        code @ 0x7f..=0xffff => format!("\\u{code:04x}"),
        _ => c.to_string(),
    };
    json.chars().map(escape).collect()
}

#[test]
fn hostile_names_are_text_on_every_page() {
    let sandbox = Sandbox::offline();
    let mut policy = String::from("[policy]\nname = \"team\"\n");
    for (number, name) in HOSTILE.iter().enumerate() {
        let name = serde_json::to_string(name).unwrap();
        writeln!(
            policy,
            "[groups.{name}]\n[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/new{number}\"\ngroups = [{name}]\nusername = \"n{number}\"\nexpires = 2099-01-01\n\
             [[invariants]]\ndescription = {name}\ngroup = {name}\ncannot = {{ verb = \"get\", resource = \"secrets\" }}"
        )
        .unwrap();
    }
    sandbox.write("cluster.yaml", &hostile_cluster()).write("access.toml", &policy);
    let report = page(&sandbox, "report-hostile.html", &["report", "access.toml", "--snapshot", "cluster.yaml"]);
    let plan = page(
        &sandbox,
        "plan-hostile.html",
        &["plan", "access.toml", "--snapshot", "cluster.yaml", "-o", "html", "--full"],
    );
    let svg = sandbox.ok(&["graph", "--policy", "access.toml", "--snapshot", "cluster.yaml", "--full"]);
    let image = format!(
        "<!doctype html><html lang=\"en\" data-ready=\"true\"><title>graph</title><main><h1>graph</h1>{svg}</main></html>"
    );
    sandbox.write("graph-hostile.html", &image);
    let checks = [
        json!(["global", "pwned"]),
        json!(["elements"]),
        json!(["handlers"]),
        json!(["count", "script"]),
        json!(["text", "body"]),
    ];
    let allowed = "a body br button caption circle code details div footer form g h1 h2 h3 head header html input label li \
                   link main meta nav noscript ol option p path pre rect script section select span strong style summary svg table tbody td \
                   text th thead time title tr ul";
    for (file, scripts) in [(report, 2), (plan, 1), (sandbox.path("graph-hostile.html"), 0)] {
        let opened = open_page(&file, &checks);
        opened.assert_clean();
        assert_eq!(opened.action(0), "undefined", "{}: a name ran as a script", file.display());
        for element in opened.action(1).as_array().unwrap() {
            let element = element.as_str().unwrap();
            assert!(allowed.split_whitespace().any(|name| name == element), "{}: {element}", file.display());
        }
        assert_eq!(opened.action(2), &json!([]), "{}", file.display());
        assert_eq!(opened.action(3), scripts, "{}", file.display());
        let text = opened.action(4).as_str().unwrap();
        assert!(text.contains("<script>"), "{}: the name is shown\n{text}", file.display());
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{}", file.display());
    }
}

/// 3,000 principals in 50 groups, 200 namespaces.
fn large_cluster() -> String {
    let rbac = "rbac.authorization.k8s.io";
    let (principals, groups, namespaces) = (3_000, 50, 200);
    let mut map_roles = String::new();
    for n in 0..principals {
        writeln!(
            map_roles,
            "- {{ rolearn: arn:aws:iam::111122223333:role/person-{n}, username: person-{n}, groups: [group-{}] }}",
            n % groups
        )
        .unwrap();
    }
    let mut items = vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system", "uid": "a" } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "aws-auth", "namespace": "kube-system", "resourceVersion": "1" },
                "data": { "mapRoles": map_roles } }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": "edit", "resourceVersion": "1" },
                "rules": [{ "apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list", "create"] }] }),
    ];
    for n in 0..namespaces {
        let namespace = format!("ns-{n}");
        items.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }));
        for role in ["deployer", "reader"] {
            items.push(json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": { "name": role, "namespace": namespace, "resourceVersion": "1" },
                "rules": [{ "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "update"] }] }));
        }
        for m in 0..6 {
            let (kind, role) = [("Role", "deployer"), ("Role", "reader"), ("ClusterRole", "edit")][m % 3];
            items.push(json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
                "metadata": { "name": format!("bind-{m}"), "namespace": namespace, "resourceVersion": "1" },
                "roleRef": { "apiGroup": rbac, "kind": kind, "name": role },
                "subjects": [{ "apiGroup": rbac, "kind": "Group", "name": format!("group-{}", (n * 7 + m * 11) % groups) }] }));
        }
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

#[test]
fn report_of_three_thousand_principals_stays_responsive() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &large_cluster());
    let report = page(&sandbox, "report-large.html", &["report", "--snapshot", "cluster.yaml"]);
    let status = "#access-0 [data-part=status]";
    let opened = open_page(
        &report,
        &[
            json!(["text", status]),
            json!(["count", "#access-0 tbody tr"]),
            json!(["type", "[data-filter=text]", "person-2999", status]),
            json!(["type", "[data-filter=text]", "", status]),
            json!(["focus", "[data-move=rows-next]"]),
            json!(["press", "Enter"]),
            json!(["text", status]),
            json!(["press", "Space"]),
            json!(["text", status]),
            json!(["count", "*"]),
            json!(["screenshot", "report-large-matrix", "#access-0"]),
        ],
    );
    opened.assert_clean();
    assert!(opened.action(0).as_str().unwrap().starts_with("Subjects 1–50 of 3,0"), "{}", opened.action(0));
    assert_eq!(opened.action(1), 50, "only one page of rows is in the document");
    let filtered = &opened.action(2)["status"];
    assert!(filtered.as_str().unwrap().starts_with("Subjects 1–1 of 1 (filtered from 3,0"), "{filtered}");
    assert_eq!(opened.action(5), "button Next subjects", "the button keeps the focus");
    assert!(opened.action(6).as_str().unwrap().starts_with("Subjects 51–100 of 3,0"), "{}", opened.action(6));
    assert!(opened.action(8).as_str().unwrap().starts_with("Subjects 101–150 of 3,0"), "{}", opened.action(8));
    assert!(opened.action(9).as_u64().unwrap() < 20_000, "{} elements", opened.action(9));
    // Generous, because the machine can be busy. It takes a fraction of a second on a free one.
    let filter = opened.action(2)["milliseconds"].as_u64().unwrap();
    assert!(opened.interactive() < 30_000 && filter < 10_000, "{} ms, {filter} ms", opened.interactive());
    println!("3,000 principals: {} ms until it can be used, {filter} ms for a filter", opened.interactive());
}

/// Names that a spreadsheet would run as formulas, or that would break a line.
const FORMULAS: [&str; 7] = ["=cmd|' /C calc'!A0", "@SUM(1+1)", "+1", "-1+1", "a\",\"b", "a;=1", "tab\tand\nline"];

#[test]
fn no_cell_of_the_csv_is_a_formula() {
    let sandbox = Sandbox::offline();
    let rbac = "rbac.authorization.k8s.io";
    let items: Vec<Value> = FORMULAS
        .iter()
        .flat_map(|name| {
            let role = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": name.replace('/', "") },
                               "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] });
            let binding = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": name.replace('/', "") },
                                  "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": name.replace('/', "") },
                                  "subjects": [{ "apiGroup": rbac, "kind": "Group", "name": name }, { "apiGroup": rbac, "kind": "User", "name": name }] });
            [role, binding]
        })
        .collect();
    sandbox.write(
        "cluster.yaml",
        &escape_for_yaml(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()),
    );
    let text = sandbox.ok(&["report", "--snapshot", "cluster.yaml", "-o", "csv"]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut subjects = 0;
    for record in reader.records() {
        let record = record.unwrap();
        assert_eq!(record.len(), 12, "{record:?}");
        for cell in &record {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
            assert!(!cell.contains(['\n', '\t']), "{cell:?}");
        }
        subjects += usize::from(record.get(1).unwrap().starts_with("group:"));
    }
    assert_eq!(subjects, FORMULAS.len(), "{text}");
}

#[test]
fn csv_has_a_line_for_each_subject_role_and_namespace() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", POLICY);
    insta::assert_snapshot!(sandbox.ok(&["report", "access.toml", "-o", "csv"]));
}

#[test]
fn graph_has_the_same_nodes_in_each_language() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", POLICY);
    let graph = |format: &str| sandbox.ok(&["graph", "--policy", "access.toml", "-o", format]);
    insta::assert_snapshot!(graph("mermaid"));
    let (mermaid, dot, svg) = (graph("mermaid"), graph("dot"), graph("svg"));
    let edges = mermaid.matches("-->").count();
    assert_eq!((dot.matches("->").count(), svg.matches("data-from=").count()), (edges, edges));
    let full = sandbox.ok(&["graph", "--policy", "access.toml", "-o", "mermaid", "--full"]);
    assert_eq!(full.matches(">\"developers\"]").count(), 3, "each RoleBinding has a node\n{full}");
    let devs = sandbox.ok(&["graph", "devs", "--policy", "access.toml", "-o", "mermaid"]);
    assert!(devs.contains("\"devs\"") && !devs.contains("operators"), "{devs}");
}

#[test]
fn plan_of_thousands_of_changes_stays_responsive() {
    let sandbox = Sandbox::offline();
    let mut policy = String::from("[policy]\nname = \"platform\"\n");
    for n in 0..3_000 {
        writeln!(policy, "[bindings.b{n}]\ncluster-role = \"edit\"\nusers = [\"user-{n}\"]").unwrap();
    }
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", &policy);
    let plan = page(&sandbox, "plan-large.html", &["plan", "access.toml", "--snapshot", "cluster.yaml", "-o", "html"]);
    let opened = open_page(
        &plan,
        &[
            json!(["type", "[data-list=change-list]", "b2999", "#change-list-status"]),
            json!(["count", "#change-list [data-item]:not([hidden])"]),
            json!(["count", "#change-list [data-chunk]:not([hidden])"]),
        ],
    );
    opened.assert_clean();
    assert_eq!((opened.action(1), opened.action(2)), (&json!(1), &json!(1)), "{}", opened.action(0));
    let filter = opened.action(0)["milliseconds"].as_u64().unwrap();
    assert!(opened.interactive() < 30_000 && filter < 10_000, "{} ms, {filter} ms", opened.interactive());
    println!("3,000 changes: {} ms until it can be used, {filter} ms for a filter", opened.interactive());
}

const TWO_CLUSTERS: &str = "[policy]\nname = \"two\"\n[clusters.a]\nsnapshot = \"cluster.yaml\"\n\
                            [clusters.b]\nsnapshot = \"missing.yaml\"\n[groups.g]\n";

#[test]
fn report_says_at_its_beginning_which_cluster_is_missing() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &small_cluster()).write("access.toml", TWO_CLUSTERS);
    let output = sandbox.run(&["report", "access.toml"]);
    assert_eq!(output.exit_code, 1);
    let main = output.stdout.split("<main").nth(1).unwrap();
    let banner = main.find("Not complete: 1 error").unwrap();
    assert!(banner < main.find("<section").unwrap() && main.contains("missing.yaml"), "{main}");
    let output = sandbox.run(&["report", "access.toml", "-o", "json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.exit_code, document["errors"].as_array().unwrap().len()), (1, 1), "{}", output.stdout);
    let output = sandbox.run(&["graph", "--policy", "access.toml", "--cluster", "a", "-o", "dot"]);
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
}

#[test]
fn graph_of_several_clusters_is_an_error_that_says_what_to_do() {
    let sandbox = Sandbox::offline();
    let policy = TWO_CLUSTERS.replace("missing.yaml", "cluster-b.yaml");
    sandbox
        .write("cluster.yaml", &small_cluster())
        .write("cluster-b.yaml", &small_cluster())
        .write("access.toml", &policy);
    let output = sandbox.run(&["graph", "--policy", "access.toml"]);
    assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""));
    let expected = "error: a graph is for one cluster, and there are 2\n |\n = help: name one with --cluster NAME\n";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    let report = page(&sandbox, "report-two.html", &["report", "access.toml"]);
    open_page(&report, &[]).assert_clean();
}
