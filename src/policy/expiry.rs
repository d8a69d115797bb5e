//! Evaluates `expires`: what has expired, and what expires soon.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clusters::applies_to_cluster;
use super::model::{Expiry, Located, Policy};
use super::table::quote_key;
use crate::diagnostic::{Diagnostic, SourceLocation, Span};

/// Two weeks, which is enough time to review an extension.
const EXPIRY_WARNING_PERIOD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Why an item of the policy is no longer wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiration {
    /// `expired on 2026-10-01`.
    pub(crate) reason: String,
    /// The `expires` in the policy.
    pub(crate) span: Span,
}

impl Expiration {
    /// Returns the reason for the removal. An object without an owner is removed only if the ownership is exclusive.
    pub(crate) fn removal_reason(&self, is_owned: bool) -> String {
        if is_owned { self.reason.clone() } else { format!("{}; not owned by any policy", self.reason) }
    }

    /// Returns a warning that an object or entry has expired and is kept, because no policy owns it: rolecall removes only
    /// what it manages.
    pub(crate) fn kept_warning(&self, name: &str) -> Diagnostic {
        Diagnostic::warning(format!("{name} has expired but is kept: no policy owns it"))
            .primary_label(self.span, "")
            .with_because(self.reason.clone())
            .with_help("delete it by hand if its access has to end")
    }
}

/// An `expires` of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyExpiry {
    /// The table of the policy: `principals` or `bindings`.
    pub(crate) section: &'static str,
    pub(crate) name: String,
    /// The date or time as the policy has it.
    pub(crate) expires: String,
    pub(crate) at: Timestamp,
    /// The time that is left. Zero if it has expired.
    pub(crate) left: Duration,
    /// The location of `expires`.
    pub(crate) location: SourceLocation,
}

/// Returns every `expires` of the policy for a cluster, the earliest first.
pub(crate) fn policy_expiries(policy: &Policy, cluster: Option<&str>, now: Timestamp) -> Vec<PolicyExpiry> {
    let is_here = |clusters: &super::model::ClusterFilter| applies_to_cluster(clusters.as_deref(), cluster);
    let principals = policy.principals.iter().filter(|(_, spec)| is_here(&spec.clusters));
    let principals = principals.map(|(name, spec)| ("principals", name, spec.expires.as_ref()));
    let bindings = policy.bindings.iter().filter(|(_, spec)| is_here(&spec.clusters));
    let bindings = bindings.map(|(name, spec)| ("bindings", name, spec.expires.as_ref()));
    let to_expiry = |(section, name, expires): (&'static str, &String, Option<&Located<Expiry>>)| {
        let Located { value: Expiry { text, at }, span } = expires?;
        Some(PolicyExpiry {
            section,
            name: name.clone(),
            expires: text.clone(),
            at: *at,
            left: Duration::try_from(at.duration_since(now)).unwrap_or_default(),
            location: policy.sources.location(*span),
        })
    };
    let mut expiries: Vec<PolicyExpiry> = principals.chain(bindings).filter_map(to_expiry).collect();
    expiries.sort_by_key(|expiry| expiry.at);
    expiries
}

/// Returns `on 2026-10-01` or `at 2026-10-01T12:00:00`.
fn format_expiry(expiry: &Expiry) -> String {
    let preposition = if expiry.text.contains(':') { "at" } else { "on" };
    format!("{preposition} {}", expiry.text)
}

/// Returns the expiration if it has passed. Access ends exactly at the given time.
pub(super) fn find_expiration(expires: Option<&Located<Expiry>>, now: Timestamp) -> Option<Expiration> {
    let expires = expires.filter(|expires| expires.value.at <= now)?;
    Some(Expiration { reason: format!("expired {}", format_expiry(&expires.value)), span: expires.span })
}

/// Returns a warning if the item expires within [`EXPIRY_WARNING_PERIOD`].
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
    let diagnostic = Diagnostic::warning(warning)
        .primary_label(expires.span, "")
        .with_note("plan removes it after that")
        .with_help("to keep the access, set a later `expires`");
    Some(diagnostic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(at: &str) -> Located<Expiry> {
        Located::new(Expiry { text: at.to_owned(), at: at.parse().unwrap() }, Span::new(0, &(0..1)))
    }

    #[test]
    fn access_ends_at_the_given_time() {
        let at = expiry("2026-10-01T00:00:00Z");
        let has_expired = |now: &str| find_expiration(Some(&at), now.parse().unwrap()).is_some();
        assert!(!has_expired("2026-09-30T23:59:59.999Z"));
        assert!(has_expired("2026-10-01T00:00:00Z"));
        assert!(has_expired("2026-10-01T02:00:00+01:00"));
        assert!(find_expiration(None, Timestamp::MAX).is_none());
    }

    #[test]
    fn expiry_within_fourteen_days_is_a_warning() {
        let at = expiry("2026-10-15T00:00:00Z");
        let warning = |now: &str| {
            let diagnostic = warn_if_expiring_soon("principals", "a b", Some(&at), now.parse().unwrap())?;
            Some(diagnostic.message)
        };
        assert_eq!(warning("2026-09-30T23:59:59Z"), None);
        let assert_warning = |now: &str, left: &str| {
            assert_eq!(warning(now).unwrap(), format!("`principals.\"a b\"` expires at 2026-10-15T00:00:00Z, {left}"));
        };
        assert_warning("2026-10-01T00:00:00Z", "in 14 days");
        assert_warning("2026-10-13T00:00:00Z", "in 2 days");
        assert_warning("2026-10-13T00:00:01Z", "in 47 h");
        assert_warning("2026-10-14T23:00:01Z", "in less than an hour");
        assert_eq!(warning("2026-10-15T00:00:00Z"), None);
    }
}
