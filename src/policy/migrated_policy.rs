//! The text of a policy after a cluster has moved to access entries. Comments and layout stay.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, DocumentMut, InlineTable, Item, RawString, TableLike, Value};

use super::check::arn_defaults;
use super::clusters::applies_to_cluster;
use super::model::Policy;
use super::principal_spec::StoreChoice;
use crate::names::Arn;
use crate::state::object_meta::Labels;

const MASTERS: &str = "system:masters";
const ACCESS_POLICIES: &str = "access-policies";

/// Returns the ARN and the `eks-tags` of each principal of the policy in a cluster. A whole account has no ARN.
pub(crate) fn principals_in_cluster(policy: &Policy, cluster: Option<&str>) -> Vec<(Arn, Labels)> {
    let defaults = arn_defaults(policy, cluster);
    let here = policy.principals.values().filter(|item| applies_to_cluster(item.clusters.as_deref(), cluster));
    let with_tags = here.filter_map(|item| {
        let tags = item.tags.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect();
        Some((item.identity.value.resolve_arn(defaults)?, tags))
    });
    with_tags.collect()
}

/// Returns the changed text of each file of a policy: the cluster uses access entries, and the members of `system:masters`
/// in it have the access policy `admin_policy` instead. The names of the files stay.
///
/// # Errors
/// The name of the file that cannot be changed, because it is not valid TOML.
pub(crate) fn migrated_policy(
    files: &[(String, String)],
    policy: &Policy,
    cluster: Option<&str>,
    admin_policy: &str,
) -> Result<Vec<(String, String)>, String> {
    let is_here = |name: &str| {
        policy.principals.get(name).is_some_and(|item| applies_to_cluster(item.clusters.as_deref(), cluster))
    };
    let lists_masters = |name: &str| {
        policy.principals.get(name).is_some_and(|item| item.groups.iter().any(|group| group.value == MASTERS))
    };
    let masters = policy.groups.get(MASTERS).filter(|group| applies_to_cluster(group.clusters.as_deref(), cluster));
    let members: BTreeSet<&str> =
        masters.into_iter().flat_map(|group| &group.members).map(|name| name.value.as_str()).collect();
    let admins: BTreeSet<&str> = policy
        .principals
        .keys()
        .map(String::as_str)
        .filter(|name| is_here(name) && (lists_masters(name) || members.contains(name)))
        .collect();
    let mut documents = BTreeMap::new();
    for (name, text) in files {
        documents.insert(name, text.parse::<DocumentMut>().map_err(|_| name.clone())?);
    }
    let is_left = |member: &str| !admins.contains(member);
    let mut is_group_empty = !admins.is_empty() && members.iter().all(|member| !is_left(member));
    is_group_empty &= policy.principals.keys().all(|name| !lists_masters(name) || admins.contains(name.as_str()));
    for document in documents.values_mut() {
        if let Some(table) = cluster.and_then(|cluster| table_at(document, "clusters", cluster)) {
            set_text(table, "authentication", StoreChoice::AccessEntries.as_str());
        }
        for name in &admins {
            if let Some(table) = table_at(document, "principals", name) {
                let comment = remove_from_list(table, "groups", |group| group == MASTERS);
                add_access_policy(table, admin_policy, comment);
            }
        }
        if let Some(table) = table_at(document, "groups", MASTERS) {
            remove_from_list(table, "members", |member| !is_left(member));
        }
        if is_group_empty && let Some(groups) = document.get_mut("groups").and_then(Item::as_table_like_mut) {
            groups.remove(MASTERS);
        }
    }
    Ok(files
        .iter()
        .map(|(name, text)| (name.clone(), documents.get(name).map_or(text.clone(), ToString::to_string)))
        .collect())
}

fn table_at<'d>(document: &'d mut DocumentMut, section: &str, name: &str) -> Option<&'d mut dyn TableLike> {
    document.get_mut(section)?.as_table_like_mut()?.get_mut(name)?.as_table_like_mut()
}

/// Sets a text. The comments of a value that exists stay.
fn set_text(table: &mut dyn TableLike, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = Value::from(text);
            *value.decor_mut() = decor;
        }
        None => drop(table.insert(key, toml_edit::value(text))),
    }
}

/// Removes texts from a list, and an empty list from its table. Returns the comment behind a list that is removed.
fn remove_from_list(table: &mut dyn TableLike, key: &str, is_removed: impl Fn(&str) -> bool) -> Option<RawString> {
    let list = table.get_mut(key).and_then(Item::as_array_mut)?;
    let removes_first = list.get(0).and_then(Value::as_str).is_some_and(&is_removed);
    list.retain(|item| !item.as_str().is_some_and(&is_removed));
    if list.is_empty() {
        let comment = list.decor().suffix().cloned();
        table.remove(key);
        return comment;
    }
    if removes_first
        && let Some(first) = list.get_mut(0)
        && first.decor().prefix().and_then(|prefix| prefix.as_str()) == Some(" ")
    {
        // The space after the comma of an element that is gone.
        first.decor_mut().set_prefix("");
    }
    None
}

/// Adds an access policy for the whole cluster to a principal.
fn add_access_policy(table: &mut dyn TableLike, policy: &str, comment: Option<RawString>) {
    let mut item = InlineTable::new();
    item.insert("policy", Value::from(policy));
    match table.get_mut(ACCESS_POLICIES).and_then(Item::as_array_mut) {
        Some(list) => {
            let is_same = |item: &Value| {
                item.as_inline_table().and_then(|item| item.get("policy")).and_then(Value::as_str) == Some(policy)
            };
            if !list.iter().any(is_same) {
                list.push(item);
            }
        }
        None => {
            let mut list = Array::new();
            list.push(item);
            if let Some(comment) = comment {
                list.decor_mut().set_suffix(comment);
            }
            table.insert(ACCESS_POLICIES, toml_edit::value(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::load_policy;

    const POLICY: &str = r#"# Access to production
[policy]
name = "prod" # the owner

[clusters.prod]
snapshot = "cluster.yaml" # for tests
account = "111122223333"

[clusters.dev]
snapshot = "dev.yaml"
account = "111122223333"

[principals.admin]
role = "team/admin" # break glass
groups = ["system:masters", "admins"] # both
[principals.root]
role = "root"
clusters = ["prod"]
groups = ["system:masters"]
[principals.viewer]
role = "viewer"
groups = ["viewers"]

[groups.admins]
[groups.viewers]
[groups."system:masters"]
"#;

    fn migrated(text: &str, cluster: Option<&str>) -> String {
        let files = vec![("policy.toml".to_owned(), text.to_owned())];
        let (policy, _) = load_policy(files.clone()).unwrap();
        migrated_policy(&files, &policy, cluster, "AmazonEKSClusterAdminPolicy").unwrap().remove(0).1
    }

    #[test]
    fn comments_and_layout_stay() {
        let text = POLICY.replace("role = \"team/admin\"", "role = \"admin\"");
        let changed = migrated(&text, Some("prod"));
        let diff = similar::TextDiff::from_lines(&text, &changed);
        insta::assert_snapshot!(diff.unified_diff().context_radius(0).to_string());
        assert_eq!(migrated(&changed, Some("prod")), changed, "again");
    }
}
