//! ARNs of IAM principals, in the form that the authenticator compares.
//!
//! The authenticator compares the ARN that STS reports for a caller: a role without its path, a user
//! with it (aws-iam-authenticator v0.7.8, `pkg/arn/arn.go`, `Canonicalize`).

use std::fmt;

use thiserror::Error;

/// The AWS partitions with endpoints in the authenticator (`pkg/endpoints`).
pub(crate) const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// Returns the AWS partition of a region (botocore 1.44, `partitions.json`, `regionRegex`).
pub(crate) fn partition_for_region(region: &str) -> &'static str {
    match region.split('-').take(2).collect::<Vec<_>>().as_slice() {
        ["cn", _] => "aws-cn",
        ["us", "gov"] => "aws-us-gov",
        ["us", "iso"] => "aws-iso",
        ["us", "isob"] => "aws-iso-b",
        ["eu", "isoe"] => "aws-iso-e",
        ["us", "isof"] => "aws-iso-f",
        ["eusc", _] => "aws-eusc",
        _ => "aws",
    }
}

/// Returns whether a text has the form of an AWS region, such as `eu-west-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_part =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    parts.len() >= 3
        && parts.iter().all(is_part)
        && parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether a text can be the name of an EKS cluster (EKS API 2017-11-01, ClusterName).
pub(crate) fn is_eks_cluster_name(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Returns the name of the cluster in the ARN of an EKS cluster. `None` if the text is not such an ARN.
pub(crate) fn eks_cluster_in_arn(arn: &str) -> Option<&str> {
    match arn.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "eks", _, account, resource] if AccountId::parse(account).is_some() => {
            resource.strip_prefix("cluster/").filter(|name| is_eks_cluster_name(name))
        }
        _ => None,
    }
}

/// An AWS account ID: 12 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(String);

impl AccountId {
    /// `None` if the text is not 12 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of IAM principal that a policy can map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PrincipalKind {
    Role,
    User,
}

impl PrincipalKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
        }
    }

    /// With an article, for use in a sentence: `an IAM role`.
    pub(crate) fn as_noun_phrase(self) -> &'static str {
        match self {
            Self::Role => "an IAM role",
            Self::User => "an IAM user",
        }
    }
}

/// The ARN of an IAM role or user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arn {
    partition: String,
    account: AccountId,
    kind: PrincipalKind,
    /// Starts and ends with a slash: `/` or `/team/`.
    path: String,
    name: String,
}

/// Why a text is not the ARN of an IAM role or user. The messages complete a sentence about the text, such as
/// "`TEXT` cannot be a principal: …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ArnError {
    #[error("it is not an ARN")]
    NotAnArn,
    #[error("an ARN with leading or trailing whitespace never matches")]
    SurroundingWhitespace,
    #[error("`{0}` is not an AWS partition that the authenticator supports")]
    UnknownPartition(String),
    #[error("`{0}` is not an AWS account ID")]
    InvalidAccount(String),
    #[error("IAM ARNs have no region, but this one has `{0}`")]
    UnexpectedRegion(String),
    #[error("this is the ARN of a role session; aws-auth matches the ARN of the IAM role")]
    AssumedRole { role: String },
    #[error("this is an instance profile ARN; aws-auth matches only IAM roles and users")]
    InstanceProfile,
    #[error("this is an IAM group ARN; aws-auth matches only IAM roles and users")]
    IamGroup,
    #[error("this is the ARN of the account's root user, not of the account")]
    AccountRoot { account: String },
    #[error("`{0}` is neither an IAM role nor an IAM user")]
    NotAPrincipal(String),
    #[error("{0}")]
    InvalidName(String),
    #[error("expected the ARN of a {expected}, found the ARN of a {found}")]
    WrongKind { found: &'static str, expected: &'static str },
}

impl ArnError {
    /// What to write instead, as the text of a `help:` line.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::NotAnArn => "write an ARN such as `arn:aws:iam::111122223333:role/NAME`".to_owned(),
            Self::SurroundingWhitespace => "remove the whitespace".to_owned(),
            Self::UnknownPartition(_) => format!("the supported partitions are {}", PARTITIONS.join(", ")),
            Self::InvalidAccount(_) => "an account ID has 12 digits and no dashes".to_owned(),
            Self::InvalidName(_) => {
                "copy the ARN from the output of `aws iam list-roles` or `aws iam list-users`".to_owned()
            }
            Self::UnexpectedRegion(_) => "leave the region empty: `arn:aws:iam::ACCOUNT:…`".to_owned(),
            Self::AssumedRole { role } => format!("write the ARN of the role: `{role}`"),
            Self::InstanceProfile => "write the ARN of the role in the instance profile".to_owned(),
            Self::IamGroup => "add the users of the IAM group individually, or let them assume an IAM role".to_owned(),
            Self::AccountRoot { account } => format!(
                "to let every principal of the account authenticate, without groups, write `account = \"{account}\"`"
            ),
            Self::NotAPrincipal(_) => "write an ARN that ends with `:role/NAME` or `:user/NAME`".to_owned(),
            Self::WrongKind { found, expected } => format!("write `{found} = …` instead of `{expected} = …`"),
        }
    }
}

impl Arn {
    /// Parses an ARN that a person wrote.
    ///
    /// # Errors
    /// Also for the ARNs that the authenticator accepts silently but never matches.
    pub(crate) fn parse(text: &str) -> Result<Self, ArnError> {
        if text.trim() != text {
            return Err(ArnError::SurroundingWhitespace);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, region, account, resource] = parts.as_slice() else {
            return Err(ArnError::NotAnArn);
        };
        if !PARTITIONS.contains(&partition) {
            return Err(ArnError::UnknownPartition(partition.to_owned()));
        }
        if service == "sts" {
            return Err(sts_arn_error(partition, account, resource));
        }
        if service != "iam" {
            return Err(ArnError::NotAPrincipal(format!("{service}:{resource}")));
        }
        if !region.is_empty() {
            return Err(ArnError::UnexpectedRegion(region.to_owned()));
        }
        let id = AccountId::parse(account).ok_or_else(|| ArnError::InvalidAccount(account.to_owned()))?;
        let (kind, rest) = match resource.split_once('/') {
            Some(("role", rest)) => (PrincipalKind::Role, rest),
            Some(("user", rest)) => (PrincipalKind::User, rest),
            Some(("instance-profile", _)) => return Err(ArnError::InstanceProfile),
            Some(("group", _)) => return Err(ArnError::IamGroup),
            _ if resource == "root" => {
                return Err(ArnError::AccountRoot { account: account.to_owned() });
            }
            _ => return Err(ArnError::NotAPrincipal(resource.to_owned())),
        };
        let (path, name) = match rest.rsplit_once('/') {
            Some((path, name)) => (format!("/{path}/"), name),
            None => ("/".to_owned(), rest),
        };
        if let Some(message) = iam_name_error(name) {
            return Err(ArnError::InvalidName(message));
        }
        if path.len() > 512 || !path.bytes().all(|b| (0x21..0x7f).contains(&b)) || path.contains("//") {
            return Err(ArnError::InvalidName(format!("`{path}` is not a valid IAM path")));
        }
        Ok(Self { partition: partition.to_owned(), account: id, kind, path, name: name.to_owned() })
    }

    /// Returns a principal without a path. Check the name with [`iam_name_error`] first.
    pub(crate) fn new(partition: &str, account: &AccountId, kind: PrincipalKind, name: &str) -> Self {
        Self {
            partition: partition.to_owned(),
            account: account.clone(),
            kind,
            path: "/".to_owned(),
            name: name.to_owned(),
        }
    }

    /// Returns the principal with another path, such as `/team/`.
    pub(crate) fn with_path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub(crate) fn kind(&self) -> PrincipalKind {
        self.kind
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.account
    }

    /// Starts and ends with a slash: `/` or `/team/`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn partition(&self) -> &str {
        &self.partition
    }

    /// Returns whether the ARN in aws-auth must differ from the ARN in IAM.
    pub(crate) fn has_role_path(&self) -> bool {
        self.kind == PrincipalKind::Role && self.path != "/"
    }

    /// Returns the ARN that an aws-auth entry must have to match: a role without its path, a user with it.
    pub(crate) fn to_aws_auth(&self) -> String {
        let path = match self.kind {
            PrincipalKind::Role => "/",
            PrincipalKind::User => &self.path,
        };
        format!("arn:{}:iam::{}:{}{}{}", self.partition, self.account, self.kind.as_str(), path, self.name)
    }

    /// Returns the string that the authenticator compares. ARNs with the same key are the same principal.
    pub(crate) fn match_key(&self) -> String {
        self.to_aws_auth().to_lowercase()
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iam::{}:{}{}{}", self.partition, self.account, self.kind.as_str(), self.path, self.name)
    }
}

/// Returns why IAM would refuse a role or user name (IAM API: `[\w+=,.@-]+`, at most 64 characters). `None` if it is
/// valid.
pub(crate) fn iam_name_error(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("an IAM name cannot be empty".to_owned());
    }
    if name.len() > 64 {
        return Some(format!("an IAM name can have at most 64 characters, this one has {}", name.len()));
    }
    name.chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c)))
        .map(|c| format!("an IAM name cannot contain `{c}`"))
}

fn sts_arn_error(partition: &str, account: &str, resource: &str) -> ArnError {
    match resource.split('/').collect::<Vec<_>>().as_slice() {
        ["assumed-role", role, ..] => {
            ArnError::AssumedRole { role: format!("arn:{partition}:iam::{account}:role/{role}") }
        }
        _ => ArnError::NotAPrincipal(format!("sts:{resource}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_auth_arn_omits_role_path_and_keeps_user_path() {
        let role = Arn::parse("arn:aws:iam::111122223333:role/team/sub/Viewer").unwrap();
        assert_eq!(role.to_aws_auth(), "arn:aws:iam::111122223333:role/Viewer");
        assert_eq!(role.to_string(), "arn:aws:iam::111122223333:role/team/sub/Viewer");
        assert_eq!(role.match_key(), "arn:aws:iam::111122223333:role/viewer");
        let user = Arn::parse("arn:aws-cn:iam::111122223333:user/team/bob").unwrap();
        assert_eq!(user.to_aws_auth(), "arn:aws-cn:iam::111122223333:user/team/bob");
    }

    #[test]
    fn partition_is_derived_from_region() {
        let regions = [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("mx-central-1", "aws"),
            ("cn-northwest-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eusc-de-east-1", "aws-eusc"),
        ];
        assert!(regions.iter().all(|(region, partition)| partition_for_region(region) == *partition));
        assert!(regions.iter().all(|(_, partition)| PARTITIONS.contains(partition)));
    }

    #[test]
    fn arns_that_never_match_are_refused() {
        let error = |text: &str| Arn::parse(text).unwrap_err();
        assert_eq!(
            error("arn:aws:sts::111122223333:assumed-role/viewer/me").help(),
            "write the ARN of the role: `arn:aws:iam::111122223333:role/viewer`"
        );
        assert_eq!(error(" arn:aws:iam::111122223333:role/x"), ArnError::SurroundingWhitespace);
        assert_eq!(error("arn:aws:iam::111122223333:group/x"), ArnError::IamGroup);
        assert_eq!(error("arn:aws:iam::111122223333:instance-profile/x"), ArnError::InstanceProfile);
        assert!(matches!(error("arn:aws:iam::111122223333:root"), ArnError::AccountRoot { .. }));
        assert_eq!(error("arn:aws:iam::11112222333:role/x"), ArnError::InvalidAccount("11112222333".into()));
        assert_eq!(error("arn:aws-xx:iam::111122223333:role/x"), ArnError::UnknownPartition("aws-xx".into()));
        assert_eq!(error("arn:aws:iam:eu-west-1:111122223333:role/x"), ArnError::UnexpectedRegion("eu-west-1".into()));
        assert!(matches!(error("arn:aws:iam::111122223333:role/a b"), ArnError::InvalidName(_)));
        assert!(matches!(error("arn:aws:iam::111122223333:role/"), ArnError::InvalidName(_)));
        assert_eq!(error("viewer"), ArnError::NotAnArn);
    }
}
