//! The errors and warnings of a policy: one variant each, with its facts as fields, its message and its notes.

use std::collections::BTreeSet;

use thiserror::Error;

use super::access_entry_error::AccessEntryError;
use super::table::quote_key;
use crate::diagnostic::{Diagnostic, LintId, Span, closest_match};
use crate::names::ArnError;

/// Returns a value between backticks. An empty one is shown as `""`, since it would not be visible otherwise.
fn quote_if_empty(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}

/// An error or a warning of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PolicyError {
    #[error("invalid TOML: {message}")]
    Toml { message: String },
    #[error("missing table `[policy]`")]
    NoPolicyTable,
    #[error("missing `name` in `policy`")]
    NoPolicyName,
    #[error("`{}` is not a valid policy name", quote_if_empty(name))]
    InvalidPolicyName { name: String },
    #[error("{}", match table.as_str() { "" => format!("unknown table `{key}`"), table => format!("unknown key `{key}` in `{table}`") })]
    UnknownKey { table: String, key: String, known: Vec<&'static str> },
    #[error("`{key}`: expected {expected}, found {found}")]
    WrongType { key: String, expected: &'static str, found: &'static str, help: Option<String> },
    #[error("`{key}`: invalid value `{found}`")]
    WrongValue { key: String, expected: String, found: String },
    #[error("missing {keys} in `{table}`")]
    MissingKey { table: String, keys: String },
    #[error("`{text}` is not a valid time")]
    InvalidTimestamp { text: String },
    #[error("duplicate `{value}` in `{list}`")]
    DuplicateItem { value: String, list: String },
    #[error("{found} cannot be used together in `{table}`")]
    MutuallyExclusiveKeys { table: String, found: String, allowed: String },
    #[error("{}", match *section { "" => format!("`[{name}]` is defined in two files"), section => format!("`{section}.{}` is defined twice", quote_key(name)) })]
    DefinedTwice { section: &'static str, name: String },
    #[error("`{text}` is not a valid principal")]
    Arn { text: String, reason: ArnError },
    #[error("`{}` is not a valid name for {kind}", quote_if_empty(name))]
    InvalidIamName { name: String, kind: &'static str, reason: String },
    #[error("no account for `{name}`: {}", match cluster { Some(cluster) => format!("cluster `{cluster}` has no `account`"), None => "the policy has no `[clusters]`".to_owned() })]
    NoAccount { name: String, cluster: Option<String> },
    #[error("`{id}` is not a valid suffix of an SSO role")]
    InvalidSsoSuffix { id: String },
    #[error("missing `id` for permission set `{set}` in account {account}")]
    MissingSsoSuffix { set: String, account: String },
    #[error("`{key}` cannot be set for a whole account")]
    KeyNotForAccount { key: &'static str },
    #[error("`kind = \"{kind}\"` is only valid for a role")]
    KindNotForUser { kind: String },
    #[error("`username` cannot be set together with `kind = \"{kind}\"`")]
    KindWithUsername { kind: String },
    #[error("`{first}` and `{second}` are the same {noun}")]
    DuplicatePrincipal { noun: &'static str, first: String, second: String },
    #[error("`{first}` and `{second}` have the same username `{username}`")]
    DuplicateUsername { username: String, first: String, second: String },
    #[error("`{principal}` is in partition `{partition}`, but cluster `{cluster}` is in `{cluster_partition}`")]
    PartitionMismatch { principal: String, partition: String, cluster: String, cluster_partition: &'static str },
    #[error("username `{name}` is reserved")]
    ReservedUsername { name: String, prefix: &'static str, owner: &'static str },
    #[error("`username` is empty")]
    EmptyUsername,
    #[error("unknown template `{template}`")]
    UnknownTemplate { template: String },
    #[error("`{{{{EC2PrivateDNSName}}}}` is only valid for nodes")]
    NodeTemplateForNonNode,
    #[error("`{{{{SessionName}}}}` is always empty for an IAM user")]
    SessionTemplateForUser,
    #[error("`{text}` contains the invisible character {character}")]
    InvisibleCharacter { text: String, character: String },
    #[error("`{text}` has letters that look like those of another script")]
    ConfusableText { text: String, characters: String, looks_like: Option<String> },
    #[error("the caller can choose this name freely")]
    CallerControlledName,
    #[error("{sessions} of this role have the name `{name}`")]
    SessionTakesName { name: String, sessions: String },
    #[error("group `{name}` is reserved")]
    ReservedGroup { name: String, reason: &'static str, help: Option<&'static str> },
    #[error("{what} must not be empty")]
    EmptyName { what: &'static str },
    #[error("`{}` is not a valid {kind} name", quote_if_empty(name))]
    InvalidObjectName { kind: &'static str, name: String, reason: String },
    #[error("a policy cannot define `{name}`")]
    ReservedObject { name: String, reason: &'static str },
    #[error("a policy cannot set the label `{key}`")]
    ReservedLabel { key: String, reason: &'static str },
    #[error("{kind} `{name}` is not declared in the policy")]
    Undeclared { kind: &'static str, name: String, nearest: Option<String>, add: String },
    #[error("{kind} `{name}` is not defined in the policy")]
    LikelyRoleTypo { kind: &'static str, name: String, nearest: String },
    #[error("{kind} `{name}` is not defined for {clusters}")]
    RoleNotInCluster { kind: &'static str, name: String, clusters: String },
    #[error("`{binding}` binds Role `{role}` in namespace `{namespace}`, where it is not defined")]
    RoleNotInNamespace { binding: String, role: String, namespace: String },
    #[error("`{table}` refers to `{name}`, but no cluster has both")]
    NoCommonCluster { name: String, name_clusters: String, table: String, table_clusters: String },
    #[error("`{member}` is a whole account, which cannot be a member of a group")]
    AccountInGroup { member: String },
    #[error("cannot bind `{principal}`: its username `{username}` contains a template")]
    BoundTemplateUsername { principal: String, username: String },
    #[error("{kind} `{name}` never matches: a binding needs the name without templates")]
    TemplateInSubjectName { kind: &'static str, name: String },
    #[error("cannot bind `{principal}`: it is a whole account")]
    BoundAccount { principal: String },
    #[error("`{table}` has both `rules` and `aggregation`")]
    RulesBesideAggregation { table: String },
    #[error("the rule has no verbs")]
    NoVerbs,
    #[error("the rule has neither `resources` nor `non-resource-urls`")]
    NoResources,
    #[error("a rule cannot have both resources and `non-resource-urls`")]
    ResourcesAndUrls,
    #[error("a Role cannot allow non-resource URLs")]
    UrlsInRole,
    #[error("{kind} `{}` never matches anything, although the API server accepts it", quote_if_empty(value))]
    NeverMatches { kind: &'static str, value: String, reason: &'static str, help: Option<&'static str> },
    #[error("`{}` {reason}", quote_if_empty(value))]
    MisleadingValue { lint: LintId, value: String, reason: &'static str, help: &'static str },
    #[error("`{}` is not a valid {kind}", quote_if_empty(text))]
    InvalidLabel { kind: &'static str, text: String },
    #[error("`{path}` is empty")]
    EmptyList { path: String, key: &'static str, reason: &'static str },
    #[error("`{}` is not a valid namespace name or pattern", quote_if_empty(name))]
    InvalidNamespaceName { name: String },
    #[error("`{}` is not a valid service account", quote_if_empty(text))]
    InvalidServiceAccount { text: String },
    #[error("`{table}` has no subjects")]
    NoSubjects { table: String },
    #[error("a binding to a Role needs `namespaces`")]
    RoleWithoutNamespace,
    #[error("cluster `{cluster}` is not declared in the policy")]
    UnknownCluster { cluster: String, nearest: Option<String> },
    #[error("`{}` is not a valid ignore pattern", quote_if_empty(pattern))]
    InvalidIgnorePattern { pattern: String },
    #[error(transparent)]
    AccessEntry(#[from] AccessEntryError),
    #[error("access policy `{name}` is not known: it may not exist, and what it allows is not known")]
    UnknownAccessPolicy { name: String, nearest: Option<String> },
    #[error("an access policy is written by its name, not by its ARN")]
    AccessPolicyArn { name: String },
    #[error("`{}` is not a valid resource", quote_if_empty(text))]
    InvalidDeclaredResource { text: String },
    #[error("unknown lint `{name}`")]
    UnknownLint { name: String },
    #[error("lint `{name}` is both allowed and denied")]
    ContradictoryLint { name: String },
}

/// The `kind` of [`PolicyError::InvalidIamName`] that is not an IAM principal.
pub(super) const PERMISSION_SET: &str = "a permission set";
const LIST_MEMBERS_OF_ACCOUNT: &str =
    "list the IAM roles and users of the account individually, with `role = …` or `user = …`";

impl PolicyError {
    /// Adds the reason, and what to do about it.
    fn explain(self, diagnostic: Diagnostic) -> Diagnostic {
        match &self {
            // The messages of these say what is expected.
            Self::Toml { .. } | Self::MissingKey { .. } | Self::EmptyName { .. } => diagnostic,
            Self::NoPolicyTable => diagnostic
                .with_because("rolecall marks the objects and aws-auth entries that it manages with the policy name")
                .with_help("write `[policy]`, and below it `name = \"prod\"`"),
            Self::NoPolicyName => diagnostic
                .with_because("rolecall marks the objects and aws-auth entries that it manages with the policy name")
                .with_help("write `name = \"prod\"`"),
            Self::InvalidPolicyName { .. } => diagnostic
                .with_because("rolecall marks the objects and aws-auth entries that it manages with the policy name")
                .with_help("use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"),
            Self::UnknownKey { key, known, .. } => match closest_match(key, known.iter().copied()) {
                Some(near) => diagnostic.with_help(did_you_mean(near)),
                None => diagnostic.with_help(format!("use one of: {}", known.join(", "))),
            },
            Self::WrongType { help, .. } => match help {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            },
            Self::WrongValue { expected, .. } => diagnostic.with_help(format!("use {expected}")),
            Self::InvalidTimestamp { .. } => diagnostic.with_help(
                "use a date (`2026-12-31`) or a timestamp (`2026-12-31T18:00:00Z`); leap seconds are not supported",
            ),
            Self::DuplicateItem { .. } => diagnostic.with_help("remove one of them"),
            Self::MutuallyExclusiveKeys { allowed, .. } => diagnostic.with_help(format!("keep exactly one of {allowed}")),
            Self::DefinedTwice { .. } => diagnostic
                .with_note("the files of a directory form one policy")
                .with_help("remove one of the two definitions"),
            Self::Arn { reason, .. } => diagnostic.with_because(reason.to_string()).with_help(reason.help()),
            Self::InvalidIamName { name, kind, reason } => diagnostic.with_because(reason).with_help(match *kind {
                PERMISSION_SET => "write the name of the permission set as IAM Identity Center shows it",
                _ if name.contains('/') => "write the full ARN, which can contain a path",
                _ => "write the name as IAM shows it, or the full ARN",
            }),
            Self::NoAccount { cluster, .. } => diagnostic.with_help(match cluster {
                Some(_) => "add `account = \"111122223333\"` to the cluster, or write the full ARN",
                None => "write the full ARN, or declare a cluster with `account = \"111122223333\"`",
            }),
            Self::InvalidSsoSuffix { .. } => diagnostic
                .with_because("the suffix has 16 hexadecimal digits")
                .with_help("use the last part of the role name AWSReservedSSO_<permission set>_<suffix>"),
            Self::MissingSsoSuffix { set, .. } => diagnostic
                .with_because("the name of an SSO role ends in a suffix that cannot be derived")
                .with_help("add the suffix: `id = \"0123456789abcdef\"`")
                .with_help(format!(
                    "to find it, run: aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/ --query \
                     \"Roles[?starts_with(RoleName, 'AWSReservedSSO_{set}_')].RoleName\""
                )),
            Self::KeyNotForAccount { .. } => diagnostic
                .with_because("aws-auth `mapAccounts` sets neither username nor groups")
                .with_help(LIST_MEMBERS_OF_ACCOUNT),
            Self::KindNotForUser { .. } => diagnostic
                .with_because("nodes and Fargate pods authenticate with an IAM role")
                .with_help("write the `role` of the nodes, or remove `kind`"),
            Self::KindWithUsername { .. } => {
                diagnostic.with_because("`kind` sets the username that nodes need").with_help("remove `username`")
            }
            Self::DuplicatePrincipal { noun: "account", .. } => diagnostic.with_help("remove one of them"),
            Self::DuplicatePrincipal { .. } => diagnostic
                .with_because("the authenticator compares ARNs without the path of a role, and ignores case")
                .with_help("remove one of them"),
            Self::DuplicateUsername { .. } => diagnostic
                .with_because("Kubernetes cannot tell users with the same username apart")
                .with_help("give one of them another `username`, or set `shared-username = true` on both"),
            Self::PartitionMismatch { cluster_partition, .. } => diagnostic
                .with_because("a principal can only authenticate to clusters of its own partition")
                .with_help(format!(
                    "exclude the cluster with `clusters = […]`, or use an ARN of partition `{cluster_partition}`"
                )),
            Self::ReservedUsername { prefix, owner, .. } => diagnostic
                .with_because(format!("the prefix `{prefix}` is reserved for {owner}"))
                .with_help("use another username; for nodes, set `kind = \"node\"` instead"),
            Self::EmptyUsername => diagnostic
                .with_because("the authenticator would accept the principal as a user without a name")
                .with_help("remove `username`; the default is the ARN"),
            Self::UnknownTemplate { .. } => diagnostic
                .with_because("the authenticator does not replace an unknown template, so it stays in the name")
                .with_help(
                    "use {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} or, for nodes, \
                     {{EC2PrivateDNSName}}, exactly as written here",
                ),
            Self::NodeTemplateForNonNode => diagnostic
                .with_because("the authenticator rejects callers that are not EC2 instances")
                .with_help("for the role of a node group, set `kind = \"node\"`"),
            Self::SessionTemplateForUser => diagnostic.with_help("for a user, write a name without this template"),
            Self::InvisibleCharacter { .. } => diagnostic
                .with_because("names are compared byte by byte, and a reader does not see this character")
                .with_help("remove the character"),
            Self::ConfusableText { characters, looks_like, .. } => {
                let diagnostic = diagnostic.with_because(format!("it has {characters}"));
                let diagnostic = match looks_like {
                    Some(looks_like) => diagnostic.with_note(format!("it looks like `{looks_like}`, which is another name")),
                    None => diagnostic,
                };
                diagnostic.with_help("write it with the letters of one script")
            }
            Self::CallerControlledName => diagnostic
                .with_because("a principal that assumes the role chooses its session name")
                .with_help("put a fixed prefix before it, such as `deploy:{{SessionName}}`"),
            Self::SessionTakesName { .. } => diagnostic
                .with_because("a principal that assumes the role chooses its session name, and has what is bound to the name")
                .with_help("put a prefix before it that no other name has, or bind another name"),
            Self::ReservedGroup { reason, help, .. } => {
                let diagnostic = diagnostic.with_because(*reason);
                match help {
                    Some(help) => diagnostic.with_help(*help),
                    None => diagnostic,
                }
            }
            Self::InvalidObjectName { reason, .. } => diagnostic.with_because(reason).with_help("use another name"),
            Self::ReservedObject { reason, .. } => diagnostic
                .with_because(*reason)
                .with_help("use another name; a binding can still refer to the built-in role"),
            Self::ReservedLabel { reason, .. } => diagnostic.with_because(*reason).with_help("remove the label"),
            Self::Undeclared { nearest, add, .. } => diagnostic.with_help(match nearest {
                Some(near) => did_you_mean(near),
                None => format!("declare it with {add}"),
            }),
            Self::LikelyRoleTypo { kind, nearest, .. } => {
                diagnostic.with_note(format!("the {kind} must already exist in the cluster")).with_help(did_you_mean(nearest))
            }
            Self::RoleNotInCluster { kind, .. } => diagnostic
                .with_note(format!("in these clusters, the binding refers to a {kind} that must already exist"))
                .with_help("use the same `clusters` for the role and the binding"),
            Self::RoleNotInNamespace { role, namespace, .. } => diagnostic.with_help(format!(
                "add `{namespace}` to the `namespaces` of `roles.{}`, or remove it here",
                quote_key(role)
            )),
            Self::NoCommonCluster { name, name_clusters, table, table_clusters } => diagnostic
                .with_because(format!("`{table}` applies to {table_clusters}; `{name}` applies to {name_clusters}"))
                .with_help("add a common cluster to both `clusters`, or remove the reference"),
            Self::AccountInGroup { .. } => {
                diagnostic.with_because("aws-auth `mapAccounts` sets no groups").with_help(LIST_MEMBERS_OF_ACCOUNT)
            }
            Self::BoundTemplateUsername { .. } => diagnostic
                .with_because("a binding names exact usernames, and the authenticator replaces templates at each login")
                .with_help("add the principal to a group and bind the group, or set a `username` without a template"),
            Self::TemplateInSubjectName { .. } => diagnostic
                .with_because("the authenticator replaces templates before RBAC compares names")
                .with_help("declare and bind the resulting names, or bind the principals one by one"),
            Self::BoundAccount { .. } => diagnostic
                .with_because("an account has no single username: each of its principals has its own")
                .with_help(LIST_MEMBERS_OF_ACCOUNT),
            Self::RulesBesideAggregation { .. } => diagnostic
                .with_because("the controller manager overwrites the rules of an aggregated role")
                .with_help("move the rules to a role of their own, with a label that the selector matches"),
            Self::NoVerbs => diagnostic
                .with_because("the API server rejects a rule without verbs")
                .with_help("write for example `verbs = [\"get\", \"list\"]`, or `[\"*\"]` for all verbs"),
            Self::NoResources => diagnostic.with_help("write for example `resources = [\"pods\"]`"),
            Self::ResourcesAndUrls => diagnostic.with_help("split it into two rules"),
            Self::UrlsInRole => diagnostic
                .with_because("non-resource URLs are not in any namespace")
                .with_help("move the rule to `[cluster-roles.…]`, and bind that without `namespaces`"),
            Self::NeverMatches { reason, help, .. } => {
                let diagnostic = diagnostic.with_because(*reason);
                match help {
                    Some(help) => diagnostic.with_help(*help),
                    None => diagnostic,
                }
            }
            Self::MisleadingValue { help, .. } => diagnostic.with_help(*help),
            Self::AccessEntry(error) => error.explain(diagnostic),
            Self::UnknownAccessPolicy { nearest, .. } => {
                let diagnostic = diagnostic.with_note("no invariant that says `cannot` can be decided for a principal with it");
                match nearest {
                    Some(near) => diagnostic.with_help(did_you_mean(near)),
                    None => diagnostic.with_help("for the names of all access policies, run: aws eks list-access-policies"),
                }
            }
            Self::AccessPolicyArn { name } => diagnostic
                .with_because("the partition in the ARN is that of each cluster")
                .with_help(format!("write `policy = \"{name}\"`")),
            Self::InvalidDeclaredResource { .. } => diagnostic
                .with_help("write the plural name and the API group of a custom resource, such as `widgets.example.com`"),
            Self::ContradictoryLint { .. } => diagnostic.with_help("keep it in one of the two lists"),
            Self::UnknownLint { name } => {
                match closest_match(name, LintId::ALL.iter().map(|id| id.name())) {
                    Some(near) => diagnostic.with_help(did_you_mean(near)),
                    None => diagnostic.with_help("write the name that a warning shows in brackets, such as `unknown-verb`"),
                }
            }
            Self::InvalidLabel { .. } => diagnostic.with_help(
                "use at most 63 letters, digits, `-`, `_` and `.`; a label key can have a DNS prefix and `/`",
            ),
            Self::EmptyList { key, reason, .. } => diagnostic.with_because(*reason).with_help(match *key {
                "api-groups" => "remove it for the core group, or write `[\"*\"]` for all groups".to_owned(),
                "clusters" | "namespaces" | "resource-names" | "non-resource-urls" => {
                    format!("add an item, or remove `{key}`")
                }
                _ => "add an item".to_owned(),
            }),
            Self::InvalidNamespaceName { .. } => {
                diagnostic.with_help("use lower-case letters, digits and `-`; in a pattern, `*` matches any text")
            }
            Self::InvalidServiceAccount { .. } => diagnostic
                .with_help("write `namespace/name` in lower case; in a binding with `namespaces`, `name` is enough"),
            Self::NoSubjects { .. } => {
                diagnostic.with_help("add `groups`, `principals`, `users` or `service-accounts`")
            }
            Self::RoleWithoutNamespace => diagnostic
                .with_because("a Role exists only in namespaces")
                .with_help("write `namespaces = [\"team-a\"]`, or bind a `cluster-role`"),
            Self::UnknownCluster { cluster, nearest } => diagnostic.with_help(match nearest {
                Some(near) => did_you_mean(near),
                None => format!("declare it with `[clusters.{}]`", quote_key(cluster)),
            }),
            Self::InvalidIgnorePattern { .. } => diagnostic
                .with_because("it is neither an ARN, nor an account, nor `Kind/name`")
                .with_help(
                    "write for example `arn:aws:iam::*:role/eksctl-*` or `ClusterRole/*-operator`; `*` matches any text",
                ),
        }
    }

    /// Returns the name of the warning; `None` for an error, with which the policy cannot be used.
    fn lint(&self) -> Option<LintId> {
        match self {
            Self::InvisibleCharacter { .. } => Some(LintId::InvisibleCharacter),
            Self::ConfusableText { .. } => Some(LintId::ConfusableText),
            Self::CallerControlledName => Some(LintId::CallerControlledName),
            Self::SessionTakesName { .. } => Some(LintId::SessionTakesName),
            Self::MisleadingValue { lint, .. } => Some(*lint),
            Self::DuplicateItem { .. } => Some(LintId::DuplicateItem),
            Self::LikelyRoleTypo { .. } => Some(LintId::UnknownRole),
            Self::UnknownAccessPolicy { .. } => Some(LintId::UnknownAccessPolicy),
            Self::RoleNotInCluster { .. } => Some(LintId::RoleNotInCluster),
            _ => None,
        }
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The errors and warnings of a policy, in the order in which they are found.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, error: impl Into<PolicyError>, span: Span) {
        self.push_labeled(error, span, "", &[]);
    }

    /// Adds an error with a label at its place, and with related places.
    pub(crate) fn push_labeled(
        &mut self,
        error: impl Into<PolicyError>,
        span: Span,
        label: &str,
        related: &[(Span, &str)],
    ) {
        let error: PolicyError = error.into();
        let base = match error.lint() {
            Some(lint) => Diagnostic::lint(lint, error.to_string()),
            None => Diagnostic::error(error.to_string()),
        };
        let mut diagnostic = base.primary_label(span, label);
        for (span, label) in related {
            diagnostic = diagnostic.secondary_label(*span, *label);
        }
        self.0.push(error.explain(diagnostic));
    }

    /// Removes the errors and warnings at these places.
    pub(crate) fn remove_at(&mut self, spans: &BTreeSet<Span>) {
        self.0.retain(|error| error.primary.as_ref().is_none_or(|(span, _)| !spans.contains(span)));
    }

    /// Returns all errors and warnings without duplicates, in the order of the files.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.primary.as_ref().map(|(span, _)| *span);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        self.0.dedup();
        self.0
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(Diagnostic::is_error)
    }
}
