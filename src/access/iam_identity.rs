//! The IAM identity that STS reports for a token, with its ARN in the form that the authenticator compares.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/arn/arn.go` (`Canonicalize`) and `pkg/token/token.go`
//! (`getIdentityFromSTSResponse`, which decides whether an identity has a session name).

use std::fmt;

use crate::names::{ArnError, PARTITIONS};

/// The name of a role's session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionName {
    /// Empty for a user, the root user and a federated user.
    Known(String),
    /// The query is about a role. The principal that assumes it chooses the session name.
    Unknown,
}

/// An AWS identity that STS can report for a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IamIdentity {
    /// The ARN of a role without its path and session. Every other ARN as STS reports it. The case is kept.
    canonical: String,
    account: String,
    session: SessionName,
}

impl IamIdentity {
    /// Parses an ARN of IAM or STS. The path of a role is dropped, because STS does not report it.
    ///
    /// # Errors
    /// If the text is not an ARN, or if the authenticator rejects every token of that identity.
    pub(crate) fn parse(text: &str) -> Result<Self, ArnError> {
        if text.trim() != text {
            return Err(ArnError::SurroundingWhitespace);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, _, account, resource] = parts.as_slice() else {
            return Err(ArnError::NotAnArn);
        };
        if !PARTITIONS.contains(&partition) {
            return Err(ArnError::UnknownPartition(partition.to_owned()));
        }
        let role = |name: &str| format!("arn:{partition}:iam::{account}:role/{name}");
        let no_session = SessionName::Known(String::new());
        let segments: Vec<&str> = resource.split('/').collect();
        let (canonical, session) = match (service, segments.as_slice()) {
            ("sts", ["federated-user", ..]) => (text.to_owned(), no_session),
            ("sts", ["assumed-role", path @ .., session]) if !path.is_empty() => {
                (role(&path.join("/")), SessionName::Known((*session).to_owned()))
            }
            ("iam", ["role", .., name]) => (role(name), SessionName::Unknown),
            ("iam", ["user" | "root", ..]) => (text.to_owned(), no_session),
            ("iam", ["instance-profile", ..]) => return Err(ArnError::InstanceProfile),
            ("iam", ["group", ..]) => return Err(ArnError::IamGroup),
            ("iam", _) => return Err(ArnError::NotAPrincipal(resource.to_owned())),
            _ => return Err(ArnError::NotAPrincipal(format!("{service}:{resource}"))),
        };
        Ok(Self { canonical, account: account.to_owned(), session })
    }

    /// Parses the ARN of an aws-auth entry. It is compared without regard to case, so an ARN such as `ARN:AWS:…` is
    /// valid there.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(super) fn parse_entry_arn(text: &str) -> Result<Self, ArnError> {
        Self::parse(text).or_else(|error| Self::parse(&fold_case(text)).map_err(|_| error))
    }

    pub(crate) fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn session(&self) -> &SessionName {
        &self.session
    }

    /// Returns the string that the authenticator compares.
    pub(crate) fn comparison_key(&self) -> String {
        fold_case(&self.canonical)
    }
}

impl fmt::Display for IamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)?;
        match &self.session {
            SessionName::Known(name) if !name.is_empty() => write!(f, " (session {name})"),
            SessionName::Known(_) | SessionName::Unknown => Ok(()),
        }
    }
}

/// Folds case as Go's `strings.EqualFold` does in a comparison with an ARN, which is ASCII. Two letters outside of ASCII
/// fold into ASCII letters.
pub(super) fn fold_case(text: &str) -> String {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    text.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        IamIdentity::parse(text).unwrap().canonical().to_owned()
    }

    #[test]
    fn session_becomes_role_without_path() {
        let viewer = "arn:aws:iam::111122223333:role/Viewer";
        assert_eq!(canonical("arn:aws:sts::111122223333:assumed-role/Viewer/me@x"), viewer);
        assert_eq!(canonical("arn:aws:iam::111122223333:role/team/sub/Viewer"), viewer);
        let session = IamIdentity::parse("arn:aws:sts::111122223333:assumed-role/Viewer/me@x").unwrap();
        assert_eq!(session.session(), &SessionName::Known("me@x".into()));
        assert_eq!(IamIdentity::parse(viewer).unwrap().session(), &SessionName::Unknown);
    }

    #[test]
    fn users_keep_their_path_and_have_no_session_name() {
        for text in [
            "arn:aws:iam::111122223333:user/team/bob",
            "arn:aws-cn:iam::111122223333:root",
            "arn:aws:sts::111122223333:federated-user/Bob",
        ] {
            assert_eq!(canonical(text), text);
            assert_eq!(IamIdentity::parse(text).unwrap().session(), &SessionName::Known(String::new()));
        }
    }

    #[test]
    fn arns_that_cannot_authenticate_are_rejected() {
        let error = |text: &str| IamIdentity::parse(text).unwrap_err();
        assert_eq!(error("arn:aws:iam::1:group/x"), ArnError::IamGroup);
        assert_eq!(error("arn:aws:iam::1:instance-profile/x"), ArnError::InstanceProfile);
        assert_eq!(error(" arn:aws:iam::1:role/x"), ArnError::SurroundingWhitespace);
        assert_eq!(error("arn:aws-xx:iam::1:role/x"), ArnError::UnknownPartition("aws-xx".into()));
        assert_eq!(error("arn:aws:s3:::bucket"), ArnError::NotAPrincipal("s3:bucket".into()));
        assert_eq!(error("arn:aws:sts::1:assumed-role/x"), ArnError::NotAPrincipal("sts:assumed-role/x".into()));
        assert_eq!(error("alice"), ArnError::NotAnArn);
    }
}
