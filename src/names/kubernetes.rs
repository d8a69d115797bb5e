//! The rules of Kubernetes for names, from apimachinery `pkg/util/validation` and `pkg/api/validation/path`.

/// A name that may be a path segment, as RBAC objects have (`IsPathSegmentName`); otherwise why not.
pub(crate) fn path_segment_error(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name cannot be empty"),
        "." | ".." => Some("`.` and `..` cannot be names"),
        _ if name.contains('/') => Some("a name cannot contain `/`"),
        _ if name.contains('%') => Some("a name cannot contain `%`"),
        _ => None,
    }
}

/// RFC 1123 label, as namespaces have.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_label_text(text)
}

/// RFC 1123 subdomain, as service accounts have.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label_text)
}

/// Lower-case letters, digits and `-` within, of any length.
fn is_dns_label_text(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// The part of a label key after its prefix, and every label value that is not empty.
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

/// The prefix that belongs to Kubernetes or to EKS, where the name has one.
pub(crate) fn reserved_prefix(name: &str) -> Option<&'static str> {
    ["system:", "eks:"].into_iter().find(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rbac_objects_are_path_segments() {
        for good in ["a", "A b@c:d", &"x".repeat(300)] {
            assert_eq!(path_segment_error(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a%b"] {
            assert!(path_segment_error(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn labels_are_checked_as_the_api_server_does() {
        assert!(is_label_key("rbac.authorization.k8s.io/aggregate-to-view") && is_label_key("team"));
        assert!(!is_label_key("/x") && !is_label_key("a/b/c") && !is_label_key("-x") && !is_label_key(""));
        assert!(is_label_value("") && is_label_value("A.b_c-1") && !is_label_value("x-") && !is_label_value("a b"));
        assert!(is_dns_label("team-a") && !is_dns_label("Team") && !is_dns_label("a.b"));
        assert!(is_dns_subdomain("a.b-c") && !is_dns_subdomain("a..b"));
    }
}
