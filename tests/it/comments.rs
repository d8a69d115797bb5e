//! `rolecall comment` against doubles of the APIs of GitHub and GitLab on the loopback interface.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use crate::common::forge_double::{Comment, ForgeDouble, ForgeState, OWN, STRANGER, TOKEN};
use crate::common::hostile_server::{HostileRequest, HostileServer, respond, respond_json};
use crate::common::sandbox::{RunOutput, Sandbox};

const SNAPSHOT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: view, resourceVersion: "8" }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
"#;

fn policy(user: &str) -> String {
    format!(
        "[policy]\nname = \"platform\"\n[clusters.prod]\nsnapshot = \"cluster.yaml\"\n\
         [bindings.viewers]\ncluster-role = \"view\"\nusers = [\"{user}\"]\n"
    )
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", &policy("ann"));
    sandbox
}

/// Writes the Markdown of the plan, as a workflow does.
fn plan(sandbox: &Sandbox) {
    let output = sandbox.run(&["plan", "access.toml", "-o", "markdown"]);
    sandbox.write("plan.md", &output.stdout);
}

#[track_caller]
fn comment(sandbox: &Sandbox, url: &str, env: &[(&str, &str)], args: &[&str]) -> RunOutput {
    let mut command = sandbox.command(&[&["comment"], args].concat());
    command.env("GITHUB_API_URL", format!("{url}/api/v3")).env("CI_API_V4_URL", format!("{url}/api/v4"));
    for (name, value) in env {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let output: RunOutput = output.into();
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains("SECRET") && !text.contains("panicked"), "{text}");
    }
    output
}

const GITHUB: [(&str, &str); 4] = [
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_REPOSITORY", "org/access"),
    ("GITHUB_REF", "refs/pull/12/merge"),
    ("GITHUB_TOKEN", TOKEN),
];
const GITLAB: [(&str, &str); 4] = [
    ("GITLAB_CI", "true"),
    ("CI_MERGE_REQUEST_PROJECT_ID", "org/access"),
    ("CI_MERGE_REQUEST_IID", "12"),
    ("GITLAB_TOKEN", TOKEN),
];

/// The whole life of a comment: posted, up to date, updated in place, after a failure and after the apply. A stranger's
/// comment with a copied marker is left alone, and the comments have several pages.
#[test]
fn one_comment_is_updated_in_place_on_both_forges() {
    for (env, has_app_token) in [(GITHUB, false), (GITHUB, true), (GITLAB, false)] {
        let sandbox = sandbox();
        plan(&sandbox);
        let copied = Comment { id: 1, author: STRANGER, body: sandbox.read("plan.md"), is_system: false };
        let system = Comment { id: 2, author: OWN, body: "added 1 commit".to_owned(), is_system: true };
        let others = (3..203).map(|id| Comment { id, author: STRANGER, body: "+1".to_owned(), is_system: false });
        let comments: Vec<Comment> = [copied.clone(), system].into_iter().chain(others).collect();
        let number = comments.len();
        let double = ForgeDouble::new(ForgeState { comments, has_app_token, ..ForgeState::default() });
        let run = |stdout: &str| {
            let output = comment(&sandbox, &double.server.url(), &env, &["plan.md"]);
            assert_eq!((output.exit_code, output.stderr.as_str()), (0, ""));
            assert!(output.stdout.starts_with(stdout), "{}", output.stdout);
            let comments = double.comments();
            assert_eq!(comments[0].body, copied.body, "the comment of a stranger was changed");
            assert_eq!(comments.len(), number + 1);
            comments.last().unwrap().body.clone()
        };
        assert!(run("Posted the comment on ").contains("user ann"));
        run("The comment is up to date on ");
        sandbox.write("access.toml", &policy("bob"));
        plan(&sandbox);
        let body = run("Updated the comment on ");
        assert!(body.contains("user bob") && !body.contains("user ann"), "{body}");
        // A push that breaks the policy must not leave the old plan standing.
        sandbox.write("access.toml", "[policy\n");
        plan(&sandbox);
        let body = run("Updated the comment on ");
        assert!(body.contains("rolecall plan: failed") && !body.contains("user bob"), "{body}");
        sandbox.write("access.toml", &policy("eve"));
        plan(&sandbox);
        assert!(run("Updated the comment on ").contains("user eve"));
    }
}

#[test]
fn saved_plan_is_posted_as_markdown() {
    let sandbox = sandbox();
    sandbox.run(&["plan", "access.toml", "--out", "plan.json"]);
    plan(&sandbox);
    let double = ForgeDouble::new(ForgeState::default());
    let flags = ["plan.json", "--forge", "github", "--repo", "org/access", "--number", "12"];
    let output = comment(&sandbox, &double.server.url(), &[("GH_TOKEN", TOKEN)], &flags);
    assert_eq!(
        (output.exit_code, output.stdout.as_str()),
        (0, "Posted the comment on pull request 12 of org/access\n")
    );
    assert_eq!(double.comments()[0].body, sandbox.read("plan.md"));
}

/// A comment whose response was lost is found, and not posted again.
#[test]
fn failures_of_the_server_are_repeated_without_a_second_comment() {
    for (status, headers, is_stored) in
        [(429, "Retry-After: 0\r\n", false), (403, "Retry-After: 0\r\n", false), (502, "", true), (500, "", false)]
    {
        let sandbox = sandbox();
        plan(&sandbox);
        let double = ForgeDouble::new(ForgeState::default());
        double.fail_next(status, headers, is_stored);
        let output = comment(&sandbox, &double.server.url(), &GITHUB, &["plan.md"]);
        assert_eq!((output.exit_code, output.stderr.as_str()), (0, ""), "{status}");
        assert_eq!(double.comments().len(), 1, "{status}");
    }
}

#[test]
fn refusals_of_the_forge_say_what_to_do() {
    let sandbox = sandbox();
    plan(&sandbox);
    let cases = [
        (403, "", "give the token `permissions: pull-requests: write` in the workflow"),
        (404, "", "there is no pull request 12 of org/access, or the token may not see it"),
        (422, "", "make the text with --max-chars 65536"),
        (302, "Location: http://evil.example/\r\n", "redirects to another address, which is not followed"),
    ];
    for (status, headers, message) in cases {
        let double = ForgeDouble::new(ForgeState::default());
        double.fail_next(status, headers, false);
        let output = comment(&sandbox, &double.server.url(), &GITHUB, &["plan.md"]);
        assert_eq!(output.exit_code, 1, "{status}");
        assert!(output.stderr.contains(message), "{status}: {}", output.stderr);
        assert!(double.comments().is_empty());
    }
    let double = ForgeDouble::new(ForgeState::default());
    let wrong = [GITHUB[0], GITHUB[1], GITHUB[2], ("GITHUB_TOKEN", "ghs_wrongSECRET")];
    let output = comment(&sandbox, &double.server.url(), &wrong, &["plan.md"]);
    insta::assert_snapshot!(output.stderr, @"
    error: cannot read the token's user: the forge answers with code 401: Bad credentials
     |
     = help: check that GITHUB_TOKEN is complete and has not expired
    ");
}

/// A server that answers with anything cannot make rolecall wait, read without end, or show the token.
#[test]
fn hostile_server_gets_nothing() {
    let sandbox = sandbox();
    plan(&sandbox);
    type Answer = fn(&HostileRequest, &mut TcpStream) -> std::io::Result<()>;
    let answers: [(Answer, &str); 5] = [
        (|_, stream| respond(stream, 200, "", b"<html>"), "the response is not valid: it is not JSON"),
        (|_, stream| respond_json(stream, 200, &json!({ "id": "x" })), "it has no `id`"),
        (
            |request, stream| {
                let echo = request.authorization.clone().unwrap_or_default();
                respond_json(stream, 400, &json!({ "message": format!("bad {echo}\n::error::x\u{1b}[2J") }))
            },
            "the forge answers with code 400: bad Bearer <redacted> ::error::x",
        ),
        (
            |_, stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    stream.write_all(&[b' '; 65_536])?;
                }
            },
            "the response has more than 1048576 bytes",
        ),
        (|_, stream| crate::common::hostile_server::hang(stream), "did not answer within"),
    ];
    for (answer, message) in answers {
        let server = HostileServer::start(answer);
        let limits = ["plan.md", "--max-response", "1", "--request-timeout", "2s"];
        let output = comment(&sandbox, &server.url(), &GITHUB, &limits);
        assert_eq!(output.exit_code, 1, "{message}");
        assert!(output.stderr.contains(message), "{message}: {}", output.stderr);
        assert!(!output.stderr.contains('\u{1b}') && !output.stderr.lines().any(|line| line.starts_with("::")));
    }
}

#[test]
fn wrong_input_is_refused_before_any_request() {
    let sandbox = sandbox();
    plan(&sandbox);
    sandbox.write("other.md", "# x\n").write("long.md", &(sandbox.read("plan.md") + &"x".repeat(70_000)));
    let double = ForgeDouble::new(ForgeState::default());
    let url = double.server.url();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);
    let cases: [Case<'_>; 9] = [
        (&GITHUB, &["other.md"], "other.md is neither a saved plan nor Markdown of rolecall"),
        (&GITHUB, &["long.md"], "more than a comment can have"),
        (&GITHUB, &["gone.md"], "cannot read gone.md"),
        (&[], &["plan.md"], "the forge of the pull request is not known"),
        (&GITHUB[..3], &["plan.md"], "GITHUB_TOKEN or GH_TOKEN is not set"),
        (
            &[GITLAB[0], GITLAB[1], GITLAB[2], ("CI_JOB_TOKEN", "x")],
            &["plan.md"],
            "the CI_JOB_TOKEN of a job cannot write",
        ),
        (&GITHUB, &["plan.md", "--repo", "org/../x"], "invalid repository"),
        (&GITHUB, &["plan.md", "--api-url", "http://api.github.example"], "does not begin with https://"),
        (&GITHUB, &["plan.md", "--api-url", "https://u:passwordSECRET@h/"], "has a username or a password"),
    ];
    for (env, args, message) in cases {
        let output = comment(&sandbox, &url, env, args);
        assert_eq!(output.exit_code, 1, "{args:?}");
        assert!(output.stderr.contains(message), "{args:?}: {}", output.stderr);
    }
    assert!(double.server.requests().is_empty());
}

#[test]
fn number_of_the_pull_request_comes_from_the_event() {
    let sandbox = sandbox();
    plan(&sandbox);
    sandbox.write("event.json", r#"{ "issue": { "number": 12, "pull_request": {} } }"#);
    let double = ForgeDouble::new(ForgeState::default());
    let env = [GITHUB[0], GITHUB[1], GITHUB[3], ("GITHUB_EVENT_PATH", "event.json")];
    assert_eq!(comment(&sandbox, &double.server.url(), &env, &["plan.md"]).exit_code, 0);
    sandbox.write("event.json", r#"{ "issue": { "number": 12 } }"#);
    let output = comment(&sandbox, &double.server.url(), &env, &["plan.md"]);
    assert!(output.stderr.contains("the number of the pull request is not known"), "{}", output.stderr);
}

/// After the merge, the commit on the main branch leads to the pull request, and its comments to the digests. A comment of
/// a stranger approves nothing.
#[test]
fn digests_come_from_the_own_comments_of_the_merged_pull_request() {
    for (ours, commit, number) in
        [(GITHUB, "GITHUB_SHA", "GITHUB_REF"), (GITLAB, "CI_COMMIT_SHA", "CI_MERGE_REQUEST_IID")]
    {
        let sandbox = sandbox();
        plan(&sandbox);
        let (start, rest) =
            sandbox.read("plan.md").split_once("approve=sha256%3A").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let forged = format!("{start}approve=sha256%3A{}{}", "0".repeat(64), &rest[64..]);
        let stranger = Comment { id: 1, author: STRANGER, body: forged, is_system: false };
        let double = ForgeDouble::new(ForgeState { comments: vec![stranger], ..ForgeState::default() });
        let url = double.server.url();
        let after_merge: Vec<(&str, &str)> =
            ours.iter().copied().filter(|(name, _)| *name != number).chain([(commit, "3f2c1d9")]).collect();
        let digests = |expected: &str, note: &str| {
            let output = comment(&sandbox, &url, &after_merge, &["--digests"]);
            assert_eq!((output.exit_code, output.stdout.as_str()), (0, expected), "{}", output.stderr);
            assert!(output.stderr.contains(note), "{}", output.stderr);
        };
        digests("", "the commit 3f2c1d9 was not made by merging a pull request");
        double.merge("3f2c1d9");
        digests("", "has no comment with a plan that can be applied");
        assert_eq!(comment(&sandbox, &url, &ours, &["plan.md"]).exit_code, 0);
        let text = sandbox.run(&["plan", "access.toml"]).stdout;
        let digest = text.lines().find_map(|line| line.strip_prefix("Digest ")).unwrap();
        digests(&format!("{digest}\n"), "");
        // A later push that is refused, or changes nothing, leaves nothing to apply.
        sandbox.write("access.toml", "[policy\n");
        plan(&sandbox);
        assert_eq!(comment(&sandbox, &url, &ours, &["plan.md"]).exit_code, 0);
        digests("", "has no comment with a plan that can be applied");
    }
}
