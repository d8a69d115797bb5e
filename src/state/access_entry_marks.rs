//! What a policy has written of an access entry, recorded in tags of the entry.
//!
//! An access entry can have access policies and tags of other clients, such as terraform or the console. They stay as they
//! are. So the entry records which of them the policy has written: a later plan removes only those.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::access_entry::{AccessEntry, AccessEntryType, AccessScope};
use super::access_entry_rules::MAX_TAG_VALUE;
use super::access_policies::access_policy_name;
use super::object_meta::Labels;
use super::owner::{DIGEST_ANNOTATION, OBJECT_ANNOTATION, POLICY_ANNOTATION, digest};

/// The names of the access policies that the policy has written. See [`record`].
pub(crate) const ACCESS_POLICIES_TAG: &str = "rolecall/access-policies";
/// The keys of the tags that the policy has written. See [`record`].
pub(crate) const TAGS_TAG: &str = "rolecall/tags";
/// On the entries that EKS makes for the roles of AWS services (EKS User Guide, "Create access entries").
const MANAGED_BY_EKS_TAG: &str = "aws:eks:managed";
const SERVICE_LINKED_PATH: &str = ":role/aws-service-role/";
/// How a record starts that has hashes instead of names.
const HASHED: char = '=';
/// The hexadecimal digits of each name in such a record.
const HASH_DIGITS: usize = 6;
/// The most names that a record can have.
pub(crate) const MAX_NAMES: usize = (MAX_TAG_VALUE - 1) / HASH_DIGITS;

/// Returns the value of a tag that records names: the names, separated by spaces. If that is too long for a tag, or a name
/// has a space, `=` and 6 hexadecimal digits of the hash of each name. `None` if there are no names.
pub(crate) fn record<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() {
        return None;
    }
    let text = names.iter().copied().collect::<Vec<_>>().join(" ");
    let is_plain = |name: &&str| !name.starts_with(HASHED) && !name.is_empty() && !name.contains(char::is_whitespace);
    if text.chars().count() <= MAX_TAG_VALUE && names.iter().all(is_plain) {
        return Some(text);
    }
    let hashes: BTreeSet<String> = names.into_iter().map(name_hash).collect();
    Some(std::iter::once(HASHED.to_string()).chain(hashes).collect())
}

fn name_hash(name: &str) -> String {
    let hash = Sha256::digest(name);
    hash.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether the value of a tag records a name.
fn is_recorded(value: Option<&String>, name: &str) -> bool {
    let Some(value) = value else {
        return false;
    };
    match value.strip_prefix(HASHED) {
        None => value.split(' ').any(|recorded| recorded == name),
        Some(hashes) => {
            let hash = name_hash(name);
            hashes.as_bytes().chunks(HASH_DIGITS).any(|recorded| recorded == hash.as_bytes())
        }
    }
}

/// Returns whether a tag is one that rolecall writes itself.
pub(crate) fn is_own_tag(key: &str) -> bool {
    [POLICY_ANNOTATION, OBJECT_ANNOTATION, DIGEST_ANNOTATION, ACCESS_POLICIES_TAG, TAGS_TAG].contains(&key)
}

/// Returns whether EKS has made the entry for an AWS service.
pub(crate) fn is_made_by_eks(entry: &AccessEntry) -> bool {
    entry.principal().contains(SERVICE_LINKED_PATH) || entry.tags().contains_key(MANAGED_BY_EKS_TAG)
}

/// Returns a tag of the entry that AWS has written, such as that of the CloudFormation stack that manages the entry.
pub(crate) fn aws_tag(entry: &AccessEntry) -> Option<&str> {
    let is_aws = |key: &&str| key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    entry.tags().keys().map(String::as_str).find(is_aws)
}

/// The part of an access entry that a policy writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnedContent {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    /// By the ARN of the access policy.
    pub(crate) policies: BTreeMap<String, AccessScope>,
    pub(crate) tags: Labels,
}

impl OwnedContent {
    /// Returns the part of an entry that its marks record as written.
    pub(crate) fn recorded(entry: &AccessEntry) -> Self {
        let tags = entry.tags();
        let is_written = |arn: &str| is_recorded(tags.get(ACCESS_POLICIES_TAG), access_policy_name(arn));
        let policies = entry.policies().filter(|(arn, _)| is_written(arn));
        let written_tags = tags.iter().filter(|(key, _)| is_recorded(tags.get(TAGS_TAG), key) && !is_own_tag(key));
        Self {
            username: entry.username.clone(),
            groups: entry.groups.clone(),
            policies: policies.map(|(arn, scope)| (arn.to_owned(), scope.clone())).collect(),
            tags: written_tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    /// Returns the tags that record what the policy writes.
    pub(crate) fn record_tags(&self) -> Labels {
        let policies = record(self.policies.keys().map(|arn| access_policy_name(arn)));
        let tags = record(self.tags.keys().map(String::as_str));
        let policies = policies.map(|value| (ACCESS_POLICIES_TAG.to_owned(), value));
        policies.into_iter().chain(tags.map(|value| (TAGS_TAG.to_owned(), value))).collect()
    }

    /// Returns the digest of the content. Clusters store it, so it must never change.
    pub(crate) fn digest(&self, entry_type: &AccessEntryType) -> String {
        let policies: Map<String, Value> =
            self.policies.iter().map(|(arn, scope)| (arn.clone(), scope.to_json())).collect();
        // EKS sets the username and the groups of nodes.
        let names = (!entry_type.is_node()).then(|| {
            let groups: BTreeSet<&String> = self.groups.iter().collect();
            json!([self.username, groups])
        });
        digest(&json!([entry_type.as_str(), names, policies, self.tags]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::access_policies::AccessPolicy;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("AmazonEKSPolicyWithALongName{index}")).collect()
    }

    fn record_of(names: &[String]) -> Option<String> {
        record(names.iter().map(String::as_str))
    }

    #[test]
    fn record_has_exactly_its_names() {
        assert_eq!(record([]), None);
        assert_eq!(record(["b", "a", "b"]).unwrap(), "a b");
        for list in [names(3), names(MAX_NAMES), vec!["cost center".to_owned(), "=x".to_owned()]] {
            let value = record_of(&list).unwrap();
            assert!(value.chars().count() <= MAX_TAG_VALUE, "{value}");
            // The characters that AWS allows in the values of tags.
            assert!(value.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c)), "{value}");
            assert!(list.iter().all(|name| is_recorded(Some(&value), name)), "{value}");
            assert!(!is_recorded(Some(&value), "AmazonEKSViewPolicy"), "{value}");
            assert!(!is_recorded(Some(&value), "") && !is_recorded(None, "a"));
        }
    }

    #[test]
    fn hashes_of_the_known_access_policies_differ() {
        let hashes: BTreeSet<String> = AccessPolicy::known_names().map(name_hash).collect();
        assert_eq!(hashes.len(), AccessPolicy::known_names().count());
    }

    #[test]
    fn digest_input_is_the_same_in_every_version() {
        let mut content = OwnedContent {
            username: "viewer".to_owned(),
            groups: vec!["b".to_owned(), "a".to_owned()],
            policies: BTreeMap::from([("arn:x".to_owned(), AccessScope::Cluster)]),
            tags: Labels::from([("team".to_owned(), "x".to_owned())]),
        };
        let expected =
            |text: &str| Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = r#"["STANDARD",["viewer",["a","b"]],{"arn:x":{"type":"cluster"}},{"team":"x"}]"#;
        assert_eq!(content.digest(&AccessEntryType::Standard), expected(text));
        content.groups.clear();
        let text = r#"["EC2_LINUX",null,{"arn:x":{"type":"cluster"}},{"team":"x"}]"#;
        assert_eq!(content.digest(&AccessEntryType::Ec2Linux), expected(text));
    }
}
