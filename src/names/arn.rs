//! IAM principals by ARN, in the form that the authenticator compares.
//!
//! The authenticator compares what STS shows of a caller: a role without its path, a user with it
//! (aws-iam-authenticator v0.7.8, `pkg/arn/arn.go`, `Canonicalize`).

use std::fmt;

use thiserror::Error;

/// The partitions whose endpoints the authenticator knows (`pkg/endpoints`).
pub(crate) const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// The partition of a region (botocore 1.44, `partitions.json`, `regionRegex`).
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

/// An AWS account: twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(String);

impl AccountId {
    /// Returns the account, or nothing where the text is not twelve digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a policy may map: the two kinds of IAM principal that have an ARN of their own.
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

    /// `an IAM role`, for sentences.
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
    /// With its slashes: `/` or `/team/`.
    path: String,
    name: String,
}

/// Why a text is not the ARN of an IAM role or user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ArnError {
    #[error("it is not an ARN")]
    NotAnArn,
    #[error("blanks around an ARN are part of it for the authenticator, so that it never matches")]
    SurroundingWhitespace,
    #[error("`{0}` is not a partition that the authenticator knows")]
    UnknownPartition(String),
    #[error("`{0}` is not an AWS account")]
    InvalidAccount(String),
    #[error("an IAM ARN has no region, here stands `{0}`")]
    UnexpectedRegion(String),
    #[error("it names a session of a role, which the authenticator never matches")]
    AssumedRole { role: String },
    #[error("it names an instance profile, which the authenticator never matches")]
    InstanceProfile,
    #[error("it names an IAM group, which the authenticator never matches")]
    IamGroup,
    #[error("it means the root user of the account alone, not the account")]
    AccountRoot { account: String },
    #[error("`{0}` is neither an IAM role nor an IAM user")]
    NotAPrincipal(String),
    #[error("{0}")]
    InvalidName(String),
    #[error("it is the ARN of a {found}, and a {wanted} belongs here")]
    WrongKind { found: &'static str, wanted: &'static str },
}

impl ArnError {
    /// What to write instead.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::NotAnArn => "an ARN looks like `arn:aws:iam::111122223333:role/NAME`".to_owned(),
            Self::SurroundingWhitespace => "take the blanks away".to_owned(),
            Self::UnknownPartition(_) => format!("the partitions are {}", PARTITIONS.join(", ")),
            Self::InvalidAccount(_) => "an account is twelve digits without dashes".to_owned(),
            Self::InvalidName(_) => "copy it from `aws iam list-roles` or `aws iam list-users`".to_owned(),
            Self::UnexpectedRegion(_) => "leave the fourth part empty: `arn:aws:iam::ACCOUNT:…`".to_owned(),
            Self::AssumedRole { role } => format!("write the role: `{role}`"),
            Self::InstanceProfile => "write the role that the instance profile holds".to_owned(),
            Self::IamGroup => "list the users of the group, or let them assume a role".to_owned(),
            Self::AccountRoot { account } => format!(
                "to admit every principal of the account write `account = \"{account}\"`: they get no group by it"
            ),
            Self::NotAPrincipal(_) => "write `…:role/NAME` or `…:user/NAME`".to_owned(),
            Self::WrongKind { found, .. } => format!("write it as `{found} = …`"),
        }
    }
}

impl Arn {
    /// Parses what a person wrote.
    ///
    /// # Errors
    /// Everything that the authenticator would take in silence and never match is a fault here.
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
        if let Some(fault) = iam_name_error(name) {
            return Err(ArnError::InvalidName(fault));
        }
        if path.len() > 512 || !path.bytes().all(|b| (0x21..0x7f).contains(&b)) || path.contains("//") {
            return Err(ArnError::InvalidName(format!("`{path}` is not an IAM path")));
        }
        Ok(Self { partition: partition.to_owned(), account: id, kind, path, name: name.to_owned() })
    }

    /// A principal without a path, from its parts. The name must have been held against [`iam_name_fault`].
    pub(crate) fn new(partition: &str, account: &AccountId, kind: PrincipalKind, name: &str) -> Self {
        Self {
            partition: partition.to_owned(),
            account: account.clone(),
            kind,
            path: "/".to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn kind(&self) -> PrincipalKind {
        self.kind
    }

    pub(crate) fn partition(&self) -> &str {
        &self.partition
    }

    /// Whether aws-auth needs another spelling than the real one.
    pub(crate) fn has_role_path(&self) -> bool {
        self.kind == PrincipalKind::Role && self.path != "/"
    }

    /// The spelling that the ConfigMap mapper matches: a role without its path, a user with it.
    pub(crate) fn to_aws_auth(&self) -> String {
        let path = match self.kind {
            PrincipalKind::Role => "/",
            PrincipalKind::User => &self.path,
        };
        format!("arn:{}:iam::{}:{}{}{}", self.partition, self.account, self.kind.as_str(), path, self.name)
    }

    /// What the authenticator compares: two ARNs with one key are one principal to it.
    pub(crate) fn match_key(&self) -> String {
        self.to_aws_auth().to_lowercase()
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iam::{}:{}{}{}", self.partition, self.account, self.kind.as_str(), self.path, self.name)
    }
}

/// Says why IAM would not take a role or user name (IAM API, pattern `[\w+=,.@-]+`, at most 64).
pub(crate) fn iam_name_error(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name is empty".to_owned());
    }
    if name.len() > 64 {
        return Some(format!("IAM names have at most 64 characters, this one has {}", name.len()));
    }
    name.chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c)))
        .map(|c| format!("`{c}` cannot stand in an IAM name"))
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
    fn a_role_loses_its_path_for_aws_auth_and_a_user_keeps_it() {
        let role = Arn::parse("arn:aws:iam::111122223333:role/team/sub/Viewer").unwrap();
        assert_eq!(role.to_aws_auth(), "arn:aws:iam::111122223333:role/Viewer");
        assert_eq!(role.to_string(), "arn:aws:iam::111122223333:role/team/sub/Viewer");
        assert_eq!(role.match_key(), "arn:aws:iam::111122223333:role/viewer");
        let user = Arn::parse("arn:aws-cn:iam::111122223333:user/team/bob").unwrap();
        assert_eq!(user.to_aws_auth(), "arn:aws-cn:iam::111122223333:user/team/bob");
    }

    #[test]
    fn a_region_lies_in_its_partition() {
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
    fn what_the_authenticator_never_matches_is_a_fault() {
        let fault = |text: &str| Arn::parse(text).unwrap_err();
        assert_eq!(
            fault("arn:aws:sts::111122223333:assumed-role/viewer/me").help(),
            "write the role: `arn:aws:iam::111122223333:role/viewer`"
        );
        assert_eq!(fault(" arn:aws:iam::111122223333:role/x"), ArnError::SurroundingWhitespace);
        assert_eq!(fault("arn:aws:iam::111122223333:group/x"), ArnError::IamGroup);
        assert_eq!(fault("arn:aws:iam::111122223333:instance-profile/x"), ArnError::InstanceProfile);
        assert!(matches!(fault("arn:aws:iam::111122223333:root"), ArnError::AccountRoot { .. }));
        assert_eq!(fault("arn:aws:iam::11112222333:role/x"), ArnError::InvalidAccount("11112222333".into()));
        assert_eq!(fault("arn:aws-xx:iam::111122223333:role/x"), ArnError::UnknownPartition("aws-xx".into()));
        assert_eq!(fault("arn:aws:iam:eu-west-1:111122223333:role/x"), ArnError::UnexpectedRegion("eu-west-1".into()));
        assert!(matches!(fault("arn:aws:iam::111122223333:role/a b"), ArnError::InvalidName(_)));
        assert!(matches!(fault("arn:aws:iam::111122223333:role/"), ArnError::InvalidName(_)));
        assert_eq!(fault("viewer"), ArnError::NotAnArn);
    }
}
