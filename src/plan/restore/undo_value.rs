//! Takes back the change of one value. A value that is neither what the apply found nor what it wrote was changed by
//! another client, and is left alone.

use std::collections::{BTreeMap, BTreeSet};

/// A value before an apply and after each of its writes. `None` where it did not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versions<T> {
    pub(super) before: Option<T>,
    /// After each write but the last one. An interrupted apply can leave such a version.
    pub(super) intermediate: Vec<Option<T>>,
    pub(super) after: Option<T>,
}

impl<T> Versions<T> {
    /// Returns the versions that the apply wrote.
    pub(super) fn written(&self) -> impl Iterator<Item = Option<&T>> {
        self.intermediate.iter().map(Option::as_ref).chain([self.after.as_ref()])
    }

    /// Returns the same versions of a part of the value.
    pub(super) fn map<'a, U>(&'a self, part: impl Fn(&'a T) -> U) -> Versions<U> {
        Versions {
            before: self.before.as_ref().map(&part),
            intermediate: self.intermediate.iter().map(|version| version.as_ref().map(&part)).collect(),
            after: self.after.as_ref().map(&part),
        }
    }

    /// Converts each version.
    ///
    /// # Errors
    /// The first version that cannot be converted.
    pub(super) fn try_map<'a, U, E>(&'a self, convert: impl Fn(&'a T) -> Result<U, E>) -> Result<Versions<U>, E> {
        let convert = |version: &'a Option<T>| version.as_ref().map(&convert).transpose();
        Ok(Versions {
            before: convert(&self.before)?,
            intermediate: self.intermediate.iter().map(convert).collect::<Result<_, _>>()?,
            after: convert(&self.after)?,
        })
    }
}

/// What taking back the change of a value means for its current content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undo<T> {
    /// Nothing of the apply is left in the value.
    Nothing,
    /// Set the value. `None` removes it.
    Set(Option<T>),
    /// The value was changed since the apply.
    Conflict,
}

/// Takes back the change of a value that is restored as a whole.
pub(super) fn undo_value<T: Clone>(
    versions: &Versions<T>,
    current: Option<&T>,
    is_equal: impl Fn(&T, &T) -> bool,
) -> Undo<T> {
    let equals = |a: Option<&T>, b: Option<&T>| match (a, b) {
        (Some(a), Some(b)) => is_equal(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let before = versions.before.as_ref();
    if equals(before, current) {
        Undo::Nothing
    } else if versions.written().any(|written| equals(written, current)) {
        Undo::Set(before.cloned())
    } else if equals(before, versions.after.as_ref()) {
        Undo::Nothing
    } else {
        Undo::Conflict
    }
}

/// Takes back the changes of a list without order, value by value: removes the values that the apply added, adds those that
/// it removed, and keeps all others. Returns `None` if nothing of the apply is left in the list.
pub(super) fn undo_list<T: Clone + Ord>(versions: &Versions<Vec<T>>, current: &[T]) -> Option<Vec<T>> {
    let to_set = |list: Option<&Vec<T>>| -> BTreeSet<T> { list.into_iter().flatten().cloned().collect() };
    let before_list = versions.before.clone().unwrap_or_default();
    let (before, after) = (to_set(versions.before.as_ref()), to_set(versions.after.as_ref()));
    let now: BTreeSet<T> = current.iter().cloned().collect();
    // An interrupted apply leaves exactly one of the lists that it wrote.
    if versions.written().any(|written| to_set(written) == now) {
        return (now != before).then_some(before_list);
    }
    let written: BTreeSet<T> = versions.written().flat_map(to_set).collect();
    let added = &written - &before;
    let mut restored: Vec<T> = current.iter().filter(|value| !added.contains(value)).cloned().collect();
    restored.extend(before_list.into_iter().filter(|value| !after.contains(value) && !now.contains(value)));
    (restored.iter().collect::<BTreeSet<_>>() != now.iter().collect()).then_some(restored)
}

/// The result of [`undo_map`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UndoneMap {
    /// The keys to set or, with `None`, to remove.
    pub(super) changes: BTreeMap<String, Option<String>>,
    /// The keys whose values were changed since the apply.
    pub(super) conflicts: Vec<String>,
}

/// Takes back the changes of labels or annotations, key by key.
pub(super) fn undo_map(versions: &Versions<BTreeMap<String, String>>, current: &BTreeMap<String, String>) -> UndoneMap {
    let mut keys: BTreeSet<&String> = versions.before.iter().flatten().map(|(key, _)| key).collect();
    keys.extend(versions.written().flatten().flatten().map(|(key, _)| key));
    let mut undone = UndoneMap::default();
    for key in keys {
        let value = |map: &Option<BTreeMap<String, String>>| map.as_ref().and_then(|map| map.get(key)).cloned();
        let versions = Versions {
            before: value(&versions.before),
            intermediate: versions.intermediate.iter().map(value).collect(),
            after: value(&versions.after),
        };
        match undo_value(&versions, current.get(key), String::eq) {
            Undo::Nothing => {}
            Undo::Set(value) => drop(undone.changes.insert(key.clone(), value)),
            Undo::Conflict => undone.conflicts.push(key.clone()),
        }
    }
    undone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions<T: Clone>(list: &[Option<T>]) -> Versions<T> {
        let [before, intermediate @ .., after] = list else {
            panic!("a value has at least two versions");
        };
        Versions { before: before.clone(), intermediate: intermediate.to_vec(), after: after.clone() }
    }

    #[test]
    fn value_is_restored_only_if_it_is_as_the_apply_wrote_it() {
        let undo = |list: &[Option<u8>], current: Option<u8>| undo_value(&versions(list), current.as_ref(), u8::eq);
        assert_eq!(undo(&[Some(1), Some(2)], Some(2)), Undo::Set(Some(1)));
        assert_eq!(undo(&[Some(1), Some(2), Some(3)], Some(2)), Undo::Set(Some(1)));
        assert_eq!(undo(&[None, Some(2)], Some(2)), Undo::Set(None));
        assert_eq!(undo(&[Some(1), None], None), Undo::Set(Some(1)));
        assert_eq!(undo(&[Some(1), Some(2)], Some(1)), Undo::Nothing);
        assert_eq!(undo(&[Some(1), Some(2)], Some(3)), Undo::Conflict);
        assert_eq!(undo(&[Some(1), Some(2)], None), Undo::Conflict);
        // The apply left the value as it was, so a later change of it is none of its business.
        assert_eq!(undo(&[Some(1), Some(2), Some(1)], Some(3)), Undo::Nothing);
    }

    #[test]
    fn list_keeps_the_values_of_others() {
        let undo = |lists: &[&str], current: &str| {
            let split = |text: &&str| Some(text.chars().collect::<Vec<char>>());
            let restored =
                undo_list(&versions(&lists.iter().map(split).collect::<Vec<_>>()), &split(&current).unwrap());
            restored.map(String::from_iter)
        };
        assert_eq!(undo(&["ab", "bc"], "bc").as_deref(), Some("ab"));
        assert_eq!(undo(&["ab", "bc"], "bcx").as_deref(), Some("bxa"));
        assert_eq!(undo(&["ab", "bc"], "bx").as_deref(), Some("bxa"));
        assert_eq!(undo(&["ab", "bc"], "ab"), None);
        assert_eq!(undo(&["ab", "bc"], "abx"), None);
        // `t` is a temporary value of an interrupted apply.
        assert_eq!(undo(&["a", "t", "b"], "t").as_deref(), Some("a"));
        assert_eq!(undo(&["a", "t", "b"], "tx").as_deref(), Some("xa"));
    }
}
