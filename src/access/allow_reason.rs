//! Parses the reason of an access review, in which the API server names a binding that allowed the request.
//!
//! Source: kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/rbac.go` (`authorizingVisitor`) and
//! `pkg/registry/rbac/validation/rule.go` (the describers). ClusterRoleBindings are visited before RoleBindings, the
//! bindings of one kind in no defined order, and the reason names the first binding that allows the request.

use crate::names::{ObjectKey, ObjectKind};
use crate::state::rbac::Subject;

/// The binding that the authorizer visited first of all bindings that allow the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowReason {
    pub(crate) binding: ObjectKey,
    pub(crate) role: ObjectKey,
    /// The first of the binding's subjects that matches the user of the review.
    pub(crate) subject: Subject,
}

impl AllowReason {
    /// Returns `None` if another authorizer than RBAC gave the reason, or if the reason has another format.
    pub(crate) fn parse(reason: &str) -> Option<Self> {
        let text = reason.strip_prefix("RBAC: allowed by ")?;
        let (kind, text) = text.split_once(' ')?;
        let (binding, text) = parse_quoted(text)?;
        let (role_kind, text) = text.strip_prefix(" of ")?.split_once(' ')?;
        let (role, text) = parse_quoted(text)?;
        let (subject_kind, text) = text.strip_prefix(" to ")?.split_once(' ')?;
        let (subject, text) = parse_quoted(text)?;
        if !text.is_empty() {
            return None;
        }
        // The describers write a name before its namespace, as `name/namespace`.
        let binding = match kind {
            "ClusterRoleBinding" => ObjectKey::binding(None, &binding),
            "RoleBinding" => {
                let (name, namespace) = binding.rsplit_once('/')?;
                ObjectKey::binding(Some(namespace), name)
            }
            _ => return None,
        };
        let role = match ObjectKind::parse(role_kind)? {
            ObjectKind::ClusterRole => ObjectKey::cluster_role(&role),
            ObjectKind::Role => ObjectKey::role(binding.namespace()?, &role),
            _ => return None,
        };
        let subject = match subject_kind {
            "Group" => Subject::Group(subject),
            "User" => Subject::User(subject),
            "ServiceAccount" => {
                let (name, namespace) = subject.rsplit_once('/')?;
                Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
            }
            _ => return None,
        };
        Some(Self { binding, role, subject })
    }
}

/// Parses a string that Go has quoted with `%q`. Returns it and the text after the closing quote.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match rest.next()? {
            '"' => return Some((out, rest.as_str())),
            '\\' => out.push(match rest.next()? {
                unescaped @ ('"' | '\\') => unescaped,
                'a' => '\u{7}',
                'b' => '\u{8}',
                't' => '\t',
                'n' => '\n',
                'v' => '\u{b}',
                'f' => '\u{c}',
                'r' => '\r',
                'x' => parse_code_point(&mut rest, 2)?,
                'u' => parse_code_point(&mut rest, 4)?,
                'U' => parse_code_point(&mut rest, 8)?,
                _ => return None,
            }),
            unescaped => out.push(unescaped),
        }
    }
}

fn parse_code_point(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let (code, rest) = chars.as_str().split_at_checked(digits)?;
    *chars = rest.chars();
    u32::from_str_radix(code, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Subject {
        Subject::Group(name.to_owned())
    }

    #[test]
    fn reason_names_binding_role_and_subject() {
        let parse = |reason: &str| AllowReason::parse(reason).unwrap();
        let reason =
            parse(r#"RBAC: allowed by ClusterRoleBinding "viewers-binding" of ClusterRole "view" to Group "viewers""#);
        let (binding, role) = (ObjectKey::binding(None, "viewers-binding"), ObjectKey::cluster_role("view"));
        assert_eq!(reason, AllowReason { binding, role, subject: group("viewers") });
        let reason = parse(
            r#"RBAC: allowed by RoleBinding "viewers-binding/team-a" of Role "r:x" to ServiceAccount "robot/ci""#,
        );
        let (binding, role) = (ObjectKey::binding(Some("team-a"), "viewers-binding"), ObjectKey::role("team-a", "r:x"));
        let subject = Subject::ServiceAccount { namespace: "ci".to_owned(), name: "robot".to_owned() };
        assert_eq!(reason, AllowReason { binding, role, subject });
        let reason =
            parse(r#"RBAC: allowed by RoleBinding "viewers-binding/team-a" of ClusterRole "view" to User "a@b c""#);
        assert_eq!(reason.role, ObjectKey::cluster_role("view"));
        assert_eq!(reason.subject, Subject::User("a@b c".to_owned()));
    }

    #[test]
    fn go_quoted_names_are_unescaped() {
        let parse_subject = |name: &str| {
            let reason = format!(r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "{name}""#);
            AllowReason::parse(&reason).map(|reason| reason.subject)
        };
        assert_eq!(
            parse_subject(r#"a\"b\\c\u00a0d\x7f\U000e0001\té"#),
            Some(group("a\"b\\c\u{a0}d\u{7f}\u{e0001}\té"))
        );
        assert_eq!(parse_subject(r"\u12"), None);
        assert_eq!(parse_subject(r"\q"), None);
        assert_eq!(parse_subject("\\"), None);
    }

    #[test]
    fn other_reasons_name_no_binding() {
        for reason in [
            "",
            "EKS Access Policy: allowed by ClusterRoleBinding \"b\"",
            "RBAC: allowed by ClusterRoleBinding \"b\"",
            "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to Group \"g\" and more",
            "RBAC: allowed by ClusterRoleBinding \"b\" of Role \"r\" to Group \"g\"",
            "RBAC: allowed by RoleBinding \"b\" of Role \"r\" to Group \"g\"",
            "RBAC: allowed by Node \"b\" of ClusterRole \"r\" to Group \"g\"",
            "RBAC: clusterrole.rbac.authorization.k8s.io \"r\" not found",
        ] {
            assert_eq!(AllowReason::parse(reason), None, "{reason}");
        }
    }
}
