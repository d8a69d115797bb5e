//! What the command line says yes to: each word to one danger, none to all.

use std::fmt;

use thiserror::Error;

use crate::access::{SubjectQuery, SubjectQueryError};

/// A yes of the command line, as `--allow` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowFlag {
    /// Somebody loses access.
    Remove(SubjectQuery),
    /// Somebody becomes `system:masters`.
    Masters(SubjectQuery),
    EmptyAwsAuth,
    LastAdmin,
    /// So many things go.
    Removals(usize),
}

/// Why a text says yes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AllowFlagError {
    #[error("`--allow {0}` allows nothing that is known")]
    Unknown(String),
    #[error("`--allow {text}` names nobody: {why}")]
    InvalidSubject { text: String, why: SubjectQueryError },
    #[error("`--allow {0}` needs a number")]
    InvalidCount(String),
}

impl AllowFlagError {
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "it is one of remove:ARN, masters:ARN, empty-aws-auth, last-admin and removals:NUMBER, as the refusal names it"
            }
            Self::InvalidSubject { .. } => "write an ARN, user:NAME or sa:NAMESPACE/NAME, as the refusal names it",
            Self::InvalidCount(_) => "write how many removals are right, such as removals:12",
        }
    }
}

impl AllowFlag {
    /// Parses what stands behind `--allow`.
    ///
    /// # Errors
    /// A text that allows nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, AllowFlagError> {
        let who = |name: &str| {
            SubjectQuery::parse(name).map_err(|why| AllowFlagError::InvalidSubject { text: text.to_owned(), why })
        };
        match text.split_once(':') {
            Some(("remove", name)) => who(name).map(Self::Remove),
            Some(("masters", name)) => who(name).map(Self::Masters),
            Some(("removals", number)) => {
                number.parse().map(Self::Removals).map_err(|_| AllowFlagError::InvalidCount(text.to_owned()))
            }
            None if text == "empty-aws-auth" => Ok(Self::EmptyAwsAuth),
            None if text == "last-admin" => Ok(Self::LastAdmin),
            _ => Err(AllowFlagError::Unknown(text.to_owned())),
        }
    }

    /// Whether this yes is the one that is needed.
    pub(crate) fn covers(&self, needed: &Self) -> bool {
        match (self, needed) {
            (Self::Remove(one), Self::Remove(other)) | (Self::Masters(one), Self::Masters(other)) => {
                is_same_subject(one, other)
            }
            (Self::Removals(most), Self::Removals(number)) => most >= number,
            (Self::EmptyAwsAuth, Self::EmptyAwsAuth) | (Self::LastAdmin, Self::LastAdmin) => true,
            (Self::Remove(_) | Self::Masters(_) | Self::Removals(_) | Self::EmptyAwsAuth | Self::LastAdmin, _) => false,
        }
    }
}

/// An ARN is the same as the authenticator compares it.
fn is_same_subject(one: &SubjectQuery, other: &SubjectQuery) -> bool {
    match (one, other) {
        (SubjectQuery::Arn(one), SubjectQuery::Arn(other)) => one.comparison_key() == other.comparison_key(),
        _ => one == other,
    }
}

impl fmt::Display for AllowFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A session is not said: the entry lets in all of them.
        let name = |who: &SubjectQuery| match who {
            SubjectQuery::Arn(caller) => caller.canonical().to_owned(),
            other => other.to_string(),
        };
        match self {
            Self::Remove(who) => write!(f, "remove:{}", name(who)),
            Self::Masters(who) => write!(f, "masters:{}", name(who)),
            Self::EmptyAwsAuth => f.write_str("empty-aws-auth"),
            Self::LastAdmin => f.write_str("last-admin"),
            Self::Removals(number) => write!(f, "removals:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> AllowFlag {
        AllowFlag::parse(text).unwrap()
    }

    #[test]
    fn a_yes_is_to_one_danger_as_the_authenticator_compares_it() {
        let needed = parsed("remove:arn:aws:iam::111122223333:role/Nodes");
        assert!(parsed("remove:arn:aws:iam::111122223333:role/team/nodes").covers(&needed));
        assert!(parsed("remove:arn:aws:sts::111122223333:assumed-role/nodes/i-0").covers(&needed));
        assert!(!parsed("masters:arn:aws:iam::111122223333:role/nodes").covers(&needed));
        assert!(!parsed("remove:arn:aws:iam::111122223333:role/node").covers(&needed));
        assert!(!parsed("empty-aws-auth").covers(&needed) && !parsed("last-admin").covers(&parsed("empty-aws-auth")));
        assert!(
            parsed("removals:3").covers(&parsed("removals:3")) && !parsed("removals:2").covers(&parsed("removals:3"))
        );
    }

    #[test]
    fn what_is_printed_is_what_is_parsed() {
        for text in [
            "remove:arn:aws:iam::111122223333:role/nodes",
            "remove:sa:ci/runner",
            "remove:user:bob",
            "masters:arn:aws:iam::111122223333:user/team/bob",
            "empty-aws-auth",
            "last-admin",
            "removals:12",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
    }

    #[test]
    fn what_allows_nothing_is_a_fault() {
        for text in ["", "all", "force", "*", "remove", "remove:*", "removals:many", "remove:bob", "empty-aws-auth:x"] {
            assert!(AllowFlag::parse(text).is_err(), "{text}");
        }
    }
}
