//! The way from an entry of aws-auth to a rule, each piece with its place in the policy.

use super::style::{StyleClass, TextStyle};
use super::text_util::{columns, escape_control, gap_before_place};
use crate::access::{GrantPath, GrantSource, Identity, MASTERS, SubjectQuery};
use crate::names::ObjectKey;
use crate::policy::{ManagedBy, PolicyIndex};
use crate::report::AnswerContext;
use crate::state::State;

/// What an answer is shown with.
pub(crate) struct QueryRenderer<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) state: &'a State,
    pub(crate) policy_index: &'a PolicyIndex,
    pub(crate) style: TextStyle,
    /// Columns of a terminal; nothing where lines are as long as they are.
    pub(crate) width: Option<usize>,
}

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

    pub(crate) fn cluster(&self) -> AnswerContext<'_> {
        AnswerContext { label: self.cluster, state: self.state, policy_index: self.policy_index }
    }

    /// `access.toml:12`, `policy other`, `unmanaged`.
    pub(crate) fn managed_by(&self, key: &ObjectKey) -> String {
        managed_by_text(&self.policy_index.managed_by(self.state, key))
    }

    fn labeled_line(&self, word: &str, what: &str, origin: &str) -> String {
        let what = escape_control(what);
        let origin = escape_control(origin);
        let gap = gap_before_place(11 + columns(&what), &origin, self.width);
        format!("  {word:<8} {what}{gap}{}\n", self.style.paint(StyleClass::Location, &origin))
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
}

fn managed_by_text(origin: &ManagedBy) -> String {
    match origin {
        ManagedBy::Location(place) => place.to_string(),
        ManagedBy::Policy(name) => format!("policy {name}"),
        ManagedBy::Unmanaged => "unmanaged".to_owned(),
    }
}
