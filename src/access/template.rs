//! Templates in usernames and groups, such as `{{SessionName}}`, rendered as the authenticator renders them.
//!
//! Source: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`renderTemplate`). A query about a role does not know
//! the session, so a template that needs the session stays unrendered.

use std::fmt;

use super::iam_identity::{IamIdentity, SessionName};
use super::session_match::{
    ACCESS_KEY_ID, ACCOUNT_ID, EC2_PRIVATE_DNS_NAME, SESSION_NAME, SESSION_NAME_RAW, is_instance_id, sessions_rendering,
};

/// A username or a group as the authenticator sends it to the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RenderedName {
    Literal(String),
    /// Each session has its own name, so no subject of a binding is known to match. The text contains the templates
    /// that depend on the session.
    PerSession(String),
    /// The ARN of a principal of the account, whose principals mapAccounts maps. The text describes it.
    AccountPrincipal {
        account: String,
        text: String,
    },
}

impl RenderedName {
    /// Returns the username of the principals of an account that mapAccounts maps.
    pub(super) fn account_principal(account: &str) -> Self {
        Self::AccountPrincipal { account: account.to_owned(), text: format!("the ARN of a principal of {account}") }
    }

    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::PerSession(_) | Self::AccountPrincipal { .. } => None,
        }
    }

    /// Returns the name, with the templates that depend on the session.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) | Self::PerSession(text) | Self::AccountPrincipal { account: _, text } => text,
        }
    }

    /// Returns whether the name equals `text` for at least one session, or one principal of the account.
    pub(crate) fn can_equal(&self, text: &str) -> bool {
        match self {
            Self::Literal(name) => name == text,
            Self::PerSession(name) => !sessions_rendering(name, "", text).is_empty(),
            Self::AccountPrincipal { account, text: _ } => IamIdentity::parse(text)
                .is_ok_and(|identity| identity.account() == account && identity.canonical() == text),
        }
    }

    /// Returns whether the session name, which the caller chooses, is the whole name.
    pub(crate) fn is_session_chosen(&self) -> bool {
        matches!(self, Self::PerSession(text) if text == SESSION_NAME || text == SESSION_NAME_RAW)
    }
}

impl fmt::Display for RenderedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The session name is not an EC2 instance ID, so the authenticator rejects the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotInstanceSession {
    pub(crate) session: String,
}

/// Renders one username or group.
///
/// # Errors
/// If the template contains `{{EC2PrivateDNSName}}` and the session is not one of an EC2 instance.
pub(super) fn render_template(template: &str, iam_identity: &IamIdentity) -> Result<RenderedName, NotInstanceSession> {
    let mut text = template.to_owned();
    if text.contains(EC2_PRIVATE_DNS_NAME) {
        match iam_identity.session() {
            SessionName::Known(name) if !is_instance_id(name) => {
                return Err(NotInstanceSession { session: name.clone() });
            }
            SessionName::Known(_) | SessionName::Unknown => {}
        }
        // The authenticator asks EC2 for the instance's DNS name. We have no access to EC2.
        if let Some(dns_name) = iam_identity.ec2_private_dns_name() {
            text = text.replace(EC2_PRIVATE_DNS_NAME, dns_name);
        }
    }
    text = text.replace(ACCOUNT_ID, iam_identity.account());
    if let SessionName::Known(name) = iam_identity.session() {
        text = text.replace(SESSION_NAME, &name.replace('@', "-")).replace(SESSION_NAME_RAW, name);
    }
    if let Some(id) = iam_identity.access_key_id() {
        text = text.replace(ACCESS_KEY_ID, id);
    }
    let is_session_known = matches!(iam_identity.session(), SessionName::Known(_));
    let session_placeholders = [SESSION_NAME, SESSION_NAME_RAW].into_iter().filter(|_| !is_session_known);
    let key_placeholder = Some(ACCESS_KEY_ID).filter(|_| iam_identity.access_key_id().is_none());
    let dns_placeholder = Some(EC2_PRIVATE_DNS_NAME).filter(|_| iam_identity.ec2_private_dns_name().is_none());
    let mut unknown = session_placeholders.chain(key_placeholder).chain(dns_placeholder);
    let depends_on_session = unknown.any(|placeholder| text.contains(placeholder));
    Ok(if depends_on_session { RenderedName::PerSession(text) } else { RenderedName::Literal(text) })
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
    fn session_name_template_replaces_at_signs_only() {
        let alice = session("alice+x@corp.example@y");
        assert_eq!(render_template("u:{{SessionName}}", &alice).unwrap(), literal("u:alice+x-corp.example-y"));
        assert_eq!(render_template("{{SessionNameRaw}}", &alice).unwrap(), literal("alice+x@corp.example@y"));
        assert_eq!(render_template("{{AccountID}}/{{sessionname}}/{{ SessionName }}", &alice).unwrap().as_str(), {
            "111122223333/{{sessionname}}/{{ SessionName }}"
        });
    }

    #[test]
    fn ec2_dns_name_template_rejects_other_sessions() {
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
    fn per_session_name_can_equal_a_name_of_some_session() {
        let per_session = |text: &str| RenderedName::PerSession(text.into());
        assert!(per_session("system:{{SessionName}}").can_equal("system:masters"));
        assert!(!per_session("{{SessionName}}:{{SessionNameRaw}}").can_equal("system:masters"), "one session name");
        assert!(per_session("{{SessionName}}:{{SessionNameRaw}}").can_equal("a-b:a@b"));
        assert!(!per_session("{{SessionName}}").can_equal("system:masters"), "a session name has no colon");
        assert!(!per_session("team-{{SessionName}}").can_equal("system:masters"));
        let account = RenderedName::account_principal("111122223333");
        assert!(account.can_equal(ROLE) && !account.can_equal("arn:aws:iam::444455556666:role/deploy"));
        assert!(!account.can_equal("arn:aws:iam::111122223333:role/team/deploy"), "STS reports no path of a role");
        assert!(literal("a").can_equal("a") && !literal("a").can_equal("b"));
    }

    #[test]
    fn query_about_a_role_leaves_session_templates_unrendered() {
        let role = IamIdentity::parse(ROLE).unwrap();
        assert_eq!(render_template("{{AccountID}}:{{SessionName}}", &role).unwrap(), {
            RenderedName::PerSession("111122223333:{{SessionName}}".into())
        });
        assert!(render_template("{{SessionName}}", &role).unwrap().is_session_chosen());
        assert!(!render_template("x-{{SessionName}}", &role).unwrap().is_session_chosen());
        assert_eq!(render_template("{{Unknown}}", &role).unwrap(), literal("{{Unknown}}"));
    }
}
