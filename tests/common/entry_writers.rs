//! Other programs that write access entries, in threads beside a test: each owns some entries, and restores them in its way
//! in every round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::TestCluster;

/// An entry of one of the programs, with the scope `cluster` for each policy.
#[derive(Clone)]
pub struct OwnedEntry {
    pub principal: String,
    pub groups: Vec<String>,
    pub policies: Vec<String>,
}

impl OwnedEntry {
    pub fn new(principal: &str, groups: &[&str], policies: &[&str]) -> Self {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Self { principal: principal.to_owned(), groups: texts(groups), policies: texts(policies) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `aws_eks_access_entry` and `aws_eks_access_policy_association`: an entry that differs is updated, with all fields.
    /// Its tags become exactly those of the configuration, and associations that it does not know stay.
    Terraform,
    /// `eksctl create accessentry`: an entry that exists stays as it is. It deletes its entries in every other round, as
    /// `eksctl delete accessentry` does.
    Eksctl,
}

/// A running program.
pub struct EntryWriter {
    cluster: &'static TestCluster,
    program: Program,
    owned: Vec<OwnedEntry>,
    stopped: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl EntryWriter {
    /// Starts the program, and returns after its first round.
    pub fn start(cluster: &'static TestCluster, program: Program, owned: &[OwnedEntry]) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let thread = {
            let (owned, stopped, rounds) = (owned.to_vec(), Arc::clone(&stopped), Arc::clone(&rounds));
            std::thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let round = rounds.load(Ordering::Relaxed);
                    owned.iter().for_each(|entry| program.write(cluster, entry, round));
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let writer = Self { cluster, program, owned: owned.to_vec(), stopped, rounds, thread };
        writer.wait_for_round();
        writer
    }

    /// Waits until a round has begun and ended.
    #[track_caller]
    pub fn wait_for_round(&self) {
        let wanted = self.rounds.load(Ordering::Relaxed) + 2;
        while self.rounds.load(Ordering::Relaxed) < wanted {
            assert!(!self.thread.is_finished(), "the writer has failed");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops the program, and returns the number of its rounds.
    ///
    /// # Panics
    /// If an entry is not as the program has written it.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer has failed");
        for entry in &self.owned {
            // Eksctl may have deleted its entries in the last round.
            if self.program == Program::Eksctl {
                self.program.write(self.cluster, entry, 0);
            }
            let stored = describe(self.cluster, entry).expect("the entry exists");
            assert_eq!(stored["kubernetesGroups"], json!(entry.groups), "{}", entry.principal);
            assert_eq!(stored["tags"], json!(self.program.tags()), "{}", entry.principal);
            assert_eq!(policies(self.cluster, entry), entry.policies, "{}", entry.principal);
        }
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Program {
    fn tags(self) -> BTreeMap<&'static str, &'static str> {
        match self {
            Self::Terraform => [("ManagedBy", "terraform")].into(),
            Self::Eksctl => [("alpha.eksctl.io/cluster-name", "test-cluster")].into(),
        }
    }

    fn write(self, cluster: &TestCluster, entry: &OwnedEntry, round: u64) {
        let stored = describe(cluster, entry);
        match (self, stored) {
            (_, None) => self.create(cluster, entry),
            (Self::Terraform, Some(stored)) => self.restore(cluster, entry, &stored),
            (Self::Eksctl, Some(_)) if round % 2 == 1 => {
                call(cluster, entry, "DeleteAccessEntry", json!({})).unwrap();
            }
            (Self::Eksctl, Some(_)) => {}
        }
    }

    fn create(self, cluster: &TestCluster, entry: &OwnedEntry) {
        let input = json!({"kubernetesGroups": entry.groups, "tags": self.tags()});
        call(cluster, entry, "CreateAccessEntry", input).unwrap();
        for policy in &entry.policies {
            associate(cluster, entry, policy);
        }
    }

    fn restore(self, cluster: &TestCluster, entry: &OwnedEntry, stored: &Value) {
        if stored["kubernetesGroups"] != json!(entry.groups) {
            call(cluster, entry, "UpdateAccessEntry", json!({"kubernetesGroups": entry.groups})).unwrap();
        }
        if stored["tags"] != json!(self.tags()) {
            let arn = &stored["accessEntryArn"];
            let foreign: Vec<&String> = stored["tags"].as_object().into_iter().flatten().map(|(key, _)| key).collect();
            if !foreign.is_empty() {
                cluster.eks_call("UntagResource", &json!({"resourceArn": arn, "tagKeys": foreign})).unwrap();
            }
            cluster.eks_call("TagResource", &json!({"resourceArn": arn, "tags": self.tags()})).unwrap();
        }
        let associated = policies(cluster, entry);
        for policy in entry.policies.iter().filter(|policy| !associated.contains(policy)) {
            associate(cluster, entry, policy);
        }
    }
}

fn call(cluster: &TestCluster, entry: &OwnedEntry, name: &str, mut input: Value) -> Result<Value, String> {
    input["clusterName"] = json!(cluster.cluster_name());
    input["principalArn"] = json!(entry.principal);
    cluster.eks_call(name, &input)
}

fn describe(cluster: &TestCluster, entry: &OwnedEntry) -> Option<Value> {
    match call(cluster, entry, "DescribeAccessEntry", json!({})) {
        Ok(output) => Some(output["accessEntry"].clone()),
        Err(error) if error.starts_with("ResourceNotFoundException") => None,
        Err(error) => panic!("{error}"),
    }
}

fn associate(cluster: &TestCluster, entry: &OwnedEntry, policy: &str) {
    let input = json!({"policyArn": policy_arn(policy), "accessScope": {"type": "cluster"}});
    call(cluster, entry, "AssociateAccessPolicy", input).unwrap();
}

/// The names of the associated policies, in their order. An entry has few, so that one page has all.
fn policies(cluster: &TestCluster, entry: &OwnedEntry) -> Vec<String> {
    let output = call(cluster, entry, "ListAssociatedAccessPolicies", json!({})).unwrap();
    assert!(output["nextToken"].is_null(), "{output}");
    let list = output["associatedAccessPolicies"].as_array().cloned().unwrap_or_default();
    let prefix = policy_arn("");
    list.iter().map(|policy| policy["policyArn"].as_str().unwrap().trim_start_matches(&prefix).to_owned()).collect()
}

fn policy_arn(name: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{name}")
}
