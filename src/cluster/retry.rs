//! What may be tried again, and how long to wait before.
//!
//! A read may always be tried again. A write may, because each carries a precondition: what an earlier try has done
//! makes the next one fail, and looking at the object then tells whose work it was.

use std::time::Duration;

/// Tries of one request, the first included.
pub(super) const MAX_TRIES: u32 = 6;
/// Tries where nobody listens: a load balancer may be changing its targets, a wrong address stays wrong.
pub(super) const MAX_CONNECT_TRIES: u32 = 3;
/// Longest wait that a server may ask for; priority and fairness asks for 1 to 32 s.
const MAX_DELAY: Duration = Duration::from_secs(32);
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Whether an answer of this status may be followed by another try.
pub(super) fn is_retryable(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// Whether the request may have been carried out in spite of this answer.
pub(super) fn is_outcome_unknown(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// The wait after a number of tries: doubling, or what the server asks for.
pub(super) fn retry_delay(tries: u32, retry_after: Option<&str>) -> Duration {
    let asked = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let own = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
    asked.unwrap_or(own).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_obey_the_server_within_reason() {
        assert_eq!([1, 2, 3].map(|tries| retry_delay(tries, None).as_millis()), [200, 400, 800]);
        assert_eq!(retry_delay(1, Some("7")), Duration::from_secs(7));
        assert_eq!(retry_delay(1, Some("0")), Duration::ZERO);
        assert_eq!(retry_delay(1, Some("9999")), MAX_DELAY);
        assert_eq!(retry_delay(2, Some("Wed, 21 Oct 2026 07:28:00 GMT")).as_millis(), 400);
    }

    #[test]
    fn a_conflict_and_a_refusal_are_not_tried_again() {
        assert!([429, 500, 503, 504].into_iter().all(is_retryable));
        assert!(![400, 401, 403, 404, 409, 410, 422].into_iter().any(is_retryable));
        assert!(!is_outcome_unknown(429), "priority and fairness turns a request away before it is looked at");
    }
}
