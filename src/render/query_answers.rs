//! The answers of `can` and `who-can` as text.

pub(crate) use super::query_renderer::QueryRenderer;
use super::text_util::escape_control;
use crate::access::{
    AccessDecision, Authentication, CanResult, DenialReason, EntryRef, EscalationPath, GrantPath, MappedPrincipal,
    NearMiss, Request, RuleMismatch, SubjectGrants, SubjectQuery, UnmatchableReason, WhoCanResult,
};

/// Why somebody is not let in.
pub(crate) fn describe_denial(denial: &DenialReason) -> String {
    match denial {
        DenialReason::NotMapped { near_misses: meant } if meant.is_empty() => {
            "no entry of aws-auth names it".to_owned()
        }
        DenialReason::NotMapped { near_misses: meant } => {
            let one = |(entry, never): &(EntryRef, UnmatchableReason)| {
                let why = match never {
                    UnmatchableReason::Sso => "EKS has switched this form off".to_owned(),
                    UnmatchableReason::NonCanonicalArn { canonical: shown } => {
                        format!("the authenticator sees {shown}")
                    }
                    UnmatchableReason::InvalidArn(fault) => fault.to_string(),
                };
                format!("the entry {} never answers: {why}", escape_control(&entry.to_string()))
            };
            meant.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        DenialReason::NotAnInstance { entry, fault } => format!(
            "the entry {} is for machines, and `{}` is not the name of one",
            escape_control(&entry.to_string()),
            escape_control(&fault.session)
        ),
    }
}

/// `yes` or `no`, and on demand why.
pub(crate) fn render_can(
    who: &SubjectQuery,
    answer: &CanResult<'_>,
    explain: bool,
    view: &QueryRenderer<'_>,
) -> String {
    let first = match answer.decision {
        AccessDecision::Allowed => "yes\n",
        AccessDecision::Denied => "no\n",
        AccessDecision::Ambiguous => "no: at some logins only, since several entries answer by chance\n",
    };
    let mut out = first.to_owned();
    if !explain {
        return out;
    }
    out.push_str(&format!("  {:<8} {}\n", "subject", view.subject(who)));
    match &answer.authentication {
        Authentication::Identity(identity) => out.push_str(&view.identity(identity)),
        Authentication::Denied(found) => out.push_str(&format!("  {:<8} {}\n", "denied", describe_denial(found))),
        Authentication::Ambiguous(logins) => {
            for login in logins {
                match login {
                    Ok(identity) => out.push_str(&view.identity(identity)),
                    Err(found) => out.push_str(&format!("  {:<8} {}\n", "denied", describe_denial(found))),
                }
            }
        }
    }
    for by in &answer.granted_by {
        out.push('\n');
        out.push_str(&view.grant_source(by));
    }
    if answer.decision == AccessDecision::Denied && matches!(answer.authentication, Authentication::Identity(_)) {
        let heading = if answer.near_misses.is_empty() { "nothing comes near" } else { "what comes nearest:" };
        out.push_str(&format!("\n  {heading}\n"));
    }
    for (number, miss) in answer.near_misses.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str(&render_near_miss(miss, view));
    }
    out
}

fn render_near_miss(miss: &NearMiss<'_>, view: &QueryRenderer<'_>) -> String {
    match miss {
        NearMiss::Rule { path: chain, mismatch: lack } => {
            format!("{}  {:<8} {}\n", view.grant_path(chain), "but", describe_mismatch(*lack, chain))
        }
        NearMiss::MissingRole { subject, binding, role } => format!(
            "  {:<8} {}\n  {:<8} {binding}  {}\n  {:<8} {} does not exist\n",
            "through",
            escape_control(&subject.to_string()),
            "binding",
            view.managed_by(binding),
            "but",
            escape_control(&role.to_string()),
        ),
    }
}

fn describe_mismatch(lack: RuleMismatch, chain: &GrantPath<'_>) -> String {
    match (lack, chain.binding.namespace()) {
        (RuleMismatch::Namespace, Some(namespace)) => {
            format!("it counts in the namespace {} alone", escape_control(namespace))
        }
        (RuleMismatch::Namespace, None) => "it is for another namespace".to_owned(),
        (RuleMismatch::Verb, _) => "the rule has not the verb".to_owned(),
        (RuleMismatch::Name, _) => "the rule is for other names".to_owned(),
        (RuleMismatch::Resource, _) => "the rule has not the resource".to_owned(),
        (RuleMismatch::Group, _) => "the rule is for another API group".to_owned(),
        (RuleMismatch::Url, _) => "the rule has not the URL".to_owned(),
    }
}

/// Everybody who may, by the way that leads there.
pub(crate) fn render_who_can(
    request: &Request,
    answer: &WhoCanResult<'_>,
    explain: bool,
    view: &QueryRenderer<'_>,
) -> String {
    let WhoCanResult { system_masters: masters, principals, subjects: holders } = answer;
    let mut out = String::new();
    if !masters.is_empty() {
        out.push_str("system:masters, who may do everything:\n");
        for one in masters {
            out.push_str(&render_principal(one, explain, view));
        }
        out.push('\n');
    }
    if !principals.is_empty() {
        out.push_str(&format!("Principals that may {}:\n", escape_control(&request.to_string())));
        for one in principals {
            out.push_str(&render_principal(one, explain, view));
        }
        out.push('\n');
    }
    if holders.is_empty() {
        out.push_str(&format!("No binding lets anybody {}.\n", escape_control(&request.to_string())));
        return out;
    }
    out.push_str("By bindings:\n");
    for holder in holders {
        out.push_str(&render_subject_grants(holder, explain, view));
    }
    out
}

fn render_principal(one: &MappedPrincipal, explain: bool, view: &QueryRenderer<'_>) -> String {
    let mut out = format!("  {}\n", view.subject(&one.subject));
    if explain {
        let entries: Vec<String> = one.authentication.identities().map(|identity| view.identity(identity)).collect();
        out.push_str(&indent(&entries.concat()));
    }
    out
}

fn render_subject_grants(holder: &SubjectGrants<'_>, explain: bool, view: &QueryRenderer<'_>) -> String {
    let SubjectGrants { subject, paths: by, entries: behind } = holder;
    let mut out = format!("  {}\n", escape_control(&subject.to_string()));
    if explain {
        for chain in by {
            out.push_str(&indent(&view.grant_path(chain)));
        }
    } else {
        let mut pairs: Vec<String> =
            by.iter().map(|chain| format!("{} → {}", chain.binding.path(), chain.role.name())).collect();
        pairs.dedup();
        out.push_str(&format!("    by {}\n", escape_control(&pairs.join(", "))));
    }
    let behind: Vec<String> = behind.iter().map(|entry| escape_control(&entry.principal)).collect();
    if !behind.is_empty() {
        out.push_str(&format!("    behind it: {}\n", behind.join(", ")));
    }
    out
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Everybody who has a way to more power, with his ways: those who have the same stand together.
pub(crate) fn render_escalations(all: &[(SubjectQuery, Vec<EscalationPath<'_>>)], view: &QueryRenderer<'_>) -> String {
    if all.is_empty() {
        return "Nobody has a way to more power.\n".to_owned();
    }
    let mut same: Vec<(String, String)> = Vec::new();
    for (who, ways) in all {
        let lines: String =
            ways.iter().map(|way| format!("  ! {}: {}\n", way.name(), escape_control(&way.to_string()))).collect();
        let head = format!("{}\n", view.subject(who));
        match same.iter_mut().find(|(_, known)| *known == lines) {
            Some((heads, _)) => heads.push_str(&head),
            None => same.push((head, lines)),
        }
    }
    same.into_iter().map(|(heads, lines)| format!("{heads}{lines}")).collect::<Vec<_>>().join("\n")
}
