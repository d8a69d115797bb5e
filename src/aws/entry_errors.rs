//! Why EKS refuses a call about access entries or the authentication mode.
//!
//! Several refusals have the same code, so some are known by a part of the message of AWS. The message itself is never
//! printed.

use std::time::Duration;

use thiserror::Error;

use super::errors::AwsError;
use crate::state::auth_mode::ClusterAuthMode;

/// The longest code of an error that is printed.
const MAX_CODE: usize = 80;

/// A refusal that the general words of [`AwsError`] do not explain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum EntryError {
    #[error("EKS does not find {principal} in IAM")]
    PrincipalNotFound { principal: String },
    #[error("EKS has no access policy {policy_arn}")]
    PolicyNotFound { policy_arn: String },
    #[error("the authentication mode of the cluster {cluster} has no access entries")]
    ModeWithoutEntries { cluster: String },
    #[error("the cluster {cluster} cannot be changed: EKS is still making another change")]
    Busy { cluster: String, after: Duration },
    #[error("the cluster {cluster} has as many access entries as EKS allows")]
    LimitReached { cluster: String },
    #[error("EKS cannot change the authentication mode from {} to {}", from.as_str(), to.as_str())]
    ModeChange { from: ClusterAuthMode, to: ClusterAuthMode },
    #[error("EKS has not changed the authentication mode of the cluster {cluster} to {}", mode.as_str())]
    ModeNotChanged {
        cluster: String,
        mode: ClusterAuthMode,
        /// `Failed` or `Cancelled`. `None` if the change still runs.
        status: Option<&'static str>,
        codes: Vec<String>,
    },
}

impl EntryError {
    /// The evidence for the message.
    pub(crate) fn because(&self) -> Option<String> {
        Some(match self {
            Self::Busy { after, .. } => format!("it was tried again for {} s", after.as_secs()),
            Self::ModeNotChanged { status: Some(status), codes, .. } if codes.is_empty() => {
                format!("the update ended as {status}, and EKS gives no reason")
            }
            Self::ModeNotChanged { status: Some(status), codes, .. } => {
                format!("the update ended as {status} with {}", codes.join(", "))
            }
            Self::ModeNotChanged { status: None, .. } => "the update has not ended in time".to_owned(),
            _ => return None,
        })
    }

    /// What the user can do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::PrincipalNotFound { .. } => {
                "check the ARN, with the path of a role; a principal that was just created is found after some seconds"
                    .to_owned()
            }
            Self::PolicyNotFound { .. } => "run `aws eks list-access-policies` to list them".to_owned(),
            Self::ModeWithoutEntries { .. } => {
                "change the authentication mode to API_AND_CONFIG_MAP; it cannot be changed back".to_owned()
            }
            Self::Busy { cluster, .. } => {
                format!("run `aws eks list-updates --name {cluster}` to see the change, and apply again after it")
            }
            Self::LimitReached { .. } => "remove access entries that are not needed".to_owned(),
            Self::ModeChange { .. } => {
                "the modes follow each other: CONFIG_MAP, API_AND_CONFIG_MAP, API; none can be changed back".to_owned()
            }
            Self::ModeNotChanged { cluster, .. } => {
                format!("run `aws eks list-updates --name {cluster}` to see the change, and then again")
            }
        }
    }
}

/// Returns the error for a code and a message of a call about access entries. `None` if it has no words of its own.
pub(super) fn classify_entry_refusal(code: &str, message: &str, subject: &CallSubject<'_>) -> Option<AwsError> {
    let cluster = subject.cluster.to_owned();
    let error = match code {
        "InvalidRequestException" if message.contains("authentication mode must be set") => {
            EntryError::ModeWithoutEntries { cluster }
        }
        "InvalidParameterException" if is_unknown_principal(code, message) => {
            EntryError::PrincipalNotFound { principal: subject.principal?.to_owned() }
        }
        "ResourceNotFoundException" if message.contains("policyArn could not be found") => {
            EntryError::PolicyNotFound { policy_arn: subject.policy_arn?.to_owned() }
        }
        "ResourceLimitExceededException" => EntryError::LimitReached { cluster },
        _ => return None,
    };
    Some(error.into())
}

/// What a call is about.
#[derive(Clone, Copy)]
pub(super) struct CallSubject<'a> {
    pub(super) cluster: &'a str,
    pub(super) principal: Option<&'a str>,
    pub(super) policy_arn: Option<&'a str>,
}

/// Returns whether EKS does not know a principal, which may be too new.
pub(super) fn is_unknown_principal(code: &str, message: &str) -> bool {
    code == "InvalidParameterException" && message.contains("invalid principal")
}

/// Returns the code if it can be printed.
pub(super) fn printable_code(code: &str) -> Option<String> {
    let is_code = (1..=MAX_CODE).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_have_words_and_others_have_not() {
        let subject = CallSubject { cluster: "prod", principal: Some("arn:p"), policy_arn: Some("arn:q") };
        let classify =
            |code: &str, message: &str| classify_entry_refusal(code, message, &subject).map(|error| error.to_string());
        let mode = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this \
                    operation.";
        for (code, message, expected) in [
            ("InvalidRequestException", mode, "the authentication mode of the cluster prod has no access entries"),
            (
                "InvalidParameterException",
                "The specified principalArn is invalid: invalid principal.",
                "EKS does not find arn:p in IAM",
            ),
            (
                "ResourceNotFoundException",
                "The specified policyArn could not be found. You can view …",
                "EKS has no access policy arn:q",
            ),
            ("ResourceLimitExceededException", "", "the cluster prod has as many access entries as EKS allows"),
        ] {
            assert_eq!(classify(code, message).as_deref(), Some(expected));
        }
        for (code, message) in [
            ("InvalidParameterException", "The principalArn parameter format is not valid"),
            ("ResourceNotFoundException", "The specified principalArn could not be found."),
            ("InvalidRequestException", ""),
            ("", "invalid principal"),
        ] {
            assert_eq!(classify(code, message), None);
        }
    }

    #[test]
    fn failed_update_names_its_codes() {
        let error = |status, codes: &[&str]| EntryError::ModeNotChanged {
            cluster: "prod".into(),
            mode: ClusterAuthMode::Api,
            status,
            codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        };
        assert_eq!(
            error(None, &[]).to_string(),
            "EKS has not changed the authentication mode of the cluster prod to API"
        );
        let because = |status, codes: &[&str]| error(status, codes).because().unwrap();
        assert_eq!(because(Some("Failed"), &["AccessDenied"]), "the update ended as Failed with AccessDenied");
        assert_eq!(because(Some("Failed"), &[]), "the update ended as Failed, and EKS gives no reason");
        assert_eq!(because(None, &[]), "the update has not ended in time");
        assert_eq!(printable_code("a b"), None);
    }
}
