//! A server that is not an API server, or an evil one: each command ends within its limits of time and memory with an
//! error, and writes nothing.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::hostile_server::{HostileRequest, HostileServer, hang, respond, respond_json};
use crate::common::running::Running;
use crate::common::sandbox::{RunOutput, Sandbox};
use serde_json::{Value, json};

const POLICY: &str = r#"
[policy]
name = "team"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[bindings.viewers]
cluster-role = "view"
groups = ["viewers"]
"#;

/// Every command that connects to a cluster.
const COMMANDS: [&[&str]; 9] = [
    &["plan"],
    &["apply", "--auto-approve"],
    &["drift"],
    &["snapshot"],
    &["whoami"],
    &["permissions"],
    &["access"],
    &["can", "viewer", "get", "pods"],
    &["who-can", "get", "pods"],
];
/// Those that read lists.
const LIST_COMMANDS: [&[&str]; 3] = [&["plan"], &["apply", "--auto-approve"], &["snapshot"]];
const MAX_MEMORY: u64 = 300_000_000;
/// A message with a cut text of the server, its context and the help.
const MAX_STDERR: usize = 12_000;

/// Runs the command against the server, and checks that it fails as it should.
#[track_caller]
fn run_failing(server: &HostileServer, args: &[&str], flags: &[&str]) -> RunOutput {
    let sandbox = Sandbox::with_kubeconfig_text(&server.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let args: Vec<&str> = args.iter().chain(flags).copied().collect();
    let mut run = Running::start(&sandbox, &args);
    let output = run.finish(&sandbox);
    let is_question = ["can", "who-can"].contains(&args[0]);
    let expected = if is_question { 2 } else { 1 };
    assert_eq!(output.exit_code, expected, "{args:?}: {}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("error: "), "{args:?}: {}", output.stderr);
    assert!(output.stdout.is_empty(), "{args:?}: {}", output.stdout);
    assert!(output.stderr.len() < MAX_STDERR, "{args:?}: {} bytes of messages", output.stderr.len());
    println!("{args:?}: {} MB", run.peak_memory / 1_000_000);
    assert!(run.peak_memory < MAX_MEMORY, "{args:?}: {} MB", run.peak_memory / 1_000_000);
    assert!(server.writes().is_empty(), "{args:?}: {:?}", server.writes());
    output
}

type Respond = fn(&HostileRequest, &mut TcpStream) -> std::io::Result<()>;

fn list_with(request: &HostileRequest, metadata: &Value, items: &Value) -> Value {
    json!({ "kind": request.list_kind(), "apiVersion": "v1", "metadata": metadata, "items": items })
}

fn item(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "a", "resourceVersion": "1" },
        "roleRef": { "kind": "Role", "name": "r" }, "rules": [], "subjects": [],
    })
}

/// Answers that are not what was asked for, with a part of the error that each leads to.
const WRONG_ANSWERS: [(&str, Respond, &str); 14] = [
    ("an empty object", |_, stream| respond_json(stream, 200, &json!({})), "it has no `kind`"),
    (
        "a status",
        |_, stream| respond_json(stream, 200, &json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })),
        "Status, not a",
    ),
    (
        "another kind",
        |_, stream| {
            respond_json(
                stream,
                200,
                &json!({ "kind": "PodList", "metadata": { "resourceVersion": "1" }, "items": [] }),
            )
        },
        "the API server sent a PodList",
    ),
    (
        "an empty protobuf frame",
        |_, stream| respond(stream, 200, "Content-Type: application/vnd.kubernetes.protobuf\r\n", b"k8s\0"),
        "invalid response",
    ),
    (
        "a login page",
        |_, stream| respond(stream, 200, "Content-Type: text/html\r\n", b"<html>Log in</html>"),
        "content type `text/html`",
    ),
    ("a login page without a type", |_, stream| respond(stream, 200, "", b"<html>"), "invalid response"),
    (
        "another type",
        |request, stream| {
            let body = list_with(request, &json!({ "resourceVersion": "1" }), &json!([])).to_string();
            respond(stream, 200, "Content-Type: text/plain\r\n", body.as_bytes())
        },
        "content type `text/plain`",
    ),
    ("a redirect", |_, stream| respond(stream, 302, "Location: http://127.0.0.1:1/\r\n", b""), "answered 302"),
    (
        "a page that was not found",
        |_, stream| respond(stream, 404, "Content-Type: text/html\r\n", "<p>no ".repeat(400_000).as_bytes()),
        "characters left out",
    ),
    (
        "a compressed bomb",
        |_, stream| {
            let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
            respond(stream, 200, headers, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0])
        },
        "encoding `gzip`",
    ),
    ("a huge length", |_, stream| stream.write_all(b"HTTP/1.1 200 -\r\nContent-Length: 99999999999\r\n\r\n{"), "MiB"),
    (
        "a status with a long message",
        |_, stream| respond_json(stream, 403, &json!({ "kind": "Status", "message": "no ".repeat(1_000_000) })),
        "characters left out",
    ),
    ("nothing", |_, stream| respond(stream, 204, "", b""), "invalid response"),
    (
        "nested arrays",
        |_, stream| respond(stream, 200, "Content-Type: application/json\r\n", "[".repeat(5_000_000).as_bytes()),
        "invalid response",
    ),
];

#[test]
fn answer_that_is_not_the_requested_object_is_an_error() {
    for (number, (name, answer, message)) in WRONG_ANSWERS.into_iter().enumerate() {
        let server = HostileServer::start(answer);
        // The commands take turns, so that each meets several answers.
        for args in [COMMANDS[0], COMMANDS[1], COMMANDS[2 + number % (COMMANDS.len() - 2)]] {
            let output = run_failing(&server, args, &[]);
            assert!(output.stderr.contains(message), "{name}, {args:?}: {}", output.stderr);
        }
    }
}

/// Lists of the right kind that cannot be the list that was asked for.
const WRONG_LISTS: [(&str, Respond, &str); 9] = [
    (
        "no items",
        |request, stream| {
            respond_json(stream, 200, &json!({ "kind": request.list_kind(), "metadata": { "resourceVersion": "1" } }))
        },
        "it has no `items`",
    ),
    (
        "no version",
        |request, stream| respond_json(stream, 200, &list_with(request, &json!({}), &json!([]))),
        "no `metadata.resourceVersion`",
    ),
    (
        "a wrong count",
        |request, stream| {
            let metadata = json!({ "resourceVersion": "1", "remainingItemCount": 5 });
            respond_json(stream, 200, &list_with(request, &metadata, &json!([item("a")])))
        },
        "5 objects are missing",
    ),
    (
        "a page that repeats",
        |request, stream| {
            let metadata = json!({ "resourceVersion": "1", "continue": "again" });
            respond_json(stream, 200, &list_with(request, &metadata, &json!([item("a")])))
        },
        "its pages do not end",
    ),
    (
        "empty pages",
        |request, stream| {
            static PAGE: AtomicUsize = AtomicUsize::new(0);
            let page = PAGE.fetch_add(1, Ordering::Relaxed);
            let metadata = json!({ "resourceVersion": "1", "continue": page.to_string() });
            respond_json(stream, 200, &list_with(request, &metadata, &json!([])))
        },
        "its pages do not end",
    ),
    (
        "too many items",
        |request, stream| {
            let metadata = json!({ "resourceVersion": "1" });
            respond_json(stream, 200, &list_with(request, &metadata, &json!(vec![json!({}); 30_000])))
        },
        "more than the 20000 objects",
    ),
    (
        "an object that is too large",
        |request, stream| {
            let mut role = item("a");
            role["metadata"]["annotations"] = json!({ "a": "a".repeat(9 << 20) });
            respond_json(stream, 200, &list_with(request, &json!({ "resourceVersion": "1" }), &json!([role])))
        },
        "larger than any that a cluster can store",
    ),
    (
        "an object twice",
        |request, stream| {
            let items = json!([item("a"), item("a")]);
            respond_json(stream, 200, &list_with(request, &json!({ "resourceVersion": "1" }), &items))
        },
        "",
    ),
    (
        "items of another type",
        |request, stream| {
            respond_json(stream, 200, &list_with(request, &json!({ "resourceVersion": "1" }), &json!([1, "a", null])))
        },
        "invalid response",
    ),
];

/// The other requests are answered as by a cluster without aws-auth.
fn answer_others(request: &HostileRequest, stream: &mut TcpStream) -> Option<std::io::Result<()>> {
    if request.list_kind() == "APIGroupDiscoveryList" {
        return Some(respond_json(stream, 200, &json!({ "kind": "APIGroupList", "groups": [] })));
    }
    if request.target.contains("/aws-auth") {
        let status = json!({ "kind": "Status", "reason": "NotFound", "code": 404, "message": "not found" });
        return Some(respond_json(stream, 404, &status));
    }
    None
}

#[test]
fn list_that_cannot_be_the_requested_list_is_an_error() {
    for (name, answer, message) in WRONG_LISTS {
        let server = HostileServer::start(move |request, stream| {
            answer_others(request, stream).unwrap_or_else(|| answer(request, stream))
        });
        for args in LIST_COMMANDS {
            let output = run_failing(&server, args, &[]);
            assert!(output.stderr.contains(message), "{name}, {args:?}: {}", output.stderr);
        }
    }
}

#[test]
fn list_of_the_wrong_server_is_never_an_empty_cluster() {
    let server = HostileServer::start(|request, stream| {
        answer_others(request, stream).unwrap_or_else(|| respond_json(stream, 200, &json!({})))
    });
    let output = run_failing(&server, &["plan"], &[]);
    insta::with_settings!({filters => vec![(r"list \w+", "list OBJECTS"), (r"a \w+List", "an OBJECTSList")]}, {
        insta::assert_snapshot!(output.stderr);
    });
}

/// Pages with ever new objects and tokens.
#[test]
fn pages_without_end_end_with_the_size_of_the_observation() {
    let server = HostileServer::start(|request, stream| {
        if let Some(answered) = answer_others(request, stream) {
            return answered;
        }
        static PAGE: AtomicUsize = AtomicUsize::new(0);
        let page = PAGE.fetch_add(1, Ordering::Relaxed);
        let metadata = json!({ "resourceVersion": "1", "continue": page.to_string() });
        let items: Vec<Value> = (0..10_000).map(|number| item(&format!("{page}-{number}"))).collect();
        respond_json(stream, 200, &list_with(request, &metadata, &json!(items)))
    });
    for args in LIST_COMMANDS {
        let output = run_failing(&server, args, &[]);
        assert!(
            output.stderr.contains("the lists of the cluster have more than 160 MiB together"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("--max-response 320"), "{}", output.stderr);
    }
}

/// Sends chunks without end.
fn send_without_end(stream: &mut TcpStream, chunk: &[u8], delay: Duration) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 -\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    loop {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
        std::thread::sleep(delay);
    }
}

#[test]
fn body_without_end_ends_with_the_size_of_a_response() {
    let server = HostileServer::start(|_, stream| send_without_end(stream, &[b' '; 65_536], Duration::ZERO));
    for args in LIST_COMMANDS {
        let output = run_failing(&server, args, &[]);
        assert!(output.stderr.contains("is longer than "), "{args:?}: {}", output.stderr);
    }
    let output = run_failing(&server, &["plan"], &["--max-response", "1"]);
    assert!(output.stderr.contains("is longer than 1 MiB"), "{}", output.stderr);
}

#[test]
fn headers_without_end_are_an_error() {
    let server = HostileServer::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 -\r\n")?;
        loop {
            stream.write_all(b"X-More: more and more and more and more and more and more and more and more\r\n")?;
        }
    });
    for args in LIST_COMMANDS {
        run_failing(&server, args, &["--request-timeout", "2s", "--timeout", "5s"]);
    }
}

/// Responses that end early, never begin or never end: the limits of time hold.
#[test]
fn slow_and_broken_responses_end_with_the_timeouts() {
    let answers: [(&str, Respond, &str); 3] = [
        ("silent", |_, stream| hang(stream), "timed out after"),
        ("dripping", |_, stream| send_without_end(stream, b" ", Duration::from_millis(20)), "timed out after"),
        (
            "truncated",
            |_, stream| stream.write_all(b"HTTP/1.1 200 -\r\nContent-Length: 1000\r\n\r\n{\"kind\":\"RoleList\","),
            "",
        ),
    ];
    for (name, answer, message) in answers {
        let server = HostileServer::start(answer);
        let commands = if name == "silent" { &COMMANDS[..] } else { &LIST_COMMANDS[..] };
        for args in commands {
            let output = run_failing(&server, args, &["--request-timeout", "1s", "--timeout", "2s"]);
            assert!(output.stderr.contains(message), "{name}, {args:?}: {}", output.stderr);
            assert!(output.stderr.contains("timeout"), "{name}: the flag is named: {}", output.stderr);
        }
    }
}
