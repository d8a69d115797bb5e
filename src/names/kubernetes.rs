//! Validation of Kubernetes names, as apimachinery `pkg/util/validation` and `pkg/api/validation/path` do it.

/// Returns why a name cannot be the name of an RBAC object, which must be a path segment (`IsPathSegmentName`).
/// `None` if it is valid.
pub(crate) fn path_segment_error(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name cannot be empty"),
        "." | ".." => Some("a name cannot be `.` or `..`"),
        _ if name.contains('/') => Some("a name cannot contain `/`"),
        _ if name.contains('%') => Some("a name cannot contain `%`"),
        _ => None,
    }
}

/// Returns whether the text is an RFC 1123 label, such as the name of a namespace.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_label_text(text)
}

/// Returns whether the text is an RFC 1123 subdomain, such as the name of a service account.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label_text)
}

/// Returns whether the text is an RFC 1123 label of any length: lower-case letters, digits and inner `-`.
fn is_dns_label_text(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Returns whether the text is valid after the prefix of a label key, or as a label value that is not empty.
fn is_qualified_name_part(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified_name_part(text)
}

pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified_name_part(name),
        None => is_qualified_name_part(text),
    }
}

/// Returns the prefix of the name if it is reserved for Kubernetes or EKS.
pub(crate) fn reserved_prefix(name: &str) -> Option<&'static str> {
    ["system:", "eks:"].into_iter().find(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rbac_object_names_are_path_segments() {
        for valid in ["a", "A b@c:d", &"x".repeat(300)] {
            assert_eq!(path_segment_error(valid), None, "{valid}");
        }
        for invalid in ["", ".", "..", "a/b", "a%b"] {
            assert!(path_segment_error(invalid).is_some(), "{invalid}");
        }
    }

    #[test]
    fn labels_and_dns_names_follow_api_server_rules() {
        assert!(is_label_key("rbac.authorization.k8s.io/aggregate-to-view") && is_label_key("team"));
        assert!(!is_label_key("/x") && !is_label_key("a/b/c") && !is_label_key("-x") && !is_label_key(""));
        assert!(is_label_value("") && is_label_value("A.b_c-1") && !is_label_value("x-") && !is_label_value("a b"));
        assert!(is_dns_label("team-a") && !is_dns_label("Team") && !is_dns_label("a.b"));
        assert!(is_dns_subdomain("a.b-c") && !is_dns_subdomain("a..b"));
    }
}
