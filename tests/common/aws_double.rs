//! The double of AWS in the process of the test cluster: EKS, STS and IAM on one address, with the cluster of the process
//! as the only one, in the mode `CONFIG_MAP`. Everything is reset with the cluster.

use serde_json::{Value, json};

use super::cluster::{TestCluster, text_field};

/// The account of the default cluster.
pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-west-1";
/// The access token of IAM Identity Center in `~/.aws/sso/cache` that the double accepts. Every other one has expired. The
/// session is `assumed-role/AWSReservedSSO_NAME_0123456789abcdef/me@example.com`.
pub const SSO_TOKEN: &str = "valid-sso-token";

impl TestCluster {
    /// The address of the double.
    pub fn aws(&self) -> &str {
        self.process.announced("aws")
    }

    /// The environment of a program that has only AWS credentials of this identity.
    #[track_caller]
    pub fn aws_env(&self, sts_arn: &str) -> Vec<(String, String)> {
        self.aws_env_with(&json!({"arn": sts_arn}))
    }

    /// As [`Self::aws_env`]. The input may also have `valid_for_seconds` (negative: they have expired), `padding`
    /// (characters that make the session token longer) and `permanent` (the access key of a user, without a session
    /// token).
    #[track_caller]
    pub fn aws_env_with(&self, input: &Value) -> Vec<(String, String)> {
        let response = self.control_request("/credentials", input).unwrap_or_else(|error| panic!("{error}"));
        let mut env =
            vec![("AWS_ENDPOINT_URL".to_owned(), self.aws().to_owned()), ("AWS_REGION".to_owned(), REGION.to_owned())];
        for (variable, field) in [
            ("AWS_ACCESS_KEY_ID", "access_key_id"),
            ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
            ("AWS_SESSION_TOKEN", "session_token"),
        ] {
            let value = text_field(&response, field);
            if !value.is_empty() {
                env.push((variable.to_owned(), value));
            }
        }
        env
    }

    /// The environment of a program in a container with the credentials of this identity.
    pub fn container_env(&self, sts_arn: &str) -> Vec<(String, String)> {
        let path: String = sts_arn.bytes().map(|byte| format!("%{byte:02X}")).collect();
        [
            ("AWS_ENDPOINT_URL", self.aws().to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/container-credentials/{path}", self.aws())),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "valid-container-token".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The environment of a program on an instance, which is
    /// `arn:aws:sts::111122223333:assumed-role/instance/i-0123456789abcdef0`.
    pub fn instance_env(&self) -> Vec<(String, String)> {
        [("AWS_ENDPOINT_URL", self.aws()), ("AWS_REGION", REGION), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.aws())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Adds, changes or removes a cluster. Without `account`, `region` and `name`, it is the default one. The other
    /// fields are `deleted`, `authentication_mode`, `status`, `version`, `endpoint`, `certificate_authority` (base64),
    /// `details` (members of `Cluster` in the API; null removes one), `nodegroups` and `fargate_profiles` (lists of what
    /// the API describes), and `creator` (an ARN).
    #[track_caller]
    pub fn set_eks_cluster(&self, change: &Value) {
        self.aws_control("/aws/cluster", change);
    }

    /// Registers, re-creates or deletes roles and users in IAM: `arn` with its path, and if needed `unique_id`,
    /// `external_id`, `trusted_arns`, `web_identity_token`, `recreated`, `deleted`. Returns their unique IDs by ARN.
    /// An identity that only signs requests need not be registered.
    #[track_caller]
    pub fn set_iam_principals(&self, principals: &Value) -> Value {
        self.aws_control("/aws/principals", principals)
    }

    /// Gives principals IAM policies: `arn` of a role, a user or a session, and `policy`, a policy document or null. A
    /// principal without a policy may make every call.
    #[track_caller]
    pub fn set_iam_permissions(&self, permissions: &Value) {
        self.aws_control("/aws/permissions", permissions);
    }

    /// Registers roles and users without other properties.
    #[track_caller]
    pub fn register_iam_principals(&self, arns: &[&str]) {
        let principals: Vec<Value> = arns.iter().map(|arn| json!({"arn": arn})).collect();
        self.set_iam_principals(&json!(principals));
    }

    /// Changes the authentication mode at once, and without the entries that EKS makes at such a change.
    #[track_caller]
    pub fn set_authentication_mode(&self, mode: &str) {
        self.set_eks_cluster(&json!({"authentication_mode": mode}));
    }

    /// Writes access entries without the checks of the API, and registers their principals: `principal_arn`, and if needed
    /// `principal_id`, `type`, `username`, `groups`, `tags`, `policies` (`policy` and, for the scope `namespace`,
    /// `namespaces`), `deleted`.
    #[track_caller]
    pub fn set_access_entries(&self, entries: &Value) {
        self.aws_control("/aws/entries", entries);
    }

    /// A call of EKS by another client, such as `CreateAccessEntry`, with the input and the output of the API in JSON. It
    /// is not logged and meets no fault and no limit.
    pub fn eks_call(&self, call: &str, input: &Value) -> Result<Value, String> {
        self.control_request("/aws/call", &json!({"service": "eks", "call": call, "input": input}))
    }

    /// Replaces the settings: `page_size` limits the pages of all lists; `latency_ms`; `delay_ms` and `flap_ms`, in which
    /// the servers learn of a change of access entries; `iam_delay_ms`, in which EKS learns of a new principal;
    /// `update_ms` and `update_fails` of a change of the mode; `rates` (`{"DescribeAccessEntry": {"per_second", "burst"}}`,
    /// with `*` for all other calls together).
    #[track_caller]
    pub fn set_aws_settings(&self, settings: &Value) {
        self.aws_control("/aws/settings", settings);
    }

    /// Adds faults: `call`, `principal` (a part of its ARN), `code`, `status`, `message`, `times` (0: until the reset),
    /// `skip`, `delay_ms`, `lose_request`, `lose_answer`.
    #[track_caller]
    pub fn add_aws_faults(&self, faults: &Value) {
        self.aws_control("/aws/faults", faults);
    }

    /// The calls since the reset: `service`, `call`, `principal`, `region`, `input`, `error` and `concurrent`.
    #[track_caller]
    pub fn aws_calls(&self) -> Vec<Value> {
        let calls = self.aws_control("/aws/calls", &json!({}));
        calls.as_array().cloned().unwrap_or_default()
    }

    /// Forgets the calls, so that a test counts only those that follow.
    #[track_caller]
    pub fn forget_aws_calls(&self) {
        self.aws_control("/aws/calls", &json!({"forget": true}));
    }

    /// The names of the calls, in their order.
    #[track_caller]
    pub fn aws_call_names(&self) -> Vec<String> {
        self.aws_calls().iter().map(|call| text_field(call, "call")).collect()
    }

    #[track_caller]
    pub fn reset_aws(&self) {
        self.aws_control("/aws/reset", &json!({}));
    }

    #[track_caller]
    fn aws_control(&self, path: &str, input: &Value) -> Value {
        self.control_request(path, input).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
