//! The access entries that a policy describes for one cluster, and the checks that EKS makes of them.

use std::collections::{BTreeMap, BTreeSet};

use super::access_entry_error::AccessEntryError;
use super::check::{arn_defaults, username_of};
use super::clusters::{applies_to_cluster, selected_clusters};
use super::error::Diagnostics;
use super::model::{Located, Policy};
use super::principal_spec::{AccessPolicySpec, EntryType, IdentitySpec, PrincipalSpec, StoreChoice};
use super::principal_stores::AwsAuthReason;
use super::usernames::find_templates;
use crate::diagnostic::Span;
use crate::names::{AccountId, Arn};
use crate::state::access_entry::{AccessEntryType, AccessScope};
use crate::state::access_entry_rules::{
    self, EntryRuleError, check_association, check_group, check_principal, check_tag, default_groups,
};
use crate::state::access_policies::access_policy_arn;
use crate::state::object_meta::Labels;

/// The most `eks-tags` of a principal. An access entry has at most 50 tags, and rolecall writes some of its own.
const MAX_TAGS: usize = 40;
/// How the tags start that rolecall writes itself.
const OWN_TAG_PREFIX: &str = "rolecall/";
/// The only placeholder that EKS documents for the username of an access entry.
const SESSION_NAME: &str = "{{SessionName}}";

/// An access entry of the policy, without owner marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredAccessEntry {
    /// The ARN of the principal, with the path of a role.
    pub(crate) principal: String,
    pub(crate) entry_type: AccessEntryType,
    /// For a node, what EKS sets.
    pub(crate) username: String,
    /// In the order of the policy, without duplicates. For a node, what EKS sets.
    pub(crate) groups: Vec<String>,
    /// By the ARN of the access policy.
    pub(crate) policies: BTreeMap<String, AccessScope>,
    /// The `eks-tags`.
    pub(crate) tags: Labels,
}

/// Why a group or an access policy belongs to a principal.
struct Membership<'p> {
    group: &'p str,
    /// The name in a list of the principal, or the name of the principal in a list of the group.
    span: Span,
}

/// The groups and access policies of the principals in one cluster.
pub(super) struct EntryContents<'p> {
    policy: &'p Policy,
    memberships: BTreeMap<&'p str, Vec<Membership<'p>>>,
    bound_principals: BTreeSet<&'p str>,
    bound_users: BTreeSet<&'p str>,
}

impl<'p> EntryContents<'p> {
    pub(super) fn new(policy: &'p Policy, cluster: Option<&str>) -> Self {
        let is_here = |group: &str| {
            policy.groups.get(group).is_some_and(|group| applies_to_cluster(group.clusters.as_deref(), cluster))
        };
        let listed_by_principals = policy.principals.iter().flat_map(|(name, principal)| {
            principal.groups.iter().map(move |group| (name.as_str(), group.value.as_str(), group.span))
        });
        let listed_by_groups = policy.groups.iter().flat_map(|(group, spec)| {
            spec.members.iter().map(move |member| (member.value.as_str(), group.as_str(), member.span))
        });
        let mut memberships: BTreeMap<&str, Vec<Membership<'p>>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (member, group, span) in listed_by_principals.chain(listed_by_groups) {
            if is_here(group) && seen.insert((member, group)) {
                memberships.entry(member).or_default().push(Membership { group, span });
            }
        }
        let bindings = policy.bindings.values().filter(|item| applies_to_cluster(item.clusters.as_deref(), cluster));
        let mut contents =
            Self { policy, memberships, bound_principals: BTreeSet::new(), bound_users: BTreeSet::new() };
        for binding in bindings {
            contents.bound_principals.extend(binding.principals.iter().map(|name| name.value.as_str()));
            contents.bound_users.extend(binding.users.iter().map(|name| name.value.as_str()));
        }
        contents
    }

    /// Returns the groups of a principal without duplicates: first those in its own list, then those of which it is a
    /// member.
    pub(super) fn groups(&self, name: &str) -> impl Iterator<Item = &'p str> {
        self.memberships.get(name).into_iter().flatten().map(|membership| membership.group)
    }

    /// Returns whether a binding of the policy names the principal, so that its username must be the one that is bound.
    pub(super) fn is_bound(&self, name: &str, username: &str) -> bool {
        self.bound_principals.contains(name) || self.bound_users.contains(username)
    }

    /// Returns the access policies of a principal: its own, and those of its groups.
    fn access_policies(&self, name: &str, principal: &'p PrincipalSpec) -> impl Iterator<Item = &'p AccessPolicySpec> {
        let groups = self.groups(name).filter_map(|group| self.policy.groups.get(group));
        principal.access_policies.iter().chain(groups.flat_map(|group| &group.access_policies))
    }

    /// Returns the first access policy of a principal, which only an access entry can have.
    pub(super) fn first_access_policy(&self, name: &str, principal: &'p PrincipalSpec) -> Option<&'p AccessPolicySpec> {
        self.access_policies(name, principal).next()
    }

    pub(super) fn desired_entry(
        &self,
        (name, principal): (&str, &'p PrincipalSpec),
        arn: &Arn,
        username: String,
    ) -> DesiredAccessEntry {
        let entry_type = principal.kind.access_entry_type();
        let policies = self
            .access_policies(name, principal)
            .map(|spec| (access_policy_arn(arn.partition(), &spec.policy.value), spec.scope()));
        DesiredAccessEntry {
            principal: arn.to_string(),
            username,
            groups: if entry_type.is_node() {
                default_groups(&entry_type).iter().map(|group| (*group).to_owned()).collect()
            } else {
                self.groups(name).map(str::to_owned).collect()
            },
            policies: policies.collect(),
            tags: principal.tags.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect(),
            entry_type,
        }
    }

    /// Reports an access policy that a principal has twice with different scopes. EKS associates it with one.
    fn check_scopes(&self, (name, principal): (&str, &'p PrincipalSpec), diagnostics: &mut Diagnostics) {
        let mut seen: BTreeMap<&str, &AccessPolicySpec> = BTreeMap::new();
        for spec in self.access_policies(name, principal) {
            let first = *seen.entry(&spec.policy.value).or_insert(spec);
            if first.scope() == spec.scope() {
                continue;
            }
            let (policy, principal) = (spec.policy.value.clone(), name.to_owned());
            let error = AccessEntryError::TwoScopes { policy, principal };
            let label = |spec: &AccessPolicySpec| format!("for {}", spec.scope());
            let related = [(first.policy.span, label(first))];
            let related = related.each_ref().map(|(span, label)| (*span, label.as_str()));
            diagnostics.push_labeled(error, spec.policy.span, &label(spec), &related);
        }
    }

    /// Reports why EKS would refuse the access entry of a principal. Without the account of the cluster, that of a node is
    /// not checked.
    pub(super) fn check_entry(
        &self,
        (name, principal): (&str, &'p PrincipalSpec),
        arn: &Arn,
        account: Option<&AccountId>,
        diagnostics: &mut Diagnostics,
    ) {
        let entry_type = principal.kind.access_entry_type();
        let mut report = |result: Result<(), EntryRuleError>, span: Span| {
            if let Err(rule) = result {
                diagnostics.push(AccessEntryError::Rule { principal: name.to_owned(), rule }, span);
            }
        };
        report(check_principal(&arn.to_string(), &entry_type, account), principal.identity.span);
        if let Some(username) = principal.username.as_ref().filter(|_| principal.kind == EntryType::Standard) {
            report(access_entry_rules::check_username(&username.value, &entry_type), username.span);
        }
        let memberships = self.memberships.get(name).into_iter().flatten();
        for Membership { group, span } in memberships.clone() {
            report(check_group(group, &entry_type), *span);
        }
        for spec in self
            .access_policies(name, principal)
            .filter(|spec| spec.namespaces.as_ref().is_none_or(|names| !names.is_empty()))
        {
            let policy = access_policy_arn(arn.partition(), &spec.policy.value);
            report(check_association(&policy, &spec.scope(), &entry_type, None), spec.policy.span);
        }
        if principal.kind == EntryType::Standard {
            let username = principal.username.iter().map(|username| (username.value.as_str(), username.span));
            for (text, span) in username.chain(memberships.map(|membership| (membership.group, membership.span))) {
                for template in find_templates(text).filter(|template| *template != SESSION_NAME) {
                    let (principal, template) = (name.to_owned(), template.to_owned());
                    diagnostics.push(AccessEntryError::Template { principal, template }, span);
                }
            }
        }
        if let IdentitySpec::Sso { region: None, permission_set, .. } = &principal.identity.value
            && !arn.has_role_path()
        {
            let error = AccessEntryError::SsoWithoutRegion { set: permission_set.clone() };
            diagnostics.push(error, principal.identity.span);
        }
    }
}

/// Checks the access entries of a policy, as far as it says which principals have one. What depends on the authentication
/// mode and on the entries of a cluster is checked when the policy is expanded.
pub(super) fn check_access_entries(policy: &Policy, diagnostics: &mut Diagnostics) {
    for principal in policy.principals.values() {
        check_tags(principal, diagnostics);
    }
    for cluster in selected_clusters(None, &policy.clusters) {
        let contents = EntryContents::new(policy, cluster);
        let spec = cluster.and_then(|name| policy.clusters.get(name));
        let stores = spec.and_then(|spec| spec.authentication.as_ref());
        let account = spec.and_then(|spec| spec.account.as_ref());
        let defaults = arn_defaults(policy, cluster);
        for (name, principal) in &policy.principals {
            if !applies_to_cluster(principal.clusters.as_deref(), cluster) {
                continue;
            }
            contents.check_scopes((name, principal), diagnostics);
            let Some(arn) = principal.identity.value.resolve_arn(defaults) else {
                if let (Some(stores), IdentitySpec::Account(_)) = (stores, &principal.identity.value)
                    && stores.value == StoreChoice::AccessEntries
                {
                    report_account(name, principal, Some(stores), diagnostics);
                }
                continue;
            };
            let needs_entry = needs_access_entry(&contents, (name, principal));
            match stores {
                Some(stores) if stores.value == StoreChoice::AwsAuth => {
                    let reason = AwsAuthReason::Given;
                    report_aws_auth_only(&contents, (name, principal), reason, Some(stores.span), diagnostics);
                }
                Some(_) => contents.check_entry((name, principal), &arn, account, diagnostics),
                // Whether such a principal has an access entry does not depend on the cluster. But the ARN of an SSO role can
                // be that of an entry that exists.
                None if needs_entry && !matches!(principal.identity.value, IdentitySpec::Sso { .. }) => {
                    contents.check_entry((name, principal), &arn, account, diagnostics);
                }
                None => {}
            }
        }
    }
}

/// Returns whether only an access entry can have what the policy gives to a principal.
fn needs_access_entry(contents: &EntryContents<'_>, (name, principal): (&str, &PrincipalSpec)) -> bool {
    contents.access_policies(name, principal).next().is_some() || principal.kind.aws_auth_groups().is_none()
}

/// Reports that a principal that has only an entry of aws-auth needs an access entry.
pub(super) fn report_aws_auth_only<'p>(
    contents: &EntryContents<'p>,
    (name, principal): (&str, &'p PrincipalSpec),
    reason: AwsAuthReason,
    cause: Option<Span>,
    diagnostics: &mut Diagnostics,
) {
    let related: Vec<(Span, &str)> = cause.map(|span| (span, "the store of the cluster")).into_iter().collect();
    if let Some(spec) = contents.first_access_policy(name, principal) {
        let error = AccessEntryError::PolicyWithoutEntry { principal: name.to_owned(), reason };
        diagnostics.push_labeled(error, spec.policy.span, "", &related);
    }
    if principal.kind.aws_auth_groups().is_none() {
        let (principal_name, kind) = (name.to_owned(), principal.kind.as_str());
        let error = AccessEntryError::KindWithoutEntry { principal: principal_name, kind, reason };
        diagnostics.push_labeled(error, principal.identity.span, "", &related);
    }
}

/// Reports that a whole account cannot have an access entry.
pub(super) fn report_account(
    name: &str,
    principal: &PrincipalSpec,
    stores: Option<&Located<StoreChoice>>,
    diagnostics: &mut Diagnostics,
) {
    let related: Vec<(Span, &str)> =
        stores.map(|stores| (stores.span, "the store of the cluster")).into_iter().collect();
    let error = AccessEntryError::Account { principal: name.to_owned() };
    diagnostics.push_labeled(error, principal.identity.span, "", &related);
}

fn check_tags(principal: &PrincipalSpec, diagnostics: &mut Diagnostics) {
    for (key, value) in &principal.tags {
        if key.value.starts_with(OWN_TAG_PREFIX) {
            diagnostics.push(AccessEntryError::ReservedTag { key: key.value.clone() }, key.span);
        }
        if let Err(rule) = check_tag(&key.value, &value.value) {
            diagnostics.push(AccessEntryError::InvalidTag { rule }, key.span);
        }
    }
    if let Some((key, _)) = principal.tags.get(MAX_TAGS) {
        diagnostics.push(AccessEntryError::TooManyTags { count: principal.tags.len(), most: MAX_TAGS }, key.span);
    }
}

/// Returns the username that an access entry has if the policy gives it none.
///
/// A principal with an entry in aws-auth keeps its username there, so that a move between the stores does not change who it
/// is, and a principal that a binding names has the name that is bound. Every other entry has the username that EKS gives,
/// as if the policy did not exist. Once an entry has one of the two, it keeps it.
pub(super) fn entry_username(
    contents: &EntryContents<'_>,
    (name, principal): (&str, &PrincipalSpec),
    (policy, cluster): (&Policy, Option<&str>),
    arn: &Arn,
    is_in_aws_auth: bool,
    live: Option<&str>,
) -> String {
    let from_eks = || access_entry_rules::default_username(&arn.to_string(), &principal.kind.access_entry_type());
    if principal.kind != EntryType::Standard {
        return from_eks();
    }
    let username = username_of(principal, arn_defaults(policy, cluster)).unwrap_or_default();
    let must_have = principal.username.is_some() || is_in_aws_auth || contents.is_bound(name, &username);
    if must_have || live == Some(&username) { username } else { from_eks() }
}
