//! What is seen to work and what is only hidden, by a cluster whose answers are written down.

#![expect(clippy::disallowed_methods, reason = "a test has a folder of its own")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::Value;

use super::RetrySchedule;
use crate::access::{AllowReason, Request};
use crate::apply::{ApplyHooks, ApplyOutcome, StepError, apply};
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
const ROLE_POLICY: &str = "[cluster-roles.looks]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
const TEST_SCHEDULE: RetrySchedule = RetrySchedule {
    timeout: Duration::from_mins(1),
    first_delay: Duration::from_millis(1),
    masked_timeout: Duration::from_mins(1),
};

/// A snapshot whose reviews are answered by the list: its last answer for good.
struct ScriptedCluster {
    cluster: SnapshotCluster,
    answers: Vec<AccessReviewStatus>,
    review_count: Cell<usize>,
    writes: RefCell<Vec<String>>,
}

impl ReadCluster for ScriptedCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        self.cluster.observe().await
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        self.cluster.export().await
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
        let asked = self.review_count.get();
        self.writes.borrow_mut().push(format!("{} {} after {asked}", write.verb(), key.name()));
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

    async fn review_access(&self, _asked: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        let asked = self.review_count.get();
        self.review_count.set(asked + 1);
        Ok(self.answers.get(asked).or(self.answers.last()).unwrap().clone())
    }

    async fn check_caller(
        &self,
        _with: CredentialFreshness,
        _needs: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        Ok(None)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        self.cluster.flush().await
    }
}

fn policy(bindings: &str) -> String {
    let bound = |name: &str| {
        let (name, namespace) = name.split_once('/').map_or((name, ""), |(name, _)| (name, "namespaces = [\"n1\"]\n"));
        format!("[bindings.{name}]\ncluster-role = \"looks\"\ngroups = [\"g\"]\n{namespace}")
    };
    let bindings: String = bindings.split(' ').map(bound).collect();
    format!("[policy]\nname = \"p\"\n[groups.g]\n{ROLE_POLICY}{bindings}")
}

fn make_plan(policy: &str, live: &State) -> Plan {
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
    plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
}

fn allowed_by(binding: ObjectKey) -> AccessReviewStatus {
    let (role, subject) = (ObjectKey::cluster_role("looks"), Subject::Group("g".to_owned()));
    AccessReviewStatus { allowed: true, allowed_by: Some(AllowReason { binding, role, subject }) }
}

fn allowed_by_cluster_binding(name: &str) -> AccessReviewStatus {
    allowed_by(ObjectKey::binding(None, name))
}

const DENIED: AccessReviewStatus = AccessReviewStatus { allowed: false, allowed_by: None };
const ALLOWED_WITHOUT_REASON: AccessReviewStatus = AccessReviewStatus { allowed: true, allowed_by: None };

/// Applies one policy, then the other with these answers; the writes, and how it ended.
fn apply_both(
    one: &str,
    other: &str,
    answers: Vec<AccessReviewStatus>,
    patience: RetrySchedule,
) -> (Vec<String>, ApplyOutcome) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(&[file]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let watch = ApplyHooks { schedule: patience, aws_auth_baseline: None, probe_delays: &[], lock: None };
    let first = make_plan(&policy(one), &runtime.block_on(cluster.observe()).unwrap());
    let outcome = runtime.block_on(apply(&first, &cluster, &watch, |_, _| {}));
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    let scripted = ScriptedCluster { cluster, answers, review_count: Cell::new(0), writes: RefCell::default() };
    let second = make_plan(&policy(other), &runtime.block_on(scripted.observe()).unwrap());
    let outcome = runtime.block_on(apply(&second, &scripted, &watch, |_, _| {}));
    (scripted.writes.into_inner(), outcome)
}

#[track_caller]
fn writes_made(one: &str, other: &str, answers: Vec<AccessReviewStatus>, patience: RetrySchedule) -> Vec<String> {
    let (writes, outcome) = apply_both(one, other, answers, patience);
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    writes
}

#[test]
fn a_yes_by_the_binding_that_goes_is_asked_for_again_until_another_gives_it() {
    let mut answers = vec![DENIED, allowed_by_cluster_binding("old"), allowed_by_cluster_binding("old"), DENIED];
    answers.extend(vec![allowed_by_cluster_binding("old"); 40]);
    answers.push(allowed_by_cluster_binding("new"));
    assert_eq!(writes_made("old", "new", answers, TEST_SCHEDULE), ["create new after 0", "delete old after 45"]);
    // Whatever stays gives it as well.
    let by_another = vec![allowed_by_cluster_binding("foreign")];
    assert_eq!(writes_made("old", "new", by_another, TEST_SCHEDULE), ["create new after 0", "delete old after 1"]);
}

#[test]
fn a_yes_that_says_no_binding_does() {
    assert_eq!(
        writes_made("old", "new", vec![DENIED, ALLOWED_WITHOUT_REASON], TEST_SCHEDULE),
        ["create new after 0", "delete old after 2"]
    );
}

#[test]
fn nothing_of_a_stage_is_written_before_all_that_the_stage_relies_on_is_seen() {
    let answers = vec![
        allowed_by_cluster_binding("one"),
        allowed_by_cluster_binding("other"),
        allowed_by_cluster_binding("one"),
        allowed_by_cluster_binding("new"),
    ];
    let mut writes = writes_made("one other", "new", answers, TEST_SCHEDULE);
    writes.sort();
    assert_eq!(writes, ["create new after 0", "delete one after 4", "delete other after 4"]);
}

#[test]
fn what_is_hidden_for_good_stops_nothing() {
    let brief = RetrySchedule { masked_timeout: Duration::from_millis(5), ..TEST_SCHEDULE };
    let writes = writes_made("old", "new/n1", vec![allowed_by_cluster_binding("old")], brief);
    // A ClusterRoleBinding is always named before a RoleBinding.
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0] == "create new after 0" && writes[1].starts_with("delete old after "), "{writes:?}");
    assert_ne!(writes[1], "delete old after 0", "it is asked for");
}

#[test]
fn what_is_never_seen_stops_the_apply_before_it_takes_away() {
    let brief = RetrySchedule { timeout: Duration::from_millis(5), masked_timeout: Duration::ZERO, ..TEST_SCHEDULE };
    let (writes, outcome) = apply_both("old", "new", vec![DENIED], brief);
    assert_eq!(writes, ["create new after 0"]);
    assert!(
        matches!(outcome.failed.as_slice(), [(1, StepError::NotEffective(told))] if told == &["group:g can get pods"])
    );
}
