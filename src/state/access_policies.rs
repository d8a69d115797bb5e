//! The access policies of EKS, which an access entry can be associated with, and what they allow.
//!
//! The API of EKS never shows the contents of an access policy (EKS API 2017-11-01, `ListAccessPolicies`), so the rules are
//! data of this crate, with their source, in `access_policies.yaml`. AWS publishes the rules of some policies only. What
//! another one allows is not known: its only rule is an [`opaque_rule`], which no request that exists has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::object::Role;
use super::rbac::Rule;
use crate::names::{ObjectKey, ObjectKind};
use crate::yaml;

/// The API group of the rule that stands for what a policy without published rules allows. No API has it.
pub(crate) const UNPUBLISHED_GROUP: &str = "unpublished.eks.amazonaws.com";

/// An access policy and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessPolicy {
    pub(crate) role: Role,
    /// Where the rules come from, such as `user guide, 2024-12-18`. `None` if AWS has not published them.
    pub(crate) source: Option<String>,
}

/// The policies that this version of rolecall knows, by name.
static KNOWN: LazyLock<BTreeMap<String, AccessPolicy>> = LazyLock::new(|| parse(include_str!("access_policies.yaml")));

fn parse(text: &str) -> BTreeMap<String, AccessPolicy> {
    let document = yaml::parse_first_document(text).ok().flatten();
    let value = document.and_then(|document| document.to_json().ok());
    let policies = value.as_ref().and_then(|value| value.get("policies")?.as_object());
    let parse_policy = |(name, content): (&String, &Value)| {
        // A policy whose rules cannot be read is one whose rules are not known.
        let rules = content.get("rules").and_then(|rules| serde_json::from_value::<Vec<Rule>>(rules.clone()).ok());
        let source = rules.is_some().then(|| content.get("source").and_then(Value::as_str).unwrap_or_default());
        let rules = rules.unwrap_or_else(|| vec![opaque_rule(name)]);
        let policy = AccessPolicy { role: Role { rules, ..Role::default() }, source: source.map(str::to_owned) };
        (name.clone(), policy)
    };
    policies.into_iter().flatten().map(parse_policy).collect()
}

/// Returns the rule of a policy whose rules are not known.
fn opaque_rule(name: &str) -> Rule {
    Rule {
        verbs: vec!["*".to_owned()],
        api_groups: vec![UNPUBLISHED_GROUP.to_owned()],
        resources: vec![name.to_owned()],
        ..Rule::default()
    }
}

/// Returns whether a rule stands for what a policy without published rules allows.
pub(crate) fn is_opaque(rule: &Rule) -> bool {
    rule.api_groups.first().is_some_and(|group| group == UNPUBLISHED_GROUP)
}

impl AccessPolicy {
    /// Returns an access policy by its name. AWS adds policies at any time: what one that this version does not know allows
    /// is not known.
    pub(crate) fn named(name: &str) -> Self {
        KNOWN
            .get(name)
            .cloned()
            .unwrap_or_else(|| Self { role: Role { rules: vec![opaque_rule(name)], ..Role::default() }, source: None })
    }

    /// Returns the names of the policies that this version knows.
    pub(crate) fn known_names() -> impl Iterator<Item = &'static str> {
        KNOWN.keys().map(String::as_str)
    }
}

/// Returns the name in the ARN of an access policy, such as `arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy`.
/// Another ARN is returned whole.
pub(crate) fn access_policy_name(arn: &str) -> &str {
    arn.rsplit_once(":cluster-access-policy/").map_or(arn, |(_, name)| name)
}

/// Returns the ARN of an access policy in a partition.
pub(crate) fn access_policy_arn(partition: &str, name: &str) -> String {
    format!("arn:{partition}:eks::aws:cluster-access-policy/{name}")
}

/// Returns the key by which the access engine refers to an access policy.
pub(crate) fn access_policy_key(name: &str) -> ObjectKey {
    ObjectKey::cluster_scoped(ObjectKind::AccessPolicy, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_every_known_policy_can_be_read() {
        assert_eq!(AccessPolicy::known_names().count(), 33);
        let published: Vec<&str> =
            AccessPolicy::known_names().filter(|name| AccessPolicy::named(name).source.is_some()).collect();
        assert_eq!(
            published,
            [
                "AmazonEKSAdminPolicy",
                "AmazonEKSAdminViewPolicy",
                "AmazonEKSClusterAdminPolicy",
                "AmazonEKSEditPolicy",
                "AmazonEKSHybridPolicy",
                "AmazonEKSSecretAdminPolicy",
                "AmazonEKSSecretReaderPolicy",
                "AmazonEKSViewPolicy",
            ]
        );
        let view = AccessPolicy::named("AmazonEKSViewPolicy");
        assert!(view.role.rules.len() > 5 && !view.role.rules.iter().any(is_opaque));
    }

    #[test]
    fn policy_without_published_rules_has_an_opaque_rule() {
        for name in ["AmazonEKSComputePolicy", "SomePolicyOfTheFuture"] {
            let policy = AccessPolicy::named(name);
            assert_eq!(policy.source, None);
            assert!(policy.role.rules.iter().all(is_opaque));
        }
    }

    #[test]
    fn name_is_the_last_part_of_the_arn() {
        let arn = access_policy_arn("aws-cn", "AmazonEKSViewPolicy");
        assert_eq!(arn, "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSViewPolicy");
        assert_eq!(access_policy_name(&arn), "AmazonEKSViewPolicy");
        assert_eq!(
            access_policy_name("arn:aws:iam::aws:policy/ReadOnlyAccess"),
            "arn:aws:iam::aws:policy/ReadOnlyAccess"
        );
    }
}
