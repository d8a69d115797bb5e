//! The test cluster as tests use it: a real API server with the real
//! authenticator before it, and identities of AWS that need no AWS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::kubeconfig;
use super::process::Process;
use super::web::Web;

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Options {
    /// Fill aggregated ClusterRoles (view, edit, admin and others), as EKS does.
    pub aggregation: bool,
    /// How long the API server remembers an answer of the authenticator; zero
    /// leaves only its built-in ten seconds for a token it has accepted.
    pub webhook_cache_ttl: Duration,
    /// The authenticator's alpha feature, off on EKS.
    pub sso_role_match: bool,
}

/// What signs as an identity: set as `AWS_ACCESS_KEY_ID` and so on, a client
/// that makes its own tokens is taken for that identity.
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
}

/// A running cluster of its own process, stopped when dropped. In a `static`
/// it is never dropped and ends with the test binary.
pub struct TestCluster {
    process: Process,
    api: Web,
    control: Web,
    ca: PathBuf,
    admin_kubeconfig: PathBuf,
    kubeconfigs: AtomicU32,
}

impl TestCluster {
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Self {
        let process = Process::start(&[
            format!("--aggregation={}", options.aggregation),
            format!("--sso-role-match={}", options.sso_role_match),
            format!("--authentication-token-webhook-cache-ttl={}ms", options.webhook_cache_ttl.as_millis()),
        ]);
        let ca = PathBuf::from(process.announced("ca"));
        let mut cluster = Self {
            api: Web::new(process.announced("server"), Some(&ca)),
            control: Web::new(process.announced("control"), None),
            process,
            ca,
            admin_kubeconfig: PathBuf::new(),
            kubeconfigs: AtomicU32::new(0),
        };
        cluster.admin_kubeconfig = cluster.write_kubeconfig("admin", cluster.admin_token());
        cluster
    }

    pub fn server(&self) -> &str {
        self.process.announced("server")
    }

    pub fn admin_token(&self) -> &str {
        self.process.announced("admin_token")
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca
    }

    /// Returns the name that tokens must be signed for.
    pub fn cluster_name(&self) -> &str {
        self.process.announced("cluster")
    }

    /// Returns where the three servers log, for a look when a test puzzles.
    pub fn log_file(&self) -> &Path {
        Path::new(self.process.announced("log"))
    }

    /// Returns the admin's kubeconfig, its context named `admin`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.admin_kubeconfig.clone()
    }

    /// Returns a kubeconfig with a new token of the identity, its context named
    /// `identity`. An accepted token is remembered for ten seconds, so after
    /// taking a mapping away ask for another.
    #[track_caller]
    pub fn kubeconfig_for(&self, sts_arn: &str) -> PathBuf {
        self.write_kubeconfig("identity", &self.token_for(sts_arn))
    }

    /// Returns a new token, as its owner's `aws eks get-token` would print it.
    #[track_caller]
    pub fn token_for(&self, sts_arn: &str) -> String {
        let answer = self.ask("/token", &json!({"arn": sts_arn}));
        text(&answer.unwrap_or_else(|error| panic!("{error}")), "token")
    }

    #[track_caller]
    pub fn credentials_for(&self, sts_arn: &str) -> Credentials {
        let answer = self.ask("/credentials", &json!({"arn": sts_arn})).unwrap_or_else(|error| panic!("{error}"));
        Credentials {
            access_key_id: text(&answer, "access_key_id"),
            secret_access_key: text(&answer, "secret_access_key"),
            session_token: text(&answer, "session_token"),
        }
    }

    #[track_caller]
    pub fn request(
        &self,
        token: &str,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.api.send(Some(token), method, path, content_type, body)
    }

    /// Sends with these headers alone: none is a request of nobody.
    #[track_caller]
    pub fn request_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.api.send_with(headers, method, path, body)
    }

    /// Sends as a member of system:masters.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.request(self.admin_token(), method, path, None, body)
    }

    /// Runs the real kubectl as the admin and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with its words.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(&[], args)
    }

    /// Likewise with variables set, such as `KUBE_EDITOR` for `kubectl edit`.
    #[track_caller]
    pub fn kubectl_with(&self, env: &[(&str, &str)], args: &[&str]) -> String {
        let done = Command::new(&self.process.program)
            .arg("kubectl")
            .arg("--kubeconfig")
            .arg(&self.admin_kubeconfig)
            .arg("--cache-dir")
            .arg(self.process.dir.join("kubectl"))
            .args(args)
            .envs(env.iter().copied())
            .output()
            .expect("the test cluster was built, so its kubectl must run");
        assert!(done.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Returns what the authenticator makes of the data of an aws-auth:
    /// `roles`, `users`, `accounts` and `errors`.
    #[track_caller]
    pub fn parse(&self, data: &Value) -> Value {
        self.ask("/parse", &json!({"data": data})).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns whom the running authenticator takes the identity for:
    /// `username`, `groups`, `uid`, and the `entry` before its templates were
    /// rendered.
    pub fn map(&self, sts_arn: &str) -> Result<Value, String> {
        self.ask("/map", &json!({"arn": sts_arn}))
    }

    /// Asks `map` until the answer pleases.
    ///
    /// # Panics
    /// After ten seconds, with the last answer.
    #[track_caller]
    pub fn wait_until_mapped(
        &self,
        sts_arn: &str,
        pleases: impl Fn(&Result<Value, String>) -> bool,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.map(sts_arn);
            if pleases(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{sts_arn} is still {answer:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Creates or replaces kube-system/aws-auth, labels and annotations
    /// included, and waits until the authenticator has read it.
    #[track_caller]
    pub fn set_aws_auth(&self, data: &Value) {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": "kube-system"},
            "data": data,
        });
        let (mut status, mut answer) = self.admin("PUT", AWS_AUTH, Some(&object));
        if status == 422 {
            // An immutable one can only make room.
            self.admin("DELETE", AWS_AUTH, None);
            status = 404;
        }
        if status == 404 {
            (status, answer) = self.admin("POST", CONFIG_MAPS, Some(&object));
        }
        assert!(status < 300, "aws-auth cannot be written: {status} {answer}");
        self.wait_until_read();
    }

    /// Waits until the authenticator answers by the aws-auth that is stored,
    /// whoever wrote it.
    ///
    /// # Panics
    /// After ten seconds.
    #[track_caller]
    pub fn wait_until_read(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask("/synced", &json!({})) != Ok(json!({"synced": true})) {
            assert!(Instant::now() < deadline, "the authenticator does not see aws-auth");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub fn create_namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: Map<String, Value> = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        let (status, answer) = self.admin("POST", "/api/v1/namespaces", Some(&object));
        assert_eq!(status, 201, "namespace {name}: {answer}");
    }

    fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let count = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.process.dir.join(format!("{name}-{count}.kubeconfig"));
        let content = kubeconfig::with_token(name, self.server(), &self.ca, token);
        std::fs::write(&path, content.to_string()).expect("the test cluster's folder must be writable");
        path
    }

    #[track_caller]
    fn ask(&self, path: &str, question: &Value) -> Result<Value, String> {
        match self.control.send(None, "POST", path, None, Some(question)) {
            (200, answer) => Ok(answer),
            (_, answer) => Err(answer["error"].as_str().map_or_else(|| answer.to_string(), str::to_owned)),
        }
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().expect("the test cluster answers with text").to_owned()
}
