//! The guards: the facts that they need from the cluster, and late refusals.

use super::command_error::CommandError;
use super::eks_facts::read_eks_facts;
use super::target::ConnectedCluster;
use crate::cluster::ReadCluster;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, ClusterFacts, GuardReport, InvariantViolation, NodeRoles, Observed, Risk};
use crate::plan::{Action, Change, ChangeTarget, Plan};
use crate::state::aws_auth::Section;

/// Asks the cluster who the caller is and which nodes exist. A question that the cluster does not answer is unknown.
pub(crate) async fn read_cluster_facts(cluster: &impl ReadCluster) -> ClusterFacts {
    let (caller, nodes) = futures::future::join(cluster.whoami(), cluster.sample_nodes()).await;
    let caller = match caller {
        Ok(Some(caller)) => {
            let arn = caller.arn().map(str::to_owned);
            let uid = Some(caller.uid).filter(|uid| !uid.is_empty());
            Observed::Known(guard::CallerIdentity { username: caller.username, groups: caller.groups, uid, arn })
        }
        Ok(None) => Observed::Unknown("lock-out check skipped: a snapshot has no caller".to_owned()),
        Err(error) => Observed::Unknown(format!(
            "lock-out check skipped: the cluster does not report who you are: {}",
            error.cause()
        )),
    };
    let nodes = match nodes {
        Ok(Some(nodes)) => Observed::Known(nodes),
        Ok(None) => Observed::Unknown("a snapshot does not include Node objects".to_owned()),
        Err(error) => Observed::Unknown(error.cause()),
    };
    ClusterFacts { caller, nodes, ..ClusterFacts::default() }
}

/// Returns which roles EKS uses for nodes, if the plan changes or removes an aws-auth entry: asks EKS, or takes what the
/// snapshot says. `None` if the plan does not, or if the cluster is not known to be one of EKS.
pub(crate) async fn read_node_roles(connected: &ConnectedCluster, plan: &Plan) -> Option<Observed<NodeRoles>> {
    let takes_from_entry = |change: &Change| {
        let is_entry = matches!(change.target, ChangeTarget::Entry { section: Section::Roles | Section::Users, .. });
        is_entry && (change.action != Action::Create && !change.fields.is_empty() || change.action == Action::Delete)
    };
    if !plan.changes.iter().any(takes_from_entry) {
        return None;
    }
    let roles = match connected.cluster.snapshot_eks_facts() {
        Some(facts) => match facts.node_roles {
            Observed::Known(roles) => Observed::Known(roles),
            Observed::Unknown(why) => Observed::Unknown(format!("the snapshot does not have them: {why}")),
        },
        None => read_eks_facts(connected).await?.node_roles,
    };
    Some(match roles {
        Observed::Known(roles) => Observed::Known(NodeRoles::new(roles)),
        Observed::Unknown(why) => Observed::Unknown(why),
    })
}

/// Returns the refusal of a plan whose effect has become risky since it was made, because the cluster has changed.
pub(crate) fn late_refusal(label: &str, guard_report: &GuardReport, violations: &[InvariantViolation]) -> CommandError {
    let risks = guard_report.refused.iter().map(Risk::to_error);
    let errors: Vec<Diagnostic> = violations
        .iter()
        .map(InvariantViolation::to_diagnostic)
        .chain(risks)
        .map(|mut error| {
            error.message = format!("{label}: {}", error.message);
            error
        })
        .collect();
    CommandError::from(errors).into_refusal()
}
