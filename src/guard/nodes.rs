//! Nodes and Fargate pods: their entries stay in force, and stay fit for them.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs"; kubernetes `nodeidentifier/default.go`,
//! for which the username `system:node:…` and the group `system:nodes` are a node, and nothing less.

use super::allowance::Allowance;
use super::danger::{Danger, Guard};
use super::scene::{Known, Scene};
use crate::access::{Admission, Identity, Who};

/// Groups that machines have and people have not.
const GROUPS: [&str; 4] = ["system:nodes", "system:bootstrappers", "system:node-proxier", "eks:kube-proxy-windows"];
const USERNAME: &str = "system:node:";
/// By which Fargate pods are told from EC2 instances: theirs is the session's name.
const FARGATE: &str = "system:node-proxier";
const SESSION: &str = "{{SessionName}}";

/// The nodes of a cluster, a few of each sort by name: enough to say that there are some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    pub(crate) ec2: Vec<String>,
    pub(crate) fargate: Vec<String>,
}

/// Whether an identity is one that a machine of the cluster has.
pub(super) fn is_machine(identity: &Identity) -> bool {
    identity.username.as_ref().is_some_and(|name| name.as_str().starts_with(USERNAME))
        || GROUPS.into_iter().any(|group| identity.is_in(group))
}

/// Whether a machine that logged in as `was` does so as `is` too.
fn still_serves(was: &Identity, is: &Identity) -> bool {
    was.username == is.username && GROUPS.into_iter().all(|group| !was.is_in(group) || is.is_in(group))
}

fn all_serve(was: &Identity, now: &Admission) -> bool {
    match now {
        Admission::As(identity) => still_serves(was, identity),
        Admission::Denied(_) => false,
        Admission::ByChance(logins) => {
            logins.iter().all(|login| login.as_ref().is_ok_and(|identity| still_serves(was, identity)))
        }
    }
}

/// Whose entry served machines and does so no more.
pub(super) fn dangers(scene: &Scene<'_, '_>, nodes: &Known<Nodes>) -> Vec<Danger> {
    if !scene.writes_aws_auth() {
        return Vec::new();
    }
    let serves = |admission: &Admission| admission.identities().any(is_machine);
    let is_last = || !scene.is.principals().iter().any(|principal| serves(&principal.admission));
    let mut found = Vec::new();
    for principal in scene.was.principals() {
        let now = scene.is.admit(&principal.who);
        let broken = principal.admission.identities().filter(|one| is_machine(one)).find(|was| !all_serve(was, &now));
        if let Some(was) = broken {
            found.push(danger(scene, &principal.who, was, &now, nodes, is_last()));
        }
    }
    found
}

fn danger(
    scene: &Scene<'_, '_>,
    who: &Who,
    was: &Identity,
    now: &Admission,
    nodes: &Known<Nodes>,
    is_last: bool,
) -> Danger {
    let fargate = was.is_in(FARGATE) || was.username.as_ref().is_some_and(|name| name.as_str().contains(SESSION));
    let (what, machines) = if fargate { ("Fargate pods", "Fargate nodes") } else { ("nodes", "nodes") };
    let entry = was.entry().map_or_else(|| who.to_string(), ToString::to_string);
    let so = match now {
        Admission::Denied(_) => "its entry goes".to_owned(),
        Admission::As(is) => format!("they would log in {}", differs(was, is)),
        Admission::ByChance(_) => "several entries would answer, another at each login".to_owned(),
    };
    let mut out = Danger::new(Guard::Node, format!("{what} log in by the aws-auth entry {entry}: {so}"))
        .of(who)
        .hint(scene.said(who));
    if let (Admission::As(is), Some(entry)) = (now, now.identities().next().and_then(Identity::entry))
        && is.entry() != was.entry()
    {
        out = out.hint(format!("the entry {entry} would come into force"));
    }
    if is_last {
        out = out.hint(
            "no entry for nodes is left: each node is lost as soon as its token ends, within a quarter of an hour",
        );
    }
    out = out.hint(match nodes {
        Known::Not(why) => format!("which nodes there are is not known: {why}"),
        Known::As(nodes) => {
            let there = if fargate { &nodes.fargate } else { &nodes.ec2 };
            match there.as_slice() {
                [] => format!("no {machines} are in the cluster at the moment"),
                names => format!("{machines} are in the cluster, such as {}", names.join(", ")),
            }
        }
    });
    out.unless(Allowance::Remove(who.clone()))
}

/// `without the group system:nodes`.
fn differs(was: &Identity, is: &Identity) -> String {
    let name = |identity: &Identity| identity.username.as_ref().map(ToString::to_string).unwrap_or_default();
    let lost: Vec<&str> = GROUPS.into_iter().filter(|group| was.is_in(group) && !is.is_in(group)).collect();
    let mut words = Vec::new();
    if was.username != is.username {
        words.push(format!("as `{}` and not as `{}`", name(is), name(was)));
    }
    if !lost.is_empty() {
        words.push(format!("without the groups {}", lost.join(", ")));
    }
    words.join(", ")
}
