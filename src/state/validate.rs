//! Validation of objects as the API server, or EKS, does it, so that a snapshot rejects the same objects.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/validation/validation.go`, `pkg/apis/core/validation`
//! (`ValidateConfigMap`), apimachinery `api/validation/objectmeta.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::access_entry_write::stored_entry_error;
use super::rbac::RBAC_GROUP;
use crate::names::{ObjectKey, ObjectKind, is_dns_subdomain, is_label_key, is_label_value, path_segment_error};

/// The maximum size of all values of a ConfigMap together, in bytes (`MaxSecretSize`).
pub(crate) const MAX_CONFIG_MAP_BYTES: usize = 1_048_576;
/// The maximum size of all annotations of an object together, keys and values, in bytes.
pub(crate) const MAX_ANNOTATIONS_BYTES: usize = 262_144;

/// Returns the first error that the API server would report, in the form `field: reason`. `None` if the object is
/// valid.
pub(crate) fn validation_error(key: &ObjectKey, value: &Value) -> Option<String> {
    if key.kind() == ObjectKind::AccessEntry {
        return stored_entry_error(key.name(), value);
    }
    metadata_error(key, value).or_else(|| match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => role_error(key, value),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => binding_error(key, value),
        ObjectKind::ConfigMap => config_map_error(value),
        ObjectKind::Namespace
        | ObjectKind::AccessEntry
        | ObjectKind::AccessPolicy
        | ObjectKind::AccessPolicyAssociation => None,
    })
}

/// Returns the key of the object in a document. `Ok(None)` if the object is of a kind that rolecall does not use.
///
/// # Errors
/// The document is not an object, or its kind, apiVersion, name or namespace is missing or wrong.
pub(crate) fn parse_object_key(value: &Value) -> Result<Option<ObjectKey>, String> {
    if !value.is_object() {
        return Err("the document is not a Kubernetes object".to_owned());
    }
    let Some(kind_name) = value.get("kind").and_then(Value::as_str) else {
        return Err("kind: required field is missing".to_owned());
    };
    let Some(kind) = ObjectKind::parse(kind_name) else {
        return Ok(None);
    };
    let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != kind.api_version() {
        return Err(format!("apiVersion: expected `{}` for {kind_name}, found `{version}`", kind.api_version()));
    }
    let metadata = |field: &str| value.pointer("/metadata").and_then(|m| m.get(field)).and_then(Value::as_str);
    let Some(name) = metadata("name").filter(|name| !name.is_empty()) else {
        return Err("metadata.name: required field is missing".to_owned());
    };
    let namespace = metadata("namespace").filter(|ns| !ns.is_empty());
    ObjectKey::new(kind, namespace, name).map(Some).ok_or_else(|| {
        if kind.is_namespaced() {
            format!("metadata.namespace: {kind_name} {name} must have a namespace")
        } else {
            format!("metadata.namespace: {kind_name} {name} is cluster-scoped and must not have a namespace")
        }
    })
}

fn metadata_error(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(reason) = path_segment_error(key.name()) {
        return Some(format!("metadata.name: {reason}"));
    }
    let map = |field: &str| value.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
    for (label, text) in map("labels").into_iter().flatten() {
        if !is_label_key(label) {
            return Some(format!("metadata.labels: `{label}` is not a valid label key"));
        }
        match text.as_str() {
            Some(text) if is_label_value(text) => {}
            Some(text) => return Some(format!("metadata.labels.{label}: `{text}` is not a valid label value")),
            None => return Some(format!("metadata.labels.{label}: must be a string")),
        }
    }
    let mut size = 0;
    for (annotation, text) in map("annotations").into_iter().flatten() {
        if !is_label_key(&annotation.to_lowercase()) {
            return Some(format!("metadata.annotations: `{annotation}` is not a valid annotation key"));
        }
        match text.as_str() {
            Some(text) => size += annotation.len() + text.len(),
            None => return Some(format!("metadata.annotations.{annotation}: must be a string")),
        }
    }
    (size > MAX_ANNOTATIONS_BYTES)
        .then(|| format!("metadata.annotations: must have at most {MAX_ANNOTATIONS_BYTES} bytes, found {size}"))
}

fn list_field<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_field<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Returns an error: the API server cannot decode a field that is not a list of the right
/// element type.
fn list_type_error(value: &Value, field: &str, is_valid_item: fn(&Value) -> bool) -> Option<String> {
    let reason = match value.get(field) {
        None | Some(Value::Null) => return None,
        Some(Value::Array(items)) if items.iter().all(is_valid_item) => return None,
        Some(Value::Array(_)) => "has an element of the wrong type",
        Some(_) => "must be a list",
    };
    Some(format!("{field}: {reason}"))
}

fn role_error(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(error) = list_type_error(value, "rules", Value::is_object) {
        return Some(error);
    }
    for (index, rule) in list_field(value, "rules").iter().enumerate() {
        let fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
        if let Some(error) = fields.iter().find_map(|field| list_type_error(rule, field, Value::is_string)) {
            return Some(format!("rules[{index}].{error}"));
        }
        let has = |field: &str| !list_field(rule, field).is_empty();
        let has_urls = has("nonResourceURLs");
        if !has("verbs") {
            return Some(format!("rules[{index}].verbs: verbs must contain at least one value"));
        }
        if has_urls && key.kind() == ObjectKind::Role {
            return Some(format!("rules[{index}].nonResourceURLs: namespaced rules cannot apply to non-resource URLs"));
        }
        if has_urls && (has("apiGroups") || has("resources") || has("resourceNames")) {
            return Some(format!(
                "rules[{index}].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs"
            ));
        }
        if !has_urls && !has("apiGroups") {
            return Some(format!("rules[{index}].apiGroups: resource rules must supply at least one api group"));
        }
        if !has_urls && !has("resources") {
            return Some(format!("rules[{index}].resources: resource rules must supply at least one resource"));
        }
    }
    let aggregation = value.get("aggregationRule").filter(|rule| !rule.is_null())?;
    if list_field(aggregation, "clusterRoleSelectors").is_empty() {
        return Some("aggregationRule.clusterRoleSelectors: at least one clusterRoleSelector required".to_owned());
    }
    let mut selectors = list_field(aggregation, "clusterRoleSelectors").iter().enumerate();
    selectors.find_map(|(index, selector)| {
        Some(format!("aggregationRule.clusterRoleSelectors[{index}].{}", selector_error(selector)?))
    })
}

/// apimachinery `apis/meta/v1/validation.ValidateLabelSelector`.
fn selector_error(value: &Value) -> Option<String> {
    let labels = value.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    for (label, text) in labels {
        if !is_label_key(label) {
            return Some(format!("matchLabels: `{label}` is not a valid label key"));
        }
        if !text.as_str().is_some_and(is_label_value) {
            return Some(format!("matchLabels.{label}: {text} is not a valid label value"));
        }
    }
    for (index, requirement) in list_field(value, "matchExpressions").iter().enumerate() {
        let key = text_field(requirement, "key");
        if !is_label_key(key) {
            return Some(format!("matchExpressions[{index}].key: `{key}` is not a valid label key"));
        }
        let values = list_field(requirement, "values");
        let error = match text_field(requirement, "operator") {
            "In" | "NotIn" if values.is_empty() => "values: required when the operator is In or NotIn".to_owned(),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                "values: must be empty when the operator is Exists or DoesNotExist".to_owned()
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {
                match values.iter().find(|value| !value.as_str().is_some_and(is_label_value)) {
                    Some(value) => format!("values: {value} is not a valid label value"),
                    None => continue,
                }
            }
            other => format!("operator: unsupported value `{other}`, expected In, NotIn, Exists or DoesNotExist"),
        };
        return Some(format!("matchExpressions[{index}].{error}"));
    }
    None
}

fn binding_error(key: &ObjectKey, value: &Value) -> Option<String> {
    let role_ref = value.get("roleRef").cloned().unwrap_or_default();
    let (api_group, kind) = (text_field(&role_ref, "apiGroup"), text_field(&role_ref, "kind"));
    let supported_kinds: &[&str] = match key.kind() {
        ObjectKind::ClusterRoleBinding => &["ClusterRole"],
        _ => &["ClusterRole", "Role"],
    };
    if !["", RBAC_GROUP].contains(&api_group) {
        return Some(format!("roleRef.apiGroup: unsupported value `{api_group}`, expected `{RBAC_GROUP}`"));
    }
    if !supported_kinds.contains(&kind) {
        let expected = supported_kinds.join(" or ");
        return Some(format!("roleRef.kind: unsupported value `{kind}`, expected {expected}"));
    }
    if let Some(reason) = path_segment_error(text_field(&role_ref, "name")) {
        return Some(format!("roleRef.name: {reason}"));
    }
    if let Some(error) = list_type_error(value, "subjects", Value::is_object) {
        return Some(error);
    }
    let mut subjects = list_field(value, "subjects").iter().enumerate();
    subjects.find_map(|(index, subject)| Some(format!("subjects[{index}].{}", subject_error(key, subject)?)))
}

fn subject_error(key: &ObjectKey, value: &Value) -> Option<String> {
    let (kind, name, group) = (text_field(value, "kind"), text_field(value, "name"), text_field(value, "apiGroup"));
    if name.is_empty() {
        return Some("name: required field is missing".to_owned());
    }
    match kind {
        "User" | "Group" => {
            let is_supported = ["", RBAC_GROUP].contains(&group);
            (!is_supported).then(|| format!("apiGroup: unsupported value `{group}`, expected `{RBAC_GROUP}`"))
        }
        "ServiceAccount" if !is_dns_subdomain(name) => {
            Some(format!("name: `{name}` is not a valid name of a service account"))
        }
        "ServiceAccount" if !group.is_empty() => {
            Some(format!("apiGroup: must be empty for a service account, found `{group}`"))
        }
        "ServiceAccount"
            if text_field(value, "namespace").is_empty() && key.kind() == ObjectKind::ClusterRoleBinding =>
        {
            Some("namespace: required for a service account in a ClusterRoleBinding".to_owned())
        }
        "ServiceAccount" => None,
        other => Some(format!("kind: unsupported value `{other}`, expected User, Group or ServiceAccount")),
    }
}

/// apimachinery `util/validation.IsConfigMapKey`.
fn is_config_map_key(key: &str) -> bool {
    (1..=253).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && key != "."
        && !key.starts_with("..")
}

fn config_map_error(value: &Value) -> Option<String> {
    let map = |field: &str| value.get(field).and_then(Value::as_object);
    let mut size = 0;
    for (field, (name, content)) in ["data", "binaryData"]
        .iter()
        .flat_map(|field| map(field).into_iter().flatten().map(move |entry| (*field, entry)))
    {
        if !is_config_map_key(name) {
            return Some(format!("{field}: `{name}` is not a valid ConfigMap key"));
        }
        let Some(content) = content.as_str() else {
            return Some(format!("{field}.{name}: must be a string"));
        };
        if field == "data" {
            size += content.len();
            continue;
        }
        if map("data").is_some_and(|data| data.contains_key(name)) {
            return Some(format!("{field}.{name}: the same key is in `data`"));
        }
        match STANDARD.decode(content) {
            Ok(bytes) => size += bytes.len(),
            Err(_) => return Some(format!("{field}.{name}: must be base64-encoded")),
        }
    }
    (size > MAX_CONFIG_MAP_BYTES).then(|| format!("data: must have at most {MAX_CONFIG_MAP_BYTES} bytes, found {size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the validation error of an object. Empty if it is valid.
    fn document_error(value: &Value) -> String {
        let key = parse_object_key(value).unwrap().unwrap();
        validation_error(&key, value).unwrap_or_default()
    }

    fn rbac_object(kind: &str, fields: &Value) -> Value {
        let mut value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": "x" },
        });
        if kind == "Role" || kind == "RoleBinding" {
            value["metadata"]["namespace"] = json!("ns");
        }
        for (field, content) in fields.as_object().unwrap() {
            value[field] = content.clone();
        }
        value
    }

    #[test]
    fn invalid_rules_are_rejected_like_by_the_api_server() {
        let url = json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }] });
        assert_eq!(document_error(&rbac_object("ClusterRole", &url.clone())), "");
        assert!(document_error(&rbac_object("Role", &url)).contains("namespaced rules cannot apply"));
        let no_verbs = json!({ "rules": [{ "verbs": [], "apiGroups": [""], "resources": ["pods"] }] });
        assert!(document_error(&rbac_object("Role", &no_verbs)).starts_with("rules[0].verbs"));
        let no_group = json!({ "rules": [{ "verbs": ["get"], "resources": ["pods"] }] });
        assert!(document_error(&rbac_object("Role", &no_group)).starts_with("rules[0].apiGroups"));
        let empty = json!({ "aggregationRule": { "clusterRoleSelectors": [] } });
        assert!(document_error(&rbac_object("ClusterRole", &empty)).starts_with("aggregationRule"));
        let everything = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] } });
        assert_eq!(document_error(&rbac_object("ClusterRole", &everything)), "");
    }

    #[test]
    fn invalid_bindings_are_rejected_like_by_the_api_server() {
        let grant =
            |kind: &str, subject: Value| json!({ "roleRef": { "kind": kind, "name": "r" }, "subjects": [subject] });
        let user = json!({ "kind": "User", "name": "u" });
        assert_eq!(document_error(&rbac_object("RoleBinding", &grant("Role", user.clone()))), "");
        assert!(document_error(&rbac_object("ClusterRoleBinding", &grant("Role", user))).starts_with("roleRef.kind"));
        let lower_case = json!({ "kind": "user", "name": "u" });
        let error = document_error(&rbac_object("RoleBinding", &grant("Role", lower_case)));
        assert!(error.starts_with("subjects[0].kind"));
        let account = json!({ "kind": "ServiceAccount", "name": "sa" });
        assert_eq!(document_error(&rbac_object("RoleBinding", &grant("Role", account.clone()))), "");
        let error = document_error(&rbac_object("ClusterRoleBinding", &grant("ClusterRole", account)));
        assert!(error.contains("namespace"));
    }

    #[test]
    fn config_map_over_one_mebibyte_is_rejected() {
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
            "data": { "mapRoles": "x".repeat(MAX_CONFIG_MAP_BYTES), "y": "1" },
        });
        assert!(document_error(&config_map).contains("1048576"));
    }
}
