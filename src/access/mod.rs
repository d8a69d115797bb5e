//! Who can do what in a state, exactly as the authenticator and the API server decide it, and how access differs
//! between two states.
//!
//! Pure: this module depends on states, names and diagnostics. It may not depend on policies, plans, terminals or
//! connections. Its answers contain the keys of objects and entries, by which a caller finds their location in a policy.

mod access_view;
mod aggregation;
mod allow_reason;
mod auth_mode_warning;
mod bound_grants;
mod can_answer;
mod dangling;
mod diff;
mod effective_permissions;
mod engine;
mod escalation;
mod escalation_rules;
mod full_access;
mod grant_index;
mod grant_scope;
mod grants;
mod iam_identity;
mod identity;
mod identity_mapping;
mod marginal_impact;
mod principals;
mod query_lint;
mod question;
mod repair;
mod request;
mod request_scope;
mod request_set;
mod rule_coverage;
mod rule_key;
mod rule_match;
mod session_attributes;
mod session_match;
mod template;
mod unknown_access;
mod variants;
mod who_can;
mod whole_grant;

pub(crate) use access_view::{
    AccessDecision, AccessView, AllowedVariant, CanResult, EffectiveRule, GrantPath, GrantSource, NearMiss,
    SubjectGrants,
};
pub(crate) use aggregation::{Aggregation, TooManyNestedRoles, check_nested_aggregation, keeps_manual_rules};
pub(crate) use allow_reason::AllowReason;
pub(crate) use auth_mode_warning::auth_mode_warning;
pub(crate) use bound_grants::BoundGrants;
pub(crate) use can_answer::{CanAnswer, UnknownPart, Verdict};
pub(crate) use dangling::{aggregation_cycles, all_dangling, dangling_after};
pub(crate) use diff::{PermissionDiff, SubjectDiff, diff_access};
pub(crate) use effective_permissions::GrantedRequests;
pub(crate) use engine::{
    AccessEffect, AccessEngine, AggregatedRules, Direction, EVERYTHING, EngineMark, GrantedRoles, RelatedScopes,
    RoleId, RuleId, ScopeId, ScopedRule, SubjectSet,
};
pub(crate) use escalation::{
    EscalationPath, all_escalation_paths, escalation_consequence, escalation_paths, identity_escalation_paths,
    paths_of_permissions,
};
pub(crate) use full_access::{FullAccessGrant, full_access_grants};
pub(crate) use grant_index::{BindingId, SubjectId};
pub(crate) use grant_scope::KnownNamespaces;
pub(crate) use iam_identity::IamIdentity;
pub(crate) use identity::{
    AUTHENTICATED, Authentication, DenialReason, Identity, MASTERS, SERVICE_ACCOUNTS, SubjectQuery, SubjectQueryError,
    UNAUTHENTICATED,
};
pub(crate) use identity_mapping::{EntryPlace, EntryRef, EntryStatus, IdentityMapping, UnmatchableReason};
pub(crate) use marginal_impact::MarginalImpact;
pub(crate) use principals::{MappedPrincipal, describe_variants};
pub(crate) use query_lint::{QueryLint, lint_spelling};
pub(crate) use question::{QuestionError, parse_requests};
pub(crate) use repair::lost_repair_permissions;
pub(crate) use request::{ObjectRequest, Request};
pub(crate) use request_scope::{RequestScope, request_scope};
pub(crate) use request_set::{
    Coverage, ProductSetData, RequestSet, RequestSetData, RequestSetExcept, ResourceSetData, StringSetData,
    UrlPatternData,
};
pub(crate) use rule_coverage::uncovered;
pub(crate) use rule_match::{RuleMismatch, rule_allows};
pub(crate) use session_match::sessions_rendering;
pub(crate) use template::RenderedName;
pub(crate) use variants::distinguished_principals;
pub(crate) use who_can::{GrantLimit, NamespaceFilter, WhoCanResult};

// Used by the tests of this module only.
#[cfg(test)]
pub(crate) use self::{
    aggregation::find_aggregation_cycles, diff::diff_subject, effective_permissions::grants_request,
    iam_identity::SessionName, identity::IdentitySource, session_attributes::SessionAttributes,
    unknown_access::UnknownAccess,
};

#[cfg(test)]
pub(crate) mod tests;
