//! The text of the answers of `can` and `who-can`.

use std::collections::BTreeMap;

pub(crate) use super::query_renderer::QueryRenderer;
use super::query_renderer::labeled_line;
use super::terminal_text::TerminalText;
use super::text_util::escape_control;
use crate::access::{
    AccessDecision, AllowedVariant, Authentication, CanAnswer, CanResult, DenialReason, EntryRef, EscalationPath,
    GrantLimit, GrantPath, MappedPrincipal, NamespaceFilter, NearMiss, Request, RequestScope, RuleMismatch,
    SubjectGrants, SubjectQuery, UnknownPart, UnmatchableReason, Verdict, WhoCanResult, describe_variants,
    request_scope,
};
use crate::api_resources::KnownResources;
use crate::report::WhoCanQuestion;
use crate::state::aws_auth::Section;
use crate::state::rbac::Subject;

/// The number of namespaces of one limit that are listed.
const MAX_NAMESPACES: usize = 5;

/// Returns why a subject cannot authenticate.
pub(crate) fn describe_denial(denial: &DenialReason) -> String {
    match denial {
        DenialReason::NoAwsAuth => "no access entry matches, and the ConfigMap aws-auth does not exist".to_owned(),
        DenialReason::NoAccessEntry => {
            "no access entry matches, and the cluster does not read aws-auth (authentication mode API)".to_owned()
        }
        DenialReason::NotMapped { near_misses } if near_misses.is_empty() => "no aws-auth entry matches".to_owned(),
        DenialReason::NotMapped { near_misses } => {
            let describe = |(entry, reason): &(EntryRef, UnmatchableReason)| {
                let (entry, reason) = (escape_control(&entry.to_string()), reason.explain());
                format!("the aws-auth entry {entry} never matches: {reason}")
            };
            near_misses.iter().map(describe).collect::<Vec<_>>().join("; ")
        }
        DenialReason::NotAnInstance { entry, error } => format!(
            "the entry {} is for EC2 instances, and the session name `{}` is not an instance ID",
            escape_control(&entry.to_string()),
            escape_control(&error.session)
        ),
    }
}

/// Returns why the subject of an answer cannot authenticate.
pub(crate) fn not_authenticated(result: &CanResult<'_>) -> Option<String> {
    match &result.authentication {
        Authentication::Denied(denial) => Some(describe_denial(denial)),
        Authentication::Identity(_) | Authentication::Ambiguous(_) => None,
    }
}

/// Returns a request with its namespaces: `get secrets in team-a`, `list pods in all namespaces`, `get nodes`.
pub(crate) fn describe_request(request: &Request, known: &KnownResources) -> String {
    let Request::Object(object) = request else {
        return request.to_string();
    };
    match request_scope(known, &object.group, &object.resource, &object.verb) {
        RequestScope::NamespaceObject => request.clone().in_namespace("").to_string(),
        RequestScope::Namespaced | RequestScope::Unknown if object.namespace.is_empty() => {
            format!("{request} in all namespaces")
        }
        RequestScope::Cluster | RequestScope::Namespaced | RequestScope::Unknown => request.to_string(),
    }
}

/// Returns a request of `who-can` with the namespaces that the question is about.
pub(crate) fn describe_question(request: &Request, filter: &NamespaceFilter, known: &KnownResources) -> String {
    let Request::Object(object) = request else {
        return request.to_string();
    };
    let scope = request_scope(known, &object.group, &object.resource, &object.verb);
    match (scope, filter) {
        (RequestScope::Cluster | RequestScope::NamespaceObject, _) => request.to_string(),
        (RequestScope::Namespaced | RequestScope::Unknown, NamespaceFilter::Any) => {
            format!("{request} in any namespace")
        }
        (RequestScope::Namespaced | RequestScope::Unknown, NamespaceFilter::Only(namespace)) => {
            format!("{request} in {namespace}")
        }
        (RequestScope::Namespaced | RequestScope::Unknown, NamespaceFilter::ClusterWide) => {
            format!("{request} in all namespaces")
        }
    }
}

/// Returns the answer as a sentence.
fn verdict_line(subject: &str, answer: &CanAnswer<'_>, known: &KnownResources) -> String {
    let request = escape_control(&describe_request(&answer.request, known));
    match answer.verdict {
        Verdict::Yes => format!("yes: {subject} can {request}"),
        Verdict::YesByApply => format!(
            "yes: {subject} can {request}, by server-side apply only (a POST has no name, and the rules are limited to names)"
        ),
        Verdict::No if answer.allowed_names.is_empty() => format!("no: {subject} cannot {request}"),
        Verdict::No => format!(
            "no: {subject} cannot {request}, except those named {}",
            escape_control(&answer.allowed_names.join(", "))
        ),
        Verdict::NoWithoutPatch => format!(
            "no: {subject} cannot {request} (a POST has no name, and server-side apply also needs `patch` on it)"
        ),
        Verdict::YesForSome => {
            let variants = describe_variants(answer.result.allowed_variants.iter().map(|variant| &variant.principal));
            format!("yes, for {}: {subject} can {request}", escape_control(&variants))
        }
        Verdict::Ambiguous => format!(
            "no: {subject} can {request} only at some logins (non-deterministic: several aws-auth entries match, and only \
             some of them allow it)"
        ),
        Verdict::NotAnswered(part) => {
            let unknown = match part {
                UnknownPart::Subject => "the subject is unknown".to_owned(),
                UnknownPart::Namespace => "the namespace is unknown".to_owned(),
                UnknownPart::Scope => {
                    "the answer depends on whether the resource is in namespaces, which is unknown".to_owned()
                }
                UnknownPart::Access => {
                    let reasons: Vec<String> = answer.unknown.iter().map(ToString::to_string).collect();
                    escape_control(&reasons.join("; "))
                }
            };
            format!("not answered: whether {subject} can {request} ({unknown})")
        }
    }
}

/// Returns the answer, and with `--explain` the reason.
pub(crate) fn render_can(
    subject: &SubjectQuery,
    answer: &CanAnswer<'_>,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    let result = &answer.result;
    let mut out = TerminalText::from_line(&verdict_line(&renderer.subject(subject), answer, &renderer.state.resources));
    if !explain {
        return out;
    }
    out.append(&labeled_line("subject", &renderer.subject(subject)));
    match &result.authentication {
        Authentication::Identity(identity) => out.append(&renderer.identity(identity)),
        Authentication::Denied(denial) => out.append(&denial_line(denial)),
        Authentication::Ambiguous(logins) => {
            for login in logins {
                match login {
                    Ok(identity) => out.append(&renderer.identity(identity)),
                    Err(denial) => out.append(&denial_line(denial)),
                }
            }
        }
    }
    for source in &result.granted_by {
        out.blank_line();
        out.append(&renderer.grant_source(source));
    }
    for AllowedVariant { principal, granted_by } in &result.allowed_variants {
        out.blank_line();
        out.line(&format!("  for {}:", escape_control(&describe_variants([principal]))));
        for identity in principal.authentication.identities() {
            out.append(&renderer.identity(identity));
        }
        for source in granted_by {
            out.blank_line();
            out.append(&renderer.grant_source(source));
        }
    }
    if result.decision == AccessDecision::Denied && matches!(result.authentication, Authentication::Identity(_)) {
        let heading = if result.near_misses.is_empty() { "no matching rule" } else { "closest match:" };
        out.blank_line();
        out.line(&format!("  {heading}"));
    }
    for (number, miss) in result.near_misses.iter().enumerate() {
        if number > 0 {
            out.blank_line();
        }
        out.append(&render_near_miss(miss, renderer));
    }
    out
}

fn denial_line(denial: &DenialReason) -> TerminalText {
    labeled_line("authentication", &format!("denied: {}", describe_denial(denial)))
}

fn render_near_miss(miss: &NearMiss<'_>, renderer: &QueryRenderer<'_>) -> TerminalText {
    match miss {
        NearMiss::Rule { path, mismatch } => {
            let mut out = renderer.grant_path(path);
            out.append(&labeled_line("not applicable", &describe_mismatch(*mismatch, path)));
            out
        }
        NearMiss::MissingRole { subject, binding, role } => {
            let mut out = labeled_line("via", &escape_control(&subject.to_string()));
            out.append(&labeled_line("binding", &format!("{binding}  {}", renderer.managed_by(binding))));
            out.append(&labeled_line(
                "not applicable",
                &format!("{} does not exist", escape_control(&role.to_string())),
            ));
            out
        }
    }
}

fn describe_mismatch(mismatch: RuleMismatch, path: &GrantPath<'_>) -> String {
    match (mismatch, path.scope.namespaces()) {
        (RuleMismatch::Namespace, Some(namespace)) => {
            format!("only grants access in namespace {}", escape_control(&namespace))
        }
        (RuleMismatch::Namespace, None) => "grants access in another namespace".to_owned(),
        (RuleMismatch::Verb, _) => "the rule does not have the verb".to_owned(),
        (RuleMismatch::Name, _) => "the rule is limited to other names".to_owned(),
        (RuleMismatch::Resource, _) => "the rule does not have the resource".to_owned(),
        (RuleMismatch::Group, _) => "the rule is for another API group".to_owned(),
        (RuleMismatch::Url, _) => "the rule does not have the URL".to_owned(),
    }
}

/// Returns the principals that can make a request, and the subjects whose bindings grant it.
pub(crate) fn render_who_can(
    question: &WhoCanQuestion<'_>,
    result: &WhoCanResult<'_>,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    let WhoCanResult { system_masters, principals, subjects } = result;
    let request = escape_control(&question.text);
    let mut out = TerminalText::default();
    if !system_masters.is_empty() {
        out.line("Members of system:masters (full access, bypasses RBAC):");
        for principal in system_masters {
            out.append(&render_principal(principal, "", explain, renderer));
        }
        out.blank_line();
    }
    if !principals.is_empty() {
        out.line(&format!("Principals that can {request}:"));
        for principal in principals {
            let limits = limits_text(result.paths_of_principal(principal), question);
            let limits = limits.map(|limits| format!("  {limits}")).unwrap_or_default();
            out.append(&render_principal(principal, &limits, explain, renderer));
        }
        out.blank_line();
    }
    if subjects.is_empty() {
        out.line(&format!("No binding allows anyone to {request}."));
        return out;
    }
    let has_policies = subjects.iter().any(|grants| matches!(grants.subject, Subject::AccessEntry(_)));
    out.line(if has_policies { "Granted by RBAC bindings and access policies:" } else { "Granted by RBAC bindings:" });
    for grants in subjects {
        out.append(&render_subject_grants(grants, question, explain, renderer));
    }
    out
}

/// Returns what some grants are limited to: `secrets named db, in team-b`. `None` if one of them has no limit.
fn limits_text<'a, 's: 'a>(
    paths: impl IntoIterator<Item = &'a GrantPath<'s>>,
    question: &WhoCanQuestion<'_>,
) -> Option<String> {
    let limits = GrantLimit::of_paths(paths, question.request, question.filter);
    // The namespaces of the grants that have the same limits otherwise.
    let mut namespaces_by_names: BTreeMap<(Vec<String>, bool), Vec<String>> = BTreeMap::new();
    for GrantLimit { names, namespace, by_apply } in limits {
        namespaces_by_names.entry((names, by_apply)).or_default().extend(namespace);
    }
    let resource = match question.request {
        Request::Object(object) => object.resource.as_str(),
        Request::Url { .. } => "",
    };
    let texts = namespaces_by_names.into_iter().map(|((names, by_apply), namespaces)| {
        let more = namespaces.len().saturating_sub(MAX_NAMESPACES);
        let shown = namespaces.iter().take(MAX_NAMESPACES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more namespaces") };
        let in_namespaces = if namespaces.is_empty() { String::new() } else { format!("in {shown}{more}") };
        let by_apply = if by_apply { " by server-side apply" } else { "" };
        match (names.is_empty(), in_namespaces.is_empty()) {
            (true, _) => in_namespaces,
            (false, true) => format!("{resource} named {}{by_apply}", names.join(", ")),
            (false, false) => format!("{resource} named {}{by_apply}, {in_namespaces}", names.join(", ")),
        }
    });
    let text = texts.collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| format!("only {}", escape_control(&text)))
}

fn render_principal(
    principal: &MappedPrincipal,
    limits: &str,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    let mut out = TerminalText::from_line(&format!("  {}{limits}", renderer.subject(&principal.subject)));
    if explain {
        for identity in principal.authentication.identities() {
            out.append(&renderer.identity(identity).indented());
        }
    }
    out
}

fn render_subject_grants(
    grants: &SubjectGrants<'_>,
    question: &WhoCanQuestion<'_>,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    let SubjectGrants { subject, paths, members } = grants;
    let limits = limits_text(paths, question).map(|limits| format!("  {limits}")).unwrap_or_default();
    let mut out = TerminalText::from_line(&format!("  {}{limits}", escape_control(&subject.to_string())));
    if explain {
        for path in paths {
            out.append(&renderer.grant_path(path).indented());
        }
    } else {
        let mut sources: Vec<String> =
            paths.iter().map(|path| format!("{} → {}", path.binding.path(), path.role.name())).collect();
        sources.dedup();
        out.line(&format!("    via {}", escape_control(&sources.join(", "))));
    }
    // The ARN as the entry has it, unless only some sessions or principals are members.
    let member_text = |(member, entry): &(SubjectQuery, EntryRef)| match member {
        SubjectQuery::Arn(identity)
            if !identity.session_attributes().is_any() || entry.section() == Some(Section::Accounts) =>
        {
            escape_control(&identity.to_string())
        }
        _ => escape_control(&entry.principal),
    };
    let members: Vec<String> = members.iter().map(member_text).collect();
    if !members.is_empty() {
        out.line(&format!("    members: {}", members.join(", ")));
    }
    out
}

/// Returns the subjects that have privilege escalation paths. Subjects with the same paths are listed together.
pub(crate) fn render_escalations(
    escalations: &[(SubjectQuery, Vec<EscalationPath<'_>>)],
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    if escalations.is_empty() {
        return TerminalText::from_line("No subject has a privilege escalation path.");
    }
    let mut sections: Vec<(TerminalText, TerminalText)> = Vec::new();
    for (subject, paths) in escalations {
        let mut lines = TerminalText::default();
        for path in paths {
            lines.line(&format!("  ! {}: {}", path.name(), escape_control(&path.to_string())));
        }
        let heading = TerminalText::from_line(&renderer.subject(subject));
        match sections.iter_mut().find(|(_, known)| *known == lines) {
            Some((headings, _)) => headings.append(&heading),
            None => sections.push((heading, lines)),
        }
    }
    let mut out = TerminalText::default();
    for (number, (headings, lines)) in sections.iter().enumerate() {
        if number > 0 {
            out.blank_line();
        }
        out.append(headings);
        out.append(lines);
    }
    out
}
