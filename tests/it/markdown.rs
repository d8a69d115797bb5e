//! `-o markdown`, `-o summary`, `--step-summary` and `show`, with plans of the examples and with hostile names.

use comrak::nodes::NodeValue;
use comrak::{Arena, Options, parse_document};
use serde_json::json;

use crate::common::sandbox::Sandbox;

const SNAPSHOT: &str = r#"
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
metadata: { name: aws-auth, namespace: kube-system, uid: 6e2d, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eks-nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
    - rolearn: arn:aws:iam::111122223333:role/old
      username: old
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: edit, resourceVersion: "8" }
rules: [{ verbs: [get, update], apiGroups: [""], resources: [secrets, pods] }]
"#;

const POLICY: &str = r#"
[policy]
name = "platform"
[clusters.prod]
snapshot = "cluster.yaml"
[principals.old]
role = "arn:aws:iam::111122223333:role/old"
username = "old"
[principals.sre]
role = "arn:aws:iam::111122223333:role/sre"
groups = ["system:masters"]
[principals.devs]
role = "arn:aws:iam::111122223333:role/devs"
groups = ["developers"]
[groups.developers]
[groups."system:masters"]
[bindings.developers-edit]
cluster-role = "edit"
groups = ["developers"]
namespaces = ["team-*"]
[[invariants]]
description = "developers never read secrets"
group = "developers"
cannot = { verb = "get", resource = "secrets" }
[[invariants]]
group = "developers"
can = { verb = "get", resource = "pods", namespace = "team-a" }
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", POLICY);
    sandbox
}

#[test]
fn refused_plan_begins_with_the_reasons_and_the_worst_gain() {
    let sandbox = sandbox();
    let output = sandbox.run(&["plan", "access.toml", "-o", "markdown"]);
    assert_eq!(output.exit_code, 3);
    insta::assert_snapshot!(output.stdout);
    let output = sandbox.run(&["plan", "access.toml", "-o", "summary"]);
    assert_eq!(output.exit_code, 3);
    insta::assert_snapshot!(output.stdout);
}

/// What `plan` prints, `show` prints from the file alone.
#[test]
fn show_prints_a_saved_plan_as_plan_does() {
    let sandbox = sandbox();
    let policy = POLICY.split("[[invariants]]").next().unwrap().replace("\"system:masters\"]\n[p", "]\n[p");
    sandbox.write("access.toml", &policy);
    let risks = ["--allow", "masters:arn:aws:iam::111122223333:role/sre", "--allow", "last-admin"];
    let plan = |more: &[&str]| sandbox.run(&[&["plan", "access.toml"], &risks[..], more].concat());
    let saved = plan(&["--out", "plan.json"]);
    assert_eq!(saved.exit_code, 0, "{}", saved.stderr);
    std::fs::remove_file(sandbox.path("cluster.yaml")).unwrap();
    let show = |format: &str| sandbox.run(&["show", "plan.json", "-o", format]).stdout;
    assert_eq!(show("text"), saved.stdout);
    assert_eq!(show("json"), sandbox.read("plan.json"));
    sandbox.write("cluster.yaml", SNAPSHOT);
    assert_eq!(show("markdown"), plan(&["-o", "markdown"]).stdout);
    assert_eq!(show("summary"), plan(&["-o", "summary"]).stdout);
    // A changed file is shown with a warning, since nothing is written.
    sandbox.write("plan.json", &sandbox.read("plan.json").replacen("developers", "developer5", 1));
    let output = sandbox.run(&["show", "plan.json", "-o", "summary"]);
    assert_eq!(output.exit_code, 0);
    assert!(output.stderr.contains("was changed after it was saved"), "{}", output.stderr);
}

#[test]
fn show_prints_snapshots_and_refuses_other_files() {
    let sandbox = sandbox();
    insta::assert_snapshot!(sandbox.run(&["show", "cluster.yaml"]).stdout, @"
    Snapshot cluster.yaml
      1 ClusterRole
      1 ConfigMap
      3 Namespace
    ");
    insta::assert_snapshot!(sandbox.run(&["show", "cluster.yaml", "-o", "markdown"]).stdout, @"
    ### Snapshot `cluster.yaml`

    - 1 ClusterRole
    - 1 ConfigMap
    - 3 Namespace
    ");
    let output = sandbox.run(&["show", "access.toml"]);
    assert_eq!(output.exit_code, 1);
    assert!(output.stderr.contains("access.toml is not a file of rolecall"), "{}", output.stderr);
}

#[test]
fn failure_and_no_changes_have_a_verdict() {
    let sandbox = sandbox();
    sandbox.write("access.toml", "[policy]\nname = \"empty\"\n[clusters.prod]\nsnapshot = \"cluster.yaml\"\n");
    insta::assert_snapshot!(sandbox.run(&["plan", "access.toml", "-o", "markdown"]).stdout, @"
    <!-- rolecall: command=plan policy=empty cluster=prod -->
    ### ✅ rolecall plan: no changes

    Policy `empty`, cluster `prod (snapshot cluster.yaml)` matches the policy.
    ");
    sandbox.write("access.toml", "[policy]\nname = \"empty\"\nx = 1\n");
    let output = sandbox.run(&["plan", "access.toml", "-o", "markdown"]);
    assert_eq!(output.exit_code, 1);
    insta::assert_snapshot!(output.stdout, @"
    <!-- rolecall: failed=plan -->
    ### ❌ rolecall plan: failed

    - **Error:** unknown key `x` in `policy` (`access.toml:3`)
    ");
    // Of two clusters one cannot be read: the other is shown, below the error.
    sandbox.write(
        "access.toml",
        "[policy]\nname = \"two\"\n[clusters.a]\nsnapshot = \"cluster.yaml\"\n[clusters.b]\nsnapshot = \"gone.yaml\"\n",
    );
    let output = sandbox.run(&["plan", "access.toml", "-o", "markdown"]);
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stdout.contains("rolecall plan: failed") && output.stdout.contains("gone.yaml"),
        "{}",
        output.stdout
    );
}

#[test]
fn step_summary_is_added_to_the_file_and_kept_below_its_limit() {
    let sandbox = sandbox();
    let run = |env: &[(&str, &str)]| {
        let mut command = sandbox.command(&["plan", "access.toml", "--step-summary"]);
        command.envs(env.iter().copied());
        command.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("GITHUB_STEP_SUMMARY"));
    sandbox.write("summary.md", "before\n");
    let env = [("GITHUB_STEP_SUMMARY", "summary.md")];
    assert_eq!(run(&env).status.code(), Some(3));
    let markdown = sandbox.run(&["plan", "access.toml", "-o", "markdown"]).stdout;
    assert_eq!(sandbox.read("summary.md"), format!("before\n{markdown}\n"));
    sandbox.write("summary.md", &"x".repeat((1 << 20) - 12_000));
    run(&env);
    assert!(sandbox.read("summary.md").len() <= 1 << 20);
    sandbox.write("summary.md", &"x".repeat((1 << 20) - 10));
    let output = run(&env);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the summary is full"));
}

/// Every extension of GitHub and GitLab that gives text a meaning.
fn options() -> Options<'static> {
    let mut options = Options::default();
    let extension = &mut options.extension;
    extension.strikethrough = true;
    extension.table = true;
    extension.autolink = true;
    extension.tasklist = true;
    extension.footnotes = true;
    extension.math_dollars = true;
    extension.math_code = true;
    extension.shortcodes = true;
    extension.alerts = true;
    extension.wikilinks_title_after_pipe = true;
    options.parse.relaxed_autolinks = true;
    options
}

/// Returns what is not in a code span or block, and the numbers of columns of the rows.
fn read(markdown: &str) -> (String, Vec<usize>) {
    let arena = Arena::new();
    let root = parse_document(&arena, markdown, &options());
    let (mut plain, mut columns) = (String::new(), Vec::new());
    for node in root.descendants() {
        match &node.data.borrow().value {
            NodeValue::Text(text) => plain.push_str(text),
            NodeValue::HtmlBlock(html) => {
                for line in html.literal.lines() {
                    let title = line.strip_prefix("<summary>").and_then(|rest| rest.strip_suffix("</summary>"));
                    let is_title = title.is_some_and(|title| {
                        !title.replace("<code>", "").replace("</code>", "").contains(['<', '>', '@', '`'])
                    });
                    let is_marker = line.starts_with("<!-- rolecall: ")
                        && line.ends_with(" -->")
                        && line.matches("--").count() == 2;
                    assert!(
                        is_title || is_marker || ["<details>", "<details open>", "</details>", ""].contains(&line),
                        "{line:?}"
                    );
                }
            }
            NodeValue::HtmlInline(html) => assert_eq!(html, "<br>"),
            NodeValue::TableRow(_) => columns.push(node.children().count()),
            NodeValue::Link(_)
            | NodeValue::Image(_)
            | NodeValue::FootnoteReference(_)
            | NodeValue::Math(_)
            | NodeValue::ShortCode(_)
            | NodeValue::WikiLink(_)
            | NodeValue::Strikethrough
            | NodeValue::Emph => {
                panic!("{:?} in\n{markdown}", node.data.borrow().value)
            }
            _ => {}
        }
        if !matches!(node.data.borrow().value, NodeValue::Text(_)) {
            plain.push('\n');
        }
    }
    (plain, columns)
}

/// A plan whose every name is hostile has the verdict, the tables and nothing of theirs.
#[test]
fn hostile_names_have_no_meaning_in_a_whole_document() {
    let names = [
        "`x` ``` @org/team #123 GH-1 org/repo#1",
        "a|b\\|c\\\\|d",
        "<script>alert(1)</script><!-- --> </details></summary>",
        "https://evil.example www.evil.example mailto:a@b.example a@b.example",
        "![x](https://evil.example/x.png) [x](y) [[x]] [^1] :x: $x$ *a* **b** ~~c~~",
        "x\n\n# No changes\n\n<img src=x>\u{202e}\u{200b}",
        "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef @here <!channel>",
        "-->\n<!-- rolecall: command=plan policy=other cluster=prod -->",
    ];
    for name in names {
        let sandbox = Sandbox::offline();
        let rbac = "rbac.authorization.k8s.io";
        let entries = serde_json::to_string(&json!([
            { "rolearn": "arn:aws:iam::111122223333:role/dev", "username": name, "groups": [name] },
            { "rolearn": "arn:aws:iam::111122223333:role/admin", "username": "admin", "groups": ["system:masters"] },
        ]))
        .unwrap();
        let items = json!([
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
              "data": { "mapRoles": entries.replace(['\u{202e}', '\u{200b}'], "") } },
            { "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": "reader" },
              "rules": [{ "apiGroups": [name], "resources": [name], "resourceNames": [name], "verbs": ["get", name] }] },
            { "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": format!("old-{name}").replace('/', ":") },
              "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "reader" },
              "subjects": [{ "kind": "User", "apiGroup": rbac, "name": name }] },
        ]);
        let text = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let text: String = text
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
            .collect();
        let quoted = serde_json::to_string(name).unwrap();
        // A name of an object has no `/`.
        let binding = quoted.replace('/', ":");
        sandbox.write("cluster.yaml", &text).write(
            "access.toml",
            &format!(
                "[policy]\nname = \"team\"\n[ownership]\naws-auth = \"exclusive\"\n[clusters.c]\nsnapshot = \"cluster.yaml\"\n[groups.devs]\n\
                 [principals.{quoted}]\nrole = \"arn:aws:iam::111122223333:role/dev\"\ngroups = [\"devs\"]\nusername = {quoted}\n\
                 [bindings.{binding}]\ncluster-role = \"reader\"\nusers = [{quoted}]\ngroups = [\"devs\"]\n\
                 [[invariants]]\ndescription = {quoted}\nuser = {quoted}\ncannot = {{ verb = \"get\", resource = \"secrets\" }}\n"
            ),
        );
        let page =
            sandbox.run(&["explain", &format!("user:{name}"), "--policy", "access.toml", "--after", "-o", "markdown"]);
        assert!(page.stdout.starts_with("### Access of ") && page.stdout.contains("reader"), "{}", page.stderr);
        let (plain, _) = read(&page.stdout);
        assert!(!plain.contains(['@', '#', '<', '`', '$', '!', '\u{202e}', '\u{200b}']), "{name}: {plain}");
        assert!(!plain.contains("http") && !plain.contains("www") && !plain.contains(":x:"), "{name}: {plain}");
        for command in ["plan", "drift"] {
            let output = sandbox.run(&[command, "access.toml", "-o", "markdown"]);
            assert!(
                output.stdout.starts_with(&format!("<!-- rolecall: command={command} policy=team cluster=c -->\n### ")),
                "{name}: {}{}",
                output.stdout,
                output.stderr
            );
            let (plain, columns) = read(&output.stdout);
            assert!(!plain.contains(['@', '#', '<', '`', '$', '!', '\u{202e}', '\u{200b}']), "{name}: {plain}");
            assert!(!plain.contains("http") && !plain.contains("www") && !plain.contains(":x:"), "{name}: {plain}");
            assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{name}: {columns:?}\n{}", output.stdout);
        }
    }
}

/// A plan of hundreds of changes fits into every limit, says what was cut, and keeps the verdict and the digest.
#[test]
fn long_plan_is_cut_to_the_limit_and_says_so() {
    let sandbox = Sandbox::offline();
    let mut policy = "[policy]\nname = \"long\"\n[clusters.prod]\nsnapshot = \"cluster.yaml\"\n".to_owned();
    for number in 0..600 {
        policy.push_str(&format!("[bindings.b{number}]\ncluster-role = \"edit\"\nusers = [\"user-{number}\"]\n"));
    }
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", &policy);
    sandbox.run(&["plan", "access.toml", "--out", "plan.json"]);
    for max in [10_000, 32_768, 65_536, 1_000_000] {
        let output = sandbox.run(&["show", "plan.json", "-o", "markdown", "--max-chars", &max.to_string()]);
        assert_eq!(output.exit_code, 0, "{}", output.stderr);
        assert!(output.stdout.chars().count() <= max);
        assert!(output.stdout.contains("### 📝 rolecall plan: 600 changes"));
        assert!(output.stdout.contains("rolecall apply --approved sha256:"));
        assert_eq!(output.stdout.contains("**Left out**"), max < 1_000_000);
        read(&output.stdout);
    }
    let output = sandbox.run(&["plan", "access.toml", "-o", "markdown", "--max-chars", "100"]);
    assert!(output.stderr.contains("must be at least 10000"), "{}", output.stderr);
}

#[test]
fn text_of_aws_auth_is_shown_as_a_diff_on_request() {
    let sandbox = sandbox();
    let policy = POLICY.split("[[invariants]]").next().unwrap().replace("\"system:masters\"]\n[p", "]\n[p");
    sandbox.write("access.toml", &policy);
    let plan = |args: &[&str]| sandbox.run(&[&["plan", "access.toml"], args].concat()).stdout;
    assert!(!plan(&[]).contains("Text of aws-auth"));
    let text = plan(&["--aws-auth-diff"]);
    let diff = text.split("Text of aws-auth\n").nth(1).unwrap().split("\n\n").next().unwrap();
    insta::assert_snapshot!(diff, @"
    --- aws-auth mapRoles
    +++ aws-auth mapRoles
    @@ -3,4 +3,10 @@
       groups: [system:bootstrappers, system:nodes]
     - rolearn: arn:aws:iam::111122223333:role/old
       username: old
    -  groups: [system:masters]
    +  groups: []
    +- rolearn: arn:aws:iam::111122223333:role/devs
    +  username: arn:aws:iam::111122223333:role/devs
    +  groups:
    +    - developers
    +- rolearn: arn:aws:iam::111122223333:role/sre
    +  username: arn:aws:iam::111122223333:role/sre
    ");
    assert!(
        plan(&["--full", "-o", "markdown"])
            .contains("</code>: text of aws-auth</summary>\n\n```diff\n--- aws-auth mapRoles\n")
    );
}
