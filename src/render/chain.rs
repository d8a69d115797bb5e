//! The way from an entry of aws-auth to a rule, each piece with its place in the policy.

use serde_json::{Value, json};

use super::style::{Label, Style};
use super::words::visible;
use crate::access::{By, Chain, EntryRef, Identity, MASTERS, Who};
use crate::names::ObjectKey;
use crate::policy::{Known, Origin};
use crate::state::State;

/// What an answer is shown with.
pub(crate) struct View<'a> {
    pub(crate) label: &'a str,
    pub(crate) state: &'a State,
    pub(crate) known: &'a Known,
    pub(crate) style: Style,
}

const PLACE_COLUMN: usize = 78;

impl View<'_> {
    /// `arn:…:role/viewer (viewer)`.
    pub(crate) fn who(&self, who: &Who) -> String {
        let name = self.known.name_of(who).map(|name| format!(" ({})", visible(name))).unwrap_or_default();
        format!("{}{name}", visible(&who.to_string()))
    }

    pub(crate) fn who_json(&self, who: &Who) -> Value {
        json!({ "who": who.to_string(), "name": self.known.name_of(who) })
    }

    /// `access.toml:12`, `policy other`, `unmanaged`.
    pub(crate) fn origin(&self, key: &ObjectKey) -> String {
        origin(&self.known.origin(self.state, key))
    }

    fn line(&self, word: &str, what: &str, origin: &str) -> String {
        let what = visible(what);
        let pad = " ".repeat(PLACE_COLUMN.saturating_sub(11 + what.chars().count()).max(2));
        let origin = self.style.paint(Label::Place, &visible(origin));
        format!("  {word:<8} {what}{pad}{origin}\n")
    }

    /// How somebody is let in.
    pub(crate) fn identity(&self, identity: &Identity) -> String {
        let mut out = String::new();
        if let Some(entry) = identity.entry() {
            let origin = origin(&self.known.entry_origin(self.state, entry));
            out.push_str(&self.line("entry", &entry.to_string(), &origin));
        }
        if let Some(name) = &identity.username {
            out.push_str(&format!("  {:<8} {}\n", "user", visible(name.as_str())));
        }
        let groups: Vec<String> = identity.groups.iter().map(|name| visible(name.as_str())).collect();
        if !groups.is_empty() {
            out.push_str(&format!("  {:<8} {}\n", "groups", groups.join(", ")));
        }
        out
    }

    /// Subject, binding, role and rule, a line each.
    pub(crate) fn chain(&self, chain: &Chain<'_>) -> String {
        let Chain { subject, binding, role, source, rule } = chain;
        let mut out = format!("  {:<8} {}\n", "through", visible(&subject.to_string()));
        out.push_str(&self.line("binding", &binding.to_string(), &self.origin(binding)));
        out.push_str(&self.line("role", &role.to_string(), &self.origin(role)));
        if source != role {
            out.push_str(&self.line("from", &source.to_string(), &self.origin(source)));
        }
        out.push_str(&format!("  {:<8} {}\n", "rule", visible(&rule.to_string())));
        out
    }

    pub(crate) fn by(&self, by: &By<'_>) -> String {
        match by {
            By::Masters => format!("  {:<8} group {MASTERS}, of whom RBAC is not asked\n", "through"),
            By::Chain(chain) => self.chain(chain),
        }
    }

    pub(crate) fn identity_json(&self, identity: &Identity) -> Value {
        json!({
            "username": identity.username.as_ref().map(ToString::to_string),
            "groups": identity.groups.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "entry": identity.entry().map(|entry| self.entry_json(entry)),
        })
    }

    pub(crate) fn entry_json(&self, entry: &EntryRef) -> Value {
        let EntryRef { section, index: _, line, principal } = entry;
        json!({
            "section": section.key(),
            "line": line,
            "principal": principal,
            "origin": origin_json(&self.known.entry_origin(self.state, entry)),
        })
    }

    fn object_json(&self, key: &ObjectKey) -> Value {
        json!({ "object": key, "origin": origin_json(&self.known.origin(self.state, key)) })
    }

    pub(crate) fn by_json(&self, by: &By<'_>) -> Value {
        match by {
            By::Masters => json!({ "group": MASTERS }),
            By::Chain(chain) => self.chain_json(chain),
        }
    }

    pub(crate) fn chain_json(&self, chain: &Chain<'_>) -> Value {
        let Chain { subject, binding, role, source, rule } = chain;
        json!({
            "subject": Who::of_subject(subject).to_string(),
            "binding": self.object_json(binding),
            "role": self.object_json(role),
            "source": self.object_json(source),
            "rule": rule,
        })
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Here(place) => place.to_string(),
        Origin::Policy(name) => format!("policy {name}"),
        Origin::Unmanaged => "unmanaged".to_owned(),
    }
}

fn origin_json(origin: &Origin) -> Value {
    match origin {
        Origin::Here(place) => json!({ "place": place }),
        Origin::Policy(name) => json!({ "policy": name }),
        Origin::Unmanaged => Value::Null,
    }
}
