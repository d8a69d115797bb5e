//! By which binding the API server says that it allowed something, read off the reason of an access review.
//!
//! It may not know what the answer is for. Source: kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/rbac.go`
//! (`authorizingVisitor`) and `pkg/registry/rbac/validation/rule.go` (the describers): ClusterRoleBindings are visited
//! before RoleBindings, those of one kind in the order of a Go map, and the first that allows is the one that is named.

use crate::names::{ObjectKey, ObjectKind};
use crate::state::rbac::Subject;

/// The one of perhaps several bindings that the authorizer came upon first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowReason {
    pub(crate) binding: ObjectKey,
    pub(crate) role: ObjectKey,
    /// The first of the binding's subjects that means whoever was asked about.
    pub(crate) subject: Subject,
}

impl AllowReason {
    /// None where another authorizer than RBAC has spoken, or in other words.
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
        // In these words the namespace comes last.
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

/// A text in quotes as Go writes it by `%q`, and what comes after it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match rest.next()? {
            '"' => return Some((out, rest.as_str())),
            '\\' => out.push(match rest.next()? {
                plain @ ('"' | '\\') => plain,
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
            plain => out.push(plain),
        }
    }
}

fn parse_code_point(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let (code, after) = rest.as_str().split_at_checked(digits)?;
    *rest = after.chars();
    u32::from_str_radix(code, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Subject {
        Subject::Group(name.to_owned())
    }

    #[test]
    fn a_binding_is_read_with_its_role_and_its_subject() {
        let said = |reason: &str| AllowReason::parse(reason).unwrap();
        let found = said(r#"RBAC: allowed by ClusterRoleBinding "looks" of ClusterRole "view" to Group "viewers""#);
        let (binding, role) = (ObjectKey::binding(None, "looks"), ObjectKey::cluster_role("view"));
        assert_eq!(found, AllowReason { binding, role, subject: group("viewers") });
        let found = said(r#"RBAC: allowed by RoleBinding "looks/team-a" of Role "r:x" to ServiceAccount "robot/ci""#);
        let (binding, role) = (ObjectKey::binding(Some("team-a"), "looks"), ObjectKey::role("team-a", "r:x"));
        let subject = Subject::ServiceAccount { namespace: "ci".to_owned(), name: "robot".to_owned() };
        assert_eq!(found, AllowReason { binding, role, subject });
        let found = said(r#"RBAC: allowed by RoleBinding "looks/team-a" of ClusterRole "view" to User "a@b c""#);
        assert_eq!(found.role, ObjectKey::cluster_role("view"));
        assert_eq!(found.subject, Subject::User("a@b c".to_owned()));
    }

    #[test]
    fn names_are_read_as_go_quotes_them() {
        let said = |name: &str| {
            let reason = format!(r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "{name}""#);
            AllowReason::parse(&reason).map(|found| found.subject)
        };
        assert_eq!(said(r#"a\"b\\c\u00a0d\x7f\U000e0001\té"#), Some(group("a\"b\\c\u{a0}d\u{7f}\u{e0001}\té")));
        assert_eq!(said(r"\u12"), None);
        assert_eq!(said(r"\q"), None);
        assert_eq!(said("\\"), None);
    }

    #[test]
    fn other_words_say_no_binding() {
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
