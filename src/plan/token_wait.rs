//! Waits between two steps of a plan, for tokens that an API server has cached.
//!
//! An API server keeps the username and the groups of a token for some time after aws-auth has changed: a webhook answer
//! for `--authentication-token-webhook-cache-ttl`, 2 minutes by default, and a successful authentication for 10 seconds
//! more (kubernetes v1.36.3 `pkg/kubeapiserver/authenticator/config.go`). RBAC is evaluated at each request. A step that
//! changes what the old groups grant must therefore wait until no token has them any more.

use std::time::Duration;

/// A wait before a step. No write is made meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenWait {
    /// The stage of the wait, in which there are no steps.
    pub(crate) stage: usize,
    /// The index of the first step after the wait.
    pub(crate) before_step: usize,
    pub(crate) duration: Duration,
    /// The principals whose cached tokens would have too much or too little access after that step.
    pub(crate) subjects: Vec<String>,
}
