//! What the API server refuses of an object's content, so that a snapshot refuses it too.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/validation/validation.go`, `pkg/apis/core/validation`
//! (`ValidateConfigMap`), apimachinery `api/validation/objectmeta.go`.

use serde_json::Value;

use crate::names::{ObjectKey, ObjectKind, is_dns_subdomain, is_label_key, is_label_value, path_segment_fault};

/// Most that the values of a ConfigMap may hold together, in bytes (`MaxSecretSize`).
pub(crate) const CONFIG_MAP_LIMIT: usize = 1_048_576;
/// Most that the annotations of an object may hold, keys and values, in bytes.
pub(crate) const ANNOTATIONS_LIMIT: usize = 262_144;

/// The first thing that the API server would refuse, in its manner `field: why`.
pub(crate) fn refusal(key: &ObjectKey, value: &Value) -> Option<String> {
    metadata(key, value).or_else(|| match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => role(key, value),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => binding(key, value),
        ObjectKind::ConfigMap => config_map(value),
        ObjectKind::Namespace => None,
    })
}

/// The kind and key that a document says it is; otherwise why it is none.
pub(crate) fn key_of(value: &Value) -> Result<Option<ObjectKey>, String> {
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

fn metadata(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(why) = path_segment_fault(key.name()) {
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
    (size > ANNOTATIONS_LIMIT)
        .then(|| format!("metadata.annotations: may not be more than {ANNOTATIONS_LIMIT} bytes, these have {size}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn role(key: &ObjectKey, value: &Value) -> Option<String> {
    for (at, rule) in list(value, "rules").iter().enumerate() {
        let urls = !list(rule, "nonResourceURLs").is_empty();
        let resources = ["apiGroups", "resources", "resourceNames"].map(|field| !list(rule, field).is_empty());
        if list(rule, "verbs").is_empty() {
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
    if list(aggregation, "clusterRoleSelectors").is_empty() {
        return Some("aggregationRule.clusterRoleSelectors: at least one clusterRoleSelector required".to_owned());
    }
    None
}

fn binding(key: &ObjectKey, value: &Value) -> Option<String> {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let role = value.get("roleRef").cloned().unwrap_or_default();
    let kinds: &[&str] = match key.kind() {
        ObjectKind::ClusterRoleBinding => &["ClusterRole"],
        _ => &["ClusterRole", "Role"],
    };
    if !kinds.contains(&text(&role, "kind").as_str()) {
        return Some(format!("roleRef.kind: `{}` is not supported here", text(&role, "kind")));
    }
    if let Some(why) = path_segment_fault(&text(&role, "name")) {
        return Some(format!("roleRef.name: {why}"));
    }
    for (at, subject) in list(value, "subjects").iter().enumerate() {
        let (kind, name, namespace) = (text(subject, "kind"), text(subject, "name"), text(subject, "namespace"));
        if name.is_empty() {
            return Some(format!("subjects[{at}].name: it has none"));
        }
        match kind.as_str() {
            "User" | "Group" => {}
            "ServiceAccount" if !is_dns_subdomain(&name) => {
                return Some(format!("subjects[{at}].name: `{name}` is not the name of a service account"));
            }
            "ServiceAccount" if namespace.is_empty() && key.kind() == ObjectKind::ClusterRoleBinding => {
                return Some(format!("subjects[{at}].namespace: a service account needs one here"));
            }
            "ServiceAccount" => {}
            other => return Some(format!("subjects[{at}].kind: `{other}` is none of ServiceAccount, User, Group")),
        }
    }
    None
}

fn config_map(value: &Value) -> Option<String> {
    let mut size = 0;
    for (name, text) in value.get("data").and_then(Value::as_object).into_iter().flatten() {
        match text.as_str() {
            Some(text) => size += text.len(),
            None => return Some(format!("data.{name}: it must be a string")),
        }
    }
    for (_, text) in value.get("binaryData").and_then(Value::as_object).into_iter().flatten() {
        // Base64 holds three bytes in four characters.
        size += text.as_str().unwrap_or_default().len() / 4 * 3;
    }
    (size > CONFIG_MAP_LIMIT).then(|| format!("data: may not be more than {CONFIG_MAP_LIMIT} bytes, this has {size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(value: &Value) -> String {
        let key = key_of(value).unwrap().unwrap();
        refusal(&key, value).unwrap_or_default()
    }

    fn rbac(kind: &str, rest: &Value) -> Value {
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
        assert_eq!(refused(&rbac("ClusterRole", &url.clone())), "");
        assert!(refused(&rbac("Role", &url)).contains("namespaced rules cannot apply"));
        let no_verbs = json!({ "rules": [{ "verbs": [], "apiGroups": [""], "resources": ["pods"] }] });
        assert!(refused(&rbac("Role", &no_verbs)).starts_with("rules[0].verbs"));
        let no_group = json!({ "rules": [{ "verbs": ["get"], "resources": ["pods"] }] });
        assert!(refused(&rbac("Role", &no_group)).starts_with("rules[0].apiGroups"));
        let empty = json!({ "aggregationRule": { "clusterRoleSelectors": [] } });
        assert!(refused(&rbac("ClusterRole", &empty)).starts_with("aggregationRule"));
        let everything = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] } });
        assert_eq!(refused(&rbac("ClusterRole", &everything)), "");
    }

    #[test]
    fn bindings_are_refused_as_the_api_server_does() {
        let to =
            |kind: &str, subject: Value| json!({ "roleRef": { "kind": kind, "name": "r" }, "subjects": [subject] });
        let user = json!({ "kind": "User", "name": "u" });
        assert_eq!(refused(&rbac("RoleBinding", &to("Role", user.clone()))), "");
        assert!(refused(&rbac("ClusterRoleBinding", &to("Role", user))).starts_with("roleRef.kind"));
        let lower = json!({ "kind": "user", "name": "u" });
        assert!(refused(&rbac("RoleBinding", &to("Role", lower))).starts_with("subjects[0].kind"));
        let account = json!({ "kind": "ServiceAccount", "name": "sa" });
        assert_eq!(refused(&rbac("RoleBinding", &to("Role", account.clone()))), "");
        assert!(refused(&rbac("ClusterRoleBinding", &to("ClusterRole", account))).contains("namespace"));
    }

    #[test]
    fn a_config_map_over_one_mebibyte_is_refused() {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
            "data": { "mapRoles": "x".repeat(CONFIG_MAP_LIMIT), "y": "1" },
        });
        assert!(refused(&map).contains("1048576"));
    }
}
