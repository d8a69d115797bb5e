//! Guards the aws-auth entries of nodes and Fargate pods: they must stay, and stay usable for nodes.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs"; kubernetes
//! `nodeidentifier/default.go`, which identifies a node by the username `system:node:…` together with the group
//! `system:nodes`.

use super::allow_flag::AllowFlag;
use super::context::{ClusterFacts, GuardContext, Observed};
use super::node_roles::NodeRoleUse;
use super::risk::{GuardKind, Risk, UnevaluatedGuard};
use crate::access::{Authentication, DenialReason, Identity, SubjectQuery};
use crate::state::access_entry::{AccessEntryType, access_entry_key};

/// Groups that only nodes have.
const NODE_GROUPS: [&str; 4] =
    ["system:nodes", "system:bootstrappers", "system:node-proxier", "eks:kube-proxy-windows"];
const NODE_USERNAME_PREFIX: &str = "system:node:";
const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// Fargate pods have this group, and a username with the session name.
const FARGATE_GROUP: &str = "system:node-proxier";
const EC2_TEMPLATE: &str = "{{EC2PrivateDNSName}}";
const SESSION_NAME_TEMPLATE: &str = "{{SessionName}}";

/// The names of a few nodes of a cluster, as evidence that there are some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeSample {
    pub(crate) ec2: Vec<String>,
    pub(crate) fargate: Vec<String>,
}

/// Returns whether an identity is that of a node or a Fargate pod.
pub(super) fn is_node_or_fargate(identity: &Identity) -> bool {
    identity.username.as_ref().is_some_and(|name| name.as_str().starts_with(NODE_USERNAME_PREFIX))
        || NODE_GROUPS.into_iter().any(|group| identity.is_in_group(group))
}

/// Returns whether a node keeps its username and its node groups.
fn keeps_node_identity(before: &Identity, after: &Identity) -> bool {
    before.username == after.username
        && NODE_GROUPS.into_iter().all(|group| !before.is_in_group(group) || after.is_in_group(group))
}

fn all_keep_node_identity(before: &Identity, after: &Authentication) -> bool {
    match after {
        Authentication::Identity(identity) => keeps_node_identity(before, identity),
        Authentication::Denied(_) => false,
        Authentication::Ambiguous(logins) => {
            logins.iter().all(|login| login.as_ref().is_ok_and(|identity| keeps_node_identity(before, identity)))
        }
    }
}

/// Returns whether a node of aws-auth has an access entry of its type after the plan. EKS gives such an entry the groups that
/// its nodes need (EKS API 2017-11-01, `CreateAccessEntry.type`), which are not all that the User Guide writes into aws-auth.
fn moves_to_node_entry(context: &GuardContext<'_, '_>, before: &Identity, after: &Authentication) -> bool {
    let Authentication::Identity(after) = after else {
        return false;
    };
    let entry = after.access_entry().and_then(|arn| context.after.access_entries.get(&access_entry_key(arn)));
    let Some(entry_type) = entry.map(|entry| &entry.entry_type) else {
        return false;
    };
    let is_given = |group: &str| match entry_type {
        AccessEntryType::Ec2Linux | AccessEntryType::Ec2Windows | AccessEntryType::HybridLinux => {
            group == BOOTSTRAPPERS
        }
        AccessEntryType::FargateLinux => [BOOTSTRAPPERS, FARGATE_GROUP].contains(&group),
        AccessEntryType::Standard
        | AccessEntryType::HyperpodLinux
        | AccessEntryType::Ec2
        | AccessEntryType::Other(_) => false,
    };
    before.username == after.username
        && NODE_GROUPS
            .into_iter()
            .all(|group| !before.is_in_group(group) || after.is_in_group(group) || is_given(group))
}

/// Reports principals through which nodes authenticate before the plan, and not after it: those with the identity of a
/// node, and those whose role EKS uses for nodes.
pub(super) fn find_risks(
    context: &GuardContext<'_, '_>,
    facts: &ClusterFacts,
    not_evaluated: &mut Vec<UnevaluatedGuard>,
) -> Vec<Risk> {
    if !context.writes_entries() {
        return Vec::new();
    }
    let is_for_nodes = |authentication: &Authentication| authentication.identities().any(is_node_or_fargate);
    let is_last_entry =
        || !context.after_access.principals().iter().any(|principal| is_for_nodes(&principal.authentication));
    if let Some(Observed::Unknown(why)) = &facts.node_roles {
        let reason = format!(
            "only entries with the identity of a node were checked, not those of the roles that EKS uses: {why}"
        );
        not_evaluated.push(UnevaluatedGuard { guard: GuardKind::Node, reason });
    }
    let mut risks = Vec::new();
    for principal in context.live_access.principals() {
        let uses = match &facts.node_roles {
            Some(Observed::Known(roles)) => roles.uses_of(&principal.subject),
            Some(Observed::Unknown(_)) | None => Vec::new(),
        };
        let after = context.after_access.authenticate(&principal.subject);
        let lost_identity = principal
            .authentication
            .identities()
            .filter(|identity| !uses.is_empty() || is_node_or_fargate(identity))
            .find(|identity| {
                !all_keep_node_identity(identity, &after) && !moves_to_node_entry(context, identity, &after)
            });
        if let Some(before) = lost_identity {
            let lost = LostNodeIdentity { subject: &principal.subject, before, after: &after, uses: &uses };
            risks.push(node_risk(context, &lost, &facts.nodes, is_last_entry()));
        }
    }
    risks
}

/// A principal that is no longer the same node after the plan.
struct LostNodeIdentity<'a> {
    subject: &'a SubjectQuery,
    before: &'a Identity,
    after: &'a Authentication,
    /// What EKS uses its role for.
    uses: &'a [&'a NodeRoleUse],
}

fn node_risk(
    context: &GuardContext<'_, '_>,
    lost: &LostNodeIdentity<'_>,
    nodes: &Observed<NodeSample>,
    is_last_entry: bool,
) -> Risk {
    let LostNodeIdentity { subject, before, after, uses } = lost;
    let has_template = |template: &str| before.username.as_ref().is_some_and(|name| name.as_str().contains(template));
    // An entry of EC2 nodes can have the group of Fargate pods as well.
    let is_fargate = match uses.first() {
        Some(_) => uses.iter().all(|used_by| used_by.is_fargate()),
        None => {
            !has_template(EC2_TEMPLATE) && (before.is_in_group(FARGATE_GROUP) || has_template(SESSION_NAME_TEMPLATE))
        }
    };
    let (owner, consequence, nodes_noun) = if is_fargate {
        ("Fargate pods", "their nodes will become NotReady within 15 minutes", "Fargate nodes")
    } else {
        ("nodes", "nodes will become NotReady within 15 minutes", "nodes")
    };
    let entry = before.entry().map_or_else(|| subject.to_string(), ToString::to_string);
    let store = if before.access_entry().is_some() { "access entry" } else { "aws-auth entry" };
    let message = match after {
        Authentication::Denied(
            DenialReason::NotMapped { .. } | DenialReason::NoAwsAuth | DenialReason::NoAccessEntry,
        ) => {
            format!("this plan removes the {store} of your {owner} ({entry}); {consequence}")
        }
        Authentication::Denied(DenialReason::NotAnInstance { .. }) => {
            format!("this plan makes the {store} of your {owner} ({entry}) unusable; {consequence}")
        }
        Authentication::Identity(after) => {
            let difference = describe_difference(before, after);
            format!("this plan changes the {store} of your {owner} ({entry}): they would authenticate {difference}")
        }
        Authentication::Ambiguous(_) => {
            format!(
                "after this plan, several aws-auth entries match your {owner} ({entry}), which is non-deterministic"
            )
        }
    };
    let mut risk =
        Risk::new(GuardKind::Node, message).with_subject(subject).with_notes(context.entry_change_note(subject));
    for used_by in *uses {
        risk = risk.with_because(format!("{} uses this role", used_by.describe()));
    }
    risk = match nodes {
        Observed::Unknown(why) => risk.with_note(format!("it is not known which nodes the cluster has: {why}")),
        Observed::Known(nodes) => match if is_fargate { nodes.fargate.as_slice() } else { nodes.ec2.as_slice() } {
            [] => risk.with_note(format!("the cluster has no {nodes_noun} at the moment")),
            names => risk.with_because(format!("the cluster has {nodes_noun}, such as {}", names.join(", "))),
        },
    };
    if let (Authentication::Identity(after), Some(entry)) = (after, after.identities().next().and_then(Identity::entry))
        && after.entry() != before.entry()
    {
        risk = risk.with_note(format!("the aws-auth entry {entry} takes effect instead"));
    }
    if is_last_entry {
        risk = risk.with_note(match after {
            Authentication::Denied(_) => "no aws-auth entry for nodes is left",
            Authentication::Identity(_) | Authentication::Ambiguous(_) => {
                "no aws-auth entry for nodes is left; nodes will become NotReady within 15 minutes"
            }
        });
    }
    risk.with_allow_flag(AllowFlag::Remove((*subject).clone()))
}

/// Describes how the identity changes, such as `without the groups system:nodes`.
fn describe_difference(before: &Identity, after: &Identity) -> String {
    let username = |identity: &Identity| identity.username.as_ref().map(ToString::to_string).unwrap_or_default();
    let lost_groups: Vec<&str> =
        NODE_GROUPS.into_iter().filter(|group| before.is_in_group(group) && !after.is_in_group(group)).collect();
    let mut differences = Vec::new();
    if before.username != after.username {
        differences.push(format!("as `{}` instead of `{}`", username(after), username(before)));
    }
    if !lost_groups.is_empty() {
        differences.push(format!("without the groups {}", lost_groups.join(", ")));
    }
    differences.join(", ")
}
