//! The credentials of a session, obtained once and shared by its calls and tokens.
//!
//! A provider of the SDK can make a request each time it is asked: to STS for an assumed role, to SSO, or to the metadata
//! of an instance.

use std::error::Error as StdError;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::errors::{ASSUME_ROLE, AwsError, CallDescription, ProfileProblem, classify_call_error};
use super::settings::AwsSettings;
use crate::transport::describe_connection_error;

/// Credentials that end sooner are renewed, so that a token that is made with them lives for its whole time.
const MIN_LIFETIME: Duration = Duration::from_mins(5);
const ASSUME_ROLE_WITH_WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";

/// A provider that keeps the credentials until shortly before they end.
#[derive(Debug)]
pub(super) struct CredentialCache {
    inner: SharedCredentialsProvider,
    cached: Mutex<Option<Credentials>>,
}

impl CredentialCache {
    pub(super) fn new(inner: SharedCredentialsProvider) -> Self {
        Self { inner, cached: Mutex::default() }
    }

    /// Forgets the credentials, because a server has refused them.
    pub(super) async fn invalidate(&self) {
        *self.cached.lock().await = None;
    }

    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut cached = self.cached.lock().await;
        let deadline = SystemTime::from(Timestamp::now()) + MIN_LIFETIME;
        if let Some(credentials) = cached.as_ref()
            && credentials.expiry().is_none_or(|expiry| expiry > deadline)
        {
            return Ok(credentials.clone());
        }
        let credentials = self.inner.provide_credentials().await?;
        Ok(cached.insert(credentials).clone())
    }
}

impl ProvideCredentials for CredentialCache {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Credentials, and the settings that led to them.
type PooledCredentials = (AwsSettings, Arc<CredentialCache>);

/// The credentials of a command, so that several clusters with the same settings share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CredentialPool(Arc<std::sync::Mutex<Vec<PooledCredentials>>>);

impl CredentialPool {
    /// Returns the credentials for the settings: those that are there, or new ones.
    pub(super) fn get_or_insert(
        &self,
        settings: &AwsSettings,
        new: impl FnOnce() -> CredentialCache,
    ) -> Arc<CredentialCache> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cache)) = pool.iter().find(|(known, _)| known == settings) {
            return cache.clone();
        }
        let cache = Arc::new(new());
        pool.push((settings.clone(), cache.clone()));
        cache
    }
}

/// What the words of an error about credentials need.
pub(super) struct CredentialContext<'a> {
    pub(super) profile: Option<&'a str>,
    /// The role that is assumed, for the policy or the flags.
    pub(super) role: Option<&'a str>,
    pub(super) limit: Duration,
    pub(super) clock_offset: Option<i64>,
}

/// Returns why there are no credentials.
pub(super) fn classify_credentials_error(error: &CredentialsError, context: &CredentialContext<'_>) -> AwsError {
    let profile = || context.profile.map(str::to_owned);
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(known) = classify_cause(cause, context) {
            return known;
        }
        next = cause.source();
    }
    match error {
        CredentialsError::CredentialsNotLoaded(_) => AwsError::NoCredentials { profile: profile() },
        CredentialsError::ProviderTimedOut(_) => AwsError::TimedOut { action: "the credentials", after: context.limit },
        CredentialsError::InvalidConfiguration(_) => match profile() {
            Some(profile) => AwsError::Profile { profile, problem: ProfileProblem::InvalidSource },
            None => AwsError::ConfigurationFiles,
        },
        _ => AwsError::CredentialSource { why: "their source failed".to_owned() },
    }
}

/// Recognizes the error for the file of an SSO session that does not exist or is not readable.
fn is_missing_sso_token(message: &str) -> bool {
    message.starts_with("failed to ") && (message.contains("/sso/cache/") || message.contains("\\sso\\cache\\"))
}

fn classify_cause(cause: &(dyn StdError + 'static), context: &CredentialContext<'_>) -> Option<AwsError> {
    let resource = match context.role {
        Some(role) => format!("the role {role}"),
        None => "the role of the profile".to_owned(),
    };
    let call = |action| CallDescription {
        action,
        resource: &resource,
        limit: context.limit,
        clock_offset: context.clock_offset,
    };
    if let Some(error) = cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>() {
        return Some(classify_call_error(error, &call(ASSUME_ROLE)));
    }
    if let Some(error) = cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>() {
        return Some(classify_call_error(error, &call(ASSUME_ROLE_WITH_WEB_IDENTITY)));
    }
    if let Some(error) = cause.downcast_ref::<ConnectorError>() {
        let action = "the credentials";
        return Some(if error.is_timeout() {
            AwsError::TimedOut { action, after: context.limit }
        } else {
            AwsError::Unreachable { action, why: describe_connection_error(error) }
        });
    }
    if cause.is::<std::io::Error>() {
        let why = "a file that the profile or AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read".to_owned();
        return Some(AwsError::CredentialSource { why });
    }
    classify_words(&cause.to_string(), context)
}

/// Recognizes messages of aws-config 1.13, whose types are private or not kept. Nothing of them is printed.
fn classify_words(message: &str, context: &CredentialContext<'_>) -> Option<AwsError> {
    let of_profile = |problem| {
        let profile = context.profile.unwrap_or("default").to_owned();
        AwsError::Profile { profile, problem }
    };
    let sso_session = || AwsError::SsoSessionExpired { profile: context.profile.map(str::to_owned) };
    let starts = |prefix: &str| message.starts_with(prefix);
    Some(match message {
        "the SSO token has expired and cannot be refreshed" | "failed to load the cached SSO token" => sso_session(),
        _ if starts("UnauthorizedException") || is_missing_sso_token(message) => sso_session(),
        _ if starts("Error retrieving credentials") => {
            AwsError::CredentialSource { why: "the `credential_process` of the profile failed".to_owned() }
        }
        _ if starts("ProfileFile provider could not be built: ") => {
            let reason = message.split_once(": ").map_or("", |(_, reason)| reason);
            if reason.starts_with("invalid profile") {
                AwsError::ConfigurationFiles
            } else if reason.starts_with("profile formed an infinite loop") {
                of_profile(ProfileProblem::Loop)
            } else if reason.contains("cargo feature") || reason.contains("provider is not supported") {
                of_profile(ProfileProblem::Unsupported)
            } else if reason.contains("SSO config") || reason.starts_with("sso-session") {
                of_profile(ProfileProblem::InvalidSso)
            } else {
                of_profile(ProfileProblem::InvalidSource)
            }
        }
        _ if starts("profile `") && message.contains("was not defined") => of_profile(ProfileProblem::Missing),
        _ => return None,
    })
}
