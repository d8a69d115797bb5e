//! The rules by which EKS accepts an access entry, its associations and its tags.
//!
//! Source: EKS API 2017-11-01 (`CreateAccessEntry`, `AccessScope`, `TagMap`), EKS User Guide, "Create access entries", and
//! the answers of the API where it documents no rule. An entry that exists can break the rules: EKS writes entries of its
//! own, with names and tags that it refuses from others. So only what a client writes is checked by them.

use thiserror::Error;

use super::access_entry::{AccessEntry, AccessEntryType, AccessScope};
use super::object_meta::Labels;
use crate::names::{AccountId, Arn, ArnError, PrincipalKind};

/// How usernames and groups that only EKS itself writes start.
pub(crate) const RESERVED_PREFIXES: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];
/// How tags that only AWS itself writes start, in any case.
const RESERVED_TAG_PREFIX: &str = "aws:";
const SESSION_NAME: &str = "{{SessionName}}";
/// The path of the roles that AWS services own.
const SERVICE_LINKED_PATH: &str = ":role/aws-service-role/";
const ACCESS_POLICY: &str = ":eks::aws:cluster-access-policy/";

/// The most access entries of a cluster (AWS General Reference, "Amazon EKS endpoints and quotas"). It cannot be raised.
pub(crate) const MAX_ENTRIES: usize = 3000;
pub(crate) const MAX_TAGS: usize = 50;
/// Characters.
pub(crate) const MAX_TAG_KEY: usize = 128;
/// Characters.
pub(crate) const MAX_TAG_VALUE: usize = 256;

/// Why EKS would refuse an access entry. The messages follow the name of the entry or of its principal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum EntryRuleError {
    #[error("`{0}` is not the ARN of an IAM role or user")]
    NotAPrincipal(String),
    #[error("an access entry cannot be for a role session")]
    RoleSession {
        /// The ARN of the role, without its path, which the ARN of a session does not have.
        role: String,
    },
    #[error("an access entry cannot be for the root user of an account")]
    AccountRoot,
    #[error("EKS does not allow access entries for the service-linked roles of AWS services")]
    ServiceLinkedRole,
    #[error("`{0}` is not a type of access entry")]
    UnknownType(String),
    #[error("an access entry of the type {} must be for an IAM role", .0.as_str())]
    NodeIsNoRole(AccessEntryType),
    #[error("an access entry of the type {} must be for a role of the account of the cluster, {account}", entry_type.as_str())]
    NodeOfOtherAccount { entry_type: AccessEntryType, account: String },
    #[error("an access entry of the type {} cannot have a username of its own", .0.as_str())]
    NodeUsername(AccessEntryType),
    #[error("an access entry of the type {} cannot have groups of its own", .0.as_str())]
    NodeGroups(AccessEntryType),
    #[error("the username of an access entry must not start with `{prefix}`")]
    ReservedUsername { prefix: &'static str },
    #[error("the username of an access entry must have a colon before `{{{{SessionName}}}}`")]
    NoColonBeforeSessionName,
    #[error("a group of an access entry must not start with `{prefix}`: `{group}`")]
    ReservedGroup { group: String, prefix: &'static str },
    #[error("an access entry of the type {} cannot have access policies", .0.as_str())]
    TypeWithoutPolicies(AccessEntryType),
    #[error("`{0}` is not the ARN of an access policy of EKS")]
    NotAnAccessPolicy(String),
    #[error("the access policy `{policy}` is not of the partition {partition}")]
    PolicyOfOtherPartition { policy: String, partition: String },
    #[error("an access policy with the scope `namespace` needs at least one namespace")]
    NoNamespaces,
    #[error("an access policy with the scope `cluster` cannot have namespaces")]
    NamespacesOfClusterScope,
    #[error("it has {count} tags, and at most {MAX_TAGS} are possible")]
    TooManyTags { count: usize },
    #[error("the key of a tag must have 1 to {MAX_TAG_KEY} characters: `{key}`")]
    TagKeyLength { key: String },
    #[error("the value of the tag `{key}` has {length} characters, and at most {MAX_TAG_VALUE} are possible")]
    TagValueLength { key: String, length: usize },
    #[error("the key of a tag must not start with `aws:`: `{key}`")]
    ReservedTag { key: String },
    #[error("the type of an access entry cannot be changed")]
    TypeIsImmutable,
}

impl EntryRuleError {
    /// What to write instead, as the text of a `help:` line. `None` if the message says it.
    pub(crate) fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotAPrincipal(_) => "write the ARN as IAM shows it, with the path of the role".to_owned(),
            Self::RoleSession { role } => format!("write the ARN of the role, with its path if it has one: `{role}`"),
            Self::AccountRoot => "write the ARN of each role or user".to_owned(),
            Self::ServiceLinkedRole => "remove it: the service makes the entry for its role itself".to_owned(),
            Self::UnknownType(_) => {
                let known = AccessEntryType::KNOWN.each_ref().map(AccessEntryType::as_str).join(", ");
                format!("the types are {known}")
            }
            Self::NodeIsNoRole(_) | Self::NodeOfOtherAccount { .. } => {
                "use the type STANDARD for a principal that is not the role of a node".to_owned()
            }
            Self::NodeUsername(_) | Self::NodeGroups(_) => "leave it out: EKS sets it for nodes".to_owned(),
            Self::ReservedUsername { .. } | Self::ReservedGroup { .. } => format!(
                "use another name; those that start with {} are reserved",
                RESERVED_PREFIXES.map(|prefix| format!("`{prefix}`")).join(", ")
            ),
            Self::NoColonBeforeSessionName => "write a prefix with a colon, such as `ci:{{SessionName}}`".to_owned(),
            Self::TypeWithoutPolicies(_) => "only STANDARD and EC2 entries can have access policies".to_owned(),
            Self::NotAnAccessPolicy(_) | Self::PolicyOfOtherPartition { .. } => {
                "run `aws eks list-access-policies` to list them".to_owned()
            }
            Self::NoNamespaces => {
                "name a namespace or a pattern such as `team-*`, or use the scope `cluster`".to_owned()
            }
            Self::NamespacesOfClusterScope => "remove the namespaces, or use the scope `namespace`".to_owned(),
            Self::TypeIsImmutable => "delete the access entry, and create it with the other type".to_owned(),
            Self::TooManyTags { .. }
            | Self::TagKeyLength { .. }
            | Self::TagValueLength { .. }
            | Self::ReservedTag { .. } => return None,
        })
    }
}

/// Checks the principal of a new entry. The ARN must be the one that IAM has: with the path of a role, unlike in aws-auth.
/// Without the account of the cluster, it is not checked whether the role of a node belongs to it.
pub(crate) fn check_principal(
    principal: &str,
    entry_type: &AccessEntryType,
    cluster_account: Option<&AccountId>,
) -> Result<(), EntryRuleError> {
    let arn = match Arn::parse(principal) {
        Ok(arn) => arn,
        Err(ArnError::AssumedRole { role }) => return Err(EntryRuleError::RoleSession { role }),
        Err(ArnError::AccountRoot { .. }) => return Err(EntryRuleError::AccountRoot),
        Err(_) => return Err(EntryRuleError::NotAPrincipal(principal.to_owned())),
    };
    if principal.contains(SERVICE_LINKED_PATH) {
        return Err(EntryRuleError::ServiceLinkedRole);
    }
    if let AccessEntryType::Other(other) = entry_type {
        return Err(EntryRuleError::UnknownType(other.clone()));
    }
    if !entry_type.is_node() {
        return Ok(());
    }
    if arn.kind() != PrincipalKind::Role {
        return Err(EntryRuleError::NodeIsNoRole(entry_type.clone()));
    }
    match cluster_account.filter(|account| *account != arn.account()) {
        Some(account) => {
            Err(EntryRuleError::NodeOfOtherAccount { entry_type: entry_type.clone(), account: account.to_string() })
        }
        None => Ok(()),
    }
}

/// Checks the username of a new or changed entry. An empty one stands for that of [`default_username`].
pub(crate) fn check_username(username: &str, entry_type: &AccessEntryType) -> Result<(), EntryRuleError> {
    if entry_type.is_node() {
        let is_default = username.is_empty() || Some(username) == node_username(entry_type);
        return if is_default { Ok(()) } else { Err(EntryRuleError::NodeUsername(entry_type.clone())) };
    }
    if let Some(prefix) = reserved_prefix_of(username) {
        return Err(EntryRuleError::ReservedUsername { prefix });
    }
    match username.split_once(SESSION_NAME) {
        Some((before, _)) if !before.contains(':') => Err(EntryRuleError::NoColonBeforeSessionName),
        _ => Ok(()),
    }
}

/// Checks a group of a new or changed entry.
pub(crate) fn check_group(group: &str, entry_type: &AccessEntryType) -> Result<(), EntryRuleError> {
    if entry_type.is_node() {
        let is_default = default_groups(entry_type).contains(&group);
        return if is_default { Ok(()) } else { Err(EntryRuleError::NodeGroups(entry_type.clone())) };
    }
    match reserved_prefix_of(group) {
        Some(prefix) => Err(EntryRuleError::ReservedGroup { group: group.to_owned(), prefix }),
        None => Ok(()),
    }
}

/// Checks the association of an entry with an access policy. Without the partition of the cluster, the partition of the
/// policy is not checked. Namespaces need not exist, and can be patterns.
pub(crate) fn check_association(
    policy_arn: &str,
    scope: &AccessScope,
    entry_type: &AccessEntryType,
    partition: Option<&str>,
) -> Result<(), EntryRuleError> {
    if !matches!(entry_type, AccessEntryType::Standard | AccessEntryType::Ec2) {
        return Err(EntryRuleError::TypeWithoutPolicies(entry_type.clone()));
    }
    let parts = policy_arn.strip_prefix("arn:").and_then(|rest| rest.split_once(ACCESS_POLICY));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let Some((found, _)) = parts.filter(|(found, name)| !found.contains(':') && is_name(name)) else {
        return Err(EntryRuleError::NotAnAccessPolicy(policy_arn.to_owned()));
    };
    if let Some(partition) = partition.filter(|partition| *partition != found) {
        let (policy, partition) = (policy_arn.to_owned(), partition.to_owned());
        return Err(EntryRuleError::PolicyOfOtherPartition { policy, partition });
    }
    match scope {
        AccessScope::Namespaces(names) if names.is_empty() => Err(EntryRuleError::NoNamespaces),
        AccessScope::Namespaces(_) | AccessScope::Cluster => Ok(()),
    }
}

/// Checks a tag that a client writes.
pub(crate) fn check_tag(key: &str, value: &str) -> Result<(), EntryRuleError> {
    let starts_with_prefix =
        |prefix: &str| key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if starts_with_prefix(RESERVED_TAG_PREFIX) {
        return Err(EntryRuleError::ReservedTag { key: key.to_owned() });
    }
    if !(1..=MAX_TAG_KEY).contains(&key.chars().count()) {
        return Err(EntryRuleError::TagKeyLength { key: key.to_owned() });
    }
    match value.chars().count() {
        length if length > MAX_TAG_VALUE => Err(EntryRuleError::TagValueLength { key: key.to_owned(), length }),
        _ => Ok(()),
    }
}

/// Checks how many tags an entry has together, also those that other clients have written.
pub(crate) fn check_tag_count(tags: &Labels) -> Result<(), EntryRuleError> {
    if tags.len() > MAX_TAGS { Err(EntryRuleError::TooManyTags { count: tags.len() }) } else { Ok(()) }
}

/// Checks an entry that a client creates, with its associations.
pub(crate) fn check_new_entry(entry: &AccessEntry, cluster_account: Option<&AccountId>) -> Result<(), EntryRuleError> {
    let entry_type = &entry.entry_type;
    check_principal(entry.principal(), entry_type, cluster_account)?;
    check_username(&entry.username, entry_type)?;
    entry.groups.iter().try_for_each(|group| check_group(group, entry_type))?;
    entry.policies().try_for_each(|(arn, scope)| check_association(arn, scope, entry_type, partition_of(entry)))?;
    entry.tags().iter().try_for_each(|(key, value)| check_tag(key, value))?;
    check_tag_count(entry.tags())
}

/// Checks what a client changes in an entry. What it leaves as it is can break the rules.
pub(crate) fn check_changed_entry(old: &AccessEntry, new: &AccessEntry) -> Result<(), EntryRuleError> {
    let entry_type = &new.entry_type;
    if *entry_type != old.entry_type {
        return Err(EntryRuleError::TypeIsImmutable);
    }
    if new.username != old.username || new.groups != old.groups {
        // EKS refuses even what it has set itself.
        if entry_type.is_node() {
            return Err(if new.username == old.username {
                EntryRuleError::NodeGroups(entry_type.clone())
            } else {
                EntryRuleError::NodeUsername(entry_type.clone())
            });
        }
        // One call changes both, and always sends both.
        check_username(&new.username, entry_type)?;
        new.groups.iter().try_for_each(|group| check_group(group, entry_type))?;
    }
    for (arn, scope) in new.policies().filter(|(arn, scope)| old.policy_scope(arn) != Some(*scope)) {
        check_association(arn, scope, entry_type, partition_of(new))?;
    }
    let changed_tags = new.tags().iter().filter(|(key, value)| old.tags().get(*key) != Some(*value));
    changed_tags.clone().try_for_each(|(key, value)| check_tag(key, value))?;
    let removed_tags = old.tags().keys().filter(|key| !new.tags().contains_key(*key));
    removed_tags.cloned().try_for_each(|key| check_tag(&key, ""))?;
    if changed_tags.count() == 0 { Ok(()) } else { check_tag_count(new.tags()) }
}

/// Returns the partition of the principal, which is that of its cluster: a principal of another partition cannot call it.
fn partition_of(entry: &AccessEntry) -> Option<&str> {
    entry.principal().strip_prefix("arn:")?.split(':').next()
}

fn reserved_prefix_of(name: &str) -> Option<&'static str> {
    RESERVED_PREFIXES.into_iter().find(|prefix| name.starts_with(prefix))
}

/// Returns the username that EKS gives to the nodes of a type. `None` for STANDARD, and for a type that is not known.
fn node_username(entry_type: &AccessEntryType) -> Option<&'static str> {
    match entry_type {
        AccessEntryType::Ec2Linux | AccessEntryType::Ec2Windows | AccessEntryType::Ec2 => {
            Some("system:node:{{EC2PrivateDNSName}}")
        }
        AccessEntryType::FargateLinux | AccessEntryType::HybridLinux | AccessEntryType::HyperpodLinux => {
            Some("system:node:{{SessionName}}")
        }
        AccessEntryType::Standard | AccessEntryType::Other(_) => None,
    }
}

/// Returns the username that EKS gives to an entry that is created or updated without one. Empty for a type that is not
/// known.
pub(crate) fn default_username(principal: &str, entry_type: &AccessEntryType) -> String {
    if let Some(username) = node_username(entry_type) {
        return username.to_owned();
    }
    match (entry_type, principal.splitn(6, ':').collect::<Vec<_>>().as_slice()) {
        (AccessEntryType::Standard, ["arn", partition, "iam", _, account, resource]) => {
            match resource.strip_prefix("role/") {
                Some(role) => {
                    let name = role.rsplit('/').next().unwrap_or_default();
                    format!("arn:{partition}:sts::{account}:assumed-role/{name}/{SESSION_NAME}")
                }
                None => principal.to_owned(),
            }
        }
        _ => String::new(),
    }
}

/// Returns the groups that EKS gives to an entry of a type that cannot have groups of its own.
pub(crate) fn default_groups(entry_type: &AccessEntryType) -> &'static [&'static str] {
    match entry_type {
        AccessEntryType::Standard | AccessEntryType::Other(_) => &[],
        AccessEntryType::Ec2Windows => &["system:nodes", "eks:kube-proxy-windows"],
        AccessEntryType::Ec2Linux
        | AccessEntryType::FargateLinux
        | AccessEntryType::HybridLinux
        | AccessEntryType::HyperpodLinux
        | AccessEntryType::Ec2 => &["system:nodes"],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/team/viewer";
    const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";

    fn node_types() -> Vec<AccessEntryType> {
        AccessEntryType::KNOWN.into_iter().filter(AccessEntryType::is_node).collect()
    }

    fn entry(changes: &[(&str, serde_json::Value)]) -> AccessEntry {
        let mut value = json!({ "metadata": { "name": ROLE }, "username": "viewer", "kubernetesGroups": ["viewers"] });
        for (field, content) in changes {
            value[field] = content.clone();
        }
        AccessEntry::from_json(&value).unwrap()
    }

    #[test]
    fn principal_is_a_role_or_user_with_its_path() {
        let check = |principal: &str| check_principal(principal, &AccessEntryType::Standard, None);
        for principal in [
            ROLE,
            "arn:aws:iam::444455556666:user/team/bob",
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_x_0123456789abcdef",
        ] {
            assert_eq!(check(principal), Ok(()), "{principal}");
        }
        let session = check("arn:aws:sts::111122223333:assumed-role/viewer/me").unwrap_err();
        assert_eq!(session, EntryRuleError::RoleSession { role: "arn:aws:iam::111122223333:role/viewer".into() });
        assert!(session.help().unwrap().contains("with its path"));
        assert_eq!(check("arn:aws:iam::111122223333:root"), Err(EntryRuleError::AccountRoot));
        for account in ["111122223333", "444455556666"] {
            let role = format!("arn:aws:iam::{account}:role/aws-service-role/eks.amazonaws.com/x");
            assert_eq!(check(&role), Err(EntryRuleError::ServiceLinkedRole));
        }
        for text in ["viewer", "arn:aws:iam::111122223333:group/x", "arn:aws:iam::1:role/x", "arn:aws:s3:::bucket"] {
            assert_eq!(check(text), Err(EntryRuleError::NotAPrincipal(text.into())));
        }
        let other = AccessEntryType::parse("Standard");
        assert_eq!(check_principal(ROLE, &other, None), Err(EntryRuleError::UnknownType("Standard".into())));
    }

    #[test]
    fn node_is_a_role_of_the_account_of_the_cluster() {
        let account = AccountId::parse("111122223333").unwrap();
        let other = AccountId::parse("444455556666").unwrap();
        for node in node_types() {
            assert_eq!(check_principal(ROLE, &node, None), Ok(()));
            assert_eq!(check_principal(ROLE, &node, Some(&account)), Ok(()));
            assert!(matches!(
                check_principal(ROLE, &node, Some(&other)),
                Err(EntryRuleError::NodeOfOtherAccount { .. })
            ));
            let user = "arn:aws:iam::111122223333:user/bob";
            assert_eq!(check_principal(user, &node, Some(&account)), Err(EntryRuleError::NodeIsNoRole(node.clone())));
        }
        assert_eq!(check_principal(ROLE, &AccessEntryType::Standard, Some(&other)), Ok(()));
    }

    #[test]
    fn node_has_only_the_names_that_eks_gives() {
        for node in node_types() {
            assert_eq!(check_username("", &node), Ok(()));
            assert_eq!(check_username(&default_username(ROLE, &node), &node), Ok(()));
            assert_eq!(check_username("viewer", &node), Err(EntryRuleError::NodeUsername(node.clone())));
            assert!(default_groups(&node).iter().all(|group| check_group(group, &node).is_ok()));
            assert_eq!(check_group("viewers", &node), Err(EntryRuleError::NodeGroups(node)));
        }
    }

    #[test]
    fn reserved_names_are_refused_by_their_prefix() {
        let standard = AccessEntryType::Standard;
        for prefix in RESERVED_PREFIXES {
            let name = format!("{prefix}x");
            assert_eq!(check_username(&name, &standard), Err(EntryRuleError::ReservedUsername { prefix }));
            assert_eq!(check_group(&name, &standard), Err(EntryRuleError::ReservedGroup { group: name, prefix }));
        }
        for name in ["sts:x", "system", "team:system:x", "ci", "arn:aws:iam::111122223333:user/bob"] {
            assert_eq!((check_username(name, &standard), check_group(name, &standard)), (Ok(()), Ok(())), "{name}");
        }
    }

    #[test]
    fn session_name_needs_a_colon_before_it() {
        let check = |name: &str| check_username(name, &AccessEntryType::Standard);
        for name in ["ci:{{SessionName}}", "a:b-{{SessionName}}-c", ""] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["{{SessionName}}", "ci-{{SessionName}}", "{{SessionName}}:x", "ci-{{SessionName}}:{{SessionName}}"]
        {
            assert_eq!(check(name), Err(EntryRuleError::NoColonBeforeSessionName), "{name}");
        }
    }

    #[test]
    fn association_needs_an_access_policy_of_the_partition() {
        let check = |arn: &str| check_association(arn, &AccessScope::Cluster, &AccessEntryType::Standard, Some("aws"));
        assert_eq!(check(VIEW), Ok(()));
        for arn in
            ["arn:aws:iam::aws:policy/ReadOnlyAccess", "AmazonEKSViewPolicy", "arn:aws:eks::aws:cluster-access-policy/"]
        {
            assert_eq!(check(arn), Err(EntryRuleError::NotAnAccessPolicy(arn.into())));
        }
        let china = "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
        assert!(matches!(check(china), Err(EntryRuleError::PolicyOfOtherPartition { .. })));
        let none = AccessScope::Namespaces(BTreeSet::new());
        assert_eq!(check_association(VIEW, &none, &AccessEntryType::Standard, None), Err(EntryRuleError::NoNamespaces));
        for node in node_types() {
            let answer = check_association(VIEW, &AccessScope::Cluster, &node, None);
            assert_eq!(answer.is_ok(), node == AccessEntryType::Ec2, "{node:?}");
        }
    }

    #[test]
    fn tags_have_limits() {
        assert_eq!(check_tag("rolecall/policy", ""), Ok(()));
        assert_eq!(check_tag(&"ä".repeat(128), &"ä".repeat(256)), Ok(()));
        assert!(matches!(check_tag(&"k".repeat(129), ""), Err(EntryRuleError::TagKeyLength { .. })));
        assert!(matches!(check_tag("", ""), Err(EntryRuleError::TagKeyLength { .. })));
        assert!(matches!(check_tag("k", &"v".repeat(257)), Err(EntryRuleError::TagValueLength { .. })));
        assert!(matches!(check_tag("AWS:x", ""), Err(EntryRuleError::ReservedTag { .. })));
        let tags = |count: usize| (0..count).map(|index| (index.to_string(), String::new())).collect::<Labels>();
        assert_eq!(check_tag_count(&tags(50)), Ok(()));
        assert_eq!(check_tag_count(&tags(51)), Err(EntryRuleError::TooManyTags { count: 51 }));
    }

    #[test]
    fn only_what_changes_is_checked() {
        let stored = entry(&[
            ("username", json!("eks:addon")),
            ("kubernetesGroups", json!(["eks:addons"])),
            ("tags", json!({ "aws:eks:managed": "x" })),
        ]);
        let with_tag = entry(&[
            ("username", json!("eks:addon")),
            ("kubernetesGroups", json!(["eks:addons"])),
            ("tags", json!({ "aws:eks:managed": "x", "team": "a" })),
        ]);
        assert_eq!(check_changed_entry(&stored, &with_tag), Ok(()));
        let with_group = entry(&[("username", json!("eks:addon")), ("tags", json!({ "aws:eks:managed": "x" }))]);
        assert!(matches!(check_changed_entry(&stored, &with_group), Err(EntryRuleError::ReservedUsername { .. })));
        assert!(matches!(
            check_changed_entry(
                &with_tag,
                &entry(&[("username", json!("eks:addon")), ("kubernetesGroups", json!(["eks:addons"]))])
            ),
            Err(EntryRuleError::ReservedTag { .. })
        ));
        assert_eq!(
            check_changed_entry(&entry(&[]), &entry(&[("type", json!("EC2_LINUX"))])),
            Err(EntryRuleError::TypeIsImmutable)
        );
        let associated = entry(&[("accessPolicies", json!({ "x": { "type": "cluster" } }))]);
        assert!(matches!(check_changed_entry(&entry(&[]), &associated), Err(EntryRuleError::NotAnAccessPolicy(_))));
        assert_eq!(check_changed_entry(&associated, &associated), Ok(()));
        assert!(check_new_entry(&associated, None).is_err());
        assert_eq!(check_new_entry(&entry(&[]), None), Ok(()));
    }

    #[test]
    fn default_username_is_that_of_eks() {
        let name = |principal: &str, text: &str| default_username(principal, &AccessEntryType::parse(text));
        assert_eq!(name(ROLE, "STANDARD"), "arn:aws:sts::111122223333:assumed-role/viewer/{{SessionName}}");
        assert_eq!(name("arn:aws:iam::1:user/a/bob", "STANDARD"), "arn:aws:iam::1:user/a/bob");
        assert_eq!(name(ROLE, "EC2_LINUX"), "system:node:{{EC2PrivateDNSName}}");
        assert_eq!(name(ROLE, "HYBRID_LINUX"), "system:node:{{SessionName}}");
        assert_eq!(name(ROLE, "FUTURE"), "");
    }
}
