//! Watches what identities may do while a test runs, through the authenticator and the authorizers of the test cluster.

use serde_json::{Value, json};

use super::cluster::TestCluster;

/// The number of identities that are asked about at a time.
const WORKERS: usize = 2;

/// A running watch. The cluster can have one at a time.
pub struct Watch<'a> {
    cluster: &'a TestCluster,
    requests: Vec<String>,
}

/// What an identity could do, as far as it was seen.
#[derive(Debug)]
pub struct History {
    pub identity: String,
    /// When the answers changed, in milliseconds since the start of the watch, and the new ones. Each has a letter for
    /// each request: `y` (allowed), `n` (denied) or `-` (the identity is not authenticated).
    pub changes: Vec<(u64, String)>,
    pub observations: u64,
    pub longest_pause_ms: u64,
}

impl TestCluster {
    /// Whether the identities may make the requests, in the forms of [`History`] and [`Self::watch`], with new tokens.
    #[track_caller]
    pub fn answers(&self, identities: &[&str], requests: &[Value]) -> Vec<String> {
        let input = json!({"identities": identities, "requests": requests});
        let output = self.control_request("/answers", &input).unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_value(output).expect("a text for each identity")
    }

    /// Asks again and again whether the identities may make the requests, which are `spec`s of a SubjectAccessReview with
    /// only `resourceAttributes` or `nonResourceAttributes`. Returns after the first round.
    #[track_caller]
    pub fn watch(&self, identities: &[&str], requests: &[Value]) -> Watch<'_> {
        let input = json!({"identities": identities, "requests": requests, "workers": WORKERS});
        self.control_request("/watch/start", &input).unwrap_or_else(|error| panic!("{error}"));
        Watch { cluster: self, requests: requests.iter().map(Value::to_string).collect() }
    }
}

impl Watch<'_> {
    /// Returns after each identity was asked about at least once more.
    #[track_caller]
    pub fn round(&self) {
        self.cluster.control_request("/watch/round", &json!({})).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Ends the watch after a last round.
    ///
    /// # Panics
    /// If a review failed.
    #[track_caller]
    pub fn stop(self) -> Vec<History> {
        let output = self.cluster.control_request("/watch/stop", &json!({})).unwrap_or_else(|error| panic!("{error}"));
        let number = |value: &Value| value.as_u64().expect("a number");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let histories = output.as_array().expect("a list").iter();
        histories
            .map(|history| History {
                identity: text(&history["identity"]),
                changes: history["changes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|c| (number(&c["at_ms"]), text(&c["answers"])))
                    .collect(),
                observations: number(&history["observations"]),
                longest_pause_ms: number(&history["longest_pause_ms"]),
            })
            .collect()
    }

    /// Ends the watch.
    ///
    /// # Panics
    /// If a request was denied at a moment that was allowed before and after, or allowed at one that neither allows.
    #[track_caller]
    pub fn stop_without_gaps(self) -> Vec<History> {
        let requests = self.requests.clone();
        let histories = self.stop();
        let gaps: Vec<String> = histories.iter().flat_map(|history| gaps(history, &requests)).collect();
        assert!(gaps.is_empty(), "{} gaps:\n{}", gaps.len(), gaps.join("\n"));
        histories
    }
}

/// The moments at which a request had another answer than before and after.
pub fn gaps(history: &History, requests: &[String]) -> Vec<String> {
    let (Some((_, first)), Some((_, last))) = (history.changes.first(), history.changes.last()) else {
        return Vec::new();
    };
    let is_allowed = |answers: &str, index: usize| answers.as_bytes()[index] == b'y';
    let mut found = Vec::new();
    for (at, answers) in &history.changes {
        for (index, request) in requests.iter().enumerate() {
            let ends = (is_allowed(first, index), is_allowed(last, index));
            let now = is_allowed(answers, index);
            if ends.0 == ends.1 && now != ends.0 {
                let answer = if now { "allowed" } else { "denied" };
                found.push(format!("{} is {answer} at {at} ms: {request} ({:?})", history.identity, history.changes));
            }
        }
    }
    found
}
