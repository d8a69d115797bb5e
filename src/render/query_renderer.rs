//! The way from an entry of aws-auth to a rule, each piece with its place in the policy.

use serde_json::{Value, json};

use super::style::{StyleClass, TextStyle};
use super::text_util::escape_control;
use crate::access::{EntryRef, GrantPath, GrantSource, Identity, MASTERS, SubjectQuery};
use crate::names::ObjectKey;
use crate::policy::{ManagedBy, PolicyIndex};
use crate::state::State;

/// What an answer is shown with.
pub(crate) struct QueryRenderer<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) state: &'a State,
    pub(crate) policy_index: &'a PolicyIndex,
    pub(crate) style: TextStyle,
}

const LOCATION_COLUMN: usize = 78;

impl QueryRenderer<'_> {
    /// `arn:…:role/viewer (viewer)`.
    pub(crate) fn subject(&self, who: &SubjectQuery) -> String {
        let name = self
            .policy_index
            .principal_name(who)
            .map(|name| format!(" ({})", escape_control(name)))
            .unwrap_or_default();
        format!("{}{name}", escape_control(&who.to_string()))
    }

    pub(crate) fn subject_json(&self, who: &SubjectQuery) -> Value {
        json!({ "who": who.to_string(), "name": self.policy_index.principal_name(who) })
    }

    /// `access.toml:12`, `policy other`, `unmanaged`.
    pub(crate) fn managed_by(&self, key: &ObjectKey) -> String {
        managed_by_text(&self.policy_index.managed_by(self.state, key))
    }

    fn labeled_line(&self, word: &str, what: &str, origin: &str) -> String {
        let what = escape_control(what);
        let pad = " ".repeat(LOCATION_COLUMN.saturating_sub(11 + what.chars().count()).max(2));
        let origin = self.style.paint(StyleClass::Location, &escape_control(origin));
        format!("  {word:<8} {what}{pad}{origin}\n")
    }

    /// How somebody is let in.
    pub(crate) fn identity(&self, identity: &Identity) -> String {
        let mut out = String::new();
        if let Some(entry) = identity.entry() {
            let origin = managed_by_text(&self.policy_index.entry_managed_by(self.state, entry));
            out.push_str(&self.labeled_line("entry", &entry.to_string(), &origin));
        }
        if let Some(name) = &identity.username {
            out.push_str(&format!("  {:<8} {}\n", "user", escape_control(name.as_str())));
        }
        let groups: Vec<String> = identity.groups.iter().map(|name| escape_control(name.as_str())).collect();
        if !groups.is_empty() {
            out.push_str(&format!("  {:<8} {}\n", "groups", groups.join(", ")));
        }
        out
    }

    /// Subject, binding, role and rule, a line each.
    pub(crate) fn grant_path(&self, chain: &GrantPath<'_>) -> String {
        let GrantPath { subject, binding, role, source, rule } = chain;
        let mut out = format!("  {:<8} {}\n", "through", escape_control(&subject.to_string()));
        out.push_str(&self.labeled_line("binding", &binding.to_string(), &self.managed_by(binding)));
        out.push_str(&self.labeled_line("role", &role.to_string(), &self.managed_by(role)));
        if source != role {
            out.push_str(&self.labeled_line("from", &source.to_string(), &self.managed_by(source)));
        }
        out.push_str(&format!("  {:<8} {}\n", "rule", escape_control(&rule.to_string())));
        out
    }

    pub(crate) fn grant_source(&self, by: &GrantSource<'_>) -> String {
        match by {
            GrantSource::SystemMasters => format!("  {:<8} group {MASTERS}, of whom RBAC is not asked\n", "through"),
            GrantSource::Path(chain) => self.grant_path(chain),
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
            "origin": managed_by_json(&self.policy_index.entry_managed_by(self.state, entry)),
        })
    }

    fn object_json(&self, key: &ObjectKey) -> Value {
        json!({ "object": key, "origin": managed_by_json(&self.policy_index.managed_by(self.state, key)) })
    }

    pub(crate) fn grant_source_json(&self, by: &GrantSource<'_>) -> Value {
        match by {
            GrantSource::SystemMasters => json!({ "group": MASTERS }),
            GrantSource::Path(chain) => self.grant_path_json(chain),
        }
    }

    pub(crate) fn grant_path_json(&self, chain: &GrantPath<'_>) -> Value {
        let GrantPath { subject, binding, role, source, rule } = chain;
        json!({
            "subject": SubjectQuery::from_subject(subject).to_string(),
            "binding": self.object_json(binding),
            "role": self.object_json(role),
            "source": self.object_json(source),
            "rule": rule,
        })
    }
}

fn managed_by_text(origin: &ManagedBy) -> String {
    match origin {
        ManagedBy::Location(place) => place.to_string(),
        ManagedBy::Policy(name) => format!("policy {name}"),
        ManagedBy::Unmanaged => "unmanaged".to_owned(),
    }
}

fn managed_by_json(origin: &ManagedBy) -> Value {
    match origin {
        ManagedBy::Location(place) => json!({ "place": place }),
        ManagedBy::Policy(name) => json!({ "policy": name }),
        ManagedBy::Unmanaged => Value::Null,
    }
}
