//! Measures time and memory of the commands on the test cluster at three sizes, with a baseline in the same run.
//!
//! `cargo bench --bench sizes` runs the sizes S, M and L; `cargo bench --bench sizes -- S` runs one of them. The times
//! are of whole processes. The baselines are the same requests without parsing the responses.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panic and uses files and processes, as tests do"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::TestCluster;
use common::measuring::{median, peak_memory, timed};
use common::sandbox::Sandbox;
use http::{Request, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};

/// A size of cluster and policy.
struct Size {
    name: &'static str,
    namespaces: usize,
    cluster_roles: usize,
    cluster_bindings: usize,
    roles: usize,
    bindings: usize,
    principals: usize,
}

const SIZES: [Size; 3] = [
    Size {
        name: "S",
        namespaces: 10,
        cluster_roles: 10,
        cluster_bindings: 20,
        roles: 40,
        bindings: 80,
        principals: 30,
    },
    Size {
        name: "M",
        namespaces: 100,
        cluster_roles: 200,
        cluster_bindings: 400,
        roles: 700,
        bindings: 1_300,
        principals: 400,
    },
    Size {
        name: "L",
        namespaces: 500,
        cluster_roles: 1_000,
        cluster_bindings: 2_000,
        roles: 5_000,
        bindings: 10_000,
        principals: 3_000,
    },
];
/// The number of groups in bindings and principals.
const GROUPS: usize = 50;
/// The number of requests that the baseline of `apply` sends in parallel.
const PARALLEL_CREATES: usize = 16;
const RUNS: usize = 9;

impl Size {
    fn policy(&self) -> String {
        let mut out = String::from("[policy]\nname = \"sizes\"\n");
        for n in 0..GROUPS {
            writeln!(out, "[groups.group-{n}]").unwrap();
        }
        for n in 0..self.principals {
            writeln!(
                out,
                "[principals.person-{n}]\nrole = \"arn:aws:iam::111122223333:role/person-{n}\"\ngroups = [\"group-{}\"]",
                n % GROUPS
            )
            .unwrap();
        }
        let rules = "rules = [{ verbs = [\"get\", \"list\", \"watch\"], api-groups = [\"\", \"apps\"], resources = \
                     [\"pods\", \"deployments\", \"services\"] }, { verbs = [\"create\"], resources = [\"pods/exec\"] }]";
        for n in 0..self.cluster_roles {
            writeln!(out, "[cluster-roles.wide-{n}]\n{rules}").unwrap();
        }
        for n in 0..self.roles {
            writeln!(out, "[roles.role-{n}]\nnamespaces = [\"ns-{}\"]\n{rules}", n % self.namespaces).unwrap();
        }
        for n in 0..self.cluster_bindings {
            let (role, group) = (n % self.cluster_roles, n % GROUPS);
            writeln!(out, "[bindings.wide-{n}]\ncluster-role = \"wide-{role}\"\ngroups = [\"group-{group}\"]").unwrap();
        }
        for n in 0..self.bindings {
            let role = n % self.roles;
            writeln!(
                out,
                "[bindings.bind-{n}]\nrole = \"role-{role}\"\nnamespaces = [\"ns-{}\"]\ngroups = [\"group-{}\", \"group-{}\"]",
                role % self.namespaces,
                n % GROUPS,
                (n + 7) % GROUPS
            )
            .unwrap();
        }
        out
    }

    fn objects(&self) -> usize {
        self.namespaces + self.cluster_roles + self.cluster_bindings + self.roles + self.bindings
    }
}

/// Sends the requests of the baselines, with new connections for each measurement, as a new process has them.
struct RawClient {
    runtime: tokio::runtime::Runtime,
    cluster: BTreeMap<&'static str, String>,
}

impl RawClient {
    fn new(cluster: &TestCluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let cluster = BTreeMap::from([
            ("server", cluster.server().to_owned()),
            ("token", cluster.admin_token().to_owned()),
            ("ca", cluster.ca_file().display().to_string()),
        ]);
        Self { runtime, cluster }
    }

    fn client(&self) -> Client {
        let mut config = Config::new(self.cluster["server"].parse().unwrap());
        config.root_cert_file = Some(self.cluster["ca"].clone().into());
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    async fn send(client: Client, token: String, method: &'static str, path: String, body: Option<Value>) -> usize {
        let mut request =
            Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let response = client.send(request.body(Body::from(text.into_bytes())).unwrap()).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await.unwrap().to_bytes().len()
    }

    /// All lists that a plan needs, in parallel. Returns the size of the responses and the time.
    fn list_all(&self) -> (usize, Duration) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let paths = [
            "/api/v1/namespaces".to_owned(),
            "/api/v1/namespaces/kube-system/configmaps/aws-auth".to_owned(),
            format!("{rbac}/clusterroles"),
            format!("{rbac}/clusterrolebindings"),
            format!("{rbac}/roles"),
            format!("{rbac}/rolebindings"),
        ];
        let start = Instant::now();
        let bytes = self.runtime.block_on(async {
            let client = self.client();
            let requests = paths
                .map(|path| tokio::spawn(Self::send(client.clone(), self.cluster["token"].clone(), "GET", path, None)));
            let mut bytes = 0;
            for request in requests {
                bytes += request.await.unwrap();
            }
            bytes
        });
        (bytes, start.elapsed())
    }

    /// Creates the objects with [`PARALLEL_CREATES`] requests at a time.
    fn create_all(&self, objects: Vec<(String, Value)>) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(async {
            let client = self.client();
            let queue = std::sync::Arc::new(std::sync::Mutex::new(objects));
            let workers: Vec<_> = (0..PARALLEL_CREATES)
                .map(|_| {
                    let (client, queue, token) = (client.clone(), queue.clone(), self.cluster["token"].clone());
                    tokio::spawn(async move {
                        loop {
                            let Some((path, body)) = queue.lock().unwrap().pop() else {
                                return;
                            };
                            Self::send(client.clone(), token.clone(), "POST", path, Some(body)).await;
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.await.unwrap();
            }
        });
        start.elapsed()
    }
}

fn namespaces(size: &Size) -> Vec<(String, Value)> {
    (0..size.namespaces)
        .map(|n| {
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("ns-{n}") } });
            ("/api/v1/namespaces".to_owned(), body)
        })
        .collect()
}

/// The requests that `apply` would send, from the plan.
fn planned_requests(sandbox: &Sandbox) -> Vec<(String, Value)> {
    let plan = sandbox.plan(&[]);
    let steps = plan["steps"].as_array().unwrap();
    let path = |object: &Value| {
        let kind = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
        let root = if kind == "configmaps" { "/api/v1" } else { "/apis/rbac.authorization.k8s.io/v1" };
        match object["namespace"].as_str() {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{kind}"),
            None => format!("{root}/{kind}"),
        }
    };
    steps.iter().rev().map(|step| (path(&step["object"]), step["write"]["body"].clone())).collect()
}

fn measure(size: &Size) {
    let policy = size.policy();
    let lines = policy.lines().count();
    // The baseline has its own cluster, so that both start with an empty one.
    let baseline = {
        let cluster = TestCluster::start();
        let raw = RawClient::new(&cluster);
        raw.create_all(namespaces(size));
        let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
        sandbox.write("rolecall.toml", &policy);
        raw.create_all(planned_requests(&sandbox))
    };
    let cluster = TestCluster::start();
    let raw = RawClient::new(&cluster);
    raw.create_all(namespaces(size));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", &policy);
    let validate = median((0..RUNS).map(|_| timed(&sandbox, &["validate"])).collect());
    let apply = timed(&sandbox, &["apply", "--auto-approve"]);
    let (mut plans, mut lists, mut bytes) = (Vec::new(), Vec::new(), 0);
    let peak = (0..RUNS).map(|_| peak_memory(&sandbox, &["plan"])).max().unwrap_or_default();
    for _ in 0..RUNS {
        plans.push(timed(&sandbox, &["plan"]));
        let (size, time) = raw.list_all();
        bytes = size;
        lists.push(time);
    }
    let (plan, list) = (median(plans), median(lists));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{}  objects {}, entries {}, policy {lines} lines\n   validate  {:>8.1} ms\n   plan      {:>8.1} ms  raw \
         lists {:>8.1} ms ({:.1} MB)  ratio {:.2}  peak {peak} MB\n   apply     {:>8.1} ms  raw creates {:>6.1} ms  ratio \
         {:.2}",
        size.name,
        size.objects(),
        size.principals,
        ms(validate),
        ms(plan),
        ms(list),
        bytes as f64 / 1e6,
        ms(plan) / ms(list),
        ms(apply),
        ms(baseline),
        ms(apply) / ms(baseline),
    );
}

fn main() {
    let selected: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for size in SIZES.iter().filter(|size| selected.is_empty() || selected.iter().any(|name| name == size.name)) {
        measure(size);
    }
}
