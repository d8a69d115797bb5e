//! What is seen to work and what is only hidden, by a cluster whose answers are written down.

#![expect(clippy::disallowed_methods, reason = "a test has a folder of its own")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::Value;

use super::Patience;
use crate::access::{AllowedBy, Request};
use crate::apply::{Outcome, Trouble, Watch, apply};
use crate::cluster::snapshot::SnapshotCluster;
use crate::cluster::{Caller, ClusterError, Credentials, ReadCluster, Ruling, Standing, WriteCluster, Written};
use crate::names::ObjectKey;
use crate::plan::{Await, Plan, plan};
use crate::policy::load;
use crate::state::State;
use crate::state::rbac::Subject;
use crate::state::write::{Expected, Write};

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: n1 }
";
const ROLE: &str = "[cluster-roles.looks]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
const PATIENCE: Patience =
    Patience { total: Duration::from_mins(1), first: Duration::from_millis(1), hidden: Duration::from_mins(1) };

/// A snapshot whose reviews are answered by the list: its last answer for good.
struct Scripted {
    cluster: SnapshotCluster,
    answers: Vec<Ruling>,
    asked: Cell<usize>,
    writes: RefCell<Vec<String>>,
}

impl ReadCluster for Scripted {
    async fn observe(&self) -> Result<State, ClusterError> {
        self.cluster.observe().await
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        self.cluster.export().await
    }

    async fn whoami(&self) -> Result<Option<Caller>, ClusterError> {
        self.cluster.whoami().await
    }
}

impl WriteCluster for Scripted {
    async fn write(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<Written, ClusterError> {
        let asked = self.asked.get();
        self.writes.borrow_mut().push(format!("{} {} after {asked}", write.verb(), key.name()));
        self.cluster.write(key, write, expected).await
    }

    async fn rehearse(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<(), ClusterError> {
        self.cluster.rehearse(key, write, expected).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        self.cluster.read(key).await
    }

    async fn review(&self, _asked: &Await) -> Result<Ruling, ClusterError> {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        Ok(self.answers.get(asked).or(self.answers.last()).unwrap().clone())
    }

    async fn standing(&self, _with: Credentials, _needs: &[Request]) -> Result<Option<Standing>, ClusterError> {
        Ok(None)
    }

    async fn finish(&self) -> Result<(), ClusterError> {
        self.cluster.finish().await
    }
}

fn policy(bindings: &str) -> String {
    let bound = |name: &str| {
        let (name, namespace) = name.split_once('/').map_or((name, ""), |(name, _)| (name, "namespaces = [\"n1\"]\n"));
        format!("[bindings.{name}]\ncluster-role = \"looks\"\ngroups = [\"g\"]\n{namespace}")
    };
    let bindings: String = bindings.split(' ').map(bound).collect();
    format!("[policy]\nname = \"p\"\n[groups.g]\n{ROLE}{bindings}")
}

fn planned(policy: &str, live: &State) -> Plan {
    let (policy, _) = load(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
    plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
}

fn yes(binding: ObjectKey) -> Ruling {
    let (role, subject) = (ObjectKey::cluster_role("looks"), Subject::Group("g".to_owned()));
    Ruling { allowed: true, by: Some(AllowedBy { binding, role, subject }) }
}

fn everywhere(name: &str) -> Ruling {
    yes(ObjectKey::binding(None, name))
}

const NO: Ruling = Ruling { allowed: false, by: None };
const UNSAID: Ruling = Ruling { allowed: true, by: None };

/// Applies one policy, then the other with these answers; the writes, and how it ended.
fn writes(one: &str, other: &str, answers: Vec<Ruling>, patience: Patience) -> (Vec<String>, Outcome) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let cluster = SnapshotCluster::open(&[file]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let watch = Watch { patience, before: None, looks: &[], lock: None };
    let first = planned(&policy(one), &runtime.block_on(cluster.observe()).unwrap());
    let outcome = runtime.block_on(apply(&first, &cluster, &watch, |_, _| {}));
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    let scripted = Scripted { cluster, answers, asked: Cell::new(0), writes: RefCell::default() };
    let second = planned(&policy(other), &runtime.block_on(scripted.observe()).unwrap());
    let outcome = runtime.block_on(apply(&second, &scripted, &watch, |_, _| {}));
    (scripted.writes.into_inner(), outcome)
}

#[track_caller]
fn made(one: &str, other: &str, answers: Vec<Ruling>, patience: Patience) -> Vec<String> {
    let (writes, outcome) = writes(one, other, answers, patience);
    assert!(outcome.failed.is_empty(), "{outcome:#?}");
    writes
}

#[test]
fn a_yes_by_the_binding_that_goes_is_asked_for_again_until_another_gives_it() {
    let mut answers = vec![NO, everywhere("old"), everywhere("old"), NO];
    answers.extend(vec![everywhere("old"); 40]);
    answers.push(everywhere("new"));
    assert_eq!(made("old", "new", answers, PATIENCE), ["create new after 0", "delete old after 45"]);
    // Whatever stays gives it as well.
    let by_another = vec![everywhere("foreign")];
    assert_eq!(made("old", "new", by_another, PATIENCE), ["create new after 0", "delete old after 1"]);
}

#[test]
fn a_yes_that_says_no_binding_does() {
    assert_eq!(made("old", "new", vec![NO, UNSAID], PATIENCE), ["create new after 0", "delete old after 2"]);
}

#[test]
fn nothing_of_a_stage_is_written_before_all_that_the_stage_relies_on_is_seen() {
    let answers = vec![everywhere("one"), everywhere("other"), everywhere("one"), everywhere("new")];
    let mut writes = made("one other", "new", answers, PATIENCE);
    writes.sort();
    assert_eq!(writes, ["create new after 0", "delete one after 4", "delete other after 4"]);
}

#[test]
fn what_is_hidden_for_good_stops_nothing() {
    let brief = Patience { hidden: Duration::from_millis(5), ..PATIENCE };
    let writes = made("old", "new/n1", vec![everywhere("old")], brief);
    // A ClusterRoleBinding is always named before a RoleBinding.
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0] == "create new after 0" && writes[1].starts_with("delete old after "), "{writes:?}");
    assert_ne!(writes[1], "delete old after 0", "it is asked for");
}

#[test]
fn what_is_never_seen_stops_the_apply_before_it_takes_away() {
    let brief = Patience { total: Duration::from_millis(5), hidden: Duration::ZERO, ..PATIENCE };
    let (writes, outcome) = writes("old", "new", vec![NO], brief);
    assert_eq!(writes, ["create new after 0"]);
    assert!(matches!(outcome.failed.as_slice(), [(1, Trouble::Unseen(told))] if told == &["group:g may get pods"]));
}
