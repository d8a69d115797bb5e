//! After a write of aws-auth: checks with new credentials that the caller can still authenticate and still has the
//! permissions it needs, and takes back this one write if not. Earlier writes of aws-auth stay: RBAC objects have changed
//! since, and an older aws-auth could give access that neither the old nor the new state grants.
//!
//! The API server caches the identity of a token, so a token that it has seen keeps working for a while after a change
//! of aws-auth. The check therefore needs a token that the API server has not seen. The authenticator reads aws-auth
//! with a delay, so the check is repeated. The connection of the apply keeps its old token, which can still restore
//! aws-auth.

use std::time::Duration;

use serde_json::Value;

use crate::access::Request;
use crate::cluster::settings::{TimeLimit, duration_text};
use crate::cluster::{CallerCheck, ClusterError, CredentialFreshness, UserInfo, WriteCluster, WriteOutcome};
use crate::plan::{Plan, Step, undo_aws_auth_write};
use crate::state::rbac::RBAC_GROUP;
use crate::state::undo;
use crate::state::write::{ObjectVersion, ResolvedPrecondition};

/// The delays before each check with new credentials. The authenticator watches the ConfigMap and sees a change within
/// two seconds unless it is down.
pub(crate) const PROBE_DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(1200)];

const NOT_VERIFIED: &str = "rolecall could not verify that you still have access";
/// The number of times that a write is taken back from an aws-auth that another client changes meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// The access of the caller before the apply.
#[derive(Debug, Clone)]
pub(crate) struct AwsAuthBaseline {
    /// The policy whose owner marks the apply writes.
    policy: String,
    caller_check: Option<CallerCheck>,
    required_requests: Vec<Request>,
    /// The usernames that the plan gives to the caller. Changing to one of them is not a lockout.
    allowed_usernames: Vec<String>,
    /// Whether the command line accepts that the caller loses its access.
    is_loss_accepted: bool,
}

/// What the check after a write of aws-auth found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CallerAccess {
    Kept,
    /// The cluster says that the caller has lost access.
    Lost(String),
    /// The cluster did not answer, or the credential plugin failed.
    Unknown(String),
}

/// The caller lost access by a write of aws-auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lockout {
    /// A clause for a message, such as ``the cluster no longer accepts your credentials``.
    pub(crate) reason: String,
    pub(crate) revert: RevertResult,
    /// The ConfigMap before the write, to restore it manually.
    pub(crate) config_map: Option<Value>,
}

/// The result of taking back a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RevertResult {
    Reverted,
    /// The write had changed nothing.
    NothingToRevert,
    /// Another client has changed some of what was written, which is left alone: one message for each.
    Incomplete(Vec<String>),
    Failed(ClusterError),
    /// The current content cannot be edited, for this reason.
    NotEditable(String),
}

impl AwsAuthBaseline {
    /// Records what the caller must still be allowed to do after the write: change aws-auth, and make the writes of the
    /// plan. `planned_usernames` returns the usernames that the plan gives to the caller.
    pub(crate) async fn for_plan<C: WriteCluster>(
        plan: &Plan,
        cluster: &C,
        planned_usernames: impl FnOnce(&UserInfo) -> Vec<String>,
        is_loss_accepted: bool,
    ) -> Result<Self, ClusterError> {
        let required_requests = required_requests(plan);
        let caller_check = cluster.check_caller(CredentialFreshness::Current, &required_requests).await?;
        let allowed_usernames = caller_check.as_ref().map(|check| planned_usernames(&check.user)).unwrap_or_default();
        let policy = plan.policy.clone();
        Ok(Self { policy, caller_check, required_requests, allowed_usernames, is_loss_accepted })
    }

    /// Returns whether the check proves that aws-auth lets the caller in. `None` for a snapshot, which has no check.
    pub(crate) fn proves_access(&self) -> Option<bool> {
        self.caller_check.as_ref().map(|check| check.has_new_credentials)
    }

    pub(crate) fn is_loss_accepted(&self) -> bool {
        self.is_loss_accepted
    }

    async fn check_access<C: WriteCluster>(&self, cluster: &C, delays: &[Duration]) -> CallerAccess {
        let Some(before) = self.caller_check.as_ref() else {
            return CallerAccess::Kept;
        };
        // Credentials that do not depend on aws-auth are not affected by a delay of the authenticator: check them once.
        let delays = if before.may_use_aws_auth { delays } else { &[Duration::ZERO] };
        for delay in delays {
            tokio::time::sleep(*delay).await;
            match self.check_caller_once(cluster, before).await {
                CallerAccess::Kept => {}
                access => return access,
            }
        }
        CallerAccess::Kept
    }

    async fn check_caller_once<C: WriteCluster>(&self, cluster: &C, before: &CallerCheck) -> CallerAccess {
        let after = match cluster.check_caller(CredentialFreshness::New, &self.required_requests).await {
            Ok(Some(after)) => after,
            Ok(None) => return CallerAccess::Kept,
            Err(ClusterError::Unauthorized { .. }) => {
                return CallerAccess::Lost("the cluster no longer accepts your credentials".to_owned());
            }
            Err(error) => return CallerAccess::Unknown(format!("{NOT_VERIFIED}: {error}")),
        };
        let (old_name, new_name) = (&before.user.username, &after.user.username);
        if old_name != new_name && !self.allowed_usernames.contains(new_name) {
            let reason = format!("the cluster now identifies you as `{new_name}` instead of `{old_name}`");
            return CallerAccess::Lost(reason);
        }
        let decisions = before.allowed.iter().zip(&after.allowed).zip(&self.required_requests);
        let lost: Vec<String> = decisions
            .filter(|((allowed_before, allowed_after), _)| **allowed_before && !**allowed_after)
            .map(|(_, request)| request.to_string())
            .collect();
        if lost.is_empty() {
            return CallerAccess::Kept;
        }
        CallerAccess::Lost(format!("you would no longer be allowed to {}", lost.join(", ")))
    }

    /// Checks the access of the caller after a write of aws-auth, and takes the write back if the caller has lost access.
    /// `before` is the ConfigMap before the write. Returns the loss of access that the command line accepts, if there is
    /// one.
    ///
    /// The check and taking the write back have the limit `limit` each, so that a plugin or a server that hangs does not
    /// leave an unconfirmed write for long.
    pub(crate) async fn verify_or_revert<C: WriteCluster>(
        &self,
        cluster: &C,
        step: &Step,
        before: Option<Value>,
        written: &WriteOutcome,
        (delays, limit): (&[Duration], Duration),
    ) -> Result<Option<String>, Lockout> {
        let access = tokio::time::timeout(limit, self.check_access(cluster, delays)).await;
        let access =
            access.unwrap_or_else(|_| CallerAccess::Unknown(format!("{NOT_VERIFIED} within {}", duration_text(limit))));
        let reason = match access {
            CallerAccess::Kept => return Ok(None),
            CallerAccess::Lost(reason) if self.is_loss_accepted => return Ok(Some(reason)),
            CallerAccess::Lost(reason) | CallerAccess::Unknown(reason) => reason,
        };
        let reverting = tokio::time::timeout(limit, self.revert(cluster, step, before.as_ref(), written)).await;
        let revert = reverting.unwrap_or_else(|_| {
            let what = "taking back the change of aws-auth".to_owned();
            Err(ClusterError::TimedOut { what, after: limit, sent: true, limit: TimeLimit::Request })
        });
        Err(Lockout { reason, revert: revert.unwrap_or_else(RevertResult::Failed), config_map: before })
    }

    /// Takes back one write of aws-auth.
    async fn revert<C: WriteCluster>(
        &self,
        cluster: &C,
        step: &Step,
        before: Option<&Value>,
        written: &WriteOutcome,
    ) -> Result<RevertResult, ClusterError> {
        let as_written = match written {
            WriteOutcome::Unchanged(_) => return Ok(RevertResult::NothingToRevert),
            WriteOutcome::Stored(version) => Some(ResolvedPrecondition::Version(version.clone())),
            WriteOutcome::Deleted => Some(ResolvedPrecondition::Absent),
            WriteOutcome::Terminating(_) => None,
        };
        // If no other client has written since, the content before the write is restored byte for byte.
        if let (Some(expected), Some(inverse)) = (as_written, undo::inverse_write(&step.write, before)?) {
            match cluster.write(&step.object, &inverse, &expected).await {
                Ok(_) => return Ok(RevertResult::Reverted),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        let mut attempt = 1;
        loop {
            let current = cluster.read(&step.object).await?;
            let undo = match undo_aws_auth_write(&self.policy, before, &step.write, current.as_ref()) {
                Ok(undo) => undo,
                Err(errors) => {
                    let messages: Vec<String> = errors.into_iter().map(|error| error.message).collect();
                    return Ok(RevertResult::NotEditable(messages.join("; ")));
                }
            };
            let expected = current
                .as_ref()
                .and_then(ObjectVersion::from_object)
                .map_or(ResolvedPrecondition::Absent, ResolvedPrecondition::Version);
            let result = match &undo.write {
                Some(write) => cluster.write(&step.object, write, &expected).await.map(drop),
                None => Ok(()),
            };
            match result {
                Err(error) if error.is_conflict() && attempt < MAX_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) if undo.warnings.is_empty() => return Ok(RevertResult::Reverted),
                Ok(()) => {
                    let messages = undo.warnings.into_iter().map(|warning| warning.message).collect();
                    return Ok(RevertResult::Incomplete(messages));
                }
            }
        }
    }
}

/// Returns the requests that the caller must still be allowed to make: changing aws-auth, and one for each verb and
/// kind of RBAC object in the plan.
fn required_requests(plan: &Plan) -> Vec<Request> {
    let mut requests =
        vec![Request::object("patch", "", "configmaps").with_name("aws-auth").in_namespace("kube-system")];
    for step in &plan.steps {
        let kind = step.object.kind();
        if kind.is_rbac() {
            let request = Request::object(step.write.verb(), RBAC_GROUP, kind.resource());
            if !requests.contains(&request) {
                requests.push(request);
            }
        }
    }
    requests
}
