//! A saved plan contains everything that `apply` needs, and its digest depends only on the format.

mod schema;

use serde_json::{Value, json};

use super::{BackupContent, BackupDocument, ConnectionJson, PlanDocument, PlanJson, digest, to_text, to_value};
use crate::diagnostic::{SourceLocation, SourceMap};
use crate::guard::{self, ClusterFacts};
use crate::names::ObjectKey;
use crate::plan::{
    AccessChange, AccessComparison, AccessDiff, AccessProbe, AccessWindow, AffectedSubject, EscalationSummary,
    GuardLimit, GuardLimits, InvariantSubject, NamespaceSelection, Plan, ProbeRequest, ResolvedInvariant,
    SavedNamespaceSelector, Step, TransientAccess, plan,
};
use crate::policy::DEFAULT_TOKEN_CACHE;
use crate::policy::{Assertion, PolicyIndex, RequestSpec, load_policy};
use crate::state::State;
use crate::state::validate::parse_object_key;
use crate::state::write::{Precondition, WriteRequest};

const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: team-a, labels: { team: a } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, uid: 6e2d, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/viewer
      username: viewer
      groups: [admins]
    - rolearn: arn:aws:iam::111122223333:role/gone
      username: gone
      groups: [readers]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader, resourceVersion: "8" }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: readers
  resourceVersion: "9"
  annotations: { rolecall/policy: prod, rolecall/object: "9f22e8bf035a24e5", rolecall/digest: "0" }
  managedFields: [{ manager: kubectl-edit, time: "2026-01-01T00:00:00Z" }]
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: readers }]
"#;

const POLICY: &str = r#"
[policy]
name = "prod"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
username = "viewer"
groups = ["readers"]
[principals.break-glass]
role = "arn:aws:iam::111122223333:role/break-glass"
groups = ["admins"]
[groups.admins]
[groups.readers]
[cluster-roles.reader]
rules = [{ verbs = ["get", "list"], resources = ["pods", "nodes/proxy"] }, { verbs = ["get"], non-resource-urls = ["/metrics", "/api/*"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["readers"]
service-accounts = ["ci/deployer"]
[bindings.local]
cluster-role = "reader"
namespaces = ["team-*", { match-labels = { team = "a" } }]
principals = ["viewer"]
[ownership]
aws-auth = "exclusive"
[guard]
protected = ["arn:aws:iam::111122223333:role/break-glass"]
max-removals = "50%"
[[invariants]]
group = "readers"
cannot = { verb = "delete", resource = "pods" }
[[invariants]]
principal = "viewer"
can = { verb = "get", resource = "pods", namespace = "team-a" }
[[invariants]]
service-account = "ci/deployer"
cannot = "escalate"
[[invariants]]
user = "bob"
cannot = { verb = "get", resource = "secrets" }
[[invariants]]
everyone-but = ["break-glass", "system:masters"]
cannot = { verb = "get", resource = "secrets" }
"#;

fn live() -> State {
    let mut state = State::default();
    for document in crate::yaml::parse_documents(CLUSTER).unwrap() {
        let value = document.to_json().unwrap();
        state.insert_object(&parse_object_key(&value).unwrap().unwrap(), &value).unwrap();
    }
    state
}

/// Returns the plan of the policy, with everything that a saved plan contains, and its document.
fn make_plan(policy: &str) -> (Plan, PlanJson) {
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap_or_else(|(_, diagnostics)| {
            panic!("{diagnostics:#?}");
        });
    let live = live();
    let mut plan = plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    plan.warnings.clear();
    let after = plan.state_after(&live).unwrap();
    let names = PolicyIndex::from_principals(&policy, None);
    let comparison = AccessComparison::new(&live, &after);
    plan.record_access_changes(&comparison, &names);
    let guard_report = guard::evaluate_guards(&plan, &comparison, &ClusterFacts::default(), &[]);
    let violations = guard::check_invariants(&plan.invariants, &names, &comparison.after_access);
    // A saved plan has no spans.
    for invariant in &mut plan.invariants {
        invariant.span = None;
    }
    let connection = ConnectionJson::Context("prod".to_owned());
    let digest = digest(&plan).unwrap();
    let document = PlanJson::new(
        &plan,
        &digest,
        ("prod (context prod)", Some("prod")),
        connection,
        &SourceMap::default(),
        &violations,
        &guard_report,
    );
    (plan, document)
}

#[test]
fn saved_plan_is_read_back_completely() {
    let (plan, document) = make_plan(POLICY);
    assert!(
        !plan.changes.is_empty() && plan.invariants.len() == 5 && plan.namespace_selections.len() == 2,
        "{plan:#?}"
    );
    assert!(plan.access_changes.as_ref().is_some_and(|access| !access.is_empty()) && !plan.limits.protected.is_empty());
    let text = to_text(&PlanDocument::new(vec![document]).unwrap()).unwrap();
    let read: PlanDocument = serde_json::from_str(&text).unwrap();
    assert_eq!(to_text(&read).unwrap(), text);
    let saved = read.plans.into_iter().next().unwrap();
    let saved_digest = saved.digest.clone();
    let back = Plan::try_from(saved).unwrap();
    assert_eq!(format!("{back:#?}"), format!("{plan:#?}"));
    assert_eq!(digest(&back).unwrap(), saved_digest);
}

#[test]
fn digest_covers_writes_and_requirements_but_not_locations() {
    let (plan, _) = make_plan(POLICY);
    let original = digest(&plan).unwrap();
    let moved = format!("\n# A comment.\n{POLICY}");
    assert_eq!(digest(&make_plan(&moved).0).unwrap(), original);
    for (from, to) in [
        ("verbs = [\"get\", \"list\"]", "verbs = [\"get\"]"),
        ("max-removals = \"50%\"", "max-removals = \"60%\""),
        ("user = \"bob\"", "user = \"eve\""),
        ("match-labels = { team = \"a\" }", "match-labels = { team = \"b\" }"),
    ] {
        assert!(POLICY.contains(from), "{from}");
        assert_ne!(digest(&make_plan(&POLICY.replace(from, to)).0).unwrap(), original, "{from}");
    }
}

/// A plan is approved by its digest in one job and applied in another, so the digest must not change within a format
/// version. The plan is built here, because the texts of a computed plan, which the digest covers, can change.
#[test]
fn digest_of_a_plan_is_stable() {
    let location = SourceLocation { file: "policy.toml".to_owned(), line: 1, column: 1 };
    let action = RequestSpec { verb: "get".to_owned(), resource: "secrets".to_owned(), name: None, namespace: None };
    let request = ProbeRequest::NonResource { verb: "get".to_owned(), path: "/metrics".to_owned() };
    let plan = Plan {
        policy: "prod".to_owned(),
        cluster_uid: Some("5d1c0b52".to_owned()),
        changes: Vec::new(),
        steps: vec![Step {
            object: ObjectKey::cluster_role("reader"),
            write: WriteRequest::Patch(json!({ "rules": [] })),
            precondition: Precondition::Unchanged { uid: None, resource_version: "8".to_owned() },
            stage: 0,
            wait_for: vec![AccessProbe { username: None, groups: vec!["readers".to_owned()], request }],
            description: "a reason".to_owned(),
        }],
        waits: Vec::new(),
        token_cache: DEFAULT_TOKEN_CACHE,
        windows: vec![AccessWindow {
            step: 0,
            subject: "group:readers".to_owned(),
            access: TransientAccess::Lost,
            request: "get pods".to_owned(),
            reason: "a reason".to_owned(),
        }],
        unproven: Vec::new(),
        access_changes: Some(vec![AccessChange {
            subjects: vec![AffectedSubject { subject: "group:readers".to_owned(), name: None }],
            diff: AccessDiff {
                escalations: vec![EscalationSummary {
                    name: "nodes-proxy".to_owned(),
                    path: "a path".to_owned(),
                    granted_by: Vec::new(),
                }],
                ..AccessDiff::default()
            },
            gain_summary: Vec::new(),
            loss_summary: Vec::new(),
        }]),
        limits: GuardLimits {
            protected: Vec::new(),
            max_removals: Some(GuardLimit { value: "1".to_owned(), location: location.clone() }),
        },
        invariants: vec![ResolvedInvariant {
            location,
            span: None,
            description: Some("a description".to_owned()),
            subject: InvariantSubject::Group("readers".to_owned()),
            claim: Assertion::Cannot(action),
        }],
        namespace_selections: vec![NamespaceSelection {
            selector: SavedNamespaceSelector::Glob("team-*".to_owned()),
            namespaces: std::iter::once("team-a".to_owned()).collect(),
        }],
        aws_auth_diff: None,
        warnings: Vec::new(),
    };
    assert_eq!(digest(&plan).unwrap(), "sha256:95ab2dee2ae984b7d3c3f7c5eaaf07edc629e1216c1ad76405ddb9cff702624b");
}

#[track_caller]
fn rejection(change: impl FnOnce(&mut Value)) -> String {
    let mut value = to_value(&make_plan(POLICY).1).unwrap();
    change(&mut value);
    match serde_json::from_value::<PlanJson>(value) {
        Ok(plan) => Plan::try_from(plan).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn invalid_saved_plan_is_rejected() {
    let object = |kind: &str, namespace: Value| json!({ "kind": kind, "namespace": namespace, "name": "x" });
    assert_eq!(
        rejection(|plan| plan["steps"][0]["object"] = object("Role", Value::Null)),
        "the Role `x` needs a namespace"
    );
    assert_eq!(
        rejection(|plan| plan["steps"][0]["object"] = object("ClusterRole", json!("n"))),
        "the ClusterRole `x` is cluster-scoped and cannot have a namespace"
    );
    let message = rejection(|plan| plan["steps"][0]["object"] = object("Pod", json!("n")));
    assert!(message.starts_with("unknown variant `Pod`"), "{message}");
    let message = rejection(|plan| plan["invariants"][1]["subject"]["principal"]["subject"] = json!("bob"));
    assert!(message.starts_with("`bob` is not a valid subject: "), "{message}");
    let message = rejection(|plan| drop(plan.as_object_mut().unwrap().remove("limits")));
    assert_eq!(message, "missing field `limits`");
}

#[test]
fn documents_have_the_format_version_and_others_are_rejected() {
    let mut document = to_value(&PlanDocument::new(Vec::new()).unwrap()).unwrap();
    assert!(document["content-digest"].is_string());
    document.as_object_mut().unwrap().shift_remove("content-digest");
    assert_eq!(document, json!({ "format-version": 2, "plans": [] }));
    let error = serde_json::from_value::<PlanDocument>(json!({ "format-version": 1, "plans": [] })).unwrap_err();
    assert_eq!(error.to_string(), "unsupported format version 1, expected 2");
}

#[test]
fn backup_is_read_back_completely() {
    let plan = make_plan(POLICY).0;
    let connection = ConnectionJson::Snapshot(vec!["cluster.yaml".into()]);
    let backup = BackupDocument::new(&plan, ("prod (snapshot)", None), connection.clone(), &[]).unwrap();
    let value = to_value(&backup).unwrap();
    assert_eq!((value["apiVersion"].as_str(), value["kind"].as_str()), (Some("rolecall/v4"), Some("Backup")));
    let read: BackupDocument = serde_json::from_value(value).unwrap();
    let BackupContent { limits, invariants, steps, token_cache } = read.content().unwrap();
    let invariants: Vec<ResolvedInvariant> = invariants
        .into_iter()
        .zip(&plan.invariants)
        .map(|(read, made)| ResolvedInvariant { span: made.span, ..read })
        .collect();
    assert_eq!(token_cache, plan.token_cache);
    assert_eq!((limits, invariants, steps), (plan.limits, plan.invariants, plan.steps));
    assert_eq!((read.connection, read.cluster_uid, read.policy), (connection, plan.cluster_uid, plan.policy));
}
