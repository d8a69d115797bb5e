//! Rules, role references and subjects, and when two of them say the same.
//!
//! The API server sorts and dedupes nothing, so order and repetition are compared away here; what it fills in by
//! default (kubernetes v1.36.3 `pkg/apis/rbac/v1/defaults.go`) is filled in here too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::object_meta::Labels;
use crate::names::{ObjectKey, ObjectKind};

pub(crate) const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) verbs: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

impl Rule {
    /// The five lists of a rule with the names under which a policy has them.
    pub(crate) fn named_lists(&self) -> [(&'static str, &Vec<String>); 5] {
        let Self { verbs, api_groups, resources, resource_names, non_resource_urls } = self;
        [
            ("verbs", verbs),
            ("api-groups", api_groups),
            ("resources", resources),
            ("resource-names", resource_names),
            ("non-resource-urls", non_resource_urls),
        ]
    }

    /// The rule with every list sorted and without repetition.
    fn as_sets(&self) -> [BTreeSet<&str>; 5] {
        self.named_lists().map(|(_, list)| list.iter().map(String::as_str).collect())
    }
}

/// Whether two lists of rules differ in order and repetition at most.
pub(crate) fn same_rules(one: &[Rule], other: &[Rule]) -> bool {
    one == other || canonical_rules(one) == canonical_rules(other)
}

/// Rules as sets of sets, for comparison and digests.
pub(crate) fn canonical_rules(rules: &[Rule]) -> BTreeSet<[BTreeSet<&str>; 5]> {
    rules.iter().map(Rule::as_sets).collect()
}

/// Which role a binding gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoleRef {
    ClusterRole(String),
    Role(String),
}

impl RoleRef {
    /// The role that a binding means, whether it exists or not; none where a ClusterRoleBinding means a Role, which no
    /// API server stores.
    pub(crate) fn role_key(&self, binding: &ObjectKey) -> Option<ObjectKey> {
        self.role_key_parts(binding).and_then(|(kind, namespace, name)| ObjectKey::new(kind, namespace, name))
    }

    /// The parts of that role's key.
    pub(crate) fn role_key_parts<'a>(
        &'a self,
        binding: &'a ObjectKey,
    ) -> Option<(ObjectKind, Option<&'a str>, &'a str)> {
        match self {
            Self::ClusterRole(name) => Some((ObjectKind::ClusterRole, None, name)),
            Self::Role(name) => Some((ObjectKind::Role, Some(binding.namespace()?), name)),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::ClusterRole(_) => "ClusterRole",
            Self::Role(_) => "Role",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::ClusterRole(name) | Self::Role(name) => name,
        }
    }
}

/// The lists under the names that a policy has for them.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |list: &Vec<String>| {
            list.iter().map(|word| if word.is_empty() { "\"\"" } else { word }).collect::<Vec<_>>().join(", ")
        };
        let lists = self.named_lists().into_iter().filter(|(_, list)| !list.is_empty());
        f.write_str(&lists.map(|(name, list)| format!("{name} {}", words(list))).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// Whom a binding gives a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Group(String),
    User(String),
    ServiceAccount { namespace: String, name: String },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {name}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
        }
    }
}

/// Whether two lists of subjects differ in order and repetition at most.
pub(crate) fn same_subjects(one: &[Subject], other: &[Subject]) -> bool {
    one == other || one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

/// Which ClusterRoles an aggregated ClusterRole takes its rules from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LabelSelector {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) match_labels: Labels,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) match_expressions: Vec<LabelSelectorRequirement>,
}

/// One `matchExpressions` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LabelSelectorRequirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// An empty selector matches everything.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        let held = |key: &str| labels.get(key);
        self.match_labels.iter().all(|(key, value)| held(key) == Some(value))
            && self.match_expressions.iter().all(|LabelSelectorRequirement { key, operator, values }| {
                match operator.as_str() {
                    "In" => held(key).is_some_and(|value| values.contains(value)),
                    "NotIn" => held(key).is_none_or(|value| !values.contains(value)),
                    "Exists" => held(key).is_some(),
                    "DoesNotExist" => held(key).is_none(),
                    _ => false,
                }
            })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let others = self
            .match_expressions
            .iter()
            .map(|LabelSelectorRequirement { key, operator, values }| format!("{key} {operator} {}", values.join("|")));
        let all: Vec<String> = labels.chain(others).collect();
        if all.is_empty() {
            return f.write_str("every ClusterRole");
        }
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn null_absent_and_empty_lists_are_one_thing() {
        let a = rule(r#"{"verbs":["get"],"resources":["pods"],"apiGroups":[""],"resourceNames":null}"#);
        let b = rule(r#"{"verbs":["get"],"resources":["pods"],"apiGroups":[""],"resourceNames":[]}"#);
        assert_eq!(a, b);
    }

    #[test]
    fn order_and_repetition_are_no_difference_but_content_is() {
        let a = rule(r#"{"verbs":["get","list","get"],"resources":["pods"],"apiGroups":[""]}"#);
        let b = rule(r#"{"verbs":["list","get"],"resources":["pods"],"apiGroups":[""]}"#);
        let c = rule(r#"{"verbs":["list"],"resources":["pods"],"apiGroups":[""]}"#);
        assert!(same_rules(&[a.clone(), c.clone()], &[c.clone(), b.clone(), a.clone()]));
        assert!(!same_rules(std::slice::from_ref(&a), &[b, c.clone()]));
        assert!(!same_rules(&[a], &[c]));
    }

    #[test]
    fn an_empty_selector_takes_every_role() {
        assert!(LabelSelector::default().matches(&Labels::new()));
        let wants: LabelSelector = serde_json::from_str(
            r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"DoesNotExist"}]}"#,
        )
        .unwrap();
        assert!(wants.matches(&Labels::from([("a".into(), "1".into())])));
        assert!(!wants.matches(&Labels::from([("a".into(), "1".into()), ("b".into(), String::new())])));
    }
}
