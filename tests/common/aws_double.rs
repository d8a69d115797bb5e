//! The double of AWS in the process of the test cluster: EKS, STS and IAM on one address, with the cluster of the process
//! as the only one, in the mode `CONFIG_MAP`. Everything is reset with the cluster.

use serde_json::{Value, json};

use super::cluster::{TestCluster, text_field};

/// The account of the default cluster.
pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-west-1";

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

    /// Adds, changes or removes a cluster. Without `account`, `region` and `name`, it is the default one. The other
    /// fields are `deleted`, `authentication_mode`, `status`, `version`, `endpoint`, `certificate_authority` (base64),
    /// `details` (members of `Cluster` in the API; null removes one), `nodegroups` and `fargate_profiles` (lists of what
    /// the API describes).
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

    /// Registers roles and users without other properties.
    #[track_caller]
    pub fn register_iam_principals(&self, arns: &[&str]) {
        let principals: Vec<Value> = arns.iter().map(|arn| json!({"arn": arn})).collect();
        self.set_iam_principals(&json!(principals));
    }

    /// Replaces the settings: `page_size` limits the pages of all lists.
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
