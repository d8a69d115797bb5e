//! Plans of access entries: a small policy and the entries of a cluster, and the expected changes, writes and errors.

mod properties;
mod stores;

use serde_json::{Value, json};

use super::super::PlanBuilder;
use super::super::entries::plan_entries;
use super::super::schedule::{ChangeKind, PendingWrite};
use super::*;
use crate::policy::expand::expand;
use crate::policy::load_policy;
use crate::state::access_entry::{AccessEntriesStatus, access_entry_key};
use crate::state::access_policies::access_policy_arn;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};

const VIEWER: &str = r#"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/viewer"
username = "viewer"
groups = ["readers"]
access-policies = [{ policy = "AmazonEKSViewPolicy", namespaces = ["team-*"] }]
eks-tags = { team = "a" }
[groups.readers]
"#;
const VIEWER_ARN: &str = "arn:aws:iam::111122223333:role/team/viewer";
const EXCLUSIVE: &str = "[ownership]\naccess-entries = \"exclusive\"\n";

fn state(mode: &str, entries: &[Value], map_roles: &str) -> State {
    let mut state =
        State { auth_mode: ObservedAuthMode::Known(ClusterAuthMode::parse(mode).unwrap()), ..State::default() };
    state.access_entries.status = AccessEntriesStatus::Known;
    for entry in entries {
        let key = access_entry_key(entry["metadata"]["name"].as_str().unwrap());
        state.insert_object(&key, entry).unwrap();
    }
    if !map_roles.is_empty() {
        let value = json!({ "metadata": { "name": "aws-auth", "namespace": "kube-system", "uid": "u", "resourceVersion": "7" },
            "data": { "mapRoles": map_roles } });
        state.insert_object(&ObjectKey::aws_auth(), &value).unwrap();
    }
    state
}

fn entry(arn: &str, fields: &Value) -> Value {
    let mut entry = json!({ "metadata": { "name": arn, "uid": format!("{arn}/uid") }, "username": "x" });
    crate::state::write::apply_merge_patch(&mut entry, fields);
    entry
}

fn scope(namespaces: &[&str]) -> Value {
    match namespaces {
        [] => json!({ "type": "cluster" }),
        names => json!({ "type": "namespace", "namespaces": names }),
    }
}

fn policy_arn(name: &str) -> String {
    access_policy_arn("aws", name)
}

struct Planned {
    changes: Vec<String>,
    writes: Vec<PendingWrite>,
    /// The warnings and errors of the plan.
    diagnostics: Vec<Diagnostic>,
}

impl Planned {
    fn messages(&self) -> Vec<&str> {
        self.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect()
    }

    fn changes(&self) -> String {
        self.changes.join("\n")
    }

    /// Returns the access entry that the plan writes.
    #[track_caller]
    fn after(&self, arn: &str) -> &Value {
        let write = self.writes.iter().find(|write| write.object == access_entry_key(arn));
        match write.map(|write| &write.kind) {
            Some(ChangeKind::AccessEntry { after: Some(after) }) => after,
            kind => panic!("{kind:?}"),
        }
    }
}

fn field_text(field: &FieldDiff) -> String {
    let values = field.values.iter().map(|value| match value.op {
        super::super::DiffOp::Keep => value.value.clone(),
        super::super::DiffOp::Add => format!("+{}", value.value),
        super::super::DiffOp::Remove => format!("-{}", value.value),
    });
    format!("{}: {}", field.path.join(" "), values.collect::<Vec<_>>().join(", "))
}

/// Expands the policy `prod` for the cluster, and plans its aws-auth and access entries. The diagnostics are those of the
/// expansion if it fails.
fn plan_of(policy: &str, live: &State) -> Planned {
    let has_name = policy.contains("[policy]");
    let text = if has_name { policy.to_owned() } else { format!("[policy]\nname = \"prod\"\n{policy}") };
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, errors)| panic!("{errors:#?}"));
    let cluster = policy.clusters.keys().next().map(String::as_str);
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut builder = PlanBuilder::new(&policy);
    match expand(&policy, cluster, live, now) {
        Err(errors) => builder.diagnostics = errors,
        Ok((desired, warnings)) => {
            builder.diagnostics = warnings;
            if live.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::Api) {
                plan_entries(&mut builder, &desired, live.aws_auth.as_ref(), &policy.ownership);
            }
            plan_access_entries(&mut builder, &desired, live, &policy.ownership);
        }
    }
    let changes = builder.changes.iter().map(|change| {
        let note = change.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let fields: String = change.fields.iter().map(|field| format!("\n  {}", field_text(field))).collect();
        let origin = if change.origin == ChangeOrigin::ChangedInCluster { " [changed in cluster]" } else { "" };
        format!("{:?} {} {}{note}{origin}{fields}", change.action, change.target.kind_label(), change.target.name())
    });
    Planned { changes: changes.collect(), diagnostics: builder.diagnostics, writes: builder.writes }
}

/// Returns the cluster after the writes of access entries. Aws-auth stays as it is.
fn applied(planned: &Planned, live: &State) -> State {
    let mut after = live.clone();
    for write in &planned.writes {
        match &write.kind {
            ChangeKind::AccessEntry { after: Some(value) } => after.insert_object(&write.object, value).unwrap(),
            ChangeKind::AccessEntry { after: None } => drop(after.access_entries.take(&write.object)),
            _ => {}
        }
    }
    after
}

/// Plans the policy, and returns the cluster after it. A second plan is empty.
#[track_caller]
fn apply(policy: &str, live: &State) -> State {
    let planned = plan_of(policy, live);
    assert!(!planned.diagnostics.iter().any(Diagnostic::is_error), "{:#?}", planned.diagnostics);
    let after = applied(&planned, live);
    let again = plan_of(policy, &after);
    assert_eq!((again.changes(), again.writes.len()), (String::new(), 0));
    after
}

#[test]
fn new_principal_becomes_an_access_entry_with_marks() {
    for mode in ["API", "API_AND_CONFIG_MAP"] {
        let live = state(mode, &[], "");
        let planned = plan_of(VIEWER, &live);
        insta::allow_duplicates! { insta::assert_snapshot!(planned.changes(), @r"
        Create access entry arn:aws:iam::111122223333:role/team/viewer
          username: +viewer
          groups: +readers
          access-policies AmazonEKSViewPolicy: +team-*
          tags team: +a
        "); }
        let after = planned.after(VIEWER_ARN);
        assert_eq!(after["accessPolicies"], json!({ policy_arn("AmazonEKSViewPolicy"): scope(&["team-*"]) }));
        assert_eq!(after["tags"]["rolecall/policy"], "prod");
        assert_eq!(after["tags"]["rolecall/access-policies"], "AmazonEKSViewPolicy");
        assert_eq!(after["tags"]["rolecall/tags"], "team");
        apply(VIEWER, &live);
    }
}

#[test]
fn entry_without_owner_is_adopted_and_foreign_access_policies_and_tags_stay() {
    let foreign = json!({ "username": "old", "kubernetesGroups": ["b", "readers"], "tags": { "cost": "1" },
        "accessPolicies": { policy_arn("AmazonEKSAdminPolicy"): scope(&["ops"]) } });
    let live = state("API", &[entry(VIEWER_ARN, &foreign)], "");
    let planned = plan_of(VIEWER, &live);
    insta::assert_snapshot!(planned.changes(), @r"
    Adopt access entry arn:aws:iam::111122223333:role/team/viewer (keeps access policies that this policy does not list: AmazonEKSAdminPolicy)
      username: -old, +viewer
      groups: readers, -b
      access-policies AmazonEKSViewPolicy: +team-*
      tags team: +a
    ");
    let after = planned.after(VIEWER_ARN);
    assert_eq!(after["accessPolicies"][policy_arn("AmazonEKSAdminPolicy")], scope(&["ops"]));
    assert_eq!(after["tags"]["cost"], "1");
    assert_eq!(after["metadata"]["uid"], format!("{VIEWER_ARN}/uid"));
    apply(VIEWER, &live);
}

#[test]
fn access_policy_and_tag_that_the_policy_no_longer_lists_are_removed() {
    let live = apply(VIEWER, &state("API", &[], ""));
    let mut value = live.access_entries.get(&access_entry_key(VIEWER_ARN)).unwrap().to_json();
    value["accessPolicies"][policy_arn("AmazonEKSEditPolicy")] = scope(&[]);
    value["tags"]["cost"] = json!("1");
    let live = state("API", &[value], "");
    let policy = VIEWER
        .replace("access-policies = [{ policy = \"AmazonEKSViewPolicy\", namespaces = [\"team-*\"] }]", "")
        .replace("eks-tags = { team = \"a\" }", "");
    let planned = plan_of(&policy, &live);
    insta::assert_snapshot!(planned.changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer (keeps access policies that this policy does not list: AmazonEKSEditPolicy)
      access-policies AmazonEKSViewPolicy: -team-*
      tags team: -a
    ");
    let after = planned.after(VIEWER_ARN);
    assert_eq!(after["accessPolicies"], json!({ policy_arn("AmazonEKSEditPolicy"): scope(&[]) }));
    assert_eq!((&after["tags"]["cost"], &after["tags"]["team"]), (&json!("1"), &Value::Null));
    assert_eq!(after["tags"]["rolecall/access-policies"], Value::Null);
    apply(&policy, &live);
}

#[test]
fn change_of_another_client_is_told_from_a_change_of_the_policy() {
    let live = apply(VIEWER, &state("API", &[], ""));
    let wider = VIEWER.replace("[\"team-*\"]", "[\"team-*\", \"web\"]");
    insta::assert_snapshot!(plan_of(&wider, &live).changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer
      access-policies AmazonEKSViewPolicy: team-*, +web
    ");
    let mut value = live.access_entries.get(&access_entry_key(VIEWER_ARN)).unwrap().to_json();
    value["accessPolicies"][policy_arn("AmazonEKSViewPolicy")] = scope(&[]);
    value["kubernetesGroups"] = json!([]);
    let live = state("API", &[value], "");
    insta::assert_snapshot!(plan_of(VIEWER, &live).changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer [changed in cluster]
      groups: +readers
      access-policies AmazonEKSViewPolicy: -the whole cluster, +team-*
    ");
}

#[test]
fn association_that_the_policy_lists_later_becomes_its_own() {
    let plain =
        VIEWER.replace("access-policies = [{ policy = \"AmazonEKSViewPolicy\", namespaces = [\"team-*\"] }]", "");
    let live = apply(&plain, &state("API", &[], ""));
    let mut value = live.access_entries.get(&access_entry_key(VIEWER_ARN)).unwrap().to_json();
    value["accessPolicies"][policy_arn("AmazonEKSViewPolicy")] = scope(&["team-*"]);
    let live = state("API", &[value], "");
    insta::assert_snapshot!(plan_of(VIEWER, &live).changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer
      tags rolecall/access-policies: +AmazonEKSViewPolicy
    ");
    let live = apply(VIEWER, &live);
    insta::assert_snapshot!(plan_of(&plain, &live).changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer
      access-policies AmazonEKSViewPolicy: -team-*
    ");
}

#[test]
fn owned_entry_that_the_policy_no_longer_lists_is_deleted() {
    let live = apply(VIEWER, &state("API", &[], ""));
    insta::assert_snapshot!(plan_of("", &live).changes(), @r"
    Delete access entry arn:aws:iam::111122223333:role/team/viewer
      username: -viewer
      groups: -readers
      access-policies AmazonEKSViewPolicy: -team-*
    ");
    let after = apply("", &live);
    assert_eq!(after.access_entries.iter().count(), 0);
    // Another policy leaves it alone.
    assert!(plan_of("[policy]\nname = \"other\"\n", &live).changes.is_empty());
    let planned = plan_of(&format!("[policy]\nname = \"other\"\n{VIEWER}"), &live);
    assert_eq!(planned.messages(), [format!("the access entry of {VIEWER_ARN} is owned by policy `prod`")]);
}

#[test]
fn owned_entry_with_foreign_access_policies_is_kept_without_what_the_policy_gave() {
    let live = apply(VIEWER, &state("API", &[], ""));
    let mut value = live.access_entries.get(&access_entry_key(VIEWER_ARN)).unwrap().to_json();
    value["accessPolicies"][policy_arn("AmazonEKSEditPolicy")] = scope(&[]);
    value["tags"]["cost"] = json!("1");
    let live = state("API", &[value], "");
    let planned = plan_of("", &live);
    insta::assert_snapshot!(planned.changes(), @r"
    Update access entry arn:aws:iam::111122223333:role/team/viewer (no longer in the policy; kept for access policies of other clients: AmazonEKSEditPolicy)
      groups: -readers
      access-policies AmazonEKSViewPolicy: -team-*
      tags team: -a
    ");
    let after = planned.after(VIEWER_ARN);
    assert_eq!(after["accessPolicies"], json!({ policy_arn("AmazonEKSEditPolicy"): scope(&[]) }));
    assert_eq!(after["tags"], json!({ "cost": "1" }));
    apply("", &live);
}

#[test]
fn expired_principal_loses_its_owned_entry() {
    let live = apply(VIEWER, &state("API", &[], ""));
    let expired = VIEWER.replace("groups = [\"readers\"]", "groups = [\"readers\"]\nexpires = 2026-10-01");
    insta::assert_snapshot!(plan_of(&expired, &live).changes(), @r"
    Delete access entry arn:aws:iam::111122223333:role/team/viewer (expired on 2026-10-01)
      username: -viewer
      groups: -readers
      access-policies AmazonEKSViewPolicy: -team-*
    ");
    let unowned = state("API", &[entry(VIEWER_ARN, &json!({}))], "");
    let planned = plan_of(&expired, &unowned);
    assert_eq!(
        planned.messages(),
        [format!("the access entry of {VIEWER_ARN} has expired but is kept: no policy owns it")]
    );
    insta::assert_snapshot!(plan_of(&format!("{EXCLUSIVE}{expired}"), &unowned).changes(), @r"
    Delete access entry arn:aws:iam::111122223333:role/team/viewer (expired on 2026-10-01; not owned by any policy)
      username: -x
    ");
}

const NODES: &str = "[principals.workers]\nrole = \"arn:aws:iam::111122223333:role/workers\"\nkind = \"node\"\n";
const NODES_ARN: &str = "arn:aws:iam::111122223333:role/workers";

#[test]
fn node_entry_keeps_the_names_that_eks_gave() {
    let live = state("API", &[], "");
    insta::assert_snapshot!(plan_of(NODES, &live).changes(), @r"
    Create access entry arn:aws:iam::111122223333:role/workers
      type: +EC2_LINUX
      username: +system:node:{{EC2PrivateDNSName}}
      groups: +system:nodes
    ");
    apply(NODES, &live);
    let odd = json!({ "type": "EC2_LINUX", "username": "system:node:x", "kubernetesGroups": ["system:nodes", "y"] });
    let live = state("API", &[entry(NODES_ARN, &odd)], "");
    let planned = plan_of(NODES, &live);
    assert_eq!(planned.changes(), format!("Adopt access entry {NODES_ARN}"));
    assert_eq!(planned.after(NODES_ARN)["username"], "system:node:x");
    apply(NODES, &live);
}

#[test]
fn kinds_have_the_types_of_eks() {
    let types = [
        ("node", "EC2_LINUX"),
        ("windows-node", "EC2_WINDOWS"),
        ("fargate", "FARGATE_LINUX"),
        ("hybrid-node", "HYBRID_LINUX"),
        ("auto-node", "EC2"),
        ("hyperpod", "HYPERPOD_LINUX"),
    ];
    for (kind, entry_type) in types {
        let policy = NODES.replace("\"node\"", &format!("\"{kind}\""));
        let live = state("API_AND_CONFIG_MAP", &[], "");
        assert_eq!(plan_of(&policy, &live).after(NODES_ARN)["type"], entry_type, "{kind}");
        apply(&policy, &live);
    }
}

#[test]
fn type_is_changed_only_by_replacing_an_owned_entry() {
    let standard = NODES.replace("kind = \"node\"", "username = \"workers\"");
    let live = apply(&standard, &state("API", &[], ""));
    insta::assert_snapshot!(plan_of(NODES, &live).changes(), @r"
    Replace access entry arn:aws:iam::111122223333:role/workers (deleted and created again: the type STANDARD cannot be changed; no access in between)
      type: -STANDARD, +EC2_LINUX
      username: -workers, +system:node:{{EC2PrivateDNSName}}
      groups: +system:nodes
    ");
    apply(NODES, &live);
    let live = state("API", &[entry(NODES_ARN, &json!({ "type": "FARGATE_LINUX" }))], "");
    let planned = plan_of(NODES, &live);
    insta::assert_snapshot!(prose(&planned.diagnostics), @r#"
    error: the access entry of arn:aws:iam::111122223333:role/workers has the type FARGATE_LINUX, not EC2_LINUX
      because: the type of an access entry cannot be changed, and this policy does not own the entry
      help: write `kind = "fargate"`, or delete the entry with aws eks delete-access-entry
    "#);
}

fn prose(diagnostics: &[Diagnostic]) -> String {
    let mut lines = Vec::new();
    for diagnostic in diagnostics {
        let severity = if diagnostic.is_error() { "error" } else { "warning" };
        lines.push(format!("{severity}: {}", diagnostic.message));
        for note in &diagnostic.notes {
            let kind = format!("{:?}", note.kind).to_lowercase();
            lines.push(format!("  {kind}: {}", note.text));
        }
    }
    lines.join("\n")
}

#[test]
fn exclusive_policy_removes_only_standard_entries_that_no_other_tool_manages() {
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let live = state(
        "API",
        &[
            entry(&arn("stray"), &json!({})),
            entry(&arn("node"), &json!({ "type": "EC2_LINUX" })),
            entry(&arn("future"), &json!({ "type": "OTHER" })),
            entry(&arn("stack"), &json!({ "tags": { "aws:cloudformation:stack-name": "x" } })),
            entry(&arn("managed"), &json!({ "tags": { "aws:eks:managed": "x" } })),
            entry(&arn("aws-service-role/eks.amazonaws.com/x"), &json!({})),
            entry(&arn("eksctl-x"), &json!({})),
        ],
        "",
    );
    let policy = "[ownership]\naccess-entries = \"exclusive\"\nignore = [\"arn:aws:iam::*:role/eksctl-*\"]\n";
    insta::assert_snapshot!(plan_of(policy, &live).changes(), @r#"
    Delete access entry arn:aws:iam::111122223333:role/stray (not in the policy, and ownership.access-entries = "exclusive")
      username: -x
    "#);
    assert!(plan_of("", &live).changes.is_empty());
}

#[test]
fn entries_of_eks_cannot_be_listed_and_those_of_other_tools_warn() {
    let managed = json!({ "tags": { "aws:eks:managed": "x" } });
    let planned = plan_of(VIEWER, &state("API", &[entry(VIEWER_ARN, &managed)], ""));
    insta::assert_snapshot!(prose(&planned.diagnostics), @r"
    error: the access entry of arn:aws:iam::111122223333:role/team/viewer is managed by EKS
      because: EKS has made it for an AWS service, and changes it back
      help: remove the principal from the policy
    ");
    let stack = json!({ "tags": { "aws:cloudformation:stack-name": "x" } });
    let planned = plan_of(VIEWER, &state("API", &[entry(VIEWER_ARN, &stack)], ""));
    insta::assert_snapshot!(prose(&planned.diagnostics), @r"
    warning: the access entry of arn:aws:iam::111122223333:role/team/viewer is adopted, but has the tag `aws:cloudformation:stack-name`
      because: AWS writes it on what another tool manages, such as CloudFormation
      help: remove the entry from that tool; otherwise both overwrite each other's changes
    ");
}

#[test]
fn more_entries_than_a_cluster_can_have_are_an_error() {
    let arn = |index: usize| format!("arn:aws:iam::111122223333:role/r{index}");
    let entries: Vec<Value> = (0..MAX_ENTRIES - 1).map(|index| entry(&arn(index), &json!({}))).collect();
    let live = state("API", &entries, "");
    assert!(plan_of(VIEWER, &live).diagnostics.is_empty());
    let planned = plan_of(&format!("{VIEWER}{NODES}"), &live);
    insta::assert_snapshot!(prose(&planned.diagnostics), @r"
    error: the cluster would have 3001 access entries, and at most 3000 are possible
      because: it has 2999, and the plan creates 2
      note: EKS does not raise this limit
      help: map fewer principals, for example one IAM role that the whole team assumes
    ");
}

#[test]
fn tags_of_other_clients_count_towards_the_limit() {
    let tags: serde_json::Map<String, Value> = (0..46).map(|index| (format!("t{index}"), json!(""))).collect();
    let live = state("API", &[entry(VIEWER_ARN, &json!({ "tags": tags }))], "");
    insta::assert_snapshot!(prose(&plan_of(VIEWER, &live).diagnostics), @r"
    error: access entry of arn:aws:iam::111122223333:role/team/viewer: it has 52 tags, and at most 50 are possible
    ");
}
