//! Usernames and groups with `{{…}}` in them, as the authenticator renders them for one caller.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`renderTemplate`). Where a question is about a role and
//! not about a session, what only the session knows stays open.

use std::fmt;

use super::caller::{Caller, Session};

const EC2_NAME: &str = "{{EC2PrivateDNSName}}";
const ACCOUNT: &str = "{{AccountID}}";
const SESSION: &str = "{{SessionName}}";
const SESSION_RAW: &str = "{{SessionNameRaw}}";
const ACCESS_KEY: &str = "{{AccessKeyID}}";

/// A username or a group as the API server gets it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Literal(String),
    /// Each session has another name: no subject of a binding is known to be meant.
    Open(String),
}

impl Name {
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Open(_) => None,
        }
    }

    /// With the `{{…}}` that are open.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Open(text) => text,
        }
    }

    /// Whether the name is this text for some session.
    pub(crate) fn may_be(&self, text: &str) -> bool {
        match self {
            Self::Literal(name) => name == text,
            Self::Open(name) => {
                let holes = [EC2_NAME, SESSION, SESSION_RAW, ACCESS_KEY];
                let marked = holes.into_iter().fold(name.clone(), |name, hole| name.replace(hole, "\0"));
                marked.contains('\0') && fits(&marked.split('\0').collect::<Vec<_>>(), text)
            }
        }
    }

    /// Whoever names the session chooses the whole name.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Self::Open(text) if text == SESSION || text == SESSION_RAW)
    }
}

/// Whether the pieces stand in the text in their order, and between them what STS takes for the name of a session.
fn fits(pieces: &[&str], text: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let Some(text) = text.strip_prefix(first) else {
        return false;
    };
    if rest.is_empty() {
        return text.is_empty();
    }
    let end = text.find(|c| !is_of_session(c)).unwrap_or(text.len());
    // Up to there all is ASCII.
    (0..=end).any(|at| text.get(at..).is_some_and(|text| fits(rest, text)))
}

/// Whether STS takes the letter in the name of a session (`RoleSessionName` of `AssumeRole`).
pub(crate) fn is_of_session(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The login fails: the session is not named as EC2 names those of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotAnInstance {
    pub(crate) session: String,
}

/// Renders one username or group.
pub(super) fn render(template: &str, caller: &Caller) -> Result<Name, NotAnInstance> {
    let mut open = template.contains(ACCESS_KEY);
    if template.contains(EC2_NAME) {
        match caller.session() {
            Session::Known(name) if !is_instance(name) => return Err(NotAnInstance { session: name.clone() }),
            // EC2 knows the name of the machine; we do not ask it.
            Session::Known(_) | Session::Unknown => open = true,
        }
    }
    let mut text = template.replace(ACCOUNT, caller.account());
    match caller.session() {
        Session::Known(name) => text = text.replace(SESSION, &name.replace('@', "-")).replace(SESSION_RAW, name),
        Session::Unknown => open |= text.contains(SESSION) || text.contains(SESSION_RAW),
    }
    Ok(if open { Name::Open(text) } else { Name::Literal(text) })
}

/// `^i-(\w{8}|\w{17})$`
fn is_instance(session: &str) -> bool {
    session.strip_prefix("i-").is_some_and(|id| {
        matches!(id.len(), 8 | 17) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/deploy";

    fn session(name: &str) -> Caller {
        Caller::parse(&format!("arn:aws:sts::111122223333:assumed-role/deploy/{name}")).unwrap()
    }

    fn literal(text: &str) -> Name {
        Name::Literal(text.into())
    }

    #[test]
    fn a_session_name_loses_its_at_signs_and_nothing_else() {
        let me = session("me+x@corp.example@y");
        assert_eq!(render("u:{{SessionName}}", &me).unwrap(), literal("u:me+x-corp.example-y"));
        assert_eq!(render("{{SessionNameRaw}}", &me).unwrap(), literal("me+x@corp.example@y"));
        assert_eq!(render("{{AccountID}}/{{sessionname}}/{{ SessionName }}", &me).unwrap().as_str(), {
            "111122223333/{{sessionname}}/{{ SessionName }}"
        });
    }

    #[test]
    fn the_name_of_a_machine_refuses_people() {
        assert!(render("system:node:{{EC2PrivateDNSName}}", &session("me")).is_err());
        assert!(render("system:node:{{EC2PrivateDNSName}}", &session("i-0123456789abcdef")).is_err());
        for id in ["i-01234567", "i-0123456789abcdef0"] {
            assert!(matches!(render("{{EC2PrivateDNSName}}", &session(id)), Ok(Name::Open(_))), "{id}");
        }
        let user = Caller::parse("arn:aws:iam::111122223333:user/bob").unwrap();
        assert!(render("{{EC2PrivateDNSName}}", &user).is_err());
        assert_eq!(render("bob{{SessionName}}", &user).unwrap(), literal("bob"));
    }

    #[test]
    fn an_open_name_may_be_what_some_session_makes_of_it() {
        let open = |text: &str| Name::Open(text.into());
        assert!(open("system:{{SessionName}}").may_be("system:masters"));
        assert!(open("{{SessionName}}:{{SessionNameRaw}}").may_be("system:masters"));
        assert!(!open("{{SessionName}}").may_be("system:masters"), "no session has a colon in its name");
        assert!(!open("team-{{SessionName}}").may_be("system:masters"));
        assert!(!open("the ARN of somebody").may_be("the ARN of somebody"));
        assert!(literal("a").may_be("a") && !literal("a").may_be("b"));
    }

    #[test]
    fn of_a_role_alone_the_session_stays_open() {
        let role = Caller::parse(ROLE).unwrap();
        assert_eq!(render("{{AccountID}}:{{SessionName}}", &role).unwrap(), {
            Name::Open("111122223333:{{SessionName}}".into())
        });
        assert!(render("{{SessionName}}", &role).unwrap().is_free());
        assert!(!render("x-{{SessionName}}", &role).unwrap().is_free());
        assert_eq!(render("{{Unknown}}", &role).unwrap(), literal("{{Unknown}}"));
    }
}
