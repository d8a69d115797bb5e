//! Why AWS could not be asked, or what it refused.
//!
//! The text of an error of the SDK is never printed: it can quote a request, a file or the output of a credential process.
//! Known codes and kinds have words here. Of a message of AWS, only the ARN of the caller and the kind of the denying policy
//! are taken, if they are what they should be.

use std::error::Error as StdError;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;

use super::entry_errors::{EntryError, printable_code};
use crate::access::IamIdentity;
use crate::diagnostic::{Diagnostic, InternalError};
use crate::render::plan_facts::shell_word;
use crate::transport::describe_connection_error;

/// The offset of the clock from which it explains a refused signature. STS and EKS accept 5 to 15 minutes.
const MAX_CLOCK_OFFSET: i64 = 240;

/// Why a call to AWS failed, or why there is nothing to call it with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AwsError {
    #[error("no AWS credentials were found{}", of_profile(profile.as_deref()))]
    NoCredentials { profile: Option<String> },
    #[error("the SSO session{} has expired or does not exist", of_profile(profile.as_deref()))]
    SsoSessionExpired { profile: Option<String> },
    #[error("the AWS profile `{profile}` {problem}")]
    Profile { profile: String, problem: ProfileProblem },
    #[error("the AWS configuration files are not valid")]
    ConfigurationFiles,
    #[error("the file {path} of AWS_CA_BUNDLE cannot be read, or has no PEM certificates")]
    CertificateBundle { path: String },
    #[error("AWS credentials could not be obtained: {why}")]
    CredentialSource { why: String },
    #[error("AWS rejected the credentials for {action}: {reason}")]
    RejectedCredentials { action: &'static str, reason: RejectionReason },
    #[error("you are not allowed to call {action} for {resource}")]
    AccessDenied {
        /// Such as `eks:DescribeCluster`.
        action: &'static str,
        /// Such as `the cluster prod in eu-west-1`.
        resource: String,
        caller: Option<String>,
        denied_by: Option<&'static str>,
    },
    #[error("there is no EKS cluster `{name}` in {region}")]
    ClusterNotFound {
        name: String,
        region: String,
        account: Option<String>,
        /// Another region, in which the policy has a cluster of this name.
        known_region: Option<String>,
    },
    #[error("the EKS cluster `{name}` in {region} is {status}")]
    ClusterNotReady { name: String, region: String, status: String },
    #[error("AWS described the EKS cluster `{name}` in an unexpected way: {problem}")]
    InvalidCluster { name: String, problem: &'static str },
    #[error("the EKS cluster `{name}` in {region} is in the account {found}, not in {expected}")]
    OtherAccount { name: String, region: String, found: String, expected: String },
    #[error("the clock of this machine is {} AWS", offset_text(*seconds))]
    ClockOff {
        /// Seconds; negative if the clock is behind.
        seconds: i64,
    },
    #[error("AWS throttles {action}: too many requests")]
    Throttled { action: &'static str },
    #[error("cannot connect to AWS for {action}: {why}")]
    Unreachable { action: &'static str, why: String },
    #[error("AWS did not answer {action} in time")]
    TimedOut { action: &'static str, after: Duration },
    #[error("AWS refused {action} with {}", refusal_text(code.as_deref(), *status))]
    Refused { action: &'static str, code: Option<String>, status: Option<u16> },
    #[error("the answer of AWS to {action} is not valid")]
    InvalidResponse { action: &'static str },
    #[error("no AWS region is set")]
    NoRegion,
    #[error("`{text}` is not {what}")]
    InvalidName {
        text: String,
        /// `an AWS region`, or `the name of an EKS cluster`.
        what: &'static str,
    },
    #[error("the token for EKS would have {length} characters, more than the 4096 that EKS accepts")]
    TokenTooLong { length: usize },
    #[error("STS has no such endpoint in the region {region}")]
    NoTokenEndpoint { region: String },
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Internal(#[from] InternalError),
}

/// What is wrong with a profile. The words follow the name of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ProfileProblem {
    #[error("or one that it refers to is not defined")]
    Missing,
    #[error("refers to itself by `source_profile`")]
    Loop,
    #[error("has a `credential_source` or `source_profile` that is not valid")]
    InvalidSource,
    #[error("has an SSO configuration that is not complete")]
    InvalidSso,
    #[error("gets its credentials in a way that only the AWS CLI supports")]
    Unsupported,
}

/// Why AWS rejected credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RejectionReason {
    #[error("they have expired")]
    Expired,
    #[error("the access key is not known")]
    UnknownKey,
    #[error("the secret access key does not match")]
    WrongSecret,
}

/// `of the profile X`, with a blank before it.
fn of_profile(profile: Option<&str>) -> String {
    profile.map(|profile| format!(" for the profile `{profile}`")).unwrap_or_default()
}

/// `20 minutes ahead of`.
fn offset_text(seconds: i64) -> String {
    let minutes = seconds.unsigned_abs() / 60;
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    format!("{minutes} minutes {direction}")
}

/// `the code X (status 400)`.
fn refusal_text(code: Option<&str>, status: Option<u16>) -> String {
    let status = status.map(|status| format!("status {status}"));
    match (code, status) {
        (Some(code), Some(status)) => format!("`{code}` ({status})"),
        (Some(code), None) => format!("`{code}`"),
        (None, Some(status)) => status,
        (None, None) => "an unknown error".to_owned(),
    }
}

impl AwsError {
    /// The evidence for the message.
    pub(crate) fn because(&self) -> Option<String> {
        Some(match self {
            Self::NoCredentials { profile: None } => {
                "the environment has no AWS_ACCESS_KEY_ID, and no profile, web identity, container or instance provides \
                 any"
                .to_owned()
            }
            Self::AccessDenied { caller, denied_by, .. } => match (caller, denied_by) {
                (Some(caller), Some(denied_by)) => format!("{denied_by} denies it to {caller}"),
                (Some(caller), None) => format!("you are {caller}"),
                (None, Some(denied_by)) => format!("{denied_by} denies it"),
                (None, None) => return None,
            },
            Self::ClusterNotFound { account: Some(account), .. } => {
                format!("your credentials are for the account {account}")
            }
            Self::OtherAccount { .. } => "the policy or the kubeconfig names the account".to_owned(),
            Self::ClockOff { .. } => {
                "AWS accepts a request or a token for a few minutes from the time that is written in it".to_owned()
            }
            Self::Entry(error) => return error.because(),
            _ => return None,
        })
    }

    /// What the user can do about it.
    pub(crate) fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoCredentials { profile: None } => {
                "set AWS_PROFILE, pass --profile, or run `aws configure sso` to make a profile".to_owned()
            }
            Self::NoCredentials { profile: Some(profile) } => {
                format!("run `aws configure --profile {}`", shell_word(profile))
            }
            Self::SsoSessionExpired { profile: Some(profile) } => {
                format!("run `aws sso login --profile {}`", shell_word(profile))
            }
            Self::SsoSessionExpired { profile: None } => "run `aws sso login`".to_owned(),
            Self::Profile { problem: ProfileProblem::Missing, .. } => {
                "run `aws configure list-profiles` to list the profiles".to_owned()
            }
            Self::Profile { profile, problem: ProfileProblem::Unsupported } => format!(
                "run `aws configure export-credentials --profile {} --format env` and set its variables, or connect \
                 by a kubeconfig with --use-exec-plugin",
                shell_word(profile)
            ),
            Self::Profile { profile, .. } => {
                format!("check the profile: run `aws sts get-caller-identity --profile {}`", shell_word(profile))
            }
            Self::CertificateBundle { .. } => "correct AWS_CA_BUNDLE, or unset it".to_owned(),
            Self::ConfigurationFiles => "check ~/.aws/config and ~/.aws/credentials".to_owned(),
            Self::CredentialSource { .. } => "run `aws sts get-caller-identity` to see whether the AWS CLI has them".to_owned(),
            Self::RejectedCredentials { reason: RejectionReason::Expired, .. } => {
                "renew your credentials, such as with `aws sso login`".to_owned()
            }
            Self::RejectedCredentials { reason: RejectionReason::UnknownKey, .. } => {
                "check that the credentials are of the partition of the region, and that the account has enabled the \
                 region"
                .to_owned()
            }
            Self::RejectedCredentials { reason: RejectionReason::WrongSecret, .. } => {
                "check AWS_SECRET_ACCESS_KEY, or the profile".to_owned()
            }
            Self::AccessDenied { action: ASSUME_ROLE, .. } => {
                "allow sts:AssumeRole to your identity, and let the trust policy of the role name it, with the external \
                 ID if it requires one; if it requires an MFA code, export the credentials with the AWS CLI"
                .to_owned()
            }
            Self::AccessDenied { action, .. } => format!("allow the action {action} in an IAM policy of your identity"),
            Self::ClusterNotFound { known_region: Some(known), .. } => {
                format!("the policy has a cluster of this name in {known}: pass --region {known}")
            }
            Self::ClusterNotFound { region, .. } => {
                format!("run `rolecall clusters --region {region}` to list the clusters, or name the right region")
            }
            Self::ClusterNotReady { name, region, status } if status == "CREATING" || status == "PENDING" => {
                format!("run `aws eks wait cluster-active --name {name} --region {region}`, and then again")
            }
            Self::ClusterNotReady { name, region, .. } => {
                format!("run `aws eks describe-cluster --name {name} --region {region}` to see why")
            }
            Self::OtherAccount { .. } => {
                "use the credentials of that account (`profile`, `role-arn`), or correct `account`".to_owned()
            }
            Self::ClockOff { .. } => "set the clock, such as with NTP (`timedatectl set-ntp true`)".to_owned(),
            Self::Throttled { .. } => "wait a minute, and pass a lower --parallel if there are many clusters".to_owned(),
            Self::Unreachable { .. } => {
                "check the network, HTTPS_PROXY and NO_PROXY, and AWS_ENDPOINT_URL if it is set".to_owned()
            }
            Self::NoRegion => "pass --region, or set AWS_REGION".to_owned(),
            Self::TokenTooLong { .. } => "use credentials with fewer session tags".to_owned(),
            Self::NoTokenEndpoint { .. } => {
                "check the region, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT".to_owned()
            }
            Self::InvalidName { .. } => "correct the policy, the saved plan or the backup".to_owned(),
            Self::Entry(error) => error.help(),
            Self::InvalidCluster { .. }
            | Self::TimedOut { .. }
            | Self::Refused { .. }
            | Self::InvalidResponse { .. }
            | Self::Internal(_) => return None,
        })
    }

    /// Returns whether a write that failed with this error may have been made.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::InvalidResponse { .. } => true,
            Self::Refused { status, .. } => status.is_some_and(|status| status >= 500),
            _ => false,
        }
    }

    /// Returns whether the credentials are the cause, and not the network or a missing permission.
    pub(crate) fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::NoCredentials { .. }
                | Self::SsoSessionExpired { .. }
                | Self::Profile { .. }
                | Self::ConfigurationFiles
                | Self::CredentialSource { .. }
                | Self::RejectedCredentials { .. }
                | Self::ClockOff { .. }
        )
    }

    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        if let Self::Internal(error) = self {
            return error.into();
        }
        let mut diagnostic = Diagnostic::error(self.to_string());
        if let Some(because) = self.because() {
            diagnostic = diagnostic.with_because(because);
        }
        match self.help() {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }
}

pub(super) const ASSUME_ROLE: &str = "sts:AssumeRole";

/// A call, for the words of its errors.
pub(super) struct CallDescription<'a> {
    /// Such as `eks:DescribeCluster`.
    pub(super) action: &'static str,
    /// Such as `the cluster prod in eu-west-1`.
    pub(super) resource: &'a str,
    pub(super) limit: Duration,
    /// Seconds that the clock is ahead of AWS, if AWS has answered.
    pub(super) clock_offset: Option<i64>,
}

/// Returns the error of a call.
pub(super) fn classify_call_error<E>(error: &SdkError<E, HttpResponse>, call: &CallDescription<'_>) -> AwsError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            classify_code(context.err().code(), context.err().message(), Some(status), call)
        }
        SdkError::TimeoutError(_) => AwsError::TimedOut { action: call.action, after: call.limit },
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) if error.is_timeout() => AwsError::TimedOut { action: call.action, after: call.limit },
            Some(error) => AwsError::Unreachable { action: call.action, why: describe_connection_error(error) },
            None => AwsError::Unreachable { action: call.action, why: "the connection failed".to_owned() },
        },
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            if status == 429 {
                AwsError::Throttled { action: call.action }
            } else if (200..300).contains(&status) {
                AwsError::InvalidResponse { action: call.action }
            } else {
                AwsError::Refused { action: call.action, code: None, status: Some(status) }
            }
        }
        _ => AwsError::Internal(InternalError::new(format!("the call {} could not be made", call.action))),
    }
}

/// Returns the error for a code of AWS. The codes differ between services.
pub(super) fn classify_code(
    code: Option<&str>,
    message: Option<&str>,
    status: Option<u16>,
    call: &CallDescription<'_>,
) -> AwsError {
    let action = call.action;
    let rejected = |reason| AwsError::RejectedCredentials { action, reason };
    match code.unwrap_or_default() {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => {
            AwsError::AccessDenied {
                action,
                resource: call.resource.to_owned(),
                caller: message.and_then(caller_in_message),
                denied_by: message.and_then(denying_policy),
            }
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => rejected(RejectionReason::Expired),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => rejected(RejectionReason::UnknownKey),
        "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "RequestInTheFuture"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "AuthFailure" => match call.clock_offset.filter(|seconds| seconds.abs() > MAX_CLOCK_OFFSET) {
            Some(seconds) => AwsError::ClockOff { seconds },
            None => rejected(RejectionReason::WrongSecret),
        },
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "LimitExceededException" => AwsError::Throttled { action },
        _ if status == Some(429) => AwsError::Throttled { action },
        code => AwsError::Refused { action, code: printable_code(code), status },
    }
}

/// Returns the ARN in `User: ARN is not authorized to perform: …`, if it is one.
fn caller_in_message(message: &str) -> Option<String> {
    let arn = message.split_once("User: ")?.1.split_whitespace().next()?;
    IamIdentity::parse(arn).ok().map(|_| arn.to_owned())
}

/// Returns the kind of policy that denies a call (IAM User Guide, "Troubleshoot access denied error messages").
fn denying_policy(message: &str) -> Option<&'static str> {
    [
        ("a service control policy", "a service control policy"),
        ("a resource control policy", "a resource control policy"),
        ("a permissions boundary", "a permissions boundary"),
        ("a session policy", "a session policy"),
        ("a VPC endpoint policy", "a VPC endpoint policy"),
        ("explicit deny in an identity-based policy", "an explicit deny in an IAM policy"),
    ]
    .into_iter()
    .find_map(|(words, name)| message.contains(words).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(code: &str, message: &str, clock_offset: Option<i64>) -> AwsError {
        let limit = Duration::from_secs(1);
        let call = CallDescription { action: "eks:DescribeCluster", resource: "the cluster prod", limit, clock_offset };
        classify_code(Some(code), Some(message), Some(403), &call)
    }

    #[test]
    fn refused_signature_is_explained_by_the_clock_if_it_is_off() {
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired"] {
            let error = classify(code, "Signature expired: 20260101T000000Z is now earlier than", Some(-20 * 60));
            assert_eq!(error.to_string(), "the clock of this machine is 20 minutes behind AWS");
            assert!(error.help().is_some_and(|help| help.contains("NTP")), "{error:?}");
            let error = classify(code, "", Some(16 * 60));
            assert_eq!(error.to_string(), "the clock of this machine is 16 minutes ahead of AWS");
            for offset in [None, Some(2)] {
                let expected =
                    "AWS rejected the credentials for eks:DescribeCluster: the secret access key does not match";
                assert_eq!(classify(code, "", offset).to_string(), expected);
            }
        }
    }

    #[test]
    fn only_an_arn_of_the_caller_is_taken_from_a_message() {
        let caller = |message: &str| match classify("AccessDenied", message, None) {
            AwsError::AccessDenied { caller, .. } => caller,
            error => panic!("{error:?}"),
        };
        let arn = "arn:aws:sts::111122223333:assumed-role/x/y";
        assert_eq!(caller(&format!("User: {arn} is not authorized to perform: x")), Some(arn.to_owned()));
        for message in ["User: k8s-aws-v1.abc is not authorized", "User: ", "", "arn:aws:iam::111122223333:role/x"] {
            assert_eq!(caller(message), None, "{message}");
        }
    }

    #[test]
    fn code_that_is_no_word_is_not_printed() {
        assert_eq!(
            classify("Some.Code_1", "", None).to_string(),
            "AWS refused eks:DescribeCluster with `Some.Code_1` (status 403)"
        );
        for code in ["", "a b", "x\u{1b}[2J", &"x".repeat(81)] {
            assert_eq!(classify(code, "", None).to_string(), "AWS refused eks:DescribeCluster with status 403");
        }
    }

    #[test]
    fn profile_in_a_command_is_quoted_if_needed() {
        let help = |profile: &str| AwsError::SsoSessionExpired { profile: Some(profile.to_owned()) }.help();
        assert_eq!(help("work"), Some("run `aws sso login --profile work`".to_owned()));
        assert_eq!(help("a b'c"), Some("run `aws sso login --profile 'a b'\\''c'`".to_owned()));
    }
}
