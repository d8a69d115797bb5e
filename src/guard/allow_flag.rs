//! The values of `--allow`. Each accepts one kind of risk, and there is none that accepts everything.

use std::fmt;

use thiserror::Error;

use super::everyone::Audience;
use crate::access::{SubjectQuery, SubjectQueryError};

/// A value of `--allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowFlag {
    /// `remove:SUBJECT`: this subject can lose access.
    Remove(SubjectQuery),
    /// `masters:SUBJECT`: this subject can become a member of `system:masters`.
    Masters(SubjectQuery),
    /// `everyone:GROUP`: everyone in this group can gain access.
    Everyone(Audience),
    /// `empty-aws-auth`: aws-auth can map no principal any more.
    EmptyAwsAuth,
    /// `last-admin`: no aws-auth principal can restore access any more.
    LastAdmin,
    /// `auth-mode`: the authentication mode of the cluster can be changed, which cannot be undone.
    AuthMode,
    /// `removals:NUMBER`: the plan can remove up to this many entries and objects.
    Removals(usize),
}

/// Why a text is not a valid value of `--allow`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AllowFlagError {
    #[error("invalid value `{0}` for `--allow`")]
    Unknown(String),
    #[error("invalid value `{text}` for `--allow`: {error}")]
    InvalidSubject { text: String, error: SubjectQueryError },
    #[error("invalid value `{0}` for `--allow`: expected a number")]
    InvalidCount(String),
    #[error("invalid value `{0}` for `--allow`: not a group of everyone")]
    InvalidAudience(String),
}

impl AllowFlagError {
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "use remove:ARN, masters:ARN, everyone:GROUP, empty-aws-auth, last-admin, auth-mode or removals:NUMBER, as printed when a plan is refused"
            }
            Self::InvalidSubject { .. } => {
                "use an ARN, user:NAME or sa:NAMESPACE/NAME, as printed when a plan is refused"
            }
            Self::InvalidAudience(_) => {
                "use everyone: with system:unauthenticated, system:anonymous, system:authenticated or system:serviceaccounts"
            }
            Self::InvalidCount(_) => "write the number of removals, such as removals:12",
        }
    }
}

impl AllowFlag {
    /// Parses a value of `--allow`.
    ///
    /// # Errors
    /// If the text is not a valid value.
    pub(crate) fn parse(text: &str) -> Result<Self, AllowFlagError> {
        let parse_subject = |name: &str| {
            SubjectQuery::parse(name).map_err(|error| AllowFlagError::InvalidSubject { text: text.to_owned(), error })
        };
        match text.split_once(':') {
            Some(("remove", name)) => parse_subject(name).map(Self::Remove),
            Some(("masters", name)) => parse_subject(name).map(Self::Masters),
            Some(("everyone", name)) => Audience::parse(name)
                .map(Self::Everyone)
                .ok_or_else(|| AllowFlagError::InvalidAudience(text.to_owned())),
            Some(("removals", number)) => {
                number.parse().map(Self::Removals).map_err(|_| AllowFlagError::InvalidCount(text.to_owned()))
            }
            None if text == "empty-aws-auth" => Ok(Self::EmptyAwsAuth),
            None if text == "last-admin" => Ok(Self::LastAdmin),
            None if text == "auth-mode" => Ok(Self::AuthMode),
            _ => Err(AllowFlagError::Unknown(text.to_owned())),
        }
    }

    /// Returns whether this flag accepts a risk that needs the flag `needed`.
    pub(crate) fn covers(&self, needed: &Self) -> bool {
        match (self, needed) {
            (Self::Remove(subject), Self::Remove(needed)) | (Self::Masters(subject), Self::Masters(needed)) => {
                is_same_subject(subject, needed)
            }
            (Self::Removals(limit), Self::Removals(number)) => limit >= number,
            (Self::Everyone(audience), Self::Everyone(needed)) => audience == needed,
            (Self::EmptyAwsAuth, Self::EmptyAwsAuth)
            | (Self::LastAdmin, Self::LastAdmin)
            | (Self::AuthMode, Self::AuthMode) => true,
            (
                Self::Remove(_)
                | Self::Masters(_)
                | Self::Everyone(_)
                | Self::Removals(_)
                | Self::EmptyAwsAuth
                | Self::LastAdmin
                | Self::AuthMode,
                _,
            ) => false,
        }
    }
}

/// Compares ARNs like the authenticator does.
fn is_same_subject(left: &SubjectQuery, right: &SubjectQuery) -> bool {
    match (left, right) {
        (SubjectQuery::Arn(left), SubjectQuery::Arn(right)) => left.comparison_key() == right.comparison_key(),
        _ => left == right,
    }
}

impl fmt::Display for AllowFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An aws-auth entry maps all sessions of a role, so the session name is left out.
        let format_subject = |subject: &SubjectQuery| match subject {
            SubjectQuery::Arn(identity) => identity.canonical().to_owned(),
            other => other.to_string(),
        };
        match self {
            Self::Remove(subject) => write!(f, "remove:{}", format_subject(subject)),
            Self::Masters(subject) => write!(f, "masters:{}", format_subject(subject)),
            Self::Everyone(audience) => write!(f, "everyone:{}", audience.name()),
            Self::EmptyAwsAuth => f.write_str("empty-aws-auth"),
            Self::LastAdmin => f.write_str("last-admin"),
            Self::AuthMode => f.write_str("auth-mode"),
            Self::Removals(number) => write!(f, "removals:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> AllowFlag {
        AllowFlag::parse(text).unwrap()
    }

    #[test]
    fn flag_covers_one_kind_of_risk_and_compares_arns_like_the_authenticator() {
        let needed = parse("remove:arn:aws:iam::111122223333:role/Nodes");
        assert!(parse("remove:arn:aws:iam::111122223333:role/team/nodes").covers(&needed));
        assert!(parse("remove:arn:aws:sts::111122223333:assumed-role/nodes/i-0").covers(&needed));
        assert!(!parse("masters:arn:aws:iam::111122223333:role/nodes").covers(&needed));
        assert!(!parse("remove:arn:aws:iam::111122223333:role/node").covers(&needed));
        assert!(!parse("everyone:system:anonymous").covers(&parse("everyone:system:authenticated")));
        assert!(!parse("empty-aws-auth").covers(&needed) && !parse("last-admin").covers(&parse("empty-aws-auth")));
        assert!(parse("removals:3").covers(&parse("removals:3")) && !parse("removals:2").covers(&parse("removals:3")));
    }

    #[test]
    fn display_and_parse_round_trip() {
        for text in [
            "remove:arn:aws:iam::111122223333:role/nodes",
            "remove:sa:ci/runner",
            "remove:user:bob",
            "masters:arn:aws:iam::111122223333:user/team/bob",
            "everyone:system:unauthenticated",
            "everyone:system:anonymous",
            "everyone:system:authenticated",
            "everyone:system:serviceaccounts",
            "empty-aws-auth",
            "last-admin",
            "auth-mode",
            "removals:12",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn invalid_values_are_errors() {
        for text in [
            "",
            "all",
            "force",
            "*",
            "remove",
            "remove:*",
            "removals:many",
            "remove:bob",
            "empty-aws-auth:x",
            "everyone",
            "everyone:",
            "everyone:system:masters",
            "everyone:*",
        ] {
            assert!(AllowFlag::parse(text).is_err(), "{text}");
        }
    }
}
