//! The caller's own access: a plan that takes it away cannot be mended by the one who applied it.

use super::allowance::Allowance;
use super::danger::{Danger, Guard, Unjudged, regions};
use super::scene::{Known, Scene};
use crate::access::{self, AUTHENTICATED, Admission, Identity, MASTERS, Who, lost_rights};

/// How the authenticator of EKS begins the uid of whom it lets in.
const UID: &str = "aws-iam-authenticator:";

/// Whom the cluster takes the caller for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    pub(crate) uid: Option<String>,
    /// As STS shows it, where the authenticator tells.
    pub(crate) arn: Option<String>,
}

/// How he came in.
enum Login {
    /// By one of these principals' entries; of several it is not known which.
    AwsAuth(Vec<Who>),
    /// As the cluster's creator, by an access entry, a certificate, as a service account.
    Otherwise(Who),
}

pub(super) fn dangers(scene: &Scene<'_, '_>, caller: &Known<Caller>, unjudged: &mut Vec<Unjudged>) -> Vec<Danger> {
    let caller = match caller {
        Known::As(caller) => caller,
        Known::Not(why) => {
            if scene.takes_away() {
                unjudged.push(Unjudged { guard: Guard::Caller, why: why.clone() });
            }
            return Vec::new();
        }
    };
    let reported = Identity::reported(&caller.username, &caller.groups);
    match login(scene, caller) {
        Login::AwsAuth(all) => all.iter().filter_map(|who| by_entry(scene, who, caller, &reported)).collect(),
        Login::Otherwise(who) => {
            if scene.writes_aws_auth() && scene.takes_away() {
                let name = &caller.username;
                let why = format!(
                    "you are `{name}` otherwise than by aws-auth (as the cluster's creator, by an access entry, a \
                     certificate or as a service account): what becomes of aws-auth does not shut you out"
                );
                unjudged.push(Unjudged { guard: Guard::Caller, why });
            }
            rights(scene, &reported, &reported, &who, "").into_iter().collect()
        }
    }
}

fn login(scene: &Scene<'_, '_>, caller: &Caller) -> Login {
    let arn = caller.arn.as_deref().and_then(|arn| access::Caller::parse(arn).ok());
    if let Some(arn) = arn {
        let who = Who::Arn(arn);
        // Who has an entry and is reported as somebody else may come by an access entry, or by an answer that the API
        // server remembers: only the second can be shut out, and nobody can tell.
        let admission = scene.was.admit(&who);
        let is_master = caller.groups.iter().any(|group| group == MASTERS);
        // No entry makes him what he is there.
        let creates = is_master && !admission.identities().any(Identity::may_be_master);
        return if !creates && !matches!(admission, Admission::Denied(_)) {
            Login::AwsAuth(vec![who])
        } else {
            Login::Otherwise(who)
        };
    }
    let who = Who::of_username(&caller.username);
    let by_other = caller.uid.as_ref().is_some_and(|uid| !uid.is_empty() && !uid.starts_with(UID));
    if by_other || matches!(who, Who::ServiceAccount { .. }) {
        return Login::Otherwise(who);
    }
    let all = scene.was.principals().iter();
    let alike = all.filter(|one| one.admission.identities().any(|identity| is_alike(identity, caller)));
    let alike: Vec<Who> = alike.map(|one| one.who.clone()).collect();
    if alike.is_empty() { Login::Otherwise(who) } else { Login::AwsAuth(alike) }
}

/// Whether an entry makes of somebody what the caller is.
fn is_alike(identity: &Identity, caller: &Caller) -> bool {
    let mut own: Vec<&str> = caller.groups.iter().map(String::as_str).filter(|name| *name != AUTHENTICATED).collect();
    let mut his: Vec<&str> =
        identity.groups.iter().filter_map(|name| name.literal()).filter(|name| *name != AUTHENTICATED).collect();
    own.sort_unstable();
    his.sort_unstable();
    let named = identity.username.as_ref().is_some_and(|name| name.may_be(&caller.username));
    // A group that is open may be any of the others.
    let is_open = identity.groups.iter().any(|name| name.literal().is_none());
    named && (own == his || is_open && his.iter().all(|name| own.contains(name)))
}

fn by_entry(scene: &Scene<'_, '_>, who: &Who, caller: &Caller, reported: &Identity) -> Option<Danger> {
    let was = scene.was.admit(who);
    let now = scene.is.admit(who);
    let entry = was.identities().find_map(Identity::entry).map(ToString::to_string).unwrap_or_default();
    let name = &caller.username;
    let by = if was.identities().any(|identity| is_alike(identity, caller)) {
        format!("you are `{name}` by the aws-auth entry {entry}")
    } else {
        format!("the aws-auth entry {entry} is yours, though the cluster takes you for `{name}`")
    };
    let shut_out = match &now {
        Admission::Denied(_) => Some("and the plan takes it away: you would not be let in any more"),
        Admission::ByChance(logins) if logins.iter().any(Result::is_err) => {
            Some("and after the plan you would be let in by chance alone")
        }
        Admission::As(_) | Admission::ByChance(_) => None,
    };
    if let Some(so) = shut_out {
        let danger = Danger::new(Guard::Caller, format!("{by}, {so}")).of(who).hint(scene.said(who));
        let danger = danger.hint("keep the entry, or let somebody else apply whose access stays");
        return Some(danger.unless(Allowance::Remove(who.clone())));
    }
    let same = was == now;
    let mut left = now.identities().map(|is| if same { reported } else { is });
    left.find_map(|is| rights(scene, reported, is, who, &format!(", {by}")))
}

/// The rights to repair access that the caller has and would not have any more.
fn rights(scene: &Scene<'_, '_>, was: &Identity, is: &Identity, who: &Who, by: &str) -> Option<Danger> {
    let change = scene.was.change_to(was, scene.is, is);
    let lost = lost_rights(&change);
    (!lost.is_empty()).then(|| {
        let message = format!("the plan takes from you what you repair access with: {}{by}", regions(&lost));
        Danger::new(Guard::Caller, message)
            .of(who)
            .hint(scene.said_of_rights())
            .hint("keep these rights, or let somebody else apply who keeps them")
            .unless(Allowance::Remove(who.clone()))
    })
}
