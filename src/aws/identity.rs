//! The IAM identity of the credentials, as STS reports it.

use crate::access::IamIdentity;
use crate::names::AccountId;

use super::errors::AwsError;

/// The answer of GetCallerIdentity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StsIdentity {
    /// As STS reports it, such as `arn:aws:sts::111122223333:assumed-role/deploy/me`.
    pub(crate) arn: String,
    pub(crate) account: AccountId,
    /// The unique ID of the principal. For a session, followed by `:` and the name of the session.
    pub(crate) user_id: String,
}

const ACTION: &str = "sts:GetCallerIdentity";

impl StsIdentity {
    /// Reads the parts of an answer.
    ///
    /// # Errors
    /// If one of them is missing or is not of its form.
    pub(super) fn from_answer(
        arn: Option<&str>,
        account: Option<&str>,
        user_id: Option<&str>,
    ) -> Result<Self, AwsError> {
        let invalid = || AwsError::InvalidResponse { action: ACTION };
        let arn = arn.filter(|arn| IamIdentity::parse(arn).is_ok()).ok_or_else(invalid)?;
        let account = account.and_then(AccountId::parse).ok_or_else(invalid)?;
        let user_id = user_id.filter(|id| !id.chars().any(char::is_control)).ok_or_else(invalid)?;
        Ok(Self { arn: arn.to_owned(), account, user_id: user_id.to_owned() })
    }

    /// The ARN that the authenticator looks up in aws-auth: that of the role for a session.
    pub(crate) fn canonical_arn(&self) -> Option<String> {
        IamIdentity::parse(&self.arn).ok().map(|identity| identity.canonical().to_owned())
    }

    /// The name of the session of a role.
    pub(crate) fn session_name(&self) -> Option<&str> {
        let resource = self.arn.splitn(6, ':').last()?;
        resource.strip_prefix("assumed-role/")?.rsplit_once('/').map(|(_, session)| session)
    }
}
