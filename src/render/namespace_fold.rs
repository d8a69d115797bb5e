//! Joins items that differ only in their namespace.

use std::collections::BTreeMap;

/// An item, and the namespaces in which it is the same. It has no namespace if the list is empty.
pub(super) struct FoldedItem<'a, T> {
    pub(super) item: &'a T,
    pub(super) namespaces: Vec<&'a str>,
}

/// Joins items whose keys are equal. Each group is where its first item was. `key` returns the namespace of an item, and all
/// of it but its namespace; `None` for an item without a namespace.
pub(super) fn fold_namespaces<'a, T, K: Ord>(
    items: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&'a T) -> Option<(K, &'a str)>,
) -> Vec<FoldedItem<'a, T>> {
    let mut folded: Vec<FoldedItem<'a, T>> = Vec::new();
    let mut known: BTreeMap<K, usize> = BTreeMap::new();
    for item in items {
        let Some((key, namespace)) = key(item) else {
            folded.push(FoldedItem { item, namespaces: Vec::new() });
            continue;
        };
        match known.get(&key).and_then(|index| folded.get_mut(*index)) {
            Some(group) => group.namespaces.push(namespace),
            None => {
                known.insert(key, folded.len());
                folded.push(FoldedItem { item, namespaces: vec![namespace] });
            }
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_are_joined_where_the_first_one_is() {
        let items = [("edit", Some("a")), ("all", None), ("view", Some("a")), ("edit", Some("b")), ("all", None)];
        let folded = fold_namespaces(&items, |(name, namespace)| Some((*name, (*namespace)?)));
        let texts: Vec<String> =
            folded.iter().map(|group| format!("{} {}", group.item.0, group.namespaces.join("+"))).collect();
        assert_eq!(texts, ["edit a+b", "all ", "view a", "all "]);
    }
}
