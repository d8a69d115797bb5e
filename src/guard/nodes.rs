//! Nodes and Fargate pods: their entries stay in force, and stay fit for them.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs"; kubernetes `nodeidentifier/default.go`,
//! for which the username `system:node:…` and the group `system:nodes` are a node, and nothing less.

use super::allow_flag::AllowFlag;
use super::context::{GuardContext, Observed};
use super::risk::{GuardKind, Risk};
use crate::access::{Authentication, Identity, SubjectQuery};

/// Groups that machines have and people have not.
const NODE_GROUPS: [&str; 4] =
    ["system:nodes", "system:bootstrappers", "system:node-proxier", "eks:kube-proxy-windows"];
const NODE_USERNAME_PREFIX: &str = "system:node:";
/// By which Fargate pods are told from EC2 instances: theirs is the session's name.
const FARGATE_GROUP: &str = "system:node-proxier";
const SESSION_NAME_TEMPLATE: &str = "{{SessionName}}";

/// The nodes of a cluster, a few of each sort by name: enough to say that there are some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeSample {
    pub(crate) ec2: Vec<String>,
    pub(crate) fargate: Vec<String>,
}

/// Whether an identity is one that a machine of the cluster has.
pub(super) fn is_node_or_fargate(identity: &Identity) -> bool {
    identity.username.as_ref().is_some_and(|name| name.as_str().starts_with(NODE_USERNAME_PREFIX))
        || NODE_GROUPS.into_iter().any(|group| identity.is_in_group(group))
}

/// Whether a machine that logged in as `was` does so as `is` too.
fn keeps_node_identity(was: &Identity, is: &Identity) -> bool {
    was.username == is.username && NODE_GROUPS.into_iter().all(|group| !was.is_in_group(group) || is.is_in_group(group))
}

fn all_keep_node_identity(was: &Identity, now: &Authentication) -> bool {
    match now {
        Authentication::Identity(identity) => keeps_node_identity(was, identity),
        Authentication::Denied(_) => false,
        Authentication::Ambiguous(logins) => {
            logins.iter().all(|login| login.as_ref().is_ok_and(|identity| keeps_node_identity(was, identity)))
        }
    }
}

/// Whose entry served machines and does so no more.
pub(super) fn find_risks(scene: &GuardContext<'_, '_>, nodes: &Observed<NodeSample>) -> Vec<Risk> {
    if !scene.writes_aws_auth() {
        return Vec::new();
    }
    let serves = |admission: &Authentication| admission.identities().any(is_node_or_fargate);
    let is_last = || !scene.after_access.principals().iter().any(|principal| serves(&principal.authentication));
    let mut found = Vec::new();
    for principal in scene.live_access.principals() {
        let now = scene.after_access.authenticate(&principal.subject);
        let broken = principal
            .authentication
            .identities()
            .filter(|one| is_node_or_fargate(one))
            .find(|was| !all_keep_node_identity(was, &now));
        if let Some(was) = broken {
            found.push(node_risk(scene, &principal.subject, was, &now, nodes, is_last()));
        }
    }
    found
}

fn node_risk(
    scene: &GuardContext<'_, '_>,
    who: &SubjectQuery,
    was: &Identity,
    now: &Authentication,
    nodes: &Observed<NodeSample>,
    is_last: bool,
) -> Risk {
    let fargate = was.is_in_group(FARGATE_GROUP)
        || was.username.as_ref().is_some_and(|name| name.as_str().contains(SESSION_NAME_TEMPLATE));
    let (what, machines) = if fargate { ("Fargate pods", "Fargate nodes") } else { ("nodes", "nodes") };
    let entry = was.entry().map_or_else(|| who.to_string(), ToString::to_string);
    let so = match now {
        Authentication::Denied(_) => "its entry goes".to_owned(),
        Authentication::Identity(is) => format!("they would log in {}", describe_difference(was, is)),
        Authentication::Ambiguous(_) => "several entries would answer, another at each login".to_owned(),
    };
    let mut out = Risk::new(GuardKind::Node, format!("{what} log in by the aws-auth entry {entry}: {so}"))
        .with_subject(who)
        .with_help(scene.entry_change_hint(who));
    if let (Authentication::Identity(is), Some(entry)) = (now, now.identities().next().and_then(Identity::entry))
        && is.entry() != was.entry()
    {
        out = out.with_help(format!("the entry {entry} would come into force"));
    }
    if is_last {
        out = out.with_help(
            "no entry for nodes is left: each node is lost as soon as its token ends, within a quarter of an hour",
        );
    }
    out = out.with_help(match nodes {
        Observed::Unknown(why) => format!("which nodes there are is not known: {why}"),
        Observed::Known(nodes) => {
            let there = if fargate { &nodes.fargate } else { &nodes.ec2 };
            match there.as_slice() {
                [] => format!("no {machines} are in the cluster at the moment"),
                names => format!("{machines} are in the cluster, such as {}", names.join(", ")),
            }
        }
    });
    out.with_allow_flag(AllowFlag::Remove(who.clone()))
}

/// `without the group system:nodes`.
fn describe_difference(was: &Identity, is: &Identity) -> String {
    let name = |identity: &Identity| identity.username.as_ref().map(ToString::to_string).unwrap_or_default();
    let lost: Vec<&str> =
        NODE_GROUPS.into_iter().filter(|group| was.is_in_group(group) && !is.is_in_group(group)).collect();
    let mut words = Vec::new();
    if was.username != is.username {
        words.push(format!("as `{}` and not as `{}`", name(is), name(was)));
    }
    if !lost.is_empty() {
        words.push(format!("without the groups {}", lost.join(", ")));
    }
    words.join(", ")
}
