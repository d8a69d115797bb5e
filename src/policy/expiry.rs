//! `expires`: what has ended by a moment, and what ends soon.

use jiff::{SignedDuration, Timestamp};

use super::model::{Expiry, Located};
use super::table::quote_key;
use crate::diagnostic::{Diagnostic, Span};

/// People are told two weeks before: long enough to have a longer time reviewed.
const EXPIRY_WARNING_PERIOD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Something that the policy lists and does not want any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiration {
    /// `expired on 2026-10-01`.
    pub(crate) reason: String,
    /// Where the policy says so.
    pub(crate) span: Span,
}

impl Expiration {
    /// The reason of a removal. What nobody owned goes as well: with a longer time it would have been adopted.
    pub(crate) fn removal_reason(&self, is_ours: bool) -> String {
        if is_ours { self.reason.clone() } else { format!("{}; nobody owned it", self.reason) }
    }
}

/// `on 2026-10-01`, `at 2026-10-01T12:00:00`.
fn format_expiry(expiry: &Expiry) -> String {
    let word = if expiry.text.contains(':') { "at" } else { "on" };
    format!("{word} {}", expiry.text)
}

/// The end, where it has come: the moment itself is without access.
pub(super) fn find_expiration(expires: Option<&Located<Expiry>>, now: Timestamp) -> Option<Expiration> {
    let expires = expires.filter(|expires| expires.value.at <= now)?;
    Some(Expiration { reason: format!("expired {}", format_expiry(&expires.value)), span: expires.span })
}

/// A warning, where the end has not come and is near.
pub(super) fn warn_if_expiring_soon(
    section: &str,
    name: &str,
    expires: Option<&Located<Expiry>>,
    now: Timestamp,
) -> Option<Diagnostic> {
    let expires = expires?;
    let left = expires.value.at.duration_since(now);
    if left <= SignedDuration::ZERO || left > EXPIRY_WARNING_PERIOD {
        return None;
    }
    let left = match left.as_hours() {
        0 => "in less than an hour".to_owned(),
        hours @ 1..48 => format!("in {hours} h"),
        hours => format!("in {} days", hours / 24),
    };
    let warning = format!("`{section}.{}` expires {}, {left}", quote_key(name), format_expiry(&expires.value));
    let hint = "from then on plan removes it: write a later `expires` if the access is to stay";
    Some(Diagnostic::warning(warning).primary_label(expires.span, "").with_help(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(at: &str) -> Located<Expiry> {
        Located::new(Expiry { text: at.to_owned(), at: at.parse().unwrap() }, Span::new(0, &(0..1)))
    }

    #[test]
    fn the_moment_itself_is_the_first_without_access() {
        let at = expiry("2026-10-01T00:00:00Z");
        let has_ended = |now: &str| find_expiration(Some(&at), now.parse().unwrap()).is_some();
        assert!(!has_ended("2026-09-30T23:59:59.999Z"));
        assert!(has_ended("2026-10-01T00:00:00Z"));
        assert!(has_ended("2026-10-01T02:00:00+01:00"));
        assert!(find_expiration(None, Timestamp::MAX).is_none());
    }

    #[test]
    fn what_ends_within_fourteen_days_is_said() {
        let at = expiry("2026-10-15T00:00:00Z");
        let said = |now: &str| {
            warn_if_expiring_soon("principals", "a b", Some(&at), now.parse().unwrap()).map(|found| found.message)
        };
        assert_eq!(said("2026-09-30T23:59:59Z"), None);
        let is = |now: &str, left: &str| {
            assert_eq!(said(now).unwrap(), format!("`principals.\"a b\"` expires at 2026-10-15T00:00:00Z, {left}"));
        };
        is("2026-10-01T00:00:00Z", "in 14 days");
        is("2026-10-13T00:00:00Z", "in 2 days");
        is("2026-10-13T00:00:01Z", "in 47 h");
        is("2026-10-14T23:00:01Z", "in less than an hour");
        assert_eq!(said("2026-10-15T00:00:00Z"), None);
    }
}
