//! What the API server refuses of an object's content, so that a snapshot refuses it too.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/validation/validation.go`, `pkg/apis/core/validation`
//! (`ValidateConfigMap`), apimachinery `api/validation/objectmeta.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::rbac::RBAC_GROUP;
use crate::names::{ObjectKey, ObjectKind, is_dns_subdomain, is_label_key, is_label_value, path_segment_error};

/// Most that the values of a ConfigMap may hold together, in bytes (`MaxSecretSize`).
pub(crate) const MAX_CONFIG_MAP_BYTES: usize = 1_048_576;
/// Most that the annotations of an object may hold, keys and values, in bytes.
pub(crate) const MAX_ANNOTATIONS_BYTES: usize = 262_144;

/// The first thing that the API server would refuse, in its manner `field: why`.
pub(crate) fn validation_error(key: &ObjectKey, value: &Value) -> Option<String> {
    metadata_error(key, value).or_else(|| match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => role_error(key, value),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => binding_error(key, value),
        ObjectKind::ConfigMap => config_map_error(value),
        ObjectKind::Namespace => None,
    })
}

/// The kind and key that a document says it is; otherwise why it is none.
pub(crate) fn parse_object_key(value: &Value) -> Result<Option<ObjectKey>, String> {
    if !value.is_object() {
        return Err("it is not an object of a cluster".to_owned());
    }
    let Some(word) = value.get("kind").and_then(Value::as_str) else {
        return Err("kind: it has none".to_owned());
    };
    let Some(kind) = ObjectKind::parse(word) else {
        return Ok(None);
    };
    let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != kind.api_version() {
        return Err(format!("apiVersion: `{version}` is not `{}`, which {word} has", kind.api_version()));
    }
    let meta = |field: &str| value.pointer("/metadata").and_then(|m| m.get(field)).and_then(Value::as_str);
    let Some(name) = meta("name").filter(|name| !name.is_empty()) else {
        return Err("metadata.name: it has none".to_owned());
    };
    let namespace = meta("namespace").filter(|ns| !ns.is_empty());
    ObjectKey::new(kind, namespace, name).map(Some).ok_or_else(|| {
        if kind.is_namespaced() {
            format!("metadata.namespace: {word} {name} needs one")
        } else {
            format!("metadata.namespace: {word} {name} is not in a namespace")
        }
    })
}

fn metadata_error(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(why) = path_segment_error(key.name()) {
        return Some(format!("metadata.name: {why}"));
    }
    let map = |field: &str| value.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
    for (label, text) in map("labels").into_iter().flatten() {
        if !is_label_key(label) {
            return Some(format!("metadata.labels: `{label}` is not a label key"));
        }
        match text.as_str() {
            Some(text) if is_label_value(text) => {}
            Some(text) => return Some(format!("metadata.labels.{label}: `{text}` is not a label value")),
            None => return Some(format!("metadata.labels.{label}: it must be a string")),
        }
    }
    let mut size = 0;
    for (annotation, text) in map("annotations").into_iter().flatten() {
        if !is_label_key(&annotation.to_lowercase()) {
            return Some(format!("metadata.annotations: `{annotation}` is not an annotation key"));
        }
        match text.as_str() {
            Some(text) => size += annotation.len() + text.len(),
            None => return Some(format!("metadata.annotations.{annotation}: it must be a string")),
        }
    }
    (size > MAX_ANNOTATIONS_BYTES)
        .then(|| format!("metadata.annotations: may not be more than {MAX_ANNOTATIONS_BYTES} bytes, these have {size}"))
}

fn list_field<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_field<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What is no list of what it should list: the API server cannot even read it.
fn list_type_error(value: &Value, field: &str, is_item: fn(&Value) -> bool) -> Option<String> {
    let what = match value.get(field) {
        None | Some(Value::Null) => return None,
        Some(Value::Array(items)) if items.iter().all(is_item) => return None,
        Some(Value::Array(_)) => "it has an element of another type",
        Some(_) => "it must be a list",
    };
    Some(format!("{field}: {what}"))
}

fn role_error(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(why) = list_type_error(value, "rules", Value::is_object) {
        return Some(why);
    }
    for (at, rule) in list_field(value, "rules").iter().enumerate() {
        let fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
        if let Some(why) = fields.iter().find_map(|field| list_type_error(rule, field, Value::is_string)) {
            return Some(format!("rules[{at}].{why}"));
        }
        let urls = !list_field(rule, "nonResourceURLs").is_empty();
        let resources = ["apiGroups", "resources", "resourceNames"].map(|field| !list_field(rule, field).is_empty());
        if list_field(rule, "verbs").is_empty() {
            return Some(format!("rules[{at}].verbs: verbs must contain at least one value"));
        }
        if urls && key.kind() == ObjectKind::Role {
            return Some(format!("rules[{at}].nonResourceURLs: namespaced rules cannot apply to non-resource URLs"));
        }
        if urls && resources.contains(&true) {
            return Some(format!(
                "rules[{at}].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs"
            ));
        }
        if !urls && !resources[0] {
            return Some(format!("rules[{at}].apiGroups: resource rules must supply at least one api group"));
        }
        if !urls && !resources[1] {
            return Some(format!("rules[{at}].resources: resource rules must supply at least one resource"));
        }
    }
    let aggregation = value.get("aggregationRule").filter(|rule| !rule.is_null())?;
    if list_field(aggregation, "clusterRoleSelectors").is_empty() {
        return Some("aggregationRule.clusterRoleSelectors: at least one clusterRoleSelector required".to_owned());
    }
    let mut selectors = list_field(aggregation, "clusterRoleSelectors").iter().enumerate();
    selectors.find_map(|(at, one)| Some(format!("aggregationRule.clusterRoleSelectors[{at}].{}", selector_error(one)?)))
}

/// apimachinery `apis/meta/v1/validation.ValidateLabelSelector`.
fn selector_error(value: &Value) -> Option<String> {
    let labels = value.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    for (label, wanted) in labels {
        if !is_label_key(label) {
            return Some(format!("matchLabels: `{label}` is not a label key"));
        }
        if !wanted.as_str().is_some_and(is_label_value) {
            return Some(format!("matchLabels.{label}: {wanted} is not a label value"));
        }
    }
    for (at, one) in list_field(value, "matchExpressions").iter().enumerate() {
        if !is_label_key(text_field(one, "key")) {
            return Some(format!("matchExpressions[{at}].key: `{}` is not a label key", text_field(one, "key")));
        }
        let values = list_field(one, "values");
        let why = match text_field(one, "operator") {
            "In" | "NotIn" if values.is_empty() => "values: In and NotIn need some".to_owned(),
            "Exists" | "DoesNotExist" if !values.is_empty() => "values: Exists and DoesNotExist have none".to_owned(),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {
                match values.iter().find(|value| !value.as_str().is_some_and(is_label_value)) {
                    Some(value) => format!("values: {value} is not a label value"),
                    None => continue,
                }
            }
            other => format!("operator: `{other}` is none of In, NotIn, Exists, DoesNotExist"),
        };
        return Some(format!("matchExpressions[{at}].{why}"));
    }
    None
}

fn binding_error(key: &ObjectKey, value: &Value) -> Option<String> {
    let role = value.get("roleRef").cloned().unwrap_or_default();
    let kinds: &[&str] = match key.kind() {
        ObjectKind::ClusterRoleBinding => &["ClusterRole"],
        _ => &["ClusterRole", "Role"],
    };
    if !["", RBAC_GROUP].contains(&text_field(&role, "apiGroup")) {
        return Some(format!("roleRef.apiGroup: `{}` is not `{RBAC_GROUP}`", text_field(&role, "apiGroup")));
    }
    if !kinds.contains(&text_field(&role, "kind")) {
        return Some(format!("roleRef.kind: `{}` is not supported here", text_field(&role, "kind")));
    }
    if let Some(why) = path_segment_error(text_field(&role, "name")) {
        return Some(format!("roleRef.name: {why}"));
    }
    if let Some(why) = list_type_error(value, "subjects", Value::is_object) {
        return Some(why);
    }
    let mut subjects = list_field(value, "subjects").iter().enumerate();
    subjects.find_map(|(at, one)| Some(format!("subjects[{at}].{}", subject_error(key, one)?)))
}

fn subject_error(key: &ObjectKey, value: &Value) -> Option<String> {
    let (kind, name, group) = (text_field(value, "kind"), text_field(value, "name"), text_field(value, "apiGroup"));
    if name.is_empty() {
        return Some("name: it has none".to_owned());
    }
    match kind {
        "User" | "Group" => {
            (!["", RBAC_GROUP].contains(&group)).then(|| format!("apiGroup: `{group}` is not `{RBAC_GROUP}`"))
        }
        "ServiceAccount" if !is_dns_subdomain(name) => {
            Some(format!("name: `{name}` is not the name of a service account"))
        }
        "ServiceAccount" if !group.is_empty() => Some(format!("apiGroup: a service account has none, not `{group}`")),
        "ServiceAccount"
            if text_field(value, "namespace").is_empty() && key.kind() == ObjectKind::ClusterRoleBinding =>
        {
            Some("namespace: a service account needs one here".to_owned())
        }
        "ServiceAccount" => None,
        other => Some(format!("kind: `{other}` is none of ServiceAccount, User, Group")),
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
            return Some(format!("{field}: `{name}` is not a key"));
        }
        let Some(content) = content.as_str() else {
            return Some(format!("{field}.{name}: it must be a string"));
        };
        if field == "data" {
            size += content.len();
            continue;
        }
        if map("data").is_some_and(|data| data.contains_key(name)) {
            return Some(format!("{field}.{name}: data has this key too"));
        }
        match STANDARD.decode(content) {
            Ok(bytes) => size += bytes.len(),
            Err(_) => return Some(format!("{field}.{name}: it must be base64")),
        }
    }
    (size > MAX_CONFIG_MAP_BYTES)
        .then(|| format!("data: may not be more than {MAX_CONFIG_MAP_BYTES} bytes, this has {size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document_error(value: &Value) -> String {
        let key = parse_object_key(value).unwrap().unwrap();
        validation_error(&key, value).unwrap_or_default()
    }

    fn rbac_object(kind: &str, rest: &Value) -> Value {
        let mut value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": "x" },
        });
        if kind == "Role" || kind == "RoleBinding" {
            value["metadata"]["namespace"] = json!("ns");
        }
        for (field, content) in rest.as_object().unwrap() {
            value[field] = content.clone();
        }
        value
    }

    #[test]
    fn rules_are_refused_as_the_api_server_does() {
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
    fn bindings_are_refused_as_the_api_server_does() {
        let to =
            |kind: &str, subject: Value| json!({ "roleRef": { "kind": kind, "name": "r" }, "subjects": [subject] });
        let user = json!({ "kind": "User", "name": "u" });
        assert_eq!(document_error(&rbac_object("RoleBinding", &to("Role", user.clone()))), "");
        assert!(document_error(&rbac_object("ClusterRoleBinding", &to("Role", user))).starts_with("roleRef.kind"));
        let lower = json!({ "kind": "user", "name": "u" });
        assert!(document_error(&rbac_object("RoleBinding", &to("Role", lower))).starts_with("subjects[0].kind"));
        let account = json!({ "kind": "ServiceAccount", "name": "sa" });
        assert_eq!(document_error(&rbac_object("RoleBinding", &to("Role", account.clone()))), "");
        assert!(document_error(&rbac_object("ClusterRoleBinding", &to("ClusterRole", account))).contains("namespace"));
    }

    #[test]
    fn a_config_map_over_one_mebibyte_is_refused() {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
            "data": { "mapRoles": "x".repeat(MAX_CONFIG_MAP_BYTES), "y": "1" },
        });
        assert!(document_error(&map).contains("1048576"));
    }
}
