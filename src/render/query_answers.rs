//! The text of the answers of `can` and `who-can`.

pub(crate) use super::query_renderer::QueryRenderer;
use super::query_renderer::labeled_line;
use super::text_util::escape_control;
use crate::access::{
    AccessDecision, AllowedVariant, Authentication, CanResult, DenialReason, EntryRef, EscalationPath, GrantPath,
    MappedPrincipal, NearMiss, Request, RuleMismatch, SubjectGrants, SubjectQuery, UnmatchableReason, WhoCanResult,
    describe_variants,
};
use crate::state::aws_auth::Section;

/// Returns why a subject cannot authenticate.
pub(crate) fn describe_denial(denial: &DenialReason) -> String {
    match denial {
        DenialReason::NoAwsAuth => "the ConfigMap aws-auth does not exist, and access entries are not read".to_owned(),
        DenialReason::NotMapped { near_misses } if near_misses.is_empty() => "no aws-auth entry matches".to_owned(),
        DenialReason::NotMapped { near_misses } => {
            let describe = |(entry, reason): &(EntryRef, UnmatchableReason)| {
                let reason = match reason {
                    UnmatchableReason::Sso => "EKS does not enable `sso` entries".to_owned(),
                    UnmatchableReason::NonCanonicalArn { canonical } => {
                        format!("the authenticator receives the ARN {canonical}")
                    }
                    UnmatchableReason::InvalidArn(error) => error.to_string(),
                };
                format!("the aws-auth entry {} never matches: {reason}", escape_control(&entry.to_string()))
            };
            near_misses.iter().map(describe).collect::<Vec<_>>().join("; ")
        }
        DenialReason::NotAnInstance { entry, error } => format!(
            "the aws-auth entry {} is for EC2 instances, and the session name `{}` is not an instance ID",
            escape_control(&entry.to_string()),
            escape_control(&error.session)
        ),
    }
}

/// `yes` or `no`, for which sessions if not for all, and with `--explain` the reason.
pub(crate) fn render_can(
    subject: &SubjectQuery,
    result: &CanResult<'_>,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> String {
    let mut out = match result.decision {
        AccessDecision::Allowed => "yes\n".to_owned(),
        AccessDecision::Denied => "no\n".to_owned(),
        AccessDecision::Ambiguous => {
            "no: non-deterministic, several aws-auth entries match and only some of them allow it\n".to_owned()
        }
        AccessDecision::SomeVariants => {
            let variants = describe_variants(result.allowed_variants.iter().map(|variant| &variant.principal));
            format!("yes, for {}\n", escape_control(&variants))
        }
    };
    if !explain {
        return out;
    }
    out.push_str(&labeled_line("subject", &renderer.subject(subject)));
    match &result.authentication {
        Authentication::Identity(identity) => out.push_str(&renderer.identity(identity)),
        Authentication::Denied(denial) => out.push_str(&denial_line(denial)),
        Authentication::Ambiguous(logins) => {
            for login in logins {
                match login {
                    Ok(identity) => out.push_str(&renderer.identity(identity)),
                    Err(denial) => out.push_str(&denial_line(denial)),
                }
            }
        }
    }
    for source in &result.granted_by {
        out.push('\n');
        out.push_str(&renderer.grant_source(source));
    }
    for AllowedVariant { principal, granted_by } in &result.allowed_variants {
        out.push_str(&format!("\n  for {}:\n", escape_control(&describe_variants([principal]))));
        for identity in principal.authentication.identities() {
            out.push_str(&renderer.identity(identity));
        }
        for source in granted_by {
            out.push('\n');
            out.push_str(&renderer.grant_source(source));
        }
    }
    if result.decision == AccessDecision::Denied && matches!(result.authentication, Authentication::Identity(_)) {
        let heading = if result.near_misses.is_empty() { "no matching rule" } else { "closest match:" };
        out.push_str(&format!("\n  {heading}\n"));
    }
    for (number, miss) in result.near_misses.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str(&render_near_miss(miss, renderer));
    }
    out
}

fn denial_line(denial: &DenialReason) -> String {
    labeled_line("authentication", &format!("denied: {}", describe_denial(denial)))
}

fn render_near_miss(miss: &NearMiss<'_>, renderer: &QueryRenderer<'_>) -> String {
    match miss {
        NearMiss::Rule { path, mismatch } => format!(
            "{}{}",
            renderer.grant_path(path),
            labeled_line("not applicable", &describe_mismatch(*mismatch, path))
        ),
        NearMiss::MissingRole { subject, binding, role } => format!(
            "{}{}{}",
            labeled_line("via", &escape_control(&subject.to_string())),
            labeled_line("binding", &format!("{binding}  {}", renderer.managed_by(binding))),
            labeled_line("not applicable", &format!("{} does not exist", escape_control(&role.to_string())))
        ),
    }
}

fn describe_mismatch(mismatch: RuleMismatch, path: &GrantPath<'_>) -> String {
    match (mismatch, path.binding.namespace()) {
        (RuleMismatch::Namespace, Some(namespace)) => {
            format!("only grants access in namespace {}", escape_control(namespace))
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
    request: &Request,
    result: &WhoCanResult<'_>,
    explain: bool,
    renderer: &QueryRenderer<'_>,
) -> String {
    let WhoCanResult { system_masters, principals, subjects } = result;
    let request = escape_control(&request.to_string());
    let mut out = String::new();
    if !system_masters.is_empty() {
        out.push_str("Members of system:masters (full access, bypasses RBAC):\n");
        for principal in system_masters {
            out.push_str(&render_principal(principal, explain, renderer));
        }
        out.push('\n');
    }
    if !principals.is_empty() {
        out.push_str(&format!("Principals that can {request}:\n"));
        for principal in principals {
            out.push_str(&render_principal(principal, explain, renderer));
        }
        out.push('\n');
    }
    if subjects.is_empty() {
        out.push_str(&format!("No binding allows anyone to {request}.\n"));
        return out;
    }
    out.push_str("Granted by RBAC bindings:\n");
    for grants in subjects {
        out.push_str(&render_subject_grants(grants, explain, renderer));
    }
    out
}

fn render_principal(principal: &MappedPrincipal, explain: bool, renderer: &QueryRenderer<'_>) -> String {
    let mut out = format!("  {}\n", renderer.subject(&principal.subject));
    if explain {
        let identities: Vec<String> =
            principal.authentication.identities().map(|identity| renderer.identity(identity)).collect();
        out.push_str(&indent(&identities.concat()));
    }
    out
}

fn render_subject_grants(grants: &SubjectGrants<'_>, explain: bool, renderer: &QueryRenderer<'_>) -> String {
    let SubjectGrants { subject, paths, members } = grants;
    let mut out = format!("  {}\n", escape_control(&subject.to_string()));
    if explain {
        for path in paths {
            out.push_str(&indent(&renderer.grant_path(path)));
        }
    } else {
        let mut sources: Vec<String> =
            paths.iter().map(|path| format!("{} → {}", path.binding.path(), path.role.name())).collect();
        sources.dedup();
        out.push_str(&format!("    via {}\n", escape_control(&sources.join(", "))));
    }
    // The ARN as the entry has it, unless only some sessions or principals are members.
    let member_text = |(member, entry): &(SubjectQuery, EntryRef)| match member {
        SubjectQuery::Arn(identity)
            if !identity.session_attributes().is_any() || entry.section == Section::Accounts =>
        {
            escape_control(&identity.to_string())
        }
        _ => escape_control(&entry.principal),
    };
    let members: Vec<String> = members.iter().map(member_text).collect();
    if !members.is_empty() {
        out.push_str(&format!("    members (aws-auth): {}\n", members.join(", ")));
    }
    out
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Returns the subjects that have privilege escalation paths. Subjects with the same paths are listed together.
pub(crate) fn render_escalations(
    escalations: &[(SubjectQuery, Vec<EscalationPath<'_>>)],
    renderer: &QueryRenderer<'_>,
) -> String {
    if escalations.is_empty() {
        return "No subject has a privilege escalation path.\n".to_owned();
    }
    let mut sections: Vec<(String, String)> = Vec::new();
    for (subject, paths) in escalations {
        let lines: String =
            paths.iter().map(|path| format!("  ! {}: {}\n", path.name(), escape_control(&path.to_string()))).collect();
        let heading = format!("{}\n", renderer.subject(subject));
        match sections.iter_mut().find(|(_, known)| *known == lines) {
            Some((headings, _)) => headings.push_str(&heading),
            None => sections.push((heading, lines)),
        }
    }
    sections.into_iter().map(|(headings, lines)| format!("{headings}{lines}")).collect::<Vec<_>>().join("\n")
}
