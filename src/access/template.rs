//! Usernames and groups with `{{…}}` in them, as the authenticator renders them for one caller.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`renderTemplate`). Where a question is about a role and
//! not about a session, what only the session knows stays open.

use std::fmt;

use super::iam_identity::{IamIdentity, SessionName};

const EC2_PRIVATE_DNS_NAME: &str = "{{EC2PrivateDNSName}}";
const ACCOUNT_ID: &str = "{{AccountID}}";
const SESSION_NAME: &str = "{{SessionName}}";
const SESSION_NAME_RAW: &str = "{{SessionNameRaw}}";
const ACCESS_KEY_ID: &str = "{{AccessKeyID}}";

/// A username or a group as the API server gets it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RenderedName {
    Literal(String),
    /// Each session has another name: no subject of a binding is known to be meant.
    PerSession(String),
}

impl RenderedName {
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::PerSession(_) => None,
        }
    }

    /// With the `{{…}}` that are open.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) | Self::PerSession(text) => text,
        }
    }

    /// Whether the name is this text for some session.
    pub(crate) fn can_equal(&self, text: &str) -> bool {
        match self {
            Self::Literal(name) => name == text,
            Self::PerSession(name) => {
                let holes = [EC2_PRIVATE_DNS_NAME, SESSION_NAME, SESSION_NAME_RAW, ACCESS_KEY_ID];
                let marked = holes.into_iter().fold(name.clone(), |name, hole| name.replace(hole, "\0"));
                marked.contains('\0') && matches_pieces(&marked.split('\0').collect::<Vec<_>>(), text)
            }
        }
    }

    /// Whoever names the session chooses the whole name.
    pub(crate) fn is_session_chosen(&self) -> bool {
        matches!(self, Self::PerSession(text) if text == SESSION_NAME || text == SESSION_NAME_RAW)
    }
}

/// Whether the pieces stand in the text in their order, and between them what STS takes for the name of a session.
fn matches_pieces(pieces: &[&str], text: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let Some(text) = text.strip_prefix(first) else {
        return false;
    };
    if rest.is_empty() {
        return text.is_empty();
    }
    let end = text.find(|c| !is_session_name_char(c)).unwrap_or(text.len());
    // Up to there all is ASCII.
    (0..=end).any(|at| text.get(at..).is_some_and(|text| matches_pieces(rest, text)))
}

/// Whether STS takes the letter in the name of a session (`RoleSessionName` of `AssumeRole`).
pub(crate) fn is_session_name_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)
}

impl fmt::Display for RenderedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The login fails: the session is not named as EC2 names those of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotInstanceSession {
    pub(crate) session: String,
}

/// Renders one username or group.
pub(super) fn render_template(template: &str, caller: &IamIdentity) -> Result<RenderedName, NotInstanceSession> {
    let mut open = template.contains(ACCESS_KEY_ID);
    if template.contains(EC2_PRIVATE_DNS_NAME) {
        match caller.session() {
            SessionName::Known(name) if !is_instance_id(name) => {
                return Err(NotInstanceSession { session: name.clone() });
            }
            // EC2 knows the name of the machine; we do not ask it.
            SessionName::Known(_) | SessionName::Unknown => open = true,
        }
    }
    let mut text = template.replace(ACCOUNT_ID, caller.account());
    match caller.session() {
        SessionName::Known(name) => {
            text = text.replace(SESSION_NAME, &name.replace('@', "-")).replace(SESSION_NAME_RAW, name)
        }
        SessionName::Unknown => open |= text.contains(SESSION_NAME) || text.contains(SESSION_NAME_RAW),
    }
    Ok(if open { RenderedName::PerSession(text) } else { RenderedName::Literal(text) })
}

/// `^i-(\w{8}|\w{17})$`
fn is_instance_id(session: &str) -> bool {
    session.strip_prefix("i-").is_some_and(|id| {
        matches!(id.len(), 8 | 17) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/deploy";

    fn session(name: &str) -> IamIdentity {
        IamIdentity::parse(&format!("arn:aws:sts::111122223333:assumed-role/deploy/{name}")).unwrap()
    }

    fn literal(text: &str) -> RenderedName {
        RenderedName::Literal(text.into())
    }

    #[test]
    fn a_session_name_loses_its_at_signs_and_nothing_else() {
        let me = session("me+x@corp.example@y");
        assert_eq!(render_template("u:{{SessionName}}", &me).unwrap(), literal("u:me+x-corp.example-y"));
        assert_eq!(render_template("{{SessionNameRaw}}", &me).unwrap(), literal("me+x@corp.example@y"));
        assert_eq!(render_template("{{AccountID}}/{{sessionname}}/{{ SessionName }}", &me).unwrap().as_str(), {
            "111122223333/{{sessionname}}/{{ SessionName }}"
        });
    }

    #[test]
    fn the_name_of_a_machine_refuses_people() {
        assert!(render_template("system:node:{{EC2PrivateDNSName}}", &session("me")).is_err());
        assert!(render_template("system:node:{{EC2PrivateDNSName}}", &session("i-0123456789abcdef")).is_err());
        for id in ["i-01234567", "i-0123456789abcdef0"] {
            assert!(
                matches!(render_template("{{EC2PrivateDNSName}}", &session(id)), Ok(RenderedName::PerSession(_))),
                "{id}"
            );
        }
        let user = IamIdentity::parse("arn:aws:iam::111122223333:user/bob").unwrap();
        assert!(render_template("{{EC2PrivateDNSName}}", &user).is_err());
        assert_eq!(render_template("bob{{SessionName}}", &user).unwrap(), literal("bob"));
    }

    #[test]
    fn an_open_name_may_be_what_some_session_makes_of_it() {
        let open = |text: &str| RenderedName::PerSession(text.into());
        assert!(open("system:{{SessionName}}").can_equal("system:masters"));
        assert!(open("{{SessionName}}:{{SessionNameRaw}}").can_equal("system:masters"));
        assert!(!open("{{SessionName}}").can_equal("system:masters"), "no session has a colon in its name");
        assert!(!open("team-{{SessionName}}").can_equal("system:masters"));
        assert!(!open("the ARN of somebody").can_equal("the ARN of somebody"));
        assert!(literal("a").can_equal("a") && !literal("a").can_equal("b"));
    }

    #[test]
    fn of_a_role_alone_the_session_stays_open() {
        let role = IamIdentity::parse(ROLE).unwrap();
        assert_eq!(render_template("{{AccountID}}:{{SessionName}}", &role).unwrap(), {
            RenderedName::PerSession("111122223333:{{SessionName}}".into())
        });
        assert!(render_template("{{SessionName}}", &role).unwrap().is_session_chosen());
        assert!(!render_template("x-{{SessionName}}", &role).unwrap().is_session_chosen());
        assert_eq!(render_template("{{Unknown}}", &role).unwrap(), literal("{{Unknown}}"));
    }
}
