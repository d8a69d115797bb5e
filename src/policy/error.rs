//! Everything that can be wrong with a policy: one variant each, its facts as fields, its words and its hint.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::diagnostic::{Diagnostic, Span, closest_match};
use crate::names::ArnError;

/// A word as it stands between backticks; the empty one would not be seen.
fn quote_if_empty(word: &str) -> &str {
    if word.is_empty() { "\"\"" } else { word }
}

/// One fault of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PolicyError {
    #[error("this is not TOML: {message}")]
    Toml { message: String },
    #[error("the policy has no `[policy]` table with its name")]
    NoPolicyTable,
    #[error("`policy` needs `name`, by which the cluster knows what it owns")]
    NoPolicyName,
    #[error("`{}` cannot be the name of a policy: the cluster is marked with it", quote_if_empty(name))]
    InvalidPolicyName { name: String },
    #[error("{}", match table.as_str() { "" => format!("unknown table `{key}`"), table => format!("unknown key `{key}` in `{table}`") })]
    UnknownKey { table: String, key: String, known: Vec<&'static str> },
    #[error("`{key}` must be {expected}, here stands {found}")]
    WrongType { key: String, expected: &'static str, found: &'static str },
    #[error("`{key}` must be {expected}, not `{found}`")]
    WrongValue { key: String, expected: String, found: String },
    #[error("`{table}` needs {what}")]
    MissingKey { table: String, what: String },
    #[error("`{text}` is no moment in time")]
    InvalidTimestamp { text: String },
    #[error("`{word}` stands twice in `{list}`")]
    DuplicateItem { word: String, list: String },
    #[error("`{table}` has {found}: of {allowed} it may have one")]
    MutuallyExclusiveKeys { table: String, found: String, allowed: String },
    #[error("{}", match *section { "" => format!("`{name}` stands in two files"), section => format!("`{name}` is defined twice in `{section}`") })]
    DefinedTwice { section: &'static str, name: String },
    #[error("`{text}` cannot be a principal: {why}")]
    Arn { text: String, why: ArnError },
    #[error("`{}` cannot be the name of {kind}: {why}", quote_if_empty(name))]
    InvalidIamName { name: String, kind: &'static str, why: String },
    #[error("the bare name `{name}` needs an account, and {} has none", match cluster { Some(c) => format!("cluster `{c}`"), None => "a policy without `[clusters]`".to_owned() })]
    NoAccount { name: String, cluster: Option<String> },
    #[error("`{id}` is not the suffix of an SSO role: 16 hexadecimal digits")]
    InvalidSsoSuffix { id: String },
    #[error("the role of permission set `{set}` in account {account} cannot be known without its suffix")]
    MissingSsoSuffix { set: String, account: String },
    #[error("`{key}` has no effect on a whole account: `mapAccounts` gives neither username nor groups")]
    KeyNotForAccount { key: &'static str },
    #[error("`kind = \"{kind}\"` is for roles: machines come in by the role of their instances")]
    KindNotForUser { kind: String },
    #[error("`kind = \"{kind}\"` brings its own username template, which the machines need")]
    KindWithUsername { kind: String },
    #[error("to the authenticator `{first}` and `{second}` are the same {word}")]
    DuplicatePrincipal { word: &'static str, first: String, second: String },
    #[error("`{first}` and `{second}` have the same username, `{username}`")]
    DuplicateUsername { username: String, first: String, second: String },
    #[error(
        "`{principal}` is of the partition {partition}, and the cluster `{cluster}` is in {cluster_partition}: it never gets in there"
    )]
    PartitionMismatch { principal: String, partition: String, cluster: String, cluster_partition: &'static str },
    #[error("the username `{name}` is reserved: `{prefix}` names belong to {owner}")]
    ReservedUsername { name: String, prefix: &'static str, owner: &'static str },
    #[error("the username is empty: the authenticator would let a nameless user in")]
    EmptyUsername,
    #[error("`{template}` is no template of the authenticator: it would stay in the name as it is")]
    UnknownTemplate { template: String },
    #[error("`{{{{EC2PrivateDNSName}}}}` lets in EC2 instances alone: whoever else assumes the role is refused")]
    NodeTemplateForNonNode,
    #[error("`{{{{SessionName}}}}` is empty for an IAM user")]
    SessionTemplateForUser,
    #[error("whoever may assume the role chooses this name freely")]
    CallerControlledName,
    #[error("the group `{name}` is reserved: {why}")]
    ReservedGroup { name: String, why: &'static str },
    #[error("{what} is empty")]
    EmptyName { what: &'static str },
    #[error("`{name}` cannot be the name of a {kind}: {why}")]
    InvalidObjectName { kind: &'static str, name: String, why: String },
    #[error("`{name}` cannot be defined by a policy: {why}")]
    ReservedObject { name: String, why: &'static str },
    #[error("the label `{key}` cannot be set by a policy: {why}")]
    ReservedLabel { key: String, why: &'static str },
    #[error("there is no {kind} `{name}` in the policy")]
    Undeclared { kind: &'static str, name: String, nearest: Option<String>, add: String },
    #[error("the policy does not define the {kind} `{name}`, so it must be one that the cluster has")]
    LikelyRoleTypo { kind: &'static str, name: String, nearest: String },
    #[error("for {clusters} the policy does not define the {kind} `{name}`: the binding gives the cluster's own there")]
    RoleNotInCluster { kind: &'static str, name: String, clusters: String },
    #[error("`{binding}` gives the Role `{role}` in `{namespace}`, where the policy does not make it")]
    RoleNotInNamespace { binding: String, role: String, namespace: String },
    #[error("`{name}` is for {name_clusters}, and `{table}` for {table_clusters}: no cluster has both")]
    NoCommonCluster { name: String, name_clusters: String, table: String, table_clusters: String },
    #[error("`{member}` admits a whole account, which `mapAccounts` cannot put into a group")]
    AccountInGroup { member: String },
    #[error(
        "`{principal}` has the username `{username}`, which no binding can name: it differs from session to session"
    )]
    BoundTemplateUsername { principal: String, username: String },
    #[error(
        "the {kind} `{name}` is never met under this name, so that no binding can name it: its template is filled in"
    )]
    TemplateInSubjectName { kind: &'static str, name: String },
    #[error("`{principal}` admits a whole account, whose principals have no common username to bind")]
    BoundAccount { principal: String },
    #[error("`{table}` gives `rules` beside `aggregation`: the controller overwrites the rules of an aggregated role")]
    RulesBesideAggregation { table: String },
    #[error("a rule without verbs allows nothing, and the API server refuses it")]
    NoVerbs,
    #[error("a rule names `resources`, or `non-resource-urls`")]
    NoResources,
    #[error("a rule names `resources` or `non-resource-urls`, not both")]
    ResourcesAndUrls,
    #[error("non-resource URLs lie outside of namespaces: a Role cannot allow them")]
    UrlsInRole,
    #[error("`{}` is accepted by the API server and never matches: {why}", quote_if_empty(word))]
    NeverMatches { word: String, why: &'static str },
    #[error("`{}` {why}", quote_if_empty(word))]
    MisleadingValue { word: String, why: &'static str },
    #[error("`{verb}` is no verb that Kubernetes asks about")]
    UnknownVerb { verb: String, nearest: String },
    #[error("`{}` is not a {what}", quote_if_empty(text))]
    InvalidLabel { what: &'static str, text: String },
    #[error("`{path}` is empty: {why}")]
    EmptyList { path: String, key: &'static str, why: &'static str },
    #[error("`{}` is not the name of a namespace", quote_if_empty(name))]
    InvalidNamespaceName { name: String },
    #[error("`{}` is not a service account", quote_if_empty(text))]
    InvalidServiceAccount { text: String },
    #[error("`{table}` binds nobody")]
    NoSubjects { table: String },
    #[error("a Role lives in namespaces: the binding needs `namespaces` too")]
    RoleWithoutNamespace,
    #[error("`{cluster}` is not a cluster of this policy")]
    UnknownCluster { cluster: String, nearest: Option<String> },
    #[error("`{}` is neither an ARN nor an account nor `Kind/name`", quote_if_empty(pattern))]
    InvalidIgnorePattern { pattern: String },
}

impl PolicyError {
    /// What to do about it.
    fn into_help(self) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match &self {
            Self::UnknownKey { key, known, .. } => match closest_match(key, known.iter().copied()) {
                Some(near) => vec![format!("did you mean `{near}`?")],
                None => vec![format!("known here: {}", known.join(", "))],
            },
            Self::NoPolicyTable | Self::NoPolicyName => one("write `[policy]` and below it `name = \"prod\"`"),
            Self::InvalidPolicyName { .. } => {
                one("use letters, digits, `-`, `_` and `.`, at most 63, letters or digits at both ends")
            }
            Self::Arn { why, .. } => vec![why.help()],
            Self::NoAccount { .. } => one("give the cluster its `account = \"111122223333\"`, or write the whole ARN"),
            Self::InvalidSsoSuffix { .. } => {
                one("the role is called AWSReservedSSO_<permission set>_<suffix>: take the last part")
            }
            Self::MissingSsoSuffix { set, .. } => vec![
                "give it as `id = \"0123456789abcdef\"`".to_owned(),
                format!(
                    "find it by: aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/ --query \
                     \"Roles[?starts_with(RoleName, 'AWSReservedSSO_{set}_')].RoleName\""
                ),
            ],
            Self::KeyNotForAccount { .. } | Self::AccountInGroup { .. } | Self::BoundAccount { .. } => {
                one("list the account's roles or users one by one, with `role = …` or `user = …`")
            }
            Self::KindWithUsername { .. } => one("take `username` away"),
            Self::DuplicatePrincipal { word: "account", .. } => one("keep one of them"),
            Self::DuplicatePrincipal { .. } => {
                one("keep one of them: the path of a role and the case of letters do not count")
            }
            Self::DuplicateUsername { .. } => one(
                "give one another `username`, or say `shared-username = true` in both: nobody could tell them apart",
            ),
            Self::ReservedUsername { .. } => {
                one("for machines write `kind = \"node\"`, for everybody else another name")
            }
            Self::EmptyUsername => one("leave `username` out: then it is the ARN"),
            Self::UnknownTemplate { .. } => one(
                "the templates are {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} and, for nodes, \
                 {{EC2PrivateDNSName}}: without blanks, letter for letter",
            ),
            Self::NodeTemplateForNonNode => one("for the role of a node group write `kind = \"node\"`"),
            Self::SessionTemplateForUser => one("for a user write a name without a template"),
            Self::CallerControlledName => one("put something fixed before it, such as `deploy:{{SessionName}}`"),
            Self::ReservedObject { .. } => one("give it another name; binding to the built-in role is fine"),
            Self::Undeclared { nearest, add, .. } => match nearest {
                Some(near) => vec![format!("did you mean `{near}`?")],
                None => vec![format!("declare it: {add}")],
            },
            Self::BoundTemplateUsername { .. } => {
                one("put the principal into a group and bind the group, or give it a `username` without a template")
            }
            Self::RulesBesideAggregation { .. } => {
                one("put the rules into a role of their own with a label that the selector finds")
            }
            Self::NoVerbs => one("write for example `verbs = [\"get\", \"list\"]`, or `[\"*\"]` for all"),
            Self::NoResources => one("write for example `resources = [\"pods\"]`"),
            Self::ResourcesAndUrls => one("make two rules of it"),
            Self::UrlsInRole => one("write it into a `[cluster-roles.…]` with a binding without `namespaces`"),
            Self::EmptyList { key, .. } => match *key {
                "api-groups" => one("leave it out for the core group, or write `[\"*\"]` for all"),
                "clusters" | "namespaces" | "resource-names" | "non-resource-urls" => {
                    vec![format!("put something in, or leave `{key}` out")]
                }
                _ => one("put something in"),
            },
            Self::InvalidNamespaceName { .. } => one("lower-case letters, digits and `-`; a `*` makes it a glob"),
            Self::InvalidServiceAccount { .. } => {
                one("write `namespace/name`, in lower case; where a binding has `namespaces`, the name alone does")
            }
            Self::NoSubjects { .. } => one("give it `groups`, `principals`, `users` or `service-accounts`"),
            Self::RoleWithoutNamespace => one("write `namespaces = [\"team-a\"]`, or bind a `cluster-role`"),
            Self::UnknownCluster { nearest: Some(near), .. } => vec![format!("did you mean `{near}`?")],
            Self::LikelyRoleTypo { nearest, .. } | Self::UnknownVerb { nearest, .. } => {
                vec![format!("did you mean `{nearest}`?")]
            }
            Self::InvalidTimestamp { .. } => {
                one("write a day and a time that clocks show, such as 2026-12-31T18:00:00Z")
            }
            Self::DuplicateItem { .. } => one("once is enough"),
            Self::PartitionMismatch { .. } => {
                one("keep it out of this cluster by `clusters = […]`; a principal there has an ARN of that partition")
            }
            Self::RoleNotInCluster { .. } => {
                one("plan fails where that cluster has no such role; name the same `clusters` for role and binding")
            }
            Self::RoleNotInNamespace { role, namespace, .. } => {
                vec![format!("add `{namespace}` to the `namespaces` of the role `{role}`, or take it away here")]
            }
            Self::NoCommonCluster { .. } => one("let the two share a cluster in `clusters`, or take the name out"),
            Self::TemplateInSubjectName { .. } => {
                one("declare and bind the names that it becomes, or the principals one by one")
            }
            Self::ReservedLabel { .. } => one("take it away"),
            Self::UnknownCluster { nearest: None, .. } => one("declare it under `[clusters]`"),
            Self::InvalidIgnorePattern { .. } => one(
                "write for example `arn:aws:iam::*:role/eksctl-*`, or `ClusterRole/*-operator`: a `*` stands for any text",
            ),
            Self::DefinedTwice { .. } => one("keep one of them: files of a folder make one policy"),
            Self::InvalidLabel { .. } => {
                one("at most 63 letters, digits, `-`, `_`, `.`; a key may have a DNS prefix and `/`")
            }
            Self::MutuallyExclusiveKeys { .. } => one("keep one of them"),
            Self::InvalidIamName { name, .. } if name.contains('/') => {
                one("write the whole ARN, in which a path may stand")
            }
            Self::InvalidIamName { .. } => one("write the name as IAM has it, or the whole ARN"),
            Self::KindNotForUser { .. } => one("write the `role` of the machines, or take `kind` away"),
            Self::EmptyName { .. } => one("put something in"),
            Self::InvalidObjectName { .. } => one("give it another name"),
            // Their words say already what may stand there.
            Self::WrongType { .. }
            | Self::Toml { .. }
            | Self::WrongValue { .. }
            | Self::MissingKey { .. }
            | Self::ReservedGroup { .. }
            | Self::NeverMatches { .. }
            | Self::MisleadingValue { .. } => Vec::new(),
        }
    }

    /// Faults that are no more than advice.
    fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::CallerControlledName
                | Self::MisleadingValue { .. }
                | Self::DuplicateItem { .. }
                | Self::LikelyRoleTypo { .. }
                | Self::RoleNotInCluster { .. }
                | Self::UnknownVerb { .. }
        )
    }
}

/// The faults of a policy as they are found.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, fault: PolicyError, span: Span) {
        self.push_labeled(fault, span, "", &[]);
    }

    /// With a word at the place, and other places that belong to it.
    pub(crate) fn push_labeled(&mut self, fault: PolicyError, span: Span, label: &str, also: &[(Span, &str)]) {
        let base = if fault.is_warning() {
            Diagnostic::warning(fault.to_string())
        } else {
            Diagnostic::error(fault.to_string())
        };
        let mut diagnostic = base.primary_label(span, label);
        for (span, label) in also {
            diagnostic = diagnostic.secondary_label(*span, *label);
        }
        for hint in fault.into_help() {
            diagnostic = diagnostic.with_help(hint);
        }
        self.0.push(diagnostic);
    }

    /// Removes those at these places.
    pub(crate) fn remove_at(&mut self, spans: &BTreeSet<Span>) {
        self.0.retain(|fault| fault.primary.as_ref().is_none_or(|(span, _)| !spans.contains(span)));
    }

    /// All of them in the order of the files, each once.
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
