//! Who calls, by the ARN that STS shows, in the form that the authenticator compares.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/arn/arn.go` (`Canonicalize`) and `pkg/token/token.go`
//! (`getIdentityFromSTSResponse`, which says who has a session name).

use std::fmt;

use crate::names::{ArnFault, PARTITIONS};

/// What the caller's session is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Session {
    /// Of a user and of the root user: empty.
    Known(String),
    /// The question is about a role, and whoever assumes it names the session.
    Unknown,
}

/// An AWS identity that may come with a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    /// A role without its path and session, anything else as STS shows it; its case is kept.
    canonical: String,
    account: String,
    session: Session,
}

impl Caller {
    /// Parses an ARN of IAM or STS. A role with its path is taken for what STS shows of it.
    ///
    /// # Errors
    /// What can never call: the authenticator refuses it.
    pub(crate) fn parse(text: &str) -> Result<Self, ArnFault> {
        if text.trim() != text {
            return Err(ArnFault::Blank);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, _, account, resource] = parts.as_slice() else {
            return Err(ArnFault::NotAnArn);
        };
        if !PARTITIONS.contains(&partition) {
            return Err(ArnFault::Partition(partition.to_owned()));
        }
        let role = |name: &str| format!("arn:{partition}:iam::{account}:role/{name}");
        let none = Session::Known(String::new());
        let segments: Vec<&str> = resource.split('/').collect();
        let (canonical, session) = match (service, segments.as_slice()) {
            ("sts", ["federated-user", ..]) => (text.to_owned(), none),
            ("sts", ["assumed-role", path @ .., session]) if !path.is_empty() => {
                (role(&path.join("/")), Session::Known((*session).to_owned()))
            }
            ("iam", ["role", .., name]) => (role(name), Session::Unknown),
            ("iam", ["user" | "root", ..]) => (text.to_owned(), none),
            ("iam", ["instance-profile", ..]) => return Err(ArnFault::InstanceProfile),
            ("iam", ["group", ..]) => return Err(ArnFault::IamGroup),
            ("iam", _) => return Err(ArnFault::Resource(resource.to_owned())),
            _ => return Err(ArnFault::Resource(format!("{service}:{resource}"))),
        };
        Ok(Self { canonical, account: account.to_owned(), session })
    }

    /// The caller whom an entry of aws-auth means, spelled as there.
    pub(super) fn of_entry(text: &str) -> Result<Self, ArnFault> {
        Self::parse(text).or_else(|fault| Self::parse(&fold(text)).map_err(|_| fault))
    }

    pub(crate) fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// What the authenticator compares.
    pub(crate) fn key(&self) -> String {
        fold(&self.canonical)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)?;
        match &self.session {
            Session::Known(name) if !name.is_empty() => write!(f, " (session {name})"),
            Session::Known(_) | Session::Unknown => Ok(()),
        }
    }
}

/// The text as Go's `EqualFold` takes it beside an ARN, which is ASCII: two letters beyond it fold into it.
pub(super) fn fold(text: &str) -> String {
    let one = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Caller::parse(text).unwrap().canonical().to_owned()
    }

    #[test]
    fn a_session_is_its_role_and_a_role_has_no_path() {
        let viewer = "arn:aws:iam::111122223333:role/Viewer";
        assert_eq!(canonical("arn:aws:sts::111122223333:assumed-role/Viewer/me@x"), viewer);
        assert_eq!(canonical("arn:aws:iam::111122223333:role/team/sub/Viewer"), viewer);
        let session = Caller::parse("arn:aws:sts::111122223333:assumed-role/Viewer/me@x").unwrap();
        assert_eq!(session.session(), &Session::Known("me@x".into()));
        assert_eq!(Caller::parse(viewer).unwrap().session(), &Session::Unknown);
    }

    #[test]
    fn users_keep_their_path_and_have_no_session_name() {
        for text in [
            "arn:aws:iam::111122223333:user/team/bob",
            "arn:aws-cn:iam::111122223333:root",
            "arn:aws:sts::111122223333:federated-user/Bob",
        ] {
            assert_eq!(canonical(text), text);
            assert_eq!(Caller::parse(text).unwrap().session(), &Session::Known(String::new()));
        }
    }

    #[test]
    fn what_can_never_call_is_a_fault() {
        let fault = |text: &str| Caller::parse(text).unwrap_err();
        assert_eq!(fault("arn:aws:iam::1:group/x"), ArnFault::IamGroup);
        assert_eq!(fault("arn:aws:iam::1:instance-profile/x"), ArnFault::InstanceProfile);
        assert_eq!(fault(" arn:aws:iam::1:role/x"), ArnFault::Blank);
        assert_eq!(fault("arn:aws-xx:iam::1:role/x"), ArnFault::Partition("aws-xx".into()));
        assert_eq!(fault("arn:aws:s3:::bucket"), ArnFault::Resource("s3:bucket".into()));
        assert_eq!(fault("arn:aws:sts::1:assumed-role/x"), ArnFault::Resource("sts:assumed-role/x".into()));
        assert_eq!(fault("alice"), ArnFault::NotAnArn);
    }
}
