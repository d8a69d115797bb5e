//! Tests of the room. Where the truth is the authenticator's, its own parser is asked.

mod authenticator;
pub(crate) mod corpus;
mod diff;
mod differential;
mod edge_cases;
mod edits;
mod layouts;
mod preservation;
mod samples;

/// A number from the environment, to make a test run longer or otherwise.
#[expect(clippy::disallowed_methods, reason = "a test has no World")]
pub(crate) fn env_number<N: std::str::FromStr>(name: &str, default: N) -> N {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
