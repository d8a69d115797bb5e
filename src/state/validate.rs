//! What the API server refuses of an object's content, so that a snapshot refuses it too.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/validation/validation.go`, `pkg/apis/core/validation`
//! (`ValidateConfigMap`), apimachinery `api/validation/objectmeta.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::rbac::RBAC_GROUP;
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

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What is no list of what it should list: the API server cannot even read it.
fn misshapen(value: &Value, field: &str, is_item: fn(&Value) -> bool) -> Option<String> {
    let what = match value.get(field) {
        None | Some(Value::Null) => return None,
        Some(Value::Array(items)) if items.iter().all(is_item) => return None,
        Some(Value::Array(_)) => "it has an element of another type",
        Some(_) => "it must be a list",
    };
    Some(format!("{field}: {what}"))
}

fn role(key: &ObjectKey, value: &Value) -> Option<String> {
    if let Some(why) = misshapen(value, "rules", Value::is_object) {
        return Some(why);
    }
    for (at, rule) in list(value, "rules").iter().enumerate() {
        let fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
        if let Some(why) = fields.iter().find_map(|field| misshapen(rule, field, Value::is_string)) {
            return Some(format!("rules[{at}].{why}"));
        }
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
    let mut selectors = list(aggregation, "clusterRoleSelectors").iter().enumerate();
    selectors.find_map(|(at, one)| Some(format!("aggregationRule.clusterRoleSelectors[{at}].{}", selector(one)?)))
}

/// apimachinery `apis/meta/v1/validation.ValidateLabelSelector`.
fn selector(value: &Value) -> Option<String> {
    let labels = value.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    for (label, wanted) in labels {
        if !is_label_key(label) {
            return Some(format!("matchLabels: `{label}` is not a label key"));
        }
        if !wanted.as_str().is_some_and(is_label_value) {
            return Some(format!("matchLabels.{label}: {wanted} is not a label value"));
        }
    }
    for (at, one) in list(value, "matchExpressions").iter().enumerate() {
        if !is_label_key(text(one, "key")) {
            return Some(format!("matchExpressions[{at}].key: `{}` is not a label key", text(one, "key")));
        }
        let values = list(one, "values");
        let why = match text(one, "operator") {
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

fn binding(key: &ObjectKey, value: &Value) -> Option<String> {
    let role = value.get("roleRef").cloned().unwrap_or_default();
    let kinds: &[&str] = match key.kind() {
        ObjectKind::ClusterRoleBinding => &["ClusterRole"],
        _ => &["ClusterRole", "Role"],
    };
    if !["", RBAC_GROUP].contains(&text(&role, "apiGroup")) {
        return Some(format!("roleRef.apiGroup: `{}` is not `{RBAC_GROUP}`", text(&role, "apiGroup")));
    }
    if !kinds.contains(&text(&role, "kind")) {
        return Some(format!("roleRef.kind: `{}` is not supported here", text(&role, "kind")));
    }
    if let Some(why) = path_segment_fault(text(&role, "name")) {
        return Some(format!("roleRef.name: {why}"));
    }
    if let Some(why) = misshapen(value, "subjects", Value::is_object) {
        return Some(why);
    }
    let mut subjects = list(value, "subjects").iter().enumerate();
    subjects.find_map(|(at, one)| Some(format!("subjects[{at}].{}", subject(key, one)?)))
}

fn subject(key: &ObjectKey, value: &Value) -> Option<String> {
    let (kind, name, group) = (text(value, "kind"), text(value, "name"), text(value, "apiGroup"));
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
        "ServiceAccount" if text(value, "namespace").is_empty() && key.kind() == ObjectKind::ClusterRoleBinding => {
            Some("namespace: a service account needs one here".to_owned())
        }
        "ServiceAccount" => None,
        other => Some(format!("kind: `{other}` is none of ServiceAccount, User, Group")),
    }
}

/// apimachinery `util/validation.IsConfigMapKey`.
fn is_data_key(key: &str) -> bool {
    (1..=253).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && key != "."
        && !key.starts_with("..")
}

fn config_map(value: &Value) -> Option<String> {
    let map = |field: &str| value.get(field).and_then(Value::as_object);
    let mut size = 0;
    for (field, (name, content)) in ["data", "binaryData"]
        .iter()
        .flat_map(|field| map(field).into_iter().flatten().map(move |entry| (*field, entry)))
    {
        if !is_data_key(name) {
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
