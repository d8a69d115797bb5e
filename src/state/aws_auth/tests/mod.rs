//! Tests of parsing and editing. Where the authenticator's behavior is the reference, its own parser is run.

mod authenticator;
pub(crate) mod corpus;
mod diff;
mod differential;
mod edge_cases;
mod edits;
mod layouts;
mod samples;

/// Returns a number from an environment variable, for longer test runs or other seeds.
#[expect(clippy::disallowed_methods, reason = "a test has no Env")]
pub(crate) fn env_number<N: std::str::FromStr>(name: &str, default: N) -> N {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
