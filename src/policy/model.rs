//! The parsed policy. The types allow only valid combinations of keys, and values that later checks can reject keep
//! their source span.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::principal_spec::{GroupSpec, PrincipalSpec, StoreChoice};
use crate::diagnostic::{Diagnostic, LintId, Severity, SourceMap, Span};
use crate::names::{AccountId, ObjectKey, WildcardPattern};
use crate::state::object_meta::Labels;
use crate::state::rbac::Rule;
use jiff::Timestamp;

/// A value with its source span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> Located<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A policy that parsed without errors.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) sources: SourceMap,
    pub(crate) name: Located<String>,
    pub(crate) clusters: BTreeMap<String, ClusterSpec>,
    pub(crate) principals: BTreeMap<String, PrincipalSpec>,
    pub(crate) groups: BTreeMap<String, GroupSpec>,
    pub(crate) cluster_roles: BTreeMap<String, ClusterRoleSpec>,
    pub(crate) roles: BTreeMap<String, RoleSpec>,
    pub(crate) bindings: BTreeMap<String, BindingSpec>,
    pub(crate) ownership: OwnershipSpec,
    pub(crate) guard: GuardSpec,
    pub(crate) lint: LintSpec,
    pub(crate) invariants: Vec<InvariantSpec>,
}

/// One cluster that the policy is for.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSpec {
    pub(crate) connection: ConnectionSpec,
    pub(crate) account: Option<AccountId>,
    /// The AWS partition; `None` if neither the policy nor the region of the cluster determines it.
    pub(crate) partition: Option<&'static str>,
    /// How long an API server keeps the username and the groups of a token.
    pub(crate) token_cache: Duration,
    /// `None` for what the authentication mode of the cluster allows.
    pub(crate) authentication: Option<Located<StoreChoice>>,
}

/// The time of a webhook answer (`--authentication-token-webhook-cache-ttl`, 2 minutes by default), and the time of a
/// successful authentication, which is kept for 10 seconds on top of it (kubernetes v1.36.3
/// `pkg/kubeapiserver/authenticator/config.go`). EKS does not document other values.
pub(crate) const DEFAULT_TOKEN_CACHE: Duration = Duration::from_secs(130);

impl Policy {
    /// Returns how long an API server of the cluster keeps the username and the groups of a token.
    pub(crate) fn token_cache(&self, cluster: Option<&str>) -> Duration {
        let spec = cluster.and_then(|name| self.clusters.get(name));
        spec.map_or(DEFAULT_TOKEN_CACHE, |spec| spec.token_cache)
    }
}

/// What a bare role or user name of a cluster is completed with to form an ARN.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ArnDefaults<'a> {
    pub(crate) account: Option<&'a AccountId>,
    pub(crate) partition: Option<&'static str>,
}

impl ArnDefaults<'_> {
    pub(super) fn partition_or_default(self) -> &'static str {
        self.partition.unwrap_or("aws")
    }
}

/// How to connect to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionSpec {
    Eks(EksClusterSpec),
    Context(String),
    /// Paths of files, relative to the directory of the policy.
    Snapshot(Vec<String>),
}

/// An EKS cluster, and the AWS credentials for it. There is no key for an endpoint: a policy must not choose which server
/// receives a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EksClusterSpec {
    pub(crate) name: String,
    pub(crate) region: String,
    /// A profile of the AWS configuration files.
    pub(crate) profile: Option<String>,
    /// The role that is assumed with the credentials of the profile or of the environment.
    pub(crate) role: Option<AssumedRoleSpec>,
}

/// An IAM role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssumedRoleSpec {
    /// The full ARN, with its path.
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
}

/// The clusters that an item applies to; `None` for all clusters.
pub(crate) type ClusterFilter = Option<Vec<Located<String>>>;

/// The `expires` of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// As written in the policy.
    pub(crate) text: String,
    /// The first instant without access. A date without a time means 00:00 UTC.
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct ClusterRoleSpec {
    pub(crate) span: Span,
    pub(crate) content: ClusterRoleContent,
    pub(crate) aggregate_to: Vec<Located<String>>,
    pub(crate) labels: Labels,
    pub(crate) clusters: ClusterFilter,
}

/// A ClusterRole has either rules or an aggregation rule.
#[derive(Debug, Clone)]
pub(crate) enum ClusterRoleContent {
    Rules(Vec<RuleSpec>),
    Aggregation(Vec<Located<Labels>>),
}

/// A rule of a role, with the place of each word.
#[derive(Debug, Clone)]
pub(crate) struct RuleSpec {
    pub(crate) verbs: Vec<Located<String>>,
    /// `None` for the core group.
    pub(crate) api_groups: Option<Vec<Located<String>>>,
    pub(crate) resources: Vec<Located<String>>,
    pub(crate) resource_names: Vec<Located<String>>,
    pub(crate) non_resource_urls: Vec<Located<String>>,
}

impl RuleSpec {
    pub(crate) fn to_rule(&self) -> Rule {
        let values = |list: &[Located<String>]| list.iter().map(|item| item.value.clone()).collect::<Vec<_>>();
        Rule {
            verbs: values(&self.verbs),
            api_groups: match &self.api_groups {
                Some(groups) => values(groups),
                None if self.non_resource_urls.is_empty() => vec![String::new()],
                None => Vec::new(),
            },
            resources: values(&self.resources),
            resource_names: values(&self.resource_names),
            non_resource_urls: values(&self.non_resource_urls),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RoleSpec {
    pub(crate) span: Span,
    pub(crate) namespaces: Vec<Located<NamespaceSelector>>,
    pub(crate) rules: Vec<RuleSpec>,
    pub(crate) labels: Labels,
    pub(crate) clusters: ClusterFilter,
}

/// An item of `namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceSelector {
    Name(String),
    Glob(WildcardPattern),
    Labels(Labels),
}

#[derive(Debug, Clone)]
pub(crate) struct BindingSpec {
    pub(crate) span: Span,
    pub(crate) role: Located<RoleRefSpec>,
    /// `None` for a ClusterRoleBinding.
    pub(crate) namespaces: Option<Vec<Located<NamespaceSelector>>>,
    pub(crate) groups: Vec<Located<String>>,
    pub(crate) users: Vec<Located<String>>,
    pub(crate) principals: Vec<Located<String>>,
    pub(crate) service_accounts: Vec<Located<ServiceAccountSpec>>,
    pub(crate) expires: Option<Located<Expiry>>,
    pub(crate) clusters: ClusterFilter,
}

/// The role that a binding refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoleRefSpec {
    ClusterRole(String),
    Role(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccountSpec {
    /// `None` for each of the binding's namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// Whether the policy also removes what it does not list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OwnershipMode {
    #[default]
    Shared,
    Exclusive,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct OwnershipSpec {
    pub(crate) aws_auth: OwnershipMode,
    pub(crate) access_entries: OwnershipMode,
    pub(crate) rbac: OwnershipMode,
    pub(crate) ignore: Vec<Located<IgnorePattern>>,
}

/// What an exclusive policy never removes, although it does not list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IgnorePattern {
    /// Matches the ARN of an aws-auth entry or of an access entry.
    Arn(WildcardPattern),
    /// Matches `Kind/name`, or `Kind/namespace/name`.
    Object(WildcardPattern),
}

impl IgnorePattern {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Arn(pattern) | Self::Object(pattern) => pattern.as_str(),
        }
    }

    /// Returns whether the pattern matches an aws-auth entry or an access entry with this ARN or account.
    pub(crate) fn matches_entry(&self, principal: &str) -> bool {
        match self {
            Self::Arn(pattern) => pattern.matches(principal),
            Self::Object(_) => false,
        }
    }

    pub(crate) fn matches_object(&self, key: &ObjectKey) -> bool {
        match self {
            Self::Arn(_) => false,
            Self::Object(pattern) => {
                [key.name(), &key.path()].iter().any(|name| pattern.matches(&format!("{}/{name}", key.kind().as_str())))
            }
        }
    }
}

/// The `[guard]` table: limits that a plan can exceed only with `--allow`.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuardSpec {
    /// Match the ARN as the authenticator compares it: without the path of a role.
    pub(crate) protected: Vec<Located<WildcardPattern>>,
    pub(crate) max_removals: Option<Located<MaxRemovals>>,
}

/// The `[lint]` table: what the warnings of a policy take as known, and how they count.
#[derive(Debug, Clone, Default)]
pub(crate) struct LintSpec {
    /// Custom resources that rules and invariants can name, each as its API group and plural.
    pub(crate) resources: Vec<Located<(String, String)>>,
    /// Warnings that are errors.
    pub(crate) deny: Vec<Located<LintId>>,
    /// Warnings that are not reported.
    pub(crate) allow: Vec<Located<LintId>>,
}

impl LintSpec {
    /// Leaves out the warnings that the policy allows, and turns those that it denies into errors.
    pub(crate) fn apply(&self, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let contains = |list: &[Located<LintId>], id: LintId| list.iter().any(|item| item.value == id);
        let apply = |diagnostic: Diagnostic| match diagnostic.lint {
            Some(id) if contains(&self.allow, id) => None,
            Some(id) if contains(&self.deny, id) => {
                let diagnostic = Diagnostic { severity: Severity::Error, ..diagnostic };
                Some(diagnostic.with_note(format!("`[lint]` of the policy denies `{id}`")))
            }
            _ => Some(diagnostic),
        };
        diagnostics.into_iter().filter_map(apply).collect()
    }
}

/// How many aws-auth entries and objects a plan can remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxRemovals {
    Count(u32),
    /// Relative to the entries and objects that the policy owns.
    Percent(u32),
}

impl MaxRemovals {
    /// Parses `10` or `20%`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(number) => number.parse().ok().filter(|n| *n <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        }
    }
}

impl fmt::Display for MaxRemovals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(number) => write!(f, "{number}"),
            Self::Percent(number) => write!(f, "{number}%"),
        }
    }
}

/// A test of effective access, which every plan must pass.
#[derive(Debug, Clone)]
pub(crate) struct InvariantSpec {
    pub(crate) span: Span,
    pub(crate) clusters: ClusterFilter,
    pub(crate) description: Option<String>,
    pub(crate) subject: InvariantSubjectSpec,
    pub(crate) assertion: Assertion,
    /// `None` for `cannot = "escalate"`.
    pub(crate) request_spans: Option<RequestSpans>,
}

/// The places of the words of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestSpans {
    pub(crate) verb: Span,
    pub(crate) resource: Span,
    pub(crate) namespace: Option<Span>,
}

#[derive(Debug, Clone)]
pub(crate) enum InvariantSubjectSpec {
    Group(Located<String>),
    Principal(Located<String>),
    User(Located<String>),
    ServiceAccount(Located<ServiceAccountSpec>),
    EveryoneBut(Vec<Located<String>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assertion {
    Can(RequestSpec),
    Cannot(RequestSpec),
    CannotEscalate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestSpec {
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
}
