//! Lints on the subjects of bindings: everyone, anonymous requests, and names that are not what they seem to be.

use super::LintContext;
use super::subject_lints::{is_defined_group, is_given_by_entry, nearest_defined_group};
use crate::diagnostic::{Diagnostic, LintId};
use crate::policy::{BindingSpec, InvariantSubjectSpec, Located, usernames_of_principal};

const ANONYMOUS: [&str; 2] = ["system:unauthenticated", "system:anonymous"];
const EVERYONE: [&str; 2] = ["system:authenticated", "system:serviceaccounts"];

pub(super) fn lint_bindings(context: LintContext<'_>) -> Vec<Diagnostic> {
    let bindings = context.policy.bindings.values().filter(|binding| context.applies(binding.clusters.as_deref()));
    let lints = bindings.flat_map(|binding| lint_binding(context, binding)).chain(lint_declared_groups(context));
    lints.chain(lint_groups_of_invariants(context)).collect()
}

/// Reports groups of invariants that Kubernetes does not have. With a cluster, such a group is an error of the invariant.
fn lint_groups_of_invariants(context: LintContext<'_>) -> impl Iterator<Item = Diagnostic> {
    let invariants = context.policy.invariants.iter().filter(move |_| context.cluster.is_none());
    let groups = invariants.filter_map(|invariant| match &invariant.subject {
        InvariantSubjectSpec::Group(group) => Some(group),
        _ => None,
    });
    groups.filter_map(move |group| lint_unknown_group(context, group))
}

/// Reports declared groups whose names look like a misspelled group of Kubernetes.
fn lint_declared_groups(context: LintContext<'_>) -> impl Iterator<Item = Diagnostic> {
    let groups = context.policy.groups.iter().filter(move |(_, group)| context.applies(group.clusters.as_deref()));
    groups.filter(|(name, _)| !is_defined_group(name)).filter_map(|(name, group)| {
        let near = nearest_defined_group(name)?;
        Some(
            Diagnostic::lint(LintId::UnknownBuiltInGroup, format!("Kubernetes has no group `{name}`"))
                .primary_label(group.span, "")
                .with_because("membership in it means nothing to Kubernetes unless a binding names it")
                .with_help(format!("did you mean `{near}`?")),
        )
    })
}

fn lint_binding(context: LintContext<'_>, binding: &BindingSpec) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (kind, name) in
        binding.groups.iter().map(|name| ("group", name)).chain(binding.users.iter().map(|name| ("user", name)))
    {
        diagnostics.extend(lint_audience(kind, name));
        if name.value.contains('*') {
            let message = format!("{kind} `{}` is the name of one {kind}, not a pattern", name.value);
            diagnostics.push(
                Diagnostic::lint(LintId::WildcardSubject, message)
                    .primary_label(name.span, "")
                    .with_because("RBAC compares the names of subjects exactly")
                    .with_help("list the names; for all authenticated users, bind `system:authenticated`"),
            );
        }
    }
    diagnostics.extend(binding.groups.iter().filter_map(|group| lint_unknown_group(context, group)));
    diagnostics.extend(binding.users.iter().filter_map(|user| lint_principal_as_user(context, user)));
    diagnostics
}

fn lint_audience(kind: &str, name: &Located<String>) -> Option<Diagnostic> {
    let value = name.value.as_str();
    if ANONYMOUS.contains(&value) {
        let message = format!("this binding grants access to requests without credentials ({kind} `{value}`)");
        return Some(
            Diagnostic::lint(LintId::BindingToAnonymous, message)
                .primary_label(name.span, "")
                .with_because("every client that can reach the API server can use this access")
                .with_help("bind a group, user or service account of its own instead"),
        );
    }
    if kind == "group" && EVERYONE.contains(&value) {
        let (who, members) = if value == "system:serviceaccounts" {
            ("all service accounts", "every pod with a service account token is in this group, in every namespace")
        } else {
            ("all authenticated users", "every IAM principal that can authenticate and every service account is in it")
        };
        return Some(
            Diagnostic::lint(LintId::BindingToEveryone, format!("this binding grants access to {who} (`{value}`)"))
                .primary_label(name.span, "")
                .with_because(members)
                .with_help("bind a group, user or service account of its own instead"),
        );
    }
    None
}

fn lint_unknown_group(context: LintContext<'_>, group: &Located<String>) -> Option<Diagnostic> {
    let is_known = is_defined_group(&group.value)
        || context.policy.groups.contains_key(&group.value)
        || context.state().is_some_and(|state| is_given_by_entry(state, &group.value));
    if is_known {
        return None;
    }
    let lint = Diagnostic::lint(LintId::UnknownBuiltInGroup, format!("Kubernetes has no group `{}`", group.value))
        .primary_label(group.span, "")
        .with_because("the policy does not declare it either, so no principal is a member of it");
    Some(match nearest_defined_group(&group.value) {
        Some(near) => lint.with_help(format!("did you mean `{near}`?")),
        None => lint.with_help("declare a group of your own in `[groups]`, and bind that"),
    })
}

/// Reports a user with the name that the policy gives to a principal. A binding in `users` names usernames.
fn lint_principal_as_user(context: LintContext<'_>, user: &Located<String>) -> Option<Diagnostic> {
    let usernames = usernames_of_principal(context.policy, &user.value)?;
    if usernames.contains(&user.value) {
        return None;
    }
    let message = format!("`{}` is the key of a principal, not a username", user.value);
    let mut lint = Diagnostic::lint(LintId::UserNamesPrincipal, message).primary_label(user.span, "");
    if let Some(principal) = context.policy.principals.get(&user.value) {
        lint = lint.secondary_label(principal.span, "this principal");
    }
    let usernames: Vec<String> = usernames.iter().map(|name| format!("`{name}`")).collect();
    let lint = match usernames.as_slice() {
        [] => lint,
        names => lint.with_because(format!("its username is {}", names.join(" or "))),
    };
    Some(lint.with_help(format!("write `principals = [\"{}\"]`", user.value)))
}
