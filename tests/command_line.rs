//! Tests the general behavior of the command line: help, suggestions, `--output`, colors, environment variables, `-q` and
//! `-v`, timeouts, snapshots on stdin, and wrapping.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers panic on failure and use files, processes and the network"
)]

#[cfg(test)]
mod common;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use common::page::Page;
use common::rolecall::{Desk, Ran, example};
use rolecall::{Env, Exit, Stdio, Terminals};
use serde_json::{Value, json};

const TOKEN: &str = "c2VjcmV0LXRva2Vu";

fn desk() -> Desk {
    with_example(Desk::offline())
}

fn with_example(desk: Desk) -> Desk {
    for name in ["access.toml", "cluster.yaml"] {
        desk.write(name, &std::fs::read_to_string(example("cluster-viewer").join(name)).unwrap());
    }
    desk
}

fn run_with(desk: &Desk, args: &[&str], env: &[(&str, &str)]) -> Ran {
    run_with_input(desk, args, env, "")
}

fn run_with_input(desk: &Desk, args: &[&str], env: &[(&str, &str)], input: &str) -> Ran {
    let mut command = desk.command(args);
    command
        .envs(env.iter().copied())
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .stderr(process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input may have exited, so an error here is fine.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The environment variables and the terminal of a run in process.
struct RunContext<'a> {
    env: &'a [(&'a str, &'a str)],
    terminal: bool,
    width: Option<usize>,
}

const PLAIN: RunContext<'static> = RunContext { env: &[], terminal: false, width: None };

fn run_in_process(desk: &Desk, args: &[&str], context: &RunContext<'_>) -> (Exit, String, String) {
    let (out, err) = (Page::default(), Page::default());
    let stdio = Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
    let terminal = context.terminal;
    let terminals = Terminals { stdin: terminal, stdout: terminal, stderr: terminal };
    let env = context.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut rolecall_env = Env::new(now, env.collect::<BTreeMap<_, _>>(), desk.path(""), stdio, terminals);
    rolecall_env.width = context.width;
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut rolecall_env);
    drop(rolecall_env);
    (exit, out.text(), err.text())
}

fn kubeconfig(server: &str, user: &Value) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    })
    .to_string()
}

/// A folder with a kubeconfig for this server and an empty policy.
fn desk_at(server: &str, user: &Value) -> Desk {
    let desk = Desk::with_own_kubeconfig(&kubeconfig(server, user));
    desk.write("rolecall.toml", "[policy]\nname = \"p\"\n");
    desk
}

/// Accepts connections and never answers.
fn silent_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let connections: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(connections);
    });
    address.to_string()
}

/// Answers every request with 403 and a `Status`, as the API server does.
fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                let body = r#"{"kind":"Status","reason":"Forbidden","message":"no"}"#;
                let head = format!("HTTP/1.1 403 -\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = (&stream).write_all((head + body).as_bytes());
            });
        }
    });
    address.to_string()
}

#[test]
fn help_and_version_are_subcommands() {
    let desk = Desk::offline();
    assert_eq!(desk.ok(&["help"]), desk.ok(&["--help"]));
    assert_eq!(desk.ok(&["help", "plan"]), desk.ok(&["plan", "--help"]));
    assert_eq!(desk.ok(&["version"]), format!("rolecall {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(desk.ok(&["version"]), desk.ok(&["--version"]));
    let listed = desk.ok(&["help"]);
    assert!(listed.contains("\n  version ") && listed.contains("\n  help "), "{listed}");
}

#[test]
fn unknown_command_suggests_the_equivalent_or_most_similar_command() {
    let desk = Desk::offline();
    for (typed, tip) in [
        ("diff", "run 'rolecall plan' for that"),
        ("check", "run 'rolecall validate' for that"),
        ("status", "run 'rolecall drift' for that"),
        ("get", "run 'rolecall access' for that"),
        ("list", "run 'rolecall access' for that"),
        ("whocan", "run 'rolecall who-can' for that"),
        ("login", "run 'rolecall whoami' for that"),
        ("plna", "a similar subcommand exists: 'plan'"),
        ("snapshots", "a similar subcommand exists: 'snapshot'"),
        ("versoin", "a similar subcommand exists: 'version'"),
    ] {
        let ran = desk.run(&[typed]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{typed}");
        assert_eq!(ran.err.matches("tip:").count(), 1, "{typed}: {}", ran.err);
        assert!(ran.err.contains(&format!("tip: {tip}\n")), "{typed}: {}", ran.err);
    }
    for typed in ["import", "frobnicate"] {
        let ran = desk.run(&[typed]);
        assert!(ran.code == 1 && !ran.err.contains("tip:"), "{typed}: {}", ran.err);
    }
}

#[test]
fn unknown_flag_gets_no_tip_to_pass_it_as_a_value() {
    let ran = Desk::offline().run(&["plan", "--bogus"]);
    insta::assert_snapshot!(ran.err, @r"
    error: unexpected argument '--bogus' found

    Usage: rolecall plan [OPTIONS] [POLICY]

    For more information, try '--help'.
    ");
    let ran = Desk::offline().run(&["plan", "--outptu", "json"]);
    assert!(ran.err.contains("tip: a similar argument exists: '--output'"), "{}", ran.err);
}

#[test]
fn output_flag_has_short_form_o_and_alias_format() {
    let desk = desk();
    let json = desk.ok(&["plan", "access.toml", "--output", "json"]);
    assert!(json.starts_with('{'));
    for flags in [&["-o", "json"][..], &["-ojson"], &["--format", "json"], &["--format=json"]] {
        assert_eq!(desk.ok(&[&["plan", "access.toml"], flags].concat()), json);
    }
    assert!(!desk.ok(&["plan", "--help"]).contains("--format"));
    let ran = desk.run(&["plan", "access.toml", "-o", "plan.json"]);
    assert!(ran.code == 1 && ran.err.contains("tip: to write to a file, use '--out FILE'"), "{}", ran.err);
}

#[test]
fn environment_variables_set_defaults_that_flags_override() {
    let desk = desk();
    let env = [("ROLECALL_POLICY", "access.toml"), ("ROLECALL_OUTPUT", "json")];
    let ran = run_with(&desk, &["plan"], &env);
    assert_eq!(ran.out, desk.ok(&["plan", "access.toml", "-o", "json"]), "{}", ran.err);
    let ran = run_with(&desk, &["plan", "-o", "text"], &env);
    assert_eq!(ran.out, desk.ok(&["plan", "access.toml"]), "{}", ran.err);
    let ran = run_with(&desk, &["can", "viewer", "get", "pods", "--after"], &env);
    assert!(ran.code == 0 && ran.out.contains("\"verdict\": \"yes\""), "{}{}", ran.out, ran.err);
    let ran = run_with(&desk, &["plan", "access.toml"], &[("ROLECALL_OUTPUT", "")]);
    assert_eq!(ran.out, desk.ok(&["plan", "access.toml"]), "an empty variable counts as not set");

    let ran = run_with(&desk, &["plan", "access.toml"], &[("ROLECALL_CONTEXT", "prod")]);
    assert!(ran.code == 1 && ran.err.contains("kubeconfig"), "{}", ran.err);
    let ran = run_with(&desk, &["plan", "access.toml", "--snapshot", "cluster.yaml"], &[("ROLECALL_CONTEXT", "prod")]);
    assert_eq!(ran.out, desk.ok(&["plan", "access.toml"]), "{}", ran.err);
}

#[test]
fn environment_variables_are_read_from_env_not_from_the_process() {
    let desk = desk();
    let env = [("ROLECALL_POLICY", "access.toml"), ("ROLECALL_OUTPUT", "json")];
    let (exit, out, err) = run_in_process(&desk, &["plan"], &RunContext { env: &env, ..PLAIN });
    assert_eq!((exit, out.get(..1)), (Exit::Success, Some("{")), "{err}");
}

#[test]
fn invalid_environment_value_is_reported_with_the_variable_name() {
    let desk = desk();
    for (name, value) in [("ROLECALL_OUTPUT", "jsn"), ("ROLECALL_COLOR", "sometimes"), ("ROLECALL_TIMEOUT", "10")] {
        let ran = run_with(&desk, &["plan", "access.toml"], &[(name, value)]);
        let tip = format!("tip: the environment variable {name} sets it\n");
        assert!(ran.code == 1 && ran.err.contains(value) && ran.err.contains(&tip), "{}", ran.err);
    }
    let ran = run_with(&desk, &["plan", "--timeout", "10"], &[("ROLECALL_TIMEOUT", "10")]);
    assert!(ran.err.contains("expected a number with a unit") && !ran.err.contains("ROLECALL"), "{}", ran.err);
}

#[test]
fn help_lists_every_environment_variable() {
    let desk = Desk::offline();
    let help = desk.ok(&["apply", "--help"]) + &desk.ok(&["plan", "--help"]);
    let names = ["POLICY", "CONTEXT", "OUTPUT", "COLOR", "TIMEOUT", "LEASE_NAMESPACE"];
    for name in names {
        assert!(help.contains(&format!("[env: ROLECALL_{name}]")), "{name}: {help}");
    }
    // Help shows the names of variables and not their values: users paste help into bug reports.
    let shown = run_with(&desk, &["plan", "--help"], &[("ROLECALL_CONTEXT", "hush")]).out;
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn color_flag_overrides_environment_and_environment_overrides_terminal() {
    let desk = desk();
    for (flags, env, terminal, colored) in [
        (&[][..], &[][..], false, false),
        (&[], &[], true, true),
        (&["--color", "always"], &[], false, true),
        (&["--color=never"], &[], true, false),
        (&["--color", "auto"], &[], true, true),
        (&["--color", "always"], &[("NO_COLOR", "1")], false, true),
        (&["--color", "never"], &[("FORCE_COLOR", "1")], true, false),
        (&[], &[("NO_COLOR", "1")], true, false),
        (&[], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, false),
        (&[], &[("NO_COLOR", "")], true, true),
        (&[], &[("CLICOLOR_FORCE", "1")], false, true),
        (&[], &[("CLICOLOR_FORCE", "0")], false, false),
        (&[], &[("FORCE_COLOR", "1")], false, true),
        (&[], &[("FORCE_COLOR", "0")], true, false),
        (&[], &[("CLICOLOR", "0")], true, false),
        (&[], &[("TERM", "dumb")], true, false),
        (&[], &[("ROLECALL_COLOR", "always")], false, true),
        (&["--color", "never"], &[("ROLECALL_COLOR", "always")], true, false),
    ] {
        let args = [&["plan", "access.toml"], flags].concat();
        let (_, out, _) = run_in_process(&desk, &args, &RunContext { env, terminal, width: None });
        assert_eq!(out.contains('\u{1b}'), colored, "{flags:?} {env:?} {terminal}");
        // An error about the command line itself. Flags after the wrong argument may not have been parsed.
        let (_, _, err) =
            run_in_process(&desk, &[&args[..], &["--bogus"]].concat(), &RunContext { env, terminal, width: None });
        let from_variable = env.iter().any(|(name, _)| *name == "ROLECALL_COLOR") && flags.is_empty();
        assert!(err.contains('\u{1b}') == colored || from_variable, "{flags:?} {env:?} {terminal}: {err}");
    }
    let flag_first = desk.run(&["--color", "always", "plan", "access.toml"]);
    assert_eq!(flag_first.out, desk.run(&["plan", "access.toml", "--color", "always"]).out);
    assert!(flag_first.out.contains("\u{1b}[32m  +\u{1b}[0m"), "{}", flag_first.out);
}

#[test]
fn quiet_prints_only_the_result_and_errors() {
    let desk = desk();
    let normal = desk.run(&["apply", "access.toml", "--auto-approve", "--allow", "last-admin"]);
    assert!(normal.err.contains("warning:") && normal.err.contains("[1/3]"), "{}", normal.err);
    let desk = self::desk();
    let quiet = desk.run(&["apply", "access.toml", "--auto-approve", "--allow", "last-admin", "-q"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""));
    assert_eq!(quiet.out, normal.out);
    let ran = desk.run(&["--quiet", "plan", "nosuch.toml"]);
    assert!(ran.code == 1 && ran.err.contains("error: there is no policy nosuch.toml"), "{}", ran.err);
    assert_eq!(desk.run(&["plan", "access.toml", "-q", "-v"]).code, 1, "-q and -v exclude each other");
}

#[test]
fn verbose_prints_each_request_and_no_credentials() {
    let server = format!("http://{}", refusing_server());
    let with_password = server.replace("http://", "http://user:hunter2@");
    let desk = desk_at(&with_password, &json!({ "token": TOKEN }));
    let ran = desk.run(&["plan", "-v"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    let line = ran.err.lines().find(|line| line.contains("/clusterroles?")).expect("-v prints each list request");
    let url = format!("GET {server}/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=");
    assert!(line.starts_with(&url) && line.contains(" 403 in ") && line.ends_with("ms"), "{line}");
    let whoami = desk.run(&["whoami", "--verbose"]).err;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews 403 in ";
    assert!(whoami.contains(&format!("POST {server}{path}")), "{whoami}");
    for text in [&ran.err, &whoami] {
        assert!(!text.contains(TOKEN) && !text.contains("hunter2"), "{text}");
    }
    assert!(!desk.run(&["plan"]).err.contains("GET "));
}

#[test]
fn request_without_an_answer_times_out() {
    let server = format!("http://{}", silent_server());
    let desk = desk_at(&server, &json!({ "token": TOKEN }));
    let started = Instant::now();
    let ran = desk.run(&["plan", "--timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error: the request to ") && ran.err.contains(" timed out after 500ms"), "{}", ran.err);
    assert!(ran.err.contains(&server) && ran.err.contains("to wait longer, add --timeout 1s"), "{}", ran.err);
    let ran = run_with(&desk, &["whoami", "-v"], &[("ROLECALL_TIMEOUT", "500ms")]);
    assert!(ran.err.contains("selfsubjectreviews timed out in "), "{}", ran.err);
}

#[test]
fn connection_without_tls_handshake_times_out() {
    // The server accepts the connection and never answers the TLS handshake.
    let server = format!("https://{}", silent_server());
    let desk = desk_at(&server, &json!({ "token": TOKEN }));
    let started = Instant::now();
    let ran = desk.run(&["whoami", "--timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    let expected = format!("error: connecting to the API server at {server} timed out after 500ms");
    assert!(ran.code == 1 && ran.err.contains(&expected) && ran.err.contains("--timeout 1s"), "{}", ran.err);
}

#[test]
fn slow_server_prints_a_waiting_line_only_at_a_terminal() {
    let server = format!("http://{}", silent_server());
    let desk = desk_at(&server, &json!({ "token": TOKEN }));
    let file = desk.path("kubeconfig").display().to_string();
    let env = [("KUBECONFIG", file.as_str())];
    let args = ["whoami", "--timeout", "1500ms"];
    let waiting = format!("Waiting for the API server at {server} to ask who the caller is ...\n");
    let (exit, _, err) = run_in_process(&desk, &args, &RunContext { env: &env, terminal: true, width: None });
    assert_eq!((exit, err.matches(&waiting).count()), (Exit::Failed, 1), "{err}");
    let quiet = [&args[..], &["-q"]].concat();
    for (args, terminal) in [(&args[..], false), (&quiet, true)] {
        let (_, _, err) = run_in_process(&desk, args, &RunContext { env: &env, terminal, width: None });
        assert!(!err.contains("Waiting for") && err.contains("timed out after"), "{err}");
    }
}

fn install_plugin(desk: &Desk, script: &str) {
    desk.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(desk.path("plugin"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": desk.path("plugin"), "interactiveMode": "Never",
    });
    desk.write("kubeconfig", &kubeconfig(&format!("http://{}", refusing_server()), &json!({ "exec": exec })));
}

#[test]
fn hanging_credential_plugin_times_out() {
    let desk = desk_at("http://127.0.0.1:1", &json!({}));
    for script in ["exec sleep 60", "sleep 60", "sleep 60 & wait"] {
        install_plugin(&desk, script);
        let started = Instant::now();
        let ran = desk.run(&["whoami", "--timeout", "500ms", "-v"]);
        assert!(started.elapsed() < Duration::from_secs(20), "{script}");
        let name = format!("the credential plugin `{}`", desk.path("plugin").display());
        assert!(ran.code == 1 && ran.err.contains(&format!("error: {name} timed out after 500ms")), "{}", ran.err);
        assert!(ran.err.contains("to wait longer, add --timeout 1s"), "{}", ran.err);
        assert!(ran.err.contains(&format!("{name} timed out in ")), "{}", ran.err);
    }
}

#[test]
fn child_process_left_by_a_plugin_is_not_waited_for() {
    let desk = desk_at("http://127.0.0.1:1", &json!({}));
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": TOKEN },
    });
    install_plugin(&desk, &format!("sleep 40 &\necho '{credential}'"));
    let started = Instant::now();
    let ran = desk.run(&["whoami", "-v"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(ran.err.contains("plugin` exit code 0 in ") && ran.err.contains(" 403 in "), "{}", ran.err);
    assert!(!ran.err.contains(TOKEN), "{}", ran.err);
}

#[test]
fn snapshot_is_read_from_stdin() {
    let desk = desk();
    let text = desk.read("cluster.yaml");
    let expected = desk.ok(&["plan", "access.toml", "--snapshot", "cluster.yaml"]);
    for value in ["-", "example=-"] {
        let ran = run_with_input(&desk, &["plan", "access.toml", "--snapshot", value], &[], &text);
        assert_eq!(ran.out, expected.replace("snapshot cluster.yaml", "snapshot <stdin>"), "{}", ran.err);
    }
    let ran = run_with_input(&desk, &["access", "--snapshot", "-"], &[], &text);
    assert!(ran.code == 0 && ran.out.contains("role/eks-nodes"), "{}{}", ran.out, ran.err);

    let broken = run_with_input(&desk, &["plan", "access.toml", "--snapshot", "-"], &[], "kind: [\n");
    assert!(broken.code == 1 && broken.err.contains("--> <stdin>:"), "{}", broken.err);
    let two_snapshots = ["plan", "access.toml", "--snapshot", "-", "--snapshot", "example=-"];
    let ran = run_with_input(&desk, &two_snapshots, &[], &text);
    assert!(ran.code == 1 && ran.err.contains("two --snapshot cannot both be read from stdin"), "{}", ran.err);

    let apply = ["apply", "access.toml", "--snapshot", "-", "--auto-approve"];
    let ran = run_with_input(&desk, &apply, &[], &text);
    assert!(ran.code == 1 && ran.err.contains("read from stdin cannot be changed"), "{}", ran.err);
    assert!(!desk.path("-").exists() && !desk.path("<stdin>").exists());
    let ran = run_with_input(&desk, &[&apply[..], &["--dry-run"]].concat(), &[], &text);
    assert_eq!(ran.code, 0, "{}", ran.err);

    let plan = ["plan", "access.toml", "--snapshot", "-", "--out", "plan.json"];
    assert_eq!(run_with_input(&desk, &plan, &[], &text).code, 0);
    let ran = desk.run(&["apply", "--plan", "plan.json"]);
    assert!(ran.code == 1 && ran.err.contains("the snapshot <stdin> cannot be read"), "{}", ran.err);
    desk.ok(&["apply", "--plan", "plan.json", "--snapshot", "cluster.yaml"]);
}

#[test]
fn snapshot_for_an_unknown_cluster_is_an_error_with_a_suggestion() {
    let desk = desk();
    let ran = desk.run(&["plan", "access.toml", "--snapshot", "exmaple=cluster.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("`exmaple` is not a cluster of this policy"), "{}", ran.err);
    assert!(ran.err.contains("did you mean `example`?"), "{}", ran.err);
    desk.ok(&["plan", "access.toml", "--snapshot", "example=cluster.yaml"]);
    // A file name may contain `=`.
    let text = desk.read("cluster.yaml");
    desk.write("of=friday.yaml", &text).write("a=b/cluster.yaml", &text);
    for file in ["of=friday.yaml", "./of=friday.yaml", "a=b/cluster.yaml"] {
        desk.ok(&["plan", "access.toml", "--snapshot", file]);
        desk.ok(&["access", "--snapshot", file]);
    }
    let ran = desk.run(&["plan", "access.toml", "--snapshot", "./no=such.yaml"]);
    assert!(ran.err.contains("there is no such file"), "{}", ran.err);
    // Without a policy there are no cluster names.
    let ran = desk.run(&["access", "--snapshot", "prod=cluster.yaml"]);
    assert!(ran.code == 1 && ran.err.contains("there is no cluster `prod`"), "{}", ran.err);
    assert!(ran.err.contains("write --snapshot cluster.yaml"), "{}", ran.err);
}

#[test]
fn saved_plan_passed_as_policy_is_recognized() {
    let desk = desk();
    desk.ok(&["plan", "access.toml", "--out", "plan.out"]);
    for args in [&["apply", "plan.out"][..], &["apply", "plan.out", "--auto-approve"], &["plan", "plan.out"]] {
        let ran = desk.run(args);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("error: plan.out is a saved plan, not a policy"), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("rolecall apply --plan plan.out"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn missing_file_is_reported_before_the_missing_terminal() {
    let desk = desk();
    for args in [["restore", "nosuch.yaml"], ["apply", "nosuch.toml"]] {
        let ran = desk.run(&args);
        assert!(ran.code == 1 && ran.err.contains(args[1]) && !ran.err.contains("terminal"), "{}", ran.err);
    }
}

#[test]
fn malformed_digest_is_reported_as_malformed() {
    let desk = desk();
    let digest = desk.plan(&["access.toml"])["digest"].as_str().unwrap().to_owned();
    let short = &digest[..20];
    for malformed in ["abc", short, &digest.to_uppercase(), digest.strip_prefix("sha256:").unwrap(), ""] {
        let ran = desk.run(&["apply", "access.toml", "--approved", malformed]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{malformed}");
        assert!(ran.err.contains(&format!("--approved {malformed} is not the digest of a plan")), "{}", ran.err);
        assert!(ran.err.contains("64 hexadecimal digits"), "{}", ran.err);
    }
}

#[test]
fn comma_separated_allow_values_are_refused() {
    let desk = desk();
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    for (value, help) in [
        (
            format!("remove:{},{}", arn("a"), arn("b")),
            format!("--allow remove:{} --allow remove:{}", arn("a"), arn("b")),
        ),
        ("last-admin,empty-aws-auth".to_owned(), "--allow last-admin --allow empty-aws-auth".to_owned()),
        (format!("remove:{}, removals:3", arn("a")), format!("--allow remove:{} --allow removals:3", arn("a"))),
    ] {
        let ran = desk.run(&["plan", "access.toml", "--allow", &value]);
        assert!(ran.code == 1 && ran.err.contains("has several values, separated by commas"), "{}", ran.err);
        assert!(ran.err.contains(&format!("repeat the flag: {help}")), "{}", ran.err);
    }
    // IAM allows commas in names.
    desk.ok(&["plan", "access.toml", "--allow", &format!("remove:{}", arn("a,b"))]);
}

#[test]
fn output_wraps_to_the_terminal_width_with_a_hanging_indent() {
    let desk = desk();
    let full = desk.ok(&["plan", "access.toml"]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let plan_at =
        |env, width, terminal| run_in_process(&desk, &["plan", "access.toml"], &RunContext { env, terminal, width }).1;
    assert_eq!(plan_at(&[], Some(60), false), full, "output to a file is not wrapped");
    let no_color = [("NO_COLOR", "1")];
    let narrow = plan_at(&no_color, Some(60), true);
    assert_eq!(words(&narrow), words(&full));
    assert!(narrow.lines().all(|line| line.chars().count() <= 60 || !line.trim().contains(' ')), "{narrow}");
    assert!(
        narrow.contains("\n  !   exec: runs commands in pods, with their service\n          accounts;"),
        "{narrow}"
    );
    assert!(narrow.contains("by\n             cluster-viewers → cluster-viewer"), "{narrow}");
    assert_eq!(plan_at(&[("COLUMNS", "60")], None, false), narrow, "COLUMNS sets the width without a terminal");
    assert_eq!(
        plan_at(&[("COLUMNS", "60"), ("NO_COLOR", "1")], Some(200), true),
        narrow,
        "COLUMNS overrides the width of the terminal"
    );
    assert_eq!(plan_at(&[("COLUMNS", "0")], None, false), full);
    // Colors take no columns.
    let colored = plan_at(&[], Some(60), true);
    assert_eq!(colored.lines().count(), narrow.lines().count());
    // At 80 columns each location stays on the line of its change.
    let at_80_columns = plan_at(&no_color, Some(80), true);
    assert!(at_80_columns.lines().any(|line| line.ends_with(" access.toml:23")), "{at_80_columns}");
    let places = |text: &str| text.lines().filter(|line| line.trim() == "access.toml:23").count();
    assert_eq!(places(&at_80_columns), 0, "{at_80_columns}");

    let json = run_in_process(
        &desk,
        &["plan", "access.toml", "-o", "json"],
        &RunContext { env: &[], terminal: true, width: Some(40) },
    );
    assert!(serde_json::from_str::<Value>(&json.1).is_ok());
    assert_eq!(json.1, desk.ok(&["plan", "access.toml", "-o", "json"]));
}

#[test]
fn drift_query_and_help_output_wraps_too() {
    let desk = desk();
    for args in [
        &["drift", "access.toml"][..],
        &["access", "--policy", "access.toml", "--after"],
        &["who-can", "escalate", "--policy", "access.toml", "--after"],
        &["who-can", "get", "pods", "--policy", "access.toml", "--after", "--explain"],
        &["can", "viewer", "get", "pods", "--policy", "access.toml", "--after", "--explain"],
        &["plan", "--help"],
        &["help"],
    ] {
        let context = RunContext { env: &[("NO_COLOR", "1")], terminal: true, width: Some(50) };
        let (_, out, err) = run_in_process(&desk, args, &context);
        let is_word = |line: &str| !line.trim().contains(' ') || line.contains("arn:") || line.contains("--");
        let wide: Vec<&str> = out.lines().filter(|line| line.chars().count() > 50 && !is_word(line)).collect();
        assert!(!out.is_empty() && wide.is_empty(), "{args:?}: {wide:#?}\n{out}{err}");
    }
}
