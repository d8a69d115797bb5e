//! The IAM identity that STS reports for a token, with its ARN in the form that the authenticator compares.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/arn/arn.go` (`Canonicalize`) and `pkg/token/token.go`
//! (`getIdentityFromSTSResponse`, which decides whether an identity has a session name).

use std::fmt;

use super::session_attributes::SessionAttributes;
use super::session_match::is_session_name_char;
use crate::names::{AccountId, ArnError, PARTITIONS, iam_name_error};

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
    access_key_id: Option<String>,
    ec2_private_dns_name: Option<String>,
}

impl IamIdentity {
    /// Parses an ARN of IAM or STS. The path of a role is dropped, because STS does not report it.
    ///
    /// # Errors
    /// If the text is not an ARN, if AWS cannot have such a principal, or if the authenticator rejects every token of that
    /// identity.
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
        let role = |name: &str| format!("arn:{partition}:iam::{account}:role/{name}");
        let no_session = SessionName::Known(String::new());
        let segments: Vec<&str> = resource.split('/').collect();
        let (canonical, name, session) = match (service, segments.as_slice()) {
            ("sts", ["federated-user", name]) => (text.to_owned(), *name, no_session),
            ("sts", ["assumed-role", path @ .., name, session]) => {
                check_path(path)?;
                check_session_name(session)?;
                (role(name), *name, SessionName::Known((*session).to_owned()))
            }
            ("iam", ["role", path @ .., name]) => {
                check_path(path)?;
                (role(name), *name, SessionName::Unknown)
            }
            ("iam", ["user", path @ .., name]) => {
                check_path(path)?;
                (text.to_owned(), *name, no_session)
            }
            ("iam", ["root"]) => (text.to_owned(), "root", no_session),
            ("iam", ["instance-profile", ..]) => return Err(ArnError::InstanceProfile),
            ("iam", ["group", ..]) => return Err(ArnError::IamGroup),
            ("iam", _) => return Err(ArnError::NotAPrincipal(resource.to_owned())),
            _ => return Err(ArnError::NotAPrincipal(format!("{service}:{resource}"))),
        };
        if !region.is_empty() {
            return Err(ArnError::UnexpectedRegion(region.to_owned()));
        }
        if AccountId::parse(account).is_none() {
            return Err(ArnError::InvalidAccount(account.to_owned()));
        }
        if let Some(message) = iam_name_error(name) {
            return Err(ArnError::InvalidName(message));
        }
        let account = account.to_owned();
        Ok(Self { canonical, account, session, access_key_id: None, ec2_private_dns_name: None })
    }

    /// Returns the principal of an access entry. EKS keeps only principals that exist, so an ARN that cannot be parsed is one
    /// of a form that this version does not know, and is kept as it is.
    pub(crate) fn from_access_entry(arn: &str) -> Self {
        Self::parse(arn).unwrap_or_else(|_| Self {
            canonical: arn.to_owned(),
            account: arn.split(':').nth(4).unwrap_or_default().to_owned(),
            session: SessionName::Unknown,
            access_key_id: None,
            ec2_private_dns_name: None,
        })
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

    /// Returns what is known of the session.
    pub(crate) fn session_attributes(&self) -> SessionAttributes {
        let name = match &self.session {
            SessionName::Known(name) if !name.is_empty() => Some(name.clone()),
            SessionName::Known(_) | SessionName::Unknown => None,
        };
        SessionAttributes {
            name,
            access_key_id: self.access_key_id.clone(),
            ec2_private_dns_name: self.ec2_private_dns_name.clone(),
        }
    }

    /// Returns the same principal in a session of which more is known. `None` if the principal cannot have such a
    /// session, or if something else is known of this one.
    pub(crate) fn with_session(&self, session: &SessionAttributes) -> Option<Self> {
        let SessionAttributes { name, access_key_id, ec2_private_dns_name } = session;
        let can_be_named = match (&self.session, name) {
            (_, None) | (SessionName::Unknown, Some(_)) => true,
            (SessionName::Known(own), Some(name)) => own == name,
        };
        let agrees = |own: &Option<String>, other: &Option<String>| own.is_none() || other.is_none() || own == other;
        let is_possible = can_be_named
            && agrees(&self.access_key_id, access_key_id)
            && agrees(&self.ec2_private_dns_name, ec2_private_dns_name);
        is_possible.then(|| Self {
            session: name.clone().map_or_else(|| self.session.clone(), SessionName::Known),
            access_key_id: access_key_id.clone().or_else(|| self.access_key_id.clone()),
            ec2_private_dns_name: ec2_private_dns_name.clone().or_else(|| self.ec2_private_dns_name.clone()),
            ..self.clone()
        })
    }

    /// Returns the same principal in a session of which nothing is known.
    pub(crate) fn in_any_session(&self) -> Self {
        let session = match &self.session {
            SessionName::Known(name) if name.is_empty() => self.session.clone(),
            SessionName::Known(_) | SessionName::Unknown => SessionName::Unknown,
        };
        Self { session, access_key_id: None, ec2_private_dns_name: None, ..self.clone() }
    }

    pub(super) fn access_key_id(&self) -> Option<&str> {
        self.access_key_id.as_deref()
    }

    pub(super) fn ec2_private_dns_name(&self) -> Option<&str> {
        self.ec2_private_dns_name.as_deref()
    }

    /// Returns the string that the authenticator compares.
    pub(crate) fn comparison_key(&self) -> String {
        fold_case(&self.canonical)
    }
}

/// The path of a role or user in IAM: printable ASCII between slashes.
fn check_path(segments: &[&str]) -> Result<(), ArnError> {
    let is_valid = |segment: &&str| {
        !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'?')
    };
    if segments.iter().all(is_valid) {
        return Ok(());
    }
    Err(ArnError::InvalidName(format!("`/{}/` is not a valid IAM path", segments.join("/"))))
}

fn check_session_name(name: &str) -> Result<(), ArnError> {
    if !name.is_empty() && name.chars().all(is_session_name_char) {
        return Ok(());
    }
    Err(ArnError::InvalidName(format!("`{name}` is not a valid name of a role session")))
}

/// Formatted as ``arn:…:role/ci for sessions named `alice` ``.
impl fmt::Display for IamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)?;
        let session = self.session_attributes();
        if session.is_any() { Ok(()) } else { write!(f, " for {session}") }
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
        assert_eq!(error("arn:aws:iam::111122223333:group/x"), ArnError::IamGroup);
        assert_eq!(error("arn:aws:iam::111122223333:instance-profile/x"), ArnError::InstanceProfile);
        assert_eq!(error(" arn:aws:iam::111122223333:role/x"), ArnError::SurroundingWhitespace);
        assert_eq!(error("arn:aws-xx:iam::111122223333:role/x"), ArnError::UnknownPartition("aws-xx".into()));
        assert_eq!(error("arn:aws:s3:::bucket"), ArnError::NotAPrincipal("s3:bucket".into()));
        assert_eq!(error("arn:aws:sts::1:assumed-role/x"), ArnError::NotAPrincipal("sts:assumed-role/x".into()));
        assert_eq!(error("alice"), ArnError::NotAnArn);
    }

    #[test]
    fn arns_of_principals_that_cannot_exist_are_rejected() {
        let error = |text: &str| IamIdentity::parse(text).unwrap_err();
        for account in ["*", "", "11112222333", "1111222233334", "1111-2222-3333", "aws", "11112222333?"] {
            let text = format!("arn:aws:iam::{account}:role/x");
            assert_eq!(error(&text), ArnError::InvalidAccount(account.into()), "{text}");
        }
        assert_eq!(error("arn:aws:iam:eu-west-1:111122223333:role/x"), ArnError::UnexpectedRegion("eu-west-1".into()));
        for resource in [
            "role/*",
            "role/a?",
            "role/",
            "role/a b",
            "role/*/x",
            "role//x",
            "user/{{SessionName}}",
            "user/é",
            "user/te*am/x",
        ] {
            let text = format!("arn:aws:iam::111122223333:{resource}");
            assert!(matches!(error(&text), ArnError::InvalidName(_)), "{text}");
        }
        assert!(matches!(error("arn:aws:iam::111122223333:root/x"), ArnError::NotAPrincipal(_)));
        assert!(matches!(error("arn:aws:sts::111122223333:assumed-role/x/a b"), ArnError::InvalidName(_)));
    }

    #[test]
    fn session_attributes_complete_what_is_known() {
        let role = IamIdentity::parse("arn:aws:iam::111122223333:role/ci").unwrap();
        let alice = role.with_session(&SessionAttributes::named("alice")).unwrap();
        assert_eq!(alice, IamIdentity::parse("arn:aws:sts::111122223333:assumed-role/ci/alice").unwrap());
        assert_eq!(alice.to_string(), "arn:aws:iam::111122223333:role/ci for sessions named `alice`");
        assert_eq!(alice.with_session(&SessionAttributes::named("bob")), None);
        let user = IamIdentity::parse("arn:aws:iam::111122223333:user/bob").unwrap();
        assert_eq!(user.with_session(&SessionAttributes::named("alice")), None, "an IAM user has no session name");
    }
}
