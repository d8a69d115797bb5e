//! A connection to AWS with the credentials for one cluster.
//!
//! This is the one place that loads the configuration of AWS: the SDK reads the variables of the process and the files
//! that they name, as the AWS CLI does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_eks::operation::describe_cluster::DescribeClusterError;
use jiff::Timestamp;

use super::call_log::{ClockOffset, LoggedHttpClient};
use super::credentials::{CredentialCache, CredentialContext, classify_credentials_error};
use super::eks_cluster::{EksCluster, EksClusterName};
use super::errors::{AwsError, CallDescription, classify_call_error};
use super::http_client::AwsHttpClient;
use super::identity::StsIdentity;
use super::settings::{AwsCallContext, AwsSettings, ProfileSelection};
use super::token::{StsHost, TokenError, presign_token};

/// The name of the sessions of an assumed role. It is the `{{SessionName}}` of a username, and appears in CloudTrail.
const SESSION_NAME: &str = "rolecall";
/// The variable by which the user names sessions, as in the AWS SDKs and the AWS CLI.
const SESSION_NAME_VARIABLE: &str = "AWS_ROLE_SESSION_NAME";
/// The clusters on one page of ListClusters.
const PAGE: i32 = 100;

/// Configuration and credentials, and what AWS has answered so far.
pub(crate) struct AwsSession {
    config: SdkConfig,
    credentials: Arc<CredentialCache>,
    region: String,
    settings: AwsSettings,
    context: AwsCallContext,
    clock: ClockOffset,
    tokens: AtomicU64,
}

impl AwsSession {
    /// Loads the configuration. No request is sent, unless the region has to be asked of the instance.
    pub(crate) async fn load(settings: AwsSettings, context: AwsCallContext) -> Result<Self, AwsError> {
        let clock = ClockOffset::default();
        let http_client = LoggedHttpClient::new(AwsHttpClient::new(&context)?, context.log.clone(), clock.clone());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(context.connect)
            .operation_attempt_timeout(context.attempt)
            .operation_timeout(context.total)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client.clone())
            .timeout_config(timeouts.clone())
            // A clock that is off is reported: the tokens for the cluster and the expirations of the policy need it.
            .disable_clock_skew_correction(true);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile.name());
        }
        let config = loader.load().await;
        let region = config.region().map(ToString::to_string).ok_or(AwsError::NoRegion)?;
        let mut provider = config.credentials_provider().ok_or(AwsError::NoCredentials { profile: None })?;
        if let Some(ProfileSelection::Explicit(profile)) = &settings.profile {
            // The default chain would prefer the credentials of the environment.
            let provider_config = ProviderConfig::without_region()
                .with_region(Some(Region::new(region.clone())))
                .with_http_client(http_client)
                .with_timeout_config(timeouts)
                .with_retry_config(config.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
                .with_use_fips(config.use_fips())
                .with_use_dual_stack(config.use_dual_stack());
            let of_profile =
                ProfileFileCredentialsProvider::builder().configure(&provider_config).profile_name(profile);
            provider = SharedCredentialsProvider::new(of_profile.build());
        }
        if let Some(role) = &settings.role {
            let session_name = role.session_name.as_deref().or_else(|| context.var(SESSION_NAME_VARIABLE));
            let session_name = session_name.unwrap_or(SESSION_NAME);
            let mut builder = AssumeRoleProvider::builder(&role.arn).configure(&config).session_name(session_name);
            if let Some(external_id) = &role.external_id {
                builder = builder.external_id(external_id);
            }
            provider = SharedCredentialsProvider::new(builder.build_from_provider(provider).await);
        }
        let credentials = context.pool.get_or_insert(&settings, || CredentialCache::new(provider));
        let shared: Arc<dyn ProvideCredentials> = credentials.clone();
        let config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(shared)).build();
        Ok(Self { config, credentials, region, settings, context, clock, tokens: AtomicU64::new(0) })
    }

    /// Returns a session with the double of AWS at this address. Tests of one process cannot have variables of their own.
    #[cfg(test)]
    pub(crate) async fn for_endpoint(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        context: AwsCallContext,
    ) -> Result<Self, AwsError> {
        let clock = ClockOffset::default();
        let http_client = LoggedHttpClient::new(AwsHttpClient::new(&context)?, context.log.clone(), clock.clone());
        let provider = SharedCredentialsProvider::new(credentials);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client)
            .endpoint_url(endpoint)
            .region(Region::new(region.to_owned()))
            .credentials_provider(provider.clone())
            .load()
            .await;
        let settings = AwsSettings { region: Some(region.to_owned()), ..AwsSettings::default() };
        let credentials = context.pool.get_or_insert(&settings, || CredentialCache::new(provider));
        let (region, tokens) = (region.to_owned(), AtomicU64::new(0));
        Ok(Self { config, credentials, region, settings, context, clock, tokens })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Returns the credentials, which are obtained if they are not known yet. Each call does this first, because the errors
    /// of a call do not say why there are none.
    async fn credentials(&self) -> Result<Credentials, AwsError> {
        let context = CredentialContext {
            profile: self.profile_name(),
            role: self.settings.role.as_ref().map(|role| role.arn.as_str()),
            limit: self.context.total,
            clock_offset: self.clock.seconds(),
        };
        match tokio::time::timeout(self.context.total, self.credentials.provide_credentials()).await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(classify_credentials_error(
                &error,
                &CredentialContext { clock_offset: self.clock.seconds(), ..context },
            )),
            Err(_) => Err(AwsError::TimedOut { action: "the credentials", after: self.context.total }),
        }
    }

    /// The profile that the credentials come from, if one is selected.
    fn profile_name(&self) -> Option<&str> {
        let selected = self.settings.profile.as_ref().map(ProfileSelection::name);
        selected.or_else(|| self.context.var("AWS_PROFILE"))
    }

    pub(super) fn call<'a>(&self, action: &'static str, resource: &'a str) -> CallDescription<'a> {
        CallDescription { action, resource, limit: self.context.total, clock_offset: self.clock.seconds() }
    }

    /// Forgets the credentials, so that the next call or token gets new ones.
    pub(crate) async fn forget_credentials(&self) {
        self.credentials.invalidate().await;
    }

    /// Returns a token that differs from all others of this session.
    pub(crate) async fn new_token(&self, token_id: &str) -> Result<String, AwsError> {
        let credentials = self.credentials().await?;
        let host = StsHost {
            region: self.region.clone(),
            use_fips: self.config.use_fips().unwrap_or_default(),
            use_dual_stack: self.config.use_dual_stack().unwrap_or_default(),
        };
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::from(Timestamp::now());
        presign_token(token_id, &host, &credentials, now, number).map_err(|error| match error {
            TokenError::TooLong { length } => AwsError::TokenTooLong { length },
            TokenError::NoEndpoint => AwsError::NoTokenEndpoint { region: self.region.clone() },
            TokenError::Internal(error) => error.into(),
        })
    }

    /// Returns a client of EKS with credentials.
    pub(super) async fn eks_client(&self) -> Result<aws_sdk_eks::Client, AwsError> {
        self.credentials().await?;
        Ok(aws_sdk_eks::Client::new(&self.config))
    }

    /// Returns a client of EKS for many calls, which repeats a call that was throttled after this delay at first.
    pub(super) async fn eks_client_with_backoff(&self, first: Duration) -> Result<aws_sdk_eks::Client, AwsError> {
        self.credentials().await?;
        let retries = self.config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let config = aws_sdk_eks::config::Builder::from(&self.config).retry_config(retries.with_initial_backoff(first));
        Ok(aws_sdk_eks::Client::from_conf(config.build()))
    }

    /// Returns the identity of the credentials.
    pub(crate) async fn caller_identity(&self) -> Result<StsIdentity, AwsError> {
        self.credentials().await?;
        let result = aws_sdk_sts::Client::new(&self.config).get_caller_identity().send().await;
        let answer = result
            .map_err(|error| classify_call_error(&error, &self.call("sts:GetCallerIdentity", "your own identity")))?;
        StsIdentity::from_answer(answer.arn(), answer.account(), answer.user_id())
    }

    /// Describes a cluster of this session's region.
    pub(crate) async fn describe_cluster(&self, name: &str, account: Option<&str>) -> Result<EksCluster, AwsError> {
        const ACTION: &str = "eks:DescribeCluster";
        let credentials = self.credentials().await?;
        let id = EksClusterName { name: name.to_owned(), region: self.region.clone() };
        let result = aws_sdk_eks::Client::new(&self.config).describe_cluster().name(name).send().await;
        let answer = result.map_err(|error| {
            if error.as_service_error().is_some_and(DescribeClusterError::is_resource_not_found_exception) {
                let account = credentials.account_id().map(|id| id.as_str().to_owned());
                let (name, region) = (id.name.clone(), id.region.clone());
                return AwsError::ClusterNotFound { name, region, account, known_region: None };
            }
            let resource = format!("the cluster {name} in {}", self.region);
            classify_call_error(&error, &self.call(ACTION, &resource))
        })?;
        let cluster = answer.cluster().ok_or(AwsError::InvalidResponse { action: ACTION })?;
        EksCluster::from_answer(cluster, &id, account)
    }

    /// Returns the names of the clusters in this session's account and region.
    pub(crate) async fn list_clusters(&self) -> Result<Vec<String>, AwsError> {
        self.credentials().await?;
        let resource = format!("the clusters in {}", self.region);
        let client = aws_sdk_eks::Client::new(&self.config);
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let result = client.list_clusters().max_results(PAGE).set_next_token(next).send().await;
            let answer =
                result.map_err(|error| classify_call_error(&error, &self.call("eks:ListClusters", &resource)))?;
            names.extend(answer.clusters().iter().cloned());
            next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if next.is_none() {
                names.sort();
                return Ok(names);
            }
        }
    }
}
