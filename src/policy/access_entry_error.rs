//! The errors of a policy about access entries, with their messages and notes.

use thiserror::Error;

use super::principal_stores::AwsAuthReason;
use super::usernames::MASTERS;
use crate::diagnostic::Diagnostic;
use crate::state::access_entry_rules::EntryRuleError;

/// Why a principal cannot have the access entry that the policy describes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AccessEntryError {
    #[error("`{principal}` has the access policy `{policy}` twice, with different scopes")]
    TwoScopes { policy: String, principal: String },
    #[error("`{principal}` has access policies, but no access entry")]
    PolicyWithoutEntry { principal: String, reason: AwsAuthReason },
    #[error("`{principal}` has `kind = \"{kind}\"`, but no access entry")]
    KindWithoutEntry { principal: String, kind: &'static str, reason: AwsAuthReason },
    #[error("`{principal}` is a whole account, which cannot have an access entry")]
    Account { principal: String },
    #[error("access entry of `{principal}`: {rule}")]
    Rule { principal: String, rule: EntryRuleError },
    #[error("access entry of `{principal}`: the template `{template}` is not known to work")]
    Template { principal: String, template: String },
    #[error("the access entry of permission set `{set}` needs the `region` of IAM Identity Center")]
    SsoWithoutRegion { set: String },
    #[error("access entry of `{principal}`: several access entries match the role without its path")]
    AmbiguousPath { principal: String, arns: Vec<String> },
    #[error("a policy cannot set the tag `{key}`")]
    ReservedTag { key: String },
    #[error("invalid tag: {rule}")]
    InvalidTag { rule: EntryRuleError },
    #[error("`eks-tags` has {count} tags, and at most {most} are possible")]
    TooManyTags { count: usize, most: usize },
}

impl AccessEntryError {
    /// Adds the reason, and what to do about it.
    pub(super) fn explain(&self, diagnostic: Diagnostic) -> Diagnostic {
        match self {
            Self::TwoScopes { .. } => diagnostic
                .with_because("an access entry is associated with an access policy once")
                .with_help("list the policy once, with all its namespaces"),
            Self::PolicyWithoutEntry { reason, .. } => diagnostic
                .with_because(reason.because())
                .with_note("aws-auth gives a principal groups, and cannot give it access policies")
                .with_help(reason.help()),
            Self::KindWithoutEntry { reason, .. } => diagnostic
                .with_because(reason.because())
                .with_note("EKS documents no aws-auth entry for such nodes")
                .with_help(reason.help()),
            Self::Account { .. } => diagnostic
                .with_because("an access entry is for one IAM role or user")
                .with_help("list the IAM roles and users of the account individually, with `role = …` or `user = …`")
                .with_help("while the cluster reads aws-auth, `authentication = \"both\"` keeps the account there"),
            Self::Rule { rule: EntryRuleError::ReservedGroup { group, .. }, .. } if group == MASTERS => {
                diagnostic.with_because("the authorizer of EKS gives such access, not a group").with_help(
                    "write `access-policies = [{ policy = \"AmazonEKSClusterAdminPolicy\" }]` instead of the group",
                )
            }
            Self::Rule { rule: EntryRuleError::NodeGroups(_), .. } => {
                diagnostic.with_because("EKS sets the groups of nodes").with_help("remove the principal from the group")
            }
            Self::Rule { rule, .. } => match rule.help() {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            },
            Self::Template { .. } => diagnostic
                .with_because("EKS documents only `{{SessionName}}` for access entries, in the username")
                .with_help("write a name without this template"),
            Self::SsoWithoutRegion { .. } => diagnostic
                .with_because("an access entry needs the ARN with its path, which contains the region")
                .with_help("add the home region of IAM Identity Center to `sso`, such as `region = \"eu-west-1\"`"),
            Self::AmbiguousPath { arns, .. } => {
                let diagnostic = diagnostic
                    .with_because("a role that is created again can have another path, and the old entry stays");
                let diagnostic = arns.iter().fold(diagnostic, |diagnostic, arn| diagnostic.with_note(arn.clone()));
                diagnostic.with_help("write the ARN with its path, as IAM shows it")
            }
            Self::ReservedTag { .. } => {
                diagnostic.with_because("rolecall records in it what it owns").with_help("use another key")
            }
            Self::InvalidTag { rule } => match rule.help() {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            },
            Self::TooManyTags { .. } => diagnostic
                .with_because("an access entry has at most 50 tags, and rolecall writes some of its own")
                .with_help("remove some of them"),
        }
    }
}
