//! Measures inputs of up to 1 MiB that are made to be slow: a policy or a snapshot in which one thing is
//! repeated. Each must be handled or refused within 2 s and 300 MB, and the growth with the size is shown.
//!
//! `cargo bench --bench hostile_sizes` runs all kinds; `cargo bench --bench hostile_sizes -- rules` runs those whose name
//! contains the word.

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

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::measuring::peak_so_far;
use common::sandbox::Sandbox;

const MIB: usize = 1 << 20;
const MAX_TIME: Duration = Duration::from_secs(2);
/// In MB.
const MAX_MEMORY: u64 = 300;
/// A run that takes longer is stopped.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Files of which one has the wanted size, and the commands that read them.
struct Input {
    policy: String,
    snapshot: String,
    commands: &'static [&'static [&'static str]],
}

const PLAN: &[&[&str]] = &[&["plan", "--snapshot", "cluster.yaml"]];
const VALIDATE: &[&[&str]] = &[&["validate"]];
const QUESTIONS: &[&[&str]] = &[
    &["plan", "--snapshot", "cluster.yaml"],
    &["access", "--snapshot", "cluster.yaml"],
    &["who-can", "delete", "pods", "-A", "--snapshot", "cluster.yaml"],
    &["can", "user:u1", "get", "pods", "-A", "--snapshot", "cluster.yaml"],
];

const EMPTY_POLICY: &str = "[policy]\nname = \"x\"\n";
const EMPTY_SNAPSHOT: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aws-auth, namespace: kube-system}\ndata: {}\n";

/// Repeats items until they have `bytes` bytes.
fn repeat(bytes: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < bytes {
        text.push_str(&item(number));
        number += 1;
    }
    text
}

fn object(kind: &str, name: &str, namespaced: bool, rest: &str) -> String {
    let namespace = if namespaced { ", namespace: default" } else { "" };
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\n{rest}\n"
    )
}

fn role_ref(kind: &str, name: &str) -> String {
    format!("roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}\n")
}

fn user(number: usize) -> String {
    format!("- {{kind: User, apiGroup: rbac.authorization.k8s.io, name: u{number}}}\n")
}

fn aws_auth(section: &str, entries: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: aws-auth, namespace: kube-system}}\ndata:\n  {section}: |\n{entries}"
    )
}

/// An ARN that the authenticator takes for the same one, because it compares without case.
fn spelling(number: usize) -> String {
    let letter = |bit: usize| {
        let letter = char::from(b'a' + u8::try_from(bit).unwrap());
        if number >> bit & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
    };
    (0..16).map(letter).collect()
}

fn policy(text: String) -> Input {
    let policy = format!("{EMPTY_POLICY}{text}");
    Input { policy, snapshot: EMPTY_SNAPSHOT.to_owned(), commands: PLAN }
}

fn snapshot(text: String) -> Input {
    Input { policy: EMPTY_POLICY.to_owned(), snapshot: text, commands: QUESTIONS }
}

fn toml_rules(bytes: usize, verbs: &str) -> String {
    repeat(bytes, |n| format!("  {{ verbs = [{verbs}], resources = [\"r{n}\"] }},\n"))
}

type Kind = (&'static str, fn(usize) -> Input);

/// Every kind of input, by the size in bytes.
fn kinds() -> Vec<Kind> {
    vec![
        ("policy: unknown keys", |bytes| policy(repeat(bytes, |n| format!("key{n} = 1\n")))),
        ("policy: rules of a role", |bytes| {
            policy(format!("[roles.r]\nnamespaces = [\"default\"]\nrules = [\n{}]\n", toml_rules(bytes, "\"get\"")))
        }),
        ("policy: principals", |bytes| {
            policy(repeat(bytes, |n| {
                format!("[principals.p{n}]\nrole = \"arn:aws:iam::111122223333:role/p{n}\"\ngroups = [\"g{n}\"]\n")
            }))
        }),
        ("policy: groups of a principal", |bytes| {
            let groups = repeat(bytes, |n| format!("\"g{n}\","));
            policy(format!("[principals.p]\nrole = \"arn:aws:iam::111122223333:role/p\"\ngroups = [{groups}]\n"))
        }),
        ("policy: users of a binding", |bytes| {
            let users = repeat(bytes, |n| format!("\"u{n}\","));
            policy(format!("[bindings.b]\nrole = \"view\"\nusers = [{users}]\n"))
        }),
        ("policy: bindings", |bytes| {
            policy(repeat(bytes, |n| format!("[bindings.b{n}]\nrole = \"view\"\nusers = [\"u\"]\n")))
        }),
        ("policy: invariants", |bytes| {
            policy(repeat(bytes, |n| {
                format!("[[invariants]]\nname = \"i{n}\"\nsubject = \"group:g{n}\"\ncannot = [\"delete pods\"]\n")
            }))
        }),
        ("policy: nested arrays", |bytes| policy(format!("x = {}\n", "[".repeat(bytes)))),
        ("policy: one string", |bytes| policy(format!("x = \"{}\"\n", "a".repeat(bytes)))),
        ("policy: one line of `=`", |bytes| policy("=".repeat(bytes))),
        ("policy: lines of `=`", |bytes| policy("=\n".repeat(bytes / 2))),
        ("policy and snapshot: a role widened for many users", |bytes| {
            let users = repeat(bytes / 4, |n| format!("\"u{n}\","));
            let rules = toml_rules(bytes / 2, "\"get\", \"list\"");
            let live = repeat(bytes / 4, |n| format!("- {{verbs: [get], apiGroups: [\"\"], resources: [r{n}]}}\n"));
            let role = object("Role", "r", true, &format!("rules:\n{live}"));
            let subjects = repeat(bytes / 4, user);
            let binding = object("RoleBinding", "b", true, &format!("{}subjects:\n{subjects}", role_ref("Role", "r")));
            Input {
                policy: format!(
                    "{EMPTY_POLICY}[roles.r]\nnamespaces = [\"default\"]\nrules = [\n{rules}]\n[bindings.b]\nrole = \"r\"\n\
                     namespaces = [\"default\"]\nusers = [{users}]\n"
                ),
                snapshot: format!("{EMPTY_SNAPSHOT}{role}{binding}"),
                commands: PLAN,
            }
        }),
        ("snapshot: entries of aws-auth", |bytes| {
            let entry = |n| {
                format!(
                    "    - rolearn: arn:aws:iam::111122223333:role/r{n}\n      username: u{n}\n      groups: [g{n}]\n"
                )
            };
            snapshot(aws_auth("mapRoles", &repeat(bytes, entry)))
        }),
        ("snapshot: spellings of one ARN", |bytes| {
            let entry = |n| {
                let name = spelling(n);
                format!(
                    "    - userarn: arn:aws:iam::111122223333:user/{name}\n      username: u{n}\n      groups: [g{n}]\n"
                )
            };
            snapshot(aws_auth("mapUsers", &repeat(bytes, entry)))
        }),
        ("snapshot: groups of an entry", |bytes| {
            let groups = repeat(bytes, |n| format!("g{n},"));
            let entry = format!("    - rolearn: arn:aws:iam::111122223333:role/r\n      groups: [{groups}]\n");
            snapshot(aws_auth("mapRoles", &entry))
        }),
        ("snapshot: placeholders in a name", |bytes| {
            let name = "a{{SessionName}}".repeat(bytes / 16);
            let entry = format!("    - rolearn: arn:aws:iam::111122223333:role/r\n      username: '{name}'\n");
            let subjects = repeat(1_000, user);
            let binding =
                object("RoleBinding", "b", true, &format!("{}subjects:\n{subjects}", role_ref("ClusterRole", "view")));
            snapshot(format!("{}{binding}", aws_auth("mapRoles", &entry)))
        }),
        ("snapshot: rules and subjects", |bytes| {
            let rules = repeat(bytes / 2, |n| format!("- {{verbs: [get], apiGroups: [\"\"], resources: [r{n}]}}\n"));
            let role = object("Role", "r", true, &format!("rules:\n{rules}"));
            let subjects = repeat(bytes / 2, user);
            let binding = object("RoleBinding", "b", true, &format!("{}subjects:\n{subjects}", role_ref("Role", "r")));
            snapshot(format!("{EMPTY_SNAPSHOT}{role}{binding}"))
        }),
        ("snapshot: roles and bindings of one user", |bytes| {
            let objects = repeat(bytes, |n| {
                let rules = format!("rules: [{{verbs: [get], apiGroups: [\"\"], resources: [r{n}]}}]");
                let bound = format!("{}subjects:\n{}", role_ref("Role", &format!("r{n}")), user(1));
                object("Role", &format!("r{n}"), true, &rules) + &object("RoleBinding", &format!("b{n}"), true, &bound)
            });
            snapshot(format!("{EMPTY_SNAPSHOT}{objects}"))
        }),
        ("snapshot: chain of aggregated roles", |bytes| {
            let objects = repeat(bytes, |n| {
                format!(
                    "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: a{n}, labels: {{l{n}: x}}}}\n\
                     aggregationRule: {{clusterRoleSelectors: [{{matchLabels: {{l{}: x}}}}]}}\nrules: []\n",
                    n + 1
                )
            });
            snapshot(format!("{EMPTY_SNAPSHOT}{objects}"))
        }),
        ("snapshot: nested YAML", |bytes| snapshot(format!("a: {}", "[".repeat(bytes)))),
        ("snapshot: aliases of aliases", |bytes| {
            let aliases = repeat(bytes, |n| match n {
                0 => "a0: &a0 [x]\n".to_owned(),
                n => format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1),
            });
            snapshot(format!("apiVersion: v1\nkind: ConfigMap\n{aliases}"))
        }),
        ("snapshot: one line", |bytes| snapshot(format!("{{a: \"{}\"}}", "x".repeat(bytes)))),
        ("snapshot: documents", |bytes| snapshot("---\n".repeat(bytes / 4))),
        ("policy: contexts of clusters", |bytes| Input {
            commands: VALIDATE,
            ..policy(repeat(bytes, |n| format!("[clusters.c{n}]\ncontext = \"c{n}\"\n")))
        }),
    ]
}

/// Runs a command and returns its time and its peak memory in MB. `None` if it does not end.
fn measure(sandbox: &Sandbox, args: &[&str]) -> Option<(Duration, u64)> {
    let start = Instant::now();
    let mut child = sandbox.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut max = 0;
    loop {
        if let Some(exit) = child.try_wait().unwrap() {
            assert!(exit.code().is_some(), "rolecall {args:?} ended by {exit}");
            return Some((start.elapsed(), max / 1024));
        }
        if start.elapsed() > TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        max = peak_so_far(&child).unwrap_or(max).max(max);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn main() {
    let selected: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = Vec::new();
    println!("{:<55} {:<8} {:>12} {:>12} {:>12}", "input", "command", "256 KiB", "512 KiB", "1 MiB");
    for (name, input) in kinds() {
        if !selected.is_empty() && !selected.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let inputs: Vec<Input> = [MIB / 4, MIB / 2, MIB].into_iter().map(input).collect();
        for args in inputs[0].commands {
            let mut row = format!("{name:<55} {:<8}", args[0]);
            for input in &inputs {
                let sandbox = Sandbox::offline();
                sandbox.write("rolecall.toml", &input.policy).write("cluster.yaml", &input.snapshot);
                let Some((time, memory)) = measure(&sandbox, args) else {
                    row.push_str("   not within 60 s");
                    failed.push(format!("{name}: {}", args[0]));
                    break;
                };
                row.push_str(&format!(" {:>5} ms {memory:>3} MB", time.as_millis()));
                if time > MAX_TIME || memory > MAX_MEMORY {
                    failed.push(format!("{name}: {}", args[0]));
                }
            }
            println!("{row}");
        }
    }
    failed.dedup();
    assert!(failed.is_empty(), "over 2 s or 300 MB: {failed:#?}");
}
