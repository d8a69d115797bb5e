//! The answers of `can` and `who-can`, as text and as JSON.

use std::rc::Rc;

use serde_json::{Value, json};

pub(crate) use super::chain::View;
use super::words::visible;
use crate::access::{
    Admission, Answer, Chain, Denial, EntryRef, Holder, Identity, Lack, Miss, Never, Principal, Request, Verdict,
    WayUp, Who, WhoCan,
};
use crate::plan::Opened;

/// Why somebody is not let in.
pub(crate) fn denial(denial: &Denial) -> String {
    match denial {
        Denial::NotMapped { meant } if meant.is_empty() => "no entry of aws-auth names it".to_owned(),
        Denial::NotMapped { meant } => {
            let one = |(entry, never): &(EntryRef, Never)| {
                let why = match never {
                    Never::Sso => "EKS has switched this form off".to_owned(),
                    Never::Spelling { shown } => format!("the authenticator sees {shown}"),
                    Never::NotACaller(fault) => fault.to_string(),
                };
                format!("the entry {} never answers: {why}", visible(&entry.to_string()))
            };
            meant.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        Denial::NotAnInstance { entry, fault } => format!(
            "the entry {} is for machines, and `{}` is not the name of one",
            visible(&entry.to_string()),
            visible(&fault.session)
        ),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Yes => "yes",
        Verdict::No => "no",
        Verdict::ByChance => "by-chance",
    }
}

/// `yes` or `no`, and on demand why.
pub(crate) fn can(who: &Who, answer: &Answer<'_>, explain: bool, view: &View<'_>) -> String {
    let first = match answer.verdict {
        Verdict::Yes => "yes\n",
        Verdict::No => "no\n",
        Verdict::ByChance => "no: at some logins only, since several entries answer by chance\n",
    };
    let mut out = first.to_owned();
    if !explain {
        return out;
    }
    out.push_str(&format!("  {:<8} {}\n", "subject", view.who(who)));
    match &answer.admission {
        Admission::As(identity) => out.push_str(&view.identity(identity)),
        Admission::Denied(found) => out.push_str(&format!("  {:<8} {}\n", "denied", denial(found))),
        Admission::ByChance(logins) => {
            for login in logins {
                match login {
                    Ok(identity) => out.push_str(&view.identity(identity)),
                    Err(found) => out.push_str(&format!("  {:<8} {}\n", "denied", denial(found))),
                }
            }
        }
    }
    for by in &answer.by {
        out.push('\n');
        out.push_str(&view.by(by));
    }
    if answer.verdict == Verdict::No && matches!(answer.admission, Admission::As(_)) {
        let heading = if answer.misses.is_empty() { "nothing comes near" } else { "what comes nearest:" };
        out.push_str(&format!("\n  {heading}\n"));
    }
    for (number, miss) in answer.misses.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str(&near(miss, view));
    }
    out
}

fn near(miss: &Miss<'_>, view: &View<'_>) -> String {
    match miss {
        Miss::Rule { chain, lack } => format!("{}  {:<8} {}\n", view.chain(chain), "but", lack_words(*lack, chain)),
        Miss::Pending { subject, binding, role } => format!(
            "  {:<8} {}\n  {:<8} {binding}  {}\n  {:<8} {} does not exist\n",
            "through",
            visible(&subject.to_string()),
            "binding",
            view.origin(binding),
            "but",
            visible(&role.to_string()),
        ),
    }
}

fn lack_words(lack: Lack, chain: &Chain<'_>) -> String {
    match (lack, chain.binding.namespace()) {
        (Lack::Namespace, Some(namespace)) => format!("it counts in the namespace {} alone", visible(namespace)),
        (Lack::Namespace, None) => "it is for another namespace".to_owned(),
        (Lack::Verb, _) => "the rule has not the verb".to_owned(),
        (Lack::Name, _) => "the rule is for other names".to_owned(),
        (Lack::Resource, _) => "the rule has not the resource".to_owned(),
        (Lack::Group, _) => "the rule is for another API group".to_owned(),
        (Lack::Url, _) => "the rule has not the URL".to_owned(),
    }
}

fn lack_word(lack: Lack) -> &'static str {
    match lack {
        Lack::Namespace => "namespace",
        Lack::Verb => "verb",
        Lack::Name => "name",
        Lack::Resource => "resource",
        Lack::Group => "api-group",
        Lack::Url => "url",
    }
}

pub(crate) fn can_json(who: &Who, request: &Request, answer: &Answer<'_>, view: &View<'_>) -> Value {
    let misses = answer.misses.iter().map(|miss| match miss {
        Miss::Rule { chain, lack } => json!({ "lacks": lack_word(*lack), "by": view.chain_json(chain) }),
        Miss::Pending { subject, binding, role } => json!({
            "lacks": "role",
            "subject": Who::of_subject(subject).to_string(),
            "binding": binding,
            "role": role.to_string(),
        }),
    });
    let denied = match &answer.admission {
        Admission::Denied(found) => Some(denial(found)),
        Admission::As(_) | Admission::ByChance(_) => None,
    };
    json!({
        "cluster": view.label,
        "subject": view.who_json(who),
        "request": request.to_string(),
        "verdict": verdict(answer.verdict),
        "identities": answer.admission.identities().map(|one| view.identity_json(one)).collect::<Vec<_>>(),
        "denied": denied,
        "by": answer.by.iter().map(|by| view.by_json(by)).collect::<Vec<_>>(),
        "misses": misses.collect::<Vec<_>>(),
    })
}

/// Everybody who may, by the way that leads there.
pub(crate) fn who_can(request: &Request, answer: &WhoCan<'_>, explain: bool, view: &View<'_>) -> String {
    let WhoCan { masters, principals, holders } = answer;
    let mut out = String::new();
    if !masters.is_empty() {
        out.push_str("system:masters, who may do everything:\n");
        for one in masters {
            out.push_str(&principal(one, explain, view));
        }
        out.push('\n');
    }
    if !principals.is_empty() {
        out.push_str(&format!("Principals that may {}:\n", visible(&request.to_string())));
        for one in principals {
            out.push_str(&principal(one, explain, view));
        }
        out.push('\n');
    }
    if holders.is_empty() {
        out.push_str(&format!("No binding lets anybody {}.\n", visible(&request.to_string())));
        return out;
    }
    out.push_str("By bindings:\n");
    for holder in holders {
        out.push_str(&held(holder, explain, view));
    }
    out
}

fn principal(one: &Principal, explain: bool, view: &View<'_>) -> String {
    let mut out = format!("  {}\n", view.who(&one.who));
    if explain {
        let entries: Vec<String> = one.admission.identities().map(|identity| view.identity(identity)).collect();
        out.push_str(&indented(&entries.concat()));
    }
    out
}

fn held(holder: &Holder<'_>, explain: bool, view: &View<'_>) -> String {
    let Holder { subject, by, behind } = holder;
    let mut out = format!("  {}\n", visible(&subject.to_string()));
    if explain {
        for chain in by {
            out.push_str(&indented(&view.chain(chain)));
        }
    } else {
        let mut pairs: Vec<String> =
            by.iter().map(|chain| format!("{} → {}", chain.binding.path(), chain.role.name())).collect();
        pairs.dedup();
        out.push_str(&format!("    by {}\n", visible(&pairs.join(", "))));
    }
    let behind: Vec<String> = behind.iter().map(|entry| visible(&entry.principal)).collect();
    if !behind.is_empty() {
        out.push_str(&format!("    behind it: {}\n", behind.join(", ")));
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

pub(crate) fn who_can_json(request: &Request, answer: &WhoCan<'_>, view: &View<'_>) -> Value {
    let WhoCan { masters, principals, holders } = answer;
    let all = |list: &[Rc<Principal>]| -> Vec<Value> {
        let one = |one: &Rc<Principal>| {
            let identities = one.admission.identities().map(|identity: &Identity| view.identity_json(identity));
            json!({ "subject": view.who_json(&one.who), "identities": identities.collect::<Vec<_>>() })
        };
        list.iter().map(one).collect()
    };
    let holder = |Holder { subject, by, behind }: &Holder<'_>| {
        json!({
            "subject": Who::of_subject(subject).to_string(),
            "by": by.iter().map(|chain| view.chain_json(chain)).collect::<Vec<_>>(),
            "behind": behind.iter().map(|entry| view.entry_json(entry)).collect::<Vec<_>>(),
        })
    };
    json!({
        "cluster": view.label,
        "request": request.to_string(),
        "masters": all(masters),
        "principals": all(principals),
        "holders": holders.iter().map(holder).collect::<Vec<_>>(),
    })
}

/// Everybody who has a way to more power, with his ways: those who have the same stand together.
pub(crate) fn ways(all: &[(Who, Vec<WayUp<'_>>)], view: &View<'_>) -> String {
    if all.is_empty() {
        return "Nobody has a way to more power.\n".to_owned();
    }
    let mut same: Vec<(String, String)> = Vec::new();
    for (who, ways) in all {
        let lines: String =
            ways.iter().map(|way| format!("  ! {}: {}\n", way.name(), visible(&way.to_string()))).collect();
        let head = format!("{}\n", view.who(who));
        match same.iter_mut().find(|(_, known)| *known == lines) {
            Some((heads, _)) => heads.push_str(&head),
            None => same.push((head, lines)),
        }
    }
    same.into_iter().map(|(heads, lines)| format!("{heads}{lines}")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn ways_json(all: &[(Who, Vec<WayUp<'_>>)], view: &View<'_>) -> Value {
    let one = |(who, ways): &(Who, Vec<WayUp<'_>>)| json!({ "subject": view.who_json(who), "ways": ways.iter().map(Opened::of).collect::<Vec<_>>() });
    json!({ "cluster": view.label, "ways": all.iter().map(one).collect::<Vec<_>>() })
}
