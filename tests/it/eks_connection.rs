//! Connects to EKS clusters by their names, with nothing but AWS credentials in the environment: DescribeCluster, tokens
//! that the authenticator accepts, and errors with their causes.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::sandbox::{RunOutput, Sandbox, example_path};
use crate::common::shared_cluster::cluster;

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const STRANGER: &str = "arn:aws:sts::111122223333:assumed-role/stranger/me";
const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer:{{SessionName}}
  groups: [system:masters]
";

/// The certificate of an authority that has signed nothing.
const OTHER_AUTHORITY: &str = "\
    -----BEGIN CERTIFICATE-----\n\
    MIIBeDCCAR2gAwIBAgIULPxXjK0LB46MRlp2XZ5blLZaClgwCgYIKoZIzj0EAwIw\n\
    EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTI3MDcwNzI4WhgPMjEyNjExMDMwNzA3\n\
    MjhaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n\
    n/RqE5QLcBBifRWDDPwH8NXXLmqjlk/jKAyqpxYkps+22hWb5gZaIb+TW5+XMmBa\n\
    7MRAWdMpvNjgOmf07wXttqNTMFEwHQYDVR0OBBYEFEMIpmYYX2Jx5q2JzGueStma\n\
    SVgkMB8GA1UdIwQYMBaAFEMIpmYYX2Jx5q2JzGueStmaSVgkMA8GA1UdEwEB/wQF\n\
    MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhALRUic18oN6WFd3D+/FCtVf+iMbIUc4D\n\
    Te6M+SMAMr2BAiEA5GC3XO1HotupG7sLUbYJyzD7xnicddLmGCNrebCEQjU=\n\
    -----END CERTIFICATE-----\n\n";

/// A directory without a kubeconfig, and the environment of a runner that has AWS credentials.
struct Runner {
    sandbox: Sandbox,
    env: Vec<(String, String)>,
}

impl Runner {
    #[track_caller]
    fn new(cluster: &TestCluster, arn: &str) -> Self {
        Self::with_env(cluster.aws_env(arn))
    }

    fn with_env(mut env: Vec<(String, String)>) -> Self {
        // Without it, a run without credentials would ask the metadata service of the instance.
        env.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
        Self { sandbox: Sandbox::offline(), env }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, args: &[&str]) -> RunOutput {
        let output = self.command(args).output().unwrap();
        output.into()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.exit_code, 0, "rolecall {args:?}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a command that must fail, and returns its stderr.
    #[track_caller]
    fn error(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.exit_code, 1, "rolecall {args:?}\n{}{}", output.stdout, output.stderr);
        output.stderr
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The connection to the default cluster of the double.
fn eks(cluster: &TestCluster) -> String {
    format!("eks = {{ name = {:?}, region = \"eu-west-1\" }}", cluster.cluster_name())
}

/// The policy of the `cluster-viewer` example for this connection.
fn viewer_policy(connection: &str) -> String {
    let text = std::fs::read_to_string(example_path("cluster-viewer").join("access.toml")).unwrap();
    text.replace("snapshot = \"cluster.yaml\"", connection)
}

#[test]
fn main_job_needs_only_aws_credentials() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let runner = Runner::new(&cluster, ADMIN);
    runner.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
    cluster.forget_aws_calls();
    let plan = runner.ok(&["plan", "--out", "plan.json"]);
    assert!(plan.contains(&format!("example (eks eu-west-1/{})", cluster.cluster_name())), "{plan}");
    // One call more than by a kubeconfig.
    assert_eq!(cluster.aws_call_names(), ["DescribeCluster"]);
    let saved: Value = serde_json::from_str(&runner.sandbox.read("plan.json")).unwrap();
    assert_eq!(
        saved["plans"][0]["connection"],
        json!({ "eks": { "name": cluster.cluster_name(), "region": "eu-west-1", "account": "111122223333" } })
    );
    runner.ok(&["apply", "--plan", "plan.json"]);
    assert!(runner.ok(&["plan"]).contains("No changes."));
    runner.ok(&["drift"]);
    cluster.wait_until_synced();
    let viewer = cluster.token_for("arn:aws:sts::111122223333:assumed-role/viewer/me");
    assert_eq!(cluster.request(&viewer, "GET", "/api/v1/pods", None, None).0, 200);
    assert!(runner.ok(&["can", "alice", "get", "pods"]).contains("yes"));
}

#[test]
fn tokens_of_all_kinds_of_identities_are_accepted() {
    let cluster = cluster();
    let users = "- userarn: arn:aws:iam::111122223333:user/team/alice\n  username: alice\n  groups: [devs]\n";
    let other = "- rolearn: arn:aws:iam::111122223333:role/other\n  username: other:{{SessionName}}\n";
    cluster.set_aws_auth(&json!({ "mapRoles": format!("{ROLES}{other}"), "mapUsers": users }));
    let name = cluster.cluster_name();
    let username = |runner: &Runner| {
        let output = runner.ok(&["whoami", "--eks", name, "-o", "json"]);
        let document: Value = serde_json::from_str(&output).unwrap();
        document["clusters"][0].clone()
    };
    // Every character that a session name can have (STS API, RoleSessionName).
    for session in ["me", "Aa09_+=,.@-", &"s".repeat(64)] {
        let arn = format!("arn:aws:sts::111122223333:assumed-role/other/{session}");
        let answer = username(&Runner::new(&cluster, &arn));
        assert_eq!(answer["user-info"]["username"], json!(format!("other:{}", session.replace('@', "-"))));
        assert_eq!(answer["iam-identity"]["arn"], json!(arn));
        assert_eq!(answer["iam-identity"]["session"], json!(session));
        assert_eq!(answer["iam-identity"]["canonical-arn"], json!("arn:aws:iam::111122223333:role/other"));
        // The role may not read aws-auth.
        assert_eq!(answer["mapped-by"]["kind"], json!("unknown"));
        assert_eq!(answer["authentication-mode"], json!("CONFIG_MAP"));
    }
    let alice = json!({ "arn": "arn:aws:iam::111122223333:user/team/alice" });
    let permanent = json!({ "arn": "arn:aws:iam::111122223333:user/team/alice", "permanent": true });
    cluster.register_iam_principals(&["arn:aws:iam::111122223333:user/team/alice"]);
    let long = json!({ "arn": "arn:aws:iam::111122223333:user/team/alice", "padding": 1500 });
    for input in [alice, permanent, long] {
        let answer = username(&Runner::with_env(cluster.aws_env_with(&input)));
        assert_eq!(answer["user-info"]["username"], json!("alice"), "{input}");
    }
    let too_long = json!({ "arn": "arn:aws:iam::111122223333:user/team/alice", "padding": 4000 });
    let error = Runner::with_env(cluster.aws_env_with(&too_long)).error(&["whoami", "--eks", name]);
    assert!(error.contains("more than the 4096 that EKS accepts"), "{error}");
}

#[test]
fn whoami_tells_identity_mapping_and_permissions() {
    let cluster = cluster();
    let reader = "- rolearn: arn:aws:iam::111122223333:role/reader\n  username: reader\n  groups: [readers]\n";
    cluster.set_aws_auth(&json!({ "mapRoles": format!("{ROLES}{reader}") }));
    let name = cluster.cluster_name();
    let shown = |runner: &Runner| runner.ok(&["whoami", "--eks", name]).replace(name, "NAME");
    let admin = Runner::new(&cluster, ADMIN);
    insta::assert_snapshot!(shown(&admin), @r"
    eks eu-west-1/NAME
      username      deployer:ci
      groups        system:masters, system:authenticated
      canonicalArn  arn:aws:iam::111122223333:role/deployer
      arn           arn:aws:sts::111122223333:assumed-role/deployer/ci
      account       111122223333
      session       ci
      mapped by     arn:aws:iam::111122223333:role/deployer, mapRoles line 4
      mode          CONFIG_MAP
      may plan      yes
      may apply     yes
    ");
    let reader = Runner::new(&cluster, "arn:aws:sts::111122223333:assumed-role/reader/me");
    insta::assert_snapshot!(shown(&reader), @r"
    eks eu-west-1/NAME
      username      reader
      groups        readers, system:authenticated
      canonicalArn  arn:aws:iam::111122223333:role/reader
      arn           arn:aws:sts::111122223333:assumed-role/reader/me
      account       111122223333
      session       me
      mapped by     unknown: you may not read aws-auth or the access entries, or several entries match
      mode          CONFIG_MAP
      may plan      no: denied to get configmaps named aws-auth in kube-system, and 6 more
      may apply     no: denied to create leases.coordination.k8s.io in kube-system, and 16 more
    ");
    cluster.forget_aws_calls();
    shown(&admin);
    let mut calls = cluster.aws_call_names();
    calls.sort();
    assert_eq!(calls, ["DescribeCluster", "GetCallerIdentity"]);
}

#[test]
fn clusters_lists_those_of_the_account_and_of_the_policy() {
    let cluster = cluster();
    for name in ["a-stage", "b-other"] {
        cluster.set_eks_cluster(&json!({ "name": name }));
    }
    cluster.set_aws_settings(&json!({ "page_size": 1 }));
    let runner = Runner::new(&cluster, STRANGER);
    let list = runner.ok(&["clusters"]);
    assert_eq!(
        list,
        format!("eu-west-1 in account 111122223333\n  a-stage\n  b-other\n  {}\n", cluster.cluster_name())
    );
    runner.sandbox.write(
        "rolecall.toml",
        "[policy]\nname = \"p\"\n[clusters.stage]\neks = { name = \"a-stage\", region = \"eu-west-1\" }\n\
         [clusters.gone]\neks = { name = \"gone\", region = \"eu-west-1\" }\n",
    );
    let list = runner.ok(&["clusters"]);
    assert!(list.contains("  a-stage  stage\n") || list.contains("stage\n"), "{list}");
    assert!(list.contains("b-other") && list.contains("not in the policy"), "{list}");
    assert!(list.contains("the cluster `gone` of the policy does not exist here"), "{list}");
    let document: Value = serde_json::from_str(&runner.ok(&["clusters", "-o", "json"])).unwrap();
    assert_eq!(document["scopes"][0]["clusters"][0], json!({ "name": "a-stage", "policy-names": ["stage"] }));
    assert_eq!(document["scopes"][0]["missing"], json!(["gone"]));
}

#[test]
fn errors_of_aws_name_the_cause_and_the_next_step() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let name = cluster.cluster_name();
    let before = cluster.object_metadata();
    let check = |runner: &Runner, expected: &[&str]| {
        runner.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
        let error = runner.error(&["apply", "--auto-approve", "--timeout", "20s"]);
        for text in expected {
            assert!(error.contains(text), "{text}\n{error}");
        }
        cluster.reset_aws();
        error
    };
    let fault = |fault: Value| cluster.add_aws_faults(&json!([fault]));
    let admin = Runner::new(&cluster, ADMIN);

    let mut nothing = Runner::with_env(Vec::new());
    nothing.set("AWS_ENDPOINT_URL", cluster.aws());
    check(&nothing, &["error: no AWS credentials were found", "help: set AWS_PROFILE"]);

    nothing.sandbox.write(
        ".aws/config",
        "[profile work]\nsso_session = main\nsso_account_id = 111122223333\nsso_role_name = Admin\nregion = eu-west-1\n\
         [sso-session main]\nsso_region = eu-west-1\nsso_start_url = https://example.awsapps.com/start\n",
    );
    nothing.set("AWS_PROFILE", "work");
    check(
        &nothing,
        &["error: the SSO session for the profile `work` has expired", "help: run `aws sso login --profile work`"],
    );
    nothing.set("AWS_PROFILE", "absent");
    check(&nothing, &["error: no AWS credentials were found for the profile `absent`"]);

    fault(json!({ "call": "DescribeCluster", "code": "AccessDeniedException", "status": 403, "times": 0,
        "message": format!("User: {ADMIN} is not authorized to perform: eks:DescribeCluster on resource: x with an explicit deny in a service control policy tok-SECRET") }));
    let error = check(
        &admin,
        &[
            &format!("error: you are not allowed to call eks:DescribeCluster for the cluster {name} in eu-west-1"),
            &format!("because: a service control policy denies it to {ADMIN}"),
            "help: allow the action eks:DescribeCluster",
        ],
    );
    assert!(!error.contains("SECRET"), "{error}");

    let absent = Runner::new(&cluster, ADMIN);
    absent.sandbox.write("rolecall.toml", "[policy]\nname = \"p\"\n");
    let error = absent.error(&["plan", "--eks", "absent", "--region", "eu-west-1"]);
    assert!(error.contains("error: there is no EKS cluster `absent` in eu-west-1"), "{error}");
    assert!(error.contains("rolecall clusters --region eu-west-1"), "{error}");
    absent.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
    let error = absent.error(&["plan", "--eks", name, "--region", "us-east-1"]);
    assert!(error.contains(&format!("error: there is no EKS cluster `{name}` in us-east-1")), "{error}");
    assert!(
        error.contains("help: the policy has a cluster of this name in eu-west-1: pass --region eu-west-1"),
        "{error}"
    );
    let arn = format!("arn:aws:eks:eu-west-1:111122223333:cluster/{name}");
    let error = absent.error(&["plan", "--eks", &arn, "--region", "us-east-1"]);
    assert!(error.contains("error: `--region us-east-1` is not the region of the ARN, which is eu-west-1"), "{error}");
    absent.ok(&["plan", "--eks", &arn]);

    for status in ["CREATING", "DELETING", "FAILED"] {
        cluster.set_eks_cluster(&json!({ "status": status }));
        check(&admin, &[&format!("in eu-west-1 is {status}"), "help: run `aws eks "]);
    }
    cluster.set_eks_cluster(&json!({ "endpoint": "https://127.0.0.1:9", "details": {
        "resourcesVpcConfig": { "endpointPublicAccess": false, "endpointPrivateAccess": true } } }));
    check(
        &admin,
        &[
            "error: cannot connect to the cluster at https://127.0.0.1:9: connection refused",
            "because: the endpoint of the cluster is private",
            "help: connect from the VPC of the cluster",
        ],
    );
    // The address of a private endpoint usually leads nowhere, so that a connection is never made.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    cluster.set_eks_cluster(&json!({
        "endpoint": format!("https://{}", silent.local_addr().unwrap()),
        "details": { "resourcesVpcConfig": { "endpointPublicAccess": false, "endpointPrivateAccess": true } },
    }));
    let error = admin.error(&["plan", "--request-timeout", "500ms"]);
    assert!(
        error.contains("timed out after 500ms") && error.contains("the endpoint of the cluster is private"),
        "{error}"
    );
    assert!(error.contains("help: connect from the VPC of the cluster"), "{error}");
    cluster.reset_aws();
    let other_authority = base64(OTHER_AUTHORITY);
    cluster.set_eks_cluster(&json!({ "certificate_authority": other_authority }));
    check(&admin, &["the certificate of the server is not signed by a trusted certificate authority", "HTTPS_PROXY"]);

    let expired = Runner::with_env(cluster.aws_env_with(&json!({ "arn": ADMIN, "valid_for_seconds": -60 })));
    check(&expired, &["error: AWS rejected the credentials for eks:DescribeCluster: they have expired"]);
    let mut wrong = Runner::new(&cluster, ADMIN);
    wrong.set("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    check(&wrong, &["the secret access key does not match"]);

    fault(
        json!({ "call": "DescribeCluster", "code": "ThrottlingException", "status": 429, "message": "Rate exceeded", "times": 0 }),
    );
    check(&admin, &["error: AWS throttles eks:DescribeCluster: too many requests", "--parallel"]);
    fault(
        json!({ "call": "DescribeCluster", "code": "ServerException", "status": 500, "message": "tok-SECRET", "times": 0 }),
    );
    let error = check(&admin, &["error: AWS refused eks:DescribeCluster with `ServerException` (status 500)"]);
    assert!(!error.contains("SECRET"), "{error}");

    let mut proxied = Runner::new(&cluster, ADMIN);
    proxied.set("HTTP_PROXY", "http://127.0.0.1:9").set("NO_PROXY", "");
    check(&proxied, &["error: cannot connect to AWS for eks:DescribeCluster", "help: check the network, HTTPS_PROXY"]);
    proxied.set("NO_PROXY", "127.0.0.1");
    proxied.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
    proxied.ok(&["plan"]);

    let mut gone = Runner::new(&cluster, ADMIN);
    gone.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    check(&gone, &["error: cannot connect to AWS for eks:DescribeCluster: connection refused", "AWS_ENDPOINT_URL"]);

    let other_account = Runner::new(&cluster, ADMIN);
    let policy = viewer_policy(&eks(&cluster)).replace("account = \"111122223333\"", "account = \"444455556666\"");
    other_account.sandbox.write("rolecall.toml", &policy);
    let error = other_account.error(&["plan"]);
    assert!(error.contains("is in the account 111122223333, not in 444455556666"), "{error}");

    let stranger = Runner::new(&cluster, STRANGER);
    check(
        &stranger,
        &[
            "rejected the credentials",
            &format!("because: your credentials are valid: you are {STRANGER}"),
            "help: ask for an entry in aws-auth or an access entry",
        ],
    );

    fault(json!({ "call": "DescribeCluster", "delay_ms": 60_000, "times": 0 }));
    admin.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
    let error = admin.error(&["plan", "--request-timeout", "1s"]);
    assert!(error.contains("asking AWS for eks:DescribeCluster timed out after"), "{error}");
    cluster.reset_aws();
    assert_eq!(cluster.object_metadata(), before, "an apply that fails writes nothing");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A kubeconfig as `aws eks update-kubeconfig` writes it.
fn kubeconfig(cluster: &TestCluster, command: &str, args: &[&str]) -> String {
    let authority = std::fs::read_to_string(cluster.ca_file()).unwrap();
    let arn = format!("arn:aws:eks:eu-west-1:111122223333:cluster/{}", cluster.cluster_name());
    json!({ "apiVersion": "v1", "kind": "Config", "current-context": arn,
        "clusters": [{ "name": arn, "cluster": {
            "server": cluster.server(), "certificate-authority-data": base64(&authority) } }],
        "contexts": [{ "name": arn, "context": { "cluster": arn, "user": arn } }],
        "users": [{ "name": arn, "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "args": args } } }] })
    .to_string()
}

#[test]
fn token_of_update_kubeconfig_is_made_without_the_aws_cli() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let mut runner = Runner::new(&cluster, ADMIN);
    let path = format!("{}:{}", runner.sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    runner.set("PATH", &path).set("KUBECONFIG", "kubeconfig");
    let token = cluster.token_for("arn:aws:sts::111122223333:assumed-role/deployer/plugin");
    for name in ["bin/aws", "bin/aws-iam-authenticator"] {
        let credential = json!({ "apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential",
            "status": { "token": token } });
        runner.sandbox.write(
            name,
            &format!("#!/bin/sh\necho x >> {}\necho '{credential}'\n", runner.sandbox.path("calls").display()),
        );
        std::fs::set_permissions(runner.sandbox.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let name = cluster.cluster_name();
    let cli = ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", name, "--output", "json"];
    let role = "arn:aws:iam::111122223333:role/team/deployer";
    cluster.set_iam_principals(&json!([{ "arn": role}]));
    let with_role = [&cli[..], &["--role-arn", role]].concat();
    let authenticator = ["token", "-i", name];
    for (command, args, username) in [
        ("aws", &cli[..], "deployer:ci"),
        ("aws", &with_role[..], "deployer:EKSGetTokenAuth"),
        ("aws-iam-authenticator", &authenticator[..], "deployer:ci"),
    ] {
        runner.sandbox.write("kubeconfig", &kubeconfig(&cluster, command, args));
        let shown = runner.ok(&["whoami"]);
        assert!(shown.contains(&format!("  username      {username}\n")), "{command} {args:?}\n{shown}");
        assert!(!runner.sandbox.path("calls").exists(), "{command} was started");
        let shown = runner.ok(&["whoami", "--use-exec-plugin"]);
        assert!(shown.contains("  username      deployer:plugin\n"), "{shown}");
        std::fs::remove_file(runner.sandbox.path("calls")).unwrap();
    }
    // A token for another cluster is refused.
    let other = ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", "other"];
    runner.sandbox.write("kubeconfig", &kubeconfig(&cluster, "aws", &other));
    let error = runner.error(&["plan", "--eks", "absent"]);
    assert!(!error.is_empty());
    let error = runner.error(&["whoami"]);
    assert!(error.contains("rejected the credentials") && error.contains(ADMIN), "{error}");
}

#[test]
fn role_is_assumed_with_the_external_id_of_the_policy() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let role = "arn:aws:iam::111122223333:role/team/deployer";
    cluster.set_iam_principals(&json!([{ "arn": role, "external_id": "from-policy" }]));
    let runner = Runner::new(&cluster, STRANGER);
    let policy = |external_id: &str| {
        let keys = format!("role-arn = {role:?}, external-id = {external_id:?}");
        viewer_policy(&eks(&cluster).replace(" }", &format!(", {keys} }}")))
    };
    runner.sandbox.write("rolecall.toml", &policy("from-policy"));
    let shown = runner.ok(&["whoami"]);
    assert!(shown.contains("  username      deployer:rolecall\n"), "{shown}");
    runner.ok(&["plan", "--out", "plan.json"]);
    runner.ok(&["apply", "--plan", "plan.json"]);
    // Clusters with the same role share its session.
    let two = format!(
        "[policy]\nname = \"p\"\n[clusters.a]\n{0}\n[clusters.b]\n{0}\n",
        eks(&cluster).replace(" }", &format!(", role-arn = {role:?}, external-id = \"from-policy\" }}"))
    );
    runner.sandbox.write("two.toml", &two);
    cluster.forget_aws_calls();
    runner.ok(&["whoami", "two.toml"]);
    let count = |call: &str| cluster.aws_call_names().iter().filter(|name| *name == call).count();
    assert_eq!((count("AssumeRole"), count("DescribeCluster")), (1, 2));
    runner.sandbox.write("rolecall.toml", &policy("wrong"));
    let error = runner.error(&["plan"]);
    assert!(
        error.contains(&format!("error: you are not allowed to call sts:AssumeRole for the role {role}")),
        "{error}"
    );
    assert!(error.contains("with the external ID if it requires one"), "{error}");
    let profile = "[work]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = not-a-secret\n";
    runner.sandbox.write(".aws/credentials", profile);
    let with_profile = eks(&cluster).replace(" }", ", profile = \"work\" }");
    runner.sandbox.write("rolecall.toml", &viewer_policy(&with_profile));
    // The profile of the policy takes precedence over the credentials of the environment.
    let error = runner.error(&["plan"]);
    assert!(error.contains("the access key is not known"), "{error}");
}

#[test]
fn token_is_renewed_once_after_a_refusal() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let refuse_first = Proxy::start(&cluster, move |request| {
        let is_first = request.matches("POST", reviews) && request.nth == 1;
        let refused = ProxyResponse::failure(401, "Unauthorized", "Unauthorized");
        if is_first { ProxyAction::Respond(refused) } else { ProxyAction::Forward }
    });
    let name = cluster.cluster_name();
    let args = ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", name];
    let mut runner = Runner::new(&cluster, ADMIN);
    runner.set("KUBECONFIG", "kubeconfig");
    let with_proxy = kubeconfig(&cluster, "aws", &args).replace(cluster.server(), &refuse_first.server());
    let mut with_proxy: Value = serde_json::from_str(&with_proxy).unwrap();
    with_proxy["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data");
    runner.sandbox.write("kubeconfig", &with_proxy.to_string());
    runner.ok(&["whoami"]);
    let requests = refuse_first.requests();
    let tokens: Vec<&str> = requests
        .iter()
        .filter(|request| request.matches("POST", reviews))
        .map(|request| request.authorization.as_str())
        .collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens[0] != tokens[1] && tokens.iter().all(|token| token.starts_with("Bearer k8s-aws-v1.")));
}

#[test]
fn profiles_without_usable_credentials_are_errors_with_a_next_step() {
    let mut runner = Runner::with_env(Vec::new());
    runner.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9").set("AWS_MAX_ATTEMPTS", "1");
    let role = "role_arn = arn:aws:iam::111122223333:role/x";
    let sso = "sso_account_id = 111122223333\nsso_role_name = x";
    runner.sandbox.write(
        ".aws/config",
        &format!(
            "[profile loop]\n{role}\nsource_profile = loop2\n[profile loop2]\n{role}\nsource_profile = loop\n\
             [profile login]\nlogin_session = arn:aws:iam::111122223333:user/Admin\n\
             [profile sso]\nsso_session = absent\n{sso}\n\
             [profile old-sso]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n{sso}\n\
             [profile source]\n{role}\nsource_profile = absent\n\
             [profile process]\ncredential_process = sh -c 'echo tok-SECRET; echo tok-SECRET >&2; exit 3'\n\
             [profile web]\n{role}\nweb_identity_token_file = /nonexistent/tok-SECRET\n\
             [profile chain]\n{role}\nsource_profile = base\n\
             [profile base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = tok-SECRET\n\
             [profile empty]\nregion = eu-west-1\n",
        ),
    );
    for (profile, expected) in [
        ("loop", "the AWS profile `loop` refers to itself by `source_profile`"),
        ("login", "the AWS profile `login` gets its credentials in a way that only the AWS CLI supports"),
        ("sso", "the AWS profile `sso` has an SSO configuration that is not complete"),
        ("old-sso", "help: run `aws sso login --profile old-sso`"),
        ("source", "the AWS profile `source` or one that it refers to is not defined"),
        ("process", "the `credential_process` of the profile failed"),
        ("web", "a file that the profile or AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read"),
        ("chain", "cannot connect to AWS for sts:AssumeRole: connection refused"),
        ("empty", "no AWS credentials were found for the profile `empty`"),
        ("absent", "the AWS profile `absent` or one that it refers to is not defined"),
    ] {
        let args = ["whoami", "--eks", "prod", "--region", "eu-west-1", "--profile", profile, "-v"];
        let error = runner.error(&args);
        assert!(error.contains(expected), "{profile}\n{error}");
        assert!(!error.contains("SECRET"), "{profile}\n{error}");
    }
    let error = runner.error(&["whoami", "--eks", "prod"]);
    assert!(error.contains("error: no AWS region is set") && error.contains("help: pass --region"), "{error}");
    runner.set("AWS_CA_BUNDLE", "bundle.pem");
    for (text, expected) in [
        ("not PEM", "error: the file bundle.pem of AWS_CA_BUNDLE cannot be read, or has no PEM certificates"),
        (OTHER_AUTHORITY, "cannot connect to AWS for sts:AssumeRole: connection refused"),
    ] {
        runner.sandbox.write("bundle.pem", text);
        let error = runner.error(&["whoami", "--eks", "prod", "--region", "eu-west-1", "--profile", "chain"]);
        assert!(error.contains(expected), "{error}");
    }
    runner.set("AWS_CA_BUNDLE", "");
    runner.sandbox.write(".aws/config", "[broken tok-SECRET");
    let error = runner.error(&["whoami", "--eks", "prod", "--region", "eu-west-1"]);
    assert!(error.contains("error: the AWS configuration files are not valid"), "{error}");
    assert!(!error.contains("SECRET"), "{error}");
}

#[test]
fn iam_policy_of_the_runner_is_printed_for_clusters_by_name() {
    let sandbox = Sandbox::offline();
    sandbox.write(
        "rolecall.toml",
        "[policy]\nname = \"p\"\n[clusters.a]\neks = { name = \"a\", region = \"eu-west-1\" }\naccount = \"111122223333\"\n\
         [clusters.b]\neks = { name = \"b\", region = \"eu-west-1\", role-arn = \"arn:aws:iam::444455556666:role/r\" }\n\
         [clusters.c]\ncontext = \"c\"\n",
    );
    let output = sandbox.run(&["permissions", "--iam"]);
    let policy: Value = serde_json::from_str(&output.stdout).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let of_action = |action: &str| statements.iter().find(|statement| statement["Action"] == json!(action)).unwrap();
    let described = json!(["arn:aws:eks:eu-west-1:111122223333:cluster/a"]);
    assert_eq!(of_action("eks:DescribeCluster")["Resource"], described);
    assert_eq!(of_action("sts:AssumeRole")["Resource"], json!(["arn:aws:iam::444455556666:role/r"]));
    let note = "note: the role arn:aws:iam::444455556666:role/r needs eks:DescribeCluster on arn:aws:eks:eu-west-1:*:cluster/b";
    assert!(output.exit_code == 0 && output.stderr.contains(note), "{}", output.stderr);
    let error = sandbox.run(&["permissions", "--iam", "--cluster", "c"]).stderr;
    assert!(error.contains("no cluster is named by its name in EKS"), "{error}");
}
