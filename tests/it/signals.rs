//! SIGINT and SIGTERM: commands that only read end at once, and an apply ends after the write that it is making.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::credential_plugin::CredentialPlugin;
use crate::common::hostile_server::{HostileServer, hang};
use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::running::Running;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::CLUSTER;
use crate::limits::{NODES, SOON, aws_auth, lease_holder, prepared_cluster};
use rustix::process::Signal;
use serde_json::json;

/// Roles, bindings that wait for them, and an entry.
const POLICY: &str = r#"
[policy]
name = "signals"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[cluster-roles.one]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[cluster-roles.two]
rules = [{ verbs = ["get"], resources = ["services"] }]
[bindings.one]
cluster-role = "one"
groups = ["viewers"]
[bindings.two]
cluster-role = "two"
groups = ["viewers"]
"#;

/// The next apply does not wait, and does the rest.
#[track_caller]
fn assert_next_apply_converges(cluster: &TestCluster) {
    assert_eq!(lease_holder(cluster), "", "the Lease is released");
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(!output.stderr.contains("waiting up to"), "{}", output.stderr);
    assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."));
}

#[test]
fn signal_ends_an_apply_after_the_current_write_with_a_report() {
    let cluster = prepared_cluster();
    for signal in [Signal::INT, Signal::TERM] {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
        let is_released = Arc::new(AtomicBool::new(false));
        let in_proxy = is_released.clone();
        let proxy = Proxy::start(&cluster, move |asked| {
            // The first writes are not answered before the signal.
            while asked.is_write() && !in_proxy.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            ProxyAction::Forward
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", POLICY);
        let mut run = Running::start(&sandbox, &["apply", "--auto-approve"]);
        assert!(run.wait_until(|| !proxy.writes().is_empty()));
        run.signal(signal);
        assert!(run.wait_until(|| sandbox.read("stderr").contains("Stopping after the current write")));
        assert!(run.is_running(), "the write is completed first");
        is_released.store(true, Ordering::SeqCst);
        let output = run.finish(&sandbox);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        for message in
            ["\nDone (", "\nNot done (", "stopped by a signal before all writes were made", "run apply again"]
        {
            assert!(output.stderr.contains(message), "{message}: {}", output.stderr);
        }
        assert!(proxy.writes().len() < 5, "{:?}", proxy.writes());
        assert_next_apply_converges(&cluster);
    }
}

/// The write of aws-auth is confirmed, or taken back, although a signal arrives during the confirmation.
#[test]
fn signal_during_the_confirmation_leaves_no_unconfirmed_write() {
    let cluster = prepared_cluster();
    let before = aws_auth(&cluster);
    for keeps_access in [true, false] {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
        let is_confirming = Arc::new(AtomicBool::new(false));
        let is_signalled = Arc::new(AtomicBool::new(false));
        let (confirming, signalled) = (is_confirming.clone(), is_signalled.clone());
        let proxy = Proxy::start(&cluster, move |asked| {
            if asked.authorization != "Bearer token-1" {
                confirming.store(true, Ordering::SeqCst);
                while !signalled.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if !keeps_access {
                    return ProxyAction::Respond(ProxyResponse::failure(401, "Unauthorized", "Unauthorized"));
                }
            }
            ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
        });
        let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
        sandbox.write("rolecall.toml", POLICY);
        let mut run = Running::start(&sandbox, &["apply", "--auto-approve"]);
        assert!(run.wait_until(|| is_confirming.load(Ordering::SeqCst)), "{}", sandbox.read("stderr"));
        run.signal(Signal::TERM);
        assert!(run.wait_until(|| sandbox.read("stderr").contains("Stopping after the current write")));
        is_signalled.store(true, Ordering::SeqCst);
        let output = run.finish(&sandbox);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("stopped by a signal"), "{}", output.stderr);
        if keeps_access {
            assert!(aws_auth(&cluster).to_string().contains("role/viewer"), "{}", output.stderr);
        } else {
            assert!(output.stderr.contains("reverted the change of aws-auth"), "{}", output.stderr);
            assert_eq!(aws_auth(&cluster), before);
        }
        assert_next_apply_converges(&cluster);
    }
}

#[test]
fn signal_before_the_first_write_releases_the_lease() {
    let cluster = prepared_cluster();
    // The dry run comes after the Lease is acquired.
    let proxy = Proxy::start(&cluster, |asked| {
        if asked.is_dry_run() { ProxyAction::ForwardAfter(Duration::from_mins(1)) } else { ProxyAction::Forward }
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let mut run = Running::start(&sandbox, &["apply", "--auto-approve"]);
    assert!(run.wait_until(|| proxy.requests().iter().any(|request| request.is_dry_run())));
    let started = Instant::now();
    run.signal(Signal::INT);
    let output = run.finish(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("No changes were made."), "{}", output.stderr);
    assert!(output.stderr.contains("stopped by a signal before the first write"), "{}", output.stderr);
    assert!(started.elapsed() < SOON);
    assert!(proxy.writes().is_empty());
    assert_next_apply_converges(&cluster);
}

/// Neither reading nor acquiring the Lease delays the end.
#[test]
fn signal_ends_an_apply_whose_lease_request_hangs() {
    let cluster = prepared_cluster();
    for method in ["GET", "POST"] {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
        let is_ended = Arc::new(AtomicBool::new(false));
        let in_proxy = is_ended.clone();
        let proxy = Proxy::start(&cluster, move |asked| {
            if asked.method != method || !asked.path.contains("/leases") {
                return ProxyAction::Forward;
            }
            while !in_proxy.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            ProxyAction::Reset
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", POLICY);
        // Without a signal, the request takes three times as long.
        let mut run = Running::start(&sandbox, &["apply", "--auto-approve", "--request-timeout", "10m"]);
        let is_asked =
            || proxy.requests().iter().any(|request| request.method == method && request.path.contains("/leases"));
        assert!(run.wait_until(is_asked), "{method}: {}", sandbox.read("stderr"));
        let started = Instant::now();
        run.signal(Signal::TERM);
        let output = run.finish(&sandbox);
        is_ended.store(true, Ordering::SeqCst);
        assert_eq!(output.exit_code, 1, "{method}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("stopped by a signal before the first write"), "{}", output.stderr);
        assert!(started.elapsed() < SOON, "{method}: {:?}", started.elapsed());
        assert!(proxy.writes().is_empty());
        assert_next_apply_converges(&cluster);
    }
}

#[test]
fn second_signal_ends_an_apply_at_once() {
    let cluster = prepared_cluster();
    let proxy = Proxy::start(&cluster, |asked| {
        if asked.is_write() { ProxyAction::ForwardAfter(Duration::from_mins(1)) } else { ProxyAction::Forward }
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let mut run = Running::start(&sandbox, &["apply", "--auto-approve"]);
    assert!(run.wait_until(|| !proxy.writes().is_empty()));
    run.signal(Signal::INT);
    assert!(run.wait_until(|| sandbox.read("stderr").contains("Stopping after the current write")));
    let started = Instant::now();
    run.signal(Signal::TERM);
    let output = run.finish(&sandbox);
    assert_eq!(output.exit_code, 143, "{}{}", output.stdout, output.stderr);
    assert!(started.elapsed() < SOON);
}

#[test]
fn signal_ends_commands_that_only_read_at_once() {
    let server = HostileServer::start(|_, stream| hang(stream));
    let commands: [&[&str]; 6] = [
        &["plan"],
        &["drift"],
        &["whoami"],
        &["snapshot"],
        &["can", "user:a", "get", "pods"],
        // Nothing is written before the plan is approved.
        &["apply", "--auto-approve"],
    ];
    for (number, args) in commands.into_iter().enumerate() {
        let (signal, code) = if number % 2 == 0 { (Signal::INT, 130) } else { (Signal::TERM, 143) };
        let sandbox = Sandbox::with_kubeconfig_text(&server.kubeconfig());
        sandbox.write("rolecall.toml", POLICY);
        let mut run = Running::start(&sandbox, args);
        // Long enough to be connected; earlier, the default action of the signal ends the process.
        assert!(
            !run.wait_until({
                let started = Instant::now();
                move || started.elapsed() > Duration::from_secs(3)
            }) || run.is_running()
        );
        let started = Instant::now();
        run.signal(signal);
        let output = run.finish(&sandbox);
        assert_eq!(output.exit_code, code, "{args:?}: {}{}", output.stdout, output.stderr);
        assert!(started.elapsed() < SOON, "{args:?}");
    }
}

#[test]
fn signal_ends_a_credential_plugin_with_its_children() {
    let sandbox = Sandbox::offline();
    let pid_file = sandbox.path("pid");
    let script = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", pid_file.display());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:9" } }],
        "users": [{ "name": "c", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
        } } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    sandbox.write("config", &kubeconfig.to_string()).write("rolecall.toml", POLICY);
    let mut run = Running::start(&sandbox, &["plan", "--kubeconfig", "config"]);
    assert!(run.wait_until(|| pid_file.exists()));
    run.signal(Signal::TERM);
    assert_eq!(run.finish(&sandbox).exit_code, 143);
    let pid = sandbox.read("pid").trim().to_owned();
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

/// B12: an apply that was stopped for longer than its Lease lasts makes no more writes, although another apply has
/// meanwhile acquired and released the Lease.
#[test]
fn apply_that_was_suspended_past_its_lease_stops_before_the_next_write() {
    let cluster = prepared_cluster();
    let is_released = Arc::new(AtomicBool::new(false));
    let in_proxy = is_released.clone();
    let proxy = Proxy::start(&cluster, move |asked| {
        while asked.is_write() && !in_proxy.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let mut run = Running::start(&sandbox, &["apply", "--auto-approve"]);
    assert!(run.wait_until(|| !proxy.writes().is_empty()));
    std::thread::sleep(Duration::from_millis(500));
    run.signal(Signal::STOP);
    let writes_before = proxy.writes().len();
    let other = Sandbox::with_kubeconfig(cluster.kubeconfig());
    other.write("rolecall.toml", "[policy]\nname = \"other\"\n[cluster-roles.other]\nrules = []\n");
    let output = other.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("waiting up to 15s for the Lease"), "{}", output.stderr);
    assert_eq!(lease_holder(&cluster), "");
    is_released.store(true, Ordering::SeqCst);
    run.signal(Signal::CONT);
    let output = run.finish(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("the Lease was lost"), "{}", output.stderr);
    assert_eq!(proxy.writes().len(), writes_before, "no write is started after the suspension");
    assert_next_apply_converges(&cluster);
}
