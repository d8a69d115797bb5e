//! The paths of objects in the API of Kubernetes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::names::{ObjectKey, ObjectKind};
use crate::state::object_meta::FIELD_MANAGER;
use crate::state::write::WriteRequest;

/// The characters that are encoded in a path segment. Names of RBAC objects may contain spaces, colons and others.
pub(super) const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Returns the path of the objects of a kind, in one namespace or in all.
pub(super) fn collection_path(kind: ObjectKind, namespace: Option<&str>) -> String {
    let root = match kind {
        ObjectKind::Namespace | ObjectKind::ConfigMap => "/api/v1",
        ObjectKind::ClusterRole | ObjectKind::Role | ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            "/apis/rbac.authorization.k8s.io/v1"
        }
        // The API server does not have them.
        ObjectKind::AccessEntry | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => "/apis/eks",
    };
    match namespace {
        Some(namespace) => {
            format!("{root}/namespaces/{}/{}", utf8_percent_encode(namespace, PATH_SEGMENT), kind.resource())
        }
        None => format!("{root}/{}", kind.resource()),
    }
}

pub(super) fn object_path(key: &ObjectKey) -> String {
    format!("{}/{}", collection_path(key.kind(), key.namespace()), utf8_percent_encode(key.name(), PATH_SEGMENT))
}

/// Escapes the characters that separate the parts of a field selector (apimachinery, pkg/fields/selector.go,
/// `EscapeValue`).
pub(super) fn escape_field_value(value: &str) -> String {
    value.chars().flat_map(|c| matches!(c, '\\' | ',' | '=').then_some('\\').into_iter().chain([c])).collect()
}

/// Returns the HTTP method, and the path with its query, of a write.
pub(super) fn method_and_path(key: &ObjectKey, write: &WriteRequest) -> (&'static str, String) {
    let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
    match write {
        WriteRequest::Create(_) => ("POST", format!("{}?{query}", collection_path(key.kind(), key.namespace()))),
        WriteRequest::Patch(_) => ("PATCH", format!("{}?{query}", object_path(key))),
        WriteRequest::Delete => ("DELETE", object_path(key)),
    }
}
