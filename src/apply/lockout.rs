//! After a write of aws-auth: proves with new credentials that the caller still gets in and may still write, and puts
//! the old content back at once where he does not.
//!
//! A token that the API server has seen stays good for a while whatever aws-auth says, so the proof needs one that it has
//! not; and the authenticator follows a write in its own time, so the proof is repeated. The connection of the apply
//! keeps its old token: by it the old content goes back.

use std::time::Duration;

use serde_json::Value;

use crate::access::Request;
use crate::cluster::{CallerCheck, ClusterError, CredentialFreshness, UserInfo, WriteCluster, WriteOutcome};
use crate::names::ObjectKey;
use crate::plan::{Plan, Step};
use crate::state::rbac::RBAC_GROUP;
use crate::state::undo;
use crate::state::write::{ObjectVersion, ResolvedPrecondition};

/// When the caller comes in anew, counted from one look to the next: the authenticator watches the ConfigMap, and is
/// late by more than two seconds only when it is down.
pub(crate) const PROBE_DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(1200)];

/// What is known of aws-auth and of the caller before its write.
#[derive(Debug, Clone)]
pub(crate) struct AwsAuthBaseline {
    /// The ConfigMap, whole; nothing where there is none yet.
    pub(crate) config_map: Option<Value>,
    caller_check: Option<CallerCheck>,
    required_requests: Vec<Request>,
    /// The caller as the plan makes him, where it says so.
    allowed_usernames: Vec<String>,
}

/// Why the caller would have been left outside, and what became of the old content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lockout {
    pub(crate) reason: String,
    pub(crate) restore_result: Result<(), ClusterError>,
    /// The ConfigMap as it was, for whom it has to be put back by hand.
    pub(crate) config_map: Option<Value>,
}

impl AwsAuthBaseline {
    /// Asks what the write has to leave standing: to write aws-auth, and what the steps of the plan need.
    pub(crate) async fn for_plan<C: WriteCluster>(
        plan: &Plan,
        cluster: &C,
        renamed: impl FnOnce(&UserInfo) -> Vec<String>,
    ) -> Result<Self, ClusterError> {
        let needs = required_requests(plan);
        let standing = cluster.check_caller(CredentialFreshness::Current, &needs).await?;
        let image = cluster.read(&ObjectKey::aws_auth()).await?;
        let renamed = standing.as_ref().map(|standing| renamed(&standing.user)).unwrap_or_default();
        Ok(Self { config_map: image, caller_check: standing, required_requests: needs, allowed_usernames: renamed })
    }

    /// Whether the caller still stands where he stood.
    async fn find_lockout<C: WriteCluster>(&self, cluster: &C, looks: &[Duration]) -> Option<String> {
        let before = self.caller_check.as_ref()?;
        // aws-auth has no say in credentials that nobody makes anew: one look is enough.
        let looks = if before.may_use_aws_auth { looks } else { &[Duration::ZERO] };
        for pause in looks {
            tokio::time::sleep(*pause).await;
            if let Some(why) = self.check_caller_once(cluster, before).await {
                return Some(why);
            }
        }
        None
    }

    async fn check_caller_once<C: WriteCluster>(&self, cluster: &C, before: &CallerCheck) -> Option<String> {
        let now = match cluster.check_caller(CredentialFreshness::New, &self.required_requests).await {
            Ok(now) => now?,
            Err(ClusterError::Unauthorized { .. }) => {
                return Some("the cluster does not accept your credentials any more".to_owned());
            }
            Err(error) => return Some(format!("that you still get in cannot be shown: {error}")),
        };
        let (was, is) = (&before.user.username, &now.user.username);
        if was != is && !self.allowed_usernames.contains(is) {
            return Some(format!("the cluster takes you for `{is}` now, and no more for `{was}`"));
        }
        let may = before.allowed.iter().zip(&now.allowed).zip(&self.required_requests);
        let gone: Vec<String> =
            may.filter(|((was, is), _)| **was && !**is).map(|(_, request)| request.to_string()).collect();
        (!gone.is_empty()).then(|| format!("you could not {} any more", gone.join(", ")))
    }

    /// Proves it, or puts the old content back.
    pub(crate) async fn verify_or_restore<C: WriteCluster>(
        &self,
        cluster: &C,
        step: &Step,
        written: &WriteOutcome,
        looks: &[Duration],
    ) -> Result<(), Lockout> {
        let Some(why) = self.find_lockout(cluster, looks).await else {
            return Ok(());
        };
        let put_back = self.restore_config_map(cluster, step, written).await;
        Err(Lockout { reason: why, restore_result: put_back, config_map: self.config_map.clone() })
    }

    async fn restore_config_map<C: WriteCluster>(
        &self,
        cluster: &C,
        step: &Step,
        written: &WriteOutcome,
    ) -> Result<(), ClusterError> {
        let expected = match written {
            WriteOutcome::Stored(Some(version)) => ResolvedPrecondition::Version(version.clone()),
            WriteOutcome::Deleted => ResolvedPrecondition::Absent,
            WriteOutcome::Unchanged(_) => return Ok(()),
            WriteOutcome::Stored(None) | WriteOutcome::Terminating(_) => {
                let now = cluster.read(&step.object).await?;
                now.as_ref()
                    .and_then(ObjectVersion::from_object)
                    .map_or(ResolvedPrecondition::Absent, ResolvedPrecondition::Version)
            }
        };
        match undo::inverse_write(&step.write, self.config_map.as_ref()) {
            Some(write) => cluster.write(&step.object, &write, &expected).await.map(drop),
            None => Ok(()),
        }
    }
}

/// The requests that the caller must not lose: to write aws-auth, and each verb and kind of the plan.
fn required_requests(plan: &Plan) -> Vec<Request> {
    let mut out = vec![Request::object("patch", "", "configmaps").with_name("aws-auth").in_namespace("kube-system")];
    for step in &plan.steps {
        let kind = step.object.kind();
        if kind.is_rbac() {
            let request = Request::object(step.write.verb(), RBAC_GROUP, kind.resource());
            if !out.contains(&request) {
                out.push(request);
            }
        }
    }
    out
}
