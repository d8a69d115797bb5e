//! Tests of the wait between stages: denied, masked and expected answers, on a snapshot cluster whose access reviews
//! are scripted.

#![expect(clippy::disallowed_methods, reason = "the test writes to a temporary directory")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::Value;

use super::RetrySchedule;
use crate::access::{AllowReason, Request};
use crate::apply::{ApplyHooks, ApplyOutcome, StepError, TokenWaits, apply};
use crate::cluster::snapshot::SnapshotCluster;
use crate::cluster::{
    AccessReviewStatus, CallerCheck, ClusterError, CredentialFreshness, ReadCluster, UserInfo, WriteCluster,
    WriteOutcome,
};
use crate::names::ObjectKey;
use crate::plan::{AccessProbe, Plan, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::rbac::Subject;
use crate::state::write::{ResolvedPrecondition, WriteRequest};

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: n1 }
";
const ROLE_POLICY: &str = "[cluster-roles.viewer]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
const TEST_SCHEDULE: RetrySchedule = RetrySchedule {
    timeout: Duration::from_mins(1),
    first_delay: Duration::from_millis(1),
    masked_timeout: Duration::from_mins(1),
};

/// A snapshot cluster that answers access reviews from a list. The last answer of the list is repeated.
struct ScriptedCluster {
    cluster: SnapshotCluster,
    answers: Vec<AccessReviewStatus>,
    review_count: Cell<usize>,
    writes: RefCell<Vec<String>>,
}

impl ReadCluster for ScriptedCluster {
    async fn read_state(&self) -> Result<State, ClusterError> {
        self.cluster.read_state().await
    }

    async fn export_objects(&self) -> Result<Vec<Value>, ClusterError> {
        self.cluster.export_objects().await
    }

    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError> {
        self.cluster.whoami().await
    }
}

impl WriteCluster for ScriptedCluster {
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        let reviews = self.review_count.get();
        self.writes.borrow_mut().push(format!("{} {} after {reviews}", write.verb(), key.name()));
        self.cluster.write(key, write, expected).await
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        self.cluster.dry_run(key, write, expected).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        self.cluster.read(key).await
    }

    async fn review_access(&self, _probe: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        let index = self.review_count.get();
        self.review_count.set(index + 1);
        Ok(self.answers.get(index).or(self.answers.last()).unwrap().clone())
    }

    async fn check_caller(
        &self,
        _freshness: CredentialFreshness,
        _requests: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        Ok(None)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        self.cluster.flush().await
    }
}

/// Returns a policy with these bindings, separated by spaces. `NAME/n1` is a RoleBinding in the namespace `n1`.
fn policy(bindings: &str) -> String {
    let binding = |name: &str| {
        let (name, namespace) = name.split_once('/').map_or((name, ""), |(name, _)| (name, "namespaces = [\"n1\"]\n"));
        format!("[bindings.{name}]\ncluster-role = \"viewer\"\ngroups = [\"g\"]\n{namespace}")
    };
    let bindings: String = bindings.split(' ').map(binding).collect();
    format!("[policy]\nname = \"p\"\n[groups.g]\n{ROLE_POLICY}{bindings}")
}

fn make_plan(policy: &str, live: &State) -> Plan {
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
    plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
}

fn allowed_by(binding: ObjectKey) -> AccessReviewStatus {
    let (role, subject) = (ObjectKey::cluster_role("viewer"), Subject::Group("g".to_owned()));
    AccessReviewStatus { allowed: true, allowed_by: Some(AllowReason { binding, role, subject }) }
}

fn allowed_by_cluster_binding(name: &str) -> AccessReviewStatus {
    allowed_by(ObjectKey::binding(None, name))
}

const DENIED: AccessReviewStatus = AccessReviewStatus { allowed: false, allowed_by: None };
const ALLOWED_WITHOUT_REASON: AccessReviewStatus = AccessReviewStatus { allowed: true, allowed_by: None };

/// Applies the first policy, then the second with these answers. Returns the writes of the second apply, each with the
/// number of reviews before it, and its outcome.
fn apply_both(
    first: &str,
    second: &str,
    answers: Vec<AccessReviewStatus>,
    schedule: RetrySchedule,
) -> (Vec<String>, ApplyOutcome) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(&[file], None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let hooks = ApplyHooks {
        schedule,
        aws_auth_baseline: None,
        probe_delays: &[],
        lock: None,
        aggregated_roles: None,
        controller_lag: Duration::ZERO,
        connection: None,
        token_waits: TokenWaits::Wait,
    };
    let first_plan = make_plan(&policy(first), &runtime.block_on(cluster.read_state()).unwrap());
    let outcome = runtime.block_on(apply(&first_plan, &cluster, &hooks, |_| {}));
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    let scripted = ScriptedCluster { cluster, answers, review_count: Cell::new(0), writes: RefCell::default() };
    let second_plan = make_plan(&policy(second), &runtime.block_on(scripted.read_state()).unwrap());
    let outcome = runtime.block_on(apply(&second_plan, &scripted, &hooks, |_| {}));
    (scripted.writes.into_inner(), outcome)
}

#[track_caller]
fn writes_made(first: &str, second: &str, answers: Vec<AccessReviewStatus>, schedule: RetrySchedule) -> Vec<String> {
    let (writes, outcome) = apply_both(first, second, answers, schedule);
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    writes
}

#[test]
fn answer_by_a_revoked_binding_is_repeated_until_another_binding_is_named() {
    let mut answers = vec![DENIED, allowed_by_cluster_binding("old"), allowed_by_cluster_binding("old"), DENIED];
    answers.extend(vec![allowed_by_cluster_binding("old"); 40]);
    answers.push(allowed_by_cluster_binding("new"));
    assert_eq!(writes_made("old", "new", answers, TEST_SCHEDULE), ["create new after 0", "delete old after 45"]);
    // Any binding that is not revoked proves the access, also one of another owner.
    let by_foreign = vec![allowed_by_cluster_binding("foreign")];
    assert_eq!(writes_made("old", "new", by_foreign, TEST_SCHEDULE), ["create new after 0", "delete old after 1"]);
}

#[test]
fn answer_without_a_reason_is_accepted() {
    assert_eq!(
        writes_made("old", "new", vec![DENIED, ALLOWED_WITHOUT_REASON], TEST_SCHEDULE),
        ["create new after 0", "delete old after 2"]
    );
}

#[test]
fn stage_is_written_only_after_all_its_prerequisites_are_in_effect() {
    let answers = vec![
        allowed_by_cluster_binding("first"),
        allowed_by_cluster_binding("second"),
        allowed_by_cluster_binding("first"),
        allowed_by_cluster_binding("new"),
    ];
    let mut writes = writes_made("first second", "new", answers, TEST_SCHEDULE);
    writes.sort();
    assert_eq!(writes, ["create new after 0", "delete first after 4", "delete second after 4"]);
}

#[test]
fn permanently_masked_answer_is_accepted_after_its_timeout() {
    let short = RetrySchedule { masked_timeout: Duration::from_millis(5), ..TEST_SCHEDULE };
    let writes = writes_made("old", "new/n1", vec![allowed_by_cluster_binding("old")], short);
    // The RBAC authorizer evaluates ClusterRoleBindings before RoleBindings, so its answer never names the RoleBinding.
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0] == "create new after 0" && writes[1].starts_with("delete old after "), "{writes:?}");
    assert_ne!(writes[1], "delete old after 0", "the access is reviewed before the delete");
}

#[test]
fn denied_prerequisite_stops_the_apply_before_anything_is_revoked() {
    let short = RetrySchedule { timeout: Duration::from_millis(5), masked_timeout: Duration::ZERO, ..TEST_SCHEDULE };
    let (writes, outcome) = apply_both("old", "new", vec![DENIED], short);
    assert_eq!(writes, ["create new after 0"]);
    let [(1, StepError::NotEffective(denied))] = outcome.failed.as_slice() else {
        panic!("{outcome:#?}");
    };
    let [probe] = denied.as_slice() else {
        panic!("{denied:?}");
    };
    assert!(probe.starts_with("group:g ") && probe.ends_with(" get pods"), "{probe}");
}
