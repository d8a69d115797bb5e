//! The caller's own access: a plan that takes it away cannot be mended by the one who applied it.

use super::allow_flag::AllowFlag;
use super::context::{GuardContext, Observed};
use super::risk::{GuardKind, Risk, UnevaluatedGuard, format_request_sets};
use crate::access::{self, AUTHENTICATED, Authentication, Identity, MASTERS, SubjectQuery, lost_repair_permissions};

/// How the authenticator of EKS begins the uid of whom it lets in.
const AUTHENTICATOR_UID_PREFIX: &str = "aws-iam-authenticator:";

/// Whom the cluster takes the caller for.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallerIdentity {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    pub(crate) uid: Option<String>,
    /// As STS shows it, where the authenticator tells.
    pub(crate) arn: Option<String>,
}

/// How he came in.
enum CallerLogin {
    /// By one of these principals' entries; of several it is not known which.
    AwsAuth(Vec<SubjectQuery>),
    /// As the cluster's creator, by an access entry, a certificate, as a service account.
    NotAwsAuth(SubjectQuery),
}

pub(super) fn find_risks(
    scene: &GuardContext<'_, '_>,
    caller: &Observed<CallerIdentity>,
    unjudged: &mut Vec<UnevaluatedGuard>,
) -> Vec<Risk> {
    let caller = match caller {
        Observed::Known(caller) => caller,
        Observed::Unknown(why) => {
            if scene.revokes_access() {
                unjudged.push(UnevaluatedGuard { guard: GuardKind::Caller, reason: why.clone() });
            }
            return Vec::new();
        }
    };
    let reported = Identity::from_user_info(&caller.username, &caller.groups);
    match classify_login(scene, caller) {
        CallerLogin::AwsAuth(all) => all.iter().filter_map(|who| check_entry(scene, who, caller, &reported)).collect(),
        CallerLogin::NotAwsAuth(who) => {
            if scene.writes_aws_auth() && scene.revokes_access() {
                let name = &caller.username;
                let why = format!(
                    "you are `{name}` otherwise than by aws-auth (as the cluster's creator, by an access entry, a \
                     certificate or as a service account): what becomes of aws-auth does not shut you out"
                );
                unjudged.push(UnevaluatedGuard { guard: GuardKind::Caller, reason: why });
            }
            check_repair_permissions(scene, &reported, &reported, &who, "").into_iter().collect()
        }
    }
}

fn classify_login(scene: &GuardContext<'_, '_>, caller: &CallerIdentity) -> CallerLogin {
    let arn = caller.arn.as_deref().and_then(|arn| access::IamIdentity::parse(arn).ok());
    if let Some(arn) = arn {
        let who = SubjectQuery::Arn(arn);
        // Who has an entry and is reported as somebody else may come by an access entry, or by an answer that the API
        // server remembers: only the second can be shut out, and nobody can tell.
        let admission = scene.live_access.authenticate(&who);
        let is_master = caller.groups.iter().any(|group| group == MASTERS);
        // No entry makes him what he is there.
        let creates = is_master && !admission.identities().any(Identity::may_be_in_system_masters);
        return if !creates && !matches!(admission, Authentication::Denied(_)) {
            CallerLogin::AwsAuth(vec![who])
        } else {
            CallerLogin::NotAwsAuth(who)
        };
    }
    let who = SubjectQuery::from_username(&caller.username);
    let by_other = caller.uid.as_ref().is_some_and(|uid| !uid.is_empty() && !uid.starts_with(AUTHENTICATOR_UID_PREFIX));
    if by_other || matches!(who, SubjectQuery::ServiceAccount { .. }) {
        return CallerLogin::NotAwsAuth(who);
    }
    let all = scene.live_access.principals().iter();
    let alike = all.filter(|one| one.authentication.identities().any(|identity| matches_caller(identity, caller)));
    let alike: Vec<SubjectQuery> = alike.map(|one| one.subject.clone()).collect();
    if alike.is_empty() { CallerLogin::NotAwsAuth(who) } else { CallerLogin::AwsAuth(alike) }
}

/// Whether an entry makes of somebody what the caller is.
fn matches_caller(identity: &Identity, caller: &CallerIdentity) -> bool {
    let mut own: Vec<&str> = caller.groups.iter().map(String::as_str).filter(|name| *name != AUTHENTICATED).collect();
    let mut his: Vec<&str> =
        identity.groups.iter().filter_map(|name| name.as_literal()).filter(|name| *name != AUTHENTICATED).collect();
    own.sort_unstable();
    his.sort_unstable();
    let named = identity.username.as_ref().is_some_and(|name| name.can_equal(&caller.username));
    // A group that is open may be any of the others.
    let is_open = identity.groups.iter().any(|name| name.as_literal().is_none());
    named && (own == his || is_open && his.iter().all(|name| own.contains(name)))
}

fn check_entry(
    scene: &GuardContext<'_, '_>,
    who: &SubjectQuery,
    caller: &CallerIdentity,
    reported: &Identity,
) -> Option<Risk> {
    let was = scene.live_access.authenticate(who);
    let now = scene.after_access.authenticate(who);
    let entry = was.identities().find_map(Identity::entry).map(ToString::to_string).unwrap_or_default();
    let name = &caller.username;
    let by = if was.identities().any(|identity| matches_caller(identity, caller)) {
        format!("you are `{name}` by the aws-auth entry {entry}")
    } else {
        format!("the aws-auth entry {entry} is yours, though the cluster takes you for `{name}`")
    };
    let shut_out = match &now {
        Authentication::Denied(_) => Some("and the plan takes it away: you would not be let in any more"),
        Authentication::Ambiguous(logins) if logins.iter().any(Result::is_err) => {
            Some("and after the plan you would be let in by chance alone")
        }
        Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
    };
    if let Some(so) = shut_out {
        let danger = Risk::new(GuardKind::Caller, format!("{by}, {so}"))
            .with_subject(who)
            .with_help(scene.entry_change_hint(who));
        let danger = danger.with_help("keep the entry, or let somebody else apply whose access stays");
        return Some(danger.with_allow_flag(AllowFlag::Remove(who.clone())));
    }
    let same = was == now;
    let mut left = now.identities().map(|is| if same { reported } else { is });
    left.find_map(|is| check_repair_permissions(scene, reported, is, who, &format!(", {by}")))
}

/// The rights to repair access that the caller has and would not have any more.
fn check_repair_permissions(
    scene: &GuardContext<'_, '_>,
    was: &Identity,
    is: &Identity,
    who: &SubjectQuery,
    by: &str,
) -> Option<Risk> {
    let change = scene.live_access.diff_identity(was, scene.after_access, is);
    let lost = lost_repair_permissions(&change);
    (!lost.is_empty()).then(|| {
        let message =
            format!("the plan takes from you what you repair access with: {}{by}", format_request_sets(&lost));
        Risk::new(GuardKind::Caller, message)
            .with_subject(who)
            .with_help(scene.rbac_change_hint())
            .with_help("keep these rights, or let somebody else apply who keeps them")
            .with_allow_flag(AllowFlag::Remove(who.clone()))
    })
}
