//! Measures time and memory of each format of a plan of 10,000 changes, from its saved file.
//!
//! `cargo bench --bench reports`. The times are of whole processes, with reading the file. The baseline is JSON.

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

use std::fmt::Write as _;

use common::measuring::{median, peak_memory, timed};
use common::sandbox::Sandbox;

const CHANGES: usize = 10_000;
const RUNS: usize = 5;

const SNAPSHOT: &str = "apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: a }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: edit, resourceVersion: \"1\" }
rules: [{ verbs: [get, update], apiGroups: [\"\"], resources: [secrets, pods] }]
";

fn main() {
    let sandbox = Sandbox::offline();
    let mut policy = String::from("[policy]\nname = \"reports\"\n[clusters.prod]\nsnapshot = \"cluster.yaml\"\n");
    for n in 0..CHANGES {
        writeln!(policy, "[bindings.b{n}]\ncluster-role = \"edit\"\nusers = [\"user-{n}\"]").unwrap();
    }
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", &policy);
    timed(&sandbox, &["plan", "access.toml", "--out", "plan.json"]);
    for format in ["json", "text", "markdown", "html", "summary", "sarif", "junit"] {
        let args: Vec<&str> = match format {
            "text" => vec!["show", "plan.json", "--full"],
            _ => vec!["show", "plan.json", "-o", format],
        };
        let time = median((0..RUNS).map(|_| timed(&sandbox, &args)).collect());
        let peak = (0..RUNS).map(|_| peak_memory(&sandbox, &args)).max().unwrap_or_default();
        println!("{format:<9} {:>8.1} ms  peak {peak} MB", time.as_secs_f64() * 1000.0);
    }
}
