//! Tests the general behavior of the command line: help, suggestions, `--output`, colors, environment variables, `-q` and
//! `-v`, timeouts, snapshots on stdin, and wrapping.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::captured_output::CapturedOutput;
use crate::common::sandbox::{RunOutput, Sandbox, example_path};
use rolecall::{Env, Exit, Stdio, Terminals};
use serde_json::{Value, json};

const TOKEN: &str = "c2VjcmV0LXRva2Vu";

fn sandbox() -> Sandbox {
    with_example(Sandbox::offline())
}

fn with_example(sandbox: Sandbox) -> Sandbox {
    for name in ["access.toml", "cluster.yaml"] {
        sandbox.write(name, &std::fs::read_to_string(example_path("cluster-viewer").join(name)).unwrap());
    }
    sandbox
}

fn run_with(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> RunOutput {
    run_with_input(sandbox, args, env, "")
}

fn run_with_input(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)], input: &str) -> RunOutput {
    let mut command = sandbox.command(args);
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
    RunOutput {
        exit_code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The environment variables and the terminal of a run in process.
struct RunContext<'a> {
    env: &'a [(&'a str, &'a str)],
    terminal: bool,
    width: Option<usize>,
}

const PLAIN: RunContext<'static> = RunContext { env: &[], terminal: false, width: None };

fn run_in_process(sandbox: &Sandbox, args: &[&str], context: &RunContext<'_>) -> (Exit, String, String) {
    let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
    let stdio = Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
    let terminal = context.terminal;
    let terminals = Terminals { stdin: terminal, stdout: terminal, stderr: terminal };
    let env = context.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut rolecall_env = Env::new(now, env.collect::<BTreeMap<_, _>>(), sandbox.path(""), stdio, terminals);
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
fn sandbox_at(server: &str, user: &Value) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig_text(&kubeconfig(server, user));
    sandbox.write("rolecall.toml", "[policy]\nname = \"p\"\n");
    sandbox
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
    let sandbox = Sandbox::offline();
    assert_eq!(sandbox.ok(&["help"]), sandbox.ok(&["--help"]));
    assert_eq!(sandbox.ok(&["help", "plan"]), sandbox.ok(&["plan", "--help"]));
    assert_eq!(sandbox.ok(&["version"]), format!("rolecall {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.ok(&["version"]), sandbox.ok(&["--version"]));
    let listed = sandbox.ok(&["help"]);
    assert!(listed.contains("\n  version ") && listed.contains("\n  help "), "{listed}");
}

#[test]
fn unknown_command_suggests_the_equivalent_or_most_similar_command() {
    let sandbox = Sandbox::offline();
    for (typed, tip) in [
        ("diff", "use 'rolecall plan' instead"),
        ("check", "use 'rolecall validate' instead"),
        ("status", "use 'rolecall drift' instead"),
        ("get", "use 'rolecall access' instead"),
        ("list", "use 'rolecall access' instead"),
        ("whocan", "use 'rolecall who-can' instead"),
        ("login", "use 'rolecall whoami' instead"),
        ("plna", "a similar subcommand exists: 'plan'"),
        ("snapshots", "a similar subcommand exists: 'snapshot'"),
        ("versoin", "a similar subcommand exists: 'version'"),
    ] {
        let output = sandbox.run(&[typed]);
        assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""), "{typed}");
        assert_eq!(output.stderr.matches("tip:").count(), 1, "{typed}: {}", output.stderr);
        assert!(output.stderr.contains(&format!("tip: {tip}\n")), "{typed}: {}", output.stderr);
    }
    for typed in ["migrate", "frobnicate"] {
        let output = sandbox.run(&[typed]);
        assert!(output.exit_code == 1 && !output.stderr.contains("tip:"), "{typed}: {}", output.stderr);
    }
}

#[test]
fn unknown_flag_gets_no_tip_to_pass_it_as_a_value() {
    let output = Sandbox::offline().run(&["plan", "--bogus"]);
    insta::assert_snapshot!(output.stderr, @r"
    error: unexpected argument '--bogus' found

    Usage: rolecall plan [OPTIONS] [POLICY]

    For more information, try '--help'.
    ");
    let output = Sandbox::offline().run(&["plan", "--outptu", "json"]);
    assert!(output.stderr.contains("tip: a similar argument exists: '--output'"), "{}", output.stderr);
}

#[test]
fn output_flag_has_short_form_o_and_alias_format() {
    let sandbox = sandbox();
    let json = sandbox.ok(&["plan", "access.toml", "--output", "json"]);
    assert!(json.starts_with('{'));
    for flags in [&["-o", "json"][..], &["-ojson"], &["--format", "json"], &["--format=json"]] {
        assert_eq!(sandbox.ok(&[&["plan", "access.toml"], flags].concat()), json);
    }
    assert!(!sandbox.ok(&["plan", "--help"]).contains("--format"));
    let output = sandbox.run(&["plan", "access.toml", "-o", "plan.json"]);
    assert!(
        output.exit_code == 1 && output.stderr.contains("tip: to write to a file, use '--out FILE'"),
        "{}",
        output.stderr
    );
}

#[test]
fn environment_variables_set_defaults_that_flags_override() {
    let sandbox = sandbox();
    let env = [("ROLECALL_POLICY", "access.toml"), ("ROLECALL_OUTPUT", "json")];
    let output = run_with(&sandbox, &["plan"], &env);
    assert_eq!(output.stdout, sandbox.ok(&["plan", "access.toml", "-o", "json"]), "{}", output.stderr);
    let output = run_with(&sandbox, &["plan", "-o", "text"], &env);
    assert_eq!(output.stdout, sandbox.ok(&["plan", "access.toml"]), "{}", output.stderr);
    let output = run_with(&sandbox, &["can", "viewer", "get", "pods", "--after"], &env);
    assert!(
        output.exit_code == 0 && output.stdout.contains("\"verdict\": \"yes\""),
        "{}{}",
        output.stdout,
        output.stderr
    );
    let output = run_with(&sandbox, &["plan", "access.toml"], &[("ROLECALL_OUTPUT", "")]);
    assert_eq!(output.stdout, sandbox.ok(&["plan", "access.toml"]), "an empty variable counts as not set");

    let output = run_with(&sandbox, &["plan", "access.toml"], &[("ROLECALL_CONTEXT", "prod")]);
    assert!(output.exit_code == 1 && output.stderr.contains("kubeconfig"), "{}", output.stderr);
    let output =
        run_with(&sandbox, &["plan", "access.toml", "--snapshot", "cluster.yaml"], &[("ROLECALL_CONTEXT", "prod")]);
    assert_eq!(output.stdout, sandbox.ok(&["plan", "access.toml"]), "{}", output.stderr);
}

#[test]
fn environment_variables_are_read_from_env_not_from_the_process() {
    let sandbox = sandbox();
    let env = [("ROLECALL_POLICY", "access.toml"), ("ROLECALL_OUTPUT", "json")];
    let (exit, out, err) = run_in_process(&sandbox, &["plan"], &RunContext { env: &env, ..PLAIN });
    assert_eq!((exit, out.get(..1)), (Exit::Success, Some("{")), "{err}");
}

#[test]
fn invalid_environment_value_is_reported_with_the_variable_name() {
    let sandbox = sandbox();
    for (name, value) in [("ROLECALL_OUTPUT", "jsn"), ("ROLECALL_COLOR", "sometimes"), ("ROLECALL_TIMEOUT", "10")] {
        let output = run_with(&sandbox, &["plan", "access.toml"], &[(name, value)]);
        let tip = format!("tip: the value comes from the environment variable {name}\n");
        assert!(
            output.exit_code == 1 && output.stderr.contains(value) && output.stderr.contains(&tip),
            "{}",
            output.stderr
        );
    }
    let output = run_with(&sandbox, &["plan", "--timeout", "10"], &[("ROLECALL_TIMEOUT", "10")]);
    assert!(
        output.stderr.contains("expected a number with a unit") && !output.stderr.contains("ROLECALL"),
        "{}",
        output.stderr
    );
}

#[test]
fn help_lists_every_environment_variable() {
    let sandbox = Sandbox::offline();
    let help = sandbox.ok(&["apply", "--help"]) + &sandbox.ok(&["plan", "--help"]);
    let names = ["POLICY", "CONTEXT", "OUTPUT", "COLOR", "TIMEOUT", "LEASE_NAMESPACE"];
    for name in names {
        assert!(help.contains(&format!("[env: ROLECALL_{name}]")), "{name}: {help}");
    }
    // Help shows the names of variables and not their values: users paste help into bug reports.
    let shown = run_with(&sandbox, &["plan", "--help"], &[("ROLECALL_CONTEXT", "hush")]).stdout;
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn color_flag_overrides_environment_and_environment_overrides_terminal() {
    let sandbox = sandbox();
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
        let (_, out, _) = run_in_process(&sandbox, &args, &RunContext { env, terminal, width: None });
        assert_eq!(out.contains('\u{1b}'), colored, "{flags:?} {env:?} {terminal}");
        // An error about the command line itself. Flags after the wrong argument may not have been parsed.
        let (_, _, err) =
            run_in_process(&sandbox, &[&args[..], &["--bogus"]].concat(), &RunContext { env, terminal, width: None });
        let from_variable = env.iter().any(|(name, _)| *name == "ROLECALL_COLOR") && flags.is_empty();
        assert!(err.contains('\u{1b}') == colored || from_variable, "{flags:?} {env:?} {terminal}: {err}");
    }
    let flag_first = sandbox.run(&["--color", "always", "plan", "access.toml"]);
    assert_eq!(flag_first.stdout, sandbox.run(&["plan", "access.toml", "--color", "always"]).stdout);
    assert!(flag_first.stdout.contains("\u{1b}[32m  +\u{1b}[0m"), "{}", flag_first.stdout);
}

#[test]
fn quiet_prints_only_the_result_and_errors() {
    let sandbox = sandbox();
    let normal = sandbox.run(&["apply", "access.toml", "--auto-approve", "--allow", "last-admin"]);
    assert!(normal.stderr.contains("warning:") && normal.stderr.contains("[1/3]"), "{}", normal.stderr);
    let sandbox = self::sandbox();
    let quiet = sandbox.run(&["apply", "access.toml", "--auto-approve", "--allow", "last-admin", "-q"]);
    assert_eq!((quiet.exit_code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(quiet.stdout, normal.stdout);
    let output = sandbox.run(&["--quiet", "plan", "nosuch.toml"]);
    assert!(
        output.exit_code == 1 && output.stderr.contains("error: the policy nosuch.toml does not exist"),
        "{}",
        output.stderr
    );
    assert_eq!(sandbox.run(&["plan", "access.toml", "-q", "-v"]).exit_code, 1, "-q and -v exclude each other");
}

#[test]
fn verbose_prints_each_request_and_no_credentials() {
    let server = format!("http://{}", refusing_server());
    let with_password = server.replace("http://", "http://user:hunter2@");
    let sandbox = sandbox_at(&with_password, &json!({ "token": TOKEN }));
    let output = sandbox.run(&["plan", "-v"]);
    assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""), "{}", output.stderr);
    // The first refused list ends the run, so the others may have no answer.
    let line = output.stderr.lines().find(|line| line.contains("?limit=")).expect("-v prints each list request");
    assert!(line.starts_with(&format!("GET {server}/api")), "{line}");
    assert!(line.contains(" 403 in ") && line.ends_with("ms"), "{line}");
    let whoami = sandbox.run(&["whoami", "--verbose"]).stderr;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews 403 in ";
    assert!(whoami.contains(&format!("POST {server}{path}")), "{whoami}");
    for text in [&output.stderr, &whoami] {
        assert!(!text.contains(TOKEN) && !text.contains("hunter2"), "{text}");
    }
    assert!(!sandbox.run(&["plan"]).stderr.contains("GET "));
}

#[test]
fn request_without_an_answer_times_out() {
    let server = format!("http://{}", silent_server());
    let sandbox = sandbox_at(&server, &json!({ "token": TOKEN }));
    let started = Instant::now();
    let output = sandbox.run(&["plan", "--request-timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(output.exit_code, 1);
    assert!(
        output.stderr.contains("error: the request to ") && output.stderr.contains(" timed out after 500ms"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains(&server) && output.stderr.contains("to wait longer, pass --request-timeout 1s"),
        "{}",
        output.stderr
    );
    let output = run_with(&sandbox, &["whoami", "-v"], &[("ROLECALL_REQUEST_TIMEOUT", "500ms")]);
    assert!(output.stderr.contains("selfsubjectreviews timed out in "), "{}", output.stderr);
}

#[test]
fn connection_without_tls_handshake_times_out() {
    // The server accepts the connection and never answers the TLS handshake.
    let server = format!("https://{}", silent_server());
    let sandbox = sandbox_at(&server, &json!({ "token": TOKEN }));
    let started = Instant::now();
    let output = sandbox.run(&["whoami", "--request-timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    let expected = format!("error: connecting to the API server at {server} timed out after 500ms");
    assert!(
        output.exit_code == 1 && output.stderr.contains(&expected) && output.stderr.contains("--request-timeout 1s"),
        "{}",
        output.stderr
    );
}

#[test]
fn slow_server_is_shown_within_seconds_only_at_a_terminal() {
    let server = format!("http://{}", silent_server());
    let sandbox = sandbox_at(&server, &json!({ "token": TOKEN }));
    let file = sandbox.path("kubeconfig").display().to_string();
    let env = [("KUBECONFIG", file.as_str())];
    let args = ["whoami", "--request-timeout", "1500ms"];
    let waiting = format!("waiting for the API server at {server}");
    let (exit, _, err) = run_in_process(&sandbox, &args, &RunContext { env: &env, terminal: true, width: None });
    assert!(exit == Exit::Failed && err.contains(&waiting), "{err:?}");
    let quiet = [&args[..], &["-q"]].concat();
    for (args, terminal) in [(&args[..], false), (&quiet, true)] {
        let (_, _, err) = run_in_process(&sandbox, args, &RunContext { env: &env, terminal, width: None });
        assert!(!err.contains("waiting for") && err.contains("timed out after"), "{err}");
    }
}

fn install_plugin(sandbox: &Sandbox, script: &str) {
    sandbox.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(sandbox.path("plugin"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": sandbox.path("plugin"), "interactiveMode": "Never",
    });
    sandbox.write("kubeconfig", &kubeconfig(&format!("http://{}", refusing_server()), &json!({ "exec": exec })));
}

#[test]
fn hanging_credential_plugin_times_out() {
    let sandbox = sandbox_at("http://127.0.0.1:1", &json!({}));
    for script in ["exec sleep 60", "sleep 60", "sleep 60 & wait"] {
        install_plugin(&sandbox, script);
        let started = Instant::now();
        let output = sandbox.run(&["whoami", "--request-timeout", "500ms", "-v"]);
        assert!(started.elapsed() < Duration::from_secs(20), "{script}");
        let name = format!("the credential plugin `{}`", sandbox.path("plugin").display());
        assert!(
            output.exit_code == 1 && output.stderr.contains(&format!("error: {name} timed out after 500ms")),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("to wait longer, pass --request-timeout 1s"), "{}", output.stderr);
        assert!(output.stderr.contains(&format!("{name} timed out in ")), "{}", output.stderr);
    }
}

#[test]
fn child_process_left_by_a_plugin_is_not_waited_for() {
    let sandbox = sandbox_at("http://127.0.0.1:1", &json!({}));
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": TOKEN },
    });
    install_plugin(&sandbox, &format!("sleep 40 &\necho '{credential}'"));
    let started = Instant::now();
    let output = sandbox.run(&["whoami", "-v"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(
        output.stderr.contains("plugin` exit code 0 in ") && output.stderr.contains(" 403 in "),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains(TOKEN), "{}", output.stderr);
}

#[test]
fn snapshot_is_read_from_stdin() {
    let sandbox = sandbox();
    let text = sandbox.read("cluster.yaml");
    let expected = sandbox.ok(&["plan", "access.toml", "--snapshot", "cluster.yaml"]);
    for value in ["-", "example=-"] {
        let output = run_with_input(&sandbox, &["plan", "access.toml", "--snapshot", value], &[], &text);
        assert_eq!(output.stdout, expected.replace("snapshot cluster.yaml", "snapshot <stdin>"), "{}", output.stderr);
    }
    let output = run_with_input(&sandbox, &["access", "--snapshot", "-"], &[], &text);
    assert!(output.exit_code == 0 && output.stdout.contains("role/eks-nodes"), "{}{}", output.stdout, output.stderr);

    let broken = run_with_input(&sandbox, &["plan", "access.toml", "--snapshot", "-"], &[], "kind: [\n");
    assert!(broken.exit_code == 1 && broken.stderr.contains("--> <stdin>:"), "{}", broken.stderr);
    let two_snapshots = ["plan", "access.toml", "--snapshot", "-", "--snapshot", "example=-"];
    let output = run_with_input(&sandbox, &two_snapshots, &[], &text);
    assert!(
        output.exit_code == 1 && output.stderr.contains("only one --snapshot can be read from stdin"),
        "{}",
        output.stderr
    );

    let apply = ["apply", "access.toml", "--snapshot", "-", "--auto-approve"];
    let output = run_with_input(&sandbox, &apply, &[], &text);
    assert!(
        output.exit_code == 1 && output.stderr.contains("cannot apply to a snapshot that is read from stdin"),
        "{}",
        output.stderr
    );
    assert!(!sandbox.path("-").exists() && !sandbox.path("<stdin>").exists());
    let output = run_with_input(&sandbox, &[&apply[..], &["--dry-run"]].concat(), &[], &text);
    assert_eq!(output.exit_code, 0, "{}", output.stderr);

    let plan = ["plan", "access.toml", "--snapshot", "-", "--out", "plan.json"];
    assert_eq!(run_with_input(&sandbox, &plan, &[], &text).exit_code, 0);
    let output = sandbox.run(&["apply", "--plan", "plan.json"]);
    assert!(
        output.exit_code == 1
            && output
                .stderr
                .contains("cannot read the snapshot <stdin>: it was read from stdin when the plan was made"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("help: pass the snapshot again with --snapshot\n"), "{}", output.stderr);
    sandbox.ok(&["apply", "--plan", "plan.json", "--snapshot", "cluster.yaml"]);
}

#[test]
fn snapshot_for_an_unknown_cluster_is_an_error_with_a_suggestion() {
    let sandbox = sandbox();
    let output = sandbox.run(&["plan", "access.toml", "--snapshot", "exmaple=cluster.yaml"]);
    assert_eq!(output.exit_code, 1);
    assert!(output.stderr.contains("unknown cluster `exmaple`"), "{}", output.stderr);
    assert!(output.stderr.contains("did you mean `example`?"), "{}", output.stderr);
    sandbox.ok(&["plan", "access.toml", "--snapshot", "example=cluster.yaml"]);
    // A file name may contain `=`.
    let text = sandbox.read("cluster.yaml");
    sandbox.write("of=friday.yaml", &text).write("a=b/cluster.yaml", &text);
    for file in ["of=friday.yaml", "./of=friday.yaml", "a=b/cluster.yaml"] {
        sandbox.ok(&["plan", "access.toml", "--snapshot", file]);
        sandbox.ok(&["access", "--snapshot", file]);
    }
    let output = sandbox.run(&["plan", "access.toml", "--snapshot", "./no=such.yaml"]);
    assert!(output.stderr.contains("the file does not exist"), "{}", output.stderr);
    // Without a policy there are no cluster names.
    let output = sandbox.run(&["access", "--snapshot", "prod=cluster.yaml"]);
    assert!(
        output.exit_code == 1
            && output.stderr.contains("unknown cluster `prod`: no policy with `[clusters]` was found"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("pass --snapshot cluster.yaml"), "{}", output.stderr);
}

#[test]
fn saved_plan_passed_as_policy_is_recognized() {
    let sandbox = sandbox();
    sandbox.ok(&["plan", "access.toml", "--out", "plan.out"]);
    for args in [&["apply", "plan.out"][..], &["apply", "plan.out", "--auto-approve"], &["plan", "plan.out"]] {
        let output = sandbox.run(args);
        assert_eq!(output.exit_code, 1);
        assert!(output.stderr.contains("error: plan.out is a saved plan, not a policy"), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains("rolecall apply --plan plan.out"), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn missing_file_is_reported_before_the_missing_terminal() {
    let sandbox = sandbox();
    for args in [["restore", "nosuch.yaml"], ["apply", "nosuch.toml"]] {
        let output = sandbox.run(&args);
        assert!(
            output.exit_code == 1 && output.stderr.contains(args[1]) && !output.stderr.contains("terminal"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn malformed_digest_is_reported_as_malformed() {
    let sandbox = sandbox();
    let digest = sandbox.plan(&["access.toml"])["digest"].as_str().unwrap().to_owned();
    let short = &digest[..20];
    for malformed in ["abc", short, &digest.to_uppercase(), digest.strip_prefix("sha256:").unwrap(), ""] {
        let output = sandbox.run(&["apply", "access.toml", "--approved", malformed]);
        assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""), "{malformed}");
        assert!(
            output.stderr.contains(&format!("invalid value `{malformed}` for `--approved`: not the digest of a plan")),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("64 hexadecimal digits"), "{}", output.stderr);
    }
}

#[test]
fn comma_separated_allow_values_are_refused() {
    let sandbox = sandbox();
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    for (value, help) in [
        (
            format!("remove:{},{}", arn("a"), arn("b")),
            format!("--allow remove:{} --allow remove:{}", arn("a"), arn("b")),
        ),
        ("last-admin,empty-aws-auth".to_owned(), "--allow last-admin --allow empty-aws-auth".to_owned()),
        (format!("remove:{}, removals:3", arn("a")), format!("--allow remove:{} --allow removals:3", arn("a"))),
    ] {
        let output = sandbox.run(&["plan", "access.toml", "--allow", &value]);
        assert!(
            output.exit_code == 1 && output.stderr.contains("for `--allow`: several values, separated by commas"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains(&format!("repeat the flag: {help}")), "{}", output.stderr);
    }
    // IAM allows commas in names.
    sandbox.ok(&["plan", "access.toml", "--allow", &format!("remove:{}", arn("a,b"))]);
}

#[test]
fn output_wraps_to_the_terminal_width_with_a_hanging_indent() {
    let sandbox = sandbox();
    let full = sandbox.ok(&["plan", "access.toml"]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let plan_at = |env, width, terminal| {
        run_in_process(&sandbox, &["plan", "access.toml"], &RunContext { env, terminal, width }).1
    };
    assert_eq!(plan_at(&[], Some(60), false), full, "output to a file is not wrapped");
    let no_color = [("NO_COLOR", "1")];
    // The signs are explained on a terminal only.
    let with_legend = plan_at(&no_color, Some(60), true);
    let (before, after) = with_legend.split_once("Signs: ").unwrap();
    let (legend, after) = after.split_once("\n\n").unwrap();
    assert_eq!(words(legend).join(" "), "+ add, ! privilege escalation path or temporary access");
    let narrow = format!("{before}{after}");
    assert_eq!(words(&narrow), words(&full));
    assert!(narrow.lines().all(|line| line.chars().count() <= 60 || !line.trim().contains(' ')), "{narrow}");
    assert!(
        narrow.contains(
            "\n    ! high      exec: can run commands in pods and use their\n                service accounts;"
        ),
        "{narrow}"
    );
    assert!(narrow.contains("\n             via cluster-viewers → cluster-viewer"), "{narrow}");
    assert_eq!(plan_at(&[("COLUMNS", "60")], None, false), narrow, "COLUMNS sets the width without a terminal");
    assert_eq!(
        plan_at(&[("COLUMNS", "60"), ("NO_COLOR", "1")], Some(200), true),
        with_legend,
        "COLUMNS overrides the width of the terminal"
    );
    assert_eq!(plan_at(&[("COLUMNS", "0")], None, false), full);
    // Colors take no columns.
    let colored = plan_at(&[], Some(60), true);
    assert_eq!(colored.lines().count(), with_legend.lines().count());
    // At 80 columns each location stays on the line of its change.
    let at_80_columns = plan_at(&no_color, Some(80), true);
    assert!(at_80_columns.lines().any(|line| line.ends_with(" access.toml:24")), "{at_80_columns}");
    let places = |text: &str| text.lines().filter(|line| line.trim() == "access.toml:24").count();
    assert_eq!(places(&at_80_columns), 0, "{at_80_columns}");

    let json = run_in_process(
        &sandbox,
        &["plan", "access.toml", "-o", "json"],
        &RunContext { env: &[], terminal: true, width: Some(40) },
    );
    assert!(serde_json::from_str::<Value>(&json.1).is_ok());
    assert_eq!(json.1, sandbox.ok(&["plan", "access.toml", "-o", "json"]));
}

#[test]
fn drift_query_and_help_output_wraps_too() {
    let sandbox = sandbox();
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
        let (_, out, err) = run_in_process(&sandbox, args, &context);
        let is_word = |line: &str| !line.trim().contains(' ') || line.contains("arn:") || line.contains("--");
        let wide: Vec<&str> = out.lines().filter(|line| line.chars().count() > 50 && !is_word(line)).collect();
        assert!(!out.is_empty() && wide.is_empty(), "{args:?}: {wide:#?}\n{out}{err}");
    }
}
