//! Speed of the questions at three sizes, in memory, and of the section of a plan that says who gains and loses.
//!
//! `cargo bench --features measure --bench access` runs S, M and L; `… -- S M` some of them. No cluster is needed. What
//! is above its limit at L is marked, and so is what grows faster than the objects do from the smallest to the largest.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rolecall::bench::{BenchState, load_snapshot};

/// That of the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many of each; the objects are `namespaces × 37`, as in a cluster with many teams.
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
/// Per namespace: 2 ClusterRoles, 4 ClusterRoleBindings, 10 Roles, 20 RoleBindings, and itself.
const PER_NAMESPACE: [usize; 4] = [2, 4, 10, 20];
const GROUPS: usize = 50;
const RUNS: usize = 9;
const QUESTIONS: usize = 200;

/// What of a state differs from the one it is compared with.
#[derive(Clone, Copy)]
struct Changed {
    /// Of a hundred roles and bindings.
    share: usize,
}

impl Changed {
    fn meets(self, number: usize) -> bool {
        number % 100 < self.share
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
            let verbs = if changed.meets(number) { "get, list, delete" } else { "get, list" };
            let named = number % 40;
            format!(
                "[{{ verbs: [{verbs}], apiGroups: [\"\", apps], resources: [pods, deployments, kind-{named}] }}, \
                 {{ verbs: [create], apiGroups: [\"\"], resources: [pods/exec] }}]"
            )
        };
        let head = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ";
        let subject =
            |n: usize| format!("{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: group-{} }}", n % GROUPS);
        let role_ref = |kind: &str, name: String| {
            format!("roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name} }}")
        };
        for space in 0..self.namespaces {
            let _ = writeln!(out, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: ns-{space} }}");
            for n in 0..cluster_roles {
                let n = space * cluster_roles + n;
                let _ = writeln!(out, "{head}ClusterRole\nmetadata: {{ name: wide-{n} }}\nrules: {}", rule(n));
            }
            for n in 0..cluster_bindings {
                let n = space * cluster_bindings + n;
                let role = role_ref("ClusterRole", format!("wide-{}", n / 2));
                let _ = writeln!(
                    out,
                    "{head}ClusterRoleBinding\nmetadata: {{ name: wide-{n} }}\n{role}\nsubjects: [{}]",
                    subject(n)
                );
            }
            for n in 0..roles {
                let place = format!("metadata: {{ name: role-{n}, namespace: ns-{space} }}");
                let _ = writeln!(out, "{head}Role\n{place}\nrules: {}", rule(space * roles + n));
            }
            for n in 0..bindings {
                let number = space * bindings + n;
                let other = if changed.meets(number) { 11 } else { 7 };
                let place = format!("metadata: {{ name: bind-{n}, namespace: ns-{space} }}");
                let role = role_ref("Role", format!("role-{}", n / 2));
                let _ = writeln!(
                    out,
                    "{head}RoleBinding\n{place}\n{role}\nsubjects: [{}, {}]",
                    subject(number),
                    subject(number + other)
                );
            }
        }
        out
    }

    /// The policy that `import` would not write: one role and a binding for each, so that a plan creates them all.
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
            let space = n % self.namespaces;
            let _ = writeln!(
                out,
                "[roles.role-{n}]\nnamespaces = [\"ns-{space}\"]\nrules = [{{ verbs = [\"get\", \"list\"], resources = \
                 [\"pods\", \"kind-{}\"] }}]",
                n % 40
            );
            for half in 0..2 {
                let group = (n + half * 7) % GROUPS;
                let _ = writeln!(
                    out,
                    "[bindings.bind-{n}-{half}]\nrole = \"role-{n}\"\nnamespaces = [\"ns-{space}\"]\ngroups = [\"group-{group}\"]"
                );
            }
        }
        out
    }

    fn namespaces(&self) -> String {
        let one = |n: usize| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: ns-{n} }}\n");
        let system = "apiVersion: v1\nkind: Namespace\nmetadata: { name: kube-system, uid: measured }\n";
        system.to_owned() + &(0..self.namespaces).map(one).collect::<String>()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed<T>(runs: usize, mut run: impl FnMut() -> T) -> Duration {
    let one = |_| {
        let begin = Instant::now();
        black_box(run());
        begin.elapsed()
    };
    median((0..runs).map(one).collect())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A figure, its limit at L in milliseconds.
type Figure = (&'static str, Duration, f64);

fn read(folder: &Path, name: &str, text: &str) -> (BenchState, Duration) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let loaded = runtime.block_on(load_snapshot(&path)).unwrap();
    (loaded, begin.elapsed())
}

fn measure(size: &Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let state = |share: usize| read(folder.path(), &format!("{share}.yaml"), &size.snapshot(Changed { share }));
    let ((before, loading), (little, _), (all, _)) = (state(0), state(1), state(100));
    let making = timed(RUNS, || before.queries());
    let [before, little, all] = [&before, &little, &all].map(BenchState::queries);
    let who: Vec<String> =
        (0..QUESTIONS).map(|n| format!("arn:aws:iam::111122223333:role/person-{}", n * 7 % size.entries)).collect();
    let space = |n: usize| format!("ns-{}", n % size.namespaces);
    let can = timed(RUNS, || {
        let one = |(n, who): (usize, &String)| {
            before.can(who, if n % 2 == 0 { "get" } else { "delete" }, "", "pods", &space(n))
        };
        let ways: usize = who.iter().enumerate().map(one).sum();
        assert!(ways > 0);
    });
    let who_can = timed(RUNS, || assert!(before.who_can("get", "", "pods", "ns-1") > 0));
    let part = timed(RUNS, || assert!(before.delta(&little) > 0));
    let whole = timed(RUNS, || assert!(before.delta(&all) > 0));

    std::fs::write(folder.path().join("empty.yaml"), size.namespaces()).unwrap();
    std::fs::write(folder.path().join("rolecall.toml"), size.policy()).unwrap();
    let command = |name: &'static str, code: i32| {
        timed(3, || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
            let end = command.arg(name).current_dir(folder.path()).env_clear().output().unwrap();
            assert_eq!(end.status.code(), Some(code), "{}", String::from_utf8_lossy(&end.stderr));
        })
    };
    // Both make the same plan; `plan` tells of the access too, and of each change whether it has to do with it.
    let section = command("plan", 0).saturating_sub(command("drift", 2));
    println!("{}  objects {}, entries {}", size.name, size.objects(), size.entries);
    vec![
        ("load a snapshot", loading, f64::INFINITY),
        ("before the first question", making, f64::INFINITY),
        ("can", can / u32::try_from(QUESTIONS).unwrap(), 2.0),
        ("who-can", who_can, 50.0),
        ("delta of 1 %", part, 200.0),
        ("delta of 100 %", whole, 2000.0),
        ("section of a plan that creates all", section, 2000.0),
    ]
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sizes = SIZES.iter().filter(|size| asked.is_empty() || asked.iter().any(|name| name == size.name));
    let mut first: Option<(usize, Vec<Figure>)> = None;
    for size in sizes {
        let figures = measure(size);
        for (number, (what, time, limit)) in figures.iter().enumerate() {
            let over = if size.name == "L" && ms(*time) > *limit { "  OVER ITS LIMIT" } else { "" };
            let growth = first.as_ref().map_or(String::new(), |(objects, earlier)| {
                let (objects, was) = (size.objects() as f64 / *objects as f64, earlier[number].1);
                // What starts within the noise of a command has no growth that could be told.
                if ms(was) < 0.001 {
                    return String::new();
                }
                format!("  objects ×{objects:.0}, time ×{:.1}", ms(*time) / ms(was))
            });
            println!("   {what:<36} {:>9.3} ms{over}{growth}", ms(*time));
        }
        first.get_or_insert((size.objects(), figures));
    }
}
