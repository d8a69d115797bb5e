//! Checks that the subjects and namespaces of invariants exist in the cluster. An invariant about a subject that does not
//! exist would always hold.
//!
//! A subject is known if the policy, an aws-auth entry or a binding names it, in the state before or after the plan.
//! Service accounts and users need no object, so there is no other list of them.

use std::collections::BTreeSet;

use crate::access::{AccessView, IamIdentity, RenderedName, SubjectQuery};
use crate::diagnostic::{Diagnostic, LintId, Span, closest_match, closest_qualified_match};
use crate::lint::is_defined_group;
use crate::names::reserved_prefix;
use crate::plan::{AccessComparison, invariant_applies};
use crate::policy::{Assertion, InvariantSpec, InvariantSubjectSpec, Located, Policy, PolicyIndex, RequestSpec};
use crate::state::State;

/// Returns an error for each name of an invariant that the cluster does not have, and a warning for each invariant that
/// nothing can violate.
pub(crate) fn check_invariant_names(
    policy: &Policy,
    cluster: Option<&str>,
    comparison: &AccessComparison<'_>,
) -> Vec<Diagnostic> {
    let names = KnownSubjects::new(comparison);
    let policy_index = PolicyIndex::from_principals(policy, cluster);
    let applicable = policy.invariants.iter().filter(|invariant| invariant_applies(policy, cluster, invariant));
    let mut diagnostics = Vec::new();
    for invariant in applicable {
        diagnostics.extend(check_namespace(invariant, comparison.after));
        diagnostics.extend(check_subject(policy, invariant, &policy_index, &names));
    }
    policy.lint.apply(diagnostics)
}

fn check_namespace(invariant: &InvariantSpec, state: &State) -> Option<Diagnostic> {
    let (Assertion::Can(request) | Assertion::Cannot(request)) = &invariant.assertion else {
        return None;
    };
    let RequestSpec { namespace, .. } = request;
    let namespace = namespace.as_ref()?;
    let span = invariant.request_spans.as_ref().and_then(|spans| spans.namespace).unwrap_or(invariant.span);
    if state.namespaces.is_empty() {
        let warning = Diagnostic::warning(format!("namespace `{namespace}` of an invariant is not checked"));
        let because = "the snapshot contains no namespaces";
        return Some(warning.primary_label(span, "").with_because(because));
    }
    if state.namespaces.contains_key(namespace) {
        return None;
    }
    let error = Diagnostic::error(format!("namespace `{namespace}` of an invariant does not exist in the cluster"))
        .primary_label(span, "");
    Some(match closest_match(namespace, state.namespaces.keys().map(String::as_str)) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None => error.with_help(CLUSTERS_HELP),
    })
}

const CLUSTERS_HELP: &str = "remove the invariant, or limit it to other clusters with `clusters = […]`";

fn check_subject(
    policy: &Policy,
    invariant: &InvariantSpec,
    policy_index: &PolicyIndex,
    names: &KnownSubjects<'_, '_>,
) -> Vec<Diagnostic> {
    let check = |query: &SubjectQuery, span: Span| names.unknown_subject(query, span);
    match &invariant.subject {
        InvariantSubjectSpec::User(name) => {
            check(&SubjectQuery::from_username(&name.value), name.span).into_iter().collect()
        }
        InvariantSubjectSpec::ServiceAccount(account) => {
            let query = SubjectQuery::ServiceAccount {
                namespace: account.value.namespace.clone().unwrap_or_default(),
                name: account.value.name.clone(),
            };
            check(&query, account.span).into_iter().collect()
        }
        InvariantSubjectSpec::Group(name) if policy.groups.contains_key(&name.value) => {
            let query = SubjectQuery::Group(name.value.clone());
            let is_vacuous = is_prohibition(&invariant.assertion) && !names.has(&query);
            is_vacuous.then(|| vacuous(name, "the group has no members, and no binding names it")).into_iter().collect()
        }
        InvariantSubjectSpec::Group(name) if is_defined_group(&name.value) => Vec::new(),
        InvariantSubjectSpec::Group(name) => {
            check(&SubjectQuery::Group(name.value.clone()), name.span).into_iter().collect()
        }
        InvariantSubjectSpec::Principal(name) => {
            let query = policy_index.principal(&name.value);
            let can_authenticate =
                query.is_some_and(|query| names.after.authenticate(query).identities().next().is_some());
            let is_vacuous = is_prohibition(&invariant.assertion) && !can_authenticate;
            let because = "the principal cannot authenticate to the cluster after this plan";
            is_vacuous.then(|| vacuous(name, because)).into_iter().collect()
        }
        InvariantSubjectSpec::EveryoneBut(exemptions) => {
            exemptions.iter().filter_map(|name| check_exemption(policy, policy_index, name, names)).collect()
        }
    }
}

fn is_prohibition(assertion: &Assertion) -> bool {
    !matches!(assertion, Assertion::Can(_))
}

fn vacuous(name: &Located<String>, because: &str) -> Diagnostic {
    let message = format!("nothing can violate this invariant about `{}`", name.value);
    Diagnostic::lint(LintId::VacuousInvariant, message)
        .primary_label(name.span, "")
        .with_because(because)
        .with_help("remove the invariant, or add members or bindings")
}

/// Returns an error for an exemption that is probably misspelled. An exemption that matches nothing makes an invariant
/// stricter, so it is accepted if no similar name exists: the name can be that of another cluster.
fn check_exemption(
    policy: &Policy,
    policy_index: &PolicyIndex,
    name: &Located<String>,
    names: &KnownSubjects<'_, '_>,
) -> Option<Diagnostic> {
    let is_of_policy = policy.principals.contains_key(&name.value) || policy.groups.contains_key(&name.value);
    if is_of_policy || policy_index.principal(&name.value).is_some() {
        return None;
    }
    let queries = crate::plan::exemption_subjects(&name.value, policy, policy_index);
    if queries.iter().any(|query| names.has(query)) {
        return None;
    }
    queries.iter().find_map(|query| names.nearest(query)).map(|near| {
        Diagnostic::error(format!("unknown subject `{}` in `everyone-but`", name.value))
            .primary_label(name.span, "")
            .with_because("neither aws-auth nor a binding names it")
            .with_help(format!("did you mean `{}`?", near.strip_prefix("user:").unwrap_or(&near)))
    })
}

/// The subjects of a cluster before and after a plan.
struct KnownSubjects<'a, 's> {
    after: &'a AccessView<'s>,
    subjects: BTreeSet<SubjectQuery>,
    /// Names that depend on the session of a role.
    templates: Vec<RenderedName>,
    accounts: BTreeSet<String>,
}

impl<'a, 's> KnownSubjects<'a, 's> {
    fn new(comparison: &'a AccessComparison<'s>) -> Self {
        let (before, after) = (&comparison.live_access, &comparison.after_access);
        let mut names =
            Self { subjects: after.all_subjects(), templates: Vec::new(), accounts: BTreeSet::new(), after };
        names.subjects.extend(before.all_subjects());
        for access in [before, after] {
            let identities = access.principals().iter().flat_map(|principal| principal.authentication.identities());
            let templates = identities.flat_map(|identity| identity.username.iter().chain(&identity.groups));
            names.templates.extend(templates.filter(|name| name.as_literal().is_none()).cloned());
            names.accounts.extend(access.mapping.account_ids().map(str::to_owned));
        }
        names
    }

    /// Returns whether the policy or the cluster names the subject.
    fn has(&self, query: &SubjectQuery) -> bool {
        if self.subjects.contains(query) {
            return true;
        }
        match query {
            SubjectQuery::User(name) => {
                let is_in_account =
                    IamIdentity::parse(name).is_ok_and(|identity| self.accounts.contains(identity.account()));
                is_in_account || self.templates.iter().any(|template| template.can_equal(name))
            }
            SubjectQuery::Group(name) => self.templates.iter().any(|template| template.can_equal(name)),
            SubjectQuery::Arn(identity) => {
                self.accounts.contains(identity.account()) || {
                    let key = identity.comparison_key();
                    self.subjects
                        .iter()
                        .any(|subject| matches!(subject, SubjectQuery::Arn(known) if known.comparison_key() == key))
                }
            }
            SubjectQuery::Account(id) => self.accounts.contains(id),
            SubjectQuery::ServiceAccount { .. } => false,
        }
    }

    fn nearest(&self, query: &SubjectQuery) -> Option<String> {
        let text = query.to_string();
        let known: Vec<String> = self.subjects.iter().map(ToString::to_string).collect();
        let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        let same_kind = known.iter().map(String::as_str).filter(|other| kind(other) == kind(&text));
        closest_qualified_match(&text, same_kind).map(str::to_owned)
    }

    fn unknown_subject(&self, query: &SubjectQuery, span: Span) -> Option<Diagnostic> {
        if self.has(query) {
            return None;
        }
        let (what, name, prefix) = match query {
            SubjectQuery::User(name) => ("user", name.clone(), "user:"),
            SubjectQuery::Group(name) => ("group", name.clone(), "group:"),
            SubjectQuery::ServiceAccount { namespace, name } => {
                ("service account", format!("{namespace}/{name}"), "sa:")
            }
            SubjectQuery::Arn(identity) => ("principal", identity.to_string(), ""),
            SubjectQuery::Account(id) => ("account", id.clone(), "account:"),
        };
        let because = match query {
            SubjectQuery::User(name) if reserved_prefix(name).is_some() => "no binding names it",
            SubjectQuery::ServiceAccount { .. } => "no binding of the policy or of the cluster names it",
            _ => "no aws-auth entry gives the name, and no binding names it",
        };
        let error = Diagnostic::error(format!("unknown {what} `{name}` in an invariant"))
            .primary_label(span, "")
            .with_because(because)
            .with_note("an invariant about a subject that does not exist would test nothing");
        Some(match self.nearest(query) {
            Some(near) => error.with_help(format!("did you mean `{}`?", near.strip_prefix(prefix).unwrap_or(&near))),
            None => error
                .with_help("remove the invariant, or use `everyone-but`, which includes subjects that appear later"),
        })
    }
}
