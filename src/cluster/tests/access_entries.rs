//! Writes of access entries and changes of the authentication mode, with the double of EKS and with snapshots.

#![expect(clippy::disallowed_methods, reason = "the test writes to a temporary directory")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use serde_json::{Value, json};

use super::differential::DifferentialFixture;
use crate::aws::{AwsCallContext, AwsCallLog, AwsSession, CredentialPool};
use crate::cluster::any::AnyCluster;
use crate::cluster::api_client::ApiClient;
use crate::cluster::credentials::CredentialSource;
use crate::cluster::eks::EksTokenSource;
use crate::cluster::eks_entries::EksStore;
use crate::cluster::kubeconfig::{KubeconfigSource, load_context};
use crate::cluster::live::LiveCluster;
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::snapshot::{SnapshotCluster, SnapshotNamedBy};
use crate::cluster::{ClusterError, ReadCluster, ServerOrigin, WriteCluster, WriteOutcome};
use crate::names::ObjectKey;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry, access_entry_key};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest};

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const ROLE: &str = "arn:aws:iam::111122223333:role/team/viewer";
const NODE: &str = "arn:aws:iam::111122223333:role/workers";
const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const EDIT: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy";

struct Fixture {
    fixture: DifferentialFixture,
    live: AnyCluster,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Other tests use the cluster with its default mode.
        self.fixture.cluster.reset_aws();
    }
}

impl Fixture {
    fn new(mode: &str) -> Self {
        let fixture = DifferentialFixture::new();
        let cluster = fixture.cluster;
        cluster.reset_aws();
        cluster.set_authentication_mode(mode);
        cluster.register_iam_principals(&[ROLE, NODE]);
        let keys = cluster.credentials_for(ADMIN);
        let credentials =
            Credentials::new(keys.access_key_id, keys.secret_access_key, Some(keys.session_token), None, "test");
        let context = AwsCallContext {
            connect: Duration::from_secs(30),
            attempt: Duration::from_mins(1),
            total: Duration::from_mins(3),
            log: AwsCallLog::new(|_, _, _| {}),
            pool: CredentialPool::default(),
            vars: BTreeMap::new(),
        };
        let live = fixture.runtime.block_on(async {
            let settings = ConnectionSettings::default();
            let file = Some(cluster.kubeconfig());
            let source = KubeconfigSource { file, env: BTreeMap::new(), use_exec_plugin: false };
            let (config, _) = load_context(None, &source, &settings).await.unwrap();
            let session = AwsSession::for_endpoint(cluster.aws(), "eu-west-1", credentials, context).await.unwrap();
            let tokens = EksTokenSource::new(session, cluster.cluster_name().to_owned(), config.cluster_url.clone());
            let store = EksStore::new(Arc::new(tokens), settings.clone(), None).unwrap();
            let origin = ServerOrigin::Kubeconfig;
            let client = ApiClient::new(config, CredentialSource::Kubeconfig, origin, settings).await.unwrap();
            AnyCluster::Live(LiveCluster::new(client, Some(store)))
        });
        Self { fixture, live }
    }

    fn set_entry(&self, tags: &Value) {
        self.fixture.cluster.set_access_entries(&json!([{
            "principal_arn": ROLE, "username": "viewer", "groups": ["viewers"], "tags": tags,
            "policies": [{ "policy": "AmazonEKSViewPolicy", "namespaces": ["team-*"] }],
        }]));
    }

    /// A change by another client.
    fn other_client(&self, call: &str, input: &Value) -> Value {
        let mut input = input.clone();
        if call != "TagResource" {
            input["clusterName"] = json!(self.fixture.cluster.cluster_name());
        }
        self.fixture.cluster.eks_call(call, &input).unwrap()
    }

    fn read(&self, principal: &str) -> Option<Value> {
        self.fixture.runtime.block_on(self.live.read(&access_entry_key(principal))).unwrap()
    }

    fn current(&self, principal: &str) -> ResolvedPrecondition {
        ResolvedPrecondition::Version(AccessEntry::version(&self.read(principal).unwrap()).unwrap())
    }

    fn write(&self, write: &WriteRequest, expected: &ResolvedPrecondition) -> Result<WriteOutcome, ClusterError> {
        self.fixture.runtime.block_on(self.live.write(&access_entry_key(ROLE), write, expected))
    }

    fn patch(&self, patch: Value) -> ObjectVersion {
        match self.write(&WriteRequest::Patch(patch), &self.current(ROLE)) {
            Ok(WriteOutcome::Stored(version)) => version,
            other => panic!("{other:?}"),
        }
    }

    /// The calls that write.
    fn writing_calls(&self) -> Vec<String> {
        let calls = self.fixture.cluster.aws_call_names();
        let is_reading = |call: &String| ["Describe", "List", "Get"].iter().any(|verb| call.starts_with(verb));
        calls.into_iter().filter(|call| !is_reading(call)).collect()
    }

    fn forget_calls(&self) {
        self.fixture.cluster.forget_aws_calls();
    }
}

fn create_body(principal: &str, fields: &Value) -> Value {
    let mut body = json!({
        "apiVersion": "rolecall/v1", "kind": "AccessEntry", "metadata": { "name": principal },
        "type": "STANDARD", "username": "viewer", "kubernetesGroups": ["viewers"], "accessPolicies": {},
        "tags": { "rolecall/policy": "test" },
    });
    crate::state::write::apply_merge_patch(&mut body, fields);
    body
}

#[track_caller]
fn assert_rejected(result: &Result<WriteOutcome, ClusterError>, expected: &WriteError) {
    match result {
        Err(ClusterError::Rejected { refusal, .. }) => assert_eq!(refusal, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn entry_is_created_changed_and_deleted() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    test.forget_calls();
    let created = test.write(&WriteRequest::Create(create_body(ROLE, &json!({}))), &ResolvedPrecondition::Absent);
    let Ok(WriteOutcome::Stored(version)) = created else { panic!("{created:?}") };
    let entry = test.read(ROLE).unwrap();
    assert_eq!(AccessEntry::version(&entry).unwrap(), version);
    assert!(version.uid.unwrap().starts_with("arn:aws:eks:eu-west-1:111122223333:access-entry/"));
    assert_eq!(test.writing_calls(), ["CreateAccessEntry"]);

    // Another client's tag and policy stay.
    test.other_client("TagResource", &json!({ "resourceArn": entry["metadata"]["uid"], "tags": { "team": "x" } }));
    test.forget_calls();
    test.patch(json!({ "username": "other", "tags": { "rolecall/digest": "d" } }));
    assert_eq!(test.writing_calls(), ["UpdateAccessEntry", "TagResource"]);
    test.patch(json!({ "kubernetesGroups": ["a", "b"] }));
    let scope = json!({ "type": "namespace", "namespaces": ["web", "team-*"] });
    test.patch(json!({ "accessPolicies": { VIEW: scope }, "tags": { "rolecall/object": "o" } }));
    test.patch(json!({ "accessPolicies": { EDIT: { "type": "cluster" } } }));
    test.patch(json!({ "accessPolicies": { VIEW: { "type": "cluster", "namespaces": null } } }));
    test.forget_calls();
    test.patch(json!({ "accessPolicies": { EDIT: null }, "tags": { "rolecall/object": null } }));
    assert_eq!(test.writing_calls(), ["DisassociateAccessPolicy", "UntagResource"]);
    let entry = test.read(ROLE).unwrap();
    assert_eq!((&entry["username"], &entry["kubernetesGroups"]), (&json!("other"), &json!(["a", "b"])));
    assert_eq!(entry["accessPolicies"], json!({ VIEW: { "type": "cluster" } }));
    assert_eq!(entry["tags"], json!({ "rolecall/policy": "test", "rolecall/digest": "d", "team": "x" }));

    // What is there already is not written.
    test.forget_calls();
    let noop = WriteRequest::Patch(json!({ "kubernetesGroups": ["b", "a"] }));
    assert!(matches!(test.write(&noop, &test.current(ROLE)), Ok(WriteOutcome::Unchanged(_))));
    assert_eq!(test.writing_calls(), Vec::<String>::new());

    let current = test.current(ROLE);
    assert_eq!(test.write(&WriteRequest::Delete, &current), Ok(WriteOutcome::Deleted));
    assert_eq!(test.read(ROLE), None);
    assert_rejected(&test.write(&WriteRequest::Delete, &current), &WriteError::NotFound);
}

#[test]
fn names_that_eks_gives_are_accepted_as_written() {
    let test = Fixture::new("API");
    let body = create_body(ROLE, &json!({ "username": "", "kubernetesGroups": [] }));
    assert!(matches!(
        test.write(&WriteRequest::Create(body), &ResolvedPrecondition::Absent),
        Ok(WriteOutcome::Stored(_))
    ));
    let entry = test.read(ROLE).unwrap();
    assert_eq!(entry["username"], json!("arn:aws:sts::111122223333:assumed-role/viewer/{{SessionName}}"));
    let key = access_entry_key(NODE);
    let body = create_body(NODE, &json!({ "type": "EC2_LINUX", "username": "", "kubernetesGroups": [] }));
    let write = WriteRequest::Create(body);
    let created = test.fixture.runtime.block_on(test.live.write(&key, &write, &ResolvedPrecondition::Absent));
    assert!(matches!(created, Ok(WriteOutcome::Stored(_))), "{created:?}");
    assert_eq!(test.read(NODE).unwrap()["kubernetesGroups"], json!(["system:nodes"]));
}

#[test]
fn entry_that_another_client_has_changed_is_not_written() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    for call in ["UpdateAccessEntry", "DisassociateAccessPolicy", "TagResource", "DeleteAccessEntry"] {
        test.set_entry(&json!({}));
        let observed = test.current(ROLE);
        let input = match call {
            "UpdateAccessEntry" => {
                json!({ "principalArn": ROLE, "username": "changed", "kubernetesGroups": ["viewers"] })
            }
            "DisassociateAccessPolicy" => json!({ "principalArn": ROLE, "policyArn": VIEW }),
            "TagResource" => {
                json!({ "resourceArn": test.read(ROLE).unwrap()["metadata"]["uid"], "tags": { "team": "x" } })
            }
            _ => json!({ "principalArn": ROLE }),
        };
        test.other_client(call, &input);
        test.forget_calls();
        for write in [WriteRequest::Patch(json!({ "username": "mine" })), WriteRequest::Delete] {
            let expected = if call == "DeleteAccessEntry" { WriteError::NotFound } else { WriteError::Conflict };
            assert_rejected(&test.write(&write, &observed), &expected);
        }
        assert_eq!(test.writing_calls(), Vec::<String>::new(), "{call}");
    }
    test.set_entry(&json!({}));
    let observed = test.current(ROLE);
    // The same content in another entry is another object.
    test.set_entry(&json!({}));
    assert_rejected(&test.write(&WriteRequest::Delete, &observed), &WriteError::Conflict);
    let create = WriteRequest::Create(create_body(ROLE, &json!({})));
    assert_rejected(&test.write(&create, &ResolvedPrecondition::Absent), &WriteError::AlreadyExists);
}

#[test]
fn lost_answer_is_not_a_second_write() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    // The SDK makes three attempts, so the second number is beyond them.
    for times in [1, 3] {
        let lose = |call: &str| {
            test.fixture.cluster.add_aws_faults(&json!([{ "call": call, "lose_answer": true, "times": times }]));
        };
        lose("CreateAccessEntry");
        let create = WriteRequest::Create(create_body(ROLE, &json!({})));
        let created = test.write(&create, &ResolvedPrecondition::Absent);
        assert!(matches!(created, Ok(WriteOutcome::Stored(_))), "{times}: {created:?}");
        lose("UpdateAccessEntry");
        test.patch(json!({ "username": "other" }));
        lose("AssociateAccessPolicy");
        test.patch(json!({ "accessPolicies": { VIEW: { "type": "cluster" } } }));
        lose("DisassociateAccessPolicy");
        test.patch(json!({ "accessPolicies": { VIEW: null } }));
        lose("TagResource");
        test.patch(json!({ "tags": { "a": "b" } }));
        lose("UntagResource");
        test.patch(json!({ "tags": { "a": null } }));
        lose("DeleteAccessEntry");
        assert_eq!(test.write(&WriteRequest::Delete, &test.current(ROLE)), Ok(WriteOutcome::Deleted), "{times}");
        assert_eq!(test.read(ROLE), None);
    }
}

#[test]
fn lost_request_is_an_unknown_outcome_and_half_a_write_is_said() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    test.set_entry(&json!({}));
    // Beyond the attempts of the SDK.
    let lost = json!([{ "call": "UpdateAccessEntry", "lose_request": true, "times": 3 }]);
    test.fixture.cluster.add_aws_faults(&lost);
    let patch = WriteRequest::Patch(json!({ "username": "other", "tags": { "rolecall/digest": "d" } }));
    let error = test.write(&patch, &test.current(ROLE)).unwrap_err();
    assert!(error.is_outcome_unknown() && !matches!(error, ClusterError::PartlyWritten { .. }), "{error:?}");
    assert_eq!(test.read(ROLE).unwrap()["username"], json!("viewer"));

    let denied = json!([{ "call": "TagResource", "code": "AccessDeniedException", "status": 403, "times": 1 }]);
    test.fixture.cluster.add_aws_faults(&denied);
    let error = test.write(&patch, &test.current(ROLE)).unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    let expected =
        format!("access entry {ROLE} may be changed only in part: you are not allowed to call eks:TagResource");
    assert!(error.to_string().starts_with(&expected), "{error}");
    let entry = test.read(ROLE).unwrap();
    assert_eq!((&entry["username"], &entry["tags"]), (&json!("other"), &json!({})));
    // The next run makes the rest.
    test.patch(json!({ "username": "other", "tags": { "rolecall/digest": "d" } }));
}

#[test]
fn busy_cluster_and_throttled_calls_are_waited_for() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    test.set_entry(&json!({}));
    let fault = |call: &str, code: &str, status: u16| {
        let fault = json!([{ "call": call, "code": code, "status": status, "times": 4 }]);
        test.fixture.cluster.add_aws_faults(&fault);
    };
    for (code, status) in [("ResourceInUseException", 409), ("ThrottlingException", 429), ("ThrottlingException", 400)]
    {
        fault("UpdateAccessEntry", code, status);
        test.patch(json!({ "username": format!("{code} {status}") }));
    }
    fault("DeleteAccessEntry", "ResourceInUseException", 409);
    assert_eq!(test.write(&WriteRequest::Delete, &test.current(ROLE)), Ok(WriteOutcome::Deleted));
    // EKS answers alike if the entry exists.
    fault("CreateAccessEntry", "ResourceInUseException", 409);
    let create = WriteRequest::Create(create_body(ROLE, &json!({})));
    assert!(matches!(test.write(&create, &ResolvedPrecondition::Absent), Ok(WriteOutcome::Stored(_))));
}

#[test]
fn refusals_have_a_cause_and_a_next_step() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    test.set_entry(&json!({}));
    let create = |principal: &str, fields: &Value| {
        let write = WriteRequest::Create(create_body(principal, fields));
        let key = access_entry_key(principal);
        test.fixture.runtime.block_on(test.live.write(&key, &write, &ResolvedPrecondition::Absent)).unwrap_err()
    };
    let refused = create(NODE, &json!({ "kubernetesGroups": ["system:masters"] }));
    assert!(refused.to_string().contains("must not start with `system:`"), "{refused}");
    let other = "arn:aws:iam::444455556666:role/workers";
    let refused = create(other, &json!({ "type": "EC2_LINUX", "username": "", "kubernetesGroups": [] }));
    assert!(refused.to_string().contains("the account of the cluster, 111122223333"), "{refused}");

    let unknown = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSNoSuchPolicy";
    let patch = WriteRequest::Patch(json!({ "accessPolicies": { unknown: { "type": "cluster" } } }));
    let refused = test.write(&patch, &test.current(ROLE)).unwrap_err();
    assert_eq!(refused.to_string(), format!("EKS has no access policy {unknown}"));
    assert!(refused.help().is_some_and(|help| help.contains("list-access-policies")));

    let denied = json!([{ "call": "UpdateAccessEntry", "code": "AccessDeniedException", "status": 403, "times": 1 }]);
    test.fixture.cluster.add_aws_faults(&denied);
    let refused = test.write(&WriteRequest::Patch(json!({ "username": "x" })), &test.current(ROLE)).unwrap_err();
    assert!(refused.to_string().starts_with("you are not allowed to call eks:UpdateAccessEntry"), "{refused}");
    assert!(refused.help().is_some_and(|help| help.contains("eks:UpdateAccessEntry")));

    let test = {
        drop(test);
        Fixture::new("CONFIG_MAP")
    };
    let create = WriteRequest::Create(create_body(ROLE, &json!({})));
    let refused = test.write(&create, &ResolvedPrecondition::Absent).unwrap_err();
    assert!(refused.to_string().contains("has no access entries"), "{refused}");
}

#[test]
fn principal_that_iam_has_just_created_is_waited_for() {
    let test = Fixture::new("API");
    test.fixture.cluster.set_aws_settings(&json!({ "iam_delay_ms": 1500 }));
    let new = "arn:aws:iam::111122223333:role/brand-new";
    test.fixture.cluster.register_iam_principals(&[new]);
    let (key, write) = (access_entry_key(new), WriteRequest::Create(create_body(new, &json!({}))));
    let created = test.fixture.runtime.block_on(test.live.write(&key, &write, &ResolvedPrecondition::Absent));
    assert!(matches!(created, Ok(WriteOutcome::Stored(_))), "{created:?}");
}

#[test]
fn dry_run_compares_and_validates_without_a_write() {
    let test = Fixture::new("API_AND_CONFIG_MAP");
    test.set_entry(&json!({}));
    let key = access_entry_key(ROLE);
    let current = test.current(ROLE);
    let dry_run = |write: &WriteRequest, expected: &ResolvedPrecondition| {
        test.fixture.runtime.block_on(test.live.dry_run(&key, write, expected))
    };
    test.forget_calls();
    assert_eq!(dry_run(&WriteRequest::Patch(json!({ "username": "x" })), &current), Ok(()));
    assert_eq!(dry_run(&WriteRequest::Delete, &current), Ok(()));
    assert!(dry_run(&WriteRequest::Patch(json!({ "username": "system:x" })), &current).is_err());
    let stale = ResolvedPrecondition::Version(ObjectVersion {
        resource_version: "x".into(),
        ..current.version().unwrap().clone()
    });
    assert!(dry_run(&WriteRequest::Delete, &stale).is_err_and(|error| error.is_conflict()));
    let create = WriteRequest::Create(create_body(ROLE, &json!({})));
    assert!(dry_run(&create, &ResolvedPrecondition::Absent).is_err_and(|error| error.is_conflict()));
    assert_eq!(test.writing_calls(), Vec::<String>::new());
}

fn mode(test: &Fixture, cluster: &AnyCluster) -> ObservedAuthMode {
    test.fixture.runtime.block_on(cluster.read_state()).unwrap().auth_mode
}

#[test]
fn authentication_mode_is_changed_forward_only() {
    let test = Fixture::new("CONFIG_MAP");
    let change = |mode: ClusterAuthMode| test.fixture.runtime.block_on(test.live.change_auth_mode(&mode));
    let known = |mode| ObservedAuthMode::Known(mode);
    let skipped = change(ClusterAuthMode::Api).unwrap_err();
    assert_eq!(skipped.to_string(), "EKS cannot change the authentication mode from CONFIG_MAP to API");
    test.fixture.cluster.set_aws_settings(&json!({ "update_ms": 300, "update_fails": true }));
    let failed = change(ClusterAuthMode::ApiAndConfigMap).unwrap_err();
    assert!(failed.to_string().ends_with("to API_AND_CONFIG_MAP"), "{failed}");
    assert_eq!(mode(&test, &test.live), known(ClusterAuthMode::ConfigMap));

    test.fixture.cluster.set_aws_settings(&json!({ "update_ms": 300 }));
    test.fixture.cluster.add_aws_faults(&json!([{ "call": "UpdateClusterConfig", "lose_answer": true, "times": 1 }]));
    change(ClusterAuthMode::ApiAndConfigMap).unwrap();
    assert_eq!(mode(&test, &test.live), known(ClusterAuthMode::ApiAndConfigMap));
    change(ClusterAuthMode::ApiAndConfigMap).unwrap();
    change(ClusterAuthMode::Api).unwrap();
    assert_eq!(mode(&test, &test.live), known(ClusterAuthMode::Api));
    assert!(change(ClusterAuthMode::ConfigMap).is_err());
}

#[test]
fn snapshot_takes_the_same_writes() {
    let test = Fixture::new("API");
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("cluster.yaml");
    let text = "\
apiVersion: v1
kind: Namespace
metadata:
  name: kube-system
  resourceVersion: \"5\"
---
apiVersion: rolecall/v1
kind: EksCluster
arn: arn:aws:eks:eu-west-1:111122223333:cluster/prod
version: \"1.36\"
authentication-mode: CONFIG_MAP
node-roles: []
";
    std::fs::write(&path, text).unwrap();
    let open = || {
        let files = [path.clone()];
        AnyCluster::Snapshot(SnapshotCluster::open(&files, None, &SnapshotNamedBy::CommandLine).unwrap())
    };
    let run = &test.fixture.runtime;
    let cluster = open();
    let key: ObjectKey = access_entry_key(ROLE);
    let create = WriteRequest::Create(create_body(ROLE, &json!({})));
    let refused = run.block_on(cluster.write(&key, &create, &ResolvedPrecondition::Absent)).unwrap_err();
    assert!(refused.to_string().contains("has no access entries"), "{refused}");
    assert!(run.block_on(cluster.change_auth_mode(&ClusterAuthMode::Api)).is_err());
    run.block_on(cluster.change_auth_mode(&ClusterAuthMode::ApiAndConfigMap)).unwrap();
    let state = run.block_on(cluster.read_state()).unwrap();
    assert_eq!(state.access_entries.status, AccessEntriesStatus::Known);

    let stored = |result: Result<WriteOutcome, ClusterError>| match result {
        Ok(WriteOutcome::Stored(version)) => ResolvedPrecondition::Version(version),
        other => panic!("{other:?}"),
    };
    let created = stored(run.block_on(cluster.write(&key, &create, &ResolvedPrecondition::Absent)));
    let patch = WriteRequest::Patch(json!({ "accessPolicies": { VIEW: { "type": "cluster" } } }));
    let patched = stored(run.block_on(cluster.write(&key, &patch, &created)));
    assert_rejected(&run.block_on(cluster.write(&key, &patch, &created)), &WriteError::Conflict);
    run.block_on(cluster.flush()).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.contains("authentication-mode: API_AND_CONFIG_MAP\n") && written.contains(VIEW), "{written}");
    assert_eq!(written.matches("resourceVersion").count(), 1, "{written}");

    let cluster = open();
    let state = run.block_on(cluster.read_state()).unwrap();
    let entry = state.access_entries.get(&key).unwrap();
    let version = patched.version().unwrap();
    assert_eq!(entry.meta.resource_version.as_ref(), Some(&version.resource_version));
    assert_eq!(run.block_on(cluster.write(&key, &WriteRequest::Delete, &patched)), Ok(WriteOutcome::Deleted));
    run.block_on(cluster.flush()).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains("AccessEntry"));
}
