//! Applies that are stopped at random moments, by signals or by a credential plugin that hangs: the next apply is not
//! blocked for longer than its message says, it converges, and what others wrote is kept.
//!
//! ROLECALL_INTERRUPTED_APPLIES sets the number of applies.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::proxy::{Proxy, ProxyAction};
use crate::common::running::Running;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::{CLUSTER, cluster};
use rustix::process::Signal;
use serde_json::{Value, json};

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const DEFAULT_RUNS: usize = 5;
/// The confirmation of aws-auth takes at most twice this time, and taking the change back too.
const REQUEST_TIMEOUT: &str = "3s";
/// A Lease lasts 15 seconds, and the apply itself takes a few. The rest is for a loaded machine.
const LONGEST_NEXT_APPLY: Duration = Duration::from_secs(75);
const FOREIGN: &str = "\
# the nodes
- groups: [system:bootstrappers, system:nodes]
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
- {rolearn: 'arn:aws:iam::111122223333:role/theirs', username: theirs, extra: kept} # theirs
";

/// A generator of pseudorandom numbers (xorshift), so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One of several policies with entries, roles and bindings in common.
fn policy(number: u64) -> String {
    let mut text = String::from("[policy]\nname = \"random\"\n[groups.viewers]\n[groups.editors]\n");
    for principal in 0..3 {
        let group = if (number >> principal) & 1 == 0 { "viewers" } else { "editors" };
        text += &format!(
            "[principals.p{principal}]\nrole = \"arn:aws:iam::111122223333:role/p{principal}\"\ngroups = [\"{group}\"]\n"
        );
    }
    for role in 0..3 {
        let verb = ["get", "list", "watch"][((number >> role) % 3) as usize];
        text += &format!("[cluster-roles.r{role}]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n");
        text += &format!(
            "[bindings.b{role}-{}]\ncluster-role = \"r{role}\"\ngroups = [\"viewers\", \"editors\"]\n",
            number % 2
        );
    }
    text
}

/// A plugin that hangs if the file `hang` exists.
fn kubeconfig(proxy: &Proxy, folder: &Sandbox) -> PathBuf {
    let hang = folder.path("hang").display().to_string();
    let credential =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    let script = format!("if [ -e '{hang}' ]; then sleep 300; fi; echo '{credential}'");
    proxy.write_kubeconfig(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "eks",
        "clusters": [{ "name": "eks", "cluster": { "server": proxy.server() } }],
        "users": [{ "name": "eks", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
        } } }],
        "contexts": [{ "name": "eks", "context": { "cluster": "eks", "user": "eks" } }],
    }))
}

fn foreign_content(cluster: &TestCluster) -> (Value, Value) {
    let (_, role) = cluster.admin("GET", &format!("{RBAC}/clusterroles/theirs"), None);
    let (_, object) = cluster.admin("GET", AWS_AUTH, None);
    (role["rules"].clone(), object["data"]["other"].clone())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Kill,
    Interrupt,
    Terminate,
    Suspend,
    HangingPlugin,
}

#[test]
fn interrupted_applies_converge_and_keep_what_others_wrote() {
    let runs = std::env::var("ROLECALL_INTERRUPTED_APPLIES").ok().and_then(|text| text.parse().ok());
    let runs: usize = runs.unwrap_or(DEFAULT_RUNS);
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": FOREIGN, "other": "kept" }));
    let role = json!({
        "metadata": { "name": "theirs" },
        "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["nodes"] }],
    });
    assert_eq!(cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role)).0, 201);
    let foreign = foreign_content(&cluster);
    let mut random = Random(0x5eed_1234_abcd);
    let mut longest = Duration::ZERO;
    let mut interrupted = 0;
    let mut left_lease = false;
    for run_number in 0..runs {
        let policy = policy(random.below(8));
        let kinds = [
            Interruption::Kill,
            Interruption::Interrupt,
            Interruption::Terminate,
            Interruption::Suspend,
            Interruption::HangingPlugin,
        ];
        let kind = kinds[run_number % kinds.len()];
        let delay = random.below(20);
        let proxy = Proxy::start(&cluster, move |asked| {
            if asked.is_write() {
                std::thread::sleep(Duration::from_millis(delay));
            }
            ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
        });
        let direct = Sandbox::with_kubeconfig(cluster.kubeconfig());
        let sandbox = Sandbox::with_kubeconfig(proxy.write_kubeconfig(&Value::Null));
        kubeconfig(&proxy, &sandbox);
        sandbox.write("rolecall.toml", &policy);
        let context = format!("run {run_number}, {kind:?}");
        let mut run = Running::start(&sandbox, &["apply", "--auto-approve", "--request-timeout", REQUEST_TIMEOUT]);
        // At a random moment after the first write is sent, or at any time.
        let writes = usize::try_from(random.below(6)).unwrap();
        run.wait_until(|| proxy.writes().len() >= writes);
        std::thread::sleep(Duration::from_millis(random.below(60)));
        interrupted += usize::from(run.is_running());
        match kind {
            Interruption::Kill => run.signal(Signal::KILL),
            Interruption::Interrupt => run.signal(Signal::INT),
            Interruption::Terminate => run.signal(Signal::TERM),
            Interruption::Suspend => {
                run.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(random.below(1500)));
                run.signal(Signal::CONT);
            }
            Interruption::HangingPlugin => drop(sandbox.write("hang", "")),
        }
        let output = run.finish(&sandbox);
        let text = format!("{context}: {}{}", output.stdout, output.stderr);
        // A signal can arrive before the program has set its handlers, and then ends it at once.
        let ended_at_start = output.exit_code == -1 && output.stderr.is_empty() && proxy.writes().is_empty();
        match kind {
            Interruption::Kill => {}
            Interruption::Interrupt | Interruption::Terminate if ended_at_start => {}
            Interruption::Suspend => assert_eq!(output.exit_code, 0, "{text}"),
            // The signal may arrive before the Lease, or after the last write.
            Interruption::Interrupt => assert!([0, 1, 130].contains(&output.exit_code), "{text}"),
            Interruption::Terminate => assert!([0, 1, 143].contains(&output.exit_code), "{text}"),
            Interruption::HangingPlugin => assert!([0, 1].contains(&output.exit_code), "{text}"),
        }
        assert_eq!(foreign_content(&cluster), foreign, "{text}");
        let started = Instant::now();
        direct.write("rolecall.toml", &policy);
        let next = direct.run(&["apply", "--auto-approve"]);
        let took = started.elapsed();
        assert_eq!(next.exit_code, 0, "{text}\n{}{}", next.stdout, next.stderr);
        assert!(took < LONGEST_NEXT_APPLY, "{text}\n{took:?} {}", next.stderr);
        let has_waited = next.stderr.contains("waiting up to 15s for the Lease");
        left_lease |= kind == Interruption::Kill;
        assert!(!has_waited || left_lease, "{text}: the Lease was not released: {}", next.stderr);
        // An apply without changes does not take over the Lease of a killed one.
        left_lease &= !next.stderr.contains("Applying to ");
        longest = longest.max(took);
        if run_number % 20 == 19 {
            println!("{} applies, the next apply took at most {longest:?}", run_number + 1);
        }
        assert!(direct.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "{text}");
        assert_eq!(foreign_content(&cluster), foreign, "{text}");
        let (_, object) = cluster.admin("GET", AWS_AUTH, None);
        let entries = object["data"]["mapRoles"].as_str().unwrap_or_default();
        assert!(entries.starts_with(FOREIGN), "{text}: {entries}");
    }
    println!("{runs} applies, {interrupted} interrupted while they ran, the next apply took at most {longest:?}");
}
