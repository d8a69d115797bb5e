//! Who can make a request in any namespace or in one, including grants that are limited to names or namespaces.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::access_view::{AccessView, GrantPath, SubjectGrants};
use super::grant_scope::GrantScope;
use super::grants::Grant;
use super::identity::Identity;
use super::principals::MappedPrincipal;
use super::request::{ObjectRequest, Request};
use super::request_scope::{RequestScope, VERBS_WITHOUT_NAMESPACE_OBJECT, request_scope};
use super::rule_match::rule_allows;
use crate::state::rbac::{Rule, Subject};

/// The namespaces that a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceFilter {
    /// In any namespace: a grant in one namespace is enough.
    Any,
    Only(String),
    /// In all namespaces at once, and for cluster-scoped resources.
    ClusterWide,
}

/// A part of a request to which a grant is limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantLimit {
    /// The names of the objects. Empty if the grant is not limited to names.
    pub(crate) names: Vec<String>,
    /// `None` if the grant is not limited to a namespace, or the question was about one.
    pub(crate) namespace: Option<String>,
    /// Whether the names allow server-side apply only: a POST has no name.
    pub(crate) by_apply: bool,
}

/// The result of `who-can`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WhoCanResult<'s> {
    /// The principals of aws-auth in `system:masters`.
    pub(crate) system_masters: Vec<Rc<MappedPrincipal>>,
    /// The other principals of aws-auth that are allowed to make the request.
    pub(crate) principals: Vec<Rc<MappedPrincipal>>,
    /// The subjects of bindings that allow the request, each once.
    pub(crate) subjects: Vec<SubjectGrants<'s>>,
}

impl<'s> AccessView<'s> {
    /// Returns every principal and every subject of a binding that can make a request for some object in the namespaces.
    /// The request has no namespace. If it has no name, it is for objects of any name.
    pub(crate) fn who_can_somewhere(&self, request: &Request, filter: &NamespaceFilter) -> WhoCanResult<'s> {
        let is_wanted = |grant: &Grant<'s>| self.is_wanted(grant, request, filter);
        let paths = |grant: &Grant<'s>| self.paths_of_grant(grant, |rule| allows_some_name(rule, request));
        self.who_can_by(self.grants.all().filter(is_wanted), paths, true)
    }

    /// Returns whether a binding can allow the request in the namespaces.
    fn is_wanted(&self, grant: &Grant<'s>, request: &Request, filter: &NamespaceFilter) -> bool {
        let scope = grant.scope();
        if scope == GrantScope::Cluster {
            return true;
        }
        let Request::Object(ObjectRequest { verb, group, resource, name, .. }) = request else {
            return false;
        };
        let is_in_filter = match filter {
            NamespaceFilter::Any => true,
            NamespaceFilter::Only(only) => scope.contains(Some(only)),
            NamespaceFilter::ClusterWide => false,
        };
        match request_scope(&self.state().resources, group, resource, verb) {
            RequestScope::Cluster => false,
            RequestScope::Namespaced | RequestScope::Unknown => is_in_filter,
            RequestScope::NamespaceObject => {
                let is_own = if name.is_empty() { is_in_filter } else { scope.contains(Some(name)) };
                is_own && !VERBS_WITHOUT_NAMESPACE_OBJECT.contains(&verb.as_str())
            }
        }
    }
}

/// Returns whether the rule allows the request, or the same request for one of the names to which the rule is limited.
fn allows_some_name(rule: &Rule, request: &Request) -> bool {
    if rule_allows(rule, request) {
        return true;
    }
    let has_no_name = matches!(request, Request::Object(object) if object.name.is_empty());
    let first_name = rule.resource_names.iter().find(|name| !name.is_empty());
    has_no_name && first_name.is_some_and(|name| rule_allows(rule, &request.clone().with_name(name)))
}

impl GrantLimit {
    /// Returns the limits of some grants of a request; nothing if one of the grants has no limit.
    pub(crate) fn of_paths<'a, 's: 'a>(
        paths: impl IntoIterator<Item = &'a GrantPath<'s>>,
        request: &Request,
        filter: &NamespaceFilter,
    ) -> Vec<Self> {
        let limits: BTreeSet<Self> = paths.into_iter().map(|path| Self::of_path(path, request, filter)).collect();
        let is_unlimited = |limit: &Self| limit.names.is_empty() && limit.namespace.is_none() && !limit.by_apply;
        if limits.iter().any(is_unlimited) { Vec::new() } else { limits.into_iter().collect() }
    }

    fn of_path(path: &GrantPath<'_>, request: &Request, filter: &NamespaceFilter) -> Self {
        let is_limited_to_names = !path.rule.resource_names.is_empty() && !rule_allows_any_name(path.rule, request);
        let names = match request {
            Request::Object(object) if object.name.is_empty() && is_limited_to_names => {
                path.rule.resource_names.iter().filter(|name| !name.is_empty()).cloned().collect()
            }
            Request::Object(_) | Request::Url { .. } => Vec::new(),
        };
        let namespace = path.scope.namespaces().filter(|_| *filter == NamespaceFilter::Any);
        let is_create = matches!(request, Request::Object(object)
            if object.verb == "create" && object.subresource.is_empty());
        Self { by_apply: is_create && is_limited_to_names, names, namespace }
    }
}

/// Returns whether the rule allows the request without a name although it lists names, because it lists the empty one.
fn rule_allows_any_name(rule: &Rule, request: &Request) -> bool {
    rule_allows(rule, &request.clone().with_name(""))
}

impl<'s> WhoCanResult<'s> {
    /// Returns the grants through which a principal can make the request.
    pub(crate) fn paths_of_principal<'a>(
        &'a self,
        principal: &'a MappedPrincipal,
    ) -> impl Iterator<Item = &'a GrantPath<'s>> {
        let matches = |subject: &Subject| {
            principal.authentication.identities().any(|identity: &Identity| identity.matches_subject(subject))
        };
        self.subjects
            .iter()
            .filter(move |grants| matches(grants.subject))
            .flat_map(|grants: &SubjectGrants<'s>| &grants.paths)
    }
}

impl WhoCanResult<'_> {
    /// Returns whether the result includes an identity.
    pub(crate) fn includes(&self, identity: &Identity) -> bool {
        identity.is_in_system_masters() || self.subjects.iter().any(|grants| identity.matches_subject(grants.subject))
    }
}
