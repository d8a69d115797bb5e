//! Waits have limits: credential plugins with their children, pipes in place of files, the confirmation of a change of
//! aws-auth, and the Lease of another apply.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::credential_plugin::CredentialPlugin;
use crate::common::hostile_server::{HostileServer, hang};
use crate::common::proxy::{Proxy, ProxyAction};
use crate::common::running::Running;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::{CLUSTER, LockedCluster, cluster, spawn};
use serde_json::{Value, json};

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const MERGE: Option<&str> = Some("application/merge-patch+json");
pub(crate) const NODES: &str = "\
- groups: [system:bootstrappers, system:nodes]
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
";
const POLICY: &str = r#"
[policy]
name = "limits"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[bindings.viewers]
cluster-role = "view"
groups = ["viewers"]
"#;
/// Generous for a loaded machine, and far below the limits without the flags.
pub(crate) const SOON: Duration = Duration::from_secs(40);

pub(crate) fn prepared_cluster() -> LockedCluster {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
    cluster
}

pub(crate) fn aws_auth(cluster: &TestCluster) -> Value {
    let object = cluster.admin("GET", AWS_AUTH, None).1;
    json!([object["data"], object["metadata"]["annotations"], object["metadata"]["labels"]])
}

pub(crate) fn lease_holder(cluster: &TestCluster) -> String {
    let lease = cluster.admin("GET", &format!("{LEASES}/rolecall"), None).1;
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// A kubeconfig whose user has these fields, for a server that does not matter.
fn kubeconfig_with_user(user: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:9" } }],
        "users": [{ "name": "c", "user": user }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    })
    .to_string()
}

fn plugin_kubeconfig(script: &str) -> String {
    kubeconfig_with_user(&json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
        "interactiveMode": "Never",
    } }))
}

fn make_fifo(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    path
}

/// Runs the command, which must fail soon with these texts in its error.
#[track_caller]
fn assert_fails_soon(sandbox: &Sandbox, args: &[&str], messages: &[&str]) {
    let started = Instant::now();
    let output = Running::start(sandbox, args).finish(sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    for message in messages {
        assert!(output.stderr.contains(message), "{message}: {}", output.stderr);
    }
    assert!(started.elapsed() < SOON, "{:?}: {}", started.elapsed(), output.stderr);
}

/// A killed process is a zombie until its new parent waits for it.
#[track_caller]
fn assert_ends(pid_file: &std::path::Path) {
    let pid = std::fs::read_to_string(pid_file).unwrap().trim().to_owned();
    let deadline = Instant::now() + SOON;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} still runs: {stat}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn plugin_that_hangs_is_killed_with_its_children() {
    let sandbox = Sandbox::offline();
    let pid_file = sandbox.path("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", pid_file.display());
    sandbox.write("config", &plugin_kubeconfig(&script)).write("rolecall.toml", POLICY);
    let messages = ["the credential plugin `/bin/sh` timed out after 500ms", "--request-timeout 1s"];
    assert_fails_soon(&sandbox, &["plan", "--kubeconfig", "config", "--request-timeout", "500ms"], &messages);
    assert_ends(&pid_file);
}

#[test]
fn plugin_still_running_when_the_observation_times_out_is_killed_with_its_children() {
    let sandbox = Sandbox::offline();
    let pid_file = sandbox.path("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", pid_file.display());
    sandbox.write("config", &plugin_kubeconfig(&script)).write("rolecall.toml", POLICY);
    let messages = ["reading the cluster timed out after 2s", "pass --timeout 4s"];
    assert_fails_soon(&sandbox, &["plan", "--kubeconfig", "config", "--timeout", "2s"], &messages);
    assert_ends(&pid_file);
}

#[test]
fn child_of_a_plugin_that_keeps_stdout_open_does_not_block() {
    let sandbox = Sandbox::offline();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": "t" },
    });
    sandbox.write("config", &plugin_kubeconfig(&format!("sleep 30 & echo '{credential}'")));
    // The plugin succeeds, so that the connection is tried.
    let messages = ["cannot connect to the cluster at http://127.0.0.1:9"];
    assert_fails_soon(&sandbox, &["whoami", "--kubeconfig", "config"], &messages);
}

#[test]
fn pipes_and_devices_in_place_of_files_do_not_block() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY);
    let fifo = make_fifo(&sandbox, "fifo");
    let flags = ["--request-timeout", "1s"];
    let args = ["plan", "--kubeconfig", "fifo", flags[0], flags[1]];
    assert_fails_soon(&sandbox, &args, &["reading the kubeconfig and the files that it names timed out after 1s"]);
    for (field, message) in
        [("tokenFile", "reading the token file of the user timed out"), ("client-certificate", "timed out after 1s")]
    {
        let mut user = json!({ field: fifo });
        if field == "client-certificate" {
            user["client-key"] = json!(fifo);
        }
        sandbox.write("config", &kubeconfig_with_user(&user));
        assert_fails_soon(&sandbox, &["plan", "--kubeconfig", "config", flags[0], flags[1]], &[message]);
    }
    assert_fails_soon(&sandbox, &["plan", "--kubeconfig", "/dev/zero"], &["it is longer than 32 MiB"]);
    sandbox.write("config", &kubeconfig_with_user(&json!({ "tokenFile": "/dev/zero" })));
    assert_fails_soon(&sandbox, &["plan", "--kubeconfig", "config"], &["it is longer than 32 MiB"]);
}

/// A snapshot of a pull request must not use all memory of the runner.
#[test]
fn snapshot_that_is_too_long_is_refused_before_it_is_parsed() {
    let sandbox = Sandbox::offline();
    let line = format!("data: {{ a: \"{}\" }}\n", "x".repeat(100_000_000));
    sandbox.write("long.yaml", &line);
    let policy = format!("{POLICY}[clusters.long]\nsnapshot = \"long.yaml\"\n");
    sandbox.write("rolecall.toml", &policy);
    let messages = ["long.yaml is longer than 16 MiB", "name it yourself with --snapshot FILE"];
    assert_fails_soon(&sandbox, &["plan"], &messages);
    sandbox.write("rolecall.toml", POLICY);
    assert_fails_soon(&sandbox, &["plan", "--snapshot", "long.yaml"], &["long.yaml is longer than 64 MiB"]);
    assert_fails_soon(&sandbox, &["plan", "--snapshot", "/dev/zero"], &["/dev/zero is longer than 64 MiB"]);
}

#[test]
fn auth_provider_is_refused_because_its_command_has_no_limit() {
    let sandbox = Sandbox::offline();
    let provider = json!({ "name": "gcp", "config": { "cmd-path": "/bin/sh", "cmd-args": "-c 'sleep 300'" } });
    sandbox.write("config", &kubeconfig_with_user(&json!({ "auth-provider": provider })));
    assert_fails_soon(&sandbox, &["whoami", "--kubeconfig", "config"], &["`auth-provider`, which is not supported"]);
}

/// Without a terminal the first long wait is reported once, and with `-q` not at all.
#[test]
fn long_wait_is_reported_with_its_limit() {
    let server = HostileServer::start(|_, stream| hang(stream));
    for (flags, expected) in [(&[][..], 1), (&["-q"][..], 0)] {
        let sandbox = Sandbox::with_kubeconfig_text(&server.kubeconfig());
        sandbox.write("rolecall.toml", POLICY);
        let args: Vec<&str> = ["plan", "--timeout", "8s"].iter().chain(flags).copied().collect();
        let output = Running::start(&sandbox, &args).finish(&sandbox);
        assert_eq!(output.exit_code, 1);
        let lines = output.stderr.lines().filter(|line| line.contains(": waiting for the API server at "));
        assert_eq!(lines.clone().count(), expected, "{}", output.stderr);
        assert!(lines.clone().all(|line| line.contains("(at most 3m)")), "{}", output.stderr);
    }
}

/// A plugin that prints a token for its first calls and then hangs with a child.
fn hanging_plugin(folder: &Sandbox, calls: usize) -> String {
    let folder = folder.path("").display().to_string();
    let credential =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    format!(
        "cd '{folder}'; echo x >> calls; if [ \"$(grep -c x calls)\" -gt {calls} ]; then sleep 300 & echo $! > pid; wait; fi; \
         echo '{credential}'"
    )
}

fn proxied_plugin(proxy: &Proxy, script: &str) -> PathBuf {
    proxy.write_kubeconfig(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "eks",
        "clusters": [{ "name": "eks", "cluster": { "server": proxy.server() } }],
        "users": [{ "name": "eks", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
            "interactiveMode": "Never",
        } } }],
        "contexts": [{ "name": "eks", "context": { "cluster": "eks", "user": "eks" } }],
    }))
}

/// B4: the credential plugin hangs during the confirmation.
#[test]
fn change_of_aws_auth_is_reverted_within_the_limit_if_the_plugin_hangs() {
    let cluster = prepared_cluster();
    let before = aws_auth(&cluster);
    let proxy = Proxy::start(&cluster, |_| ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned()));
    let sandbox = Sandbox::with_kubeconfig(proxied_plugin(&proxy, ""));
    proxied_plugin(&proxy, &hanging_plugin(&sandbox, 1));
    sandbox.write("rolecall.toml", POLICY);
    let started = Instant::now();
    let output = Running::start(&sandbox, &["apply", "--auto-approve", "--request-timeout", "2s"]).finish(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    let messages =
        ["reverted the change of aws-auth", "could not verify that you still have access", "timed out after 2s"];
    for message in messages {
        assert!(output.stderr.contains(message), "{message}: {}", output.stderr);
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(aws_auth(&cluster), before);
    assert_eq!(lease_holder(&cluster), "");
    assert_ends(&sandbox.path("pid"));
}

/// The API server accepts the new token and then does not answer the reviews of the confirmation.
#[test]
fn change_of_aws_auth_is_reverted_within_the_limit_if_the_reviews_hang() {
    let cluster = prepared_cluster();
    let before = aws_auth(&cluster);
    let hangs = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(&cluster, move |asked| {
        if asked.matches("PATCH", "/aws-auth") && asked.nth == 1 {
            hangs.store(true, Ordering::SeqCst);
        }
        if hangs.load(Ordering::SeqCst) && asked.path.contains("selfsubject") {
            std::thread::sleep(Duration::from_mins(2));
            return ProxyAction::Reset;
        }
        ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("rolecall.toml", POLICY);
    let started = Instant::now();
    let output = Running::start(&sandbox, &["apply", "--auto-approve", "--request-timeout", "3s"]).finish(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    let message = "reverted the change of aws-auth: rolecall could not verify that you still have access within 6s";
    assert!(output.stderr.contains(message), "{}", output.stderr);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(aws_auth(&cluster), before);
}

fn create_foreign_lease(cluster: &TestCluster, seconds: u64) {
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "rolecall", "namespace": "kube-system" },
        "spec": {
            "holderIdentity": "another-host", "leaseDurationSeconds": seconds, "leaseTransitions": 4,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2999-01-01T00:00:00.000000Z",
        },
    });
    let (status, answer) = cluster.admin("POST", LEASES, Some(&body));
    assert_eq!(status, 201, "{answer}");
}

/// B12: a Lease that states a long duration, and is not renewed, does not block for that duration.
#[test]
fn lease_of_an_ended_apply_is_explained_and_says_how_to_clear_it() {
    let cluster = prepared_cluster();
    create_foreign_lease(&cluster, 3600);
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve", "--lease-timeout", "1s"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    insta::assert_snapshot!(output.stderr);
    assert_eq!(lease_holder(&cluster), "another-host");
    let command = output.stderr.split("run `kubectl ").nth(1).unwrap().split('`').next().unwrap();
    cluster.kubectl(&command.split(' ').collect::<Vec<_>>());
    sandbox.ok(&["apply", "--auto-approve"]);
}

#[test]
fn lease_that_is_renewed_blocks_and_names_its_holder() {
    let cluster = prepared_cluster();
    create_foreign_lease(&cluster, 15);
    let stopped = Arc::new(AtomicBool::new(false));
    let in_thread = stopped.clone();
    let holder = spawn(move || {
        for number in 0.. {
            if in_thread.load(Ordering::SeqCst) {
                return;
            }
            let renewal = json!({ "spec": { "renewTime": format!("2999-01-01T00:00:00.{number:06}Z") } });
            CLUSTER.request(CLUSTER.admin_token(), "PATCH", &format!("{LEASES}/rolecall"), MERGE, Some(&renewal));
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    stopped.store(true, Ordering::SeqCst);
    holder.join().unwrap();
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    insta::with_settings!({filters => vec![(r"00\.\d{6}Z", "00.[TIME]Z")]}, {
        insta::assert_snapshot!(output.stderr);
    });
}

/// B16: the caller accepts that it loses its own access, so the confirmation does not undo it.
#[test]
fn accepted_loss_of_the_own_access_is_not_reverted() {
    let cluster = prepared_cluster();
    let boss = "arn:aws:iam::111122223333:role/boss";
    let session = "arn:aws:sts::111122223333:assumed-role/boss/s";
    let foreign = format!(
        "{NODES}- rolearn: arn:aws:iam::111122223333:role/admin\n  username: admin\n  groups: [system:masters]\n"
    );
    cluster.set_aws_auth(&json!({ "mapRoles": foreign }));
    let with_boss = format!(
        "{POLICY}[principals.boss]\nrole = \"{boss}\"\ngroups = [\"bosses\"]\n[groups.bosses]\n\
         [bindings.bosses]\ncluster-role = \"cluster-admin\"\ngroups = [\"bosses\"]\n"
    );
    let admin = Sandbox::with_kubeconfig(cluster.kubeconfig());
    admin.write("rolecall.toml", &with_boss).ok(&["apply", "--auto-approve"]);
    cluster.wait_until_mapped(session, Result::is_ok).unwrap();
    // Every call of the plugin makes a new token.
    let proxy = Proxy::start(&cluster, move |asked| {
        let is_first = asked.authorization == "Bearer token-1";
        static FIRST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let first = FIRST.get_or_init(|| CLUSTER.token_for(session)).clone();
        ProxyAction::ForwardWithToken(if is_first { first } else { CLUSTER.token_for(session) })
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    let without_boss = with_boss.replace(&format!("[principals.boss]\nrole = \"{boss}\"\ngroups = [\"bosses\"]\n"), "");
    sandbox.write("rolecall.toml", &without_boss);
    let refused = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(refused.exit_code, 3, "{}{}", refused.stdout, refused.stderr);
    let output = sandbox.run(&["apply", "--auto-approve", "--allow", &format!("remove:{boss}")]);
    assert!(output.stderr.contains("--allow accepts that you lose access"), "{}{}", output.stdout, output.stderr);
    assert!(
        output.stderr.contains("the cluster no longer accepts your credentials, as --allow accepts"),
        "{}",
        output.stderr
    );
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(!aws_auth(&cluster).to_string().contains("role/boss"));
}

/// B16: a fixed token proves nothing about aws-auth.
#[test]
fn confirmation_with_fixed_credentials_says_what_it_does_not_prove() {
    let cluster = prepared_cluster();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("your credentials are not from a plugin"), "{}", output.stderr);
}

/// B14: a lost race is planned again with `--auto-approve`, and stops an apply of an approved digest.
#[test]
fn lost_race_is_planned_again_only_without_an_approved_plan() {
    let cluster = prepared_cluster();
    let foreign = "- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: theirs\n";
    for races in [1, usize::MAX] {
        for by_digest in [false, true] {
            cluster.reset();
            cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
            let proxy = Proxy::start(&cluster, move |asked| {
                if asked.matches("PATCH", "/aws-auth") && asked.nth <= races {
                    let text = CLUSTER.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
                    let entry = foreign.replace("theirs", &format!("theirs-{}", asked.nth));
                    let patch = json!({ "data": { "mapRoles": text + &entry } });
                    CLUSTER.request(CLUSTER.admin_token(), "PATCH", AWS_AUTH, MERGE, Some(&patch));
                }
                ProxyAction::Forward
            });
            let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
            sandbox.write("rolecall.toml", POLICY);
            let digest = sandbox.plan(&[])["digest"].as_str().unwrap().to_owned();
            let approval = if by_digest { vec!["--approved", &digest] } else { vec!["--auto-approve"] };
            let args: Vec<&str> = ["apply"].into_iter().chain(approval).collect();
            let output = sandbox.run(&args);
            let succeeds = races == 1 && !by_digest;
            assert_eq!(
                output.exit_code,
                i32::from(!succeeds),
                "{races} {by_digest}: {}{}",
                output.stdout,
                output.stderr
            );
            let text = aws_auth(&cluster).to_string();
            assert!(text.contains("role/theirs-1") && text.contains("role/eks-nodes"), "{text}");
            assert_eq!(text.contains("role/viewer"), succeeds, "{text}");
            let attempts = proxy
                .writes()
                .iter()
                .filter(|write| write.starts_with("PATCH") && write.ends_with("/aws-auth"))
                .count();
            assert_eq!(
                attempts,
                match (races, by_digest) {
                    (_, true) => 1,
                    (1, false) => 2,
                    (_, false) => 5,
                }
            );
            assert_eq!(lease_holder(&cluster), "");
            if !succeeds {
                assert!(output.stderr.contains("it was changed by another client"), "{}", output.stderr);
            }
        }
    }
}

/// What another client changed is not what the plan was about, but changes what the plan does.
#[test]
fn lost_race_with_another_effect_is_not_planned_again() {
    let cluster = prepared_cluster();
    let proxy = Proxy::start(&cluster, |asked| {
        if asked.matches("POST", "/clusterrolebindings") && asked.nth == 1 {
            let binding = json!({
                "metadata": { "name": "viewers" },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit" },
            });
            CLUSTER.admin("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", Some(&binding));
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("it already exists"), "{}", output.stderr);
}
