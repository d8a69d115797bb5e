//! One walk through two sorted rows of things, side by side. It knows nothing of what they are.

use std::cmp::Ordering;

/// Where a thing stands: in one row alone, or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EitherOrBoth<A, B> {
    Left(A),
    Right(B),
    Both(A, B),
}

/// Each key once, in order. Both rows come sorted by their keys, without repeats, as maps are.
pub(crate) fn merge_join<K: Ord, A, B>(
    first: impl IntoIterator<Item = (K, A)>,
    second: impl IntoIterator<Item = (K, B)>,
) -> impl Iterator<Item = (K, EitherOrBoth<A, B>)> {
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (first.peek(), second.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        match order {
            Ordering::Less => first.next().map(|(key, one)| (key, EitherOrBoth::Left(one))),
            Ordering::Greater => second.next().map(|(key, other)| (key, EitherOrBoth::Right(other))),
            Ordering::Equal => {
                first.next().zip(second.next()).map(|((key, one), (_, other))| (key, EitherOrBoth::Both(one, other)))
            }
        }
    })
}
