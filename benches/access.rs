//! Measures queries and access diffs in memory at three sizes, and the access section of a plan.
//!
//! `cargo bench --features measure --bench access` runs the sizes S, M and L; `… -- S M` runs some of them. No cluster
//! is needed. Times above their limit at size L are marked. Every time is printed with its growth from the smallest size.

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

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rolecall::bench::{BenchState, load_snapshot};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A size of cluster. There are 37 objects per namespace, as in a cluster with many teams.
struct Size {
    name: &'static str,
    namespaces: usize,
    entries: usize,
}

const SIZES: [Size; 3] = [
    Size { name: "S", namespaces: 5, entries: 30 },
    Size { name: "M", namespaces: 70, entries: 400 },
    Size { name: "L", namespaces: 500, entries: 3_000 },
];
/// Objects per namespace: 2 ClusterRoles, 4 ClusterRoleBindings, 10 Roles and 20 RoleBindings.
const PER_NAMESPACE: [usize; 4] = [2, 4, 10, 20];
const GROUPS: usize = 50;
const RUNS: usize = 9;
const QUESTIONS: usize = 200;

/// How much of a state differs from the original.
#[derive(Clone, Copy)]
struct Changed {
    /// Of the roles and bindings.
    percent: usize,
}

impl Changed {
    fn includes(self, number: usize) -> bool {
        number % 100 < self.percent
    }
}

impl Size {
    fn objects(&self) -> usize {
        self.namespaces * (PER_NAMESPACE.iter().sum::<usize>() + 1)
    }

    fn snapshot(&self, changed: Changed) -> String {
        let mut out = String::from("apiVersion: v1\nkind: Namespace\nmetadata: { name: kube-system, uid: measured }\n");
        let [cluster_roles, cluster_bindings, roles, bindings] = PER_NAMESPACE;
        let mut auth = String::new();
        for n in 0..self.entries {
            let arn = format!("arn:aws:iam::111122223333:role/person-{n}");
            let _ = writeln!(
                auth,
                "    - rolearn: {arn}\n      username: person-{n}\n      groups: [group-{}]",
                n % GROUPS
            );
        }
        let _ = write!(
            out,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system }}\ndata:\n  mapRoles: |\n{auth}"
        );
        let rule = |number: usize| {
            let verbs = if changed.includes(number) { "get, list, delete" } else { "get, list" };
            let kind = number % 40;
            format!(
                "[{{ verbs: [{verbs}], apiGroups: [\"\", apps], resources: [pods, deployments, kind-{kind}] }}, \
                 {{ verbs: [create], apiGroups: [\"\"], resources: [pods/exec] }}]"
            )
        };
        let header = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ";
        let subject =
            |n: usize| format!("{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: group-{} }}", n % GROUPS);
        let role_ref = |kind: &str, name: String| {
            format!("roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name} }}")
        };
        for namespace in 0..self.namespaces {
            let _ = writeln!(out, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: ns-{namespace} }}");
            for n in 0..cluster_roles {
                let n = namespace * cluster_roles + n;
                let _ = writeln!(out, "{header}ClusterRole\nmetadata: {{ name: wide-{n} }}\nrules: {}", rule(n));
            }
            for n in 0..cluster_bindings {
                let n = namespace * cluster_bindings + n;
                let role = role_ref("ClusterRole", format!("wide-{}", n / 2));
                let _ = writeln!(
                    out,
                    "{header}ClusterRoleBinding\nmetadata: {{ name: wide-{n} }}\n{role}\nsubjects: [{}]",
                    subject(n)
                );
            }
            for n in 0..roles {
                let metadata = format!("metadata: {{ name: role-{n}, namespace: ns-{namespace} }}");
                let _ = writeln!(out, "{header}Role\n{metadata}\nrules: {}", rule(namespace * roles + n));
            }
            for n in 0..bindings {
                let number = namespace * bindings + n;
                let offset = if changed.includes(number) { 11 } else { 7 };
                let metadata = format!("metadata: {{ name: bind-{n}, namespace: ns-{namespace} }}");
                let role = role_ref("Role", format!("role-{}", n / 2));
                let _ = writeln!(
                    out,
                    "{header}RoleBinding\n{metadata}\n{role}\nsubjects: [{}, {}]",
                    subject(number),
                    subject(number + offset)
                );
            }
        }
        out
    }

    /// A policy with one role and its bindings for each role of the snapshot, so that a plan creates all of them.
    fn policy(&self) -> String {
        let mut out = String::from("[policy]\nname = \"sizes\"\n[clusters.one]\nsnapshot = \"empty.yaml\"\n");
        for n in 0..GROUPS {
            let _ = writeln!(out, "[groups.group-{n}]");
        }
        for n in 0..self.entries {
            let arn = format!("arn:aws:iam::111122223333:role/person-{n}");
            let _ = writeln!(out, "[principals.person-{n}]\nrole = \"{arn}\"\ngroups = [\"group-{}\"]", n % GROUPS);
        }
        for n in 0..self.namespaces * (PER_NAMESPACE[0] + PER_NAMESPACE[2]) {
            let namespace = n % self.namespaces;
            let _ = writeln!(
                out,
                "[roles.role-{n}]\nnamespaces = [\"ns-{namespace}\"]\nrules = [{{ verbs = [\"get\", \"list\"], resources = \
                 [\"pods\", \"kind-{}\"] }}]",
                n % 40
            );
            for half in 0..2 {
                let group = (n + half * 7) % GROUPS;
                let _ = writeln!(
                    out,
                    "[bindings.bind-{n}-{half}]\nrole = \"role-{n}\"\nnamespaces = [\"ns-{namespace}\"]\ngroups = [\"group-{group}\"]"
                );
            }
        }
        out
    }

    fn namespaces(&self) -> String {
        let namespace = |n: usize| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: ns-{n} }}\n");
        let system = "apiVersion: v1\nkind: Namespace\nmetadata: { name: kube-system, uid: measured }\n";
        system.to_owned() + &(0..self.namespaces).map(namespace).collect::<String>()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The median time of several runs.
fn timed<T>(runs: usize, mut run: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    };
    median((0..runs).map(time).collect())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What is measured, the time, and its limit at size L in milliseconds.
type Measurement = (&'static str, Duration, f64);

fn load(folder: &Path, name: &str, text: &str) -> (BenchState, Duration) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let loaded = runtime.block_on(load_snapshot(&path)).unwrap();
    (loaded, start.elapsed())
}

fn measure(size: &Size) -> Vec<Measurement> {
    let folder = tempfile::tempdir().unwrap();
    let state = |percent: usize| load(folder.path(), &format!("{percent}.yaml"), &size.snapshot(Changed { percent }));
    let ((original, load_time), (one_percent, _), (all, _)) = (state(0), state(1), state(100));
    // About 3,000 of the objects of size L.
    let (sixth, _) = state(17);
    let order_time = timed(3, || assert!(original.count_ordered_steps(&sixth).unwrap() > 0));
    let prepare_time = timed(RUNS, || original.queries());
    let [original, one_percent, all] = [&original, &one_percent, &all].map(BenchState::queries);
    let subjects: Vec<String> =
        (0..QUESTIONS).map(|n| format!("arn:aws:iam::111122223333:role/person-{}", n * 7 % size.entries)).collect();
    let namespace = |n: usize| format!("ns-{}", n % size.namespaces);
    let can = timed(RUNS, || {
        let count_grants = |(n, subject): (usize, &String)| {
            original.can(subject, if n % 2 == 0 { "get" } else { "delete" }, "", "pods", &namespace(n))
        };
        let grants: usize = subjects.iter().enumerate().map(count_grants).sum();
        assert!(grants > 0);
    });
    let who_can = timed(RUNS, || assert!(original.who_can("get", "", "pods", "ns-1") > 0));
    let small_diff = timed(RUNS, || assert!(original.delta(&one_percent) > 0));
    let full_diff = timed(RUNS, || assert!(original.delta(&all) > 0));

    std::fs::write(folder.path().join("empty.yaml"), size.namespaces()).unwrap();
    std::fs::write(folder.path().join("rolecall.toml"), size.policy()).unwrap();
    let command = |name: &'static str, code: i32| {
        timed(3, || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
            let output = command.arg(name).current_dir(folder.path()).env_clear().output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        })
    };
    // Both commands make the same plan. Only `plan` computes the access diff and the impact of each change.
    let access_section = command("plan", 0).saturating_sub(command("drift", 2));
    println!("{}  objects {}, entries {}", size.name, size.objects(), size.entries);
    vec![
        ("load a snapshot", load_time, f64::INFINITY),
        ("prepare the first query", prepare_time, f64::INFINITY),
        ("can", can / u32::try_from(QUESTIONS).unwrap(), 2.0),
        ("who-can", who_can, 50.0),
        ("access diff of 1 % changed", small_diff, 200.0),
        ("order of 17 % changed", order_time, 2000.0),
        ("access diff of 100 % changed", full_diff, 2000.0),
        ("access section of a plan", access_section, 2000.0),
    ]
}

fn main() {
    let selected: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sizes = SIZES.iter().filter(|size| selected.is_empty() || selected.iter().any(|name| name == size.name));
    let mut first: Option<(usize, Vec<Measurement>)> = None;
    for size in sizes {
        let measurements = measure(size);
        for (index, (label, time, limit)) in measurements.iter().enumerate() {
            let over = if size.name == "L" && ms(*time) > *limit { "  OVER LIMIT" } else { "" };
            let growth = first.as_ref().map_or(String::new(), |(objects, earlier)| {
                let (objects, first_time) = (size.objects() as f64 / *objects as f64, earlier[index].1);
                // The difference of two commands can be within the noise, and then the growth means nothing.
                if ms(first_time) < 0.001 {
                    return String::new();
                }
                format!("  objects ×{objects:.0}, time ×{:.1}", ms(*time) / ms(first_time))
            });
            println!("   {label:<36} {:>9.3} ms{over}{growth}", ms(*time));
        }
        first.get_or_insert((size.objects(), measurements));
    }
}
