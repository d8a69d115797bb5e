//! A grep for secrets: credentials in the kubeconfig, in files, in the output of a plugin, in the environment and in
//! proxy URLs, with faults of many kinds, and no command may print a part of them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::cluster;

const TOKEN: &str = "tok-Zm9yYmlkZGVu.c2VjcmV0dG9rZW4";
const PASSWORD: &str = "pw-hunter2hunter2hunter2";
/// A private key, and the parts of it that a message could quote.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
    OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
    1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
    -----END PRIVATE KEY-----\n";
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe30=\n-----END CERTIFICATE-----\n";
const POLICY: &str = "[policy]\nname = \"team\"\n[groups.devs]\n[cluster-roles.viewer]\n\
    rules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n[bindings.viewers]\ncluster-role = \"viewer\"\ngroups = [\"devs\"]\n";

/// Every command that connects, in every format that prints errors.
const COMMANDS: [&[&str]; 12] = [
    &["plan", "-v"],
    &["plan", "-o", "json"],
    &["plan", "-q"],
    &["apply", "--auto-approve", "-v"],
    &["drift", "-o", "json"],
    &["snapshot", "-v"],
    &["whoami", "-v"],
    &["whoami", "-o", "json"],
    &["can", "user:x", "get", "pods", "-v", "-o", "json"],
    &["who-can", "get", "pods", "-v"],
    &["access", "-v"],
    &["permissions", "-v"],
];

fn fragments() -> Vec<String> {
    let key_lines = KEY.lines().filter(|line| !line.starts_with("-----")).map(|line| line[..16].to_owned());
    let mut fragments: Vec<String> = key_lines.collect();
    fragments.extend([TOKEN[4..20].to_owned(), PASSWORD[3..15].to_owned()]);
    fragments.push(STANDARD.encode(format!("admin:{PASSWORD}")));
    fragments.push(STANDARD.encode(KEY)[..24].to_owned());
    // Bytes as a debug format prints them: `-----BEGIN` and `MIGH`.
    fragments.extend(["45, 45, 45, 45".to_owned(), "77, 73, 71, 72".to_owned(), "BEGIN PRIVATE".to_owned()]);
    fragments
}

#[track_caller]
fn assert_no_secret(case: &str, args: &[&str], output: &RunOutput) {
    for fragment in fragments() {
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains(&fragment), "{case}: {args:?} prints {fragment}\n{text}");
        }
    }
    assert!(!output.stderr.contains("panicked"), "{case}: {args:?}\n{}", output.stderr);
}

fn kubeconfig(server: &str, cluster: &Value, user: &Value) -> Value {
    let mut cluster = cluster.clone();
    cluster["server"] = json!(server);
    json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": cluster }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "deployer" } }],
        "users": [{ "name": "deployer", "user": user }] })
}

/// A server that answers every request with a status and the headers of the request, as a debugging proxy does.
fn echo_server(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(length @ 1..) => head.extend_from_slice(&buffer[..length]),
                        Ok(0) | Err(_) => return,
                    }
                }
                let echoed = String::from_utf8_lossy(&head).into_owned();
                let body = match status {
                    "200 OK" => {
                        json!({ "kind": echoed, "items": echoed, "status": { "userInfo": echoed } }).to_string()
                    }
                    "403 Forbidden" => json!({ "kind": "Status", "message": echoed, "reason": echoed }).to_string(),
                    _ => echoed,
                };
                let response = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(response.as_bytes());
            });
        }
    });
    format!("http://{address}")
}

fn check(
    case: &str,
    kubeconfig: &Value,
    prepare: impl Fn(&Sandbox),
    commands: &[&[&str]],
    env: &[(&str, &str)],
) -> String {
    let sandbox = Sandbox::with_kubeconfig_text(&kubeconfig.to_string());
    sandbox.write("rolecall.toml", POLICY);
    prepare(&sandbox);
    let mut first = String::new();
    for args in commands {
        let args: Vec<&str> = args.iter().copied().chain(["--timeout", "5s"]).collect();
        let output = sandbox.command(&args).envs(env.iter().copied()).output().unwrap();
        let output: RunOutput = output.into();
        assert_no_secret(case, &args, &output);
        if first.is_empty() {
            first = output.stderr;
        }
    }
    first
}

fn closed_port() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn malformed_keys_and_certificates_are_faults_of_the_kubeconfig_without_content() {
    let key = STANDARD.encode(KEY);
    let certificate = STANDARD.encode(PEM_CERTIFICATE);
    let pem = |text: &str| STANDARD.encode(text);
    let with_key = |data: &str| json!({ "client-certificate-data": certificate, "client-key-data": data });
    let cases = [
        (
            "literal \\n",
            with_key(&pem(&KEY.replace('\n', "\\n"))),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        (
            "spaces",
            with_key(&pem(&KEY.replace('\n', " "))),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        ("cut", with_key(&pem(&KEY[..120])), "client-key-data of user `deployer` is not a PEM private key"),
        (
            "no end",
            with_key(&pem(&KEY.replace("END", "EDN"))),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        (
            "bad base64 inside",
            with_key(&pem(&KEY.replace("MIGH", "M!GH"))),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        ("not base64", with_key(KEY), "client-key-data of user `deployer` is not valid base64"),
        ("base64 cut", with_key(&key[..key.len() - 3]), "client-key-data of user `deployer` is not valid base64"),
        (
            "certificate in its place",
            with_key(&certificate),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        (
            "encrypted",
            with_key(&pem(&KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"))),
            "client-key-data of user `deployer` is not a PEM private key",
        ),
        (
            "key as certificate",
            json!({ "client-certificate-data": key, "client-key-data": key }),
            "client-certificate-data of user `deployer` is not a PEM certificate",
        ),
        (
            "no certificate",
            json!({ "client-key-data": key }),
            "client-key-data of user `deployer` has no client-certificate",
        ),
        (
            "no key",
            json!({ "client-certificate-data": certificate }),
            "client-certificate-data of user `deployer` has no client-key",
        ),
        ("key that does not fit", with_key(&key), "cannot use the kubeconfig: "),
        ("token with a newline", json!({ "token": format!("{TOKEN}\nx") }), "token of user `deployer` has characters"),
        ("token file", json!({ "tokenFile": "token" }), ""),
        ("list as token", json!({ "token": [TOKEN] }), "is not valid"),
        ("map as password", json!({ "username": "admin", "password": { "x": PASSWORD } }), "is not valid"),
    ];
    for (case, user, expected) in cases {
        let content = kubeconfig("https://127.0.0.1:1", &json!({}), &user);
        let prepare = |sandbox: &Sandbox| {
            sandbox.write("token", &format!("{TOKEN}\n\u{1}{KEY}"));
        };
        let message = check(case, &content, prepare, &COMMANDS, &[]);
        assert!(message.contains(expected), "{case}: {message}");
        assert!(!message.contains("cannot connect"), "{case}: {message}");
    }
    let authority = json!({ "certificate-authority-data": key });
    let message =
        check("authority", &kubeconfig("https://127.0.0.1:1", &authority, &json!({})), |_| (), &COMMANDS, &[]);
    assert!(message.contains("certificate-authority-data of cluster `c` is not a PEM certificate"), "{message}");
}

#[test]
fn servers_that_echo_credentials_do_not_make_them_appear() {
    for status in
        ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Internal Server Error", "200 OK", "302 Found"]
    {
        let server = echo_server(status);
        for user in [
            json!({ "token": TOKEN }),
            json!({ "username": "admin", "password": PASSWORD }),
            json!({ "tokenFile": "token" }),
        ] {
            let content = kubeconfig(&server, &json!({}), &user);
            let prepare = |sandbox: &Sandbox| {
                sandbox.write("token", TOKEN);
            };
            // Retries make an overloaded server slow, so it is asked by few commands.
            let commands = if status.starts_with('5') { &COMMANDS[..1] } else { &COMMANDS[..] };
            check(status, &content, prepare, commands, &[]);
        }
    }
}

#[test]
fn plugin_output_is_not_printed() {
    let token = format!("{{\"status\":{{\"token\":\"{TOKEN}\"}}");
    let scripts = [
        ("malformed JSON", format!("printf '%s' '{token}'")),
        ("token as text", format!("echo {TOKEN}")),
        ("token of another type", format!("echo '{{\"status\":{{\"token\":[\"{TOKEN}\"]}}}}'")),
        (
            "key that is not PEM",
            format!(
                "echo '{{\"status\":{{\"clientCertificateData\":\"x\",\"clientKeyData\":\"{}\"}}}}'",
                KEY.replace('\n', " ")
            ),
        ),
        ("stderr", format!("echo 'debug: token {TOKEN}' >&2; exit 1")),
        ("stderr with a known reason", format!("echo 'ExpiredToken {TOKEN}' >&2; exit 255")),
        ("invalid header", format!("printf '{{\"status\":{{\"token\":\"{TOKEN}\\\\nx\"}}}}'")),
        ("success", format!("printf '%s' '{token}}}'")),
        ("environment", "env >&2; env; exit 1".to_owned()),
    ];
    for (case, script) in scripts {
        let user = json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin",
            "args": ["--token", TOKEN], "env": [{ "name": "AWS_SECRET_ACCESS_KEY", "value": PASSWORD }],
            "interactiveMode": "Never" } });
        let prepare = |sandbox: &Sandbox| {
            sandbox.write("plugin", &format!("#!/bin/sh\n{script}\n"));
            std::fs::set_permissions(sandbox.path("plugin"), std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let content = kubeconfig(&closed_port(), &json!({}), &user);
        check(case, &content, prepare, &COMMANDS, &[("AWS_SESSION_TOKEN", TOKEN)]);
    }
}

#[test]
fn urls_with_passwords_and_the_environment_are_not_printed() {
    let port = closed_port();
    let closed = port.trim_start_matches("http://");
    let with_proxy = |url: String| json!({ "proxy-url": url });
    for (case, cluster, server) in [
        ("proxy", with_proxy(format!("http://admin:{PASSWORD}@{closed}")), "https://example.invalid".to_owned()),
        (
            "SOCKS proxy",
            with_proxy(format!("socks5://admin:{PASSWORD}@{closed}")),
            "https://example.invalid".to_owned(),
        ),
        (
            "proxy of another kind",
            with_proxy(format!("ftp://admin:{PASSWORD}@{closed}")),
            "https://example.invalid".to_owned(),
        ),
        ("malformed proxy", with_proxy(format!("http://admin:{PASSWORD}@[")), "https://example.invalid".to_owned()),
        ("server", json!({}), format!("http://admin:{PASSWORD}@{closed}")),
        ("malformed server", json!({}), format!("http://admin:{PASSWORD}@[::1")),
    ] {
        check(case, &kubeconfig(&server, &cluster, &json!({ "token": TOKEN })), |_| (), &COMMANDS, &[]);
    }
    for url in [
        format!("http://admin:{PASSWORD}@{closed}"),
        format!("ftp://admin:{PASSWORD}@{closed}"),
        format!("http://admin:{PASSWORD}@["),
    ] {
        let env = [("HTTPS_PROXY", url.as_str()), ("https_proxy", url.as_str()), ("AWS_SECRET_ACCESS_KEY", PASSWORD)];
        let content = kubeconfig("https://example.invalid", &json!({}), &json!({ "token": TOKEN }));
        check("proxy of the environment", &content, |_| (), &COMMANDS, &env);
    }
}

#[test]
fn policies_and_saved_files_do_not_show_other_files() {
    let sandbox = Sandbox::offline();
    let secret = format!("[default]\naws_secret_access_key = {PASSWORD}\ntoken: [\"{TOKEN}\"\n");
    sandbox.write("credentials", &secret).write("secret.yaml", &secret).write("policy/hidden/config", &secret);
    sandbox.write("policy/inner.yaml", &secret).write("secret.toml", &secret);
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, sandbox.path(name)).unwrap();
    link("../secret.yaml", "policy/out.yaml");
    link("hidden/config", "policy/in.yaml");
    link("/proc/self/environ", "policy/environ.yaml");
    std::fs::create_dir(sandbox.path("policy/links")).unwrap();
    link("../../secret.yaml", "policy/links/a.yaml");
    let outside = sandbox.path("secret.yaml").display().to_string();
    for snapshot in [
        "/proc/self/environ",
        &outside,
        "../secret.yaml",
        "../credentials",
        "out.yaml",
        "in.yaml",
        "environ.yaml",
        "links",
        "hidden/config",
        "inner.yaml",
        "./x/../../secret.yaml",
    ] {
        sandbox.write("policy/a.toml", &format!("{POLICY}[clusters.a]\nsnapshot = {snapshot:?}\n"));
        for args in
            [&["plan", "policy"][..], &["plan", "policy", "-o", "json"], &["drift", "policy"], &["snapshot", "policy"]]
        {
            let output = sandbox.command(args).env("AWS_SECRET_ACCESS_KEY", PASSWORD).output().unwrap();
            let output: RunOutput = output.into();
            assert_ne!(output.exit_code, 0, "{snapshot}");
            assert_no_secret(snapshot, args, &output);
            if snapshot != "inner.yaml" {
                assert!(
                    output.stderr.contains("which is not a file in its own directory"),
                    "{snapshot}\n{}",
                    output.stderr
                );
            }
        }
    }
    // Links among the files of the policy, and a policy that is a link.
    sandbox.write("policy/a.toml", POLICY);
    link("../credentials", "policy/b.toml");
    link("credentials", "rolecall.toml");
    link("secret.toml", "link.toml");
    std::fs::create_dir(sandbox.path("linked")).unwrap();
    link("../secret.toml", "linked/c.toml");
    for args in [
        &["validate", "policy"][..],
        &["validate", "policy", "-o", "json"],
        &["validate"],
        &["validate", "linked"],
        &["validate", "linked/c.toml"],
        &["plan", "linked/c.toml", "-o", "json"],
    ] {
        let output = sandbox.run(args);
        assert_eq!(output.exit_code, 1, "{args:?}");
        assert_no_secret("link", args, &output);
    }
}

#[test]
fn policy_has_no_key_for_endpoints_or_commands() {
    for (key, value) in [
        ("server", "\"https://attacker.example\""),
        ("endpoint", "\"https://attacker.example\""),
        ("kubeconfig", "\"kubeconfig\""),
        ("exec", "{ command = \"./plugin\" }"),
        ("token", "\"x\""),
        ("proxy-url", "\"http://attacker.example\""),
        ("env", "{ HTTPS_PROXY = \"x\" }"),
        ("certificate-authority", "\"ca.crt\""),
    ] {
        let sandbox = Sandbox::offline();
        sandbox.write("rolecall.toml", &format!("{POLICY}[clusters.a]\ncontext = \"a\"\n{key} = {value}\n"));
        let output = sandbox.run(&["plan"]);
        assert_eq!(output.exit_code, 1, "{key}");
        assert!(output.stderr.contains(&format!("unknown key `{key}` in `clusters.a`")), "{key}\n{}", output.stderr);
    }
}

/// Runs every command with AWS credentials, and looks for them, for tokens and for presigned URLs in all that is printed and
/// written.
#[test]
fn aws_credentials_and_tokens_are_neither_printed_nor_saved() {
    let cluster = cluster();
    let deployer =
        "- rolearn: arn:aws:iam::111122223333:role/deployer\n  username: deployer\n  groups: [system:masters]\n";
    cluster.set_aws_auth(&json!({ "mapRoles": deployer }));
    let env = cluster.aws_env("arn:aws:sts::111122223333:assumed-role/deployer/ci");
    let value = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap();
    let session_token = value("AWS_SESSION_TOKEN");
    let secrets = [
        value("AWS_SECRET_ACCESS_KEY"),
        session_token[..24].to_owned(),
        session_token[session_token.len() - 24..].to_owned(),
        "k8s-aws-v1".to_owned(),
        "X-Amz-".to_owned(),
        "AWS4-HMAC".to_owned(),
        "azhzLWF3cy12MS4".to_owned(),
    ];
    let sandbox = Sandbox::offline();
    let connection = format!("eks = {{ name = {:?}, region = \"eu-west-1\" }}", cluster.cluster_name());
    sandbox.write("rolecall.toml", &format!("{POLICY}[clusters.a]\n{connection}\n"));
    std::fs::create_dir(sandbox.path("backups")).unwrap();
    let run = |args: &[&str]| {
        let args: Vec<&str> = args.iter().copied().chain(["--events", "events.jsonl", "--timeout", "20s"]).collect();
        let mut command = sandbox.command(&args);
        command.envs(env.iter().cloned()).env("AWS_EC2_METADATA_DISABLED", "true");
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in &secrets {
            assert!(!text.contains(secret), "{args:?} prints {secret}\n{text}");
        }
        text
    };
    let own: [&[&str]; 10] = [
        &["plan", "--out", "plan.json", "-v"],
        &["apply", "--plan", "plan.json", "--backup", "backups", "-v"],
        &["snapshot", "--out", "cluster.yaml", "-v"],
        &["clusters", "-v"],
        &["clusters", "-o", "json"],
        &["whoami", "-o", "json", "-v"],
        &["report", "-o", "html", "-v"],
        &["graph", "-v"],
        &["explain", "clusterrole/viewer", "-v"],
        &["permissions", "--check", "-v"],
    ];
    for args in own.iter().chain(&COMMANDS) {
        run(args);
    }
    let backup = std::fs::read_dir(sandbox.path("backups")).unwrap().next().unwrap().unwrap().file_name();
    run(&["restore", &format!("backups/{}", backup.to_string_lossy()), "--auto-approve", "-v"]);
    let verbose = run(&["whoami", "-v"]);
    assert!(
        verbose.contains(&format!("GET {}/clusters/{} 200 in ", cluster.aws(), cluster.cluster_name())),
        "{verbose}"
    );
    assert!(verbose.contains(&format!("POST {}/ (GetCallerIdentity) 200 in ", cluster.aws())), "{verbose}");
    // AWS can echo what it was sent.
    for code in ["AccessDeniedException", "InvalidSignatureException", "ServerException", session_token.as_str()] {
        let message =
            format!("User: {session_token} is not authorized; the canonical string AWS4-HMAC-SHA256 {}", secrets[0]);
        let fault = json!({ "call": "DescribeCluster", "code": code, "status": 403, "message": message, "times": 0 });
        cluster.add_aws_faults(&json!([fault]));
        for args in COMMANDS {
            run(args);
        }
        cluster.reset_aws();
    }
    for file in ["plan.json", "cluster.yaml", "events.jsonl", &format!("backups/{}", backup.to_string_lossy())] {
        let text = sandbox.read(file);
        for secret in &secrets {
            assert!(!text.contains(secret), "{file} has {secret}");
        }
    }
}
