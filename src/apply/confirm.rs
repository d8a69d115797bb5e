//! After a write of aws-auth: proves with new credentials that the caller still gets in and may still write, and puts
//! the old content back at once where he does not.
//!
//! A token that the API server has seen stays good for a while whatever aws-auth says, so the proof needs one that it has
//! not; and the authenticator follows a write in its own time, so the proof is repeated. The connection of the apply
//! keeps its old token: by it the old content goes back.

use std::time::Duration;

use serde_json::Value;

use crate::access::Request;
use crate::cluster::{Caller, ClusterError, Credentials, Standing, WriteCluster, Written};
use crate::names::ObjectKey;
use crate::plan::{Plan, Step};
use crate::state::rbac::RBAC_GROUP;
use crate::state::undo;
use crate::state::write::{Expected, Version};

/// When the caller comes in anew, counted from one look to the next: the authenticator watches the ConfigMap, and is
/// late by more than two seconds only when it is down.
pub(crate) const LOOKS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(1200)];

/// What is known of aws-auth and of the caller before its write.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    /// The ConfigMap, whole; nothing where there is none yet.
    pub(crate) image: Option<Value>,
    standing: Option<Standing>,
    needs: Vec<Request>,
    /// The caller as the plan makes him, where it says so.
    renamed: Vec<String>,
}

/// Why the caller would have been left outside, and what became of the old content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedOut {
    pub(crate) why: String,
    pub(crate) put_back: Result<(), ClusterError>,
    /// The ConfigMap as it was, for whom it has to be put back by hand.
    pub(crate) image: Option<Value>,
}

impl Before {
    /// Asks what the write has to leave standing: to write aws-auth, and what the steps of the plan need.
    pub(crate) async fn of<C: WriteCluster>(
        plan: &Plan,
        cluster: &C,
        renamed: impl FnOnce(&Caller) -> Vec<String>,
    ) -> Result<Self, ClusterError> {
        let needs = needs(plan);
        let standing = cluster.standing(Credentials::Current, &needs).await?;
        let image = cluster.read(&ObjectKey::aws_auth()).await?;
        let renamed = standing.as_ref().map(|standing| renamed(&standing.caller)).unwrap_or_default();
        Ok(Self { image, standing, needs, renamed })
    }

    /// Whether the caller still stands where he stood.
    async fn lost<C: WriteCluster>(&self, cluster: &C, looks: &[Duration]) -> Option<String> {
        let before = self.standing.as_ref()?;
        // aws-auth has no say in credentials that nobody makes anew: one look is enough.
        let looks = if before.by_aws_auth { looks } else { &[Duration::ZERO] };
        for pause in looks {
            tokio::time::sleep(*pause).await;
            if let Some(why) = self.lost_now(cluster, before).await {
                return Some(why);
            }
        }
        None
    }

    async fn lost_now<C: WriteCluster>(&self, cluster: &C, before: &Standing) -> Option<String> {
        let now = match cluster.standing(Credentials::New, &self.needs).await {
            Ok(now) => now?,
            Err(ClusterError::Unauthorized { .. }) => {
                return Some("the cluster does not accept your credentials any more".to_owned());
            }
            Err(error) => return Some(format!("that you still get in cannot be shown: {error}")),
        };
        let (was, is) = (&before.caller.username, &now.caller.username);
        if was != is && !self.renamed.contains(is) {
            return Some(format!("the cluster takes you for `{is}` now, and no more for `{was}`"));
        }
        let may = before.may.iter().zip(&now.may).zip(&self.needs);
        let gone: Vec<String> =
            may.filter(|((was, is), _)| **was && !**is).map(|(_, request)| request.to_string()).collect();
        (!gone.is_empty()).then(|| format!("you could not {} any more", gone.join(", ")))
    }

    /// Proves it, or puts the old content back.
    pub(crate) async fn confirm<C: WriteCluster>(
        &self,
        cluster: &C,
        step: &Step,
        written: &Written,
        looks: &[Duration],
    ) -> Result<(), LockedOut> {
        let Some(why) = self.lost(cluster, looks).await else {
            return Ok(());
        };
        let put_back = self.put_back(cluster, step, written).await;
        Err(LockedOut { why, put_back, image: self.image.clone() })
    }

    async fn put_back<C: WriteCluster>(&self, cluster: &C, step: &Step, written: &Written) -> Result<(), ClusterError> {
        let expected = match written {
            Written::Stored(Some(version)) => Expected::Version(version.clone()),
            Written::Deleted => Expected::Absent,
            Written::Unchanged(_) => return Ok(()),
            Written::Stored(None) | Written::Waiting(_) => {
                let now = cluster.read(&step.object).await?;
                now.as_ref().and_then(Version::of).map_or(Expected::Absent, Expected::Version)
            }
        };
        match undo::of(&step.write, self.image.as_ref()) {
            Some(write) => cluster.write(&step.object, &write, &expected).await.map(drop),
            None => Ok(()),
        }
    }
}

/// The requests that the caller must not lose: to write aws-auth, and each verb and kind of the plan.
fn needs(plan: &Plan) -> Vec<Request> {
    let mut out = vec![Request::object("patch", "", "configmaps").named("aws-auth").within("kube-system")];
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
