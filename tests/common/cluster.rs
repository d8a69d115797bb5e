//! The API of the test cluster: a real API server with the real aws-iam-authenticator as its token webhook, and IAM
//! identities that do not need AWS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::http_client::HttpClient;
use super::kubeconfig;
use super::process::Process;

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
/// How long the authenticator may take to read aws-auth.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Options {
    /// Runs the controller that fills aggregated ClusterRoles such as view, edit and admin. EKS always runs it, so this
    /// is the default.
    pub aggregation: bool,
    /// How long the API server caches responses of the authenticator. With zero, it still caches an accepted token for
    /// ten seconds.
    pub webhook_cache_ttl: Duration,
    /// Enables the alpha feature SSORoleMatch of the authenticator, which is off on EKS.
    pub sso_role_match: bool,
    /// Runs the Node authorizer before the others. EKS always does. The other authorizers are the webhook for access
    /// policies and RBAC, in this order.
    pub node_authorizer: bool,
    /// The name that tokens must be signed for.
    pub cluster_name: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            aggregation: true,
            webhook_cache_ttl: Duration::ZERO,
            sso_role_match: false,
            node_authorizer: false,
            cluster_name: "test-cluster",
        }
    }
}

/// AWS credentials of an identity. A client that makes its own tokens uses them through `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
}

/// A running cluster in a child process, which is stopped on drop. A cluster in a `static` is never dropped and stops
/// with the test binary.
pub struct TestCluster {
    pub(super) process: Process,
    api: HttpClient,
    control: HttpClient,
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
            format!("--node-authorizer={}", options.node_authorizer),
            format!("--cluster-name={}", options.cluster_name),
            format!("--authentication-token-webhook-cache-ttl={}ms", options.webhook_cache_ttl.as_millis()),
        ]);
        let ca = PathBuf::from(process.announced("ca"));
        let mut cluster = Self {
            api: HttpClient::new(process.announced("server"), Some(&ca)),
            control: HttpClient::new(process.announced("control"), None),
            process,
            ca,
            admin_kubeconfig: PathBuf::new(),
            kubeconfigs: AtomicU32::new(0),
        };
        cluster.admin_kubeconfig = cluster.write_kubeconfig("admin", cluster.admin_token());
        if options.aggregation {
            cluster.wait_until_aggregated();
        }
        cluster
    }

    /// Waits until the aggregation controller has filled the default roles. It starts with the cluster, and a test that
    /// compares versions must not see its first writes.
    fn wait_until_aggregated(&self) {
        let deadline = Instant::now() + SYNC_TIMEOUT;
        let is_filled = |name: &str| {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}");
            let (_, role) = self.admin("GET", &path, None);
            // The last rule of each role comes from the role that it selects last.
            role["rules"].as_array().map(Vec::len)
        };
        let sizes = || ["view", "edit", "admin"].map(is_filled);
        let mut last = sizes();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = sizes();
            if now == last && now.iter().all(|size| size.is_some_and(|size| size > 0)) {
                return;
            }
            assert!(Instant::now() < deadline, "the aggregation controller has not filled the roles: {now:?}");
            last = now;
        }
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

    /// The cluster name that tokens must be signed for.
    pub fn cluster_name(&self) -> &str {
        self.process.announced("cluster")
    }

    /// The log file of etcd, the API server and the authenticator.
    pub fn log_file(&self) -> &Path {
        Path::new(self.process.announced("log"))
    }

    /// The kubeconfig of a member of `system:masters`, with the context `admin`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.admin_kubeconfig.clone()
    }

    /// Writes a kubeconfig with a new token of the identity and the context `identity`. The API server caches an
    /// accepted token for ten seconds, so a test needs a new kubeconfig after it has removed the mapping of the
    /// identity.
    #[track_caller]
    pub fn kubeconfig_for(&self, sts_arn: &str) -> PathBuf {
        self.write_kubeconfig("identity", &self.token_for(sts_arn))
    }

    /// A new token of the identity, as printed by `aws eks get-token`.
    #[track_caller]
    pub fn token_for(&self, sts_arn: &str) -> String {
        let response = self.control_request("/token", &json!({"arn": sts_arn}));
        text_field(&response.unwrap_or_else(|error| panic!("{error}")), "token")
    }

    #[track_caller]
    pub fn credentials_for(&self, sts_arn: &str) -> Credentials {
        let response = self.control_request("/credentials", &json!({"arn": sts_arn}));
        let response = response.unwrap_or_else(|error| panic!("{error}"));
        Credentials {
            access_key_id: text_field(&response, "access_key_id"),
            secret_access_key: text_field(&response, "secret_access_key"),
            session_token: text_field(&response, "session_token"),
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

    /// Sends a request with only these headers. Without an `authorization` header the user is `system:anonymous`.
    #[track_caller]
    pub fn request_with_headers(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.api.send_with_headers(headers, method, path, body)
    }

    /// Sends a request as a member of `system:masters`.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.request(self.admin_token(), method, path, None, body)
    }

    /// Runs the real kubectl as a member of `system:masters` and returns its stdout.
    ///
    /// # Panics
    /// If kubectl fails, with its stderr.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(&[], args)
    }

    /// Runs kubectl with these environment variables, such as `KUBE_EDITOR` for `kubectl edit`.
    #[track_caller]
    pub fn kubectl_with(&self, env: &[(&str, &str)], args: &[&str]) -> String {
        let output = Command::new(&self.process.program)
            .arg("kubectl")
            .arg("--kubeconfig")
            .arg(&self.admin_kubeconfig)
            .arg("--cache-dir")
            .arg(self.process.dir.join("kubectl"))
            .args(args)
            .envs(env.iter().copied())
            .output()
            .expect("kubectl of the test cluster cannot be started");
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Parses the data of an aws-auth ConfigMap with the parser of the authenticator. Returns `roles`, `users`,
    /// `accounts` and `errors`.
    #[track_caller]
    pub fn parse(&self, data: &Value) -> Value {
        self.control_request("/parse", &json!({"data": data})).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Authenticates the identity with the running authenticator. Returns its `username`, `groups`, `uid` and `extra`, and
    /// the `entry` that it is mapped by, before the templates of the entry are rendered. The `backend` of the entry is
    /// `EKSConfigMap` or `AccessEntries`.
    pub fn map(&self, sts_arn: &str) -> Result<Value, String> {
        self.control_request("/map", &json!({"arn": sts_arn}))
    }

    /// Repeats [`Self::map`] until the result meets the condition.
    ///
    /// # Panics
    /// After ten seconds, with the last result.
    #[track_caller]
    pub fn wait_until_mapped(
        &self,
        sts_arn: &str,
        condition: impl Fn(&Result<Value, String>) -> bool,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + SYNC_TIMEOUT;
        loop {
            let result = self.map(sts_arn);
            if condition(&result) {
                return result;
            }
            assert!(Instant::now() < deadline, "{sts_arn} is still mapped to {result:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Creates or replaces kube-system/aws-auth including its labels and annotations, and waits until the authenticator
    /// has read it.
    #[track_caller]
    pub fn set_aws_auth(&self, data: &Value) {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": "kube-system"},
            "data": data,
        });
        let (mut status, mut response) = self.admin("PUT", AWS_AUTH, Some(&object));
        if status == 422 {
            // An immutable ConfigMap can only be deleted.
            self.admin("DELETE", AWS_AUTH, None);
            status = 404;
        }
        if status == 404 {
            (status, response) = self.admin("POST", CONFIG_MAPS, Some(&object));
        }
        assert!(status < 300, "aws-auth cannot be written: {status} {response}");
        self.wait_until_synced();
    }

    /// Waits until the authenticator uses the stored aws-auth.
    ///
    /// # Panics
    /// After ten seconds.
    #[track_caller]
    pub fn wait_until_synced(&self) {
        let deadline = Instant::now() + SYNC_TIMEOUT;
        while self.control_request("/synced", &json!({})) != Ok(json!({"synced": true})) {
            assert!(Instant::now() < deadline, "the authenticator has not read aws-auth after {SYNC_TIMEOUT:?}");
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
        let (status, response) = match self.admin("POST", "/api/v1/namespaces", Some(&object)) {
            // Another test on this cluster has created it.
            (409, _) => self.admin("PUT", &format!("/api/v1/namespaces/{name}"), Some(&object)),
            created => created,
        };
        assert!(matches!(status, 200 | 201), "namespace {name}: {response}");
    }

    /// Writes a kubeconfig with a token, and a context of this name.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let count = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.process.dir.join(format!("{name}-{count}.kubeconfig"));
        let content = kubeconfig::with_token(name, self.server(), &self.ca, token);
        std::fs::write(&path, content.to_string()).expect("the directory of the test cluster is not writable");
        path
    }

    /// Sends a request to the control server. The error is its message.
    #[track_caller]
    pub(super) fn control_request(&self, path: &str, input: &Value) -> Result<Value, String> {
        match self.control.send(None, "POST", path, None, Some(input)) {
            (200, output) => Ok(output),
            (_, output) => Err(output["error"].as_str().map_or_else(|| output.to_string(), str::to_owned)),
        }
    }
}

pub(super) fn text_field(object: &Value, name: &str) -> String {
    object[name].as_str().expect("the control server returns text").to_owned()
}
