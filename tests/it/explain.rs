//! `rolecall explain`: one page about a subject, as text, JSON and Markdown.

use serde_json::{Value, json};

use crate::common::sandbox::Sandbox;
use crate::common::schema::assert_matches_schema;

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
    - rolearn: arn:aws:iam::111122223333:role/devs
      username: old-devs
      groups: [old]
    - rolearn: arn:aws:iam::111122223333:role/devs
      username: devs
      groups: [developers]
    - rolearn: arn:aws:iam::111122223333:role/team/devs
      username: path
      groups: [system:masters]
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: edit, resourceVersion: "8" }
rules: [{ verbs: [get, update], apiGroups: [""], resources: [secrets, pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: legacy, resourceVersion: "9" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: gone }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: developers }]
"#;
const POLICY: &str = r#"[policy]
name = "platform"
[clusters.prod]
snapshot = "cluster.yaml"
[principals.devs]
role = "arn:aws:iam::111122223333:role/devs"
username = "devs"
groups = ["developers"]
expires = 2099-12-31
[groups.developers]
[cluster-roles.deployer]
rules = [{ verbs = ["create"], resources = ["pods"] }]
[bindings.deployers]
cluster-role = "deployer"
groups = ["developers"]
[bindings.developers-edit]
cluster-role = "edit"
groups = ["developers"]
namespaces = ["team-*"]
expires = 2098-01-01
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", POLICY);
    sandbox
}

#[test]
fn page_shows_login_roles_escalation_expiry_and_policy_lines() {
    let sandbox = sandbox();
    let explain = |subject: &str, more: &[&str]| {
        let args = [&["explain", subject, "--policy", "access.toml"], more].concat();
        sandbox.run(&args)
    };
    let now = explain("devs", &[]);
    assert_eq!(now.exit_code, 0, "{}", now.stderr);
    insta::assert_snapshot!(now.stdout, @"
    devs (arn:aws:iam::111122223333:role/devs) in prod (snapshot cluster.yaml)

    Login
      aws-auth entry   arn:aws:iam::111122223333:role/devs, mapRoles line 4  unmanaged
      username         devs
      groups           developers, system:authenticated
      no effect        arn:aws:iam::111122223333:role/devs, mapRoles line 1: another entry for the same principal replaces it, mapRoles line 4  unmanaged
      no effect        arn:aws:iam::111122223333:role/team/devs, mapRoles line 7: it never matches: the authenticator receives the ARN arn:aws:iam::111122223333:role/devs  unmanaged

    Roles
      gone             in the whole cluster (the role does not exist), by ClusterRoleBinding legacy for group:developers  unmanaged

    Privilege escalation paths
      none

    Access ends
      2099-12-31       principal devs  access.toml:9

    Lines of the policy to change
      access.toml:5    principal devs
      access.toml:10   group developers
    ");
    insta::assert_snapshot!(explain("devs", &["--after"]).stdout, @"
    devs (arn:aws:iam::111122223333:role/devs) in prod (snapshot cluster.yaml)

    Login
      aws-auth entry   arn:aws:iam::111122223333:role/devs, mapRoles line 1  access.toml:5
      username         devs
      groups           developers, system:authenticated
      no effect        arn:aws:iam::111122223333:role/team/devs, mapRoles line 4: it never matches: the authenticator receives the ARN arn:aws:iam::111122223333:role/devs  unmanaged

    Roles
      deployer         in the whole cluster, by ClusterRoleBinding deployers for group:developers  access.toml:13
      gone             in the whole cluster (the role does not exist), by ClusterRoleBinding legacy for group:developers  unmanaged
      edit             in team-a, team-b, by RoleBinding team-a/developers-edit for group:developers  access.toml:16

    Privilege escalation paths
      high             secrets: can read secrets, including service account tokens stored in them: get secrets in team-a, team-b
      high             pods: can create pods that run as any service account in the namespace and mount any secret in the namespace: create pods in all namespaces; update pods in team-a, team-b

    Access ends
      2098-01-01       binding developers-edit  access.toml:20
      2099-12-31       principal devs  access.toml:9

    Lines of the policy to change
      access.toml:5    principal devs
      access.toml:10   group developers
      access.toml:13   binding deployers
      access.toml:11   role deployer
      access.toml:16   binding developers-edit
    ");
    insta::assert_snapshot!(explain("devs", &["--after", "-o", "markdown"]).stdout, @"
    ### Access of `devs (arn:aws:iam::111122223333:role/devs)` in `prod (snapshot cluster.yaml)`

    **Login**

    - `aws-auth entry`: `arn:aws:iam::111122223333:role/devs`, mapRoles line 1 (`access.toml:5`)
    - `username`: devs
    - `groups`: developers, `system:authenticated`
    - `no effect`: `arn:aws:iam::111122223333:role/team/devs`, mapRoles line 4: it never matches: the authenticator receives the ARN `arn:aws:iam::111122223333:role/devs` (`unmanaged`)

    **Roles**

    - `deployer`: in the whole cluster, by ClusterRoleBinding deployers for `group:developers` (`access.toml:13`)
    - `gone`: in the whole cluster (the role does not exist), by ClusterRoleBinding legacy for `group:developers` (`unmanaged`)
    - `edit`: in `team-a`, `team-b`, by RoleBinding `team-a/developers-edit` for `group:developers` (`access.toml:16`)

    **Privilege escalation paths**

    - `high`: secrets: can read secrets, including service account tokens stored in them: get secrets in `team-a`, `team-b`
    - `high`: pods: can create pods that run as any service account in the namespace and mount any secret in the namespace: create pods in all namespaces; update pods in `team-a`, `team-b`

    **Access ends**

    - `2098-01-01`: binding `developers-edit` (`access.toml:20`)
    - `2099-12-31`: principal devs (`access.toml:9`)

    **Lines of the policy to change**

    - `access.toml:5`: principal devs
    - `access.toml:10`: group developers
    - `access.toml:13`: binding deployers
    - `access.toml:11`: role deployer
    - `access.toml:16`: binding `developers-edit`
    ");
    insta::assert_snapshot!(explain("group:developers", &["--after"]).stdout, @"
    group:developers in prod (snapshot cluster.yaml)

    Login
      groups           developers, system:authenticated

    Roles
      deployer         in the whole cluster, by ClusterRoleBinding deployers for group:developers  access.toml:13
      gone             in the whole cluster (the role does not exist), by ClusterRoleBinding legacy for group:developers  unmanaged
      edit             in team-a, team-b, by RoleBinding team-a/developers-edit for group:developers  access.toml:16

    Privilege escalation paths
      high             secrets: can read secrets, including service account tokens stored in them: get secrets in team-a, team-b
      high             pods: can create pods that run as any service account in the namespace and mount any secret in the namespace: create pods in all namespaces; update pods in team-a, team-b

    Access ends
      2098-01-01       binding developers-edit  access.toml:20

    Lines of the policy to change
      access.toml:10   group developers
      access.toml:13   binding deployers
      access.toml:11   role deployer
      access.toml:16   binding developers-edit
    ");
    insta::assert_snapshot!(explain("arn:aws:iam::111122223333:role/admin", &[]).stdout, @"
    arn:aws:iam::111122223333:role/admin in prod (snapshot cluster.yaml)

    Login
      aws-auth entry   arn:aws:iam::111122223333:role/admin, mapRoles line 10  unmanaged
      username         admin
      groups           system:masters, system:authenticated

    Roles
      everything       through group system:masters, which bypasses RBAC

    Privilege escalation paths
      critical         system:masters: full cluster access that RBAC cannot restrict or revoke
    ");
    let unknown = explain("arn:aws:iam::111122223333:role/nowhere", &[]);
    assert_eq!(unknown.exit_code, 0);
    insta::assert_snapshot!(unknown.stdout, @"
    arn:aws:iam::111122223333:role/nowhere in prod (snapshot cluster.yaml)

    Login
      denied           no aws-auth entry matches

    Roles
      none

    Privilege escalation paths
      none
    ");
    let misspelled = explain("dev", &[]);
    assert_eq!(misspelled.exit_code, 1);
    assert!(misspelled.stderr.contains("did you mean the principal `devs`?"), "{}", misspelled.stderr);
}

#[test]
fn json_document_matches_its_schema() {
    let sandbox = sandbox();
    let output = sandbox.run(&["explain", "devs", "--policy", "access.toml", "--after", "-o", "json"]);
    let document: Value = serde_json::from_str(&output.stdout).expect(&output.stderr);
    assert_matches_schema(&sandbox.ok(&["schema", "explanation"]), &document);
    let page = &document["clusters"][0];
    assert_eq!(page["expirations"][0]["expires"], json!("2098-01-01"));
    assert_eq!(page["roles"][2]["namespaces"], json!(["team-a", "team-b"]), "{page:#}");
    assert_eq!(page["inactive-entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        page["policy-lines"][0],
        json!({ "what": "principal devs", "location": { "file": "access.toml", "line": 5, "column": 13 } })
    );
}
