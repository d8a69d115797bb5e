//! Guards the caller's own access: a caller that loses it cannot undo the plan.

use super::allow_flag::AllowFlag;
use super::context::{GuardContext, Observed};
use super::risk::{GuardKind, Risk, UnevaluatedGuard, format_request_sets};
use crate::access::{
    self, AUTHENTICATED, Authentication, EntryRef, Identity, MASTERS, SubjectQuery, lost_repair_permissions,
};

/// The prefix of the UIDs that the authenticator of EKS assigns.
const AUTHENTICATOR_UID_PREFIX: &str = "aws-iam-authenticator:";

/// The identity that the cluster reports for the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallerIdentity {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    pub(crate) uid: Option<String>,
    /// As STS reports it, if the authenticator passes it on.
    pub(crate) arn: Option<String>,
}

/// How the caller authenticates.
enum CallerLogin {
    /// Through the access entry or the aws-auth entry of one of these principals. If there are several, it is not known which
    /// one.
    Entry(Vec<SubjectQuery>),
    /// As the cluster creator, or through a certificate or a service account, or through an access entry that is not known.
    NoEntry(SubjectQuery),
}

pub(super) fn find_risks(
    context: &GuardContext<'_, '_>,
    caller: &Observed<CallerIdentity>,
    not_evaluated: &mut Vec<UnevaluatedGuard>,
) -> Vec<Risk> {
    let caller = match caller {
        Observed::Known(caller) => caller,
        Observed::Unknown(why) => {
            if context.revokes_access() {
                not_evaluated.push(UnevaluatedGuard { guard: GuardKind::Caller, reason: why.clone() });
            }
            return Vec::new();
        }
    };
    let arn = match caller.arn.as_deref().map(access::IamIdentity::parse).transpose() {
        Ok(arn) => arn,
        Err(error) => {
            if context.revokes_access() {
                let reason = format!(
                    "your entry is looked up by your username only: the cluster reports an ARN for you that is none \
                     ({error})"
                );
                not_evaluated.push(UnevaluatedGuard { guard: GuardKind::Caller, reason });
            }
            None
        }
    };
    let reported = Identity::from_user_info(&caller.username, &caller.groups);
    match classify_login(context, caller, arn) {
        CallerLogin::Entry(subjects) => {
            subjects.iter().filter_map(|subject| check_entry(context, subject, caller, &reported)).collect()
        }
        CallerLogin::NoEntry(subject) => {
            if context.writes_entries() && context.revokes_access() {
                let why = match &context.live_access.mapping.unknown_access_entries {
                    Some(reason) => format!(
                        "the access entries of the cluster are not known, and you (\"{}\") may have one: {reason}",
                        caller.username
                    ),
                    None => format!(
                        "you (\"{}\") are authenticated neither through aws-auth nor through an access entry, so changing \
                         them cannot lock you out",
                        caller.username
                    ),
                };
                not_evaluated.push(UnevaluatedGuard { guard: GuardKind::Caller, reason: why });
            }
            check_repair_permissions(context, &reported, &reported, &subject, None).into_iter().collect()
        }
    }
}

fn classify_login(
    context: &GuardContext<'_, '_>,
    caller: &CallerIdentity,
    arn: Option<access::IamIdentity>,
) -> CallerLogin {
    if let Some(arn) = arn {
        let subject = SubjectQuery::Arn(arn);
        // The ARN can have an entry while the cluster reports another identity than the entry gives. Then the caller
        // uses an access entry, or the API server has cached an older answer of the authenticator. The two cannot be
        // distinguished, and in the second case aws-auth can lock the caller out. So an entry counts as the login.
        let authentication = context.live_access.authenticate(&subject);
        let is_in_masters = caller.groups.iter().any(|group| group == MASTERS);
        // If no entry gives system:masters, the caller has it from elsewhere, for example as the cluster creator.
        let has_masters_from_elsewhere =
            is_in_masters && !authentication.identities().any(Identity::may_be_in_system_masters);
        return if !has_masters_from_elsewhere && !matches!(authentication, Authentication::Denied(_)) {
            CallerLogin::Entry(vec![subject])
        } else {
            CallerLogin::NoEntry(subject)
        };
    }
    let subject = SubjectQuery::from_username(&caller.username);
    let has_other_uid =
        caller.uid.as_ref().is_some_and(|uid| !uid.is_empty() && !uid.starts_with(AUTHENTICATOR_UID_PREFIX));
    if has_other_uid || matches!(subject, SubjectQuery::ServiceAccount { .. }) {
        return CallerLogin::NoEntry(subject);
    }
    let principals = context.live_access.principals().iter();
    let matching = principals
        .filter(|principal| principal.authentication.identities().any(|identity| matches_caller(identity, caller)));
    let matching: Vec<SubjectQuery> = matching.map(|principal| principal.subject.clone()).collect();
    if matching.is_empty() { CallerLogin::NoEntry(subject) } else { CallerLogin::Entry(matching) }
}

/// Returns whether the identity that an entry gives can be the identity of the caller.
fn matches_caller(identity: &Identity, caller: &CallerIdentity) -> bool {
    let is_from_entry = |name: &&str| *name != AUTHENTICATED;
    let mut caller_groups: Vec<&str> = caller.groups.iter().map(String::as_str).filter(is_from_entry).collect();
    let mut entry_groups: Vec<&str> =
        identity.groups.iter().filter_map(|name| name.as_literal()).filter(is_from_entry).collect();
    caller_groups.sort_unstable();
    entry_groups.sort_unstable();
    let username_matches = identity.username.as_ref().is_some_and(|name| name.can_equal(&caller.username));
    // A group with a template can be any group of the caller.
    let has_template_group = identity.groups.iter().any(|name| name.as_literal().is_none());
    username_matches
        && (caller_groups == entry_groups
            || has_template_group && entry_groups.iter().all(|name| caller_groups.contains(name)))
}

fn check_entry(
    context: &GuardContext<'_, '_>,
    subject: &SubjectQuery,
    caller: &CallerIdentity,
    reported: &Identity,
) -> Option<Risk> {
    let before = context.live_access.authenticate(subject);
    let after = context.after_access.authenticate(subject);
    let entry = before.identities().find_map(Identity::entry).map(EntryRef::with_store).unwrap_or_default();
    let name = &caller.username;
    let login = if before.identities().any(|identity| matches_caller(identity, caller)) {
        format!("you are `{name}` through the {entry}")
    } else {
        format!("{entry} maps your IAM identity, but the cluster authenticates you as `{name}`")
    };
    let lock_out = match &after {
        Authentication::Denied(_) => Some("this plan locks you out: you can no longer authenticate"),
        Authentication::Ambiguous(logins) if logins.iter().any(Result::is_err) => Some(
            "this plan might lock you out: several aws-auth entries match your IAM identity, and some of them do not let you authenticate",
        ),
        Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
    };
    if let Some(message) = lock_out {
        let risk = Risk::new(GuardKind::Caller, message.to_owned())
            .with_subject(subject)
            .with_because(login)
            .with_notes(context.entry_change_note(subject))
            .with_help("keep the entry, or let a principal that keeps its access apply the plan")
            .with_allow_flag(AllowFlag::Remove(subject.clone()));
        return Some(risk);
    }
    let is_unchanged = before == after;
    let mut remaining = after.identities().map(|identity| if is_unchanged { reported } else { identity });
    remaining.find_map(|identity| check_repair_permissions(context, reported, identity, subject, Some(&login)))
}

/// Reports permissions that restore access, and that the caller has before the plan and not after it.
fn check_repair_permissions(
    context: &GuardContext<'_, '_>,
    before: &Identity,
    after: &Identity,
    subject: &SubjectQuery,
    login: Option<&str>,
) -> Option<Risk> {
    let change = context.live_access.diff_identity(before, context.after_access, after);
    let lost = lost_repair_permissions(&change);
    if lost.is_empty() {
        return None;
    }
    let message = "this plan removes permissions that you need to restore access".to_owned();
    let mut risk = Risk::new(GuardKind::Caller, message).with_subject(subject);
    if let Some(login) = login {
        risk = risk.with_because(login);
    }
    let risk = risk
        .with_because(format!("you lose these permissions: {}", format_request_sets(&lost)))
        .with_notes([context.rbac_change_note()])
        .with_help("keep these permissions, or let a principal that keeps them apply the plan")
        .with_allow_flag(AllowFlag::Remove(subject.clone()));
    Some(risk)
}
