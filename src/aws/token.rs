//! The token by which EKS authenticates an IAM identity: a presigned GetCallerIdentity request, which the authenticator
//! sends to STS.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/token/token.go` (`GetWithSTS`, `tokenVerifier.Verify`,
//! `verifySTSHostnameFormat`) and the AWS CLI, `customizations/eks/get_token.py`. The verifier refuses a host that is not
//! one of AWS's own for STS, so a configured endpoint for STS is ignored here.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;

use crate::diagnostic::InternalError;

const PREFIX: &str = "k8s-aws-v1.";
/// The header that binds the token to one cluster.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// What botocore writes. STS and the verifier accept the request for 15 minutes from its date, whatever this says.
const EXPIRES: Duration = Duration::from_mins(1);
/// The verifier accepts up to 900 seconds.
const MAX_VARIATION: u64 = 800;
/// A token is renewed this long after it was made, before it ends after 15 minutes.
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_mins(14);
/// The verifier refuses a longer token. Session tokens with many tags are long.
const MAX_LENGTH: usize = 4096;

/// The STS endpoint of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StsHost {
    pub(super) region: String,
    pub(super) use_fips: bool,
    pub(super) use_dual_stack: bool,
}

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The authenticator would refuse it.
    TooLong {
        length: usize,
    },
    /// The region has no endpoint of this kind.
    NoEndpoint,
    Internal(InternalError),
}

/// Returns the token for a cluster. `number` makes the tokens of one second different: an API server caches an accepted
/// token, so one that has to be new must differ from all before it.
pub(super) fn presign_token(
    cluster: &str,
    host: &StsHost,
    credentials: &Credentials,
    time: SystemTime,
    number: u64,
) -> Result<String, TokenError> {
    let internal = |what: &str| TokenError::Internal(InternalError::new(format!("the EKS token: {what}")));
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", host.url()?);
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(EXPIRES + Duration::from_secs(number % MAX_VARIATION));
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&host.region)
        .name("sts")
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| internal("a parameter of the signature is missing"))?;
    let header = [(CLUSTER_HEADER, cluster)];
    let signable = SignableRequest::new("GET", &url, header.into_iter(), SignableBody::Bytes(&[]));
    let signable = signable.map_err(|_| internal("the request cannot be signed"))?;
    let (instructions, _) =
        sign(signable, &params.into()).map_err(|_| internal("the request cannot be signed"))?.into_parts();
    let mut request =
        http::Request::builder().uri(&url).body(()).map_err(|_| internal("the address of STS is not valid"))?;
    instructions.apply_to_request_http1x(&mut request);
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(request.uri().to_string()));
    if token.len() > MAX_LENGTH { Err(TokenError::TooLong { length: token.len() }) } else { Ok(token) }
}

impl StsHost {
    /// Returns the endpoint by AWS's own rules, which the verifier has too.
    fn url(&self) -> Result<String, TokenError> {
        let params = Params::builder()
            .region(self.region.clone())
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dual_stack)
            .use_global_endpoint(false)
            .build()
            .map_err(|_| TokenError::NoEndpoint)?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&params).now_or_never();
        let endpoint = endpoint.and_then(Result::ok).ok_or(TokenError::NoEndpoint)?;
        Ok(endpoint.url().trim_end_matches('/').to_owned())
    }
}

/// The token with the default kind of endpoint.
#[cfg(test)]
pub(crate) fn presigned_token(
    cluster: &str,
    region: &str,
    credentials: &Credentials,
    time: SystemTime,
    number: u64,
) -> String {
    let host = StsHost { region: region.to_owned(), use_fips: false, use_dual_stack: false };
    presign_token(cluster, &host, credentials, time, number).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example key pair of the AWS documentation, and 2026-01-01T00:00:00Z.
    fn token(session_token: Option<&str>, host: &StsHost, number: u64) -> String {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIDEXAMPLE", secret, session_token.map(str::to_owned), None, "test");
        let time = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896);
        presign_token("prod", host, &credentials, time, number).unwrap()
    }

    fn host(region: &str, use_fips: bool, use_dual_stack: bool) -> StsHost {
        StsHost { region: region.to_owned(), use_fips, use_dual_stack }
    }

    fn url_of(token: &str) -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn tokens_equal_those_of_botocore() {
        let host = host("eu-west-1", false, false);
        let url = url_of(&token(None, &host, 0));
        assert_eq!(
            url,
            "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Feu-west-1%2Fsts%2Faws4_request\
             &X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id\
             &X-Amz-Signature=f67424e75b79689f75ae039fbecc9b7c6c8750ecd271a458f6a94a50bc020de1"
        );
        let url = url_of(&token(Some("sess/tok+en="), &host, 0));
        assert!(
            url.contains("&X-Amz-Signature=c16376cfa01f5dd8a1ae7ef5c28388116a9a24c3e5b256807011e4aa14c6a4a7"),
            "{url}"
        );
        assert!(url.ends_with("&X-Amz-Security-Token=sess%2Ftok%2Ben%3D"), "{url}");
    }

    #[test]
    fn tokens_of_one_second_differ_and_their_expiry_is_in_the_range_of_the_verifier() {
        let host = host("eu-west-1", false, false);
        let tokens: std::collections::BTreeSet<String> =
            (0..MAX_VARIATION).map(|number| token(None, &host, number)).collect();
        assert_eq!(u64::try_from(tokens.len()), Ok(MAX_VARIATION));
        assert!(url_of(&token(None, &host, MAX_VARIATION - 1)).contains("&X-Amz-Expires=859&"));
    }

    #[test]
    fn host_is_the_regional_one_of_the_partition() {
        for (region, use_fips, use_dual_stack, expected) in [
            ("eu-west-1", false, false, "sts.eu-west-1.amazonaws.com"),
            ("us-east-1", false, false, "sts.us-east-1.amazonaws.com"),
            ("us-east-1", true, false, "sts-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "sts.us-east-1.api.aws"),
            ("us-east-1", true, true, "sts-fips.us-east-1.api.aws"),
            ("cn-north-1", false, false, "sts.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "sts.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", false, false, "sts.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "sts.us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", false, false, "sts.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, false, "sts.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", false, false, "sts.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", false, false, "sts.us-isof-south-1.csp.hci.ic.gov"),
            ("eusc-de-east-1", false, false, "sts.eusc-de-east-1.amazonaws.eu"),
        ] {
            let host = host(region, use_fips, use_dual_stack);
            assert_eq!(host.url(), Ok(format!("https://{expected}")), "{region} {use_fips} {use_dual_stack}");
        }
        assert_eq!(host("not a region", false, false).url(), Err(TokenError::NoEndpoint));
    }

    #[test]
    fn token_that_the_authenticator_would_refuse_is_an_error() {
        let long = "x".repeat(3000);
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some(long), None, "test");
        let token = presign_token("prod", &host("eu-west-1", false, false), &credentials, SystemTime::UNIX_EPOCH, 0);
        assert!(matches!(token, Err(TokenError::TooLong { length }) if length > MAX_LENGTH));
    }
}
