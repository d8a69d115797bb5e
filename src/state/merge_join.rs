//! Merge join: one walk over two iterators that are sorted by the same key. It depends on nothing else in the crate.

use std::cmp::Ordering;

/// The values of one key: in the first iterator, in the second one, or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EitherOrBoth<A, B> {
    Left(A),
    Right(B),
    Both(A, B),
}

/// Yields every key of the two iterators once, in ascending order. Both iterators must be sorted by key without
/// duplicates, as those of a `BTreeMap` are.
pub(crate) fn merge_join<K: Ord, A, B>(
    left: impl IntoIterator<Item = (K, A)>,
    right: impl IntoIterator<Item = (K, B)>,
) -> impl Iterator<Item = (K, EitherOrBoth<A, B>)> {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some((left_key, _)), Some((right_key, _))) => left_key.cmp(right_key),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        match order {
            Ordering::Less => left.next().map(|(key, a)| (key, EitherOrBoth::Left(a))),
            Ordering::Greater => right.next().map(|(key, b)| (key, EitherOrBoth::Right(b))),
            Ordering::Equal => left.next().zip(right.next()).map(|((key, a), (_, b))| (key, EitherOrBoth::Both(a, b))),
        }
    })
}
