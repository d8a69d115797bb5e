//! Asks AWS and clusters who the caller is, and what it may do there.

use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::context::OpsContext;
use super::missing_permissions::denied_requests;
use super::observer::WorkPhase;
use super::parallel::run_clusters;
use super::target::{ConnectedCluster, TargetCluster};
use crate::access::{EntryRef, IamIdentity, IdentityMapping, Request};
use crate::aws::StsIdentity;
use crate::cluster::{ClusterError, ReadCluster as _, UserInfo, WriteCluster as _};
use crate::names::ObjectKey;
use crate::permissions::{ApplyUser, MinimalRoles};
use crate::state::State;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::config_map::AwsAuth;

/// The groups of the API for RBAC objects and Leases.
const RBAC: &str = "rbac.authorization.k8s.io";
const COORDINATION: &str = "coordination.k8s.io";

/// The caller in one cluster.
pub(crate) struct CallerReport {
    pub(crate) label: String,
    /// What STS says about the AWS credentials. `None` if the connection uses others, or STS does not answer.
    pub(crate) iam: Option<StsIdentity>,
    /// The user as the cluster authenticates it. `None` for a snapshot.
    pub(crate) user: Option<UserInfo>,
    pub(crate) entry: EntryOrigin,
    /// Which stores of principals the cluster reads, if EKS or the snapshot says it.
    pub(crate) auth_mode: Option<ClusterAuthMode>,
    /// The requests that the cluster denies to the caller, of those that `plan` makes. `None` if it does not say.
    pub(crate) denied_for_plan: Option<Vec<Request>>,
    /// The same for those that every `apply` makes.
    pub(crate) denied_for_apply: Option<Vec<Request>>,
}

/// How an IAM identity comes to its username and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryOrigin {
    /// By this access entry or entry of aws-auth.
    Entry(EntryRef),
    /// No entry matches: the identity created the cluster, or the cluster has access entries and EKS was not asked for them.
    /// Both are invisible in the user info.
    NoEntry,
    /// The caller may not read aws-auth or the access entries, or several entries match.
    Unknown,
    /// The caller is not an IAM identity.
    NotIam,
}

/// Returns the caller of each cluster. A snapshot has none.
///
/// # Errors
/// The errors of all clusters that do not answer.
pub(crate) fn whoami(targets: &[TargetCluster], context: &OpsContext) -> Result<Vec<CallerReport>, CommandError> {
    let runtime = Handle::current();
    let ask = |target| runtime.block_on(Box::pin(ask_cluster(target)));
    let (results, ()) = run_clusters(WorkPhase::Observe, targets.iter().collect(), context, ask, || ());
    let (mut answers, mut errors) = (Vec::with_capacity(targets.len()), Vec::new());
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                errors.extend(CommandError::from(error).with_cluster_name(target.name.as_deref()).diagnostics);
            }
        }
    }
    if errors.is_empty() { Ok(answers) } else { Err(errors.into()) }
}

async fn ask_cluster(target: &TargetCluster) -> Result<CallerReport, ClusterError> {
    let asking = async {
        let connected = target.connect().await?;
        let (user, iam) = futures::future::join(connected.cluster.whoami(), sts_identity(&connected)).await;
        let auth_mode = match (&connected.eks, connected.cluster.snapshot_eks_facts()) {
            (Some(eks), _) => Some(eks.auth_mode.clone()),
            (None, Some(facts)) => facts.auth_mode.known().cloned(),
            (None, None) => None,
        };
        let Some(user) = user? else {
            return Ok(CallerReport {
                label: connected.label,
                iam: None,
                user: None,
                entry: EntryOrigin::NotIam,
                auth_mode,
                denied_for_plan: None,
                denied_for_apply: None,
            });
        };
        let plan_requests = requests_of_plan(&user);
        let apply_requests = requests_of_every_apply();
        let entry = entry_of(&connected, &user, iam.as_ref());
        let denied_for_plan = denied(&connected, &plan_requests);
        let denied_for_apply = denied(&connected, &apply_requests);
        let (entry, denied_for_plan, denied_for_apply) =
            futures::future::join3(entry, denied_for_plan, denied_for_apply).await;
        Ok(CallerReport {
            label: connected.label,
            iam,
            user: Some(user),
            entry,
            auth_mode,
            denied_for_plan,
            denied_for_apply,
        })
    };
    target.within_timeout(asking).await
}

/// Asks STS, which needs no permission. Another cause than the credentials is of no interest: the cluster has accepted them,
/// or says why not.
async fn sts_identity(connected: &ConnectedCluster) -> Option<StsIdentity> {
    let tokens = connected.tokens.as_ref()?;
    tokens.caller_identity().await.ok().cloned()
}

async fn denied(connected: &ConnectedCluster, requests: &[Request]) -> Option<Vec<Request>> {
    let denied = denied_requests(&connected.cluster, requests).await.ok().flatten()?;
    Some(denied.into_iter().collect())
}

fn requests_of_plan(user: &UserInfo) -> Vec<Request> {
    let user = ApplyUser { username: user.username.clone(), groups: user.groups.clone() };
    let needed = MinimalRoles::for_plan().missing_permissions(&State::default(), &user);
    needed.into_iter().map(|permission| permission.request).collect()
}

/// The requests that do not depend on the policy. `permissions --check` knows the others.
fn requests_of_every_apply() -> Vec<Request> {
    let config_map =
        |verb: &str| Request::object(verb, "", "configmaps").with_name("aws-auth").in_namespace("kube-system");
    let lease = |verb: &str| Request::object(verb, COORDINATION, "leases").in_namespace("kube-system");
    let kinds = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
    let rbac =
        kinds.iter().flat_map(|kind| ["create", "patch", "delete"].map(|verb| Request::object(verb, RBAC, kind)));
    [config_map("get"), config_map("patch"), lease("get"), lease("create"), lease("patch")]
        .into_iter()
        .chain(rbac)
        .collect()
}

/// Finds the access entry or the entry of aws-auth that the identity is mapped by.
async fn entry_of(connected: &ConnectedCluster, user: &UserInfo, iam: Option<&StsIdentity>) -> EntryOrigin {
    let Some(arn) = iam.map(|iam| iam.arn.as_str()).or_else(|| user.arn()) else {
        return EntryOrigin::NotIam;
    };
    let Ok(identity) = IamIdentity::parse(arn) else {
        return EntryOrigin::Unknown;
    };
    let aws_auth = ObjectKey::aws_auth();
    let (stores, object) =
        futures::future::join(Box::pin(connected.cluster.read_access_entries()), connected.cluster.read(&aws_auth))
            .await;
    let Ok(mut stores) = stores else {
        return EntryOrigin::Unknown;
    };
    // In the mode API the ConfigMap may exist, and is not read.
    if stores.auth_mode != ObservedAuthMode::Known(ClusterAuthMode::Api) {
        let aws_auth = object.ok().map(|object| object.as_ref().map(AwsAuth::from_json).transpose());
        let Some(Ok(aws_auth)) = aws_auth else {
            return EntryOrigin::Unknown;
        };
        stores.aws_auth = aws_auth;
    }
    let mapping = IdentityMapping::from_state(&stores);
    if mapping.unknown_access_entries.is_some() {
        return EntryOrigin::Unknown;
    }
    match (mapping.entries_for(&identity), mapping.account_entry(identity.account())) {
        ([mapped], _) => EntryOrigin::Entry(mapped.entry_ref.clone()),
        ([], Some(account)) => EntryOrigin::Entry(account.clone()),
        ([], None) => EntryOrigin::NoEntry,
        // The authenticator chooses one of them for each token.
        ([_, _, ..], _) => EntryOrigin::Unknown,
    }
}
