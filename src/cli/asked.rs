//! What the questions have in common: the state they are put to, whom they are about, and what is odd about them.

use super::args::{On, Question};
use super::failure::Failure;
use super::planned::unreadable;
use super::policy_files::{Loaded, find, load};
use super::target::{Target, targets};
use super::world::World;
use crate::access::{
    Access, Admission, Denial, Doubt, Identity, Moment, Request, Verdict, Who, WhoFault, doubts, in_circles, spelling,
};
use crate::cluster::ReadCluster as _;
use crate::diagnostic::{Diagnostic, Sources, nearest};
use crate::plan;
use crate::policy::Known;
use crate::render::faults;
use crate::state::State;

/// A cluster in the state that is asked about.
pub(crate) struct Asked {
    pub(crate) label: String,
    pub(crate) state: State,
    pub(crate) known: Known,
    pub(crate) moment: Moment,
}

/// Subresources that stand where `can` takes the name of an object.
const SUBRESOURCES: [&str; 12] = [
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "scale",
    "status",
    "token",
];

/// Observes the clusters that are asked about.
pub(crate) async fn clusters(question: &Question, world: &mut World) -> Result<Vec<Asked>, Failure> {
    let named = question.policy.clone().or_else(|| find(world));
    if question.after && named.is_none() {
        let error = Diagnostic::error("--after is the state that a policy leads to, and there is no policy here");
        return Err(Failure::of(error.hint("name it: --policy FILE")));
    }
    let loaded = named.map(|path| load(Some(&path), world)).transpose()?;
    let policy = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.folder.as_path()));
    let mut all = Vec::new();
    for target in targets(policy, &question.place, world)? {
        let one = one(&target, loaded.as_ref(), question.after, world).await;
        all.push(one.map_err(|failure| failure.in_cluster(target.name.as_deref()))?);
    }
    Ok(all)
}

async fn one(target: &Target, loaded: Option<&Loaded>, after: bool, world: &mut World) -> Result<Asked, Failure> {
    let opened = target.open().await?;
    let mut state = opened.cluster.observe().await?;
    let name = target.name.as_deref();
    let mut known = Known::default();
    let mut moment = Moment::Stored;
    if let Some(Loaded { policy, .. }) = loaded {
        known = Known::of(policy, name, &state, world.now);
        if after {
            let plan = plan::plan(policy, name, &state, world.now)
                .map_err(|found| Failure::new(policy.sources.clone(), found))?;
            state = plan.after(&state).map_err(|fault| unreadable(&fault))?;
            moment = Moment::Settled;
        }
    }
    Ok(Asked { label: opened.label, state, known, moment })
}

impl Asked {
    pub(crate) fn access(&self) -> Access<'_> {
        Access::of(&self.state, self.moment)
    }

    /// Whom a SUBJECT of the command line means.
    pub(crate) fn who(&self, text: &str) -> Result<Who, Failure> {
        if let Some(who) = self.known.principal(text) {
            return Ok(who.clone());
        }
        Who::parse(text).map_err(|fault| {
            let error = Diagnostic::error(match &fault {
                WhoFault::Unknown(_) => fault.to_string(),
                WhoFault::Arn(_) | WhoFault::ServiceAccount => format!("`{text}` is nobody: {fault}"),
            });
            Failure::of(match (&fault, nearest(text, self.known.principals())) {
                (WhoFault::Unknown(_), Some(near)) => error.hint(format!("did you mean the principal `{near}`?")),
                (WhoFault::Arn(fault), _) => error.hint(fault.hint()),
                (WhoFault::Unknown(_), None) => error.hint("a principal is known by its name where a policy has it"),
                (WhoFault::ServiceAccount, _) => error,
            })
        })
    }
}

/// The request that the words of the command line mean, and a warning where they may mean another.
pub(crate) fn request(verb: &str, resource: &str, on: &On) -> (Request, Option<Diagnostic>) {
    if resource.starts_with('/') {
        return (Request::url(verb, resource), None);
    }
    let (resource, name) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let whole = match &on.subresource {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    };
    let namespace = if on.all_namespaces { "" } else { on.namespace.as_str() };
    let request = Request::object(verb, group, &whole).named(name).within(namespace).into_sent();
    let doubted = on.subresource.is_none() && SUBRESOURCES.contains(&name);
    let doubt = doubted.then(|| {
        Diagnostic::warning(format!("this asks about the object named `{name}`"))
            .hint(format!("ask about the subresource by --subresource {name}"))
    });
    (request, doubt)
}

/// Says what may make the answer another one than was meant.
pub(crate) fn warnings(access: &Access<'_>, who: Option<&Who>, request: &Request) -> Vec<Diagnostic> {
    doubts(access, who, request).iter().map(warning).chain(oddities(access)).collect()
}

pub(crate) fn warning(doubt: &Doubt) -> Diagnostic {
    doubt.hint().into_iter().fold(Diagnostic::warning(doubt.to_string()), Diagnostic::hint)
}

/// What is odd about the state itself: sections of aws-auth that map nobody, roles that gather from each other.
pub(crate) fn oddities(access: &Access<'_>) -> Vec<Diagnostic> {
    let unreadable = access.mapping.unreadable.iter().map(|error| {
        let section = error.section.key();
        Diagnostic::warning(format!("`{section}` of aws-auth cannot be read, line {}: {}", error.line, error.message))
            .hint("the authenticator takes nothing of it that is not before the fault")
    });
    unreadable.chain(in_circles(access.state())).collect()
}

/// What the answer about somebody leaves open, who was asked about in these words.
pub(crate) fn caveats(
    asked: &Asked,
    typed: &str,
    who: &Who,
    admission: &Admission,
    verdict: Verdict,
) -> Vec<Diagnostic> {
    let identities: Vec<&Identity> = admission.identities().collect();
    let mut found = asked.access().waiting(Some(&identities));
    found.extend(spelling(typed, admission).map(|doubt| warning(&doubt)));
    if let Admission::Denied(denial) = admission {
        let warning = Diagnostic::warning(format!("{who} is not let in: {}", crate::render::access::denial(denial)));
        let access = asked.access();
        let all: Vec<String> = access.principals().iter().map(|principal| principal.who.to_string()).collect();
        let near = match denial {
            Denial::NotMapped { .. } if asked.known.name_of(who).is_some() && asked.moment == Moment::Stored => {
                Some("the policy has it: ask of the state that its plan leads to by --after".to_owned())
            }
            Denial::NotMapped { meant } if meant.is_empty() => {
                // ARNs are long, so the names alone are compared.
                let last = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = all.iter().map(|arn| last(arn)).collect();
                let (whole, wanted) = (who.to_string(), last(&who.to_string()));
                let same = || all.iter().zip(&names).filter(|(_, name)| **name == wanted).map(|(arn, _)| arn.as_str());
                let near = nearest(&whole, same()).or_else(|| same().next()).or_else(|| {
                    let near = nearest(&wanted, names.iter().map(String::as_str))?;
                    all.iter().zip(&names).find(|(_, name)| *name == near).map(|(arn, _)| arn.as_str())
                });
                near.map(|arn| format!("did you mean `{arn}`?"))
            }
            Denial::NotMapped { .. } | Denial::NotAnInstance { .. } => None,
        };
        found.push(match near {
            Some(near) => warning.hint(near),
            None => warning,
        });
    }
    if verdict != Verdict::Yes && admission.identities().any(Identity::is_node) {
        let warning = Diagnostic::warning(format!("{who} is a node: beside RBAC the Node authorizer answers for it"));
        found.push(warning.hint("it may read what the pods on the node need; that is not asked here"));
    }
    found
}

/// Says warnings beside the result.
pub(crate) fn say(found: &[Diagnostic], world: &mut World) {
    if !found.is_empty() {
        let text = faults::render(found, &Sources::default(), world.err_style());
        world.say(&text);
    }
}
