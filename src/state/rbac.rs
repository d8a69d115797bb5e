//! Rules, role references, subjects and label selectors, and when two of them are equivalent.
//!
//! The API server neither sorts nor deduplicates lists, so comparisons ignore order and repetition. The defaults that it
//! fills in (kubernetes v1.36.3 `pkg/apis/rbac/v1/defaults.go`) are filled in here as well.

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
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Returns the five lists of a rule with their keys in a policy.
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

    /// Returns the lists of the rule, sorted and without duplicates.
    pub(crate) fn as_sets(&self) -> [BTreeSet<&str>; 5] {
        self.named_lists().map(|(_, list)| list.iter().map(String::as_str).collect())
    }
}

/// Returns whether two lists of rules are equal up to order and repetition.
pub(crate) fn same_rules(a: &[Rule], b: &[Rule]) -> bool {
    a == b || canonical_rules(a) == canonical_rules(b)
}

/// Returns the rules as a set of sets, for comparison and for digests.
pub(crate) fn canonical_rules(rules: &[Rule]) -> BTreeSet<[BTreeSet<&str>; 5]> {
    rules.iter().map(Rule::as_sets).collect()
}

/// The role that a binding grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoleRef {
    ClusterRole(String),
    Role(String),
    /// An access policy of EKS, by its name. Only an association of an access entry refers to it.
    AccessPolicy(String),
}

impl RoleRef {
    /// Returns the key of the role that `binding` grants, whether that role exists or not. `None` if a
    /// ClusterRoleBinding refers to a Role, which the API server rejects.
    pub(crate) fn role_key(&self, binding: &ObjectKey) -> Option<ObjectKey> {
        self.role_key_parts(binding).and_then(|(kind, namespace, name)| ObjectKey::new(kind, namespace, name))
    }

    /// Returns the kind, namespace and name of that role.
    pub(crate) fn role_key_parts<'a>(
        &'a self,
        binding: &'a ObjectKey,
    ) -> Option<(ObjectKind, Option<&'a str>, &'a str)> {
        match self {
            Self::ClusterRole(name) => Some((ObjectKind::ClusterRole, None, name)),
            Self::Role(name) => Some((ObjectKind::Role, Some(binding.namespace()?), name)),
            Self::AccessPolicy(name) => Some((ObjectKind::AccessPolicy, None, name)),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::ClusterRole(_) => "ClusterRole",
            Self::Role(_) => "Role",
            Self::AccessPolicy(_) => "AccessPolicy",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::ClusterRole(name) | Self::Role(name) | Self::AccessPolicy(name) => name,
        }
    }
}

/// Shows the lists that are not empty with their keys in a policy.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join_values = |list: &Vec<String>| {
            list.iter().map(|value| if value.is_empty() { "\"\"" } else { value }).collect::<Vec<_>>().join(", ")
        };
        let lists = self.named_lists().into_iter().filter(|(_, list)| !list.is_empty());
        f.write_str(&lists.map(|(key, list)| format!("{key} {}", join_values(list))).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// A subject to which a binding grants a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Group(String),
    User(String),
    ServiceAccount {
        namespace: String,
        name: String,
    },
    /// The principal of an access entry, by its ARN. Only an association of the entry names it.
    AccessEntry(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {name}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
            Self::AccessEntry(principal) => write!(f, "access entry {principal}"),
        }
    }
}

/// Returns whether two lists of subjects are equal up to order and repetition.
pub(crate) fn same_subjects(a: &[Subject], b: &[Subject]) -> bool {
    a == b || a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}

/// Selects the ClusterRoles whose rules an aggregated ClusterRole receives.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LabelSelector {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) match_labels: Labels,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of `matchExpressions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LabelSelectorRequirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// Returns whether an object with these labels matches. An empty selector matches every object.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|LabelSelectorRequirement { key, operator, values }| {
                let actual = labels.get(key);
                match operator.as_str() {
                    "In" => actual.is_some_and(|value| values.contains(value)),
                    "NotIn" => actual.is_none_or(|value| !values.contains(value)),
                    "Exists" => actual.is_some(),
                    "DoesNotExist" => actual.is_none(),
                    _ => false,
                }
            })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self
            .match_expressions
            .iter()
            .map(|LabelSelectorRequirement { key, operator, values }| format!("{key} {operator} {}", values.join("|")));
        let requirements: Vec<String> = labels.chain(expressions).collect();
        if requirements.is_empty() {
            return f.write_str("every ClusterRole");
        }
        f.write_str(&requirements.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn null_list_equals_empty_list() {
        let a = rule(r#"{"verbs":["get"],"resources":["pods"],"apiGroups":[""],"resourceNames":null}"#);
        let b = rule(r#"{"verbs":["get"],"resources":["pods"],"apiGroups":[""],"resourceNames":[]}"#);
        assert_eq!(a, b);
    }

    #[test]
    fn rule_comparison_ignores_order_and_repetition() {
        let a = rule(r#"{"verbs":["get","list","get"],"resources":["pods"],"apiGroups":[""]}"#);
        let b = rule(r#"{"verbs":["list","get"],"resources":["pods"],"apiGroups":[""]}"#);
        let c = rule(r#"{"verbs":["list"],"resources":["pods"],"apiGroups":[""]}"#);
        assert!(same_rules(&[a.clone(), c.clone()], &[c.clone(), b.clone(), a.clone()]));
        assert!(!same_rules(std::slice::from_ref(&a), &[b, c.clone()]));
        assert!(!same_rules(&[a], &[c]));
    }

    #[test]
    fn empty_selector_matches_every_role() {
        assert!(LabelSelector::default().matches(&Labels::new()));
        let selector: LabelSelector = serde_json::from_str(
            r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"DoesNotExist"}]}"#,
        )
        .unwrap();
        assert!(selector.matches(&Labels::from([("a".into(), "1".into())])));
        assert!(!selector.matches(&Labels::from([("a".into(), "1".into()), ("b".into(), String::new())])));
    }
}
