//! Which requests are retried, and after which delay.
//!
//! A read can always be retried. A write can be retried because every write has a precondition: if an earlier try was
//! applied, the precondition of the next try fails, and the object then shows which write it was.

use std::time::Duration;

/// The maximum number of tries of one request, including the first.
pub(super) const MAX_TRIES: u32 = 6;
/// The maximum number of tries if the connection is refused. A load balancer may be replacing its targets, but a wrong
/// address never works.
pub(super) const MAX_CONNECT_TRIES: u32 = 3;
/// The longest `Retry-After` that is respected. API priority and fairness sends 1 to 32 s.
const MAX_DELAY: Duration = Duration::from_secs(32);
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Returns whether a request with this response status is retried.
pub(crate) fn is_retryable(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// Returns whether the request may have been applied although the response has this status.
pub(super) fn is_outcome_unknown(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Returns the delay after this number of tries: the `Retry-After` of the response in seconds, or a delay that doubles.
pub(crate) fn retry_delay(tries: u32, retry_after: Option<&str>) -> Duration {
    let requested = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let default = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
    requested.unwrap_or(default).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_and_follows_retry_after_up_to_the_maximum() {
        assert_eq!([1, 2, 3].map(|tries| retry_delay(tries, None).as_millis()), [200, 400, 800]);
        assert_eq!(retry_delay(1, Some("7")), Duration::from_secs(7));
        assert_eq!(retry_delay(1, Some("0")), Duration::ZERO);
        assert_eq!(retry_delay(1, Some("9999")), MAX_DELAY);
        assert_eq!(retry_delay(2, Some("Wed, 21 Oct 2026 07:28:00 GMT")).as_millis(), 400);
    }

    #[test]
    fn conflicts_and_rejections_are_not_retried() {
        assert!([429, 500, 503, 504].into_iter().all(is_retryable));
        assert!(![400, 401, 403, 404, 409, 410, 422].into_iter().any(is_retryable));
        assert!(!is_outcome_unknown(429), "API priority and fairness rejects a request before it is processed");
    }
}
