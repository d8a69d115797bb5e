//! Guards against access for everyone: for anonymous requests, for all authenticated users, and for all service accounts.
//!
//! Nothing that a policy could name is left out of these subjects, so a grant to one of them is rarely intended. On EKS
//! the endpoint is public by default, and a grant to anonymous requests is then open to the internet.

use std::collections::BTreeSet;

use super::allow_flag::AllowFlag;
use super::context::GuardContext;
use super::risk::{GuardKind, Risk, format_request_sets};
use crate::access::{GrantSource, Identity, PermissionDiff, RequestSetExcept, SubjectQuery};
use crate::names::ObjectKey;
use crate::plan::ChangeTarget;

/// How many grants a message lists.
const MAX_LISTED_GRANTS: usize = 3;

/// A built-in group or user that stands for many users without their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Unauthenticated,
    Anonymous,
    Authenticated,
    ServiceAccounts,
}

impl Audience {
    const ALL: [Self; 4] = [Self::Unauthenticated, Self::Anonymous, Self::Authenticated, Self::ServiceAccounts];

    /// Returns the audience with this group or user name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.name() == name)
    }

    /// The name of the group, or of the user.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "system:unauthenticated",
            Self::Anonymous => "system:anonymous",
            Self::Authenticated => "system:authenticated",
            Self::ServiceAccounts => "system:serviceaccounts",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Unauthenticated => "requests without credentials (group system:unauthenticated)",
            Self::Anonymous => "requests without credentials (user system:anonymous)",
            Self::Authenticated => "all authenticated users (group system:authenticated)",
            Self::ServiceAccounts => "all service accounts (group system:serviceaccounts)",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Unauthenticated | Self::Anonymous => {
                "every client that can reach the API server can use this access, without any credentials"
            }
            Self::Authenticated => {
                "every IAM principal that can authenticate and every service account has this access"
            }
            Self::ServiceAccounts => "every pod with a service account token has this access, in every namespace",
        }
    }

    fn subject(self) -> SubjectQuery {
        match self {
            Self::Anonymous => SubjectQuery::User(self.name().to_owned()),
            Self::Unauthenticated | Self::Authenticated | Self::ServiceAccounts => {
                SubjectQuery::Group(self.name().to_owned())
            }
        }
    }

    /// Returns an identity that only bindings to this subject match. A real user of the audience has more groups, whose
    /// access would be reported twice.
    fn identity(self) -> Identity {
        match self {
            Self::Anonymous => Identity::from_user_info(self.name(), &[]),
            Self::Unauthenticated | Self::Authenticated | Self::ServiceAccounts => {
                Identity::from_user_info("", &[self.name().to_owned()])
            }
        }
    }
}

pub(super) fn find_risks(context: &GuardContext<'_, '_>) -> Vec<Risk> {
    Audience::ALL.into_iter().filter_map(|audience| check_audience(context, audience)).collect()
}

fn check_audience(context: &GuardContext<'_, '_>, audience: Audience) -> Option<Risk> {
    let identity = audience.identity();
    let change = context.live_access.diff_identity(&identity, context.after_access, &identity);
    if change.gained.is_empty() {
        return None;
    }
    let gained: Vec<RequestSetExcept<'_>> = change.gained.iter().map(|part| part.requests.clone()).collect();
    let mut risk = Risk::new(GuardKind::Everyone, format!("this plan grants access to {}", audience.description()))
        .with_subject(&audience.subject())
        .with_because(format!("gained: {}", format_request_sets(&gained)));
    for grant in describe_grants(context, &change) {
        risk = risk.with_because(grant);
    }
    let risk = risk
        .with_note(audience.explanation())
        .with_help("bind a group, user or service account of its own instead")
        .with_allow_flag(AllowFlag::Everyone(audience));
    Some(risk)
}

/// Describes the bindings that grant what is gained, with their places in the policy.
fn describe_grants(context: &GuardContext<'_, '_>, change: &PermissionDiff<'_>) -> Vec<String> {
    let place = |key: &ObjectKey| {
        let change = context.plan.changes.iter().find(|change| change.target == ChangeTarget::Object(key.clone()))?;
        change.location.as_ref().map(ToString::to_string)
    };
    let describe_object = |key: &ObjectKey| match place(key) {
        Some(place) => format!("{key} ({place})"),
        None => key.to_string(),
    };
    let mut grants: BTreeSet<(&ObjectKey, &ObjectKey)> = BTreeSet::new();
    for source in change.gained.iter().flat_map(|part| &part.granted_by) {
        if let GrantSource::Path(path) = source {
            grants.insert((path.binding, path.role));
        }
    }
    let mut texts: Vec<String> = grants
        .iter()
        .take(MAX_LISTED_GRANTS)
        .map(|(binding, role)| format!("{} binds {}", describe_object(binding), describe_object(role)))
        .collect();
    let more = grants.len().saturating_sub(MAX_LISTED_GRANTS);
    if more > 0 {
        texts.push(format!("and {more} more bindings"));
    }
    texts
}
